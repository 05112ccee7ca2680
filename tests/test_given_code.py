"""Functions and classes that are given to optbench where a name could stand."""

import os
from itertools import count

import numpy as np
import pandas as pd
import pytest

import optbench
from optbench.errors import SuiteError, UsageError
from optbench.optimizers import Elementwise, Hyperparameter
from optbench.plugins.handed import _known
from optbench.runs import pipeline


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda opened: None)  # most of the time of a small run


def valley(x, y):
    """A long valley."""
    return x**2 / 20 + y**2


def valley_of_array(point):
    return point[0] ** 2 / 20 + point[1] ** 2


def slopes(point):
    return point * [0.1, 2.0]


def slopes_by_name(x, y):
    return [0.1 * x, 2 * y]


START = {"x": -7.0, "y": 2.0}


@pytest.mark.parametrize(
    ("f", "start", "gradient"),
    [
        (valley, START, None),
        (valley_of_array, [-7, 2], None),
        (valley_of_array, np.array([-7.0, 2.0]), slopes),
        (valley, START, slopes_by_name),
        (lambda x, y: (x**2 / 20 + y**2, slopes_by_name(x, y)), START, None),
    ],
)
def test_a_function_runs_as_the_same_formula_does(f, start, gradient):
    optimizers = ["sgd", "adam"]
    ours = optbench.run(problem=f, start=start, gradient=gradient, optimizers=optimizers)
    formula = {"function": "x**2/20 + y**2", "start": START}
    theirs = optbench.run(**formula, optimizers=optimizers, iterations=100)
    (problem,) = ours.meta["problems"]
    assert problem["variables"] == ["x", "y"]
    assert problem["source"]["place"] == "python"
    assert f.__code__.co_name == "<lambda>" or f"def {f.__name__}(" in problem["source"]["text"]
    assert (problem["definition"].get("gradient") is None) == (
        gradient is not None or f.__name__ == "<lambda>"
    )
    np.testing.assert_allclose(ours.trace["loss"], theirs.trace["loss"], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(ours.trace["y"], theirs.trace["y"], rtol=1e-7, atol=1e-9)


def test_it_is_a_problem_in_every_respect():
    given = {"problem": valley, "start": START, "optimizers": ["sgd", "adam"]}
    swept = optbench.run(**given, grid={"*.lr": [0.01, 0.1]}, seeds=3, start_spread=0.1)
    assert swept.lanes["seed"].nunique() == 3
    assert len(swept.lanes) == 2 * 2 * 3
    assert swept.lanes["problem"].unique().tolist() == ["valley"]
    assert swept.path.name.startswith("valley-")
    again = optbench.run(**given, grid={"*.lr": [0.01, 0.1]}, seeds=3, start_spread=0.1)
    assert again.lanes["lane_key"].tolist() == swept.lanes["lane_key"].tolist()
    assert len(optbench.compare([swept.path], choose_on=[0, 1])) == 1
    assert [each.problem for each in optbench.estimate(**given)] == ["valley"]
    study = optbench.tune(**given, budget="4 trials", iterations=10)
    assert {won["problem"] for won in study.winners} == {"valley"}
    both = optbench.run(problem=[valley, "booth"], start=START, optimizers="sgd", iterations=2)
    assert both.lanes["problem"].tolist() == ["valley", "booth"]


def test_vectorized_functions_and_workers_change_no_number():
    given = {"start": [-7.0, 2.0], "optimizers": ["sgd", "adam"], "grid": {"*.lr": "0.01:0.1:5"}}
    single = optbench.run(problem=valley_of_array, **given)
    stacked = optbench.run(
        problem=lambda x: x[:, 0] ** 2 / 20 + x[:, 1] ** 2, vectorized=True, workers=2, **given
    )
    assert stacked.trace["loss"].tolist() == single.trace["loss"].tolist()


def test_worker_processes_leave_what_cannot_be_pickled_in_the_main_one(monkeypatch):
    monkeypatch.setattr(pipeline, "PROCESSES_AFTER", 0.0)
    secret = iter(count())  # no process could be sent a closure over this
    results = optbench.run(
        problem=[lambda x: (x @ x) + 0 * next(secret), "mnist-logreg"],
        start=[3.0, 4.0],
        optimizers=["sgd", "adam"],
        iterations=3,
        data="mnist-5k",
        workers=2,
    )
    assert results.meta["processes"] is True
    assert set(results.lanes["status"]) == {"done"}


def interrupted(monkeypatch, **options):
    """Run until the first look at the interrupt, and return the directory."""
    execute = pipeline.execute

    def stopping(blocks, device, workers, cancelled, *more, **rest):
        cancelled.set()
        return execute(blocks, device, workers, cancelled, *more, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "execute", stopping)
        with pytest.raises(KeyboardInterrupt):
            optbench.run(**options)
    return optbench.load("latest").path


def test_a_run_goes_on_where_the_function_is_at_hand_and_is_refused_elsewhere(monkeypatch):
    problem = optbench.function(valley, start=START)
    given = {"problem": problem, "optimizers": "adam"}
    whole = optbench.run(**given)
    path = interrupted(monkeypatch, **given)
    resumed = optbench.resume(path)
    pd.testing.assert_frame_equal(resumed.trace, whole.trace)
    path = interrupted(monkeypatch, **given)
    monkeypatch.delitem(_known, "valley")
    with pytest.raises(SuiteError, match=r"'python:valley' was handed over from Python, and"):
        optbench.resume(path)
    with pytest.raises(UsageError, match="is another one now"):
        optbench.resume(path, problem=optbench.function(renamed(), start=START))
    resumed = optbench.resume(path, problem=problem)
    pd.testing.assert_frame_equal(resumed.trace, whole.trace)


def renamed():
    """Return another function of the same name."""

    def valley(x, y):
        return x**2 / 20 + 2 * y**2

    return valley


class Halving(Elementwise):
    """Steps of half the gradient, times lr."""

    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g / 2,)


