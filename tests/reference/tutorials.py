"""The tutorials' multilayer perceptron, trained with early stopping.

The equations and the loop are those of the "Deep Learning Tutorials" (LISA lab, University of
Montreal), "Multilayer Perceptron" and "Early-Stopping", with NumPy in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Split = tuple[np.ndarray, np.ndarray]
"""Images (n, features) and integer labels (n,)."""


class TutorialMLP:
    """softmax(tanh(x·W1 + b1)·W2 + b2); the cost is the mean NLL plus l2·ΣW², without ½."""

    def __init__(self, params: Mapping[str, np.ndarray], l2: float):
        self.params = {key: np.array(value, dtype=np.float64) for key, value in params.items()}
        self.l2 = l2

    def _probabilities(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = self.params
        hidden = np.tanh(x @ p["W1"] + p["b1"])
        powers = np.exp(hidden @ p["W2"] + p["b2"])
        return hidden, powers / powers.sum(axis=1, keepdims=True)

    def negative_log_likelihood(self, x: np.ndarray, y: np.ndarray) -> float:
        return -float(np.log(self._probabilities(x)[1][np.arange(len(y)), y]).mean())

    def errors(self, x: np.ndarray, y: np.ndarray) -> float:
        return float((self._probabilities(x)[1].argmax(axis=1) != y).mean())

    def train(self, x: np.ndarray, y: np.ndarray, lr: float) -> tuple[float, float]:
        """Make one update; return cost and penalty as they were before it."""
        p = self.params
        penalty = self.l2 * float((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())
        hidden, probabilities = self._probabilities(x)
        chosen = probabilities[np.arange(len(y)), y]
        d_scores = probabilities.copy()
        d_scores[np.arange(len(y)), y] -= 1.0
        d_scores /= len(y)
        d_hidden = (d_scores @ p["W2"].T) * (1.0 - hidden**2)
        grads = {
            "W1": x.T @ d_hidden + 2.0 * self.l2 * p["W1"],
            "b1": d_hidden.sum(axis=0),
            "W2": hidden.T @ d_scores + 2.0 * self.l2 * p["W2"],
            "b2": d_scores.sum(axis=0),
        }
        for key, gradient in grads.items():
            p[key] -= lr * gradient
        return penalty - float(np.log(chosen).mean()), penalty


@dataclass
class EarlyStopping:
    """What the tutorials' loop saw; updates are counted from 1."""

    rows: list[tuple[float, float]]
    validation: dict[int, float]
    best_updates: int
    best_error: float
    test: tuple[float, float]
    ended: bool


def train_until_patience(
    mlp: TutorialMLP,
    splits: Sequence[Split],
    *,
    lr: float,
    epochs: int,
    patience: float,
    batch_size: int = 20,
    patience_increase: float = 2,
    improvement_threshold: float = 0.995,
) -> EarlyStopping:
    """Train on the first split, watch the second, test on the third whenever it is best there."""
    (train_x, train_y), validation, test = splits
    n_train_batches = len(train_y) // batch_size
    validation_frequency = min(n_train_batches, patience // 2)
    found = EarlyStopping([], {}, 0, np.inf, (np.nan, np.nan), ended=False)
    for epoch in range(epochs):
        for minibatch in range(n_train_batches):
            here = slice(minibatch * batch_size, (minibatch + 1) * batch_size)
            iteration = epoch * n_train_batches + minibatch
            found.rows.append(mlp.train(train_x[here], train_y[here], lr))
            if (iteration + 1) % validation_frequency == 0:
                error = found.validation[iteration + 1] = mlp.errors(*validation)
                if error < found.best_error:
                    if error < found.best_error * improvement_threshold:
                        patience = max(patience, iteration * patience_increase)
                    found.best_error, found.best_updates = error, iteration + 1
                    found.test = mlp.negative_log_likelihood(*test), mlp.errors(*test)
            if patience <= iteration:
                found.ended = True
                return found
    return found
