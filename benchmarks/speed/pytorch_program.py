"""The textbook's comparison as a PyTorch program: eager, one training after the other.

``python -m benchmarks.speed.pytorch_program INPUTS.npz LOSSES.parquet``
"""

import os
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import nn

SIZES = (784, 100, 100, 100, 100, 10)
EVALUATED_TOGETHER = 1000
OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.01),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
    "adagrad": lambda params: torch.optim.Adagrad(params, lr=0.01, eps=1e-7),
    "adam": lambda params: torch.optim.Adam(params, lr=0.001, eps=1e-7),
}


def network(start: np.ndarray) -> nn.Sequential:
    """Return the network with a start, which holds weights (fan_in, fan_out) and biases in turn."""
    layers: list[nn.Module] = []
    place = 0
    for fan_in, fan_out in pairwise(SIZES):
        linear = nn.Linear(fan_in, fan_out)
        weight = start[place : place + fan_in * fan_out].reshape(fan_in, fan_out)
        place += fan_in * fan_out
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight.T)))
            linear.bias.copy_(torch.from_numpy(start[place : place + fan_out]))
        place += fan_out
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main(inputs: str, out: str) -> None:
    """Train, evaluate and write."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    arrays = np.load(inputs)
    data = {
        name: (
            torch.from_numpy(arrays[f"{name}.images"]),
            torch.from_numpy(arrays[f"{name}.labels"]),
        )
        for name in ("train", "validation", "test")
        if f"{name}.images" in arrays
    }
    pixels, labels = data["train"]
    loss_of = nn.CrossEntropyLoss()
    rows = []
    for label, make in OPTIMIZERS.items():
        for seed, start in enumerate(arrays["starts"]):
            model = network(start)
            optimizer = make(model.parameters())
            losses = np.empty(len(arrays["batches"][seed]))
            for step, batch in enumerate(torch.from_numpy(arrays["batches"][seed])):
                x, t = pixels[batch].to(torch.float32) / 255.0, labels[batch].long()
                optimizer.zero_grad()
                loss_of(model(x), t).backward()
                optimizer.step()
                with torch.no_grad():
                    losses[step] = loss_of(model(x), t).item()
            rows.append(
                pd.DataFrame(
                    {"label": label, "seed": seed, "iteration": range(len(losses)), "loss": losses}
                )
            )
            with torch.no_grad():
                for name, (images, targets) in data.items():
                    parts = zip(
                        images.split(EVALUATED_TOGETHER),
                        targets.split(EVALUATED_TOGETHER),
                        strict=True,
                    )
                    wrong, total = 0, 0.0
                    for x, t in parts:
                        scores = model(x.to(torch.float32) / 255.0)
                        total += nn.functional.cross_entropy(
                            scores, t.long(), reduction="sum"
                        ).item()
                        wrong += int((scores.argmax(dim=1) != t).sum())
                    rows[-1][[f"{name}_loss", f"{name}_error"]] = (
                        total / len(targets),
                        wrong / len(targets),
                    )
    pd.concat(rows).to_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
