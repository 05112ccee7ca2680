"""From a suite to lanes, and from lanes to blocks."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from itertools import groupby, product
from math import ceil
from typing import Any

import numpy as np

from optbench.engine.block import Block, is_users
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import NUMERICS_VERSION, Lane
from optbench.suite.resolve import Suite

WORTH_SHARING = 2**16
"""Parameters of all lanes of a block below which it is not halved for another worker: operations on
so few take less time than two threads lose waiting for the interpreter's lock."""


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
    suite: Suite, lanes: Iterable[Lane], block_bytes: int, workers: int = 1
) -> tuple[Block, ...]:
    """Group lanes into blocks; a function of the lanes and of what the device gives a block.

    Lanes of one problem and one rule go together, as many as keep the arrays of a block within
    ``block_bytes``, spread evenly. While the number of blocks is not a multiple of ``workers``, the
    largest one is halved, so that no worker is idle at the end, if it is :data:`WORTH_SHARING`.
    Blocks that run users' code never share the workers, so that halving them would gain nothing.
    """
    problems = {resolved.label: resolved for resolved in suite.problems}
    rules = {
        (resolved.label, entry.label): entry.optimizer
        for resolved in suite.problems
        for entry in resolved.optimizers
    }
    names = {key: _canonical(rule.identity()) for key, rule in rules.items()}

    def common(lane: Lane) -> tuple[str, ...]:
        """Return what lanes of a block share: problem, rule, names of hyperparameters."""
        return lane.problem, names[lane.problem, lane.label], *sorted(lane.hyperparameters)

    parts: list[list[Lane]] = []
    for _, group in groupby(sorted(lanes, key=common), key=common):
        members = list(group)
        first = members[0]
        rule = rules[first.problem, first.label]
        most = max(1, block_bytes // lane_bytes(problems[first.problem].problem, rule))
        parts += _split(members, ceil(len(members) / most))

    def weight(part: list[Lane]) -> int:
        problem, rule = problems[part[0].problem].problem, rules[part[0].problem, part[0].label]
        if len(part) == 1 or is_users(problem) or is_users(rule):
            return 0
        return len(part) * problem.parameters

    while len(parts) % workers and weight(largest := max(parts, key=weight)) > WORTH_SHARING:
        parts.remove(largest)
        parts += _split(largest, 2)
    parts.sort(key=lambda part: part[0].number)
    return tuple(
        Block(
            number,
            problems[part[0].problem].problem,
            copy(rules[part[0].problem, part[0].label]),
            problems[part[0].problem].iterations,
            tuple(part),
            problems[part[0].problem].rules,
        )
        for number, part in enumerate(parts)
    )


def lane_bytes(problem: Problem, optimizer: Optimizer) -> int:
    """Return what one lane's parameters, gradients, slots and work arrays take in training."""
    values = problem.parameters * (2 + len(optimizer.slots)) + problem.work_values
    return values * np.dtype(problem.dtype).itemsize


def _split(members: list[Lane], parts: int) -> Iterator[list[Lane]]:
    """Yield consecutive parts whose sizes differ by one at most."""
    for indices in np.array_split(np.arange(len(members)), parts):
        yield [members[index] for index in indices]
