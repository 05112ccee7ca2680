"""Trials scored by their steps to a target, against closed forms and loops over rows."""

import json
import shutil
from dataclasses import replace
from math import inf, nan

import numpy as np
import pandas as pd
import pytest

import optbench
from optbench.datasets.base import split_as
from optbench.errors import ResultsError, SuiteError
from optbench.problems.networks import classifier
from optbench.records import Status
from optbench.report import aims
from optbench.runs.invocation import Execution
from optbench.store.reader import read_run
from optbench.store.studies import read_study, read_tune
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.settling import settle
from optbench.tuning.study import resume_study, tune
from optbench.tuning.targets import Goal, begun, with_steps
from optbench.tuning.written import read_protocol
from tests.refusal import refusal
from tests.report.runs import Lane, function_problem, tables
from tests.small import IMAGES

VALLEY = {
    "name": "valley",
    "iterations": 100,
    "problem": [{"name": "anisotropic"}],
    "optimizer": [{"name": "sgd", "lr": 0.1}],
}

NOISY = {
    "name": "noisy",
    "iterations": 60,
    "problem": [{"name": "noisy-beale", "start_spread": 0.02}],
    "optimizer": [{"name": "adam"}],
}

NETWORK = {
    "name": "network",
    "iterations": 60,
    "problem": [{"name": "mnist-mlp", "data": "mnist-5k", "batch_size": 32}],
    "optimizer": [{"name": "sgd"}],
}

FEW = {"budget": "6 trials", "finalists": 2, "finalist_seeds": 3, "eval_seeds": 2}


def asked(suite, target, **options):
    return TuneRequest(suite, metric="steps_to_target", target=target, **{**FEW, **options})


def made(folder, suite, target, **options):
    return tune(asked(suite, target, **options), Execution(out=folder / "results", workers=1))


def trials(path, phase="search"):
    found = read_study(path).trials
    return found[found["phase"] == phase].sort_values("trial", ignore_index=True)


def closed_form(lr, steps):
    """The loss of x²/20 + y² after these steps of gradient descent from (−7, 2)."""
    return 2.45 * (1.0 - lr / 10.0) ** (2 * steps) + 4.0 * (1.0 - 2.0 * lr) ** (2 * steps)


def by_a_loop(losses, target, window, first_update):
    """The updates until the mean of so many rows is at the target."""
    for row in range(window - 1, len(losses)):
        if np.mean(losses[row - window + 1 : row + 1]) <= target:
            return row + first_update
    return inf


def scores_by_a_loop(path, target, window, first_update):
    """Return the scores of the trials of one optimizer from the traces of the search."""
    run = read_run(path / "search-000")
    rows = {lane: own["loss"].to_list() for lane, own in run.trace.groupby("lane")}
    lanes = run.lanes.assign(
        steps=[
            inf if status == "diverged" else by_a_loop(rows[lane], target, window, first_update)
            for lane, status in zip(run.lanes["lane"], run.lanes["status"], strict=True)
        ]
    )
    return lanes.groupby("hp_lr")["steps"].median()


# Closed forms.


@pytest.mark.parametrize(
    ("target", "steps"), [(1, [10, 15]), ("0.1", [21, 53]), (0.01, [32, 91]), (1e-12, [inf, inf])]
)
def test_steps_of_case_27(tmp_path, target, steps):
    grid = {"sgd.lr": [0.95, 0.3, 1.5, 0.01]}
    path = made(tmp_path, VALLEY, target, grid=grid, sampler="grid", iterations=92).path
    found = trials(path).set_index("hp_lr")["score"]
    assert found[[0.95, 0.3]].tolist() == steps
    assert found[[1.5, 0.01]].tolist() == [inf, inf]
    (won,) = read_tune(path)["winners"]
    assert won["hyperparameters"]["lr"] == 0.95
    assert won["search_score"] == (None if steps[0] == inf else steps[0])


def test_every_score_of_a_space_is_that_of_the_closed_form(tmp_path):
    found = made(tmp_path, VALLEY, "anisotropic=0.05", space={"sgd.lr": "log(0.1, 2)"})
    told = trials(found.path)
    losses = closed_form(told["hp_lr"].to_numpy()[:, None], np.arange(101))
    is_there = losses <= 0.05
    exact = np.where(is_there.any(axis=1), is_there.argmax(axis=1), inf)
    assert told["score"].tolist() == exact.tolist()
    assert told["chosen"].idxmax() == exact.argmin()
    assert 0 < np.isinf(exact).sum() < len(exact)
    assert read_tune(found.path)["target"] == {
        "anisotropic": {"rule": "0.05", "on": "loss", "value": 0.05}
    }


