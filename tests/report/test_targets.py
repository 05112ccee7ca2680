"""Steps and seconds to a target, of runs whose times are known."""

from dataclasses import replace
from itertools import product
from math import inf, isnan, log, nan

import numpy as np
import pytest

from optbench.api import run
from optbench.errors import NothingToCompareError, UsageError
from optbench.inference.profiles import algoperf
from optbench.records import Status
from optbench.report.arrivals import sections
from optbench.report.races import Question
from optbench.report.targets import Answer, reach
from tests.refusal import refusal
from tests.report.runs import Lane, function_problem, tables

CHECKED = ("success", "success_low", "success_high", "ert", "rmst", "median", "par2", "par10")


def arriving(label, time, problem="anisotropic", steps=500, **lane):
    """Return a lane that is at 1.0 after so many steps, and ends at 2.0 where it never is."""
    loss = np.full(steps + 1, 2.0)
    loss[0] = 10.0
    if time < inf:
        loss[int(time) :] = 1.0
    return Lane(label, loss, problem, **lane)


def on_function(*lanes, **changes):
    known = {"iterations": 500, "minima": [], "random": True} | changes
    return tables(lanes, [function_problem(**known)])


def asked(*runs, targets=("1.0",), **options) -> Answer:
    return reach(runs, Question(targets=targets, **options))


def rows(answer):
    return answer.labels.set_index("label")


TIMES = (120, 180, inf, 260, inf, 150, 410, 200)


def seeded(label, times, **lane):
    return [arriving(label, time, seed=seed, **lane) for seed, time in enumerate(times)]


def test_the_worked_case():
    row = rows(asked(on_function(*seeded("sgd", TIMES)))).loc["sgd"]
    assert (row["seeds"], row["reached"], row["budget"], row["unit"]) == (8, 6, 500.0, "steps")
    expected = (0.75, 0.3491442055872, 0.9681459737501, 1160 * 2 / 6, 290.0, 230.0, 415.0, 1415.0)
    assert row[list(CHECKED)].tolist() == pytest.approx(expected, rel=1e-9)
    assert (row["median_low"], row["median_high"]) == (120.0, inf)
    assert row["rmst_low"] < 290.0 < row["rmst_high"]


def test_where_all_miss_and_where_lanes_end_badly():
    missed = [arriving("sgd", inf, seed=seed) for seed in range(4)]
    ends = [Status.DIVERGED, Status.FAILED, Status.STOPPED, Status.DONE]
    badly = [
        Lane("adam", [10.0, 2.0, nan], seed=seed, status=status) for seed, status in enumerate(ends)
    ]
    table = rows(asked(on_function(*missed, *badly)))
    for label in ("sgd", "adam"):
        row = table.loc[label]
        assert (row["seeds"], row["reached"], row["success"]) == (4, 0, 0.0)
        assert (row["ert"], row["rmst"], row["median"]) == (inf, 500.0, inf)


def warnings(*runs, **options):
    answer = asked(*runs, **options)
    return [line for section in sections(answer) for line in section.warnings]


def test_lanes_that_ended_badly_outside_or_not_at_all_are_told():
    bad = [Lane("sgd", [10.0, nan], seed=seed, status=Status.DIVERGED) for seed in (5, 6)]
    position = np.array([[0.0, 0.0], [99.0, 0.0]])
    beyond = Lane("adam", [10.0, 0.5], position=position)
    waiting = Lane("adam", [10.0, 0.5], seed=1, status=Status.RUNNING)
    run = on_function(arriving("sgd", 30), *bad, beyond, arriving("adam", 20, seed=2), waiting)
    assert rows(asked(run))["reached"].to_dict() == {"sgd": 1, "adam": 1}
    assert warnings(run) == [
        "sgd: 2 of 3 diverged",
        "adam: 1 of 2 ended outside the function's domain, which is a miss",
        "anisotropic: lanes that have not ended do not count: 1",
    ]
    assert warnings(on_function(arriving("sgd", 30)), targets=["10"]) == [
        "the target is not below the start"
    ]


def test_one_evaluation_at_the_end_is_told_to_be_too_few():
    lane = arriving("sgd", 30, evaluations=[(500, "test", 1.0, 0.5)])
    (line,) = warnings(on_function(lane), on="test_loss")
    assert line.startswith("evaluated once, at the end: run with --evaluate-every")


