"""The HTML report in Chromium: silent, alone, at ease on every width, and its controls at work."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest

from optbench.report.page import page
from tests.cli.command import optbench, run
from tests.report.page.test_page import HOSTILE, fall, two
from tests.report.runs import Lane
from tests.slow.browser import FOUND, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOUND, reason="needs Chromium or Chrome on PATH"),
]

WIDTHS = (400, 1280, 2560)

OPTIMIZERS = ("-o", "sgd", "-o", "adam", "--set", "sgd.lr=0.1")

STEPS = 180
"""Enough for Matplotlib to leave out points of a path, and few enough for a dot at each."""

RANGE = ".target input[type=range]"

ROWS = """[...document.querySelectorAll(".target tbody tr")].map(
  (row) => [...row.cells].map((cell) => cell.textContent))"""
"""What the table below the slider of targets says, of all problems."""

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

BROKEN = """[...document.querySelectorAll(".number bdi, .parts th.name bdi")].filter((each) =>
  each.getBoundingClientRect().height > 2 * parseFloat(getComputedStyle(each).fontSize))
  .map((each) => each.textContent)"""
"""Numbers and names that do not stand on one line."""

LEFT, RIGHT = ("ArrowLeft", 37), ("ArrowRight", 39)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return a report of a run, whose losses fall to 1e-30, and of a study."""
    cwd = tmp_path_factory.mktemp("report")
    run("--problem", "booth", *OPTIMIZERS, "--iterations", STEPS, cwd=cwd)
    tuned = ("tune", "--problem", "anisotropic", "-o", "sgd", "-o", "adam", "--budget", "4 trials")
    assert optbench(*tuned, "--quiet", cwd=cwd).code == 0
    assert optbench("report", "booth", "anisotropic", cwd=cwd).code == 0
    return cwd / "report.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a report whose labels are made to break out of a page, or to push it apart."""
    labels = [HOSTILE, "x" * 500, "שלום עולם " * 9, "‮turned", "</script><b>"]
    lanes = [
        Lane(label, fall(0.5 + place, seed), problem="a", seed=seed)
        for place, label in enumerate(labels)
        for seed in range(8)
    ]
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    path.write_text(page([two(lanes=lanes)], title=HOSTILE), encoding="utf-8")
    return path


def data(path, kind):
    """Return what a report holds for the script of each figure of a kind."""
    text = path.read_text(encoding="utf-8")
    figures = re.findall(rf'<figure data-kind="{kind}">.*?</figure>', text, re.DOTALL)
    found = [re.findall(r"json\">(.*?)</script>", each, re.DOTALL) for each in figures]
    return [json.loads(each) for (each,) in found]


def told(target, at):
    """Return the rows of the table at one of its targets."""
    return [[each["label"], *each["cells"][at]] for each in target["labels"]]


@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_silent_asks_for_nothing_and_fits(width, browser, report):
    browser.open(report, width=width)
    assert browser.said == []
    assert browser.requests == [report.as_uri()]
    assert browser.ask(OVERFLOW) == 0
    assert browser.ask("document.querySelectorAll('.live canvas').length") == 2
    assert browser.ask(BROKEN) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_labels_stay_text_and_fit(width, browser, hostile):
    browser.open(hostile, width=width)
    assert browser.said == []
    assert browser.requests == [hostile.as_uri()]
    assert browser.ask(OVERFLOW) == 0
    assert browser.ask("document.querySelectorAll('b, [dir=rtl]').length") == 0


