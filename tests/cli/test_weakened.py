"""Baselines that would let through more than the one that was saved: each way fails the check."""

import json
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from optbench.gate.baseline import DESCRIPTION
from optbench.records import SCHEMA_VERSION
from optbench.store.reader import read_lanes
from tests.cli.command import optbench
from tests.cli.gate import NOW, Change, Desk, described, is_lane, table

REMEDY = (
    "    → if it was changed by mistake, restore it with git; else save it anew: "
    "optbench check gate --run results/now --update\n"
)


def tolerance(value: float) -> Change:
    return lambda rows: rows.assign(tolerance=value)


def another(lanes):
    """Add a lane to those that were saved."""
    last = lanes.tail(1)
    return pd.concat([lanes, last.assign(lane=(last["lane"] + 1), seed=99)])


def diverged(lanes):
    return lanes.assign(status="diverged", diverged_at=np.int32(30), final_loss=np.nan)


FIRST = r"anisotropic, sgd, seed 0"
ALL = ", and 17 more lanes"

CHANGES = {
    "tolerances infinite": (
        *("tolerance", tolerance(np.inf)),
        f"{FIRST} has the tolerance inf at iteration 0{ALL}",
    ),
    "tolerances not numbers": (
        *("tolerance", tolerance(np.nan)),
        f"{FIRST} has the tolerance nan at iteration 0{ALL}",
    ),
    "tolerances negative": (
        *("tolerance", tolerance(-1.0)),
        f"{FIRST} has the tolerance -1.0 at iteration 0{ALL}",
    ),
    "tolerances zero": (
        *("tolerance", tolerance(0.0)),
        f"{FIRST} has the tolerance 0.0 at iteration 0{ALL}",
    ),
    "no tolerances": (
        *("tolerance", lambda rows: rows.head(0)),
        f"{FIRST} has the tolerance nan at iteration 0{ALL}",
    ),
    "tolerances from 20 on": (
        *("tolerance", lambda rows: rows[rows["iteration"] >= 20]),
        f"{FIRST} has the tolerance nan at iteration 0{ALL}",
    ),
    "tolerances of other lanes": (
        *("tolerance", lambda rows: rows.assign(lane=rows["lane"] + 1000)),
        f"{FIRST} has the tolerance nan at iteration 0{ALL}",
    ),
    "no trace": ("trace", lambda rows: rows.head(0), f"{FIRST} has no row 0{ALL}"),
    "losses not numbers": (
        *("trace", lambda rows: rows.assign(loss=np.nan)),
        f"{FIRST} has the loss nan at iteration 0{ALL}",
    ),
    "losses missing": (
        *("trace", lambda rows: rows.assign(loss=rows["loss"].where(rows["iteration"] != 7))),
        f"{FIRST} has the loss nan at iteration 7{ALL}",
    ),
    "trace from 50 on": (
        *("trace", lambda rows: rows[rows["iteration"] >= 50]),
        f"{FIRST} has no row 0{ALL}",
    ),
    "trace without its end": (
        *("trace", lambda rows: rows[rows["iteration"] < 50]),
        f"{FIRST} has no row 60{ALL}",
    ),
    "rows of an optimizer missing": (
        *("trace", lambda rows: rows[rows["lane"] != 1]),
        "anisotropic, adam, seed 0 has no row 0",
    ),
    "a lane missing": (
        *("lanes", lambda lanes: lanes[~is_lane(lanes, "net", "sgd", 5)]),
        "net, sgd, seed 5 is missing",
    ),
    "an optimizer missing": (
        *("lanes", lambda lanes: lanes[lanes["label"] != "adam"]),
        "anisotropic, adam, seed 0 is missing, and 8 more lanes",
    ),
    "seeds missing": (
        *("lanes", lambda lanes: lanes[lanes["seed"] < 3]),
        "net, sgd, seed 3 is missing, and 9 more lanes",
    ),
    "a lane more": ("lanes", another, "net, adam, seed 99 has no row 0"),
    "no final losses": (
        *("lanes", lambda lanes: lanes.assign(final_loss=np.nan)),
        f"{FIRST} has no final loss{ALL}",
    ),
    "lanes called diverged": (
        *("lanes", diverged),
        f"{FIRST} has a row 31, but ended at 30{ALL}",
    ),
    "lanes called failed": (
        *("lanes", lambda lanes: lanes.assign(status="failed")),
        f"{FIRST} is failed, and nothing says where it ended{ALL}",
    ),
}


