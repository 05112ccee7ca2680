"""``optbench run``: what every flag changes, what is printed, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from optbench.optimizers.registry import OPTIMIZERS
from optbench.optimizers.rules.sgd import SGD
from optbench.runs import pipeline
from tests.cli.command import lanes, meta, optbench, run, suite, trace

FUNCTION = ("anisotropic", "--iterations", 3)
NETWORK = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 2, "--batch-size", 4)
TEXTBOOK = ["sgd", "momentum", "adagrad", "adam"]


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def bits(path: Path, label: str) -> bytes:
    """Return the bits of a label's trace: iteration, loss and position, lane by lane."""
    table, rows = lanes(path), trace(path)
    rows = rows[rows["lane"].isin(table.loc[table["label"] == label, "lane"])]
    rows = rows.sort_values(["lane", "iteration"])
    return rows.drop(columns="lane").to_numpy().tobytes()


# What a run leaves.


@pytest.fixture(scope="module")
def textbook(tmp_path_factory):
    return run("anisotropic", cwd=tmp_path_factory.mktemp("textbook"))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return run(*NETWORK, "--seeds", 2, cwd=tmp_path_factory.mktemp("network"))


def test_the_textbook_suite_leaves_what_the_readme_promises(textbook):
    table, rows, about = lanes(textbook), trace(textbook), meta(textbook)
    assert re.fullmatch(r"anisotropic-\d{8}T\d{6}Z-[0-9a-f]{8}", textbook.name)
    assert table["label"].tolist() == TEXTBOOK
    assert table["hp_lr"].tolist() == [0.95, 0.1, 1.5, 0.3]
    assert table["status"].tolist() == ["done"] * 4
    assert set(rows.columns) == {"lane", "iteration", "loss", "x", "y"}
    assert rows.groupby("lane")["iteration"].apply(list).tolist() == [list(range(31))] * 4
    start = rows[rows["iteration"] == 0]
    assert start[["x", "y", "loss"]].to_numpy().tolist() == [[-7.0, 2.0, 49 / 20 + 4]] * 4
    assert (rows["loss"] - (rows["x"] ** 2 / 20 + rows["y"] ** 2)).abs().max() < 1e-14
    assert about["status"] == "done"
    assert about["suite"]["written"]["name"] == about["suite"]["resolved"]["name"] == "anisotropic"


def test_lanes_and_trace_join_on_lane(textbook):
    table = lanes(textbook).set_index("lane")
    last = trace(textbook).groupby("lane")["loss"].agg(["last", "min"])
    joined = table.join(last, validate="one_to_one")
    assert joined["final_loss"].tolist() == joined["last"].tolist()
    assert joined["best_loss"].tolist() == joined["min"].tolist()


def test_networks_leave_a_row_an_update_and_evaluations_of_every_split(network):
    table, rows = lanes(network), trace(network)
    assert table["seed"].tolist() == [0, 1] * 4
    assert list(rows.columns) == ["lane", "iteration", "loss"]
    assert rows.groupby("lane")["iteration"].apply(list).tolist() == [[0, 1]] * 8
    evaluation = pd.read_parquet(network / "evaluation")
    assert (
        evaluation.groupby("lane")["split"].apply(sorted).tolist()
        == [["test", "train", "validation"]] * 8
    )
    assert evaluation["error"].between(0, 1).all()
    assert table["final_loss"].tolist() == rows.groupby("lane")["loss"].last().tolist()


# Repeating.


def test_a_second_run_gives_the_same_bits_in_another_directory(textbook, network):
    for path, arguments in ((textbook, ["anisotropic"]), (network, [*NETWORK, "--seeds", 2])):
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        again = run(*arguments, cwd=path.parents[1])
        assert again != path
        assert again.parent == path.parent
        for label in TEXTBOOK:
            assert bits(again, label) == bits(path, label)
        assert lanes(again)["lane_key"].tolist() == lanes(path)["lane_key"].tolist()
        assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("of", ["textbook", "network"])
