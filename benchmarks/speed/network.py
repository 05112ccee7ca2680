"""Lane-steps of the textbook's comparison: four optimizers on its network, from some seeds.

optbench steps all lanes of the comparison together; the others train one optimizer after the other,
and JAX all seeds of one optimizer at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed import ours, textbook
from benchmarks.speed.contenders import has
from benchmarks.speed.measure import Samples, Timed, interleave, timed
from benchmarks.speed.workload import Workload, flop_per_step, learning_rates

TEXTBOOK, TEXTBOOK32 = "textbook", "textbook, float32, one pass"
PYTORCH, JAX = "PyTorch eager", "JAX scan"
MATRIX_PRODUCT = "matrix product"

PRODUCT_SIZE = 2048
PRODUCTS = 2
ALL = "all four"
"""The case of a contender that trains all optimizers together."""

SEEDS = (1, 4, 5, 16)
WARM_STEPS = 5

STEPS = {TEXTBOOK: 64, TEXTBOOK32: 128, PYTORCH: 192, JAX: 256}
"""Timed steps of the contenders that train one lane."""

LANE_STEPS = 2048
"""What optbench makes in all lanes together, and JAX in those of one optimizer, where that is not
too few for each."""

LEAST_STEPS = 128
"""Of optbench: between the steps of one block and the next, a worker makes arrays."""

LEAST_JAX_STEPS = 32


def optbench(seeds: int) -> str:
    """Return what optbench with four optimizers and so many seeds is called."""
    return f"optbench, 4 × {seeds} lanes"


def jax_of(seeds: int) -> str:
    """Return what JAX with so many seeds of each optimizer is called."""
    return JAX if seeds == 1 else f"JAX scan of vmap, {seeds} lanes"


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time all contenders; return their samples and what they worked on."""
    workload = Workload()
    share = 4 if quick else 1
    table: dict[str, dict[str, Timed]] = {}
    say("making the contenders")
    for optimizer, lr in learning_rates().items():
        for name, work in _contenders(workload, optimizer, lr, share).items():
            table.setdefault(name, {})[optimizer] = work
    for seeds in SEEDS:
        steps = max(LEAST_STEPS, LANE_STEPS // seeds // 4) // (2 if quick else 1)
        table[optbench(seeds)] = {ALL: _optbench(workload, seeds, steps)}
    samples = interleave(table, rounds, say)
    products = samples.pop(MATRIX_PRODUCT)
    return {
        "data": workload.data,
        "flop_per_lane_step": flop_per_step(),
        "flop_per_second": {case: [1 / each for each in products[case]] for case in products},
        "seconds_per_lane_step": _only_finite(samples),
    }


def _only_finite(samples: Samples) -> Samples:
    """Return the samples, after a look that none is nonsense."""
    for name, cases in samples.items():
        if not all(0 < value < np.inf for values in cases.values() for value in values):
            raise RuntimeError(f"{name} took no time")
    return samples


def _contenders(workload: Workload, optimizer: str, lr: float, share: int) -> dict[str, Timed]:
    found: dict[str, Timed] = {MATRIX_PRODUCT: _matrix_product()}
    for name, dtype, train in (
        (TEXTBOOK, "float64", textbook.train_twice),
        (TEXTBOOK32, "float32", textbook.train_once),
    ):
        found[name] = _textbook(workload, optimizer, lr, dtype, train, STEPS[name] // share)
    if has("torch"):
        found[PYTORCH] = _pytorch(workload, optimizer, lr, STEPS[PYTORCH] // share)
    for seeds in SEEDS if has("jax") else ():
        steps = STEPS[JAX] if seeds == 1 else max(LEAST_JAX_STEPS, LANE_STEPS // seeds)
        found[jax_of(seeds)] = _jax(workload, optimizer, lr, seeds, steps // share)
    return found


def _matrix_product() -> Timed:
    """Return what times a floating-point operation in large float32 products."""
    a = np.random.default_rng(0).random((PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    out = np.empty_like(a)

    def products() -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, a, out=out)

    def work() -> float:
        np.matmul(a, a, out=out)
        return timed(products, PRODUCTS * 2 * PRODUCT_SIZE**3)

    return work


def _textbook(
    workload: Workload, optimizer: str, lr: float, dtype: str, train: Callable[..., Any], steps: int
) -> Timed:
    batches = workload.batches(0, steps + WARM_STEPS)
    data = workload.pixels, workload.labels

    def work() -> float:
        pair = textbook.Network(workload.weights(0), dtype), textbook.OPTIMIZERS[optimizer](lr)
        train(*pair, *data, batches[:WARM_STEPS])
        return timed(lambda: train(*pair, *data, batches[WARM_STEPS:]), steps)

    return work


def _pytorch(workload: Workload, optimizer: str, lr: float, steps: int) -> Timed:
    import torch

    from benchmarks.speed import pytorch

    batches = torch.from_numpy(workload.batches(0, steps + WARM_STEPS))
    data = torch.from_numpy(workload.pixels), torch.from_numpy(workload.labels)

    def work() -> float:
        model = pytorch.network(workload.weights(0))
        rule = pytorch.OPTIMIZERS[optimizer](model.parameters(), lr)
        pytorch.train(model, rule, *data, batches[:WARM_STEPS])
        return timed(lambda: pytorch.train(model, rule, *data, batches[WARM_STEPS:]), steps)

    return work


def _jax(workload: Workload, optimizer: str, lr: float, lanes: int, steps: int) -> Timed:
    import jax

    from benchmarks.speed import jax_

    each = [workload.batches(seed, steps) for seed in range(lanes)]
    batches = jax.numpy.asarray(each[0] if lanes == 1 else np.stack(each, axis=1))
    data = jax.numpy.asarray(workload.pixels), jax.numpy.asarray(workload.labels)
    train = jax_.trainer(optimizer, lr, lanes=lanes)
    params = jax_.stacked([workload.weights(seed) for seed in range(lanes)])
    slots = jax_.state(optimizer, params)
    train = train.lower(params, slots, batches, *data).compile()

    def work() -> float:
        return timed(
            lambda: jax.block_until_ready(train(params, slots, batches, *data)), steps * lanes
        )

    return work


def _optbench(workload: Workload, seeds: int, steps: int) -> Timed:
    suite = ours.network_suite(learning_rates(), seeds, steps)
    ours.leave_out(suite, workload.start)
    ours.compile_rules(list(learning_rates()), 1, function=False)
    plan = ours.plan_of(suite)
    return lambda: ours.seconds_per_lane_step(plan)