@pytest.mark.parametrize(("name", "change", "gap"), CHANGES.values(), ids=CHANGES)
def test_a_baseline_that_was_weakened_fails_even_with_checksums_made_anew(desk, name, change, gap):
    table(desk.baseline / f"{name}.parquet", change)
    seen = desk.check(*NOW)
    assert seen.code == 3
    assert (
        f"  failure: baseline: {name}.parquet changed after it was saved (SHA-256 differs)\n"
    ) in seen.out
    desk.seal()
    seen = desk.check(*NOW)
    assert seen.code == 3
    assert f"  failure: baseline: it is incomplete: {gap}\n{REMEDY}" in seen.out
    assert "SHA-256" not in seen.out


def column_missing(desk: Desk) -> None:
    table(desk.baseline / "lanes.parquet", lambda lanes: lanes.drop(columns="final_loss"))


def rows_twice(desk: Desk) -> None:
    table(desk.baseline / "trace.parquet", lambda rows: pd.concat([rows, rows.tail(1)]))


def lane_twice(desk: Desk) -> None:
    table(desk.baseline / "lanes.parquet", lambda lanes: pd.concat([lanes, lanes.tail(1)]))


def empty(desk: Desk) -> None:
    (desk.baseline / "tolerance.parquet").write_bytes(b"")


