"""``optbench merge``: several runs as one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import optbench as api
from optbench.runs import merge as merging
from optbench.store import reader
from tests.cli.command import Seen, lanes, meta, optbench, run, suite, trace
from tests.cli.test_kept import FILES, HEAVY, write
from tests.cli.test_resume import interrupted
from tests.forget import forget  # noqa: F401

SPREAD = ("--problem", "booth", "--start-spread", 0.05, "--iterations", 6)

OWN = ("step_seconds", "gradient_seconds", "update_seconds", "block_lanes", "workers")
"""Columns of lanes that another company of lanes changes."""

SEVERAL = """
name = "several"
iterations = 12
evaluate_every = 5
seeds = 3
[[problem]]
name = "mnist-mlp"
data = "mnist-5k"
layers = ["dense 3", "dense 10"]
batch_size = 4
l2 = 0.01
adam.lr = 0.003
[[problem]]
name = "rosenbrock"
start_spread = 0.05
stop.loss = 20.0
[[optimizer]]
name = "sgd"
grid.lr = [0.0001, 0.001, 1e9]
schedule = "cosine"
[[optimizer]]
name = "adam"
[[optimizer]]
name = "momentum"
"""


def merge(*arguments: object, cwd: Path) -> Path:
    """Merge runs about which there is nothing to say, and return the new one."""
    seen = optbench("merge", *arguments, cwd=cwd)
    assert (seen.code, seen.err) == (0, ""), seen
    return seen.path


def refused(seen: Seen) -> list[str]:
    """Return the lines that say what differs."""
    first, *others = seen.err.splitlines()
    assert (seen.code, seen.out) == (2, ""), seen
    assert first.startswith("error: ")
    return [line.removeprefix("  ") for line in others]


def table(path: Path, name: str) -> pd.DataFrame:
    """Return a table of a run with its rows in the order of lanes."""
    rows = getattr(api.load(path), name)
    keys = [key for key in ("lane", "iteration", "split") if key in rows]
    return rows.sort_values(keys, ignore_index=True)


def assert_same(merged: Path, whole: Path) -> None:
    """See that a merged run has the lanes and rows of another, bit for bit."""
    for name in ("lanes", "trace", "evaluation"):
        one, other = table(merged, name), table(whole, name)
        if name == "lanes":
            one = one.drop(columns=[*OWN, "reused_from"])
            other = other.drop(columns=[*OWN])
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def repeated_keys(merged: Path, cwd: Path) -> list[str]:
    """Return the keys of the lanes that the merged run's suite makes."""
    return list(lanes(run(merged / "run.json", cwd=cwd))["lane_key"])


def change(path: Path, **changes: Any) -> None:
    """Change what a run.json says."""
    text = json.dumps({**meta(path), **changes})
    (path / "run.json").write_text(text, encoding="utf-8")


@pytest.fixture
def seeds(tmp_path: Path) -> tuple[Path, Path]:
    """Return two runs of other seeds, of a sweep among others."""
    return tuple(
        run(*SPREAD, "-o", "sgd", "-o", "adam", "--grid", "sgd.lr=0.01,0.02", "--seed", seed,
            "--name", name, cwd=tmp_path)
        for name, seed in (("a", "0-2"), ("b", "3,5"))
    )  # fmt: skip


def test_other_seeds_make_the_run_of_all_of_them(seeds, tmp_path):
    merged = merge("a", "b", cwd=tmp_path)
    whole = run(*SPREAD, "-o", "sgd", "-o", "adam", "--grid", "sgd.lr=0.01,0.02", "--seed",
                "0-3,5", cwd=tmp_path)  # fmt: skip
    assert_same(merged, whole)
    assert repeated_keys(merged, tmp_path) == list(lanes(merged)["lane_key"])
    said = meta(merged)
    assert (said["seeds"], said["status"], merged.name[:7]) == ([0, 1, 2, 3, 5], "done", "merged-")
    assert said["problems"] == meta(whole)["problems"]
    kinds = [pd.read_parquet(path / "lanes.parquet").dtypes for path in (merged, whole)]
    pd.testing.assert_series_equal(kinds[0].drop("reused_from"), kinds[1])


def test_other_optimizers_and_problems_make_the_run_of_all_of_them(tmp_path):
    name = suite(tmp_path, SEVERAL)
    parts = [
        run(name, *options, "--workers", 1, cwd=tmp_path)
        for options in (("-o", "sgd"), ("-o", "adam"), ("-o", "momentum"))
    ]
    merged = merge(*parts, cwd=tmp_path)
    whole = run(name, "--workers", 1, cwd=tmp_path)
    assert_same(merged, whole)
    assert repeated_keys(merged, tmp_path) == list(lanes(whole)["lane_key"])
    assert {*lanes(merged)["status"]} >= {"done", "diverged", "stopped"}
    assert "penalty" in trace(merged)


