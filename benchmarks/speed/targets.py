"""What optbench wants to reach on 2 cores, and whether a run of the benchmark did."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.speed import cluster, function, network, processes
from benchmarks.speed.contenders import LIBRARIES
from benchmarks.speed.measure import pooled

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """A figure, what it is to reach, and how it is written.

    Attributes
    ----------
    found
        None where the run did not measure it.
    at_most
        Whether ``to_reach`` is a limit from above.
    """

    name: str
    to_reach: float
    found: float | None
    unit: str = "×"
    at_most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the figure reaches it; None where it was not measured."""
        if self.found is None:
            return None
        return self.found <= self.to_reach if self.at_most else self.found >= self.to_reach


def medians(section: Mapping[str, Any]) -> dict[str, float]:
    """Return the median seconds a lane-step of each contender over all cases and rounds."""
    times = section.get("seconds_per_lane_step", {})
    return {name: pooled(cases).median for name, cases in times.items()}


def share_of_product_rate(section: Mapping[str, Any], seconds: float) -> float:
    """Return the share of the machine's matrix-product rate at which a lane-step is computed."""
    rate = pooled(section["flop_per_second"]).median
    return float(section["flop_per_lane_step"] / seconds / rate)


def targets(sections: Sections) -> list[Target]:
    """Return all targets with what the run found."""
    return [*_network(sections), *_function(sections), *_whole_runs(sections)]


def _network(sections: Sections) -> list[Target]:
    section = sections.get("network", {})
    times = medians(section)

    def over(name: str, seeds: int) -> float | None:
        return times[name] / times[network.optbench(seeds)] if name in times else None

    lanes = times.get(network.optbench(4))
    share = None if lanes is None else share_of_product_rate(section, lanes)
    one, five = "4 optimizers, 1 seed", "4 optimizers, 5 seeds"
    return [
        Target(f"{one}: PyTorch eager", 2.5, over(network.PYTORCH, 1)),
        Target(f"{one}: JAX scan of each optimizer", 1.2, over(network.JAX, 1)),
        Target(f"{five}: PyTorch eager", 3.0, over(network.PYTORCH, 5)),
        Target(f"{five}: the textbook's loop", 8.0, over(network.TEXTBOOK, 5)),
        Target("4 optimizers, 4 seeds: matrix-product rate", 0.6, share, "share"),
    ]


def _function(sections: Sections) -> list[Target]:
    times = medians(sections.get("function", {}))
    most = function.optbench(max(function.STEPS))
    over = times[function.TEXTBOOK] / times[most] if most in times else None
    rows = sections.get("parquet", {}).get("rows_per_second")
    slowest = max(sections.get("rules", {}).get("ratios", {}).values(), default=None)
    return [
        Target("function, 10,000 lanes: the textbook's loop", 700.0, over),
        Target("slowest element-wise rule: Adam's step", 1.3, slowest, "×", at_most=True),
        Target("trace to parquet", 8.0, rows and median(rows) / 1e6, "million rows/s"),
    ]


def _whole_runs(sections: Sections) -> list[Target]:
    shares = sections.get("overhead", {}).get("shares")
    memory = sections.get("memory", {})
    own = sections.get("tuning", {}).get("studies", {}).get("network", {}).get("share")
    seconds = sections.get("processes", {}).get("seconds", {})
    beside = sections.get("models", {}).get("ratios", {})
    limits = {processes.HELP: 0.25, processes.RUN: 0.9}
    on_cluster = sections.get("cluster", {}).get("seconds", {})
    times = {
        place: {name: median(each) for name, each in ways.items()}
        for place, ways in on_cluster.items()
    }
    there, here = times.get(cluster.CLUSTER), times.get(cluster.HERE)
    faster = there and there[cluster.ONE] / there[cluster.TWO]
    dask = there and here and there[cluster.TWO] / here[cluster.TWO] - 1
    return [
        Target("cluster: two workers over one", 1.85, faster),
        Target("cluster: Dask with two workers beside none", 0.03, dask, "share", at_most=True),
        Target("logging and display", 0.02, shares and median(shares), "share", at_most=True),
        Target("a study's own work beside its lanes", 0.05, own, "share", at_most=True),
        *(
            Target(f"{title} model: plain loop of vmap", 1.3, beside.get(title), "×", at_most=True)
            for title in LIBRARIES.values()
        ),
        Target("peak memory, 64 lanes of Adam", 1.3, memory.get("ratio"), "×", at_most=True),
        Target("peak memory at 10 times the iterations", 1.2, memory.get("long_ratio"), "×", True),
        *(
            Target(name, limit, median(seconds[name]) if name in seconds else None, "s", True)
            for name, limit in limits.items()
        ),
    ]