def says(**values: object) -> Callable[[Desk], None]:
    return lambda desk: described(desk.baseline / DESCRIPTION, **values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (column_missing, r"lanes\.parquet' is missing or damaged: .*final_loss"),
        (rows_twice, r"trace\.parquet' is damaged: it holds an iteration of a lane twice"),
        (lane_twice, r"lanes\.parquet' is damaged: it holds a lane twice"),
        (empty, r"tolerance\.parquet' is missing or damaged: .*0 bytes"),
        (says(targets=None), r"baseline\.json' is damaged: targets: "),
        (says(thresholds={"": 1e9}), r"threshold '1000000000\.0' must be above 0 and at most 1"),
        (says(thresholds={"nett": 0.2}), "there is no problem 'nett'; did you mean 'net'"),
    ],
)
def test_what_cannot_be_read_is_an_input_error(desk, change, message):
    change(desk)
    seen = desk.check(*NOW)
    assert re.search(message, seen.message)


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": [0, 1, 2]},
        {"optimizers": []},
        {"test_error": {}},
        {"targets": {}},
        {"calibration_seconds": 1.0},
        {"checksums": {}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_settings_of_a_baseline_are_guarded(desk, values):
    says(**values)(desk)
    seen = desk.check(*NOW)
    assert seen.code == 3
    assert "failure: baseline: baseline.json" in seen.out
    assert "changed after it was saved" in seen.out


def test_tables_of_two_baselines_do_not_mix(desk):
    other = desk.baseline.with_name("other")
    before = (desk.baseline / "lanes.parquet").read_bytes()
    desk.run("--seeds", "9")
    assert desk.check(*NOW, "--update").code == 0
    desk.baseline.rename(other)
    assert desk.check("other").code == 0
    (other / "lanes.parquet").write_bytes(before)
    seen = desk.check("other")
    assert seen.code == 3
    assert "lanes.parquet changed after it was saved" in seen.out


def test_thresholds_may_be_edited_by_hand_and_every_verdict_names_them(desk):
    desk.losses("net", "adam", 1.2)
    says(thresholds={"net": 0.3, "": 0.1})(desk)
    seen = desk.check(*NOW)
    heading = "gate: passed, 18 lanes compared; threshold 30 % for net, 10 %"
    assert (seen.code, seen.out.splitlines()[0]) == (0, heading)
    seen = desk.check(*NOW, "--format", "github")
    assert heading in seen.out
    seen = desk.check(*NOW, "--format", "json")
    assert json.loads(seen.out)["baselines"][0]["thresholds"] == {
        "anisotropic": 0.1,
        "net": 0.3,
    }


@pytest.mark.parametrize("command", ["check", "save"])
def test_a_threshold_of_a_problem_that_there_is_not_is_refused(desk, command):
    arguments = {"check": ("check", *NOW), "save": ("baseline", "save", "now", "--name", "x")}
    seen = optbench(*arguments[command], "--threshold", "nett=0.2", cwd=desk.cwd)
    assert seen.message == ("threshold 'nett=0.2': there is no problem 'nett'; did you mean 'net'?")


def test_a_baseline_of_an_earlier_optbench_fails_and_is_saved_anew_as_it_says(desk):
    meta = json.loads((desk.baseline / DESCRIPTION).read_text())
    del meta["checksums"]
    meta |= {"schema_version": SCHEMA_VERSION - 1, "thresholds": {"net": 0.2}}
    (desk.baseline / DESCRIPTION).write_text(json.dumps(meta))
    trace = pd.read_parquet(desk.now / "trace").sort_values(["lane", "iteration"])
    means = trace.groupby("lane")["loss"].apply(lambda loss: loss.iloc[-60:].mean())
    is_net = read_lanes(desk.now)["problem"] == "net"  # whose final losses were such means then
    table(
        desk.baseline / "lanes.parquet",
        lambda lanes: lanes.assign(final_loss=lanes["final_loss"].mask(is_net, means)),
    )
    seen = desk.check(*NOW)
    assert seen.code == 3
    assert seen.out.splitlines()[:3] == [
        "gate: FAILED, 18 lanes compared, 1 failure; threshold 20 % for net",
        "  failure: baseline: an earlier optbench saved it (schema_version 2)",
        REMEDY.rstrip("\n"),
    ]
    command = seen.out.splitlines()[2].partition("optbench check ")[2].split()
    assert desk.check(*command).code == 0
    seen = desk.check(*NOW)
    assert (seen.code, seen.out.splitlines()[0]) == (
        0,
        "gate: passed, 18 lanes compared; threshold 20 % for net",
    )


def test_lanes_that_end_early_grids_and_rows_after_updates_are_complete(desk):
    text = """
name = "ends"
seeds = 2
data = "mnist-5k"
iterations = 70

[[problem]]
name = "anisotropic"
sgd.grid.lr = "1e-1:1e30:3"
stop.loss = 1.0

[[problem]]
name = "function"
label = "at rest"
expression = "x**2 + y**2"
start = {x = 0.0, y = 0.0}

[[problem]]
name = "mnist-mlp"
layers = ["dense 4", "relu", "dense 10"]
batch_size = 16
iterations = 20
record = "after"
evaluate_every = 5
stop.patience = 1
stop.patience_increase = 1.0
stop.improvement_threshold = 0.5

[[optimizer]]
name = "sgd"

[[optimizer]]
name = "adam"
grid.lr = [1e-3, 1e-2]
"""
    desk.run(text=text)
    ends = read_lanes(desk.now).groupby("problem")["status"].agg(set).to_dict()
    assert ends == {
        "anisotropic": {"diverged", "done", "stopped"},
        "at rest": {"done"},
        "mnist-mlp": {"stopped"},
    }
    assert optbench("baseline", "save", "now", cwd=desk.cwd).code == 0
    seen = desk.check("ends", "--strict")
    assert (seen.code, seen.out.splitlines()[0]) == (0, "ends: passed, 14 lanes compared")


def test_a_run_that_is_incomplete_is_no_baseline(desk):
    desk.trace(lambda rows: rows[(rows["lane"] != 3) | (rows["iteration"] != 12)])
    seen = optbench("baseline", "save", "now", "--name", "x", cwd=desk.cwd)
    assert seen.message == (
        "'results/now' is incomplete: net, sgd, seed 1 has no row 12; run its suite again"
    )
    assert not desk.baseline.with_name("x").exists()
