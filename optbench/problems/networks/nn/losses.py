"""Losses stacked over lanes.

Scores have shape (lanes, batch, classes), labels (lanes, batch), or (1, batch) where all lanes
share them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import override

from optbench.arrays import Array, Namespace, Workspace
from optbench.errors import SuiteError, nearest

Reduction: TypeAlias = Literal["mean", "sum"]


class Loss(ABC):
    """What is minimised, as a function of the scores of a batch and its labels."""

    @abstractmethod
    def per_example(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        """Return the loss of each example, shape (lanes, batch)."""

    @abstractmethod
    def value(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        """Return the loss of each lane's batch, shape (lanes,)."""

    @abstractmethod
    def value_and_grad(
        self, scores: Array, labels: Array, *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the loss of each lane's batch, and its gradient, shaped like the scores."""


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax of scores; with log_eps = 0 its negative log-likelihood.

    ::

        y = softmax(scores)
        loss = mean or sum over the batch of −log(y[label] + log_eps)
        d loss / d scores = (y − t)/n, or y − t for the sum          t: one-hot labels, n: batch

    With ``log_eps`` the gradient leaves it out, as the textbook does.

    Source: K. Saitoh, "Deep Learning from Scratch", sections 4.2.4 and 5.6.3.
    """

    log_eps: float = 0.0
    reduction: Reduction = "mean"

    def per_example(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        """Return −log(y[label] + log_eps) of each example, shape (lanes, batch)."""
        return work.softmax_losses(scores, labels, self.log_eps)[0]

    @override
    def value(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        return self._reduce(self.per_example(scores, labels, work=work), work.xp)

    def value_and_grad(
        self, scores: Array, labels: Array, *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the mean or the sum over each lane's batch, and its gradient without log_eps."""
        losses, grad = work.softmax_losses(scores, labels, self.log_eps)
        if self.reduction == "mean":
            work.into(grad, work.xp.divide, grad, scores.shape[1])
        return self._reduce(losses, work.xp), grad

    def _reduce(self, losses: Array, xp: Namespace) -> Array:
        return (xp.mean if self.reduction == "mean" else xp.sum)(losses, axis=-1)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """The mean of squared differences between outputs and targets, both (…, batch, outputs).

    ::

        loss = mean over the batch and outputs of (y − t)²
        d loss / d y = 2 (y − t)/(n·m)                     n: batch, m: outputs

    This is PyTorch's ``MSELoss``; there is no ½.
    """

    @override
    def per_example(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        return work.xp.mean((scores - self._targets(scores, labels, work.xp)) ** 2, axis=-1)

    @override
    def value(self, scores: Array, labels: Array, *, work: Workspace) -> Array:
        return work.xp.mean(self.per_example(scores, labels, work=work), axis=-1)

    @override
    def value_and_grad(
        self, scores: Array, labels: Array, *, work: Workspace
    ) -> tuple[Array, Array]:
        xp = work.xp
        difference = scores - self._targets(scores, labels, xp)
        losses = xp.mean(difference**2, axis=-1)
        _, batch, outputs = scores.shape
        return xp.mean(losses, axis=-1), difference * (2.0 / (batch * outputs))

    def _targets(self, scores: Array, labels: Array, xp: Namespace) -> Array:
        return xp.astype(labels, scores.dtype, copy=False)


MSE = "mse"
"""The loss of a regression."""

LOSS_NAMES = ("cross-entropy", "nll-mean", "nll-sum", MSE)


def make_loss(name: str, log_eps: float = 0.0) -> Loss:
    """Return the loss of that name: one of :data:`LOSS_NAMES`.

    ``cross-entropy`` is the mean with ``log_eps``; ``nll-mean`` and ``nll-sum`` are the mean and
    the summed negative log-likelihood, which have no log_eps; ``mse`` is the mean squared error.
    """
    match name:
        case "cross-entropy":
            return SoftmaxCrossEntropy(log_eps)
        case "nll-mean":
            return SoftmaxCrossEntropy()
        case "nll-sum":
            return SoftmaxCrossEntropy(reduction="sum")
        case "mse":
            return MeanSquaredError()
    raise SuiteError(f"unknown loss '{name}'; {nearest(name, LOSS_NAMES)}")


def zero_one_errors(scores: Array, labels: Array, *, xp: Namespace) -> Array:
    """Return which examples are classified wrongly: bool, shape (lanes, batch).

    The class with the largest score is chosen, and the first where several are equal.
    """
    return xp.argmax(scores, axis=-1) != xp.astype(labels, xp.int64)
