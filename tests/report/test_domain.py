"""Lanes that ended outside the domain of their function."""

import numpy as np
import pytest

from optbench.records import Status
from optbench.report.configurations import configurations
from optbench.report.domain import grown_domain, lanes_outside
from tests.report.runs import (
    DOMAIN,
    Lane,
    anisotropic_surface,
    function_problem,
    network_run,
    tables,
)


def lane(lr, end, loss, label="sgd", seed=0, **changes):
    return Lane(
        label,
        [1.0, loss],
        seed=seed,
        hyperparameters={"lr": lr},
        position=np.array([[0.0, 0.0], end]),
        **changes,
    )


def run(*lanes):
    return tables(lanes, [function_problem()], anisotropic_surface())


def winners(*lanes):
    table = configurations(run(*lanes))
    return table.loc[table["best"], "hp_lr"].tolist()


def test_a_lane_is_outside_if_its_last_finite_position_is():
    made = run(
        lane(0.1, (10.0, -10.0), 1.0),  # on the edge
        lane(0.2, (10.1, 0.0), 1.0),
        lane(0.3, (0.0, -11.0), 1.0),
        Lane("sgd", [1.0, 1.0], position=np.array([[50.0, 0.0], [1.0, 1.0]])),
        lane(0.5, (np.inf, 0.0), np.inf, status=Status.DIVERGED),
        lane(0.6, (np.nan, 0.0), np.nan, status=Status.DIVERGED),
    )
    assert lanes_outside(made) == {1, 2}


DIVERGED = lane(0.1, (1.0, 0.0), np.inf, status=Status.DIVERGED)


@pytest.mark.parametrize(
    ("lanes", "best"),
    [
        ([lane(0.1, (30.0, 0.0), -5.0), lane(0.2, (1.0, 0.0), 0.5)], 0.2),  # inside before outside
        ([lane(0.1, (2.0, 0.0), 0.7), lane(0.2, (1.0, 0.0), 0.5)], 0.2),  # then the lowest loss
        ([lane(0.1, (30.0, 0.0), -1.0), lane(0.2, (40.0, 0.0), -5.0)], 0.2),  # outside as well
        ([DIVERGED, lane(0.2, (30.0, 0.0), -5.0)], 0.2),  # outside before diverged
        ([DIVERGED], 0.1),
    ],
)
def test_the_best_ended_inside_if_any_did_and_with_the_lowest_loss(lanes, best):
    assert winners(*lanes) == [best]


def test_each_label_has_one_best():
    lanes = [lane(lr, (1.0, 0.0), lr, label) for label in ("sgd", "adam") for lr in (0.1, 0.2)]
    assert winners(*lanes) == [0.1, 0.1]


def test_a_configuration_is_outside_where_most_of_its_seeds_are():
    def seeds(lr, ends, loss):
        return [lane(lr, (end, 0.0), loss, seed=seed) for seed, end in enumerate(ends)]

    assert winners(*seeds(0.1, (30, 30, 1), -5.0), *seeds(0.2, (1, 1, 1), 0.5)) == [0.2]
    assert winners(*seeds(0.1, (30, 1, 1), -5.0), *seeds(0.2, (1, 1, 1), 0.5)) == [0.1]


def test_problems_without_domain_or_positions_have_no_lane_outside():
    assert lanes_outside(network_run()) == frozenset()
    no_domain = tables([lane(0.1, (30.0, 0.0), 0.1)], [function_problem(plot=None)])
    assert lanes_outside(no_domain) == frozenset()
    no_positions = tables([Lane("sgd", [1.0, 0.5])], [function_problem()])
    assert lanes_outside(no_positions) == frozenset()


UNBOUNDED = {"domain": DOMAIN, "guessed": [True, True], "levels": None}


def test_a_guessed_domain_has_no_outside():
    lanes = [lane(0.1, (30.0, 0.0), 0.1), lane(0.2, (1.0, 0.0), 0.5)]
    guessed = tables(lanes, [function_problem(plot=UNBOUNDED)], anisotropic_surface())
    assert lanes_outside(guessed) == frozenset()
    table = configurations(guessed)
    assert table.loc[table["best"], "hp_lr"].tolist() == [0.1]
    half = UNBOUNDED | {"guessed": [True, False]}
    ends = [lane(0.1, (30.0, 0.0), 0.1), lane(0.2, (1.0, 30.0), 0.5)]
    assert lanes_outside(tables(ends, [function_problem(plot=half)])) == {1}


def grown(*ends, guessed=(True, True), losses=(1.0, 0.5)):
    """Return the domain of ±10 by ±10 as it is after lanes ended there."""
    lanes = [
        Lane(f"rule{k}", losses, position=np.array([[0.0, 0.0], end])) for k, end in enumerate(ends)
    ]
    plot = UNBOUNDED | {"guessed": list(guessed)}
    made = tables(lanes, [function_problem(plot=plot)], anisotropic_surface())
    return grown_domain(made, "anisotropic", range(len(lanes)))


def test_a_guessed_domain_grows_to_hold_ends_with_some_room():
    assert grown((30.0, 0.0), (0.0, -40.0)) == [(-10.0, 34.0), (-45.0, 10.0)]
    assert grown((30.0, 30.0), guessed=(False, True)) == [(-10.0, 10.0), (-10.0, 34.0)]


def test_it_stays_where_nothing_ends_outside_or_what_does_has_run_away_or_risen():
    assert grown((10.0, -10.0)) is None
    assert grown((-1e9, 15.0)) is None
    assert grown((np.inf, 0.0)) is None
    assert grown((30.0, 0.0), losses=(1.0, 2.0)) is None
    assert grown((30.0, 0.0), losses=(1.0, np.nan)) is None


def test_a_function_of_one_variable_has_a_domain_too():
    problem = function_problem(
        variables=["x"], minima=[], plot={"domain": [[-1.0, 1.0]], "levels": None}
    )
    ends = [Lane("sgd", [1.0], position=np.array([[end]])) for end in (0.5, 2.0)]
    assert lanes_outside(tables(ends, [problem])) == {1}
