"""What a RUN argument means."""

import json
import os
import shutil

import pytest

from optbench.errors import ResultsError
from optbench.store.find import find_runs, list_runs

A, B, C, D = (
    "a-20260101T000000Z-aa",
    "b-20260102T000000Z-bb",
    "a-20260103T000000Z-cc",
    "b-20260103T000005Z-dd",
)


def make(out, name, started, invocation="i", age=0.0):
    """Write the least that is a run; ``age`` shifts the time of its file."""
    path = out / name
    path.mkdir(parents=True)
    meta = {"schema_version": 1, "started": started, "invocation_id": invocation}
    file = path / "run.json"
    file.write_text(json.dumps(meta), encoding="utf-8")
    os.utime(file, (1e9 - age, 1e9 - age))
    return path


@pytest.fixture
def out(tmp_path):
    """Three invocations; the second run of the last one was started after the first."""
    out = tmp_path / "results"
    make(out, A, "2026-01-01T00:00:00.000+00:00", "one", age=50)
    make(out, B, "2026-01-02T00:00:00.000+00:00", "two", age=40)
    make(out, C, "2026-01-03T00:00:00.000+00:00", "three", age=30)
    make(out, D, "2026-01-03T00:00:05.000+00:00", "three", age=20)
    return out


def names(arguments, out):
    return [path.name for path in find_runs(arguments, out)]


def refused(arguments, out) -> str:
    with pytest.raises(ResultsError) as caught:
        find_runs(arguments, out)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], [C, D]),  # the whole latest invocation
        (["latest"], [D]),  # the run started last
        ([B], [B]),
        (["b-20260102"], [B]),
        (["b-20260102T000000Z"], [B]),
        (["b-20260102", "a-20260101", B], [B, A]),  # in their order, and once
    ],
)
def test_what_arguments_mean(out, arguments, found):
    assert find_runs(arguments, out) == [out / name for name in found]


def test_what_counts_is_the_start_and_not_the_time_of_files(out):
    os.utime(out / A / "run.json")
    assert names(["latest"], out) == [D]


@pytest.mark.parametrize("inside", [False, True])
def test_a_path_is_itself_wherever_it_lies(out, tmp_path, inside, monkeypatch):
    path = shutil.copytree(out / A, tmp_path / "elsewhere")
    argument = f"{path}/run.json" if inside else str(path)
    assert find_runs([argument], out) == [path]
    monkeypatch.chdir(tmp_path)
    assert names(["elsewhere"], out) == ["elsewhere"]


def test_a_whole_name_counts_before_the_prefix_of_another(out):
    make(out, f"{B}-copy", "2026-01-01T00:00:00.000+00:00")
    assert names([B], out) == [B]


def test_a_prefix_of_several_runs_names_them(out):
    assert refused(["a-"], out) == f"'a-' means 2 runs: {A}, {C}; write more of it"
    for day in range(4, 8):
        make(out, f"a-2026010{day}T000000Z-ee", "2026-01-01T00:00:00.000+00:00")
    assert "means 6 runs: " in refused(["a-"], out)
    assert ", …; write more of it" in refused(["a-"], out)


def test_what_is_not_there_is_refused_with_the_nearest(out):
    message = refused(["b-20260102T000000Z-bc"], out)
    assert message.startswith(f"there is no run 'b-20260102T000000Z-bc' under '{out}'; ")
    assert message.endswith("did you mean 'b-20260102T000000Z-bb'?")
    assert refused([""], out).startswith(f"there is no run '' under '{out}'; known are ")


@pytest.mark.parametrize("exists", [False, True])
def test_where_no_run_is_it_says_how_to_make_one(tmp_path, exists):
    out = tmp_path / "results"
    if exists:
        out.mkdir()
    for arguments in ([], ["latest"], ["a"]):
        message = refused(arguments, out)
        assert str(out) in message
        assert "optbench run" in message


def test_other_folders_are_no_runs_and_a_damaged_run_is_in_nobodys_way_but_listed(out):
    (out / "baselines").mkdir()
    (out / "README.md").write_text("", encoding="utf-8")
    assert [path.name for path in list_runs(out)] == [A, B, C, D]
    damaged = make(out, "z", "2027", "four")
    (damaged / "run.json").write_text("{", encoding="utf-8")
    assert names(["latest"], out) == [D]
    assert names([], out) == [C, D]
    assert damaged in list_runs(out)
    assert find_runs(["z"], out) == [damaged]
