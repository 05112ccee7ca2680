"""Random numbers of PyTorch optimizers: those of a lane come from its seed.

An optimizer draws from generators that its whole process shares. Each lane has states of them that
are its own: they are put in place while its optimizer works, and afterwards those that were there.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from optbench import rng

STREAM = "optimizer"

States: TypeAlias = dict[str, Any]
"""The states of the generators of PyTorch, Python and NumPy, as tensors and numbers."""


def noise_of(seed: int) -> int:
    """Return what the generators of lanes of a seed are seeded with, below 2³¹."""
    return int(rng.stream(seed, STREAM).integers(2**31))


class Noise:
    """The generators of one lane, as it left them.

    Parameters
    ----------
    number
        What they are seeded with.

    Attributes
    ----------
    used
        Whether anything was drawn from them.
    """

    def __init__(self, number: int) -> None:
        self.used = False
        with _kept():
            _seed(number)
            self._states = _states()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Let what is drawn come from them."""
        with _kept():
            _put(self._states)
            before = rng.process_generators()
            try:
                yield
            finally:
                if rng.process_generators() != before:
                    self.used = True
                    self._states = _states()

    def carried(self) -> States:
        """Return their states, to be saved."""
        return dict(self._states)

    def restore(self, states: Mapping[str, Any]) -> None:
        """Take up what :meth:`carried` returned."""
        self._states = dict(states)


@contextmanager
def _kept() -> Iterator[None]:
    """Leave the generators of the process as they are."""
    states = _states()
    try:
        yield
    finally:
        _put(states)


def _seed(number: int) -> None:
    import torch

    random.seed(number)
    np.random.seed(number)
    torch.default_generator.manual_seed(number)


def _states() -> States:
    import torch

    _, words, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": gauss,
        "numpy": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
        "numpy_pos": int(numpy["state"]["pos"]),
        "numpy_gauss": float(numpy["gauss"]) if numpy["has_gauss"] else None,
    }


def _put(states: States) -> None:
    import torch

    torch.set_rng_state(states["torch"])
    random.setstate((3, tuple(states["python"].tolist()), states["python_gauss"]))
    gauss = states["numpy_gauss"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": states["numpy"].numpy().astype(np.uint32), "pos": states["numpy_pos"]},
            "has_gauss": int(gauss is not None),
            "gauss": gauss or 0.0,
        }
    )