def sgd_steps(lr, target, budget):
    """Return when SGD is at a target on x²/20 + y² from (−7, 2), by its closed form."""
    for k in range(budget + 1):
        x, y = -7.0 * (1.0 - lr / 10.0) ** k, 2.0 * (1.0 - 2.0 * lr) ** k
        if x**2 / 20.0 + y**2 <= target:
            return k
    return inf


@pytest.fixture(scope="module")
def valley(tmp_path_factory):
    """SGD at two learning rates, for 60 and for 200 steps."""
    entries = [{"name": "sgd", "label": f"sgd {lr}", "lr": lr} for lr in (0.95, 0.3)]
    suite = {"name": "two", "problem": [{"name": "anisotropic"}], "optimizer": entries}
    out = tmp_path_factory.mktemp("results")
    return {steps: run(suite, iterations=steps, out=out).tables for steps in (60, 200)}


@pytest.mark.parametrize(
    ("target", "fast", "slow"), [(1.0, 10, 15), (0.1, 21, 53), (0.01, 32, 91), (0.001, 43, 129)]
)
def test_two_learning_rates_of_sgd_need_the_steps_of_the_closed_form(valley, target, fast, slow):
    for steps in (60, 200):
        table = rows(asked(valley[steps], targets=[str(target)]))
        found = table.loc[["sgd 0.95", "sgd 0.3"], "median"].tolist()
        assert found == [sgd_steps(lr, target, steps) for lr in (0.95, 0.3)]
        assert found == [fast, slow if slow <= steps else inf]
        rmst = table.loc[["sgd 0.95", "sgd 0.3"], "rmst"].tolist()
        assert rmst == [min(fast, steps), min(slow, steps)]
        assert table[["success_low", "rmst_low", "median_low"]].isna().all(axis=None)


def test_runs_with_other_iterations_of_a_problem_are_refused_with_the_place(valley):
    message = refusal(UsageError, asked, valley[60], valley[200])
    assert "'anisotropic' is not the same in" in message
    assert "iterations 60 and 200" in message


def test_labels_of_several_runs_stand_in_one_table(valley):
    moved = replace(valley[60], path=valley[60].path.with_name("elsewhere"))
    table = rows(asked(valley[60], moved, targets=["0.1"]))
    assert len(table) == 4
    assert table.loc["sgd 0.3 (elsewhere)", "median"] == 53


def test_the_target_is_the_same_for_all_labels_and_says_where_it_comes_from():
    lanes = [*seeded("sgd", [50, 60, 70]), *seeded("adam", [inf] * 3)]
    answer = asked(on_function(*lanes), targets=())
    assert answer.labels["target"].tolist() == [1.05, 1.05]
    assert answer.labels["rule"].tolist() == ["best:5%"] * 2
    assert answer.labels["chosen_here"].all()
    assert answer.labels["source"].tolist() == ["5 % above the best, sgd"] * 2
    assert answer.labels["label"].tolist() == ["sgd", "adam"]  # the fastest first
    assert not asked(on_function(*lanes)).labels["chosen_here"].any()


TWO = [
    function_problem("a", iterations=500, minima=[], random=False),
    function_problem("b=c", iterations=500, minima=[], random=False),
]


def two_problems(**times):
    lanes = [
        arriving(label, time, problem["problem"])
        for label, of in times.items()
        for problem, time in zip(TWO, of, strict=True)
    ]
    return tables(lanes, TWO)


def test_a_target_is_for_all_problems_or_for_one():
    def found(*texts, **options):
        table = asked(two_problems(sgd=(30, 40)), targets=texts, **options).labels
        return dict(zip(table["problem"], table["target"], strict=True))

    assert found("3") == {"a": 3.0, "b=c": 3.0}
    assert found("3", "a=4") == {"a": 4.0, "b=c": 3.0}
    assert found("b=c=of:sgd", "a=start/2") == {"a": 5.0, "b=c": 1.0}
    assert found("a=2", problems=["b=c"]) == {"b=c": 1.05}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["1", "2"], "'1' and '2' are two targets; give one a problem"),
        (["a=1", "a=2"], "'a' has two targets; give one, the same for all labels"),
        (["z=1"], "these runs have no problem 'z'; known are a, b=c"),
        (["a=x"], "target 'x' is malformed; write 0.1, best:5%"),
    ],
)
def test_targets_that_contradict_each_other_or_fit_nothing_are_refused(texts, says):
    assert refusal(UsageError, asked, two_problems(sgd=(30, 40)), targets=texts).startswith(says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on": "los"}, "nothing is called 'los' to watch; did you mean 'loss'?"),
        ({"unit": "hours"}, "times are counted in steps or seconds, not 'hours'"),
        ({"rungs": 1}, "a ladder of 1 targets is too short; 2 is the least"),
        ({"rungs": 9, "unit": "seconds"}, "a ladder of targets counts steps; leave out seconds"),
        ({"problems": ["aa"]}, "these runs have no problem 'aa'; did you mean 'a'?"),
        ({"reference": "sdg"}, "these runs have no optimizer 'sdg'; did you mean 'sgd'?"),
        ({"on": "test_loss"}, "a is left out: no lane has a finite test_loss; what was recorded: "),
        ({"targets": ["published"]}, "no target of 'a' is published; there are those of quadratic"),
    ],
)
def test_questions_without_an_answer_are_refused(options, says):
    assert refusal(UsageError, asked, two_problems(sgd=(30, 40)), **options).startswith(says)


