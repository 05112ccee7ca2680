"""On 80 columns nothing is wider, and every name that one types stands whole on one line."""

import re

import pytest
from rich.cells import cell_len

from optbench.datasets import names as datasets
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.registry import PROBLEMS
from optbench.suite.format import builtin_suites
from tests.cli.command import optbench, run, suite

LONG = ("Adam, with a step of a tenth", "a-rule-of-my-own-with-30-chars")
"""Labels as people write them."""

SUITE = f"""
seeds = 6
iterations = 8

[[problem]]
name = "mnist-mlp"
label = "a network of ten units"
layers = ["dense 8", "relu", "dense 10"]
data = "mnist-5k"
batch_size = 16

[[problem]]
name = "anisotropic"

[[optimizer]]
name = "adam"
label = "{LONG[0]}"

[[optimizer]]
name = "nadam"
label = "{LONG[1]}"
grid.lr = [0.001, 0.01]
grid.beta1 = [0.8, 0.9]

[[optimizer]]
name = "sgd"
"""

PROBLEM = "a network of ten units"
LABELS = (*LONG, "sgd")
HYPERPARAMETERS = {each.name for kind in OPTIMIZERS.values() for each in kind.hyperparameters}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two runs, one with a name that fills a screen, a study and a baseline."""
    cwd = tmp_path_factory.mktemp("made")
    file = suite(cwd, SUITE, "a-suite-with-a-long-name")
    run(file, "--name", "two-words-and-many-more-that-name-a-run", cwd=cwd)
    run(file, "--iterations", 9, cwd=cwd)
    tuned = ("--budget", "4 trials", "--trial-seeds", 1, "--finalists", 0, "--eval-seeds", 6)
    assert optbench("tune", file, *tuned, "--name", "tuned", "--quiet", cwd=cwd).code == 0
    assert optbench("baseline", "save", "two-words", "--name", "kept", cwd=cwd).code == 0
    return cwd


def runs(made, *beginnings):
    return [
        path.name for path in made.glob("results/*-*") if path.name.startswith(beginnings or ("",))
    ]


SHOWN = {
    "list suites": lambda made: builtin_suites(),
    "list problems": lambda made: PROBLEMS,
    "list problems mnist-mlp": lambda made: [each.name for each in PROBLEMS["mnist-mlp"].options],
    "list optimizers": lambda made: {*OPTIMIZERS, *PRESETS, *COMMON, *HYPERPARAMETERS},
    "list datasets": lambda made: datasets(),
    "list devices": lambda made: ["cpu"],
    "list runs": runs,
    "clean two": lambda made: runs(made, "two"),
    "baseline list": lambda made: ["kept"],
    "run a-suite-with-a-long-name.toml --dry-run": lambda made: [PROBLEM],
    "show two": lambda made: LABELS,
    "show two a-suite-with-a-long-name-2": lambda made: [*LABELS, *runs(made, "two", "a-suite")],
    "show tuned": lambda made: LABELS,
    "compare two --choose-on 0-1": lambda made: LABELS,
    "target two --choose-on 0-1 --reference sgd": lambda made: LABELS,
    "target two --choose-on 0-1 --profile": lambda made: LABELS,
    "check kept --run two": lambda made: [*LABELS, PROBLEM],
    "verify optimizer adam": lambda made: (),
    "verify problem a-suite-with-a-long-name.toml": lambda made: [PROBLEM],
    "data verify mnist-5k": lambda made: ["mnist-5k"],
}


SENTENCE = re.compile(r"(kept|error|a-suite-with-a-long-name): ")
"""Begins lines that are no part of a table, and fold where the terminal folds them."""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", SHOWN)
def test_names_are_whole_and_no_line_is_wider(made, monkeypatch, command, columns):
    monkeypatch.setattr("optbench.display.screen.PIPE_COLUMNS", columns)
    seen = optbench(*command.split(), cwd=made)
    lines = (seen.out + seen.err * command.startswith("clean")).splitlines()
    assert len(lines) > 3, seen
    assert [each for each in lines if cell_len(each) > columns and not SENTENCE.match(each)] == []
    for name in SHOWN[command](made):
        assert any(re.search(rf"(^|\s){re.escape(name)}([\s:,]|$)", line) for line in lines), name
