"""``optbench plot``: the figures of runs."""

import re
from collections import Counter
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Runs
from optbench.errors import ResultsError, UsageError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from optbench.records import RunTables
    from optbench.report.plots import PlotOptions

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
    from optbench.report.plots.animation import form_of

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
    from optbench.report.plots import animate
    from optbench.report.plots.animation import form_of
    from optbench.store.files import write_beside, writing

    if len(races) > 1:
        titles = list(dict.fromkeys(problem for _, problem in races))
        remedy = "choose one with --problem" if len(titles) > 1 else "name one run"
        raise UsageError(f"'{place}' shows one race and there are {len(races)}; {remedy}")
    ((tables, problem),) = races
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_beside(place, lambda beside: animate(tables, problem, beside, form_of(place)))


FORMATS = ("png", "svg", "pdf")


AUTO = "auto"


def plot(
    runs: Runs = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="auto|trajectory|surface|field|loss|sensitivity",
            help="What to draw; auto draws what fits.",
        ),
    ] = AUTO,
    format_: Annotated[
        str | None,
        typer.Option("--format", metavar="|".join(FORMATS), help="Of the files; without it png."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A results directory to look for runs in (default: results); any other folder, "
            "or a file, is where the figures go instead of each run's plots/.",
            show_default=False,
        ),
    ] = None,
    smooth: Annotated[
        int | None,
        typer.Option(metavar="ROWS", help="Smoothing window, odd; 1: none. Networks: 11."),
    ] = None,
    ylim: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Limits of the loss axis.")
    ] = None,
    x: Annotated[
        str, typer.Option("--x", metavar="iteration|epoch|seconds", help="Horizontal axis.")
    ] = "iteration",
    log: Annotated[bool, typer.Option("--log", help="Logarithmic loss axis.")] = False,
    problem: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this problem; repeatable.", show_default=False),
    ] = None,
    animate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif|mp4",
            help="Write all optimizers racing over one function instead of figures.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Open the figures in the system's viewer.")
    ] = False,
) -> None:
    """Draw figures of runs and print the paths of the files."""
    from optbench.report.plots import KINDS, PlotOptions

    if kind != AUTO and kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'; {nearest(kind, (AUTO, *KINDS))}")
    if format_ not in (None, *FORMATS):
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")
    options = PlotOptions(smooth=smooth, ylim=_limits(ylim), x=x, log=log)  # type: ignore[arg-type]  # PlotOptions checks x
    if animate is not None:
        check_animation(animate, kind=kind, format_=format_)
        kind = RACE
    from optbench.store.find import find_runs, list_runs
    from optbench.store.reader import read_run

    holds_runs = out is not None and bool(list_runs(out))
    results = out if out is not None and holds_runs else DEFAULT_OUT
    target = None if holds_runs else out
    if animate is not None and target is not None:
        raise UsageError(f"'{target}' holds no runs, and the animation goes to '{animate}'")
    found = [read_run(path) for path in find_runs(runs or [], results)]
    chosen = _chosen(found, problem)
    figures = [each for each in _all_figures(found, kind) if each.problem in chosen]
    if not figures:
        raise UsageError(f"none of these runs can be drawn as {kind}; {_what_fits(found, chosen)}")
    if animate is not None:
        write_animation([(each.tables, each.problem) for each in figures], animate)
        _finish(animate, show=show)
        return
    places = _places(figures, target, format_)
    drawn = [figure.draw(options) for figure in figures]
    for figure, place in zip(drawn, places, strict=True):
        write_figure(figure, place)
        _finish(place, show=show)


def _finish(place: Path, *, show: bool) -> None:
    """Print where a file is, and open it if asked to."""
    typer.echo(str(place))
    if show:
        typer.launch(str(place))


@dataclass(frozen=True)
class _Figure:
    """One figure: a kind, of a problem, of a run."""

    tables: "RunTables"
    problem: str
    kind: str

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', self.problem)}-{self.kind}"

    def draw(self, options: "PlotOptions") -> "Figure":
        """Draw it."""
        from optbench.report.plots import draw

        return draw(self.kind, self.tables, self.problem, options)


def write_figure(figure: "Figure", place: Path) -> None:
    """Write a figure into a file whose suffix says the format."""
    from optbench.store.files import write_beside, writing

    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_beside(place, lambda beside: figure.savefig(beside, format=_suffix(place)))


def _limits(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--ylim '{text}' is malformed; write two numbers, as 0,1") from None
    return low, high


def _what_fits(found: "list[RunTables]", chosen: set[str]) -> str:
    from optbench.report.configurations import problem_names
    from optbench.report.plots import drawable

    pairs = [(run, each) for run in found for each in problem_names(run) if each in chosen]
    kinds = [kind for run, problem in pairs for kind in drawable(run, problem)]
    return f"what fits: {', '.join(dict.fromkeys(kinds))}" if kinds else "they hold no rows"


def _chosen(found: "list[RunTables]", names: list[str] | None) -> set[str]:
    """Return the problems to be drawn: those named, or all."""
    from optbench.report.configurations import problem_names

    known = dict.fromkeys(problem for run in found for problem in problem_names(run))
    for name in names or []:
        if name not in known:
            raise UsageError(f"these runs have no problem '{name}'; {nearest(name, known)}")
    return set(names or known)


def _all_figures(found: "list[RunTables]", kind: str) -> list[_Figure]:
    return [figure for tables in found for figure in _figures(tables, kind)]


def _figures(tables: "RunTables", kind: str) -> list[_Figure]:
    """Return what is to be drawn of a run: of every problem the kinds that fit."""
    from optbench.report.configurations import problem_names
    from optbench.report.plots import drawable, kinds_for

    return [
        _Figure(tables, problem, each)
        for problem in problem_names(tables)
        for each in (kinds_for(tables, problem) if kind == AUTO else drawable(tables, problem))
        if kind in (AUTO, each)
    ]


def _places(figures: list[_Figure], target: Path | None, format_: str | None) -> list[Path]:
    """Return a file for each figure; in a place that the user chose nothing is overwritten."""
    suffix = format_ or FORMATS[0]
    if target is None:
        folders = [each.tables.path / "plots" for each in figures]
        return _distinct([f / f"{e.name}.{suffix}" for f, e in zip(folders, figures, strict=True)])
    if _suffix(target) in FORMATS:
        if len(figures) > 1:
            raise UsageError(f"'{target}' is one file for {len(figures)} figures; give a folder")
        if format_ not in (None, _suffix(target)):
            raise UsageError(f"'{target}' is no {format_}; give --format or a file, not both")
        places = [target]
    else:
        several = len({each.tables.path for each in figures}) > 1
        names = [
            f"{each.tables.path.name}-{each.name}" if several else each.name for each in figures
        ]
        places = _distinct([target / f"{name}.{suffix}" for name in names])
    for place in places:
        if lexists(place):
            raise ResultsError(f"'{place}' is there already; move it or choose another --out")
    return places


def _distinct(places: list[Path]) -> list[Path]:
    """Return the places, numbered where one comes again: titles may differ by a sign only."""
    seen: Counter[Path] = Counter()
    made = []
    for place in places:
        seen[place] += 1
        number = f"-{seen[place]}" if seen[place] > 1 else ""
        made.append(place.with_stem(f"{place.stem}{number}"))
    return made


def _suffix(place: Path) -> str:
    return place.suffix.removeprefix(".").lower()
