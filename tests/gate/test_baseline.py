"""Baselines on disk: whole or not at all, read as they were written, damage told."""

import json
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from optbench.errors import NothingToCompareError, ResultsError, UsageError
from optbench.gate import baseline as baselines
from optbench.gate.baseline import Baseline
from optbench.records import SCHEMA_VERSION
from optbench.store.lock import locked
from tests.gate.made import made, network_lanes


def baseline(folder, **description):
    run = made(network_lanes(seeds=(0, 1)))
    meta = {
        "schema_version": SCHEMA_VERSION,
        **run.meta,
        "suite": {"name": "test", "given": {}, "resolved": {}},
        "targets": {"mnist-mlp": 0.5},
        **description,
    }
    tolerance = {
        "lane": np.zeros(3, dtype=np.int64),
        "iteration": np.arange(3),
        "tolerance": np.array([1e-15, 0.1, np.inf]),
    }
    trace = run.trace[["lane", "iteration", "loss"]]
    return Baseline(folder, meta, run.lanes, trace, pd.DataFrame(tolerance))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "baselines" / "mine"


def test_what_is_read_is_what_was_written(folder):
    written = baseline(folder)
    baselines.write(written)
    found = baselines.load(folder)
    assert found.path == folder
    assert found.meta["targets"] == {"mnist-mlp": 0.5}
    lanes = ["lane", "problem", "label", "seed", "hp_lr", "final_loss"]
    for table, plain, names in (
        (found.lanes, written.lanes, [name for name in lanes if name in written.lanes]),
        (found.trace, written.trace, ["lane", "iteration", "loss"]),
        (found.tolerance, written.tolerance, list(written.tolerance)),
    ):
        pd.testing.assert_frame_equal(table[names], plain[names], check_dtype=False)
    assert found.tolerance["lane"].dtype == np.int32


def test_a_baseline_is_replaced_only_where_that_is_asked_for_and_whole(folder, monkeypatch):
    baselines.write(baseline(folder, note="first"))
    with pytest.raises(ResultsError, match="there is already a baseline 'mine'"):
        baselines.write(baseline(folder, note="second"))
    assert baselines.load(folder).meta["note"] == "first"

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(baselines, "_write_table", full)
        with pytest.raises(ResultsError, match="No space left"):
            baselines.write(baseline(folder, note="second"), replace=True)
    assert baselines.load(folder).meta["note"] == "first"
    assert baselines.find([], folder.parent.parent) == [folder]
    baselines.write(baseline(folder, note="third"), replace=True)
    assert baselines.load(folder).meta["note"] == "third"
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_numbers_that_json_has_not_are_not_written(folder):
    with pytest.raises(ValueError, match="JSON"):
        baselines.write(baseline(folder, targets={"mnist-mlp": float("nan")}))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"suite": "x"}, "suite: "),
        ({"suite": {"given": {}}}, "suite.resolved: it is missing"),
        ({"seeds": [0.5]}, "seeds.0: "),
        ({"optimizers": [{}]}, "optimizers.0.label: it is missing"),
        ({"environment": None}, "environment: "),
        ({"targets": {"mnist-mlp": "x"}}, "targets.mnist-mlp: "),
        ({"thresholds": {"mnist-mlp": "x"}}, "thresholds.mnist-mlp: "),
        ({"calibration_seconds": -1.0}, "calibration_seconds: "),
        ({"problems": []}, "problems: 'mnist-mlp' is missing"),
    ],
)
def test_a_damaged_description_is_told_in_a_line(folder, change, told):
    baselines.write(baseline(folder))
    file = folder / "baseline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ResultsError) as error:
        baselines.load(folder)
    assert str(error.value).startswith(f"'{file}' is damaged: {told}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["0.1"], {"": 0.1}),
        (["net=0.2", "0.1"], {"net": 0.2, "": 0.1}),
        ("a=b=0.2", {"a=b": 0.2}),
        (1, {"": 1.0}),
        ({"net": 0.2}, {"net": 0.2}),
        ((), {}),
    ],
)
def test_thresholds_are_given_as_text_number_or_by_problem(given, parsed):
    assert baselines.parse_thresholds(given) == parsed


@pytest.mark.parametrize(
    "given",
    ["5 %", "0", "-0.1", "nan", "inf", "5", "net=1e9", "net=", "net", 0, {"net": None}, {"": -1.0}],
)
def test_a_threshold_is_a_share(given):
    with pytest.raises(UsageError, match=r"must be above 0 and at most 1: write 0\.05 for 5 %"):
        baselines.parse_thresholds(given)


@pytest.mark.parametrize(
    ("thresholds", "told"),
    [
        ({"": 1e9}, "threshold '1000000000.0' must be above 0 and at most 1: write 0.05 for 5 %"),
        ({"mnist-mlp": 0}, "threshold 'mnist-mlp=0' must be above 0 and at most 1: write 0.05 for"),
        (
            {"mnist": 0.2},
            "threshold 'mnist=0.2': there is no problem 'mnist'; did you mean 'mnist-",
        ),
    ],
)
def test_thresholds_edited_by_hand_are_checked(folder, thresholds, told):
    baselines.write(baseline(folder))
    file = folder / "baseline.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"thresholds": thresholds}))
    with pytest.raises(ResultsError) as error:
        baselines.load(folder)
    assert str(error.value).startswith(f"'{file}': {told}")