def test_a_published_target_brings_what_is_watched():
    problem = function_problem("q", name="quadratic-deep", iterations=500, random=True)
    evaluations = [(step, "test", 100.0 - step / 10, nan) for step in range(0, 501, 50)]
    run = tables([arriving("sgd", 10, "q", evaluations=evaluations)], [problem])
    row = asked(run, targets=["published"]).labels.iloc[0]
    assert (row["on"], row["target"], row["median"]) == ("test_loss", 87.70315464772136, 150.0)
    assert row["source"].startswith("F. Schneider")
    assert not row["chosen_here"]
    message = refusal(UsageError, asked, run, targets=["published"], on="loss")
    assert message == "the published target of 'q' is a test_loss; leave out loss"


def test_a_problem_without_a_finite_value_is_left_out_with_the_reason():
    lost = [Lane("sgd", [9.0, inf], "b=c", status=Status.DIVERGED)]
    run = tables([arriving("sgd", 30, "a"), *lost], TWO)
    answer = asked(run, targets=())
    assert answer.labels["problem"].tolist() == ["a"]
    reason = "b=c is left out: no lane ended with a finite value to choose a target from"
    assert answer.notes == [reason]
    alone = tables(lost, [TWO[1]])
    assert refusal(NothingToCompareError, asked, alone, targets=()) == reason
    assert asked(alone).labels["reached"].tolist() == [0]  # a value needs no results


# Against a reference.

A, B = (120, 180, inf, 260, 230, 150, 410, 200), (100, 150, 400, inf, 180, 160, 300, 150)


def sign_flips(d):
    """Return the two-sided p by all choices of signs."""
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in SIGNS[len(d)]]
    return sum(total >= abs(sum(d)) - 1e-9 for total in sums) / len(sums)


SIGNS = {8: list(product((1, -1), repeat=8))}


def test_a_speed_up_is_the_ratio_of_means_and_its_test_pairs_the_seeds():
    run = on_function(*seeded("sgd", A), *seeded("adam", B))
    row = rows(asked(run, reference="sgd")).loc["adam"]
    a, b = ([min(time, 500) for time in times] for times in (A, B))
    assert (row["reference"], row["pairs"]) == ("sgd", 8)
    assert row["speedup"] == pytest.approx(sum(a) / sum(b), rel=1e-12)
    d = [log(x / y) for x, y in zip(a, b, strict=True)]
    assert row["ratio"] == pytest.approx(np.exp(np.mean(d)), rel=1e-12)
    assert row["p"] == pytest.approx(sign_flips(d), rel=1e-12)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    # The ends of the interval are where the test of shifted differences changes its mind.
    for end, inward in ((row["ratio_low"], 1), (row["ratio_high"], -1)):
        shifted = [[x - log(end) - inward * step for x in d] for step in (1e-4, -1e-4)]
        assert [sign_flips(each) > 0.05 for each in shifted] == [True, False]


def test_verdicts_are_by_holm_over_all_rows():
    slow, fast, like = (range(start, start + 80, 10) for start in (200, 100, 201))
    lanes = [*seeded("sgd", slow), *seeded("adam", fast), *seeded("lion", like)]
    table = rows(asked(on_function(*lanes), reference="sgd"))
    assert table.loc["adam", "p"] == 2 / 256
    assert table.loc["adam", "p_adjusted"] == 4 / 256
    assert table.loc[["adam", "lion"], "verdict"].tolist() == ["faster", "slower"]
    assert isnan(table.loc["sgd", "p"])
    reversed_ = rows(asked(on_function(*lanes), reference="adam"))
    assert reversed_.loc["sgd", "verdict"] == "slower"


