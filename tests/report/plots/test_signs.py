"""Curves that leave the figure are marked where they do."""

import numpy as np
import pytest
from matplotlib.path import Path

from optbench.records import Status
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.sheet import new_figure
from optbench.report.plots.signs import (
    ENTERS,
    LEAVES,
    LOST,
    OTHERS,
    SIGNS,
    crossings,
    mark_edges,
    reached,
)
from tests.report.runs import Lane, function_problem, network_run, swept_run, tables


def axes_with(low, high, scale="linear"):
    axes = new_figure(4.0).add_subplot()
    axes.set_yscale(scale)
    axes.set_ylim(low, high)
    return axes


def found(axes, values, x=None):
    x = np.arange(len(values), dtype=float) if x is None else x
    return [[each.tolist() for each in edge] for edge in crossings(axes, x, np.array(values))]


@pytest.mark.parametrize(
    ("values", "below", "above"),
    [
        ([0.5, 0.5, 0.5], [[], []], [[], []]),
        ([0.5, 1.5, 0.5], [[], []], [[0.5], [1.5]]),
        ([0.5, -0.5, -0.5, 0.5], [[0.5], [2.5]], [[], []]),
        ([1.5, 0.5, 0.5], [[], []], [[], [0.5]]),  # begins above and comes in
        ([0.5, 0.5, 1.5], [[], []], [[1.5], []]),
        ([1.5, 1.5, 1.5], [[], []], [[0.0], []]),  # is never seen
        ([-1.0, 2.0], [[], [1 / 3]], [[2 / 3], []]),  # passes through
        ([0.5, 1.0, 0.5], [[], []], [[], []]),  # touches the edge
    ],
)
def test_where_a_curve_crosses_an_edge(values, below, above):
    seen = found(axes_with(0.0, 1.0), values)
    for edge, wanted in zip(seen, (below, above), strict=True):
        for places, expected in zip(edge, wanted, strict=True):
            np.testing.assert_allclose(places, expected, atol=1e-12)


def test_on_a_logarithmic_axis_it_crosses_where_its_line_is_seen_to():
    below, above = found(axes_with(1e-2, 1e2, "log"), [1.0, 1e-4, 1.0, 1e3])
    np.testing.assert_allclose(below, [[0.5], [1.5]])
    np.testing.assert_allclose(above[0], [2 + 2 / 3])
    assert above[1] == []


@pytest.mark.parametrize("last", [0.0, -1.0, 1e-320])
def test_what_has_no_place_on_a_logarithmic_axis_goes_down_through_its_edge(last):
    axes = axes_with(1e-2, 1e2, "log")
    assert 0 < reached(axes, np.array([last]))[0] < 1e-2
    (leaves, enters), above = found(axes, [1.0, last])
    assert len(leaves) == 1
    assert 0 < leaves[0] < 1
    assert (enters, above) == ([], [[], []])


def test_what_is_infinite_goes_out_through_the_upper_edge():
    for scale in ("linear", "log"):
        axes = axes_with(0.1, 1.0, scale)
        assert 1.0 < reached(axes, np.array([np.inf]))[0] < np.inf
        assert len(found(axes, [0.5, np.inf])[1][0]) == 1


def test_absences_that_nearly_touch_are_one():
    values = [0.5, *[1.5, 0.9] * 30, *[0.5] * 200]
    (_, _), (leaves, enters) = found(axes_with(0.0, 1.0), values)
    assert (len(leaves), len(enters)) == (1, 1)
    np.testing.assert_allclose((leaves[0], enters[0]), (0.5, 59 + 5 / 6))


def test_signs_stand_on_the_edges_outside_the_axes():
    axes = axes_with(0.0, 1.0)
    mark_edges(axes, [(np.arange(4.0), np.array([0.5, 1.5, 0.5, -0.5]))], "black")
    signs = {line.get_label(): line for line in axes.lines if len(line.get_xdata()) == 1}
    places = [line.get_xydata().tolist() for line in axes.lines]
    assert places == [[[2.5, 0.0]], [[0.5, 1.0]], [[1.5, 1.0]]]
    assert set(signs) == {LEAVES, ENTERS}
    assert signs[ENTERS].get_markerfacecolor() == "white"
    for line in axes.lines:
        marker = line.get_marker()
        assert isinstance(marker, Path)
        side = np.sign(marker.vertices[:, 1].sum())
        assert side == (1 if line.get_ydata()[0] == 1.0 else -1)
        assert not line.get_clip_on()


# Whole figures.


