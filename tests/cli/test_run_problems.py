"""``optbench run`` on problems of one's own, evaluated and stopped on the way."""

import json

import pandas as pd
import pytest

from tests.cli.command import lanes, meta, optbench, run, trace

NETWORK = ("mnist-mlp", "-o", "sgd", "--data", "mnist-5k", "--iterations", 6, "--batch-size", 4)


def evaluations(path) -> pd.DataFrame:
    return pd.read_parquet(path / "evaluation")


def test_a_function_given_as_a_formula_is_the_built_in_one(tmp_path):
    formula = ("--function", "x**2/20 + y**2", "--start", "x=-7,y=2")
    mine = run(*formula, "-o", "adam", "--set", "adam.lr=0.3", "--iterations", 30, cwd=tmp_path)
    known = run("anisotropic", "-o", "adam", cwd=tmp_path)
    columns = ["iteration", "loss", "x", "y"]
    pd.testing.assert_frame_equal(trace(mine)[columns], trace(known)[columns], rtol=1e-12)
    assert lanes(mine)["problem"].tolist() == ["function"]


def test_a_formula_has_the_domain_and_the_minimum_that_flags_give(tmp_path):
    arguments = ("--function", "(x - 1)**2 + y**2 + 3", "--start", "x=-4,y=4", "-o", "sgd")
    known = ("--domain", "x=-5:15, y=-6:6", "--minimum", "3")
    plain, told = (run(*arguments, *also, cwd=tmp_path) for also in ((), known))
    (problem,) = meta(told)["problems"]
    assert problem["minima"] == [{"position": None, "value": 3.0}]
    assert problem["plot"]["domain"] == [[-5, 15], [-6, 6]]
    assert problem["plot"]["guessed"] == [False, False]
    pd.testing.assert_frame_equal(trace(plain), trace(told))


def test_starts_of_a_formula_are_spread_over_the_domain_given(tmp_path):
    arguments = ("--function", "x**2", "--start", "x=0", "--start-spread", "0.1", "--seeds", "4")
    wide, narrow = (
        trace(run(*arguments, "-o", "sgd", "--domain", f"x=-{end}:{end}", cwd=tmp_path))
        for end in (10, 5)
    )
    first = [table[table["iteration"] == 0]["x"].to_numpy() for table in (wide, narrow)]
    assert first[0].tolist() == (2 * first[1]).tolist()
    assert len(set(first[0])) == 4


def test_a_mistake_in_a_formula_is_shown_with_a_caret(tmp_path):
    seen = optbench("run", "--function", "x**2 + sine(x)", "--start", "x=1", cwd=tmp_path)
    first, text, caret = seen.err.splitlines()
    assert (seen.code, seen.out) == (2, "")
    assert first.startswith("error: ")
    assert "sine" in first
    assert text[caret.index("^") :].startswith("sine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start", "x=1"), "a start belongs to a function; give --function, or in Python pr"),
        (("--function", "x**2"), "--function needs a start"),
        (("anisotropic", "--function", "x**2", "--start", "x=1"), "is a suite of its own"),
        (("--problem", "beale", "--function", "x", "--start", "x=1"), "is a suite of its own"),
        (("--problem", "beal"), "did you mean 'beale'?"),
        (("--problem", "none.py:It"), "none.py"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, message, tmp_path):
    assert message in optbench("run", *arguments, cwd=tmp_path).message


def test_a_file_that_runs_optbench_itself_is_refused(tmp_path):
    (tmp_path / "mine.py").write_text("from optbench.cli import main\nmain()\n")
    seen = optbench("run", "--problem", "mine.py:value", cwd=tmp_path)
    assert (seen.code, seen.err.count("\n")) == (2, 1)
    assert "it calls optbench while it is imported" in seen.err


MINE = """
from optbench.optimizers import Elementwise, Hyperparameter
from optbench.problems import function

@function(start=[3.0, 4.0], gradient=lambda p: {slope} * p)
def bowl(p):
    return p @ p

class Heavy(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)
"""


