"""Optimizers line by line as their papers and libraries have them.

Nothing here is shared with the package, or folded into factors as it is there. The functions are
for one parameter: each takes the start, the gradients and its hyperparameters, and yields the
parameter after each update. The classes are for rules that look at tensors: ``step(gradients)``
makes an update of all tensors, given and kept by name.
"""

import math

import numpy as np

Tensors = dict[str, np.ndarray]


def sign(x):
    return (x > 0) - (x < 0)


def sgd(w, gradients, lr):
    for g in gradients:
        w = w - lr * g
        yield w


def momentum(w, gradients, lr, momentum):
    v = 0.0
    for g in gradients:
        v = momentum * v - lr * g
        w = w + v
        yield w


def nesterov(w, gradients, lr, momentum):
    v = 0.0
    for g in gradients:
        v = momentum * v
        v = v - lr * g
        w = w + momentum * momentum * v
        w = w - (1 + momentum) * lr * g
        yield w


def sgd_torch(w, gradients, lr, momentum, dampening, nesterov):
    buffer = None
    for g in gradients:
        if momentum != 0:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        w = w - lr * g
        yield w


def rooted(square, eps, eps_place):
    """Return the root of a square, with eps inside or outside."""
    return {
        "outside": lambda: math.sqrt(square) + eps,
        "inside": lambda: math.sqrt(square + eps),
    }[eps_place]()


def adagrad(w, gradients, lr, eps, eps_place, initial):
    total = initial
    for g in gradients:
        total = total + g**2
        w = w - lr * g / rooted(total, eps, eps_place)
        yield w


def rmsprop(w, gradients, lr, decay, eps, eps_place, bias_correction):
    square = 0.0
    for t, g in enumerate(gradients, 1):
        square = decay * square + (1 - decay) * g**2
        mean = square / (1 - decay**t) if bias_correction else square
        w = w - lr * g / rooted(mean, eps, eps_place)
        yield w


def rmsprop_torch(w, gradients, lr, decay, eps, eps_place, momentum, centered):
    square = mean = buffer = 0.0
    for g in gradients:
        square = decay * square + (1 - decay) * g**2
        mean = decay * mean + (1 - decay) * g
        root = rooted(square - mean**2 if centered else square, eps, eps_place)
        buffer = momentum * buffer + g / root
        w = w - lr * buffer
        yield w


def adadelta(w, gradients, lr, decay, eps):
    square = square_step = 0.0
    for g in gradients:
        square = decay * square + (1 - decay) * g**2
        step = math.sqrt(square_step + eps) / math.sqrt(square + eps) * g
        square_step = decay * square_step + (1 - decay) * step**2
        w = w - lr * step
        yield w


def signum(w, gradients, lr, momentum):
    mean = 0.0
    for g in gradients:
        mean = momentum * mean + (1 - momentum) * g
        w = w - lr * sign(mean)
        yield w


def lion(w, gradients, lr, beta1, beta2, weight_decay):
    m = 0.0
    for g in gradients:
        update = sign(beta1 * m + (1 - beta1) * g)
        w = w - lr * (update + weight_decay * w)
        m = beta2 * m + (1 - beta2) * g
        yield w


def rprop(w, gradients, lr, eta_minus, eta_plus, step_min, step_max):
    size, previous = lr, 0.0
    for g in gradients:
        if previous * g > 0:
            size = size * eta_plus
        elif previous * g < 0:
            size = size * eta_minus
            g = 0.0
        size = min(max(size, step_min), step_max)
        w = w - sign(g) * size
        previous = g
        yield w


class Moments:
    """Kingma and Ba 2015: the means of g and g², of a number or an array, without their bias."""

    def __init__(self, beta1, beta2):
        self.m = self.v = 0.0
        self.beta1, self.beta2, self.t = beta1, beta2, 0

    def take(self, g):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        return self.m / (1 - self.beta1**self.t), self.v / (1 - self.beta2**self.t)


def moments(gradients, beta1, beta2):
    """Yield t, the gradient, and both moments corrected for their bias."""
    both = Moments(beta1, beta2)
    for t, g in enumerate(gradients, 1):
        yield t, g, *both.take(g)


def adam(w, gradients, lr, beta1, beta2, eps, eps_place, bias_correction):
    for t, _, m, v in moments(gradients, beta1, beta2):
        if not bias_correction:
            m, v = m * (1 - beta1**t), v * (1 - beta2**t)
        root = math.sqrt(v) + eps
        if eps_place == "uncorrected" and bias_correction:
            corrected = math.sqrt(1 - beta2**t)
            root = (math.sqrt(v) * corrected + eps) / corrected
        w = w - lr * m / root
        yield w


