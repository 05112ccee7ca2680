"""Formulas of the functions as the literature writes them, for real and complex arguments.

Each takes an array whose first axis holds the variables. Nothing here is shared with the package,
and gradients are those of the formulas: the imaginary part of f(x + ih) / h is exact to rounding.
"""

from collections.abc import Callable

import numpy as np
from numpy import cos, exp, pi, sin, sqrt

Formula = Callable[[np.ndarray], np.ndarray]


def goldstein_price(p):
    x, y = p
    first = 19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2
    second = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return (1 + (x + y + 1) ** 2 * first) * (30 + (2 * x - 3 * y) ** 2 * second)


def levy_13(p):
    x, y = p
    return (
        sin(3 * pi * x) ** 2
        + (x - 1) ** 2 * (1 + sin(3 * pi * y) ** 2)
        + (y - 1) ** 2 * (1 + sin(2 * pi * y) ** 2)
    )


def beale(p):
    u, v = p
    return (1.5 - u + u * v) ** 2 + (2.25 - u + u * v**2) ** 2 + (2.625 - u + u * v**3) ** 2


def branin(p):
    a, b, c, r, s, t = 1.0, 5.1 / (4 * pi**2), 5 / pi, 6.0, 10.0, 1 / (8 * pi)
    u, v = p
    return a * (v - b * u**2 + c * u - r) ** 2 + s * (1 - t) * cos(u) + s


def ackley(p):
    x, y = p
    ripples = exp(0.5 * (cos(2 * pi * x) + cos(2 * pi * y)))
    return -20 * exp(-0.2 * sqrt(0.5 * (x**2 + y**2))) - ripples + 20 + np.e


def six_hump_camel(p):
    x, y = p
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2


def rosenbrock_nd(p):
    return sum(100 * (p[i + 1] - p[i] ** 2) ** 2 + (1 - p[i]) ** 2 for i in range(len(p) - 1))


FORMULAS: dict[str, Formula] = {
    "anisotropic": lambda p: p[0] ** 2 / 20 + p[1] ** 2,
    "quadratic-1d": lambda p: p[0] ** 2 + p[0] + 1,
    "sphere": lambda p: sum(each**2 for each in p),
    "booth": lambda p: (p[0] + 2 * p[1] - 7) ** 2 + (2 * p[0] + p[1] - 5) ** 2,
    "matyas": lambda p: 0.26 * (p[0] ** 2 + p[1] ** 2) - 0.48 * p[0] * p[1],
    "beale": beale,
    "rosenbrock": lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2,
    "rosenbrock-nd": rosenbrock_nd,
    "saddle": lambda p: p[0] ** 2 - p[1] ** 2 + p[1] ** 4 / 4,
    "plateau": lambda p: 1 / (1 + exp(-5 * (p[0] ** 2 + p[1] ** 2 - 1))),
    "branin": branin,
    "himmelblau": lambda p: (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2,
    "three-hump-camel": lambda p: (
        2 * p[0] ** 2 - 1.05 * p[0] ** 4 + p[0] ** 6 / 6 + p[0] * p[1] + p[1] ** 2
    ),
    "six-hump-camel": six_hump_camel,
    "goldstein-price": goldstein_price,
    "styblinski-tang": lambda p: sum(x**4 - 16 * x**2 + 5 * x for x in p) / 2,
    "mccormick": lambda p: sin(p[0] + p[1]) + (p[0] - p[1]) ** 2 - 1.5 * p[0] + 2.5 * p[1] + 1,
    "rastrigin": lambda p: 20 + sum(x**2 - 10 * cos(2 * pi * x) for x in p),
    "ackley": ackley,
    "levy-13": levy_13,
}
"""All but the rotated quadratic, whose rotation is tested apart."""


def gradient(formula: Formula, points: np.ndarray) -> np.ndarray:
    """Return the gradient at points, (variables, …), by complex steps."""
    steps = 1e-30j * np.eye(len(points))
    shape = (len(points), *(1,) * (points.ndim - 1))
    return np.stack([formula(points + step.reshape(shape)).imag / 1e-30 for step in steps])