@pytest.fixture
def made(tmp_path):
    """The run.json of a run in one of two folders that both have a ``mine.py``."""
    for slope, name in enumerate(("there", "here")):
        (tmp_path / name / "code").mkdir(parents=True)
        (tmp_path / name / "code" / "mine.py").write_text(MINE.format(slope=slope + 1))
    suite = """
        [[problem]]
        name = "code/mine.py:bowl"
        "code/mine.py:Heavy".lr = 0.2
        [[optimizer]]
        name = "code/mine.py:Heavy"
    """
    (tmp_path / "there" / "mine.toml").write_text(suite)
    return run("mine.toml", "--iterations", 3, cwd=tmp_path / "there") / "run.json"


def test_a_run_with_code_of_ones_own_is_repeated_from_anywhere(made, tmp_path):
    keys = lanes(made.parent)["lane_key"].tolist()
    for folder in ("there", "here", "."):
        again = run(made, cwd=tmp_path / folder)
        assert lanes(again)["lane_key"].tolist() == keys
        assert lanes(again)["hp_lr"].tolist() == [0.2]
        twice = run(again / "run.json", cwd=tmp_path)
        assert lanes(twice)["lane_key"].tolist() == keys
    assert optbench("verify", "problem", made, cwd=tmp_path / "here").code == 3  # 1 * p is wrong
    saved = optbench("baseline", "save", made.parent, "--name", "b", cwd=tmp_path / "here")
    assert saved.code == 0


def test_a_folder_that_has_moved_with_its_runs_keeps_its_code(made, tmp_path):
    keys = lanes(made.parent)["lane_key"].tolist()
    (tmp_path / "there").rename(tmp_path / "moved")
    again = run(tmp_path / "moved" / made.relative_to(tmp_path / "there"), cwd=tmp_path / "here")
    assert lanes(again)["lane_key"].tolist() == keys


def test_a_run_whose_code_is_gone_says_where_it_was_looked_for(made, tmp_path):
    (tmp_path / "there" / "code" / "mine.py").unlink()
    keys = lanes(made.parent)["lane_key"].tolist()
    seen = optbench("run", made, cwd=tmp_path / "here")  # which has another of that name
    assert (
        "'code/mine.py:bowl' has changed since the run was made; --trust executes" in seen.message
    )
    seen = optbench("run", made, cwd=tmp_path)
    assert "'code/mine.py:bowl'" in seen.message
    assert "--trust executes" in seen.message
    for cwd in (tmp_path / "here", tmp_path):
        again = optbench("run", made, "--trust", "--quiet", cwd=cwd)
        assert again.code == 0
        assert lanes(again.paths[0])["lane_key"].tolist() == keys
    seen = optbench("run", "--problem", "code/mine.py:bowl", "-o", "sgd", cwd=tmp_path)
    assert f"there is no file 'code/mine.py' in '{tmp_path}'" in seen.err


def test_problems_take_the_place_of_a_suites(tmp_path):
    path = run("anisotropic", "--problem", "beale", "--problem", "booth", cwd=tmp_path)
    table = lanes(path)
    assert table["problem"].tolist() == ["beale"] * 4 + ["booth"] * 4
    assert table["hp_lr"].tolist() == [0.95, 0.1, 1.5, 0.3] * 2


def test_problems_alone_make_a_suite_of_the_optimizers_asked_for(tmp_path):
    seen = optbench("run", "--problem", "booth", "-o", "rmsprop", "--iterations", 5, cwd=tmp_path)
    assert seen.code == 0
    assert "added" not in seen.err
    (path,) = tmp_path.glob("results/booth-*")
    assert lanes(path)["label"].tolist() == ["rmsprop"]


def test_evaluations_come_at_every_interval(tmp_path):
    path = run(*NETWORK, "--evaluate-every", 2, cwd=tmp_path)
    found = evaluations(path)
    assert found.groupby("split")["iteration"].apply(list).to_dict() == {
        split: [0, 2, 4, 6] for split in ("train", "validation", "test")
    }
    assert meta(path)["suite"]["resolved"]["problem"][0]["evaluate_every"] == 2


