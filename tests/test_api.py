"""optbench from Python."""

import gc
import inspect
import os
import sys
import threading
import weakref
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from matplotlib.figure import Figure

import optbench
from optbench.cli.run import run as command
from optbench.cli.tune import tune as tune_command
from optbench.datasets import folders
from optbench.errors import DeviceError, OptbenchError, ResultsError, SuiteError, UsageError
from optbench.report import plots
from optbench.runs import estimate as estimates
from optbench.runs import pipeline
from optbench.runs.invocation import Invocation
from optbench.suite.request import RunRequest, resolve_request
from optbench.tuning.study import Tuning, outlook
from optbench.verify import optimizers as verified


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Work in an empty folder on a machine without MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTBENCH_DATA_DIR", raising=False)
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "no-cache")
    monkeypatch.setattr(os, "fsync", lambda opened: None)  # most of the time of a small run


def test_the_package_names_what_it_offers():
    from optbench import api

    assert set(optbench.__all__) == {*api.__all__, "__version__"}
    assert all(hasattr(optbench, name) for name in optbench.__all__)


def test_a_notebook_needs_no_shell(tmp_path, capsys):
    results = optbench.run("anisotropic", optimizers=["adam", "sgd", "nadam"], seeds=3)
    assert isinstance(results, optbench.Results)
    assert results.lanes["seed"].tolist() == [0, 0, 0]  # nothing is random
    assert len(results.trace) == 3 * 31
    assert list(results.evaluation.columns) == ["lane", "iteration", "split", "loss", "error"]
    assert results.evaluation.empty
    assert isinstance(results.plot(), Figure)
    assert results.path.parent.resolve() == tmp_path / "results"
    assert capsys.readouterr() == ("", "")


def test_load_gives_the_same_tables():
    results = optbench.run("quadratic-1d", iterations=4)
    for path in (results.path, str(results.path)):
        loaded = optbench.load(path)
        assert loaded.meta == results.meta
        pd.testing.assert_frame_equal(loaded.lanes, results.lanes)
        pd.testing.assert_frame_equal(loaded.trace, results.trace)
    pd.testing.assert_frame_equal(pd.read_parquet(results.path / "trace"), results.trace)


def test_flags_are_those_of_the_command_line():
    results = optbench.run(
        "mnist-mlp",
        optimizers=("sgd", "adam"),
        set={"adam.beta1": 0.5, "*.lr": np.float64(0.02)},
        grid={"sgd.lr": [0.1, 0.2], "adam.eps": "1e-8:1e-6:3", "adam.beta2": np.array([0.9])},
        seeds=range(4, 6),
        iterations=1,
        batch_size=2,
        dtype="float64",
        data="mnist-5k",
        device="auto",
        out="other",
        name="mine",
    )
    (problem,) = results.meta["problems"]
    assert (problem["batch_size"], problem["dtype"], problem["iterations"]) == (2, "float64", 1)
    assert results.path.parent.name == "other"
    assert results.path.name.startswith("mine-")
    sgd = results.lanes[results.lanes["label"] == "sgd"]
    assert list(zip(sgd["hp_lr"], sgd["seed"], strict=True)) == [
        (0.1, 4),
        (0.1, 5),
        (0.2, 4),
        (0.2, 5),
    ]
    adam = results.lanes[results.lanes["label"] == "adam"]
    assert adam["hp_eps"].tolist() == [1e-8, 1e-8, 1e-7, 1e-7, 1e-6, 1e-6]
    assert set(adam["hp_beta1"]) == {0.5}
    assert set(adam["hp_lr"]) == {0.02}
    assert set(results.evaluation["split"]) == {"train", "validation", "test"}


def test_lanes_are_evaluated_on_the_way_and_stop_early():
    network = {"problem": "mnist-logreg", "optimizers": "sgd", "data": "mnist-5k"}
    results = optbench.run(**network, epochs=1, batch_size=1750, evaluate_every=1)
    assert results.lanes["iterations"].tolist() == [2]
    assert results.evaluation.groupby("split")["iteration"].apply(list).to_dict() == {
        split: [0, 1, 2] for split in ("train", "validation", "test")
    }
    results = optbench.run(
        "anisotropic", optimizers="adam", iterations=500, stop={"loss": np.float64(1e-2)}
    )
    assert results.lanes["status"].tolist() == ["stopped"]
    assert results.trace["loss"].iloc[-1] <= 1e-2 < results.trace["loss"].iloc[:-1].min()


