from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.style import KNOWN
from optbench.report.statistics import smooth
from tests.report.runs import (
    Lane,
    function_lane,
    function_problem,
    function_run,
    network_lane,
    network_loss,
    network_problem,
    network_run,
    swept_run,
    tables,
)


def axes_of(run, **options):
    problem = run.meta["problems"][0]["problem"]
    return draw("loss", run, problem, PlotOptions(**options)).axes[0]


def curve(axes, label):
    """Return the line that the legend calls by this name."""
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def crosses(axes):
    return [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata()) == 1]


def bands(axes):
    return [each for each in axes.collections if isinstance(each, PolyCollection)]


def shown_legend(axes):
    return [text.get_text() for text in axes.figure.legends[0].get_texts()]


def diverging(label, rows, seed=0, **changes):
    """Return a network's lane that explodes: its last row is not finite."""
    loss = np.r_[np.geomspace(2.3, 1e6, rows - 1), np.nan]
    return network_lane(
        label, seed=seed, loss=loss, evaluations=[], status=Status.DIVERGED, **changes
    )


def test_a_network_has_smoothed_curves_from_0_to_1_in_the_order_of_the_suite():
    run = network_run()
    axes = axes_of(run)
    assert shown_legend(axes) == ["SGD", "Momentum", "AdaGrad", "Adam"]
    assert axes.get_ylim() == (0.0, 1.0)
    assert axes.get_yscale() == "linear"
    line = curve(axes, "Adam")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(200))
    np.testing.assert_allclose(line.get_ydata(), smooth(network_loss(0.25)))
    assert (line.get_color(), line.get_marker()) == (KNOWN["adam"].color, "D")
    assert axes.get_ylabel() == "loss, smoothed over 11 iterations"
    assert axes.get_xlabel() == "iteration"
    assert not bands(axes)
    assert axes.figure.legends[0].get_title().get_text() == ""


@pytest.mark.parametrize(
    ("rows", "every"), [(5, 1), (30, 3), (200, 20), (1000, 100), (2000, 100), (20000, 400)]
)
def test_markers_stand_every_hundred_iterations_or_about_ten_on_a_short_curve(rows, every):
    run = tables([network_lane("sgd", loss=network_loss(0.5, rows=rows))], [network_problem()])
    assert curve(axes_of(run), "SGD").get_markevery() == every


def test_a_network_that_does_not_come_below_one_is_shown_all_the_same():
    run = tables([network_lane("sgd", loss=np.linspace(2.3, 1.5, 50))], [network_problem()])
    low, high = axes_of(run).get_ylim()
    assert 1.3 < low < 1.5
    assert 2.2 < high < 2.4


def test_limits_asked_for_are_taken():
    assert axes_of(network_run(), ylim=(0.1, 0.5)).get_ylim() == (0.1, 0.5)


def test_several_seeds_are_a_median_with_a_band():
    axes = axes_of(network_run(seeds=3))
    each = np.stack([smooth(network_loss(0.25, seed)) for seed in range(3)])
    np.testing.assert_allclose(curve(axes, "Adam").get_ydata(), np.median(each, axis=0))
    band = [part for part in bands(axes) if part.get_paths()][-1]
    np.testing.assert_allclose(band.get_facecolor()[0][:3], to_rgba(KNOWN["adam"].color)[:3])
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    np.testing.assert_allclose((low, high), (each.min(), each.max()))
    title = axes.figure.legends[0].get_title().get_text()
    assert title == "median of 3 seeds, band from minimum to maximum"


def test_ten_seeds_have_a_band_without_the_tails():
    axes = axes_of(network_run(seeds=11))
    each = np.stack([smooth(network_loss(0.25, seed)) for seed in range(11)])
    top = [part for part in bands(axes) if part.get_paths()][-1].get_paths()[0].vertices[:, 1].max()
    np.testing.assert_allclose(top, np.quantile(each, 0.9, axis=0).max())
    assert axes.figure.legends[0].get_title().get_text().endswith("band from 10 to 90 %")


def test_functions_are_not_smoothed_unless_asked_for():
    run = function_run()
    loss = run.trace.loc[run.trace["lane"] == 0, "loss"].to_numpy()
    axes = axes_of(run)
    np.testing.assert_array_equal(curve(axes, "SGD").get_ydata(), loss)
    assert axes.get_ylabel() == "loss"
    smoothed = curve(axes_of(run, smooth=5), "SGD").get_ydata()
    np.testing.assert_allclose(smoothed, smooth(loss, 5))


def test_a_function_over_more_than_three_decades_has_a_logarithmic_axis():
    assert axes_of(function_run()).get_yscale() == "log"


@pytest.mark.parametrize("last", [0.01, 0.0, -5.0])
def test_other_functions_have_a_linear_axis(last):
    run = tables([Lane("sgd", [5.0, 3.0, last])], [function_problem()])
    axes = axes_of(run)
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] < last
    assert axes.get_ylim()[1] > 5.0


def test_a_limit_at_zero_keeps_the_axis_linear():
    assert axes_of(function_run(), ylim=(0.0, 7.0)).get_yscale() == "linear"


def test_a_logarithmic_axis_is_drawn_when_asked_for():
    axes = axes_of(network_run(), log=True)
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < 0.21
    assert axes.get_ylim()[1] > 2.2


def test_a_logarithmic_axis_needs_a_loss_above_zero():
    run = tables([Lane("sgd", [-1.0, -2.0])], [function_problem()])
    with pytest.raises(UsageError, match="losses above 0; 'anisotropic' has none"):
        axes_of(run, log=True)


