"""The final and the best loss of lanes, summed up while their rows come."""

from collections.abc import Mapping

import numpy as np

from optbench.records import averaged_rows, final_and_best


class RunningSummary:
    """What the rows of a block's lanes come to, in memory that does not grow with them.

    Both losses are means over windows of rows, as wide as :func:`averaged_rows` of the updates that
    a lane has made in the end. Rows are held until that is certain: at once for lanes that nothing
    stops early, else within the first thousand rows, after which it grows no more. From then on the
    rows of the last window and the smallest mean so far suffice.

    Parameters
    ----------
    lanes
        How many there are.
    iterations
        Updates of a lane that nothing ends before.
    stochastic
        See :func:`averaged_rows`.
    may_stop
        Whether a rule may stop lanes before their last update.
    """

    def __init__(self, lanes: int, iterations: int, *, stochastic: bool, may_stop: bool) -> None:
        self._iterations = iterations
        self._stochastic = stochastic
        self._may_stop = may_stop
        self._held = [np.zeros((0, lanes))]
        self._best = np.full(lanes, np.inf)  # mean of all windows but those of the rows held

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that it remembers, by its name in checkpoints."""
        return {"held": np.concatenate(self._held), "smallest_mean": self._best}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from an earlier :attr:`state`."""
        self._held = [state["held"]]
        self._best = state["smallest_mean"]

    def enter(self, loss: np.ndarray) -> None:
        """Take rows of all lanes left, shape (rows, lanes), that follow those before."""
        self._held.append(loss)

    def drop(self, left: np.ndarray) -> None:
        """Go on with the lanes at some indices."""
        self._held = [loss[:, left] for loss in self._held]
        self._best = self._best[left]

    def of(self, lanes: np.ndarray, updates: int, beyond: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the final and the best loss of the lanes at some indices.

        ``updates`` is how many they have made, ``beyond`` how many rows follow their last one.
        """
        loss = np.concatenate([loss[:, lanes] for loss in self._held])
        with np.errstate(over="ignore"):
            final, best = final_and_best(loss[: len(loss) - beyond].T, self._averaged(updates))
        return final, np.minimum(best, self._best[lanes])

    def condense(self, updates: int, *, entirely: bool = False) -> None:
        """Let go of rows that no window needs any more; all lanes have made so many updates.

        Unless it is done ``entirely``, a row is copied twice at most.
        """
        width = self._averaged(self._iterations)
        if self._may_stop and self._averaged(updates) < width:
            return
        if sum(map(len, self._held)) < (width if entirely else 2 * width):
            return
        # Windows of one row need not be looked for across two pieces.
        pieces = self._held if width == 1 else [np.concatenate(self._held)]
        with np.errstate(over="ignore", invalid="ignore"):  # some may be about to diverge
            for piece in filter(len, pieces):
                self._best = np.minimum(self._best, final_and_best(piece.T, width)[1])
        self._held = [pieces[-1][-width:].copy()]

    def _averaged(self, updates: int) -> int:
        return averaged_rows(updates, stochastic=self._stochastic)
