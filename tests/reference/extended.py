"""The textbook's networks beyond the plain one.

The equations are those of K. Saitoh, "Deep Learning from Scratch" (O'Reilly Japan, 2016), chapters
6 and 7: dropout, batch normalisation, weight decay, and the simple convolutional network, with
loops over places where these are easiest to check.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.reference.network import ACTIVATIONS, Affine, Relu, SoftmaxWithLoss


class Dropout:
    """In training x·mask, else x·(1 − ratio). Whoever trains sets ``mask``, True where kept."""

    def __init__(self, ratio: float):
        self.ratio = ratio
        self.mask: np.ndarray

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        return np.where(self.mask, x, 0.0) if train else x * (1.0 - self.ratio)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return np.where(self.mask, dout, 0.0)


class BatchNormalization:
    """gamma·(x − μ)/√(σ² + 1e-6) + beta over a batch (n, features), σ² = Σ(x − μ)²/n.

    Evaluation takes running averages in place of μ and σ²; they start at 0, and
    :meth:`move_averages` makes them 0.9·running + 0.1·(that of the last batch).
    """

    eps = 1e-6
    momentum = 0.9

    def __init__(self, gamma: np.ndarray, beta: np.ndarray):
        self.gamma = gamma
        self.beta = beta
        self.running_mean = np.zeros_like(gamma)
        self.running_var = np.zeros_like(gamma)

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        if train:
            self.mean, self.var = x.mean(axis=0), x.var(axis=0)
            self.xc, self.std = x - self.mean, np.sqrt(self.var + self.eps)
            self.xn = self.xc / self.std
            return self.gamma * self.xn + self.beta
        xn = (x - self.running_mean) / np.sqrt(self.running_var + self.eps)
        return self.gamma * xn + self.beta

    def backward(self, dout: np.ndarray) -> np.ndarray:
        """Go back through the graph node by node: xn = xc/std, std = √(var + eps), xc = x − μ."""
        n = len(dout)
        self.dbeta = dout.sum(axis=0)
        self.dgamma = (self.xn * dout).sum(axis=0)
        dxn = self.gamma * dout
        dstd = -(dxn * self.xc / self.std**2).sum(axis=0)
        dvar = 0.5 * dstd / self.std
        dxc = dxn / self.std + 2.0 * self.xc * dvar / n
        return dxc - dxc.sum(axis=0) / n

    def move_averages(self) -> None:
        old, new = self.momentum, 1.0 - self.momentum
        self.running_mean = old * self.running_mean + new * self.mean
        self.running_var = old * self.running_var + new * self.var


class Convolution:
    """Filters W (F, C, height, width) and b (F,) over images (n, C, H, W): stride 1, no padding."""

    def __init__(self, W: np.ndarray, b: np.ndarray):
        self.W = W
        self.b = b

    def forward(self, x: np.ndarray) -> np.ndarray:
        filters, _, height, width = self.W.shape
        self.x = x
        out = np.empty((x.shape[2] - height + 1, x.shape[3] - width + 1, len(x), filters))
        for i, j in np.ndindex(out.shape[:2]):
            patch = x[:, :, i : i + height, j : j + width]
            out[i, j] = np.tensordot(patch, self.W, axes=([1, 2, 3], [1, 2, 3])) + self.b
        return out.transpose(2, 3, 0, 1)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        _, _, height, width = self.W.shape
        self.dW, self.db, dx = (
            np.zeros_like(self.W),
            dout.sum(axis=(0, 2, 3)),
            np.zeros(self.x.shape),
        )
        for i, j in np.ndindex(dout.shape[2:]):
            rows, columns = slice(i, i + height), slice(j, j + width)
            d = dout[:, :, i, j]
            self.dW += np.tensordot(d, self.x[:, :, rows, columns], axes=([0], [0]))
            dx[:, :, rows, columns] += np.tensordot(d, self.W, axes=([1], [0]))
        return dx


class Pooling:
    """The largest value of each square of ``size`` × ``size``, squares side by side."""

    def __init__(self, size: int):
        self.size = size

    def _square(self, i: int, j: int) -> tuple[slice, slice]:
        return slice(i * self.size, (i + 1) * self.size), slice(j * self.size, (j + 1) * self.size)

    def forward(self, x: np.ndarray) -> np.ndarray:
        n, channels, height, width = x.shape
        self.shape = x.shape
        out = np.empty((n, channels, height // self.size, width // self.size))
        self.winner = np.empty(out.shape, dtype=int)
        for i, j in np.ndindex(out.shape[2:]):
            rows, columns = self._square(i, j)
            values = x[:, :, rows, columns].reshape(n, channels, -1)
            self.winner[:, :, i, j] = values.argmax(axis=2)
            out[:, :, i, j] = values.max(axis=2)
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        dx = np.zeros(self.shape)
        for place in np.ndindex(dout.shape):
            n, channel, i, j = place
            down, across = divmod(int(self.winner[place]), self.size)
            dx[n, channel, i * self.size + down, j * self.size + across] = dout[place]
        return dx


class Flatten:
    """Images (n, C, H, W) as rows (n, C·H·W)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return dout.reshape(self.shape)


