"""The domain of a function: what its figures show, and whether a lane ended outside it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from optbench.records import POSITION_NAMES, RunTables

MARGIN = 0.1
"""Room beyond an end that a domain grows to hold, as a fraction of the domain."""

FARTHEST_END = 1e6
"""Ends farther out than so many widths of the guess have run away; no figure can show them."""


def ends(trace: pd.DataFrame, lanes: pd.DataFrame) -> pd.DataFrame:
    """Return all of a trace that this module reads, by lane and iteration.

    That is the first row of each lane, the last, and the last whose position is finite.
    """
    places = (trace["lane"].to_numpy(np.int64) << 32) + trace["iteration"].to_numpy(np.int64)
    order = np.argsort(places, kind="stable")  # which merges what is in order already
    lane = trace["lane"].to_numpy()[order]
    first = np.flatnonzero(np.diff(lane, prepend=lane[:1] - 1))
    if not first.size:
        return trace
    rows = [first, np.append(first[1:], len(lane)) - 1]
    finite = np.ones(len(lane), dtype=bool)
    for name in [name for name in POSITION_NAMES if name in trace]:  # of one variable, two, three
        finite &= np.isfinite(trace[name].to_numpy(dtype=np.float64)[order])
        rows.append(np.maximum.reduceat(np.where(finite, np.arange(len(lane)), first[0]), first))
    kept: pd.DataFrame = trace.iloc[order[np.unique(np.concatenate(rows))]]
    return kept


def lanes_outside(tables: RunTables) -> frozenset[int]:
    """Return the lanes whose last finite position lies outside the given domain of their function.

    A function may be unbounded, or fall for ever, outside the domain that it is defined for: what
    ends there has a small loss and no minimum. It ranks after all that ended inside, and before
    what diverged or failed. A domain that was guessed for figures bounds nothing. Problems without
    a domain, or with more parameters than a trace holds, have no such lanes.
    """
    outside: set[int] = set()
    for problem in tables.meta["problems"]:
        plot = problem.get("plot") or {"domain": []}
        domain = np.array(plot["domain"], dtype=np.float64).reshape(-1, 2)
        names = list(POSITION_NAMES[: len(domain)])
        guessed = np.array(plot.get("guessed") or [False] * len(domain), dtype=bool)
        known = len(domain) <= len(POSITION_NAMES) and set(names) <= set(tables.trace)
        if guessed.all() or not known:
            continue
        domain[guessed] = -np.inf, np.inf
        lanes = tables.lanes.loc[tables.lanes["problem"] == problem["problem"], "lane"]
        last = _last_positions(tables, lanes, names)
        beyond = ((last < domain[:, 0]) | (last > domain[:, 1])).any(axis=1)
        outside.update(last.index[beyond].tolist())
    return frozenset(outside)


def grown_domain(
    tables: RunTables, problem: str, lanes: Iterable[int]
) -> list[tuple[float, float]] | None:
    """Return a function's domain, its guessed intervals grown to hold where lanes ended.

    Lanes that ended higher than they began, or have run away, do not count. None if it is as
    run.json has it.
    """
    (plot,) = (known["plot"] for known in tables.meta["problems"] if known["problem"] == problem)
    domain, guessed = np.array(plot["domain"], dtype=np.float64), np.array(plot["guessed"])
    rows = tables.trace[tables.trace["lane"].isin(lanes)].sort_values("iteration")
    losses = rows.groupby("lane")["loss"]
    fallen = losses.last(skipna=False) <= losses.first(skipna=False)
    ends = _last_positions(tables, fallen.index[fallen], list(POSITION_NAMES[: len(domain)]))
    low, high = domain.T
    near = ((ends - low).abs() <= FARTHEST_END * (high - low)).all(axis=1)
    lowest = ends[near].to_numpy().min(axis=0, initial=np.inf)
    highest = ends[near].to_numpy().max(axis=0, initial=-np.inf)
    room = MARGIN * (np.maximum(high, highest) - np.minimum(low, lowest))
    grown_low = np.where(guessed & (lowest < low), lowest - room, low)
    grown_high = np.where(guessed & (highest > high), highest + room, high)
    if (grown_low == low).all() and (grown_high == high).all():
        return None
    return list(zip(grown_low.tolist(), grown_high.tolist(), strict=True))


def _last_positions(tables: RunTables, lanes: Iterable[int], names: list[str]) -> pd.DataFrame:
    """Return the last finite position of each lane that has one, by lane."""
    rows = tables.trace[tables.trace["lane"].isin(lanes)]
    rows = rows[rows[names].abs().max(axis=1, skipna=False) < np.inf]
    last = rows.loc[rows.groupby("lane")["iteration"].idxmax()]
    return last.set_index("lane")[names]
