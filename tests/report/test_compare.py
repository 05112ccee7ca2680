"""Pairs of optimizers on runs made by hand: estimates, intervals, p and verdicts."""

from math import exp, log

import numpy as np
import pandas as pd
import pytest

from optbench.errors import NothingToCompareError, UsageError
from optbench.records import Status
from optbench.report.across import across
from optbench.report.compare import Question, compare
from optbench.report.verdicts import sections
from tests.report.runs import Lane, function_problem, network_problem, tables

RATIOS = [0.92, 0.95, 0.90, 1.01, 0.88, 0.97, 0.93, 0.96]
"""Case 7 of the worked cases."""

A = [5.08, 5.04, 5.28, 5.19, 5.15, 5.39, 5.73, 4.97, 5.30, 4.79]
B = [5.01, 5.24, 5.30, 5.07, 5.23, 5.44, 5.35, 6.22, 5.66, 5.61]
"""Case 9: test errors in points."""


def lanes(label, losses, problem="anisotropic", **changes):
    """Return a lane for each seed that begins at 10 and ends at a loss; None is divergence."""
    return [
        Lane(label, [10.0, np.nan if loss is None else loss], problem, seed=seed, **changes)
        if loss is not None
        else Lane(label, [10.0, np.nan], problem, seed=seed, status=Status.DIVERGED, **changes)
        for seed, loss in enumerate(losses)
    ]


def noisy(*labels, **changes):
    """Return a run of a problem on which seeds make a difference."""
    return tables([lane for each in labels for lane in each], [function_problem(random=True)])


def of_losses(a, b, question=None):
    run = noisy(lanes("a", a), lanes("b", b))
    (row,) = compare(run, question or Question(reference="b")).pairs.itertuples(index=False)
    return row


def test_a_ratio_has_its_interval_and_p():
    base = np.array([1.0, 2.0, 0.5, 3.0, 1.5, 0.7, 1.1, 0.9])
    row = of_losses(base * RATIOS, base)
    assert (row.estimand, row.seeds, row.wins, row.ties) == ("ratio", 8, 7 / 8, 0)
    assert row.estimate == pytest.approx(0.9392051990482, rel=1e-9)
    assert (row.low, row.high) == pytest.approx((0.9031004181877, 0.9763500910830), rel=1e-9)
    assert row.p == row.p_adjusted == 4 / 256
    assert (row.verdict, row.says) == ("better", "better")
    sd = 0.0439378309335
    assert log(row.detects) == pytest.approx(sd * 1.344, rel=0.02)  # noncentral t, 8 pairs


def test_whoever_comes_first_the_numbers_are_the_same():
    base = np.linspace(1.0, 2.0, 8)
    one, other = of_losses(base * RATIOS, base), of_losses(base, base * RATIOS)
    assert other.estimate == pytest.approx(1 / one.estimate, rel=1e-9)
    assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low), rel=1e-9)
    assert (other.p, other.verdict) == (one.p, "worse")


def test_errors_differ_by_points():
    labels = []
    for label, errors in (("a", A), ("b", B)):
        for seed, error in enumerate(errors):
            evaluated = [(200, "test", 1.0, error / 100)]
            labels.append(Lane(label, [2.0] * 200, "mnist-mlp", seed=seed, evaluations=evaluated))
    run = tables(labels, [network_problem(random=True)])
    (row,) = compare(run, Question("test_error", "b")).pairs.itertuples(index=False)
    assert row.estimand == "difference"
    assert row.estimate == pytest.approx(-0.221, rel=1e-9)
    assert row.p == 212 / 1024
    assert (row.low, row.high) == pytest.approx((-0.58, 0.094), abs=1e-9)
    assert row.verdict == "undecided"
    assert row.says.startswith("undecided (needs about ")
    (labels, _) = sections(run, compare(run, Question("test_error", "b")), None)
    assert labels.rows[0][:3] == ("a", "5.17 %", "4.95–5.42 %")  # 10 to 90 % of ten seeds