def test_a_verdict_that_the_others_take_back_says_what_it_was_alone():
    signs = np.array([1] * 8 + [-1])  # one of nine seeds the other way: p = 4/512 alone
    lanes = [*seeded("sgd", [200] * 9), *seeded("adam", 200 - 10 * signs)]
    for k in range(6):
        lanes += seeded(f"like {k}", 200 + np.arange(9) % 2 * 2 - 1)
    row = rows(asked(on_function(*lanes), reference="sgd")).loc["adam"]
    assert row["p"] <= 0.05 < row["p_adjusted"]
    assert row["says"] == f"undecided (alone p = {row['p']:.2g})"


def test_too_few_seeds_give_no_p_but_a_ratio():
    run = on_function(*seeded("sgd", A[:5]), *seeded("adam", B[:5]))
    row = rows(asked(run, reference="sgd")).loc["adam"]
    assert (row["verdict"], row["says"]) == ("too few seeds", "too few seeds (needs 6)")
    assert np.isnan(row[["p", "p_adjusted", "ratio_low"]].astype(float)).all()
    assert row["ratio"] > 1.0


def test_where_nothing_is_random_the_ratio_is_exact():
    row = asked(two_problems(sgd=(40, 30), adam=(20, inf)), reference="sgd").labels
    row = row[row["label"] == "adam"].set_index("problem")
    assert row["speedup"].tolist() == [2.0, 30 / 500]
    assert row["verdict"].tolist() == ["nothing random"] * 2
    assert row["p"].isna().all()


def test_one_lane_of_a_rule_that_is_not_random_stands_for_all_seeds():
    known = [arriving("sgd", 100), *seeded("noisy", [200, 300, 400, 250, 350, 450])]
    run = on_function(*known, random=False)
    rules = [{"label": "sgd", "random": False}, {"label": "noisy", "random": True}]
    run = replace(run, meta={**run.meta, "optimizers": rules})
    row = rows(asked(run, reference="sgd")).loc["noisy"]
    assert (row["pairs"], row["p"]) == (6, 2 / 64)
    assert row["speedup"] == pytest.approx(6 * 100 / 1950)


def test_a_target_at_the_start_has_times_of_zero_and_no_logarithm_of_it():
    answer = asked(on_function(*seeded("sgd", A), *seeded("adam", B)), targets=["10"],
                   reference="sgd", profile=True)  # fmt: skip
    row = rows(answer).loc["adam"]
    assert (row["rmst"], row["ert"], row["ratio"], row["p"]) == (0.0, 0.0, 1.0, 1.0)
    assert isnan(row["speedup"])
    assert answer.overall["score"].tolist() == [1.0, 1.0]


def test_a_reference_without_company_is_nothing_to_compare_with():
    run = on_function(*seeded("sgd", A))
    assert "in common with 'sgd'" in refusal(NothingToCompareError, asked, run, reference="sgd")


# In seconds.


def with_alone(run, **seconds):
    entries = [{**entry, "alone_seconds": seconds} for entry in run.meta["problems"]]
    return replace(run, meta={**run.meta, "problems": entries})


def test_seconds_are_steps_times_what_a_step_takes_alone():
    run = on_function(*seeded("sgd", [100, 200]), *seeded("adam", [40, 300]))
    answer = asked(with_alone(run, sgd=0.001, adam=0.004), unit="seconds")
    table = rows(answer)
    # Nothing is known of sgd beyond 500 steps of 1 ms: that is the budget of both.
    assert table["budget"].tolist() == [0.5, 0.5]
    assert table["unit"].tolist() == ["seconds"] * 2
    assert table.loc["sgd", "rmst"] == pytest.approx(0.15)
    assert table.loc["adam", "reached"] == 1  # 300 steps of 4 ms are 1.2 s
    assert table.loc["adam", "rmst"] == pytest.approx((0.16 + 0.5) / 2)
    assert table["step_seconds"].to_dict() == {"sgd": 0.001, "adam": 0.004}
    assert all(race.alone for race in answer.races)


