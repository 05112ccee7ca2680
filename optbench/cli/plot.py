"""``optbench plot``: the figures of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs, check_choice, place
from optbench.cli.output import tell
from optbench.cli.reports import ChooseOn, Problems, choosing_seeds
from optbench.cli.studies import named_studies
from optbench.cli.target import On, Targets
from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.plots import KINDS, STUDY_KINDS, PlotOptions, draw
from optbench.report.plots.files import (
    AUTO,
    FORMATS,
    RACE,
    StudySubject,
    Subject,
    check_animation,
    choose,
    choose_of_studies,
    places,
    write_animation,
    write_figure,
)
from optbench.store.find import find_runs
from optbench.store.reader import read_run

PANELS = {
    "What to draw": ("kind", "problem", "targets", "on", "choose_on", "animate"),
    "How it looks": ("smooth", "ylim", "x", "log", "band"),
    "For a page": ("width", "height", "font_size", "dpi", "title", "legend"),
    "Where it goes": ("save", "format_", "force", "show", "out"),
}
"""Options that the help shows together."""

MOST_NAMED = 20
"""Characters that a message names."""


def plot(
    runs: Runs = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"What to draw: {', '.join((AUTO, *KINDS))}, or of the search of a study "
            f"{', '.join(STUDY_KINDS)}; auto, the default, draws what fits. Repeatable.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="|".join(FORMATS), help="Format of the files; png by default."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=place,
            help="Folder for the figures, or the file of the only one, whose suffix says the "
            "format; by default plots/ of each run.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that --save or --animate name.")
    ] = False,
    smooth: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS",
            help="Rows to smooth the loss over, an odd number; 1 turns smoothing off. "
            "By default 11 for minibatches.",
        ),
    ] = None,
    ylim: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Limits of the loss axis.")
    ] = None,
    x: Annotated[
        str, typer.Option("--x", metavar="iteration|epoch|seconds", help="Horizontal axis.")
    ] = "iteration",
    log: Annotated[bool, typer.Option("--log", help="Make the loss axis logarithmic.")] = False,
    band: Annotated[
        str,
        typer.Option(
            metavar="spread|interval",
            help="Band round the loss: the spread of the seeds, or the 95 % interval of their "
            "median, which takes 6 seeds.",
        ),
    ] = "spread",
    width: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Width of the figure: inches, or a number with in, cm, mm or pt; 8in by default.",
            show_default=False,
        ),
    ] = None,
    height: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Height, its legend included; by default it follows from the width.",
            show_default=False,
        ),
    ] = None,
    font_size: Annotated[
        float | None,
        typer.Option(metavar="PT", help="Size of text in points; 10 by default."),
    ] = None,
    dpi: Annotated[
        int | None,
        typer.Option("--dpi", metavar="N", help="Dots per inch of png; 100 by default."),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(metavar="TITLE", help="Title instead of the problem's name; '' for none."),
    ] = None,
    legend: Annotated[
        str | None,
        typer.Option(
            metavar="below|right|inside|none",
            help="Where the legend stands; each kind has a place of its own.",
            show_default=False,
        ),
    ] = None,
    problem: Problems = None,
    targets: Targets = None,
    on: On = None,
    choose_on: ChooseOn = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif|mp4",
            parser=place,
            help="Instead of figures, write an animation of all optimizers racing on a function.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open the figures in the system's viewer.")
    ] = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Draw figures of runs and print the paths of the files.

    Runs that are named together share the figures of kinds loss and evaluation.
    """
    kinds = list(dict.fromkeys(kind or [AUTO]))
    for each in kinds:
        check_choice("kind", each, (AUTO, *KINDS, *STUDY_KINDS))
    if format_ is not None:
        check_choice("format", format_, FORMATS)
    if force and save is None and animate is None:
        raise UsageError("--force belongs to --save or --animate; figures in plots/ are drawn anew")
    options = PlotOptions(
        smooth=smooth,
        ylim=_limits(ylim),
        x=x,  # type: ignore[arg-type]  # PlotOptions checks it
        log=log,
        band=band,  # type: ignore[arg-type]  # PlotOptions checks it
        targets=targets or (),
        on=on,
        choose_on=choosing_seeds(choose_on),
        width=width,
        height=height,
        font_size=font_size,
        dpi=dpi,
        title=title,
        legend=legend,  # type: ignore[arg-type]  # PlotOptions checks it
    )
    if animate is not None:
        _check_alone(kinds, format_, save)
        check_animation(animate, force=force)
        races = choose(_tables(runs, out), RACE, problem or ())
        lacking = write_animation(races, animate)
        _finish(animate, show=show)
        _say_lacking(lacking)
        return
    subjects = _subjects(kinds, runs, problem or (), out)
    files = places(subjects, save, format_, force=force)
    figures = [draw(one.kind, one.tables, one.problem, options) for one in subjects]
    lacking = ""
    for figure, file in zip(figures, files, strict=True):
        lacking += write_figure(figure, file)
        _finish(file, show=show)
    _say_lacking(lacking)


def _check_alone(kinds: Sequence[str], format_: str | None, save: Path | None) -> None:
    """Refuse what is said of figures beside ``--animate``."""
    for kind in kinds:
        if kind not in (AUTO, RACE):
            raise UsageError(f"--animate shows a {RACE}, not a {kind}; leave out one of the two")
    if format_ is not None:
        raise UsageError("--format is for figures; the suffix of --animate's file says its own")
    if save is not None:
        raise UsageError("--save is for figures; --animate names its own file")


def _tables(runs: Sequence[str] | None, out: Path) -> list[RunTables]:
    return [read_run(path) for path in find_runs(runs or (), out)]


def _subjects(
    kinds: Sequence[str], runs: Sequence[str] | None, problems: Sequence[str], out: Path
) -> list[Subject | StudySubject]:
    """Return what is to be drawn, kind by kind and each figure once."""
    of_studies = [kind in STUDY_KINDS for kind in kinds]
    tables = [] if all(of_studies) else _tables(runs, out)
    studies = named_studies(runs or (), out) if any(of_studies) else []
    found: dict[tuple[Path, str, str], Subject | StudySubject] = {}
    for kind in kinds:
        chosen: Sequence[Subject | StudySubject] = (
            choose_of_studies(studies, kind, problems)
            if kind in STUDY_KINDS
            else choose(tables, kind, problems, together=bool(runs))
        )
        for subject in chosen:
            found.setdefault((subject.tables.path, subject.problem, subject.name), subject)
    return list(found.values())


def _finish(file: Path, *, show: bool) -> None:
    """Print where a file is, and open it if asked to."""
    tell(file)
    if show:
        typer.launch(str(file))


def _say_lacking(characters: str) -> None:
    """Say once which characters the figures show as boxes."""
    distinct = dict.fromkeys(characters)
    if distinct:
        named = "".join(list(distinct)[:MOST_NAMED]) + "…" * (len(distinct) > MOST_NAMED)
        typer.echo(
            f"no font on this machine has {named}, so figures show boxes; install one that does",
            err=True,
        )


def _limits(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--ylim '{text}' is malformed; write two numbers, as 0,1") from None
    return low, high
