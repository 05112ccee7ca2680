"""Halving: what goes on is what it would have been, bit for bit, and the rest is not paid for."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optbench.errors import SuiteError
from optbench.records import Status
from optbench.runs import layout
from optbench.runs.invocation import Execution
from optbench.store.studies import read_study
from optbench.tuning import rungs
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.settling import settle
from optbench.tuning.study import resume_study, tune
from optbench.tuning.written import read_protocol
from tests.refusal import refusal
from tests.tuning.halved import (
    FUNCTION,
    Counter,
    assert_rungs_are_beginnings,
    assert_survivors_are_plain,
    network,
    runs,
    study,
)


@pytest.fixture(autouse=True)
def blocks_of_their_own(monkeypatch):
    """Let two workers share even small blocks, so that survivors come from several."""
    monkeypatch.setattr(layout, "WORTH_SHARING", 0)


def both(folder, request, workers=2, **halving):
    halved = study(folder / "halved", {**request, "halving": 3, **halving}, workers=workers)
    plain = study(folder / "plain", request, workers=1)
    assert (halved.status, plain.status) == ("done", "done")
    (whole,) = runs(plain)
    return runs(halved), whole, halved


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "WORTH_SHARING", 0)
        return both(tmp_path_factory.mktemp("function"), FUNCTION)


def test_lanes_that_go_on_are_those_of_a_plain_run(function):
    halved, plain, _ = function
    assert [len(run.meta["blocks"]) for run in halved[:2]] == [2, 2]
    assert_survivors_are_plain(halved, plain)
    assert_rungs_are_beginnings(halved, plain)


def test_a_third_of_the_trials_goes_on_and_the_others_are_stopped(function):
    halved, _, made = function
    assert [len(run.lanes) for run in halved] == [60, 21, 9]
    for run, pause in zip(halved, [10, 30, None], strict=True):
        culled = run.lanes[run.lanes["status"] == "stopped"]
        if pause is None:
            assert culled.empty
            assert set(run.lanes["status"]) == {"done"}
        else:
            assert set(culled["stopped_by"]) == {"halving"}
            assert set(culled["stopped_at"]) == set(culled["iterations"]) == {pause}
            assert (run.lanes["status"] == "paused").sum() == len(
                halved[halved.index(run) + 1].lanes
            )
        assert run.meta["status"] == "done"
        assert not (run.path / "journal").exists()
    meta = json.loads((made.path / "tune.json").read_text(encoding="utf-8"))
    steps = [[10, 20], [30, 7], [90, 3]]
    assert meta["halving"] == {
        "eta": 3,
        "first_rung": "N/9",
        "rungs": {"anisotropic": dict.fromkeys(("sgd", "momentum", "adam"), steps)},
    }
    assert [each["trials"] for each in meta["rounds"]] == [60, 21, 9, 3]


def test_those_go_on_whose_loss_at_the_rung_is_smallest(function):
    """The loss after the rung's last update but one, which is the last row."""
    _, plain, made = function
    trials = read_study(made.path).trials
    losses = plain.trace.pivot(index="lane", columns="iteration", values="loss")
    for label in ("sgd", "momentum", "adam"):
        own = plain.lanes.loc[plain.lanes["label"] == label, "lane"].to_numpy()
        left = np.arange(20)
        for row, count in ((9, 7), (29, 3)):
            at = losses.loc[own, row].to_numpy()[left]
            left = np.sort(
                left[np.argsort(np.where(np.isnan(at), np.inf, at), kind="stable")[:count]]
            )
        rows = trials[trials["label"] == label]
        assert rows.loc[rows["culled_at"].isna(), "trial"].tolist() == left.tolist()
        culled = rows[rows["culled_at"].notna()]
        assert np.isposinf(culled["score"]).all()
        for row in culled.to_dict("records"):
            assert row["final_loss"] == losses.loc[own[row["trial"]], row["culled_at"] - 1]
        best = rows[rows["chosen"]].iloc[0]
        assert best["score"] == losses.loc[own[left], 90].min() == best["final_loss"]


