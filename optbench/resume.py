"""Runs that go on where they were when something ended them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from optbench.device import Device
from optbench.environment import describe_environment
from optbench.errors import ResultsError
from optbench.executor import default_workers
from optbench.lanes import Begun, Block, lay_out, plan_blocks
from optbench.pipeline import CHECKPOINT_SECONDS, Outcome, Plan, carry_out, extra_columns
from optbench.records import NUMERICS_VERSION, Lane, Record, Status
from optbench.store.journal import Journal
from optbench.store.lock import locked
from optbench.store.reader import read_description, read_lanes
from optbench.store.writer import RunWriter
from optbench.suite import Suite

CHANGES_NOTHING = ("cores", "git")
"""What of an environment has no say in a run's numbers."""

TOLD_BY_WRITER = ("schema_version", "status", "ended", "timings", "failures")
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
        if then.get(name) != now.get(name)
    ]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def plan_rest(run: Path, suite: Suite, device: Device, workers: int | None = None) -> Plan:
    """Return what is left of a run: the blocks that have not ended, from their checkpoints on.

    Raises
    ------
    ResultsError
        If the suite gives other lanes than it did when the run began, or a file is damaged.
    """
    meta, lanes = read_description(run), lay_out(suite, device.kind)
    _check_lanes(run, lanes)
    rest = [
        block
        for block in _recorded_blocks(run, meta, suite, lanes)
        if Journal(run, block.number).result() is None
    ]
    blocks = tuple(_begun(run, block) for block in rest)
    workers = default_workers(device) if workers is None else workers
    first_new = 1 + max(each["block"] for each in meta["blocks"])
    return Plan(suite, lanes, blocks, max(1, min(workers, len(blocks))), first_new)


def resume(
    run: Path,
    plan: Plan,
    device: Device,
    observe: Callable[[Record], None] = lambda record: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Outcome:
    """Carry out what is left of a run; see :func:`optbench.pipeline.run_plan`.

    Raises
    ------
    ResultsError
        If another process is writing it, or the results cannot be written.
    """
    with locked(run):
        meta = read_description(run)
        kept = {name: value for name, value in meta.items() if name not in TOLD_BY_WRITER}
        kept["resumes"] = [*kept.get("resumes", []), _resumption(meta, plan, device)]
        extra = extra_columns(plan.suite)
        writer = RunWriter(run, kept, plan.lanes, workers=plan.workers, extra=extra, resumed=True)
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


def _recorded_blocks(
    run: Path, meta: Mapping[str, Any], suite: Suite, lanes: Sequence[Lane]
) -> list[Block]:
    """Return the blocks that run.json names."""
    blocks = []
    for each in meta.get("blocks") or [None]:
        try:
            members = [lanes[number] for number in each["lanes"]]
            (block,) = plan_blocks(suite, members, block_bytes=2**62)
        except (IndexError, ValueError, TypeError, KeyError, AttributeError):
            raise ResultsError(
                f"'{run / 'run.json'}' is damaged: block {each!r} is none of its suite"
            ) from None
        blocks.append(replace(block, number=each["block"]))
    return blocks


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
            f"'{run}' is damaged: block {block.number} has {rows} rows in its journal, "
            f"and its checkpoint follows {checkpoint.rows}"
        )
    return replace(block, begun=Begun(checkpoint.arrays, np.array(chunk.loss[: checkpoint.rows])))
