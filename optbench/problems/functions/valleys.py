"""Functions whose gradient says little of the way: curved valleys, a saddle, a plateau."""

from math import exp, sqrt

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Namespace
from optbench.problems.base import Arrays, Minimum
from optbench.problems.functions.base import Function, PlanarFunction, VectorFunction
from optbench.settings import Option

TWO_MINIMA = range(4, 31)
"""Dimensions in which the extended Rosenbrock function is known to have exactly two minima."""

NEWTON_STEPS = 50


class Beale(PlanarFunction):
    """A flat valley between steep walls.

    f(x, y) = (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)². On the side of the start the
    valley falls for ever, towards a value of about 0.45 at x = −∞, y = 1.

    Sources: E. M. L. Beale, "On an Iterative Method for Finding a Local Minimum of a Function of
    More than One Variable", 1958; the start is that of F. Schneider, L. Balles and P. Hennig,
    "DeepOBS: A Deep Learning Optimizer Benchmark Suite", ICLR 2019.
    """

    name = "beale"
    summary = "Beale's flat valley between steep walls from (−4.5, 4.5)"
    default_iterations = 1000
    formula = "(1.5 - x + x*y)**2 + (2.25 - x + x*y**2)**2 + (2.625 - x + x*y**3)**2"
    origin = (-4.5, 4.5)
    minima = (Minimum((3.0, 0.5), 0.0),)
    domain = ((-5.0, 5.0), (-5.0, 5.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        square = y * y
        cube = square * y
        a = 1.5 - x + x * y
        b = 2.25 - x + x * square
        c = 2.625 - x + x * cube
        slope_x = a * (y - 1.0) + b * (square - 1.0) + c * (cube - 1.0)
        slope_y = x * (a + 2.0 * (b * y) + 3.0 * (c * square))
        return a * a + b * b + c * c, 2.0 * slope_x, 2.0 * slope_y


class Rosenbrock(PlanarFunction):
    """The curved valley of all textbooks.

    f(x, y) = (1 − x)² + 100 (y − x²)².

    Sources: H. H. Rosenbrock, "An Automatic Method for Finding the Greatest or Least Value of a
    Function", The Computer Journal 3, 1960; the start is that of F. Schneider, L. Balles and P.
    Hennig, "DeepOBS: A Deep Learning Optimizer Benchmark Suite", ICLR 2019.
    """

    name = "rosenbrock"
    summary = "Rosenbrock's curved valley: (1 − x)² + 100 (y − x²)² from (−0.5, 1.5)"
    default_iterations = 1000
    formula = "(1 - x)**2 + 100*(y - x**2)**2"
    origin = (-0.5, 1.5)
    minima = (Minimum((1.0, 1.0), 0.0),)
    domain = ((-2.0, 2.0), (-1.0, 3.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        along, across = 1.0 - x, y - x * x
        value = along * along + 100.0 * (across * across)
        return value, -2.0 * along - 400.0 * (x * across), 200.0 * across


class RosenbrockND(VectorFunction):
    """Rosenbrock's valley winding through n dimensions.

    f(x) = Σᵢ₌₁ⁿ⁻¹ [100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²], minimum 0 at (1, …, 1). From 4 to 30 dimensions
    there is exactly one other minimum, near (−1, 1, …, 1) and with a value of 3.7 to 3.99; it is
    found by Newton's method. Beyond 30 only the global minimum is named.

    Sources: H. H. Rosenbrock, The Computer Journal 3, 1960; J. J. Moré, B. S. Garbow and K. E.
    Hillstrom, "Testing Unconstrained Optimization Software", ACM TOMS 7, 1981 (the start); Y.-W.
    Shang and Y.-H. Qiu, "A Note on the Extended Rosenbrock Function", Evolutionary Computation 14,
    2006 (the minima).
    """

    name = "rosenbrock-nd"
    summary = "Rosenbrock's valley in n dimensions from (−1.2, 1, −1.2, …)"
    default_iterations = 2000
    options = (
        Option("dimensions", 10, "number of variables", low=2, high=1_000_000),
        *Function.options,
    )
    formula = "sum(100*(x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)"
    cycle = (-1.2, 1.0)
    interval = (-2.0, 2.0)

    @override
    def find_minima(self) -> tuple[Minimum, ...]:
        n = self.dimensions
        best = Minimum((1.0,) * n, 0.0)
        return (best, _local_minimum(n)) if n in TWO_MINIMA else (best,)

    @override
    def value_and_grad_rows(
        self, x: Array, constants: Arrays, xp: Namespace
    ) -> tuple[Array, Array]:
        head = x[:, :-1]
        along, across = 1.0 - head, x[:, 1:] - head * head
        grad = xp.zeros_like(x)
        grad[:, 1:] = 200.0 * across
        grad[:, :-1] = grad[:, :-1] - 2.0 * along - 400.0 * (head * across)
        return xp.sum(100.0 * (across * across) + along * along, axis=-1), grad


def _local_minimum(n: int) -> Minimum:
    """Return the minimum of the extended Rosenbrock function near (−1, 1, …, 1)."""
    x = np.ones(n)
    x[0] = -1.0
    for _ in range(NEWTON_STEPS):
        head, across = x[:-1], x[1:] - x[:-1] ** 2
        gradient = np.append(-2.0 * (1.0 - head) - 400.0 * head * across, 0.0)
        gradient[1:] += 200.0 * across
        diagonal = np.append(2.0 - 400.0 * across + 800.0 * head**2, 0.0)
        diagonal[1:] += 200.0
        beside = -400.0 * head
        hessian = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        x -= np.linalg.solve(hessian, gradient)
    value = np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    return Minimum(tuple(x.tolist()), float(value))


class Saddle(PlanarFunction):
    """A saddle that is entered almost exactly along its ridge.

    f(x, y) = x² − y² + y⁴/4 with its saddle at (0, 0): an optimizer that is slow to leave it sees a
    gradient near zero for long.

    After the saddles of Y. Dauphin et al., "Identifying and Attacking the Saddle Point Problem in
    High-Dimensional Non-Convex Optimization", NeurIPS 2014; the quartic term bounds it below.
    """

    name = "saddle"
    summary = "a saddle with two ways down: x² − y² + y⁴/4 from (2, 0.01)"
    default_iterations = 200
    formula = "x**2 - y**2 + y**4/4"
    origin = (2.0, 0.01)
    minima = (Minimum((0.0, sqrt(2.0)), -1.0), Minimum((0.0, -sqrt(2.0)), -1.0))
    domain = ((-2.5, 2.5), (-2.5, 2.5))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        square = y * y
        return x * x - square + 0.25 * (square * square), 2.0 * x, y * (square - 2.0)


class Plateau(PlanarFunction):
    """A hollow in a plateau: far from it the gradient is nearly zero.

    f(x, y) = 1 / (1 + exp(−s (x² + y² − 1))) with s = 5. The gradient at the start has a norm of
    5e-7, though f is 1 there.

    A logistic step of the squared distance from the origin; it has the flat regions in which units
    that saturate leave networks, as in X. Glorot and Y. Bengio, "Understanding the Difficulty of
    Training Deep Feedforward Neural Networks", AISTATS 2010.
    """

    name = "plateau"
    summary = "a hollow in a plateau with next to no gradient from (1.5, 1.5)"
    default_iterations = 500
    formula = "1/(1 + exp(-5*(x**2 + y**2 - 1)))"
    origin = (1.5, 1.5)
    minima = (Minimum((0.0, 0.0), 1.0 / (1.0 + exp(5.0))),)
    domain = ((-2.0, 2.0), (-2.0, 2.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        decay = xp.exp(-5.0 * (x * x + y * y - 1.0))
        value = 1.0 / (1.0 + decay)
        slope = 10.0 * (value * (decay * value))  # f (1 − f), without its cancellation at f = 1
        return value, slope * x, slope * y


FUNCTIONS: tuple[type[Function], ...] = (Beale, Rosenbrock, RosenbrockND, Saddle, Plateau)
