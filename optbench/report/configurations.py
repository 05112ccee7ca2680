"""Configurations: lanes that differ in nothing but their seed, and the best of a grid."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from optbench.errors import UsageError, nearest
from optbench.inference.metric import Scale, scale_of
from optbench.records import (
    BEST_AT,
    HYPERPARAMETER_PREFIX,
    RunTables,
    Status,
    averaged_rows_of,
)
from optbench.report.domain import ends, lanes_outside
from optbench.report.statistics import ENDED_WELL, ENDED_WORST, VALUED, quantile, spread

SPLITS = ("train", "validation", "test")
EVALUATED = tuple(f"{split}_{measure}" for split in SPLITS for measure in ("loss", "error"))
MEASURES = ("final_loss", "best_loss", *EVALUATED)
"""What a lane reached, and what medians over seeds are taken of."""

MEASURE_NAMES = {
    name: name.replace("train_", "training_").replace("_", " ") for name in ("loss", *MEASURES)
}
"""What a reader calls them, and the loss of a trace."""

CRITERIA = {name: MEASURE_NAMES[name] for name in ("validation_loss", "train_loss", "final_loss")}
"""What a problem's lanes are ranked by, and its name: the first of these that any of them has."""


def problem_names(tables: RunTables) -> list[str]:
    """Return the problems of a run in the order of its lanes."""
    return [str(name) for name in tables.lanes.sort_values("lane")["problem"].unique()]


def describe(tables: RunTables, problem: str) -> dict[str, Any]:
    """Return what run.json says of a problem."""
    known = {str(entry["problem"]): entry for entry in tables.meta["problems"]}
    if problem not in known:
        raise UsageError(f"this run has no problem '{problem}'; {nearest(problem, known)}")
    return cast("dict[str, Any]", known[problem])


def problem_title(tables: RunTables, problem: str) -> str:
    """Return a problem's title, with the data set that it was trained on where it has one."""
    data = describe(tables, problem).get("data")
    return f"{problem} on {data}" if data else problem


def hyperparameter_columns(table: pd.DataFrame) -> list[str]:
    """Return the ``hp_`` columns of a table of lanes or configurations."""
    return [str(name) for name in table.columns if str(name).startswith(HYPERPARAMETER_PREFIX)]


