"""PyTorch, eager: ``nn.Sequential`` and ``torch.optim``, one lane after the other."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from benchmarks.speed.workload import SIZES

OPTIMIZERS = {
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr),
    "momentum": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
    "adagrad": lambda params, lr: torch.optim.Adagrad(params, lr=lr, eps=1e-7),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, eps=1e-7),
}


def network(weights: list[tuple[np.ndarray, np.ndarray]]) -> nn.Sequential:
    """Return the textbook's network with the given start."""
    layers: list[nn.Module] = []
    for (fan_in, fan_out), (weight, bias) in zip(pairwise(SIZES), weights, strict=True):
        linear = nn.Linear(fan_in, fan_out)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T.astype(np.float32)))
            linear.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(
    model: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    batches: torch.Tensor,
) -> list[float]:
    """Train, and return the loss on each batch before its update.

    Losses stay where they were computed until the end, so that no step of a GPU waits for the host.
    """
    loss_of = nn.CrossEntropyLoss()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = loss_of(model(pixels[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def descend(steps: int, lr: float, lanes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise x²/20 + y² from (−7, 2) with Adam in float64, all lanes as one tensor.

    Returns positions, shape (steps, 2, lanes), and losses before each update, shape (steps, lanes).
    """
    start = torch.tensor([[-7.0], [2.0]], dtype=torch.float64)
    point = start.repeat(1, lanes).requires_grad_()
    optimizer = torch.optim.Adam([point], lr=lr)
    positions = torch.empty((steps, 2, lanes), dtype=torch.float64)
    losses = torch.empty((steps, lanes), dtype=torch.float64)
    for step in range(steps):
        optimizer.zero_grad()
        x, y = point
        loss = x**2 / 20.0 + y**2
        positions[step], losses[step] = point.detach(), loss.detach()
        loss.sum().backward()
        optimizer.step()
    return positions, losses
