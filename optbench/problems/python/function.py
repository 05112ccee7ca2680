"""Problems made of Python functions.

:func:`function` makes a problem of a function of one point. It is called for one lane after another
on the host, so that lanes are independent by construction, or once for all of them if it says that
it is vectorized.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Namespace, Stacked, Tensor, Workspace
from optbench.errors import DeviceError, SuiteError, argument
from optbench.plugins import complaint, first_line
from optbench.problems.base import Arrays, Losses, Minimum
from optbench.problems.functions.base import SURFACE_POINTS, Function, Interval
from optbench.problems.python.calls import DIFFERENCES, Calls

SHORT_NAMES = ("x", "y", "z")
"""Names of up to three variables; such functions leave their path in the trace."""

Loss = Callable[..., Any]
"""Takes the parameters of one lane: an array (parameters,), or numbers by name."""


class PythonFunction(Function):
    """A function of one point, called lane by lane.

    It is not called for a lane whose parameters are no longer finite: loss and gradient are NaN.
    They are NaN too where it raises OverflowError, which is how Python's own numbers say that they
    are not finite. Any other exception ends the block.
    """

    by_coordinate = False
    formula = ""
    cpu_only: ClassVar[bool] = True
    """Whether it runs on the CPU only."""

    calls: ClassVar[Calls]
    code: ClassVar[Path | None]
    """The file that the function stands in."""

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        if len(self.variables) <= len(SHORT_NAMES):
            return super().tensors
        return (Tensor("x", (len(self.variables),)),)

    @override
    def definition(self) -> dict[str, Any]:
        """Return the definition of a function, and how it is called where it does not say itself.

        That is ``gradient``, where it is computed by optbench, and whether it is ``vectorized``.
        """
        way = self.calls.way
        found = {"gradient": way.gradient} if way.ours else {}
        called = {"vectorized": True} if self.calls.vectorized else {}
        return {**super().definition(), **found, **called}

    @override
    def describe(self) -> dict[str, Any]:
        description = super().describe()
        return description if self.domain else {**description, "plot": None}

    @override
    def prepare(self) -> tuple[str, ...]:
        """Call the function once at the start: it has to return a loss and a gradient that fits."""
        start = self.start(0).astype(self.dtype)
        try:
            with np.errstate(all="ignore"):
                self.calls.losses_and_gradients(start[None])
        except Exception as error:  # a user's code may raise anything
            said = complaint(error, self.code) if self.code else f"{type(error).__name__}: {error}"
            raise SuiteError(f"{self.name} fails at its start: {said}") from error
        return (*super().prepare(), *self._notices(start))

    def _notices(self, start: np.ndarray) -> tuple[str, ...]:
        """Say where a gradient comes from that nobody gave, if that is slow or not exact."""
        way, count = self.calls.way, start.size
        if way.gradient == DIFFERENCES:
            return (
                f"{self.name}: its gradient is taken by central differences, "
                f"{2 * count + 1:,} losses a step; give gradient= for a faster, exact one",
            )
        if way.ours and (kind := way.library.short_of(start)):
            return (f"{self.name}: {way.library.name} computes it in {kind}, as it is set",)
        return ()

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        loss, grads.rows[...] = self._at_points(params.rows, work.xp)
        return Losses(loss)

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        return Losses(self._losses(params.rows, work.xp))

    @override
    def value_and_grad(
        self, point: tuple[Array, ...], xp: Namespace
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return f and its partial derivatives at points; NaN where f has no finite value.

        The points are those of a figure, where a function may be undefined: ValueError and
        ArithmeticError mean that here.
        """
        with np.errstate(all="ignore"):
            values, gradients = self._at_points(np.stack(point, axis=1), xp, UNDEFINED)
        return np.where(np.isfinite(values), values, np.nan), tuple(gradients.T)

    @override
    def surface(self, domain: Sequence[Interval] | None = None) -> dict[str, np.ndarray] | None:
        """Return what figures show of a function of two variables.

        A gradient that nobody wrote is not computed at every point of the grid, which takes long,
        but taken from the differences between its points.
        """
        if len(self.variables) != 2 or not self.calls.way.ours:
            return super().surface(domain)
        count = SURFACE_POINTS[2]
        axes = [np.linspace(low, high, count) for low, high in domain or self.domain]
        points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
        with np.errstate(all="ignore"):
            values = self._at_once(points)
            if values is None:
                values = self._losses(points, np, UNDEFINED)
            values[~np.isfinite(values)] = np.nan
            slopes = np.gradient(values.reshape(count, count), *axes)
        columns = [*points.T, values, *(slope.ravel() for slope in slopes)]
        return dict(zip(("x", "y", "value", "gradient_x", "gradient_y"), columns, strict=True))

    def _at_once(self, points: np.ndarray) -> np.ndarray | None:
        """Return the losses at the points of a figure by one call, if the function takes arrays.

        That is tried, since the points are many, and believed if some of them, called one by one,
        have the same losses; None where it fails.
        """
        some = points[:: max(1, len(points) // SAMPLES)]
        try:
            values = self.calls.loss_of_columns(points)
            alone = self._losses(some, np, UNDEFINED)
        except Exception:  # a user's code may raise anything; figures can do without this
            return None
        same = np.allclose(values[:: max(1, len(points) // SAMPLES)], alone, 1e-9, equal_nan=True)
        return values if same else None

    def _at_points(
        self,
        points: np.ndarray,
        xp: Namespace,
        without_value: tuple[type[Exception], ...] = (OverflowError,),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return losses (lanes,) and gradients (lanes, parameters) at points of that shape."""
        parts = self._callable(points, xp)
        losses = np.full(points.shape[0], np.nan, dtype=points.dtype)
        gradients = np.full(points.shape, np.nan, dtype=points.dtype)
        for lanes in parts:
            try:
                losses[lanes], gradients[lanes] = self.calls.losses_and_gradients(points[lanes])
            except without_value:
                continue
        return losses, gradients

    def _losses(
        self,
        points: np.ndarray,
        xp: Namespace,
        without_value: tuple[type[Exception], ...] = (OverflowError,),
    ) -> np.ndarray:
        """Return losses (lanes,) at points (lanes, parameters)."""
        parts = self._callable(points, xp)
        losses = np.full(points.shape[0], np.nan, dtype=points.dtype)
        for lanes in parts:
            try:
                losses[lanes] = self.calls.losses(points[lanes])
            except without_value:
                continue
        return losses

    def _callable(self, points: np.ndarray, xp: Namespace) -> Sequence[np.ndarray]:
        """Return the finite points in the parts that the function is called with, as indices."""
        if xp is not np:
            raise DeviceError(
                f"{self.name} is written for Python on the CPU and runs on the CPU only; "
                f"use {argument('device', 'cpu')}"
            )
        finite = np.flatnonzero(np.isfinite(points).all(axis=1))
        if self.calls.vectorized:
            return [finite] if finite.size else []
        return list(finite[:, None])


SAMPLES = 50
"""Points of a figure at which a function is called as lanes call it."""

UNDEFINED = (ArithmeticError, ValueError)
"""What a function may raise at a point of a figure, where no lane needs to have been."""


@overload
def function(
    loss: Loss,
    *,
    start: Sequence[float] | Mapping[str, float],
    gradient: Loss | None = None,
    vectorized: bool = False,
    domain: Sequence[Interval] | None = None,
    minima: Sequence[tuple[Sequence[float], float]] = (),
    iterations: int = 100,
) -> type[PythonFunction]: ...


@overload
def function(
    *,
    start: Sequence[float] | Mapping[str, float],
    gradient: Loss | None = None,
    vectorized: bool = False,
    domain: Sequence[Interval] | None = None,
    minima: Sequence[tuple[Sequence[float], float]] = (),
    iterations: int = 100,
) -> Callable[[Loss], type[PythonFunction]]: ...


def function(
    loss: Loss | None = None,
    *,
    start: Sequence[float] | Mapping[str, float],
    gradient: Loss | None = None,
    vectorized: bool = False,
    domain: Sequence[Interval] | None = None,
    minima: Sequence[tuple[Sequence[float], float]] = (),
    iterations: int = 100,
) -> type[PythonFunction] | Callable[[Loss], type[PythonFunction]]:
    r"""Make a problem of a Python function; without one, a decorator that does so.

    The function takes a float64 vector (or float32, as the option ``dtype`` says) of shape
    (parameters,), which it may change, and returns the loss, or a tuple of the loss and the
    gradient. Where ``start`` names the variables it takes them by these names, each a number, and a
    gradient is a list in their order. Its name becomes the problem's, the first line of its
    docstring the summary.

    A gradient that neither is returned nor given comes from JAX or PyTorch, if the function returns
    an array of theirs: it is then called with their arrays. All else is differentiated by central
    differences in float64,

    .. math:: g_i = \frac{f(x + h_i e_i) - f(x - h_i e_i)}{2 h_i},
        \qquad h_i = \epsilon^{1/3} \max(1, |x_i|),

    whose error is of the order of ε^(2/3) = 4e-11 of the function's size and curvature, at a cost
    of 2n + 1 losses a step for n parameters.

    Parameters
    ----------
    loss
        The function.
    start
        Where every lane starts: numbers, or numbers by the names of variables.
    gradient
        Returns the gradient, shape (parameters,).
    vectorized
        Whether the function takes all lanes at once: points of shape (lanes, parameters), or arrays
        (lanes,) by name, and returns losses (lanes,), and the gradient (lanes, parameters), or its
        parts (lanes,). Then it is the function that must keep lanes apart;
        ``optbench verify problem`` looks whether it does.
    domain
        Where the function is meant to be minimised, and what figures of one or two variables show:
        an interval per variable. A lane that ends outside ranks last. By default nothing bounds it,
        and figures show a box around zero that holds start and minima, and the ends of lanes.
    minima
        Known minima: position and value of each.
    iterations
        Updates to make unless a suite says otherwise.

    Raises
    ------
    SuiteError
        If start, domain or minima are not made of finite numbers, or do not fit each other.

    >>> @function(start={"x": -7.0, "y": 2.0})
    ... def valley(x, y):
    ...     return x**2 / 20 + y**2, (x / 10, 2 * y)
    >>> valley.variables, valley.origin, valley.domain
    (('x', 'y'), (-7.0, 2.0), ((-8.75, 8.75), (-8.75, 8.75)))
    >>> function(abs, start=[1.0]).name
    'abs'
    """
    given = start.values() if isinstance(start, Mapping) else start
    numbers = _numbers("start", list(given) if isinstance(given, Iterable) else given)
    named = tuple(map(str, start)) if isinstance(start, Mapping) else None
    names = _names(len(numbers)) if named is None else named
    if not numbers:
        raise SuiteError("start is empty; give a number for each variable")
    places = [_numbers("minima", at) for at, _ in minima]
    values = [float(value) for _, value in minima]
    shown = _box(numbers, places) if domain is None else _intervals(domain)
    if any(len(point) != len(names) for point in (*places, shown or names)):
        raise SuiteError(f"domain and minima must have {len(names)} variables, as start has")
    attributes = {
        "variables": names,
        "origin": numbers,
        "minima": tuple(map(Minimum, places, values)),
        "domain": shown,
        "guessed": (domain is None,) * len(shown),
        "default_iterations": iterations,
    }

    def made(loss: Loss) -> type[PythonFunction]:
        return _problem(Calls(loss, gradient, named, np.array(numbers), vectorized), attributes)

    return made if loss is None else made(loss)


def _problem(calls: Calls, attributes: Mapping[str, Any]) -> type[PythonFunction]:
    """Return the class of a function's problem, which takes the function's place."""
    loss = calls.function
    name = plain_name(loss)
    code = getattr(loss, "__code__", None)
    own = {
        "name": name,
        "summary": first_line(getattr(loss, "__doc__", None)) or name,
        "calls": calls,
        "code": Path(code.co_filename) if code else None,
        "__doc__": loss.__doc__,
        "__module__": getattr(loss, "__module__", None) or __name__,
        "__qualname__": getattr(loss, "__qualname__", name),
    }
    return type(name, (PythonFunction,), {**attributes, **own})


def plain_name(given: Any) -> str:
    """Return what a function or a class is called; "function" where it has no name.

    >>> plain_name(abs), plain_name(lambda x: x)
    ('abs', 'function')
    """
    name = getattr(given, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else "function"


def _names(count: int) -> tuple[str, ...]:
    if count <= len(SHORT_NAMES):
        return SHORT_NAMES[:count]
    return tuple(f"x{number}" for number in range(1, count + 1))


def _numbers(what: str, values: Sequence[Any]) -> tuple[float, ...]:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise SuiteError(f"{what} = {values!r} must be finite numbers, one per variable")
    return tuple(numbers.tolist())


def _intervals(domain: Sequence[Interval]) -> tuple[Interval, ...]:
    intervals = [_numbers("domain", interval) for interval in domain]
    if any(len(ends) != 2 or not ends[0] < ends[1] for ends in intervals):
        raise SuiteError(f"domain = {domain!r} must be an interval (low, high) for each variable")
    return tuple((low, high) for low, high in intervals)


def _box(origin: tuple[float, ...], minima: Sequence[tuple[float, ...]]) -> tuple[Interval, ...]:
    """Return a cube around zero that holds all points; nothing for more than two variables."""
    if len(origin) > 2:
        return ()
    reach = 1.25 * max(abs(x) for at in (origin, *minima) for x in at) or 1.0
    return tuple((-reach, reach) for _ in origin)