def test_run_json_repeats_a_run(request, of, tmp_path):
    path = request.getfixturevalue(of)
    again = run(path / "run.json", cwd=tmp_path)
    assert lanes(again)["lane_key"].tolist() == lanes(path)["lane_key"].tolist()
    assert meta(again)["suite"]["resolved"] == meta(path)["suite"]["resolved"]
    for label in TEXTBOOK:
        assert bits(again, label) == bits(path, label)


@pytest.mark.parametrize(
    ("of", "arguments"), [("textbook", ["anisotropic"]), ("network", [*NETWORK, "--seeds", 2])]
)
def test_an_optimizer_alone_gives_the_same_bits_as_among_all(request, of, arguments, tmp_path):
    path = request.getfixturevalue(of)
    alone = run(*arguments, "-o", "adam", cwd=tmp_path)
    assert lanes(alone)["label"].unique().tolist() == ["adam"]
    assert bits(alone, "adam") == bits(path, "adam")
    assert set(lanes(alone)["lane_key"]) < set(lanes(path)["lane_key"])


# Flags.


def test_several_optimizers_come_in_the_order_asked_for(tmp_path):
    path = run(*FUNCTION, "-o", "adam", "--optimizer", "sgd", "-o", "adam", cwd=tmp_path)
    assert lanes(path)["label"].tolist() == ["adam", "sgd"]
    assert lanes(path)["hp_lr"].tolist() == [0.3, 0.95]


def test_an_optimizer_that_the_suite_lacks_is_added_and_said_on_stderr(tmp_path):
    seen = optbench("run", *FUNCTION, "-o", "rmsprop", "-o", "sgd", cwd=tmp_path)
    assert seen.code == 0
    note = "note: suite 'anisotropic' has no optimizer 'rmsprop': added with its defaults"
    assert seen.err.splitlines()[0] == note
    assert "rmsprop" not in seen.out.split("optimizer")[0]
    (path,) = (tmp_path / "results").iterdir()
    assert lanes(path)[["label", "hp_lr", "hp_decay"]].iloc[0].tolist() == ["rmsprop", 0.01, 0.99]


def test_set_and_grid_change_hyperparameters(tmp_path):
    path = run(
        *FUNCTION,
        *("--set", "adam.lr=0.25", "--set", "*.eps=1e-3", "--set", "momentum.momentum=0"),
        *("--grid", "sgd.lr=0.1,0.2", "--grid", "adam.beta1=0.5:0.8:3"),
        *("--grid", "adam.beta2=0.9,0.99"),
        cwd=tmp_path,
    )
    table = lanes(path)
    assert table["label"].value_counts().to_dict() == {
        "sgd": 2,
        "momentum": 1,
        "adagrad": 1,
        "adam": 6,
    }
    assert table.query("label == 'sgd'")["hp_lr"].tolist() == [0.1, 0.2]
    assert table.query("label == 'momentum'")["hp_momentum"].tolist() == [0.0]
    assert table.query("label == 'adagrad'")["hp_eps"].tolist() == [1e-3]
    adam = table.query("label == 'adam'")
    assert set(adam["hp_lr"]) == {0.25}
    assert set(adam["hp_eps"]) == {1e-3}
    beta1 = [0.5, pytest.approx((0.5 * 0.8) ** 0.5), 0.8]
    assert adam["hp_beta1"].tolist() == [beta for beta in beta1 for _ in range(2)]
    assert adam["hp_beta2"].tolist() == [0.9, 0.99] * 3
    assert table["hp_momentum"].isna().tolist() == [label != "momentum" for label in table["label"]]


