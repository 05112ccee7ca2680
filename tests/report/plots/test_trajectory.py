from itertools import combinations, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from optbench.records import Status
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.style import CROSS, KNOWN, SMALL_CROSS
from tests.report.runs import (
    DOMAIN,
    Lane,
    anisotropic_surface,
    function_lane,
    function_problem,
    function_run,
    line_run,
    swept_run,
    tables,
)


def line_of(axes, marker, where=lambda line: True):
    """Return the only line of the axes with a marker for which ``where`` holds."""
    found = [each for each in axes.lines if each.get_marker() == marker and where(each)]
    assert len(found) == 1
    return found[0]


def path_of(axes):
    return line_of(axes, "o", lambda line: line.get_fillstyle() == "full")


def crosses(axes, size=CROSS["markersize"]):
    """Return the crosses of a size: the large ones mark where a path is lost."""
    return [
        each for each in axes.lines if each.get_marker() == "x" and each.get_markersize() == size
    ]


def exits(axes):
    found = [each.get_xydata() for each in crosses(axes, SMALL_CROSS["markersize"])]
    return found[0].tolist() if found else []


def drawn(lanes, surface=None, **problem):
    """Draw lanes over the anisotropic function, or over another surface."""
    surface = anisotropic_surface() if surface is None else surface
    return draw("trajectory", tables(lanes, [function_problem(**problem)], surface), "anisotropic")


def one_path(position, status=Status.DONE):
    """Draw a single lane along these positions and return its panel."""
    position = np.asarray(position, dtype=float)
    lane = Lane("sgd", np.ones(len(position)), position=position, status=status)
    return drawn([lane]).axes[0]


NO_LEVELS = {"domain": DOMAIN, "levels": None}


def test_four_optimizers_make_the_textbooks_two_by_two():
    run = function_run()
    figure = draw("trajectory", run, "anisotropic")
    assert [axes.get_title() for axes in figure.axes] == [
        f"{name}, lr 0.1" for name in ("SGD", "Momentum", "AdaGrad", "Adam")
    ]
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
    for number, (axes, label) in enumerate(
        zip(figure.axes, ("sgd", "momentum", "adagrad", "adam"), strict=True)
    ):
        path = path_of(axes)
        expected = run.trace.loc[run.trace["lane"] == number, ["x", "y"]].to_numpy()
        np.testing.assert_array_equal(path.get_xydata(), expected)
        assert path.get_color() == KNOWN[label].color
        assert path.get_linestyle() == "-"
    assert figure.get_suptitle() == "anisotropic: f(x, y) = x²/20 + y²"
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "x", "x"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["y", "", "y", ""]


def test_contours_and_the_minimum_are_those_of_the_function():
    axes = draw("trajectory", function_run(), "anisotropic").axes[0]
    contours = axes.collections[0]
    np.testing.assert_array_equal(contours.levels, [1, 2, 3, 4, 5, 6, 7])
    # Along the axes: linear interpolation on the grid is exact where a level meets a grid line.
    ends = [path.vertices[:, 1].max() for path in contours.get_paths()]
    np.testing.assert_allclose(ends[0::3], [1.0, 2.0, 7.0**0.5], atol=0.1)
    np.testing.assert_array_equal(line_of(axes, "+").get_xydata(), [[0.0, 0.0]])


def test_without_levels_twenty_are_spaced_by_logarithm_above_the_minimum():
    run = function_run(
        plot=NO_LEVELS,
        minima=[{"position": [0.0, 0.0], "value": -1.0}, {"position": [11.0, 0.0], "value": 6.0}],
    )
    figure = draw("trajectory", run, "anisotropic")
    axes = figure.axes[0]
    (left, right), (bottom, top) = view(figure)
    in_view = run.surface["x"].between(left, right) & run.surface["y"].between(bottom, top)
    value = run.surface.loc[in_view, "value"]
    heights = axes.collections[0].levels + 1.0
    assert len(heights) == 20
    np.testing.assert_allclose(np.diff(np.log(heights)), np.log(heights[1] / heights[0]))
    assert heights[0] == pytest.approx(np.quantile(value, 0.002) + 1.0)
    assert heights[-1] * heights[1] / heights[0] == pytest.approx(value.max() + 1.0)
    assert len(line_of(axes, "+").get_xydata()) == 1  # the other lies outside the domain


