"""What a notebook shows of a run or a study: a line, tables, and small loss curves as SVG.

Pages hold nothing but themselves: no script, no style sheet, no link. They take the colours of the
notebook, which may be dark. Names come from whoever wrote the suite, so all text is escaped.
"""

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from optbench.records import RunTables, StudyTables
from optbench.report.configurations import configurations, describe, problem_names
from optbench.report.curves import Curve, lane_losses, leading_finite, median_curve
from optbench.report.oneline import run_line, study_line
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.style import Style, styles
from optbench.report.sections import to_html
from optbench.report.studies import results
from optbench.report.studies import sections as study_sections
from optbench.report.summaries import summary
from optbench.report.tables import sections
from optbench.store.thinning import BEYOND, every_of

MOST_CHARTS = 6
"""Problems whose curves are drawn; of the others there are tables."""

POINTS, FEWEST, MOST = 4000, 12, 160
"""Points of all curves together, and how many one has at least and at most."""

WIDTH, HEIGHT, LEFT, BOTTOM = 560, 150, 60, 16
"""Size of a chart, and the room for numbers on its left and below it, in pixels."""

RUNAWAY = 10.0
"""A curve leaves the chart above this many times the highest start."""

DASHES: Mapping[object, str] = {"-": "", "--": "6 3", "-.": "6 3 1.5 3", ":": "1.5 3"}


def run_html(tables: RunTables) -> str:
    """Return a run as a notebook shows it: its line, the summary, and the curve of each row."""
    parts = [f"<div>{escape(run_line(tables))}</div>"]
    return "\n".join(["<div>", *parts, *_run_parts(tables), "</div>"])


def study_html(study: StudyTables) -> str:
    """Return a study as a notebook shows it: its line, what won, and the curves of the final."""
    parts = [f"<div>{escape(study_line(study))}</div>"]
    if study.final is not None:
        parts += [to_html(section) for section in study_sections(results(study))]
        parts += [chart for chart, _ in _charts(study.final).values()]
    return "\n".join(["<div>", *parts, "</div>"])


def _run_parts(tables: RunTables) -> list[str]:
    rows = summary(tables)
    charts = _charts(tables)
    parts = []
    names = list(dict.fromkeys(rows["problem"]))
    for problem, section in zip(names, sections(rows), strict=True):
        chart, colors = charts.get(problem, ("", {}))
        labels = rows.loc[rows["problem"] == problem, "label"]
        parts += [to_html(section, [colors.get(label) for label in labels]), chart]
    return parts


def _charts(tables: RunTables) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the chart of each problem of which rows were kept, and the colours of its labels."""
    if every_of(tables.meta) == BEYOND or tables.trace.empty:
        return {}
    table = configurations(tables)
    best = table[table["best"]]
    names = problem_names(tables)[:MOST_CHARTS]
    curves = max(1, int(best["problem"].isin(names).sum()))
    points = int(np.clip(POINTS // curves, FEWEST, MOST))
    charts = {}
    for problem in names:
        rows = best[best["problem"] == problem]
        look = styles(zip(rows["label"], rows["optimizer"], strict=True), tables.shared)
        charts[problem] = (
            _chart(tables, problem, rows, look, points),
            {label: _color(style) for label, style in look.items()},
        )
    return charts


def _color(style: Style) -> str:
    """Return a colour that is seen on white and on black."""
    return "currentColor" if style.color == "#000000" else style.color


def _chart(
    tables: RunTables, problem: str, rows: pd.DataFrame, look: Mapping[str, Style], points: int
) -> str:
    """Return the median losses of configurations as SVG."""
    window = PlotOptions().window(describe(tables, problem)["batch_size"])
    losses = lane_losses(tables, problem)
    curves = {
        str(row["label"]): median_curve([losses[lane] for lane in row["lane_numbers"]], window)
        for _, row in rows.iterrows()
    }
    shown = {label: _points(curve, points) for label, curve in curves.items()}
    shown = {label: xy for label, xy in shown.items() if len(xy)}
    if not shown:
        return ""
    values = np.concatenate([xy[:, 1] for xy in shown.values()])
    start = max(float(xy[0, 1]) for xy in shown.values())
    low = float(values.min())
    high = min(float(values.max()), RUNAWAY * start if start > 0 else np.inf)
    log = low > 0 and high > 10 * low
    last = max(float(xy[-1, 0]) for xy in shown.values()) or 1.0
    scaled = np.log10 if log else np.asarray
    bottom, top = float(scaled(low)), float(scaled(max(low, high)))
    span = top - bottom or 1.0
    lines = []
    for label, xy in shown.items():
        x = LEFT + (WIDTH - LEFT) * xy[:, 0] / last
        heights = (scaled(np.clip(xy[:, 1], low, max(low, high))) - bottom) / span
        y = 4 + (HEIGHT - 8) * (1 - heights)
        path = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(_line(path, label, look[label]))
    texts = [
        _text(LEFT - 5, 12, f"{high:.3g}"),
        _text(LEFT - 5, HEIGHT - 2, f"{low:.3g}"),
        _text(LEFT - 5, HEIGHT // 2, "loss, log" if log else "loss"),
        _text(WIDTH, HEIGHT + BOTTOM - 3, f"iteration {last:,.0f}"),
    ]
    axes = f'<path d="M{LEFT},0 V{HEIGHT} H{WIDTH}" stroke="currentColor" opacity="0.4"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + BOTTOM}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT + BOTTOM}" fill="none" role="img" '
        f'aria-label="{escape(f"losses on {problem}")}">'
        f"{axes}{''.join(texts)}{''.join(lines)}</svg>"
    )


def _points(curve: Curve, points: int) -> np.ndarray:
    """Return some points of a curve, evenly spaced, up to where it is finite, shape (points, 2)."""
    finite = leading_finite(curve.median)
    if not finite.size:
        return np.empty((0, 2))
    places = np.unique(np.linspace(0, finite.size - 1, points).round().astype(int))
    return np.stack([curve.iterations[places].astype(np.float64), finite[places]], axis=1)


def _line(path: str, label: str, style: Style) -> str:
    dashes = style.linestyle
    pattern = DASHES.get(dashes, "")
    if isinstance(dashes, tuple):
        pattern = " ".join(map(str, dashes[1]))
    dashed = f' stroke-dasharray="{pattern}"' if pattern else ""
    return (
        f'<polyline points="{path}" stroke="{_color(style)}" stroke-width="1.6"{dashed}>'
        f"<title>{escape(label)}</title></polyline>"
    )


def _text(x: int, y: int, text: str) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="end" font-size="10" font-family="sans-serif" '
        f'fill="currentColor">{escape(text)}</text>'
    )
