"""``optbench show``: the summary in four formats."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from optbench.report.summaries import SUMMARY_COLUMNS
from tests.cli.command import lanes, meta, optbench, run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network over two seeds and, started later, a sweep in which lanes diverge."""
    cwd = tmp_path_factory.mktemp("made")
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 2, "--batch-size", 2)
    run(*network, "-o", "sgd", "--seeds", 2, "--name", "network", cwd=cwd)
    grids = ("--grid", "sgd.lr=0.1,1e200", "--set", "adagrad.lr=1e200")
    run("anisotropic", "--iterations", 3, "--name", "sweep", *grids, cwd=cwd)
    return cwd


def told(made, form, *arguments):
    seen = optbench("show", *arguments, "--format", form, cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert "\x1b" not in seen.out
    return seen.out


def test_the_table_is_what_a_run_ends_with(made):
    seen = optbench("show", cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert told(made, "table") == seen.out
    for word in ("anisotropic", "optimizer", "best at", "lr=0.1", "diverged", "final loss"):
        assert word in seen.out
    assert "sgd: 1 of 2 lanes diverged" in seen.out


def test_a_network_shows_its_data_and_test_error(made):
    out = told(made, "table", "network")
    assert "mnist-mlp on mnist-5k" in out
    assert "median of 2 seeds" in out
    assert "test error" in out
    assert " %" in out


def test_csv_parses_back(made):
    table = pd.read_csv(io.StringIO(told(made, "csv", "sweep")))
    assert list(table.columns[: len(SUMMARY_COLUMNS)]) == list(SUMMARY_COLUMNS)
    done = lanes(next(made.glob("results/sweep-*"))).query("status == 'done'")
    assert table["label"].tolist() == ["sgd", "momentum", "adagrad", "adam"]
    assert table["final_loss"].dropna().tolist() == done["final_loss"].tolist()
    assert table["final_loss"].isna().tolist() == [False, False, True, False]
    assert table["hp_lr"].tolist() == [0.1, 0.1, 1e200, 0.3]


def test_json_parses_back_and_is_strict(made):
    rows = json.loads(told(made, "json", "sweep"), parse_constant=lambda name: pytest.fail(name))
    assert [row["label"] for row in rows] == ["sgd", "momentum", "adagrad", "adam"]
    assert rows[0]["lanes_diverged"] == 1
    assert (rows[2]["status"], rows[2]["final_loss"]) == ("diverged", None)
    assert rows[1]["hp_eps"] is None


def test_markdown_is_a_table(made):
    lines = told(made, "md", "sweep").splitlines()
    assert lines[0] == "### anisotropic"
    assert lines[2].startswith("| optimizer | best at | final loss |")
    assert set(lines[3]) == set("|- ")
    assert [line.split(" | ")[0] for line in lines[4:8]] == [
        "| sgd",
        "| momentum",
        "| adagrad",
        "| adam",
    ]


def test_without_a_run_the_latest_invocation_is_shown(made):
    assert told(made, "csv") == told(made, "csv", "latest") == told(made, "csv", "sweep")


def test_several_runs_are_shown_together(made):
    table = pd.read_csv(io.StringIO(told(made, "csv", "network", "sweep")))
    assert table["suite"].tolist() == ["network"] + ["sweep"] * 4
    assert table["run"].nunique() == 2


def test_runs_are_looked_for_under_out(made, tmp_path):
    seen = optbench("show", "network", "--out", made / "results", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert "there are no runs under 'results'" in optbench("show", cwd=tmp_path).message


def test_numbers_are_those_of_python_too(made):
    import optbench as package

    path = next(made.glob("results/sweep-*"))
    rows = json.loads(told(made, "json", path))
    own = package.load(path).summary()
    assert [row["best_loss"] for row in rows if row["best_loss"]] == own[
        "best_loss"
    ].dropna().tolist()
    assert rows[0]["suite"] == meta(path)["suite"]["name"]