def test_levels_do_not_reach_down_more_than_eight_decades():
    surface = anisotropic_surface().assign(value=lambda rows: 10.0 ** -rows["x"].abs() * 1e4)
    axes = drawn([function_lane("sgd")], surface, minima=[], plot=NO_LEVELS).axes[0]
    heights = axes.collections[0].levels - 1e-6
    assert heights.max() / heights.min() < 1e8


def test_where_a_function_is_level_or_not_finite_there_are_no_contours():
    surface = anisotropic_surface().assign(value=3.0)
    axes = drawn([function_lane("sgd")], surface, minima=[], plot=NO_LEVELS).axes[0]
    assert not axes.collections
    surface = anisotropic_surface()
    surface.loc[surface["x"] < 0, "value"] = np.inf
    contours = drawn([function_lane("sgd")], surface, plot=NO_LEVELS).axes[0].collections[0]
    assert np.isfinite(contours.levels).all()
    assert min(path.vertices[:, 0].min() for path in contours.get_paths()) >= 0


def test_all_minima_are_marked_and_local_ones_smaller():
    minima = [
        {"position": [0.0, 3.0], "value": -1.0},
        {"position": [0.0, -3.0], "value": -1.0 + 1e-12},
        {"position": [5.0, 5.0], "value": 2.0},
    ]
    axes = draw("trajectory", function_run(minima=minima), "anisotropic").axes[0]
    large, small = (each for each in axes.lines if each.get_marker() == "+")
    assert large.get_xydata().tolist() == [[0.0, 3.0], [0.0, -3.0]]
    assert small.get_xydata().tolist() == [[5.0, 5.0]]
    assert small.get_markersize() < large.get_markersize()


def test_a_legend_says_what_the_signs_mean_that_are_there():
    def key(lanes, minima=()):
        figure = drawn(lanes, minima=[{"position": [0, 0], "value": 0.0}, *minima])
        (legend,) = figure.legends
        return [text.get_text() for text in legend.get_texts()]

    inside = [Lane(f"o{k}", [1.0], position=np.zeros((1, 2))) for k in range(4)]
    away = Lane("away", [2.0, 1.0], position=np.array([[0.0, 0.0], [0.0, 20.0]]))
    assert key(inside) == ["start", "minimum"]
    local = [{"position": [1, 1], "value": 1.0}]
    signs = ["start", "minimum", "local minimum", "leaves the figure"]
    signs.append("lost: does not come back")
    assert key([*inside, away], local) == signs


# What part of the plane is shown.


def view(figure):
    """Return the limits of the axes, which are those of all panels, ((x, x), (y, y))."""
    views = {(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}
    assert len(views) == 1
    return np.array(views.pop())


def ends(*position, label="sgd", status=Status.DONE):
    return Lane(label, np.ones(len(position)), position=np.array(position), status=status)


def test_all_panels_show_the_same_close_view_of_paths_start_and_minimum_to_scale():
    run = function_run()
    figure = draw("trajectory", run, "anisotropic")
    limits = view(figure)
    points = run.trace[["x", "y"]].to_numpy()
    assert (points > limits[:, 0]).all()
    assert (points < limits[:, 1]).all()
    assert (limits[:, 0] < 0).all()
    assert (limits[:, 1] > 0).all()
    width, height = np.ptp(limits, axis=1)
    assert width < 1.2 * np.ptp(points[:, 0])
    assert 0.5 * width <= height <= width
    assert {axes.get_aspect() for axes in figure.axes} == {1.0}


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ([[-8, 0], [8, 0]], [(-9.28, 9.28), (-4.64, 4.64)]),  # no flatter than 1 : 2
        ([[9, 9], [9, 8]], [(-0.72, 9.72), (-0.72, 9.72)]),  # the minimum is seen
        ([[0, 0], [0, 1]], [(-2, 2), (-1.5, 2.5)]),  # a fifth of the domain at least
        ([[-10, -10], [9, 9]], [(-10, 10), (-10, 10)]),  # the domain at most
        ([[0, 0], [40, 2], [4, 4]], [(-1.6, 10), (-0.9, 4.9)]),  # though it comes back
    ],
)
def test_a_view_holds_a_path_with_room_and_ends_with_the_domain(position, expected):
    np.testing.assert_allclose(view(drawn([ends(*position)])), expected, atol=0.1)


def test_what_does_not_come_back_makes_the_others_at_most_half_as_small():
    stays = ends([-4, 2], [4, -2])
    leaves = ends([-4, 2], [0, 9.9], [0, 20], label="adam")
    both = view(drawn([stays, leaves]))
    assert both[1, 1] == pytest.approx(4.0, rel=0.2)
    assert view(drawn([leaves]))[1, 1] == 10.0
    (cross,) = crosses(drawn([stays, leaves]).axes[1])
    assert cross.get_ydata()[0] == pytest.approx(both[1, 1])


