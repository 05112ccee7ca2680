"""optbench from Python."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import optbench
from optbench.datasets import folders
from optbench.errors import DeviceError, ResultsError, SuiteError, UsageError
from optbench.runs import pipeline


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Work in an empty folder on a machine without MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPTBENCH_DATA_DIR", raising=False)
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "no-cache")


def test_the_package_names_what_it_offers():
    assert set(optbench.__all__) == {
        "Results",
        "__version__",
        "check_optimizer",
        "load",
        "positions",
        "run",
    }
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


def test_epochs_count_the_data():
    results = optbench.run(
        "mnist-mlp", optimizers="sgd", epochs=1, batch_size=3500, data="mnist-5k"
    )
    assert results.lanes["iterations"].tolist() == [1]


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
    assert figure.axes[0].get_title() == "quadratic-1d"
    assert figure.axes[0].get_ylabel() == "loss"
    assert results.plot(problem="valley").axes[0].get_xlim() == (-10.0, 10.0)


def test_plot_passes_options_on(results):
    axes = results.plot("loss", problem="valley", ylim=(0.5, 9.0), x="seconds").axes[0]
    assert axes.get_ylim() == (0.5, 9.0)
    assert axes.get_xlabel() == "time in seconds"
    assert results.plot("sensitivity", problem="valley").axes[0].get_xlabel() == "lr"


def test_plot_refuses_what_cannot_be_drawn(results):
    with pytest.raises(UsageError, match="no surface of 'quadratic-1d'"):
        results.plot("surface")
    with pytest.raises(UsageError, match="no problem 'valey'; did you mean 'valley'"):
        results.plot(problem="valey")
    with pytest.raises(UsageError, match="no kind of figure 'los'; did you mean 'loss'"):
        results.plot("los")
    with pytest.raises(UsageError, match="odd number"):
        results.plot("loss", smooth=2)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"suite": "anisotropc"}, SuiteError, "did you mean 'anisotropic'"),
        ({"optimizers": ["adm"]}, SuiteError, "did you mean 'adam'"),
        ({"set": {"adam.lr": -1}}, SuiteError, "out of range"),
        ({"set": {"lr": 1}}, SuiteError, "malformed"),
        ({"set": {"adam.lr": "fast"}}, SuiteError, "not a number"),
        ({"grid": {"adam.lr": []}}, SuiteError, "malformed"),
        ({"grid": {"adam.lr": [1, 1]}}, SuiteError, "twice"),
        ({"seeds": 0}, SuiteError, "at least 1 seed"),
        ({"seeds": [1, 1]}, SuiteError, "malformed"),
        ({"iterations": 0}, SuiteError, "at least 1"),
        ({"batch_size": 3}, SuiteError, "means nothing to anisotropic"),
        ({"device": "tpu"}, DeviceError, "unknown device 'tpu'"),
        ({"name": "a/b"}, SuiteError, "names no folder"),
        ({"suite": {"name": "x", "problems": []}}, SuiteError, "did you mean 'problem'"),
        ({"suite": {"problem": []}}, SuiteError, "name is missing"),
    ],
)
def test_what_would_exit_with_two_raises(tmp_path, arguments, error, says):
    with pytest.raises(error, match=says):
        optbench.run(**{"suite": "anisotropic", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_raises(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="choose another --out"):
        optbench.run("quadratic-1d", out="file")
    with pytest.raises(ResultsError, match="is no run"):
        optbench.load(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_was_interrupted_raises_after_writing(tmp_path, monkeypatch):
    from optbench.run import pipeline

    real = pipeline.execute

    def interrupted(blocks, device, workers, cancelled, *more):
        cancelled.set()
        return real(blocks, device, workers, cancelled, *more)

    monkeypatch.setattr(pipeline, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optbench.run("anisotropic")
    (path,) = (tmp_path / "results").iterdir()
    left = optbench.load(path)
    assert left.meta["status"] == "interrupted"
    assert left.trace.empty
    assert set(left.lanes["status"]) == {"interrupted"}


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

    def execute(blocks, *arguments):
        rule = blocks[0].optimizer.rule
        module = sys.modules[rule.__module__]
        watched.extend(map(weakref.ref, (module, module.Heavy, rule, sys.modules["near_by"])))
        return executed(blocks, *arguments)

    monkeypatch.setattr(pipeline, "execute", execute)
    losses = []
    for factor in (1, 2, 2):
        (tmp_path / "near_by.py").write_text(f"FACTOR = {factor}\n")
        results = optbench.run("anisotropic", optimizers="heavy.py:Heavy", iterations=3)
        losses.append(results.trace["loss"].iloc[-1])
    assert losses[0] > losses[1] == losses[2]
    gc.collect()
    assert [ref() for ref in watched] == [None] * 12


def test_checks_of_an_optimizer_see_what_has_changed(tmp_path):
    (tmp_path / "near_by.py").write_text("FACTOR = 1\n")
    ends = []
    for factor in ("FACTOR", "2 * FACTOR"):
        (tmp_path / "heavy.py").write_text(HEAVY.replace("FACTOR *", f"{factor} *"))
        ends.append(optbench.positions("heavy.py:Heavy", [1.0], [[1.0]], lr=0.25)[-1].tolist())
    assert ends == [[0.75], [0.5]]
