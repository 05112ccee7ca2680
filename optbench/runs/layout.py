"""From a suite to lanes, and from lanes to blocks."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import groupby, product
from math import ceil
from typing import Any

import numpy as np

from optbench.engine.block import Block, Group, is_users
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import NUMERICS_VERSION, Lane
from optbench.suite.resolve import ResolvedProblem, Suite

WORTH_SHARING = 2**16
"""Parameters of all lanes of a block below which it is not halved for another worker: operations on
so few take less time than two threads lose waiting for the interpreter's lock."""


CALL_SECONDS, COST_SECONDS = 50e-6, 0.25e-9
"""About what a step takes on a core of a current CPU: for its calls, and for each unit of cost."""

CLUSTER_SECONDS = 10.0
"""About how long a block on a cluster takes at least."""

CLUSTER_SHARE = 10.0
"""How many times as long as its calls alone a block on a cluster takes at least: each block has
these for itself, however few its lanes are."""

CLUSTER_BLOCKS = 1024
"""Into how many blocks a problem's lanes are cut for a cluster, at most, if not for memory."""


def lay_out(suite: Suite, device_kind: str) -> tuple[Lane, ...]:
    """Return all lanes of a suite: by problem, optimizer entry, grid point, then seed."""
    lanes: list[Lane] = []
    for resolved in suite.problems:
        fingerprint = resolved.problem.fingerprint
        for entry in resolved.optimizers:
            seeds = suite.seeds_of(resolved, entry)
            for configuration, seed in product(entry.configurations, seeds):
                decisive = {  # all that decides the lane's trace
                    "fingerprint": fingerprint,
                    "optimizer": entry.optimizer.identity(),
                    "hyperparameters": dict(configuration),
                    "schedule": "constant",
                    "seed": seed,
                    "iterations": resolved.iterations,
                    "evaluation": resolved.rules.evaluate_every or "end",
                    "stopping": resolved.rules.stopping(),
                    "device": device_kind,
                    "numerics_version": NUMERICS_VERSION,
                }
                lane = Lane(
                    number=len(lanes),
                    key=hashlib.sha256(_canonical(decisive).encode()).hexdigest(),
                    problem=resolved.label,
                    optimizer=entry.name,
                    label=entry.label,
                    hyperparameters=configuration,
                    seed=seed,
                    fingerprint=fingerprint,
                )
                lanes.append(lane)
    return tuple(lanes)


