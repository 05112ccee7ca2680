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

LEAST = {"torch.optim": 14, "pytorch_optimizer": 120, "heavyball": 10}
"""How many of a library are to run at least: all of torch.optim that need no sparse gradients."""

RETRIED = {
    "torch.optim": ["AdamW", "Adafactor", "LBFGS", "Muon", "SparseAdam"],
    "optax": ["adam", "lion", "noisy_sgd"],
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
        ("optax:*", "must be torch:\\* or torch:PACKAGE:\\*"),
    ],
)
def test_what_has_no_optimizers_is_refused_in_a_line(name, message):
    pytest.importorskip("torch")
    from optbench.optimizers.plugin import all_of_library

    with pytest.raises(SuiteError, match=message):
        all_of_library(name)
