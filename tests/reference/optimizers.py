"""The textbook's optimizers, one tensor at a time; ``update`` changes the parameters in place.

Numbers are Python's, so everything is rounded as the parameters are, and in the order in which the
package computes: its rules at the textbook's settings have these bits.
"""

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


class SGD:
    """w ← w − lr·g."""

    def __init__(self, lr: float = 0.01):
        self.lr = lr

    def update(self, params: Tensors, grads: Tensors) -> None:
        for key in params:
            params[key] -= self.lr * grads[key]


class Momentum:
    """v ← α·v − lr·g; w ← w + v."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9):
        self.lr = lr
        self.momentum = momentum
        self.v: Tensors = {}

    def update(self, params: Tensors, grads: Tensors) -> None:
        for key, param in params.items():
            v = self.v.get(key, np.zeros_like(param))
            self.v[key] = self.momentum * v - self.lr * grads[key]
            param += self.v[key]


class AdaGrad:
    """h ← h + g²; w ← w − lr·g / (√h + eps)."""

    def __init__(self, lr: float = 0.01, eps: float = 1e-7):
        self.lr = lr
        self.eps = eps
        self.h: Tensors = {}

    def update(self, params: Tensors, grads: Tensors) -> None:
        for key, param in params.items():
            g = grads[key]
            self.h[key] = self.h.get(key, np.zeros_like(param)) + g * g
            param -= self.lr * g / (np.sqrt(self.h[key]) + self.eps)


class RMSprop:
    """h ← ρ·h + (1 − ρ)·g²; w ← w − lr·g / (√h + eps)."""

    def __init__(self, lr: float = 0.01, decay: float = 0.99, eps: float = 1e-7):
        self.lr = lr
        self.decay = decay
        self.eps = eps
        self.h: Tensors = {}

    def update(self, params: Tensors, grads: Tensors) -> None:
        for key, param in params.items():
            g = grads[key]
            h = self.h.get(key, np.zeros_like(param))
            self.h[key] = self.decay * h + (1.0 - self.decay) * (g * g)
            param -= self.lr * g / (np.sqrt(self.h[key]) + self.eps)


class Adam:
    """The moments' averages, then a step whose size corrects their bias; t counts from 1.

    m ← m + (1 − β1)(g − m); v ← v + (1 − β2)(g² − v);
    w ← w − lr·√(1 − β2ᵗ)/(1 − β1ᵗ)·m / (√v + eps).
    """

    def __init__(
        self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-7
    ):
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps
        self.t = 0
        self.m: Tensors = {}
        self.v: Tensors = {}

    def update(self, params: Tensors, grads: Tensors) -> None:
        self.t += 1
        lr_t = self.lr * (math.sqrt(1.0 - self.beta2**self.t) / (1.0 - self.beta1**self.t))
        for key, param in params.items():
            g = grads[key]
            m = self.m.get(key, np.zeros_like(param))
            v = self.v.get(key, np.zeros_like(param))
            self.m[key] = m + (1.0 - self.beta1) * (g - m)
            self.v[key] = v + (1.0 - self.beta2) * (g * g - v)
            param -= lr_t * self.m[key] / (np.sqrt(self.v[key]) + self.eps)


REFERENCE: dict[str, type] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": AdaGrad,
    "rmsprop": RMSprop,
    "adam": Adam,
}


def textbook(name: str, hyperparameters: Mapping[str, Any]) -> Any:
    """Return the reference's optimizer; what is no hyperparameter of its is left out."""
    taken = signature(REFERENCE[name]).parameters
    return REFERENCE[name](**{key: each for key, each in hyperparameters.items() if key in taken})