def test_the_latest_evaluation_is_part_of_each_line(tmp_path, monkeypatch):
    monkeypatch.setattr("optbench.display.runs.SECONDS_BETWEEN_LINES", 0.0)
    seen = optbench("run", *NETWORK, "--evaluate-every", 3, cwd=tmp_path)
    told = [line.strip() for line in seen.err.splitlines() if ": iteration " in line]
    assert told
    assert all(", test loss " in line and line.endswith(" %") for line in told)


def test_a_lane_stopped_by_its_loss_says_where(tmp_path):
    arguments = ("anisotropic", "-o", "adam", "--iterations", 500, "--stop", "loss=1e-2")
    path = run(*arguments, cwd=tmp_path)
    table, rows = lanes(path), trace(path)
    assert table["status"].tolist() == ["stopped"]
    (last,) = table["stopped_at"]
    assert rows["iteration"].tolist() == list(range(last + 1))
    assert rows["loss"].iloc[-1] <= 1e-2 < rows["loss"].iloc[:-1].min()
    assert table["final_loss"].tolist() == [rows["loss"].iloc[-1]]


@pytest.mark.parametrize("also", [(), ("--evaluate-every", 7)])
def test_patience_reports_the_best_parameters(also, tmp_path):
    arguments = (*NETWORK[:-4], "--iterations", 400, "--batch-size", 64, "--stop", "patience=20")
    path = run(*arguments, "--set", "sgd.lr=0.5", *also, cwd=tmp_path)
    found, table = evaluations(path).set_index(["split", "iteration"])["error"], lanes(path)
    (best,) = table["best_at"]
    looks = [at for split, at in found.index if split == "validation" and at and at % 10 == 0]
    assert best == min(looks, key=lambda at: (found["validation", at], at))
    assert table["status"].tolist() == ["stopped"]
    assert ("test", best) in found.index
    shown = optbench("show", "--format", "json", cwd=tmp_path)
    (row,) = json.loads(shown.out)
    assert row["validation_error"] == found["validation", best]
    assert row["test_error"] == found["test", best]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("anisotropic", "--stop", "los=1"), "one of loss, grad_norm, patience"),
        (("anisotropic", "--stop", "loss"), "--stop 'loss' is malformed"),
        (("anisotropic", "--stop", "patience=10"), "needs a validation split"),
        (("anisotropic", "--evaluate-every", "10"), "--evaluate-every means nothing to"),
        ((*NETWORK, "--evaluate-every", "now"), "'now' is not an interval"),
        ((*NETWORK[:-2], "--batch-size", "all"), "batch_size = 'all' must be a whole number"),
    ],
)
def test_rules_that_do_not_fit_are_refused(arguments, message, tmp_path):
    assert message in optbench("run", *arguments, cwd=tmp_path).message


def test_a_full_batch_is_the_whole_training_split(tmp_path):
    arguments = ("mnist-logreg", "-o", "sgd", "--data", "mnist-5k", "--iterations", 2)
    path = run(*arguments, "--batch-size", "full", "--evaluate-every", 1, cwd=tmp_path)
    train = evaluations(path).query("split == 'train'").set_index("iteration")["loss"]
    rows = trace(path).set_index("iteration")["loss"]
    assert rows.to_numpy() == pytest.approx(train.to_numpy(), rel=1e-5)


def test_regularised_networks_have_their_penalty_beside_the_loss(tmp_path):
    arguments = ("mnist-mlp-weight-decay", "-o", "sgd", "--data", "mnist-5k", "--iterations", 3)
    rows = trace(run(*arguments, "--batch-size", 4, cwd=tmp_path))
    assert (rows["penalty"] > 0).all()
    assert (rows["loss"] > rows["penalty"]).all()
    plain = trace(run(*NETWORK, cwd=tmp_path))
    assert "penalty" not in plain.columns


def test_names_of_problems_are_found_whatever_their_capitals(tmp_path):
    arguments = ("--problem", "Himmelblau", "-o", "SGD", "--set", "Sgd.lr=0.001")
    path = run(*arguments, "--iterations", 1, cwd=tmp_path)
    (lane,) = lanes(path).to_dict("records")
    assert (lane["problem"], lane["optimizer"], lane["label"]) == ("himmelblau", "sgd", "sgd")
    assert lane["hp_lr"] == 0.001
