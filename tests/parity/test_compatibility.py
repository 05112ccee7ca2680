"""docs/compatibility.md says of every optimizer of other libraries how it runs; `make docs`."""

from importlib.metadata import version

import pytest

from docs.tools.compatibility_page import (
    IN_LANES,
    LIBRARIES,
    NOT,
    ONE_BY_ONE,
    PAGE,
    page,
    read,
    trial,
)
from optbench.errors import SuiteError
from tests.cli import command

if not PAGE.exists():
    pytest.skip("the manual is not part of this installation", allow_module_level=True)

TEXT = PAGE.read_text(encoding="utf-8")
WRITTEN = read(TEXT)

LEAST = {"torch.optim": 14, "optax": 47, "pytorch_optimizer": 120, "heavyball": 10}
"""How many of a library are to run at least: all of torch.optim that need no sparse gradients."""

RETRIED = {
    "torch.optim": ["AdamW", "Adafactor", "LBFGS", "Muon", "SparseAdam"],
    "optax": ["adam", "lion", "noisy_sgd", "lbfgs", "momo", "schedule_free", "sophia"],
    "pytorch_optimizer": [
        "AliG",
        "AggMo",
        "Kron",
        "Lion",
        "Lookahead",
        "Muon",
        "SAM",
        "AdaHessian",
    ],
    "heavyball": ["AdamW", "SOAP"],
}
"""A few of each, tried again here."""


def test_the_page_is_what_make_docs_would_write():
    assert page(WRITTEN) == TEXT, "docs/compatibility.md is out of date; run make docs"
    assert WRITTEN.keys() == LIBRARIES.keys()


@pytest.mark.parametrize("title", LEAST)
def test_most_of_a_library_runs_and_every_refusal_is_a_line(title):
    _, rows = WRITTEN[title]
    assert sum(row.runs != NOT for row in rows) >= LEAST[title]
    assert {row.runs for row in rows} <= {IN_LANES, ONE_BY_ONE, NOT}
    assert all(row.notes for row in rows if row.runs == NOT)


@pytest.mark.parametrize(
    ("title", "name"), [(title, name) for title, names in RETRIED.items() for name in names]
)
def test_an_optimizer_runs_as_the_page_says(title, name, monkeypatch):
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    library = LIBRARIES[title]
    if not library.installed:
        pytest.skip(f"{library.package} is not installed")
    release, rows = WRITTEN[title]
    if version(library.package.replace("_", "-")).partition("+")[0] != release:
        pytest.skip(f"the page is of {library.package} {release}")
    assert trial(library, name) in rows


def test_all_of_a_library_run_but_those_that_cannot(tmp_path):
    pytest.importorskip("torch")
    arguments = ("-o", "torch:*", "--iterations", 3, "--quiet")
    seen = command.optbench("run", "anisotropic", *arguments, cwd=tmp_path)
    assert seen.code == 0, seen
    names = [row.name for row in WRITTEN["torch.optim"][1]]
    labels = command.lanes(seen.path)["label"].tolist()
    assert sorted(labels) == sorted({*names} - {"Muon", "SparseAdam"})
    again = command.optbench("run", seen.path / "run.json", "--quiet", cwd=tmp_path)
    assert again.code == 0, again


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:no_such_package:*", "needs no_such_package, which cannot be imported"),
        ("torch:math:*", "math has no optimizers; name a package that offers some"),
        ("scipy:*", "must be torch:\\*, optax:\\*, torch:PACKAGE:\\* or optax:PACKAGE:\\*"),
    ],
)
def test_what_has_no_optimizers_is_refused_in_a_line(name, message):
    pytest.importorskip("torch")
    from optbench.optimizers.plugin import all_of_library

    with pytest.raises(SuiteError, match=message):
        all_of_library(name)


def run_all(name, cwd, *more):
    """Run all optimizers of a library on a small network; return labels, statuses and messages."""
    problem = ("--problem", "tests.small:SmallNetwork", "--iterations", 3)
    seen = command.optbench("run", *problem, "-o", name, *more, cwd=cwd)
    (record,) = cwd.glob("results/*/run.json")
    lanes = command.lanes(record.parent)
    return dict(zip(lanes["label"], lanes["status"], strict=True)), seen


@pytest.mark.filterwarnings('ignore:"seed" is deprecated')  # optax.contrib.dpsgd's own
@pytest.mark.parametrize(
    ("title", "more"),
    [("optax", ("--set", "*.lr=0.01")), ("pytorch_optimizer", ())],
)
def test_of_a_library_none_is_lost(title, more, tmp_path):
    library = LIBRARIES[title]
    if not library.installed:
        pytest.skip(f"{library.package} is not installed")
    statuses, seen = run_all(f"{library.prefix}*", tmp_path, *more)
    left_out = [line for line in seen.err.splitlines() if " is left out: " in line]
    names = {line.split(" is left out: ")[0].split()[-1] for line in left_out}
    assert len(names) == len(left_out)
    assert sorted([*statuses, *names]) == sorted(library.names())
    assert {*statuses.values()} == {"done"}
    assert seen.code == 0


def test_all_of_a_library_are_for_runs_only(tmp_path):
    pytest.importorskip("torch")
    seen = command.optbench("tune", "anisotropic", "-o", "torch:*", cwd=tmp_path)
    assert seen.message == (
        "'torch:*' means all optimizers of a library, which only a run can be given; name those "
        "that are meant"
    )
