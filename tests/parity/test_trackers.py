"""Exports for TensorBoard, Weights & Biases and MLflow, read back by their own libraries."""

import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

for library in ("tensorboard", "wandb", "mlflow"):
    pytest.importorskip(library)

from tests.cli.command import lanes, run, trace

WILD = 'a/b: "β₁" <x>; 100 %'
"""A label with signs that trackers refuse in names of their own."""

EXTREME = 1e300
"""A loss that float32 does not hold."""

UNWANTED = {
    "WANDB_MODE": "online",
    "WANDB_API_KEY": "0" * 40,
    "WANDB_PROJECT": "theirs",
    "WANDB_RUN_ID": "theirs",
    "WANDB_DIR": "/nowhere",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_EXPERIMENT_NAME": "theirs",
}
"""What users have in their environment, none of which may count."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network over two seeds, and a run with a diverged lane and wild names."""
    cwd = tmp_path_factory.mktemp("made")
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 4, "--batch-size", 2)
    run(*network, "-o", "sgd", "--seeds", 2, "--name", "network", cwd=cwd)
    path = run("anisotropic", "-o", "sgd", "-o", "adam", "--iterations", 6, cwd=cwd)
    (block,) = (path / "trace").iterdir()
    rows = pd.read_parquet(block)
    rows.loc[(rows["lane"] == 0) & (rows["iteration"] == 3), "loss"] = EXTREME
    rows.loc[(rows["lane"] == 0) & (rows["iteration"] == 4), "loss"] = np.inf
    rows[(rows["lane"] == 1) | (rows["iteration"] <= 4)].to_parquet(block)
    wild = lanes(path).assign(label=WILD)
    wild.loc[0, ["status", "diverged_at", "final_loss", "best_loss"]] = ["diverged", 4, None, None]
    more = {"hp_a b": 1.0, "hp_a_b": 2.0, "hp_a/b": 3.0, "hp_a.b": 4.0, "hp_../x": "../y"}
    wild.assign(**more).to_parquet(path / "lanes.parquet")
    path.rename(cwd / "results" / "wild")
    return cwd


