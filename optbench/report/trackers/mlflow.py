"""Runs of MLflow in an SQLite database, since MLflow has given up its store of plain files."""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from optbench.records import Status
from optbench.report.statistics import ENDED_WELL, ENDED_WORST
from optbench.report.trackers.lanes import TrackedLane, distinct
from optbench.report.trackers.surroundings import surroundings

DATABASE = "mlflow.db"

MOST_METRICS = 1000
"""Values that MLflow takes at once."""

LONGEST_KEY = 200
"""Signs of a parameter's name; MLflow takes 250."""

STATUSES: dict[str, str] = {
    **dict.fromkeys(ENDED_WELL, "FINISHED"),
    **dict.fromkeys(ENDED_WORST, "FAILED"),
    Status.RUNNING: "RUNNING",
}
"""MLflow's word for a status; all others are ``KILLED``."""


def write(lanes: Iterable[TrackedLane], folder: Path, place: Path) -> None:
    """Write each lane as a run, in an experiment of the name of its own run.

    ``place`` is where the folder will be: there MLflow puts files that users add to a run.
    """
    silent = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    with surroundings("MLFLOW_", **silent):
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{folder / DATABASE}")
        experiments: dict[str, str] = {}
        for lane in lanes:
            if lane.run not in experiments:
                files = (place / "artifacts" / str(len(experiments))).as_uri()
                experiments[lane.run] = client.create_experiment(lane.run, artifact_location=files)
            _write(client, experiments[lane.run], lane)


def _write(client: Any, experiment: str, lane: TrackedLane) -> None:
    from mlflow.entities import Metric, Param

    def metrics() -> Iterable[Any]:
        for step, values in [*lane.steps(), (lane.iterations, lane.summary)]:
            for name, value in values.items():
                yield Metric(name, value, _milliseconds(lane, step), step)

    run = client.create_run(
        experiment,
        start_time=_milliseconds(lane, 0),
        run_name=lane.title,
        tags={"status": lane.status},
    ).info.run_id
    keys = distinct(re.sub(r"[^\w-]", "_", name)[:LONGEST_KEY] for name in lane.config)
    parameters = [
        Param(key, str(value)) for key, value in zip(keys, lane.config.values(), strict=True)
    ]
    rest = metrics()
    client.log_batch(run, params=parameters)
    while batch := list(islice(rest, MOST_METRICS)):
        client.log_batch(run, metrics=batch)
    client.set_terminated(
        run, STATUSES.get(lane.status, "KILLED"), _milliseconds(lane, lane.iterations)
    )


def _milliseconds(lane: TrackedLane, step: int) -> int:
    return int(1000 * lane.time(step))
