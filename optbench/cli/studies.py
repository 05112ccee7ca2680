"""The studies that arguments of commands mean."""

from collections.abc import Sequence
from pathlib import Path

from optbench.errors import UsageError
from optbench.records import StudyTables
from optbench.store.find import LATEST, find_entries, find_study
from optbench.store.studies import is_study, read_study


def named_studies(arguments: Sequence[str], out: Path) -> list[StudyTables]:
    """Read the studies that arguments mean: by default the latest."""
    return [read_study(find_study(argument, out)) for argument in arguments or (LATEST,)]


def mean_studies(arguments: Sequence[str], out: Path) -> bool:
    """Say whether arguments mean studies, all of them.

    Raises
    ------
    UsageError
        If some do and others mean runs.
    """
    found = [is_study(path) for path in find_entries(arguments, out)]
    if any(found) and not all(found):
        raise UsageError(
            f"'{arguments[found.index(True)]}' is a study and "
            f"'{arguments[found.index(False)]}' is not; show them one by one"
        )
    return any(found)
