"""The figures of a function alone: its surface and its field."""

import numpy as np
import pandas as pd
import pytest
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from optbench.errors import ResultsError
from optbench.report.plots import draw
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
