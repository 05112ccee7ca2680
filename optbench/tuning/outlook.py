"""What a study takes: lanes and steps of its phases, and an estimate of its time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optbench.cluster import Cluster
from optbench.device.base import Device
from optbench.records import Lane
from optbench.runs.estimate import estimate_plan
from optbench.runs.pipeline import Plan, plan_run
from optbench.runs.reuse import Reused
from optbench.store.studies import FINAL
from optbench.suite.resolve import resolve
from optbench.tuning import rungs
from optbench.tuning.protocol import Entrant, Key, Protocol
from optbench.tuning.rounds import distinct, final_suite, next_trials, search_suite

SEARCH, FINALISTS = "search", "finalists"

PHASES = (SEARCH, FINALISTS, FINAL)
"""In their order."""


@dataclass(frozen=True)
class Share:
    """What an optimizer does on a problem in a phase, if none of its lanes ends early.

    Configurations that trials have in common are run once. In the final ``trials`` counts the
    winner and the defaults.
    """

    phase: str
    problem: str
    label: str
    trials: int
    seeds: int
    lanes: int
    steps: int


@dataclass(frozen=True)
class Outlook:
    """What a study is going to do, and how long that takes.

    Attributes
    ----------
    shares
        By phase, then problem, then optimizer.
    lane_seconds
        Of a lane of each problem from start to end with its evaluations, one worker computing.
    workers
        How many share the search.
    reused
        Lanes of the search on each problem that earlier runs have finished.
    """

    protocol: Protocol
    shares: tuple[Share, ...]
    lane_seconds: Mapping[str, float]
    workers: int
    reused: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """The time of the whole study; less where lanes end early."""
        lanes = sum(count * self.lane_seconds[problem] for problem, count in self.reused.items())
        steps = sum(share.steps * self.step_seconds[share.problem] for share in self.shares)
        return (steps - lanes) / self.workers

    @property
    def step_seconds(self) -> dict[str, float]:
        """The seconds of a lane's step on each problem, with its part of the evaluations."""
        iterations = {entrant.problem: entrant.iterations for entrant in self.protocol.entrants}
        return {
            problem: seconds / iterations[problem] for problem, seconds in self.lane_seconds.items()
        }


def shares(protocol: Protocol) -> tuple[Share, ...]:
    """Return what each optimizer does on each problem, phase by phase."""
    return (*_searches(protocol), *_retries(protocol), *_finals(protocol))


def _searches(protocol: Protocol) -> Iterator[Share]:
    adaptive = protocol.sampler == "tpe"
    tried = {} if adaptive else next_trials(protocol, {})
    for entrant in protocol.entrants:
        configurations = entrant.trials if adaptive else len(distinct(tried[entrant.key])[0])
        seeds = len(protocol.tuning_seeds)
        share = _share(SEARCH, entrant, entrant.trials, configurations, seeds)
        # With halving most lanes end at an earlier rung.
        length = rungs.steps(protocol.rungs(entrant)) / entrant.trials
        yield replace(share, steps=round(share.lanes * length))


def _retries(protocol: Protocol) -> Iterator[Share]:
    for entrant in protocol.retried:
        count = min(protocol.finalists, entrant.trials)
        yield _share(FINALISTS, entrant, count, count, len(protocol.finalist_seeds))


def _finals(protocol: Protocol) -> Iterator[Share]:
    count = 1 + protocol.defaults
    for entrant in protocol.entrants:
        yield _share(FINAL, entrant, count, count, len(protocol.evaluation_seeds))


def _share(phase: str, entrant: Entrant, trials: int, configurations: int, seeds: int) -> Share:
    seeds = seeds if entrant.random else 1
    lanes = configurations * seeds
    steps = lanes * entrant.iterations
    return Share(phase, entrant.problem, entrant.label, trials, seeds, lanes, steps)


def steps_after(
    protocol: Protocol, phase: str, tried: Mapping[Key, int], foreseen: Sequence[Share]
) -> dict[str, int]:
    """Return the steps on each problem that come after a round.

    ``tried`` counts the trials of the search up to its end, ``foreseen`` is :func:`shares`.
    """
    left = dict.fromkeys((entrant.problem for entrant in protocol.entrants), 0)
    for share in foreseen:
        if PHASES.index(share.phase) > PHASES.index(phase):
            left[share.problem] += share.steps
        elif share.phase == phase == SEARCH:
            done = tried.get((share.problem, share.label), share.trials)
            rest = max(0, share.trials - done)  # rungs of halving try some again
            left[share.problem] += share.steps * rest // share.trials
    return left


def first_plan(
    protocol: Protocol,
    device: Device,
    workers: int | None,
    data_dir: Path | None,
    cluster: Cluster | None = None,
) -> Plan:
    """Return the plan of the first round, once it is sure that the last can be run too.

    Raises
    ------
    SuiteError
        If a round has too many lanes, or labels that are too long or not distinct.
    """
    tried = next_trials(protocol, {})
    winners = {key: trials[0] for key, trials in tried.items()}
    resolve(final_suite(protocol, winners), data_dir=data_dir)
    suite = search_suite(protocol, SEARCH, tried, protocol.tuning_seeds)
    return plan_run(resolve(suite, data_dir=data_dir), device, workers, cluster=cluster)


def foresee(
    protocol: Protocol,
    plan: Plan,
    device: Device,
    reusable: Callable[[Sequence[Lane]], Sequence[Reused]] = lambda lanes: (),
) -> Outlook:
    """Return what a study is going to take, from a few steps of its first round.

    ``plan`` is :func:`first_plan`, and ``reusable`` says which lanes earlier runs have finished.
    """
    reused: dict[str, int] = {}
    for part in reusable(plan.lanes):
        for number in part.lanes:
            problem = plan.lanes[number].problem
            reused[problem] = reused.get(problem, 0) + 1
    estimates = estimate_plan(plan, device)
    lane_seconds = {each.problem: each.seconds / each.lanes for each in estimates}
    return Outlook(protocol, shares(protocol), lane_seconds, plan.workers, reused)
