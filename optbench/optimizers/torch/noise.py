"""Random numbers of PyTorch optimizers: those of a lane come from its seed.

An optimizer draws from generators that its whole process shares. Each lane has states of them that
are its own: they are put in place while its optimizer works, and afterwards those that were there.
"""

import pickle
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import rng

STREAM = "optimizer"


def noise_of(seed: int) -> int:
    """Return what the generators of lanes of a seed are seeded with, below 2³¹."""
    return int(rng.stream(seed, STREAM).integers(2**31))


class _Shared(ABC):
    """A generator that all code of the process shares."""

    @abstractmethod
    def seed(self, number: int) -> None:
        """Begin anew."""

    @abstractmethod
    def get(self) -> Any:
        """Return its state."""

    @abstractmethod
    def put(self, state: Any) -> None:
        """Go on from a state."""

    def same(self, first: Any, second: Any) -> bool:
        """Say whether two states are one."""
        return pickle.dumps(first) == pickle.dumps(second)

    def saved(self, state: Any) -> Any:
        """Return a state as tensors and numbers."""
        return state

    def loaded(self, saved: Any) -> Any:
        """Return what :meth:`saved` was given."""
        return saved


class _Torch(_Shared):
    @override
    def seed(self, number: int) -> None:
        import torch

        torch.default_generator.manual_seed(number)

    @override
    def get(self) -> Any:
        import torch

        return torch.get_rng_state()

    @override
    def put(self, state: Any) -> None:
        import torch

        torch.set_rng_state(state)

    @override
    def same(self, first: Any, second: Any) -> bool:
        return bool((first == second).all())


class _Python(_Shared):
    @override
    def seed(self, number: int) -> None:
        random.seed(number)

    @override
    def get(self) -> Any:
        return random.getstate()

    @override
    def put(self, state: Any) -> None:
        random.setstate(state)

    @override
    def saved(self, state: Any) -> Any:
        import torch

        version, words, gauss = state
        return version, torch.tensor(words, dtype=torch.int64), gauss

    @override
    def loaded(self, saved: Any) -> Any:
        version, words, gauss = saved
        return version, tuple(words.tolist()), gauss


class _Numpy(_Shared):
    @override
    def seed(self, number: int) -> None:
        np.random.seed(number)

    @override
    def get(self) -> Any:
        return np.random.get_state()

    @override
    def put(self, state: Any) -> None:
        np.random.set_state(state)

    @override
    def saved(self, state: Any) -> Any:
        import torch

        name, words, position, has_gauss, gauss = state
        words = torch.from_numpy(words.astype(np.int64))
        return str(name), words, int(position), int(has_gauss), float(gauss)

    @override
    def loaded(self, saved: Any) -> Any:
        name, words, *rest = saved
        return name, words.numpy().astype(np.uint32), *rest


GENERATORS: Mapping[str, _Shared] = {"torch": _Torch(), "python": _Python(), "numpy": _Numpy()}
"""Those of PyTorch, of Python's ``random`` and of ``numpy.random``."""


class Noise:
    """Generators of one lane, as it left them.

    Parameters
    ----------
    number
        What they are seeded with.
    names
        Which of :data:`GENERATORS` they stand for.
    """

    def __init__(self, number: int, names: Sequence[str]) -> None:
        self._own = {name: GENERATORS[name] for name in names}
        with self._kept():
            for generator in self._own.values():
                generator.seed(number)
            self._states = self._now()
        self._begun = self._states

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Let what is drawn come from them."""
        with self._kept():
            self._put(self._states)
            try:
                yield
            finally:
                self._states = self._now()

    @property
    def used(self) -> set[str]:
        """Names of those that something was drawn from."""
        return {
            name
            for name, state in self._states.items()
            if not self._own[name].same(state, self._begun[name])
        }

    def carried(self) -> dict[str, Any]:
        """Return their states, to be saved."""
        return {name: self._own[name].saved(state) for name, state in self._states.items()}

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Take up what :meth:`carried` returned."""
        self._states = {name: self._own[name].loaded(state) for name, state in carried.items()}

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Leave the generators of the process as they are."""
        states = self._now()
        try:
            yield
        finally:
            self._put(states)

    def _now(self) -> dict[str, Any]:
        return {name: generator.get() for name, generator in self._own.items()}

    def _put(self, states: Mapping[str, Any]) -> None:
        for name, generator in self._own.items():
            generator.put(states[name])