def test_settings_of_one_problem_only_stay_its_own(tmp_path):
    common = ("-o", "sgd", "-o", "adam", "--iterations", 4, "--start-spread", 0.05, "--seeds", 2)
    for problem, values in (("booth", "0.01,0.03"), ("matyas", "0.1")):
        run("--problem", problem, *common, "--grid", f"sgd.lr={values}", "--name", problem,
            cwd=tmp_path)  # fmt: skip
    merged = merge("booth", "matyas", cwd=tmp_path)
    assert len(lanes(merged)) == 10
    assert repeated_keys(merged, tmp_path) == list(lanes(merged)["lane_key"])


@pytest.mark.parametrize("kept", ["every:4", "none"])
def test_thinned_traces_are_merged_as_they_are(kept, tmp_path):
    for name, seed in (("a", "0-1"), ("b", "2"), ("whole", "0-2")):
        run(*SPREAD, "-o", "sgd", "--trace", kept, "--name", name, "--seed", seed, cwd=tmp_path)
    (whole,) = (tmp_path / "results").glob("whole-*")
    assert_same(merge("a", "b", cwd=tmp_path), whole)


def test_rows_are_copied_piece_by_piece(seeds, tmp_path, monkeypatch):
    at_once = table(merge("a", "b", cwd=tmp_path), "trace")
    monkeypatch.setattr(reader, "PIECE_ROWS", 4)
    monkeypatch.setattr(reader, "read_run", None)
    path = merging.merge([*map(str, seeds)], tmp_path / "results")
    monkeypatch.undo()
    pd.testing.assert_frame_equal(table(path, "trace"), at_once, check_exact=True)


def test_the_run_says_whose_lanes_it_has(seeds, tmp_path):
    change(seeds[1], environment={**meta(seeds[1])["environment"], "processor": "another"})
    seen = optbench("merge", "a", "b", "--name", "both", cwd=tmp_path)
    here = meta(seeds[0])["environment"]["processor"]
    assert f'processor: "{here}" in {seeds[0].name}, "another" in {seeds[1].name}' in seen.err
    said = meta(seen.path)
    assert said["suite"]["name"] == "both"
    assert [part["run"] for part in said["merged"]] == [path.name for path in seeds]
    assert [part["environment"]["processor"] for part in said["merged"]] == [here, "another"]
    assert "processor" not in said["environment"]
    assert said["calibration_seconds"] is None
    merged = lanes(seen.path)
    for part, path in zip(said["merged"], seeds, strict=True):
        own = merged[merged["lane"].isin(part["lanes"])]
        assert {*own["reused_from"]} == {path.name}
        assert {*own["seed"]} == {*lanes(path)["seed"]}


def test_every_command_reads_a_merged_run(seeds, tmp_path):
    merged = merge(*seeds, "--name", "both", cwd=tmp_path)
    for command in (
        *("show both", "compare both --choose-on 0", "list runs", "target both --choose-on 0"),
        *("export both --table trace", "plot both --kind loss", "pack both both.zip"),
        *("baseline save both", "check both --run both -q", "show both.zip"),
        *("check both -q --strict", "clean --keep 0 --yes"),
    ):
        seen = optbench(*command.split(), cwd=tmp_path)
        assert seen.code == 0, (command, seen)
        if command.startswith("show"):
            assert "5 of 5" in seen.out
    assert not merged.exists()


def test_a_merged_run_has_ended(seeds, tmp_path):
    merged = merge(*seeds, cwd=tmp_path)
    message = optbench("run", "--resume", merged, cwd=tmp_path).message
    assert "has ended (done): there is nothing to resume" in message
    again = run(merged / "run.json", "--reuse", cwd=tmp_path)
    assert {*lanes(again)["reused_from"]} == {merged.name}


def test_packs_are_merged_where_the_runs_are_not(seeds, tmp_path):
    away = tmp_path / "away"
    for name in "ab":
        assert optbench("pack", name, away / f"{name}.zip", cwd=tmp_path).code == 0
    here = merge("a", "b", cwd=tmp_path)
    merged = merge("a.zip", "b.zip", cwd=away)
    assert merged.parent == away / "results"
    for name in ("lanes", "trace"):
        pd.testing.assert_frame_equal(table(merged, name), table(here, name), check_exact=True)


def test_python_does_the_same(seeds, tmp_path):
    out = tmp_path / "results"
    merged = api.merge(seeds[0], "b", name="both", out=out)
    assert merged.meta["seeds"] == [0, 1, 2, 3, 5]
    packed = api.pack(merged.path, tmp_path / "both.zip")
    pd.testing.assert_frame_equal(api.load(packed).lanes, merged.lanes)
    with pytest.raises(api.UsageError, match="two runs or more"):
        api.merge("a", out=out)