def last_evaluations(evaluation: pd.DataFrame, lanes: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluation of each lane on each split, by iteration.

    With early stopping it is that of the parameters that validated best.
    """
    if BEST_AT in lanes:
        best = evaluation["lane"].map(lanes.set_index("lane")[BEST_AT].astype("float64"))
        evaluation = evaluation[evaluation["iteration"] <= best.fillna(np.inf)]
    ordered = evaluation.sort_values("iteration", kind="stable")
    return ordered.drop_duplicates(["lane", "split"], keep="last")


RANKED_BY = {"trace": ends, "evaluation": last_evaluations}
"""All that lanes are ranked by, of the tables that grow with their iterations; see
:func:`optbench.store.reader.read_run`."""


def ranked_lanes(tables: RunTables) -> pd.DataFrame:
    """Return the lanes in order with :data:`MEASURES`, and what they are ranked by.

    ``score`` is the loss by which lanes of a problem are ranked, ``criterion`` says which one that
    is: the last evaluated validation loss, else the last evaluated training loss, else the final
    loss; never that of the test split. The smallest is best. Losses of lanes that diverged or
    failed are +inf, and so is the score of one that ended without a finite value of the criterion;
    those of lanes that neither ended nor paused are NaN. ``averaged_rows`` is how many rows a final
    loss is the mean of; ``floor`` is the loss below which a function's differences are rounding,
    -inf where there is none; ``above`` says which lanes ended above where they began, of networks
    and noisy functions above where their problem's lanes began.
    """
    lanes = tables.lanes.sort_values("lane", kind="stable")
    last = last_evaluations(tables.evaluation, lanes)
    reached = {
        f"{split}_{measure}": last[last["split"] == split].set_index("lane")[measure]
        for split in SPLITS
        for measure in ("loss", "error")
    }
    columns = pd.DataFrame(reached, columns=list(EVALUATED), dtype="float64")
    lanes = lanes.join(columns, on="lane").reset_index(drop=True)
    known = lanes.groupby("problem")[list(CRITERIA)].transform("count") > 0
    known["final_loss"] = True
    lanes["criterion"] = known.idxmax(axis=1)
    measures = list(MEASURES)
    lanes[measures] = lanes[measures].astype("float64")
    lanes.loc[lanes["status"].isin(ENDED_WORST), measures] = np.inf
    lanes.loc[~lanes["status"].isin([*ENDED_WORST, *VALUED]), measures] = np.nan
    valued = lanes["status"].isin(VALUED)
    choices = [lanes[name] for name in CRITERIA]
    lanes["score"] = np.select([lanes["criterion"] == name for name in CRITERIA], choices)
    lanes.loc[valued & lanes["score"].isna(), "score"] = np.inf
    lanes["averaged_rows"] = _averaged_rows(tables, lanes)
    described = {problem: describe(tables, problem) for problem in lanes["problem"].unique()}
    own = _first_losses(tables, lanes)
    start = own.groupby(lanes["problem"]).transform("median")
    exact = np.array([_is_exact(described[problem]) for problem in lanes["problem"]], dtype=bool)
    return lanes.assign(
        outside=lanes["lane"].isin(lanes_outside(tables)) & valued,
        above=(lanes["final_loss"] > own.where(exact, start)) & valued,
        minimum=[known_minimum(described[name]) or 0.0 for name in lanes["problem"]],
        floor=[
            _floor(described[problem], start_loss)
            for problem, start_loss in zip(lanes["problem"], start, strict=True)
        ],
    )


def _first_losses(tables: RunTables, lanes: pd.DataFrame) -> "pd.Series[float]":
    """Return the first row of each lane, in the order of the lanes."""
    rows = tables.trace[tables.trace["iteration"] == 0].set_index("lane")
    return lanes["lane"].map(rows["loss"])


def _is_exact(meta: dict[str, Any]) -> bool:
    """Say whether rows of a problem are its loss itself: those of a function without noise are."""
    noisy = meta["batch_size"] is not None or meta.get("stochastic", False)
    return meta["kind"] == "function" and not noisy


def _floor(meta: dict[str, Any], start: float) -> float:
    """Return where a function's loss is no more than rounding above its smallest value."""
    minimum = known_minimum(meta)
    if minimum is None or not _is_exact(meta) or not np.isfinite(start):
        return -np.inf
    scale = loss_scale(meta, np.array([[minimum]]), start)
    return scale.zero + scale.floor


def known_minimum(meta: Mapping[str, Any]) -> float | None:
    """Return the smallest value of a function where it is known."""
    minima = meta.get("minima") if meta.get("kind") == "function" else None
    return min((float(minimum["value"]) for minimum in minima or ()), default=None)


def rounding_unit(meta: Mapping[str, Any]) -> float:
    """Return one unit of rounding of the numbers that a problem is computed in."""
    return float(np.finfo(np.dtype(meta.get("dtype") or "float64")).eps)


def loss_scale(meta: Mapping[str, Any], losses: np.ndarray, start: float) -> Scale:
    """Return the scale on which losses of a problem, shape (sides, seeds), are compared."""
    return scale_of(
        losses,
        start,
        unit=rounding_unit(meta),
        minimum=known_minimum(meta),
        noisy=meta.get("batch_size") is not None,
    )


def _averaged_rows(tables: RunTables, lanes: pd.DataFrame) -> list[int]:
    version = tables.meta["schema_version"]
    described = {name: describe(tables, name) for name in lanes["problem"].unique()}
    updates = lanes["iterations"].astype("float64").fillna(0).astype(int)
    return [
        averaged_rows_of(described[problem], version, made)
        for problem, made in zip(lanes["problem"].tolist(), updates.tolist(), strict=True)
    ]


def _median_statuses(statuses: np.ndarray, medians: np.ndarray) -> list[str]:
    """Return the statuses that explain the median final losses of some configurations.

    ``statuses`` has the shape (seeds, configurations).
    """
    worst = np.isposinf(medians)
    unfinished = sorted(set(statuses.flat) - {*ENDED_WORST, *ENDED_WELL})
    names = [Status.DIVERGED, Status.FAILED, *unfinished, Status.STOPPED]
    has = {name: (statuses == name).any(axis=0) for name in names}
    conditions = [worst & has[Status.DIVERGED], worst, *(has[name] for name in names[2:])]
    return [str(name) for name in np.select(conditions, [str(name) for name in names], Status.DONE)]


def _configurations(lanes: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return rows of :func:`configurations`, for configurations with equally many seeds.

    ``rows`` says where their lanes are in the table, shape (seeds, configurations).
    """
    names = ["problem", "label", "optimizer", "criterion", *hyperparameter_columns(lanes)]
    table: pd.DataFrame = lanes.iloc[rows[0]][names].reset_index(drop=True)
    numbers = (*MEASURES, "score")
    flags = ("status", "outside", "above")
    values = {name: lanes[name].to_numpy()[rows] for name in (*numbers, *flags)}
    floor, minimum = (lanes[name].to_numpy()[rows[0]] for name in ("floor", "minimum"))
    # What lies lower than rounding can is real: such lanes ended outside the domain.
    floor = np.where(quantile(values["score"], 0.5) < 2 * minimum - floor, -np.inf, floor)
    medians = {name: quantile(values[name], 0.5) for name in numbers}
    low, high = spread(values["score"])
    seeds_outside = values["outside"].sum(axis=0)
    iterations, seconds = (
        lanes[name].to_numpy(dtype=np.float64, na_value=np.nan)[rows]
        for name in ("iterations", "step_seconds")
    )
    return table.assign(
        lane_numbers=pd.Series(list(map(tuple, lanes["lane"].to_numpy()[rows].T.tolist()))),
        seeds=len(rows),
        seeds_diverged=(values["status"] == Status.DIVERGED).sum(axis=0),
        seeds_failed=(values["status"] == Status.FAILED).sum(axis=0),
        seeds_outside=seeds_outside,
        seeds_above=values["above"].sum(axis=0),
        status=_median_statuses(values["status"], medians["final_loss"]),
        **medians,
        score_min=quantile(values["score"], 0.0),
        score_max=quantile(values["score"], 1.0),
        score_low=low,
        score_high=high,
        floor=floor,
        level=np.maximum(medians["score"], floor),
        averaged_rows=lanes["averaged_rows"].to_numpy()[rows].max(axis=0),
        iterations=pd.DataFrame(iterations).median(),
        step_seconds=pd.DataFrame(seconds).median(),
        step_seconds_low=pd.DataFrame(seconds).min(),
        step_seconds_high=pd.DataFrame(seconds).max(),
        standing=np.where(np.isfinite(medians["score"]), 2 * seeds_outside > len(rows), 2),
    )


def configurations(tables: RunTables) -> pd.DataFrame:
    """Return one row per configuration, in lane order, with medians over its seeds.

    ``score`` is the median of what :func:`ranked_lanes` ranks by, ``score_low`` and ``score_high``
    are the band over seeds. ``level`` is the score, or the floor where it is below: what is lower
    is rounding, and ties. ``best`` is the first of a problem and label in :func:`ranked`, and where
    several tie, the one in the middle of them. Values of diverged and failed lanes are +inf here
    (see :func:`summary` for the table with nulls), those of lanes that have not ended are NaN.
    """
    lanes = ranked_lanes(tables)
    groups = lanes.groupby(
        ["problem", "label", *hyperparameter_columns(lanes)], sort=False, dropna=False
    )
    number = groups.ngroup().to_numpy()
    order, seeds = np.argsort(number, kind="stable"), np.bincount(number)
    first = np.cumsum(seeds) - seeds
    parts = []
    for count in np.unique(seeds):
        chosen = np.flatnonzero(seeds == count)
        part = _configurations(lanes, order[first[chosen] + np.arange(count)[:, None]])
        parts.append(part.set_axis(chosen))
    table = pd.concat(parts).sort_index()
    best = [
        _middle(tied_with_best(rows))
        for _, rows in ranked(table).groupby(["problem", "label"], sort=False)
    ]
    return table.assign(best=table.index.isin(best))


def tied_with_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Return those of a label's configurations that no other one is better than, in order."""
    first = ranked(rows).iloc[0]
    if not np.isfinite(first["level"]):
        return rows.loc[[first.name]]
    tied = (rows["standing"] == first["standing"]) & (rows["level"] == first["level"])
    found: pd.DataFrame = rows[tied].sort_index()
    return found


def _middle(tied: pd.DataFrame) -> Any:
    """Return the index of the configuration in the middle of those that tie.

    It is the one with the smallest sum, over the hyperparameters that differ, of places from the
    middle of their values; of equals the first.
    """
    away = np.zeros(len(tied))
    for name in swept_numbers(tied) if len(tied) > 2 else ():
        places = tied[name].rank(method="dense").to_numpy()
        away += np.abs(places - (places.max() + 1.0) / 2.0)
    return tied.index[int(away.argmin())]


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Return configurations from best to worst, by standing and level; of equals the first first.

    ``standing`` is 0; 1 where more than half of the seeds ended outside the domain that the
    function was given, however low; and 2 where there is no score.
    """
    return table.sort_values(["standing", "level"], kind="stable")


def swept_columns(table: pd.DataFrame) -> list[str]:
    """Return the hp_ columns of which one label's configurations have two or more values."""
    return [name for name in hyperparameter_columns(table) if table[name].nunique() > 1]


def swept_numbers(table: pd.DataFrame, least: int = 2) -> list[str]:
    """Return the numeric hp_ columns of which some label tried ``least`` or more values.

    The one with most values first; of equals, the one that comes first as a column.
    """
    counts = {
        name: int(table.groupby("label")[name].nunique().max())
        for name in hyperparameter_columns(table)
        if pd.api.types.is_numeric_dtype(table[name])
    }
    return sorted((name for name in counts if counts[name] >= least), key=lambda n: -counts[n])


def hyperparameter_text(
    configuration: "pd.Series[Any]", columns: Iterable[str], link: str = "="
) -> str:
    """Write the hyperparameters of a configuration for a reader.

    >>> values = pd.Series({"hp_lr": 0.00177827941, "hp_momentum": 0.9})
    >>> hyperparameter_text(values, ["hp_lr", "hp_momentum"])
    'lr=0.001778, momentum=0.9'
    """
    named = ((name.removeprefix(HYPERPARAMETER_PREFIX), configuration[name]) for name in columns)
    return ", ".join(
        f"{name}{link}{value:.4g}" if isinstance(value, float) else f"{name}{link}{value}"
        for name, value in named
        if not pd.isna(value)
    )


def bad_endings(lanes: pd.DataFrame, numbers: Sequence[int]) -> str:
    """Say which of these lanes ended badly, for instance "diverged at 12" or "2 of 5 diverged".

    Empty where none did.
    """
    chosen = lanes[lanes["lane"].isin(numbers)]
    texts = []
    for status in ENDED_WORST:
        ended = chosen[chosen["status"] == status]
        if ended.empty:
            continue
        if len(chosen) > 1:
            texts.append(f"{len(ended)} of {len(chosen)} {status}")
        elif ended["diverged_at"].notna().all():
            texts.append(f"{status} at {int(ended['diverged_at'].iloc[0])}")
        else:
            texts.append(str(status))
    return ", ".join(texts)


def edge_warning(table: pd.DataFrame) -> str | None:
    """Say which hyperparameters of a label's best configuration lie on the edge of their grid.

    Where several are equally good, only if all of them do. Only numeric hyperparameters with three
    or more values have an edge worth a warning; where no configuration ended well there is no best
    to warn about.
    """
    best = table[table["best"]].iloc[0]
    if not np.isfinite(best["score"]):
        return None
    tied = tied_with_best(table)
    edges = [
        f"{hyperparameter_text(best, [name])} is the {side} tried"
        for name in swept_numbers(table, least=3)
        for side, extreme in (("smallest", table[name].min()), ("largest", table[name].max()))
        if (tied[name] == extreme).all()
    ]
    return ", ".join(edges) + "; the best may lie beyond" if edges else None


def sensitivity(table: pd.DataFrame, hyperparameter: str) -> pd.DataFrame:
    """Return, of each label and value of a hyperparameter, one problem's best configuration.

    Other hyperparameters that were swept too are thus at their best for each value. Labels keep
    their order, those without the ``hp_`` column are left out; values ascend.
    """
    having = table[table[hyperparameter].notna()]
    best = ranked(having).drop_duplicates(["label", hyperparameter])
    points: pd.DataFrame = pd.concat(
        best[best["label"] == label].sort_values(hyperparameter)
        for label in having["label"].unique()
    )
    return points