def test_points_are_configurations_and_their_run_can_be_run(tmp_path):
    points = 'points = [{lr = 0.9, schedule = "cosine"}, {schedule = "constant", lr = 0.5}]'
    suite = f'[[problem]]\nname = "anisotropic"\n[[optimizer]]\nname = "sgd"\n{points}\n'
    (tmp_path / "mine.toml").write_text(suite)
    path = run("mine.toml", cwd=tmp_path)
    table = lanes(path)
    assert table["hp_lr"].tolist() == [0.9, 0.5]
    assert table["hp_schedule"].tolist() == ["cosine", "constant"]
    again = run(path / "run.json", cwd=tmp_path)
    assert lanes(again)["lane_key"].tolist() == table["lane_key"].tolist()
    assert trace(again).equals(trace(path))
    best = table.loc[table["final_loss"].idxmin()]
    seen = optbench("show", again, cwd=tmp_path)
    assert f"lr={best['hp_lr']:g}, schedule={best['hp_schedule']}" in seen.out


def test_each_value_of_a_problems_option_is_a_problem_of_its_own(tmp_path):
    network = ("mnist-mlp", "--data", "mnist-5k", "-o", "sgd", "--iterations", 3)
    seen = optbench("run", *network, "--grid", "mnist-mlp.batch_size=32,64", cwd=tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    titles = ["mnist-mlp (batch_size=32)", "mnist-mlp (batch_size=64)"]
    assert lanes(path)["problem"].tolist() == titles
    assert lanes(path)["fingerprint"].nunique() == 2
    assert [entry["batch_size"] for entry in meta(path)["problems"]] == [32, 64]
    assert all(f"{title} on mnist-5k" in seen.out for title in titles)
    again = run(path / "run.json", "--reuse", cwd=tmp_path)
    assert lanes(again)["reused_from"].tolist() == [path.name] * 2
    single = run(*network, "--set", "mnist-mlp.batch_size=64", "--reuse", cwd=tmp_path)
    assert lanes(single)["reused_from"].notna().tolist() == [True]


def test_seeds_count_and_seed_names_them(tmp_path):
    noisy = ("--problem", "noisy-beale", "-o", "sgd", "--set", "sgd.lr=1e-6", "--iterations", 2)
    counted = run(*noisy, "--seeds", 3, cwd=tmp_path)
    assert lanes(counted)["seed"].tolist() == [0, 1, 2]
    named = run(*noisy, "--seed", "3,7,11", cwd=tmp_path)
    assert lanes(named)["seed"].tolist() == [3, 7, 11]
    assert meta(named)["seeds"] == [3, 7, 11]


def test_seeds_of_a_function_are_said_to_change_nothing(tmp_path):
    seen = optbench("run", *FUNCTION, "--seeds", 2, cwd=tmp_path)
    assert "note: nothing in suite 'anisotropic' is random, so one seed is enough" in seen.err
    (path,) = (tmp_path / "results").iterdir()
    assert set(lanes(path)["seed"]) == {0}


def test_where_nothing_is_random_a_network_has_one_lane_and_its_last_row_as_final_loss(tmp_path):
    network = ("--problem", "mnist-logreg", "--data", "mnist-5k", "--batch-size", 100)
    seen = optbench("run", *network, "-o", "sgd", "--seeds", 3, "--iterations", 30, cwd=tmp_path)
    assert "note: nothing in suite 'mnist-logreg' is random, so one seed is enough" in seen.err
    assert "median" not in seen.out
    (path,) = (tmp_path / "results").iterdir()
    (lane,) = lanes(path).to_dict("records")
    losses = trace(path)["loss"]
    assert (lane["final_loss"], lane["best_loss"]) == (losses.iloc[-1], losses.min())
    (problem,) = meta(path)["problems"]
    assert (problem["random"], problem["stochastic"]) == (False, False)
    assert list(problem["stream_digests"]) == ["0"]


def test_short_runs_do_not_average_their_descent_and_choose_by_the_loss_of_a_split(tmp_path):
    grid = ("-o", "sgd", "--grid", "sgd.lr=0.01,0.1", "--iterations", 40, "--batch-size", 50)
    seen = optbench("run", "mnist-mlp", "--data", "mnist-5k", *grid, cwd=tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    table, rows = lanes(path), trace(path)
    last = rows.groupby("lane")["loss"].apply(lambda loss: loss.iloc[-4:].mean())
    assert table["final_loss"].tolist() == pytest.approx(last.tolist(), rel=1e-12)
    evaluated = pd.read_parquet(path / "evaluation")
    validation = evaluated[evaluated["split"] == "validation"].set_index("lane")["loss"]
    assert f" {validation.min():#.4g} " in seen.out
    assert f"lr={table['hp_lr'][validation.idxmin()]:g}" in seen.out
    assert "final loss: mean of the last 4 batches" in seen.out


def test_iterations_batch_size_dtype_and_data_are_the_problems(tmp_path):
    path = run(*NETWORK, "--dtype", "float64", "-o", "sgd", cwd=tmp_path)
    (problem,) = meta(path)["problems"]
    assert (problem["iterations"], problem["batch_size"]) == (2, 4)
    assert (problem["dtype"], problem["data"]) == ("float64", "mnist-5k")
    assert lanes(path)["iterations"].tolist() == [2]
    single = run(*NETWORK, "-o", "sgd", cwd=tmp_path)
    assert meta(single)["problems"][0]["dtype"] == "float32"
    assert bits(single, "sgd") != bits(path, "sgd")


def test_epochs_are_passes_over_the_data(tmp_path):
    arguments = ("mnist-mlp", "--data", "mnist-5k", "--batch-size", 1750, "--epochs", 2)
    path = run(*arguments, "-o", "sgd", cwd=tmp_path)
    assert meta(path)["problems"][0]["iterations"] == 4


def test_data_auto_takes_what_is_there_and_says_what_is_not(tmp_path):
    seen = optbench("run", "mnist-mlp", "--iterations", 1, "--batch-size", 1, cwd=tmp_path)
    assert seen.code == 0
    note = seen.err.splitlines()[0]
    assert note.startswith("note: mnist is not in the cache, so mnist-5k is used")
    assert "optbench data fetch mnist" in note
    assert "mnist-mlp on mnist-5k" in seen.out


def test_data_mnist_insists_and_data_dir_is_where_it_is_looked_for(tmp_path):
    missing = optbench("run", *NETWORK[:1], "--data", "mnist", cwd=tmp_path).message
    assert "optbench data fetch mnist" in missing
    elsewhere = optbench("run", *NETWORK[:1], "--data-dir", tmp_path, cwd=tmp_path).message
    assert f"{tmp_path} holds no mnist" in elsewhere
    assert not (tmp_path / "results").exists()


def test_out_and_name_say_where(tmp_path):
    path = run(*FUNCTION, "--out", "a/b", "--name", "my.run-1", cwd=tmp_path)
    assert path.parent == tmp_path / "a" / "b"
    assert path.name.startswith("my.run-1-2")
    assert meta(path)["suite"]["name"] == "my.run-1"
    assert meta(path)["suite"]["written"]["name"] == "anisotropic"
    assert not (tmp_path / "results").exists()


def test_device_auto_falls_back_and_gpu_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "optbench.device.choose.why_no_gpu", lambda number: "it is not there; buy one"
    )
    path = run(*FUNCTION, "--device", "auto", cwd=tmp_path)
    assert meta(path)["device"]["kind"] == "cpu"
    message = optbench("run", "--optimizer", "adam", "--device", "gpu", cwd=tmp_path).message
    assert message == ("no GPU can be used: it is not there; buy one; or run with --device cpu")


def test_without_a_gpu_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("optbench.device.gpu.find_spec", lambda name: None)
    message = optbench("run", "--optimizer", "adam", "--device", "gpu", cwd=tmp_path).message
    assert "pip install 'optbench[gpu-cuda13]'" in message


def test_flags_that_exclude_each_other(tmp_path):
    for pair in (["--seeds", 1, "--seed", 1], ["--iterations", 1, "--epochs", 1]):
        message = optbench("run", "mnist-mlp", *pair, cwd=tmp_path).message
        assert f"{pair[0]} and {pair[2]} exclude each other" in message


# Suites.


def test_without_a_suite_both_textbook_suites_run_in_one_invocation(tmp_path):
    seen = optbench(
        *("run", "--iterations", 1, "--batch-size", 2, "--data", "mnist-5k", "-q"), cwd=tmp_path
    )
    assert (seen.code, seen.err) == (0, "")
    first, second = (meta(path) for path in seen.paths)
    assert first["suite"]["name"] == "anisotropic"
    assert second["suite"]["name"] == "mnist-mlp"
    assert first["invocation_id"] == second["invocation_id"]
    assert first["problems"][0]["batch_size"] is None
    assert second["problems"][0]["batch_size"] == 2


def test_a_suite_of_ones_own(tmp_path):
    name = suite(
        tmp_path,
        """
        seeds = [4]
        [[problem]]
        name = "quadratic-1d"
        iterations = 3
        [[problem]]
        name = "anisotropic"
        label = "valley"
        iterations = 2
        sgd.lr = 0.5
        [[optimizer]]
        name = "sgd"
        label = "plain = v1.0"
        """,
    )
    path = run(name, cwd=tmp_path)
    table = lanes(path)
    assert path.name.startswith("mine-")
    assert table["problem"].tolist() == ["quadratic-1d", "valley"]
    assert table["label"].tolist() == ["plain = v1.0"] * 2
    assert table["hp_lr"].tolist() == [0.01, 0.5]
    assert table["iterations"].tolist() == [3, 2]
    rows = trace(path)
    assert set(rows.columns) == {"lane", "iteration", "loss", "x", "y"}
    assert rows.query("lane == 0")["y"].isna().all()


def test_all_suites_are_checked_before_the_first_one_runs(tmp_path):
    optbench("run", "anisotropic", "nope", cwd=tmp_path).message  # noqa: B018  # it asserts
    broken = suite(tmp_path, "[[problem]]\nname = 'anisotropic'\n[[optimizer]]\nname = 'sdg'\n")
    assert "did you mean 'sgd'?" in optbench("run", "anisotropic", broken, cwd=tmp_path).message
    assert not (tmp_path / "results").exists()


# What is printed.


def test_a_run_reports_on_stderr_and_ends_with_a_table_on_stdout(tmp_path):
    seen = optbench("run", *FUNCTION, cwd=tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    assert seen.code == 0
    first_words = [line.split()[0] for line in seen.out.splitlines() if line.strip()]
    assert [word for word in first_words if word in TEXTBOOK] == TEXTBOOK
    assert seen.out.splitlines()[-1] == f"results: results/{path.name}"
    assert seen.err.splitlines()[0].startswith("anisotropic: 4 lanes, 1 block, 1 worker")
    assert seen.err.splitlines()[-1] == "plot them with: optbench plot"
    assert "\x1b" not in seen.out + seen.err


def test_the_command_that_plots_names_another_folder(tmp_path):
    seen = optbench("run", *FUNCTION, "--out", "other", cwd=tmp_path)
    command = seen.err.splitlines()[-1].removeprefix("plot them with: optbench ")
    plotted = optbench(*command.split(), cwd=tmp_path)
    assert plotted.code == 0
    assert plotted.paths[0].is_file()


@pytest.mark.parametrize("flag", ["--quiet", "-q"])
def test_quiet_prints_only_the_paths(tmp_path, flag):
    seen = optbench("run", *FUNCTION, "-o", "rmsprop", flag, cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert (seen.path / "run.json").is_file()


def test_json_is_all_there_is_on_stdout(tmp_path):
    seen = optbench("run", "anisotropic", "quadratic-1d", "--json", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    told = strict_json(seen.out)
    assert set(told) == {"invocation_id", "runs"}
    assert [each["suite"] for each in told["runs"]] == ["anisotropic", "quadratic-1d"]
    for each in told["runs"]:
        path = tmp_path / each["path"]
        assert meta(path)["invocation_id"] == told["invocation_id"]
        assert each["status"] == "done"
        assert [row["final_loss"] for row in each["summary"]] == lanes(path)["final_loss"].tolist()


def test_json_says_null_where_there_is_no_number(tmp_path):
    seen = optbench("run", "anisotropic", "--set", "sgd.lr=1e200", "--json", cwd=tmp_path)
    assert seen.code == 0
    sgd = strict_json(seen.out)["runs"][0]["summary"][0]
    assert (sgd["status"], sgd["final_loss"], sgd["test_error"]) == ("diverged", None, None)


# How it ends.


def test_one_lane_that_diverges_is_no_failure(tmp_path):
    path = run(*FUNCTION, "--set", "sgd.lr=1e200", cwd=tmp_path)
    assert meta(path)["status"] == "done"
    assert lanes(path)["status"].tolist() == ["diverged", "done", "done", "done"]


def test_when_all_lanes_diverge_the_code_is_four(tmp_path):
    path = run(*FUNCTION, "-o", "sgd", "--set", "*.lr=1e200", cwd=tmp_path, code=4)
    assert meta(path)["status"] == "diverged"
    assert lanes(path)["diverged_at"].tolist() == [1]


class Broken(SGD):
    """A rule that raises."""

    name: ClassVar[str] = "broken"

    def step(self, step: Any) -> None:
        raise ArithmeticError("out of\nluck")


def test_when_a_lane_fails_the_others_end_and_the_code_is_four(tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, Broken.name, Broken)
    seen = optbench("run", *FUNCTION, "-o", "broken", "-o", "adam", cwd=tmp_path)
    (path,) = (tmp_path / "results").iterdir()
    assert seen.code == 4
    assert lanes(path)["status"].tolist() == ["failed", "done"]
    assert lanes(path)["final_loss"].isna().tolist() == [True, False]
    (failure,) = [line for line in seen.err.splitlines() if line.startswith("error: ")]
    said = "error: broken on anisotropic (seed 0) failed: ArithmeticError: out of"
    assert failure.startswith(said)
    assert failure.endswith(f"(the traceback is in results/{path.name}/run.json)")
    assert "in step" in meta(path)["failures"][0]["traceback"]
    assert "Traceback" not in seen.err + seen.out


def test_the_worst_of_several_suites_decides(tmp_path):
    fine = "[[problem]]\nname = 'quadratic-1d'\n[[optimizer]]\nname = 'sgd'\n"
    bad = suite(tmp_path, f"{fine}lr = 1e200\n", "bad")
    good = suite(tmp_path, fine, "good")
    seen = optbench("run", bad, good, "-q", cwd=tmp_path)
    assert seen.code == 4
    assert [meta(path)["status"] for path in seen.paths] == ["diverged", "done"]


def test_an_interrupt_ends_the_invocation(tmp_path, monkeypatch):
    real = pipeline.execute

    def execute(blocks, device, workers, cancelled, *more, **options):
        cancelled.set()
        return real(blocks, device, workers, cancelled, *more, **options)

    monkeypatch.setattr(pipeline, "execute", execute)
    seen = optbench("run", "anisotropic", "quadratic-1d", "--json", cwd=tmp_path)
    assert (seen.code, seen.err) == (130, "")
    (told,) = strict_json(seen.out)["runs"]
    assert (told["suite"], told["status"]) == ("anisotropic", "interrupted")
    assert {row["status"] for row in told["summary"]} == {"interrupted"}
    assert {row["final_loss"] for row in told["summary"]} == {None}


def test_an_interrupt_at_the_end_of_a_run_ends_the_invocation(tmp_path, monkeypatch):
    """All its blocks have ended by then, so that it is done, and no other is begun."""
    real = pipeline.execute

    def execute(blocks, device, workers, cancelled, *more, **options):
        yield from real(blocks, device, workers, cancelled, *more, **options)
        cancelled.set()

    monkeypatch.setattr(pipeline, "execute", execute)
    seen = optbench("run", "anisotropic", "quadratic-1d", "-q", cwd=tmp_path)
    assert (seen.code, seen.out) == (130, "")
    (path,) = (tmp_path / "results").iterdir()
    assert meta(path)["status"] == "done"
    seen = optbench("run", "quadratic-1d", "-q", "--out", "other", cwd=tmp_path)
    assert (seen.code, meta(seen.path)["status"]) == (0, "done")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("whole_group", [False, True])
def test_an_interrupt_keeps_what_was_done_and_ends_with_130(whole_group, tmp_path):
    """Two suites, interrupted during the first once rows of it are on disk.

    They are long, so that their workers are processes; a terminal interrupts the whole group.
    """
    command = [sys.executable, "-m", "optbench", "run", "mnist-mlp", "anisotropic"]
    options = ["--data", "mnist-5k", "--iterations", "100000", "--batch-size", "8"]
    said = tmp_path / "said"
    with (
        said.open("w") as stderr,
        subprocess.Popen(
            [*command, *options, "--workers", "2"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        deadline = time.monotonic() + 60
        while "mnist-mlp: 4 lanes" not in said.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        send = os.killpg if whole_group else os.kill
        send(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):  # none of its group is left
        os.killpg(process.pid, 0)
    assert "interrupted: what was done is kept" in said.read_text()
    path = tmp_path / out.splitlines()[-1].removeprefix("results: ")
    assert (meta(path)["status"], meta(path)["processes"]) == ("interrupted", True)
    assert set(lanes(path)["status"]) == {"interrupted"}
    assert lanes(path)["final_loss"].isna().all()
    rows = trace(path).groupby("lane")["iteration"].agg(["min", "max", "count"])
    begun = lanes(path).set_index("lane")["iterations"].loc[rows.index]
    assert len(rows) > 0
    assert (rows["min"] == 0).all()
    assert rows["count"].tolist() == (rows["max"] + 1).tolist() == begun.tolist()
    assert list((tmp_path / "results").iterdir()) == [path]
    assert "interrupted" in optbench("show", cwd=tmp_path).out
    assert optbench("plot", cwd=tmp_path).path.is_file()


# Before a run.


def test_a_dry_run_tells_the_plan_and_writes_nothing(tmp_path):
    problems = ("--problem", "anisotropic", "--problem", "booth", "--problem", "beale")
    seen = optbench("run", *FUNCTION, *problems, "--dry-run", "--workers", 3, cwd=tmp_path)
    assert seen.code == 0
    assert "nothing was run" in seen.out
    assert "anisotropic: 12 lanes in 3 blocks on 3 workers (cpu), about" in seen.out
    cells = [line.split() for line in seen.out.splitlines() if "booth" in line]
    assert cells[0][:7] == ["booth", "4", "4", "3", "1", "4", "lanes,"]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_network_counts_its_data(tmp_path):
    few = ["--data", "mnist-5k", "--iterations", 2, "--batch-size", 4, "-o", "sgd"]
    seen = optbench("run", "mnist-mlp", *few, "--dry-run", cwd=tmp_path)
    assert "3.7 MiB of data" in seen.out


def test_workers_are_recorded_and_change_no_bit(tmp_path):
    problems = ("--problem", "anisotropic", "--problem", "booth", "--problem", "beale")
    one, many = (
        run(*FUNCTION, *problems, "--workers", workers, "--grid", "*.lr=0.1,0.2,0.3", cwd=tmp_path)
        for workers in (1, 3)
    )
    assert set(lanes(one)["workers"]) == {1}
    assert set(lanes(many)["workers"]) == {3}
    columns = ["lane", "iteration", "loss", "x", "y"]
    order = ["lane", "iteration"]
    first, second = (trace(path)[columns].sort_values(order) for path in (one, many))
    assert first.to_numpy().tobytes() == second.to_numpy().tobytes()


@pytest.mark.parametrize("count", [0, -1])
def test_there_is_at_least_one_worker(tmp_path, count):
    assert "--workers" in optbench("run", "--workers", count, cwd=tmp_path).message