@pytest.mark.parametrize("width", WIDTHS[:2])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_fault(width, dark, browser, report):
    browser.open(report, width=width, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.ask((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8") + "; 0")
    found = browser.ask(
        """axe.run().then(({ violations, passes }) => ({ passes: passes.length, faults: violations
          .filter(({ impact }) => ["serious", "critical"].includes(impact))
          .map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]) }))"""
    )
    assert found["faults"] == []
    assert found["passes"] > 10


def test_without_scripts_all_tables_and_figures_are_there(browser, report):
    browser.open(report, scripts=False)
    assert browser.ask("document.querySelectorAll('.live, .controls').length") == 0
    text = report.read_text(encoding="utf-8")
    for part, seen in (("<svg ", "figure svg"), ("<table>", "table")):
        code = f"""[...document.querySelectorAll("{seen}")].filter((each) =>
          each.closest("details") || each.getBoundingClientRect().height > 20).length"""
        assert browser.ask(code) == text.count(part) > 5


def test_the_target_follows_the_keyboard(browser, report):
    browser.open(report)
    first, second = data(report, "target")
    both = [told(each, each["chosen"]) for each in (first, second)]
    assert browser.ask(ROWS) == both[0] + both[1]
    browser.ask(f"document.querySelector('{RANGE}').focus()")
    for _ in range(5):
        browser.press(*LEFT)
    assert browser.ask(ROWS) == told(first, first["chosen"] - 5) + both[1]
    assert (
        browser.ask("document.querySelector('.target output').textContent")
        == (first["goals"][first["chosen"] - 5])
    )


def test_the_target_is_dragged_in_the_chart(browser, report):
    browser.open(report)
    first, second = data(report, "target")
    at = browser.place(".handle")
    browser.mouse("mousePressed", **at)
    heights = browser.ask(
        """(() => { const box = document.querySelector(".u-over").getBoundingClientRect();
          return [box.top, box.height]; })()"""
    )
    browser.mouse("mouseMoved", x=at["x"], y=heights[0] + heights[1] / 3)
    browser.mouse("mouseReleased", x=at["x"], y=heights[0] + heights[1] / 3)
    browser.rest()
    chosen = int(browser.ask(f"document.querySelector('{RANGE}').value"))
    assert chosen < first["chosen"]
    assert browser.ask(ROWS) == told(first, chosen) + told(second, second["chosen"])
    there = browser.ask("parseFloat(document.querySelector('.handle').style.top)")
    assert there == pytest.approx(heights[1] / 3, abs=10)
    browser.mouse("mouseMoved", x=at["x"], y=heights[0] + heights[1] / 2)
    assert int(browser.ask(f"document.querySelector('{RANGE}').value")) == chosen
    assert browser.said == []


def test_paths_end_at_the_iteration_of_the_slider(browser, report):
    browser.open(report)
    seen = """(() => { const figure = document.querySelector("figure[data-kind=trajectory]");
      const path = figure.querySelector("g.path");
      return [figure.querySelector("output").textContent,
        path.querySelector(":scope > path").getAttribute("d").match(/[ML]/g).length,
        [...path.querySelectorAll("use")].filter((dot) => dot.style.display !== "none").length];
    })()"""
    last, points, dots = browser.ask(seen)
    assert [last, points, dots] == [str(STEPS), STEPS + 1, STEPS + 1]
    browser.ask("document.querySelector('figure[data-kind=trajectory] input').focus()")
    browser.press("Home", 36)
    for _ in range(3):
        browser.press(*RIGHT)
    assert browser.ask(seen) == ["3", 4, 4]
    browser.press("End", 35)
    assert browser.ask(seen) == [last, points, dots]


def test_lanes_are_sorted_and_filtered(browser, report):
    browser.open(report)
    column = """[...document.querySelector(".lanes tbody").rows].filter((row) => !row.hidden)
      .map((row) => row.cells[{}].textContent)"""
    heading = ".lanes th:nth-child({}) button"
    names = browser.ask(
        "[...document.querySelector('.lanes thead tr').cells].map((each) => each.textContent)"
    )
    at, label = names.index("best loss"), names.index("optimizer")
    browser.click(heading.format(at + 1))
    up = [float(each) for each in browser.ask(column.format(at))]
    assert up == sorted(up)
    assert len(set(up)) > 1
    browser.click(heading.format(at + 1))
    assert [float(each) for each in browser.ask(column.format(at))] == up[::-1]
    browser.ask("document.querySelector('.lanes input').focus()")
    browser.call("Input.insertText", text="ADAM done")
    assert browser.ask(column.format(label)) == ["adam"]
    assert browser.ask("document.querySelector('.lanes output').textContent") == "1 lanes"


def test_boxes_of_the_chart_draw_it_again(browser, report):
    browser.open(report)
    picture = "document.querySelector('.live canvas').toDataURL()"
    seen = [browser.ask(picture)]
    for place in (1, 2, 2):
        browser.click(f".live .controls label:nth-child({place}) input")
        seen.append(browser.ask(picture))
    assert len({*seen[:3]}) == 3
    assert seen[3] == seen[1]
    assert browser.said == []


def test_losses_of_all_sizes_have_a_chart_at_once(browser, tmp_path):
    sizes = (1e-320, 1e-200, 1e-17, 1.0, 1e200)
    lanes = [Lane(f"adam {size:g}", size * np.exp(-np.arange(20.0)), problem="a") for size in sizes]
    for place, some in enumerate([lanes, *([lane] for lane in lanes)]):
        path = tmp_path / f"{place}.html"
        path.write_text(page([two(seeds=1, lanes=some)]), encoding="utf-8")
        browser.open(path)
        assert browser.said == []
        assert browser.ask("document.querySelectorAll('.live canvas').length") == 1
