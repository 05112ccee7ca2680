"""The figure of a group that failed: baseline and run, lane by lane, and their medians."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from optbench.gate.figure import NOW, THEN, draw_beside
from optbench.gate.save import thinned
from optbench.records import Status
from optbench.report.plots.signs import LEAVES
from tests.gate.made import edited, function_lanes, made, network_lanes, saved
from tests.report.runs import Lane


def lines(figure, color):
    """Return the points of a side's lanes, and the line of its median."""
    (axes,) = figure.axes
    (median,) = [
        line for line in axes.lines if line.get_color() == color and line.get_label() != LEAVES
    ]
    lanes = [
        segment
        for part in axes.collections
        if to_hex(part.get_color()[0]).upper() == color
        for segment in part.get_segments()
    ]
    return lanes, median


def test_each_side_has_its_lanes_and_their_median():
    run = made(network_lanes())
    worse = replace(run, trace=run.trace.assign(loss=1.5 * run.trace["loss"]))
    figure = draw_beside(saved(run), worse, "mnist-mlp", "adam")
    (axes,) = figure.axes
    assert axes.get_title() == "Adam on mnist-mlp"
    assert axes.get_xlabel() == "iteration"
    (then, median_then), (now, median_now) = lines(figure, THEN), lines(figure, NOW)
    assert len(then) == len(now) == 8
    np.testing.assert_allclose(median_now.get_ydata(), 1.5 * median_then.get_ydata())
    middle = np.median([lane[:, 1] for lane in then], axis=0)
    np.testing.assert_allclose(median_then.get_ydata(), middle)
    np.testing.assert_array_equal(median_now.get_xdata(), median_then.get_xdata())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["baseline, median of 8 lanes", "now, median of 8 lanes", "each lane"]
    assert axes.get_ylabel() == "loss, mean of 11 neighbouring rows"


@pytest.mark.parametrize(
    ("rows", "ticks"),
    [(120, ["0", "10", "20", "50", "100"]), (20_001, ["0", "10", "100", "1,000", "10,000"])],
)
def test_iterations_are_readable_whatever_their_number(rows, ticks):
    run = made([Lane("sgd", np.linspace(2.0, 1.0, rows), problem="mnist-mlp")])
    figure = draw_beside(saved(run, every=500), run, "mnist-mlp", "sgd")
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    texts = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [text.get_text() for at, text in texts if low <= at <= high] == ticks


def test_one_lane_is_drawn_as_it_is():
    run = made(function_lanes())
    figure = draw_beside(saved(run), run, "anisotropic", "sgd")
    faint, line = lines(figure, THEN)
    assert faint == []
    np.testing.assert_allclose(line.get_ydata(), 6.45 * 0.8 ** np.arange(31))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["baseline", "now"]
    assert figure.axes[0].get_ylabel() == "loss"
    assert lines(figure, NOW)[1].get_linestyle() == "--"


def test_what_is_straight_stays_straight_at_the_ends_and_where_rows_lie_farther_apart():
    run = made([Lane("sgd", 9.0 - 0.02 * np.arange(400), problem="mnist-mlp")])
    kept = thinned(run)
    assert set(kept["iteration"].diff().dropna()) > {1, 2, 10}
    figure = draw_beside(replace(saved(run), trace=kept), run, "mnist-mlp", "sgd")
    for color in (THEN, NOW):
        _, line = lines(figure, color)
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        np.testing.assert_allclose(y, 9.0 - 0.02 * x)
        assert (np.diff(x) > 0.0).all()


def test_the_axis_of_iterations_has_no_kink():
    run = made(function_lanes())
    (axes,) = draw_beside(saved(run), run, "anisotropic", "sgd").axes
    x = np.linspace(0.0, 500.0, 50_001)
    slopes = np.diff(axes.xaxis.get_transform().transform(x))
    assert (np.diff(slopes) < 0.0).all()
    assert (slopes[1:] / slopes[:-1] > 0.999).all()


def test_of_a_run_that_is_longer_rows_are_drawn_as_a_baseline_would_keep_them():
    short, long = (
        made([Lane("sgd", np.linspace(2.0, 1.0, rows), problem="mnist-mlp")]) for rows in (60, 500)
    )
    baseline = replace(saved(short), trace=thinned(short))
    x = np.asarray(lines(draw_beside(baseline, long, "mnist-mlp", "sgd"), NOW)[1].get_xdata())
    assert x[-1] > 400
    assert (x[1:] / x[:-1])[x[1:] > 60].max() < 1.1


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        (np.geomspace(1.0, 0.01, 31), "log"),
        (np.geomspace(1.0, 0.2, 31), "linear"),
        (np.r_[np.geomspace(1.0, 0.01, 30), 0.0], "log"),
        (np.r_[np.geomspace(1.0, 0.01, 30), -0.1], "linear"),
        (np.zeros(31), "linear"),
    ],
)
def test_losses_that_span_decades_and_are_not_below_zero_have_a_logarithmic_axis(losses, scale):
    run = made([Lane("sgd", losses)])
    (axes,) = draw_beside(saved(run), run, "anisotropic", "sgd").axes
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= losses.max() <= high
    drawn = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
    assert (low <= drawn).all()
    assert (drawn <= high).all()


def test_a_loss_that_runs_away_does_not_flatten_the_others():
    lanes = network_lanes(levels={"adam": 0.3}, seeds=range(3))
    run = made(lanes)
    away = made([replace(lanes[0], loss=2.3 * 10.0 ** np.arange(120)), *lanes[1:]])
    (axes,) = draw_beside(saved(run), away, "mnist-mlp", "adam").axes
    assert 2.3 < axes.get_ylim()[1] < 1e4


def test_a_lane_that_diverged_counts_as_worst():
    run = made(network_lanes(levels={"adam": 0.3}, seeds=range(3)))
    trace = run.trace[(run.trace["lane"] == 0) | (run.trace["iteration"] <= 20)]
    worse = replace(
        edited(run, "adam", (1, 2), status=Status.DIVERGED), trace=trace.reset_index(drop=True)
    )
    figure = draw_beside(saved(run), worse, "mnist-mlp", "adam")
    _, median = lines(figure, NOW)
    x, y = np.asarray(median.get_xdata()), np.asarray(median.get_ydata())
    assert np.isfinite(y[x <= 20]).all()
    assert not np.isfinite(y[x > 20]).any()


def test_nothing_is_drawn_of_a_side_that_has_nothing():
    run = made(network_lanes())
    other = made(network_lanes(levels={"sgd": 0.8}))
    assert draw_beside(saved(run), other, "mnist-mlp", "adam") is None
    assert draw_beside(saved(other), run, "mnist-mlp", "adam") is None


def test_a_run_that_runs_away_leaves_through_the_edge_and_the_legend_says_so():
    run = made(function_lanes())
    worse = replace(run, trace=run.trace.assign(loss=6.45 * 10.0 ** run.trace["iteration"]))
    figure = draw_beside(saved(run), worse, "anisotropic", "sgd")
    (axes,) = figure.axes
    (sign,) = [line for line in axes.lines if line.get_label() == LEAVES]
    assert sign.get_color() == NOW
    assert 3.0 <= sign.get_xdata()[0] < 5.0
    assert sign.get_ydata()[0] == axes.get_ylim()[1]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["baseline", "now", LEAVES]
