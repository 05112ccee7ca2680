from dataclasses import replace

import numpy as np
import pytest

from optbench.gate.compare import compare
from optbench.gate.metric import MeasuredGroup
from optbench.gate.quality import judge, seeds_needed, untested
from optbench.gate.verdict import Gate, Outcome
from tests.gate.made import (
    curve,
    edited,
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_losses,
)
from tests.report.runs import Lane

RUN = made(network_lanes())
BASELINE = saved(RUN)
LOST = {"final_loss": np.nan, "status": "diverged"}
WOBBLE = np.array([0.01, -0.02, 0.03, 0.0, -0.01, 0.02, -0.03, 0.015])


def group(differences, problem="mnist-mlp", label="adam", spread=0.1, **changes) -> MeasuredGroup:
    differences = np.asarray(differences, dtype=float)
    then = spread * np.cos(np.arange(differences.size))
    known = {"lanes": differences.size, "finite_then": differences.size}
    return MeasuredGroup(problem, label, then, then + differences, **(known | changes))


def test_a_run_that_is_the_baseline_passes_everywhere():
    verdict = compare(BASELINE, RUN)
    assert verdict.findings == ()
    assert [(g.problem, g.label, g.verdict, g.effect, g.seeds) for g in verdict.groups] == [
        ("mnist-mlp", "sgd", "pass", 0.0, 8),
        ("mnist-mlp", "adam", "pass", 0.0, 8),
    ]
    assert all((g.low, g.high, g.p) == (0.0, 0.0, 1.0) for g in verdict.groups)


def test_a_fifth_more_loss_with_noise_is_a_regression():
    verdict = compare(BASELINE, with_losses(RUN, "adam", 1.2 * np.exp(WOBBLE)))
    finding = only(verdict)
    assert told(verdict) == [("failure", "quality", "mnist-mlp", "adam")]
    sgd, adam = verdict.groups
    assert (sgd.verdict, adam.verdict) == ("pass", "regression")
    assert adam.effect == pytest.approx(1.2 * np.exp(WOBBLE.mean()) - 1.0, rel=1e-5)
    assert adam.low < adam.effect < adam.high
    assert adam.p == 1 / 256
    assert finding.message.startswith("regression: final loss +20.2 % (+17")
    assert "threshold 5 %; p = 0.00391, 8 seeds" in finding.message
    assert finding.values["effect"] == adam.effect


def test_a_fifth_less_loss_is_an_improvement_and_only_a_notice():
    verdict = compare(BASELINE, with_losses(RUN, "sgd", np.exp(WOBBLE) / 1.2))
    assert told(verdict) == [("notice", "quality", "mnist-mlp", "sgd")]
    assert verdict.groups[0].verdict == "improvement"
    assert verdict.groups[0].p == 1 / 256
    assert not verdict.failed


def test_a_significant_change_within_the_threshold_passes():
    (found,) = judge([group(0.03 + WOBBLE / 100)], Gate())
    assert (found.verdict, found.p) == ("pass", 1 / 256)
    (found,) = judge([group(0.03 + WOBBLE / 100)], Gate(threshold=0.02))
    assert found.verdict == "regression"


def test_thresholds_may_differ_by_problem():
    gate = Gate(thresholds={"mnist-mlp": 0.5})
    assert judge([group(0.2 + WOBBLE)], gate)[0].verdict == "pass"
    assert judge([group(0.2 + WOBBLE, problem="sphere")], gate)[0].verdict == "regression"


def test_an_improvement_needs_the_change_that_a_regression_would_be_backwards():
    tiny = WOBBLE / 1e4
    for change, expected in ((0.0497, "pass"), (0.051, "improvement")):
        (found,) = judge([group(-np.log1p(change) + tiny - tiny.mean())], Gate())
        assert found.verdict == expected


def test_noise_that_hides_changes_beyond_the_threshold_is_inconclusive():
    (found,) = judge([group(10 * WOBBLE)], Gate())
    assert found.verdict == "inconclusive"
    assert found.low < -0.05 or found.high > 0.05
    assert found.p > 0.01
    quiet = judge([group(WOBBLE / 2)], Gate())[0]
    assert quiet.verdict == "pass"
    assert -0.05 < quiet.low < quiet.high < 0.05


