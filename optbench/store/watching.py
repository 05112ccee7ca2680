"""How far a run is that some process writes, from its files alone and at little cost."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import ResultsError, shown
from optbench.records import HYPERPARAMETER_PREFIX, BlockResult, Lane, Status, Underway
from optbench.store.journal import FOLDER, Journal
from optbench.store.reader import read_description, read_lanes, status_now


@dataclass(frozen=True)
class WatchedSuite:
    """The suite of a run; its problems are only in run.json."""

    name: str
    problems: tuple[()] = ()


@dataclass(frozen=True)
class WatchedBlock:
    """A block as run.json has it."""

    number: int
    lanes: tuple[Lane, ...]
    planned_updates: int


class Watched:
    """A run, and what has changed in its directory from one look to the next.

    Parameters
    ----------
    path
        The run's directory.

    Attributes
    ----------
    suite, lanes, blocks, workers
        As a plan has them, from run.json and lanes.parquet.
    cluster
        None: nothing here is known of it.

    Raises
    ------
    ResultsError
        If the run is damaged.
    """

    cluster: None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        meta = read_description(path)
        self.suite = WatchedSuite(meta["suite"]["name"])
        self.lanes = _lanes(path)
        self.blocks = _blocks(path, meta, self.lanes)
        workers = meta.get("workers")
        self.workers = workers if isinstance(workers, int) else 1
        self._planned = _planned(meta)
        self._seen: tuple[int, ...] = ()
        self._looked = False
        self._known: dict[int, int] = {block.number: 0 for block in self.blocks}

    def status(self) -> Status:
        """Return what has become of the run by now."""
        return status_now(self.path / "run.json", "run")

    def is_as_planned(self) -> bool:
        """Say whether the blocks are still those that there were at first: none has been split."""
        try:
            found = os.stat(self.path / "run.json")
        except OSError:  # it has been deleted, which its status tells
            return True
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            self._seen = seen
            return _planned(read_description(self.path)) == self._planned
        return True

    def look(self) -> list[Underway | BlockResult]:
        """Return what is new: how far blocks are, and which have ended."""
        found: list[Underway | BlockResult] = []
        with suppress(OSError):  # the journal goes when the run ends
            begun = {int(name[6:]) for name in os.listdir(self.path / FOLDER) if _is_block(name)}
            for number in sorted(begun & self._known.keys()):
                with suppress(OSError, ResultsError):  # what goes while it is read says nothing
                    found += self._look_at(Journal(self.path, number))
        self._looked = True
        return found

    def _look_at(self, journal: Journal) -> list[Underway | BlockResult]:
        if journal.ended:
            result = journal.result()
            if result is None:
                return []
            del self._known[journal.block]
            if self._looked:
                return [result]
            # It ended before anybody looked, so that nothing of it is new.
            ended = max((lane.iterations or 0 for lane in result.lanes), default=0)
            return [Underway(journal.block, ended, np.nan, ""), result]
        self._known[journal.block], underway = journal.latest(self._known[journal.block])
        return [] if underway is None else [underway]


def _is_block(name: str) -> bool:
    return name.startswith("block-") and name[6:].isdecimal()


def _planned(meta: dict[str, Any]) -> list[Any]:
    blocks: list[Any] = meta.get("blocks", [])
    return blocks


def _lanes(path: Path) -> tuple[Lane, ...]:
    """Return all lanes of a run, by number."""
    table = read_lanes(path)
    names = [name for name in table.columns if name.startswith(HYPERPARAMETER_PREFIX)]
    return tuple(
        Lane(
            int(row["lane"]),
            str(row["lane_key"]),
            shown(row["problem"]),
            shown(row["optimizer"]),
            shown(row["label"]),
            {
                shown(name.removeprefix(HYPERPARAMETER_PREFIX)): row[name]
                for name in names
                if isinstance(row[name], str) or row[name] == row[name]  # not null
            },
            int(row["seed"]),
            str(row["fingerprint"]),
        )
        for row in table.sort_values("lane").to_dict("records")
    )


def _blocks(path: Path, meta: dict[str, Any], lanes: Sequence[Lane]) -> tuple[WatchedBlock, ...]:
    """Return the blocks of a run that have lanes of their own to train."""
    try:
        resolved = meta["suite"].get("resolved", {}).get("problem", ())
        pauses = {
            shown(each.get("label") or each["name"]): each.get("pause_at") for each in resolved
        }
        updates = {
            problem["problem"]: int(pauses.get(problem["problem"]) or problem["iterations"])
            for problem in meta["problems"]
        }
        return tuple(
            WatchedBlock(
                int(block["block"]),
                tuple(lanes[lane] for lane in block["lanes"]),
                updates[lanes[block["lanes"][0]].problem],
            )
            for block in meta.get("blocks", ())
            if "reused_from" not in block
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        file = path / "run.json"
        raise ResultsError(f"'{file}' is damaged: its blocks are not those of its lanes") from None
