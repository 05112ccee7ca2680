"""Which lanes speak for a label."""

from dataclasses import replace
from math import inf

import pytest

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.entrants import entrants
from tests.refusal import refusal
from tests.report.runs import Lane, function_problem, tables


def lane(lr, seed, final, label="sgd", **changes):
    return Lane(label, [9.0, final], seed=seed, hyperparameters={"lr": lr}, **changes)


RANDOM = function_problem(random=True)


def swept():
    """At seed 0 lr 0.1 is the best, at seeds 1 and 2 lr 0.2; adam has one configuration."""
    finals = {0.1: (1.0, 6.0, 6.0), 0.2: (2.0, 3.0, 3.0)}
    sgd = [lane(lr, seed, of[seed]) for lr, of in finals.items() for seed in range(3)]
    return tables([*sgd, *(lane(0.1, seed, 2.0, "adam") for seed in range(3))], [RANDOM])


def test_seeds_that_choose_never_judge():
    sgd, adam = entrants(swept(), "anisotropic", [0])
    assert (sgd.label, sgd.chosen, sgd.seeds, sgd.lanes) == ("sgd", "lr=0.1", (1, 2), (1, 2))
    assert (adam.label, adam.chosen, adam.seeds) == ("adam", "", (1, 2))
    sgd, _ = entrants(swept(), "anisotropic", [1, 2])
    assert (sgd.chosen, sgd.seeds, sgd.lanes) == ("lr=0.2", (0,), (3,))


def test_without_seeds_that_choose_a_grid_is_refused():
    assert refusal(UsageError, entrants, swept(), "anisotropic") == (
        "'sgd' has 2 configurations on 'anisotropic', chosen on the seeds that it would be judged "
        "on; give --choose-on with the seeds that choose, such as 0-4"
    )
    message = refusal(UsageError, entrants, swept(), "anisotropic", [7, 8])
    assert message == "no lane of 'sgd' has one of the seeds 7, 8 to choose on"


@pytest.mark.parametrize("choose_on", [(), (0,), (5,)])
def test_where_nothing_is_random_the_best_of_a_grid_takes_part(choose_on):
    lanes = [lane(lr, 0, final) for lr, final in {0.1: 4.0, 0.2: 1.0, 0.3: 2.0}.items()]
    run = tables(lanes, [function_problem(random=False)])
    (sgd,) = entrants(run, "anisotropic", choose_on)
    assert (sgd.random, sgd.chosen, sgd.lanes) == (False, "lr=0.2", (1,))


def test_a_rule_that_draws_numbers_is_random_on_any_problem():
    run = tables([lane(0.1, 0, 4.0), lane(0.2, 0, 1.0)], [function_problem(random=False)])
    run = replace(run, meta={**run.meta, "optimizers": [{"label": "sgd", "random": True}]})
    assert "--choose-on" in refusal(UsageError, entrants, run, "anisotropic")


def test_lanes_that_have_not_ended_are_left_out_and_those_that_diverged_are_not():
    lanes = [
        lane(0.1, 0, 1.0, status=Status.RUNNING),
        lane(0.1, 1, inf, status=Status.DIVERGED),
        lane(0.1, 2, 1.0, status=Status.FAILED),
        lane(0.1, 3, 1.0, status=Status.STOPPED),
        lane(0.1, 0, 1.0, "adam", status=Status.INTERRUPTED),
    ]
    (sgd,) = entrants(tables(lanes, [RANDOM]), "anisotropic")
    assert (sgd.label, sgd.seeds) == ("sgd", (1, 2, 3))


def test_diverged_seeds_count_as_the_worst_when_a_grid_is_chosen():
    lanes = [
        lane(0.1, 0, 1.0),
        *(lane(0.1, seed, inf, status=Status.DIVERGED) for seed in (1, 2)),
        *(lane(0.2, seed, 5.0) for seed in range(4)),
        lane(0.1, 3, 1.0),
    ]
    (sgd,) = entrants(tables(lanes, [RANDOM]), "anisotropic", [0, 1, 2])
    assert (sgd.chosen, sgd.seeds) == ("lr=0.2", (3,))
