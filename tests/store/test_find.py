"""What a RUN argument means."""

import json
import os
import shutil
from pathlib import Path

import pytest

from optbench.errors import ResultsError
from optbench.store.find import STUDY, find_entries, find_runs, find_study, list_rounds, list_runs
from optbench.store.lock import locked
from tests.studies import NAME, make_study

A, B, C, D = (
    "a-20260101T000000Z-aa",
    "b-20260102T000000Z-bb",
    "a-20260103T000000Z-cc",
    "b-20260103T000005Z-dd",
)


def make(out, name, started, invocation="i", age=0.0):
    """Write the least that is a run; ``age`` shifts the time of its file."""
    path = out / name
    path.mkdir(parents=True, exist_ok=True)
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
    how = f"(see: optbench list runs --out {out})"
    make(out, "valley-20260101T000000Z-ee", "2026-01-01T00:00:00.000+00:00", age=10)
    for wanted, answer in [
        ("b-20260102T000000Z-bc", f"did you mean '{B}', '{C}' or '{D}'?"),
        ("valey", "did you mean 'valley-20260101T000000Z-ee'?"),
        ("x", f"the newest are valley-20260101T000000Z-ee, {D} and {C}"),
        ("", f"the newest are valley-20260101T000000Z-ee, {D} and {C}"),
    ]:
        message = f"there is no run '{wanted}' under '{out}'; {answer} {how}"
        assert refused([wanted], out) == message


def test_of_runs_that_are_equally_near_the_newest_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in range(1, 6):
        make(Path("results"), f"valley-2026010{day}", "2026", age=-day)
    message = refused(["vally"], Path("results"))
    three = "'valley-20260105', 'valley-20260104' or 'valley-20260103'"
    assert message.endswith(f"; did you mean {three}? (see: optbench list runs)")


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


# Studies.

SECOND = "other-tune-20260102T120000Z-0123abce"


def test_a_study_means_its_final_run(out, tmp_path, monkeypatch):
    """However it is named; its rounds are named by their paths."""
    study = make_study(out, "search-000", "final")
    for argument in ("latest", NAME, "small", str(study), f"{study}/tune.json", f"{NAME}/final"):
        assert find_runs([argument], out) == [study / "final"]
    assert find_runs([], out) == [study / "final"], "it is an invocation by itself"
    assert find_runs([NAME, str(study / "final"), D], out) == [study / "final", out / D]
    assert find_runs([f"{NAME}/search-000"], out) == [study / "search-000"]
    assert find_runs([str(study / "search-000")], tmp_path) == [study / "search-000"]
    assert find_runs(["search"], study) == [study / "search-000"]
    assert find_entries([NAME, D], out) == [study, out / D]
    assert find_entries([], out) == [study]
    assert study in list_runs(out)
    monkeypatch.chdir(out)
    assert find_runs([NAME], tmp_path) == [study.relative_to(out) / "final"]


def test_a_study_that_was_started_earlier_is_not_the_latest(out):
    study = make_study(out, "final", name=SECOND, started="2026-01-02T12:00:00.000+00:00")
    assert names(["latest"], out) == [D]
    assert names([], out) == [C, D]
    assert find_runs(["other"], out) == [study / "final"]


def test_a_study_whose_final_has_not_begun_says_its_state_and_how_to_go_on(out):
    study = make_study(out, "search-000", "search-001", status="running")
    os.utime(study / "search-000" / "run.json", (1e9, 1e9))
    lacks = "and has no final run yet"
    named = f"its rounds can be named, as {study}/search-001"
    command = f"optbench tune --resume {study}"
    for argument in ("latest", NAME):
        assert refused([argument], out) == (
            f"study '{study}' is interrupted {lacks}; go on with: {command}; {named}"
        )
    with locked(study):
        assert refused([], out) == f"study '{study}' is running {lacks}; wait for it; {named}"
    make_study(out, name=SECOND, status="failed")
    assert refused([SECOND], out) == f"study '{out / SECOND}' is failed {lacks}"


def test_a_damaged_study_is_in_nobodys_way_but_said_where_it_is_named(out):
    study = make_study(out, "search-000")
    (study / "tune.json").write_text("{", encoding="utf-8")
    assert names(["latest"], out) == [D]
    assert study in list_runs(out)
    assert refused([NAME], out).startswith(f"'{study / 'tune.json'}' cannot be read: ")


def test_a_study_itself_is_found(out):
    for argument in ("latest", "", "a"):
        with pytest.raises(ResultsError, match=r"optbench tune$"):
            find_study(argument, out)
    first = make_study(out, name=SECOND, started="2026-01-02T12:00:00.000+00:00")
    study = make_study(out)
    for argument in ("latest", NAME, "s", str(study), f"{study}/tune.json"):
        assert find_study(argument, out) == study
    assert find_study("other", out) == first
    assert sorted(list_runs(out, STUDY)) == sorted([first, study])
    for run in (D, f"{NAME}/search-000"):
        make(out, run, "2026")
        message = f"'{out / run}' is a run, not a study; see optbench tune"
        with pytest.raises(ResultsError) as caught:
            find_study(run, out)
        assert str(caught.value) == message
    third = make_study(out, name="small-tune-2")
    with pytest.raises(ResultsError, match=r"'small' means 2 studies: .*; write more of it"):
        find_study("small", out)
    with pytest.raises(ResultsError, match=f"there is no study 'smal-tune-2' .*{third.name}"):
        find_study("smal-tune-2", out)


def test_rounds_are_listed_among_runs_where_that_is_asked_for(out):
    study = make_study(out, "search-000", "final")
    for age, name in enumerate(("search-000", "final")):
        os.utime(study / name / "run.json", (1e9 - 35 + age, 1e9 - 35 + age))
    found = [path.relative_to(out).as_posix() for path in list_rounds(out)]
    assert found == [A, B, f"{NAME}/search-000", f"{NAME}/final", C, D]