def _canonical(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def plan_blocks(
    suite: Suite,
    lanes: Iterable[Lane],
    block_bytes: int,
    workers: int = 1,
    *,
    by_time: bool = False,
) -> tuple[Block, ...]:
    """Group lanes into blocks; a function of the lanes and of what the device gives a block.

    Lanes of one problem go together, whatever their rules, as many as keep the arrays of a block
    within ``block_bytes``. Where they are :data:`WORTH_SHARING`, their number of blocks is a
    multiple of ``workers``. Blocks of a problem cost about the same, and lanes of one seed, which
    take the same batches, stay together where they can. Users' code runs in one worker at a time,
    so that among several workers lanes of users' rules get blocks of their own.

    Blocks for the CPUs of a cluster are cut ``by_time``: so that each takes ten seconds or more,
    also where workers are more, since these come and go. Users' code has blocks of its own there
    too: it may end a worker, and its block then fails as a whole.
    """
    optimizers = {
        (resolved.label, entry.label): entry.optimizer
        for resolved in suite.problems
        for entry in resolved.optimizers
    }
    names = {key: _canonical(optimizer.identity()) for key, optimizer in optimizers.items()}

    def optimizer_of(lane: Lane) -> Optimizer:
        return optimizers[lane.problem, lane.label]

    def common(problem: str, label: str, hyperparameters: Iterable[str]) -> tuple[str, ...]:
        """Return what lanes of a group share: rule, and names of hyperparameters."""
        return names[problem, label], *sorted(hyperparameters)

    # Groups are in the order of the suite, so that a block planned alone is as among the others.
    ranks: dict[tuple[str, ...], int] = {}
    for resolved in suite.problems:
        for entry in resolved.optimizers:
            for configuration in entry.configurations:
                ranks.setdefault(common(resolved.label, entry.label, configuration), len(ranks))
    lanes = sorted(lanes, key=lambda lane: lane.number)
    group_of_lane = {
        lane.number: ranks[common(lane.problem, lane.label, lane.hyperparameters)] for lane in lanes
    }

    def by_group(lane: Lane) -> tuple[int, int, int]:
        return group_of_lane[lane.number], lane.seed, lane.number

    def by_seed(lane: Lane) -> tuple[int, int, int]:
        return lane.seed, group_of_lane[lane.number], lane.number

    parts: list[tuple[ResolvedProblem, list[Lane]]] = []
    for resolved in suite.problems:
        problem = resolved.problem
        of_problem = sorted((lane for lane in lanes if lane.problem == resolved.label), key=by_seed)
        several = workers > 1 or by_time
        for members, shares in _by_owner(of_problem, problem, optimizer_of, several=several):
            worth = len(members) * problem.parameters > WORTH_SHARING
            sharing = fewest = workers if worth and (shares or by_time) else 1
            costs = np.array([lane_cost(problem, optimizer_of(lane)) for lane in members])
            if worth and by_time:
                updates = resolved.rules.pause_at or resolved.iterations
                fewest = _parts_by_time(updates, float(costs.sum()), sharing)
            for part in _cut(
                costs,
                np.array([lane_bytes(problem, optimizer_of(lane)) for lane in members]),
                max(block_bytes, problem.least_block_bytes),
                sharing,
                fewest,
            ):
                parts.append((resolved, sorted((members[place] for place in part), key=by_group)))
    return tuple(
        Block(
            number,
            resolved.problem,
            resolved.iterations,
            tuple(
                Group(copy(optimizer_of(group[0])), tuple(group))
                for _, lanes_of_group in groupby(part, key=lambda lane: group_of_lane[lane.number])
                for group in [list(lanes_of_group)]
            ),
            resolved.rules,
        )
        for number, (resolved, part) in enumerate(parts)
    )


def lane_bytes(problem: Problem, optimizer: Optimizer) -> int:
    """Return what one lane's parameters, gradients, slots and work arrays take in training."""
    arrays = 2 + len(optimizer.slots) + optimizer.work_arrays
    values = problem.parameters * arrays + problem.work_values
    return values * np.dtype(problem.dtype).itemsize


def block_bytes(block: Block) -> int:
    """Return what the arrays of a block take in training."""
    return sum(
        len(group.lanes) * lane_bytes(block.problem, group.optimizer) for group in block.groups
    )


def lane_cost(problem: Problem, optimizer: Optimizer) -> float:
    """Return about what a lane's step costs beside those of other lanes of its problem.

    Measured on networks, loss and gradient take about eight times as long as one pass over the
    parameters and the work arrays; a rule makes one over the parameters and one over each slot.
    """
    gradient = 8 * (problem.parameters + problem.work_values)
    return gradient + problem.parameters * (1 + len(optimizer.slots))


def block_seconds(block: Block) -> float:
    """Return about how long a block takes on one core of a current CPU; within a factor of two.

    A step has a time of its own, which is that of calls, and one that grows with what is computed.
    """
    costs = (len(group.lanes) * lane_cost(block.problem, group.optimizer) for group in block.groups)
    return block.planned_updates * (CALL_SECONDS + COST_SECONDS * sum(costs))


def _parts_by_time(updates: int, cost: float, workers: int) -> int:
    """Return into how many blocks lanes are cut for a cluster, from the cost of their step.

    So that workers end together, each is given as many.

    >>> [_parts_by_time(1000, cost, workers=2) for cost in (1e7, 4e7, 1.2e8, 2.8e8)]
    [1, 1, 2, 6]
    """
    least = max(CLUSTER_SECONDS, CLUSTER_SHARE * CALL_SECONDS * updates)
    parts = max(1, min(CLUSTER_BLOCKS, int(updates * COST_SECONDS * cost / least)))
    return parts - parts % workers if parts > workers else parts


def _by_owner(
    lanes: Sequence[Lane],
    problem: Problem,
    optimizer_of: Callable[[Lane], Optimizer],
    *,
    several: bool,
) -> Iterator[tuple[list[Lane], bool]]:
    """Yield the lanes that ``several`` workers share, and those that run in one of them at a time.

    These are the lanes of users' code.
    """
    users = [is_users(problem) or is_users(optimizer_of(lane)) for lane in lanes]
    if not several or all(users):
        yield list(lanes), False
        return
    yield [lane for lane, is_own in zip(lanes, users, strict=True) if not is_own], True
    yield [lane for lane, is_own in zip(lanes, users, strict=True) if is_own], False


def _cut(
    costs: np.ndarray, sizes: np.ndarray, most: int, multiple: int, fewest: int
) -> Iterator[tuple[int, ...]]:
    """Cut lanes in order into parts of about equal cost, as few as will do.

    Parameters
    ----------
    costs, sizes
        Of each lane.
    most
        The largest sum of sizes of a part that has several lanes.
    multiple
        Of what the number of parts is one, unless there are fewer lanes or fewer parts will do.
    fewest
        The least number of parts.
    """
    lanes = len(costs)
    ends = np.cumsum(costs)
    least = max(fewest, ceil(sizes.sum() / most))
    step = multiple if least >= multiple else 1
    for count in range(step * ceil(least / step), lanes, step):
        part_of_lane = ((ends - costs / 2) / ends[-1] * count).astype(np.int64)
        fits = np.bincount(part_of_lane, weights=sizes) <= most
        if (fits | (np.bincount(part_of_lane) == 1)).all():
            break
    else:
        part_of_lane = np.arange(lanes)
    for part in np.unique(part_of_lane):
        yield tuple(np.flatnonzero(part_of_lane == part).tolist())
