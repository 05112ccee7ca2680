"""Runs that go on where they were when something ended them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from optbench.device.base import Device
from optbench.engine.block import Block, Progress
from optbench.engine.executor import default_workers
from optbench.errors import ResultsError
from optbench.records import (
    EVALUATION_COLUMNS,
    NUMERICS_VERSION,
    TRACE_COLUMNS,
    Lane,
    Record,
    Status,
)
from optbench.runs.layout import lay_out, plan_blocks
from optbench.runs.pipeline import (
    CHECKPOINT_SECONDS,
    Plan,
    RunResult,
    carry_out,
    extra_columns,
    write_surfaces,
)
from optbench.store.environment import describe_environment
from optbench.store.journal import Journal
from optbench.store.lock import locked
from optbench.store.reader import read_description, read_lanes, read_table
from optbench.store.writer import RunWriter
from optbench.suite.resolve import Suite

CHANGES_NOTHING = ("cores", "git")
"""What of an environment has no say in a run's numbers."""


TOLD_BY_WRITER = ("schema_version", "status", "ended", "timings")
"""What of a run.json the writer writes itself."""


def check_resumable(run: Path, device: Device, *, force: bool = False) -> dict[str, Any]:
    """Return the run.json of a run that can go on.

    Raises
    ------
    ResultsError
        If it has ended, or was begun by another optbench, on another device or in another
        environment; ``force`` lets the environment be another.
    """
    meta = read_description(run)
    if meta["status"] == Status.RUNNING:
        raise ResultsError(f"'{run}' is being written by another process; wait for its end")
    if meta["status"] != Status.INTERRUPTED:
        raise ResultsError(f"'{run}' has ended ({meta['status']}): there is nothing to go on with")
    changed = environment_changes(meta, device)
    if changed and not force:
        raise ResultsError(
            f"'{run}' was begun in another environment ({changed[0]}); its numbers may change "
            "midway: --force goes on all the same and records it"
        )
    return meta


def environment_changes(meta: Mapping[str, Any], device: Device) -> list[str]:
    """Return what of a run's environment is another one now, a text each."""
    then = {"numerics_version": meta.get("numerics_version"), "device": meta.get("device")}
    now: dict[str, Any] = {"numerics_version": NUMERICS_VERSION, "device": device.describe()}
    before = meta.get("environment")
    then |= before if isinstance(before, dict) else {}
    now |= json.loads(json.dumps(describe_environment()))
    names = [name for name in (*then, *now) if name not in CHANGES_NOTHING]
    return [
        f"{name}: {_short(then.get(name))} then, {_short(now.get(name))} now"
        for name in dict.fromkeys(names)
        if not _same(name, then.get(name), now.get(name))
    ]


def _same(name: str, then: Any, now: Any) -> bool:
    """Say whether something is as it was; BLAS libraries may come later, with other packages."""
    if name == "blas" and isinstance(then, list) and isinstance(now, list):
        return all(library in then for library in now) or all(library in now for library in then)
    return bool(then == now)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def plan_rest(run: Path, suite: Suite, device: Device, workers: int | None = None) -> Plan:
    """Return what is left of a run: the blocks that have not ended, from their checkpoints on.

    Raises
    ------
    ResultsError
        If the suite gives other lanes than it did when the run began, if a file is damaged, or if
        another process is writing the run.
    """
    lanes = lay_out(suite, device.kind)
    with locked(run):  # what another process is writing would seem to be damaged
        meta = read_description(run)
        _check_lanes(run, lanes)
        entries = _entries(run, meta, lanes)
        known = [each for each in entries if not _is_gone(run, each)]
        left = [_recorded_block(run, each, suite, lanes) for each in known if not _ended(run, each)]
        blocks = [_begun(run, block) for block in left]
    first_new = 1 + max(each["block"] for each in entries)
    gone = [lanes[number] for each in entries if each not in known for number in each["lanes"]]
    if gone:
        anew = plan_blocks(suite, gone, device.block_bytes)
        blocks += [replace(block, number=first_new + block.number) for block in anew]
        first_new += len(anew)
    workers = default_workers(device) if workers is None else workers
    return Plan(suite, lanes, tuple(blocks), max(1, min(workers, len(blocks))), first_new)


