"""A study from start to end, and carried on where something ended it."""

import json
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from optbench.cli import new
from optbench.device.cpu import NumpyDevice
from optbench.errors import ResultsError
from optbench.records import Failure, Status
from optbench.runs import pipeline
from optbench.runs.invocation import Execution
from optbench.store.lock import locked
from optbench.store.reader import read_description, read_run
from optbench.store.studies import read_study, read_tune
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve
from optbench.tuning import study, tpe
from optbench.tuning.protocol import Protocol
from optbench.tuning.samplers import trials
from optbench.tuning.study import TuneRequest, outlook, resume_study, tune
from tests.refusal import refusal

NOISY = {
    "name": "noisy",
    "iterations": 20,
    "problem": [{"name": "noisy-beale"}],
    "optimizer": [{"name": "sgd", "lr": 0.001}, {"name": "adam", "lr": 0.1}],
}

VALLEY = NOISY | {"name": "valley", "problem": [{"name": "anisotropic"}]}

SPACES = {"sgd.lr": "log(1e-6, 1e-2)", "adam.lr": "log(1e-3, 1)"}

ROUNDS = ("search-000", "finalists", "final")


def request(suite=NOISY, **options):
    few = {"budget": "6 trials", "finalists": 2, "finalist_seeds": 2, "eval_seeds": 6}
    return TuneRequest(suite, **{"space": SPACES, **few, **options})


