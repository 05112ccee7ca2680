"""When lanes are evaluated and when they stop before their last iteration.

This is bookkeeping on the host: :class:`Rules` says what was asked for, and :class:`Patience`
decides from validation errors. The stepping loop asks and acts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

PATIENCE_INCREASE = 2.0
IMPROVEMENT_THRESHOLD = 0.995


@dataclass(frozen=True)
class Rules:
    """What decides, besides the number of iterations, when lanes are evaluated and when they end.

    Attributes
    ----------
    evaluate_every
        Updates from one evaluation of all splits to the next, the first before any update; None
        evaluates once, at the end.
    loss
        A lane stops at its first row with a loss of at most this.
    grad_norm
        A lane stops at its first row where the Euclidean norm of the gradient is at most this.
    patience
        Iterations that every lane gets at least; see :class:`Patience`. None: no early stopping.
    patience_increase
        A clear improvement at iteration k makes the patience at least k times this.
    improvement_threshold
        An improvement is clear if the error falls below the best one times this.
    pause_at
        Updates, fewer than all, after which lanes pause with a checkpoint, from which another run
        takes those up that are to go on. It changes no bit of them, and so is no stopping rule.
    """

    evaluate_every: int | None = None
    loss: float | None = None
    grad_norm: float | None = None
    patience: int | None = None
    patience_increase: float = PATIENCE_INCREASE
    improvement_threshold: float = IMPROVEMENT_THRESHOLD
    pause_at: int | None = None

    @property
    def may_stop(self) -> bool:
        """Whether a lane may end, or pause, before its last update."""
        return self.pause_at is not None or self.stopping() is not None

    @property
    def watches_rows(self) -> bool:
        """Whether any row may be a lane's last."""
        return self.loss is not None or self.grad_norm is not None

    def stopping(self) -> dict[str, Any] | None:
        """Return the stopping rules as plain data, or None where there are none."""
        plain = asdict(self)
        del plain["evaluate_every"], plain["pause_at"]
        if self.patience is None:
            del plain["patience_increase"], plain["improvement_threshold"]
        return {name: value for name, value in plain.items() if value is not None} or None


class Patience:
    """Early stopping by patience, lane by lane.

    With iterations counted from 0, the validation error is seen after iteration k where k + 1
    is a multiple of ``frequency`` = min(batches per epoch, patience/2). Where it is below the best
    one so far it becomes the best; where it is also below best × improvement_threshold, the
    patience becomes max(patience, k × patience_increase). A lane ends after the first iteration
    that is at least its patience.

    Source: "Deep Learning Tutorials", LISA lab, University of Montreal, "Early-Stopping" in
    "Getting Started", and the training loop of ``mlp.py``.

    Parameters
    ----------
    rules
        With a patience.
    lanes
        How many.
    batches_per_epoch
        Minibatches that go once through the training data.

    Attributes
    ----------
    frequency
        Updates from one validation to the next.
    best
        The smallest validation error of each lane, infinite before the first validation.
    best_update_counts
        How many updates had been made then.
    """

    def __init__(self, rules: Rules, lanes: int, batches_per_epoch: int) -> None:
        if rules.patience is None:
            raise ValueError("early stopping needs a patience")
        self._rules = rules
        self._patience = np.full(lanes, float(rules.patience))
        self.frequency = max(1, min(batches_per_epoch, rules.patience // 2))
        self.best = np.full(lanes, np.inf)
        self.best_update_counts = np.zeros(lanes, dtype=np.int64)

    def validate(self, update_count: int, error: np.ndarray) -> np.ndarray:
        """Take each lane's validation error after so many updates; return which are its best.

        A lane whose error is NaN has not improved.
        """
        iteration = update_count - 1
        better: np.ndarray = error < self.best
        clearly = error < self.best * self._rules.improvement_threshold
        longer = np.maximum(self._patience, iteration * self._rules.patience_increase)
        self._patience = np.where(clearly, longer, self._patience)
        self.best = np.where(better, error, self.best)
        self.best_update_counts = np.where(better, update_count, self.best_update_counts)
        return better

    @property
    def end_update_counts(self) -> np.ndarray:
        """After how many updates each lane ends, unless it improves before: int64."""
        most = np.minimum(self._patience, 2.0**62)  # patience may grow beyond all integers
        counts: np.ndarray = np.ceil(most).astype(np.int64) + 1
        return counts

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that it remembers, by its name in checkpoints."""
        return {
            "patience": self._patience,
            "best": self.best,
            "best_updates": self.best_update_counts,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from an earlier :attr:`state`."""
        self._patience = state["patience"]
        self.best = state["best"]
        self.best_update_counts = state["best_updates"]
