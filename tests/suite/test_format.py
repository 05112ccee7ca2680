"""Suites as they are written, and what is said of those whose shape is wrong."""

import json
import os
from functools import partial

import pytest

from optbench.errors import SuiteError
from optbench.suite import format as suites
from optbench.suite.format import OptimizerEntry, ProblemEntry, adjusted, parse_suite, read_suite
from tests.refusal import refusal

PLAIN = {
    "name": "mine",
    "problem": [{"name": "anisotropic"}],
    "optimizer": [{"name": "sgd", "lr": 0.5}],
}

refused = partial(refusal, SuiteError)


def test_the_suites_built_in_are_the_textbooks():
    assert {"anisotropic", "mnist-mlp", "quadratic-1d"} <= set(suites.builtin_suites())
    anisotropic = read_suite("anisotropic")
    assert anisotropic.iterations == 30
    rates = {entry.name: entry.hyperparameters for entry in anisotropic.optimizer}
    textbook = {"sgd": 0.95, "momentum": 0.1, "adagrad": 1.5, "adam": 0.3}
    assert rates == {name: {"lr": lr} for name, lr in textbook.items()}
    quadratic = read_suite("quadratic-1d")
    assert quadratic.iterations == 25
    (sgd,) = quadratic.optimizer
    assert (sgd.name, sgd.hyperparameters) == ("sgd", {"lr": 0.3})


def test_a_file_is_read_whole(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(
        """
        description = "a sweep"
        seeds = [3, 7]
        epochs = 2

        [[problem]]
        name = "mnist-mlp"
        label = "small batches"
        batch_size = 16
        adam.lr = 0.01
        "Adam, swept".grid.beta1 = [0.5, 0.9]

        [[optimizer]]
        name = "adam"
        label = "Adam, swept"
        beta2 = 0.99
        grid.lr = "1e-4:1e-1:13"
        """,
        encoding="utf-8",
    )
    suite = read_suite(str(path))
    assert (suite.name, suite.description) == ("sweep", "a sweep")
    assert (suite.seeds, suite.epochs, suite.iterations) == ([3, 7], 2, None)
    (problem,) = suite.problem
    assert (problem.name, problem.title) == ("mnist-mlp", "small batches")
    assert problem.options == {"batch_size": 16}
    assert problem.overrides == {
        "adam": {"lr": 0.01},
        "Adam, swept": {"grid": {"beta1": [0.5, 0.9]}},
    }
    (optimizer,) = suite.optimizer
    assert (optimizer.name, optimizer.title) == ("adam", "Adam, swept")
    assert optimizer.hyperparameters == {"beta2": 0.99}
    assert optimizer.grid == {"lr": "1e-4:1e-1:13"}


def test_a_file_may_start_with_a_byte_order_mark_and_have_another_name(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'seeds = 3\nname = "b"')
    suite = read_suite(str(path))
    assert (suite.name, suite.seeds) == ("b", 3)


def test_a_run_json_is_the_suite_that_it_resolved_to(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"suite": {"resolved": PLAIN, "written": {}}}), encoding="utf-8")
    assert read_suite(str(path)).as_written() == parse_suite(PLAIN, "x").as_written()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"suite": 3}', '{"suite": {"resolved": []}}'])
