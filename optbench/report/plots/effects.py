"""How much better each optimizer of a problem is than each other, with intervals and verdicts."""

from collections.abc import Iterator, Sequence
from math import ceil, floor, log1p, log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterMathtext, NullFormatter, ScalarFormatter

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.compare import (
    DIFFERENCE,
    RATIO,
    WINS,
    Comparison,
    Pair,
    Question,
    compare,
)
from optbench.report.configurations import MEASURE_NAMES, problem_title
from optbench.report.plots.options import FONT_SIZE, PlotOptions
from optbench.report.plots.sheet import (
    caption,
    characters,
    chosen,
    in_text,
    lay_out,
    new_figure,
    wrapped,
)
from optbench.report.plots.style import display_name, literal, styles
from optbench.report.protocol import contestants

ROW_INCHES, LINE_INCHES, FRAME_INCHES = 0.28, 0.17, 1.5
"""Height of a row, of each more line in it, and of what stands above and below all."""

NAMES_SHARE, VERDICT_SHARE = 0.4, 0.3
"""Shares of the width that names and verdicts take at most; longer ones are broken."""

STRIP = "#e6e6e6"
"""Colour of the differences that do not matter."""

NEAR_TICKS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0, 2.5)
FAR_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
NARROW_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 5.0, 10.0, 20.0, 50.0)
NEAR, FAR, PLAIN = 3.0, 30.0, 1e3
"""Ticks of axes that span less than a factor of 3, those of 30, and fewer for narrow figures; up to
a factor of 1000 numbers are written as they are, beyond there are powers of ten."""

STRIDES = (1, 2, 3, 4, 5, 10, 20, 50, 100)
"""Decades from one power of ten to the next that has a tick."""

TICK_EM = 0.7
"""Width that a digit of a tick takes, with room to the next tick, in sizes of its font."""

MOST_PAIRS = 60
"""Rows that a figure can show."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw what is known of the pairs of a problem, the only ones that are asked about."""
    question = Question(problems=(problem,), choose_on=tuple(options.choose_on))
    return draw_found(compare(contestants(tables), question), tables, problem)


def draw_found(found: Comparison, tables: RunTables, problem: str) -> Figure:
    """Draw a row for each pair: estimate, interval, the margin as a strip, the verdict beside it.

    An open marker in the middle stands for a pair that is judged by wins, as a lane diverged.
    """
    pairs = [pair for pair in found.rows if pair.problem == problem]
    if len(pairs) > MOST_PAIRS:
        raise UsageError(f"{len(pairs)} pairs are too many for a figure; draw fewer optimizers")
    rules = zip(tables.lanes["label"], tables.lanes["optimizer"], strict=True)
    look = styles(rules, tables.shared)
    names = [_name(display_name(pair.a), display_name(pair.b)) for pair in pairs]
    most = characters(VERDICT_SHARE * chosen().width_inches, "small", least=1)
    verdicts = [wrapped(f"{pair.says}", most) for pair in pairs]
    more = max(text.count("\n") for text in (*names, *verdicts))
    row_inches = ROW_INCHES + LINE_INCHES * more
    figure = new_figure(0.0, FRAME_INCHES + row_inches * len(pairs))
    axes = figure.add_subplot()
    is_ratio = any(pair.estimand == RATIO for pair in pairs)
    none = 1.0 if is_ratio else 0.0
    axes.set_xscale("log" if is_ratio else "linear")
    margin = found.question.margin if is_ratio else found.question.points
    strip = (1.0 / (1.0 + margin), 1.0 + margin) if is_ratio else (-margin, margin)
    axes.axvspan(*strip, color=STRIP, linewidth=0)
    axes.axvline(none, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)
    _limit(axes, pairs, strip, is_ratio=is_ratio)
    for place, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True)):
        axes.text(1.01, place, verdict, transform=axes.get_yaxis_transform(), va="center",
                  fontsize="small")  # fmt: skip
        _draw_pair(axes, pair, place, look[pair.a].color, none)
    axes.set_title(literal(problem_title(tables, problem)))
    what = MEASURE_NAMES[pairs[0].metric]
    axes.set_xlabel(
        f"{what}, first over second" if is_ratio else f"{what}, first less second, in points"
    )
    caption(figure, [_caption(found, pairs)])
    if is_ratio:
        _set_ticks(figure, axes)
    return figure


def _name(a: str, b: str) -> str:
    """Return the name of a pair, in two lines if one is too long."""
    whole = f"{a} : {b}"
    fits = len(whole) <= characters(NAMES_SHARE * chosen().width_inches, least=1)
    return whole if fits else f"{a} :\n{b}"