# Where rows are noisy, and the start.


def test_of_minibatches_the_trailing_mean_over_the_rows_of_the_final_loss_counts(tmp_path):
    space = {"sgd.lr": "log(1e-2, 3)"}
    found = made(tmp_path, NETWORK, 1.5, space=space, trial_seeds=2, finalists=0)
    told = trials(found.path).set_index("hp_lr")["score"]
    expected = scores_by_a_loop(found.path, 1.5, 6, 1)
    assert told.sort_index().tolist() == expected.tolist()
    assert np.isfinite(told).any()
    (won,) = found.winners
    assert won.trial.values["lr"] == told.idxmin()


def test_a_share_of_the_start_is_that_of_the_tuning_seeds_for_all_phases(tmp_path):
    found = made(tmp_path, NOISY, "start/10", space={"adam.lr": "log(0.05, 1)"})
    run, again = (read_run(found.path / name) for name in ("search-000", "finalists"))
    starts = run.trace[run.trace["iteration"] == 0].set_index("lane")["loss"]
    by_seed = starts.groupby(run.lanes.set_index("lane")["seed"])
    assert (by_seed.nunique() == 1).all()
    assert by_seed.ngroups == 3
    target = by_seed.first().median() / 10
    (goal,) = read_tune(found.path)["target"].values()
    assert goal == {"rule": "start/10", "on": "loss", "value": pytest.approx(target, rel=1e-12)}
    told = trials(found.path).set_index("hp_lr")["score"]
    expected = scores_by_a_loop(found.path, goal["value"], 6, 0)
    assert told.sort_index().tolist() == expected.tolist()
    assert np.isfinite(told).any()
    rows = {lane: own["loss"].to_list() for lane, own in again.trace.groupby("lane")}
    both = {}
    for each in (run, again):
        rows = {lane: own["loss"].to_list() for lane, own in each.trace.groupby("lane")}
        for lane, lr in zip(each.lanes["lane"], each.lanes["hp_lr"], strict=True):
            both.setdefault(lr, []).append(by_a_loop(rows[lane], goal["value"], 6, 0))
    finalists = trials(found.path, "finalists").set_index("hp_lr")["score"]
    assert {lr: np.median(both[lr]) for lr in finalists.index} == finalists.to_dict()


def test_a_published_error_is_seen_at_evaluations(tmp_path, monkeypatch):
    published = aims.Published("validation_error", 0.6, "us", "here", data="mnist-5k")
    monkeypatch.setattr(aims, "published_targets", lambda: (published,))
    grid = {"sgd.lr": [0.3, 0.1, 0.05, 1e-6]}
    options = {"sampler": "grid", "grid": grid, "finalists": 0, "trial_seeds": 1}
    request = asked(NETWORK, "published", evaluate_every=10, **options)
    found = tune(request, Execution(out=tmp_path, workers=1))
    run = read_run(found.path / "search-000")
    rows = run.evaluation[run.evaluation["split"] == "validation"]
    there = rows[rows["error"] <= 0.6].groupby("lane")["iteration"].min()
    expected = run.lanes.set_index("hp_lr")["lane"].map(there).astype(float).fillna(inf)
    told = trials(found.path).set_index("hp_lr")["score"]
    assert told.to_dict() == expected.to_dict()
    assert told[1e-6] == inf
    assert 0 < told[0.3] < inf
    said = refusal(SuiteError, settle, replace(request, evaluate_every=None), None, None)
    assert "is a validation_error, which only evaluations see; give --evaluate-every" in said


