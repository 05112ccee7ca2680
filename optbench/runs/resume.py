"""Runs that are resumed where something ended them."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from optbench.cluster import Cluster
from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.errors import ResultsError, argument
from optbench.records import (
    EVALUATION_COLUMNS,
    NUMERICS_VERSION,
    SCHEMA_VERSION,
    TRACE_COLUMNS,
    Lane,
    Record,
    Status,
)
from optbench.runs.invocation import Execution, ShowProgress
from optbench.runs.layout import lay_out, plan_blocks
from optbench.runs.pipeline import (
    CHECKPOINT_SECONDS,
    Plan,
    RunResult,
    carry_out,
    extra_columns,
    planned_blocks,
    staffed,
    write_surfaces,
)
from optbench.runs.taken_up import TakenUp, paused_lanes, take_up
from optbench.store.environment import describe_environment, same_environment
from optbench.store.find import find_entries
from optbench.store.journal import Journal, journals
from optbench.store.lock import await_free, locked
from optbench.store.pack import refuse_pack
from optbench.store.reader import check_file, read_description, read_lanes
from optbench.store.studies import is_study
from optbench.store.writer import WORKERS_SECONDS, RunWriter
from optbench.suite.format import read_suite
from optbench.suite.repeated import repeated_suite
from optbench.suite.resolve import Suite, resolve

CHANGES_NOTHING = ("cores", "git")
"""What of an environment has no say in a run's numbers."""

WRITTEN_ANEW = ("schema_version", "status", "ended", "timings")
"""What of a run.json the writer writes itself."""


def resume_run(
    run: str,
    execution: Execution,
    notice: Callable[[str], None] = lambda message: None,
    progress: ShowProgress = lambda plan: nullcontext(lambda record: None),
    *,
    force: bool = False,
    trust: bool = False,
) -> RunResult:
    """Resume a run on the device that it began on.

    The run is its directory, the name of one under ``execution.out``, the beginning of that name,
    or ``latest``; of ``execution`` workers, data folder, time between checkpoints and whether
    optimizers are timed alone count too. ``notice`` and ``progress`` are those of
    :func:`optbench.runs.invocation.run_all`, ``trust`` that of an
    :class:`~optbench.runs.invocation.Invocation`.
    """
    (path,) = find_entries([run], Path(execution.out))
    refuse_pack(path, f"to repeat the run: optbench run {quote(run)}")
    if is_study(path):
        raise ResultsError(f"'{path}' is a study; use: optbench tune --resume {quote(str(path))}")
    asked = device_on(execution, read_description(path))
    with execution.opened(asked, notice) as (device, cluster):
        check_resumable(path, device, force=force)
        repeated = partial(repeated_suite, trust=trust, notice=notice)
        file = read_suite(str(path / "run.json"), repeated)
        suite = resolve(file, data_dir=execution.data_folder)
        for message in suite.notices:
            notice(message)
        plan = plan_rest(path, suite, device, execution.workers, cluster)
        with progress(plan) as observe:
            return resume(
                path,
                plan,
                device,
                observe,
                execution.checkpoint_every,
                notice,
                time_alone=execution.time_alone,
            )


def device_on(execution: Execution, meta: Mapping[str, object]) -> str:
    """Return what the device is called that a run began on, here or on a cluster."""
    name = device_name(meta)
    return name if execution.cluster is None else name.partition(":")[0]


def device_name(meta: Mapping[str, object]) -> str:
    """Return what ``--device`` was when a run began."""
    device = meta.get("device")
    if not isinstance(device, dict) or device.get("kind") != "gpu":
        return "cpu"
    return f"gpu:{device.get('number', 0)}"


def check_resumable(run: Path, device: Device, *, force: bool = False) -> None:
    """Refuse a run that cannot be resumed; ``force`` lets its environment be another."""
    meta = read_description(run)
    if meta["status"] == Status.RUNNING:
        raise ResultsError(f"'{run}' is being written by another process; wait for its end")
    if meta["status"] != Status.INTERRUPTED:
        raise ResultsError(f"'{run}' has ended ({meta['status']}): there is nothing to resume")
    if meta["schema_version"] < SCHEMA_VERSION:
        raise ResultsError(
            f"'{run}' was begun by an earlier optbench, whose summaries mean something else; "
            f"run its suite again: optbench run {quote(str(run / 'run.json'))}"
        )
    check_environment(run, meta, device, force=force)


