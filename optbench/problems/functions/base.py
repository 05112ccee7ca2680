"""The base of all functions.

A lane is a point. Functions of a few variables store one variable after the other for all lanes, so
that arithmetic on ``params.rows[:, 0]`` runs over contiguous memory; functions of any number of
variables (:class:`VectorFunction`) keep each lane together, as networks do.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Array, Namespace, Stacked, Tensor, Workspace
from optbench.errors import SuiteError
from optbench.problems.base import DTYPES, Arrays, Losses, Minimum, Problem
from optbench.settings import Option, Setting

Interval = tuple[float, float]
Point = tuple[Array, ...]

SURFACE_POINTS = {1: 2001, 2: 201}
"""Grid points along each axis of what is stored of functions of so many variables."""

DTYPE = Option("dtype", "float64", "of parameters and arithmetic", choices=DTYPES)

START_SPREAD = Option(
    "start_spread", 0.0, "how far seeds start apart, as a share of the domain", high=1.0
)

START_STREAM = "start"
"""What the starts of seeds are drawn from where they are spread."""


class Function(Problem):
    r"""A function minimised from a fixed start, ``origin``; by default nothing in it is random.

    The option ``start_spread``, a share s, makes seeds different instances of it: seed 0 starts at
    the origin, and every other seed at

    .. math:: \min(\max(x_0 + s\,w\,z, l), h), \qquad z \sim N(0, I),

    with the domain's lower and upper ends l and h, its width w = h − l, and z from the seed's own
    stream. A guessed domain counts like a given one.

    ``formula`` is the function as Python, in terms of its variables. ``minima`` are the known ones
    inside the domain, global ones first; functions with a whole lattice of local minima name the
    global ones only. Figures show ``domain``, one interval per variable, and contours at
    ``levels``; None leaves the choice to them. A lane that ends outside the domain ranks last, but
    not for intervals that are ``guessed``: those grow to hold what they should show.
    """

    kind = "function"
    minibatch = False
    by_coordinate = True
    record = "before"
    options: ClassVar[tuple[Setting, ...]] = (DTYPE, START_SPREAD)

    formula: str
    variables: tuple[str, ...]
    origin: tuple[float, ...]
    minima: tuple[Minimum, ...]
    domain: tuple[Interval, ...]
    guessed: tuple[bool, ...] = ()
    """Which of its intervals nobody gave; empty where all were given."""
    levels: tuple[float, ...] | None = None

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.start_spread: float = options.get(START_SPREAD.name, 0.0)  # a subclass may lack it

    @abstractmethod
    def value_and_grad(self, point: Point, xp: Namespace) -> tuple[Array, Point]:
        """Return f and its partial derivatives at points; every array has the shape (lanes,)."""

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(name) for name in self.variables)

    @override
    def prepare(self) -> tuple[str, ...]:
        """See whether the domain lets starts be spread."""
        if self.start_spread:
            self._check_domain()
        return ()

    def _check_domain(self) -> None:
        """Refuse a domain that starts cannot be spread over."""
        if not self.domain:
            raise SuiteError(
                f"{self.name} has no domain for start_spread to be a share of; give it one, an "
                "interval for each variable, or leave start_spread out"
            )
        with np.errstate(over="ignore"):
            widths = np.subtract(*self._ends()[::-1]).astype(self.dtype)
        for name, x, (low, high), width in zip(
            self.variables, self.origin, self.domain, widths, strict=True
        ):
            if not low <= x <= high:
                raise SuiteError(
                    f"{self.name} starts at {name} = {x:g}, outside its domain from {low:g} to "
                    f"{high:g}; start_spread needs a domain that holds the start"
                )
            if not np.isfinite(width):
                raise SuiteError(
                    f"{self.name} has a domain from {low:g} to {high:g}, too wide for "
                    f"{self.dtype}; start_spread needs a narrower one"
                )

    @override
    def definition(self) -> dict[str, Any]:
        spread = {
            "share": self.start_spread,
            "domain": self._defined_domain(),
            "generator": "Philox",
            "stream": START_STREAM,
        }
        return {
            "kind": self.kind,
            "name": self.name,
            "formula": self.formula,
            "start": list(self.origin),
            **({"start_spread": spread} if self.start_spread else {}),
            "record": self.record,
            "dtype": self.dtype,
        }

    def _defined_domain(self) -> Any:
        """Return the domain as a definition names it."""
        return [list(interval) for interval in self.domain]

    @override
    def describe(self) -> dict[str, Any]:
        levels = None if self.levels is None else list(self.levels)
        return {
            **super().describe(),
            "formula": self.formula,
            "variables": list(self.variables),
            "minima": [
                {
                    "position": None if minimum.position is None else list(minimum.position),
                    "value": minimum.value,
                }
                for minimum in self.minima
            ],
            "plot": {
                "domain": [list(interval) for interval in self.domain],
                "guessed": list(self.guessed or [False] * len(self.domain)),
                "levels": levels,
            },
        }

    def surface(self, domain: Sequence[Interval] | None = None) -> dict[str, np.ndarray] | None:
        """Return the function and its gradient on a grid of a domain, or of its own.

        Columns as in :data:`optbench.records.SURFACE_COLUMNS`, without ``problem``, and without
        those of y where there is one variable. None for functions of more than two.
        """
        points = SURFACE_POINTS.get(len(self.variables))
        if points is None:
            return None
        axes = [np.linspace(low, high, points) for low, high in domain or self.domain]
        grid = tuple(axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        value, partials = self.value_and_grad(grid, np)
        gradient = {f"gradient_{name}": part for name, part in zip("xy", partials, strict=False)}
        return {**dict(zip("xy", grid, strict=False)), "value": value, **gradient}

    @override
    def start(self, seed: int) -> np.ndarray:
        origin = np.array(self.origin)
        if seed == 0 or not self.start_spread:
            return origin
        low, high = self._ends()
        away = rng.stream(seed, START_STREAM).standard_normal(origin.size)
        start: np.ndarray = np.clip(origin + self.start_spread * (high - low) * away, low, high)
        return start

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends of the domain, shape (parameters,) each."""
        low, high = np.array(self.domain, dtype=np.float64).T
        return low, high

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Return the constants; all lanes share them."""
        return {name: array[None, ...] for name, array in data.items()}

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        value, partials = self._at(params, work.xp)
        for index, partial in enumerate(partials):
            grads.rows[:, index] = partial
        return Losses(value)

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        return Losses(self._at(params, work.xp)[0])

    def _at(self, params: Stacked, xp: Namespace) -> tuple[Array, Point]:
        point = tuple(params.rows[:, index] for index in range(len(self.variables)))
        return self.value_and_grad(point, xp)


class PlanarFunction(Function):
    """A function of two variables, x and y."""

    variables = ("x", "y")

    @abstractmethod
    def value_and_slopes(self, x: Array, y: Array, xp: Namespace) -> tuple[Array, Array, Array]:
        """Return f, ∂f/∂x and ∂f/∂y at points; every array has the shape (lanes,)."""

    @override
    def value_and_grad(self, point: Point, xp: Namespace) -> tuple[Array, Point]:
        x, y = point
        value, *slopes = self.value_and_slopes(x, y, xp)
        return value, tuple(slopes)


class VectorFunction(Function):
    """A function of any number of variables x1 … xn, all in one tensor.

    Lanes are rows in memory: sums over a lane run along contiguous numbers, so that a lane has the
    same bits whatever its company. The start repeats ``cycle`` as often as there are variables;
    figures show ``interval`` of each.
    """

    by_coordinate = False
    cycle: tuple[float, ...]
    interval: Interval

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        n: int = options["dimensions"]
        self.dimensions = n
        self.variables = tuple(f"x{index + 1}" for index in range(n))
        self.origin = (self.cycle * n)[:n]
        self.domain = (self.interval,) * n
        self.minima = self.find_minima()

    @abstractmethod
    def find_minima(self) -> tuple[Minimum, ...]:
        """Return the known minima inside the domain, global ones first."""

    @abstractmethod
    def value_and_grad_rows(
        self, x: Array, constants: Arrays, xp: Namespace
    ) -> tuple[Array, Array]:
        """Return f, shape (lanes,), and its gradient, (lanes, n), at the rows of x, (lanes, n).

        ``constants`` are the arrays of :meth:`data`, with a leading axis of one.
        """

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("x", (self.dimensions,)),)

    @override
    def definition(self) -> dict[str, Any]:
        start = {"repeat": list(self.cycle)}
        return {**super().definition(), "start": start, "dimensions": self.dimensions}

    @override
    def _defined_domain(self) -> Any:
        return {"repeat": [list(self.interval)]}

    @override
    def value_and_grad(self, point: Point, xp: Namespace) -> tuple[Array, Point]:
        constants = {name: xp.asarray(array)[None, ...] for name, array in self.data().items()}
        value, grad = self.value_and_grad_rows(xp.stack(point, axis=1), constants, xp)
        return value, tuple(grad[:, index] for index in range(self.dimensions))

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        value, grads.rows[...] = self.value_and_grad_rows(params.rows, batch, work.xp)
        return Losses(value)

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        return Losses(self.value_and_grad_rows(params.rows, batch, work.xp)[0])