def test_a_function_may_be_a_formula():
    start = {"x": [1, 2.0], "y": np.float64(3.0)}
    results = optbench.run(function="sum(x**2) + y**2", start=start, iterations=1)
    assert results.lanes["label"].tolist() == ["sgd", "momentum", "adagrad", "adam"]
    assert set(results.trace[results.trace["iteration"] == 0]["loss"]) == {14.0}


def test_a_value_keeps_every_digit_and_its_type():
    results = optbench.run(
        "anisotropic",
        optimizers="adam",
        set={"adam.lr": 0.1 + 0.2, "adam.schedule": "cosine", "adam.bias_correction": False},
        iterations=1,
    )
    (entry,) = results.meta["suite"]["given"]["optimizer"]
    assert (entry["lr"], entry["schedule"]) == (0.1 + 0.2, "cosine")
    assert entry["bias_correction"] is False
    assert results.lanes["hp_lr"].tolist() == [0.1 + 0.2]


def test_several_suites_are_one_invocation():
    first, second = optbench.run(["anisotropic", "quadratic-1d"], iterations=2)
    assert first.meta["suite"]["name"] == "anisotropic"
    assert second.meta["suite"]["name"] == "quadratic-1d"
    assert first.meta["invocation_id"] == second.meta["invocation_id"]
    (only,) = optbench.run(("quadratic-1d",), iterations=1)
    assert isinstance(only, optbench.Results)


OF_PYTHON = {"gradient", "vectorized"}
"""Options of Python functions, which no command line can take."""


def test_options_are_written_in_one_place():
    """The signature is that of the definition, and the command line has every option of it."""
    shown = inspect.signature(optbench.run).parameters
    assert shown.keys() == {*inspect.signature(Invocation).parameters, "progress"}
    assert all(each.kind is each.KEYWORD_ONLY for each in [*shown.values()][1:])
    alone = typer.Typer()
    alone.command()(command)
    flags = {option for each in typer.main.get_command(alone).params for option in each.opts}
    renamed = {"suite": "suites", "optimizers": "--optimizer", "progress": "--quiet"}
    for name in shown.keys() - OF_PYTHON:
        assert renamed.get(name, f"--{name.replace('_', '-')}") in flags
    with pytest.raises(TypeError, match="no option 'seedz'; did you mean 'seeds'"):
        optbench.run("anisotropic", seedz=3)


def test_options_of_tune_are_written_in_one_place():
    shown = inspect.signature(optbench.tune).parameters
    assert shown.keys() == {*inspect.signature(Tuning).parameters, "progress"}
    alone = typer.Typer()
    alone.command()(tune_command)
    flags = {option for each in typer.main.get_command(alone).params for option in each.opts}
    renamed = {
        "suite": "suite",
        "optimizers": "--optimizer",
        "defaults": "--no-defaults",
        "progress": "--quiet",
    }
    for name in shown.keys() - {"reuse_diverged", *OF_PYTHON}:
        assert renamed.get(name, f"--{name.replace('_', '-')}") in flags


def test_a_study_in_a_notebook(tmp_path, capsys):
    study = optbench.tune(
        "anisotropic",
        optimizers=["sgd", "adam"],
        space={"sgd.lr": "log(1e-3, 10)", "adam.lr": "log(1e-2, 1)"},
        budget="8 trials",
    )
    assert isinstance(study, optbench.Study)
    assert capsys.readouterr() == ("", "")
    assert study.path.parent.resolve() == tmp_path / "results"
    assert study.meta["budget"]["given"] == "8 trials"
    assert len(study.trials) == 16
    assert [won["label"] for won in study.winners] == ["sgd", "adam"]
    assert isinstance(study.final, optbench.Results)
    losses = study.final.lanes.set_index("label")["final_loss"]
    for won in study.winners:
        own = study.trials[study.trials["label"] == won["label"]]
        assert won["search_score"] == own["score"].min() == losses[won["label"]]
    summary = study.summary().set_index("label")
    assert summary["final"].to_dict() == {name: losses[name] for name in ("sgd", "adam")}
    for name in (study.path, study.path.name, study.path.name[:20], "latest"):
        loaded = optbench.load(name)
        assert isinstance(loaded, optbench.Study)
        assert loaded.meta == study.meta
    again = optbench.tune("anisotropic", optimizers="sgd", budget="8 trials", out="other")
    assert optbench.load(again.path.name, out="other").path.resolve() == again.path.resolve()
    assert optbench.export(study.path, "lanes")["label"].tolist() == [
        *("sgd", "adam", "sgd (default)", "adam (default)")
    ]
    with pytest.raises(UsageError, match="the test split never chooses"):
        optbench.tune("anisotropic", metric="test_loss")