def test_without_them_lanes_must_have_run_alike():
    lanes = [*seeded("sgd", [100], step_seconds=0.002), *seeded("adam", [40], step_seconds=0.001)]
    run = on_function(*lanes)
    answer = asked(run, unit="seconds")
    assert rows(answer)["rmst"].to_dict() == pytest.approx({"adam": 0.04, "sgd": 0.2})
    assert not answer.races[0].alone
    for column, value in (("block_lanes", 2), ("workers", 3), ("step_seconds", None)):
        other = run.lanes.copy()
        other.loc[0, column] = value
        message = refusal(UsageError, asked, replace(run, lanes=other), unit="seconds")
        assert message.startswith("seconds of 'anisotropic' cannot be compared: its lanes ran in")
        assert message.endswith("run it with --time-alone")
        # Times measured alone need no equal blocks, if all labels have one.
        for alone, is_enough in (({"sgd": 1.0, "adam": 1.0}, True), ({"sgd": 1.0}, False)):
            timed = with_alone(replace(run, lanes=other), **alone)
            if is_enough:
                assert len(asked(timed, unit="seconds").labels) == 2
            else:
                refusal(UsageError, asked, timed, unit="seconds")
    reused = replace(run, lanes=run.lanes.assign(reused_from=[None, "earlier"]))
    refusal(UsageError, asked, reused, unit="seconds")


def test_seconds_of_several_runs_need_one_machine_and_keep_their_labels():
    environment = {"processor": "fast", "packages": {"numpy": "2.2"}}
    sides = [
        with_alone(on_function(*seeded("sgd", [100, 200])), sgd=seconds)
        for seconds in (0.001, 0.003)
    ]
    one, other = (
        replace(
            side, path=side.path.with_name(name), meta={**side.meta, "environment": environment}
        )
        for side, name in zip(sides, ("old", "new"), strict=True)
    )
    table = rows(asked(one, other, unit="seconds"))
    assert table["step_seconds"].to_dict() == {"sgd (old)": 0.001, "sgd (new)": 0.003}
    elsewhere = replace(other, meta={**other.meta, "environment": {"processor": "slow"}})
    message = refusal(UsageError, asked, one, elsewhere, unit="seconds")
    assert message == 'seconds of old and new cannot be compared: processor "fast" and "slow"'
    assert len(asked(one, elsewhere).labels) == 2  # steps can be


# Problems together.

T = [[100, 200, inf], [150, 200, 300], [100, 900, 330]]
"""Times of three labels on three problems: the worked case of profiles."""

NAMES = ("sgd", "adam", "lion")


def three_problems(t=T, seeds=1, **changes):
    """Return labels × problems; seed s takes s steps more."""
    problems = [
        function_problem(f"p{k}", iterations=1000, minima=[], random=seeds > 1, **changes)
        for k in range(len(t[0]))
    ]
    lanes = [
        arriving(label, t[a][k] + seed, f"p{k}", steps=1000, seed=seed)
        for a, label in enumerate(NAMES[: len(t)])
        for k in range(len(t[0]))
        for seed in range(seeds)
    ]
    return tables(lanes, problems)


def overall(*arguments, **options):
    return asked(*arguments, **options).overall.set_index("label")


def test_the_worked_case_of_profiles():
    table = overall(three_problems(), profile=True)
    expected = {"adam": 0.9444444444444, "sgd": 0.6666666666667, "lion": 0.6555555555556}
    assert table["score"].to_dict() == pytest.approx(expected, rel=1e-9)
    assert list(table.index) == list(expected)
    assert table.loc[["sgd", "adam", "lion"], "within_1"].tolist() == [2 / 3, 2 / 3, 1 / 3]
    assert table.loc["adam", "within_2"] == 1.0
    assert (table["problems"] == 3).all()
    assert table["score_low"].isna().all()  # nothing is random
    assert "algoperf" not in table and "area" not in table  # noqa: PT018


def test_seeds_give_scores_an_interval_that_is_said_to_be_too_narrow():
    answer = asked(three_problems(seeds=5), profile=True)
    table = answer.overall.set_index("label")
    assert (table["score_low"] <= table["score"]).all()
    assert (table["score"] <= table["score_high"]).all()
    assert table.loc["lion", "score_low"] < table.loc["lion", "score_high"]
    assert any("can be far too narrow" in note for note in answer.notes)
    uneven = three_problems(seeds=3)
    fewer = replace(uneven, lanes=uneven.lanes[uneven.lanes["lane"] != 0])
    answer = asked(fewer, profile=True)
    assert answer.overall["score_low"].isna().all()
    assert any("no interval" in note for note in answer.notes)


