"""What runs and studies return."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optbench.errors import ResultsError
from optbench.records import RunTables, StudyTables
from optbench.report.budgets import budgets, incumbents
from optbench.report.configurations import problem_names
from optbench.report.oneline import run_line, study_line
from optbench.report.protocol import adaptive
from optbench.report.protocol import problem_names as problems_of_study
from optbench.report.studies import results as study_results
from optbench.report.summaries import summary
from optbench.report.tolerance import tolerance
from optbench.settings import call_with, typed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Results:
    """One run: its tables, and figures of them.

    Attributes
    ----------
    tables
        All tables of the run and its run.json.
    """

    tables: "RunTables"

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.tables.path

    @property
    def meta(self) -> dict[str, Any]:
        """The run's run.json."""
        return self.tables.meta

    @property
    def lanes(self) -> "pd.DataFrame":
        """One row per lane: problem, optimizer, hyperparameters (hp_…), seed, status, losses."""
        return self.tables.lanes

    @property
    def trace(self) -> "pd.DataFrame":
        """One row per lane and iteration: loss, and x, y, z of functions."""
        return self.tables.trace

    @property
    def evaluation(self) -> "pd.DataFrame":
        """One row per evaluation of a lane: split, and loss and zero-one error over all of it."""
        return self.tables.evaluation

    def __repr__(self) -> str:
        """Return in a line where the run is, how it ended, how large it is, and who won."""
        return f"<Results {run_line(self.tables)}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the summary with the loss curves of its rows."""
        from optbench.report.notebook import run_html  # it loads Matplotlib for its colours

        return run_html(self.tables)

    def summary(self) -> "pd.DataFrame":
        """Return one row per optimizer: its best configuration, medians over its seeds."""
        return summary(self.tables)

    @typed
    def tolerance(self) -> "pd.DataFrame":
        """Return how exactly each hyperparameter that was swept has to be set."""
        return tolerance(self.tables)

    @typed
    def plot(self, kind: str = "auto", *, problem: str | None = None, **options: Any) -> "Figure":
        """Return a figure.

        Parameters
        ----------
        kind
            trajectory, surface, field, loss, evaluation, sensitivity, schedule, target, profile or
            ecdf; auto takes the first that fits.
        problem
            Which problem of the run, by default the first; profile and ecdf are of all.
        options
            As in :class:`optbench.report.plots.PlotOptions`.

        Raises
        ------
        UsageError
            If the run has no such problem, or the figure does not fit it.
        """
        from optbench.report.plots import kinds_for  # it loads Matplotlib

        chosen = problem_names(self.tables)[0] if problem is None else problem
        if kind == "auto":
            kind = (kinds_for(self.tables, chosen) or ["loss"])[0]
        return _figure(self.tables, kind, chosen, options)

    @typed
    def animate(
        self, file: str | PathLike[str], *, problem: str | None = None, force: bool = False
    ) -> Path:
        """Write an animation of all optimizers racing over a function of two variables.

        Parameters
        ----------
        file
            A new ``.gif``, or an ``.mp4``, which needs ffmpeg.
        problem
            Which problem of the run, by default the first.
        force
            Whether a file may be overwritten.

        Raises
        ------
        UsageError
            If the run has no such problem, or it is no function of two variables.
        """
        from optbench.report.plots.files import RACE, check_animation, choose, write_animation

        path = Path(file)
        check_animation(path, force=force)
        chosen = problem_names(self.tables)[0] if problem is None else problem
        write_animation(choose([self.tables], RACE, [chosen]), path)
        return path


@dataclass(frozen=True)
class Study:
    """One study: what was tried, what won, and the run that judged the winners.

    Attributes
    ----------
    tables
        The study's tune.json, its trials, and the tables of its final run.
    """

    tables: StudyTables

    @property
    def path(self) -> Path:
        """The study's directory."""
        return self.tables.path

    @property
    def meta(self) -> dict[str, Any]:
        """The study's tune.json."""
        return self.tables.meta

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per trial and phase: hyperparameters (hp_…), seeds, score, what it took."""
        return self.tables.trials

    @property
    def winners(self) -> list[dict[str, Any]]:
        """What was chosen of each optimizer on each problem: trial, hyperparameters, scores."""
        return list(self.meta["winners"])

    @property
    def final(self) -> Results:
        """The run of the winners, and of the defaults, on seeds that chose nothing.

        Raises
        ------
        ResultsError
            If it has not begun.
        """
        if self.tables.final is None:
            raise ResultsError(f"study '{self.path}' has no final run yet; optbench.resume goes on")
        return Results(self.tables.final)

    def __repr__(self) -> str:
        """Return in a line where the study is, how it ended, how large it is, and what won."""
        return f"<Study {study_line(self.tables)}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what won, with the loss curves of the final."""
        from optbench.report.notebook import study_html  # it loads Matplotlib for its colours

        return study_html(self.tables)

    def summary(self) -> "pd.DataFrame":
        """Return one row per optimizer and problem: what won, and how the final judged it."""
        return study_results(self.tables)

    @typed
    def budget(self, estimator: Literal["u", "v"] = "u") -> "pd.DataFrame":
        """Return what fewer trials would have found; of a search that adapts, the best so far.

        Parameters
        ----------
        estimator
            Of the expected best: ``"u"`` without replacement, or ``"v"`` with it.
        """
        if adaptive(self.tables):
            return incumbents(self.tables)
        return budgets(self.tables, estimator)

    @typed
    def plot(self, kind: str = "budget", *, problem: str | None = None, **options: Any) -> "Figure":
        """Return a figure of the search; those of the final run are ``study.final.plot()``.

        Parameters
        ----------
        kind
            budget or trials.
        problem
            Which problem of the study, by default the first.
        options
            As in :class:`optbench.report.plots.PlotOptions`.

        Raises
        ------
        UsageError
            If the study has no such problem, or the figure does not fit it.
        """
        chosen = problems_of_study(self.tables)[0] if problem is None else problem
        return _figure(self.tables, kind, chosen, options)


def _figure(
    tables: RunTables | StudyTables, kind: str, problem: str, options: Mapping[str, Any]
) -> "Figure":
    from optbench.report.plots import PlotOptions, draw  # these load Matplotlib
    from optbench.report.plots.fonts import fit_fonts

    figure = draw(kind, tables, problem, call_with(PlotOptions, **options))
    fit_fonts(figure)
    return figure
