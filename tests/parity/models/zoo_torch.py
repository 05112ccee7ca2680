"""Small PyTorch models on made-up data, one of each kind of layer that lanes must not share."""

import torch
from torch import nn
from torch.nn import functional as F

import optbench

CLASSES = 3


class Attention(nn.Module):
    """Two heads over tokens, then the mean of all places."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(8, 8)
        self.mix = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, CLASSES)
        self.register_buffer("mask", torch.ones(6, 6).tril().bool())

    def forward(self, x):
        x = self.tokens(x)
        q, k, v = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in self.mix(x).chunk(3, -1))
        scores = (q @ k.transpose(-1, -2) / 2.0).masked_fill(~self.mask, -torch.inf)
        heads = (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)
        return self.out(self.norm(x + heads).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.out = nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class Branching(nn.Module):
    """Goes another way where its own numbers say so, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x):
        y = self.out(x)
        return y if y.abs().max().item() < 1.0 else y * 0.5


class Noisy(nn.Module):
    """Draws its own dropout, through the functional form."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(6, 8), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.out(F.dropout(torch.tanh(self.first(x)), 0.4, self.training))


class Features(nn.Module):
    """Random features, which no step changes, before the only layer that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(6, 8))
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.out(torch.cos(self.frozen(x @ self.directions)))


MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, CLASSES)),
    "conv": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, CLASSES)
    ),
    "norm": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, CLASSES)
    ),
    "lstm": Recurrent,
    "attention": Attention,
    "dropout": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.Dropout(0.25), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, CLASSES)
    ),
    "channels": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Dropout2d(0.3), nn.AlphaDropout(0.2), nn.Flatten(), nn.Linear(12, 3)
    ),
    "branching": Branching,
    "noisy": Noisy,
    "features": Features,
}
SHAPES = {"conv": (1, 4, 4), "norm": (1, 4, 4), "channels": (1, 4, 4), "lstm": (5, 4)}


def inputs(kind: str, examples: int) -> torch.Tensor:
    if kind == "attention":
        return torch.randint(8, (examples, 6))
    return torch.randn(examples, *SHAPES.get(kind, (6,)))


def loss(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["y"])


def error(model, batch):
    return model(batch["x"]).argmax(-1) != batch["y"]


def problem(kind: str = "mlp", batch_size: int = 8):
    """A small model on made-up data."""
    data = {
        split: {"x": inputs(kind, examples), "y": torch.randint(CLASSES, (examples,))}
        for split, examples in (("train", 40), ("validation", 12))
    }
    return optbench.torch.Task(model=MODELS[kind], loss=loss, data=data, metrics={"error": error})