def test_an_inconclusive_change_beyond_the_threshold_warns_and_others_are_notices():
    shaken = np.exp(0.07 + 8 * WOBBLE)
    verdict = compare(BASELINE, with_losses(RUN, "adam", shaken))
    assert told(verdict) == [("warning", "quality", "mnist-mlp", "adam")]
    verdict = compare(BASELINE, with_losses(RUN, "adam", shaken / 1.07))
    assert told(verdict) == [("notice", "quality", "mnist-mlp", "adam")]
    assert verdict.exit_code == 0


def test_fewer_than_eight_seeds_are_inconclusive_and_say_so():
    run = made(network_lanes(seeds=range(7)))
    verdict = compare(saved(run), with_losses(run, "adam", 1.5 * np.exp(WOBBLE[:7])))
    finding = only(verdict)
    assert finding.severity == "warning"
    assert "needs at least 8 seeds, has 7" in finding.message
    adam = verdict.groups[1]
    assert adam.verdict == "inconclusive"
    assert (adam.low, adam.high, adam.detectable, adam.p) == (None,) * 4
    assert adam.effect == pytest.approx(0.5, abs=0.01)


def test_few_seeds_that_end_with_the_same_bits_pass_and_still_say_so():
    run = made(network_lanes(seeds=range(3)))
    verdict = compare(saved(run), run)
    assert verdict.findings == ()
    assert {g.verdict for g in verdict.groups} == {Outcome.PASS}
    assert all("needs at least 8 seeds, has 3" in g.note for g in verdict.groups)


def test_a_stricter_level_needs_more_seeds():
    (found,) = judge([group(0.5 + WOBBLE)], Gate(level=0.001))
    assert found.note == "needs at least 10 seeds, has 8"


def test_problems_without_randomness_are_judged_by_the_threshold_alone():
    for seeds in ((0,), range(8)):
        run = made(function_lanes(seeds))
        baseline = saved(run)
        (worse,) = compare(baseline, with_losses(run, "sgd", 1.06)).groups
        assert (worse.verdict, worse.p) == ("regression", None)
        assert worse.effect == pytest.approx(0.06)
        assert worse.low == worse.high == worse.effect
        assert worse.detectable == pytest.approx(0.05)
        assert "nothing random" in worse.note
        (alike,) = compare(baseline, with_losses(run, "sgd", 1.04)).groups
        assert alike.verdict == "pass"
        (better,) = compare(baseline, with_losses(run, "sgd", 0.9)).groups
        assert better.verdict == "improvement"


def test_one_seed_is_judged_by_the_threshold_only_where_the_run_says_nothing_is_random():
    run = made(network_lanes(seeds=[0]))
    (_, adam) = compare(saved(run), with_losses(run, "adam", 2.0)).groups
    assert (adam.verdict, adam.note) == ("inconclusive", "needs at least 8 seeds, has 1")
    run.meta["problems"][0]["random"] = False
    (_, adam) = compare(saved(run), with_losses(run, "adam", 2.0)).groups
    assert adam.verdict == "regression"


def test_lanes_without_a_finite_loss_are_left_out_and_counted():
    run = made(network_lanes({"adam": 0.25}, seeds=range(10)))
    gone = edited(run, "adam", (1, 4), **LOST, diverged_at=30)
    (adam,) = compare(saved(run), with_losses(gone, "adam", 1.5)).groups
    assert (adam.seeds, adam.verdict, adam.p) == (8, "regression", 1 / 256)
    assert adam.note == "2 lanes without a finite loss left out"


def test_groups_of_which_all_lanes_diverged_on_one_side_are_the_worst_there_are():
    lost = edited(RUN, "adam", **LOST)
    for baseline, run, expected in (
        (RUN, lost, "regression"),
        (lost, RUN, "improvement"),
        (lost, lost, "pass"),
    ):
        verdict = compare(saved(baseline), run)
        adam = verdict.groups[1]
        assert (adam.verdict, adam.effect, adam.seeds) == (expected, None, 0)
        assert "finite loss" in adam.note
        assert not any(f.kind == "quality" for f in verdict.findings)  # presence tells


