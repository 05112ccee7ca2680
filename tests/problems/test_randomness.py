"""Whether anything is random is worked out from start, batches, masks and noise."""

import pytest

from optbench.errors import SuiteError
from optbench.optimizers.rules.adam import Adam
from optbench.problems.plugin import plugin_problem
from optbench.problems.registry import make_problem
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve
from tests.forget import forget  # noqa: F401
from tests.small import problem

ZERO = {"layers": ["dense 10"], "init": "zeros"}
DROPOUT = {"layers": ["dense 4", "dropout 0.5", "dense 10"], "init": "zeros"}
ALL = 3500  # training examples of mnist-5k


@pytest.mark.parametrize(
    ("name", "options", "random", "stochastic"),
    [
        ("mnist-logreg", {}, False, False),
        ("mnist-logreg", {"init": "he"}, True, False),
        ("mnist-logreg", {"init": "normal", "init_std": 0.0}, False, False),
        ("mnist-logreg", {"batches": "shuffled-once"}, True, True),
        ("mnist-mlp-tanh", {}, True, False),
        ("deepobs-mnist-logreg", {}, True, True),
        ("network", {**ZERO, "batches": "in-order", "batch_size": 100}, False, False),
        ("network", {**ZERO, "batches": "replacement", "batch_size": ALL}, True, True),
        ("network", {**ZERO, "batches": "shuffled", "batch_size": ALL}, True, False),
        ("network", {**ZERO, "batch_size": "full"}, False, False),
        ("network", {"layers": ["dense 10"], "batch_size": "full"}, True, False),
        ("network", {**DROPOUT, "batch_size": "full"}, True, True),
        ("network", {**DROPOUT, "batches": "in-order", "batch_size": 100}, True, True),
    ],
)
def test_networks(name, options, random, stochastic):
    made, _ = make_problem(name, {"data": "mnist-5k", **options}, None)
    assert (made.is_random(), made.stochastic) == (random, stochastic)
    assert made.is_random((3, 7)) is random


@pytest.mark.parametrize(
    ("name", "random"),
    [("anisotropic", False), ("noisy-beale", True), ("quadratic-deep", True)],
)
def test_functions(name, random):
    made, _ = make_problem(name, {}, None)
    assert (made.is_random(), made.stochastic) == (random, random)


@pytest.mark.parametrize(
    ("size", "whole"), [(100, False), (ALL - 1, False), (ALL, True), ("full", True)]
)
def test_a_batch_of_all_examples_is_no_minibatch(size, whole):
    made, _ = make_problem("mnist-mlp", {"data": "mnist-5k", "batch_size": size}, None)
    assert made.minibatch is not whole


PLUGIN = '''
import numpy as np
from optbench.problems import DTYPES, Losses, Option, Problem, Tensor, stream

class Bowl(Problem):
    """A bowl."""

    kind = "function"
    default_iterations = 5
    random = {declared}
    minibatch = False
    record = "before"
    tensors = (Tensor("w", (3,)),)
    options = (Option("dtype", "float64", "of arithmetic", choices=DTYPES),)

    def definition(self):
        return {{}}

    def start(self, seed):
        return {start}

    def draws(self, seed, block):
        return {draws}

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = params.rows
        return self.loss(params, batch, buffers=buffers, work=work)

    def loss(self, params, batch, *, buffers, work):
        return Losses(work.xp.sum(params.rows * params.rows, axis=1) / 2)
'''

FIXED = "np.ones(3)"
TWO_STARTS = "np.ones(3) * (1 if seed < 9 else 2)"
NOISE = "{'noise': stream(seed, 'noise', block).normal(size=256)}"


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("start", "draws", "seeds", "random", "stochastic"),
    [
        (FIXED, "{}", (), False, False),
        ("stream(seed, 'start').normal(size=3)", "{}", (), True, False),
        (FIXED, NOISE, (), True, True),
        (FIXED, "{'batch': np.arange(256)}", (0, 1, 2), False, False),
        (TWO_STARTS, "{}", (0, 8), False, False),
        (TWO_STARTS, "{}", (0, 8, 9), True, False),
    ],
)
def test_a_plug_in_has_no_say_beyond_what_it_draws(
    tmp_path, declared, start, draws, seeds, random, stochastic
):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(declared=declared, start=start, draws=draws))
    made = problem(plugin_problem(f"{file}:Bowl"))
    assert (made.is_random(seeds), made.stochastic) == (random, stochastic)


@pytest.mark.usefixtures("forget")
def test_a_plug_in_that_cannot_start_from_some_seed_is_told_in_one_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(declared=True, start="[np.ones(3)][seed]", draws="{}"))
    made = problem(plugin_problem(f"{file}:Bowl"))
    with pytest.raises(SuiteError, match=r"^Bowl is not a valid problem: IndexError: .*line 20"):
        made.is_random((0, 1))


def suite_of(problems, optimizers, seeds=3):
    return resolve(
        parse_suite(
            {
                "name": "mine",
                "seeds": seeds,
                "data": "mnist-5k",
                "problem": [{"name": name} for name in problems],
                "optimizer": [{"name": name} for name in optimizers],
            },
            "mine.toml",
        )
    )


def seeds_of(suite):
    return {
        (problem.label, entry.label): suite.seeds_of(problem, entry)
        for problem in suite.problems
        for entry in problem.optimizers
    }


def test_where_nothing_is_random_one_seed_is_enough():
    suite = suite_of(["mnist-logreg"], ["sgd"])
    assert seeds_of(suite) == {("mnist-logreg", "sgd"): (0,)}
    assert suite.notices == ("nothing in suite 'mine' is random, so one seed is enough",)
    both = suite_of(["mnist-logreg", "mnist-mlp"], ["sgd"])
    assert seeds_of(both) == {("mnist-logreg", "sgd"): (0,), ("mnist-mlp", "sgd"): (0, 1, 2)}
    assert both.notices == ()


def test_a_random_rule_has_all_seeds_where_the_problem_has_one(monkeypatch):
    monkeypatch.setattr(Adam, "random", True)
    suite = suite_of(["mnist-logreg"], ["sgd", "adam"])
    assert list(seeds_of(suite).values()) == [(0,), (0, 1, 2)]
    assert suite.notices == ()