def test_a_study_that_was_interrupted_raises_after_writing_and_resumes(tmp_path, monkeypatch):
    execute = pipeline.execute

    def interrupted(blocks, device, workers, cancelled, *more, **options):
        cancelled.set()
        return execute(blocks, device, workers, cancelled, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            optbench.tune("anisotropic", budget="4 trials")
    left = optbench.load("latest")
    assert left.meta["status"] == "interrupted"
    assert left.winners == []
    with pytest.raises(ResultsError, match="has no final run yet"):
        _ = left.final
    resumed = optbench.resume("latest", workers=1)
    assert isinstance(resumed, optbench.Study)
    assert resumed.path == left.path
    whole = optbench.tune("anisotropic", budget="4 trials")
    assert resumed.winners == whole.winners


def test_finished_lanes_are_taken_over():
    first = optbench.run("quadratic-1d")
    again = optbench.run("quadratic-1d", optimizers=["sgd", "adam"], reuse=True)
    taken = again.lanes.set_index("label")["reused_from"]
    assert (taken["sgd"], pd.isna(taken["adam"])) == (first.path.name, True)


def test_an_estimate_writes_nothing(tmp_path):
    (estimate,) = optbench.estimate(
        "anisotropic", optimizers=["sgd", "adam"], grid={"adam.lr": "0.1:1:5"}
    )
    assert (estimate.problem, estimate.optimizers, estimate.lanes) == ("anisotropic", 2, 6)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_over_words_is_shown_compared_and_drawn():
    results = optbench.run(
        "anisotropic",
        optimizers=["sgd", {"name": "adam", "grid": {"schedule": ["cosine", "constant"]}}],
        grid={"sgd.lr": [0.1, 0.5], "sgd.schedule": ["linear", "1/t", "constant"]},
        start_spread=0.05,
        seeds=3,
    )
    summary = results.summary().set_index("label")
    best = results.lanes.groupby(["label", "hp_schedule", "hp_lr"])["final_loss"].median()
    schedule, lr = best["sgd"].idxmin()
    assert summary["swept"]["sgd"] == f"lr={lr:g}, schedule={schedule}"
    assert summary["swept"]["adam"] == f"schedule={best['adam'].idxmin()[0]}"
    with pytest.raises(UsageError, match="'sgd' has 6 configurations on 'anisotropic', chosen on"):
        optbench.compare(results.path)
    assert len(optbench.compare(results.path, choose_on=[0])) == 1
    for kind in ("auto", "loss", "schedule", "sensitivity"):
        assert isinstance(results.plot(kind), Figure)
    words = optbench.run("anisotropic", grid={"adam.schedule": ["constant", "cosine", "1/t"]})
    with pytest.raises(UsageError, match="no numeric hyperparameter was swept"):
        words.plot("sensitivity")


def test_a_suite_may_be_a_mapping_or_a_file(tmp_path):
    plain = {
        "name": "mine",
        "problem": [{"name": "quadratic-1d"}],
        "optimizer": [{"name": "sgd", "lr": 0.25}],
        "iterations": 2,
    }
    results = optbench.run(plain)
    # x ← x − (2x + 1)/4 from 20: 9.75, then 4.625.
    assert results.trace["x"].tolist() == [20.0, 9.75, 4.625]
    again = optbench.run(results.path / "run.json")
    assert again.lanes["lane_key"].tolist() == results.lanes["lane_key"].tolist()
    file = tmp_path / "mine.toml"
    file.write_text(
        "iterations = 2\n[[problem]]\nname = 'quadratic-1d'\n"
        "[[optimizer]]\nname = 'sgd'\nlr = 0.25\n"
    )
    assert optbench.run(file).trace["x"].tolist() == [20.0, 9.75, 4.625]


def test_data_dir_is_where_data_are_looked_for(tmp_path):
    with pytest.raises(UsageError, match="holds no mnist"):
        optbench.run("mnist-mlp", iterations=1, data_dir=tmp_path)


def test_the_summary_is_that_of_the_command_line():
    summary = optbench.run("anisotropic", grid={"adam.lr": [0.1, 0.3]}).summary()
    assert summary["label"].tolist() == ["sgd", "momentum", "adagrad", "adam"]
    assert summary["configurations"].tolist() == [1, 1, 1, 2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two problems, one of them swept."""
    problems = [{"name": "quadratic-1d"}, {"name": "anisotropic", "label": "valley"}]
    entries = [{"name": "sgd", "grid": {"lr": [0.1, 0.2]}}]
    suite = {"name": "two", "problem": problems, "optimizer": entries}
    return optbench.run(suite, iterations=3, out=tmp_path_factory.mktemp("results"))


def test_plot_takes_the_first_problem_and_the_first_kind_that_fits(results):
    figure = results.plot()
    assert figure.get_suptitle().startswith("quadratic-1d")
    assert figure.axes[0].get_ylabel() == "f(x)"
    low, high = results.plot(problem="valley").axes[0].get_xlim()
    assert low < -7.0 < 0.0 < high  # the start and the minimum


def test_plot_passes_options_on(results):
    axes = results.plot("loss", problem="valley", ylim=(0.5, 9.0), x="seconds").axes[0]
    assert axes.get_ylim() == (0.5, 9.0)
    assert axes.get_xlabel() == "time in seconds"
    (legend,) = results.plot("loss", problem="valley", band="interval").legends
    assert legend.get_title().get_text().startswith("one seed, too few for a 95 % interval")
    assert results.plot("sensitivity", problem="valley").axes[0].get_xlabel() == "lr"


def test_plot_refuses_what_cannot_be_drawn(results):
    with pytest.raises(UsageError, match="cannot draw surface of 'quadratic-1d'"):
        results.plot("surface")
    with pytest.raises(UsageError, match="no problem 'valey'; did you mean 'valley'"):
        results.plot(problem="valey")
    with pytest.raises(UsageError, match="unknown kind 'los'; did you mean 'loss'"):
        results.plot("los")
    with pytest.raises(UsageError, match="odd number"):
        results.plot("loss", smooth=2)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"suite": "anisotropc"}, SuiteError, "did you mean 'anisotropic'"),
        ({"optimizers": ["adm"]}, SuiteError, "did you mean 'adam'"),
        ({"set": {"adam.lr": -1}}, SuiteError, "must be at least 0"),
        ({"set": {"lr": 1}}, SuiteError, r"names no optimizer; write '\*\.lr'"),
        ({"set": {"adam.lr": "fast"}}, SuiteError, "must be a number"),
        ({"grid": {"adam.lr": []}}, SuiteError, "malformed"),
        ({"grid": {"adam.lr": [1, 1]}}, SuiteError, "twice"),
        ({"seeds": 0}, SuiteError, "at least 1 seed"),
        ({"seeds": [1, 1]}, SuiteError, "malformed"),
        ({"iterations": 0}, SuiteError, "at least 1"),
        ({"batch_size": 3}, SuiteError, "means nothing to anisotropic"),
        ({"device": "tpu"}, DeviceError, "unknown device 'tpu'"),
        ({"name": "a\n"}, SuiteError, "cannot be printed"),
        ({"suite": {"name": "x", "problems": []}}, SuiteError, "did you mean 'problem'"),
        ({"suite": {"problem": []}}, SuiteError, "name is missing"),
        ({"suite": ()}, SuiteError, "nothing to run; name a suite, a problem or a function"),
        ({"stop": {"los": 1}}, SuiteError, "did you mean 'loss'"),
        ({"evaluate_every": 3}, SuiteError, "means nothing to anisotropic"),
    ],
)
def test_what_would_exit_with_two_raises(tmp_path, arguments, error, says):
    with pytest.raises(error, match=says):
        optbench.run(**{"suite": "anisotropic", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_refusals_name_arguments_of_python_and_flags_of_the_command_line(tmp_path):
    run = optbench.run("anisotropic", iterations=4, trace="every:2", out=tmp_path)
    whole = optbench.run("anisotropic", iterations=2, out=tmp_path)
    file = whole.animate(tmp_path / "race.gif")
    whole.animate(file, force=True)
    for call, says in (
        (lambda: optbench.run("anisotropic", set={"lr": 1}), "set 'lr' names no optimizer"),
        (lambda: optbench.run("anisotropic", grid={"booth.lr": [1]}), "grid booth.lr: there is no"),
        (lambda: optbench.run("anisotropic", iterations=0), "iterations=0: it must be at least 1"),
        (
            lambda: optbench.estimate("anisotropic", epochs=2, iterations=2),
            "iterations and epochs exclude",
        ),
        (lambda: optbench.run(function="x**2"), "as start={'x': -7, 'y': [1, 2]}"),
        (
            lambda: optbench.tune("anisotropic", metric="test_loss"),
            "metric='test_loss': the test split",
        ),
        (lambda: optbench.tune("anisotropic", batch=0), "batch=0: it must be 1 to"),
        (lambda: optbench.check(only="speed"), "only='speed' fails nothing without fail_on_speed"),
        (lambda: optbench.save_baseline(run.path), "run its suite with trace='all'"),
        (lambda: optbench.target(run.path), "as on='train_loss', or run with trace='all'"),
        (lambda: run.tolerance(), "such as grid={'sgd.lr': '1e-3:10:25'}"),
        (lambda: run.plot("loss", smooth=5), "leave out smooth, or run with trace='all'"),
        (lambda: whole.animate(file), "give force=True, or another name"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert says in str(caught.value)
        assert "--" not in str(caught.value)
    with pytest.raises(SuiteError, match="--iterations 0: it must be at least 1"):
        resolve_request(RunRequest("anisotropic", iterations=0))


def test_a_place_that_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="choose another out"):
        optbench.run("quadratic-1d", out="file")
    with pytest.raises(ResultsError, match="is not a run"):
        optbench.load(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_was_interrupted_raises_after_writing_and_resumes(tmp_path, monkeypatch):
    execute = pipeline.execute

    def interrupted(blocks, device, workers, cancelled, *more, **options):
        cancelled.set()
        return execute(blocks, device, workers, cancelled, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            optbench.run("anisotropic")
    (path,) = (tmp_path / "results").iterdir()
    left = optbench.load(path)
    assert left.meta["status"] == "interrupted"
    assert left.trace.empty
    assert set(left.lanes["status"]) == {"interrupted"}
    resumed = optbench.resume("latest", workers=1)
    assert resumed.path.resolve() == path
    assert resumed.meta["status"] == "done"
    whole = optbench.run("anisotropic").trace.sort_values(["lane", "iteration"])
    pd.testing.assert_frame_equal(
        resumed.trace.sort_values(["lane", "iteration"]).reset_index(drop=True),
        whole.reset_index(drop=True),
    )
    with pytest.raises(ResultsError, match="there is nothing to resume"):
        optbench.resume(path)


def test_a_run_may_start_in_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(optbench.run("quadratic-1d")))
    thread.start()
    thread.join()
    assert found[0].meta["status"] == "done"


HEAVY = """
from optbench.optimizers import Elementwise, Hyperparameter
from near_by import FACTOR

class Heavy(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.01, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - FACTOR * lr * g,)
"""


def test_each_run_reads_plug_ins_anew_and_frees_them(tmp_path, monkeypatch):
    (tmp_path / "heavy.py").write_text(HEAVY)
    watched = []
    executed = pipeline.execute

    def execute(blocks, *arguments, **options):
        rule = blocks[0].groups[0].optimizer.rule
        module = sys.modules[rule.__module__]
        watched.extend(map(weakref.ref, (module, module.Heavy, rule, sys.modules["near_by"])))
        return executed(blocks, *arguments, **options)

    monkeypatch.setattr(pipeline, "execute", execute)
    losses = []
    for factor in (1, 2, 2):
        (tmp_path / "near_by.py").write_text(f"FACTOR = {factor}\n")
        results = optbench.run("anisotropic", optimizers="heavy.py:Heavy", iterations=3)
        losses.append(results.trace["loss"].iloc[-1])
    assert losses[0] > losses[1] == losses[2]
    gc.collect()
    assert [ref() for ref in watched] == [None] * 12


def test_a_baseline_is_saved_and_checked_from_python(tmp_path):
    run = optbench.run(
        "anisotropic", optimizers=["sgd", "adam"], iterations=5, name="gate", out=tmp_path
    )
    folder = optbench.save_baseline(run.path, threshold={"anisotropic": 0.1}, out=tmp_path)
    assert folder == tmp_path / "baselines" / "gate"
    (checked,) = optbench.check("gate", out=tmp_path)
    assert not checked.verdict.failed
    assert checked.verdict.matched == 2
    assert checked.thresholds["anisotropic"] == 0.1
    assert checked.run.path != run.path
    (worse,) = optbench.check(
        run=optbench.run(
            "anisotropic", optimizers=["sgd", "adam"], iterations=4, out=tmp_path
        ).path,
        out=tmp_path,
    )
    assert worse.verdict.failed


def test_tables_of_runs_are_exported_from_python(tmp_path):
    run = optbench.run("anisotropic", optimizers=["sgd"], iterations=3, out=tmp_path)
    file = tmp_path / "trace.csv"
    trace = optbench.export(run.path, output=file, out=tmp_path)
    assert trace["loss"].tolist() == run.trace["loss"].tolist()
    assert pd.read_csv(file)["loss"].tolist() == run.trace["loss"].tolist()
    with pytest.raises(UsageError, match="give force=True, or another name"):
        optbench.export(run.path, output=file, out=tmp_path)
    assert optbench.export(table="lanes", out=tmp_path)["label"].tolist() == ["sgd"]


def test_checks_of_an_optimizer_see_what_has_changed(tmp_path):
    (tmp_path / "near_by.py").write_text("FACTOR = 1\n")
    ends = []
    for factor in ("FACTOR", "2 * FACTOR"):
        (tmp_path / "heavy.py").write_text(HEAVY.replace("FACTOR *", f"{factor} *"))
        ends.append(optbench.positions("heavy.py:Heavy", [1.0], [[1.0]], lr=0.25)[-1].tolist())
    assert ends == [[0.75], [0.5]]


def test_a_check_sees_that_a_plug_in_has_changed(tmp_path):
    failed = []
    (tmp_path / "heavy.py").write_text(HEAVY)
    for factor in (1, 2):
        (tmp_path / "near_by.py").write_text(f"FACTOR = {factor}\n")
        if not failed:
            run = optbench.run("anisotropic", optimizers="heavy.py:Heavy", iterations=3)
            optbench.save_baseline(run.path)
        (checked,) = optbench.check(figures=False)
        failed.append(checked.verdict.failed)
    assert failed == [False, True]


def test_what_commands_print_and_draw_of_several_runs_can_be_had_from_python(tmp_path):
    given = {"optimizers": ["sgd", "adam"], "start_spread": 0.05, "seeds": 6}
    first = optbench.run("anisotropic", **given, set={"*.lr": 0.1}, out=tmp_path)
    second = optbench.run("anisotropic", **given, grid={"*.lr": [0.2, 0.3, 0.4]}, out=tmp_path)
    runs = [first.path, second.path]
    table = optbench.show(runs)
    assert table["run"].tolist() == [path.name for path in runs for _ in range(2)]
    assert table["final_loss"].tolist()[:2] == first.summary()["final_loss"].tolist()
    tolerance = optbench.show(second.path, tolerance=True)
    pd.testing.assert_frame_equal(tolerance, second.tolerance())
    assert set(tolerance["label"]) == {"sgd", "adam"}
    (together,) = optbench.plot(runs, "loss", out=tmp_path)
    names = together.axes[0].get_legend_handles_labels()[1] or together.legends[0].texts
    assert len(set(map(str, names)) - {"other values of the grid"}) == 4
    assert len(optbench.plot(out=tmp_path)) == 3  # paths, loss, sensitivity
    assert len(optbench.compare(first.path, problem="anisotropic")) == 1
    assert len(optbench.target(first.path, target="1.0", problem=["anisotropic"])) == 2
    assert first.animate(tmp_path / "race.gif").read_bytes().startswith(b"GIF")
    with pytest.raises(ResultsError, match="already exists"):
        first.animate(tmp_path / "race.gif")


def test_figures_and_tables_of_a_search(tmp_path):
    study = optbench.tune("anisotropic", optimizers="sgd", budget="8 trials", out=tmp_path)
    curve = study.budget()
    assert curve["k"].tolist() == list(range(1, 9))
    assert curve["expected"].iloc[-1] == study.winners[0]["search_score"]
    for kind in ("budget", "trials"):
        assert isinstance(study.plot(kind), Figure)
        (figure,) = optbench.plot(kind=kind, out=tmp_path)
        assert isinstance(figure, Figure)
    with pytest.raises(UsageError, match="unknown kind 'loss' of a study"):
        study.plot("loss")


# Values of every kind, for every argument: they work, or raise what is documented.


class Thing:
    """Something that no argument takes."""


ODD = (
    *(None, True, -1, 0, 3, 2**70, 1.5, float("nan"), float("inf"), 1j, "", "x", "adam", b"x"),
    *((), [], {}, {"a"}, [None], ["x"], ["adam"], [1, 2], [[1]], (0.8, 0.9), range(2), object()),
    *(
        np.float32(0.5),
        np.int64(2),
        np.bool_(True),
        np.str_("adam"),
        np.arange(2),
        np.zeros((2, 2)),
    ),
    *(Thing, Thing(), len, Path("x"), pd.Series([1.0]), pd.DataFrame({"a": [1]})),
    *({1: 2}, {"a": 1}, {None: 1}, {"adam.lr": None}, {"adam.lr": "x"}, {"adam.lr": [0.1, 0.2]}),
    *({"adam.lr": Thing()}, {"adam.lr": ["cosine"]}, {"adam.lr": [(0.1,)]}, {"adam.lr": {}}),
    *({"adam.lr": np.array([0.1, 0.2])}, {"adam.": 1}, {"*.lr": np.float32(0.1)}, {"x": None}),
    *([("adam.lr", 0.1)], [("adam.lr",)], {"loss": "x"}, {"loss": np.float64(0.1)}, "\ud800"),
)

REQUEST = {field.name for field in fields(Invocation)}


def attack(function, arguments, name):
    """Call a function with every odd value for an argument; none takes the last."""
    for value in (*ODD, Thing()):
        said = None
        try:
            function(**{**arguments, name: value})
        except OptbenchError as error:
            said = str(error)
    assert said


@pytest.mark.parametrize("name", sorted(REQUEST))
def test_no_value_of_any_kind_raises_anything_else_in_a_run(name, monkeypatch):
    monkeypatch.setattr(estimates, "PROBE_SECONDS", 0.0)
    arguments = {"suite": "anisotropic", "iterations": 2, "optimizers": "adam"}
    if name in ("problem", "function", "start"):
        arguments |= {"suite": (), "function": "x**2 + y**2", "start": {"x": 1, "y": 1}}
    attack(optbench.estimate, arguments, name)


@pytest.mark.parametrize(
    "name", sorted({field.name for field in fields(Tuning)} - REQUEST | {"suite", "grid"})
)
def test_no_value_of_any_kind_raises_anything_else_in_a_study(name, monkeypatch):
    monkeypatch.setattr(estimates, "PROBE_SECONDS", 0.0)

    def foresee(**options):
        tuning = Tuning(**options)
        outlook(tuning, tuning)

    attack(foresee, {"suite": "anisotropic", "iterations": 2, "optimizers": "adam"}, name)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        *((optbench.resume, name) for name in ("run", "workers", "data_dir", "out", "force")),
        (optbench.resume, "checkpoint_every"),
        *((optbench.load, name) for name in ("path", "out")),
        *(
            (optbench.export, name)
            for name in ("runs", "table", "to", "lanes", "format", "output", "out")
        ),
        *((optbench.save_baseline, name) for name in ("run", "name", "threshold", "out")),
        *(
            (optbench.check, name)
            for name in ("baselines", "run", "only", "threshold", "workers", "out")
        ),
        *((optbench.check_optimizer, name) for name in ("name", "given")),
        *((optbench.positions, name) for name in ("name", "start", "gradients", "lr")),
        *((optbench.check_problem, name) for name in ("name", "seed")),
        *((optbench.loss_and_gradient, name) for name in ("name", "point", "seed", "dtype")),
    ],
)
def test_no_value_of_any_kind_raises_anything_else_elsewhere(function, name, results, monkeypatch):
    monkeypatch.setattr(verified, "CHECKS", {"deterministic": verified.deterministic})
    arguments = {
        optbench.load: {"path": "no-such-run"},
        optbench.check_optimizer: {"name": "sgd"},
        optbench.positions: {"name": "sgd", "start": [1.0], "gradients": [[1.0]]},
        optbench.check_problem: {"name": "booth"},
        optbench.loss_and_gradient: {"name": "booth", "point": [1.0, 3.0]},
        optbench.export: {"runs": results.path},
        optbench.check: {"run": "no-such-run"},
        optbench.save_baseline: {"run": "no-such-run"},
        optbench.resume: {"run": "no-such-run"},
    }[function]
    attack(function, arguments, name)


@pytest.mark.parametrize("name", ["kind", "problem", "smooth", "ylim", "x", "log"])
def test_no_value_of_any_kind_raises_anything_else_in_a_plot(name, results, monkeypatch):
    monkeypatch.setattr(plots, "draw", lambda *arguments: Figure())
    attack(results.plot, {"kind": "loss"}, name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": "two"}, "workers = 'two' must be a whole number or None"),
        ({"workers": 0}, "workers = 0 must be at least 1"),
        ({"iterations": True}, "iterations = True must be a whole number or None"),
        ({"seeds": 1.5}, "seeds = 1.5 must be a whole number, a list of whole numbers, text or No"),
        ({"set": ["adam.lr"]}, "set = ['adam.lr'] must be a mapping from names or a list of pairs"),
        ({"stop": 0.1}, "stop = 0.1 must be a mapping from names or None"),
        ({"reuse": 1}, "reuse = 1 must be True or False"),
        ({"out": 3}, "out = 3 must be text or a path"),
        ({"optimizers": [3]}, "optimizers = [3] must be text, a function or a list of texts, fun"),
        ({"optimizers": [Thing]}, "Thing is a class, but no optimizer; give a subclass of optb"),
        ({"problem": 3}, "problem = 3 must be text, a function or a list of texts or functions"),
    ],
)
def test_a_value_of_another_kind_is_told_what_is_right(options, says):
    with pytest.raises(UsageError) as caught:
        optbench.run("anisotropic", **options)
    assert str(caught.value).startswith(says)


def test_none_leaves_what_the_suite_says():
    nothing = dict.fromkeys(REQUEST - {"suite", "iterations"})
    found = optbench.run("quadratic-1d", iterations=2, **nothing)
    expected = optbench.run("quadratic-1d", iterations=2)
    pd.testing.assert_frame_equal(found.trace, expected.trace)


@pytest.mark.parametrize(
    "rates", [np.array([0.25, 0.5]), (0.25, 0.5), [np.float32(0.25), 0.5], pd.Series([0.25, 0.5])]
)
def test_a_grid_may_be_any_list_of_numbers(rates):
    found = optbench.run(
        "quadratic-1d", optimizers=["adam"], grid={"adam.lr": rates}, iterations=np.int64(2)
    )
    assert found.lanes["hp_lr"].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("start", "gradients", "says"),
    [
        ("x", [[1.0]], "start = 'x' must be numbers"),
        ([[1.0]], [[1.0]], "start must have the shape (parameters,)"),
        ([], [[]], "start must have the shape (parameters,)"),
        ([1.0, 2.0], [[1.0]], "gradients must have the shape (updates, 2)"),
        ([1.0], [1.0], "gradients must have the shape (updates, 1)"),
    ],
)
def test_positions_say_what_shape_is_right(start, gradients, says):
    with pytest.raises(UsageError) as caught:
        optbench.positions("sgd", start, gradients)
    assert str(caught.value) == says