def figures():
    """Yield runs whose curves leave the figure, whatever the axis."""
    climbing, falling = np.geomspace(5.0, 1e12, 20), np.geomspace(5.0, 1e-3, 20)
    wave = 5.0 + np.sin(np.arange(20))
    lost = {"status": Status.DIVERGED}
    yield "climbs", [Lane("sgd", climbing), Lane("adam", wave)], {}
    yield "falls", [Lane("sgd", falling), Lane("adam", falling[::2])], {"ylim": (0.1, 1.0)}
    yield "wave", [Lane("sgd", wave), Lane("adam", wave * 2)], {"ylim": (4.5, 5.5)}
    yield "log", [Lane("sgd", np.r_[falling, 0.0]), Lane("adam", wave)], {}
    yield "log ylim", [Lane("sgd", np.r_[falling, 0.0])], {"ylim": (0.1, 10.0), "log": True}
    yield "lost", [Lane("sgd", np.r_[climbing, np.inf], **lost), Lane("adam", wave)], {}
    seeds = [Lane("sgd", wave + seed, seed=seed) for seed in range(3)]
    yield "seeds", [*seeds, Lane("sgd", np.r_[climbing, np.nan], seed=3, **lost)], {}
    yield (
        "most lost",
        [
            Lane("sgd", wave[:9]),
            *(Lane("sgd", np.r_[wave[:k], np.inf], seed=k, **lost) for k in (4, 5)),
        ],
        {},
    )


@pytest.mark.parametrize(
    ("lanes", "options"), [pytest.param(*rest, id=name) for name, *rest in figures()]
)
def test_every_row_is_within_the_limits_or_a_sign_says_where_it_went(lanes, options):
    run = tables(lanes, [function_problem()])
    figure = draw("loss", run, "anisotropic", PlotOptions(**options))
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    drawn = [line for line in axes.lines if line.get_label() not in SIGNS]
    drawn = [line for line in drawn if not line.get_label().startswith("_")]  # the floor
    assert {line.get_label() for line in drawn} == {
        text.get_text() for text in figure.legends[0].get_texts()
    } - set(SIGNS)
    for line in drawn:
        color = line.get_color()
        signs = [
            each
            for each in axes.lines
            if each.get_label() in (LEAVES, ENTERS, LOST) and each.get_color() == color
        ]
        marked = np.sort(np.concatenate([np.empty(0), *(each.get_xdata() for each in signs)]))
        x, y = line.get_xdata(), line.get_ydata()
        assert np.isfinite(y).all()
        outside = (y < low * (1 - 1e-9) if low > 0 else y < low) | (y > high)
        if outside.any():
            first = int(np.argmax(outside))
            if first:  # it leaves between two rows
                assert ((marked >= x[first - 1]) & (marked <= x[first])).any()
            if not outside[-1]:
                last = len(x) - 1 - int(np.argmax(outside[::-1]))
                assert ((marked >= x[last]) & (marked <= x[last + 1])).any()
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    used = {line.get_label() for line in axes.lines} & {LEAVES, ENTERS, LOST}
    assert used <= shown


def test_a_median_that_is_lost_goes_out_through_the_top():
    lost = {"status": Status.DIVERGED}
    lanes = [
        Lane("sgd", np.linspace(5.0, 1.0, 12)),
        *(Lane("sgd", np.r_[np.full(k, 4.0), np.inf], seed=k, **lost) for k in (4, 5)),
    ]
    axes = draw("loss", tables(lanes, [function_problem()]), "anisotropic").axes[0]
    (median,) = [line for line in axes.lines if line.get_label() == "SGD (2 of 3 diverged)"]
    assert median.get_xdata()[-1] == 5
    assert median.get_ydata()[-1] > axes.get_ylim()[1]
    (sign,) = [
        line for line in axes.lines if line.get_label() == LEAVES and line.get_markersize() > 6
    ]
    assert 4 < sign.get_xdata()[0] < 5


def test_of_a_grid_faint_curves_that_leave_or_diverge_are_marked_and_explained():
    figure = draw("loss", swept_run(), "anisotropic")
    axes = figure.axes[0]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown[:2] == ["SGD, lr=0.1", "Adam, lr=1"]
    assert {OTHERS, LOST} <= set(shown)
    (cross,) = [line for line in axes.lines if line.get_label() == LOST]
    assert cross.get_xdata()[0] == 6  # the last finite row of lr = 10


def test_a_networks_first_descent_is_marked_where_it_comes_into_the_figure():
    axes = draw("loss", network_run(), "mnist-mlp").axes[0]
    enters = [line for line in axes.lines if line.get_label() == ENTERS]
    assert len(enters) == 4
    high = axes.get_ylim()[1]
    for line in axes.lines:
        if len(line.get_xdata()) > 1:
            (sign,) = [each for each in enters if each.get_color() == line.get_color()]
            x, y = line.get_xdata(), line.get_ydata()
            assert np.interp(sign.get_xdata()[0], x, y) == pytest.approx(high)


def test_a_sensitivity_beyond_given_limits_is_marked():
    run = swept_run()
    axes = draw("sensitivity", run, "anisotropic", PlotOptions(ylim=(1e-3, 1.0), log=True)).axes[0]
    assert {LEAVES, ENTERS} & {line.get_label() for line in axes.lines}