def resume(
    run: Path,
    plan: Plan,
    device: Device,
    observe: Callable[[Record], None] = lambda record: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> RunResult:
    """Carry out what is left of a run; see :func:`optbench.runs.pipeline.run_plan`.

    Raises
    ------
    ResultsError
        If another process is writing it, or has gone on with it since the plan was made, or the
        results cannot be written.
    """
    with locked(run):
        meta = read_description(run)
        blocks, failures = _blocks_now(run, meta, plan), _failures(run, meta)
        kept = {name: value for name, value in meta.items() if name not in TOLD_BY_WRITER}
        kept |= {"blocks": blocks, "failures": failures}
        kept["resumes"] = [*kept.get("resumes", []), _resumption(meta, plan, device)]
        extra = extra_columns(plan.suite)
        writer = RunWriter(run, kept, plan.lanes, workers=plan.workers, extra=extra, resumed=True)
        write_surfaces(writer, plan.suite)  # what ended it may have come before their last
        return carry_out(plan, device, writer, observe, checkpoint_seconds)


def _resumption(meta: Mapping[str, Any], plan: Plan, device: Device) -> dict[str, Any]:
    changes = environment_changes(meta, device)
    found: dict[str, Any] = {
        "resumed": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "workers": plan.workers,
    }
    if changes:
        found |= {"environment": describe_environment(), "device": device.describe()}
    return found


def _blocks_now(run: Path, meta: Mapping[str, Any], plan: Plan) -> list[dict[str, Any]]:
    """Return what run.json is to say of the blocks; none goes on that another process went on with.

    Raises
    ------
    ResultsError
        If the plan was made before that.
    """
    entries = _entries(run, meta, plan.lanes)
    kept = [each for each in entries if not _is_gone(run, each)]
    anew = [
        {"block": block.number, "lanes": [lane.number for lane in block.lanes]}
        for block in plan.blocks
        if block.number not in {each["block"] for each in entries}
    ]
    waits = [each for each in kept if not Journal(run, each["block"]).ended]
    # The lock is ours, so that a run that nobody has ended says that it is running.
    has_ended = meta["status"] not in (Status.RUNNING, Status.INTERRUPTED)
    if has_ended or [each["block"] for each in [*waits, *anew]] != [b.number for b in plan.blocks]:
        raise ResultsError(f"'{run}' has gone on in another process meanwhile; look at it again")
    for each in entries:
        if each not in kept:
            Journal(run, each["block"]).forget()
    return [*kept, *anew]


def _failures(run: Path, meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what lanes have raised so far."""
    failures = meta.get("failures", [])
    try:
        told = [text for each in failures for text in (each["message"], each["traceback"])]
    except (KeyError, TypeError):
        told = [None]
    if not all(isinstance(text, str) for text in told):
        raise ResultsError(f"'{run / 'run.json'}' is damaged: it does not tell its failures")
    return [{**each} for each in failures]


def _check_lanes(run: Path, lanes: Sequence[Lane]) -> None:
    """Refuse a suite whose lanes are not those that the run began with."""
    began = read_lanes(run)
    if len(began) != len(lanes):
        raise ResultsError(
            f"'{run}' began with {len(began)} lanes, and its suite now makes {len(lanes)}"
        )
    for key, lane in zip(began["lane_key"].tolist(), lanes, strict=True):
        if key != lane.key:
            raise ResultsError(
                f"'{run}' cannot go on: lane {lane.number} ({lane.label} on {lane.problem}) is "
                "another one now, since its data, code or defaults have changed"
            )


def _entries(run: Path, meta: Mapping[str, Any], lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """Return what run.json says of its blocks: each lane is in one of them."""
    damaged = ResultsError(f"'{run / 'run.json'}' is damaged: its blocks do not share the lanes")
    try:
        entries = [{**each} for each in meta["blocks"]]
        numbers = [each["block"] for each in entries]
        members = sorted(number for each in entries for number in each["lanes"])
    except (KeyError, TypeError):
        raise damaged from None
    whole = all(type(number) is int and number >= 0 for number in [*numbers, *members])
    if not whole or members != list(range(len(lanes))) or len({*numbers}) < len(numbers):
        raise damaged
    return entries


def _is_gone(run: Path, entry: Mapping[str, Any]) -> bool:
    """Say whether a block was to be taken over from another run and was not: it is run here."""
    return "reused_from" in entry and not Journal(run, entry["block"]).ended


def _recorded_block(
    run: Path, entry: Mapping[str, Any], suite: Suite, lanes: Sequence[Lane]
) -> Block:
    """Return a block that run.json names."""
    members = [lanes[number] for number in entry["lanes"]]
    try:
        (block,) = plan_blocks(suite, members, block_bytes=2**62)
    except ValueError:
        raise ResultsError(
            f"'{run / 'run.json'}' is damaged: block {entry['block']} is none of its suite"
        ) from None
    return replace(block, number=entry["block"])


def _ended(run: Path, entry: Mapping[str, Any]) -> bool:
    """Say whether a block has ended; its rows are files then, that have to be whole."""
    journal = Journal(run, entry["block"])
    result = journal.result()
    if result is None:
        return False
    if {lane.lane for lane in result.lanes} != {*entry["lanes"]}:
        raise ResultsError(f"'{run}' is damaged: {journal.name} has ended with lanes of another")
    trace, evaluation = (run / each / f"{journal.name}.parquet" for each in ("trace", "evaluation"))
    if any(lane.status is not Status.FAILED for lane in result.lanes):
        read_table([trace], TRACE_COLUMNS)
    if evaluation.exists():
        read_table([evaluation], EVALUATION_COLUMNS)
    return True


def _begun(run: Path, block: Block) -> Block:
    """Return a block that goes on from its checkpoint, if it has one."""
    journal = Journal(run, block.number)
    checkpoint = journal.checkpoint()
    if checkpoint is None:
        return block
    chunk, _ = journal.rows()
    rows = 0 if chunk is None else len(chunk.loss)
    if chunk is None or rows < checkpoint.rows:
        raise ResultsError(
            f"'{run}' is damaged: {journal.name} has {rows} rows in its journal, "
            f"and its checkpoint follows {checkpoint.rows}"
        )
    if chunk.lanes.tolist() != [lane.number for lane in block.lanes]:
        raise ResultsError(f"'{run}' is damaged: {journal.name} holds lanes of another")
    return replace(
        block, progress=Progress(checkpoint.arrays, np.array(chunk.loss[: checkpoint.rows]))
    )


def device_name(meta: Mapping[str, object]) -> str:
    """Return what ``--device`` was when the run began."""
    device = meta.get("device")
    if not isinstance(device, dict) or device.get("kind") != "gpu":
        return "cpu"
    return f"gpu:{device.get('number', 0)}"
