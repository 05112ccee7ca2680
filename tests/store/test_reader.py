"""Runs are read back whole; what is damaged, foreign or newer is named in one line."""

import json
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optbench.errors import ResultsError
from optbench.records import SCHEMA_VERSION
from optbench.store.reader import read_meta, read_run


def refused(path) -> str:
    with pytest.raises(ResultsError) as caught:
        read_run(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change_meta(path, **changes) -> None:
    file = path / "run.json"
    meta = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**meta, **changes}), encoding="utf-8")


def test_a_run_is_read_whole(finished):
    tables = read_run(finished)
    assert tables.path == finished
    assert tables.meta == json.loads((finished / "run.json").read_text("utf-8"))
    pd.testing.assert_frame_equal(tables.lanes, pd.read_parquet(finished / "lanes.parquet"))
    for name in ("trace", "evaluation", "surface"):
        pd.testing.assert_frame_equal(getattr(tables, name), pd.read_parquet(finished / name))


@pytest.mark.parametrize("folder", ["trace", "evaluation", "surface"])
def test_a_table_that_is_not_there_is_empty_with_its_columns(folder, copy):
    path = copy()
    usual = getattr(read_run(path), folder)
    shutil.rmtree(path / folder)
    table = getattr(read_run(path), folder)
    assert table.empty
    assert set(table.columns) <= set(usual.columns)
    for name in table.columns:
        kinds = {table[name].dtype, usual[name].dtype}
        assert len(kinds) == 1 or all(pd.api.types.is_string_dtype(kind) for kind in kinds)


def test_columns_and_keys_that_nobody_knows_are_no_hindrance(copy):
    path = copy()
    change_meta(path, mood="fine")
    table = pq.read_table(path / "lanes.parquet")
    more = table.append_column("mood", pa.array(["fine"] * table.num_rows))
    pq.write_table(more, path / "lanes.parquet")
    (path / "notes.txt").write_text("mine", encoding="utf-8")
    (path / "trace" / "notes.txt").write_text("mine", encoding="utf-8")
    tables = read_run(path)
    assert len(tables.lanes) == 18
    assert not tables.trace.empty


def test_a_part_that_a_killed_process_left_is_not_read(copy):
    path = copy()
    (path / "trace" / ".block-00009.parquet.part").write_bytes(b"PAR1 half")
    assert len(read_run(path).trace) == len(pd.read_parquet(copy("other") / "trace"))


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_what_is_no_run_is_told_so(make, tmp_path):
    path = tmp_path / "nothing"
    make(path)
    assert refused(path) == f"'{path}' is not a run: it holds no run.json"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 1', b"[" * 100_000]
)
def test_a_run_json_that_cannot_be_read_is_named(content, copy):
    path = copy()
    (path / "run.json").write_bytes(content)
    assert refused(path).startswith(f"'{path / 'run.json'}' cannot be read: ")


@pytest.mark.parametrize(
    "meta", [{}, [], 3, None, "text", {"schema_version": None}, {"schema_version": "1"}]
)
def test_another_json_was_not_written_by_optbench(meta, copy):
    path = copy()
    (path / "run.json").write_text(json.dumps(meta), encoding="utf-8")
    expected = f"'{path / 'run.json'}' was not written by optbench: it has no schema_version"
    assert refused(path) == expected


def test_a_newer_schema_asks_for_a_newer_optbench(copy):
    path = copy()
    change_meta(path, schema_version=SCHEMA_VERSION + 1)
    message = refused(path)
    assert "has schema_version 3, this optbench reads up to 2; install a newer optbench" in message
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
def test_a_run_json_that_lacks_what_readers_need_is_damaged(changes, copy):
    path = copy()
    change_meta(path, **changes)
    message = refused(path)
    assert message.startswith(f"'{path / 'run.json'}' is damaged: {next(iter(changes))}")


def test_minima_and_domain_have_to_fit_the_variables(copy):
    path = copy()
    problems = read_meta(path)["problems"]
    problems[1]["minima"][0]["position"] = [0.0]
    change_meta(path, problems=problems)
    assert "minima or domain do not fit 2 variables" in refused(path)


def test_lanes_without_a_row_are_damaged(copy):
    path = copy()
    file = path / "lanes.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    assert refused(path) == f"'{file}' is damaged: it holds no lanes"


def test_a_row_without_its_lane_is_damaged(copy):
    path = copy()
    file = path / "trace" / "block-00000.parquet"
    table = pq.read_table(file)
    gaps = pa.array([None, *table.column("lane").to_pylist()[1:]], type=pa.int32())
    pq.write_table(table.set_column(0, "lane", gaps), file)
    assert "column 'lane' has gaps" in refused(path)


def test_tables_of_a_folder_that_contradict_each_other_are_damaged(copy):
    path = copy()
    for number, kind in enumerate([pa.int32(), pa.string()]):
        file = path / "trace" / f"block-0000{number}.parquet"
        table = pq.read_table(file)
        column = pa.array([None] * table.num_rows, type=kind)
        pq.write_table(table.append_column("mood", column), file)
    assert refused(path).startswith(f"'{path / 'trace'}' is missing or damaged: ")


def test_lanes_that_are_missing_are_named(copy):
    path = copy()
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


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def garble(file):
    content = bytearray(file.read_bytes())
    content[-200:-100] = b"\0" * 100
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


def overwrite_by_text(file):
    file.write_text("lane,loss\n0,1\n", encoding="utf-8")


def overwrite_by_another_table(file):
    pq.write_table(pa.table({"something": [1, 2], "else": ["a", "b"]}), file)


def turn_numbers_into_text(file):
    table = pq.read_table(file)
    columns = [pa.array(["?"] * table.num_rows) for _ in table.column_names]
    pq.write_table(pa.table(columns, names=table.column_names), file)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_data_is_noticed(name, copy):
    """The last byte of every page is changed: of each column's values, and of its dictionary."""
    path = copy()
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
@pytest.mark.parametrize(
    "damage",
    [cut, garble, empty, overwrite_by_text, overwrite_by_another_table, turn_numbers_into_text],
)
def test_a_damaged_or_foreign_table_is_named(name, damage, copy):
    path = copy()
    damage(path / name)
    message = refused(path)
    assert str(path / name) in message


def test_tables_that_were_written_by_others_in_wider_types_are_read(copy):
    """DuckDB or Polars may write a table again with other widths."""
    path = copy()
    file = path / "trace" / "block-00000.parquet"
    table = pq.read_table(file)
    wider = table.set_column(0, "lane", table.column("lane").cast(pa.int64()))
    pq.write_table(wider, file)
    trace = read_run(path).trace
    assert np.issubdtype(trace["lane"].dtype, np.integer)
    pd.testing.assert_series_equal(trace["loss"], pd.read_parquet(copy("b") / "trace")["loss"])


def test_a_table_of_a_later_schema_is_refused_by_name(copy):
    path = copy()
    file = path / "lanes.parquet"
    table = pq.read_table(file)
    later = {**table.schema.metadata, b"optbench.schema_version": b"99"}
    pq.write_table(table.replace_schema_metadata(later), file)
    assert "lanes.parquet' has schema_version 99, this optbench reads up to 2" in refused(path)


def test_a_run_of_the_version_before_is_read(copy):
    path = copy()
    change_meta(path, schema_version=1)
    file = path / "lanes.parquet"
    table = pq.read_table(file)
    before = {**table.schema.metadata, b"optbench.schema_version": b"1"}
    pq.write_table(table.replace_schema_metadata(before), file)
    assert read_run(path).meta["schema_version"] == 1