def test_of_several_global_minima_the_nearest_to_an_end_is_seen():
    minima = [{"position": [x, 0.0], "value": 0.0} for x in (-9, 9)]
    low, high = view(drawn([ends([2, 0], [5, 1])], minima=minima))[0]
    assert -1 < low < 2
    assert high > 9


def test_a_domain_whose_sides_are_not_comparable_is_not_to_scale():
    surface = anisotropic_surface().assign(x=lambda rows: rows["x"] * 10)
    figure = drawn([ends([-50, 2], [1, 1])], surface)
    assert figure.axes[0].get_aspect() == "auto"
    assert 50 < np.ptp(view(figure)[0]) < 80


@pytest.mark.parametrize(
    ("panels", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (5, (2, 3)), (9, (3, 3)), (11, (4, 3)), (16, (4, 4))],
)
def test_more_optimizers_make_more_panels_and_none_is_empty(panels, shape):
    lanes = [
        Lane(f"o{k}", [2.0, 1.0], position=np.array([[1.0, 1.0], [0.5, k / 20]]))
        for k in range(panels)
    ]
    figure = drawn(lanes)
    assert len(figure.axes) == panels
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
    assert figure.get_size_inches()[0] == 8.0


def test_ticks_are_labelled_at_the_foot_of_each_column():
    lanes = [Lane(f"o{k}", [1.0], position=np.zeros((1, 2))) for k in range(5)]
    figure = drawn(lanes)
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in figure.axes]
    assert labelled == [False, False, True, True, True]
    assert [axes.yaxis.get_tick_params()["labelleft"] for axes in figure.axes] == [
        True, False, False, True, False,
    ]  # fmt: skip


# Grids.


def grid(values, label="sgd", best=None, **changes):
    """Return a lane for each learning rate, which walks as far as its rate; one has no loss."""
    return [
        Lane(
            label,
            [2.0, 0.0 if lr == best else 1.0],
            position=np.array([[5.0, 5.0], [5.0 - lr, 5.0]]),
            hyperparameters={"lr": lr},
            **changes,
        )
        for lr in values
    ]


def foot(figure):
    """Return the caption, which stands over the legend."""
    return figure.legends[0].get_title().get_text()


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_values_of_a_grid_have_a_panel_each_and_the_best_is_marked():
    figure = drawn(grid([0.5, 0.95, 1.05], best=0.95))
    assert titles(figure) == ["SGD, lr 0.5", "SGD, lr 0.95 (best)", "SGD, lr 1.05"]
    for axes, lr in zip(figure.axes, (0.5, 0.95, 1.05), strict=True):
        assert path_of(axes).get_xdata().tolist() == [5.0, 5.0 - lr]
        assert path_of(axes).get_color() == KNOWN["sgd"].color


def test_optimizers_with_grids_have_a_row_each():
    figure = drawn(
        [*grid([0.5, 1.0], best=0.5), *grid([1, 2, 3], "adam", best=2), ends([1, 1])][:5]
    )
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 3)
    rows = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
    assert rows == [0, 0, 1, 1, 1]
    assert titles(figure)[2:] == ["Adam, lr 1", "Adam, lr 2 (best)", "Adam, lr 3"]


def test_many_values_share_a_panel_in_colours_of_a_scale_and_the_best_is_bold():
    values = np.geomspace(0.001, 1.0, 25)
    figure = drawn(grid(values, best=values[7]))
    axes, bar = figure.axes
    assert axes.get_title() == f"SGD, lr {values[7]:.4g}"
    assert foot(axes.figure) == "bold, and named above: the best of 25"
    assert bar.get_ylabel() == "lr"
    assert bar.get_yscale() == "log"
    shown = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) > 1]
    assert sorted(line.get_xdata()[1] for line in shown) == sorted(5.0 - values)
    assert len({tuple(line.get_color()) for line in shown}) == 25
    boldest = max(shown, key=lambda line: line.get_linewidth())
    assert boldest.get_xdata()[1] == 5.0 - values[7]
    assert boldest is shown[-1]  # nothing is drawn over it


