"""``optbench show`` and ``optbench plot`` on studies."""

import json
import shutil
from math import inf
from pathlib import Path

import pytest

import optbench as optbench_api
from optbench.report.plots import draw
from optbench.store.reader import read_run
from tests.cli.command import optbench, run
from tests.report.studies import Trial, study

LABELS = ("sgd", "adam")


def write(folder, made):
    """Write a study as tune does, without a final run."""
    folder.mkdir(parents=True)
    (folder / "tune.json").write_text(json.dumps(made.meta), encoding="utf-8")
    made.trials.to_parquet(folder / "trials.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a study with a final run, one by tpe without, and a run."""
    cwd = tmp_path_factory.mktemp("made")
    trials = [
        Trial(score, label, "anisotropic", hyperparameters={"lr": 0.1 * (place + 1)})
        for label in LABELS
        for place, score in enumerate((0.4, 0.2, 0.3, inf))
    ]
    known = {"metric": "final_loss", "iterations": 30}
    known |= {"spaces": {"anisotropic": {label: {"lr": "log(1e-3, 1)"} for label in LABELS}}}
    study_folder = write(
        cwd / "results" / "a-tune-20260101T000000Z-00000000", study(trials, **known)
    )
    write(
        cwd / "results" / "b-tune-20260102T000000Z-00000000",
        study(trials, sampler="tpe", **known),
    )
    chosen = ("-o", "sgd", "-o", "adam", "--start-spread", 0.02, "--seeds", 6, "--name", "judged")
    path = run("anisotropic", *chosen, cwd=cwd)
    shutil.copytree(path, study_folder / "final")
    return cwd


def told(made, *arguments):
    seen = optbench(*arguments, cwd=made)
    assert (seen.code, seen.err) == (0, ""), seen
    return seen.out


def test_a_study_shows_what_it_found(made):
    text = told(made, "show", "a-tune")
    assert text.startswith(
        "anisotropic, 4 trials × 3 seeds, random, by final loss; 6 evaluation seeds"
    )
    assert "lr=0.2" in text
    assert "sgd against adam: 0.2" in text
    rows = json.loads(told(made, "show", "a-tune", "--format", "json"))
    assert [row["hp_lr"] for row in rows] == [0.2, 0.2]
    assert told(made, "show", "a-tune", "b-tune", "--format", "csv").count("\n") == 5
    assert "judged" not in told(made, "show", "results/a-tune-20260101T000000Z-00000000")


def test_a_run_shows_what_it_did_before(made):
    assert told(made, "show", "judged").startswith("anisotropic, median of 6 seeds")


def test_budgets_are_those_of_a_study_by_default_the_latest(made):
    rows = json.loads(told(made, "show", "a-tune", "--budget", "--format", "json"))
    assert [row["median"] for row in rows[:4]] == [0.3, 0.3, 0.2, 0.2]
    assert rows[3]["expected"] == 0.2
    seen = told(made, "show", "a-tune", "--budget", "--estimator", "v", "--format", "json")
    assert json.loads(seen)[3]["estimator"] == "v"
    assert "how often a's best of so many trials is better" in told(
        made, "show", "a-tune", "--budget"
    )
    latest = told(made, "show", "--budget")
    assert "no curves: tpe chooses trials by those before them" in latest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("b-tune", "--budget", "--estimator", "u"), "so they are not exchangeable"),
        (("judged", "--budget"), "there is no study 'judged' under 'results'"),
        (("a-tune", "judged"), "'a-tune-20260101T000000Z-00000000' is a study and 'judged-"),
        (("a-tune", "--estimator", "v"), "--estimator goes with --budget"),
        (("a-tune", "--budget", "--estimator", "w"), "unknown estimator 'w'; known are u, v"),
        (("a-tune", "--budget", "--tolerance"), "are two tables; give one of them"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(made, arguments, says):
    assert says in optbench("show", *arguments, cwd=made).message


@pytest.mark.parametrize("kind", ["budget", "trials"])
def test_figures_go_to_the_study_or_where_they_are_asked_for(made, tmp_path, kind):
    seen = optbench("plot", "a-tune", "--kind", kind, cwd=made)
    assert (seen.code, seen.err) == (0, "")
    name = f"anisotropic-{kind}.png"
    assert seen.path == made / "results" / "a-tune-20260101T000000Z-00000000" / "plots" / name
    assert seen.path.stat().st_size > 0
    seen = optbench("plot", "a-tune", "--kind", kind, "--save", tmp_path / "figures", cwd=made)
    assert seen.path == tmp_path / "figures" / name
    both = optbench(
        "plot", "a-tune", "b-tune", "--kind", kind, "--save", tmp_path / "two", cwd=made
    )
    assert len(both.paths) == 2
    latest = optbench("plot", "--kind", kind, "--out", made / "results", cwd=tmp_path)
    assert latest.path.parent.parent.name == "b-tune-20260102T000000Z-00000000"


def test_figures_of_a_search_and_of_the_final_are_drawn_together(made, tmp_path):
    shutil.copytree(made / "results", tmp_path / "results")
    study = tmp_path / "results" / "a-tune-20260101T000000Z-00000000"
    kinds = ("--kind", "trials", "--kind", "loss")
    seen = optbench("plot", "a-tune", *kinds, cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert [path.relative_to(study) for path in seen.paths] == [
        Path("plots/anisotropic-trials.png"),
        Path("final/plots/anisotropic-loss.png"),
    ]
    both = optbench("plot", "a-tune", *kinds, "--save", "figures", cwd=tmp_path)
    assert [path.name for path in both.paths] == [
        f"{study.name}-anisotropic-trials.png",
        f"{study.name}-anisotropic-loss.png",
    ]
    message = optbench("plot", "judged", *kinds, cwd=tmp_path).message
    assert "'judged' under 'results'" in message


def test_figures_of_studies_that_there_are_not(made):
    seen = optbench("plot", "a-tune", "--kind", "budget", "--problem", "anisotropi", cwd=made)
    assert "there is no problem 'anisotropi'; did you mean 'anisotropic'?" in seen.message
    seen = optbench("plot", "judged", "--kind", "trials", cwd=made)
    assert "there is no study 'judged' under 'results'" in seen.message


def test_a_comparison_of_a_study_is_one_of_its_winners(made, tmp_path):
    shutil.copytree(made / "results", tmp_path / "results")
    study = tmp_path / "results" / "a-tune-20260101T000000Z-00000000"
    shutil.rmtree(study / "final")
    optimizers = [{"name": name} for name in LABELS]
    optimizers += [{"name": name, "label": f"{name} (default)", "lr": 0.01} for name in LABELS]
    optbench_api.run(
        {"name": "judged", "problem": [{"name": "anisotropic"}], "optimizer": optimizers},
        out=tmp_path / "made",
        start_spread=0.02,
        seeds=6,
    )
    (final,) = (tmp_path / "made").iterdir()
    shutil.move(final, study / "final")
    rows = json.loads(told(tmp_path, "compare", "a-tune", "--format", "json"))
    assert [{row["a"], row["b"]} for row in rows] == [{*LABELS}]
    table = optbench_api.compare("a-tune", out=tmp_path / "results")
    assert len(table) == 1
    (axes, *_) = draw("effects", read_run(study / "final"), "anisotropic").axes
    assert len(axes.get_yticklabels()) == 1
    plain = shutil.move(study / "final", tmp_path / "results" / "alone")
    rows = json.loads(told(tmp_path, "compare", plain, "--format", "json"))
    assert len(rows) == 6
