"""Runs are read back whole; what is damaged, foreign or newer is named in one line."""

import json
import os
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optbench.errors import ResultsError
from optbench.records import SCHEMA_VERSION, TRACE_COLUMNS
from optbench.store import reader
from optbench.store.files import write_json, write_parquet
from optbench.store.reader import read_meta, read_run, read_table


def refused(path) -> str:
    with pytest.raises(ResultsError) as caught:
        read_run(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def path(copy):
    """A copy of the run, to be damaged."""
    return copy()


def change_meta(path, **changes) -> None:
    file = path / "run.json"
    meta = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**meta, **changes}), encoding="utf-8")


def change_table(file, change):
    """Write a table again as ``change`` makes it."""
    pq.write_table(change(pq.read_table(file)), file)


def with_version(number):
    """Return what gives a table another version of its schema."""
    return lambda table: table.replace_schema_metadata(
        {**table.schema.metadata, b"optbench.schema_version": number}
    )


def test_a_run_is_read_whole(finished):
    tables = read_run(finished)
    assert tables.path == finished
    assert tables.meta == json.loads((finished / "run.json").read_text("utf-8"))
    pd.testing.assert_frame_equal(tables.lanes, pd.read_parquet(finished / "lanes.parquet"))
    for name in ("trace", "evaluation", "surface"):
        pd.testing.assert_frame_equal(getattr(tables, name), pd.read_parquet(finished / name))


@pytest.mark.parametrize("folder", ["trace", "evaluation", "surface"])
def test_a_table_that_is_not_there_is_empty_with_its_columns(folder, path):
    usual = getattr(read_run(path), folder)
    shutil.rmtree(path / folder)
    table = getattr(read_run(path), folder)
    assert table.empty
    assert set(table.columns) <= set(usual.columns)
    for name in table.columns:
        kinds = {table[name].dtype, usual[name].dtype}
        assert len(kinds) == 1 or all(pd.api.types.is_string_dtype(kind) for kind in kinds)


def test_columns_keys_and_files_that_nobody_knows_are_no_hindrance(path, finished):
    change_meta(path, mood="fine")
    mood = pa.array(["fine"] * 18)
    change_table(path / "lanes.parquet", lambda table: table.append_column("mood", mood))
    (path / "notes.txt").write_text("mine", encoding="utf-8")
    (path / "trace" / "notes.txt").write_text("mine", encoding="utf-8")
    (path / "trace" / ".block-00009.parquet.part").write_bytes(b"PAR1 half")  # by a killed process
    tables = read_run(path)
    assert len(tables.lanes) == 18
    assert len(tables.trace) == len(pd.read_parquet(finished / "trace"))


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_what_is_no_run_is_told_so(make, tmp_path):
    path = tmp_path / "nothing"
    make(path)
    assert refused(path) == f"'{path}' is not a run: it holds no run.json"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 1', b"[" * 100_000]
)
def test_a_run_json_that_cannot_be_read_is_named(content, path):
    (path / "run.json").write_bytes(content)
    assert refused(path).startswith(f"'{path / 'run.json'}' cannot be read: ")


@pytest.mark.parametrize(
    "meta", [{}, [], 3, None, "text", {"schema_version": None}, {"schema_version": "1"}]
)
def test_another_json_was_not_written_by_optbench(meta, path):
    (path / "run.json").write_text(json.dumps(meta), encoding="utf-8")
    expected = f"'{path / 'run.json'}' was not written by optbench: it has no schema_version"
    assert refused(path) == expected


def test_a_newer_schema_asks_for_a_newer_optbench(path):
    change_meta(path, schema_version=SCHEMA_VERSION + 1)
    message = refused(path)
    versions = (
        f"has schema_version {SCHEMA_VERSION + 1}, this optbench reads up to {SCHEMA_VERSION}"
    )
    assert f"{versions}; install a newer optbench" in message
    with pytest.raises(ResultsError):
        read_meta(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 3},
        {"started": None},
        {"problems": {}},
        {"problems": [{"problem": "a", "kind": "riddle"}]},
        {"suite": {}},
    ],
)
def test_a_run_json_that_lacks_what_readers_need_is_damaged(changes, path):
    change_meta(path, **changes)
    (name,) = changes
    assert refused(path).startswith(f"'{path / 'run.json'}' is damaged: {name}")


