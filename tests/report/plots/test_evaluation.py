"""Loss and error over whole splits."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.plots import PlotOptions, draw, drawable, kinds_for
from optbench.report.plots.axes import MANY
from optbench.report.plots.signs import CHOSEN, LEAVES, LOST
from optbench.report.plots.style import KNOWN
from tests.report.runs import network_lane, network_loss, network_problem, network_run, tables

TIMES = np.arange(0, 201, 40)
SPLITS = ("train", "validation", "test")
LINES = {"train": "--", "validation": "-", "test": ":"}


def value(split, time, seed=0, scale=1.0):
    """Return a loss that falls; the validation split's is lowest at 120."""
    base = {"train": np.exp(-time / 60), "validation": 0.4 + ((time - 120) / 120) ** 2, "test": 0.9}
    return scale * (base[split] + seed / 10)


def lane(label, seed=0, scale=1.0, times=TIMES, splits=SPLITS, **changes):
    evaluations = [
        (int(time), split, value(split, time, seed, scale), value(split, time, seed, scale) / 10)
        for time in times
        for split in splits
    ]
    return network_lane(label, seed, evaluations=evaluations, **changes)


def run_of(*lanes, best_at=None):
    run = tables(lanes, [network_problem()])
    if best_at is not None:
        run.lanes["best_at"] = np.array(best_at, dtype=float)
    return run


def figure_of(run, **options):
    return draw("evaluation", run, "mnist-mlp", PlotOptions(**options))


def curves(axes, label):
    """Return the drawn lines of a colour, by line style."""
    color = KNOWN[label].color
    return {
        line.get_linestyle(): line
        for line in axes.lines
        if line.get_color() == color and len(line.get_xdata()) > 1
    }


