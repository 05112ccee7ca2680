"""The papers' algorithms, a lane and a tensor at a time in float64, without any code of ours.

Each is a class: ``step(gradients)`` makes an update of all tensors, given and kept by name.
"""

import math

import numpy as np

Tensors = dict[str, np.ndarray]


def norm(values: np.ndarray) -> float:
    return math.sqrt(float(np.dot(values.ravel(), values.ravel())))


class LARS:
    """You et al. 2017, algorithm 1, with optax's norm of the update and ratio of 1 at w = 0."""

    def __init__(self, start: Tensors, lr, momentum, weight_decay, trust, eps):
        self.w = start
        self.v = {name: np.zeros_like(w) for name, w in start.items()}
        self.lr, self.momentum, self.decay = lr, momentum, weight_decay
        self.trust, self.eps = trust, eps

    def step(self, gradients: Tensors) -> None:
        for name, g in gradients.items():
            u = g + self.decay * self.w[name]
            local = 1.0
            if norm(self.w[name]) > 0 and norm(u) > 0:
                local = self.trust * norm(self.w[name]) / (norm(u) + self.eps)
            self.v[name] = self.momentum * self.v[name] + self.lr * local * u
            self.w[name] = self.w[name] - self.v[name]


class AdamMeans:
    """Kingma and Ba 2015: the two means, without bias."""

    def __init__(self, start: Tensors, beta1, beta2):
        self.m = {name: np.zeros_like(w) for name, w in start.items()}
        self.v = {name: np.zeros_like(w) for name, w in start.items()}
        self.beta1, self.beta2 = beta1, beta2

    def take(self, name: str, g: np.ndarray, t: int) -> tuple[np.ndarray, np.ndarray]:
        self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * g
        self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * g**2
        return self.m[name] / (1 - self.beta1**t), self.v[name] / (1 - self.beta2**t)


class LAMB:
    """You et al. 2020, algorithm 2, with φ(z) = z."""

    def __init__(self, start: Tensors, lr, beta1, beta2, eps, weight_decay):
        self.w, self.t = start, 0
        self.means = AdamMeans(start, beta1, beta2)
        self.lr, self.eps, self.decay = lr, eps, weight_decay

    def step(self, gradients: Tensors) -> None:
        self.t += 1
        for name, g in gradients.items():
            m, v = self.means.take(name, g, self.t)
            u = m / (np.sqrt(v) + self.eps) + self.decay * self.w[name]
            ratio = 1.0
            if norm(self.w[name]) > 0 and norm(u) > 0:
                ratio = norm(self.w[name]) / norm(u)
            self.w[name] = self.w[name] - self.lr * ratio * u


class Muon:
    """Jordan et al. 2024, in PyTorch's layout (fan_out, fan_in); ``hidden`` names the matrices."""

    def __init__(
        self,
        start: Tensors,
        hidden,
        lr,
        momentum,
        nesterov,
        weight_decay,
        ns_eps,
        adam_ratio,
        beta1,
        beta2,
        eps,
    ):
        self.w, self.t, self.hidden = start, 0, hidden
        self.momentum = {name: np.zeros_like(w) for name, w in start.items()}
        self.means = AdamMeans(start, beta1, beta2)
        self.lr, self.mu, self.nesterov, self.decay = lr, momentum, nesterov, weight_decay
        self.ns_eps, self.adam_lr, self.eps = ns_eps, lr * adam_ratio, eps

    def step(self, gradients: Tensors) -> None:
        self.t += 1
        for name, g in gradients.items():
            if name in self.hidden:
                self._hidden(name, g)
            else:
                m, v = self.means.take(name, g, self.t)
                self.w[name] = self.w[name] * (1 - self.adam_lr * self.decay)
                self.w[name] = self.w[name] - self.adam_lr * m / (np.sqrt(v) + self.eps)

    def _hidden(self, name: str, g: np.ndarray) -> None:
        m = self.mu * self.momentum[name] + (1 - self.mu) * g
        self.momentum[name] = m
        u = self.mu * m + (1 - self.mu) * g if self.nesterov else m
        # Filters have fan_out first already.
        matrix = u.T if u.ndim == 2 else u.reshape(len(u), -1)
        update = newton_schulz(matrix, self.ns_eps)
        update = update * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        update = update.T if u.ndim == 2 else update.reshape(u.shape)
        self.w[name] = self.w[name] * (1 - self.lr * self.decay) - self.lr * update


