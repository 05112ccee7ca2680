"""Small work for tests: a network on a few made-up images, suites of it, and what their lanes give.

Nothing here is read from files; a lane of the network takes milliseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, ClassVar

import numpy as np

from optbench.datasets.base import Dataset, Split
from optbench.device.base import CPU_BLOCK_BYTES, Device
from optbench.device.cpu import NumpyDevice
from optbench.engine.block import Block, Group
from optbench.engine.executor import execute
from optbench.engine.stopping import Rules
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.problems.base import DTYPES, RECORDS, Problem
from optbench.problems.functions.quadratics import Anisotropic, Quadratic1D
from optbench.problems.networks.classifier import Classifier
from optbench.problems.networks.nn.initializers import he
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy
from optbench.problems.networks.nn.network import Network, dense_relu_layers
from optbench.records import (
    BlockResult,
    BlockSplit,
    EvaluationRows,
    Lane,
    LaneResult,
    Record,
    TraceChunk,
)
from optbench.rng import ITERATIONS_PER_BLOCK
from optbench.runs.pipeline import plan_run
from optbench.settings import Option
from optbench.suite.resolve import ResolvedOptimizer, ResolvedProblem, Suite
from tests.reference.network import MultiLayerNet
from tests.reference.training import Batch

FEATURES, CLASSES = 12, 4

TEXTBOOK = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
"""The textbook's optimizers, which run at their defaults."""


def made_up_images() -> Dataset:
    """Images whose label shows as a brighter part, so that there is something to learn."""
    generator = np.random.default_rng(1)
    splits = {}
    for name, examples in {"train": 200, "validation": 30, "test": 50}.items():
        labels = generator.integers(CLASSES, size=examples).astype(np.uint8)
        images = generator.integers(100, size=(examples, FEATURES)).astype(np.uint8)
        bright = np.arange(FEATURES) * CLASSES // FEATURES == labels[:, None]
        images = np.where(bright, images + np.uint8(120), images)
        images.flags.writeable = labels.flags.writeable = False
        splits[name] = Split(images, labels)
    checksums = {"made-up": "0" * 64}
    return Dataset("made-up", "embedded", splits, 255.0, (3, 4), CLASSES, checksums)


IMAGES = made_up_images()


class SmallNetwork(Classifier):
    """A 12-7-5-4 network with ReLU: 155 parameters."""

    name = "small-network"
    summary = "a small network on made-up images"
    default_iterations = 20
    sizes: ClassVar[tuple[int, ...]] = (FEATURES, 7, 5, CLASSES)
    options = (
        Option("batch_size", 8, "examples a minibatch", low=1),
        Option("data", "made-up", "data set", choices=("made-up",)),
        Option("dtype", "float64", "of parameters and arithmetic", choices=DTYPES),
        Option("record", "after", "loss before or after the update", choices=RECORDS),
        Option("log_eps", 1e-7, "added to probabilities in the reported loss"),
    )

    def __init__(self, options: Mapping[str, Any], data_dir: object = None) -> None:
        super().__init__(options)
        layers = dense_relu_layers(self.sizes, he)
        self.network = Network(layers, SoftmaxCrossEntropy(options["log_eps"]))

    @property
    def dataset(self) -> Dataset:
        return IMAGES

    def architecture(self) -> dict[str, Any]:
        return {"layers": list(self.sizes), "log_eps": self.settings["log_eps"]}


def problem(kind: type[Problem], **options: Any) -> Problem:
    """Return a problem with these options and defaults for the others."""
    return kind({each.name: options.get(each.name, each.default) for each in kind.options})


def small_network(**options: Any) -> Problem:
    return problem(SmallNetwork, **options)


def reference_network(network: Classifier, seed: int) -> MultiLayerNet:
    """Return the reference's network with the start that a seed gives ours."""
    start, params, offset = network.start(seed), {}, 0
    for tensor in network.tensors:
        layer, part = tensor.name.removeprefix("dense").split(".")
        values = start[offset : offset + tensor.size].reshape(tensor.shape)
        params[{"weight": "W", "bias": "b"}[part] + layer] = values
        offset += tensor.size
    widths = [params["W1"].shape[0], *(params[key].size for key in params if key[0] == "b")]
    log_eps = network.settings["log_eps"]
    return MultiLayerNet(widths[0], widths[1:-1], widths[-1], log_eps=log_eps, params=params)