def shown(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_split_has_a_line_of_its_own_for_loss_and_error():
    figure = figure_of(run_of(lane("sgd"), lane("adam", scale=0.5)))
    loss, error = figure.axes
    assert loss.get_ylabel() == "loss over the whole split"
    assert error.get_ylabel() == "zero-one error over the whole split"
    for axes, factor in ((loss, 1.0), (error, 0.1)):
        found = curves(axes, "adam")
        assert set(found) == set(LINES.values())
        for split, style in LINES.items():
            np.testing.assert_array_equal(found[style].get_xdata(), TIMES)
            expected = [factor * value(split, time, scale=0.5) for time in TIMES]
            np.testing.assert_allclose(found[style].get_ydata(), expected)
    assert shown(figure) == ["SGD", "Adam", *SPLITS]
    assert figure.get_suptitle() == "mnist-mlp"


def test_of_seeds_there_is_a_median_with_a_band():
    figure = figure_of(run_of(*(lane("adam", seed) for seed in range(3))))
    axes = figure.axes[0]
    found = curves(axes, "adam")["-"]
    np.testing.assert_allclose(found.get_ydata(), [value("validation", t, 1) for t in TIMES])
    bands = [each for each in axes.collections if isinstance(each, PolyCollection)]
    assert len([band for band in bands if band.get_paths()]) == 3
    title = figure.legends[0].get_title().get_text()
    assert title == "median of 3 seeds, band from minimum to maximum"


def test_of_a_grid_it_is_the_best_by_validation_loss_whatever_the_test_split_says():
    lanes = [
        lane("sgd", scale=scale, hyperparameters={"lr": lr})
        for lr, scale in ((0.1, 1.0), (0.2, 0.5))
    ]
    run = run_of(*lanes)
    # The test split alone would have chosen the first.
    first = (run.evaluation["lane"] == 0) & (run.evaluation["split"] == "test")
    run.evaluation.loc[first, "loss"] = 0.0
    figure = figure_of(run)
    assert shown(figure)[0] == "SGD, lr=0.2"
    assert "of each grid the best by validation loss" in figure.legends[0].get_title().get_text()


def test_what_early_stopping_chose_has_a_dot_on_the_validation_split():
    run = run_of(lane("sgd"), lane("adam", scale=0.5), best_at=[120, np.nan])
    figure = figure_of(run)
    (dot,) = [line for line in figure.axes[0].lines if line.get_label() == CHOSEN]
    np.testing.assert_allclose(dot.get_xydata(), [[120, value("validation", 120)]])
    assert dot.get_color() == KNOWN["sgd"].color
    assert CHOSEN in shown(figure)
    assert CHOSEN not in shown(figure_of(run_of(lane("sgd"))))


def test_epochs_stretch_the_horizontal_axis():
    axes = figure_of(run_of(lane("adam")), x="epoch").axes[0]
    np.testing.assert_allclose(curves(axes, "adam")["-"].get_xdata(), TIMES / 40)
    assert axes.get_xlabel() == "epoch"


def test_a_lane_that_diverged_ends_with_a_cross():
    loss = np.r_[network_loss(0.8)[:90], np.nan]
    lost = lane("sgd", times=TIMES[:3], loss=loss, status=Status.DIVERGED)
    figure = figure_of(run_of(lost, lane("adam")))
    crosses = [line for line in figure.axes[0].lines if line.get_label() == LOST]
    assert [line.get_xdata()[0] for line in crosses] == [80, 80, 80]
    assert {LOST, "SGD (diverged at 90)"} <= set(shown(figure))


def test_limits_that_cut_are_marked():
    figure = figure_of(run_of(lane("adam")), ylim=(0.3, 0.5))
    loss, error = figure.axes
    assert loss.get_ylim() == (0.3, 0.5)
    assert error.get_ylim() != (0.3, 0.5)
    assert LEAVES in shown(figure)


def test_it_is_drawn_unasked_from_three_points_on():
    assert kinds_for(run_of(lane("adam")), "mnist-mlp") == ["loss", "evaluation"]
    two = run_of(lane("adam", times=TIMES[:2]))
    assert kinds_for(two, "mnist-mlp") == ["loss"]
    assert "evaluation" in drawable(two, "mnist-mlp")
    with pytest.raises(
        UsageError, match="fewer than 2 evaluations; run with --evaluate-every for more"
    ):
        figure_of(network_run())


@pytest.mark.parametrize("width", [None, "3.25in"])
def test_of_a_crowd_one_split_is_drawn_and_names_stand_at_the_ends_of_its_curves(width):
    count = MANY + 10
    lanes = [replace(lane("sgd", scale=1 + k), label=f"o{k}") for k in range(count)]
    figure = figure_of(run_of(*lanes), width=width)
    figure.draw_without_rendering()
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert axes.get_ylabel().replace("\n", " ").endswith("over the whole validation split")
        assert sum(len(line.get_xdata()) > 1 for line in axes.lines) == count
        named = [text for text in axes.texts if text.get_text()]
        assert [text.get_text().split()[0] for text in named] == [f"o{k}" for k in range(count)]
        boxes = [text.get_window_extent() for text in named]
        assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
    first, second = (axes.get_tightbbox() for axes in figure.axes)
    assert first.x1 <= second.x0 or first.y0 >= second.y1
    assert figure.get_supxlabel().endswith(f"up to {MANY} labels have train and test too")
    assert figure.legends == []


def test_a_crowd_without_a_validation_split_shows_the_test_split():
    own = lane("sgd", splits=("train", "test"))
    figure = figure_of(run_of(*(replace(own, label=f"o{k}") for k in range(MANY + 1))))
    assert "whole test split" in figure.axes[0].get_ylabel()
    assert figure.get_supxlabel() == f"up to {MANY} labels have train too"


def test_splits_that_were_not_evaluated_are_not_in_the_legend():
    figure = figure_of(run_of(lane("adam", splits=("train", "test"))))
    assert shown(figure) == ["Adam", "train", "test"]