def test_where_a_published_error_needs_a_validation_split_there_is_one(monkeypatch):
    def load(name, folder, splitting):
        return split_as(split_as(IMAGES, "train-test", 30), splitting, 30)

    published = aims.Published("validation_error", 0.6, "us", "here", data=IMAGES.name)
    monkeypatch.setattr(aims, "published_targets", lambda: (published,))
    monkeypatch.setattr(classifier.datasets, "load", load)
    network = {"name": "network", "data": "mnist", "layers": ["dense 4"], "batch_size": 16}
    suite = NETWORK | {"problem": [network]}
    for target, splits, said in (("published", True, 1), ("0.5", False, 0)):
        notices = []
        request = asked(suite, target, evaluate_every=10)
        protocol = settle(request, None, None, notices.append)
        assert protocol.metrics == {"network": "steps_to_target"}
        split = protocol.base.problem[0].options["split"]
        assert (split == "train-validation-test") is splits
        assert len(notices) == said


def test_a_lane_that_diverged_or_failed_has_missed_also_where_it_was_there_before():
    lanes = [
        Lane("sgd", [9.0, 1.0, 0.5], seed=0),
        Lane("sgd", [9.0, 1.0, nan], seed=1, status=Status.DIVERGED),
        Lane("sgd", [9.0, 1.0], seed=2, status=Status.FAILED),
        Lane("sgd", [9.0, 1.0], seed=3, status=Status.STOPPED),
        Lane("sgd", [9.0, 2.0, 1.5], seed=4),
        Lane("sgd", [1.0, 2.0, 1.5], "other", seed=4),
    ]
    run = tables(lanes, [function_problem(), function_problem("other")])
    goals = {"anisotropic": Goal("1", "loss", 1.0), "other": Goal("1", "loss", 1.0)}
    found = with_steps(run, goals | {"elsewhere": Goal("1", "loss", 1.0)})
    assert found.lanes["steps_to_target"].tolist() == [1.0, inf, inf, 1.0, inf, 0.0]


def test_where_no_lane_has_a_finite_row_there_is_no_start_and_all_miss():
    lost = [Lane("sgd", [nan], status=Status.DIVERGED)]
    run = tables(lost, [function_problem()])
    goals = {"anisotropic": Goal("start/9", "loss", None)}
    assert begun(goals, run) == goals
    assert with_steps(run, goals).lanes["steps_to_target"].tolist() == [inf]
    started = tables([Lane("sgd", [9.0, 1.0])], [function_problem()])
    (goal,) = begun(goals, started).values()
    assert goal == Goal("start/9", "loss", 1.0)
    assert begun({"elsewhere": goal}, started) == {"elsewhere": goal}
    assert with_steps(started, {}) is started


# What is refused.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": ()}, "--metric steps_to_target needs --target: a value as 0.1, published"),
        ({"metric": None}, "--target means nothing without --metric steps_to_target"),
        ({"metric": "final_loss"}, "--target means nothing without --metric steps_to_target"),
        ({"target": "best:5%"}, "'best:5%' depends on the runs that are compared; write 0.1, st"),
        ({"target": "of:adam"}, "target 'of:adam' depends on the runs that are compared; write"),
        ({"target": "quantile:0.5"}, "'quantile:0.5' depends on the runs that are compared"),
        ({"target": "soon"}, "target 'soon' is malformed; write 0.1, start/100 or published"),
        ({"target": "published"}, "no target of 'anisotropic' is published"),
        ({"target": ["1", "2"]}, "'1' and '2' are two targets; give one a problem"),
        ({"target": "booth=1"}, "valley has no problem 'booth'; known are anisotropic"),
        ({"target": "1", "halving": 3}, "--halving with --metric steps_to_target: of two lanes"),
        (
            {"target": "anisotropic=1", "problem": ["anisotropic", "booth"]},
            "booth has no target; give --target booth=RULE: 0.1, start/100 or published",
        ),
        (
            {"target": "start/10", "suite": NETWORK},
            "target start/10: rows of mnist-mlp are recorded after the update, so the first",
        ),
        (
            {"target": "published", "suite": NETWORK | {"problem": [{"name": "quadratic-deep"}]}},
            "the published target of quadratic-deep is a test_loss, and the test split never",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options, said):
    request = TuneRequest(
        **{"suite": VALLEY, "metric": "steps_to_target", "target": "0.1"} | options
    )
    assert said in refusal(SuiteError, settle, request, None, None)


@pytest.mark.parametrize("trace", ["every:2", "none"])
def test_rows_cannot_be_left_out(tmp_path, trace):
    said = refusal(SuiteError, tune, asked(VALLEY, 0.1), Execution(out=tmp_path, trace=trace))
    assert said.startswith(f"--trace {trace} with --metric steps_to_target: when a lane was at its")
    assert not [*tmp_path.iterdir()]


