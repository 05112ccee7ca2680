"""One device compared with another: every optimizer, from the same starts on the same batches."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, product
from math import inf
from threading import Event
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.datasets.base import EMBEDDED, Dataset, Split
from optbench.device.base import Device
from optbench.engine.block import Block, Group
from optbench.engine.executor import execute, worker_count
from optbench.engine.nudge import nudged_start
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer
from optbench.problems.base import DTYPES, Problem
from optbench.problems.functions.quadratics import Anisotropic
from optbench.problems.networks.classifier import Classifier
from optbench.problems.networks.nn.initializers import he
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy
from optbench.problems.networks.nn.network import Network, dense_relu_layers
from optbench.records import BlockResult, BlockSplit, Lane, TraceChunk

STEPS = (10, 100)
"""Updates after which traces are compared."""

FLOAT64_TOLERANCE = 1e-9

SPREADS = 10
"""In float32 the tolerance is so many times the spread caused by moving starts by one ulp."""

NUDGES = 8
"""Changed starts from which that spread is taken."""

EXAMPLES, FEATURES, HIDDEN, CLASSES, BATCH_SIZE = 256, 64, (32, 24), 10, 32
"""Of the network: small, so that everything runs on it in seconds."""


class SmallNetwork(Classifier):
    """A small ReLU network on made-up images."""

    name = "small-mlp"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        sizes = (FEATURES, *HIDDEN, CLASSES)
        self.network = Network(dense_relu_layers(sizes, he), SoftmaxCrossEntropy(1e-7))

    @property
    @override
    def dataset(self) -> Dataset:
        return made_up_images()

    @override
    def architecture(self) -> dict[str, Any]:
        return {"layers": [FEATURES, *HIDDEN, CLASSES], "activation": "relu"}


@lru_cache(maxsize=1)
def made_up_images() -> Dataset:
    """Return noise in which a part that belongs to the label is brighter; all of it to train on."""
    labels = rng.stream(0, "verify/labels").integers(CLASSES, size=EXAMPLES)
    noise = rng.stream(0, "verify/images").integers(128, size=(EXAMPLES, FEATURES))
    bright = np.arange(FEATURES) * CLASSES // FEATURES == labels[:, None]
    train = Split((noise + 127 * bright).astype(np.uint8), labels.astype(np.uint8))
    for array in (train.images, train.labels):
        array.flags.writeable = False
    return Dataset("made-up", EMBEDDED, {"train": train}, 255.0, (8, 8), CLASSES, {})


PROBLEMS: dict[str, type[Problem]] = {kind.name: kind for kind in (Anisotropic, SmallNetwork)}

LANES = {
    Anisotropic.name: tuple(product((1.0, 10.0, 100.0, 1000.0), (0,))),
    SmallNetwork.name: tuple(product((0.03, 0.3), (0, 1))),
}
"""The lanes of a block: what the default learning rate is multiplied by, and the seed. On the
function some lanes diverge; on the network none may, since where training is unstable one ulp
changes the whole trace, and nothing could be concluded from it."""


@dataclass(frozen=True)
class DeviceComparison:
    """How far the traces of one optimizer on one device lie from those on another."""

    problem: str
    optimizer: str
    dtype: str
    steps: int  # updates after which they were compared
    difference: float  # largest of all lanes, see relative_difference; inf if a block failed
    tolerance: float
    note: str = ""  # why a block failed

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
    """What one block runs: an optimizer on a problem, from its starts or nudged ones."""

    problem: str
    optimizer: str
    dtype: str
    nudge: int = 0

    @property
    def block_problem(self) -> Problem:
        options = {"dtype": self.dtype, "record": "before", "batch_size": BATCH_SIZE}
        problem = PROBLEMS[self.problem](options)
        return nudged_start(problem, self.nudge) if self.nudge else problem


@dataclass(frozen=True)
class _Traces:
    """What one block gave: for each lane (rows, columns) of losses and positions, or a message."""

    lanes: tuple[np.ndarray, ...]
    message: str


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
    expected = _run([*cases, *(beside for group in nudged.values() for beside in group)], reference)
    found = _run(cases, device)
    rows = []
    for case, steps in product(cases, STEPS):
        tolerance = FLOAT64_TOLERANCE
        if case in nudged:
            spread = max(
                _largest_difference(expected[case], expected[beside], steps)
                for beside in nudged[case]
            )
            tolerance = SPREADS * spread
        rows.append(
            DeviceComparison(
                case.problem,
                case.optimizer,
                case.dtype,
                steps,
                _largest_difference(expected[case], found[case], steps),
                tolerance,
                expected[case].message or found[case].message,
            )
        )
    return tuple(rows)


def worst(comparisons: Iterable[DeviceComparison]) -> DeviceComparison:
    """Return the comparison that is farthest beyond its tolerance."""
    return max(comparisons, key=lambda comparison: comparison.excess)


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


def _largest_difference(one: _Traces, other: _Traces, steps: int) -> float:
    """Return the largest relative difference of any lane."""
    if one.message or other.message:
        return inf
    return max(
        relative_difference(*lanes, steps) for lanes in zip(one.lanes, other.lanes, strict=True)
    )


def _run(cases: Iterable[_Case], device: Device) -> dict[_Case, _Traces]:
    """Run one block for each case and return what it gave."""
    numbers = count()
    lanes = {case: _lanes(case, numbers) for case in cases}
    blocks = [
        Block(
            number,
            case.block_problem,
            STEPS[-1],
            (Group(get_optimizer(case.optimizer), lanes[case]),),
        )
        for number, case in enumerate(lanes)
    ]
    chunks: dict[int, list[TraceChunk]] = {}
    messages: dict[int, str] = {}
    for record in execute(blocks, device, worker_count(device), Event()):
        match record:
            case TraceChunk():
                chunks.setdefault(record.block, []).append(record)
            case BlockSplit():
                chunks.pop(record.block, None)
            case BlockResult():
                messages |= {lane.lane: record.message for lane in record.lanes}
    traces = _by_lane(chunk for of_block in chunks.values() for chunk in of_block)
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