def test_minima_and_domain_have_to_fit_the_variables(path):
    problems = read_meta(path)["problems"]
    problems[1]["minima"][0]["position"] = [0.0]
    change_meta(path, problems=problems)
    assert "minima or domain do not fit 2 variables" in refused(path)


@pytest.mark.parametrize(
    "changes", [{"alone_seconds": {"sgd": 0.0}}, {"alone_seconds": [1.0]}, {"variant_of": 1}]
)
def test_times_alone_and_variants_have_to_be_what_readers_compute_with(changes, path):
    problems = read_meta(path)["problems"]
    problems[0] |= changes
    change_meta(path, problems=problems)
    assert next(iter(changes)) in refused(path)


def test_lanes_without_a_row_are_damaged(path):
    file = path / "lanes.parquet"
    change_table(file, lambda table: table.slice(0, 0))
    assert refused(path) == f"'{file}' is damaged: it holds no lanes"


def test_a_row_without_its_lane_is_damaged(path):
    def gap(table):
        lanes = pa.array([None, *table.column("lane").to_pylist()[1:]], type=pa.int32())
        return table.set_column(0, "lane", lanes)

    change_table(path / "trace" / "block-00000.parquet", gap)
    assert "column 'lane' has gaps" in refused(path)


def test_tables_of_a_folder_that_contradict_each_other_are_damaged(path):
    for number, kind in enumerate([pa.int32(), pa.string()]):

        def more(table, kind=kind):
            return table.append_column("mood", pa.array([None] * table.num_rows, type=kind))

        change_table(path / "trace" / f"block-0000{number}.parquet", more)
    assert refused(path).startswith(f"'{path / 'trace'}' is missing or damaged: ")


def test_lanes_that_are_missing_are_named(path):
    (path / "lanes.parquet").unlink()
    message = refused(path)
    assert str(path / "lanes.parquet") in message
    assert "missing or damaged" in message


FILES = [
    "lanes.parquet",
    "trace/block-00000.parquet",
    "evaluation/block-00000.parquet",
    "surface/problem-00000.parquet",
]


def garble(file):
    content = bytearray(file.read_bytes())
    content[-200:-100] = b"\0" * 100
    file.write_bytes(content)


def turn_numbers_into_text(table):
    columns = [pa.array(["?"] * table.num_rows) for _ in table.column_names]
    return pa.table(columns, names=table.column_names)


DAMAGES = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "garbled": garble,
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("lane,loss\n0,1\n", encoding="utf-8"),
    "another table": lambda file: pq.write_table(pa.table({"some": [1], "else": ["a"]}), file),
    "text for numbers": lambda file: change_table(file, turn_numbers_into_text),
}


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_data_is_noticed(name, path):
    """The last byte of every page is changed: of each column's values, and of its dictionary."""
    file = path / name
    content = file.read_bytes()
    metadata = pq.read_metadata(file)
    for group, column in product(range(metadata.num_row_groups), range(metadata.num_columns)):
        chunk = metadata.row_group(group).column(column)
        first = chunk.dictionary_page_offset or chunk.data_page_offset
        for end in {chunk.data_page_offset, first + chunk.total_compressed_size} - {first}:
            damaged = bytearray(content)
            damaged[end - 1] ^= 1
            file.write_bytes(damaged)
            assert f"'{file}' is missing or damaged: " in refused(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_foreign_table_is_named(name, damage, path):
    damage(path / name)
    assert str(path / name) in refused(path)


def test_tables_that_were_written_by_others_in_wider_types_are_read(path, finished):
    """DuckDB or Polars may write a table again with other widths."""
    change_table(
        path / "trace" / "block-00000.parquet",
        lambda table: table.set_column(0, "lane", table.column("lane").cast(pa.int64())),
    )
    trace = read_run(path).trace
    assert np.issubdtype(trace["lane"].dtype, np.integer)
    pd.testing.assert_series_equal(trace["loss"], pd.read_parquet(finished / "trace")["loss"])


def test_a_table_of_a_later_schema_is_refused_and_one_of_the_version_before_is_read(path):
    change_table(path / "lanes.parquet", with_version(b"99"))
    message = f"lanes.parquet' has schema_version 99, this optbench reads up to {SCHEMA_VERSION}"
    assert message in refused(path)
    change_meta(path, schema_version=1)
    change_table(path / "lanes.parquet", with_version(b"1"))
    assert read_run(path).meta["schema_version"] == 1


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("trace/block-00001.parquet", "trace' is damaged: it holds lane {}, iteration {} twice"),
        (
            "evaluation/block-00000.parquet",
            "evaluation' is damaged: it holds lane {}, iteration {}, split {} twice",
        ),
        ("lanes.parquet", "lanes.parquet' is damaged: it holds lane {} twice"),
    ],
)
def test_what_is_there_twice_is_told(table, says, path):
    file = path / table
    rows = pd.read_parquet(file)
    first = [rows[key].iloc[0] for key in ("lane", "iteration", "split") if key in rows]
    if file.parent == path:
        change_table(file, lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]))
    else:
        shutil.copy(file, file.with_name("block-00099.parquet"))
    assert refused(path) == f"'{path}/{says.format(*first)}"


