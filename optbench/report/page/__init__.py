"""A report: runs and studies as one HTML file that needs nothing else.

Tables and figures are HTML and SVG, and stay where scripts are off. The page makes no request of
any kind; its own security policy forbids them. Text of runs is untrusted: Jinja escapes it.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optbench.errors import printable
from optbench.records import RunTables, StudyTables
from optbench.report.page.contents import Chapters, subjects_of
from optbench.report.page.methods import citations, methods
from optbench.report.page.telling import lanes, repeats, settings, winners, wrongs
from optbench.report.sections import to_csv
from optbench.store.files import check_place, write_output
from optbench.store.reader import read_run
from optbench.store.studies import is_study, read_study

SAFE = " ,;:/?@!$&'()*+=~[]{}|^"
"""What may stand in an address within a page as it is; it keeps tables short."""

TITLE = "Which optimizer is better?"


def page(
    runs: Sequence[RunTables],
    studies: Sequence[StudyTables] = (),
    *,
    title: str | None = None,
    choose_on: Sequence[int] = (),
) -> str:
    """Return runs and studies as an HTML page; the same input gives the same text.

    Parameters
    ----------
    runs
        They are joined; labels that several of them have of one problem are told apart.
    studies
        Each is judged by its final run.
    title
        Of the page.
    choose_on
        Seeds that choose the configuration of a label, where it has several.

    Raises
    ------
    UsageError
        If a problem of several runs is not the same in all of them.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only reports need it

    subjects = subjects_of(runs, studies, choose_on)
    chapters = Chapters(subjects)
    environment = Environment(
        loader=PackageLoader("optbench.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["csv"] = _csv_address
    return environment.get_template("page.html").render(
        title=title or TITLE,
        winners=winners(subjects),
        settings=settings(subjects),
        problems=list(chapters.of_problems()),
        together=list(chapters.across_problems()),
        wrongs=wrongs(subjects, runs, studies),
        lanes=lanes(subjects),
        methods=methods(subjects),
        citations=citations(subjects),
        repeats=repeats(runs, studies),
        own=_own,
    )


def write_page(
    paths: Sequence[Path],
    file: Path,
    *,
    title: str | None = None,
    choose_on: Sequence[int] = (),
    force: bool = False,
) -> None:
    """Write the page of the runs and studies in some directories; see :func:`page`.

    Raises
    ------
    ResultsError
        If one of them cannot be read, or the file is there already and may not be overwritten.
    """
    check_place(file, force=force)
    text = page(
        [read_run(path) for path in paths if not is_study(path)],
        [read_study(path) for path in paths if is_study(path)],
        title=title,
        choose_on=choose_on,
    )
    write_output(file, lambda beside: beside.write_text(text, encoding="utf-8"))


def _visible(value: Any) -> Any:
    """Return text in which every character is seen: no escapes, no change of direction."""
    if type(value) is not str:  # numbers, and what is markup already
        return value
    return "\n".join(map(printable, value.split("\n")))


def _own(name: str) -> str:
    """Return a file of this package, to stand in the page."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def _csv_address(values: Any) -> str:
    """Return the address of a table as CSV, which a browser saves."""
    return f"data:text/csv;charset=utf-8,{quote(to_csv(values), safe=SAFE)}"
