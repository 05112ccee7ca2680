"""One device beside another: every optimizer, from the same starts and on the same batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, product
from math import inf
from threading import Event

import numpy as np

from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.executor import default_workers, execute
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer
from optbench.problems.base import DTYPES
from optbench.records import BlockResult, BlockSplit, Lane, TraceChunk
from optbench.verify.problems import PROBLEMS, NudgedFunction, NudgedNetwork, nudged_problem

STEPS = (10, 100)
"""Updates after which traces are compared."""

FLOAT64_TOLERANCE = 1e-9

SPREADS = 10
"""The tolerance in float32 is so many times the spread that one-ulp changes of the start cause."""

NUDGES = 8
"""Changed starts from which that spread is taken."""


@dataclass(frozen=True)
class DeviceComparison:
    """How far one device's traces lie from another's; a row of the table.

    Attributes
    ----------
    steps
        Updates after which they were compared.
    difference
        The largest of all lanes, as :func:`relative_difference` defines it; infinite if a block
        failed.
    tolerance
        What it may be.
    note
        Why a block failed, or nothing.
    """

    problem: str
    optimizer: str
    dtype: str
    steps: int
    difference: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the difference is finite and within the tolerance."""
        return self.excess <= 1.0

    @property
    def excess(self) -> float:
        """The difference, in tolerances."""
        if not self.difference:
            return 0.0
        comparable = self.difference < inf and self.tolerance
        return self.difference / self.tolerance if comparable else inf


@dataclass(frozen=True)
class _Case:
    """What one block runs: an optimizer on a problem from starts changed by a nudge."""

    problem: str
    optimizer: str
    dtype: str
    nudge: int = 0


@dataclass(frozen=True)
class _Traces:
    """What one block gave.

    Attributes
    ----------
    lanes
        Losses of each lane, and positions where the problem has them: (rows, columns) each.
    message
        Why the block failed, or nothing.
    """

    lanes: tuple[np.ndarray, ...]
    message: str


LANES = {
    NudgedFunction.name: tuple(product((1.0, 10.0, 100.0, 1000.0), (0,))),
    NudgedNetwork.name: tuple(product((0.03, 0.3), (0, 1))),
}
"""The lanes of a block: what the default learning rate is multiplied by, and the seed. On the
function some lanes diverge; on the network none may, since where training is unstable one ulp
changes the whole trace, and nothing could be told from it."""


def verify_devices(reference: Device, device: Device) -> tuple[DeviceComparison, ...]:
    """Compare every optimizer's traces on a device with those on the reference.

    The tolerance in float64 is :data:`FLOAT64_TOLERANCE`. In float32 it is :data:`SPREADS` times
    the spread: the largest relative difference, on the reference, between a lane and the same lane
    from :data:`NUDGES` starts that lie one ulp beside its own. Two correct devices round
    differently in every step, so they drift apart as such lanes do, and fastest where the
    training itself is unstable.
    """
    cases = [_Case(*parts) for parts in product(PROBLEMS, OPTIMIZERS, DTYPES)]
    nudges = range(1, NUDGES + 1)
    nudged = {
        case: [_Case(case.problem, case.optimizer, case.dtype, nudge) for nudge in nudges]
        for case in cases
        if case.dtype == "float32"
    }
    expected = _run([*cases, *(each for some in nudged.values() for each in some)], reference)
    found = _run(cases, device)
    rows = []
    for case, steps in product(cases, STEPS):
        tolerance = FLOAT64_TOLERANCE
        if case in nudged:
            beside = [_largest(expected[case], expected[each], steps) for each in nudged[case]]
            tolerance = SPREADS * max(beside)
        rows.append(
            DeviceComparison(
                case.problem,
                case.optimizer,
                case.dtype,
                steps,
                _largest(expected[case], found[case], steps),
                tolerance,
                expected[case].message or found[case].message,
            )
        )
    return tuple(rows)


