"""TensorBoard's event files, by its own protocol buffers: TensorFlow is not needed."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optbench.report.statistics import ENDED_WELL, ENDED_WORST
from optbench.report.trackers.lanes import TrackedLane

LARGEST = float(np.finfo(np.float32).max)
"""TensorBoard keeps numbers as float32; beyond it they would be infinite."""


def write(lanes: Iterable[TrackedLane], folder: Path, place: Path) -> None:
    """Write each lane into a folder of its own; all of them are one log directory."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    for lane in lanes:
        below = folder / lane.place
        below.mkdir(parents=True)
        # TensorBoard's EventFileWriter would name the machine in the name of the file.
        with (below / f"events.out.tfevents.{lane.started:.0f}").open("wb") as file:
            writer = RecordWriter(file)
            for event in _events(lane):
                writer.write(event.SerializeToString())


def _events(lane: TrackedLane) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    def scalars(step: int, values: Mapping[str, float]) -> Any:
        kept = {name: value for name, value in values.items() if abs(value) <= LARGEST}
        summary = Summary(
            value=[Summary.Value(tag=name, simple_value=value) for name, value in kept.items()]
        )
        return Event(wall_time=lane.time(step), step=step, summary=summary)

    def session(tag: str, time: float, data: Any) -> Any:
        value = Summary.Value(
            tag=tag,
            metadata=metadata.create_summary_metadata(data),
            tensor=metadata.NULL_TENSOR,
        )
        return Event(wall_time=time, summary=Summary(value=[value]))

    yield Event(wall_time=lane.started, file_version="brain.Event:2")
    start = HParamsPluginData()
    start.session_start_info.start_time_secs = lane.started
    for name, value in {**lane.config, "status": lane.status}.items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(start.session_start_info.hparams[name], kind, value)
    yield session(metadata.SESSION_START_INFO_TAG, lane.started, start)
    for step, values in lane.steps():
        yield scalars(step, values)
    yield scalars(lane.iterations, lane.summary)
    end = HParamsPluginData()
    end.session_end_info.end_time_secs = lane.time(lane.iterations)
    statuses = dict.fromkeys(ENDED_WELL, Status.STATUS_SUCCESS)
    statuses |= dict.fromkeys(ENDED_WORST, Status.STATUS_FAILURE)
    end.session_end_info.status = statuses.get(lane.status, Status.STATUS_UNKNOWN)
    yield session(metadata.SESSION_END_INFO_TAG, lane.time(lane.iterations), end)
