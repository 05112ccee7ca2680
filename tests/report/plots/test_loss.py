from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb, to_rgba

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.joined import joined
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.signs import BOUNDLESS, LEAVES, OTHERS, SIGNS
from optbench.report.plots.style import FAINT, KNOWN
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
    with_every,
)


def axes_of(run, **options):
    problem = run.meta["problems"][0]["problem"]
    return draw("loss", run, problem, PlotOptions(**options)).axes[0]


def of_losses(*losses, **changes):
    """Return a run of SGD, AdaGrad and so on with these losses on a function."""
    labels = ("sgd", "adagrad", "adam")
    lanes = [Lane(label, loss, **changes) for label, loss in zip(labels, losses, strict=False)]
    return tables(lanes, [function_problem()])


def curve(axes, label):
    """Return the line that the legend calls by this name."""
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def crosses(axes):
    return [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata()) == 1]


def bands(axes):
    return [each for each in axes.collections if isinstance(each, PolyCollection)]


def shown_legend(axes):
    """Return the names of curves that the legend has; after them it has its signs."""
    texts = [text.get_text().replace("\n", " ") for text in axes.figure.legends[0].get_texts()]
    return [text for text in texts if text not in SIGNS]


def ylabel(axes):
    return axes.get_ylabel().replace("\n", " ")


def diverging(label, rows, seed=0):
    """Return a network's lane that explodes: its last row is not finite."""
    loss = np.r_[np.geomspace(2.3, 1e6, rows - 1), np.nan]
    return network_lane(label, seed, loss=loss, evaluations=[], status=Status.DIVERGED)


def title(axes):
    return axes.figure.legends[0].get_title().get_text()


def on_network(*lanes):
    return tables(lanes, [network_problem()])


def test_a_network_has_smoothed_curves_from_0_up_in_the_order_of_the_suite():
    run = network_run()
    axes = axes_of(run)
    assert shown_legend(axes) == ["SGD", "Momentum", "AdaGrad", "Adam"]
    low, high = axes.get_ylim()
    assert low == 0.0
    assert 1.0 < high < 1.5  # without the first steep descent
    assert axes.get_yscale() == "linear"
    line = curve(axes, "Adam")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(200))
    np.testing.assert_allclose(line.get_ydata(), smooth(network_loss(0.25)))
    assert (line.get_color(), line.get_marker()) == (KNOWN["adam"].color, "D")
    assert ylabel(axes) == ("mean minibatch loss after the update, smoothed over 11 iterations")
    assert axes.get_xlabel() == "iteration"
    assert not bands(axes)
    assert axes.figure.legends[0].get_title().get_text() == ""


@pytest.mark.parametrize(
    ("rows", "every"), [(5, 1), (30, 3), (200, 20), (1000, 100), (2000, 100), (20000, 400)]
)
def test_markers_stand_every_hundred_iterations_or_about_ten_on_a_short_curve(rows, every):
    run = on_network(network_lane("sgd", loss=network_loss(0.5, rows=rows)))
    assert curve(axes_of(run), "SGD").get_markevery() == every


def test_a_network_that_does_not_come_below_one_is_shown_all_the_same():
    low, high = axes_of(on_network(network_lane("sgd", loss=np.linspace(2.3, 1.5, 50)))).get_ylim()
    assert 1.3 < low < 1.5
    assert 2.2 < high < 2.4


@pytest.mark.parametrize(
    ("seeds", "tail", "says"),
    [(3, 0.0, "band from minimum to maximum"), (11, 0.1, "band from 10 to 90 %")],
)
def test_several_seeds_are_a_median_with_a_band(seeds, tail, says):
    axes = axes_of(network_run(seeds=seeds))
    each = np.stack([smooth(network_loss(0.25, seed)) for seed in range(seeds)])
    np.testing.assert_allclose(curve(axes, "Adam").get_ydata(), np.median(each, axis=0))
    band = [part for part in bands(axes) if part.get_paths()][-1]
    np.testing.assert_allclose(band.get_facecolor()[0][:3], to_rgba(KNOWN["adam"].color)[:3])
    heights = band.get_paths()[0].vertices[:, 1]
    low, high = np.quantile(each, [tail, 1.0 - tail], axis=0)
    np.testing.assert_allclose((heights.min(), heights.max()), (low.min(), high.max()))
    assert title(axes) == f"median of {seeds} seeds, {says}"