def reference_batches(network: Classifier, seed: int, count: int) -> list[Batch]:
    """Return the batches that a seed gives ours: images in [0, 1] and labels."""
    train = network.dataset.splits["train"]
    images, labels = train.images / network.dataset.scale, train.labels
    blocks = range(-(-count // ITERATIONS_PER_BLOCK))
    drawn = np.concatenate([network.draws(seed, block)["indices"] for block in blocks])
    return [(images[indices], labels[indices]) for indices in drawn[:count]]


def anisotropic(**options: Any) -> Problem:
    return problem(Anisotropic, **options)


def quadratic(**options: Any) -> Problem:
    return problem(Quadratic1D, **options)


Entry = tuple[str, Sequence[Mapping[str, float]]]
"""An optimizer's name and its configurations."""


def suite(
    *problems: Problem,
    optimizers: Iterable[str | Entry] = TEXTBOOK,
    seeds: Sequence[int] = (0,),
    iterations: int = 20,
    name: str = "small",
    rules: Rules = Rules(),  # noqa: B008 - frozen
) -> Suite:
    """Return a settled suite without asking the registries for the problems."""
    entries = [(each, [{}]) if isinstance(each, str) else each for each in optimizers]
    settings = tuple(
        ResolvedOptimizer(
            name,
            name,
            (optimizer := get_optimizer(name)),
            tuple(complete_hyperparameters(optimizer, dict(each)) for each in configurations),
        )
        for name, configurations in entries
    )
    return Suite(
        name=name,
        seeds=tuple(seeds),
        problems=tuple(
            ResolvedProblem(each.name, each, iterations, settings, rules) for each in problems
        ),
        written={"name": name},
        resolved={"name": name},
    )


@dataclass
class Outcome:
    """All that one lane gave."""

    lane: Lane
    loss: np.ndarray
    position: np.ndarray | None
    result: LaneResult
    evaluations: dict[str, tuple[float, float]] = field(default_factory=dict)
    evaluated: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)
    penalty: np.ndarray | None = None

    @property
    def bits(self) -> tuple[Any, ...]:
        """Everything that independence promises, for comparison to the last bit."""
        result = self.result
        return (
            self.loss.tobytes(),
            None if self.position is None else self.position.tobytes(),
            (result.status, result.iterations, result.diverged_at),
            (result.final_loss, result.best_loss),
            self.evaluated,
        )


def collect(blocks: Sequence[Block], records: Iterable[Record]) -> dict[int, Outcome]:
    """Gather records by lane number."""
    lanes = {lane.number: lane for block in blocks for lane in block.lanes}
    losses: dict[int, list[np.ndarray]] = {number: [np.zeros(0)] for number in lanes}
    positions: dict[int, list[np.ndarray]] = {number: [] for number in lanes}
    results: dict[int, LaneResult] = {}
    evaluated: dict[int, dict[tuple[str, int], tuple[float, float]]] = {n: {} for n in lanes}
    penalties: dict[int, list[np.ndarray]] = {number: [] for number in lanes}
    for record in records:
        match record:
            case BlockSplit():
                for number in (lane for _, part in record.parts for lane in part):
                    losses[number], positions[number] = [np.zeros(0)], []
                    evaluated[number].clear()
            case TraceChunk():
                for index, (number, rows) in enumerate(
                    zip(record.lanes.tolist(), record.rows, strict=True)
                ):
                    losses[number].append(record.loss[:rows, index])
                    if record.position is not None:
                        positions[number].append(record.position[:rows, index])
                    if record.penalty is not None:
                        penalties[number].append(record.penalty[:rows, index])
            case EvaluationRows():
                for number, loss, error in zip(
                    record.lanes.tolist(), record.loss, record.error, strict=True
                ):
                    place = record.split, record.iteration
                    assert place not in evaluated[number]
                    evaluated[number][place] = (float(loss), float(error))
            case BlockResult():
                results |= {result.lane: result for result in record.lanes}
    return {
        number: Outcome(
            lane=lane,
            loss=np.concatenate(losses[number]),
            position=np.concatenate(positions[number]) if positions[number] else None,
            result=results[number],
            evaluations={split: found for (split, _), found in evaluated[number].items()},
            evaluated=evaluated[number],
            penalty=np.concatenate(penalties[number]) if penalties[number] else None,
        )
        for number, lane in sorted(lanes.items())
    }


def run_blocks(
    blocks: Sequence[Block], *, device: Device | None = None, workers: int = 1
) -> dict[int, Outcome]:
    """Run blocks and return what their lanes gave, by lane number."""
    return collect(blocks, execute(blocks, device or NumpyDevice(), workers, Event()))


def run_suite(
    settled: Suite, *, device: Device | None = None, workers: int = 1
) -> dict[int, Outcome]:
    """Plan and run a suite."""
    device = device or NumpyDevice()
    plan = plan_run(settled, device, workers)
    return run_blocks(plan.blocks, device=device, workers=plan.workers)


def ruled_by(optimizer: Optimizer, block: Block) -> Block:
    """Return a block whose lanes are all updated by one rule."""
    return replace(block, groups=(Group(optimizer, block.lanes),))


def blocks_of(settled: Suite, device: Device | None = None) -> tuple[Block, ...]:
    return plan_run(settled, device or NumpyDevice(), workers=1).blocks


def cpu(block_bytes: int = CPU_BLOCK_BYTES) -> NumpyDevice:
    """Return the CPU; a block's arrays may take so many bytes, and one lane always fits."""
    device = NumpyDevice()
    device.block_bytes = block_bytes
    return device
