"""``--problem``: what it makes of suites."""

from __future__ import annotations

import sys

import pytest

from optbench.cli.options import complete_problem
from optbench.errors import SuiteError
from optbench.problems.registry import PROBLEMS
from optbench.suite.format import parse_suite
from optbench.suite.shorthand import problem_entries, suite_of_problems, with_problems


def test_what_comes_from_a_file_or_module_is_called_by_its_own_name():
    assert problem_entries(["a.py:One", "pack.module:two", "mnist-mlp", "a.py:One"]) == [
        {"name": "a.py:One", "label": "One"},
        {"name": "pack.module:two", "label": "two"},
        {"name": "mnist-mlp"},
    ]


def test_names_that_are_not_unique_stay_whole():
    assert problem_entries(["a.py:One", "b.py:One"]) == [
        {"name": "a.py:One", "label": "a.py:One"},
        {"name": "b.py:One", "label": "b.py:One"},
    ]
    assert problem_entries(["One", "b.py:One"]) == [
        {"name": "One"},
        {"name": "b.py:One", "label": "b.py:One"},
    ]
    assert problem_entries(["b.py:"]) == [{"name": "b.py:", "label": "b.py:"}]


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
    ("names", "folder"),
    [
        (["../a b.py:One", "x.py:One"], "a-b.py-One"),
        (["a.py:_Private"], "Private"),
        (["a.py:∇"], "problem"),
        (["a" * 500], "a" * 100),
    ],
)
def test_any_problem_gives_a_name_that_a_suite_takes(names, folder):
    assert suite_of_problems(names).name == folder


def test_a_name_that_can_be_no_label_is_refused_in_one_line():
    with pytest.raises(SuiteError) as caught:
        suite_of_problems(["a.py:One\x07"])
    assert str(caught.value).startswith("--problem: problem 1 label: ")
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