def test_where_a_lane_diverged_wins_are_counted():
    row = of_losses([1.0] * 7 + [None], [2.0] * 6 + [None, None])
    assert (row.estimand, row.estimate, row.ties) == ("wins", 7.5 / 8, 1)
    assert (row.a_diverged, row.b_diverged) == (1, 2)
    assert row.p == 2 / 2**7  # all seven that are no tie
    assert row.verdict == "better"
    assert row.b_value == 2.0  # a median, +inf counted


def test_with_too_few_seeds_there_is_no_p():
    row = of_losses([1.0] * 5, [2.0, 2.1, 2.2, 2.3, 2.4])
    assert np.isnan(row.p)
    assert np.isnan(row.p_adjusted)
    assert row.says == "too few seeds (needs 6)"


def test_all_rows_are_one_family():
    values = {label: np.linspace(1.0, 1.4, 7) * factor for label, factor in
              (("a", 1.0), ("b", 2.0), ("c", 4.0))}  # fmt: skip
    run = noisy(*(lanes(label, losses) for label, losses in values.items()))
    found = compare(run, Question())
    assert found.needs == 7
    assert found.pairs["p"].tolist() == [2 / 128] * 3
    assert found.pairs["p_adjusted"].tolist() == [6 / 128] * 3
    assert found.pairs["verdict"].tolist() == ["better"] * 3
    assert list(zip(found.pairs["a"], found.pairs["b"], strict=True)) == [
        ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip


def test_a_verdict_that_the_family_takes_back_says_so():
    base = np.array([1.0, 2.0, 0.5, 3.0, 1.5, 0.7, 1.1, 0.9])
    wobble = np.random.default_rng(0).normal(size=(3, 8)) * 1e-3
    alike = (lanes(f"x{k}", base * RATIOS * np.exp(noise)) for k, noise in enumerate(wobble))
    pairs = compare(noisy(*alike, lanes("y", base)), Question()).pairs
    with_y = pairs[pairs["b"] == "y"]
    assert with_y["p"].tolist() == [4 / 256] * 3
    assert with_y["p_adjusted"].tolist() == [16 / 256] * 3  # two of the six are below
    assert with_y["says"].tolist() == ["undecided (alone p = 0.016)"] * 3


def test_what_lies_within_the_margin_is_equivalent():
    base = np.linspace(1.0, 2.0, 8)
    noise = np.array([1.001, 0.999, 1.002, 0.998, 1.0005, 0.9995, 1.001, 0.999])
    assert of_losses(base * noise, base).verdict == "equivalent"
    row = of_losses(base * noise, base, Question(reference="b", margin=0.0001))
    assert row.verdict == "undecided"


def test_where_nothing_is_random_a_ratio_is_exact():
    run = tables([*lanes("a", [1.0]), *lanes("b", [4.0])], [function_problem(random=False)])
    (row,) = compare(run, Question()).pairs.itertuples(index=False)
    assert row.estimate == pytest.approx(0.25)
    assert np.isnan([row.low, row.high, row.p]).all()
    assert row.says == "nothing random: exact"


def test_differences_below_the_rounding_of_the_start_are_none():
    run = tables([*lanes("a", [1e-30]), *lanes("b", [1e-20])], [function_problem(random=False)])
    (row,) = compare(run, Question()).pairs.itertuples(index=False)
    assert row.estimate == pytest.approx(1.0, abs=1e-6)


def test_a_sweep_needs_seeds_that_choose_and_others_judge():
    good, lucky = [3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [2.0, 2.0] + [9.0] * 6
    run = noisy(
        lanes("a", good, hyperparameters={"lr": 0.1}),
        lanes("a", lucky, hyperparameters={"lr": 0.2}),
        lanes("b", [5.0] * 8),
    )
    with pytest.raises(UsageError, match="'a' has 2 configurations on 'anisotropic', chosen on"):
        compare(run, Question())
    (row,) = compare(run, Question(choose_on=(0, 1))).pairs.itertuples(index=False)
    assert (row.a, row.seeds) == ("b", 6)  # on the others the lucky one is worse
    assert row.estimate == pytest.approx(5 / 9)
    with pytest.raises(UsageError, match="no lane of 'a' has one of the seeds 70, 71 to choose on"):
        compare(run, Question(choose_on=(70, 71)))


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"metric": "loss"}, "unknown metric 'loss'"),
        ({"reference": "c"}, "'anisotropic' has no optimizer 'c'"),
        ({"problems": ("booth",)}, "these runs have no problem 'booth'"),
        ({"level": 5}, "level = 5 must lie between 0 and 1"),
        ({"margin": 0.0}, "the margin must be above 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(question, says):
    run = noisy(lanes("a", [1.0] * 3), lanes("b", [1.0] * 3))
    with pytest.raises(UsageError, match=says):
        compare(run, Question(**question))


def test_a_single_optimizer_is_nothing_to_compare():
    with pytest.raises(NothingToCompareError, match="nothing to compare") as refused:
        compare(noisy(lanes("a", [1.0, 2.0])), Question())
    assert refused.value.exit_code == 5


def several(problems=7, seeds=6, factor=0.8):
    """Return a run of several problems on which label a is better by a factor on average."""
    rng = np.random.default_rng(3)
    all_lanes, described = [], []
    for number in range(problems):
        name = f"p{number}"
        base = np.exp(rng.normal(size=seeds) * 0.1)
        drift = np.exp(rng.normal(size=seeds) * 0.01)
        all_lanes += lanes("a", base * factor * (1 + number / 50) * drift, name)
        all_lanes += lanes("b", base, name)
        described.append(function_problem(name, random=True))
    return tables(all_lanes, described)


def test_several_problems_are_ranked_together():
    found = compare(several(), Question())
    together = across(found.contests, 0.05)
    assert together.labels["label"].tolist() == ["a", "b"]
    assert together.labels["mean_rank"].tolist() == [1.0, 2.0]
    row = together.pairs.iloc[0]
    assert row["p"] == 2 / 2**7  # all seven signed ranks on one side
    assert row["verdict"] == "better"
    d = np.array([each.of("a").mean() - each.of("b").mean() for each in found.contests])
    assert row["ratio"] == pytest.approx(exp(d.mean()))
    assert row["low"] < row["ratio"] < row["high"] < 1.0
    assert 0.5 < row["improves"] <= 1.0
    shares = [(each.of("a") < each.of("b")).mean() for each in found.contests]
    assert row["wins"] == pytest.approx(np.mean(shares))
    assert (together.labels["iqm_low"] <= together.labels["iqm"]).all()
    assert "too narrow with 6 seeds" in " ".join(together.notes)


def test_few_problems_have_ranks_and_no_test_of_them():
    together = across(compare(several(problems=3), Question()).contests, 0.05)
    assert together.pairs["p"].isna().all()
    assert "no test of ranks can reach 5 % with 3 problems" in together.notes


def test_one_problem_has_nothing_across():
    assert across(compare(several(problems=1), Question()).contests, 0.05) is None


def test_the_same_tables_give_the_same_numbers():
    one, other = (across(compare(several(), Question()).contests, 0.05) for _ in range(2))
    pd.testing.assert_frame_equal(one.labels, other.labels)
    pd.testing.assert_frame_equal(one.pairs, other.pairs)


def test_a_stricter_level_has_wider_intervals_over_problems_and_says_so():
    contests = compare(several(), Question()).contests
    usual, strict = across(contests, 0.05), across(contests, 0.01)
    assert strict.pairs["low"][0] < usual.pairs["low"][0]
    assert (strict.labels["iqm_low"] <= usual.labels["iqm_low"]).all()
    assert "no test of ranks can reach 1 % with 7 problems" in strict.notes
    question = Question(level=0.01)
    (*_, pairs) = sections(several(), compare(several(), question), strict)
    assert "99 %" in [column.heading for column in pairs.columns]
