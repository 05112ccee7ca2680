"""How often the gate gives a false alarm, and what it says it finds: exactly, or by tables.

The same is simulated in tests/slow/test_gate_power.py.
"""

from itertools import product

import numpy as np
import pytest

import optbench
from optbench.gate.comparison import Comparison
from optbench.gate.metric import MeasuredGroup, log_losses, measure
from optbench.gate.quality import judge
from optbench.gate.verdict import Gate, Outcome
from tests.gate.made import saved


@pytest.mark.parametrize(
    "problem",
    [
        {"kind": "network", "dtype": "float32", "batch_size": 128},
        {"kind": "function", "minima": [{"value": 0.0}], "batch_size": 128},
    ],
    ids=["network", "noisy function"],
)
def test_of_all_exchanges_of_then_and_now_no_more_fail_than_stated(problem):
    """Where nothing has changed, each lane could as well be its partner: all 256 ways are alike.

    So the share of them in which any group fails is the probability of a false alarm, whatever the
    losses are; and it is as large as the level allows where there is one group.
    """
    generator = np.random.default_rng(8)
    losses = np.exp(
        generator.standard_t(3, (4, 2, 8)) * np.array([0.01, 0.1, 0.3, 0.5])[:, None, None]
    )
    gate = Gate(threshold=1e-9)  # so that the test alone decides
    failed = {4: 0, 1: 0}
    for exchanged in product((False, True), repeat=8):
        then, now = (np.where(exchanged, losses[:, 1 - i], losses[:, i]) for i in (0, 1))
        groups = [
            MeasuredGroup("p", str(number), *log_losses(*both, 1.0, problem), lanes=8)
            for number, both in enumerate(zip(then, now, strict=True))
        ]
        for count in failed:
            verdicts = [group.verdict for group in judge(groups[:count], gate)]
            failed[count] += Outcome.REGRESSION in verdicts
    assert failed[1] == int(256 * gate.level)
    assert 0 < failed[4] <= 256 * gate.level


def test_changes_beyond_the_threshold_are_always_caught_where_there_is_no_noise():
    then = np.random.default_rng(6).normal(0.0, 0.3, (20, 8))
    groups = [MeasuredGroup("p", "a", row, row + np.log(1.051), lanes=8) for row in then]
    assert {group.verdict for group in judge(groups, Gate())} == {Outcome.REGRESSION}


def test_measuring_real_runs_finds_that_seeds_matter(tmp_path):
    suite = {"name": "both", "iterations": 5, "seeds": 3, "optimizer": [{"name": "sgd"}]}
    problems = ("quadratic-deep", "anisotropic")
    suite["problem"] = [{"name": name} for name in problems]
    run = optbench.run(suite, out=tmp_path).tables
    found = measure(Comparison(saved(run), run, Gate()))
    assert [each.problem for each in found] == [*problems]
    assert [each.random for each in found] == [True, False]
