"""What a study is going to take: counted by hand."""

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.runs.reuse import Reused
from optbench.suite import resolve
from optbench.tuning import tpe
from optbench.tuning.outlook import Outlook, Share, first_plan, foresee, shares, steps_after
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.settling import settle
from tests.refusal import refusal

OPTIMIZERS = [{"name": "sgd", "lr": 0.95}, {"name": "momentum", "lr": 0.1}]

VALLEY = {
    "name": "valley",
    "iterations": 30,
    "problem": [{"name": "anisotropic"}],
    "optimizer": OPTIMIZERS,
}

NOISY = VALLEY | {"problem": [{"name": "noisy-beale"}], "optimizer": OPTIMIZERS[:1]}


def protocol(suite, **options):
    request = TuneRequest(suite, **{"budget": "8 trials", **options})
    return settle(request, None, lambda suite: {}, lambda message: None)


def test_where_nothing_is_random_a_trial_is_a_lane():
    assert shares(protocol(VALLEY)) == (
        Share("search", "anisotropic", "sgd", 8, 1, 8, 240),
        Share("search", "anisotropic", "momentum", 8, 1, 8, 240),
        Share("final", "anisotropic", "sgd", 2, 1, 2, 60),
        Share("final", "anisotropic", "momentum", 2, 1, 2, 60),
    )


def test_where_chance_decides_there_are_seeds_and_finalists():
    assert shares(protocol(NOISY, defaults=False)) == (
        Share("search", "noisy-beale", "sgd", 8, 3, 24, 720),
        Share("finalists", "noisy-beale", "sgd", 4, 5, 20, 600),
        Share("final", "noisy-beale", "sgd", 1, 10, 10, 300),
    )
    assert [share.phase for share in shares(protocol(NOISY, finalists=0))] == ["search", "final"]
    few = shares(protocol(NOISY, finalists=9))[1]
    assert (few.trials, few.lanes) == (8, 40)


def test_equal_configurations_count_once_but_not_where_they_are_not_known(monkeypatch):
    choice = {"space": {"sgd.lr": "choice(0.1, 0.2)"}, "optimizers": "sgd"}
    assert shares(protocol(VALLEY, **choice))[0].lanes == 2
    monkeypatch.setattr(tpe, "optuna_version", lambda: "4.5.0")
    assert shares(protocol(VALLEY, sampler="tpe", **choice))[0].lanes == 8


def test_what_comes_after_a_round():
    settled = protocol(NOISY)
    foreseen, key = shares(settled), ("noisy-beale", "sgd")
    assert steps_after(settled, "search", {key: 2}, foreseen) == {"noisy-beale": 540 + 600 + 600}
    assert steps_after(settled, "search", {key: 8}, foreseen) == {"noisy-beale": 600 + 600}
    assert steps_after(settled, "finalists", {key: 12}, foreseen) == {"noisy-beale": 600}
    assert steps_after(settled, "final", {key: 9}, foreseen) == {"noisy-beale": 0}


def test_the_time_of_all_lanes_is_shared_by_the_workers():
    settled = protocol(NOISY)
    outlook = Outlook(settled, shares(settled), {"noisy-beale": 0.6}, 2, {"noisy-beale": 24})
    assert outlook.seconds == pytest.approx((24 + 20 + 20 - 24) * 0.6 / 2)
    assert outlook.step_seconds == {"noisy-beale": pytest.approx(0.02)}


def test_a_few_steps_tell_what_a_lane_takes(tmp_path):
    settled = protocol(NOISY)
    device = NumpyDevice()
    plan = first_plan(settled, device, 1, None)
    assert len(plan.lanes) == 24

    def reusable(lanes):
        assert lanes == plan.lanes
        return [Reused(tmp_path, {0: 5, 7: 6})]

    outlook = foresee(settled, plan, device, reusable)
    assert outlook.reused == {"noisy-beale": 2}
    assert outlook.lane_seconds["noisy-beale"] > 0.0
    assert outlook.workers == 1
    assert foresee(settled, plan, device).reused == {}


def test_what_cannot_be_run_in_some_round_is_refused_before_the_first(monkeypatch):
    labelled = {"name": "sgd", "label": "sgd (default)"}
    settled = protocol(VALLEY | {"optimizer": [OPTIMIZERS[0], labelled]})
    said = refusal(SuiteError, first_plan, settled, NumpyDevice(), 1, None)
    assert "there are two called 'sgd (default)'" in said
    long = VALLEY | {"optimizer": [{"name": "sgd", "label": "x" * 250}]}
    said = refusal(SuiteError, first_plan, protocol(long), NumpyDevice(), 1, None)
    assert "it has 260 characters" in said
    assert first_plan(protocol(long, defaults=False), NumpyDevice(), 1, None).lanes
    monkeypatch.setattr(resolve, "MAX_LANES", 23)
    said = refusal(SuiteError, first_plan, protocol(NOISY), NumpyDevice(), 1, None)
    assert "make 24 lanes; a run can have at most 23" in said