def test_another_json_is_no_run(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    message = refused(read_suite, str(path))
    assert message == f"{path} is not a run.json of optbench: it has no suite.resolved"


def test_what_is_no_suite_is_refused(tmp_path):
    assert refused(read_suite, "mnist-mpl") == (
        "unknown suite 'mnist-mpl'; did you mean 'mnist-mlp'? (or give a .toml)"
    )
    assert "known are anisotropic, " in refused(read_suite, "zzz")
    missing = str(tmp_path / "missing.toml")
    assert refused(read_suite, missing) == f"suite file '{missing}' cannot be found"
    folder, latin = tmp_path / "folder.toml", tmp_path / "latin.toml"
    folder.mkdir()
    latin.write_bytes('name = "Präzision"'.encode("latin-1"))
    for path in (folder, latin):
        assert refused(read_suite, str(path)).startswith(f"suite file '{path}' cannot be read: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "a"\nlr = ', "invalid value (at line 2, the end)"),
        ('\n\nname = "a', "unterminated string (at line 3, the end)"),
        ("seeds = 1\nseeds = 2\n", "(at line 2, column"),
        ("[[problem]\n", "(at line 1, column"),
        (f"seeds = 1{'0' * 5000}", "exceeds the limit"),
        (f"seeds = {'[' * 5000}", "arrays or tables are nested too deep"),
    ],
)
def test_toml_errors_name_file_and_line(tmp_path, text, says):
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    message = refused(read_suite, str(path))
    assert message.startswith(f"{path}: ")
    assert says in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iteration": 3}, "unknown key 'iteration'; did you mean 'iterations'?"),
        ({"zzz": 3}, "unknown key 'zzz'; known are name, description, seeds, iterations"),
        ({"name": ""}, "name: it is empty; give a name"),
        ({"name": "a\n"}, "'a\\n' contains characters that cannot be printed"),
        ({"name": 3}, "name: it must be text"),
        ({"name": "a" * 256}, "name: it has 256 characters; use at most 255"),
        ({"description": 3}, "description: it must be text"),
        ({"seeds": "3"}, "seeds: it must be a whole number or a list"),
        ({"seeds": 1.5}, "seeds: it must be a whole number or a list"),
        ({"seeds": True}, "seeds: it must be a whole number or a list"),
        ({"iterations": 0}, "iterations: it must be at least 1"),
        ({"iterations": -3}, "iterations: it must be at least 1"),
        ({"iterations": 1.5}, "iterations: it must be a whole number, not 1.5"),
        ({"epochs": 0}, "epochs: it must be at least 1"),
        ({"dtype": 32}, "dtype: it must be text"),
        ({"data": 5}, "data: it must be text"),
        ({"record": "during"}, "record: it must be 'before' or 'after'"),
        ({"problem": 3}, "problem: write each as a table of its own, under [[problem]]"),
        ({"problem": {"name": "anisotropic"}}, "problem: write each as a table of its own"),
        (
            {"optimizer": ["sgd"]},
            "optimizer: write each as a table of its own, under [[optimizer]]",
        ),
        ({"problem": [{}]}, "problem 1 name is missing"),
        ({"problem": [{"name": 3}]}, "problem 1 name: it must be text"),
        ({"problem": [{"name": "a", "iterations": 0}]}, "problem 1 iterations: it must be at lea"),
        ({"problem": [{"name": "a"}, {"name": "b", "epochs": 0}]}, "problem 2 epochs: it must be"),
        ({"problem": [{"name": "a", "label": ""}]}, "problem 1 label: it is empty"),
        (
            {"problem": [{"name": "a", "label": "b\nc"}]},
            "problem 1 label: 'b\\nc' contains characters",
        ),
        (
            {"problem": [{"name": "a", "label": "*"}]},
            "problem 1 label: '*' means all entries; give",
        ),
        ({"optimizer": [{"name": "sgd", "label": "*"}]}, "optimizer 1 label: '*' means all entri"),
        ({"name": "\ud800"}, "name: '\\ud800' contains characters"),
        ({"optimizer": [{"lr": 0.1}]}, "optimizer 1 name is missing"),
        ({"optimizer": [{"name": "sgd", "label": ""}]}, "optimizer 1 label: it is empty"),
        ({"optimizer": [{"name": "sgd", "grid": 3}]}, "optimizer 1 grid: it must be a table"),
        (
            {"optimizer": [{"name": "sgd"}, {"name": "adam"}, {"name": "sgd"}]},
            "optimizer: there are two called 'sgd'; give one of them another label",
        ),
        (
            {"optimizer": [{"name": "sgd", "label": "a"}, {"name": "adam", "label": "a"}]},
            "optimizer: there are two called 'a'",
        ),
        (
            {"optimizer": [{"name": "sgd", "label": "adam"}, {"name": "adam"}]},
            "optimizer: there are two called 'adam'",
        ),
        ({"problem": [{"name": "a"}, {"name": "a"}]}, "problem: there are two called 'a'"),
    ],
)
def test_a_wrong_shape_is_refused_with_its_place(changes, says):
    message = refused(parse_suite, {**PLAIN, **changes}, "mine.toml")
    assert message.startswith("mine.toml: ")
    assert says in message


def test_labels_let_entries_share_a_name():
    optimizers = [{"name": "sgd"}, {"name": "sgd", "label": "slow", "lr": 1e-4}]
    suite = parse_suite({**PLAIN, "optimizer": optimizers}, "x")
    assert [entry.title for entry in suite.optimizer] == ["sgd", "slow"]


def test_as_written_holds_what_was_written_and_no_more():
    suite = parse_suite(PLAIN, "x")
    written = suite.as_written()
    assert written["optimizer"] == ({"name": "sgd", "lr": 0.5},)
    assert written.keys() == {"name", "problem", "optimizer"}
    assert parse_suite(written, "x") == suite


def test_a_changed_suite_is_checked_again():
    suite = parse_suite(PLAIN, "x")
    changed = suite.changed(seeds=[1, 2], name="other")
    assert (changed.name, changed.seeds, changed.optimizer) == ("other", [1, 2], suite.optimizer)
    assert suite.seeds == 1
    assert refused(lambda: suite.changed(iterations=0)).startswith("suite 'mine': iterations")


