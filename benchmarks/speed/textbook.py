"""The textbook's way: NumPy, dictionaries of arrays, layer objects, one network after the other.

This is the program that a reader of the book has, in our own words: layers keep what they need for
the way back, the first one also computes the gradient of the images, a penalty of weight 0 is part
of loss and gradient, pixels are float32 and parameters float64, and after every update a second
forward pass gives the loss. Nothing in it is slower than the book's. With ``dtype`` float32 and
:func:`train_once` it is what a reader has who thought of both.

Source of the method: K. Saitoh, "Deep Learning from Scratch" (O'Reilly, 2016), chapters 5 and 6.
"""

from collections import OrderedDict

import numpy as np

Tensors = dict[str, np.ndarray]
Layers = list[tuple[np.ndarray, np.ndarray]]


class Affine:
    """x·W + b."""

    def __init__(self, W: np.ndarray, b: np.ndarray) -> None:
        self.W, self.b = W, b

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output, (n, fan_out)."""
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """Keep the gradients of W and b, and return that of x."""
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return np.dot(dout, self.W.T)


class Relu:
    """max(0, x), by a mask."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output."""
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """Return the gradient of x."""
        dout[self.mask] = 0
        return dout


class SoftmaxWithLoss:
    """The mean of −log(y + 1e-7) at the labels."""

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        """Return the loss."""
        exponentials = np.exp(x - np.max(x, axis=1, keepdims=True))
        self.y = exponentials / np.sum(exponentials, axis=1, keepdims=True)
        self.t = t
        return -np.sum(np.log(self.y[np.arange(len(t)), t] + 1e-7)) / len(t)

    def backward(self) -> np.ndarray:
        """Return the gradient of the scores."""
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx / len(self.t)


class Network:
    """Affine and ReLU layers over one dictionary of parameters W1, b1, W2 and so on."""

    def __init__(self, weights: Layers, dtype: str, weight_decay: float = 0) -> None:
        self.params: Tensors = {}
        self.layers: OrderedDict[str, Affine | Relu] = OrderedDict()
        self.depth = len(weights)
        self.weight_decay = weight_decay
        for i, (W, b) in enumerate(weights, start=1):
            self.params[f"W{i}"], self.params[f"b{i}"] = W.astype(dtype), b.astype(dtype)
            self.layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            if i < self.depth:
                self.layers[f"Relu{i}"] = Relu()
        self.last_layer = SoftmaxWithLoss()

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        """Return the loss of a batch."""
        for layer in self.layers.values():
            x = layer.forward(x)
        penalty = 0.0
        for i in range(1, self.depth + 1):
            penalty += 0.5 * self.weight_decay * float(np.sum(self.params[f"W{i}"] ** 2))
        return self.last_layer.forward(x, t) + penalty

    def loss_and_gradient(self, x: np.ndarray, t: np.ndarray) -> tuple[float, Tensors]:
        """Return the loss of a batch and the gradients of all parameters."""
        loss = self.loss(x, t)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads = {}
        for i in range(1, self.depth + 1):
            affine = self.layers[f"Affine{i}"]
            grads[f"W{i}"] = affine.dW + self.weight_decay * affine.W
            grads[f"b{i}"] = affine.db
        return loss, grads


class SGD:
    """w ← w − lr·g."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def update(self, params: Tensors, grads: Tensors) -> None:
        """Change the parameters in place."""
        for key in params:
            params[key] -= self.lr * grads[key]


class Momentum(SGD):
    """v ← 0.9·v − lr·g; w ← w + v."""

    v: Tensors | None = None

    def update(self, params: Tensors, grads: Tensors) -> None:
        """Change the parameters in place."""
        if self.v is None:
            self.v = {key: np.zeros_like(value) for key, value in params.items()}
        for key in params:
            self.v[key] = 0.9 * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]


class AdaGrad(SGD):
    """h ← h + g²; w ← w − lr·g / (√h + 1e-7)."""

    h: Tensors | None = None

    def update(self, params: Tensors, grads: Tensors) -> None:
        """Change the parameters in place."""
        if self.h is None:
            self.h = {key: np.zeros_like(value) for key, value in params.items()}
        for key in params:
            self.h[key] += grads[key] * grads[key]
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class Adam(SGD):
    """m ← m + 0.1·(g − m); v ← v + 0.001·(g² − v); w ← w − lr_t·m / (√v + 1e-7)."""

    m: Tensors | None = None
    v: Tensors
    t = 0

    def update(self, params: Tensors, grads: Tensors) -> None:
        """Change the parameters in place."""
        if self.m is None:
            self.m = {key: np.zeros_like(value) for key, value in params.items()}
            self.v = {key: np.zeros_like(value) for key, value in params.items()}
        self.t += 1
        # A Python number: NumPy's own would turn float32 arrays into float64.
        lr_t = self.lr * (1.0 - 0.999**self.t) ** 0.5 / (1.0 - 0.9**self.t)
        for key in params:
            self.m[key] += (1 - 0.9) * (grads[key] - self.m[key])
            self.v[key] += (1 - 0.999) * (grads[key] ** 2 - self.v[key])
            params[key] -= lr_t * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)


OPTIMIZERS = {"sgd": SGD, "momentum": Momentum, "adagrad": AdaGrad, "adam": Adam}


def train_twice(
    network: Network, optimizer: SGD, pixels: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> list[float]:
    """Train as the book does, and return the loss on each batch after its update."""
    losses = []
    for batch in batches:
        x, t = pixels[batch], labels[batch]
        _, grads = network.loss_and_gradient(x, t)
        optimizer.update(network.params, grads)
        losses.append(network.loss(x, t))
    return losses


def train_once(
    network: Network, optimizer: SGD, pixels: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> list[float]:
    """Train with one forward pass, and return the loss on each batch before its update."""
    losses = []
    for batch in batches:
        x, t = pixels[batch], labels[batch]
        loss, grads = network.loss_and_gradient(x, t)
        optimizer.update(network.params, grads)
        losses.append(loss)
    return losses


def descend(steps: int, lr: float) -> list[tuple[float, float, float]]:
    """Minimise x²/20 + y² from (−7, 2) with Adam; return x, y and the loss before each update."""
    params, grads = {"x": -7.0, "y": 2.0}, {"x": 0.0, "y": 0.0}
    optimizer = Adam(lr)
    history = []
    for _ in range(steps):
        x, y = params["x"], params["y"]
        history.append((x, y, x**2 / 20.0 + y**2))
        grads["x"], grads["y"] = x / 10.0, 2.0 * y
        optimizer.update(params, grads)
    return history