def test_lanes_that_diverged_on_different_sides_are_no_pairs():
    then, now = (edited(RUN, "adam", seeds, **LOST) for seeds in (range(4), range(4, 8)))
    adam = compare(saved(then), now).groups[1]
    assert (adam.verdict, adam.seeds) == ("inconclusive", 0)
    assert adam.note == "no seed has a finite loss both then and now"


def test_configurations_of_a_grid_are_groups_of_their_own():
    lanes = [
        Lane("sgd", curve(level, seed), "mnist-mlp", seed=seed, hyperparameters={"lr": lr})
        for lr, level in ((0.01, 0.5), (0.1, 0.3))
        for seed in range(8)
    ]
    run = made(lanes)
    losses = run.lanes["final_loss"].where(run.lanes["hp_lr"] != 0.1, 1.3 * run.lanes["final_loss"])
    verdict = compare(saved(run), edited(run, final_loss=losses))
    assert [(g.configuration, g.setting, g.verdict) for g in verdict.groups] == [
        (0, "lr=0.01", "pass"),
        (1, "lr=0.1", "regression"),
    ]
    assert only(verdict).where == "mnist-mlp, sgd (lr=0.1)"


def test_one_group_that_got_worse_is_found_beside_others_with_noise():
    noise = np.random.default_rng(1).normal(0.0, 0.005, (5, 10))
    groups = [group(row, label=str(place)) for place, row in enumerate(noise)]
    groups[2] = group(noise[2] + 0.1, label="2")
    assert [g.verdict for g in judge(groups, Gate())] == ["pass"] * 2 + ["regression"] + [
        "pass"
    ] * 2


def test_groups_with_other_seeds_are_judged_together():
    full = group(0.2 + np.tile(WOBBLE, 2)[:10])
    gappy = group(np.where(np.arange(10) < 2, np.nan, 0.2 + np.tile(WOBBLE, 2)[:10]))
    few = group(np.where(np.arange(10) < 3, np.nan, 0.2))
    found = judge([full, gappy, few], Gate())
    assert [g.verdict for g in found] == ["regression", "regression", "inconclusive"]
    assert [g.seeds for g in found] == [10, 8, 7]


def test_a_change_of_settings_explains_a_regression_and_does_not_excuse_it():
    run = with_losses(replace(RUN, lanes=RUN.lanes.assign(hp_lr=0.2)), "adam", 1.3)
    verdict = compare(BASELINE, run)
    assert [f.kind for f in verdict.findings] == ["settings", "settings", "quality"]
    assert verdict.findings[-1].consequence
    assert verdict.findings[-1].message.endswith("; its settings differ too")


@pytest.mark.parametrize("level", [0.05, 0.01, 0.002])
def test_with_one_seed_less_than_needed_no_losses_fail_and_with_so_many_some_do(level):
    gate = Gate(level=level)
    needed = seeds_needed(gate)
    for seeds in range(1, needed + 2):
        verdicts = {
            judge([group([change] * seeds)], gate)[0].verdict for change in (0.06, 1.0, 300.0)
        }
        assert (Outcome.REGRESSION in verdicts) == (seeds >= needed)


def test_seeds_that_count_are_those_with_a_final_loss_where_something_is_random():
    run = made(network_lanes() + function_lanes())
    for entry in run.meta["problems"]:
        entry["random"] = entry["problem"] == "mnist-mlp"
    for entry in run.meta["optimizers"]:
        entry["random"] = False
    assert untested(run.lanes, run.meta, 8) == {}
    assert untested(run.lanes, run.meta, 10) == {"mnist-mlp": 8}
    lost = edited(run, "adam", (1, 5), **LOST)
    assert untested(lost.lanes, lost.meta, 8) == {"mnist-mlp": 6}
    run.meta["optimizers"][0]["random"] = True  # sgd, which also runs on the function
    assert untested(run.lanes, run.meta, 8) == {"anisotropic": 1}
