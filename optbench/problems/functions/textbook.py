"""The textbook's functions: x²/20 + y² and a parabola."""

from typing_extensions import override

from optbench.arrays import Array, Namespace
from optbench.problems.base import Minimum
from optbench.problems.functions.base import Function, PlanarFunction, Point


class Anisotropic(PlanarFunction):
    """The textbook's long valley, 20 times steeper across than along.

    f(x, y) = x²/20 + y², ∇f = (x/10, 2y).

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.1.3.
    """

    name = "anisotropic"
    summary = "a long valley: x²/20 + y² from (−7, 2)"
    default_iterations = 30
    formula = "x**2/20 + y**2"
    origin = (-7.0, 2.0)
    minima = (Minimum((0.0, 0.0), 0.0),)
    domain = ((-10.0, 10.0), (-10.0, 10.0))
    levels = tuple(float(level) for level in range(8))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        return x * x / 20.0 + y * y, x / 10.0, 2.0 * y


class Quadratic1D(Function):
    """A parabola in one variable.

    f(x) = x² + x + 1, f′(x) = 2x + 1.
    """

    name = "quadratic-1d"
    summary = "a parabola: x² + x + 1 from 20"
    default_iterations = 25
    formula = "x**2 + x + 1"
    variables = ("x",)
    origin = (20.0,)
    minima = (Minimum((-0.5,), 0.75),)
    domain = ((-21.0, 21.0),)

    @override
    def value_and_grad(self, point: Point, xp: Namespace) -> tuple[Array, Point]:
        (x,) = point
        return x * x + x + 1.0, (2.0 * x + 1.0,)


FUNCTIONS: tuple[type[Function], ...] = (Anisotropic, Quadratic1D)
