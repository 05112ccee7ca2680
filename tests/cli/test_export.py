"""``optbench export``: tables that read back as what the run's own files hold."""

import csv
import io
import json
import math
import os
import shutil
import stat
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.cli.command import in_terminal, lanes, meta, optbench, run, trace

TOLD = ["run", "problem", "optimizer", "label", "seed"]
"""Columns that begin every row of a trace or of evaluations; hyperparameters and status follow."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network over two seeds and, started later, a sweep in which lanes diverge."""
    cwd = tmp_path_factory.mktemp("made")
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 2, "--batch-size", 2)
    run(*network, "-o", "sgd", "--seeds", 2, "--name", "network", cwd=cwd)
    run("anisotropic", "--iterations", 7, "--name", "sweep", "--grid", "sgd.lr=0.1,1e200", cwd=cwd)
    return cwd


def path_of(made, name):
    return next(made.glob(f"results/{name}-*"))


def exported(made, *arguments):
    seen = optbench("export", *arguments, cwd=made)
    assert (seen.code, seen.err) == (0, ""), seen
    return seen.out


def records(text):
    """Return the objects of a JSON text, which has no NaN and no Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(name))


def cells(text):
    """Return the rows of a CSV text as dictionaries of texts."""
    return list(csv.DictReader(io.StringIO(text)))


def parquet(made, tmp_path, *arguments):
    exported(made, *arguments, "-O", tmp_path / "table.parquet")
    return pd.read_parquet(tmp_path / "table.parquet")


# What is in the tables.


def test_the_trace_of_a_run_with_what_was_chosen_for_its_lanes(made):
    path = path_of(made, "sweep")
    rows, own, chosen = (
        records(exported(made, "sweep", "--format", "json")),
        trace(path),
        lanes(path),
    )
    names = [name for name in chosen if name.startswith("hp_")]
    assert list(rows[0]) == [*TOLD, *names, "status", *own.columns]
    assert len(rows) == len(own)
    at = own.set_index(["lane", "iteration"])
    by_lane = chosen.set_index("lane")
    for row in rows:
        told = by_lane.loc[row["lane"]]
        assert row["run"] == path.name
        for name in (*TOLD[1:], *names, "status"):
            assert row[name] == (None if pd.isna(told[name]) else told[name]), name
        for name, value in at.loc[(row["lane"], row["iteration"])].items():
            assert row[name] == (value if math.isfinite(value) else None)
    order = [(row["lane"], row["iteration"]) for row in rows]
    assert order == sorted(order)
    assert {row["status"] for row in rows} == {"done", "diverged"}


def test_the_trace_is_what_is_written_without_a_table_and_csv_without_a_format(made):
    whole = exported(made, "sweep")
    assert whole == exported(made, "sweep", "--table", "trace", "--format", "csv")
    assert whole == exported(made), "without a run: the latest invocation"


def test_rows_are_ordered_by_lane_however_blocks_are_numbered(tmp_path):
    two = ("--problem", "anisotropic", "--problem", "booth")
    path = run("anisotropic", *two, "--iterations", 7, "--name", "two", cwd=tmp_path)
    expected = exported(tmp_path)
    blocks = sorted((path / "trace").iterdir())
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        block.rename(block.with_name(f"block-{99 - number:05d}.parquet"))
    assert exported(tmp_path) == expected


def test_the_lanes_with_whole_numbers(made):
    path = path_of(made, "sweep")
    rows, own = (
        records(exported(made, "sweep", "--table", "lanes", "--format", "json")),
        lanes(path),
    )
    assert list(rows[0]) == ["run", *own.columns, "criterion", "score"]
    assert [row["score"] for row in rows] == [row["final_loss"] for row in rows]
    assert {row["criterion"] for row in rows} == {"final_loss"}
    assert [row["lane_key"] for row in rows] == own["lane_key"].tolist()
    assert [row["diverged_at"] for row in rows] == [None, 1, None, None, None]
    assert [type(row["iterations"]) for row in rows] == [int] * 5
    written = cells(exported(made, "sweep", "--table", "lanes"))
    assert [row["diverged_at"] for row in written] == ["", "1", "", "", ""]
    assert [row["final_loss"] for row in written][1] == ""


def test_the_lanes_of_a_network_have_the_validation_loss_that_they_are_ranked_by(made):
    own = pd.read_parquet(path_of(made, "network") / "evaluation")
    rows = records(exported(made, "network", "--table", "lanes", "--format", "json"))
    validated = own[own["split"] == "validation"].set_index("lane")["loss"]
    assert {row["criterion"] for row in rows} == {"validation_loss"}
    assert {row["lane"]: row["score"] for row in rows} == validated.to_dict()


def test_the_evaluations_by_lane(made):
    path = path_of(made, "network")
    own = pd.read_parquet(path / "evaluation")
    rows = records(exported(made, "network", "--table", "evaluation", "--format", "json"))
    assert list(rows[0])[-5:] == list(own.columns)
    key = ["lane", "iteration", "split"]
    found = {tuple(row[name] for name in key): (row["loss"], row["error"]) for row in rows}
    expected = own.set_index(key)[["loss", "error"]]
    assert found == {at: tuple(values) for at, *values in expected.itertuples()}
    assert [row["lane"] for row in rows] == sorted(row["lane"] for row in rows)
    assert {(row["lane"], row["seed"]) for row in rows} == {(0, 0), (1, 1)}


def test_the_summary_is_that_of_show(made):
    shown = optbench("show", "network", "sweep", "--format", "csv", cwd=made).out
    rows, other = cells(exported(made, "network", "sweep", "--table", "summary")), cells(shown)
    assert rows == other
    assert next(iter(rows[0])) == "run"


def test_several_runs_make_one_table(made):
    rows = cells(exported(made, "network", "sweep"))
    names = [path_of(made, name).name for name in ("network", "sweep")]
    counts = [len(trace(path_of(made, name))) for name in ("network", "sweep")]
    assert [row["run"] for row in rows] == [names[0]] * counts[0] + [names[1]] * counts[1]
    assert {row["problem"] for row in rows[: counts[0]]} == {"mnist-mlp"}
    assert {row["x"] for row in rows[: counts[0]]} == {""}, "a network has no position"
    assert rows[counts[0]]["x"] == "-7.0"
    assert [row["lane"] for row in rows[: counts[0] : 3]] == ["0", "1"]
    for row in rows[counts[0] :]:
        assert row["label"] == lanes(path_of(made, "sweep"))["label"][int(row["lane"])]


def test_a_run_is_written_once_however_often_it_is_named(made):
    path = path_of(made, "sweep")
    assert exported(made, "sweep", path, path.name, "latest") == exported(made, "sweep")


def test_runs_of_the_same_name_are_told_apart(made, tmp_path):
    path = path_of(made, "sweep")
    shutil.copytree(path, tmp_path / path.name)
    rows = cells(exported(made, "sweep", tmp_path / path.name, "--table", "lanes"))
    assert {row["run"] for row in rows} == {str(path.relative_to(made)), str(tmp_path / path.name)}


def test_a_hyperparameter_that_is_a_number_here_and_a_word_there(made, tmp_path):
    path = tmp_path / "results" / "words"
    shutil.copytree(path_of(made, "sweep"), path)
    lanes(path).assign(hp_eps="tiny").to_parquet(path / "lanes.parquet")
    both = (path_of(made, "sweep"), path)
    rows = parquet(tmp_path, tmp_path, *both, "--table", "lanes")
    assert set(rows["hp_eps"].dropna()) == {"1e-07", "tiny"}
    assert rows["hp_eps"].isna().sum() == 3
    assert set(parquet(tmp_path, tmp_path, *both, "--force")["hp_eps"].dropna()) == {
        "1e-07",
        "tiny",
    }


def test_columns_of_a_later_optbench_are_written_too(made, tmp_path):
    path = tmp_path / "results" / "later"
    shutil.copytree(path_of(made, "sweep"), path)
    lanes(path).assign(novelty="new").to_parquet(path / "lanes.parquet")
    (row, *_) = records(exported(tmp_path, "later", "--table", "lanes", "--format", "json"))
    assert row["novelty"] == "new"


def test_a_trace_without_its_lanes_is_damaged(made, tmp_path):
    path = tmp_path / "results" / "damaged"
    shutil.copytree(path_of(made, "sweep"), path)
    lanes(path).iloc[1:].to_parquet(path / "lanes.parquet")
    message = optbench("export", cwd=tmp_path).message
    assert message == "'results/damaged' is damaged: its trace and lanes.parquet do not agree"
    twice = lanes(path_of(made, "sweep"))
    pd.concat([twice, twice]).to_parquet(path / "lanes.parquet")
    assert "lanes.parquet' is damaged: it holds lane 0 twice" in (
        optbench("export", cwd=tmp_path).message
    )


@pytest.mark.parametrize(("form", "text"), [("csv", 1), ("json", "[]\n")])
def test_a_table_without_rows_is_valid_and_said(made, form, text):
    seen = optbench("export", "sweep", "--table", "evaluation", "--format", form, cwd=made)
    assert (seen.code, seen.err) == (0, "note: the evaluation of these runs holds no rows\n")
    assert text in (seen.out, len(seen.out.splitlines()))


# How numbers and words are written.

EXTREMES = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1 / 3, 1e16, 1e22]


@pytest.fixture(scope="module")
def odd(made, tmp_path_factory):
    """A run with 50,000 rows: losses of all magnitudes, NaN and infinities, and a wild label."""
    cwd = tmp_path_factory.mktemp("odd")
    path = cwd / "results" / "odd"
    shutil.copytree(path_of(made, "sweep"), path)
    shutil.rmtree(path / "trace")
    (path / "trace").mkdir()
    loss = np.frombuffer(np.random.default_rng(1).bytes(8 * 50_000)).copy()
    loss[: len(EXTREMES)] = EXTREMES
    loss[-3:] = [np.nan, np.inf, -np.inf]
    rows = {"lane": np.int32(0), "iteration": np.arange(50_000, dtype=np.int32), "loss": loss}
    pd.DataFrame(rows).to_parquet(path / "trace" / "block-00000.parquet")
    lanes(path).assign(label='Adam, "β₁" | ½\n').to_parquet(path / "lanes.parquet")
    return cwd


def bits_of(value):
    return struct.pack("<d", float(value))


def test_csv_reads_back_bit_for_bit_and_nan_is_empty(odd):
    loss = trace(odd / "results" / "odd")["loss"]
    found = cells(exported(odd))
    assert len(found) == 50_000
    assert found[-3]["loss"] == ""
    for value, row in zip(loss, found, strict=True):
        assert math.isnan(value) or bits_of(row["loss"]) == bits_of(value)
    assert {row["label"] for row in found} == {'Adam, "β₁" | ½\\n'}


def test_json_reads_back_bit_for_bit_and_what_is_not_finite_is_null(odd):
    loss = trace(odd / "results" / "odd")["loss"]
    found = records(exported(odd, "--format", "json"))
    assert [row["loss"] for row in found[-3:]] == [None] * 3
    for value, row in zip(loss, found, strict=True):
        assert (row["loss"] is None) != math.isfinite(value)
        assert row["loss"] is None or bits_of(row["loss"]) == bits_of(value)
    assert {row["label"] for row in found} == {'Adam, "β₁" | ½\\n'}


def test_parquet_reads_back_with_plain_types(odd, tmp_path):
    import pyarrow.parquet as pq

    loss, found = trace(odd / "results" / "odd")["loss"], parquet(odd, tmp_path)
    np.testing.assert_array_equal(found["loss"].to_numpy(), loss.to_numpy())
    kinds = {each.name: str(each.type) for each in pq.read_schema(tmp_path / "table.parquet")}
    expected = dict.fromkeys(("run", "problem", "optimizer", "label", "status"), "string")
    expected |= {"seed": "int64", "hp_lr": "double", "loss": "double", "hp_eps_place": "string"}
    expected |= {"lane": "int32", "iteration": "int32"}
    assert {name: kinds[name] for name in expected} == expected


def test_parquet_has_null_for_what_is_missing(made, tmp_path):
    import pyarrow.parquet as pq

    exported(made, "sweep", "--table", "lanes", "-O", tmp_path / "lanes.parquet")
    table = pq.read_table(tmp_path / "lanes.parquet")
    assert table["diverged_at"].to_pylist() == [None, 1, None, None, None]
    assert str(table.schema.field("diverged_at").type) == "int32"
    assert table["final_loss"].null_count == 1


# Where it goes.


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_file_says_its_format_and_its_path_is_printed(made, tmp_path, form):
    file = tmp_path / f"a.table.{form.upper()}"
    assert exported(made, "sweep", "-O", file) == f"{file}\n"
    assert {each.name for each in tmp_path.iterdir()} == {file.name}
    if form == "parquet":
        assert len(pd.read_parquet(file)) == len(trace(path_of(made, "sweep")))
    else:
        assert file.read_text("utf-8") == exported(made, "sweep", "--format", form)


def test_a_file_of_any_name_where_the_format_is_given_in_a_folder_that_is_made(made, tmp_path):
    exported(made, "sweep", "--format", "json", "-O", tmp_path / "new" / "rows.txt")
    assert records((tmp_path / "new" / "rows.txt").read_text("utf-8"))


def test_a_file_is_overwritten_only_by_force(made, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("mine")
    message = optbench("export", "sweep", "-O", file, cwd=made).message
    assert message == f"'{file}' already exists; give --force, or another name"
    assert file.read_text() == "mine"
    exported(made, "sweep", "-O", file, "--force")
    assert file.read_text("utf-8") == exported(made, "sweep")


def test_by_force_a_link_stays_and_what_it_names_is_written(made, tmp_path):
    (tmp_path / "real.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to("real.csv")
    exported(made, "sweep", "-O", tmp_path / "link.csv", "--force")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text("utf-8") == exported(made, "sweep")


def test_a_file_is_whole_or_not_there(made, tmp_path, monkeypatch):
    def pieces(rows, form):
        yield b"half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optbench.report.export.pieces", pieces)
    (tmp_path / "old.csv").write_text("mine")
    for name in ("old.csv", "new.csv"):
        message = optbench("export", "-O", tmp_path / name, "--force", cwd=made).message
        assert message == (
            f"cannot write results to '{tmp_path / name}': No space left on device; "
            "free it or choose another name"
        )
    assert {each.name for each in tmp_path.iterdir()} == {"old.csv"}
    assert (tmp_path / "old.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--format|", "unknown format ''; known are csv, json, parquet"),
        ("--format|jsn", "unknown format 'jsn'; did you mean 'json'?"),
        ("--format|CSV", "did you mean 'csv'?"),
        ("--table|", "unknown table ''; known are trace, lanes, evaluation, summary"),
        ("--table|lane", "unknown table 'lane'; did you mean 'lanes'?"),
        (
            "-O|rows.txt",
            "the suffix of 'rows.txt' names no format; give --format (csv|json|parquet)",
        ),
        ("-O|rows", "the suffix of 'rows' names no format"),
        ("-O|", "it is empty; write . for this folder"),
        ("-O|rows.csv|--format|json", "'rows.csv' contradicts --format json; leave one out"),
        ("-O|file/rows.csv", "cannot write results to 'file/rows.csv': "),
        ("-O|results|--format|csv|--force", "'results' exists and is not a file"),
        ("-O|dangling.csv|--force", "'dangling.csv' exists and is not a file"),
        ("-O|/dev/null|--format|csv|--force", "'/dev/null' exists and is not a file"),
        (f"-O|{'o' * 300}.csv", "File name too long"),
        ("--force", "--force belongs to --output; give both"),
        ("nope", "there is no run 'nope'"),
        ("--out|nowhere", "there are no runs under 'nowhere'"),
    ],
)
def test_what_cannot_be_meant(made, tmp_path, arguments, says):
    shutil.copytree(made / "results", tmp_path / "results")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling.csv").symlink_to("nowhere-else")
    before = sorted(tmp_path.rglob("*"))
    assert says in optbench("export", *arguments.split("|"), cwd=tmp_path).message
    assert sorted(tmp_path.rglob("*")) == before
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# Pipes and terminals.


def piped(cwd, *arguments, then):
    """Run ``optbench export ARGUMENTS | THEN``; return both exit codes, stdout and stderr."""
    command = [sys.executable, "-m", "optbench", "export", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        reader = subprocess.run(
            [sys.executable, "-c", then], stdin=writer.stdout, capture_output=True, timeout=60
        )
        writer.stdout.close()
        said = writer.stderr.read().decode()
    return writer.returncode, reader.returncode, reader.stdout, said


ALL = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
HEAD = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.readline())"
NONE = "import sys; sys.stdin.close()"


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_pipe_gets_what_a_file_gets(odd, tmp_path, form):
    exported(odd, "-O", tmp_path / f"a.{form}")
    code, _, out, said = piped(odd, "--format", form, then=ALL)
    assert (code, said) == (0, "")
    assert out == (tmp_path / f"a.{form}").read_bytes()


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize("then", [HEAD, NONE], ids=["head", "none"])
def test_a_pipe_that_is_closed_early_is_no_fault(odd, form, then):
    """The table has megabytes, more than a pipe takes up before it is closed."""
    assert piped(odd, "--format", form, then=then)[::3] == (0, "")


def test_text_is_utf_8_whatever_the_terminal_speaks(odd):
    command = [sys.executable, "-m", "optbench", "export", "--table", "lanes", "--format", "json"]
    done = subprocess.run(
        command, cwd=odd, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert "β₁" in done.stdout.decode("utf-8")
    assert records(done.stdout)


@pytest.mark.parametrize(("form", "code"), [("parquet", 2), ("csv", 0)])
def test_parquet_is_not_written_to_a_terminal(made, form, code):
    hint = "error: a terminal cannot show parquet; give --output FILE, or --format csv\n"
    seen = in_terminal("export", "--table", "lanes", "--format", form, cwd=made)
    assert (seen[0], seen[2] == hint) == (code, code == 2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_output_that_finds_no_space_is_one_line(made, form):
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "optbench", "export", "--format", form]
        done = subprocess.run(command, cwd=made, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: no space is left where the output goes; free some\n"


def test_a_run_that_goes_on_shows_what_there_is(made, tmp_path):
    path = tmp_path / "results" / "killed"
    shutil.copytree(path_of(made, "sweep"), path)
    shutil.rmtree(path / "trace")
    (path / "run.json").write_text(json.dumps(meta(path) | {"status": "running"}))
    seen = optbench("export", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "note: the trace of these runs holds no rows\n")
    assert len(cells(exported(tmp_path, "--table", "lanes"))) == 5
