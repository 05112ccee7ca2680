"""``optbench show``: the summary in five formats."""

import io

import pandas as pd
import pytest
from rich.console import Console

import optbench as package
from optbench.display import follow as following
from optbench.display.screen import PIPE_COLUMNS
from optbench.report import tables
from optbench.report.sections import to_csv, to_json, to_latex, to_markdown
from optbench.report.terminal import to_rich
from tests.cli.command import optbench, run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network over two seeds and, started later, a sweep in which lanes diverge."""
    cwd = tmp_path_factory.mktemp("made")
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 2, "--batch-size", 2)
    run(*network, "-o", "sgd", "--seeds", 2, "--name", "network", cwd=cwd)
    grids = ("--grid", "sgd.lr=0.1,1e200", "--set", "adagrad.lr=1e200")
    run("anisotropic", "--iterations", 3, "--name", "sweep", *grids, cwd=cwd)
    return cwd


def summary(made, name):
    """Return the summary that Python gives of a run."""
    return package.load(next(made.glob(f"results/{name}-*"))).summary()


def told(made, form, *arguments):
    seen = optbench("show", *arguments, "--format", form, cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert "\x1b" not in seen.out
    return seen.out


def as_table(rows):
    screen = Console(file=io.StringIO(), width=PIPE_COLUMNS)
    screen.print(to_rich(tables.sections(rows)))
    return screen.file.getvalue()


@pytest.mark.parametrize("names", [["network"], ["sweep"], ["network", "sweep"]], ids="-".join)
@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("table", as_table),
        ("md", lambda rows: to_markdown(tables.sections(rows))),
        ("latex", lambda rows: to_latex(tables.sections(rows))),
        ("csv", to_csv),
        ("json", to_json),
    ],
)
def test_every_format_shows_the_summaries_of_the_runs_that_were_named(made, form, write, names):
    rows = pd.concat([summary(made, name) for name in names], ignore_index=True)
    assert told(made, form, *names) == write(rows)


def test_the_table_is_what_a_run_ends_with(made):
    seen = optbench("show", cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert told(made, "table") == seen.out
    for word in ("anisotropic", "optimizer", "best at", "lr=0.1", "diverged", "final loss"):
        assert word in seen.out
    assert "sgd: 1 of 2 lanes diverged" in seen.out


def test_without_a_run_the_latest_invocation_is_shown(made):
    assert told(made, "csv") == told(made, "csv", "latest") == told(made, "csv", "sweep")


def test_runs_are_looked_for_under_out(made, tmp_path):
    seen = optbench("show", "network", "--out", made / "results", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert "mnist-mlp on mnist-5k, median of 2 seeds" in seen.out
    assert "there are no runs under 'results'" in optbench("show", cwd=tmp_path).message


# Of what goes on.


def test_a_run_that_has_ended_is_shown_at_once_also_where_it_was_to_be_followed(made):
    seen = optbench("show", "sweep", "--follow", cwd=made)
    assert seen.code == 0
    assert seen.out == told(made, "table", "sweep")
    (name,) = (path.name for path in made.glob("results/sweep-*"))
    assert seen.err == f"{name} is not running: it is done\n"


def test_without_a_run_the_latest_is_followed(made):
    assert optbench("show", "--follow", cwd=made).out == told(made, "table", "sweep")


def test_one_run_is_followed_at_a_time(made):
    seen = optbench("show", "network", "sweep", "--follow", cwd=made)
    assert seen.message == "--follow is for one run at a time, and these are 2"


def test_an_interrupt_ends_the_looking_alone(made, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "follow", interrupted)
    seen = optbench("show", "sweep", "--follow", cwd=made)
    assert (seen.code, seen.out) == (130, "")
    assert seen.err == "it goes on; look again with the same command\n"
