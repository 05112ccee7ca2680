"""The textbook's network, as ``mnist-mlp`` has it for seed 0, written with PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F

import optbench
from optbench import datasets
from optbench.problems.registry import make_problem


def network() -> nn.Sequential:
    ours, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    model, row, offset = nn.Sequential(), ours.start(0), 0
    for tensor in ours.tensors:
        values = torch.from_numpy(row[offset : offset + tensor.size].reshape(tensor.shape))
        offset += tensor.size
        if tensor.name.endswith(".weight"):
            if len(model):
                model.append(nn.ReLU())
            model.append(nn.Linear(*tensor.shape, dtype=torch.float64))
            model[-1].weight = nn.Parameter(values.T.contiguous())
        else:
            model[-1].bias = nn.Parameter(values)
    return model


def loss(model, batch):
    """Report what mnist-mlp reports, with 1e-7 in the logarithm, and descend what it descends."""
    scores, labels = model(batch[0]), batch[1]
    descended = F.cross_entropy(scores, labels, reduction="none")
    picked = scores.softmax(-1).gather(-1, labels[:, None])[:, 0]
    reported = -torch.log(picked + 1e-7)
    return descended + (reported - descended).detach()


def error(model, batch):
    return model(batch[0]).argmax(-1) != batch[1]


def problem(batch_size: int = 128, record: str = "after"):
    splits = datasets.load("mnist-5k").splits
    data = {name: (each.images / 255.0, each.labels.astype(int)) for name, each in splits.items()}
    return optbench.torch.Task(model=network, loss=loss, data=data, metrics={"error": error})
