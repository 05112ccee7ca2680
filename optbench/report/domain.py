"""Lanes that ended outside the plot domain of their function: they have won nothing.

A function may be unbounded, or fall for ever, outside the domain that it is defined for; a lane
that ends there has a small loss and no minimum. Such lanes rank after all that ended inside, and
before those that diverged or failed.
"""

import numpy as np
import pandas as pd

from optbench.records import POSITION_NAMES, RunTables


def lanes_outside(tables: RunTables) -> frozenset[int]:
    """Return the lanes whose last finite position lies outside the domain of their function.

    Problems without a plot domain, or with more parameters than a trace holds, have none.
    """
    outside: set[int] = set()
    for problem in tables.meta["problems"]:
        domain = (problem.get("plot") or {}).get("domain", [])
        names = list(POSITION_NAMES[: len(domain)])
        if not 1 <= len(domain) <= len(POSITION_NAMES) or not set(names) <= set(tables.trace):
            continue
        lanes = tables.lanes.loc[tables.lanes["problem"] == problem["problem"], "lane"]
        rows = tables.trace[tables.trace["lane"].isin(lanes)]
        rows = rows.loc[rows[names].abs().max(axis=1, skipna=False) < np.inf]
        last = rows.loc[rows.groupby("lane")["iteration"].idxmax(), ["lane", *names]]
        ends = last[names].to_numpy(dtype=np.float64)
        low, high = np.asarray(domain, dtype=np.float64).T
        beyond = ((ends < low) | (ends > high)).any(axis=1)
        outside.update(int(lane) for lane in last["lane"].to_numpy()[beyond])
    return frozenset(outside)


def best_inside(table: pd.DataFrame, outside: frozenset[int]) -> pd.Series:
    """Say which configurations are the best of their problem and label, those inside first.

    A configuration counts as outside where more than half of its seeds ended there.

    Parameters
    ----------
    table
        As :func:`optbench.report.configurations.configurations` returns it.
    outside
        As :func:`lanes_outside` returns it.

    Returns
    -------
    pd.Series
        Booleans, indexed as the table: one is true per problem and label.
    """
    is_outside = [
        2 * len(outside.intersection(numbers)) > len(numbers) for numbers in table["lane_numbers"]
    ]
    ended_badly = ~np.isfinite(table["score"])
    ranked = table.assign(rank=np.where(ended_badly, 2, np.array(is_outside, dtype=int)))
    ranked = ranked.sort_values(["rank", "score"], kind="stable")
    best = ranked.drop_duplicates(["problem", "label"]).index
    return pd.Series(table.index.isin(best), index=table.index)