def test_of_several_hyperparameters_the_one_with_most_values_gives_the_colours():
    lanes = []
    for momentum, lr in product((0.5, 0.9), np.linspace(0.1, 1.0, 6)):
        (lane,) = grid([lr], best=0.1 if momentum == 0.9 else None)
        lane.hyperparameters = {"lr": lr, "momentum": momentum}
        lane.loss = [2.0, 2.0 - momentum - lr]
        lanes.append(lane)
    axes, bar = drawn(lanes).axes
    assert axes.get_title() == "SGD, lr 1, momentum 0.9"
    assert foot(axes.figure).endswith("the best of 12, of which 6 are shown")
    shown = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) > 1]
    assert (len(shown), bar.get_ylabel()) == (6, "lr")


def test_of_hundreds_of_values_fifty_are_drawn_and_the_best_is_one_of_them():
    values = np.linspace(0.01, 4.0, 400)
    axes = drawn(grid(values, best=values[201])).axes[0]
    shown = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) > 1]
    assert len(shown) == 51
    assert foot(axes.figure).endswith("the best of 400, of which 51 are shown")
    assert shown[-1].get_xdata()[1] == 5.0 - values[201]


@pytest.mark.parametrize("points", [8, 10])
def test_a_crowd_in_a_columns_width_has_short_titles_that_touch_nothing(points):
    lanes = []
    for label in ("sgd", "momentum", "adagrad", "rmsprop", "adam"):
        lanes += grid(np.geomspace(0.001, 1.0, 8), label, best=0.001)
        lanes += grid([0.00215], label, status=Status.DIVERGED)
    formula = "(y - 5.1/(4*pi**2)*x**2 + 5/pi*x - 6)**2 + 10*cos(x) + 10"
    run = tables(lanes, [function_problem(formula=formula)], anisotropic_surface())
    options = PlotOptions(width="3.25in", font_size=points)
    figure = draw("trajectory", run, "anisotropic", options)
    FigureCanvasAgg(figure).draw()
    *panels, bar = figure.axes
    shown = [axes.get_title() for axes in panels]
    assert all(title.replace("\n", " ").endswith("lr 0.001, 1 lost") for title in shown)
    assert max(title.count("\n") for title in shown) <= 2
    assert bar.get_xlabel() == "lr"  # it lies below the panels
    assert bar.get_position().y1 < min(axes.get_position().y0 for axes in panels)
    framed = [axes.title for axes in panels] + figure.texts
    boxes = [text.get_window_extent() for text in framed]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for axes, box in product(panels, boxes):
        assert not axes.get_window_extent().overlaps(box)
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    for line in figure.get_suptitle().split("\n"):
        assert line.count("(") == line.count(")"), "a formula is broken between its terms"


