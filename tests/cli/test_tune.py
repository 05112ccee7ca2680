"""``optbench tune``: studies whose every number is known, what is shown and refused."""

import json
import re
import shutil
from contextlib import contextmanager
from dataclasses import fields as fields_of
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import typer

from optbench.cli.tune import BESIDE_RESUME, tune
from optbench.records import Failure, Status
from optbench.runs import pipeline
from optbench.store.studies import read_study
from optbench.tuning import study
from tests.cli.command import in_terminal, lanes, optbench, suite

TWO = ("anisotropic", "-o", "sgd", "-o", "momentum", "--space", "sgd.lr=log(1e-3, 10)")

NOISY = """
name = "noisy"
iterations = 20

[[problem]]
name = "noisy-beale"

[[optimizer]]
name = "sgd"
space.lr = "log(1e-6, 1e-3)"
"""

FEW = ("--budget", "6 trials", "--finalists", 2, "--finalist-seeds", 2, "--eval-seeds", 6)


def tuned(*arguments, cwd, code=0):
    """Tune, quietly, and return the study's directory."""
    seen = optbench("tune", *arguments, "--quiet", cwd=cwd)
    assert seen.code == code, seen
    return seen.path


def searched(path, label):
    trials = read_study(path).trials
    own = trials[(trials["label"] == label) & (trials["phase"] == "search")]
    return own.sort_values("trial", ignore_index=True)


