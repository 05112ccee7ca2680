import numpy as np
import pytest

from optbench.records import Status
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.sensitivity import SHELF_INCHES, is_log_spaced
from optbench.report.plots.style import KNOWN
from tests.report.runs import (
    Lane,
    function_problem,
    network_lane,
    network_problem,
    swept_run,
    tables,
)

RATES = [0.001, 0.01, 0.1, 1.0, 10.0]


def figure_of(run, **options):
    return draw("sensitivity", run, run.meta["problems"][0]["problem"], PlotOptions(**options))


def axes_of(run, **options):
    return figure_of(run, **options).axes[0]


def curve(axes, label):
    (found,) = [
        line
        for line in axes.lines
        if line.get_label().split(", best at")[0] == label and len(line.get_xdata())
    ]
    return found


def texts_of(figure):
    return [text.get_text().replace("\n", " ") for text in figure.legends[0].get_texts()]


def rings(axes):
    return [line for line in axes.lines if line.get_fillstyle() == "none"]


def shelf(axes):
    (found,) = axes.child_axes
    return found


def run_of(finals, problem=None, **lane):
    """Return a run of SGD with these final losses by learning rate."""
    lanes = [
        Lane("sgd", [5.0, final], hyperparameters={"lr": lr}, **lane)
        for lr, final in finals.items()
    ]
    return tables(lanes, [problem or function_problem()])


def test_each_label_has_a_curve_of_final_losses_above_the_minimum():
    axes = axes_of(swept_run())
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "final loss − minimum")
    line = curve(axes, "SGD")
    np.testing.assert_array_equal(line.get_xdata(), RATES)
    ratios = np.array([0.99, 0.95, 0.5, 0.9])
    expected = (49 / 20 + 4) * ratios**60
    floor = axes.get_ylim()[0]
    shown = line.get_ydata()[:4]
    np.testing.assert_allclose(shown[[0, 1, 3]], expected[[0, 1, 3]])
    assert floor < shown[2] < 1e-8  # 5.6e-18: below what the axis shows, and so on its floor
    assert np.isnan(line.get_ydata()[4])
    assert (line.get_color(), line.get_marker()) == (KNOWN["sgd"].color, "o")


def test_the_floor_says_that_what_lies_on_it_may_be_less():
    axes = axes_of(swept_run())
    (text,) = [each for each in axes.texts if each.get_text() == "this or less"]
    assert text.xy[1] == curve(axes, "SGD").get_ydata()[2]
    clear = axes_of(run_of({0.01: 4.0, 0.1: 0.001, 1.0: 2.0}))
    assert not clear.texts


def test_a_minimum_that_is_reached_is_on_the_floor_and_not_in_a_hole():
    axes = axes_of(run_of({0.01: 4.0, 0.1: 0.001, 1.0: 0.0}))
    heights = curve(axes, "SGD").get_ydata()
    assert np.isfinite(heights).all()
    assert axes.get_ylim()[0] < heights[2] <= heights[1]


def test_a_known_minimum_is_subtracted_and_negative_losses_keep_a_linear_axis():
    problem = function_problem(minima=[{"position": [0, 0], "value": 0.75}])
    axes = axes_of(run_of({0.01: 1.75, 0.1: 0.85, 1.0: 1.0}, problem))
    np.testing.assert_allclose(curve(axes, "SGD").get_ydata(), [1.0, 0.1, 0.25])
    assert axes.get_yscale() == "linear"
    axes = axes_of(run_of({0.01: 4.0, 0.1: 1e-4, 1.0: -2.0}, function_problem(minima=[])))
    assert (axes.get_yscale(), axes.get_ylabel()) == ("linear", "final loss")


def test_the_best_of_each_curve_is_circled():
    figure = figure_of(swept_run())
    found = {line.get_color(): line.get_xdata()[0] for line in rings(figure.axes[0])}
    assert found == {KNOWN["sgd"].color: 0.1, KNOWN["adam"].color: 1.0}
    assert figure.legends[0].get_title().get_text() == "circled: the best by final loss"
    assert texts_of(figure)[:2] == ["SGD, best at lr=0.1", "Adam, best at lr=1"]