def test_paths_that_would_cover_the_function_are_thin_and_in_a_crowd_pale():
    def bouncing(lr, rows=400):
        return Lane(
            "sgd",
            np.ones(rows),
            position=[[0.0, 0.0], *[[-8.0, -8.0], [8.0, 8.0]] * (rows // 2 - 1), [1.0, 0.0]],
            hyperparameters={"lr": lr},
        )

    alone = path_line(drawn([bouncing(0.1)]).axes[0], 400)
    assert (alone.get_marker(), alone.get_alpha()) == ("", None)
    figure = drawn([*grid(np.geomspace(0.001, 0.8, 12), best=0.001), bouncing(1.0)])
    pale = path_line(figure.axes[0], 400)
    assert pale.get_marker() == ""
    assert pale.get_alpha() < 0.1
    others = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert all(line.get_alpha() in (None, 0.6) for line in others)
    assert foot(figure).endswith("pale: paths that cross the figure many times")


def path_line(axes, rows):
    return next(line for line in axes.lines if len(line.get_xdata()) == rows)


def test_of_seeds_the_first_is_drawn():
    figure = draw("trajectory", swept_run(seeds=3), "anisotropic")
    assert titles(figure)[:3] == ["SGD, lr 0.001", "SGD, lr 0.01", "SGD\nlr 0.1 (best)"]
    np.testing.assert_allclose(path_of(figure.axes[2]).get_xdata(), -7 * 0.5 ** np.arange(31))


# Functions of one variable.


def test_a_function_of_one_variable_is_a_curve_with_the_iterates_on_it():
    run = line_run(0.4, -0.8)
    figure = draw("trajectory", run, "quadratic-1d")
    assert titles(figure) == ["SGD, lr 0.3 (best)", "SGD, lr 0.9"]
    assert figure.get_suptitle() == "quadratic-1d: f(x) = x² + x + 1"
    assert [axes.get_xlabel() for axes in figure.axes] == ["x", "x"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["f(x)", ""]
    for number, axes in enumerate(figure.axes):
        x, height = path_of(axes).get_xydata().T
        expected = run.trace[run.trace["lane"] == number]
        np.testing.assert_array_equal(x, expected["x"])
        np.testing.assert_allclose(height, x**2 + x + 1)
        (curve,) = [line for line in axes.lines if line.get_marker() == "None"]
        side, value = curve.get_xydata().T
        np.testing.assert_allclose(value, side**2 + side + 1)
        assert line_of(axes, "+").get_xydata().tolist() == [[-0.5, 0.75]]
    (low, high), (bottom, top) = view(figure)
    assert low < -0.5 - 0.8 * 20.5
    assert high > 20.0
    assert bottom < 0.75
    assert 421 < top < 500


def test_of_a_curve_the_lowest_place_between_the_iterates_is_seen():
    axes = draw("trajectory", line_run(0.9, minima=[]), "quadratic-1d").axes[0]
    assert axes.get_ylim()[0] < 0.75


# Paths that leave.

OUT = "SGD, lr 0.1\nleft the domain"


@pytest.mark.parametrize(
    ("path", "left", "lost", "title"),
    [
        ([[0, 0], [4, 8], [8, 16], [12, 24]], [[5, 10]], [5, 10], OUT),
        (
            [[0, 0], [0, 16], [0, 4], [-4, 0], [-12, 0], [0, 0]],
            [[0, 10], [-10, 0]],
            None,
            "SGD, lr 0.1",
        ),
        ([[0, 0], [0, 16], [0, 5], [-20, 5]], [[0, 10], [-10, 5]], [-10, 5], OUT),
        ([[30, 4], [40, 4]], None, [10, 4], OUT),  # starts outside: at the nearest edge
    ],
)
def test_a_path_that_leaves_is_marked_where_it_crosses_the_edge(path, left, lost, title):
    axes = one_path(path)
    if left is not None:
        np.testing.assert_allclose(exits(axes), left)
    found = crosses(axes)
    assert len(found) == (lost is not None)
    for cross in found:
        np.testing.assert_allclose(cross.get_xydata(), [lost])
        assert not cross.get_clip_on()
    assert axes.get_title() == title


def test_of_a_grid_what_ends_inside_is_the_best_although_what_left_is_lower():
    def lane(lr, end, loss):
        position = np.array([[0.0, 0.0], end])
        return Lane("sgd", [1.0, loss], hyperparameters={"lr": lr}, position=position)

    lanes = [lane(0.1, (1.0, 1.0), 0.5), lane(0.2, (30.0, 0.0), -9.0)]
    assert titles(drawn(lanes)) == ["SGD, lr 0.1 (best)", "SGD, lr 0.2\nleft the domain"]


def test_a_diverged_path_is_drawn_as_far_as_it_is_finite():
    axes = one_path([[1, 1], [2, 2], [np.inf, 1], [3, 3]], Status.DIVERGED)
    np.testing.assert_array_equal(path_of(axes).get_xydata(), [[1, 1], [2, 2]])
    assert axes.get_title() == "SGD, lr 0.1\ndiverged at 3"
    (cross,) = crosses(axes)
    np.testing.assert_array_equal(cross.get_xydata(), [[2, 2]])


def test_enormous_positions_are_drawn_without_overflow_and_none_as_an_empty_panel(tmp_path):
    position = [[0.0, 1.0], [1e200, -1e200], [-1e308, 1e308]]
    axes = one_path(position, Status.DIVERGED)
    axes.figure.savefig(tmp_path / "figure.png", dpi=20)
    assert np.abs(path_of(axes).get_xydata()).max() <= 1e100
    nowhere = Lane("adam", [np.nan], position=[[np.nan, np.nan]], status=Status.DIVERGED)
    axes = drawn([function_lane("sgd"), nowhere]).axes[1]
    assert axes.get_title() == "Adam, lr 0.1\ndiverged at 0"
    assert path_of(axes).get_xydata().size == 0


@pytest.mark.parametrize(("panels", "shape"), [(2, (1, 2)), (3, (2, 2)), (16, (8, 2))])
def test_a_narrow_figure_has_fewer_panels_side_by_side_under_titles_of_its_size(panels, shape):
    lanes = [Lane(f"o{k}", [1.0], position=np.zeros((1, 2))) for k in range(panels)]
    run = tables(lanes, [function_problem()], anisotropic_surface())
    figure = draw("trajectory", run, "anisotropic", PlotOptions(width="3.25in", font_size=8))
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
    assert {axes.title.get_fontsize() for axes in figure.axes} == {0.8 * 9}
