"""What a run has recorded of the blocks that are not done: files in its ``journal`` folder.

Each block has a folder there. Its parts, ``rows-000001.npz`` and so on, hold trace rows and
evaluations as they came; ``checkpoint.npz`` what it takes to go on; ``result.json`` what became of
its lanes once it has ended. Every file is whole or not there. Parts are read one by one, so that a
journal of any length can be.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import ResultsError
from optbench.records import (
    BlockResult,
    Checkpoint,
    EvaluationRows,
    LaneResult,
    LastRows,
    Status,
    TraceChunk,
    Underway,
)
from optbench.store.files import read_arrays, write_arrays, write_json
from optbench.store.places import make_folder, remove_folder, writing

FOLDER = "journal"

OPTIONAL = ("position", "penalty")
"""Fields that not every trace chunk has."""

ROWS = ("lanes", "iteration", "split", "loss", "error")
"""Fields of evaluations that are stored, beside their number."""

EVALUATION = "evaluation/"
"""What names of their arrays begin with; the evaluation's number follows, then the field."""

LAST = "last/"
"""What names of arrays with each lane's last row begin with, where only some rows are kept."""

NEWEST = (
    *("lanes", "first_iteration", "loss", "rows", "every"),
    *(f"{LAST}iteration", f"{LAST}loss"),
)
"""Names of the arrays that say how far a block is."""