def test_the_score_of_algoperf_takes_variants_with_their_base():
    t = [[100, 130, 100], [150, inf, 120]]
    run = three_problems(t)
    entries = run.meta["problems"]
    entries[1]["variant_of"] = "p0"
    table = overall(run, algoperf=True)
    # adam misses the variant p1, and so its base p0: of p0 and p2 it has one, at a ratio of 1.2.
    taus = np.linspace(1.0, 4.0, 100)
    expected = {"sgd": 1.0, "adam": np.trapezoid((taus >= 1.2) / 2, taus) / 3}
    assert table["algoperf"].to_dict() == pytest.approx(expected, rel=1e-12)
    assert table["algoperf"].tolist() == algoperf(np.array(t, dtype=float), {1: 0}).tolist()
    message = refusal(UsageError, asked, run, algoperf=True, problems=["p1", "p2"])
    assert message.startswith("'p1' is a variant of 'p0', which is not among these problems")


def test_labels_that_some_problem_lacks_are_left_out_of_it_and_no_label_is_no_comparison():
    run = two_problems(sgd=(30, 40), adam=(20, 50))
    fewer = replace(run, lanes=run.lanes.drop(index=3))
    answer = asked(fewer, profile=True)
    assert answer.overall["label"].tolist() == ["sgd"]
    assert answer.notes[0] == "not on every problem, and left out: adam"
    nobody = replace(run, lanes=run.lanes.drop(index=[1, 2]))
    message = refusal(NothingToCompareError, asked, nobody, profile=True)
    assert message == "nothing to compare: no optimizer is on every problem"


def test_a_ladder_gives_the_area_under_the_share_of_targets_reached():
    rungs, budgets = 5, (30, 100)
    problems = [
        function_problem(f"p{k}", iterations=budget, minima=[], random=False)
        for k, budget in enumerate(budgets)
    ]
    losses = {
        (label, k): 8.0 * rate ** np.arange(budget + 1)
        for label, rate in (("sgd", 0.9), ("adam", 0.8))
        for k, budget in enumerate(budgets)
    }
    lanes = [Lane(label, loss, f"p{k}") for (label, k), loss in losses.items()]
    table = overall(tables(lanes, problems), rungs=rungs)
    for label in ("sgd", "adam"):
        areas = []
        for k, budget in enumerate(budgets):
            best = losses["adam", k][-1]
            goals = [8.0, *(8.0 * (best / 8.0) ** (i / 4) for i in range(1, 4)), best]
            for goal in goals:
                # The floor of rounding and the ends: a hair's breadth decides nothing here.
                there = [i for i, loss in enumerate(losses[label, k]) if loss <= goal * (1 + 1e-9)]
                used = log(max(there[0], 1)) / log(budget) if there else 1.0
                areas.append(max(0.0, 1.0 - used))
        assert table.loc[label, "area"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert "algoperf" not in table


def test_a_problem_on_which_nobody_fell_has_no_ladder():
    flat = [Lane("sgd", [2.0, 2.0], "b=c")]
    run = tables([arriving("sgd", 30, "a"), *flat], TWO)
    answer = asked(run, rungs=5)
    assert answer.notes == ["b=c has no ladder: no label ended below the start"]
    assert isinstance(answer.table, type(answer.overall))
    message = refusal(NothingToCompareError, asked, tables(flat, [TWO[1]]), rungs=5)
    assert "no label ended below the start" in message


def test_the_table_is_that_of_problems_unless_they_are_put_together():
    run = two_problems(sgd=(30, 40))
    assert "problem" in asked(run).table
    assert "score" in asked(run, profile=True).table


def test_seeds_choose_a_configuration_and_the_others_measure():
    def lanes(lr, times):
        return [
            arriving("sgd", time, seed=seed, hyperparameters={"lr": lr})
            for seed, time in enumerate(times)
        ]

    run = on_function(*lanes(0.1, [inf, 30, 40, 50]), *lanes(0.2, [60, 70, 80, 90]))
    assert "--choose-on" in refusal(UsageError, asked, run)
    row = asked(run, choose_on=[0]).labels.iloc[0]
    assert (row["configuration"], row["seeds"], row["rmst"]) == ("lr=0.2", 3, 80.0)


def test_the_same_tables_give_the_same_digits():
    run = three_problems(seeds=4)
    first, second = (asked(run, profile=True, reference="sgd") for _ in range(2))
    assert first.labels.equals(second.labels)
    assert first.overall.equals(second.overall)
