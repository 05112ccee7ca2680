"""The lanes of a comparison in groups, with what is judged of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.checks.comparison import Comparison
from optbench.checks.metric import log_losses
from optbench.checks.pairs import Pair


@dataclass(frozen=True)
class Measured:
    """A group and the metric of its lanes.

    Attributes
    ----------
    then, now
        float64, shape (seeds of the family,); NaN where a lane of the pair has no finite loss.
    random
        Whether seeds make a difference.
    finite_then, finite_now
        Lanes with a finite final loss on each side, whatever their partner has.
    lanes
        Pairs of lanes.
    """

    problem: str
    label: str
    then: np.ndarray
    now: np.ndarray
    random: bool = True
    configuration: int = 0
    setting: str = ""
    finite_then: int = 0
    finite_now: int = 0
    lanes: int = 0

    @property
    def difference(self) -> np.ndarray:
        """Now − then, shape (seeds,)."""
        difference: np.ndarray = self.now - self.then
        return difference

    @property
    def seeds(self) -> int:
        """Pairs with a metric on both sides."""
        return int(np.isfinite(self.difference).sum())


def measure(comparison: Comparison) -> list[Measured]:
    """Return the groups of a comparison with the metric of their lanes."""
    matching = comparison.matching
    seeds = sorted({pair.seed for pair in matching.pairs})
    starts = _starts(comparison)
    return [_measured(comparison, pairs, seeds, starts) for pairs in matching.groups()]


def _measured(
    comparison: Comparison,
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    starts: Mapping[int, float],
) -> Measured:
    matching, first = comparison.matching, pairs[0]
    losses = np.array(
        [
            (matching.then[pair.then]["final_loss"], matching.now[pair.now]["final_loss"])
            for pair in pairs
        ],
        dtype=np.float64,
    )
    each = np.isfinite(losses)
    finite = each.all(axis=1)
    metrics = np.full((2, len(seeds)), np.nan)
    if finite.any():
        start = [starts.get(pair.then, np.nan) for pair in pairs]
        where = [seeds.index(pair.seed) for pair in pairs]
        metrics[:, np.array(where)[finite]] = log_losses(
            losses[finite, 0],
            losses[finite, 1],
            float(np.median(start)),
            comparison.problems_then[first.problem],
        )
    described = comparison.problems_now[first.problem]
    return Measured(
        first.problem,
        first.label,
        metrics[0],
        metrics[1],
        random=_is_random(described, losses[finite]),
        configuration=first.configuration,
        setting=first.setting,
        finite_then=int(each[:, 0].sum()),
        finite_now=int(each[:, 1].sum()),
        lanes=len(pairs),
    )


def _starts(comparison: Comparison) -> dict[int, float]:
    """Return the first stored loss of each lane of the baseline."""
    trace = comparison.baseline.trace.sort_values(["lane", "iteration"], kind="stable")
    first = trace.drop_duplicates("lane")
    return dict(zip(first["lane"].astype(int), first["loss"].astype(float), strict=True))


def _is_random(problem: Mapping[str, Any], losses: np.ndarray) -> bool:
    """Say whether seeds make a difference, from what a run tells of its problem and final losses.

    Where several seeds gave losses that differ, they do, whatever draws; where all have one start
    and one stream, or the losses are alike on both sides, they do not. A single seed tells nothing;
    then it counts whether the problem's definition names random streams.
    """
    if len(losses) > 1:
        return bool((losses != losses[0]).any())
    if "random" in problem:
        return bool(problem["random"])
    digests = list((problem.get("stream_digests") or {}).values())
    if len(digests) > 1:
        return len(set(digests)) > 1
    return bool((problem.get("definition") or {}).get("streams"))
