"""Convex quadratics: one minimum, and no difficulty but the shape of the bowl.

The first two are the textbook's.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Array, Namespace
from optbench.problems.base import Arrays, Minimum
from optbench.problems.functions.base import Function, PlanarFunction, Point, VectorFunction
from optbench.settings import Option

ROTATION_STREAM, ROTATION_SEED = "rotation", 0
"""What the rotation of :class:`RotatedQuadratic` is drawn from, whatever the lane's seed."""


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


class Sphere(VectorFunction):
    """The easiest of all: every direction is alike.

    f(x) = Σ xᵢ², ∇f = 2x.

    Source: K. A. De Jong, "An Analysis of the Behavior of a Class of Genetic Adaptive Systems",
    1975, function F1.
    """

    name = "sphere"
    summary = "Σ xᵢ² in n dimensions from (−4, 3, −4, …)"
    default_iterations = 100
    options = (
        Option("dimensions", 2, "number of variables", low=1, high=1_000_000),
        *Function.options,
    )
    formula = "sum(x**2)"
    cycle = (-4.0, 3.0)
    interval = (-5.0, 5.0)

    @override
    def find_minima(self) -> tuple[Minimum, ...]:
        return (Minimum((0.0,) * self.dimensions, 0.0),)

    @override
    def value_and_grad_rows(
        self, x: Array, constants: Arrays, xp: Namespace
    ) -> tuple[Array, Array]:
        return xp.sum(x * x, axis=-1), 2.0 * x


class RotatedQuadratic(VectorFunction):
    """An ill-conditioned bowl whose axes are not those of the coordinates.

    f(x) = ½ Σ λᵢ (Rx)ᵢ², ∇f = Rᵀ(λ ∘ Rx).
    The eigenvalues λᵢ = κ^(−(i−1)/(n−1)) fall from 1 to 1/κ, evenly in their logarithm, where κ is
    the condition number. R is uniform (Haar) over the orthogonal matrices: the orthogonal factor of
    a matrix of standard normals, its columns turned so that the diagonal of the triangular factor
    is positive. Scaling coordinates one by one does not help here.

    Arithmetic stays with R and λ rather than with the Hessian: rounded to float32, a Hessian with a
    condition number of 1e8 would no longer be positive.

    Sources: N. Hansen, S. Finck, R. Ros and A. Auger, "Real-Parameter Black-Box Optimization
    Benchmarking 2009: Noiseless Functions Definitions", INRIA RR-6829, function f10 (without its
    oscillation); F. Mezzadri, "How to generate random matrices from the classical compact groups",
    Notices of the AMS 54, 2007 (the rotation).
    """

    name = "rotated-quadratic"
    summary = "a rotated, ill-conditioned bowl in n dimensions from (4, −2, 4, …)"
    default_iterations = 1000
    options = (
        Option("dimensions", 10, "number of variables", low=2, high=2_000),
        Option("condition", 1000.0, "largest over smallest eigenvalue", low=1.0),
        *Function.options,
    )
    formula = "sum(eigenvalues*dot(R, x)**2)/2"
    cycle = (4.0, -2.0)
    interval = (-5.0, 5.0)

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.condition: float = options["condition"]

    @override
    def find_minima(self) -> tuple[Minimum, ...]:
        return (Minimum((0.0,) * self.dimensions, 0.0),)

    @override
    def definition(self) -> dict[str, Any]:
        rotation = {
            "method": "QR of standard normals",
            "generator": "Philox",
            "stream": ROTATION_STREAM,
            "seed": ROTATION_SEED,
        }
        return {**super().definition(), "condition": self.condition, "rotation": rotation}

    @cached_property
    def rotation(self) -> np.ndarray:
        """R: orthogonal, float64, shape (n, n)."""
        generator = rng.stream(ROTATION_SEED, ROTATION_STREAM)
        q, r = np.linalg.qr(generator.standard_normal((self.dimensions, self.dimensions)))
        rotation: np.ndarray = q * np.sign(np.diagonal(r))
        return rotation

    @property
    def eigenvalues(self) -> np.ndarray:
        """λ: from 1 to 1/κ, float64, shape (n,)."""
        return np.logspace(0.0, -np.log10(self.condition), self.dimensions)

    def data(self) -> dict[str, np.ndarray]:
        """Return R, (n, n), and λ, (n,)."""
        return {
            "rotation": self.rotation.astype(self.dtype),
            "eigenvalues": self.eigenvalues.astype(self.dtype),
        }

    @override
    def value_and_grad_rows(
        self, x: Array, constants: Arrays, xp: Namespace
    ) -> tuple[Array, Array]:
        rotation = constants["rotation"]
        rotated = (x[:, None, :] @ xp.matrix_transpose(rotation))[:, 0, :]
        scaled = constants["eigenvalues"] * rotated
        return 0.5 * xp.sum(scaled * rotated, axis=-1), (scaled[:, None, :] @ rotation)[:, 0, :]


class Booth(PlanarFunction):
    """A bowl that is tilted against the axes, with condition number 9.

    f(x, y) = (x + 2y − 7)² + (2x + y − 5)².

    Source: M. Jamil and X.-S. Yang, "A Literature Survey of Benchmark Functions For Global
    Optimization Problems", Int. J. Mathematical Modelling and Numerical Optimisation 4, 2013.
    """

    name = "booth"
    summary = "a tilted bowl: (x + 2y − 7)² + (2x + y − 5)² from (−8, −6)"
    default_iterations = 200
    formula = "(x + 2*y - 7)**2 + (2*x + y - 5)**2"
    origin = (-8.0, -6.0)
    minima = (Minimum((1.0, 3.0), 0.0),)
    domain = ((-10.0, 10.0), (-10.0, 10.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        a, b = x + 2.0 * y - 7.0, 2.0 * x + y - 5.0
        return a * a + b * b, 2.0 * a + 4.0 * b, 4.0 * a + 2.0 * b


class Matyas(PlanarFunction):
    """A long valley along the diagonal, with condition number 25.

    f(x, y) = 0.26 (x² + y²) − 0.48 xy.

    Source: M. Jamil and X.-S. Yang, "A Literature Survey of Benchmark Functions For Global
    Optimization Problems", Int. J. Mathematical Modelling and Numerical Optimisation 4, 2013.
    """

    name = "matyas"
    summary = "a diagonal valley: 0.26 (x² + y²) − 0.48 xy from (−8, 5)"
    default_iterations = 200
    formula = "0.26*(x**2 + y**2) - 0.48*x*y"
    origin = (-8.0, 5.0)
    minima = (Minimum((0.0, 0.0), 0.0),)
    domain = ((-10.0, 10.0), (-10.0, 10.0))

    @override
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        value = 0.26 * (x * x + y * y) - 0.48 * (x * y)
        return value, 0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x


FUNCTIONS: tuple[type[Function], ...] = (
    *(Anisotropic, Quadratic1D),
    *(Sphere, RotatedQuadratic, Booth, Matyas),
)