def test_a_logarithmic_axis_shows_what_is_above_zero_of_mixed_losses():
    run = tables([Lane("sgd", [-1.0, 2.0, 1.0])], [function_problem()])
    low, high = axes_of(run, log=True).get_ylim()
    assert 0 < low < 1.0 < 2.0 < high


def test_what_converges_or_explodes_without_end_does_not_squash_the_rest():
    rows = np.arange(31)
    lanes = [
        Lane("sgd", 6.0 * 19.0 ** (2 * rows)),
        Lane("adagrad", 6.0 * 1e-3**rows),
        Lane("adam", 6.0 * 0.8**rows),
    ]
    low, high = axes_of(tables(lanes, [function_problem()])).get_ylim()
    assert 6e-8 < low < 6e-6
    assert 6e3 < high < 6e4


def test_epochs_and_seconds_stretch_the_horizontal_axis():
    axes = axes_of(network_run(), x="epoch")
    assert axes.get_xlabel() == "epoch"
    np.testing.assert_allclose(curve(axes, "SGD").get_xdata()[-1], 199 / 40)
    axes = axes_of(network_run(), x="seconds")
    assert axes.get_xlabel() == "time in seconds"
    np.testing.assert_allclose(curve(axes, "SGD").get_xdata()[-1], 199e-5)


def test_a_function_has_no_epochs():
    with pytest.raises(UsageError, match="'anisotropic' has no epochs; x must be iteration or"):
        axes_of(function_run(), x="epoch")


def test_seconds_need_a_time_a_step():
    run = tables([function_lane("sgd", step_seconds=None)], [function_problem()])
    with pytest.raises(UsageError, match="no step time of 'anisotropic'"):
        axes_of(run, x="seconds")


def test_of_a_grid_the_best_stands_out_and_the_rest_is_faint():
    axes = axes_of(swept_run())
    assert shown_legend(axes) == ["SGD, lr=0.1", "Adam, lr=1"]
    faint = [line for line in axes.lines if line.get_alpha() is not None]
    assert len(faint) == 8
    assert {line.get_color() for line in faint} == {KNOWN["sgd"].color, KNOWN["adam"].color}
    assert max(line.get_zorder() for line in faint) < curve(axes, "Adam, lr=1").get_zorder()


def test_a_diverged_lane_ends_with_a_cross_and_the_legend_says_so():
    run = tables([diverging("sgd", 51), network_lane("adam")], [network_problem()])
    axes = axes_of(run)
    assert shown_legend(axes) == ["SGD (diverged at 50)", "Adam"]
    line = curve(axes, "SGD (diverged at 50)")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(50))
    (cross,) = crosses(axes)
    np.testing.assert_array_equal(cross.get_xydata(), [[49, 1.0]])  # on the upper edge
    assert cross.get_color() == KNOWN["sgd"].color
    assert not cross.get_clip_on()


def test_a_cross_inside_the_axes_stands_on_the_last_finite_loss():
    loss = [5.0, 3.0, 2.0, np.nan]
    run = tables([Lane("sgd", loss, status=Status.DIVERGED)], [function_problem()])
    (cross,) = crosses(axes_of(run))
    np.testing.assert_array_equal(cross.get_xydata(), [[2, 2.0]])


def test_diverged_seeds_are_drawn_one_by_one_and_counted():
    lanes = [network_lane("sgd", seed) for seed in range(2)] + [diverging("sgd", 31, seed=2)]
    axes = axes_of(tables(lanes, [network_problem()]))
    assert shown_legend(axes) == ["SGD (1 of 3 diverged)"]
    (cross,) = crosses(axes)
    assert cross.get_xdata()[0] == 29
    assert len(axes.lines) == 3
    median = curve(axes, "SGD (1 of 3 diverged)").get_ydata()
    each = np.stack([smooth(network_loss(0.8, seed)) for seed in range(2)])
    np.testing.assert_allclose(median[40:], each.max(axis=0)[40:])  # the worst of the other two
    bounded, unbounded = bands(axes)
    assert unbounded.get_alpha() < bounded.get_alpha()
    assert unbounded.get_paths()[0].vertices[:, 0].min() == 30
    assert np.isfinite(unbounded.get_paths()[0].vertices).all()
    assert unbounded.get_paths()[0].vertices[:, 1].max() > 1.0


def test_a_median_of_diverged_lanes_ends_with_them():
    lanes = [diverging("sgd", 31, seed=0), diverging("sgd", 21, seed=1), network_lane("sgd", 2)]
    axes = axes_of(tables(lanes, [network_problem()]))
    assert len(curve(axes, "SGD (2 of 3 diverged)").get_xdata()) == 30


def test_a_lane_that_failed_at_once_is_in_the_legend_and_has_a_cross():
    failed = Lane("adam", [], status=Status.FAILED, step_seconds=None)
    run = tables([function_lane("sgd"), failed], [function_problem()])
    for options in ({}, {"x": "seconds"}):
        axes = axes_of(run, **options)
        assert shown_legend(axes) == ["SGD", "Adam (failed)"]
        (cross,) = crosses(axes)
        np.testing.assert_array_equal(cross.get_xydata(), [[0.0, axes.get_ylim()[1]]])


def test_only_the_problem_asked_for_is_drawn():
    lanes = [function_lane("sgd"), network_lane("adam")]
    run = tables(lanes, [function_problem(), network_problem()])
    assert shown_legend(axes_of(run)) == ["SGD"]
    swapped = replace(run, meta=run.meta | {"problems": run.meta["problems"][::-1]})
    assert shown_legend(axes_of(swapped)) == ["Adam"]
