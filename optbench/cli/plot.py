"""``optbench plot``: the figures of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Runs, check_choice
from optbench.cli.output import tell
from optbench.cli.reports import ChooseOn, Problems, choosing_seeds
from optbench.cli.studies import named_studies
from optbench.cli.target import On, Targets
from optbench.errors import UsageError
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
from optbench.store.find import find_runs, list_runs
from optbench.store.reader import read_run

MOST_NAMED = 20
"""Characters that a message names."""


def plot(
    runs: Runs = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="|".join((AUTO, *KINDS, *STUDY_KINDS)),
            help="What to draw; auto draws what fits. The last two show the search of a study.",
        ),
    ] = AUTO,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="|".join(FORMATS), help="Format of the files; png by default."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A results directory to look for runs in (default: results); any other folder "
            "or file is where the figures go instead of plots/ in each run.",
            show_default=False,
        ),
    ] = None,
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
    problem: Problems = None,
    targets: Targets = None,
    on: On = None,
    choose_on: ChooseOn = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif|mp4",
            help="Instead of figures, write an animation of all optimizers racing on a function.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open the figures in the system's viewer.")
    ] = False,
) -> None:
    """Draw figures of runs and print the paths of the files.

    Runs that are named together share the figures of kind loss.
    """
    check_choice("kind", kind, (AUTO, *KINDS, *STUDY_KINDS))
    if format_ is not None:
        check_choice("format", format_, FORMATS)
    options = PlotOptions(
        smooth=smooth,
        ylim=_limits(ylim),
        x=x,  # type: ignore[arg-type]  # PlotOptions checks it
        log=log,
        band=band,  # type: ignore[arg-type]  # PlotOptions checks it
        targets=targets or (),
        on=on,
        choose_on=choosing_seeds(choose_on),
    )
    if animate is not None:
        check_animation(animate, kind=kind)
        if format_ is not None:
            raise UsageError("--format is for figures; the suffix of --animate's file says its own")
        kind = RACE
    holds_runs = out is not None and bool(list_runs(out))
    results = out if out is not None and holds_runs else DEFAULT_OUT
    target = None if holds_runs else out
    if animate is not None and target is not None:
        raise UsageError(f"'{target}' holds no runs, and the animation goes to '{animate}'")
    if kind in STUDY_KINDS:
        found = named_studies(runs or (), results)
        _draw(choose_of_studies(found, kind, problem or ()), options, target, format_, show=show)
        return
    tables = [read_run(path) for path in find_runs(runs or [], results)]
    subjects = choose(tables, kind, problem or (), together=bool(runs))
    if animate is not None:
        lacking = write_animation(subjects, animate)
        _finish(animate, show=show)
        _say_lacking(lacking)
        return
    _draw(subjects, options, target, format_, show=show)


def _draw(
    subjects: Sequence[Subject | StudySubject],
    options: PlotOptions,
    target: Path | None,
    format_: str | None,
    *,
    show: bool,
) -> None:
    """Draw figures, write them, and print where they are."""
    files = places(subjects, target, format_)
    figures = [draw(one.kind, one.tables, one.problem, options) for one in subjects]
    lacking = ""
    for figure, file in zip(figures, files, strict=True):
        lacking += write_figure(figure, file)
        _finish(file, show=show)
    _say_lacking(lacking)


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
