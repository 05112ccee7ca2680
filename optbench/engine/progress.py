"""The progress of lanes that have paused in some blocks and go on in another.

A checkpoint holds arrays of all lanes of its block, of those that were left, of the lanes left of
each group, and of none in particular. A block's rows are picked from them lane by lane.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optbench.engine.block import Block

OF_LANES_LEFT = ("params", "buffers", "best/params", "best/buffers", "ledger/smallest_mean")
"""Arrays with a row for each lane that was left."""

OF_THE_BLOCK = ("ledger/places", "ledger/held", "ledger/entered", "evaluated/count")
"""Arrays that are not by lane; the rows held are by lane along their second axis."""

SLOTS = "slots/"


@dataclass(frozen=True)
class _Row:
    """Where arrays hold a lane: its place in its block and among those left, and in its group."""

    arrays: Mapping[str, np.ndarray]
    place: int
    left: int
    group: int
    member: int


def gathered(block: Block, earlier: Sequence[Block], evaluations: int) -> dict[str, np.ndarray]:
    """Return the progress of a block whose lanes have paused in earlier ones.

    Parameters
    ----------
    block
        The lanes that are to go on; they are found by their keys.
    earlier
        Blocks of the same problem whose ``progress`` was taken at a pause, after equally many
        updates.
    evaluations
        How many evaluations the block has recorded already.
    """
    rows = {key: row for each in earlier for key, row in _rows(each)}
    own = [rows[lane.key] for lane in block.lanes]
    first = own[0].arrays
    progress = {}
    for name in first:
        if name.startswith(SLOTS) or name in OF_THE_BLOCK:
            continue
        by_left = name in OF_LANES_LEFT
        progress[name] = np.stack(
            [row.arrays[name][row.left if by_left else row.place] for row in own]
        )
    for number, rows_of_group in enumerate(block.slices):
        members = own[rows_of_group]
        prefix = f"{SLOTS}{members[0].group}/"
        for name in (
            name.removeprefix(prefix) for name in members[0].arrays if name.startswith(prefix)
        ):
            progress[f"{SLOTS}{number}/{name}"] = np.stack(
                [row.arrays[f"{SLOTS}{row.group}/{name}"][row.member] for row in members]
            )
    held = [row.arrays["ledger/held"][:, row.left] for row in own]
    return {
        **progress,
        "ledger/places": np.arange(len(own)),
        "ledger/held": np.stack(held, axis=1),
        "ledger/entered": first["ledger/entered"],
        "evaluated/count": np.array(evaluations),
    }


def left_in(block: Block) -> Block:
    """Return the lanes of a block that its progress says are left."""
    progress = block.progress or {}
    return block.subset(progress["ledger/places"].tolist())


def _rows(block: Block) -> Iterator[tuple[str, _Row]]:
    """Yield the keys of lanes left, and where the block's progress holds them."""
    arrays, left = block.progress or {}, left_in(block)
    places = arrays["ledger/places"].tolist()
    for number, (group, rows) in enumerate(zip(left.groups, left.slices, strict=True)):
        for member, lane in enumerate(group.lanes):
            at = rows.start + member
            yield lane.key, _Row(arrays, places[at], at, number, member)
