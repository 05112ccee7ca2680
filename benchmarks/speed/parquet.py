"""Rows of a trace to parquet files, by the writer of a run; syncing to disk is left out."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed import ours
from benchmarks.speed.measure import interleave, timed
from optbench.records import Record, TraceChunk
from optbench.store.writer import RunWriter

LANES, STEPS = 10_000, 200


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the records of many lanes of Adam on the function; return rows a second."""
    suite = ours.function_suite(LANES // 4 if quick else LANES, STEPS)
    plan = ours.plan_of(suite)
    records: list[Record] = []
    ours.step_all(plan, records.append)
    rows = sum(int(each.rows.sum()) for each in records if isinstance(each, TraceChunk))

    def work() -> float:
        with tempfile.TemporaryDirectory() as folder:
            writer = RunWriter(Path(folder), {}, plan.lanes, workers=plan.workers, extra=("x", "y"))
            return timed(lambda: [writer.add(record) for record in records], rows)

    seconds = interleave({"writer": {"trace": work}}, rounds, say)["writer"]["trace"]
    return {"rows": rows, "rows_per_second": [1 / each for each in seconds]}
