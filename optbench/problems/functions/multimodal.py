"""Functions of two variables with a few minima: where one ends depends on the path."""

from itertools import product
from math import pi, sqrt

from typing_extensions import override

from optbench.arrays import Array, Namespace
from optbench.problems.base import Minimum
from optbench.problems.functions.base import Function, PlanarFunction

BRANIN_B, BRANIN_C, BRANIN_T = 5.1 / (4.0 * pi**2), 5.0 / pi, 1.0 / (8.0 * pi)


class Branin(PlanarFunction):
    """Three equal minima in a row.

    f(x, y) = (y − bx² + cx − 6)² + 10 (1 − t) cos x + 10 with b = 5.1/(4π²), c = 5/π, t = 1/(8π).
    Outside the domain there is another minimum at every odd multiple of π.

    Sources: F. H. Branin, "Widely Convergent Method for Finding Multiple Solutions of Simultaneous
    Nonlinear Equations", IBM J. Research and Development 16, 1972; the start is that of F.
    Schneider, L. Balles and P. Hennig, "DeepOBS: A Deep Learning Optimizer Benchmark Suite", ICLR
    2019.
    """

    name = "branin"
    summary = "Branin's three equal minima from (2.5, 12.5)"
    default_iterations = 300
    formula = "(y - 5.1/(4*pi**2)*x**2 + 5/pi*x - 6)**2 + 10*(1 - 1/(8*pi))*cos(x) + 10"
    origin = (2.5, 12.5)
    minima = (
        Minimum((-pi, 12.275), 1.25 / pi),
        Minimum((pi, 2.275), 1.25 / pi),
        Minimum((3.0 * pi, 2.475), 1.25 / pi),
    )
    domain = ((-5.0, 10.0), (0.0, 15.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        height = 10.0 * (1.0 - BRANIN_T)
        off = y - BRANIN_B * (x * x) + BRANIN_C * x - 6.0
        value = off * off + height * xp.cos(x) + 10.0
        slope = 2.0 * (off * (BRANIN_C - 2.0 * BRANIN_B * x)) - height * xp.sin(x)
        return value, slope, 2.0 * off


class Himmelblau(PlanarFunction):
    """Four equal minima round a hill.

    f(x, y) = (x² + y − 11)² + (x + y² − 7)²; the start is near the hill's top.

    Source: D. M. Himmelblau, "Applied Nonlinear Programming", McGraw-Hill 1972.
    """

    name = "himmelblau"
    summary = "Himmelblau's four equal minima from (0, 0)"
    default_iterations = 200
    formula = "(x**2 + y - 11)**2 + (x + y**2 - 7)**2"
    origin = (0.0, 0.0)
    minima = (
        Minimum((3.0, 2.0), 0.0),
        Minimum((-2.8051180869527449, 3.1313125182505730), 0.0),
        Minimum((-3.7793102533777469, -3.2831859912861694), 0.0),
        Minimum((3.5844283403304917, -1.8481265269644036), 0.0),
    )
    domain = ((-5.0, 5.0), (-5.0, 5.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        a, b = x * x + y - 11.0, x + y * y - 7.0
        return a * a + b * b, 4.0 * (x * a) + 2.0 * b, 2.0 * a + 4.0 * (y * b)


class ThreeHumpCamel(PlanarFunction):
    """One global minimum between two local ones.

    f(x, y) = 2x² − 1.05x⁴ + x⁶/6 + xy + y².

    Source: M. Jamil and X.-S. Yang, "A Literature Survey of Benchmark Functions For Global
    Optimization Problems", Int. J. Mathematical Modelling and Numerical Optimisation 4, 2013.
    """

    name = "three-hump-camel"
    summary = "a global minimum between two local ones from (2, 1.5)"
    default_iterations = 200
    formula = "2*x**2 - 1.05*x**4 + x**6/6 + x*y + y**2"
    origin = (2.0, 1.5)
    minima = (
        Minimum((0.0, 0.0), 0.0),
        Minimum((1.7475523458302889, -0.87377617291514445), 0.29863844223685982),
        Minimum((-1.7475523458302889, 0.87377617291514445), 0.29863844223685982),
    )
    domain = ((-2.5, 2.5), (-2.0, 2.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        s = x * x
        value = s * (2.0 - 1.05 * s + s * s / 6.0) + x * y + y * y
        return value, x * (4.0 - 4.2 * s + s * s) + y, x + 2.0 * y


class SixHumpCamel(PlanarFunction):
    """Two global and four local minima, in pairs opposite each other.

    f(x, y) = (4 − 2.1x² + x⁴/3) x² + xy + (4y² − 4) y².

    Source: L. C. W. Dixon and G. P. Szegő, "The Global Optimization Problem: An Introduction", in
    "Towards Global Optimisation 2", North-Holland 1978.
    """

    name = "six-hump-camel"
    summary = "two global and four local minima from (−2, 1.1)"
    default_iterations = 200
    formula = "(4 - 2.1*x**2 + x**4/3)*x**2 + x*y + (4*y**2 - 4)*y**2"
    origin = (-2.0, 1.1)
    minima = (
        Minimum((0.089842013100318062, -0.71265640302073963), -1.0316284534898774),
        Minimum((-0.089842013100318062, 0.71265640302073963), -1.0316284534898774),
        Minimum((1.7036067149699808, -0.79608356867262512), -0.21546382438371764),
        Minimum((-1.7036067149699808, 0.79608356867262512), -0.21546382438371764),
        Minimum((1.6071047529201972, 0.56865145488413137), 2.1042503103112583),
        Minimum((-1.6071047529201972, -0.56865145488413137), 2.1042503103112583),
    )
    domain = ((-2.2, 2.2), (-1.3, 1.3))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        s, t = x * x, y * y
        value = s * (4.0 - 2.1 * s + s * s / 3.0) + x * y + t * (4.0 * t - 4.0)
        slope_x = x * (8.0 - 8.4 * s + 2.0 * (s * s)) + y
        return value, slope_x, x + y * (16.0 * t - 8.0)


class GoldsteinPrice(PlanarFunction):
    """Four minima at very different heights, from 3 up to a million at the corners.

    f(x, y) = [1 + t² (36 − 20t + 3t²)] [30 + d² (18 − 16d + 3d²)] with t = x + y + 1 and d = 2x −
    3y, which is the published polynomial in x and y, collected.

    Source: A. A. Goldstein and J. F. Price, "On Descent from Local Minima", Mathematics of
    Computation 25, 1971.
    """

    name = "goldstein-price"
    summary = "Goldstein and Price's four minima at very different heights from (−1, 0.8)"
    default_iterations = 500
    formula = (
        "(1 + (x + y + 1)**2*(19 - 14*x + 3*x**2 - 14*y + 6*x*y + 3*y**2))"
        "*(30 + (2*x - 3*y)**2*(18 - 32*x + 12*x**2 + 48*y - 36*x*y + 27*y**2))"
    )
    origin = (-1.0, 0.8)
    minima = (
        Minimum((0.0, -1.0), 3.0),
        Minimum((-0.6, -0.4), 30.0),
        Minimum((1.8, 0.2), 84.0),
        Minimum((1.2, 0.8), 840.0),
    )
    domain = ((-2.0, 2.0), (-2.0, 2.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        t, d = x + y + 1.0, 2.0 * x - 3.0 * y
        a = 1.0 + t * t * (36.0 - 20.0 * t + 3.0 * (t * t))
        b = 30.0 + d * d * (18.0 - 16.0 * d + 3.0 * (d * d))
        slope_a = b * (t * (72.0 - 60.0 * t + 12.0 * (t * t)))
        slope_b = a * (d * (36.0 - 48.0 * d + 12.0 * (d * d)))
        return a * b, slope_a + 2.0 * slope_b, slope_a - 3.0 * slope_b


class StyblinskiTang(PlanarFunction):
    """A global minimum in one corner, local ones in the other three.

    f(x, y) = ½ (x⁴ − 16x² + 5x + y⁴ − 16y² + 5y).

    Source: M. A. Styblinski and T.-S. Tang, "Experiments in Nonconvex Optimization: Stochastic
    Approximation with Function Smoothing and Simulated Annealing", Neural Networks 3, 1990.
    """

    name = "styblinski-tang"
    summary = "a global minimum in one corner, local ones in three from (0, 4)"
    default_iterations = 200
    formula = "(x**4 - 16*x**2 + 5*x + y**4 - 16*y**2 + 5*y)/2"
    origin = (0.0, 4.0)
    minima = tuple(
        Minimum((x, y), f + g)
        for (x, f), (y, g) in product(
            ((-2.9035340277711771, -39.166165703771415), (2.7468027709908370, -25.029446655283943)),
            repeat=2,
        )
    )
    domain = ((-5.0, 5.0), (-5.0, 5.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        s, t = x * x, y * y
        value = 0.5 * (s * (s - 16.0) + 5.0 * x + t * (t - 16.0) + 5.0 * y)
        return value, x * (2.0 * s - 16.0) + 2.5, y * (2.0 * t - 16.0) + 2.5


class McCormick(PlanarFunction):
    """A wavy slope that falls without end outside its domain.

    f(x, y) = sin(x + y) + (x − y)² − 1.5x + 2.5y + 1. Each step of (−π, −π) from a minimum leads to
    another that is π lower: what leaves the domain there has won nothing.

    Source: G. P. McCormick, "Computability of Global Solutions to Factorable Nonconvex Programs:
    Part I", Mathematical Programming 10, 1976.
    """

    name = "mccormick"
    summary = "McCormick's wavy slope, unbounded outside its domain, from (3.5, −2.5)"
    default_iterations = 200
    formula = "sin(x + y) + (x - y)**2 - 1.5*x + 2.5*y + 1"
    origin = (3.5, -2.5)
    minima = (
        Minimum((0.5 - pi / 3.0, -0.5 - pi / 3.0), -sqrt(0.75) - pi / 3.0),
        Minimum((0.5 + pi / 1.5, -0.5 + pi / 1.5), -sqrt(0.75) + pi / 1.5),
    )
    domain = ((-1.5, 4.0), (-3.0, 4.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        total, apart = x + y, x - y
        wave = xp.cos(total)
        value = xp.sin(total) + apart * apart - 1.5 * x + 2.5 * y + 1.0
        return value, wave + 2.0 * apart - 1.5, wave - 2.0 * apart + 2.5


FUNCTIONS: tuple[type[Function], ...] = (
    Branin,
    Himmelblau,
    ThreeHumpCamel,
    SixHumpCamel,
    GoldsteinPrice,
    StyblinskiTang,
    McCormick,
)