# What somebody else may have written.


def test_names_are_shown_as_they_are_and_do_nothing_else(path):
    evil, long = "\x1b[31m red\n\x9b", "l" * 100_000
    shown, cut = "\\x1b[31m red\\n\\x9b", f"{'l' * 254}…"
    meta = json.loads((path / "run.json").read_text("utf-8"))
    problems = {entry["problem"]: entry for entry in meta["problems"]}
    name, variables = next((n, e["variables"]) for n, e in problems.items() if "variables" in e)
    problems[name] |= {"problem": evil, "variables": [evil] * len(variables)}
    change_meta(path, problems=meta["problems"], suite=meta["suite"] | {"name": long})
    table = pd.read_parquet(path / "lanes.parquet")
    table = table.assign(**{"hp_\x1b": 1.0}, label=table["label"].replace("adam", long))
    table["problem"] = table["problem"].replace(name, evil)
    table.to_parquet(path / "lanes.parquet")
    tables = read_run(path)
    assert tables.meta["suite"]["name"] == cut
    assert tables.meta["problems"][list(problems).index(name)]["variables"] == [shown] * len(
        variables
    )
    assert shown in set(tables.lanes["problem"]) & {e["problem"] for e in tables.meta["problems"]}
    assert set(tables.lanes["label"]) == {"sgd", cut}
    assert "hp_\\x1b" in tables.lanes


@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"lane": pa.repeat(pa.scalar(0, pa.int32()), 10**6)}),
        pa.table({"note": pa.repeat("x" * 10**4, 10**3)}),
    ],
    ids=["rows", "words"],
)
def test_a_small_file_that_would_unfold_beyond_measure_is_refused(path, rows, monkeypatch):
    monkeypatch.setattr(reader, "SMALL_VALUES", 10**4)
    monkeypatch.setattr(reader, "SMALL_BYTES", 10**6)
    file = path / "trace" / "block-00000.parquet"
    pq.write_table(rows, file, compression="zstd", use_dictionary=["lane"])
    assert file.stat().st_size < 10**5
    assert " rows in " in refused(path)


def test_lists_that_would_unfold_beyond_measure_are_not_read(path):
    file = path / "trace" / "block-00000.parquet"
    rows = pq.read_table(file)
    lists = pa.array([[None] * 10**7] + [None] * (len(rows) - 1), pa.list_(pa.int8()))
    pq.write_table(rows.append_column("lists", lists), file, use_dictionary=["lists"])
    assert "lists" not in read_run(path).trace


def test_losses_that_are_all_the_same_are_not_beyond_measure(tmp_path):
    count = 2 * 10**6
    columns = {
        "lane": np.zeros(count, np.int32),
        "iteration": np.arange(count, dtype=np.int32),
        "loss": np.zeros(count),
    }
    file = tmp_path / "block-00000.parquet"
    write_parquet(file, TRACE_COLUMNS, [columns])
    assert len(read_table([file], TRACE_COLUMNS)) == count


def test_a_folder_whose_name_is_no_text_is_written_and_read(tmp_path, finished):
    place = tmp_path / os.fsdecode(b"r\xffs")
    shutil.copytree(finished, place)
    write_parquet(place / "more.parquet", {"lane": "int32"}, [{"lane": [1]}])
    assert read_table([place / "more.parquet"], {"lane": "int32"})["lane"].tolist() == [1]
    write_json(place / "mood.json", {"mood": str(place)})
    assert json.loads((place / "mood.json").read_text("utf-8")) == {"mood": str(place)}
    pd.testing.assert_frame_equal(read_run(place).trace, read_run(finished).trace)
