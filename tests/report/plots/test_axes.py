"""Figures of many optimizers name curves at their ends."""

import io
from itertools import pairwise

import numpy as np
import pytest

from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.axes import MANY, axis_limits, largest_of_bulk, thinned
from tests.report.runs import Lane, network_problem, tables


def crowd(count, name="rule"):
    """Return a run whose curves end at 1/1, 1/2, … in a shuffled order."""
    rows = 150
    lanes = [
        Lane(f"{name}{place}", np.geomspace(2.3, 1 / (1 + place), rows), problem="mnist-mlp")
        for place in np.random.default_rng(0).permutation(count).tolist()
    ]
    return tables(lanes, [network_problem()])


def axes_of(run):
    return draw("loss", run, run.meta["problems"][0]["problem"], PlotOptions()).axes[0]


def test_up_to_so_many_curves_there_is_a_legend():
    axes = axes_of(crowd(MANY))
    assert len(axes.figure.legends) == 1
    assert axes.get_yscale() == "linear"
    assert list(axes.texts) == []


def test_beyond_the_names_stand_beside_the_axes_ordered_as_the_curves_end():
    axes = axes_of(crowd(MANY + 20))
    assert axes.figure.legends == []
    assert axes.get_yscale() == "log"
    named = [text for text in axes.texts if text.get_text()]
    names = [text.get_text().split()[0] for text in named]
    assert names == [f"rule{place}" for place in reversed(range(MANY + 20))]
    heights = [text.get_position()[1] for text in named]
    assert heights == sorted(heights)
    assert np.diff(heights).min() > 0
    colors = {line.get_label(): line.get_color() for line in axes.lines}
    assert all(text.get_color() == colors[text.get_text().split()[0]] for text in named)
    axes.figure.savefig(io.BytesIO())
    boxes = sorted((text.get_window_extent() for text in named), key=lambda box: box.y0)
    assert all(one.y1 <= other.y0 + 1 for one, other in pairwise(boxes))
    assert all(box.x1 <= axes.figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize(("width", "valued"), [(None, True), ("3.25in", False)])
def test_where_a_crowds_names_and_values_have_no_room_names_stand_alone(width, valued):
    run = crowd(MANY + 20, "schedule-free-rule")
    figure = draw("loss", run, "mnist-mlp", PlotOptions(width=width))
    (axes,) = figure.axes
    figure.savefig(io.BytesIO())
    named = [text for text in axes.texts if text.get_text()]
    assert len(named) == MANY + 20
    assert all((" " in text.get_text()) == valued for text in named)
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in named)
    assert figure.get_suptitle() == "mnist-mlp"
    assert axes.get_window_extent().width > 0.25 * figure.bbox.width


BULK = np.geomspace(0.01, 6.0, 20)


@pytest.mark.parametrize(
    ("scores", "log", "largest"),
    [
        (BULK, True, 6.0),
        (np.r_[BULK, 1e79, 1e152], True, 6.0),
        (np.r_[BULK, np.geomspace(1e5, 1e150, 25)], True, 6.0),
        (np.geomspace(1e-14, 1e6, 50), True, 1e6),
        (np.r_[0.0, 2.0, 2.0, 2.0, 500.0], True, 500.0),
        (np.r_[-BULK, 1e79], False, -0.01),
        (np.r_[-1.0, -1.0, -1.0, 1e79], False, 1e79),
        (np.full(3, 1e300), True, 1e300),
        (np.array([-1e308, 0.0, 1e308]), False, 1e308),
        (np.empty(0), True, np.inf),
    ],
)
def test_the_bulk_of_scores_ends_below_those_that_ran_away(scores, log, largest):
    assert largest_of_bulk(scores, log=log) == pytest.approx(largest)


def test_a_thinned_curve_keeps_its_ends_and_every_peak():
    values = np.sin(np.arange(100_000))
    values[[31_415, 92_653]] = 7.0, -7.0
    points = thinned(values, 0.5 * np.arange(len(values)))
    assert len(points) <= 2 * 400 + 2
    assert points[0].tolist() == [0.0, values[0]]
    assert points[-1].tolist() == [0.5 * 99_999, values[-1]]
    assert [0.5 * 31_415, 7.0] in points.tolist()
    assert [0.5 * 92_653, -7.0] in points.tolist()
    assert (np.diff(points[:, 0]) > 0).all()
    np.testing.assert_array_equal(thinned(values[:500], np.arange(500.0))[:, 1], values[:500])
    assert thinned(np.empty(0), np.empty(0)).shape == (0, 2)


def test_a_logarithmic_axis_follows_one_curve_no_farther_than_ten_decades_below_the_others():
    def lowest(*curves):
        return axis_limits([np.array(each) for each in curves], ceiling=np.inf, log=True)[0]

    assert 1e-43 < lowest([1.0, 1e-40]) < 1e-40
    assert 1e-13 < lowest([1.0, 1e-40], [1.0, 1e-2]) < 1e-12
    assert 1e-43 < lowest([1.0, 1e-40], [1.0, 1e-35], [1.0, 1e-2]) < 1e-40
    assert lowest([1.0, 5e-324]) > 0
