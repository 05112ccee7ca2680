"""PyTorch on a GPU: Adam on the textbook's network, lane after lane, or all lanes in one step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, vmap

from benchmarks.speed.measure import timed
from benchmarks.speed.pytorch import OPTIMIZERS, network, train
from benchmarks.speed.workload import Workload, learning_rates

BETAS, EPS = (0.9, 0.999), 1e-7
WARM_STEPS = 5

Tensors = dict[str, torch.Tensor]


def where() -> str:
    """Return the device that PyTorch computes on."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _data(workload: Workload) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(
        torch.from_numpy(array).to(where()) for array in (workload.pixels, workload.labels)
    )


def eager(workload: Workload, steps: int) -> Callable[[], float]:
    """Return what times a step of one lane, whose losses stay on the device until the end."""
    data = _data(workload)
    batches = torch.from_numpy(workload.batches(0, steps + WARM_STEPS)).to(where())

    def work() -> float:
        model = network(workload.weights(0)).to(where())
        optimizer = OPTIMIZERS["adam"](model.parameters(), learning_rates()["adam"])
        train(model, optimizer, *data, batches[:WARM_STEPS])
        _finish()
        return timed(lambda: train(model, optimizer, *data, batches[WARM_STEPS:]), steps)

    return work


def vmapped(
    workload: Workload, lanes: int, steps: int, *, compiled: bool = True
) -> Callable[[], float]:
    """Return what times a step of all lanes together, by ``torch.func`` and compiled as a whole."""
    pixels, labels = _data(workload)
    drawn = np.stack([workload.batches(seed, steps + WARM_STEPS) for seed in range(lanes)], axis=1)
    batches = torch.from_numpy(drawn).to(where())
    step = _step(network(workload.weights(0)).to(where()))
    step = torch.compile(step) if compiled else step
    starts = [dict(network(workload.weights(seed)).named_parameters()) for seed in range(lanes)]

    def work() -> float:
        params = {
            name: torch.stack([start[name].detach() for start in starts]).to(where())
            for name in starts[0]
        }
        moments = [{name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2)]
        state: tuple[Any, ...] = (params, *moments)

        def step_all(first: int, some: torch.Tensor) -> None:
            nonlocal state
            losses = []
            for number, batch in enumerate(some, start=first):
                t = torch.tensor(float(number), device=where())
                *moved, loss = step(*state, t, pixels[batch], labels[batch])
                state = tuple(moved)
                losses.append(loss)
            torch.stack(losses).tolist()

        step_all(1, batches[:WARM_STEPS])
        _finish()
        return timed(lambda: step_all(1 + WARM_STEPS, batches[WARM_STEPS:]), steps * lanes)

    return work


def _step(model: torch.nn.Module) -> Callable[..., tuple[Any, ...]]:
    """Return Adam's step of stacked networks: parameters, moments and losses after it."""
    rate = learning_rates()["adam"]
    beta1, beta2 = BETAS

    def loss_of(params: Tensors, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(functional_call(model, params, (x,)), labels)

    gradients = vmap(grad_and_value(loss_of))

    def step(
        params: Tensors,
        m: Tensors,
        v: Tensors,
        t: torch.Tensor,
        x: torch.Tensor,
        labels: torch.Tensor,
    ) -> tuple[Any, ...]:
        grads, losses = gradients(params, x, labels)
        m = {name: beta1 * m[name] + (1 - beta1) * g for name, g in grads.items()}
        v = {name: beta2 * v[name] + (1 - beta2) * g * g for name, g in grads.items()}
        # The textbook's Adam, as optbench's: eps is added before the bias is corrected.
        size = rate * (1 - beta2**t).sqrt() / (1 - beta1**t)
        params = {name: w - size * m[name] / (v[name].sqrt() + EPS) for name, w in params.items()}
        return params, m, v, losses

    return step
