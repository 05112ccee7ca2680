"""Losses stacked over lanes."""

from dataclasses import dataclass

from optbench.arrays import Array, Namespace


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """Mean cross-entropy of the softmax of scores.

    ::

        y = softmax(scores)
        loss = mean over the batch of −log(y[label] + log_eps)
        d loss / d scores = (y − t)/n          t: one-hot labels, n: batch

    With ``log_eps`` the gradient leaves it out, as the textbook does. Scores have shape (lanes,
    batch, classes), labels (lanes, batch), or (1, batch) where all lanes share them.

    Source: K. Saitoh, "Deep Learning from Scratch", sections 4.2.4 and 5.6.3.
    """

    log_eps: float = 0.0

    def per_example(self, scores: Array, labels: Array, *, xp: Namespace) -> Array:
        """Return the loss of each example, shape (lanes, batch)."""
        return self._losses(scores, _one_hot(labels, scores, xp), xp)[0]

    def mean(self, scores: Array, labels: Array, *, xp: Namespace) -> Array:
        """Return the mean loss of each lane, shape (lanes,)."""
        return xp.mean(self.per_example(scores, labels, xp=xp), axis=-1)

    def mean_and_grad(self, scores: Array, labels: Array, *, xp: Namespace) -> tuple[Array, Array]:
        """Return the mean loss of each lane, and its gradient, shaped like the scores."""
        target = _one_hot(labels, scores, xp)
        losses, y = self._losses(scores, target, xp)
        grad = (y - xp.astype(target, scores.dtype)) / scores.shape[1]
        return xp.mean(losses, axis=-1), grad

    def _losses(self, scores: Array, target: Array, xp: Namespace) -> tuple[Array, Array]:
        shifted = scores - xp.max(scores, axis=-1, keepdims=True)
        exponentials = xp.exp(shifted)
        total = xp.sum(exponentials, axis=-1, keepdims=True)
        y = exponentials / total
        if self.log_eps:
            return -xp.log(_pick(y, target, xp) + self.log_eps), y
        return xp.log(total[..., 0]) - _pick(shifted, target, xp), y


def _one_hot(labels: Array, scores: Array, xp: Namespace) -> Array:
    return labels[..., None] == xp.arange(scores.shape[-1], dtype=labels.dtype)


def _pick(values: Array, target: Array, xp: Namespace) -> Array:
    """Return the value at each label; adding zeros changes no bit."""
    return xp.sum(xp.where(target, values, xp.zeros((), dtype=values.dtype)), axis=-1)
