"""A study as RUN argument: every command takes its final run."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import optbench as api
from optbench.store.studies import write_tune
from tests.cli.command import lanes, optbench, run
from tests.studies import META, NAME, make_study

SUITE = ["anisotropic", "-o", "sgd", "-o", "adam", "--iterations", 4]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder whose results are a study, of one search round and a final, and an earlier run."""
    folder = tmp_path_factory.mktemp("tuned")
    search = run(*SUITE, "--set", "*.lr=0.001", cwd=folder)
    final = run(*SUITE, "--start-spread", 0.1, "--seeds", 6, "--set", "*.lr=0.1", cwd=folder)
    study = make_study(folder / "results", started="2999-01-01T00:00:00.000+00:00")
    shutil.move(search, study / "search-000")
    shutil.move(final, study / "final")
    run("anisotropic", "--iterations", 1, cwd=folder)
    return folder


@pytest.fixture
def place(tuned, tmp_path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "place"))


def answer(place, *arguments) -> str:
    seen = optbench(*arguments, cwd=place)
    assert (seen.code, seen.err) == (0, ""), seen
    return seen.out


@pytest.mark.parametrize("argument", [NAME, "latest", None])
def test_reports_are_of_the_final(tuned, argument):
    study = tuned / "results" / NAME
    named = [] if argument is None else [argument]
    shown = json.loads(answer(tuned, "show", *named, "--format", "json"))
    assert [row["study"] for row in shown] == [NAME, NAME]
    for command in (["compare"], ["target", "--target", "start/2"]):
        by_path = answer(tuned, *command, study / "final", "--format", "json")
        assert answer(tuned, *command, *named, "--format", "json") == by_path
    exported = answer(tuned, "export", *named, "--table", "lanes").splitlines()
    assert len(exported) == 1 + 12
    assert all(line.startswith(f"{NAME},") for line in exported[1:])
    table = api.export(argument or (), "lanes", out=tuned / "results")
    assert len(table) == 12


def test_a_round_is_shown_by_its_path(tuned):
    path = f"results/{NAME}/search-000"
    shown = json.loads(answer(tuned, "show", path, "--format", "json"))
    assert {row["run"] for row in shown} == {f"{NAME}/search-000"}


def test_figures_go_into_the_final(place):
    out = answer(place, "plot", NAME, "--kind", "loss")
    assert out == f"results/{NAME}/final/plots/anisotropic-loss.png\n"
    answer(place, "plot", f"{NAME}/search-000", NAME, "--kind", "surface", "--save", "figures")
    assert sorted(path.name for path in (place / "figures").iterdir()) == [
        f"{NAME}-anisotropic-surface.png",
        f"{NAME}-search-000-anisotropic-surface.png",
    ]


def test_labels_that_studies_share_are_told_apart_by_the_study(place):
    results = place / "results"
    other = "small-tune-20260105T000000Z-89abcdef"
    shutil.copytree(results / NAME, results / other)
    shown = answer(place, "compare", NAME, other, "--reference", "adam (89abcdef)")
    for label in ("sgd (0123abcd)", "adam (0123abcd)", "sgd (89abcdef)"):
        assert label in shown


def test_a_baseline_is_saved_of_the_final_and_checked_with_it(place):
    assert optbench("baseline", "save", NAME, "--name", "tuned", cwd=place).code == 0
    seen = optbench("check", "tuned", "--run", NAME, cwd=place)
    assert seen.code == 0, seen


def test_a_study_without_final_is_named_with_the_command_that_goes_on(place):
    study = place / "results" / NAME
    shutil.rmtree(study / "final")
    write_tune(study, META | {"status": "running"})
    for command in (["plot"], ["compare"], ["target"], ["export"], ["baseline", "save"]):
        seen = optbench(*command, NAME, cwd=place)
        (line,) = seen.err.splitlines()
        assert seen.code == 2
        assert line.startswith(f"error: study 'results/{NAME}' is interrupted and has no final run")
        assert f"optbench tune --resume results/{NAME}" in line


@pytest.mark.parametrize("argument", [NAME, f"results/{NAME}"])
def test_a_study_is_not_resumed_as_a_run(tuned, argument):
    seen = optbench("run", "--resume", argument, cwd=tuned)
    command = f"optbench tune --resume results/{NAME}"
    assert (seen.code, seen.err) == (2, f"error: 'results/{NAME}' is a study; use: {command}\n")


def test_a_round_is_resumed_by_its_path(tuned):
    seen = optbench("run", "--resume", f"{NAME}/final", cwd=tuned)
    assert (seen.code, seen.out) == (2, "")
    assert f"'results/{NAME}/final' has ended (done)" in seen.err


def test_lanes_of_rounds_are_reused_and_where_they_come_from_is_said(place):
    path = run(*SUITE, "--set", "*.lr=0.001", "--reuse", cwd=place)
    assert {*lanes(path)["reused_from"]} == {f"{NAME}/search-000"}
    trace = pd.read_parquet(path / "trace")
    old = pd.read_parquet(place / "results" / NAME / "search-000" / "trace")
    pd.testing.assert_frame_equal(trace, old)