def test_an_optimizer_may_be_a_class():
    short = {"name": Halving, "label": "short", "grid": {"lr": [0.01, 0.02]}}
    found = optbench.run("anisotropic", optimizers=[Halving, short, "sgd"], set={"sgd.lr": 0.05})
    assert found.lanes["label"].tolist() == ["Halving", "short", "short", "sgd"]
    losses = found.lanes.set_index("label")["final_loss"]
    assert losses["Halving"] == pytest.approx(losses["sgd"], rel=1e-12)
    assert "class Halving" in found.meta["optimizers"][0]["source"]["text"]
    assert all(check.passed for check in optbench.check_optimizer(Halving))
    assert optbench.positions(Halving, [1.0], [[2.0]], lr=0.5).tolist() == [[0.5]]


def test_a_problem_is_checked():
    (check,) = optbench.check_problem(optbench.function(valley, start=START))
    assert check.passed
    store = []

    def counting(x):
        store.append(x)
        return float(x @ x) + len(store), 2 * x

    (check,) = optbench.check_problem(optbench.function(counting, start=[0.0]))
    assert not check.passed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"problem": valley}, "valley needs a start: start=[1.0, 2.0] for a function of an array"),
        ({"problem": valley, "start": {}}, "valley needs a start"),
        ({"problem": valley, "start": {"x": "a"}}, "start = ['a'] must be finite numbers"),
        ({"problem": valley, "start": [1.0, 2.0]}, "valley fails at its start: TypeError: "),
        ({"problem": "booth", "start": [1.0]}, "a start belongs to a function; give func"),
        ({"problem": "booth", "gradient": slopes}, "gradient is that of one function; give it"),
        ({"problem": "booth", "vectorized": True}, "vectorized is said of a function; give it"),
        ({"function": "x**2", "start": [1.0]}, "its start names its variables"),
        ({"function": "x**2", "start": {"x": 1}, "gradient": slopes}, "its gradient is its own"),
        (
            {"problem": valley_of_array, "start": [-7, 2], "gradient": lambda p: p * [0.1, 1.0]},
            "valley_of_array: its gradient is wrong at the start: by y it is 2 where x = -7, y = 2"
            ", but the loss has the slope 4;",
        ),
        ({"suite": "anisotropic", "optimizers": [valley]}, "valley is a function, but no optim"),
        ({"suite": "anisotropic", "optimizers": [dict]}, "dict is a class, but no optimizer"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(options, says, tmp_path):
    with pytest.raises(UsageError) as caught:
        optbench.run(**{"optimizers": "sgd", **options})
    assert says in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_two_functions_of_one_name_are_told_apart_by_renaming():
    with pytest.raises(SuiteError, match="two of what was handed over are called valley; rename"):
        optbench.run(problem=[valley, renamed()], start=START, optimizers="sgd")
