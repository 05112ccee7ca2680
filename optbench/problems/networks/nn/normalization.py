"""Normalisation over a batch, and over the features of each example."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from optbench.arrays import Array, Buffer, Tensor
from optbench.problems.networks.nn.base import Layer, Mode, Pass, Shape


class _Scaled(Layer):
    """A layer whose output is scaled by gamma and shifted by beta."""

    @property
    def gamma(self) -> str:
        """Name of the scale."""
        return f"{self.name}.gamma"

    @property
    def beta(self) -> str:
        """Name of the shift."""
        return f"{self.name}.beta"


@dataclass(frozen=True)
class BatchNorm(_Scaled):
    """Batch normalisation: y = gamma·(x − mean)/√(var + eps) + beta.

    In training and scoring mean and var are those of the batch, var the biased one, Σ(x − mean)²/n.
    Training moves the running averages, running ← momentum·running + (1 − momentum)·batch, which
    evaluation takes in their place. With xn = (x − mean)/std::

        dbeta = Σ dy        dgamma = Σ dy·xn
        dx = gamma/std · (dy − dbeta/n − xn·dgamma/n)

    The defaults are the textbook's: every feature of an image, C·H·W of them, is normalised on its
    own, n is the batch, and both running averages start at 0. ``per_channel`` takes one mean and
    one variance per channel, over the batch and all places of the image. With ``unbiased`` the
    running variance, which starts at ``variance_start``, takes var·n/(n − 1), or var where n = 1.

    PyTorch's BatchNorm1d and BatchNorm2d are ``per_channel=True, eps=1e-5, unbiased=True,
    variance_start=1``; what PyTorch calls momentum is 1 − momentum.

    Sources: S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015; K. Saitoh, "Deep Learning
    from Scratch", section 6.3 and its code ``common/layers.py``.
    """

    per_channel: bool = False
    eps: float = 1e-6
    momentum: float = 0.9
    unbiased: bool = False
    variance_start: float = 0.0

    @property
    def features(self) -> int:
        """Means and variances that there are."""
        return self._groups[0]

    @property
    def running_mean(self) -> str:
        """Name of the running mean."""
        return f"{self.name}.running_mean"

    @property
    def running_var(self) -> str:
        """Name of the running variance."""
        return f"{self.name}.running_var"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Gamma, then beta."""
        shape = (self.features,)
        return (Tensor(self.gamma, shape), Tensor(self.beta, shape))

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Running mean, then running variance."""
        shape = (self.features,)
        return (
            Buffer(self.running_mean, shape),
            Buffer(self.running_var, shape, start=self.variance_start),
        )

    @property
    def work_values(self) -> int:
        """Normalised input, output, and one product."""
        return 3 * self.in_size

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Return gamma = 1 and beta = 0."""
        return {self.gamma: np.ones(self.features), self.beta: np.zeros(self.features)}

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, tuple[Array, Array]]:
        """Return y; with it the normalised input and 1/std."""
        work, xp = pass_.work, pass_.work.xp
        x = xp.reshape(x, (*x.shape[:2], *self._groups))
        gamma, beta = (self._spread(pass_.weights[name]) for name in (self.gamma, self.beta))
        y = work.take((gamma.shape[0], *x.shape[1:]), x.dtype)
        if pass_.mode is Mode.EVALUATE:
            mean, var = (pass_.buffers[name] for name in (self.running_mean, self.running_var))
            normal = work.into(y, xp.subtract, x, self._spread(mean))
        else:
            count = x.shape[1] * prod(self._groups[1:])
            mean = self._sum(x, pass_) / count
            normal = work.take(x.shape, x.dtype)
            work.into(normal, xp.subtract, x, self._spread(mean))
            squares = work.into(y[: x.shape[0], ...], xp.multiply, normal, normal)
            var = self._sum(squares, pass_) / count
            if pass_.mode is Mode.TRAIN:
                self._update(mean, var, count, pass_)
        scale = self._spread(1.0 / xp.sqrt(var + self.eps))
        work.into(normal, xp.multiply, normal, scale)
        work.into(y, xp.multiply, normal, gamma)
        work.into(y, xp.add, y, beta)
        return xp.reshape(y, (*y.shape[:2], *self.in_shape), copy=False), (normal, scale)

    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dgamma and dbeta, return dx."""
        work, xp, (normal, scale) = pass_.work, pass_.work.xp, saved
        whole, dy = dy.shape, xp.reshape(dy, (*dy.shape[:2], *self._groups))
        product = work.take(dy.shape, dy.dtype)
        work.into(product, xp.multiply, dy, normal)
        dbeta, dgamma = self._sum(dy, pass_), self._sum(product, pass_)
        grads[self.beta][...], grads[self.gamma][...] = dbeta, dgamma
        if first:
            return None
        count = dy.shape[1] * prod(self._groups[1:])
        work.into(product, xp.multiply, normal, self._spread(dgamma / count))
        work.into(dy, xp.subtract, dy, self._spread(dbeta / count))
        work.into(dy, xp.subtract, dy, product)
        work.into(dy, xp.multiply, dy, self._spread(pass_.weights[self.gamma]) * scale)
        return xp.reshape(dy, whole)

    @property
    def _groups(self) -> Shape:
        """(features,), or (channels, places) where the places of an image go together."""
        if self.per_channel and len(self.in_shape) > 1:
            return (self.in_shape[0], prod(self.in_shape[1:]))
        return (prod(self.in_shape),)

    def _spread(self, values: Array) -> Array:
        """Return (lanes, features) so that it meets (lanes, batch, *groups)."""
        return values[:, None, :] if len(self._groups) == 1 else values[:, None, :, None]

    def _sum(self, values: Array, pass_: Pass) -> Array:
        """Return the sums of (lanes, batch, *groups) that belong to one mean: (lanes, features)."""
        xp = pass_.work.xp
        # Within an image first: one sum over both axes may add in another order for one lane.
        within = values if len(self._groups) == 1 else xp.sum(values, axis=-1)
        return xp.sum(within, axis=1)

    def _update(self, mean: Array, var: Array, count: int, pass_: Pass) -> None:
        """Move the running averages towards the batch's."""
        if self.unbiased and count > 1:
            var = var * (count / (count - 1))
        for name, batch in ((self.running_mean, mean), (self.running_var, var)):
            running = pass_.buffers[name]
            running[...] = self.momentum * running + (1.0 - self.momentum) * batch


