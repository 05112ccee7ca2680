"""``--problem``, ``--function`` and ``--start``: suites without a file."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.cli.options import complete_problem
from optbench.errors import SuiteError
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.registry import PROBLEMS
from optbench.suite.flags import parse_starts
from optbench.suite.format import parse_suite
from optbench.suite.request import RunRequest, requested_suites
from optbench.suite.shorthand import (
    TEXTBOOK,
    function_suite,
    problem_entries,
    suite_of_problems,
    with_problems,
)
from tests.refusal import refusal

# Problems


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a.py:One", "pack.module:two", "mnist-mlp", "a.py:One"], ["One", "two", None]),
        (["a.py:One", "b.py:One"], ["a.py:One", "b.py:One"]),  # not unique
        (["One", "b.py:One"], [None, "b.py:One"]),
        (["b.py:"], ["b.py:"]),
    ],
)
def test_what_comes_from_a_file_or_module_is_called_by_its_own_name_if_unique(names, labels):
    entries = zip(dict.fromkeys(names), labels, strict=True)
    assert problem_entries(names) == [
        {"name": name, "label": label} if label else {"name": name} for name, label in entries
    ]


def test_a_suite_keeps_its_optimizers_on_other_problems():
    plain = {
        "name": "mine",
        "seeds": 3,
        "problem": [{"name": "anisotropic", "iterations": 5}],
        "optimizer": [{"name": "adam", "lr": 0.5}],
    }
    suite = parse_suite(plain, "mine")
    assert with_problems(suite, []) is suite
    changed = with_problems(suite, ["a.py:One"])
    assert changed == parse_suite(
        {**plain, "problem": [{"name": "a.py:One", "label": "One"}]}, "expected"
    )


def test_without_a_suite_there_is_one_named_after_the_first_problem():
    suite = suite_of_problems(["my/file.py:Valley", "anisotropic"], ["adam", "sgd", "adam"])
    assert suite.name == "Valley"
    assert [entry.title for entry in suite.problem] == ["Valley", "anisotropic"]
    assert [entry.name for entry in suite.optimizer] == ["adam", "sgd"]
    textbook = suite_of_problems(["anisotropic"])
    assert [entry.name for entry in textbook.optimizer] == ["sgd", "momentum", "adagrad", "adam"]


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["../a b.py:One", "x.py:One"], "../a b.py:One"),
        (["a.py:∇"], "∇"),
        (["a" * 500], f"{'a' * 254}…"),
    ],
)
def test_a_suite_of_problems_is_called_like_the_first(names, name):
    assert suite_of_problems(names).name == name


def test_a_name_that_can_be_no_label_is_refused_in_one_line():
    message = refusal(SuiteError, suite_of_problems, ["a.py:One\x07"])
    assert message.startswith("--problem: problem 1 label: ")
    with pytest.raises(SuiteError, match="give another label"):
        suite_of_problems(["a.py:*"])


def test_the_shell_completes_names_without_running_anybodys_code(tmp_path, monkeypatch):
    about = tmp_path / "bowls-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bowls\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text(
        "[optbench.problems]\ndeep-bowl = bowls_of_mine:Bowl\nanisotropic = bowls_of_mine:Bowl\n"
    )
    (tmp_path / "bowls_of_mine.py").write_text("1 / 0\n")
    (tmp_path / "mine.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert complete_problem("deep-") == ["deep-bowl"]
    assert complete_problem("aniso") == ["anisotropic"]
    assert complete_problem("mine.py:") == []
    assert set(complete_problem("")) > set(PROBLEMS)
    assert "bowls_of_mine" not in sys.modules


def test_a_function_is_a_suite_of_one_problem():
    suite = parse_suite(function_suite("x**2/20 + y**2", {"x": -7, "y": 2}), "--function")
    (entry,) = suite.problem
    assert suite.name == entry.name == "function"
    assert entry.options == {"expression": "x**2/20 + y**2", "start": {"x": -7, "y": 2}}
    assert [entry.name for entry in suite.optimizer] == list(TEXTBOOK)
    assert set(TEXTBOOK) <= set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("starts", "table"),
    [
        (["x=-7,y=2"], {"x": -7, "y": 2}),
        ([" x = -7.5 , y = 1e-3 "], {"x": -7.5, "y": 0.001}),
        (["x=[1,2,3]"], {"x": [1, 2, 3]}),
        (["x=[1, 2.5],y=2"], {"x": [1, 2.5], "y": 2}),
        (["x=1", "y=2"], {"x": 1, "y": 2}),
        (['"θ"=1'], {"θ": 1}),
    ],
)
def test_starts(starts, table):
    assert parse_starts(starts) == table


@pytest.mark.parametrize(
    ("starts", "says"),
    [
        (["x"], "--start 'x' is malformed; write --start x=-7,y=2 (a vector: --start 'x=["),
        (["x=-7 y=2"], "is malformed"),
        (["x=.5"], "--start 'x=.5' is malformed"),
        (["x=1,x=2"], "is malformed"),
        (["x=1}\ny={z=1"], "is malformed"),
        ([""], "--start '' is malformed"),
        (["x=[1,2"], "is malformed"),
        (["x=1", "y=2,x=3"], "--start gives 'x' twice; one value is needed"),
    ],
)
def test_bad_starts_are_refused_in_one_line(starts, says):
    assert says in refusal(SuiteError, parse_starts, starts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"function": "x**2"},
            "--function needs a start; give each variable a value, as --start x=-7",
        ),
        ({"start": {"x": 1}}, "a start belongs to a function; give --function, or"),
        ({"suite": "anisotropic", "function": "x**2"}, "--function is a suite of its own"),
        ({"problem": "beale", "function": "x**2"}, "--function is a suite of its own"),
    ],
)
def test_what_does_not_go_together_is_refused(options, says):
    assert refusal(SuiteError, lambda: requested_suites(RunRequest(**options))).startswith(says)


@given(st.lists(st.text(), min_size=1))
def test_any_text_is_a_table_or_a_complaint(starts):
    try:
        table = parse_starts(starts)
    except SuiteError:
        table = {"": None}
    assert table