class _Net:
    """Layers in order over ``params``, which optimizers change in place; softmax at the end."""

    def __init__(self, params: Mapping[str, np.ndarray], log_eps: float, weight_decay: float):
        self.params = {key: np.array(value, dtype=np.float64) for key, value in params.items()}
        self.weight_decay = weight_decay
        self.last_layer = SoftmaxWithLoss(log_eps)
        self.layers: list[Any] = []
        self.weighted: dict[int, Affine | Convolution] = {}
        self.norms: dict[int, BatchNormalization] = {}

    @property
    def dropouts(self) -> list[Dropout]:
        return [layer for layer in self.layers if isinstance(layer, Dropout)]

    def _add_weighted(self, kind: type, number: int) -> None:
        self.weighted[number] = kind(self.params[f"W{number}"], self.params[f"b{number}"])
        self.layers.append(self.weighted[number])

    def predict(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        for layer in self.layers:
            if isinstance(layer, Dropout | BatchNormalization):
                x = layer.forward(x, train)
            else:
                x = layer.forward(x)
        return x

    def penalty(self) -> float:
        squares = (np.sum(layer.W**2) for layer in self.weighted.values())
        return sum(0.5 * self.weight_decay * float(each) for each in squares)

    def loss(self, x: np.ndarray, t: np.ndarray, train: bool = False) -> float:
        return self.last_layer.forward(self.predict(x, train), t) + self.penalty()

    def evaluate(self, x: np.ndarray, t: np.ndarray) -> tuple[float, float]:
        """Return the loss without the penalty, and the part of the images classified wrongly."""
        scores = self.predict(x)
        wrong = scores.argmax(axis=1) != t
        return self.last_layer.forward(scores, t), float(wrong.mean())

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        self.loss(x, t, train=True)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        grads = {}
        for number, layer in self.weighted.items():
            grads[f"W{number}"] = layer.dW + self.weight_decay * layer.W
            grads[f"b{number}"] = layer.db
        for number, norm in self.norms.items():
            grads[f"gamma{number}"], grads[f"beta{number}"] = norm.dgamma, norm.dbeta
        return grads

    def train(self, optimizer: Any, x: np.ndarray, t: np.ndarray) -> None:
        """Make one update; the running averages move once with it."""
        optimizer.update(self.params, self.gradient(x, t))
        for norm in self.norms.values():
            norm.move_averages()


class MultiLayerNetExtend(_Net):
    """Affine, batch normalisation, activation and dropout again and again; Affine at the end.

    ``params`` holds W1, b1, …, and gamma1, beta1, … where there is batch normalisation. The loss
    has ½·weight_decay·ΣW² in it.
    """

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        activation: str = "relu",
        dropout_ratio: float | None = None,
        weight_decay: float = 0.0,
        log_eps: float = 1e-7,
    ):
        super().__init__(params, log_eps, weight_decay)
        last = sum(key.startswith("W") for key in params)
        for i in range(1, last):
            self._add_weighted(Affine, i)
            if f"gamma{i}" in self.params:
                norm = BatchNormalization(self.params[f"gamma{i}"], self.params[f"beta{i}"])
                self.norms[i] = norm
                self.layers.append(norm)
            self.layers.append(ACTIVATIONS[activation]())
            if dropout_ratio is not None:
                self.layers.append(Dropout(dropout_ratio))
        self._add_weighted(Affine, last)


class SimpleConvNet(_Net):
    """Convolution, ReLU, pooling 2×2, Affine, ReLU, Affine over images given as rows (n, C·H·W)."""

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        image: tuple[int, int, int] = (1, 28, 28),
        log_eps: float = 1e-7,
    ):
        super().__init__(params, log_eps, weight_decay=0.0)
        self.image = image
        self._add_weighted(Convolution, 1)
        self.layers += [Relu(), Pooling(2), Flatten()]
        self._add_weighted(Affine, 2)
        self.layers.append(Relu())
        self._add_weighted(Affine, 3)

    def predict(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        return super().predict(x.reshape(-1, *self.image), train)