def exported(made, tracker):
    """Return the folder of all lanes of both runs; nothing is written outside it."""
    home = made / "home"
    home.mkdir()
    before = set(made.rglob("*"))
    command = (sys.executable, "-m", "optbench", "export", "network", "wild", "--lanes", "all")
    done = subprocess.run(
        [*command, "--to", tracker, "-O", tracker],
        cwd=made,
        env=os.environ | UNWANTED | {"HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, f"{tracker}\n"), done
    folder = made / tracker
    outside = {path for path in set(made.rglob("*")) - before if folder not in path.parents}
    shutil.rmtree(home)
    assert outside == {folder}
    return folder


def expected(made):
    """Return, by run and number, the row of each lane and its series."""
    found = {}
    for name in ("network", "wild"):
        (path,) = made.glob(f"results/{name}*")
        evaluation = pd.read_parquet(path / "evaluation") if name == "network" else None
        for lane in lanes(path).to_dict("records"):
            rows = trace(path).query(f"lane == {lane['lane']}")
            series = {"loss": dict(zip(rows["iteration"], rows["loss"], strict=True))}
            if evaluation is not None:
                for row in evaluation.query(f"lane == {lane['lane']}").itertuples():
                    series.setdefault(f"{row.split}_loss", {})[row.iteration] = row.loss
                    series.setdefault(f"{row.split}_error", {})[row.iteration] = row.error
            finite = {
                key: {step: value for step, value in values.items() if np.isfinite(value)}
                for key, values in series.items()
            }
            found[path.name, lane["lane"]] = lane, finite
    return found


def config_of(lane):
    return {
        name: value
        for name, value in lane.items()
        if not pd.isna(value)
        and (name in ("problem", "optimizer", "label", "seed") or name.startswith("hp_"))
    }


def summary_of(lane):
    names = ("final_loss", "best_loss", "iterations", "diverged_at", "stopped_at", "step_seconds")
    return {name: lane[name] for name in names if not pd.isna(lane[name])}


def test_tensorboard(made):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status

    folder = exported(made, "tensorboard")
    files = sorted(folder.rglob("*tfevents*"))
    known = expected(made)
    assert len({file.parent for file in files}) == len(files) == len(known) == 4
    for (name, number), (lane, series) in known.items():
        place = folder / name / lane["problem"]
        (below,) = (each for each in place.iterdir() if each.name.startswith(f"{number}-"))
        read = EventAccumulator(str(below))
        read.Reload()
        read_back = {
            tag: {event.step: event.value for event in read.Scalars(tag)}
            for tag in read.Tags()["scalars"]
        }
        told = {name: {lane["iterations"]: value} for name, value in summary_of(lane).items()}
        assert read_back == {
            tag: {
                step: float(np.float32(value)) for step, value in values.items() if value != EXTREME
            }
            for tag, values in (series | told).items()
        }
        content = read.PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(
            content[metadata.SESSION_START_INFO_TAG]
        )
        assert {
            key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()
        } == config_of(lane) | {"status": lane["status"]}
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        ended_well = lane["status"] == "done"
        assert end.status == (Status.STATUS_SUCCESS if ended_well else Status.STATUS_FAILURE)
        assert end.end_time_secs >= start.start_time_secs > 1.7e9


def wandb_records(file):
    """Yield the records of an offline run, laid out in blocks of 32 KiB like a log of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # all of a record, or its end
            yield Record.FromString(whole)
            whole = b""


def values_of(items):
    """Return values by key of a history or a summary."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_wandb(made):
    folder = exported(made, "wandb")
    files = list(folder.glob("wandb/offline-run-*/*.wandb"))
    known = expected(made)
    assert len(files) == len(known) == 4
    for file in files:
        records = list(wandb_records(file))
        (told,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
        assert (told.project, told.entity, told.host) == ("optbench", "", "")
        config = values_of(told.config.update)
        lane, series = next(
            (lane, series)
            for (name, _), (lane, series) in known.items()
            if told.run_group == name and config_of(lane).items() <= config.items()
        )
        assert told.display_name.startswith(lane["label"])
        assert list(told.tags) == [lane["status"]]
        assert {key for key in config if not key.startswith("_")} == set(config_of(lane))
        read_back, summary = {}, {}
        for record in records:
            if record.WhichOneof("record_type") == "history":
                row = values_of(record.history.item)
                for key in set(row) - {"_step", "_runtime", "_timestamp"}:
                    read_back.setdefault(key, {})[row["_step"]] = row[key]
            summary |= values_of(record.summary.update)
        assert read_back == series
        reached = summary_of(lane) | {"status": lane["status"]}
        assert {key: summary[key] for key in reached} == reached
        (code,) = (r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit")
        assert code == (lane["status"] == "diverged")
    names = {file.name for file in files}
    shutil.rmtree(folder)
    again = exported(made, "wandb").glob("wandb/offline-run-*/*.wandb")
    assert {file.name for file in again} == names, "a run that is exported again is the same run"


@pytest.mark.filterwarnings("ignore")
def test_mlflow(made):
    folder = exported(made, "mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    known = expected(made)
    experiments = {each.name: each for each in client.search_experiments()}
    assert set(experiments) == {"Default"} | {name for name, _ in known}
    for name in {name for name, _ in known}:
        experiment = experiments[name]
        assert experiment.artifact_location.startswith((folder / "artifacts").as_uri())
        runs = client.search_runs([experiment.experiment_id])
        assert len(runs) == 2
        for each in runs:
            parameters = each.data.params
            lane, series = next(
                (lane, series)
                for (of_run, _), (lane, series) in known.items()
                if of_run == name
                and (str(lane["seed"]), lane["optimizer"])
                == (parameters["seed"], parameters["optimizer"])
            )
            assert sorted(parameters.values()) == sorted(map(str, config_of(lane).values()))
            assert parameters["hp_lr"] == str(lane["hp_lr"])
            assert each.data.tags["status"] == lane["status"]
            assert each.info.status == ("FINISHED" if lane["status"] == "done" else "FAILED")
            assert each.info.run_name.startswith(lane["label"])
            told = {key: {lane["iterations"]: value} for key, value in summary_of(lane).items()}
            assert {
                key: {
                    metric.step: metric.value
                    for metric in client.get_metric_history(each.info.run_id, key)
                }
                for key in each.data.metrics
            } == series | told
