"""What ``optbench run`` prints before and after a run."""

from json import dumps, loads
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import typer

from optbench.cli.options import DEFAULT_OUT
from optbench.cli.output import console, debug, say, table
from optbench.records import Failure, RunTables, Status

if TYPE_CHECKING:
    from optbench.device.base import Device
    from optbench.runs.pipeline import Plan, RunResult


def print_plan(plan: "Plan", device: "Device") -> None:
    """Print what a run would take."""
    from optbench.report.tables import duration
    from optbench.runs.estimate import estimate_plan

    listed = table("problem", "optimizer", "lanes", "blocks", "iterations", "a block", "time")
    estimates = estimate_plan(plan, device)
    for each in estimates:
        sizes = (f"{each.lanes:,}", f"{each.blocks:,}", f"{each.iterations:,}")
        memory = _memory(each.block_bytes)
        listed.add_row(each.problem, each.optimizer, *sizes, memory, duration(each.seconds))
    for column in listed.columns[2:]:
        column.justify = "right"
    console().print(listed)
    data = sum(array.nbytes for array in _data(plan).values())
    at_work = plan.workers * max((each.block_bytes for each in estimates), default=0)
    seconds = sum(each.seconds for each in estimates) / plan.workers
    workers = f"{plan.workers} worker{'' if plan.workers == 1 else 's'}"
    typer.echo(
        f"{plan.suite.name}: {len(plan.lanes):,} lanes in {len(plan.blocks):,} blocks on {workers} "
        f"({device.kind}), about {duration(seconds)}, {_memory(at_work)} of work arrays and "
        f"{_memory(data)} of data; nothing was run"
    )


def _data(plan: "Plan") -> dict[int, Any]:
    """Return the data of all problems, arrays that they share once."""
    arrays = [array for each in plan.suite.problems for array in each.problem.data().values()]
    return {id(array): array for array in arrays}


def _memory(count: int) -> str:
    """Write a number of bytes.

    >>> _memory(512), _memory(10 * 2**20)
    ('512 B', '10.0 MiB')
    """
    if count < 1024:
        return f"{count} B"
    exponent = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**exponent:.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def print_result(outcome: "RunResult", out: Path, *, quiet: bool) -> RunTables:
    """Print a run's table, and to stderr what went wrong in it."""
    from optbench.store.reader import read_run

    if outcome.status is Status.INTERRUPTED and not quiet:
        say(f"interrupted: what was done is kept; go on with: {how_to_go_on(outcome.path, out)}")
    tables = read_run(outcome.path)
    for failure in outcome.failures:
        say(_failure(failure, tables))
        debug(failure.traceback)
    if not quiet:
        from optbench.report.summaries import summary
        from optbench.report.tables import to_rich

        console().print(to_rich(summary(tables)))
    return tables


def _failure(failure: Failure, tables: RunTables) -> str:
    """Say in one line which lanes raised something."""
    where = f"(the traceback is in {tables.path}/run.json)"
    if not failure.lanes:
        return (
            f"note: lanes raised together what none raises alone: {failure.message}; "
            f"their results are those of smaller blocks {where}"
        )
    lanes = tables.lanes.set_index("lane").loc[list(failure.lanes)]
    titles = (lanes["label"] + " on " + lanes["problem"]).tolist()
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(lanes["seed"].tolist()))
    which = ", ".join(dict.fromkeys(titles))
    count = "" if len(lanes) == 1 else f", {len(lanes)} lanes"
    return f"error: {which} (seed {seeds}{count}) failed: {failure.message} {where}"


def print_end(finished: list[RunTables], out: Path, *, quiet: bool) -> None:
    """Say where the results are and how to plot them."""
    for tables in finished:
        typer.echo(str(tables.path) if quiet else f"results: {tables.path}")
    if not quiet:
        option = "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"
        say(f"plot them with: optbench plot{option}")


def print_json(finished: list[RunTables], invocation: str) -> None:
    """Print the summaries of all runs of an invocation as one JSON object."""
    from optbench.report.summaries import summary
    from optbench.report.tables import to_json

    runs: list[dict[str, Any]] = [
        {
            "path": str(tables.path),
            "suite": tables.meta["suite"]["name"],
            "status": tables.meta["status"],
            "summary": loads(to_json(summary(tables))),
        }
        for tables in finished
    ]
    typer.echo(dumps({"invocation_id": invocation, "runs": runs}, indent=2, ensure_ascii=False))


def how_to_go_on(run: Path, out: Path) -> str:
    """Return the command that goes on with a run."""
    option = "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"
    return f"optbench run --resume {quote(run.name)}{option}"
