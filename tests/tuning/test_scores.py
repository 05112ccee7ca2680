"""From the tables of a round to scores, winners and edges, against counting by hand."""

import numpy as np
import pandas as pd
import pytest

import optbench
from optbench.records import TRIAL_COLUMNS
from optbench.report.configurations import ranked_lanes
from optbench.store.reader import read_run
from optbench.tuning.protocol import Entrant
from optbench.tuning.samplers import Trial
from optbench.tuning.scores import (
    Outcome,
    best,
    outcomes,
    over_both,
    trial_rows,
    winner,
)
from optbench.tuning.spaces import grid, parse

SPACES = {"lr": parse("log(1e-4, 1)"), "momentum": parse("uniform(0, 0.9)")}


def entrant(spaces=SPACES, label="sgd"):
    return Entrant("booth", label, "sgd", "sgd", spaces, "ours", False, True, 30, 8)


def outcome(number, *values, name="search-000", **hyperparameters):
    chosen = {"lr": 0.01, "momentum": 0.45} | hyperparameters
    units = {
        key: SPACES[key].unit(value) for key, value in chosen.items() if isinstance(value, float)
    }
    medians = {"validation_loss": None, "final_loss": float(np.median(values))}
    lost = sum(np.isinf(values))
    trial = Trial(number, chosen, units)
    return Outcome(
        trial, name, np.array(values), lost, medians, 30 * len(values), 45 * len(values), 0.5
    )


# Scores.


def test_a_score_is_the_median_over_seeds_in_which_lost_lanes_are_worst():
    assert outcome(0, 3.0, 1.0, 2.0).score == 2.0
    assert outcome(0, 3.0, 1.0, np.inf).score == 3.0
    assert outcome(0, 3.0, np.inf, np.inf).score == np.inf


def test_the_best_are_those_of_smallest_score_then_lowest_number():
    found = [outcome(0, 2.0), outcome(1, 1.0), outcome(2, np.inf), outcome(3, 1.0)]
    assert [each.trial.number for each in best(found, 3)] == [1, 3, 0]
    assert [each.trial.number for each in best(found[::-1], 9)] == [1, 3, 0, 2]