@dataclass(frozen=True)
class LayerNorm(_Scaled):
    """Layer normalisation: y = gamma·(x − mean)/√(var + eps) + beta, each example on its own.

    Mean and var are those of all features of an example, var the biased one; gamma and beta have
    one number per feature. With xn = (x − mean)/std and dxn = gamma·dy::

        dbeta = Σ_batch dy        dgamma = Σ_batch dy·xn
        dx = (dxn − mean(dxn) − xn·mean(dxn·xn))/std

    Without ``affine`` there is neither gamma nor beta, and without ``has_bias`` no beta. It is
    PyTorch's LayerNorm over the shape of an example, with weight = gamma and bias = beta.

    Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv:1607.06450.
    """

    eps: float = 1e-5
    affine: bool = True
    has_bias: bool = True

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Gamma, then beta, where they are."""
        names = (self.gamma, self.beta) if self.has_bias else (self.gamma,)
        return tuple(Tensor(name, self.in_shape) for name in names if self.affine)

    @property
    def work_values(self) -> int:
        """Normalised input, output, and one product."""
        return 3 * self.in_size

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Return gamma = 1 and beta = 0."""
        return {
            tensor.name: np.full(tensor.shape, float(tensor.name == self.gamma))
            for tensor in self.tensors
        }

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, tuple[Array, Array]]:
        """Return y; with it the normalised input and 1/std."""
        work, xp = pass_.work, pass_.work.xp
        x = xp.reshape(x, (*x.shape[:2], self.in_size))
        normal = work.take(x.shape, x.dtype)
        work.into(normal, xp.subtract, x, self._mean(x, pass_))
        lanes = pass_.weights[self.gamma].shape[0] if self.affine else x.shape[0]
        y = work.take((lanes, *x.shape[1:]), x.dtype)
        squares = work.into(y[: x.shape[0], ...], xp.multiply, normal, normal)
        scale = 1.0 / xp.sqrt(self._mean(squares, pass_) + self.eps)
        work.into(normal, xp.multiply, normal, scale)
        if self.affine:
            work.into(y, xp.multiply, normal, self._row(self.gamma, pass_))
        else:
            y[...] = normal
        if self.affine and self.has_bias:
            work.into(y, xp.add, y, self._row(self.beta, pass_))
        return xp.reshape(y, (*y.shape[:2], *self.in_shape), copy=False), (normal, scale)

    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dgamma and dbeta, return dx."""
        work, xp, (normal, scale) = pass_.work, pass_.work.xp, saved
        whole, dy = dy.shape, xp.reshape(dy, (*dy.shape[:2], self.in_size))
        product = work.take(dy.shape, dy.dtype)
        if self.affine:
            work.into(product, xp.multiply, dy, normal)
            self._write_sum(grads[self.gamma], product, pass_)
            if self.has_bias:
                self._write_sum(grads[self.beta], dy, pass_)
            if first:
                return None
            work.into(dy, xp.multiply, dy, self._row(self.gamma, pass_))
        work.into(product, xp.multiply, dy, normal)
        shares = self._mean(product, pass_)
        work.into(dy, xp.subtract, dy, self._mean(dy, pass_))
        work.into(product, xp.multiply, normal, shares)
        work.into(dy, xp.subtract, dy, product)
        work.into(dy, xp.multiply, dy, scale)
        return xp.reshape(dy, whole)

    def _mean(self, values: Array, pass_: Pass) -> Array:
        """Return the means of (lanes, batch, features) over features: (lanes, batch, 1)."""
        return pass_.work.xp.sum(values, axis=-1, keepdims=True) / self.in_size

    def _row(self, name: str, pass_: Pass) -> Array:
        """Return a tensor (lanes, …) so that it meets (lanes, batch, features)."""
        weights = pass_.weights[name]
        return pass_.work.xp.reshape(weights, (weights.shape[0], 1, self.in_size))

    def _write_sum(self, grad: Array, values: Array, pass_: Pass) -> None:
        """Write the sums over the batch into a gradient (lanes, …)."""
        total = pass_.work.xp.sum(values, axis=1)
        grad[...] = pass_.work.xp.reshape(total, grad.shape)
