"""Runs that are cut, killed and damaged, and what is compared then.

Tests here that take more than a few seconds bear the mark ``slow``.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.store.reader import read_run

FOLDERS = ("trace", "evaluation", "surface")

MAY_DIFFER = ("step_seconds", "gradient_seconds", "update_seconds", "workers")
"""Columns of lanes.parquet that tell how a run was carried out, not what it found."""


def tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return a run's tables, read with pandas alone."""
    lanes = pd.read_parquet(path / "lanes.parquet")
    found = {"lanes": lanes.drop(columns=list(MAY_DIFFER), errors="ignore")}
    for name in FOLDERS:
        if (path / name).exists():
            found[name] = pd.read_parquet(path / name)
    return found


@cache
def known_tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a run that stays as it is."""
    return tables(path)


def assert_same_run(path: Path, expected: Path, left: tuple[str, ...] = ()) -> None:
    """Compare all tables of two runs row for row and bit for bit, and the names of their files.

    ``left`` names what may have been left at the top beside them.
    """
    ours, theirs = tables(path), known_tables(expected)
    assert ours.keys() == theirs.keys()
    for name, table in theirs.items():
        if not ours[name].equals(table):
            pd.testing.assert_frame_equal(ours[name], table, check_exact=True, obj=name)
        for column in table.select_dtypes("float"):
            assert ours[name][column].to_numpy().tobytes() == table[column].to_numpy().tobytes()
    other = {*files(path)} ^ {*files(expected)}
    assert {each for each in other if each.partition("/")[0] not in left} == set()


LEFT_BY_THE_KILLED = (".lock", "journal", ".journal.gone")
"""What a run or study may keep that had ended when it was killed."""


def assert_same_study(path: Path, expected: Path) -> None:
    """Compare all that two studies found, bit for bit; times, seconds and places may differ."""

    def told(study: Path) -> dict[str, Any]:
        meta = json.loads((study / "tune.json").read_text(encoding="utf-8"))
        other = ("started", "ended", "resumes", "directory", "environment")
        return {key: value for key, value in meta.items() if key not in other}

    assert told(path) == told(expected)
    ours, theirs = (pd.read_parquet(study / "trials.parquet") for study in (path, expected))
    pd.testing.assert_frame_equal(
        ours.drop(columns="seconds"), theirs.drop(columns="seconds"), check_exact=True
    )
    for name in sorted(each.name for each in expected.iterdir() if each.is_dir()):
        assert_same_run(path / name, expected / name, left=LEFT_BY_THE_KILLED)
    other = {each.name for each in path.iterdir()} ^ {each.name for each in expected.iterdir()}
    assert other <= {*LEFT_BY_THE_KILLED}


def files(path: Path) -> list[str]:
    """Return the names of all files of a run."""
    return sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())


def assert_reported(
    reported: Iterable[Sequence[str]], run: Path, whole: Path, every: int = 1
) -> None:
    """Look for all that was reported in a run as readers see it; nothing of it may be wrong.

    ``every`` is the distance of the rows that it keeps, ``whole`` a run that keeps all.
    """
    found = read_run(run)
    keys = ["lane", "iteration"]
    for name, key in (("trace", keys), ("evaluation", [*keys, "split"])):
        table, true = getattr(found, name), pd.read_parquet(whole / name)
        assert not table.duplicated(key).any()
        known = true.merge(table[key])
        assert len(known) == len(table), f"{name} holds rows that are none of this run"
        columns = [each for each in true if each in table]
        pd.testing.assert_frame_equal(
            table[columns].sort_values(key, ignore_index=True),
            known[columns].sort_values(key, ignore_index=True),
            check_exact=True,
            check_dtype=False,
        )
    rows = found.trace.groupby("lane")["iteration"].agg(["size", "max"])
    sizes = rows["max"] // every + 1 + (rows["max"] % every > 0)
    assert (rows["size"] == sizes).all(), "rows are missing before others"
    evaluations = {*found.evaluation[[*keys, "split"]].itertuples(index=False, name=None)}
    statuses = found.lanes.set_index("lane")["status"]
    for kind, *said in reported:
        if kind == "row":
            assert rows.loc[int(said[0]), "max"] >= int(said[1])
        elif kind == "evaluation":
            assert (int(said[0]), int(said[1]), said[2]) in evaluations
        elif kind == "end":
            assert statuses[int(said[0])] == said[1]
