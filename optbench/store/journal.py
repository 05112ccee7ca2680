"""What a run has recorded of the blocks that are not done: files in its ``journal`` folder.

Each block has a folder there. Its parts, ``rows-000001.npz`` and so on, hold trace rows and
evaluations as they came; ``checkpoint.npz`` what it takes to go on; ``result.json`` what became of
its lanes once it has ended. Every file is whole or not there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import ResultsError
from optbench.records import BlockResult, Checkpoint, EvaluationRows, LaneResult, Status, TraceChunk
from optbench.store.files import read_arrays, write_arrays, write_json
from optbench.store.places import make_folder, remove_folder, writing

FOLDER = "journal"

OPTIONAL = ("position", "penalty")
"""Fields that not every trace chunk has."""

ROWS = ("lanes", "iteration", "split", "loss", "error")
"""Fields of evaluations that are stored."""


class Journal:
    """The journal of one block of the run in a directory."""

    def __init__(self, run: Path, block: int) -> None:
        self.block = block
        self.name = f"block-{block:05d}"
        self._folder = run / FOLDER / self.name
        self._last = max((int(part.stem[-6:]) for part in self._parts()), default=0)

    def append(self, chunks: Sequence[TraceChunk], evaluations: Sequence[EvaluationRows]) -> None:
        """Write what follows all that was written before."""
        arrays: dict[str, np.ndarray] = {}
        if chunks:
            whole = joined(chunks)
            names = ("lanes", "first_iteration", "loss", "rows", *OPTIONAL)
            values = {name: getattr(whole, name) for name in names}
            arrays |= {name: np.asarray(v) for name, v in values.items() if v is not None}
        for number, rows in enumerate(evaluations):
            values = {name: getattr(rows, name) for name in ROWS}
            arrays |= {f"evaluation/{number}/{name}": np.asarray(v) for name, v in values.items()}
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
    def exists(self) -> bool:
        """Whether the block has one."""
        return self._folder.is_dir()

    @property
    def ended(self) -> bool:
        """Whether the block has ended: its tables are files then."""
        return (self._folder / "result.json").exists()

    def rows(self) -> tuple[TraceChunk | None, list[EvaluationRows]]:
        """Return all trace rows as one chunk, None if there are none, and all evaluations."""
        chunks: list[TraceChunk] = []
        evaluations: dict[tuple[int, str, bytes], EvaluationRows] = {}
        count = 0
        for number, part in enumerate(self._parts(), start=1):
            if part.stem != f"rows-{number:06d}":
                raise ResultsError(f"'{self._folder}' is damaged: part {number} is missing")
            arrays = read_arrays(part)
            try:
                # What was interrupted while it wrote a part may have written it once more.
                chunk = after(self._chunk(arrays), count) if "loss" in arrays else None
                evaluations |= {place_of(rows): rows for rows in self._evaluations(arrays)}
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise ResultsError(f"'{part}' is damaged: {error}") from None
            if chunk is not None:
                if chunk.first_iteration > count:
                    raise ResultsError(f"'{part}' is damaged: it does not follow row {count}")
                chunks.append(chunk)
                count += len(chunk.loss)
        return (joined(chunks) if chunks else None), list(evaluations.values())

    def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint, or None."""
        file = self._folder / "checkpoint.npz"
        if not file.exists():
            return None
        arrays = read_arrays(file)
        if "checkpoint" not in arrays:
            raise ResultsError(f"'{file}' is damaged: it does not say how far it goes")
        return Checkpoint(self.block, int(arrays.pop("checkpoint")), arrays)

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
            **{name: arrays[name] for name in OPTIONAL if name in arrays},
        )

    def _evaluations(self, arrays: Mapping[str, np.ndarray]) -> Iterator[EvaluationRows]:
        numbers = {int(name.split("/")[1]) for name in arrays if name.startswith("evaluation/")}
        for number in sorted(numbers):
            one = {name: arrays[f"evaluation/{number}/{name}"] for name in ROWS}
            yield EvaluationRows(
                self.block,
                one["lanes"],
                int(one["iteration"]),
                str(one["split"]),
                one["loss"],
                one["error"],
            )


def journals(run: Path) -> list[Journal]:
    """Return the journals of all blocks of a run that have one, by number."""
    folders = sorted((run / FOLDER).glob("block-*"))
    return [Journal(run, int(folder.name.removeprefix("block-"))) for folder in folders]


def clear(run: Path) -> None:
    """Remove all journals of a run; they are empty once it is done."""
    remove_folder(run / FOLDER)


def place_of(rows: EvaluationRows) -> tuple[int, str, bytes]:
    """Return what distinguishes an evaluation from all others of its block."""
    return rows.iteration, rows.split, rows.lanes.tobytes()


def joined(chunks: Sequence[TraceChunk]) -> TraceChunk:
    """Return consecutive chunks of a block as one."""

    def one(name: str) -> Any:
        parts = [getattr(chunk, name) for chunk in chunks]
        return None if parts[0] is None else np.concatenate(parts)

    rows = np.sum([chunk.rows for chunk in chunks], axis=0)
    return replace(chunks[0], rows=rows, **{name: one(name) for name in ("loss", *OPTIONAL)})


def after(chunk: TraceChunk, iteration: int) -> TraceChunk | None:
    """Return what of a chunk begins at an iteration, None if nothing does."""
    skip = iteration - chunk.first_iteration
    if skip <= 0:
        return chunk
    if skip >= len(chunk.loss):
        return None
    rest = {
        name: values[skip:]
        for name in ("loss", *OPTIONAL)
        if (values := getattr(chunk, name)) is not None
    }
    rows = np.maximum(chunk.rows - skip, 0)
    return replace(chunk, first_iteration=iteration, rows=rows, **rest)
