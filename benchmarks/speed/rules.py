"""A step of the network with each element-wise rule, beside one with Adam."""

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.speed import ours
from benchmarks.speed.measure import interleave
from optbench.optimizers.base import Elementwise
from optbench.optimizers.registry import OPTIMIZERS

LANES = 4
BESIDE = "adam"
CASE = f"{LANES} lanes"


def elementwise() -> list[str]:
    """Return the names of all element-wise rules, Adam's first."""
    names = [name for name, rule in OPTIMIZERS.items() if issubclass(rule, Elementwise)]
    return sorted(names, key=lambda name: name != BESIDE)


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time all rules in turn; return their seconds a lane-step and the ratios to Adam's."""
    contenders = {}
    for name in elementwise():
        ours.compile_rules([name], LANES, function=False)
        suite = ours.network_suite({name: 1e-4}, LANES, 16 if quick else 64)
        ours.leave_out(suite)
        plan = ours.plan_of(suite)
        contenders[name] = {CASE: lambda plan=plan: ours.seconds_per_lane_step(plan)}
    samples = interleave(contenders, rounds, say)
    medians = {name: median(cases[CASE]) for name, cases in samples.items()}
    return {
        "lanes": LANES,
        "seconds_per_lane_step": samples,
        "ratios": {name: each / medians[BESIDE] for name, each in medians.items()},
    }


def worst(section: dict[str, Any]) -> tuple[str, float]:
    """Return the rule whose step takes longest, and its ratio to Adam's.

    >>> worst({"ratios": {"adam": 1.0, "rprop": 1.1}})
    ('rprop', 1.1)
    """
    return max(section["ratios"].items(), key=lambda each: each[1])