def test_the_search_keeps_all_rows(tmp_path):
    few = {"iterations": 500, "budget": "4 trials"}
    found = made(tmp_path, VALLEY, 0.1, **few)
    assert read_tune(found.path)["trace"] == "all"
    assert (read_run(found.path / "search-000").trace.groupby("lane").size() >= 400).any()


# Carried on.


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return made(folder, NOISY, "start/10", space={"adam.lr": "log(0.05, 1)"})


@pytest.mark.parametrize("gone", [("finalists", "final"), ("search-000", "finalists", "final")])
def test_a_resumed_study_has_the_same_target_and_scores(done, tmp_path, gone):
    path = shutil.copytree(done.path, tmp_path / "results" / done.path.name)
    meta = read_tune(path)
    for name in gone:
        shutil.rmtree(path / name)
    begun_again = {"status": "interrupted", "winners": [], "rounds": []}
    if "search-000" in gone:
        begun_again["target"] = {"noisy-beale": meta["target"]["noisy-beale"] | {"value": None}}
    (path / "tune.json").write_text(json.dumps(meta | begun_again), encoding="utf-8")
    resumed = resume_study(path, Execution(out=path.parent, workers=1))
    assert resumed.winners == done.winners
    assert read_tune(path)["target"] == meta["target"]
    ours, theirs = (read_study(each).trials.drop(columns="seconds") for each in (path, done.path))
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_protocol_is_read_as_it_was_written(done):
    for request in (asked(VALLEY, 0.5), asked(NOISY, "start/10"), TuneRequest(VALLEY)):
        meta = json.loads(json.dumps(settle(request, None, None).as_meta()))
        again = read_protocol(meta, done.path, None)
        assert json.loads(json.dumps(again.as_meta())) == meta
        assert again.goals == settle(request, None, None).goals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": {}}, "target does not fit its metric"),
        ({"metric": {"anisotropic": "final_loss"}}, "target does not fit its metric"),
        ({"on": "test_loss"}, "target.anisotropic.on: it must be 'loss', 'validation_loss' or"),
        ({"value": None}, "target does not fit its metric"),
        ({"value": "low"}, "target.anisotropic.value: it must be a number"),
    ],
)
def test_a_target_that_was_changed_by_hand_is_refused(done, changes, said):
    meta = json.loads(json.dumps(settle(asked(VALLEY, 0.5), None, None).as_meta()))
    whole = {key: changes[key] for key in ("target", "metric") if key in changes}
    own = {key: changes[key] for key in ("on", "value") if key in changes}
    meta["target"]["anisotropic"] |= own
    assert said in refusal(ResultsError, read_protocol, meta | whole, done.path, None)


# In Python, and with the samplers that learn.


def test_in_python(tmp_path):
    found = optbench.tune(
        VALLEY,
        grid={"sgd.lr": [0.95, 0.3, 0.1, 0.05]},
        sampler="grid",
        metric="steps_to_target",
        target=0.1,
        out=tmp_path,
    )
    assert found.winners[0]["search_score"] == 21.0
    (row,) = found.summary().to_dict("records")
    assert (row["metric"], row["scored_by"]) == ("final_loss", "steps_to_target")


def test_a_sampler_that_learns_is_told_the_steps(tmp_path, monkeypatch):
    from optbench.tuning import tpe
    from optbench.tuning.samplers import trials as points

    told = []

    def next_round(rule, spaces, so_far, number, count):
        told.append([score for _, score in so_far])
        return points("random", rule, spaces, len(so_far), len(so_far) + count)

    monkeypatch.setattr(tpe, "optuna_version", lambda: "4.5.0")
    monkeypatch.setattr(tpe, "next_round", next_round)
    learnt = {"sampler": "tpe", "batch": 3, "finalists": 0, "space": {"adam.lr": "log(0.05, 1)"}}
    found = made(tmp_path, NOISY, "start/10", **learnt)
    plain = made(tmp_path, NOISY, "start/10", **learnt | {"sampler": "random"})
    assert trials(found.path)["score"].tolist() == trials(plain.path)["score"].tolist()
    assert told[-1] == trials(found.path)["score"].tolist()[:3]
