"""``optbench plot``: the figures of runs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Runs
from optbench.errors import ResultsError, UsageError, nearest

if TYPE_CHECKING:
    from optbench.plots import PlotOptions
    from optbench.records import RunTables

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
        str, typer.Option("--format", metavar="|".join(FORMATS), help="Of the files.")
    ] = "png",
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
    show: Annotated[
        bool, typer.Option("--show", help="Open the figures in the system's viewer.")
    ] = False,
) -> None:
    """Draw figures of runs and print the paths of the files."""
    from optbench.plots import KINDS, PlotOptions

    if kind != AUTO and kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'; {nearest(kind, (AUTO, *KINDS))}")
    if format_ not in FORMATS:
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")
    options = PlotOptions(smooth=smooth, ylim=_limits(ylim), x=x, log=log)  # type: ignore[arg-type]  # PlotOptions checks x
    from optbench.store.find import find_runs, list_runs
    from optbench.store.reader import read_run

    holds_runs = out is not None and bool(list_runs(out))
    results = out if out is not None and holds_runs else DEFAULT_OUT
    target = None if holds_runs else out
    found = [read_run(path) for path in find_runs(runs or [], results)]
    figures = [figure for tables in found for figure in _figures(tables, kind)]
    if not figures:
        raise UsageError(f"none of these runs can be drawn as {kind}; {_what_fits(found)}")
    for figure, place in zip(figures, _places(figures, target, format_), strict=True):
        figure.write(place, options)
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

    def write(self, place: Path, options: "PlotOptions") -> None:
        """Draw it into a file whose suffix says the format."""
        from optbench.plots import draw
        from optbench.store.files import write_beside

        figure = draw(self.kind, self.tables, self.problem, options)
        form = place.suffix.removeprefix(".")
        write_beside(place, lambda beside: figure.savefig(beside, format=form))


def _limits(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--ylim '{text}' is malformed; write two numbers, as 0,1") from None
    return low, high


def _what_fits(found: "list[RunTables]") -> str:
    from optbench.analysis import problems
    from optbench.plots import drawable

    kinds = [each for run in found for problem in problems(run) for each in drawable(run, problem)]
    return f"what fits: {', '.join(dict.fromkeys(kinds))}" if kinds else "they hold no rows"


def _figures(tables: "RunTables", kind: str) -> list[_Figure]:
    """Return what is to be drawn of a run: of every problem the kinds that fit."""
    from optbench.analysis import problems
    from optbench.plots import drawable, kinds_for

    return [
        _Figure(tables, problem, each)
        for problem in problems(tables)
        for each in (kinds_for(tables, problem) if kind == AUTO else drawable(tables, problem))
        if kind in (AUTO, each)
    ]


def _places(figures: list[_Figure], target: Path | None, suffix: str) -> list[Path]:
    """Return a file for each figure; in a place that the user chose nothing is overwritten."""
    if target is None:
        return [each.tables.path / "plots" / f"{each.name}.{suffix}" for each in figures]
    several = len({each.tables.path for each in figures}) > 1
    if target.suffix.removeprefix(".") in FORMATS:
        if len(figures) > 1:
            raise UsageError(f"'{target}' is one file for {len(figures)} figures; give a folder")
        places = [target]
    else:
        names = [
            f"{each.tables.path.name}-{each.name}" if several else each.name for each in figures
        ]
        places = [target / f"{name}.{suffix}" for name in names]
    for place in places:
        if place.exists():
            raise ResultsError(f"'{place}' is there already; move it or choose another --out")
    return places
