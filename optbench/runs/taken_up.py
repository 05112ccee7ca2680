"""Lanes that one run has paused, taken up by another.

Everything that was recorded of them is copied, so that the run which takes them up is one that was
interrupted at the pause: rows and evaluations are in its journal, and its checkpoint is theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optbench.engine.block import Block
from optbench.engine.progress import gathered, left_in
from optbench.records import Checkpoint, EvaluationRows, Record, TraceChunk
from optbench.store.journal import Journal, joined


@dataclass(frozen=True)
class TakenUp:
    """A block that goes on, and what of an earlier run was recorded of its lanes.

    Attributes
    ----------
    run
        The earlier run.
    block
        The block with its progress.
    sources
        Of each lane the earlier block's number, and the lane's place in it.
    evaluations
        Those made up to the pause.
    """

    run: Path
    block: Block
    sources: Sequence[tuple[int, int]]
    evaluations: Sequence[EvaluationRows]

    def records(self) -> Iterator[Record]:
        """Yield what the earlier run recorded of the lanes, and the checkpoint they go on from."""
        yield self._trace()
        yield from self.evaluations
        progress = self.block.progress or {}
        yield Checkpoint(self.block.number, int(progress["ledger/entered"]), progress)

    def _trace(self) -> TraceChunk:
        chunks = {
            number: joined(list(Journal(self.run, number).chunks()))
            for number in dict.fromkeys(number for number, _ in self.sources)
        }

        def of_all_lanes(name: str, axis: int) -> np.ndarray:
            columns = [
                np.take(getattr(chunks[number], name), place, axis)
                for number, place in self.sources
            ]
            return np.stack(columns, axis)

        def if_any(name: str) -> np.ndarray | None:
            first = next(iter(chunks.values()))
            return None if getattr(first, name) is None else of_all_lanes(name, 1)

        return TraceChunk(
            self.block.number,
            np.array([lane.number for lane in self.block.lanes], dtype=np.int32),
            0,
            of_all_lanes("loss", 1),
            of_all_lanes("rows", 0),
            position=if_any("position"),
            penalty=if_any("penalty"),
        )


def take_up(block: Block, run: Path, earlier: Sequence[Block]) -> TakenUp:
    """Return a block, which has not begun, as it goes on from the paused blocks of a run."""
    places = paused_lanes(earlier)
    sources = [places[lane.key] for lane in block.lanes]
    evaluations = [
        replace(rows, number=number)
        for number, rows in enumerate(_evaluations(block, sources, run, earlier))
    ]
    progress = gathered(block, earlier, len(evaluations))
    return TakenUp(run, replace(block, progress=progress), sources, evaluations)


def paused_lanes(earlier: Sequence[Block]) -> dict[str, tuple[int, int]]:
    """Return number of the block and place in it, by key, of all lanes left at a pause."""
    left = {each.number: {lane.number for lane in left_in(each).lanes} for each in earlier}
    return {
        lane.key: (each.number, place)
        for each in earlier
        for place, lane in enumerate(each.lanes)
        if lane.number in left[each.number]
    }


def _evaluations(
    block: Block, sources: Sequence[tuple[int, int]], run: Path, earlier: Sequence[Block]
) -> Iterator[EvaluationRows]:
    """Yield the evaluations of a block's lanes up to the pause, but not those at it."""
    for each in earlier:
        now: dict[int, list[int]] = {}
        for lane, (number, place) in zip(block.lanes, sources, strict=True):
            if number == each.number:
                now.setdefault(each.lanes[place].number, []).append(lane.number)
        made = int((each.progress or {})["evaluated/count"])
        for rows in Journal(run, each.number).evaluations():
            pairs = [
                (index, lane)
                for index, then in enumerate(rows.lanes.tolist())
                for lane in now.get(then, ())
            ]
            if rows.number < made and pairs:
                indices, lanes = map(list, zip(*pairs, strict=True))
                yield replace(
                    rows,
                    block=block.number,
                    lanes=np.array(lanes, dtype=np.int32),
                    loss=rows.loss[indices],
                    error=rows.error[indices],
                )
