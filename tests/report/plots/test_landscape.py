"""The figures of a function alone: its surface and its field."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from optbench.errors import ResultsError
from optbench.report.plots import PlotOptions, draw
from tests.report.runs import DOMAIN, anisotropic_surface, function_lane, function_problem, tables


def run_with(points, surface=None):
    surface = anisotropic_surface(points=points) if surface is None else surface
    return tables([function_lane("sgd")], [function_problem()], surface)


def field_of(run):
    """Return the axes of the field and its arrows."""
    axes = draw("field", run, "anisotropic").axes[0]
    (arrows,) = [each for each in axes.collections if hasattr(each, "U")]
    return axes, arrows


def test_the_surface_is_the_function_over_its_contours_with_the_minimum_on_the_floor():
    axes = draw("surface", run_with(41), "anisotropic").axes[0]
    (surface,) = [each for each in axes.collections if isinstance(each, Poly3DCollection)]
    assert axes.get_zlim()[1] == 105.0
    assert (surface.norm.vmin, surface.norm.vmax) == (0.0, 105.0)
    (contours,) = [each for each in axes.collections if each is not surface]
    assert np.isin([1, 2, 3, 4, 5, 6, 7], contours.levels).all()
    assert contours.levels[-1] < 105.0
    assert axes.get_zlim()[0] < 0.0
    assert axes.get_zlabel() == "f(x, y)"
    assert axes.get_xlim() == tuple(DOMAIN[0])
    assert (axes.get_zticks() >= 0).all()
    (plus,) = axes.lines
    assert [each[0] for each in plus.get_data_3d()] == [0.0, 0.0, axes.get_zlim()[0]]


def test_arrows_point_down_the_gradient():
    axes, arrows = field_of(run_with(201))
    assert arrows.N == 21 * 21
    x, y, u, v = (np.asarray(each) for each in (arrows.X, arrows.Y, arrows.U, arrows.V))
    downhill = np.stack([-x / 10, -2 * y])
    away = np.hypot(*downhill) > 0
    np.testing.assert_allclose(u[away] * downhill[1][away], v[away] * downhill[0][away], atol=1e-12)
    assert ((u * downhill[0] + v * downhill[1])[away] > 0).all()
    length = np.hypot(u, v)[away]
    np.testing.assert_allclose(length.max(), 1.0)
    np.testing.assert_allclose(length, (np.hypot(*downhill) / np.hypot(1, 20))[away] ** 0.25)
    assert [len(each.get_xydata()) for each in axes.lines] == [1]


def test_one_tiny_gradient_does_not_take_the_colours_of_all_others():
    surface = anisotropic_surface(points=21)
    surface.loc[220, ["gradient_x", "gradient_y"]] = 1e-14, 0.0
    figure = draw("field", run_with(0, surface), "anisotropic")
    arrows = figure.axes[0].collections[-1]
    largest = np.hypot(surface["gradient_x"], surface["gradient_y"]).max()
    assert arrows.norm.vmin == pytest.approx(largest / 1e6)
    assert arrows.norm.vmax == pytest.approx(largest)
    assert arrows.colorbar.extend == "min"
    usual = draw("field", run_with(21), "anisotropic").axes[0].collections[-1]
    assert usual.colorbar.extend == "neither"


def test_norms_of_one_decade_have_plain_numbers_beside_their_colours():
    level = anisotropic_surface(points=5).assign(gradient_x=1.2, gradient_y=0.0)
    level.loc[0, "gradient_x"] = 2.6
    figure = draw("field", run_with(5, level), "anisotropic")
    FigureCanvasAgg(figure).draw()
    bar = figure.axes[1]
    low, high = bar.get_ylim()
    numbers = [float(text.get_text()) for text in bar.get_yticklabels()]
    assert sum(low <= number <= high for number in numbers) >= 3
    assert not any(text.get_text() for text in bar.get_yticklabels(minor=True))


def test_a_flat_domain_has_a_flat_field_whose_arrows_do_not_reach_the_next_row():
    surface = anisotropic_surface(points=41).assign(y=lambda rows: rows["y"] / 2)
    figure = draw("field", run_with(0, surface), "anisotropic")
    FigureCanvasAgg(figure).draw()
    axes, arrows = figure.axes[0], figure.axes[0].collections[-1]
    width, height = axes.get_window_extent().size
    assert height / width == pytest.approx(0.5, rel=0.01)
    assert height > 0.6 * figure.bbox.height
    length = np.hypot(arrows.U, arrows.V)[~np.asarray(arrows.Umask)].max() / arrows.scale * height
    assert 0.9 * height / 20 < length < height / 20


def test_a_formula_is_broken_between_terms_where_it_does_not_fit():
    formula = "(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 - (2.625 - x)**2"
    problem = function_problem(formula=formula)
    run = tables([function_lane("sgd")], [problem], anisotropic_surface(points=5))
    for kind, inches in (("surface", 3.25), ("field", 3.25), ("field", 1.5)):
        figure = draw(kind, run, "anisotropic", PlotOptions(width=inches, font_size=8))
        first, *others = (figure.get_suptitle() or figure.axes[0].get_title()).split("\n")
        assert first.startswith("anisotropic:")
        assert " ".join([first, *others]) == (
            "anisotropic: f(x, y) = (1.5 − x + x·y)² + (2.25 − x + x·y²)² − (2.625 − x)²"
        )
        if inches > 2:
            assert {line[:2] for line in others} <= {"+ ", "− ", "(1"}


def test_at_a_corner_of_a_surface_the_numbers_of_two_axes_do_not_meet():
    figure = draw("surface", run_with(21), "anisotropic")
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    assert axes.get_xticks().max() < 10.0
    assert axes.get_yticks().min() > -10.0


def test_only_minima_in_view_are_explained():
    minima = [{"position": [0.0, 0.0], "value": 0.0}, {"position": [9.0, 9.0], "value": 1.0}]
    surface = anisotropic_surface(points=21)
    run = tables([function_lane("sgd")], [function_problem(minima=minima)], surface)
    (legend,) = draw("trajectory", run, "anisotropic").legends
    assert [text.get_text() for text in legend.get_texts()] == ["start", "minimum"]


def test_a_coarse_grid_has_an_arrow_a_point():
    assert field_of(run_with(5))[1].N == 25


def test_a_grid_with_unequal_sides_keeps_its_orientation():
    x, y = (each.ravel() for each in np.meshgrid(np.linspace(-10, 10, 5), np.linspace(-10, 10, 9)))
    surface = pd.DataFrame({"problem": "anisotropic", "x": x, "y": y, "value": x + 100 * y})
    surface = surface.assign(gradient_x=1.0, gradient_y=100.0)
    _, arrows = field_of(run_with(0, surface))
    assert arrows.N == 45
    np.testing.assert_allclose(arrows.V / arrows.U, 100.0)


@pytest.mark.parametrize(("scale", "label"), [(1.0, "100"), (1000.0, "100k")])
def test_heights_of_a_surface_take_four_digits_at_most(scale, label):
    surface = anisotropic_surface(points=21)
    run = run_with(0, surface.assign(value=scale * surface["value"]))
    axes = draw("surface", run, "anisotropic").axes[0]
    assert label in axes.zaxis.get_major_formatter().format_ticks(axes.get_zticks())


@pytest.mark.parametrize("kind", ["surface", "field", "trajectory"])
@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_where_a_function_is_not_finite_it_has_a_hole(kind, hole, tmp_path):
    surface = anisotropic_surface(points=41)
    names = ["value", "gradient_x", "gradient_y"]
    surface.loc[(surface["x"] < -3) & (surface["y"] < 5), names] = hole
    problem = function_problem(plot={"domain": DOMAIN, "levels": None})
    run = tables([function_lane("sgd")], [problem], surface)
    figure = draw(kind, run, "anisotropic")
    figure.savefig(tmp_path / "figure.png", dpi=20)
    if kind == "field":
        (arrows,) = [each for each in figure.axes[0].collections if hasattr(each, "U")]
        drawn = ~arrows.Umask
        assert 200 < drawn.sum() < 440
        assert np.isfinite(np.asarray(arrows.U)[drawn]).all()
    if kind == "surface":
        assert figure.axes[0].get_zlim()[1] == 105.0


def test_level_ground_has_no_arrows():
    level = anisotropic_surface(points=5).assign(value=3.0, gradient_x=0.0, gradient_y=0.0)
    axes, arrows = field_of(run_with(5, level))
    axes.figure.canvas.draw()
    assert np.ma.getmaskarray(arrows.get_array()).all()


def test_a_function_without_values_has_no_surface():
    nowhere = anisotropic_surface(points=5).assign(value=np.nan)
    with pytest.raises(ResultsError, match="'anisotropic' has no finite value on its domain"):
        draw("surface", run_with(5, nowhere), "anisotropic")