# Code of plug-ins.


@pytest.mark.usefixtures("forget")
def test_code_that_the_runs_kept_goes_along(tmp_path):
    home = tmp_path / "home"
    write(home, FILES)
    one, other = (
        run("--problem", "bowl.py:bowl", "-o", rule, "--iterations", 4, "--name", name, cwd=home)
        for name, rule in (("a", "heavy.py:Heavy"), ("b", "adam"))
    )
    merged = merge(one, other, cwd=home)
    before = trace(merged)
    optbench("pack", merged, tmp_path / "both.zip", cwd=home)
    shutil.rmtree(home)
    message = optbench("run", "both.zip", "-q", cwd=tmp_path).message
    assert "--trust executes the copy" in message
    again = optbench("run", "both.zip", "--trust", "-q", cwd=tmp_path)
    assert again.code == 0
    pd.testing.assert_frame_equal(trace(again.path), before, check_exact=True)


@pytest.mark.usefixtures("forget")
def test_other_code_of_the_same_name_is_refused(tmp_path):
    parts = []
    for folder, scale in (("one", "0.5"), ("two", "0.25")):
        write(tmp_path / folder, {**FILES, "heavy.py": HEAVY.replace("0.5 * v", f"{scale} * v")})
        seed = ("--seed", len(parts), "--name", folder)
        parts.append(run(*SPREAD, "-o", "heavy.py:Heavy", *seed, cwd=tmp_path / folder))
    (line,) = refused(optbench("merge", *parts, cwd=tmp_path))
    assert line.startswith("Heavy.source.sha256: ")
    assert [path.name in line for path in parts] == [True, True]


@pytest.mark.usefixtures("forget")
def test_the_same_code_in_two_places_is_one(tmp_path):
    parts = []
    for folder in ("one", "two"):
        write(tmp_path / folder, FILES)
        seed = ("--seed", len(parts), "--name", folder)
        parts.append(run(*SPREAD, "-o", "heavy.py:Heavy", *seed, cwd=tmp_path / folder))
    merged = merge(*parts, cwd=tmp_path)
    assert list(lanes(merged)["seed"]) == [0, 1]
    assert [code["folder"] for code in meta(merged)["plugins"]] == ["plugins/one"]


# What several runs have.


def test_lanes_that_are_the_same_in_two_runs_are_taken_once(tmp_path):
    for name, seed in (("a", "0-2"), ("b", "2-3"), ("whole", "0-3")):
        path = run(*SPREAD, "-o", "adam", "--seed", seed, "--name", name, cwd=tmp_path)
    seen = optbench("merge", "a", "b", cwd=tmp_path)
    assert seen.code == 0
    assert seen.err.startswith("note: b-")
    assert seen.err.endswith("are taken once: booth.adam.seed 2\n")
    assert_same(seen.path, path)


def test_lanes_that_differ_in_two_runs_are_refused(tmp_path):
    one, other = (
        run(*SPREAD, "-o", "adam", "--seed", seed, "--name", name, cwd=tmp_path)
        for name, seed in (("a", "0-2"), ("b", "1-3"))
    )
    file = other / "trace" / "block-00000.parquet"
    rows = pd.read_parquet(file)
    rows.loc[(rows["lane"] == 0) & (rows["iteration"] == 3), "loss"] *= 1 + 2**-52
    rows.to_parquet(file)
    ends = lanes(other)
    ends.loc[1, "final_loss"] = 0.5
    ends.to_parquet(other / "lanes.parquet")
    before = lanes(one).loc[2, "final_loss"]
    first, second = refused(optbench("merge", "a", "b", cwd=tmp_path))
    assert first.startswith("booth.adam.seed 1.trace: ")
    assert second == f"booth.adam.seed 2.final_loss: {before} in {one.name}, 0.5 in {other.name}"
    assert not list((tmp_path / "results").glob("merged*"))


def test_where_nothing_is_random_all_seeds_are_one_lane(tmp_path):
    one, _ = (
        run("--problem", "booth", "-o", "sgd", "--seed", seed, "--iterations", 3, "--name", name,
            cwd=tmp_path)
        for name, seed in (("a", 4), ("b", 5))
    )  # fmt: skip
    seen = optbench("merge", "a", "b", cwd=tmp_path)
    assert "taken once: booth.sgd\n" in seen.err
    pd.testing.assert_frame_equal(trace(seen.path), trace(one))


# What is refused.

CHANGES: dict[str, tuple[tuple[object, ...], list[str]]] = {
    "iterations": (("--iterations", 7), ["booth.iterations: 6 in {a}, 7 in {b}"]),
    "start": (
        ("--start-spread", 0.1),
        [
            "booth.definition.start_spread.share: 0.05 in {a}, 0.1 in {b}",
        ],
    ),
    "stop": (("--stop", "loss=0.5"), ['booth.stop: nothing in {a}, {{"loss": 0.5}} in {b}']),
    "lr": (("--set", "sgd.lr=0.5"), ["booth.sgd.lr: 0.01 in {a}, 0.5 in {b}"]),
    "trace": (("--trace", "every:2"), ['trace: "all" in {a}, "every:2" in {b}']),
}


