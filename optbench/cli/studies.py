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
    """Say whether arguments mean studies, all of them; by default what was made last.

    Raises
    ------
    UsageError
        If some do and others mean runs.
    """
    found = find_entries(arguments, out)
    studies = [path for path in found if is_study(path)]
    runs = [path for path in found if not is_study(path)]
    if studies and runs:
        raise UsageError(
            f"'{studies[0].name}' is a study and '{runs[0].name}' is not; show them one by one"
        )
    return bool(studies)