def test_the_band_may_be_the_interval_of_the_median():
    axes = axes_of(network_run(seeds=12), band="interval")
    each = np.sort([smooth(network_loss(0.25, seed)) for seed in range(12)], axis=0)
    np.testing.assert_allclose(curve(axes, "Adam").get_ydata(), np.median(each, axis=0))
    band = [part for part in bands(axes) if part.get_paths()][-1]
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((each[2].min(), each[9].max()))
    note = "median of 12 seeds, band: its 95 % interval at each iteration (ranks 3 to 10)"
    assert title(axes) == note


@pytest.mark.parametrize(("seeds", "curves"), [(1, "one seed"), (5, "median of 5 seeds")])
def test_where_there_is_no_interval_there_is_no_band_and_the_legend_says_so(seeds, curves):
    axes = axes_of(network_run(seeds=seeds), band="interval")
    assert not [part for part in bands(axes) if part.get_paths()]
    assert title(axes) == f"{curves}, too few for a 95 % interval, which takes 6"


@pytest.mark.parametrize(
    ("counts", "band", "note"),
    [
        ((3, 7), "spread", "median of 3 to 7 seeds, band from minimum to maximum"),
        ((1, 7), "spread", "median of 1 to 7 seeds, band from minimum to maximum"),
        ((1, 12), "spread", "median of 1 to 12 seeds, band from 10 to 90 %"),
        (
            (3, 12),
            "spread",
            "median of 3 to 12 seeds, band from minimum to maximum below 10 seeds, 10 to 90 % "
            "from there",
        ),
        (
            (7, 12),
            "interval",
            "median of 7 to 12 seeds, band: its 95 % interval at each iteration",
        ),
        (
            (3, 12),
            "interval",
            "median of 3 to 12 seeds, band: its 95 % interval at each iteration from 6 seeds",
        ),
    ],
)
def test_bands_of_unlike_numbers_of_seeds_are_named_too(counts, band, note):
    """So it is where runs with other seeds share a figure."""
    lanes = [
        network_lane(label, seed)
        for label, count in zip(("sgd", "adam"), counts, strict=True)
        for seed in range(count)
    ]
    axes = axes_of(on_network(*lanes), band=band)
    assert title(axes) == note
    drawn = [part for part in bands(axes) if part.get_paths()]
    least = 6 if band == "interval" else 2
    assert len(drawn) == len([count for count in counts if count >= least])


def test_functions_are_not_smoothed_unless_asked_for():
    run = function_run()
    loss = run.trace.loc[run.trace["lane"] == 0, "loss"].to_numpy()
    axes = axes_of(run)
    np.testing.assert_array_equal(curve(axes, "SGD").get_ydata(), loss)
    assert axes.get_ylabel() == "loss"
    smoothed = curve(axes_of(run, smooth=5), "SGD").get_ydata()
    np.testing.assert_allclose(smoothed, smooth(loss, 5))


def test_a_function_over_more_than_three_decades_has_a_logarithmic_axis_unless_a_limit_is_zero():
    assert axes_of(function_run()).get_yscale() == "log"
    assert axes_of(function_run(), ylim=(0.0, 7.0)).get_yscale() == "linear"
    assert axes_of(network_run(), ylim=(0.1, 0.5)).get_ylim() == (0.1, 0.5)


@pytest.mark.parametrize("last", [0.01, 0.0, -5.0])
def test_other_functions_have_a_linear_axis(last):
    axes = axes_of(of_losses([5.0, 3.0, last]))
    assert axes.get_yscale() == "linear"
    low, high = axes.get_ylim()
    assert low < last
    assert high > 5.0


def test_a_logarithmic_axis_is_drawn_when_asked_for():
    axes = axes_of(network_run(), log=True)
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < 0.21
    assert axes.get_ylim()[1] > 2.2


def test_a_logarithmic_axis_shows_the_losses_above_zero_and_needs_one():
    low, high = axes_of(of_losses([-1.0, 2.0, 1.0]), log=True).get_ylim()
    assert 0 < low < 1.0 < 2.0 < high
    with pytest.raises(UsageError, match="losses above 0; 'anisotropic' has none"):
        axes_of(of_losses([-1.0, -2.0]), log=True)


