"""What ``optbench plot --animate`` writes, and where."""

from os.path import lexists  # unlike Path.exists, True for a broken link
from pathlib import Path
from typing import TYPE_CHECKING

from optbench.errors import ResultsError, UsageError

if TYPE_CHECKING:
    from optbench.records import RunTables

RACE = "trajectory"
"""The kind of figure whose animation a race is."""


def check_animation(place: Path, *, kind: str, format_: str | None) -> None:
    """Refuse a file that cannot be written, before anything is read or drawn.

    Raises
    ------
    UsageError
        The suffix is neither .gif nor .mp4, ffmpeg is missing for the latter, or another option
        asks for something else.
    ResultsError
        The file is there already.
    """
    from optbench.plots.animation import form_of

    if kind not in ("auto", RACE):
        raise UsageError(f"--animate shows a {RACE}, not a {kind}; leave out one of the two")
    if format_ is not None:
        raise UsageError(
            "--format is for figures; the suffix of the file says what --animate writes"
        )
    form_of(place)
    if lexists(place):
        raise ResultsError(f"'{place}' is there already; move it or choose another file")


def write_animation(races: "list[tuple[RunTables, str]]", place: Path) -> None:
    """Write the only race, beside its place first, so that nothing half written is ever seen.

    Parameters
    ----------
    races
        Runs and the problem of each that can be shown.

    Raises
    ------
    UsageError
        There are several.
    ResultsError
        The place cannot be written.
    """
    from optbench.plots import animate
    from optbench.plots.animation import form_of
    from optbench.store.files import write_beside, writing

    if len(races) > 1:
        titles = list(dict.fromkeys(problem for _, problem in races))
        remedy = "choose one with --problem" if len(titles) > 1 else "name one run"
        raise UsageError(f"'{place}' shows one race and there are {len(races)}; {remedy}")
    ((tables, problem),) = races
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_beside(place, lambda beside: animate(tables, problem, beside, form_of(place)))