def test_steps_are_those_of_the_rungs(tmp_path):
    counter = Counter()
    request = {**FUNCTION, "space": {"*.lr": "log(1e-4, 1e-2)"}}
    less = {"finalists": 0, "eval_seeds": 1, "defaults": False}
    made = tune(
        TuneRequest(**{**request, **less, "halving": 3}),
        Execution(out=tmp_path),
        progress=counter.progress,
    )
    plan = rungs.plan(20, 3, 10, 90)
    assert plan == [(10, 20), (30, 7), (90, 3)]
    assert counter.updates == 3 * rungs.steps(plan) == 3 * (200 + 140 + 180)
    trials = read_study(made.path).trials
    assert trials.groupby("label")["steps"].sum().tolist() == [rungs.steps(plan)] * 3


@pytest.mark.parametrize(
    ("top", "problem"),
    [
        ("", 'record = "before"\nl2 = 1e-4'),
        ("evaluate_every = 15", 'record = "after"'),
        ("stop.patience = 12\nstop.patience_increase = 1.5", ""),
        ("evaluate_every = 7\nstop.patience = 30", ""),
        ("stop.loss = 1.5\nstop.grad_norm = 0.8", ""),
    ],
    ids=["before", "evaluated", "patient", "patient and evaluated", "ruled"],
)
def test_networks_go_on_with_all_that_they_carry(top, problem, tmp_path):
    """Slots, running means, dropout's masks, best parameters, windows of losses, patience."""
    halved, plain, made = both(tmp_path, network(tmp_path, top, problem))
    assert_survivors_are_plain(halved, plain)
    assert_rungs_are_beginnings(halved, plain)
    if "patience" in top:
        assert (plain.lanes["stopped_by"] == "patience").any()
    if "loss" in top:
        assert {"loss", "grad_norm"} <= set(plain.lanes["stopped_by"])
    trials = read_study(made.path).trials
    assert trials["validation_loss"].notna().all()
    reached = trials[trials["culled_at"].isna()]
    assert (reached["score"] == reached["validation_loss"]).all()
    assert len(reached) == 4
    assert made.protocol.metrics == {"network": "validation_loss"}


def test_windows_that_are_as_wide_at_a_rung_as_at_the_end_are_kept_alone(tmp_path):
    """From the thousandth update on a final loss is the mean of a hundred rows."""
    request = {
        "problem": "noisy-rosenbrock",
        "optimizers": ["sgd", "adam"],
        "iterations": 3600,
        "budget": "4 trials",
        "trial_seeds": 2,
        "metric": "final_loss",
        "space": {"*.lr": "log(1e-5, 1e-3)"},
    }
    halved, plain, _ = both(tmp_path, request, first_rung="1100")
    assert len(halved) == 3
    assert_survivors_are_plain(halved, plain)


@pytest.mark.parametrize("rung", ["search-000", "search-001", "search-002"])
def test_a_study_that_is_interrupted_in_a_rung_goes_on(rung, function, tmp_path):
    """As Ctrl-C twice does it, in the midst of its rows."""

    def progress(plan):
        def observe(record):
            if plan.suite.name == rung:
                raise KeyboardInterrupt

        return nullcontext(observe)

    request = {**FUNCTION, "finalists": 0, "eval_seeds": 1, "defaults": False, "halving": 3}
    begun = tune(
        TuneRequest(**request), Execution(out=tmp_path, checkpoint_every=0), progress=progress
    )
    assert begun.status is Status.INTERRUPTED
    (path,) = tmp_path.iterdir()
    assert read_study(path).meta["status"] == "interrupted"
    made = resume_study(path, Execution(out=tmp_path))
    halved, plain, whole = function
    assert made.winners == whole.winners
    assert_survivors_are_plain(runs(made), plain)
    for ours, theirs in zip(runs(made), halved, strict=True):
        order = ["lane", "iteration"]
        pd.testing.assert_frame_equal(
            ours.trace.sort_values(order, ignore_index=True),
            theirs.trace.sort_values(order, ignore_index=True),
            check_exact=True,
        )
        columns = ["lane_key", "status", "stopped_at", "final_loss"]
        pd.testing.assert_frame_equal(ours.lanes[columns], theirs.lanes[columns])


