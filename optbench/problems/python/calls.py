"""How a Python function is called, and where its gradient comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from optbench.problems.differences import central_differences
from optbench.problems.python.libraries import Both, Library, loaded, owner

RETURNED, GIVEN, DIFFERENCES = "returned", "given", "central differences"


@dataclass(frozen=True)
class Way:
    """How a function is called and differentiated, found out by calling it once.

    Attributes
    ----------
    library
        Whose arrays it is given.
    gradient
        Where its gradient comes from: it is ``returned`` beside the loss, ``given`` as another
        function, computed by the library, which is named here, or by ``central differences``.
    both
        What computes loss and gradient, where the library does.
    """

    library: Library
    gradient: str
    both: Both | None = None

    @property
    def ours(self) -> bool:
        """Whether the gradient is found by optbench rather than written by the user."""
        return self.gradient not in (RETURNED, GIVEN)


@dataclass(frozen=True, eq=False)
class Calls:
    """A Python function, and loss and gradient at points.

    Attributes
    ----------
    function, gradient
        What was given: a function of one point that returns the loss, or loss and gradient, and one
        that returns the gradient.
    names
        The variables by which both take numbers; None where they take one array.
    start
        Where the function is tried, shape (parameters,).
    vectorized
        Whether they take points of shape (lanes, parameters) rather than (parameters,), or arrays
        (lanes,) rather than numbers by name.
    """

    function: Callable[..., Any]
    gradient: Callable[..., Any] | None
    names: tuple[str, ...] | None
    start: np.ndarray
    vectorized: bool = False

    @cached_property
    def way(self) -> Way:
        """How the function is called and differentiated.

        What it raises at the start is passed on; it is given NumPy's arrays first, and where it
        raises, those of JAX and PyTorch if they are loaded.
        """
        point = self.start[None] if self.vectorized else self.start
        failure: Exception | None = None
        for library in loaded():
            try:
                returned = self._call(self.function, library.array(point.copy()))
                return self._way(library, returned, point)
            except Exception as error:  # a user's code may raise anything
                failure = failure or error
        assert failure is not None
        raise failure

    def _way(self, library: Library, returned: Any, point: np.ndarray) -> Way:
        if isinstance(returned, tuple):
            return Way(library, RETURNED)
        if self.gradient is not None:
            return Way(library, GIVEN)
        theirs = library if library.holds(returned) else owner(returned)
        if not theirs.differentiates:
            return Way(library, DIFFERENCES)
        _check_loss(theirs.plain(returned), point)
        both = theirs.value_and_gradient(lambda at: self._call(self.function, at), point)
        both(point)
        return Way(theirs, theirs.name, both)

    def _call(self, function: Callable[..., Any], point: Any) -> Any:
        if self.names is None:
            return function(point)
        variables = point.T if self.vectorized else point
        return function(**dict(zip(self.names, variables, strict=True)))

    def losses(self, points: np.ndarray) -> np.ndarray:
        """Return the losses (points,) at finite points (points, parameters), in their dtype."""
        way = self.way
        if way.both is not None or way.gradient == RETURNED:
            return self.losses_and_gradients(points)[0]
        if self.vectorized:
            return self._loss(points)
        return np.array([self._loss(point) for point in points], dtype=points.dtype)

    def loss_of_columns(self, points: np.ndarray) -> np.ndarray:
        """Return the losses (points,) by giving each variable as an array of all points.

        Only functions that say so are vectorized; of others this is an attempt.
        """
        if self.vectorized:
            return self._loss(points)
        library = self.way.library
        returned = self._call(self.function, library.array(points.T.copy()))
        return _check_loss(library.plain(returned), points)

    def losses_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses (points,) and gradients (points, parameters) at finite points.

        Whatever the function raises is passed on.

        Raises
        ------
        TypeError
            If what it returns has another shape, or is not made of real numbers.
        """
        if self.vectorized:
            return self._both(points)
        losses = np.empty(len(points), dtype=points.dtype)
        gradients = np.empty_like(points)
        for place, point in enumerate(points):
            losses[place], gradients[place] = self._both(point)
        return losses, gradients

    def _loss(self, point: np.ndarray) -> np.ndarray:
        library = self.way.library
        returned = self._call(self.function, library.array(point.copy()))
        return _check_loss(library.plain(returned), point)

    def _both(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return loss and gradient of one point (parameters,), or of several if vectorized."""
        way, library = self.way, self.way.library
        if way.gradient == DIFFERENCES:
            exact = np.atleast_2d(point).astype(np.float64)
            return self._loss(point), central_differences(self.losses, exact).reshape(point.shape)
        if way.both is not None:
            returned = way.both(point.copy())
        elif way.gradient == GIVEN:
            assert self.gradient is not None
            gradient = self._call(self.gradient, library.array(point.copy()))
            returned = self._call(self.function, library.array(point.copy())), gradient
        else:
            returned = self._call(self.function, library.array(point.copy()))
            if not isinstance(returned, tuple) or len(returned) != 2:
                what = type(returned).__name__
                what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else what
                raise TypeError(f"it returns {what}; return a loss, or a loss and its gradient")
        loss, slopes = returned
        return _check_loss(library.plain(loss), point), self._gradient(slopes, library, point)

    def _gradient(self, given: Any, library: Library, point: np.ndarray) -> np.ndarray:
        """Return a gradient in the shape of the point; by name it is given part by part."""
        if isinstance(given, Sequence):
            parts = [library.plain(part) for part in given]
            gradient = np.stack(parts, axis=-1 if self.names else 0)
        else:
            gradient = library.plain(given)
        if gradient.shape != point.shape:
            raise TypeError(
                f"its gradient has the shape {gradient.shape}; return one of {point.shape}"
            )
        return gradient


def _check_loss(loss: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return a loss in the points' dtype; refuse other shapes, and what is no real number."""
    right = f"one of {point.shape[:-1]}" if point.ndim > 1 else "a number"
    if loss.shape != point.shape[:-1]:
        raise TypeError(f"its loss has the shape {loss.shape}; return {right}")
    if loss.dtype.kind not in "biuf":
        numbers = [each for each in loss.ravel().tolist() if not isinstance(each, Real)]
        if numbers:
            what = type(numbers[0]).__name__
            raise TypeError(f"its loss is made of {what}; return {right}")
    return loss.astype(point.dtype)
