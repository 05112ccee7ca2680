"""The textbook's network as a PyTorch model, and a plain loop that trains stacked lanes of it."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

import optbench
from benchmarks.speed.workload import SIZES, Workload


def network() -> nn.Sequential:
    """Return the network with PyTorch's own initialisation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(SIZES):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the mean cross-entropy of a batch."""
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def problem(batch_size: int = 128) -> optbench.torch.Task:
    """Return the textbook's network on its data."""
    workload = Workload()
    return optbench.torch.Task(model=network, loss=loss, data=(workload.pixels, workload.labels))


def plain_loop(lanes: int, steps: int, lr: float) -> Callable[[], object]:
    """Return what trains lanes with SGD, a seed each, by vmap and nothing around it."""
    workload = Workload()
    pixels, labels = torch.from_numpy(workload.pixels), torch.from_numpy(workload.labels)
    batches = torch.from_numpy(
        np.stack([workload.batches(seed, steps) for seed in range(lanes)], axis=1)
    )
    models = [network() for _ in range(lanes)]
    params = {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }

    def of_lane(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(models[0], params, (x,)), y)

    both = vmap(grad_and_value(of_lane))

    def train() -> list[list[float]]:
        torch.set_num_threads(1)  # as optbench has it in a worker
        losses = []
        for indices in batches:
            grads, loss = both(params, pixels[indices], labels[indices])
            for name, grad in grads.items():
                params[name].sub_(grad, alpha=lr)
            losses.append(loss)
        return torch.stack(losses).tolist()

    return train
