"""The schema: what the engine reports, and what the files of a run hold.

Both sides of optbench meet here. A :class:`Lane` says what to run. The engine yields
:class:`TraceChunk`, :class:`EvaluationRows` and :class:`BlockResult`; the store writes them as the
columns named in :data:`LANE_COLUMNS`, :data:`TRACE_COLUMNS`, :data:`EVALUATION_COLUMNS` and
:data:`SURFACE_COLUMNS`; readers know nothing else. A missing value is null, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 3
"""Version of the files of a run; raised when a column changes its meaning.

Before 3 a final loss was the mean of up to 100 rows wherever there are batches.
"""

NUMERICS_VERSION = 1
"""Raised whenever a change of optbench changes the bits of a trace; part of every lane key."""

MOST_AVERAGED_ROWS = 100
"""Rows whose mean is the final loss of a stochastic problem, at most."""

POSITION_NAMES = ("x", "y", "z")
"""Columns of a trace that hold the position, for problems with at most three parameters."""

PENALTY = "penalty"
"""Column of a trace that holds what of the loss is regularisation."""

HYPERPARAMETER_PREFIX = "hp_"


class Status(StrEnum):
    """What became of a lane, or of a run."""

    RUNNING = "running"
    DONE = "done"
    PAUSED = "paused"  # a lane of one rung of halving that may go on in the next
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


LANE_COLUMNS = {
    "lane": "int32",
    "lane_key": "string",
    "problem": "string",
    "optimizer": "string",
    "label": "string",
    "seed": "int64",
    "fingerprint": "string",
    "status": "string",
    "diverged_at": "int32",  # iteration of the lane's last row, where it stopped being finite
    "stopped_at": "int32",  # iteration at which a stopping rule, or halving, ended the lane
    "final_loss": "float64",
    "best_loss": "float64",
    "iterations": "int32",  # updates made; null where unknown
    "step_seconds": "float64",  # gradient_seconds + update_seconds
    "block_lanes": "int32",
    "workers": "int32",
}
"""Columns of lanes.parquet; for each hyperparameter a column ``hp_<name>`` (float64, or string for
words) follows ``seed``."""

BEST_AT = "best_at"
"""Column of lanes.parquet (int32) in runs with early stopping; see :class:`LaneResult`."""

GRADIENT_SECONDS, UPDATE_SECONDS = "gradient_seconds", "update_seconds"
"""Columns of lanes.parquet (float64): the lane's share, in each step, of the time that its block
spent on loss and gradient, and of the time that its group spent on updates."""

GRADIENTS = "gradients"
"""Column of lanes.parquet (int64): the lane's gradients, one for each of its iterations and one for
each time that its rule evaluated the loss in them."""

STOPPED_BY = "stopped_by"
"""Column of lanes.parquet (string) in runs with stopped lanes: one of :data:`STOPPING`."""

STEPS_TO_TARGET = "steps_to_target"
"""What trials may be scored by that lanes.parquet does not hold: updates until the target."""

HALVING = "halving"

STOPPING = ("loss", "grad_norm", "patience", HALVING)
"""What stops lanes."""

REUSED_FROM = "reused_from"
"""Column of lanes.parquet (string) in runs that reused lanes; see :class:`LaneResult`."""

TRACE_COLUMNS = {"lane": "int32", "iteration": "int32", "loss": "float64"}
"""Columns of trace/*.parquet; x, y, z and penalty (float64) follow where a problem has them."""

EVALUATION_COLUMNS = {
    "lane": "int32",
    "iteration": "int32",  # updates made before it
    "split": "string",  # train, validation or test
    "loss": "float64",
    "error": "float64",  # zero-one error, a fraction from 0 to 1
}
"""Columns of evaluation/*.parquet."""

SURFACE_COLUMNS = {
    "problem": "string",
    "x": "float64",
    "y": "float64",
    "value": "float64",
    "gradient_x": "float64",
    "gradient_y": "float64",
}
"""Columns of surface/*.parquet: a function of one or two variables on the grid of its plot domain.

y varies fastest; where there is one variable, y and gradient_y are null.
"""

UNIT_PREFIX = "u_"

TRIAL_COLUMNS = {
    "problem": "string",
    "label": "string",
    "optimizer": "string",
    "trial": "int32",  # the point's number, from 0
    "phase": "string",  # search or finalists
    "round": "string",  # name of the run within the study
    "seeds": "int32",
    "seeds_diverged": "int32",  # or failed
    "score": "float64",  # median over seeds of the study's metric; +inf if not finite, or culled
    "validation_loss": "float64",  # these are medians over seeds, too; null where not evaluated
    "validation_error": "float64",
    "final_loss": "float64",
    "test_loss": "float64",
    "test_error": "float64",
    "steps": "int64",  # updates made, over all seeds of the phase
    "gradients": "int64",
    "seconds": "float64",  # step_seconds times steps, over all seeds of the phase
    "culled_at": "int32",  # iteration at which halving ended it; null where it went on
    "edge": "string",  # hyperparameters of a chosen trial at an end of their space; null for none
    "chosen": "bool",
}
"""Columns of a study's trials.parquet, one row for each trial and phase. The score of a finalist is
over the seeds of both phases, all else over those of its own. For each hyperparameter in a space or
a grid a column ``hp_<name>`` (float64, or string for words) and its unit coordinate ``u_<name>``
(float64, null where it has none) follow ``round``."""


@dataclass(frozen=True)
class Lane:
    """One training run: a row of lanes.parquet before it has run.

    ``problem`` and ``label`` are the titles of the problem and of the optimizer entry;
    ``hyperparameters`` has all of them by name.
    """

    number: int  # its index in the suite, from 0
    key: str  # SHA-256 of everything that decides its trace
    problem: str
    optimizer: str
    label: str
    hyperparameters: Mapping[str, float | str]
    seed: int
    fingerprint: str


@dataclass(frozen=True)
class TraceChunk:
    """Consecutive trace rows of the lanes of one block.

    Attributes
    ----------
    block
        Number of the block.
    lanes
        Lane numbers, int32, shape (lanes,).
    first_iteration
        Iteration of the first row.
    loss
        float64, shape (rows, lanes).
    rows
        How many of the rows count for each lane, int64, shape (lanes,): fewer than all for a lane
        that has ended.
    position
        float64, shape (rows, lanes, parameters), or None for problems with more than 3 parameters.
    penalty
        What of the loss is regularisation, float64, shape (rows, lanes), or None.
    every
        Iterations from one row to the next: 1 but where only some rows are kept.
    """

    block: int
    lanes: np.ndarray
    first_iteration: int
    loss: np.ndarray
    rows: np.ndarray
    position: np.ndarray | None = None
    penalty: np.ndarray | None = None
    every: int = 1

    @property
    def nbytes(self) -> int:
        """What its rows take in memory."""
        arrays = (self.loss, self.position, self.penalty)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def last_loss(self) -> float:
        """Median of the last row of the lanes that ran.

        Lanes that diverge in the chunk count as infinitely bad.
        """
        ran = np.flatnonzero(self.rows)
        last = self.loss[self.rows[ran] - 1, ran]
        return float(np.median(np.where(np.isfinite(last), last, np.inf)))

    @property
    def next_iteration(self) -> int:
        """The iteration of the row that follows its last one."""
        return self.first_iteration + len(self.loss) * self.every


@dataclass(frozen=True)
class LastRows:
    """The last trace row of each lane of a block of whose rows only some are kept.

    ``iteration`` is int64 of shape (lanes,), −1 for a lane without rows; the others are as in
    :class:`TraceChunk`, without the axis of rows.
    """

    block: int
    lanes: np.ndarray
    iteration: np.ndarray
    loss: np.ndarray
    position: np.ndarray | None = None
    penalty: np.ndarray | None = None


@dataclass(frozen=True)
class EvaluationRows:
    """Loss and zero-one error of lanes over one whole split; NaN stands for null.

    ``number`` says how many evaluations of the block come before it.
    """

    block: int
    number: int
    lanes: np.ndarray
    iteration: int
    split: str
    loss: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class LaneResult:
    """What became of one lane; the fields are columns of lanes.parquet.

    ``stopped_by`` is a column only where lanes were stopped; ``best_at``, the updates after which
    the validation error was smallest, only where lanes stop by patience; ``reused_from``, the name
    of the run that a lane was copied from, only where lanes were reused.
    """

    lane: int
    status: Status
    iterations: int | None
    diverged_at: int | None = None
    stopped_at: int | None = None
    stopped_by: str | None = None
    best_at: int | None = None
    final_loss: float | None = None
    best_loss: float | None = None
    step_seconds: float | None = None
    gradient_seconds: float | None = None
    update_seconds: float | None = None
    block_lanes: int = 1
    gradients: int | None = None
    reused_from: str | None = None


@dataclass(frozen=True)
class BlockResult:
    """A block has ended; ``message`` and ``traceback`` say why where its lanes failed."""

    block: int
    lanes: tuple[LaneResult, ...]
    message: str = ""
    traceback: str = field(default="", repr=False)


@dataclass(frozen=True)
class BlockSplit:
    """A block did not fit into memory, or raised: its parts run anew, and its records are void.

    ``parts`` holds number and lane numbers of the blocks that take its place; ``message`` and
    ``traceback`` say what it raised, and are empty where it did not fit.
    """

    block: int
    parts: tuple[tuple[int, tuple[int, ...]], ...]
    message: str = ""
    traceback: str = field(default="", repr=False)


@dataclass(frozen=True)
class Checkpoint:
    """A block between two chunks: all that its lanes need to go on."""

    block: int
    rows: int  # trace rows recorded before it
    arrays: Mapping[str, np.ndarray]  # by name; only the engine knows what they mean


@dataclass(frozen=True)
class Underway:
    """How far a block is that runs elsewhere.

    Rows before ``next_iteration`` lie on the disk. ``last_loss`` is as of a :class:`TraceChunk`,
    NaN before there is a row.
    """

    block: int
    next_iteration: int
    last_loss: float
    worker: str


@dataclass(frozen=True)
class Receipt:
    """A block has ended, and has been written where it ran."""

    result: BlockResult

    @property
    def block(self) -> int:
        """The number of the block."""
        return self.result.block


@dataclass(frozen=True)
class Failure:
    """Something that was raised while lanes ran.

    ``lanes`` are the numbers of those that raised it alone; empty if only several together did.
    """

    message: str
    lanes: tuple[int, ...]
    traceback: str = field(repr=False)


Record: TypeAlias = (
    TraceChunk
    | LastRows
    | EvaluationRows
    | BlockResult
    | BlockSplit
    | Checkpoint
    | Underway
    | Receipt
)


@dataclass(frozen=True)
class RunTables:
    """All that the reporting side knows of one run: run.json and its tables as DataFrames.

    The tables have the columns named in this module; ``surface`` is empty where no problem is a
    function of one or two variables. Several runs may be joined into one: ``runs`` are their names,
    and ``shared`` says of each label that was made different which label it was, and the place of
    its run.
    """

    path: Path  # the run's directory
    meta: dict[str, Any]  # run.json; meta["problems"] describes each problem
    lanes: "pd.DataFrame"
    trace: "pd.DataFrame"
    evaluation: "pd.DataFrame"
    surface: "pd.DataFrame"
    runs: tuple[str, ...] = ()
    shared: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyTables:
    """All that the reporting side knows of one study: tune.json, its trials, and its final run.

    ``meta`` has, beside schema_version, status, started and ended, ``suite`` as run.json has it,
    ``spaces`` (text by problem, label and hyperparameter) with ``space_sources``, ``sampler``,
    ``budget`` (``given``, ``amount``, ``unit``, ``trials`` by problem and label), ``metric`` by
    problem, ``target`` (``rule``, ``on`` and ``value`` by problem, of those with that metric),
    ``tuning_seeds``, ``finalist_seeds``, ``evaluation_seeds``, ``halving`` (null, or ``eta``,
    ``first_rung`` and ``rungs``: iterations and trials by problem and label), ``rounds`` (phase,
    run, trials) and ``winners`` (problem, label, trial, hyperparameters, ``search_score``,
    ``finalist_score``, ``edge``).
    """

    path: Path  # the study's directory
    meta: dict[str, Any]
    trials: "pd.DataFrame"
    final: RunTables | None  # None before the final has begun


def averaged_rows(updates: int, *, stochastic: bool) -> int:
    """Return how many of its last rows a lane's final loss is the mean of.

    Where chance decides the loss of a row, by random batches, masks or noise, it is a tenth of the
    updates that the lane has made, at most 100 and at least 1; everywhere else 1. A lane that was
    stopped early thus averages a tenth of what it has, not of what it was to make.

    >>> [averaged_rows(updates, stochastic=True) for updates in (5, 200, 2000)]
    [1, 20, 100]
    >>> averaged_rows(2000, stochastic=False)
    1
    """
    return min(MOST_AVERAGED_ROWS, max(1, updates // 10)) if stochastic else 1


def averaged_rows_of(problem: Mapping[str, Any], schema_version: int, updates: int) -> int:
    """Return what :func:`averaged_rows` gave when a run of this version was made.

    ``problem`` is its entry in run.json.
    """
    if schema_version < SCHEMA_VERSION:
        batches = problem["batch_size"] is not None
        return max(1, min(MOST_AVERAGED_ROWS, updates)) if batches else 1
    return averaged_rows(updates, stochastic=bool(problem.get("stochastic")))


def final_and_best(loss: np.ndarray, averaged: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the final and the best loss of lanes that have ended.

    The final loss is the mean of the last ``averaged`` rows, the best the smallest mean of so many
    consecutive ones.

    Parameters
    ----------
    loss
        All rows of each lane, shape (…, rows).
    averaged
        See :func:`averaged_rows`; at most as many as there are rows.

    >>> losses = np.array([[3.0, 1.0, 2.0], [5.0, 4.0, 3.0]])
    >>> [part.tolist() for part in final_and_best(losses, 1)]
    [[2.0, 3.0], [1.0, 3.0]]
    >>> [part.tolist() for part in final_and_best(losses, 2)]
    [[1.5, 3.5], [1.5, 3.5]]
    """
    if averaged == 1:  # in a fifteenth of the time; like a mean, it knows no negative zero
        return loss[..., -1] + 0.0, loss.min(axis=-1) + 0.0
    whole = np.ascontiguousarray(loss)  # a sum's bits depend on the order in memory
    means = np.lib.stride_tricks.sliding_window_view(whole, averaged, axis=-1).mean(axis=-1)
    return means[..., -1], means.min(axis=-1)