def check_environment(
    path: Path,
    meta: Mapping[str, Any],
    device: Device,
    more: Sequence[str] = (),
    *,
    force: bool = False,
) -> list[str]:
    """Refuse to go on in another environment than ``meta`` tells of, unless by ``force``.

    Return what has changed; ``more`` is what else has.
    """
    changed = [*environment_changes(meta, device), *more]
    if changed and not force:
        raise ResultsError(
            f"'{path}' was begun in another environment ({changed[0]}); its numbers may change "
            f"midway: {argument('force', True)} resumes it anyway and records that"
        )
    return changed


def environment_changes(meta: Mapping[str, Any], device: Device) -> list[str]:
    """Return what has changed in a run's environment since it began, one text each."""
    then = {"numerics_version": meta.get("numerics_version"), "device": meta.get("device")}
    now: dict[str, Any] = {"numerics_version": NUMERICS_VERSION, "device": device.describe()}
    before = meta.get("environment")
    then |= before if isinstance(before, dict) else {}
    now |= json.loads(json.dumps(describe_environment()))
    return [
        f"{name}: {_short(then.get(name))} then, {_short(now.get(name))} now"
        for name in dict.fromkeys((*then, *now))
        if name not in CHANGES_NOTHING and not same_environment(name, then.get(name), now.get(name))
    ]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def plan_rest(
    run: Path,
    suite: Suite,
    device: Device,
    workers: int | None = None,
    cluster: Cluster | None = None,
) -> Plan:
    """Return what is left of a run: the blocks that have not ended, from their checkpoints on."""
    lanes = lay_out(suite, device.kind)
    with locked(run):  # what another process is writing would seem to be damaged
        meta = read_description(run)
        check_lanes(run, lanes)
        entries = _block_entries(run, meta, lanes)
        _await_workers(run)
        present = [entry for entry in entries if not _was_never_copied(run, entry)]
        blocks = [
            _from_checkpoint(run, _recorded_block(run, entry, suite, lanes))
            for entry in present
            if not _has_ended(run, entry)
        ]
    first_new = 1 + max(entry["block"] for entry in entries)
    missing = [lanes[lane] for entry in entries if entry not in present for lane in entry["lanes"]]
    if missing:
        added = planned_blocks(suite, missing, device, 1, cluster)
        blocks += [replace(block, number=first_new + block.number) for block in added]
        first_new += len(added)
    staff = staffed(blocks, device, workers, cluster)
    return Plan(suite, lanes, tuple(blocks), first_new=first_new, **staff)


def _await_workers(run: Path) -> None:
    """Wait for workers of a cluster whose client has gone: they let go of their blocks soon."""
    for journal in journals(run):
        if not await_free(journal.folder, WORKERS_SECONDS):
            raise ResultsError(
                f"'{run}': {journal.name} is still being written by a worker; wait for its end"
            )


def resume(
    run: Path,
    plan: Plan,
    device: Device,
    observe: Callable[[Record], None] = lambda record: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    notice: Callable[[str], object] = lambda message: None,
    *,
    time_alone: bool = False,
) -> RunResult:
    """Carry out what is left of a run; see :func:`optbench.runs.pipeline.run_plan`."""
    with locked(run, notice):
        meta = read_description(run)
        blocks = _update_blocks(run, meta, plan)
        resumption: dict[str, Any] = {
            "resumed": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "workers": plan.workers,
            **({} if plan.cluster is None else {"cluster": plan.cluster.describe()}),
        }
        if environment_changes(meta, device):
            resumption |= {"environment": describe_environment(), "device": device.describe()}
        kept = {name: value for name, value in meta.items() if name not in WRITTEN_ANEW}
        kept["blocks"] = blocks
        kept["resumes"] = [*kept.get("resumes", []), resumption]
        extra = extra_columns(plan.suite)
        writer = RunWriter(
            run,
            kept,
            plan.lanes,
            workers=plan.workers,
            extra=extra,
            resumed=True,
            elsewhere=plan.writes_elsewhere,
        )
        write_surfaces(writer, plan.suite)  # what ended it may have come before their last
        return carry_out(plan, device, writer, observe, checkpoint_seconds, time_alone=time_alone)


