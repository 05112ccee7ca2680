"""Lanes of PyTorch's optimizers that are given gradients by hand, and PyTorch's own loop."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optbench.arrays import Tensor
from optbench.optimizers.base import Task
from optbench.optimizers.registry import get_optimizer
from optbench.suite.resolve import Suite
from tests.optimizers.driver import Driver

torch = pytest.importorskip("torch")

NETWORK = (Tensor("a", (5, 7)), Tensor("b", (7,)), Tensor("c", (7, 3)), Tensor("d"))
MATRICES = (Tensor("a", (5, 7)), Tensor("c", (7, 3)))

RULES = {
    "SGD": [{"lr": 0.1}, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "Adam": [{"lr": 0.01}, {"lr": 0.1, "betas": [0.5, 0.9], "amsgrad": True}],
    "AdamW": [{"lr": 0.01}, {"lr": 0.1, "weight_decay": 0.3, "eps": 1e-3}],
    "RMSprop": [{"lr": 0.01}, {"lr": 0.02, "momentum": 0.9, "centered": True}],
    "NAdam": [{"lr": 0.01}, {"lr": 0.1, "momentum_decay": 0.1}],
    "Adagrad": [{"lr": 0.01}, {"lr": 0.1, "initial_accumulator_value": 0.5, "lr_decay": 0.1}],
    "Adafactor": [{"lr": 0.01}, {"lr": 0.1, "eps": "[null, 0.01]"}],
    "Muon": [{"lr": 0.01}, {"lr": 0.1, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"}],
}
"""Optimizers of torch.optim and what lanes are given."""


class Hand(Driver):
    """Lanes that are given made-up gradients by their numbers.

    ``places`` says which of the configurations are here; starts and gradients go with them.
    """

    def __init__(
        self,
        optimizer: Any,
        configurations: Sequence[Mapping[str, Any]],
        tensors: Sequence[Tensor] = NETWORK,
        *,
        places: Sequence[int] | None = None,
        **how: Any,
    ) -> None:
        self.places = list(range(len(configurations)) if places is None else places)
        self.drawn_shape = len(configurations), sum(each.size for each in tensors)
        here = [configurations[place] for place in self.places]
        super().__init__(optimizer, here, self.drawn(0), tensors=tensors, **how)

    def drawn(self, number: int) -> np.ndarray:
        """Return the start, or the gradients of an update, of the lanes that are here."""
        drawn = np.random.default_rng((7, number)).standard_normal(self.drawn_shape)
        return drawn[self.places]

    def go(self, number: int) -> bytes:
        """Make an update and return the parameters' bits."""
        return self.step(self.drawn(number)).tobytes()

    def resumed(self) -> None:
        """Go on from the state, as another."""
        self.resume({name: array.copy() for name, array in self.state.items()})


def fresh(name: str) -> Any:
    return get_optimizer(f"torch:{name}")


def rows_of(hand: Hand, steps: int = 15) -> list[np.ndarray]:
    return [hand.step(hand.drawn(number)) for number in range(1, steps + 1)]


def plain_rows(
    kind: type, given: Mapping[str, Any], hand: Hand, lane: int, tensors: Sequence[Tensor]
) -> list[np.ndarray]:
    """Return where a loop of PyTorch's own goes, with the same start and gradients."""
    kwargs = {
        key: {"[null, 0.01]": (None, 0.01)}.get(str(value), value) for key, value in given.items()
    }
    dtype = torch.from_numpy(hand.params.rows).dtype

    def split(row: np.ndarray) -> list[Any]:
        whole = torch.tensor(row, dtype=dtype)
        sizes = [each.size for each in tensors]
        parts = zip(whole.split(sizes), tensors, strict=True)
        return [part.reshape(each.shape).clone() for part, each in parts]

    params = [torch.nn.Parameter(each) for each in split(hand.drawn(0)[lane])]
    optimizer = kind(params, **kwargs)
    if hasattr(optimizer, "train"):
        optimizer.train()
    rows = []
    for number in range(1, 16):
        for param, grad in zip(params, split(hand.drawn(number)[lane]), strict=True):
            param.grad = grad
        optimizer.step()
        rows.append(np.concatenate([each.detach().numpy().ravel() for each in params]))
    return rows


def fit(settled: Suite) -> None:
    """Ask the optimizers of a suite whether they can run on its problem."""
    setting = settled.problems[0]
    for each in setting.optimizers:
        task = Task(
            each.label,
            setting.label,
            setting.problem.tensors,
            setting.problem.dtype,
            setting.problem.minibatch,
            each.configurations,
        )
        each.optimizer.fit(task)
