"""Which rows of a trace are kept: all; every N-th and each lane's last; or the first and the last.

Rows are left out while they are written. What a lane ended with is summed up from all of them.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from optbench.errors import UsageError
from optbench.records import LastRows, TraceChunk

ALL, NONE = "all", "none"

BEYOND = 2**31 - 1
"""Iterations from row 0 to the next one kept, where there is none: as many as int32 can count."""

PATTERN = re.compile(rf"{ALL}|{NONE}|every:([1-9][0-9]{{0,8}})")


def kept_every(trace: str) -> int:
    """Return the iterations from one kept row to the next, beside each lane's last row.

    >>> kept_every("all"), kept_every("every:10"), kept_every("none") == BEYOND
    (1, 10, True)
    """
    matched = PATTERN.fullmatch(str(trace))
    if matched is None:
        raise UsageError(f"trace '{trace}' is none of {ALL}, {NONE} and every:N, as every:10")
    return int(matched[1]) if matched[1] else 1 if trace == ALL else BEYOND


def every_of(meta: Mapping[str, Any]) -> int:
    """Return :func:`kept_every` of a run, from its run.json; earlier versions kept all rows."""
    return kept_every(meta.get("trace", ALL))


def in_words(every: int) -> str:
    """Say which rows of a trace a run kept.

    >>> in_words(10), in_words(BEYOND)
    ('every 10th row', 'the first and the last row')
    """
    if every == BEYOND:
        return "the first and the last row"
    ending = "th" if every // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(every % 10, "th")
    return f"every {every}{ending} row"


def holds(finer: int, every: int) -> bool:
    """Say whether rows that are kept at one distance are also kept at a finer one."""
    return every % finer == 0 or every == BEYOND


def thinned(chunk: TraceChunk, every: int) -> TraceChunk:
    """Return the rows of a chunk whose iteration is a multiple of ``every``; there may be none.

    The rows of the chunk itself have to hold them (:func:`holds`).
    """
    skip = -chunk.first_iteration % every // chunk.every
    step = every // chunk.every
    values = {name: getattr(chunk, name) for name in ("loss", "position", "penalty")}
    return replace(
        chunk,
        first_iteration=chunk.first_iteration + skip * chunk.every,
        rows=np.maximum(0, -((skip - chunk.rows) // step)),
        every=every,
        **{name: array[skip::step] for name, array in values.items() if array is not None},
    )


def latest(before: LastRows | None, chunk: TraceChunk) -> LastRows:
    """Return the last row of each lane after a chunk that follows what was there before."""
    has, at, places = chunk.rows > 0, np.maximum(chunk.rows - 1, 0), np.arange(len(chunk.lanes))

    def last(name: str) -> Any:
        values = getattr(chunk, name)
        if values is None:
            return None
        new = values[at, places]
        if before is not None:
            new[~has] = getattr(before, name)[~has]
        return new

    iteration = np.where(has, chunk.first_iteration + at * chunk.every, -1)
    if before is not None:
        iteration = np.where(has, iteration, before.iteration)
    values = {name: last(name) for name in ("loss", "position", "penalty")}
    return LastRows(chunk.block, chunk.lanes, iteration, **values)
