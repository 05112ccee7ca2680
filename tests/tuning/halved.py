"""Studies with and without halving, for tests that compare their lanes."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import RunTables, TraceChunk
from optbench.runs.invocation import Execution
from optbench.store.reader import read_run
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.study import StudyResult, tune

ITERATIONS = 90

FUNCTION: dict[str, Any] = {
    "problem": "anisotropic",
    "optimizers": ["sgd", "momentum", "adam"],
    "iterations": ITERATIONS,
    "budget": "20 trials",
}

NETWORK = """
name = "layers"
iterations = 90
{top}

[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 12", "batch-norm", "relu", "dropout 0.3", "dense 10"]
batch_size = 16
dtype = "float32"
{problem}

[[optimizer]]
name = "sgd"
space.lr = "log(1e-2, 1)"

[[optimizer]]
name = "adam"
space.lr = "log(1e-4, 1e-1)"
space.beta2 = "1 - log(1e-3, 0.1)"

[[optimizer]]
name = "schedule-free-sgd"
space.lr = "log(1e-2, 1)"

[[optimizer]]
name = "muon"
space.lr = "log(1e-3, 1e-1)"
"""

SECONDS = [
    "step_seconds",
    "gradient_seconds",
    "update_seconds",
    "workers",
    "block_lanes",
    "reused_from",
]


def network(folder: Path, top: str = "", problem: str = "") -> dict[str, Any]:
    """Return a request for a small network and rules with several slots."""
    file = folder / "layers.toml"
    file.write_text(NETWORK.format(top=top, problem=problem), encoding="utf-8")
    return {"suite": str(file), "budget": "9 trials", "trial_seeds": 2}


def study(
    out: Path, request: dict[str, Any], *, final: bool = False, **execution: Any
) -> StudyResult:
    """Make a study; only its search unless the ``final`` is wanted, too."""
    less = {} if final else {"finalists": 0, "eval_seeds": 1, "defaults": False}
    return tune(TuneRequest(**{**less, **request}), Execution(out=out, trace="all", **execution))


def runs(made: StudyResult) -> list[RunTables]:
    """Return the runs of a search."""
    return [read_run(path) for path in sorted(made.path.glob("search-*"))]


def lane_tables(run: RunTables, lane: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return trace and evaluations of a lane in order."""
    trace = run.trace[run.trace["lane"] == lane].drop(columns="lane")
    evaluation = run.evaluation[run.evaluation["lane"] == lane].drop(columns="lane")
    order = ["iteration", "split"]
    return (
        trace.sort_values("iteration", ignore_index=True),
        evaluation.sort_values(order, ignore_index=True),
    )


def assert_bits(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Compare tables bit for bit, also zeros with signs."""
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)
    for name in ours.select_dtypes("float"):
        assert ours[name].to_numpy().tobytes() == theirs[name].to_numpy().tobytes()


def assert_survivors_are_plain(halved: list[RunTables], plain: RunTables) -> None:
    """Compare each lane of the last rung with the lane of the same key that nothing paused."""
    (last,) = halved[-1:]
    ends = plain.lanes.set_index("lane_key")
    assert set(last.lanes["lane_key"]) < set(ends.index)
    columns = [
        name
        for name in plain.lanes
        if name not in [*SECONDS, "lane", "lane_key"] and not name.startswith("hp_")
    ]
    for row in last.lanes.to_dict("records"):
        end = ends.loc[row["lane_key"]]
        for ours, theirs in zip(
            lane_tables(last, row["lane"]), lane_tables(plain, end["lane"]), strict=True
        ):
            assert_bits(ours, theirs)
        for name in columns:
            assert row[name] == end[name] or (pd.isna(row[name]) and pd.isna(end[name])), name


def assert_rungs_are_beginnings(halved: list[RunTables], plain: RunTables) -> None:
    """Compare the rows of all lanes of all rungs with the first ones of lanes that go through."""
    number = plain.lanes.set_index("lane_key")["lane"]
    for run in halved:
        for row in run.lanes.to_dict("records"):
            ours, _ = lane_tables(run, row["lane"])
            theirs, _ = lane_tables(plain, number[row["lane_key"]])
            assert_bits(ours, theirs.iloc[: len(ours)])
            if row["status"] in ("paused", "stopped") and row["stopped_by"] in (None, "halving"):
                (pause,) = {
                    problem["pause_at"] for problem in run.meta["suite"]["resolved"]["problem"]
                }
                assert (len(ours), row["iterations"]) == (pause, pause)


class Counter:
    """Counts the updates that a search makes: those of rows that it reports."""

    def __init__(self) -> None:
        self.updates = 0

    def progress(self, plan: Any) -> Any:
        """Count the updates of one run, unless it is the final."""
        searching = plan.suite.name.startswith("search")

        def observe(record: Any) -> None:
            if searching and isinstance(record, TraceChunk):
                extra = record.first_iteration + record.rows - plan.blocks[0].iterations
                self.updates += int((record.rows - np.maximum(0, extra)).sum())

        return nullcontext(observe)
