"""Libraries whose arrays a Python function may take and return: NumPy, JAX and PyTorch.

Of JAX and PyTorch the gradient comes with it. Neither is loaded here: a function of theirs has done
so before it can return one of their arrays.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from typing_extensions import override

Both = Callable[[np.ndarray], tuple[Any, Any]]
"""Takes a point, returns its loss and gradient as arrays of a library."""


class Library(ABC):
    """Arrays of a library, made of those of NumPy and turned into them again."""

    name: str
    differentiates = True
    """Whether a gradient comes with a function of it."""

    @abstractmethod
    def array(self, point: np.ndarray) -> Any:
        """Return a point as an array of the library."""

    @abstractmethod
    def plain(self, value: Any) -> np.ndarray:
        """Return what a function of the library returned as an array of NumPy."""

    @abstractmethod
    def holds(self, value: Any) -> bool:
        """Say whether a value is an array of the library."""

    @abstractmethod
    def value_and_gradient(self, loss: Callable[[Any], Any], at: np.ndarray) -> Both:
        """Return what computes loss and gradient of a function of the library's arrays.

        Parameters
        ----------
        loss
            Takes an array (parameters,) and returns a number, or (lanes, parameters) and (lanes,).
        at
            Where it is tried.
        """

    def short_of(self, point: np.ndarray) -> str | None:
        """Say in which precision it computes, where that is less than a point's."""
        kind = str(self.array(point).dtype).rpartition(".")[2]
        return kind if np.finfo(kind).eps > np.finfo(point.dtype).eps else None


class _NumPy(Library):
    name = "NumPy"
    differentiates = False

    @override
    def array(self, point: np.ndarray) -> Any:
        return point

    @override
    def plain(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    @override
    def holds(self, value: Any) -> bool:
        return isinstance(value, np.ndarray | np.generic)

    @override
    def value_and_gradient(self, loss: Callable[[Any], Any], at: np.ndarray) -> Both:
        raise AssertionError("NumPy differentiates nothing")


class _Jax(Library):
    name = "jax"

    @override
    def array(self, point: np.ndarray) -> Any:
        import jax.numpy as jnp

        return jnp.asarray(point)

    @override
    def plain(self, value: Any) -> np.ndarray:
        return np.asarray(value)

    @override
    def holds(self, value: Any) -> bool:
        import jax

        return isinstance(value, jax.Array)

    @override
    def value_and_gradient(self, loss: Callable[[Any], Any], at: np.ndarray) -> Both:
        import jax

        def summed(point: Any) -> tuple[Any, Any]:
            value = loss(point)
            return value.sum(), value  # of lanes that share nothing this has each one's gradient

        def swapped(point: Any) -> tuple[Any, Any]:
            (_, value), gradient = both(self.array(point))
            return value, gradient

        plainly = jax.value_and_grad(summed, has_aux=True)
        both = jax.jit(plainly)
        try:
            both(self.array(at))
        except jax.errors.JAXTypeError:  # it looks at numbers, which only uncompiled code can
            both = plainly
        return swapped


class _Torch(Library):
    """PyTorch, computing in the precision of points or in its own default."""

    name = "torch"

    def __init__(self, *, as_set: bool) -> None:
        self._as_set = as_set

    @override
    def array(self, point: np.ndarray) -> Any:
        import torch

        return torch.tensor(point, dtype=torch.get_default_dtype() if self._as_set else None)

    @override
    def plain(self, value: Any) -> np.ndarray:
        plain: np.ndarray = value.detach().cpu().numpy() if self.holds(value) else np.asarray(value)
        return plain

    @override
    def holds(self, value: Any) -> bool:
        import torch

        return isinstance(value, torch.Tensor)

    @override
    def value_and_gradient(self, loss: Callable[[Any], Any], at: np.ndarray) -> Both:
        import torch

        def both(point: np.ndarray) -> tuple[Any, Any]:
            at = self.array(point).requires_grad_()
            with torch.enable_grad():
                value = loss(at)
                (gradient,) = torch.autograd.grad(value.sum(), at)
            return value, gradient

        return both


NUMPY = _NumPy()
JAX = _Jax()
TORCH, TORCH_AS_SET = _Torch(as_set=False), _Torch(as_set=True)


def loaded() -> Iterator[Library]:
    """Yield the libraries whose arrays a function can take, those that are loaded by then."""
    yield NUMPY
    if "jax" in sys.modules:
        yield JAX
    if "torch" in sys.modules:
        yield from (TORCH, TORCH_AS_SET)


def owner(value: Any) -> Library:
    """Return the library that an array is of; NumPy, where it is of none."""
    return next((each for each in loaded() if each.holds(value)), NUMPY)
