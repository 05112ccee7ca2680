"""The studies that arguments of commands mean."""

from collections.abc import Sequence
from pathlib import Path

from optbench.errors import UsageError
from optbench.records import StudyTables
from optbench.store.find import LATEST
from optbench.store.studies import find_study, read_study


def named_studies(arguments: Sequence[str], out: Path) -> list[StudyTables]:
    """Read the studies that arguments mean: by default the latest."""
    return [_study(argument, out) for argument in arguments or (LATEST,)]


def _study(argument: str, out: Path) -> StudyTables:
    path = find_study(argument, out)
    if path is None:
        raise UsageError(f"'{argument}' is no study under '{out}'; see optbench list runs")
    return read_study(path)


def mean_studies(arguments: Sequence[str], out: Path) -> bool:
    """Say whether arguments mean studies, all of them.

    Raises
    ------
    UsageError
        If some do and others mean runs.
    """
    found = [find_study(argument, out) is not None for argument in arguments]
    if any(found) and not all(found):
        raise UsageError(
            f"'{arguments[found.index(True)]}' is a study and "
            f"'{arguments[found.index(False)]}' is not; show them one by one"
        )
    return any(found)
