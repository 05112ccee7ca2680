"""Lanes of PyTorch's optimizers that are given gradients by hand, and PyTorch's own loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from optbench.arrays import Tensor, stack
from optbench.device.cpu import NumpyDevice
from optbench.optimizers import base as stepping
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.suite.resolve import Suite

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


class Hand:
    """Lanes that are given gradients by hand.

    Parameters
    ----------
    optimizer, configurations
        Of the lanes.
    places
        Which of the configurations are here; starts and gradients go with them.
    by_coordinate
        How rows are stored.
    """

    def __init__(
        self,
        optimizer: Any,
        configurations: Sequence[Mapping[str, Any]],
        tensors: Sequence[Tensor] = NETWORK,
        *,
        places: Sequence[int] | None = None,
        by_coordinate: bool = False,
        dtype: str = "float64",
    ) -> None:
        self.device = NumpyDevice()
        self.places = list(range(len(configurations)) if places is None else places)
        self.optimizer = optimizer
        self.size = sum(each.size for each in tensors)
        self.lanes = len(configurations)
        rows = partial(
            self.device.rows, len(self.places), self.size, dtype, by_coordinate=by_coordinate
        )
        self.params, self.grads = (stack(rows(), tensors, np) for _ in range(2))
        self.params.rows[...] = self.drawn(0)
        step = stepping.UpdateContext(self.params, self.grads, {}, {}, None, tuple(tensors), np)
        complete = [complete_hyperparameters(optimizer, dict(each)) for each in configurations]
        self.complete = [complete[place] for place in self.places]
        self.given = stepping.Lanes(step, self.complete, rows, np.asarray, dtype)
        self.updates = optimizer.begin(self.given, None)

    def drawn(self, number: int) -> np.ndarray:
        """Return the start, or the gradients of an update, of the lanes that are here."""
        drawn = np.random.default_rng((7, number)).standard_normal((self.lanes, self.size))
        return drawn[self.places]

    def step(self, number: int) -> bytes:
        """Make an update and return the parameters' bits."""
        columns = {
            each.name: np.array([[[each.number(lane[each.name])] for lane in self.complete]])
            for each in self.optimizer.hyperparameters
        }
        self.grads.rows[...] = self.drawn(number)
        self.updates.plan(columns, range(number, number + 1))
        self.updates.update(0)
        return self.params.rows.tobytes()

    def resumed(self) -> None:
        """Go on from the state, as another."""
        state = {name: array.copy() for name, array in self.updates.state.items()}
        self.updates = self.optimizer.begin(self.given, state)


def fresh(name: str) -> Any:
    return get_optimizer(f"torch:{name}")


def rows_of(hand: Hand, steps: int = 15) -> list[np.ndarray]:
    rows = []
    for number in range(1, steps + 1):
        hand.step(number)
        rows.append(hand.params.rows.copy())
    return rows


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
        task = stepping.Task(
            each.label,
            setting.label,
            setting.problem.tensors,
            setting.problem.dtype,
            setting.problem.minibatch,
            each.configurations,
        )
        each.optimizer.fit(task)
