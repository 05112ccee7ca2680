"""Results folders that somebody else has written, to break or to stall whoever looks at them."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.command import in_terminal, meta, optbench, run

ESCAPES = "\x1b]0;title\x07\x1b[31mred\n\x9b\u202e"
LONG = "l" * 100_000
FORMULA = r"$\frac{$ _x"
SURFACE = "surface/problem-00000.parquet"
LOSS = "trace/block-00000.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run("anisotropic", "--iterations", 4, cwd=tmp_path_factory.mktemp("made"))


@pytest.fixture
def foreign(made, tmp_path):
    """Return the copy of a run in the folder that commands are run in."""
    return shutil.copytree(made, tmp_path / "results" / "foreign")


def describe(path, **changes):
    """Change what run.json says of the problem."""
    about = meta(path)
    problem = about["problems"][0]
    problem["plot"] |= {key: changes.pop(key) for key in ("domain", "levels") if key in changes}
    problem |= changes
    (path / "run.json").write_text(json.dumps(about), encoding="utf-8")


def column(path, file, **columns):
    """Set columns of a table."""
    table = pd.read_parquet(path / file)
    values = {name: value(table) if callable(value) else value for name, value in columns.items()}
    table.assign(**values).to_parquet(path / file)


def rename(path, name):
    """Give the problem and its optimizers other names."""
    describe(path, problem=name, variables=[name, f"{name}_"])
    column(path, "lanes.parquet", problem=name, label=[f"{name}{number}" for number in range(4)])
    once = pd.CategoricalDtype([name])  # else a long name would be there 40,000 times
    column(
        path, SURFACE, problem=lambda rows: pd.Categorical.from_codes([0] * len(rows), dtype=once)
    )


def answers(seen):
    """Say whether a command did what it should, or said in one line why not."""
    assert len(seen.err.splitlines()) == (1 if seen.code else 0), seen
    assert seen.code in (0, 2)
    assert (seen.err + seen.out).replace("\n", "").isprintable()
    assert len(seen.out) < 20_000
    return seen.code == 0


@pytest.mark.parametrize("name", [ESCAPES, LONG, FORMULA], ids=["escapes", "long", "formula"])
def test_names_show_themselves_and_no_more(foreign, tmp_path, name):
    rename(foreign, name)
    about = meta(foreign)
    about["suite"]["name"] = about["status"] = about["invocation_id"] = name
    (foreign / "run.json").write_text(json.dumps(about), encoding="utf-8")
    shutil.copytree(foreign, tmp_path / "results" / "odd\x1b[31m\nfolder")
    for command in ("show foreign", "show foreign --format md", "list runs"):
        assert answers(optbench(*command.split(), cwd=tmp_path))
    for kind in ("trajectory", "loss", "surface", "field"):
        out = f"{kind}.png"
        assert answers(optbench("plot", "foreign", "--kind", kind, "--save", out, cwd=tmp_path))
    refused = optbench("clean", cwd=tmp_path)
    assert (refused.code, refused.err.replace("\n", "").isprintable()) == (2, True)
    code, _, shown = in_terminal("clean", "--yes", cwd=tmp_path)
    assert (code, shown.replace("\n", "").isprintable()) == (0, True)
    assert list((tmp_path / "results").iterdir()) == []


NUMBERS = {
    "a domain of all floats": (
        lambda path: describe(path, domain=[[-1e308, 1e308]] * 2),
        {"trajectory": "what fits: loss", "loss": None},
    ),
    "a domain upside down": (
        lambda path: describe(path, domain=[[1.0, -1.0], [0.0, 0.0]]),
        {"surface": "what fits: loss"},
    ),
    "a wide domain": (
        lambda path: describe(path, domain=[[-1e50, 1e50]] * 2),
        {"trajectory": None, "surface": None},
    ),
    "levels out of order": (
        lambda path: describe(path, levels=[3, 1, 1, -1e308, 1e308, 2]),
        {"trajectory": None},
    ),
    "many levels": (
        lambda path: describe(path, levels=[number / 1e3 for number in range(100_000)]),
        {"trajectory": None},
    ),
    "large values": (
        lambda path: column(
            path, SURFACE, value=lambda table: np.where(table["x"] > 0, 1e308, -1e308)
        ),
        {"trajectory": None, "surface": None},
    ),
    "a grid of all floats": (
        lambda path: column(path, SURFACE, x=lambda table: table["x"] * 1e307),
        {"field": "its surface of 'anisotropic' is no grid"},
    ),
    "a grid of one point": (
        lambda path: pq.write_table(pq.read_table(path / SURFACE).slice(0, 1), path / SURFACE),
        {"trajectory": "its surface of 'anisotropic' is no grid"},
    ),
    "large losses": (
        lambda path: column(
            path, LOSS, loss=lambda table: np.where(table["iteration"] % 2, -1e308, 1e308)
        ),
        {"loss": None},
    ),
}


@pytest.mark.parametrize(("damage", "figures"), NUMBERS.values(), ids=NUMBERS)
def test_any_numbers_are_drawn_or_refused(foreign, tmp_path, damage, figures):
    damage(foreign)
    for kind, says in figures.items():
        seen = optbench("plot", "--kind", kind, "--save", f"{kind}.png", cwd=tmp_path)
        assert answers(seen) == (says is None), seen
        assert says is None or says in seen.message


def test_a_trace_of_a_hundred_million_rows_in_a_small_file_is_refused_at_once(foreign, tmp_path):
    """The rows are claimed by the footer; the file need not hold them to be refused."""
    lanes = pa.repeat(pa.scalar(0, pa.int32()), 10**6)
    table = pa.table({"lane": lanes, "iteration": lanes, "loss": pa.repeat(0.5, 10**6)})
    with pq.ParquetWriter(foreign / LOSS, table.schema) as writer:
        for _ in range(12):
            writer.write_table(table)
    for command in ("show", "plot", "export"):
        assert "claims to hold 12,000,000 rows" in optbench(command, cwd=tmp_path).message
    assert answers(optbench("list", "runs", cwd=tmp_path))