def test_what_converges_or_explodes_without_end_does_not_squash_the_rest():
    rows = np.arange(31)
    run = of_losses(6.0 * 19.0 ** (2 * rows), 6.0 * 1e-3**rows, 6.0 * 0.8**rows)
    low, high = axes_of(run).get_ylim()
    followed = 1e-10 * 6.0 * 0.8**30  # ten decades below the next curve
    assert followed / 100 < low < followed
    assert 6e3 < high < 6e4


def test_a_curve_that_stays_high_is_in_the_figure():
    falling, staying = network_loss(0.05), np.full(200, 2.3)
    axes = axes_of(
        on_network(network_lane("adam", loss=falling), network_lane("sgd", loss=staying))
    )
    low, high = axes.get_ylim()
    assert low == 0.0
    assert 2.3 < high < 3.0
    low, high = axes_of(on_network(network_lane("adam", loss=falling))).get_ylim()
    assert low == 0.0
    assert falling[-1] < high < 0.5  # the steep descent is not what there is to see


def test_a_logarithmic_axis_holds_the_tail_of_a_single_curve():
    losses = np.geomspace(10.0, 1e-140, 31)
    low, high = axes_of(of_losses(losses)).get_ylim()
    assert 1e-155 < low < 1e-140
    assert 10.0 < high < 1e9


@pytest.mark.parametrize("tail", [0.0, 1e-200])
def test_what_falls_below_a_logarithmic_axis_runs_along_its_floor(tail):
    axes = axes_of(of_losses([10.0, 1e-3, 1e-9, tail, tail], [10.0, 1.0, 0.1, 0.1, 0.1]))
    assert axes.get_yscale() == "log"
    heights = curve(axes, "SGD").get_ydata()
    assert axes.get_ylim()[0] < heights[3] == heights[4] < 1.1e-9
    assert [text.get_text() for text in axes.texts] == ["this or less"]
    assert not axes_of(of_losses([10.0, 1e-3, 1e-9])).texts


def test_a_curve_that_rises_out_of_the_figure_has_a_sign_where_it_leaves():
    axes = axes_of(of_losses([5.0, 6.0, 1e6, 1e9], [5.0, 4.0, 3.0, 2.0]))
    (sign,) = [line for line in axes.lines if line.get_label() == LEAVES]
    ((x, y),) = sign.get_xydata()
    assert 1.0 < x < 2.0
    assert y == axes.get_ylim()[1]
    assert sign.get_color() == KNOWN["sgd"].color
    assert not crosses(axes)


def test_a_thousand_lanes_are_few_artists():
    lanes = [
        function_lane("sgd", hyperparameters={"lr": lr}) for lr in np.geomspace(1e-4, 1.0, 1000)
    ]
    axes = axes_of(tables(lanes, [function_problem()]))
    assert len(axes.get_children()) < 50
    (faint,) = axes.collections
    assert len(faint.get_segments()) == 999
    assert not faint.get_in_layout()


@pytest.mark.parametrize(
    ("x", "label", "end"), [("epoch", "epoch", 199 / 40), ("seconds", "time in seconds", 199e-5)]
)
def test_epochs_and_seconds_stretch_the_horizontal_axis(x, label, end):
    axes = axes_of(network_run(), x=x)
    assert axes.get_xlabel() == label
    np.testing.assert_allclose(curve(axes, "SGD").get_xdata()[-1], end)


def test_epochs_and_seconds_need_batches_and_times():
    with pytest.raises(UsageError, match="'anisotropic' has no epochs; x must be iteration or"):
        axes_of(function_run(), x="epoch")
    with pytest.raises(UsageError, match="no step time of 'anisotropic'"):
        axes_of(of_losses([2.0, 1.0], step_seconds=None), x="seconds")


def test_of_a_grid_the_best_stands_out_and_the_rest_is_faint():
    axes = axes_of(swept_run())
    assert shown_legend(axes) == ["SGD, lr=0.1", "Adam, lr=1"]
    assert [len(part.get_segments()) for part in axes.collections] == [4, 4]
    assert {part.get_label() for part in axes.collections} == {OTHERS}
    assert "of each grid the best by final loss" in title(axes)
    for part, label in zip(axes.collections, ("adam", "sgd"), strict=True):
        *color, alpha = part.get_color()[0]  # over white as faint as a band
        seen = 1 - alpha * (1 - np.array(color))
        np.testing.assert_allclose(seen, 1 - FAINT * (1 - np.array(to_rgb(KNOWN[label].color))))
    front = curve(axes, "Adam, lr=1").get_zorder()
    assert all(part.get_zorder() < front and part.get_rasterized() for part in axes.collections)