def test_finalists_are_of_those_that_got_to_the_end(tmp_path):
    request = {**network(tmp_path), "optimizers": ["sgd"], "halving": 3, "iterations": 18}
    made = study(tmp_path, {**request, "eval_seeds": 2, "finalist_seeds": 1}, final=True)
    table = read_study(made.path)
    search, finalists = (
        table.trials[table.trials["phase"] == phase] for phase in ("search", "finalists")
    )
    reached = search.loc[search["culled_at"].isna(), "trial"].tolist()
    assert finalists["trial"].tolist() == reached
    assert len(reached) == 1
    assert finalists["chosen"].tolist() == [True]


def test_trials_that_all_diverge_go_on_at_no_cost(tmp_path):
    """They have ended, so their rows are copied from rung to rung."""
    request = {
        **FUNCTION,
        "optimizers": ["sgd"],
        "space": {"sgd.lr": "log(1e4, 1e5)"},
        "halving": 3,
    }
    counter = Counter()
    less = {"finalists": 0, "eval_seeds": 1, "defaults": False, "iterations": 1800}
    made = tune(
        TuneRequest(**{**request, **less}), Execution(out=tmp_path), progress=counter.progress
    )
    (hopeless,) = made.hopeless
    assert hopeless.label == "sgd"
    first, second, third = runs(made)
    assert counter.updates == (first.lanes["iterations"] + 1).sum()  # whose loss is not finite
    assert set(first.lanes["status"]) == {Status.DIVERGED}
    assert set(second.lanes["reused_from"]) == {f"{made.path.name}/search-000"}
    assert set(third.lanes["reused_from"]) == {f"{made.path.name}/search-001"}
    assert_survivors_are_plain([third], replace(first, lanes=first.lanes.assign(reused_from=None)))


def test_lanes_that_a_rung_stopped_are_not_reused_and_those_that_went_on_are(tmp_path):
    halved = study(tmp_path, {**FUNCTION, "halving": 3})
    plain = study(tmp_path, FUNCTION, reuse=True)
    (whole,) = runs(plain)
    taken = whole.lanes[whole.lanes["reused_from"].notna()]
    last = runs(halved)[-1].lanes
    diverged = {
        key
        for run in runs(halved)
        for key in run.lanes.loc[run.lanes["status"] == "diverged", "lane_key"]
    }
    assert set(taken["lane_key"]) == {*last["lane_key"], *diverged}
    fresh = study(tmp_path / "fresh", FUNCTION)
    assert_survivors_are_plain(
        [replace(whole, lanes=taken.drop(columns="reused_from"))], *runs(fresh)
    )
    again = study(tmp_path, {**FUNCTION, "halving": 3}, reuse=True)
    assert "reused_from" not in runs(again)[0].lanes


def test_problems_of_unlike_lengths_have_rungs_of_their_own(tmp_path):
    file = tmp_path / "two.toml"
    file.write_text(
        'name = "two"\n[[problem]]\nname = "anisotropic"\niterations = 90\n'
        '[[problem]]\nname = "booth"\niterations = 30\n[[optimizer]]\nname = "sgd"\n',
        encoding="utf-8",
    )
    request = {"suite": str(file), "budget": "6 trials"}
    halved, plain, made = both(tmp_path, request, first_rung="20")
    assert [run.lanes.groupby("problem").size().to_dict() for run in halved] == [
        {"anisotropic": 6, "booth": 6},
        {"anisotropic": 2, "booth": 2},
        {"anisotropic": 1},
    ]
    trials = read_study(made.path).trials
    assert trials.groupby("problem")["culled_at"].apply(
        lambda at: sorted(at.dropna())
    ).to_dict() == {
        "anisotropic": [20.0] * 4 + [60.0],
        "booth": [20.0] * 4,
    }
    whole = pd.concat([halved[1].lanes[halved[1].lanes["problem"] == "booth"]])
    assert_survivors_are_plain([replace(halved[1], lanes=whole)], plain)