@pytest.mark.parametrize("name", CHANGES)
def test_settings_that_differ_are_named_with_their_runs(name, tmp_path):
    options, expected = CHANGES[name]
    one = run(*SPREAD, "-o", "sgd", "--seeds", 2, "--name", "a", cwd=tmp_path)
    other = run(*SPREAD, "-o", "sgd", "--seed", "2-3", "--name", "b", *options, cwd=tmp_path)
    found = refused(optbench("merge", "a", "b", cwd=tmp_path))
    assert found == [line.format(a=one.name, b=other.name) for line in expected]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("numerics_version", 0, "numerics_version: 1 in {a}, 0 in {b}"),
        ("schema_version", 2, "schema_version: 3 in {a}, 2 in {b}"),
        ("device", {"kind": "gpu"}, 'device.kind: "cpu" in {a}, "gpu" in {b}'),
    ],
)
def test_what_decides_numbers_has_to_be_the_same(key, value, line, seeds, tmp_path):
    change(seeds[1], **{key: value})
    found = refused(optbench("merge", "a", "b", cwd=tmp_path))
    assert found == [line.format(a=seeds[0].name, b=seeds[1].name)]


def test_other_random_streams_are_refused(seeds, tmp_path):
    problems = meta(seeds[1])["problems"]
    problems[0]["stream_digests"]["0"] = "0123456789abcdef"
    change(seeds[1], problems=problems)
    (line,) = refused(optbench("merge", "a", "b", cwd=tmp_path))
    assert line.startswith("booth.stream_digests.0: ")


def test_seeds_that_no_run_has_are_named(seeds, tmp_path):
    run(*SPREAD, "-o", "momentum", "--seed", "0-2", "--name", "c", cwd=tmp_path)
    seen = optbench("merge", "a", "b", "c", cwd=tmp_path)
    assert refused(seen) == ["booth.momentum: none of the runs has seeds 3, 5"]
    assert "run these, then merge" in seen.err


def test_runs_that_have_not_ended_are_refused(tmp_path):
    cut = ("run", "--problem", "booth", "-o", "sgd", "--iterations", 300, "-q", "--workers", 1)
    assert interrupted(1, *cut, cwd=tmp_path).code == 130
    run("--problem", "booth", "-o", "adam", "--iterations", 300, cwd=tmp_path)
    paths = sorted((tmp_path / "results").iterdir())
    message = optbench("merge", *paths, cwd=tmp_path).message
    assert "is interrupted" in message
    assert "--resume" in message


def test_one_run_is_not_merged(seeds, tmp_path):
    assert "two runs or more" in optbench("merge", "a", "a", cwd=tmp_path).message


def test_names_of_suites_are_checked(seeds, tmp_path):
    assert "cannot be printed" in optbench("merge", "a", "b", "--name", "\n", cwd=tmp_path).message


# Writing.


def test_what_cannot_be_written_leaves_nothing_behind(seeds, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError("no more")

    before = sorted((tmp_path / "results").rglob("*"))
    monkeypatch.setattr(merging, "write_surfaces", fail)
    with pytest.raises(OSError, match="no more"):
        merging.merge([*map(str, seeds)], tmp_path / "results")
    assert sorted((tmp_path / "results").rglob("*")) == before


def test_a_merge_that_was_killed_is_no_run_and_can_be_deleted(seeds, tmp_path, monkeypatch):
    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(merging, "write_surfaces", kill)
    monkeypatch.setattr(merging, "remove_folder", lambda path: None)
    with pytest.raises(KeyboardInterrupt):
        merging.merge([*map(str, seeds)], tmp_path / "results")
    assert "merged" in optbench("list", "runs", cwd=tmp_path).out
    assert optbench("show", cwd=tmp_path).out.count("booth") == 1
    assert optbench("clean", "merged", "--yes", cwd=tmp_path).code == 0
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_failures_of_lanes_are_kept(seeds, tmp_path):
    failure = {"message": "it broke", "lanes": [1], "traceback": ""}
    change(seeds[1], failures=[failure])
    ends = lanes(seeds[1])
    ends.loc[1, "status"] = "failed"
    ends.to_parquet(seeds[1] / "lanes.parquet")
    merged = merge("a", "b", cwd=tmp_path)
    assert meta(merged)["status"] == "failed"
    (number,) = lanes(merged).index[lanes(merged)["status"] == "failed"]
    assert meta(merged)["failures"] == [{**failure, "lanes": [number]}]