def test_a_diverged_lane_ends_with_a_cross_and_the_legend_says_so():
    axes = axes_of(on_network(diverging("sgd", 51), network_lane("adam")))
    assert shown_legend(axes) == ["SGD (diverged at 50)", "Adam"]
    line = curve(axes, "SGD (diverged at 50)")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(50))
    (cross,) = crosses(axes)
    np.testing.assert_array_equal(cross.get_xydata(), [[49, axes.get_ylim()[1]]])
    assert cross.get_color() == KNOWN["sgd"].color
    assert not cross.get_clip_on()
    (cross,) = crosses(axes_of(of_losses([5.0, 3.0, 2.0, np.nan], status=Status.DIVERGED)))
    np.testing.assert_array_equal(cross.get_xydata(), [[2, 2.0]])  # on the last finite loss


def test_diverged_seeds_are_drawn_one_by_one_and_counted():
    lanes = [network_lane("sgd", seed) for seed in range(2)] + [diverging("sgd", 31, seed=2)]
    axes = axes_of(tables(lanes, [network_problem()]))
    assert shown_legend(axes) == ["SGD (1 of 3 diverged)"]
    (cross,) = crosses(axes)
    assert cross.get_xdata()[0] == 29
    (lost,) = [part for part in axes.collections if isinstance(part, LineCollection)]
    assert [len(segment) for segment in lost.get_segments()] == [30]
    median = curve(axes, "SGD (1 of 3 diverged)").get_ydata()
    each = np.stack([smooth(network_loss(0.8, seed)) for seed in range(2)])
    np.testing.assert_allclose(median[40:], each.max(axis=0)[40:])  # the worst of the other two
    bounded, unbounded = bands(axes)
    assert unbounded.get_alpha() < bounded.get_alpha()
    assert unbounded.get_label() == BOUNDLESS
    assert unbounded.get_paths()[0].vertices[:, 0].min() == 30
    assert np.isfinite(unbounded.get_paths()[0].vertices).all()
    assert unbounded.get_paths()[0].vertices[:, 1].max() > 1.0


def test_an_interval_whose_end_diverged_is_paler_from_there():
    lanes = [network_lane("sgd", seed) for seed in range(9)]
    run = on_network(*lanes, *(diverging("sgd", 31, seed) for seed in (9, 10)))
    bounded, unbounded = (part for part in bands(axes_of(run, band="interval")))
    assert unbounded.get_alpha() < bounded.get_alpha()
    # Of 11 lanes the ends are the 2nd and the 10th: two diverged lanes take the upper one away.
    assert unbounded.get_paths()[0].vertices[:, 0].min() == 30
    lanes = [network_lane("sgd", seed) for seed in range(10)]
    # The 10th is still a finite one.
    assert len(bands(axes_of(on_network(*lanes, diverging("sgd", 31, 10)), band="interval"))) == 1


def test_a_median_of_diverged_lanes_ends_with_them():
    lanes = [diverging("sgd", 31, seed=0), diverging("sgd", 21, seed=1), network_lane("sgd", 2)]
    axes = axes_of(on_network(*lanes))
    median = curve(axes, "SGD (2 of 3 diverged)")
    assert median.get_xdata()[-1] == 30  # where it is infinite, beyond the edge
    assert median.get_ydata()[-1] > axes.get_ylim()[1]


def test_a_lane_that_failed_at_once_is_in_the_legend_and_has_a_cross():
    failed = Lane("adam", [], status=Status.FAILED, step_seconds=None)
    run = tables([function_lane("sgd"), failed], [function_problem()])
    for options in ({}, {"x": "seconds"}):
        axes = axes_of(run, **options)
        assert shown_legend(axes) == ["SGD", "Adam (failed)"]
        (cross,) = crosses(axes)
        np.testing.assert_array_equal(cross.get_xydata(), [[0.0, axes.get_ylim()[1]]])