def _update_blocks(run: Path, meta: Mapping[str, Any], plan: Plan) -> list[dict[str, Any]]:
    """Return what run.json is to say of the blocks, and forget those that are planned anew."""
    entries = _block_entries(run, meta, plan.lanes)
    present = [entry for entry in entries if not _was_never_copied(run, entry)]
    recorded = {entry["block"] for entry in entries}
    added = [
        {"block": block.number, "lanes": [lane.number for lane in block.lanes]}
        for block in plan.blocks
        if block.number not in recorded
    ]
    left = [entry for entry in present if not Journal(run, entry["block"]).ended]
    # The lock is ours, so that a run that nobody has ended says that it is running.
    ended = meta["status"] not in (Status.RUNNING, Status.INTERRUPTED)
    planned = [block.number for block in plan.blocks]
    if ended or [entry["block"] for entry in (*left, *added)] != planned:
        raise ResultsError(f"another process has resumed '{run}' meanwhile; look at it again")
    for entry in entries:
        if entry not in present:
            Journal(run, entry["block"]).forget()
    return [*present, *added]


def check_lanes(run: Path, lanes: Sequence[Lane]) -> None:
    """Refuse a suite whose lanes are not those that the run began with."""
    began = read_lanes(run)
    if len(began) != len(lanes):
        raise ResultsError(
            f"'{run}' began with {len(began)} lanes, and its suite now makes {len(lanes)}"
        )
    for key, lane in zip(began["lane_key"].tolist(), lanes, strict=True):
        if key != lane.key:
            raise ResultsError(
                f"'{run}' cannot be resumed: lane {lane.number} ({lane.label} on {lane.problem}) "
                "is another one now, since its data, code or defaults have changed"
            )


def _block_entries(
    run: Path, meta: Mapping[str, Any], lanes: Sequence[Lane]
) -> list[dict[str, Any]]:
    """Return what run.json says of its blocks: each lane is in one of them."""
    damaged = ResultsError(f"'{run / 'run.json'}' is damaged: its blocks do not share the lanes")
    try:
        entries = [{**entry} for entry in meta["blocks"]]
        numbers = [entry["block"] for entry in entries]
        members = sorted(number for entry in entries for number in entry["lanes"])
    except (KeyError, TypeError):
        raise damaged from None
    whole = all(type(number) is int and number >= 0 for number in [*numbers, *members])
    if not whole or members != list(range(len(lanes))) or len({*numbers}) < len(numbers):
        raise damaged
    return entries


def _was_never_copied(run: Path, entry: Mapping[str, Any]) -> bool:
    """Say whether a block was to be taken over from another run and was not; it is run here."""
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
            f"'{run / 'run.json'}' is damaged: block {entry['block']} is not in its suite"
        ) from None
    return replace(block, number=entry["block"])


def going_on(plan: Plan, run: Path, suite: Suite, device: Device) -> Plan:
    """Return a plan whose lanes go on where a run of another suite has paused them.

    Blocks that have begun stay as they are. Lanes that the run did not pause begin anew, in blocks
    of their own.
    """
    lanes = lay_out(suite, device.kind)
    earlier = [
        _from_checkpoint(run, _recorded_block(run, entry, suite, lanes))
        for entry in _block_entries(run, read_description(run), lanes)
        if Journal(run, entry["block"]).has_checkpoint
    ]
    paused = paused_lanes(earlier)
    blocks: list[Block] = []
    taken_up: list[TakenUp] = []
    first_new = plan.first_new or 0
    for block in plan.blocks:
        known = [place for place, lane in enumerate(block.lanes) if lane.key in paused]
        if block.progress is not None or not known:
            blocks.append(block)
            continue
        taken_up.append(take_up(block.subset(known), run, earlier))
        blocks.append(taken_up[-1].block)
        if len(known) < len(block.lanes):
            others = block.subset({*range(len(block.lanes))} - {*known})
            blocks.append(replace(others, number=first_new))
            first_new += 1
    return replace(plan, blocks=tuple(blocks), first_new=first_new, taken_up=tuple(taken_up))


def _has_ended(run: Path, entry: Mapping[str, Any]) -> bool:
    """Say whether a block has ended; its rows are files then, which have to be whole."""
    journal = Journal(run, entry["block"])
    result = journal.result()
    if result is None:
        return False
    if {lane.lane for lane in result.lanes} != {*entry["lanes"]}:
        raise ResultsError(f"'{run}' is damaged: {journal.name} holds lanes of another block")
    trace, evaluation = (
        run / folder / f"{journal.name}.parquet" for folder in ("trace", "evaluation")
    )
    if any(lane.status is not Status.FAILED for lane in result.lanes):
        check_file(trace, TRACE_COLUMNS)
    if evaluation.exists():
        check_file(evaluation, EVALUATION_COLUMNS)
    return True


def _from_checkpoint(run: Path, block: Block) -> Block:
    """Return a block that goes on from its checkpoint, if it has one."""
    lanes = [lane.number for lane in block.lanes]
    return replace(block, progress=Journal(run, block.number).progress(lanes))