def _draw_pair(axes: Axes, pair: Pair, place: int, color: str, none: float) -> None:
    """Draw a pair's estimate with its interval.

    An end of the interval that lies beyond the axis, or nowhere, is a triangle at its edge.
    """
    if pair.estimand == WINS:
        axes.plot(none, place, marker="o", color=color, markerfacecolor="white", markersize=6)
        return
    if not np.isnan([pair.low, pair.high]).any():
        edges = axes.get_xlim()
        ends = np.clip([pair.low, pair.high], *edges)
        axes.plot(ends, [place, place], color=color, linewidth=2.2)
        for end, edge, marker in zip((pair.low, pair.high), edges, "<>", strict=True):
            if (end < edge) if marker == "<" else (end > edge):
                axes.plot(edge, place, marker=marker, color=color, markersize=6, clip_on=False)
    if np.isfinite(pair.estimate):
        axes.plot(pair.estimate, place, marker="o", color=color, markersize=6)


def _limit(axes: Axes, pairs: list[Pair], strip: tuple[float, float], *, is_ratio: bool) -> None:
    """Set limits that hold all estimates and intervals."""
    ends = [end for pair in pairs if pair.estimand in (RATIO, DIFFERENCE)
            for end in (pair.low, pair.high, pair.estimate)]  # fmt: skip
    known = [end for end in (*ends, *strip) if np.isfinite(end) and (end > 0.0 or not is_ratio)]
    low, high = min(known), max(known)
    if is_ratio:
        room = (high / low) ** 0.06
        axes.set_xlim(low / room, high * room)
    else:
        room = 0.06 * (high - low)
        axes.set_xlim(low - room, high + room)


def _set_ticks(figure: Figure, axes: Axes) -> None:
    """Set ticks that can be read as ratios: as many as the axis, which has its place, can label."""
    lay_out(figure)
    inches = float(axes.get_position().width * figure.get_figwidth())
    low, high = axes.get_xlim()
    axes.set_xticks(ratio_ticks(low, high, inches / in_text(FONT_SIZE / 72)))
    plain = ScalarFormatter() if high < PLAIN * low else LogFormatterMathtext()
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())


def ratio_ticks(low: float, high: float, ems: float) -> list[float]:
    """Return the densest ticks of an axis of ratios, so many sizes of its font long, that fit.

    >>> ratio_ticks(0.5, 1.1, 40), ratio_ticks(0.02, 1.2, 20), ratio_ticks(1e-5, 2.0, 12)
    ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1], [0.03, 0.1, 0.3, 1.0], [0.0001, 0.01, 1.0])
    """
    shown: list[float] = []
    for ticks in _choices(low, high):
        shown = [tick for tick in ticks if low <= tick <= high]
        plain = high < PLAIN * low
        sizes = [len(f"{tick:g}" if plain else f"10{log10(tick):.0f}") for tick in shown]
        places = [ems * log10(tick / low) / log10(high / low) for tick in shown]
        room = TICK_EM * np.convolve(sizes, [0.5, 0.5], "valid") if len(shown) > 1 else np.empty(0)
        if len(shown) > 1 and (np.diff(places) >= room).all():
            return shown
    return shown


def _choices(low: float, high: float) -> Iterator[Sequence[float]]:
    """Yield sets of ticks, the densest first."""
    if high < FAR * low:
        yield NEAR_TICKS if high < NEAR * low else FAR_TICKS
        yield NARROW_TICKS
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    if high < PLAIN * low:
        yield [float(f"{digit}e{decade}") for decade in decades for digit in (1, 3)]
    for stride in STRIDES:
        yield [float(f"1e{decade}") for decade in decades if decade % stride == 0]


def _caption(found: Comparison, pairs: list[Pair]) -> str:
    """Say how many seeds, what the bars are, and what the strip is."""
    seeds = max(pair.seeds for pair in pairs)
    tested = any(pair.random for pair in pairs)
    if not tested:
        return "nothing is random: ratios are exact"
    level = 100 * (1 - found.question.level)
    is_open = any(np.isinf(pair.high) for pair in pairs if pair.estimand != WINS)
    bars = f"bars: {level:g} % by sign flips" + ", with a triangle where they have no end" * is_open
    margin = 100 * (np.exp(log1p(found.question.margin)) - 1)
    strip = f"±{found.question.points:g} points" if pairs[0].metric.endswith("_error") else (
        f"±{margin:.3g} %")  # fmt: skip
    return (
        f"{seeds} paired seeds; {bars}; grey: {strip}; "
        f"verdicts by Holm over {sum(pair.random for pair in found.rows)} pairs"
    )
