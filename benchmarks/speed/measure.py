"""Timing in turn, and what is left of many samples: a median and its spread."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Timed = Callable[[], float]
"""Does some work and returns the seconds that one unit of it took."""

Samples = dict[str, dict[str, list[float]]]
"""Seconds by contender and case, one a round."""

REST_SECONDS = 0.05
"""Between contenders: idle threads of the one before spin for a while before they sleep."""


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some samples."""

    median: float
    lowest: float
    highest: float
    samples: int


def spread(samples: Sequence[float]) -> Spread:
    """Return the spread of at least one sample.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, lowest=1.0, highest=3.0, samples=3)
    """
    return Spread(median(samples), min(samples), max(samples), len(samples))


def pooled(samples: Mapping[str, Sequence[float]]) -> Spread:
    """Return the spread of the samples of all cases together."""
    return spread([value for values in samples.values() for value in values])


def interleave(
    contenders: Mapping[str, Mapping[str, Timed]],
    rounds: int,
    say: Callable[[str], None] = lambda line: None,
) -> Samples:
    """Time every contender once a case and round, all contenders of a case right after each other.

    What slows the machine down for a while then slows all of them, and not the one that was on.

    Parameters
    ----------
    contenders
        By name and case.
    rounds
        How often.
    say
        Told which round begins.
    """
    samples: Samples = {name: {case: [] for case in each} for name, each in contenders.items()}
    cases = dict.fromkeys(case for each in contenders.values() for case in each)
    for number in range(1, rounds + 1):
        for case in cases:
            say(f"round {number} of {rounds}: {case}")
            for name, each in contenders.items():
                if case in each:
                    gc.collect()
                    time.sleep(REST_SECONDS)
                    samples[name][case].append(each[case]())
    return samples


def timed(work: Callable[[], object], units: int) -> float:
    """Return the seconds that one of ``units`` of some work took."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / units