def runs_of(tmp_path, *runs):
    """Return runs of a network as if each were in a directory of its own."""
    return [
        replace(run, path=tmp_path / f"run-20260101T00000{place}Z-0000000{place}")
        for place, run in enumerate(runs)
    ]


def test_several_runs_share_a_figure_a_colour_a_rule_and_a_line_a_run(tmp_path):
    one = on_network(*(network_lane(label, seed) for label in ("sgd", "adam") for seed in range(3)))
    halved = (network_loss(0.8, seed) / 2 for seed in range(7))
    two = on_network(*(network_lane("sgd", seed, loss=loss) for seed, loss in enumerate(halved)))
    axes = axes_of(joined(runs_of(tmp_path, one, two)))
    names = ["SGD (00000000)", "SGD (00000001)", "Adam"]
    assert shown_legend(axes) == names
    first, second, adam = (curve(axes, name) for name in names)
    np.testing.assert_array_equal(first.get_ydata(), curve(axes_of(one), "SGD").get_ydata())
    np.testing.assert_array_equal(second.get_ydata(), curve(axes_of(two), "SGD").get_ydata())
    assert first.get_color() == KNOWN["sgd"].color
    assert second.get_color() != first.get_color()
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert first.get_marker() == second.get_marker() == "o"
    assert second.get_markerfacecolor() == "white"
    assert adam.get_color() == KNOWN["adam"].color
    assert title(axes) == "median of 3 to 7 seeds, band from minimum to maximum"


def test_seconds_of_several_runs_are_not_compared(tmp_path):
    together = joined(runs_of(tmp_path, network_run(), network_run()))
    with pytest.raises(UsageError, match="seconds of several runs are not alike"):
        axes_of(together, x="seconds")
    axes_of(together, x="epoch")


def test_only_the_problem_asked_for_is_drawn():
    lanes = [function_lane("sgd"), network_lane("adam")]
    run = tables(lanes, [function_problem(), network_problem()])
    assert shown_legend(axes_of(run)) == ["SGD"]
    swapped = replace(run, meta=run.meta | {"problems": run.meta["problems"][::-1]})
    assert shown_legend(axes_of(swapped)) == ["Adam"]


def test_rows_that_were_kept_lie_at_their_iterations_and_are_not_smoothed():
    run = with_every(network_run(), 30)
    axes = axes_of(run)
    (line,) = [each for each in axes.lines if each.get_label() == "SGD"]
    rows = run.trace[run.trace["lane"] == 0]
    assert line.get_xdata().tolist() == rows["iteration"].tolist() == [*range(0, 200, 30), 199]
    np.testing.assert_array_equal(line.get_ydata(), rows["loss"])
    assert ylabel(axes) == "mean minibatch loss after the update, every 30th row"
    (line,) = [each for each in axes_of(run, x="epoch").lines if each.get_label() == "SGD"]
    np.testing.assert_allclose(line.get_xdata(), rows["iteration"] / 40)
    assert ylabel(axes_of(run, smooth=1)).endswith(", every 30th row")
    with pytest.raises(UsageError, match="the run kept every 30th row of its trace, and smoothing"):
        axes_of(run, smooth=11)


def test_a_lane_that_was_lost_is_marked_at_its_last_row_that_was_kept():
    lanes = [
        network_lane("sgd", 0.25),
        Lane("adam", diverging("adam", 35).loss, "mnist-mlp", status=Status.DIVERGED),
    ]
    axes = axes_of(with_every(tables(lanes, [network_problem()]), 10))
    assert [each.get_xdata()[0] for each in crosses(axes)] == [30]


def test_of_the_first_and_the_last_row_no_curve_is_drawn():
    run = with_every(network_run(), None)
    with pytest.raises(UsageError) as caught:
        axes_of(run)
    reason = "cannot draw loss of 'mnist-mlp': the run kept the first and the last row of its trace"
    assert str(caught.value).startswith(reason)


def test_runs_of_which_one_was_thinned_are_drawn_without_smoothing():
    whole = network_run()
    other = replace(with_every(whole, 30), path=whole.path.with_name("other"))
    axes = axes_of(joined([whole, other]))
    assert ylabel(axes).endswith(", every 30th row")
    curves = [each for each in axes.lines if each.get_label().startswith(("SGD", "Adam"))]
    lengths = {len(each.get_xdata()) for each in curves}
    assert lengths == {200, 8}
