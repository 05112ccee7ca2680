"""Figures of a run or a study: tables in, :class:`matplotlib.figure.Figure` out.

No figure is ever registered with pyplot, so drawing needs no display and is safe in threads.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from optbench.errors import UsageError, argument, nearest
from optbench.records import POSITION_NAMES, RunTables, StudyTables
from optbench.report.compare import Comparison
from optbench.report.configurations import describe, swept_numbers
from optbench.report.plots import (
    animation,
    budget,
    ecdf,
    effects,
    evaluation,
    field,
    loss,
    profile,
    ranks,
    schedule,
    sensitivity,
    surface,
    target,
    trajectory,
    trials,
)
from optbench.report.plots.landscape import FARTHEST
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import finish, sized_by
from optbench.report.protocol import problem_names
from optbench.store.thinning import BEYOND, every_of, in_words

__all__ = [
    "JOINED",
    "KINDS",
    "OVERALL",
    "STUDY_KINDS",
    "PlotOptions",
    "animate",
    "draw",
    "draw_effects",
    "drawable",
    "fits",
    "kinds_for",
]

Tables = TypeVar("Tables", RunTables, StudyTables)

KINDS = {
    "trajectory": trajectory.draw,
    "surface": surface.draw,
    "field": field.draw,
    "loss": loss.draw,
    "evaluation": evaluation.draw,
    "sensitivity": sensitivity.draw,
    "tolerance": sensitivity.draw_tolerance,
    "schedule": schedule.draw,
    "effects": effects.draw,
    "ranks": ranks.draw,
    "target": target.draw,
    "profile": profile.draw,
    "ecdf": ecdf.draw,
}
"""Every kind of figure of runs and what draws it."""

STUDY_KINDS = {"budget": budget.draw, "trials": trials.draw}
"""Every kind of figure of a study and what draws it."""

OVERALL = ("ranks", "profile", "ecdf")
"""Kinds that show all problems in one figure, whichever they are asked of."""

JOINED = ("effects", "target", *OVERALL)
"""Kinds that show several runs as one."""

AUTOMATIC = ("trajectory", "loss", "evaluation", "sensitivity")

TINY = 1e-100
"""The smallest size of a coordinate that is told from 0."""

LEAST_POINTS = 3
"""Values of a hyperparameter, or evaluations, from which a curve through them is drawn unasked."""


def kinds_for(tables: RunTables, problem: str) -> list[str]:
    """Return the kinds that ``--kind auto`` draws of a problem."""
    return [kind for kind in AUTOMATIC if not _obstacle(kind, tables, problem, least=LEAST_POINTS)]


def drawable(tables: RunTables, problem: str) -> list[str]:
    """Return every kind that can be drawn of a problem of a run by itself."""
    alone = (kind for kind in KINDS if kind not in JOINED)
    return [kind for kind in alone if not _obstacle(kind, tables, problem)]


def fits(kind: str, tables: RunTables, problem: str) -> bool:
    """Say whether a kind can be drawn of a problem of a run, or of several joined ones."""
    return _obstacle(kind, tables, problem) is None


def draw(
    kind: str,
    tables: RunTables | StudyTables,
    problem: str,
    options: PlotOptions | None = None,
) -> Figure:
    """Draw one figure of one problem: of a run a kind of :data:`KINDS`, of a study another one."""
    if isinstance(tables, StudyTables):
        return _draw_of_study(kind, tables, problem, options or PlotOptions())
    if kind in STUDY_KINDS:
        raise UsageError(f"{kind} shows the trials of a study, and this is a run")
    if kind not in KINDS:
        raise UsageError(f"unknown kind '{kind}'; {nearest(kind, KINDS)}")
    obstacle = _obstacle(kind, tables, problem)
    if obstacle:
        fitting = ", ".join(drawable(tables, problem)) or "nothing"
        raise UsageError(f"cannot draw {kind} of '{problem}': {obstacle}; what fits: {fitting}")
    return _drawn(KINDS[kind], tables, problem, options or PlotOptions())


def draw_effects(
    found: Comparison, tables: RunTables, problem: str, options: PlotOptions
) -> Figure:
    """Draw the pairs of a problem with verdicts that may be those of more problems together."""
    return _drawn(
        lambda tables, problem, _: effects.draw_found(found, tables, problem),
        tables,
        problem,
        options,
    )


def _draw_of_study(kind: str, study: StudyTables, problem: str, options: PlotOptions) -> Figure:
    if kind not in STUDY_KINDS:
        raise UsageError(f"unknown kind '{kind}' of a study; {nearest(kind, STUDY_KINDS)}")
    known = problem_names(study)
    if problem not in known:
        raise UsageError(f"this study has no problem '{problem}'; {nearest(problem, known)}")
    return _drawn(STUDY_KINDS[kind], study, problem, options)


def _drawn(
    draw_kind: Callable[[Tables, str, PlotOptions], Figure],
    tables: Tables,
    problem: str,
    options: PlotOptions,
) -> Figure:
    """Draw a figure for the page that it is for."""
    with sized_by(options):
        figure = draw_kind(tables, problem, options)
        finish(figure)
    return figure


def animate(tables: RunTables, problem: str, place: Path, form: str) -> str:
    """Write the race of all optimizers on a function of one or two variables, over a file.

    ``form`` is ``gif``, or ``mp4``, which needs ffmpeg. Returned are the characters of its texts
    that no font has.
    """
    obstacle = _obstacle("trajectory", tables, problem)
    if obstacle:
        raise UsageError(f"cannot show a race on '{problem}': {obstacle}")
    return animation.animate(tables, problem, place, form)


def _obstacle(kind: str, tables: RunTables, problem: str, least: int = 2) -> str | None:
    """Say why a kind of figure cannot be drawn of a problem, or return None."""
    meta = describe(tables, problem)
    lanes = tables.lanes[tables.lanes["problem"] == problem]
    rows = tables.trace[tables.trace["lane"].isin(lanes["lane"])]
    kept = every_of(tables.meta)
    if kept == BEYOND and kind in ("trajectory", "loss"):
        return f"the run kept {in_words(kept)} of its trace"
    if kind == "tolerance":
        return None if swept_numbers(lanes, 3) else "no hyperparameter has three values"
    if kind == "sensitivity":
        return None if swept_numbers(lanes, least) else "no numeric hyperparameter was swept"
    if kind == "schedule":
        columns = [name for name in ("hp_schedule", "hp_warmup") if name in lanes]
        return None if lanes[columns].notna().any(axis=None) else "no lane has a schedule"
    if kind == "evaluation":
        times = evaluation.evaluations_of(tables, problem)["iteration"].nunique()
        few = f"fewer than {least} evaluations; run with {argument('evaluate_every')} for more"
        return None if times >= least else few
    if kind == "loss" or kind in JOINED:
        begun = rows.loc[rows["iteration"] == 0, "loss"].abs() < float("inf")
        return None if begun.any() else "no lane has a finite loss"
    sizes, said = (
        ((1, 2), "one or two variables") if kind == "trajectory" else ((2,), "two variables")
    )
    if meta["kind"] != "function" or len(meta["variables"]) not in sizes:
        return f"it is not a function of {said}"
    if meta["plot"] is None or not (tables.surface["problem"] == problem).any():
        return "the run holds no surface of it"
    if not _is_drawable(meta["plot"]["domain"]):
        return "its domain cannot be drawn"
    positions = list(POSITION_NAMES[: len(meta["variables"])])
    if kind == "trajectory" and rows.reindex(columns=positions).dropna().empty:
        return "the run holds no positions"
    return None


def _is_drawable(domain: Sequence[Sequence[float]]) -> bool:
    """Say whether axes can span a domain: a canvas computes with its ends in floats."""
    return all(
        max(abs(low), abs(high)) <= FARTHEST and high - low > 1e-9 * max(abs(low), abs(high), TINY)
        for low, high in domain
    )