def how(folder, **options):
    return Execution(out=folder / "results", workers=1, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study that nothing disturbed, and what it announced."""
    steps = []
    made = tune(request(), how(tmp_path_factory.mktemp("done")), announce=steps.append)
    return made, steps


def lanes(path):
    return read_run(path).lanes


def assert_same(path, other):
    """All that a study found is the same, but for names of places and times."""
    one, two = read_study(path), read_study(other)
    timed = ["seconds"]
    pd.testing.assert_frame_equal(one.trials.drop(columns=timed), two.trials.drop(columns=timed))
    for key in ("status", "winners", "rounds", "spaces", "budget", "evaluation_seeds"):
        assert one.meta[key] == two.meta[key]
    for each in one.meta["rounds"]:
        first, second = (read_run(base / each["run"]).trace for base in (path, other))
        order = {"by": ["lane", "iteration"], "ignore_index": True}
        pd.testing.assert_frame_equal(first.sort_values(**order), second.sort_values(**order))


# From start to end.


def test_a_study_leaves_a_run_for_each_round_and_what_it_found(done):
    made, steps = done
    assert made.status is Status.DONE
    assert made.path.parent.name == "results"
    assert made.path.name.startswith("noisy-tune-")
    tables = read_study(made.path)
    assert [each["run"] for each in tables.meta["rounds"]] == list(ROUNDS)
    assert [each["trials"] for each in tables.meta["rounds"]] == [12, 4, 2]
    assert [(step.phase, step.run, step.kept) for step in steps] == [
        ("search", "search-000", False),
        ("finalists", "finalists", False),
        ("final", "final", False),
    ]
    assert {*lanes(made.path / "search-000")["seed"]} == {1_000_000, 1_000_001, 1_000_002}
    assert {*lanes(made.path / "finalists")["seed"]} == {1_000_003, 1_000_004}
    final = lanes(made.path / "final")
    assert {*final["seed"]} == set(range(6))
    labels = ["sgd", "adam", "sgd (default)", "adam (default)"]
    assert list(dict.fromkeys(final["label"])) == labels
    assert tables.final is not None
    assert not made.hopeless
    assert not made.failures


def test_the_chosen_are_the_best_over_the_seeds_of_search_and_finalists(done):
    made, steps = done
    tables = read_study(made.path)
    for won in made.winners:
        label = won.entrant.label
        values = {}
        for name in ROUNDS[:2]:
            own = lanes(made.path / name)
            own = own[own["label"] == label]
            for lr, rows in own.groupby("hp_lr"):
                losses = rows["final_loss"].fillna(np.inf).tolist()
                values.setdefault(lr, []).extend(losses)
        search = {lr: float(np.median(found[:3])) for lr, found in values.items()}
        both = {lr: float(np.median(found)) for lr, found in values.items() if len(found) == 5}
        assert sorted(both) == sorted(sorted(search, key=search.__getitem__)[:2])
        assert won.trial.values["lr"] == min(both, key=both.__getitem__)
        assert (won.search_score, won.finalist_score) == (
            search[won.trial.values["lr"]],
            min(both.values()),
        )
        judged = lanes(made.path / "final")
        (lr,) = {*judged[judged["label"] == label]["hp_lr"]}
        assert lr == won.trial.values["lr"]
        assert steps[1].best["noisy-beale", label] == min(search.values())
        assert steps[2].best["noisy-beale", label] == min(both.values())
        own = tables.trials[tables.trials["label"] == label]
        run = pd.concat([lanes(made.path / name) for name in ROUNDS[:2]])
        assert own["steps"].sum() == run[run["label"] == label]["iterations"].sum()
        assert own[own["chosen"]]["hp_lr"].unique().tolist() == [lr]
    assert steps[0].best == {}
    per_lane = 20
    assert steps[0].later == {"noisy-beale": (2 * 4 + 4 * 6) * per_lane}
    assert steps[1].later == {"noisy-beale": 4 * 6 * per_lane}
    assert steps[2].later == {"noisy-beale": 0}


def test_tune_json_says_how_it_was_done(done):
    meta = read_tune(done[0].path)
    assert meta["spaces"] == {
        "noisy-beale": {"sgd": {"lr": "log(1e-06, 0.01)"}, "adam": {"lr": "log(0.001, 1)"}}
    }
    assert (meta["sampler"], meta["metric"]) == ("random", {"noisy-beale": "final_loss"})
    assert meta["budget"]["given"] == "6 trials"
    assert meta["suite"]["written"]["name"] == "noisy"
    assert [each["label"] for each in meta["winners"]] == ["sgd", "adam"]
    assert meta["status"] == "done"
    assert meta["started"] < meta["ended"]


def test_where_nothing_is_random_a_trial_is_a_lane_and_has_no_finalists(tmp_path):
    made = tune(request(VALLEY, defaults=False), how(tmp_path))
    assert [each["run"] for each in read_tune(made.path)["rounds"]] == ["search-000", "final"]
    assert len(lanes(made.path / "search-000")) == 12
    assert lanes(made.path / "final")["label"].tolist() == ["sgd", "adam"]
    assert made.doubts == []


def test_only_where_chance_decides_there_are_finalists(tmp_path):
    both = [*NOISY["problem"], *VALLEY["problem"]]
    made = tune(request(NOISY | {"problem": both}), how(tmp_path))
    assert {*lanes(made.path / "finalists")["problem"]} == {"noisy-beale"}
    assert {*lanes(made.path / "final")["problem"]} == {"noisy-beale", "anisotropic"}
    scores = [(each.entrant.random, each.finalist_score is not None) for each in made.winners]
    assert scores == [(True, True), (True, True), (False, False), (False, False)]


def test_tpe_makes_a_round_of_every_batch(tmp_path, monkeypatch):
    told = []

    def next_round(rule, spaces, so_far, number, count):
        told.append([score for _, score in so_far])
        return trials("random", rule, spaces, len(so_far), len(so_far) + count)

    monkeypatch.setattr(tpe, "optuna_version", lambda: "4.5.0")
    monkeypatch.setattr(tpe, "next_round", next_round)
    few = {"optimizers": "sgd", "space": {"sgd.lr": "log(1e-6, 1e-2)"}, "finalists": 0}
    asked = request(sampler="tpe", batch=4, budget="7 trials", **few)
    steps = []
    made = tune(asked, how(tmp_path), announce=steps.append)
    tables = read_study(made.path)
    assert [step.run for step in steps] == ["search-000", "search-001", "final"]
    assert [sum(step.trials.values()) for step in steps] == [4, 3, 1]
    assert steps[0].later == {"noisy-beale": (3 * 3 + 2 * 6) * 20}
    assert told[-1] == tables.trials["score"].tolist()[:4]
    assert tables.trials["round"].tolist() == ["search-000"] * 4 + ["search-001"] * 3
    assert tables.meta["optuna"] == "4.5.0"
    plain = tune(replace(asked, sampler="random"), how(tmp_path))
    found = read_study(plain.path).trials
    assert found["score"].tolist() == tables.trials["score"].tolist()


def test_what_a_study_takes_is_told_before_anything_is_written(tmp_path):
    told = outlook(request(), how(tmp_path))
    assert [share.lanes for share in told.shares] == [18, 18, 4, 4, 12, 12]
    assert not (tmp_path / "results").exists()
    seen = []
    tune(request(VALLEY), how(tmp_path), expect=seen.append)
    assert seen[0].shares[0].lanes == 6


def test_a_budget_of_seconds_is_measured_once(tmp_path, monkeypatch):
    measured = Counter()

    def step_seconds(suite, device, workers):
        measured["times"] += 1
        return {("anisotropic", "sgd"): 0.01, ("anisotropic", "adam"): 0.01}

    monkeypatch.setattr(study, "step_seconds", step_seconds)
    made = tune(request(VALLEY, budget="1 s"), how(tmp_path))
    assert {entrant.trials for entrant in made.protocol.entrants} == {5}
    assert measured == {"times": 1}
    stopped(made.path)
    again = resume_study(made.path, how(tmp_path))
    assert again.protocol.seconds_per_step == made.protocol.seconds_per_step
    assert measured == {"times": 1}


TWICE = """
from optbench.optimizers import Hyperparameter, Optimizer


class Twice(Optimizer):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    def step(self, context):
        params = context.params.rows
        _, ahead = context.evaluate(params - context.columns["lr"] * context.grads.rows)
        params[...] -= context.columns["lr"] * ahead
"""


def test_a_gradient_budget_counts_what_a_rule_evaluates(tmp_path):
    (tmp_path / "twice.py").write_text(TWICE, encoding="utf-8")
    rules = [{"name": "sgd"}, {"name": f"{tmp_path / 'twice.py'}:Twice"}]
    spaces = {"sgd.lr": "log(1e-6, 1e-2)", "Twice.lr": "log(1e-6, 1e-2)"}
    suite = VALLEY | {"optimizer": rules}
    made = tune(request(suite, space=spaces, budget="240 gradients"), how(tmp_path))
    counts = {entrant.label: entrant.trials for entrant in made.protocol.entrants}
    assert counts == {"sgd": 12, "Twice": 6}
    trials = read_study(made.path).trials
    assert set(trials["steps"]) == {20}
    assert trials.groupby("label")["gradients"].unique().map(list).to_dict() == {
        "sgd": [20],
        "Twice": [40],
    }
    assert made.protocol.seconds_per_step == {}


def test_a_step_is_timed_of_each_optimizer_on_each_problem():
    suite = resolve(parse_suite(VALLEY, "valley"))
    seconds = study.step_seconds(suite, NumpyDevice(), 1)
    assert set(seconds) == {("anisotropic", "sgd"), ("anisotropic", "adam")}
    assert all(each > 0.0 for each in seconds.values())


@pytest.mark.parametrize(
    ("iterations", "given", "kept"),
    [(20, None, "all"), (399, None, "all"), (1000, None, "every:5"), (1000, "every:7", "every:7")],
)
def test_the_search_keeps_about_200_rows_of_a_lane(tmp_path, iterations, given, kept):
    asked = request(VALLEY, iterations=iterations, optimizers="sgd", space={}, budget="4 trials")
    made = tune(asked, how(tmp_path, trace=given))
    assert read_tune(made.path)["trace"] == kept
    every = int(kept.partition(":")[2] or 1)
    trace = read_run(made.path / "search-000").trace
    assert (trace.groupby("lane")["iteration"].nunique() <= iterations // every + 2).all()
    assert read_run(made.path / "final").trace["iteration"].nunique() == iterations + 1


# Doubts.


def result(**changes):
    protocol = tune_protocol()
    return replace(study.StudyResult(None, Status.DONE, protocol), **changes)


def tune_protocol(**options) -> Protocol:
    return study.settle(request(**options), None, lambda suite: {}, lambda message: None)


def test_edges_few_seeds_and_hopeless_optimizers_are_named():
    protocol = tune_protocol()
    sgd, adam = protocol.entrants
    inf = study.Winner(sgd, None, np.inf, None, {})
    edge = study.Winner(adam, None, 1.0, None, {"lr": 1.0})
    found = result(winners=(inf, edge))
    assert [entrant.label for entrant in found.hopeless] == ["sgd"]
    assert found.doubts == ["adam on noisy-beale: lr near 1"]
    few = replace(protocol, evaluation_seeds=tuple(range(5)))
    assert result(protocol=few).doubts == ["fewer than 6 evaluation seeds"]
    exact = replace(few, entrants=tuple(replace(each, random=False) for each in few.entrants))
    assert result(protocol=exact).doubts == []


# Carried on.


def stopped(path, *gone, status="interrupted"):
    """Make a study one that was stopped before these rounds."""
    for name in gone:
        shutil.rmtree(path / name)
    file = path / "tune.json"
    meta = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(meta | {"status": status, "winners": []}), encoding="utf-8")
    return path


@pytest.fixture
def copy(done, tmp_path):
    return shutil.copytree(done[0].path, tmp_path / "results" / done[0].path.name)


@pytest.mark.parametrize("ended", range(4))
@pytest.mark.parametrize("status", ["interrupted", "running"])
def test_rounds_that_have_ended_are_kept_and_the_others_made(done, copy, ended, status):
    stopped(copy, *ROUNDS[ended:], status=status)
    steps = []
    resumed = resume_study(copy, how(copy.parents[1]), announce=steps.append)
    assert [step.kept for step in steps] == [place < ended for place in range(3)]
    assert resumed.status is Status.DONE
    assert resumed.winners == done[0].winners
    assert_same(done[0].path, copy)


def test_a_round_that_was_killed_before_it_began_is_made(done, copy):
    stopped(copy, "finalists", "final")
    (copy / "finalists").mkdir()
    (copy / "finalists" / "lanes.parquet").write_bytes(b"half")
    assert resume_study(copy, how(copy.parents[1])).winners == done[0].winners
    assert_same(done[0].path, copy)


@contextmanager
def after(records, error):
    """Interrupt once so many records have been seen."""
    seen = Counter()

    @contextmanager
    def progress(plan):
        def observe(record):
            seen["records"] += 1
            if seen["records"] == records:
                raise error

        yield observe

    yield progress


@pytest.mark.parametrize("records", [2, 5, 8])
def test_a_study_that_was_interrupted_ends_as_if_nothing_had_been(done, tmp_path, records):
    with after(records, KeyboardInterrupt()) as progress:
        made = tune(request(), how(tmp_path), progress=progress)
    assert made.status is Status.INTERRUPTED
    assert made.winners in ((), done[0].winners)
    assert read_tune(made.path)["status"] == "interrupted"
    assert resume_study(made.path, how(tmp_path)).winners == done[0].winners
    assert_same(done[0].path, made.path)


def test_the_first_interrupt_ends_the_round_softly(done, tmp_path, monkeypatch):
    class Set:
        def is_set(self):
            return True

    @contextmanager
    def interrupts():
        yield Set()

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "interrupts", interrupts)
        made = tune(request(), how(tmp_path))
    assert made.status is Status.INTERRUPTED
    assert read_description(made.path / "search-000")["status"] == "interrupted"
    resume_study(made.path, how(tmp_path))
    assert_same(done[0].path, made.path)


def test_what_has_ended_or_is_being_tuned_is_not_resumed(done, copy):
    said = refusal(ResultsError, resume_study, copy, how(copy.parents[1]))
    assert said == f"'{copy}' has ended (done): there is nothing to resume"
    stopped(copy, "final")
    with locked(copy):
        said = refusal(ResultsError, resume_study, copy, how(copy.parents[1]))
    assert "another process" in said


def test_another_environment_needs_force(done, copy):
    stopped(copy, "final")
    file = copy / "tune.json"
    meta = json.loads(file.read_text("utf-8"))
    meta["environment"]["python"] = "3.0"
    file.write_text(json.dumps(meta), encoding="utf-8")
    said = refusal(ResultsError, resume_study, copy, how(copy.parents[1]))
    assert "was begun in another environment (python: 3.0 then" in said
    assert resume_study(copy, how(copy.parents[1]), force=True).winners == done[0].winners


def test_long_spaces_survive(tmp_path):
    values = [round(0.001 * (i + 1), 3) for i in range(120)]
    asked = request(VALLEY, grid={"sgd.lr": values}, optimizers="sgd", space={}, budget="4 trials")
    made = tune(asked, how(tmp_path))
    stopped(made.path, "final")
    resumed = resume_study(made.path, how(tmp_path))
    assert resumed.protocol.entrants == made.protocol.entrants
    assert resumed.winners == made.winners


def test_a_study_of_ones_own_rule_goes_on_from_another_folder(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "my.py").write_text(new.OPTIMIZER, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    own = VALLEY | {"optimizer": [{"name": "my.py:Tempered"}]}
    made = tune(request(own, space={}), Execution(out="results", workers=1))
    path = made.path.resolve()
    stopped(path, "final")
    monkeypatch.chdir(tmp_path / "there")
    resumed = resume_study(path, Execution(workers=1))
    assert resumed.status is Status.DONE
    assert [won.trial for won in resumed.winners] == [won.trial for won in made.winners]
    assert lanes(path / "final")["label"].tolist() == ["Tempered", "Tempered (default)"]


# What is taken over, and what fails.


def test_a_larger_budget_takes_the_trials_of_a_smaller_one(done, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(done[0].path, folder / done[0].path.name)
    asked = request(budget="8 trials")
    told = outlook(asked, how(tmp_path, reuse=True))
    assert told.reused == {"noisy-beale": 36}
    made = tune(asked, how(tmp_path, reuse=True))
    search = lanes(made.path / "search-000")
    assert search["reused_from"].notna().sum() == 36
    assert {*search["reused_from"].dropna()} == {f"{done[0].path.name}/search-000"}
    fresh = tune(asked, how(tmp_path / "fresh"))
    assert_same(made.path, fresh.path)


def test_lanes_that_diverged_are_taken_over_too(tmp_path):
    wild = {"space": {"*.lr": "log(1e5, 1e6)"}, "iterations": 100}
    asked = request(VALLEY, optimizers="sgd", **wild)
    first = tune(asked, how(tmp_path))
    assert [entrant.label for entrant in first.hopeless] == ["sgd"]
    made = tune(asked, how(tmp_path, reuse=True))
    assert lanes(made.path / "search-000")["reused_from"].notna().all()


def test_a_round_with_lanes_that_failed_makes_the_study_fail(done, copy, monkeypatch):
    stopped(copy, "final")
    failure = Failure("it broke", (0,), "traceback")
    whole = study.run_plan

    def run_plan(*arguments, **options):
        return replace(whole(*arguments, **options), failures=(failure,))

    monkeypatch.setattr(study, "run_plan", run_plan)
    made = resume_study(copy, how(copy.parents[1]))
    assert made.status is Status.FAILED
    assert made.failures == {"final": (failure,)}
    assert read_tune(copy)["status"] == "failed"


def test_failures_of_rounds_that_are_kept_count(done, copy):
    file = copy / "finalists" / "run.json"
    failures = [{"message": "it broke", "lanes": [0], "traceback": "…"}]
    meta = json.loads(file.read_text("utf-8")) | {"failures": failures}
    file.write_text(json.dumps(meta), encoding="utf-8")
    stopped(copy, "final")
    made = resume_study(copy, how(copy.parents[1]))
    assert made.failures == {"finalists": (Failure("it broke", (0,), "…"),)}


def test_optimizers_are_timed_alone_in_the_final(tmp_path):
    made = tune(request(VALLEY), how(tmp_path, time_alone=True))
    (problem,) = read_description(made.path / "final")["problems"]
    assert set(problem["alone_seconds"]) == {"sgd", "adam", "sgd (default)", "adam (default)"}
    (problem,) = read_description(made.path / "search-000")["problems"]
    assert "alone_seconds" not in problem