class Journal:
    """The journal of one block of the run in a directory."""

    def __init__(self, run: Path, block: int) -> None:
        self.block = block
        self.name = f"block-{block:05d}"
        self._folder = run / FOLDER / self.name
        self._last = max((int(part.stem[-6:]) for part in self._parts()), default=0)

    def append(
        self,
        chunks: Sequence[TraceChunk],
        evaluations: Sequence[EvaluationRows],
        last: LastRows | None = None,
    ) -> None:
        """Write what follows all that was written before; ``last`` takes the place of earlier ones.

        Where only some rows are kept, they and the last rows are to be in one part.
        """
        arrays: dict[str, np.ndarray] = {}
        if chunks:
            names = ("lanes", "first_iteration", "loss", "rows", "every", *OPTIONAL)
            arrays |= _arrays(joined(chunks), names)
        if last is not None:
            found = _arrays(last, ("lanes", "iteration", "loss", *OPTIONAL))
            arrays |= {f"{LAST}{name}": array for name, array in found.items()}
        for rows in evaluations:
            values = {name: getattr(rows, name) for name in ROWS}
            arrays |= {
                f"{EVALUATION}{rows.number}/{name}": np.asarray(v) for name, v in values.items()
            }
        if arrays:
            self._write(f"rows-{self._last + 1:06d}.npz", arrays)
            self._last += 1

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint in place of the one before."""
        self._write(
            "checkpoint.npz", {**checkpoint.arrays, "checkpoint": np.array(checkpoint.rows)}
        )

    def end(self, result: BlockResult) -> None:
        """Write what became of the block, whose tables are written."""
        make_folder(self._folder.parent)
        plain = {**vars(result), "lanes": [vars(lane) for lane in result.lanes]}
        write_json(self._folder / "result.json", plain, allow_nan=True)

    def thin(self) -> None:
        """Remove what nobody needs once the block has ended."""
        with writing(self._folder):
            for file in [self._folder / "checkpoint.npz", *self._parts()]:
                file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove all of it."""
        remove_folder(self._folder)

    @property
    def folder(self) -> Path:
        """The block's folder, which need not be there."""
        return self._folder

    @property
    def exists(self) -> bool:
        """Whether the block has one."""
        return self._folder.is_dir()

    @property
    def ended(self) -> bool:
        """Whether the block has ended: its tables are files then."""
        return (self._folder / "result.json").exists()

    @property
    def kept_at(self) -> float | None:
        """When the block's last checkpoint was written, in seconds; None before there is one."""
        try:
            return (self._folder / "checkpoint.npz").stat().st_mtime
        except FileNotFoundError:
            return None

    @property
    def has_checkpoint(self) -> bool:
        """Whether the block has a checkpoint; once it has ended, only where lanes have paused."""
        return (self._folder / "checkpoint.npz").exists()

    def chunks(self) -> Iterator[TraceChunk]:
        """Yield all trace rows that were kept, each once, part after part."""
        return self._chunks(self._parts())

    def _chunks(self, parts: Sequence[Path]) -> Iterator[TraceChunk]:
        count = 0
        for part, arrays in self._read(lambda name: not name.startswith((EVALUATION, LAST)), parts):
            if not arrays:
                continue
            with _reading(part):
                # What was interrupted while it wrote a part may have written it once more.
                chunk = after(self._chunk(arrays), count)
            if chunk is not None:
                if chunk.first_iteration > count:
                    raise ResultsError(f"'{part}' is damaged: it does not follow row {count}")
                count = chunk.next_iteration
                yield chunk
            del arrays, chunk  # before the next part is read

    def last(self) -> LastRows | None:
        """Return the last row of each lane where only some rows are kept, None elsewhere."""
        return self._last_rows(self._parts())

    def _last_rows(self, parts: Sequence[Path]) -> LastRows | None:
        last = None
        for part, arrays in self._read(lambda name: name.startswith(LAST), parts):
            if arrays:
                values = {name.removeprefix(LAST): array for name, array in arrays.items()}
                with _reading(part):
                    last = LastRows(self.block, **values)
        return last

    def trace(self) -> tuple[list[TraceChunk], LastRows | None]:
        """Return what :meth:`chunks` and :meth:`last` give, of the same moment."""
        parts = self._parts()
        return list(self._chunks(parts)), self._last_rows(parts)

    def rows(self) -> int:
        """Return how many rows were taken of the lanes that had not ended, kept or not."""
        last = self.last()
        if last is not None:
            return int(last.iteration.max()) + 1
        return sum(len(chunk.loss) for chunk in self.chunks())

    def latest(self, known: int = 0) -> tuple[int, Underway | None]:
        """Return how many parts there are, and how far the newest rows in them are.

        Only the newest part with rows is read, none of the ``known`` first ones. What goes
        meanwhile, as the parts of a block that ends do, says nothing.
        """
        try:
            parts = self._parts()
            for part in reversed(parts[known:]):
                arrays = read_arrays(part, lambda name: name in NEWEST)
                if f"{LAST}loss" in arrays:
                    reached, loss = _newest(arrays[f"{LAST}iteration"], arrays[f"{LAST}loss"])
                    return len(parts), Underway(self.block, reached, loss, "")
                if "loss" in arrays:
                    chunk = self._chunk(arrays)
                    return len(parts), Underway(
                        self.block, chunk.next_iteration, chunk.last_loss, ""
                    )
        except (OSError, ResultsError):
            return known, None
        return max(known, len(parts)), None

    def evaluations(self) -> Iterator[EvaluationRows]:
        """Yield all evaluations, each once, part after part."""
        count = 0
        for part, arrays in self._read(lambda name: name.startswith(EVALUATION), self._parts()):
            with _reading(part):
                evaluations = self._evaluations(arrays)
            for rows in evaluations:
                if rows.number > count:
                    raise ResultsError(f"'{part}' is damaged: it lacks evaluation {count}")
                if rows.number == count:
                    yield rows
                    count += 1

    def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint, or None."""
        file = self._folder / "checkpoint.npz"
        if not self.has_checkpoint:
            return None
        arrays = read_arrays(file)
        if "checkpoint" not in arrays:
            raise ResultsError(f"'{file}' is damaged: it does not say how far it goes")
        return Checkpoint(self.block, int(arrays.pop("checkpoint")), arrays)

    def progress(self, lanes: Sequence[int]) -> Mapping[str, np.ndarray] | None:
        """Return the arrays that a block of some lanes goes on from, None from its start.

        Raises
        ------
        ResultsError
            If the journal is damaged, or that of another block.
        """
        checkpoint = self.checkpoint()
        if checkpoint is None:
            return None
        run = self._folder.parent.parent
        for chunk in self.chunks():
            if chunk.lanes.tolist() != list(lanes):
                raise ResultsError(f"'{run}' is damaged: {self.name} holds lanes of another block")
        rows = self.rows()
        if rows < checkpoint.rows:
            raise ResultsError(
                f"'{run}' is damaged: {self.name} has {rows} rows in its journal, "
                f"and its checkpoint follows {checkpoint.rows}"
            )
        return checkpoint.arrays

    def result(self) -> BlockResult | None:
        """Return what became of the block, or None before its end."""
        file = self._folder / "result.json"
        if not file.exists():
            return None
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            lanes = tuple(
                LaneResult(**{**lane, "status": Status(lane["status"])}) for lane in plain["lanes"]
            )
            return BlockResult(self.block, lanes, plain["message"], plain["traceback"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"'{file}' is damaged: {error}") from None

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("rows-*.npz"))

    def _read(
        self, wanted: Callable[[str], bool], parts: Sequence[Path]
    ) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
        """Yield each part and, by name, those of its arrays that are wanted."""
        for number, part in enumerate(parts, start=1):
            if part.stem != f"rows-{number:06d}":
                raise ResultsError(f"'{self._folder}' is damaged: part {number} is missing")
            yield part, read_arrays(part, wanted)

    def _write(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        make_folder(self._folder.parent)
        write_arrays(self._folder / name, arrays)

    def _chunk(self, arrays: Mapping[str, np.ndarray]) -> TraceChunk:
        return TraceChunk(
            self.block,
            arrays["lanes"],
            int(arrays["first_iteration"]),
            arrays["loss"],
            arrays["rows"],
            every=int(arrays.get("every", 1)),
            **{name: arrays[name] for name in OPTIONAL if name in arrays},
        )

    def _evaluations(self, arrays: Mapping[str, np.ndarray]) -> list[EvaluationRows]:
        numbers = sorted({int(name.split("/")[1]) for name in arrays})
        return [
            EvaluationRows(
                self.block,
                number,
                arrays[f"{EVALUATION}{number}/lanes"],
                int(arrays[f"{EVALUATION}{number}/iteration"]),
                str(arrays[f"{EVALUATION}{number}/split"]),
                arrays[f"{EVALUATION}{number}/loss"],
                arrays[f"{EVALUATION}{number}/error"],
            )
            for number in numbers
        ]


def _newest(iteration: np.ndarray, loss: np.ndarray) -> tuple[int, float]:
    """Return how far a block is by the last row of each lane, and the median loss of that row."""
    newest = int(iteration.max())
    there = loss[iteration == newest]
    return newest + 1, float(np.median(np.where(np.isfinite(there), there, np.inf)))


def _arrays(record: TraceChunk | LastRows, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the fields of a record as arrays, without those that it lacks."""
    values = {name: getattr(record, name) for name in names}
    return {name: np.asarray(value) for name, value in values.items() if value is not None}


