"""Gradients of problems with several tensors, for the rules that look at tensors as such."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from optbench.arrays import Tensor
from optbench.optimizers.base import Optimizer
from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.muon import Muon
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.driver import UPDATES, Recording, settings
from tests.reference.network import MultiLayerNet

Stepper = Callable[[np.ndarray], np.ndarray]
"""Takes the gradients of an update, (parameters,), and returns the positions after it."""


def quadratic(follow: Callable[[Recording], Stepper]) -> Recording:
    """Record gradients of Σ aᵢ(wᵢ − bᵢ)²/2, most of them far from the minimum."""
    rng = np.random.default_rng(11)
    shapes = {"a.weight": (3, 4), "b.weight": (4, 6), "b.bias": (6,), "c.weight": (6, 2), "d": ()}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    size = sum(tensor.size for tensor in tensors)
    curvatures, target = np.geomspace(0.05, 1.5, size), rng.normal(size=size)
    start = rng.normal(size=size) * 3.0
    return _record(tensors, start, lambda w: curvatures * (w - target), follow)


def network(follow: Callable[[Recording], Stepper]) -> Recording:
    """Record gradients of a network on random batches; many are 0, and biases start at 0."""
    rng = np.random.default_rng(12)
    net = MultiLayerNet(5, [6, 4, 7], 3, seed=3)
    tensors = tuple(Tensor(name, each.shape) for name, each in net.params.items())

    def gradient(w: np.ndarray) -> np.ndarray:
        for name, values in Recording(tensors, w, w).split(w).items():
            net.params[name][...] = values
        grads = net.gradient(rng.normal(size=(6, 5)), rng.integers(3, size=6))
        return np.concatenate([each.ravel() for each in grads.values()])

    start = np.concatenate([each.ravel() for each in net.params.values()])
    return _record(tensors, start, gradient, follow)


def _record(
    tensors: tuple[Tensor, ...],
    start: np.ndarray,
    gradient: Callable[[np.ndarray], np.ndarray],
    follow: Callable[[Recording], Stepper],
) -> Recording:
    gradients = np.zeros((max(UPDATES), start.size))
    recording = Recording(tensors, start, gradients)
    step, w = follow(recording), start
    for row in gradients:
        row[...] = gradient(w)
        w = step(row.copy())
    return recording


def gradient_descent(recording: Recording) -> Stepper:
    """Return plain steps, with a learning rate of 0.2."""
    w = recording.start.copy()

    def step(gradient: np.ndarray) -> np.ndarray:
        w[...] -= 0.2 * gradient
        return w.copy()

    return step


RECORD = {"quadratic": quadratic, "network": network}
RECORDINGS = {name: record(gradient_descent) for name, record in RECORD.items()}


def following(
    plain: Callable[..., Any], optimizer: type[Optimizer], given: Mapping[str, float]
) -> Callable[[Recording], Stepper]:
    """Return what steps along the path of a plain implementation with all hyperparameters."""

    def follow(recording: Recording) -> Stepper:
        rule = plain(recording.split(recording.start), **settings(optimizer, given))

        def step(gradient: np.ndarray) -> np.ndarray:
            rule.step(recording.split(gradient))
            return np.concatenate([each.ravel() for each in rule.w.values()])

        return step

    return follow


CONFIGURATIONS = {
    LARS: [{}, {"lr": 9.0, "momentum": 0.5}, {"weight_decay": 0.1}, {"trust": 0.1, "eps": 1.0}],
    LAMB: [{}, {"lr": 0.1}, {"weight_decay": 0.1, "beta1": 0.5}, {"beta2": 0.9, "eps": 0.1}],
    Muon: [{}, {"lr": 0.1, "nesterov": 0.0}, {"weight_decay": 0.1}, {"beta1": 0.5, "eps": 0.1}],
    ScheduleFreeSGD: [{}, {"lr": 0.1, "r": 1.0}, {"weight_decay": 0.1}, {"momentum": 0.5}],
    ScheduleFreeAdamW: [{}, {"lr": 0.1, "r": 2.0}, {"weight_decay": 0.1}, {"beta2": 0.5}],
    Prodigy: [{"d0": 0.1}, {"d0": 0.01}, {"weight_decay": 0.1}, {"bias_correction": 1.0}],
}
"""Four settings of each rule."""
