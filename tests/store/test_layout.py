"""What the files of a run hold, read as a user reads them: with pandas and pyarrow alone."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from optbench.records import (
    EVALUATION_COLUMNS,
    LANE_COLUMNS,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
)

NETWORK, VALLEY, LINE = (range(6 * part, 6 * part + 6) for part in range(3))
"""Lanes of each problem: sgd at two rates and adam, each with two seeds."""


def arrow_types(path):
    return {field.name: str(field.type) for field in pq.read_schema(path)}


def as_arrow(kinds):
    names = {"float64": "double"}
    return {name: names.get(kind, kind) for name, kind in kinds.items()}


@pytest.fixture(scope="module")
def trace(finished):
    return pd.read_parquet(finished / "trace")


@pytest.fixture(scope="module")
def lanes(finished):
    return pd.read_parquet(finished / "lanes.parquet")


def test_the_trace_of_all_problems_is_read_as_one_table(finished, trace):
    assert trace.columns.tolist() == ["lane", "iteration", "loss", "x", "y"]
    assert trace.dtypes.astype(str).tolist() == ["int32"] * 2 + ["float64"] * 3
    network, valley, line = (
        trace.loc[trace["lane"].isin(lanes), ["x", "y"]] for lanes in (NETWORK, VALLEY, LINE)
    )
    assert network.isna().all(axis=None)
    assert valley.notna().all(axis=None)
    assert line["x"].notna().all()
    assert line["y"].isna().all()
    file = pq.read_table(finished / "trace" / "block-00000.parquet")
    assert file.column("x").null_count == file.num_rows  # null and not NaN


def test_a_lane_has_a_row_an_iteration_from_0(trace, lanes):
    for number, rows in trace.groupby("lane"):
        lane = lanes.loc[number]
        if lane["status"] == "diverged":
            expected = int(lane["diverged_at"]) + 1
            assert not np.isfinite(rows["loss"].iloc[-1])
            assert np.isfinite(rows["loss"].iloc[:-1]).all()
        else:
            assert np.isfinite(rows["loss"]).all()
            expected = 300 if lane["problem"] == "small-network" else 301
        assert rows["iteration"].tolist() == list(range(expected))


def test_lanes_and_traces_join_on_lane(trace, lanes):
    joined = trace.merge(lanes, on="lane", validate="many_to_one")
    assert len(joined) == len(trace)
    assert set(trace["lane"]) == set(lanes["lane"]) == set(range(18))
    last = joined[joined["problem"] == "anisotropic"].groupby("lane").last()
    done = last[last["status"] == "done"]
    assert (done["loss"] == done["final_loss"]).all()


def test_lanes_hold_the_columns_promised_and_hyperparameters_after_the_seed(finished):
    hyperparameters = ["lr", "beta1", "beta2", "eps", "eps_place", "bias_correction"]
    expected = {}
    for name, kind in as_arrow(LANE_COLUMNS).items():
        expected[name] = kind
        if name == "seed":
            expected |= {f"hp_{each}": "double" for each in hyperparameters}
            expected["hp_eps_place"] = "string"
    expected |= {"gradient_seconds": "double", "update_seconds": "double", "gradients": "int64"}
    assert list(arrow_types(finished / "lanes.parquet").items()) == list(expected.items())


def test_lanes_say_what_ran_and_what_became_of_it(lanes):
    assert lanes["lane"].tolist() == list(range(18))
    assert lanes["problem"].tolist() == (
        ["small-network"] * 6 + ["anisotropic"] * 6 + ["quadratic-1d"] * 6
    )
    assert lanes["optimizer"].tolist() == (["sgd"] * 4 + ["adam"] * 2) * 3
    assert lanes["label"].tolist() == lanes["optimizer"].tolist()
    assert lanes["seed"].tolist() == [0, 7] * 9
    assert lanes["hp_lr"].tolist() == [0.1, 0.1, 3.0, 3.0, 0.001, 0.001] * 3
    assert lanes["lane_key"].is_unique
    assert lanes["fingerprint"].nunique() == 3
    valley = lanes.iloc[6:12]
    assert valley["status"].tolist() == ["done", "done", "diverged", "diverged", "done", "done"]
    assert lanes["block_lanes"].tolist() == [6] * 18
    assert (lanes["workers"] >= 1).all()
    assert (lanes[["gradient_seconds", "update_seconds"]] > 0).all(axis=None)
    sums = lanes["gradient_seconds"] + lanes["update_seconds"]
    assert (lanes["step_seconds"] == sums).all()
    assert (lanes.loc[lanes["status"] == "done", "iterations"] == 300).all()
    assert lanes["gradients"].tolist() == lanes["iterations"].tolist()


def test_what_is_missing_is_null_never_zero(finished):
    table = pq.read_table(finished / "lanes.parquet")
    lanes = table.to_pandas()
    sgd, diverged = lanes["optimizer"] == "sgd", lanes["status"] == "diverged"
    for name in ("hp_beta1", "hp_beta2", "hp_eps"):
        assert lanes[name].isna().tolist() == sgd.tolist()
    for name in ("final_loss", "best_loss"):
        assert lanes[name].isna().tolist() == diverged.tolist()
    assert lanes["diverged_at"].isna().tolist() == (~diverged).tolist()
    assert table.column("stopped_at").null_count == len(lanes)
    # Null, so that readers that tell it from NaN see that nothing is there.
    assert table.column("final_loss").null_count == diverged.sum()
    assert table.column("hp_eps").null_count == sgd.sum()


def test_evaluations_are_a_row_a_lane_and_split(finished, lanes):
    evaluation = pd.read_parquet(finished / "evaluation")
    assert evaluation.columns.tolist() == list(EVALUATION_COLUMNS)
    done = [number for number in NETWORK if lanes.loc[number, "status"] == "done"]
    found = sorted(zip(evaluation["lane"], evaluation["split"], strict=True))
    splits = ("test", "train", "validation")
    assert found == [(number, split) for number in done for split in splits]
    assert (evaluation["iteration"] == 300).all()
    assert evaluation["error"].between(0, 1).all()


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("trace", TRACE_COLUMNS | {"x": "float64", "y": "float64"}),
        ("evaluation", EVALUATION_COLUMNS),
        ("surface", SURFACE_COLUMNS),
    ],
)
def test_all_files_of_a_folder_have_the_same_columns(finished, folder, kinds):
    files = sorted((finished / folder).iterdir())
    assert files
    for file in files:
        assert list(arrow_types(file).items()) == list(as_arrow(kinds).items())


def test_every_file_knows_its_schema_and_run_json_is_plain_json_in_utf_8(finished):
    for file in finished.rglob("*.parquet"):
        assert (
            pq.read_schema(file).metadata[b"optbench.schema_version"]
            == str(SCHEMA_VERSION).encode()
        )
    text = (finished / "run.json").read_bytes().decode("utf-8")
    assert text.endswith("}\n")

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse)["schema_version"] == SCHEMA_VERSION


def test_nothing_else_is_left(finished):
    names = {each.name for each in finished.iterdir()}
    assert names == {"run.json", "lanes.parquet", "trace", "evaluation", "surface"}
    assert not [each for each in finished.rglob("*") if each.name.startswith(".")]