def test_what_diverged_or_ended_above_the_start_is_on_the_shelf():
    axes = shelf(figure_of(swept_run()).axes[0])
    marks = [(part.get_offsets().tolist(), part.get_facecolor()[0]) for part in axes.collections]
    assert [offsets for offsets, _ in marks] == [[[10.0, 1.0]], [[10.0, 0.0]]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Adam", "SGD"]
    assert set(texts_of(axes.figure)[2:]) == {"diverged or failed", "ended above the start"}
    assert axes.get_shared_x_axes().joined(axes, figure_axes := axes.figure.axes[0])
    assert figure_axes.get_ylim()[1] < (49 / 20 + 4) * 1.2**60


@pytest.mark.parametrize("options", [{}, {"width": "3.25in", "font_size": 8}, {"height": "8in"}])
def test_the_shelf_stands_on_the_axes_with_a_row_of_text_for_each_label(options):
    figure = figure_of(swept_run(seeds=2), **options)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    above = shelf(axes)
    box, below = above.get_window_extent(), axes.get_window_extent()
    assert (box.x0, box.x1, box.y0) == pytest.approx((below.x0, below.x1, below.y1))
    inches = SHELF_INCHES * options.get("font_size", 10) / 10 * (2 + 0.6)
    assert box.height / figure.dpi == pytest.approx(inches)
    assert below.height > 1.2 * figure.dpi
    upper, lower = sorted((label.get_window_extent() for label in above.get_yticklabels()),
                          key=lambda each: -each.y0)  # fmt: skip
    assert lower.y1 <= upper.y0
    assert box.y1 < figure._suptitle.get_window_extent().y0 + 1


def test_a_ring_at_an_edge_is_whole_and_one_beyond_the_limits_is_not_drawn():
    run = run_of({0.1: 4.0, 0.2: 1.0, 0.3: 2.0})
    (ring,) = rings(axes_of(run, ylim=(1.0, 5.0)))
    assert ring.get_xydata().tolist() == [[0.2, 1.0]]
    assert not ring.get_clip_on()
    (ring,) = rings(axes_of(run, ylim=(1.5, 5.0)))
    assert ring.get_xydata().size == 0


def test_without_anything_diverged_there_is_no_shelf_and_options_choose_the_loss_axis():
    run = run_of({0.01: 4.0, 0.1: 3.0, 1.0: 4.5})
    assert not axes_of(run).child_axes
    axes = axes_of(run, log=True, ylim=(1.0, 10.0))
    assert (axes.get_yscale(), axes.get_ylim()) == ("log", (1.0, 10.0))


def test_what_ended_outside_the_domain_is_on_the_shelf_and_the_best_of_the_curve_is_its_lowest():
    def lane(label, lr, end, loss):
        position = np.array([[0.0, 0.0], [end, 0.0]])
        return Lane(label, [5.0, loss], hyperparameters={"lr": lr}, position=position)

    lanes = [lane("sgd", lr, 1.0, loss) for lr, loss in ((0.1, 3.0), (0.2, 2.0), (0.3, 4.0))]
    lanes += [lane("sgd", 0.4, 30.0, -9.0), lane("adam", 0.3, 40.0, 1.0)]
    axes = axes_of(tables(lanes, [function_problem(minima=[])]))
    np.testing.assert_array_equal(curve(axes, "SGD").get_ydata(), [3.0, 2.0, 4.0, np.nan])
    assert [ring.get_xydata().tolist() for ring in rings(axes)] == [[[0.2, 2.0]], []]
    assert axes.get_ylim()[0] > 1.5
    above = shelf(axes)
    assert "ended outside the domain" in texts_of(axes.figure)
    assert [part.get_offsets().tolist() for part in above.collections] == [[[0.4, 1.0], [0.3, 0.0]]]
    assert [ring.get_xydata().tolist() for ring in rings(above)] == [[[0.3, 0.0]]]


def test_beyond_sixty_values_a_curve_has_no_markers():
    for count, marker in ((60, "o"), (61, "None")):
        values = np.linspace(0.1, 1.0, count)
        line = curve(axes_of(run_of(dict(zip(values, values, strict=True)))), "SGD")
        assert line.get_marker() == marker


def test_a_lane_that_has_not_ended_is_not_on_the_shelf():
    lanes = [
        Lane("sgd", [5.0, 4.0 + lr], hyperparameters={"lr": lr}, status=status)
        for lr, status in ((0.1, Status.DONE), (0.2, Status.DONE), (0.3, Status.RUNNING))
    ]
    axes = axes_of(tables(lanes, [function_problem()]))
    assert not axes.child_axes
    assert np.isnan(curve(axes, "SGD").get_ydata()[2])


def test_seeds_have_a_band():
    figure = figure_of(swept_run(seeds=3))
    line = curve(figure.axes[0], "SGD")
    assert line.get_ydata()[0] == pytest.approx((49 / 20 + 4) * 0.99**60 + 0.01)
    (band, _) = figure.axes[0].collections
    vertices = band.get_paths()[0].vertices
    at_first = vertices[vertices[:, 0] == 0.001, 1]
    base = (49 / 20 + 4) * 0.99**60
    np.testing.assert_allclose((at_first.min(), at_first.max()), (base, base + 0.02))
    assert vertices[:, 1].max() > figure.axes[0].get_ylim()[1]  # it reaches out where one diverges
    assert "median of 3 seeds" in figure.legends[0].get_title().get_text()


def test_networks_have_the_plain_loss_that_they_are_ranked_by_and_its_lowest_is_circled():
    lanes = [
        network_lane("sgd", shift=shift, hyperparameters={"lr": lr}, evaluations=evaluations)
        for lr, shift, evaluations in (
            (0.001, 0.5, [(200, "train", 1.1, 0.5)]),
            (0.01, 0.0, [(200, "train", 0.9, 0.5)]),
            (0.1, 0.7, [(200, "train", 0.6, 0.5)]),
        )
    ]
    axes = axes_of(tables(lanes, [network_problem()]))
    assert axes.get_ylabel() == "training loss"
    assert axes.get_yscale() == "linear"
    assert curve(axes, "SGD").get_ydata().tolist() == [1.1, 0.9, 0.6]
    assert [ring.get_xydata().tolist() for ring in rings(axes)] == [[[0.1, 0.6]]]


def test_two_hyperparameters_have_a_panel_each_and_an_unswept_label_a_point():
    lanes = [
        Lane("momentum", [5.0, lr + m], hyperparameters={"lr": lr, "momentum": m})
        for lr in (0.001, 0.01, 0.1, 1.0)
        for m in (0.5, 0.7, 0.9)
    ]
    lanes.append(Lane("sgd", [5.0, 1.0], hyperparameters={"lr": 0.05}))
    figure = figure_of(tables(lanes, [function_problem()]))
    first, second = figure.axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("lr", "momentum")
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    np.testing.assert_allclose(curve(first, "Momentum").get_ydata(), [0.501, 0.51, 0.6, 1.5])
    np.testing.assert_allclose(curve(second, "Momentum").get_ydata(), [0.501, 0.701, 0.901])
    np.testing.assert_array_equal(curve(first, "SGD").get_xydata(), [[0.05, 1.0]])
    assert "SGD" not in [line.get_label() for line in second.lines]
    assert second.get_ylabel() == ""
    assert texts_of(figure) == ["Momentum, best at lr=0.001, momentum=0.5", "SGD"]
    about = figure.legends[0].get_title().get_text()
    assert about.endswith("each point has the other values that suit it best")
    assert first.get_ylim() == second.get_ylim()


def test_where_everything_diverged_the_shelf_is_all_there_is():
    axes = axes_of(run_of(dict.fromkeys((1.0, 2.0, 3.0), np.inf), status=Status.DIVERGED))
    assert len(shelf(axes).collections[0].get_offsets()) == 3
    assert np.isnan(curve(axes, "SGD").get_ydata()).all()


@pytest.mark.parametrize(
    ("values", "log"),
    [
        (np.geomspace(1e-4, 0.1, 13), True),
        (np.linspace(0.1, 1.0, 10), False),
        ([0.01, 0.1], True),
        ([0.5, 0.9], False),
        ([0.0, 0.9, 0.99], False),
        ([1.0], False),
        ([0.001, 0.01, 0.1, 0.5], True),
        ([0.1, 0.5, 1e200], True),
    ],
)
def test_a_hyperparameter_spaced_by_logarithm_has_such_an_axis(values, log):
    assert is_log_spaced(np.asarray(values)) is log