@contextmanager
def _reading(part: Path) -> Iterator[None]:
    """Turn what is wrong with the arrays of a part into one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ResultsError(f"'{part}' is damaged: {error}") from None


def journals(run: Path) -> list[Journal]:
    """Return the journals of all blocks of a run that have one, by number."""
    folders = sorted((run / FOLDER).glob("block-*"))
    return [Journal(run, int(folder.name.removeprefix("block-"))) for folder in folders]


def clear(run: Path) -> None:
    """Remove all journals of a run; they are empty once it is done."""
    remove_folder(run / FOLDER)


def joined(chunks: Sequence[TraceChunk]) -> TraceChunk:
    """Return consecutive chunks of a block as one."""

    def one(name: str) -> Any:
        parts = [getattr(chunk, name) for chunk in chunks]
        return None if parts[0] is None else np.concatenate(parts)

    rows = np.sum([chunk.rows for chunk in chunks], axis=0)
    return replace(chunks[0], rows=rows, **{name: one(name) for name in ("loss", *OPTIONAL)})


def after(chunk: TraceChunk, iteration: int) -> TraceChunk | None:
    """Return what of a chunk begins at an iteration, None if nothing does."""
    skip = max(0, -((chunk.first_iteration - iteration) // chunk.every))
    return _rows(chunk, skip, len(chunk.loss)) if skip < len(chunk.loss) else None


def stretches(chunks: Iterable[TraceChunk], size: int) -> Iterator[list[TraceChunk]]:
    """Yield the rows of consecutive chunks anew, as many of each lane as take so many bytes.

    Where they are cut does not depend on how many each of the chunks holds.
    """
    stretch: list[TraceChunk] = []
    height = missing = 0
    for chunk in chunks:
        if not height:
            height = missing = max(1, size * len(chunk.loss) // chunk.nbytes)
        start, rows = 0, len(chunk.loss)
        while start < rows:
            end = min(start + missing, rows)
            stretch.append(_rows(chunk, start, end))
            missing -= end - start
            start = end
            if not missing:
                missing = height
                yield stretch
                stretch = []
        del chunk  # before the next one is read
    if stretch:
        yield stretch


def _rows(chunk: TraceChunk, start: int, end: int) -> TraceChunk:
    """Return some consecutive rows of a chunk."""
    values = {name: getattr(chunk, name) for name in ("loss", *OPTIONAL)}
    return replace(
        chunk,
        first_iteration=chunk.first_iteration + start * chunk.every,
        rows=np.clip(chunk.rows - start, 0, end - start),
        **{name: array[start:end] for name, array in values.items() if array is not None},
    )
