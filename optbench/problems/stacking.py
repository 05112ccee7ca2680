"""Functions written for one point, stacked over lanes.

:func:`stacked_function` makes a problem of a plain NumPy function, which is called for one lane
after another on the host, so that lanes are independent by construction.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Namespace, Stacked, Tensor, Workspace
from optbench.errors import DeviceError, SuiteError
from optbench.plugins import complaint, first_line
from optbench.problems.base import Arrays, Losses, Minimum
from optbench.problems.functions.base import Function, Interval

SHORT_NAMES = ("x", "y", "z")
"""Names of up to three variables; such functions leave their path in the trace."""

Single = Callable[[np.ndarray], Any]
"""Takes the parameters of one lane, (parameters,)."""


class StackedFunction(Function):
    """A function of one point, called lane by lane.

    It is not called for a lane whose parameters are no longer finite: loss and gradient are NaN.
    They are NaN too where it raises OverflowError, which is how Python's own numbers say that they
    are not finite. Any other exception ends the block.
    """

    by_coordinate = False
    formula = ""
    cpu_only: ClassVar[bool] = True
    """Whether it runs on the CPU only."""

    call: ClassVar[Callable[[np.ndarray], tuple[Any, Any]]]
    """Returns loss and gradient of one lane."""
    code: ClassVar[Path | None]
    """The file that the function stands in."""

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        if len(self.variables) <= len(SHORT_NAMES):
            return super().tensors
        return (Tensor("x", (len(self.variables),)),)

    @override
    def describe(self) -> dict[str, Any]:
        description = super().describe()
        return description if self.domain else {**description, "plot": None}

    @override
    def prepare(self) -> tuple[str, ...]:
        """Call the function once at the start: it has to return a loss and a gradient that fits."""
        try:
            with np.errstate(all="ignore"):
                self._one(self.start(0).astype(self.dtype))
        except Exception as error:  # a user's code may raise anything
            said = complaint(error, self.code) if self.code else f"{type(error).__name__}: {error}"
            raise SuiteError(f"{self.name} fails at its start: {said}") from error
        return super().prepare()

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        loss, grads.rows[...] = self._at_points(params.rows, work.xp)
        return Losses(loss)

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        return Losses(self._at_points(params.rows, work.xp)[0])

    @override
    def value_and_grad(
        self, point: tuple[Array, ...], xp: Namespace
    ) -> tuple[Array, tuple[Array, ...]]:
        """Return f and its partial derivatives at points; NaN where f has no finite value.

        The points are those of a figure, where a function may be undefined: ValueError and
        ArithmeticError mean that here.
        """
        with np.errstate(all="ignore"):
            undefined = (ArithmeticError, ValueError)
            values, gradients = self._at_points(np.stack(point, axis=1), xp, undefined)
        return np.where(np.isfinite(values), values, np.nan), tuple(gradients.T)

    def _at_points(
        self,
        points: np.ndarray,
        xp: Namespace,
        without_value: tuple[type[Exception], ...] = (OverflowError,),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return losses (lanes,) and gradients (lanes, parameters) at points of that shape."""
        if xp is not np:
            raise DeviceError(
                f"{self.name} is written for single points in NumPy and runs on the CPU only; "
                "use --device cpu"
            )
        losses = np.full(points.shape[0], np.nan, dtype=points.dtype)
        gradients = np.full(points.shape, np.nan, dtype=points.dtype)
        for lane in np.flatnonzero(np.isfinite(points).all(axis=1)):
            try:
                losses[lane], gradients[lane] = self._one(points[lane].copy())
            except without_value:
                continue
        return losses, gradients

    def _one(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient at a point, which may be overwritten."""
        size = point.shape
        returned = type(self).call(point)
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise TypeError(
                f"{self.name} returns {type(returned).__name__}, not a loss and a gradient; "
                "return both, or give @stacked_function its gradient"
            )
        loss, gradient = returned[0], np.asarray(returned[1])
        if np.shape(loss) != ():
            raise TypeError(
                f"the loss of {self.name} has the shape {np.shape(loss)}; return a number"
            )
        if gradient.shape != size:
            raise TypeError(
                f"the gradient of {self.name} has the shape {gradient.shape}; return one of {size}"
            )
        return float(loss), gradient


def stacked_function(
    *,
    start: Sequence[float] | Mapping[str, float],
    gradient: Single | None = None,
    domain: Sequence[Interval] | None = None,
    minima: Sequence[tuple[Sequence[float], float]] = (),
    iterations: int = 100,
) -> Callable[[Single], type[StackedFunction]]:
    """Make a problem of a function of one point.

    The function takes a float64 vector (or float32, as the option ``dtype`` says) of shape
    (parameters,), which it may change, and returns the loss and the gradient; with ``gradient``
    given, the loss only. Its name becomes the problem's, the first line of its docstring the
    summary.

    Parameters
    ----------
    start
        Where every lane starts: numbers, or numbers by the names of variables.
    gradient
        Returns the gradient, shape (parameters,).
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

    >>> @stacked_function(start={"x": -7.0, "y": 2.0}, gradient=lambda p: p * [0.1, 2.0])
    ... def valley(p):
    ...     return p[0] ** 2 / 20 + p[1] ** 2
    >>> valley.variables, valley.origin, valley.domain
    (('x', 'y'), (-7.0, 2.0), ((-8.75, 8.75), (-8.75, 8.75)))
    """
    origin = start.values() if isinstance(start, Mapping) else start
    numbers = _numbers("start", list(origin))
    names = tuple(start) if isinstance(start, Mapping) else _names(len(numbers))
    if not numbers:
        raise SuiteError("start is empty; give a number for each variable")
    known = tuple(Minimum(_numbers("minima", at), float(value)) for at, value in minima)
    shown = _box(numbers, known) if domain is None else _intervals(domain)
    if any(len(point) != len(names) for point in (*(m.position for m in known), shown or names)):
        raise SuiteError(f"domain and minima must have {len(names)} variables, as start has")
    attributes = {
        "variables": names,
        "origin": numbers,
        "minima": known,
        "domain": shown,
        "guessed": (domain is None,) * len(shown),
        "default_iterations": iterations,
    }
    return lambda function: _problem(function, gradient, attributes)


def _problem(
    function: Single, gradient: Single | None, attributes: Mapping[str, Any]
) -> type[StackedFunction]:
    """Return the class of a function's problem, which takes the function's place."""

    def call(point: np.ndarray) -> tuple[Any, Any]:
        if gradient is None:
            both: tuple[Any, Any] = function(point)
            return both
        return function(point.copy()), gradient(point)

    name = function.__name__
    code = getattr(function, "__code__", None)
    own = {
        "name": name,
        "summary": first_line(function.__doc__) or name,
        "call": staticmethod(call),
        "code": Path(code.co_filename) if code else None,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__qualname__": getattr(function, "__qualname__", name),
    }
    return type(name, (StackedFunction,), {**attributes, **own})


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


def _box(origin: tuple[float, ...], minima: tuple[Minimum, ...]) -> tuple[Interval, ...]:
    """Return a cube around zero that holds all points; nothing for more than two variables."""
    if len(origin) > 2:
        return ()
    reach = 1.25 * max(abs(x) for at in (origin, *(m.position for m in minima)) for x in at) or 1.0
    return tuple((-reach, reach) for _ in origin)
