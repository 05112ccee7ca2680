"""What is judged: one number for each lane, whose differences are relative changes of the loss.

The metric is that of :mod:`optbench.inference.metric`, of a group's lanes then and now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.gate.comparison import Comparison, Pair
from optbench.report.configurations import loss_scale


def log_losses(
    then: np.ndarray, now: np.ndarray, start: float, problem: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the metric of the lanes of a group, from finite final losses of shape (seeds,).

    ``start`` is the loss at the start of the baseline's lanes, ``problem`` its entry in run.json.

    >>> known = {"kind": "function", "minima": [{"value": 1.0}], "batch_size": None}
    >>> then, now = log_losses(np.array([1.1]), np.array([1.2]), 6.0, known)
    >>> round(float(np.exp(now - then)[0]), 6)
    2.0
    """
    losses = np.stack([then, now])
    metric_then, metric_now = loss_scale(problem, losses, start).log(losses)
    return metric_then, metric_now


@dataclass(frozen=True)
class MeasuredGroup:
    """A group of so many ``lanes`` (pairs) with their metric, and whether seeds make a difference.

    ``then`` and ``now`` have the shape (seeds of the family,), NaN where a lane of the pair has no
    finite loss; ``finite_then`` and ``finite_now`` count lanes that have one, whatever their
    partners have.
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


def measure(comparison: Comparison) -> list[MeasuredGroup]:
    """Return the groups of a comparison with the metric of their lanes."""
    matching = comparison.matching
    seeds = sorted({pair.seed for pair in matching.pairs})
    trace = comparison.baseline.trace.sort_values(["lane", "iteration"], kind="stable")
    first = trace.drop_duplicates("lane")
    starts = dict(zip(first["lane"].astype(int), first["loss"].astype(float), strict=True))
    return [_measure_group(comparison, pairs, seeds, starts) for pairs in matching.groups()]


def _measure_group(
    comparison: Comparison, pairs: Sequence[Pair], seeds: Sequence[int], starts: Mapping[int, float]
) -> MeasuredGroup:
    matching, first = comparison.matching, pairs[0]
    losses = np.array(
        [
            (matching.then[pair.then]["final_loss"], matching.now[pair.now]["final_loss"])
            for pair in pairs
        ],
        dtype=np.float64,
    )
    is_finite = np.isfinite(losses)
    finite = is_finite.all(axis=1)
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
    return MeasuredGroup(
        first.problem,
        first.label,
        metrics[0],
        metrics[1],
        random=_is_random(comparison, first, losses[finite]),
        configuration=first.configuration,
        setting=first.setting,
        finite_then=int(is_finite[:, 0].sum()),
        finite_now=int(is_finite[:, 1].sum()),
        lanes=len(pairs),
    )


def _is_random(comparison: Comparison, pair: Pair, losses: np.ndarray) -> bool:
    """Say whether seeds make a difference to the lanes of a pair's group with these final losses.

    They do where several seeds gave losses that differ, and do not where all have one start and one
    stream, or losses that are alike on both sides. A single seed says nothing; then it counts
    whether the run says that problem or rule is random, or, where an earlier optbench made it,
    whether the problem's definition names random streams.
    """
    if len(losses) > 1:
        return bool((losses != losses[0]).any())
    problem = comparison.problems_now[pair.problem]
    if "random" in problem:
        entries = comparison.run.meta.get("optimizers") or ()
        rules = [entry.get("random") for entry in entries if entry["label"] == pair.label]
        return bool(problem["random"] or any(rules))
    digests = list((problem.get("stream_digests") or {}).values())
    if len(digests) > 1:
        return len(set(digests)) > 1
    return bool((problem.get("definition") or {}).get("streams"))