def amsgrad(w, gradients, lr, beta1, beta2, eps, largest_of, bias_correction):
    largest = 0.0
    for t, _, m, v in moments(gradients, beta1, beta2):
        first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        m, v = m * (1 - beta1**t), v * (1 - beta2**t)
        if largest_of == "corrected":
            largest = max(largest, v / second)
            root = math.sqrt(largest) + eps
        else:
            largest = max(largest, v)
            root = math.sqrt(largest / second) + eps
        w = w - lr * (m / first) / root
        yield w


def adamw(w, gradients, lr, beta1, beta2, eps, weight_decay):
    for _, _, m, v in moments(gradients, beta1, beta2):
        w = w - lr * weight_decay * w
        w = w - lr * m / (math.sqrt(v) + eps)
        yield w


def adamax(w, gradients, lr, beta1, beta2, eps):
    largest = 0.0
    for _, g, m, _ in moments(gradients, beta1, beta2):
        largest = max(beta2 * largest, abs(g) + eps)
        w = w - lr * m / largest
        yield w


def nadam(w, gradients, lr, beta1, beta2, eps, momentum_decay):
    product = 1.0
    for t, g, m, v in moments(gradients, beta1, beta2):
        now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        following = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product = product * now
        m = m * (1 - beta1**t)
        update = (1 - now) * g / (1 - product) + following * m / (1 - product * following)
        w = w - lr * update / (math.sqrt(v) + eps)
        yield w


def radam(w, gradients, lr, beta1, beta2, eps, eps_place):
    longest = 2 / (1 - beta2) - 1
    for t, _, m, v in moments(gradients, beta1, beta2):
        correction = 1 - beta2**t
        length = longest - 2 * t * beta2**t / correction
        if length > 5:
            above = (length - 4) * (length - 2) * longest
            below = (longest - 4) * (longest - 2) * length
            rectified = m * math.sqrt(above / below)
            if eps_place == "corrected":
                m = rectified / (math.sqrt(v) + eps)
            else:
                m = rectified * math.sqrt(correction) / (math.sqrt(v * correction) + eps)
        w = w - lr * m
        yield w


def adabelief(w, gradients, lr, beta1, beta2, eps, eps_root):
    m = s = 0.0
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps_root
        w = w - lr * (m / (1 - beta1**t)) / (math.sqrt(s / (1 - beta2**t)) + eps)
        yield w


def yogi(w, gradients, lr, beta1, beta2, eps, initial, bias_correction):
    m, v = 0.0, initial
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g**2) * g**2
        first, second = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        w = w - lr * (m / first) / (math.sqrt(v / second) + eps)
        yield w


def adan(w, gradients, lr, beta1, beta2, beta3, eps, eps_root, weight_decay, ahead):
    share = {"beta2": beta2, "1-beta2": 1 - beta2}[ahead]
    m = v = n = 0.0
    before = None
    for t, g in enumerate(gradients, 1):
        change = 0.0 if before is None else g - before
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * change
        n = beta3 * n + (1 - beta3) * (g + share * change) ** 2
        corrected = m / (1 - beta1**t) + share * v / (1 - beta2**t)
        root = math.sqrt(n / (1 - beta3**t) + eps_root) + eps
        w = w - lr * (weight_decay * w + corrected / root)
        before = g
        yield w


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


class LAMB:
    """You et al. 2020, algorithm 2, with φ(z) = z."""

    def __init__(self, start: Tensors, lr, beta1, beta2, eps, weight_decay):
        self.w, self.t = start, 0
        self.means = {name: Moments(beta1, beta2) for name in start}
        self.lr, self.eps, self.decay = lr, eps, weight_decay

    def step(self, gradients: Tensors) -> None:
        self.t += 1
        for name, g in gradients.items():
            m, v = self.means[name].take(g)
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
        self.means = {name: Moments(beta1, beta2) for name in start}
        self.lr, self.mu, self.nesterov, self.decay = lr, momentum, nesterov, weight_decay
        self.ns_eps, self.adam_lr, self.eps = ns_eps, lr * adam_ratio, eps

    def step(self, gradients: Tensors) -> None:
        self.t += 1
        for name, g in gradients.items():
            if name in self.hidden:
                self._hidden(name, g)
            else:
                m, v = self.means[name].take(g)
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
        self.means = None if beta2 is None else {name: Moments(0.0, beta2) for name in start}
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
                g, v = self.means[name].take(g)
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