def test_entrants_and_trials_that_are_alike_share_what_is_alike(tmp_path):
    """Two labels of one rule have lanes of the same key, trials of a choice the same lane."""
    request = {
        "problem": "anisotropic",
        "optimizers": [
            {"name": "sgd", "label": "one", "space": {"lr": "choice(0.01, 0.02, 0.05)"}},
            {"name": "sgd", "label": "two", "space": {"lr": "choice(0.01, 0.02, 0.05)"}},
        ],
        "iterations": 90,
        "budget": "9 trials",
    }
    halved, plain, _ = both(tmp_path, request)
    assert [len(run.lanes) for run in halved] == [6, 2, 2]
    last = halved[-1]
    for row in last.lanes.to_dict("records"):
        same = plain.lanes["label"] == row["label"]
        one = replace(plain, lanes=plain.lanes[same])
        assert_survivors_are_plain(
            [replace(last, lanes=last.lanes[last.lanes["lane"] == row["lane"]])], one
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"set": {"adam.schedule": "cosine"}},
            "adam on anisotropic: a learning rate that decays (schedule = cosine) turns rankings "
            "over, so a rung says little of the end; leave out --halving, or give --halving-anyway",
        ),
        (
            {"space": {"sgd.lr": "log(1e-3, 1)", "sgd.schedule": "choice('constant', '1/t')"}},
            "sgd on anisotropic: a learning rate that decays (schedule = 1/t) turns rankings over, "
            "so a rung says little of the end; leave out --halving, or give --halving-anyway",
        ),
        (
            {"halving": 1},
            "sgd on anisotropic: halving 1 stops no trial; give a whole number from 2 up, "
            "such as 3",
        ),
        (
            {"first_rung": "N/100"},
            "sgd on anisotropic: a first rung of 0.9 iterations must be at least 1 and less than "
            "the 90 of a whole lane",
        ),
        (
            {"first_rung": "half"},
            "sgd on anisotropic: first rung 'half' is malformed; write N/9, or 200 (iterations)",
        ),
        (
            {"halving": None, "first_rung": "N/3"},
            "--first-rung and --halving-anyway mean nothing without --halving",
        ),
        (
            {"halving": None, "halving_anyway": True},
            "--first-rung and --halving-anyway mean nothing without --halving",
        ),
    ],
)
def test_what_cannot_be_halved_is_refused(options, message, tmp_path):
    request = TuneRequest(**{**FUNCTION, "halving": 3, **options})
    assert refusal(SuiteError, settle, request, None, lambda suite: {}) == message


def test_a_suite_that_pauses_by_itself_is_not_tuned(tmp_path):
    file = tmp_path / "paused.toml"
    file.write_text(
        '[[problem]]\nname = "anisotropic"\npause_at = 9\n[[optimizer]]\nname = "sgd"\n',
        encoding="utf-8",
    )
    message = "anisotropic: pause_at is for the rungs of halving; leave it out"
    request = TuneRequest(suite=str(file))
    assert refusal(SuiteError, settle, request, None, lambda suite: {}) == message


def test_tpe_is_not_halved():
    request = TuneRequest(**{**FUNCTION, "halving": 3, "sampler": "tpe"})
    assert refusal(SuiteError, settle, request, None, lambda suite: {}).startswith(
        "--halving with --sampler tpe: tpe learns from the scores of whole trials"
    )


def test_schedules_that_decay_are_halved_where_it_is_asked_for(tmp_path):
    request = {
        **FUNCTION,
        "optimizers": ["adam"],
        "set": {"adam.schedule": "cosine", "adam.warmup": 5},
        "budget": "9 trials",
    }
    halved, plain, _ = both(tmp_path, request, halving_anyway=True)
    assert_survivors_are_plain(halved, plain)


def test_a_warmup_is_no_decay():
    request = TuneRequest(**{**FUNCTION, "halving": 3, "set": {"*.warmup": 5}})
    assert settle(request, None, lambda suite: {}).halving == 3


def test_budgets_count_what_halving_saves():
    """Of sgd 20 trials of 90 iterations cost 520 steps; a plain study has 5 trials for that."""
    options = {**FUNCTION, "optimizers": ["sgd"], "budget": "520 steps"}
    (halved,) = settle(TuneRequest(**options, halving=3), None, lambda suite: {}).entrants
    (plain,) = settle(TuneRequest(**options), None, lambda suite: {}).entrants
    assert (halved.trials, plain.trials) == (20, 5)


def test_a_protocol_is_read_as_it_was_written():
    protocol = settle(TuneRequest(**FUNCTION, halving=2, first_rung="12"), None, lambda suite: {})
    again = read_protocol(json.loads(json.dumps(protocol.as_meta())), Path("results/study"), None)
    assert (again.halving, again.first_rung) == (2, "12")
    for entrant in again.entrants:
        assert again.rungs(entrant) == [(12, 20), (24, 10), (48, 5), (90, 3)]
