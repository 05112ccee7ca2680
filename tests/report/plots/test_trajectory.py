import numpy as np
import pytest

from optbench.records import Status
from optbench.report.plots import draw
from optbench.report.plots.style import CROSS, KNOWN, SMALL_CROSS
from tests.report.runs import (
    DOMAIN,
    Lane,
    anisotropic_surface,
    function_lane,
    function_problem,
    function_run,
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
    assert [axes.get_title() for axes in figure.axes] == ["SGD", "Momentum", "AdaGrad", "Adam"]
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
    for number, (axes, label) in enumerate(
        zip(figure.axes, ("sgd", "momentum", "adagrad", "adam"), strict=True)
    ):
        assert axes.get_xlim() == (-10, 10)
        assert axes.get_ylim() == (-10, 10)
        path = path_of(axes)
        expected = run.trace.loc[run.trace["lane"] == number, ["x", "y"]].to_numpy()
        np.testing.assert_array_equal(path.get_xydata(), expected)
        assert path.get_color() == KNOWN[label].color
        assert path.get_linestyle() == "-"
    assert figure.get_supxlabel() == "x"
    assert figure.get_supylabel() == "y"


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
    axes = draw("trajectory", run, "anisotropic").axes[0]
    heights = axes.collections[0].levels + 1.0
    assert len(heights) == 20
    np.testing.assert_allclose(np.diff(np.log(heights)), np.log(heights[1] / heights[0]))
    assert heights[0] == pytest.approx(np.quantile(run.surface["value"], 0.002) + 1.0)
    assert heights[-1] * heights[1] / heights[0] == pytest.approx(106.0)
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
    assert axes.get_xlim() == (-10, 10)
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


def test_a_free_corner_of_the_grid_holds_a_key_to_the_signs_that_are_there():
    def key(lanes, minima=()):
        figure = drawn(lanes, minima=[{"position": [0, 0], "value": 0.0}, *minima])
        return [text.get_text() for legend in figure.legends for text in legend.get_texts()]

    inside = [Lane(f"o{k}", [1.0], position=np.zeros((1, 2))) for k in range(4)]
    away = Lane("away", [2.0, 1.0], position=np.array([[0.0, 0.0], [0.0, 20.0]]))
    assert key(inside) == []
    assert key([*inside, inside[0]][:3]) == ["start", "minimum"]
    local = [{"position": [1, 1], "value": 1.0}]
    signs = ["start", "minimum", "local minimum", "leaves the figure", "does not come back"]
    assert key([*inside, away], local) == signs


@pytest.mark.parametrize(
    ("panels", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (5, (2, 3)), (9, (3, 3)), (11, (4, 3)), (16, (4, 4))],
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


def test_of_a_grid_the_best_is_drawn_and_of_seeds_the_first():
    figure = draw("trajectory", swept_run(seeds=3), "anisotropic")
    assert [axes.get_title() for axes in figure.axes] == ["SGD\nlr=0.1", "Adam\nlr=1"]
    expected = -7 * 0.5 ** np.arange(31)
    np.testing.assert_allclose(path_of(figure.axes[0]).get_xdata(), expected)


OUT = "SGD\nleft the domain"


@pytest.mark.parametrize(
    ("path", "left", "lost", "title"),
    [
        ([[0, 0], [4, 8], [8, 16], [12, 24]], [[5, 10]], [5, 10], OUT),
        ([[0, 0], [0, 16], [0, 4], [-4, 0], [-12, 0], [0, 0]], [[0, 10], [-10, 0]], None, "SGD"),
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
    assert axes.get_ylim() == (-10, 10)
    assert axes.get_title() == title


def test_of_a_grid_what_ends_inside_is_drawn_although_what_left_is_lower():
    def lane(lr, end, loss):
        position = np.array([[0.0, 0.0], end])
        return Lane("sgd", [1.0, loss], hyperparameters={"lr": lr}, position=position)

    lanes = [lane(0.1, (1.0, 1.0), 0.5), lane(0.2, (30.0, 0.0), -9.0)]
    assert drawn(lanes).axes[0].get_title() == "SGD\nlr=0.1"
    assert drawn(lanes[1:]).axes[0].get_title() == "SGD\nleft the domain"


def test_a_diverged_path_is_drawn_as_far_as_it_is_finite():
    axes = one_path([[1, 1], [2, 2], [np.inf, 1], [3, 3]], Status.DIVERGED)
    np.testing.assert_array_equal(path_of(axes).get_xydata(), [[1, 1], [2, 2]])
    assert axes.get_title() == "SGD\ndiverged at 3"
    (cross,) = crosses(axes)
    np.testing.assert_array_equal(cross.get_xydata(), [[2, 2]])


def test_enormous_positions_are_drawn_without_overflow_and_none_as_an_empty_panel(tmp_path):
    position = [[0.0, 1.0], [1e200, -1e200], [-1e308, 1e308]]
    axes = one_path(position, Status.DIVERGED)
    axes.figure.savefig(tmp_path / "figure.png", dpi=20)
    assert np.abs(path_of(axes).get_xydata()).max() <= 1e100
    nowhere = Lane("adam", [np.nan], position=[[np.nan, np.nan]], status=Status.DIVERGED)
    axes = drawn([function_lane("sgd"), nowhere]).axes[1]
    assert axes.get_title() == "Adam\ndiverged at 0"
    assert path_of(axes).get_xydata().size == 0