@pytest.mark.parametrize(
    ("target", "titles"),
    [
        ("*", ("adam", "swept", "slow", "quick")),
        ("adam", ("adam",)),
        ("swept", ("swept",)),
        ("sgd", ("slow", "quick")),
        ("momentum", ()),
    ],
)
def test_a_target_is_a_label_else_every_entry_of_that_name(target, titles):
    entries = [
        {"name": "adam"},
        {"name": "adam", "label": "swept"},
        {"name": "sgd", "label": "slow"},
        {"name": "sgd", "label": "quick"},
    ]
    assert suites.meant_by([OptimizerEntry(**entry) for entry in entries], target) == titles


@pytest.mark.parametrize(
    ("changes", "hyperparameters", "grid"),
    [
        ({}, {"lr": 0.5}, {"eps": [0.1, 0.2]}),
        ({"lr": 0.1}, {"lr": 0.1}, {"eps": [0.1, 0.2]}),
        ({"eps": 0.3}, {"lr": 0.5, "eps": 0.3}, {}),
        ({"grid": {"lr": [1, 2]}}, {}, {"eps": [0.1, 0.2], "lr": [1, 2]}),
        ({"grid": {"eps": [1, 2]}}, {"lr": 0.5}, {"eps": [1, 2]}),
    ],
)
def test_a_value_replaces_a_grid_and_a_grid_a_value(changes, hyperparameters, grid):
    entry = OptimizerEntry(name="adagrad", label="a", lr=0.5, grid={"eps": [0.1, 0.2]})
    merged = entry.merged(changes)
    assert (merged.hyperparameters, merged.grid) == (hyperparameters, grid)
    assert (merged.name, merged.label) == ("adagrad", "a")


@pytest.mark.parametrize("changes", [{"name": "adam"}, {"label": "b"}, {"grid": 3}])
def test_only_hyperparameters_can_be_changed(changes):
    says = f"sgd: '{next(iter(changes))}' is not a hyperparameter; only those can be changed"
    assert refused(OptimizerEntry(name="sgd").merged, changes) == says


def on_problem(problem, plain):
    entries = [OptimizerEntry(**entry) for entry in plain]
    return [adjusted(entries, entry, problem.overrides) for entry in entries]


def test_a_problem_changes_optimizers_by_star_then_name_then_label():
    problem = ProblemEntry(
        name="anisotropic",
        **{
            "slow": {"lr": 3.0},
            "adam": {"lr": 2.0, "beta1": 0.5, "grid": {"eps": [1, 2]}},
            "*": {"lr": 1.0, "grid": {"beta2": [0.5, 0.9]}},
        },
    )
    entries = [
        {"name": "adam", "label": "slow", "eps": 1e-3},
        {"name": "adam", "label": "other"},
        {"name": "sgd", "lr": 9.0},
    ]
    slow, other, sgd = on_problem(problem, entries)
    assert slow.hyperparameters == {"lr": 3.0, "beta1": 0.5}
    assert slow.grid == {"beta2": [0.5, 0.9], "eps": [1, 2]}
    assert other.hyperparameters == {"lr": 2.0, "beta1": 0.5}
    assert sgd.hyperparameters == {"lr": 1.0}


def test_a_change_to_a_label_leaves_other_entries_of_that_name_alone():
    problem = ProblemEntry(name="anisotropic", adam={"lr": 2.0})
    entries = [{"name": "adam"}, {"name": "adam", "label": "swept", "grid": {"lr": [0.1, 0.2]}}]
    adam, swept = on_problem(problem, entries)
    assert adam.hyperparameters == {"lr": 2.0}
    assert (swept.hyperparameters, swept.grid) == ({}, {"lr": [0.1, 0.2]})


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "it is UTF-16; save it as UTF-8"),
        ("utf-16-be", "it is UTF-16; save it as UTF-8"),
        ("cp932", "line 2 is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_utf8_is_told_how_to_be_saved(tmp_path, encoding, says):
    file = tmp_path / "mine.toml"
    file.write_bytes("iterations = 3\n# 比較\n".encode(encoding))
    assert refusal(SuiteError, read_suite, str(file)).endswith(f"mine.toml' cannot be read: {says}")


@pytest.mark.parametrize("name", ["my sweep", "比較", "lr(0.1)", ".hidden", "x" * 240])
def test_any_file_name_is_a_suites_name(tmp_path, name):
    file = tmp_path / f"{name}.toml"
    file.write_text("", encoding="utf-8")
    assert read_suite(str(file)).name == name


def test_what_cannot_be_printed_of_a_file_name_is_escaped(tmp_path):
    for name, shown in ((b"a\nb", "a\\nb"), (b"r\xff", "r\\udcff")):
        file = tmp_path / os.fsdecode(name + b".toml")
        file.write_text("", encoding="utf-8")
        assert read_suite(str(file)).name == shown