def told(*arguments, cwd):
    seen = optbench("tune", *arguments, cwd=cwd)
    return seen.code, seen.out, seen.err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the study of the specification."""
    cwd = tmp_path_factory.mktemp("made")
    tuned(*TWO, "--budget", "64 trials", cwd=cwd)
    return cwd


@pytest.fixture
def path(made):
    (path,) = (made / "results").glob("anisotropic-tune-*")
    return path


# A study whose scores are known.


def closed_form(lr):
    """The loss of x²/20 + y² after 30 steps of gradient descent from (−7, 2)."""
    return 2.45 * (1.0 - lr / 10.0) ** 60 + 4.0 * (1.0 - 2.0 * lr) ** 60


def test_every_score_is_the_closed_form_and_the_winner_its_smallest(path):
    trials = searched(path, "sgd")
    assert trials["trial"].tolist() == list(range(64))
    exact = closed_form(trials["hp_lr"].to_numpy())
    np.testing.assert_allclose(trials["score"], exact, rtol=1e-12)
    assert trials["chosen"].idxmax() == exact.argmin()
    assert trials["chosen"].sum() == 1
    (won,) = [each for each in read_study(path).meta["winners"] if each["label"] == "sgd"]
    assert won["hyperparameters"] == {"lr": trials["hp_lr"][exact.argmin()]}
    final = lanes(path / "final").set_index("label")
    assert final.loc["sgd", "final_loss"] == trials["score"].min()
    np.testing.assert_allclose(final.loc["sgd (default)", "final_loss"], closed_form(0.95))


def test_each_optimizer_spends_the_same(path):
    trials = read_study(path).trials
    spent = trials.groupby("label")["steps"].sum()
    assert spent.to_dict() == {"sgd": 64 * 30, "momentum": 64 * 30}
    assert trials["hp_momentum"].notna().tolist() == (trials["label"] == "momentum").tolist()


def test_a_larger_budget_begins_with_the_trials_of_a_smaller_one(made, path, tmp_path):
    shutil.copytree(made / "results", tmp_path / "results")
    larger = tuned(*TWO, "--budget", "128 trials", "--reuse", cwd=tmp_path)
    reused = lanes(larger / "search-000").groupby("label")["reused_from"]
    assert reused.count().to_dict() == {"sgd": 64, "momentum": 64}
    assert {*lanes(larger / "search-000")["reused_from"].dropna()} == {f"{path.name}/search-000"}
    for label in ("sgd", "momentum"):
        small, large = searched(path, label), searched(larger, label)
        assert len(large) == 128
        same = [name for name in small if name not in ("chosen", "edge")]
        pd.testing.assert_frame_equal(large[same].head(64), small[same])


def test_steps_buy_as_many_trials(tmp_path, path):
    same = tuned(*TWO, "--budget", "1920 steps", cwd=tmp_path)
    pd.testing.assert_frame_equal(
        read_study(same).trials.drop(columns="seconds"),
        read_study(path).trials.drop(columns="seconds"),
    )


# What is shown.


def test_what_will_be_done_how_it_goes_and_what_was_found(tmp_path):
    code, out, err = told(*TWO, "--budget", "8 trials", cwd=tmp_path)
    assert code == 0
    before = err.splitlines()
    assert before[0] == "anisotropic: random, 8 trials for each optimizer, by final loss"
    assert "\x1b" not in out + err
    rows = [re.split(r"  +", line.strip()) for line in before]
    assert ["sgd", "lr log(0.001, 10)", "8", "10", "300"] in rows
    assert ["momentum", "lr log(0.0001, 10)", "8", "10", "300"] in rows
    assert ["momentum 1 - log(0.005, 1)"] in rows
    assert "  sgd, momentum: 8 trials, then the winner and the defaults" in before
    assert "  sgd: spaces of the suite, or --space and --grid" in before
    assert "  momentum: spaces wide, after AlgoPerf (momentum, nesterov: lr 2e-2 to 5" in err
    assert "in all 20 lanes, 600 steps: about 1 s on 1 worker, less if lanes diverge" in before
    assert before[-3] == "search: 16 trials"
    assert before[-2].startswith("  best so far on anisotropic: sgd 0.")
    assert before[-1] == "final: 2 winners"
    assert out.startswith("anisotropic, 8 trials, random, by final loss\n")
    assert re.search(r"sgd: spent 240 of 240 steps", out)
    assert out.splitlines()[-1].startswith("results: results/anisotropic-tune-")


def test_a_dry_run_shows_that_alone(tmp_path):
    code, out, err = told(suite(tmp_path, NOISY), *FEW, "--dry-run", cwd=tmp_path)
    assert (code, err) == (0, "")
    row = "sgd lr log(1e-06, 0.001) 6 34 680"
    assert row in [" ".join(line.split()) for line in out.splitlines()]
    phases = "6 trials × 3 seeds, then 2 finalists × 2 seeds, then the winner and the defaults"
    assert f"  sgd: {phases} × 6 seeds" in out.splitlines()
    assert out.splitlines()[-1].endswith("less if lanes diverge; nothing was run")
    assert not (tmp_path / "results").exists()


def test_what_is_taken_over_counts(tmp_path):
    tuned(*TWO, "--budget", "8 trials", cwd=tmp_path)
    _, out, _ = told(*TWO, "--budget", "8 trials", "--reuse", "--dry-run", cwd=tmp_path)
    assert "20 lanes, 16 of them taken over" in out


def test_spaces_of_one_problem_are_said_to_be_its_own(tmp_path):
    text = NOISY + '[[problem]]\nname = "booth"\nsgd.space.lr = "log(1e-3, 1e-1)"\n'
    text = text.replace("[[optimizer]]", "[[problem]]\nname = 'anisotropic'\n\n[[optimizer]]", 1)
    code, out, _ = told(suite(tmp_path, text), *FEW, "--dry-run", cwd=tmp_path)
    assert code == 0
    assert out.count("sgd: problem-specific spaces") == 1


def test_quiet_prints_the_path_alone(tmp_path):
    seen = optbench("tune", *TWO, "--budget", "4 trials", "--quiet", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert (seen.path / "tune.json").is_file()


def test_json_holds_the_table(tmp_path):
    seen = optbench("tune", *TWO, "--budget", "4 trials", "--json", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    whole = json.loads(seen.out)
    assert whole["status"] == "done"
    assert {row["label"] for row in whole["results"]} == {"sgd", "momentum"}
    assert (tmp_path / whole["path"] / "final" / "run.json").is_file()


def test_a_terminal_shows_bars_below_a_line(tmp_path):
    text = NOISY.replace("iterations = 20", "iterations = 30000")
    arguments = ("tune", suite(tmp_path, text), *FEW, "--workers", 1)
    code, _, shown = in_terminal(*arguments, cwd=tmp_path, TERM="xterm", COLUMNS="80")
    assert code == 0
    assert re.search(r"search: \d of 6 trials, \d+ s left in all", shown)
    assert re.search(r"final: \d+ of 12 lanes", shown)
    assert "results: " in shown


# Exit codes.


def refused(*arguments, cwd):
    seen = optbench("tune", *arguments, cwd=cwd)
    (*notes, line) = seen.err.splitlines()
    assert (seen.code, seen.out) == (2, ""), seen
    assert all(note.startswith("note: ") for note in notes)
    assert not (cwd / "results").exists()
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("anisotropic|--metric|test_error", "the test split never chooses; take validation_error"),
        ("anisotropic|--metric|loss", "unknown metric 'loss'"),
        ("anisotropic|--metric|validation_loss", "has no validation split; take final_loss"),
        ("anisotropic|--metric|steps_to_target", "needs --target: a value as 0.1, published, st"),
        ("anisotropic|--target|0.1", "--target means nothing without --metric steps_to_target"),
        (
            "anisotropic|--metric|steps_to_target|--target|best:5%",
            "target 'best:5%' depends on the runs that are compared; write 0.1, start/100 or publi",
        ),
        (
            "anisotropic|--metric|steps_to_target|--target|1|--trace|every:5",
            "--trace every:5 with --metric steps_to_target: when a lane was at its target takes",
        ),
        (
            "anisotropic|--metric|steps_to_target|--target|1|--halving|3",
            "--halving with --metric steps_to_target: of two lanes that are not there by a rung",
        ),
        (
            "anisotropic|--space|sgd.lr=uniform(-1, 1)",
            "sgd: lr takes [0, ∞), but uniform(-1, 1) ho",
        ),
        ("anisotropic|--space|momentum.momentum=uniform(0, 1)", "momentum takes [0, 1), but"),
        ("anisotropic|--space|sgd.lr=log(0, 1)", "write log(a, b) with 0 < a < b, as in log(1e-4"),
        ("anisotropic|--space|sgd.lr=0.1", "is malformed; write it as one of log(1e-4, 1)"),
        ("anisotropic|--space|sgd.lr", "malformed; write TARGET.key=value, as 'adam.lr=log("),
        ("anisotropic|--space|lr=log(1, 2)", "names no optimizer; write '*.lr=log(1, 2)'"),
        ("anisotropic|--space|lion.lr=log(1, 2)", "there is no optimizer or problem 'lion'"),
        ("anisotropic|--space|sgd.rate=log(1, 2)", "sgd has no hyperparameter 'rate'"),
        ("anisotropic|--spaces|wode", "unknown spaces 'wode'; did you mean 'wide'?"),
        ("anisotropic|--spaces|nowhere.toml", "nowhere.toml"),
        ("anisotropic|--spaces|algoperf", "the spaces algoperf have none for sgd"),
        ("anisotropic|--sampler|soboll", "unknown sampler 'soboll'; did you mean 'sobol'?"),
        ("anisotropic|--sampler|grid", "the sampler grid takes grids only"),
        ("anisotropic|--batch|0", "--batch 0: it must be 1 to "),
        (
            "anisotropic|--batch|many",
            "invalid value for '--batch': it must be a whole number",
        ),
        ("anisotropic|--budget|3 trials", "at least 4 are needed"),
        ("anisotropic|--budget|64", "budget '64' is malformed; write '64 trials', '2e6 steps'"),
        ("anisotropic|--budget|1e9 trials", "more than 1,000,000 trials; give a smaller one"),
        ("anisotropic|--trial-seeds|0", "--trial-seeds 0: it must be 1 to "),
        ("anisotropic|--finalists|-1", "--finalists -1: it must be 0 to "),
        ("anisotropic|--finalist-seeds|-1", "--finalist-seeds -1: it must be 0 to "),
        ("anisotropic|--eval-seeds|0", "--eval-seeds 0: it must be 1 to "),
        (
            "anisotropic|--eval-seeds|all",
            "--eval-seeds 'all' is malformed; write a number, or auto",
        ),
        ("anisotropic|--eval-seeds|5|--seed|0-4", "both say which seeds judge; give one of them"),
        ("anisotropic|--seeds|5|--seed|0-4", "--seeds and --seed exclude each other"),
        ("anisotropic|--seed|1000001", "seed 1000001 would choose and judge: tuning seeds are"),
        ("anisotropic|quadratic-1d", "a study tunes one suite, not 2; tune them one by one"),
        ("anisotropc", "did you mean 'anisotropic'?"),
        ("anisotropic|--force", "--force belongs to --resume or --cluster; give one of them"),
        ("anisotropic|--resume|x", "--resume continues a study as it began; leave a suite out"),
        ("--resume|x|--budget|8 trials", "continues a study as it began; leave --budget out"),
        (
            "--resume|nowhere",
            "there is no study 'nowhere': 'results' holds none; see optbench tune",
        ),
        ("anisotropic|--device|abacus", "device"),
        ("points.toml", "sgd: points are run by optbench run; to tune it, give spaces or grids"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line_and_leaves_nothing(arguments, said, tmp_path):
    points = "[[problem]]\nname = 'booth'\n[[optimizer]]\nname = 'sgd'\npoints = [{lr = 0.1}]\n"
    suite(tmp_path, points, "points")
    assert said in refused(*arguments.split("|"), cwd=tmp_path)


def test_only_what_changes_nothing_may_stand_beside_resume():
    app = typer.Typer(add_completion=False)
    app.command()(tune)
    names = {str(parameter.name) for parameter in typer.main.get_command(app).params}
    called = {"optimizers": "optimizer", "set": "set_", "defaults": "no_defaults"}
    fields = {called.get(field.name, field.name) for field in fields_of(study.TuneRequest)}
    fields -= {"gradient", "vectorized"}  # of functions of Python
    decisive = fields | {"seed", "device", "dry_run", "trace"}
    assert names == decisive | BESIDE_RESUME
    assert not decisive & BESIDE_RESUME


def test_strict_fails_at_an_edge_and_says_which(tmp_path):
    edge = (
        "anisotropic",
        "-o",
        "sgd",
        "--space",
        "sgd.lr=log(1e-3, 1e-2)",
        "--budget",
        "64 trials",
    )
    assert optbench("tune", *edge, cwd=tmp_path).code == 0
    code, out, err = told(*edge, "--strict", cwd=tmp_path)
    assert code == 3
    assert err.splitlines()[-1] == "error: sgd on anisotropic: lr near 0.01 (--strict)"
    assert "sgd: lr near 0.01: the best may lie beyond its space" in out
    assert told(*TWO, "--budget", "64 trials", "--strict", cwd=tmp_path)[0] == 0


def test_a_target_that_no_trial_reaches_is_exit_code_4_and_said(tmp_path):
    few = ("anisotropic", "-o", "sgd", "--budget", "4 trials", "--metric", "steps_to_target")
    code, out, err = told(*few, "--target", "1e-30", cwd=tmp_path)
    assert code == 4
    assert "  best so far on anisotropic: sgd missed" in err.splitlines()
    assert err.splitlines()[-1] == "error: sgd on anisotropic: no trial is at the target"
    assert "4 of 4 trials missed the target" in out
    assert "no trial is at the target, and none was chosen" in " ".join(out.split())
    code, out, _ = told(*few, "--target", "anisotropic=10", cwd=tmp_path)
    assert code == 0
    assert "chosen promised 0 steps" in out
    assert "the target is not below the start" in out


def test_steps_to_a_target_are_shown_as_steps(tmp_path):
    grids = ("--grid", "sgd.lr=0.3,0.95,0.01,2", "--sampler", "grid", "--iterations", 120)
    few = ("anisotropic", "-o", "sgd", *grids, "--budget", "4 trials")
    aimed = ("--metric", "steps_to_target", "--target", "start/10")
    code, out, err = told(*few, *aimed, cwd=tmp_path)
    assert code == 0
    said = err.splitlines()
    assert said[0] == "anisotropic: grid, 4 trials for each optimizer, by steps to target start/10"
    assert "  best so far on anisotropic: sgd 12" in said
    heading = "anisotropic, 4 trials, grid, by steps to loss ≤ 0.645"
    assert out.splitlines()[0] == heading
    assert "sgd: 2 of 4 trials missed the target; spent 480 of 480 steps; chosen promised 12" in out
    assert "  chosen by steps to target, judged by final loss; optbench target has the " in out
    assert optbench("show", "latest", cwd=tmp_path).out.splitlines()[0] == heading
    budget = optbench("show", "latest", "--budget", cwd=tmp_path).out
    rows = [line.split() for line in budget.splitlines()]
    assert ["sgd", "1", "120", "22", "missed"] in rows
    assert ["sgd", "4", "480", "12", "12"] in rows
    assert "default, on evaluation seeds" not in budget  # which is judged by final loss
    for kind in ("budget", "trials"):
        assert optbench("plot", "latest", "--kind", kind, cwd=tmp_path).code == 0


def test_strict_fails_where_too_few_seeds_judge(tmp_path):
    few = (suite(tmp_path, NOISY), *FEW[:-1], 5, "--space", "sgd.lr=log(1e-6, 1e-1)")
    code, _, err = told(*few, "--strict", cwd=tmp_path)
    assert code == 3
    assert "error: fewer than 6 evaluation seeds (--strict)" in err.splitlines()


def test_an_optimizer_without_one_finite_trial_is_exit_code_4(tmp_path):
    wild = ("--space", "sgd.lr=log(1e5, 1e6)", "--iterations", 100, "--budget", "4 trials")
    code, out, err = told("anisotropic", "-o", "sgd", "-o", "adam", *wild, "--strict", cwd=tmp_path)
    assert code == 4
    assert err.splitlines()[-1] == "error: sgd on anisotropic: no trial has a finite score"
    assert "best so far on anisotropic: sgd diverged, adam " in err
    assert "sgd" in out


def test_lanes_that_failed_are_named_and_exit_code_4(tmp_path, monkeypatch):
    whole = study.run_plan

    def run_plan(*arguments, **options):
        failure = Failure("it broke", (0,), "the traceback")
        return replace(whole(*arguments, **options), status=Status.FAILED, failures=(failure,))

    monkeypatch.setattr(study, "run_plan", run_plan)
    code, _, err = told(*TWO, "--budget", "4 trials", "--debug", cwd=tmp_path)
    assert code == 4
    said = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(said) == 2
    assert re.fullmatch(
        r"error: sgd on anisotropic \(seed 1000000\) failed: it broke \(the traceback is in "
        r"results/anisotropic-tune-\S+/search-000/run.json\)",
        said[0],
    )
    assert "the traceback" in err.splitlines()


# Interrupted, and carried on.


class Set:
    """An event that is set once it was asked so many times."""

    def __init__(self, times):
        self.left = times

    def is_set(self):
        self.left -= 1
        return self.left < 0


def interrupted(*arguments, cwd, number):
    """Tune; the round of this number is interrupted."""
    rounds = iter(range(99))

    @contextmanager
    def interrupts():
        yield Set(0 if next(rounds) == number else 10**9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "interrupts", interrupts)
        return optbench("tune", *arguments, cwd=cwd)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_after_an_interrupt_a_study_ends_as_if_nothing_had_been(tmp_path, number):
    name = suite(tmp_path, NOISY)
    whole = tuned(name, *FEW, "--out", "whole", cwd=tmp_path)
    seen = interrupted(name, *FEW, "--out", "my results", cwd=tmp_path, number=number)
    assert seen.code == 130
    line = seen.err.splitlines()[-1]
    assert line.startswith(
        "interrupted: what was done is kept; go on with: optbench tune --resume "
    )
    assert line.endswith(" --out 'my results'")
    (path,) = (tmp_path / "my results").iterdir()
    code, out, err = told("--resume", path.name, "--out", "my results", cwd=tmp_path)
    assert code == 0
    kept = [line for line in err.splitlines() if line.endswith(", run already")]
    assert len(kept) == number
    one, two = read_study(whole), read_study(path)
    pd.testing.assert_frame_equal(
        one.trials.drop(columns="seconds"), two.trials.drop(columns="seconds")
    )
    assert one.meta["winners"] == two.meta["winners"]
    assert "noisy-beale, 6 trials × 3 seeds" in out


def test_an_interrupted_study_is_json_too(tmp_path):
    seen = interrupted(suite(tmp_path, NOISY), *FEW, "--json", cwd=tmp_path, number=0)
    assert (seen.code, seen.err) == (130, "")
    whole = json.loads(seen.out)
    assert (whole["status"], whole["results"]) == ("interrupted", [])
    assert (tmp_path / whole["path"] / "tune.json").is_file()


def test_a_study_that_has_ended_is_not_resumed(made, path):
    seen = optbench("tune", "--resume", path.name, cwd=made)
    said = f"'results/{path.name}' has ended (done): there is nothing to resume"
    assert (seen.code, seen.message) == (2, said)
