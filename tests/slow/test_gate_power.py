"""How often the gate gives a false alarm, and how often it finds what it says it finds: simulated.

That the test is exact, whatever the losses are, is shown in tests/gate; this is what it comes to.
"""

from collections.abc import Callable

import numpy as np
import pytest

import optbench
from optbench.gate.compare import compare
from optbench.gate.metric import MeasuredGroup, log_losses
from optbench.gate.quality import judge
from optbench.gate.verdict import Gate, Outcome
from optbench.inference.flips import SignFlips
from optbench.inference.power import POWER
from tests.gate.made import saved

pytestmark = pytest.mark.slow

COMPARISONS = 1_000
SURE = 3.3
"""Standard deviations of a binomial count that honest luck exceeds once in two thousand."""

NETWORK = {"kind": "network", "dtype": "float32", "batch_size": 128}


def at_most(rate: float, total: int = COMPARISONS) -> float:
    """Return the largest count that a rate explains."""
    return total * rate + SURE * np.sqrt(total * rate * (1.0 - rate))


def at_least(rate: float, total: int = COMPARISONS) -> float:
    """Return the smallest count that a rate explains."""
    return total * rate - SURE * np.sqrt(total * rate * (1.0 - rate))


def pooled(
    pool: np.ndarray,
    seeds: int,
    problem: dict,
    start: float,
    generator: np.random.Generator,
    factor: float | np.ndarray = 1.0,
) -> list[MeasuredGroup]:
    """Return a comparison of seeds that were drawn from a pool for each side.

    ``pool`` holds final losses, (groups, seeds of the pool); all groups get the same seeds, as they
    would in a run.
    """
    then, now = (pool[:, generator.integers(0, pool.shape[1], seeds)] for _ in range(2))
    now = now * np.broadcast_to(factor, len(pool))[:, None]
    return [
        MeasuredGroup("p", str(place), *log_losses(*both, start, problem), lanes=seeds)
        for place, both in enumerate(zip(then, now, strict=True))
    ]


def alarms(
    draw: Callable[[], list[MeasuredGroup]], gate: Gate, comparisons: int = COMPARISONS
) -> int:
    return sum(
        any(group.verdict == Outcome.REGRESSION for group in judge(draw(), gate))
        for _ in range(comparisons)
    )


@pytest.fixture(scope="module")
def synthetic() -> np.ndarray:
    """Final losses of 40 seeds in 12 groups: some much alike, some not, one with outliers."""
    generator = np.random.default_rng(2026)
    shared = generator.normal(0.0, 0.2, 40)
    own = generator.standard_t(3, (12, 40)) * np.geomspace(0.01, 0.5, 12)[:, None]
    return np.exp(own + np.where(np.arange(12)[:, None] % 3, 0.0, shared))


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> np.ndarray:
    """Final losses of 64 seeds in 4 groups, from short runs of a stochastic quadratic."""
    results = optbench.run(
        {
            "name": "pool",
            "iterations": 40,
            "seeds": 64,
            "problem": [{"name": "quadratic-deep", "batch_size": 4}],
            "optimizer": [
                {"name": "sgd", "lr": 0.02},
                {"name": "momentum", "lr": 0.005},
                {"name": "adagrad", "lr": 0.1},
                {"name": "adam", "lr": 0.05},
            ],
        },
        out=tmp_path_factory.mktemp("pool"),
    )
    lanes = results.lanes.sort_values(["label", "seed"])
    pool = lanes["final_loss"].to_numpy().reshape(4, 64)
    assert np.isfinite(pool).all()
    assert (pool.std(axis=1) / pool.mean(axis=1) > 0.005).all()  # seeds do differ
    return pool


@pytest.fixture(params=["synthetic", "real"])
def pool(request) -> np.ndarray:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("seeds", [8, 10])
def test_honest_comparisons_fail_no_more_often_than_stated(pool, seeds):
    generator = np.random.default_rng(seeds)
    gate = Gate(threshold=1e-9)  # so that the test alone decides
    found = alarms(lambda: pooled(pool, seeds, NETWORK, 2.3, generator), gate)
    assert found <= at_most(gate.level)


def test_more_seeds_than_are_enumerated_give_no_more_false_alarms(synthetic):
    generator = np.random.default_rng(13)
    gate = Gate(threshold=1e-9)
    found = alarms(lambda: pooled(synthetic[:4], 13, NETWORK, 2.3, generator), gate, 300)
    assert found <= at_most(gate.level, 300)


def test_the_threshold_makes_false_alarms_rarer_still(pool):
    generator = np.random.default_rng(1)
    found = alarms(lambda: pooled(pool, 8, NETWORK, 2.3, generator), Gate())
    assert found <= at_most(Gate().level)


