"""Who takes part: of each label on a problem one configuration, and the lanes that speak for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optbench.errors import UsageError, argument
from optbench.records import RunTables
from optbench.report.configurations import (
    configurations,
    describe,
    hyperparameter_text,
    ranked_lanes,
    swept_columns,
)
from optbench.report.joined import of_problems
from optbench.report.statistics import ENDED_WELL, ENDED_WORST


@dataclass(frozen=True)
class Entrant:
    """One configuration of a label on a problem, with its lanes that have ended, by seed."""

    label: str
    optimizer: str
    random: bool  # whether seeds make any difference
    seeds: tuple[int, ...]
    lanes: tuple[int, ...]
    chosen: str = ""  # the hyperparameters by which it was chosen from a grid


def entrants(tables: RunTables, problem: str, choose_on: Sequence[int] = ()) -> list[Entrant]:
    """Return the labels of a problem that have lanes that ended, in their order.

    Of a grid one configuration takes part: the best by the median, over the seeds ``choose_on``, of
    what tables rank by; these seeds speak for no label then. Where nothing is random there is one
    lane, with no luck to choose, and the best configuration takes part as it is.

    Raises
    ------
    UsageError
        If a label has several configurations, seeds differ, and none are named that choose.
    """
    return list(_entrants(of_problems(tables, [problem]), problem, choose_on))


def _entrants(tables: RunTables, problem: str, choose_on: Sequence[int]) -> Iterator[Entrant]:
    lanes = ranked_lanes(tables).set_index("lane")
    table = configurations(tables)
    rules = {str(entry["label"]): entry for entry in tables.meta.get("optimizers") or ()}
    problem_is_random = bool(describe(tables, problem).get("random", True))
    for key, rows in table.groupby("label", sort=False):
        label = str(key)
        is_random = problem_is_random or bool(rules.get(label, {}).get("random"))
        several = len(rows) > 1
        if several and is_random and not choose_on:
            raise UsageError(
                f"'{label}' has {len(rows)} configurations on '{problem}', chosen on the seeds "
                f"that it would be judged on; give {argument('choose_on')} with the seeds that "
                "choose, "
                "such as 0-4"
            )
        numbers = [number for numbers in rows["lane_numbers"] for number in numbers]
        own = lanes.loc[numbers].sort_values("seed")
        place = 0
        if several:
            choosing = own[own["seed"].isin(list(choose_on))]
            place = _best(rows, choosing, choose_on) if is_random else int(rows["best"].argmax())
        judging = own.loc[own.index.isin(rows["lane_numbers"].iloc[place])]
        judging = judging[judging["status"].isin([*ENDED_WELL, *ENDED_WORST])]
        if is_random:
            judging = judging[~judging["seed"].isin(list(choose_on))]
        if not judging.empty:
            yield Entrant(
                label,
                str(rows["optimizer"].iloc[0]),
                is_random,
                tuple(judging["seed"].astype(int)),
                tuple(map(int, judging.index)),
                hyperparameter_text(rows.iloc[place], swept_columns(rows)) if several else "",
            )


def _best(rows: pd.DataFrame, lanes: pd.DataFrame, seeds: Sequence[int]) -> int:
    """Return the place of the configuration with the smallest median score of some lanes."""
    if lanes.empty:
        named = ", ".join(map(str, seeds))
        label = rows["label"].iloc[0]
        raise UsageError(f"no lane of '{label}' has one of the seeds {named} to choose on")
    scores = lanes["score"].mask(lanes["outside"], np.inf).dropna()
    of = [scores[scores.index.isin(numbers)] for numbers in rows["lane_numbers"]]
    return int(np.argmin([np.median(each) if len(each) else np.inf for each in of]))
