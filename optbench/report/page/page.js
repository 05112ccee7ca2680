"use strict";
// Everything here is an addition: without it all tables and figures are there.
(() => {
  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const dataOf = (figure) => {
    const script = figure.querySelector('script[type="application/json"]');
    return script ? JSON.parse(script.textContent) : null;
  };
  const short = (value) => (value == null ? "–" : Number(value.toPrecision(4)).toString());

  // A logarithmic axis. The ticks that uPlot itself would set never end below 1e-16.
  const logRange = (_, low, high) => {
    if (low == null) return [null, null];
    const room = Math.max(1.1, (high / low) ** 0.03);
    return [Math.max(Number.MIN_VALUE, low / room), Math.min(Number.MAX_VALUE, high * room)];
  };
  const logTicks = (_, axis, low, high) => {
    const first = Math.floor(Math.log10(low));
    const powers = Math.ceil(Math.log10(high)) - first;
    const step = Math.ceil(powers / 8);
    const digits = powers > 4 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = first; power <= first + powers; power += step) {
      ticks.push(...digits.map((digit) => Number(`${digit}e${power}`)));
    }
    return ticks.filter((tick) => low <= tick && tick <= high);
  };

  // Loss: a cursor that all charts share, linear or logarithmic, smoothed or as recorded.
  const charts = new Map(); // by chapter

  const seriesOf = (data, window) => {
    const columns = [data.x];
    for (const curve of window.curves) {
      columns.push(curve.median, curve.low ?? [], curve.high ?? []);
    }
    return columns.map((column) => (column.length ? column : data.x.map(() => null)));
  };

  const lossChart = (figure, data) => {
    const place = element("div", { className: "chart" });
    const readout = element("div", { className: "readout" });
    readout.setAttribute("aria-live", "off");
    const state = { window: data.windows.length - 1, log: false, shown: data.labels.map(() => true) };
    const positive = data.windows.every((window) =>
      window.curves.every((curve) => curve.median.every((value) => value == null || value > 0)));
    const values = data.windows[0].curves.flatMap((curve) => curve.median.filter((value) => value > 0));
    state.log = positive && Math.max(...values) > 100 * Math.min(...values);
    let chart = null;
    let target = null; // {value, moved}

    const tell = (index) => {
      const window = data.windows[state.window];
      readout.textContent = index == null ? "" : `iteration ${data.x[index].toLocaleString("en")}: ` +
        data.labels.map((label, at) => (state.shown[at] ? `${label} ${short(window.curves[at].median[index])}` : null))
          .filter(Boolean).join(" · ");
    };

    const drawTarget = (plot) => {
      if (target == null || target.handle == null) return;
      const y = plot.valToPos(target.value, "y", true);
      const { left, top, width, height } = plot.bbox;
      target.handle.style.top = `${plot.valToPos(target.value, "y")}px`;
      target.handle.hidden = !(y >= top && y <= top + height);
      if (target.handle.hidden) return;
      plot.ctx.save();
      plot.ctx.setLineDash([6, 4]);
      plot.ctx.lineWidth = 2;
      plot.ctx.strokeStyle = "#000";
      plot.ctx.beginPath();
      plot.ctx.moveTo(left, y);
      plot.ctx.lineTo(left + width, y);
      plot.ctx.stroke();
      plot.ctx.restore();
    };

    const addHandle = (plot) => {
      if (target == null) return;
      const handle = element("div", { className: "handle", title: "drag the target" });
      target.handle = handle;
      handle.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        event.stopPropagation();
        handle.setPointerCapture(event.pointerId);
        handle.onpointermove = (moved) => {
          const box = plot.over.getBoundingClientRect();
          target.moved(plot.posToVal(moved.clientY - box.top, "y"));
        };
        handle.onpointerup = handle.onpointercancel = () => { handle.onpointermove = null; };
      });
      handle.addEventListener("mousedown", (event) => event.stopPropagation());
      plot.over.append(handle);
    };

    const build = () => {
      chart?.destroy();
      const series = [{ label: "iteration" }];
      const bands = [];
      data.labels.forEach((label, at) => {
        const stroke = data.colors[at];
        const show = state.shown[at];
        const dash = stroke === "#000000" ? [8, 3] : undefined;
        const points = { show: false };
        series.push({ label, stroke, width: 1.6, show, dash, points });
        series.push({ label: `${label}, low`, show, stroke: "transparent", points });
        series.push({ label: `${label}, high`, show, stroke: "transparent", points });
        bands.push({ series: [3 * at + 3, 3 * at + 2], fill: `${stroke}2e` });
      });
      const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
      const font = `${0.78 * rem}px system-ui, sans-serif`;
      const axis = {
        font, labelFont: font, stroke: "#222", grid: { stroke: "#0000000f" }, ticks: { stroke: "#00000030" },
      };
      const logarithmic = { splits: logTicks, filter: (_, ticks) => ticks };
      const words = (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick)));
      chart = new uPlot({
        width: Math.max(260, place.clientWidth),
        height: Math.max(15 * rem, Math.min(26 * rem, place.clientWidth * 0.62)),
        series,
        bands,
        scales: { x: { time: false }, y: state.log ? { distr: 3, range: logRange } : {} },
        axes: [
          { ...axis, label: "iteration", labelSize: 1.5 * rem, size: 2 * rem },
          { ...axis, size: 4.2 * rem, values: words, ...(state.log ? logarithmic : {}) },
        ],
        cursor: { sync: { key: "iterations", scales: ["x", null] }, points: { show: false } },
        hooks: { draw: [drawTarget], ready: [addHandle], setCursor: [(plot) => tell(plot.cursor.idx)] },
      }, seriesOf(data, data.windows[state.window]), place);
    };

    const controls = element("div", { className: "controls" });
    if (positive) {
      const log = element("input", { type: "checkbox", checked: state.log });
      log.onchange = () => { state.log = log.checked; build(); };
      controls.append(element("label", {}, log, "logarithmic"));
    }
    if (data.windows.length > 1) {
      const smooth = element("input", { type: "checkbox", checked: true });
      smooth.onchange = () => { state.window = smooth.checked ? data.windows.length - 1 : 0; build(); };
      const rows = data.windows[data.windows.length - 1].rows;
      controls.append(element("label", {}, smooth, `smoothed over ${rows} rows`));
    }
    data.labels.forEach((label, at) => {
      const box = element("input", { type: "checkbox", checked: true });
      box.onchange = () => { state.shown[at] = box.checked; build(); };
      const mark = element("span", { className: "mark" });
      mark.style.background = data.colors[at];
      controls.append(element("label", {}, box, mark, element("bdi", { textContent: label })));
    });
    const fixed = figure.querySelector(".static");
    const live = element("div", { className: "live" }, controls, place, readout);
    if (data.note) live.append(element("p", { className: "note", textContent: data.note }));
    fixed.before(live);
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", fixed.querySelector("svg").getAttribute("aria-label"));
    fixed.hidden = true;
    build();
    new ResizeObserver(() => {
      if (chart && Math.abs(chart.width - place.clientWidth) > 4 && place.clientWidth > 0) build();
    }).observe(place);
    return {
      follow: (value, moved) => {
        target = { value, moved, handle: null };
        build();
      },
      moveTo: (value) => { target.value = value; chart.redraw(false); },
    };
  };

  // Steps to a target that one can drag: success, RMST and median were computed for each.
  const targetTable = (figure, data) => {
    const chart = data.on === "loss" ? charts.get(figure.closest(".chapter")) : null;
    const range = element("input", { type: "range", min: 0, max: data.targets.length - 1, value: data.chosen });
    const goal = element("output");
    const body = element("tbody");
    const cells = data.labels.map(({ label }) => {
      const name = element("th", { className: "name" }, element("bdi", { textContent: label }));
      name.scope = "row";
      const three = [0, 1, 2].map(() => element("td", { className: "number" }));
      body.append(element("tr", {}, name, ...three));
      return three;
    });
    const show = () => {
      const at = Number(range.value);
      goal.textContent = data.goals[at];
      range.setAttribute("aria-valuetext", data.goals[at]);
      data.labels.forEach(({ cells: texts }, row) => {
        cells[row].forEach((cell, column) => { cell.textContent = texts[at][column]; });
      });
      chart?.moveTo(data.targets[at]);
    };
    range.oninput = show;
    const headings = ["optimizer", "there", "RMST", "median"].map((text, at) => {
      const heading = element("th", { className: at ? "number" : "name", textContent: text });
      heading.scope = "col";
      return heading;
    });
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...headings)), body);
    const controls = element("div", { className: "controls" },
      element("label", {}, chart ? "target, which can also be dragged in the chart of losses" : "target"),
      range, goal);
    controls.firstChild.append(range);
    const scroll = element("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "times to the target" }, table);
    figure.append(element("div", { className: "live target" }, controls, scroll));
    chart?.follow(data.targets[data.chosen], (value) => {
      const scale = data.targets.every((each) => each > 0) && value > 0 ? Math.log : (each) => each;
      const away = data.targets.map((each) => Math.abs(scale(each) - scale(value)));
      range.value = away.indexOf(Math.min(...away));
      show();
    });
    show();
  };

  // Paths: as far as an iteration.
  const pathSlider = (figure) => {
    const paths = [...figure.querySelectorAll("g.path")].map((group) => {
      const outline = group.querySelector(":scope > path");
      return {
        outline,
        pieces: (outline?.getAttribute("d") ?? "").split(/(?=[ML])/),
        iterations: group.dataset.iterations.split(" ").map(Number),
        dots: [...group.querySelectorAll("use")],
      };
    });
    const last = Math.max(...paths.map(({ iterations }) => iterations[iterations.length - 1]));
    if (!(last > 0)) return;
    const range = element("input", { type: "range", min: 0, max: last, value: last });
    const said = element("output", { textContent: last.toLocaleString("en") });
    range.oninput = () => {
      const until = Number(range.value);
      said.textContent = until.toLocaleString("en");
      for (const { outline, pieces, iterations, dots } of paths) {
        const count = iterations.filter((iteration) => iteration <= until).length;
        outline?.setAttribute("d", pieces.slice(0, Math.max(1, count)).join("") || "M0 0");
        dots.forEach((dot, at) => { dot.style.display = at < count ? "" : "none"; });
      }
    };
    const label = element("label", {}, "up to iteration ", range);
    figure.prepend(element("div", { className: "controls" }, label, said));
  };

  // Lanes: sorted by a column, and only those with some words.
  const sorted = (table) => {
    const body = table.tBodies[0];
    const value = (row, at) => {
      const text = row.cells[at].textContent.trim();
      const number = Number(text.replace(/,/g, ""));
      return text !== "" && !Number.isNaN(number) ? number : text;
    };
    const order = (a, b) => {
      const kinds = [typeof a, typeof b];
      if (kinds[0] !== kinds[1]) return kinds[0] === "number" ? -1 : 1;
      return kinds[0] === "number" ? a - b : a.localeCompare(b);
    };
    [...table.tHead.rows[0].cells].forEach((heading, at) => {
      const button = element("button", { type: "button", textContent: heading.textContent });
      heading.replaceChildren(button);
      button.onclick = () => {
        const way = heading.ariaSort === "ascending" ? -1 : 1;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
        const rows = [...body.rows].map((row) => [value(row, at), row]);
        rows.sort(([a], [b]) => way * order(a, b));
        body.append(...rows.map(([, row]) => row));
      };
    });
  };

  const filtered = (holder) => {
    const table = holder.querySelector("table");
    const box = element("input", { type: "search", placeholder: "words, such as adam diverged" });
    const count = element("output");
    box.oninput = () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
        const text = cells.join(" ");
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown.toLocaleString("en")} lanes` : "";
    };
    const label = element("label", {}, "only lanes with ", box);
    holder.querySelector(".scroll").before(element("div", { className: "controls" }, label, count));
  };

  for (const figure of document.querySelectorAll('figure[data-kind="loss"]')) {
    const data = dataOf(figure);
    if (data) charts.set(figure.closest(".chapter"), lossChart(figure, data));
  }
  for (const figure of document.querySelectorAll('figure[data-kind="target"]')) {
    const data = dataOf(figure);
    if (data) targetTable(figure, data);
  }
  for (const figure of document.querySelectorAll('figure[data-kind="trajectory"]')) pathSlider(figure);
  for (const holder of document.querySelectorAll(".lanes")) {
    sorted(holder.querySelector("table"));
    filtered(holder);
  }
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
})();
