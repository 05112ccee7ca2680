r"""What is judged: one number for each lane, whose differences are relative changes of the loss.

The metric is :math:`\log(\text{final loss} - m + \varepsilon)`. What m and ε are depends on the
problem alone and on all lanes of a group together, then and now alike, so that exchanging a lane of
the baseline for its partner changes neither: the test of :mod:`optbench.gate.flips` relies on it.

===================================  ==============  ==============================================
problem                              m               ε
===================================  ==============  ==============================================
function with known minima           smallest value  1,024 units of rounding of the larger of start
                                                     loss and \|m\|: 2.3e-13 of it in float64,
                                                     1.2e-4 in float32. Near its minimum a function
                                                     is the difference of much larger terms, so that
                                                     what lies below is rounding, not optimizing.
function with noise in training      smallest value  the larger of the seeds' median deviation from
                                                     their median, each the mean of then and now,
                                                     and twice the depth of the lowest lane below m:
                                                     the mean of noisy losses may be less than the
                                                     minimum, and where seeds differ by more than
                                                     the loss, a share of the loss means nothing.
everything else                      0               one unit of rounding of the start loss: a
                                                     network's loss is no difference of larger
                                                     numbers, and small ones are real.
everything else, where a final loss  the lowest of   their median size: changes are relative to the
is not positive                      the lanes       size of the loss, as no zero is known.
===================================  ==============  ==============================================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.gate.comparison import Comparison, Pair

FUNCTION_UNITS = 1024.0
"""Units of rounding below which a function's loss above its minimum says nothing."""


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
    minimum, floor = _zero_and_floor(np.stack([then, now]), start, problem)
    lowest = 0.0 if problem.get("batch_size") is None else -0.5 * floor  # rounding, or noise
    above = np.maximum(np.stack([then, now]) - minimum, lowest)
    metric_then, metric_now = np.log(above + floor)
    return metric_then, metric_now


def _zero_and_floor(
    losses: np.ndarray, start: float, problem: Mapping[str, Any]
) -> tuple[float, float]:
    """Return m and ε for the final losses of both sides, shape (2, seeds)."""
    minima = [float(minimum["value"]) for minimum in problem.get("minima") or ()]
    unit = float(np.finfo(np.dtype(problem.get("dtype") or "float64")).eps)
    start = abs(start) if np.isfinite(start) else float(np.abs(losses).max())
    smallest = float(np.finfo(np.float64).tiny)
    if not minima or problem.get("kind") != "function":
        if losses.min() > 0.0:
            return 0.0, max(unit * start, smallest)
        return float(losses.min()), max(float(np.median(np.abs(losses))), unit * start, smallest)
    minimum = min(minima)
    floor = FUNCTION_UNITS * unit * max(start, abs(minimum))
    if problem.get("batch_size") is not None:
        seeds = losses.mean(axis=0)
        spread = float(np.median(np.abs(seeds - np.median(seeds))))
        floor = max(floor, spread, 2.0 * (minimum - float(losses.min())))
    return minimum, max(floor, smallest)


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
