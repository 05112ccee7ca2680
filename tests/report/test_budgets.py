"""Budget curves from studies made by hand; the arithmetic is tested in inference."""

import io
import json
import re
from fractions import Fraction
from math import inf

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from optbench.errors import UsageError
from optbench.report.budgets import (
    BUDGET_COLUMNS,
    INCUMBENT_COLUMNS,
    budgets,
    incumbent_sections,
    incumbents,
    sections,
    shown_budgets,
)
from optbench.report.sections import to_csv, to_json, to_latex, to_markdown
from optbench.report.terminal import to_rich
from tests.report.runs import Lane, network_loss, network_problem, tables
from tests.report.studies import Trial, study

SCORES = [0.40, 0.25, 0.90, 0.31, 0.55]
"""Case 1 of the worked cases."""

DIVERGING = [0.12, 0.15, 0.20, 0.22, 0.30, 0.41, 0.50, 0.80, inf, inf]
"""Case 3."""


def of_scores(scores, label="adam", **changes):
    return [Trial(score, label, **changes) for score in scores]


def shown(parts, width=80):
    """Return the lines that a terminal of this width shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(parts))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def final(**levels):
    """Return a final run with the default of each label, whose validation loss is its level."""
    lanes = [
        Lane(
            label,
            network_loss(level),
            "mnist-mlp",
            seed=seed,
            evaluations=[(200, "validation", level, 0.1)],
        )
        for label, level in levels.items()
        for seed in range(3)
    ]
    return tables(lanes, [network_problem(data="mnist-5k", random=True)])


def test_the_expected_best_of_case_1():
    rows = budgets(study(of_scores(SCORES)))
    assert rows["k"].tolist() == [1, 2, 3, 4, 5]
    assert rows["expected"].tolist() == pytest.approx([0.482, 0.328, 0.283, 0.262, 0.25], rel=1e-9)
    rows = budgets(study(of_scores(SCORES)), "v")
    assert rows["expected"].tolist() == pytest.approx(
        [0.482, 0.3588, 0.31256, 0.29064, 0.2783072], rel=1e-9
    )
    assert set(rows["estimator"]) == {"v"}


def test_the_median_and_the_band_of_case_3():
    rows = budgets(study(of_scores(reversed(DIVERGING)))).set_index("k").loc[[1, 2, 4, 8]]
    assert rows["median"].tolist() == [0.30, 0.20, 0.15, 0.12]
    assert rows["low"].tolist() == [0.12, -inf, -inf, -inf]
    assert rows["high"].tolist() == [inf, 0.80, 0.41, 0.30]


@pytest.mark.parametrize("sampler", ["sobol", "halton", "grid"])
def test_points_that_fill_a_space_have_curves_without_a_band(sampler):
    random, even = (budgets(study(of_scores(SCORES), sampler=name)) for name in ("random", sampler))
    assert even["median"].tolist() == random["median"].tolist()
    assert even["expected"].tolist() == random["expected"].tolist()
    assert even[["low", "high"]].isna().all(axis=None)
    (section,) = sections(even)
    assert "95 %" not in [column.heading for column in section.columns]
    assert f"for so many random ones of the {sampler} points, which have no band" in section.facts


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sampler": "tpe"}, "tpe chooses trials by those before them"),
        ({"halving": {"eta": 3}}, "halving ends trials by how the others do"),
    ],
)
def test_trials_that_are_not_exchangeable_have_a_path_and_no_curves(changes, why):
    made = study(of_scores([inf, 0.40, 0.50, 0.25, 0.90]), **changes)
    with pytest.raises(UsageError, match=f"{why}, so they are not exchangeable") as refused:
        budgets(made)
    assert "\n" not in str(refused.value)
    rows = incumbents(made)
    assert rows["incumbent"].tolist() == [inf, 0.40, 0.40, 0.25, 0.25]
    assert rows["steps"].tolist() == [600, 1200, 1800, 2400, 3000]
    (section,) = incumbent_sections(rows)
    assert [row[1:] for row in section.rows] == [
        ["2", "1,200", "0.4000"],
        ["4", "2,400", "0.2500"],
        ["5", "3,000", "0.2500"],
    ]
    assert section.warnings == [f"no curves: {why}; this is the path of one search"]
    assert incumbent_sections(incumbents(study(of_scores(SCORES))))[0].warnings == []


def test_steps_are_those_of_the_mean_trial_also_where_lanes_diverge():
    trials = [Trial(0.5), Trial(inf, steps=30), Trial(0.4, steps=570)]
    assert budgets(study(trials))["steps"].tolist() == [400.0, 800.0, 1200.0]


def test_the_chosen_trials_test_error_has_the_weights_of_the_score():
    errors = [0.05, 0.07, 0.02, 0.06, 0.01]
    trials = [Trial(x, test_error=error) for x, error in zip(SCORES, errors, strict=True)]
    rows = budgets(study(trials))
    # All pairs: the better of the two is trial 1 in 4 of 10, 3 in 3, 0 in 2, 4 in 1.
    pairs = Fraction(4 * 7 + 3 * 6 + 2 * 5 + 1 * 1, 10)
    assert rows["test_error"][1] == pytest.approx(float(pairs) / 100, rel=1e-12)
    assert rows["test_error"][4] == pytest.approx(0.07, rel=1e-12)
    (section,) = sections(rows)
    assert section.rows[-1][-1] == "7.00 %"


def test_without_all_test_errors_there_is_none():
    trials = [Trial(0.3, test_error=0.1), Trial(0.2)]
    assert budgets(study(trials))["test_error"].isna().all()
    lost = [Trial(0.3, test_error=0.1), Trial(inf)]
    assert budgets(study(lost))["test_error"].tolist() == [inf, 0.1]


def test_who_wins_at_each_budget():
    trials = [*of_scores([1.0, 3.0], "a"), *of_scores([2.0, inf], "b"), *of_scores([2.0], "c")]
    rows = budgets(study(trials)).set_index(["label", "k"])
    assert rows.loc["a", "wins_over_b"].tolist() == [0.75, 1.0]
    assert rows.loc["b", "wins_over_a"].tolist() == [0.25, 0.0]
    assert rows.loc[("a", 1), "wins_over_c"] == 0.5
    assert np.isnan(rows.loc[("a", 2), "wins_over_c"])  # it has one trial
    assert rows.loc[("b", 1), "wins_over_c"] == 0.25  # a tie, and divergence
    assert rows.loc["a", "wins_over_a"].isna().all()
    _, section = sections(rows.reset_index())
    assert list(section.rows) == [
        ["a", "b", "0.75", "1.00"],
        ["a", "c", "0.50", "-"],
        ["b", "c", "0.25", "-"],
    ]


def test_each_problem_has_curves_of_its_own_trials():
    trials = [*of_scores([0.3, 0.2]), *of_scores([5.0, 4.0, 6.0], problem="other")]
    rows = budgets(study(trials))
    assert rows.groupby("problem", sort=False)["expected"].last().tolist() == [0.2, 4.0]
    assert rows.groupby("problem", sort=False)["trials"].first().tolist() == [2, 3]
    assert [part.title for part in sections(rows)] == [
        "mnist-mlp, 2 trials × 3 seeds, random, by validation loss",
        "other, 3 trials × 3 seeds, random, by validation loss",
    ]


def test_finalists_are_no_trials_of_their_own():
    trials = [*of_scores([0.3, 0.2, 0.4]), Trial(0.25, phase="finalists", trial=1)]
    assert budgets(study(trials))["median"].tolist() == [0.3, 0.2, 0.2]


def test_the_default_is_told_where_the_final_run_has_it():
    run = final(adam=0.1, **{"adam (default)": 0.5})
    rows = budgets(study([*of_scores(SCORES), *of_scores(SCORES, "sgd")], run))
    assert rows.loc[rows["label"] == "adam", "default"].tolist() == [0.5] * 5
    assert rows.loc[rows["label"] == "sgd", "default"].isna().all()
    first, _ = sections(rows)
    assert "default, on evaluation seeds: adam 0.5000" in first.facts
    assert first.title == (
        "mnist-mlp on mnist-5k, 5 trials × 3 seeds, random, by validation loss; 3 evaluation seeds"
    )


def test_steps_to_a_target_are_steps_without_the_default_which_has_a_loss():
    run = final(adam=0.1, **{"adam (default)": 0.5})
    rows = budgets(study(of_scores([40.0, 21.0, 30.5, inf]), run, metric="steps_to_target"))
    assert rows["default"].isna().all()
    (section,) = sections(rows)
    # The mean of the best of all six pairs is (3 · 21 + 2 · 30.5 + 40) / 6.
    assert [[row[3], row[-1]] for row in section.rows] == [
        ["30.5", "missed"],
        ["30.5", "27.33"],
        ["21", "21"],
    ]
    assert section.facts[0] == "steps to target of the best of so many trials, on tuning seeds"


def test_spaces_that_differ_between_problems_are_marked():
    trials = [*of_scores(SCORES), *of_scores(SCORES, problem="other")]
    spaces = {"mnist-mlp": {"adam": {"lr": "log(1e-3, 1)"}}, "other": {"adam": {"lr": "log(1, 2)"}}}
    rows = budgets(study(trials, spaces=spaces))
    assert rows["problem_specific"].all()
    assert "adam: its space is problem-specific" in sections(rows)[0].facts
    assert not budgets(study(trials))["problem_specific"].any()


def test_a_table_to_be_read_fits_80_columns_and_has_a_few_budgets():
    trials = [
        *of_scores(np.linspace(0.1, 1.0, 200), "adam", test_error=0.05),
        *of_scores(np.linspace(0.2, 1.0, 150), "momentum", test_error=0.06),
    ]
    rows = budgets(study(trials))
    lines = shown(sections(rows))
    assert max(map(len, lines)) <= 80
    assert [line.split()[1] for line in lines if re.match(" adam +[0-9]+ +[0-9,]+ ", line)] == [
        "1", "4", "16", "64", "200",
    ]  # fmt: skip
    assert any("momentum" in line and "150" in line for line in lines)


@pytest.mark.parametrize("trials", [1, 2, 3, 64, 65, 128, 1000, 100_000])
def test_shown_budgets_are_few_rise_and_end_with_all(trials):
    found = shown_budgets(trials)
    assert found[-1] == trials
    assert found == sorted(set(found))
    assert len(found) <= 7
    assert found[0] == 1


def test_bands_and_infinities_in_words():
    (section,) = sections(budgets(study(of_scores(DIVERGING))))
    assert [column.heading for column in section.columns] == [
        "optimizer", "trials", "steps", "median best", "95 %", "expected",
    ]  # fmt: skip
    cells = {row[1]: list(row[3:]) for row in section.rows}
    assert cells["1"] == ["0.3000", "≥ 0.1200", "diverged"]
    assert cells["2"] == ["0.2000", "≤ 0.8000", "diverged"]
    assert cells["10"][1] == "≤ 0.3000"
    # ε of 20 trials is 0.294: 20 · (0.5 ∓ ε) is 4.1 and 15.9.
    (section,) = sections(budgets(study(of_scores(np.arange(1.0, 21.0)))))
    assert section.rows[0][4] == "5.000–16.00"
    (section,) = sections(budgets(study(of_scores([inf] * 4))))
    assert {tuple(row[3:]) for row in section.rows} == {("diverged", "-", "diverged")}


def test_errors_are_percentages():
    rows = budgets(study(of_scores([0.05, 0.04]), metric="validation_error"))
    assert sections(rows)[0].rows[-1][3] == "4.00 %"


def test_csv_and_json_hold_unrounded_values():
    rows = budgets(study([*of_scores(DIVERGING), *of_scores(SCORES, "sgd")]))
    assert list(rows)[: len(BUDGET_COLUMNS)] == list(BUDGET_COLUMNS)
    parsed = json.loads(to_json(rows))
    assert len(parsed) == 15
    assert parsed[2]["wins_over_sgd"] == rows["wins_over_sgd"][2]
    assert parsed[0]["high"] is None  # infinite
    again = pd.read_csv(io.StringIO(to_csv(rows)))
    assert again["high"][0] == inf
    assert again["expected"].tolist() == rows["expected"].tolist()
    assert list(incumbents(study(of_scores(SCORES)))) == list(INCUMBENT_COLUMNS)


def test_markdown_and_latex():
    parts = sections(budgets(study([*of_scores(SCORES), *of_scores(SCORES, "sgd")])))
    assert "| adam | 5 | 3,000 | 0.2500 |" in to_markdown(parts)
    assert to_latex(parts).count(r"\begin{table}") == 2
    assert r"5 trials $\times$ 3 seeds" in to_latex(parts)
