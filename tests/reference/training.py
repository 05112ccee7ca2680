"""The textbook's training loops, for networks on minibatches and for functions."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np

from tests.reference.network import MultiLayerNet

Batch = tuple[np.ndarray, np.ndarray]


class Optimizer(Protocol):
    def update(self, params: dict[str, np.ndarray], grads: dict[str, np.ndarray]) -> None: ...


def train_network(
    network: MultiLayerNet,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    record: Literal["after", "before"] = "after",
) -> list[float]:
    """Train ``network`` in place and return the losses, one for each of ``batches``.

    With ``record="after"`` each batch makes an update, and row k is the loss on batch k after
    update k. With ``record="before"`` row k is the loss on batch k before update k, and the last
    batch makes no update: N + 1 batches give N updates and N + 1 rows.
    """
    if record == "after":
        return _train_then_record(network, optimizer, batches)
    if record == "before":
        return _record_then_train(network, optimizer, batches)
    raise ValueError(f"record is {record!r}, must be 'after' or 'before'")


def _train_then_record(
    network: MultiLayerNet, optimizer: Optimizer, batches: Sequence[Batch]
) -> list[float]:
    losses = []
    for x, t in batches:
        optimizer.update(network.params, network.gradient(x, t))
        losses.append(network.loss(x, t))
    return losses


def _record_then_train(
    network: MultiLayerNet, optimizer: Optimizer, batches: Sequence[Batch]
) -> list[float]:
    losses = []
    for x, t in batches[:-1]:
        losses.append(network.loss(x, t))
        optimizer.update(network.params, network.gradient(x, t))
    losses.append(network.loss(*batches[-1]))
    return losses


def minimise(
    function: Callable[[np.ndarray], float],
    gradient: Callable[[np.ndarray], np.ndarray],
    start: Sequence[float],
    optimizer: Optimizer,
    iterations: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions, shape (iterations + 1, variables), and losses, shape (iterations + 1,).

    ``function`` and ``gradient`` take a position of shape (variables,); row 0 is the start.
    """
    params = {"position": np.array(start, dtype=np.float64)}
    positions = [params["position"].copy()]
    for _ in range(iterations):
        optimizer.update(params, {"position": gradient(params["position"])})
        positions.append(params["position"].copy())
    return np.array(positions), np.array([function(position) for position in positions])
