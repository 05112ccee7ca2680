"""Functions of two variables with a whole lattice of local minima; only the global one is named."""

from math import e, pi

from typing_extensions import override

from optbench.arrays import Array, Namespace
from optbench.problems.base import Minimum
from optbench.problems.functions.base import Function, PlanarFunction


class Rastrigin(PlanarFunction):
    """A bowl with a well at nearly every pair of whole numbers.

    f(x, y) = 20 + x² − 10 cos 2πx + y² − 10 cos 2πy. A local minimum lies near each pair of whole
    numbers in the domain, 121 with the global one.

    Source: L. A. Rastrigin, "Systems of Extremal Control", Nauka 1974 (in Russian).
    """

    name = "rastrigin"
    summary = "Rastrigin's bowl with 121 wells from (−2, 3.5)"
    default_iterations = 200
    formula = "20 + x**2 - 10*cos(2*pi*x) + y**2 - 10*cos(2*pi*y)"
    origin = (-2.0, 3.5)
    minima = (Minimum((0.0, 0.0), 0.0),)
    domain = ((-5.12, 5.12), (-5.12, 5.12))
    levels = (2.5, 5.0, 10.0, 20.0, 40.0, 60.0)

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        u, v = 2.0 * pi * x, 2.0 * pi * y
        value = x * x + y * y + 10.0 * ((1.0 - xp.cos(u)) + (1.0 - xp.cos(v)))
        return value, 2.0 * x + 20.0 * pi * xp.sin(u), 2.0 * y + 20.0 * pi * xp.sin(v)


class Ackley(PlanarFunction):
    """A funnel with ripples and a sharp tip.

    f(x, y) = −20 exp(−r/5) − exp(½ cos 2πx + ½ cos 2πy) + 20 + e with r = √(½ (x² + y²)). At the
    tip f has no gradient; it is defined as 0 there. A local minimum lies near most pairs of whole
    numbers.

    Source: D. H. Ackley, "A Connectionist Machine for Genetic Hillclimbing", Kluwer 1987.
    """

    name = "ackley"
    summary = "Ackley's rippled funnel with a sharp tip from (−3.6, 2.3)"
    default_iterations = 200
    formula = (
        "-20*exp(-0.2*sqrt((x**2 + y**2)/2)) - exp((cos(2*pi*x) + cos(2*pi*y))/2) + 20 + exp(1)"
    )
    origin = (-3.6, 2.3)
    minima = (Minimum((0.0, 0.0), 0.0),)
    domain = ((-5.0, 5.0), (-5.0, 5.0))
    levels = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0)

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        u, v = 2.0 * pi * x, 2.0 * pi * y
        r = xp.sqrt(0.5 * (x * x + y * y))
        ripple = 0.5 * (xp.cos(u) + xp.cos(v)) - 1.0
        value = -20.0 * xp.expm1(-0.2 * r) - e * xp.expm1(ripple)  # exactly 0 at the tip
        divisor = r + xp.astype(r == 0.0, r.dtype)
        funnel = 2.0 * xp.exp(-0.2 * r) / divisor
        waves = e * pi * xp.exp(ripple)
        return value, funnel * x + waves * xp.sin(u), funnel * y + waves * xp.sin(v)


class Levy13(PlanarFunction):
    """A bowl with narrow ripples that run across each other.

    f(x, y) = sin² 3πx + (x − 1)² (1 + sin² 3πy) + (y − 1)² (1 + sin² 2πy). The plot domain is ±10
    in the literature, ±5 here so that the ripples show. Local minima lie about a third apart.

    Source: M. Laguna and R. Martí, "Experimental Testing of Advanced Scatter Search Designs for
    Global Optimization of Multimodal Functions", J. Global Optimization 33, 2005 (after A. V. Levy
    and A. Montalvo, 1985).
    """

    name = "levy-13"
    summary = "Lévy's function N. 13, a bowl with narrow ripples, from (−2.4, 2.7)"
    default_iterations = 200
    formula = "sin(3*pi*x)**2 + (x - 1)**2*(1 + sin(3*pi*y)**2) + (y - 1)**2*(1 + sin(2*pi*y)**2)"
    origin = (-2.4, 2.7)
    minima = (Minimum((1.0, 1.0), 0.0),)
    domain = ((-5.0, 5.0), (-5.0, 5.0))
    levels = (1.0, 4.0, 10.0, 20.0, 40.0, 80.0)

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        a, b = x - 1.0, y - 1.0
        ripple_x, ripple_y = xp.sin(3.0 * pi * x), xp.sin(3.0 * pi * y)
        wave_y = xp.sin(2.0 * pi * y)
        across, along = 1.0 + ripple_y * ripple_y, 1.0 + wave_y * wave_y
        value = ripple_x * ripple_x + a * a * across + b * b * along
        # 2 sin z cos z = sin 2z
        slope_x = 3.0 * pi * xp.sin(6.0 * pi * x) + 2.0 * (a * across)
        slope_y = (
            3.0 * pi * (a * a * xp.sin(6.0 * pi * y))
            + 2.0 * (b * along)
            + 2.0 * pi * (b * b * xp.sin(4.0 * pi * y))
        )
        return value, slope_x, slope_y


FUNCTIONS: tuple[type[Function], ...] = (Rastrigin, Ackley, Levy13)