def test_what_changed_is_named_and_neither_layout_nor_thresholds_are_a_change(folder):
    baselines.write(baseline(folder))
    assert baselines.load(folder).changed == ()
    file = folder / "baseline.json"
    meta = json.loads(file.read_text())
    file.write_bytes(json.dumps(meta | {"thresholds": {"": 0.2}}, indent=7).encode() + b"\r\n")
    assert baselines.load(folder).changed == ()
    file.write_text(json.dumps(meta | {"seeds": [0]}))
    assert baselines.load(folder).changed == ("baseline.json",)
    file.write_text(json.dumps({key: value for key, value in meta.items() if key != "checksums"}))
    assert len(baselines.load(folder).changed) == 4
    file.write_text(json.dumps(meta))
    lanes = pd.read_parquet(folder / "lanes.parquet")
    lanes.to_parquet(folder / "lanes.parquet")
    assert baselines.load(folder).changed == ("lanes.parquet",)


def test_a_lane_twice_is_told(folder):
    run = baseline(folder)
    baselines.write(replace(run, lanes=pd.concat([run.lanes, run.lanes.tail(1)])))
    with pytest.raises(ResultsError, match="is damaged: it holds a lane twice"):
        baselines.load(folder)


@pytest.mark.parametrize("name", ["lanes", "trace", "tolerance"])
def test_a_table_that_is_lost_is_told(folder, name):
    baselines.write(baseline(folder))
    (folder / f"{name}.parquet").unlink()
    with pytest.raises(ResultsError, match=f"{name}.parquet"):
        baselines.load(folder)


def test_baselines_are_found_by_name_or_path(folder):
    out = folder.parent.parent
    baselines.write(baseline(folder))
    baselines.write(baseline(folder.with_name("other")))
    assert baselines.find([], out) == [folder, folder.with_name("other")]
    assert baselines.find(["other", "mine", "other"], out) == [folder.with_name("other"), folder]
    assert baselines.find([str(folder)], out / "elsewhere") == [folder]
    with pytest.raises(NothingToCompareError, match="did you mean 'mine'"):
        baselines.find(["mien"], out)
    with pytest.raises(NothingToCompareError, match="optbench baseline save RUN"):
        baselines.find([], out / "elsewhere")
    with pytest.raises(NothingToCompareError):
        baselines.find([""], out)


@pytest.mark.parametrize("look", ["find", "find by name", "load", "save", "refresh"])
def test_a_baseline_whose_replacement_was_killed_between_two_renames_is_still_there(folder, look):
    """As a kill leaves it: the old one is moved away, and the new one is not in its place yet."""
    baselines.write(baseline(folder, note="first"))
    folder.rename(folder.with_name(".mine.old"))
    baselines.write(baseline(folder.with_name("other")))
    folder.with_name("other").rename(folder.with_name(".mine.part"))
    out = folder.parent.parent
    match look:
        case "find":
            assert baselines.find([], out) == [folder]
        case "find by name":
            assert baselines.find(["mine"], out) == [folder]
        case "save":
            with pytest.raises(ResultsError, match="there is already a baseline 'mine'"):
                baselines.write(baseline(folder, note="second"))
        case "refresh":
            baselines.write(baseline(folder, note="second"), replace=True)
    expected = "second" if look == "refresh" else "first"
    assert baselines.load(folder).meta["note"] == expected
    baselines.write(baseline(folder, note="third"), replace=True)
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_baseline_that_is_replaced_while_it_is_read_is_read_anew(folder, monkeypatch):
    baselines.write(baseline(folder, note="first"))
    real = baselines.read_table

    def read_table(files, kinds):
        monkeypatch.setattr(baselines, "read_table", real)
        baselines.write(baseline(folder, note="second"), replace=True)
        return real(files, kinds)

    monkeypatch.setattr(baselines, "read_table", read_table)
    assert baselines.load(folder).meta["note"] == "second"


def test_who_looks_while_a_baseline_is_replaced_waits_for_it(folder):
    baselines.write(baseline(folder, note="first"))
    folder.rename(folder.with_name(".mine.old"))
    found = []
    with locked(folder.parent):
        looking = threading.Thread(target=lambda: found.append(baselines.load(folder)))
        looking.start()
        baselines.settle(folder.with_name("another"))
        assert not folder.exists()
        assert found == []
    looking.join()
    assert found[0].meta["note"] == "first"


def test_a_table_whose_checksum_cannot_be_taken_is_told(folder, monkeypatch):
    baselines.write(baseline(folder))

    def unreadable(file, name):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(baselines.hashlib, "file_digest", unreadable)
    with pytest.raises(ResultsError) as caught:
        baselines.load(folder)
    place = folder / "lanes.parquet"
    assert str(caught.value) == f"'{place}' cannot be read: Input/output error"