def test_without_adjustment_false_alarms_would_be_more_frequent_than_stated(synthetic):
    """The tests above could fail: as many groups, each at the level by itself, do."""
    generator = np.random.default_rng(2)
    found = 0
    for _ in range(COMPARISONS):
        drawn = pooled(synthetic, 8, NETWORK, 2.3, generator)
        test = SignFlips.of(np.stack([group.difference for group in drawn]))
        found += any(
            SignFlips(row[None], test.flipped).adjusted(1.0)[0] <= 0.01 for row in test.differences
        )
    assert found > at_most(0.01)


def test_the_rate_is_not_far_below_the_one_stated_where_groups_are_alike():
    """A gate that never fails would pass the tests above."""
    generator = np.random.default_rng(3)
    gate = Gate(threshold=1e-9)
    level = int(0.01 * 256) / 256

    def draw() -> list[MeasuredGroup]:
        return [MeasuredGroup("p", "a", *generator.normal(0.0, 0.1, (2, 8)), lanes=8)]

    assert at_least(level) <= alarms(draw, gate) <= at_most(level)


def test_honest_comparisons_of_noisy_functions_fail_no_more_often_than_stated():
    generator = np.random.default_rng(4)
    pool = np.abs(generator.normal(0.0, 0.01, (6, 40))) + generator.normal(0.0, 0.01, (6, 40))
    problem = {"kind": "function", "minima": [{"value": 0.0}], "batch_size": 128}
    found = alarms(lambda: pooled(pool, 8, problem, 150.0, generator), Gate(threshold=1e-9))
    assert found <= at_most(0.01)


def test_whole_comparisons_resampled_from_runs_fail_no_more_often_than_stated(real, tmp_path):
    """As above through the front door, a few times: tables in, verdict out."""
    run = optbench.run(
        {
            "name": "pool",
            "iterations": 40,
            "seeds": 8,
            "problem": [{"name": "quadratic-deep", "batch_size": 4}],
            "optimizer": [{"name": name} for name in ("sgd", "momentum", "adagrad", "adam")],
        },
        out=tmp_path,
    ).tables
    generator = np.random.default_rng(5)
    labels = run.lanes["label"].drop_duplicates().sort_values()
    order = run.lanes.sort_values(["label", "seed"]).index
    baseline = saved(run)
    failed = 0
    for _ in range(40):
        for lanes in (baseline.lanes, run.lanes):
            drawn = real[:, generator.integers(0, 64, 8)]
            lanes.loc[order, "final_loss"] = drawn.ravel()
        verdict = compare(baseline, run)
        assert [group.label for group in verdict.groups] != labels.tolist()  # order of lanes
        failed += verdict.failed
        assert {finding.kind for finding in verdict.findings} <= {"quality"}
    assert failed <= at_most(0.01, 40)


def caught(
    pool: np.ndarray, seeds: int, generator: np.random.Generator, gate: Gate, comparisons: int
) -> tuple[int, list[float]]:
    """Plant in one group what its baseline says it can detect; count how often it is found."""
    found, sizes = 0, []
    for place in (number % len(pool) for number in range(comparisons)):
        state = generator.bit_generator.state
        honest = judge(pooled(pool, seeds, NETWORK, 0.0, generator), gate)
        claimed = honest[place].detectable
        assert claimed is not None
        generator.bit_generator.state = state
        factor = np.where(np.arange(len(pool)) == place, 1.0 + claimed, 1.0)
        changed = judge(pooled(pool, seeds, NETWORK, 0.0, generator, factor), gate)
        assert changed[place].detectable == pytest.approx(claimed)  # of the baseline alone
        found += changed[place].verdict == Outcome.REGRESSION
        sizes.append(claimed)
    return found, sizes


@pytest.mark.parametrize(("seeds", "comparisons"), [(8, 1_000), (12, 300)])
def test_planted_changes_are_caught_at_the_power_that_is_claimed(real, seeds, comparisons):
    found, sizes = caught(real, seeds, np.random.default_rng(seeds), Gate(), comparisons)
    assert found >= at_least(POWER, comparisons)
    assert 0.05 < np.median(sizes) < 1.0  # and the claim is worth something


@pytest.mark.parametrize(("groups", "comparisons"), [(1, 1_000), (10, 500)])
def test_the_claim_holds_for_normal_noise_and_is_not_much_too_modest(groups, comparisons):
    generator = np.random.default_rng(groups)
    pool = np.exp(generator.normal(0.0, 0.1, (groups, 4_000)))
    found, _ = caught(pool, 8, generator, Gate(threshold=1e-9), comparisons)
    assert at_least(POWER, comparisons) <= found <= at_most(0.94, comparisons)