def newton_schulz(matrix: np.ndarray, eps: float) -> np.ndarray:
    """Apply the quintic to singular values, by way of their decomposition and not by products."""
    left, values, right = np.linalg.svd(matrix / max(norm(matrix), eps), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right


class ScheduleFree:
    """Defazio et al. 2024 with x, y and z all kept; v is corrected, and ``beta2`` None is SGD."""

    def __init__(
        self,
        start: Tensors,
        lr,
        beta,
        weight_decay,
        r,
        weight_lr_power,
        beta2=None,
        eps=0.0,
    ):
        self.w = {name: w.copy() for name, w in start.items()}
        self.x, self.z = dict(start), dict(start)
        self.lr, self.beta, self.decay = lr, beta, weight_decay
        self.r, self.power = r, weight_lr_power
        self.means = None if beta2 is None else AdamMeans(start, 0.0, beta2)
        self.eps, self.t, self.largest, self.weights = eps, 0, 0.0, 0.0

    def step(self, gradients: Tensors, schedule: float = 1.0) -> None:
        self.t += 1
        lr = self.lr * schedule
        self.largest = max(self.largest, lr)
        weight = self.t**self.r * self.largest**self.power
        self.weights += weight
        c = weight / self.weights if self.weights > 0 else 0.0
        for name, g in gradients.items():
            if self.means is not None:
                g, v = self.means.take(name, g, self.t)
                g = g / (np.sqrt(v) + self.eps)
            self.z[name] = self.z[name] - lr * (g + self.decay * self.w[name])
            self.x[name] = (1 - c) * self.x[name] + c * self.z[name]
            self.w[name] = (1 - self.beta) * self.z[name] + self.beta * self.x[name]


class Prodigy:
    """Mishchenko and Defazio 2023, for Adam, as the authors' package has it."""

    def __init__(
        self,
        start: Tensors,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        d0,
        d_coef,
        bias_correction,
        safeguard_warmup,
    ):
        self.w, self.start, self.t = dict(start), dict(start), 0
        self.m = {name: np.zeros_like(w) for name, w in start.items()}
        self.v = {name: np.zeros_like(w) for name, w in start.items()}
        self.s = {name: np.zeros_like(w) for name, w in start.items()}
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.decay, self.d, self.d0, self.d_coef = weight_decay, d0, d0, d_coef
        self.corrects, self.safe, self.numerator = bias_correction, safeguard_warmup, 0.0

    def step(self, gradients: Tensors) -> None:
        self.t += 1
        d, beta3 = self.d, math.sqrt(self.beta2)
        rate = d * self.lr
        if self.corrects:
            rate *= math.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        self.numerator *= beta3
        for name, g in gradients.items():
            gone = float(np.sum(g * (self.start[name] - self.w[name])))
            self.numerator += d / self.d0 * rate * gone
            self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * d * g
            self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * (d * g) ** 2
            weight = d / self.d0 * (d if self.safe else rate)
            self.s[name] = beta3 * self.s[name] + weight * g
        total = sum(float(np.abs(each).sum()) for each in self.s.values())
        if total == 0.0:
            return
        self.d = max(d, self.d_coef * self.numerator / total)
        for name, w in self.w.items():
            change = self.m[name] / (np.sqrt(self.v[name]) + self.d * self.eps)
            self.w[name] = w - rate * (change + self.decay * w)
