"""The textbook's multi-layer network: layer objects over one dictionary of parameters."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np


class Affine:
    """x·W + b; x has shape (n, fan_in), W (fan_in, fan_out), b (fan_out,)."""

    def __init__(self, W: np.ndarray, b: np.ndarray):
        self.W = W
        self.b = b

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout: np.ndarray) -> np.ndarray:
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class Relu:
    """max(0, x), with slope 0 at 0."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.positive = x > 0
        return np.where(self.positive, x, 0.0)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return np.where(self.positive, dout, 0.0)


class Sigmoid:
    """1 / (1 + exp(−x)), by way of tanh, which cannot overflow."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.y = 0.5 * (1.0 + np.tanh(0.5 * x))
        return self.y

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return dout * self.y * (1.0 - self.y)


class SoftmaxWithLoss:
    """Mean over n of −log(y + log_eps) at the label; its gradient is taken as (y − t)/n.

    The gradient is that of log_eps = 0, as in the textbook.
    """

    def __init__(self, log_eps: float):
        self.log_eps = log_eps

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        exponentials = np.exp(x - x.max(axis=1, keepdims=True))
        self.y = exponentials / exponentials.sum(axis=1, keepdims=True)
        self.t = t
        return float(-np.log(self.y[np.arange(len(t)), t] + self.log_eps).mean())

    def backward(self) -> np.ndarray:
        one_hot = np.eye(self.y.shape[1])[self.t]
        return (self.y - one_hot) / len(self.t)


ACTIVATIONS = {"relu": Relu, "sigmoid": Sigmoid}
VARIANCE_GAIN = {"relu": 2.0, "sigmoid": 1.0}


class MultiLayerNet:
    """A fully connected classifier; labels ``t`` are integers of shape (n,).

    Parameters
    ----------
    input_size, hidden_sizes, output_size
        Widths of the layers.
    activation
        ``"relu"`` or ``"sigmoid"``.
    log_eps
        Added to the probability inside the logarithm of the loss.
    params
        W1, b1, W2, … to start from, copied as float64; without them weights are drawn from
        N(0, gain/fan_in), gain 2 for ReLU (He) and 1 for the sigmoid (Xavier), and biases are 0.
    seed
        Of the weights drawn.
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        output_size: int,
        activation: str = "relu",
        log_eps: float = 1e-7,
        params: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
    ):
        self.sizes = [input_size, *hidden_sizes, output_size]
        self.activation = activation
        drawn = self._draw(np.random.default_rng(seed))
        self.params = drawn if params is None else self._copy(params, like=drawn)
        self.layers = self._stack()
        self.last_layer = SoftmaxWithLoss(log_eps)

    def _draw(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        params = {}
        for i in range(1, len(self.sizes)):
            fan_in, fan_out = self.sizes[i - 1], self.sizes[i]
            scale = np.sqrt(VARIANCE_GAIN[self.activation] / fan_in)
            params[f"W{i}"] = scale * rng.standard_normal((fan_in, fan_out))
            params[f"b{i}"] = np.zeros(fan_out)
        return params

    @staticmethod
    def _copy(
        params: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        given = {key: np.shape(value) for key, value in params.items()}
        expected = {key: value.shape for key, value in like.items()}
        if given != expected:
            raise ValueError(f"parameters have shapes {given}, the network has {expected}")
        return {key: np.array(params[key], dtype=np.float64) for key in like}

    def _stack(self) -> "OrderedDict[str, Affine | Relu | Sigmoid]":
        layers: OrderedDict[str, Affine | Relu | Sigmoid] = OrderedDict()
        last = len(self.sizes) - 1
        for i in range(1, last + 1):
            layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            if i < last:
                layers[f"Activation{i}"] = ACTIVATIONS[self.activation]()
        return layers

    def predict(self, x: np.ndarray) -> np.ndarray:
        out = np.asarray(x, dtype=np.float64)
        for layer in self.layers.values():
            out = layer.forward(out)
        return out

    def loss(self, x: np.ndarray, t: np.ndarray) -> float:
        return self.last_layer.forward(self.predict(x), t)

    def accuracy(self, x: np.ndarray, t: np.ndarray) -> float:
        return float((self.predict(x).argmax(axis=1) == t).mean())

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        self.loss(x, t)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads = {}
        for i in range(1, len(self.sizes)):
            affine = self.layers[f"Affine{i}"]
            grads[f"W{i}"], grads[f"b{i}"] = affine.dW, affine.db
        return grads

    def numerical_gradient(
        self, x: np.ndarray, t: np.ndarray, h: float = 1e-5
    ) -> dict[str, np.ndarray]:
        """Central differences (L(w + h) − L(w − h)) / 2h, a parameter at a time."""
        grads = {}
        for key, param in self.params.items():
            grads[key] = np.zeros_like(param)
            for index in np.ndindex(param.shape):
                value = param[index]
                param[index] = value + h
                above = self.loss(x, t)
                param[index] = value - h
                below = self.loss(x, t)
                param[index] = value
                grads[key][index] = (above - below) / (2 * h)
        return grads