def test_finalists_are_judged_on_the_seeds_of_both_phases():
    search = [outcome(0, 1.0, 2.0, 3.0), outcome(1, 4.0, 4.0, 4.0)]
    (both,) = over_both(search, [outcome(0, 9.0, 9.0, name="finalists")])
    assert both.values.tolist() == [1.0, 2.0, 3.0, 9.0, 9.0]
    assert both.score == 3.0


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A run of two optimizers, one of which has a configuration that diverges."""
    results = optbench.run(
        problem="booth",
        optimizers=[
            {"name": "sgd", "points": [{"lr": 0.05}, {"lr": 1e12}, {"lr": 0.01}]},
            {"name": "adam", "lr": 0.1},
        ],
        start_spread=0.1,
        seeds=[4, 5, 6],
        iterations=30,
        out=tmp_path_factory.mktemp("results"),
    )
    return read_run(results.path)


def test_outcomes_are_what_the_tables_hold_of_each_trial(tables):
    own = Entrant("booth", "sgd", "sgd", "sgd", SPACES, "ours", False, True, 30, 4)
    tried = [Trial(number, {"lr": lr}, {}) for number, lr in enumerate([0.05, 1e12, 0.05, 0.01])]
    found = outcomes(ranked_lanes(tables), own, tried, "final_loss", "search-007")
    lanes = tables.lanes[tables.lanes["label"] == "sgd"]
    for each in found:
        rows = lanes[lanes["hp_lr"] == each.trial.values["lr"]].sort_values("seed")
        assert len(rows) == 3
        assert each.round == "search-007"
        assert each.steps == rows["iterations"].sum() == each.gradients
        assert each.seconds == pytest.approx((rows["step_seconds"] * rows["iterations"]).sum())
        if each.trial.number == 1:
            assert each.score == np.inf
            assert each.diverged == 3
            assert each.steps < 90
        else:
            assert each.values.tolist() == rows["final_loss"].tolist()
            assert each.diverged == 0
            assert each.medians["final_loss"] == rows["final_loss"].median()
            assert each.medians["validation_loss"] is None
    assert found[0].values.tolist() == found[2].values.tolist()
    (adam,) = outcomes(
        ranked_lanes(tables),
        Entrant("booth", "adam", "adam", "adam", {}, "", False, True, 30),
        [Trial(0, {}, {})],
        "best_loss",
        "x",
    )
    expected = tables.lanes[tables.lanes["label"] == "adam"]["best_loss"]
    assert adam.values.tolist() == expected.tolist()


# Winners.


def test_the_winner_is_the_best_finalist_and_keeps_what_its_search_promised():
    search = [outcome(0, 1.0), outcome(1, 1.5), outcome(2, 9.0)]
    won = winner(entrant(), search, [])
    assert (won.trial.number, won.search_score, won.finalist_score) == (0, 1.0, None)
    finalists = over_both(search, [outcome(0, 3.0, 4.0), outcome(1, 1.6, 1.7)])
    won = winner(entrant(), search, finalists)
    assert (won.trial.number, won.search_score, won.finalist_score) == (1, 1.5, 1.6)


@pytest.mark.parametrize(
    ("lr", "others", "edge"),
    [
        (0.01, [], None),
        (0.9, [], "lr near 1"),
        (1.1e-4, [], "lr near 0.0001"),
        (0.9, [(1.009, 0.1)], None),  # within 1 % of its score, and inside
        (0.9, [(1.011, 0.1)], "lr near 1"),
        (0.9, [(1.001, 0.95)], "lr near 1"),  # close, but at the edge itself
    ],
)
def test_a_winner_at_an_end_of_its_space_is_at_the_edge(lr, others, edge):
    search = [outcome(0, 1.0, lr=lr)]
    search += [outcome(1 + i, score, lr=other) for i, (score, other) in enumerate(others)]
    assert winner(entrant(), search, []).edge == edge


def test_edges_of_negative_losses_of_several_hyperparameters_and_of_grids():
    search = [outcome(0, -1.0, lr=0.9, momentum=0.01), outcome(1, -0.995, momentum=0.45)]
    assert winner(entrant(), search, []).edges == {}
    search[1] = outcome(1, -0.98, momentum=0.45)
    assert winner(entrant(), search, []).edge == "lr near 1, momentum near 0"
    values = {"lr": grid([0.1, 0.2, 0.4])}
    search = [outcome(0, 1.0, lr=0.4), outcome(1, 2.0, lr=0.2)]
    assert winner(entrant(values), search, []).edge == "lr near 0.4"
    assert winner(entrant({"lr": parse("choice(0.2, 0.4)")}), search, []).edge is None
    words = {"lr": parse("choice(a, b)")}
    assert winner(entrant(words), [outcome(0, 1.0, lr="b")], []).edge is None


def test_where_all_diverged_the_first_wins_and_there_is_no_edge():
    won = winner(entrant(), [outcome(0, np.inf, lr=0.9), outcome(1, np.inf)], [])
    assert (won.trial.number, won.search_score, won.edge) == (0, np.inf, None)


# Rows of trials.parquet.


def test_rows_hold_every_trial_of_every_phase():
    first, second = entrant(), entrant({"lr": SPACES["lr"]}, "adam")
    search = {
        first.key: [outcome(0, 1.0, 1.2, lr=0.9), outcome(1, np.inf, 2.0)],
        second.key: [outcome(0, 5.0)],
    }
    finalists = {first.key: [outcome(0, 1.1, 1.3, 1.5, name="finalists", lr=0.9)]}
    both = {first.key: over_both(search[first.key], finalists[first.key])}
    won = {first.key: winner(first, search[first.key], both[first.key])}
    rows = trial_rows((first, second), {"search": search, "finalists": finalists}, won, both)
    names = [*TRIAL_COLUMNS]
    place = names.index("round") + 1
    assert [*rows.columns] == [
        *names[:place],
        *("hp_lr", "u_lr", "hp_momentum", "u_momentum"),
        *names[place:],
    ]
    assert rows["label"].tolist() == ["sgd", "sgd", "sgd", "adam"]
    assert rows["phase"].tolist() == ["search", "search", "finalists", "search"]
    assert rows["score"].tolist() == [1.1, np.inf, 1.2, 5.0]
    assert rows["seeds"].tolist() == [2, 2, 3, 1]
    assert rows["seeds_diverged"].tolist() == [0, 1, 0, 0]
    assert rows["chosen"].tolist() == [True, False, True, False]
    assert rows["edge"].replace({np.nan: None}).tolist() == ["lr near 1", None, "lr near 1", None]
    assert rows["steps"].tolist() == [60, 60, 90, 30]
    assert rows["gradients"].tolist() == [90, 90, 135, 45]
    assert rows.loc[3, "u_momentum"] == pytest.approx(0.5)
    empty = trial_rows((first, second), {"search": {first.key: []}}, {}, {})
    pd.testing.assert_index_equal(empty.columns, rows.columns)