def worst(comparisons: Iterable[DeviceComparison]) -> DeviceComparison:
    """Return the comparison that is farthest beyond its tolerance."""
    return max(comparisons, key=lambda each: each.excess)


def relative_difference(one: np.ndarray, other: np.ndarray, steps: int) -> float:
    """Return how far two traces of a lane lie apart in the rows 0 to ``steps``.

    The largest |one − other| of any row and column, each divided by the largest |one| of that
    column so far. A loss near 0, or a coordinate near its minimum, is what is left of larger
    numbers that cancelled, and so is its rounding error; divided by the value itself it would be
    large however good the arithmetic. Losses that grow count relative to what they have grown to.

    A lane that diverges has to do so at the same row in both: otherwise the difference is
    infinite. In that last row only numbers that are finite in both are compared.

    Parameters
    ----------
    one, other
        Shape (rows, columns); a lane that diverged has fewer rows.
    """
    one, other = one[: steps + 1], other[: steps + 1]
    if one.shape != other.shape:
        return inf
    both = np.isfinite(one) & np.isfinite(other)
    one, other = np.where(both, one, 0.0), np.where(both, other, 0.0)
    scale = np.maximum.accumulate(np.abs(one), axis=0)
    with np.errstate(over="ignore"):
        apart = np.abs(one - other) / np.maximum(scale, np.finfo(np.float64).tiny)
    return float(apart.max(initial=0.0))


def _largest(one: _Traces, other: _Traces, steps: int) -> float:
    """Return the largest relative difference of any lane."""
    if one.message or other.message:
        return inf
    return max(
        relative_difference(*lanes, steps) for lanes in zip(one.lanes, other.lanes, strict=True)
    )


def _run(cases: Iterable[_Case], device: Device) -> dict[_Case, _Traces]:
    """Run a block a case and return what it gave."""
    numbers = count()
    lanes = {case: _lanes(case, numbers) for case in cases}
    blocks = [
        Block(
            number,
            nudged_problem(case.problem, case.dtype, case.nudge),
            get_optimizer(case.optimizer),
            STEPS[-1],
            lanes[case],
        )
        for number, case in enumerate(lanes)
    ]
    chunks: dict[int, list[TraceChunk]] = {}
    messages: dict[int, str] = {}
    for record in execute(blocks, device, default_workers(device), Event()):
        match record:
            case TraceChunk():
                chunks.setdefault(record.block, []).append(record)
            case BlockSplit():
                chunks.pop(record.block, None)
            case BlockResult():
                messages |= {lane.lane: record.message for lane in record.lanes}
    traces = _by_lane(chunk for some in chunks.values() for chunk in some)
    return {
        case: _Traces(
            tuple(np.concatenate(traces[lane.number]) for lane in members if lane.number in traces),
            next((messages[lane.number] for lane in members if messages[lane.number]), ""),
        )
        for case, members in lanes.items()
    }


def _lanes(case: _Case, numbers: "count[int]") -> tuple[Lane, ...]:
    """Return the lanes of a case; they belong to no run, so they have no keys."""
    defaults = complete_hyperparameters(get_optimizer(case.optimizer), {})
    return tuple(
        Lane(
            number=next(numbers),
            key="",
            problem=case.problem,
            optimizer=case.optimizer,
            label=case.optimizer,
            hyperparameters={**defaults, "lr": factor * float(defaults["lr"])},
            seed=seed,
            fingerprint="",
        )
        for factor, seed in LANES[case.problem]
    )


def _by_lane(chunks: Iterable[TraceChunk]) -> dict[int, list[np.ndarray]]:
    """Return the parts of each lane's trace by its number: (rows, columns) each."""
    parts: dict[int, list[np.ndarray]] = {}
    for chunk in chunks:
        columns = chunk.loss[..., None]
        if chunk.position is not None:
            columns = np.concatenate([columns, chunk.position], axis=-1)
        for place, (number, rows) in enumerate(zip(chunk.lanes.tolist(), chunk.rows, strict=True)):
            parts.setdefault(number, []).append(columns[:rows, place])
    return parts
