"""The Python API: run suites and load runs as DataFrames, without a shell.

>>> import tempfile
>>> import optbench
>>> results = optbench.run("anisotropic", optimizers=["adam"], out=tempfile.mkdtemp())
>>> results.trace[["iteration", "loss"]].round(4).head(2)
   iteration    loss
0          0  6.4500
1          1  5.1345
>>> results = optbench.run(
...     problem="booth",
...     optimizers=["adam"],
...     grid={"adam.lr": [1e-6, 0.1]},
...     stop={"loss": 1.0},
...     out=tempfile.mkdtemp(),
... )
>>> results.lanes["status"].tolist()
['done', 'stopped']
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from optbench.errors import ResultsError, SuiteError, UsageError
from optbench.gate import check as gate_check
from optbench.gate import save as gate_save
from optbench.plugins import new_code_cache
from optbench.records import RunTables, Status, StudyTables
from optbench.report.compare import Question
from optbench.report.compare import compare as compare_labels
from optbench.report.configurations import problem_names
from optbench.report.export import check_export
from optbench.report.export import export as export_table
from optbench.report.joined import joined
from optbench.report.protocol import contestants
from optbench.report.races import Question as TargetQuestion
from optbench.report.studies import results as study_results
from optbench.report.summaries import summary
from optbench.report.targets import reach
from optbench.runs.estimate import Estimate, estimate_plan
from optbench.runs.invocation import Execution, Invocation, plan_runs, run_all
from optbench.runs.pipeline import CHECKPOINT_SECONDS, RunResult
from optbench.runs.resume import resume_run
from optbench.settings import typed
from optbench.store.find import find_entries, find_runs
from optbench.store.reader import read_run
from optbench.store.studies import is_study, read_study
from optbench.suite.request import SuiteSource
from optbench.suite.values import plain_value, seed_list
from optbench.tuning import study as studies
from optbench.verify.optimizers import check_optimizer, positions
from optbench.verify.problems import check_problem, loss_and_gradient

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "Results",
    "Study",
    "UsageError",
    "check",
    "check_optimizer",
    "check_problem",
    "compare",
    "estimate",
    "export",
    "load",
    "loss_and_gradient",
    "positions",
    "resume",
    "run",
    "save_baseline",
    "target",
    "tune",
]

check = typed(new_code_cache()(gate_check.check_baselines))
save_baseline = typed(new_code_cache()(gate_save.save_baseline))

Options = ParamSpec("Options")

Made = TypeVar("Made")


class _Run(Protocol[Options]):
    """The type of :func:`run`: one suite gives one run's results, several give a list."""

    @overload  # text is also a sequence of text, but means one suite
    def __call__(  # type: ignore[overload-overlap]
        self, suite: SuiteSource = ..., *args: Options.args, **options: Options.kwargs
    ) -> "Results": ...

    @overload
    def __call__(
        self, suite: Sequence[SuiteSource], *args: Options.args, **options: Options.kwargs
    ) -> "list[Results]": ...


def _with_options(
    invocation: Callable[Concatenate[Any, Options], object],
) -> Callable[[Callable[..., Any]], _Run[Options]]:
    """Give a function the parameters of :class:`Invocation`, which stand there alone."""

    def declare(function: Callable[..., Any]) -> _Run[Options]:
        return cast(_Run[Options], _taking(invocation)(function))

    return declare


def _taking(
    request: Callable[Options, object],
) -> Callable[[Callable[..., Made]], Callable[Options, Made]]:
    """Give a function the parameters of a request's class, which stand there alone."""

    def declare(function: Callable[..., Made]) -> Callable[Options, Made]:
        shown = signature(function).replace(parameters=[*signature(request).parameters.values()])
        setattr(function, "__signature__", shown)  # noqa: B010  # mypy knows no such attribute
        return cast(Callable[Options, Made], function)

    return declare


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

    def summary(self) -> "pd.DataFrame":
        """Return one row per optimizer: its best configuration, medians over its seeds."""
        return summary(self.tables)

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
        from optbench.report.plots import PlotOptions, draw, kinds_for  # these load Matplotlib
        from optbench.report.plots.fonts import fit_fonts

        chosen = problem_names(self.tables)[0] if problem is None else problem
        if kind == "auto":
            kind = (kinds_for(self.tables, chosen) or ["loss"])[0]
        figure = draw(kind, self.tables, chosen, PlotOptions(**options))
        fit_fonts(figure)
        return figure


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

    def summary(self) -> "pd.DataFrame":
        """Return one row per optimizer and problem: what won, and how the final judged it."""
        return study_results(self.tables)


@_taking(studies.Tuning)
@new_code_cache()
def tune(suite: Any = (), **options: Any) -> Study:
    """Tune optimizers alike, judge the winners on seeds that chose nothing; print nothing.

    Parameters
    ----------
    suite
        Name of a built-in suite, path of a TOML file, or a suite as a mapping; without one, and
        without ``problem`` and ``function``, the textbook's comparison with 1,000 iterations.
    options
        Those of ``optbench tune``, by the same names: what is asked for
        (:class:`~optbench.tuning.protocol.TuneRequest`) and how it is carried out
        (:class:`~optbench.runs.invocation.Execution`). Spaces are texts by target, as
        ``{"adam.lr": "log(1e-4, 1)"}``.

    Raises
    ------
    UsageError
        For whatever ``optbench tune`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written, and :func:`resume` goes on.
    """
    tuning = studies.Tuning(suite, **options)
    return _study(studies.tune(tuning, tuning))


@_with_options(Invocation)
@new_code_cache()
def run(suite: Any = (), **options: Any) -> "Results | list[Results]":
    """Run a suite, or several, and return the results; nothing is printed.

    Parameters
    ----------
    suite
        Name of a built-in suite, path of a TOML file, or a suite as a mapping; a list of these
        gives a list of results. It may be left out where ``problem`` or ``function`` is given.
    options
        Those of ``optbench run``, by the same names: what is asked for
        (:class:`~optbench.suite.request.RunRequest`) and how it is carried out
        (:class:`~optbench.runs.invocation.Execution`).

    Raises
    ------
    UsageError
        For whatever ``optbench run`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written.
    """
    results = [_results(result) for result in run_all(_invocation(suite, options))]
    return results if _several(suite) else results[0]


@new_code_cache()
def estimate(suite: Any = (), **options: Any) -> list[Estimate]:
    """Return what :func:`run` would take with these arguments; nothing is run, nothing written.

    There is one estimate for each optimizer on each problem, from a few of its steps.
    """
    device, plans = plan_runs(_invocation(suite, options))
    return [group for plan in plans for group in estimate_plan(plan, device)]


@typed
@new_code_cache()
def resume(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str] = "results",
    workers: int | None = None,
    data_dir: str | PathLike[str] | None = None,
    checkpoint_every: float = CHECKPOINT_SECONDS,
    time_alone: bool = False,
    force: bool = False,
    trust: bool = False,
) -> Results | Study:
    """Resume a run or a study that was interrupted or killed, and return its results.

    Parameters
    ----------
    run
        Its directory, the name of one under ``out``, the beginning of that name, or ``"latest"``.
    force
        Whether the environment may be another one than the run began in.

    The others are as of :func:`run`; ``trust`` is for runs, not for studies.

    Raises
    ------
    UsageError
        For whatever ``--resume`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written.
    """
    execution = Execution(
        workers=workers,
        data_dir=data_dir,
        out=out,
        checkpoint_every=checkpoint_every,
        time_alone=time_alone,
    )
    (path,) = find_entries([str(run)], Path(out))
    if is_study(path):
        if trust:
            raise UsageError(f"'{path}' is a study, which is resumed with its own code alone")
        return _study(studies.resume_study(path, execution, force=force))
    return _results(resume_run(str(path), execution, force=force, trust=trust))


@typed
def load(path: str | PathLike[str], *, out: str | PathLike[str] = "results") -> Results | Study:
    """Load a run or a study.

    Parameters
    ----------
    path
        Its directory, the name of one under ``out``, the beginning of that name, or ``"latest"``.

    Raises
    ------
    ResultsError
        If there is none, or it is damaged.
    """
    (found,) = [Path(path)] if Path(path).is_dir() else find_entries([str(path)], Path(out))
    return Study(read_study(found)) if is_study(found) else Results(read_run(found))


@typed
def export(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    table: str = "trace",
    *,
    format: str | None = None,
    output: str | PathLike[str] | None = None,
    force: bool = False,
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return one table of runs, and write it to a file if ``output`` names one.

    Parameters
    ----------
    runs
        Directories, names under ``out``, or ``"latest"``; without any, those of the latest
        invocation.
    table
        ``"trace"``, ``"lanes"``, ``"evaluation"`` or ``"summary"``.
    format
        ``"csv"``, ``"json"`` or ``"parquet"``; by default what the file's suffix says.
    force
        Whether a file may be overwritten.

    Raises
    ------
    UsageError
        For whatever ``optbench export`` would exit with code 2.
    """
    file = None if output is None else Path(output)
    check_export(table, format, file, force=force)
    return export_table(_tables(runs, out), table, format, file, force=force)


@typed
def compare(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    metric: str | None = None,
    reference: str | None = None,
    problems: str | Sequence[str] = (),
    level: float = 0.05,
    margin: float = 0.01,
    points: float = 0.1,
    choose_on: Sequence[int] = (),
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return which optimizers of runs are better, by how much, and whether that is sure.

    There is one row for each pair of labels of a problem, with the fields of
    :class:`optbench.report.compare.Pair` as columns; docs/statistics.md says what they mean. The
    options are those of :class:`optbench.report.compare.Question`.

    Parameters
    ----------
    runs
        As for :func:`export`; of several, labels that they share become ``label (run)``.

    Raises
    ------
    UsageError
        For whatever ``optbench compare`` would exit with code 2.
    NothingToCompareError
        If no two optimizers have lanes of one problem and seed.
    """
    question = Question(
        metric,
        reference,
        (problems,) if isinstance(problems, str) else tuple(problems),
        level,
        margin,
        points,
        tuple(choose_on),
    )
    return compare_labels(joined([*map(contestants, _tables(runs, out))]), question).pairs


def _tables(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]], out: str | PathLike[str]
) -> list[RunTables]:
    names = [runs] if isinstance(runs, str | PathLike) else runs
    return [read_run(path) for path in find_runs([str(name) for name in names], Path(out))]


@typed
def target(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    targets: str | Sequence[str] = (),
    *,
    on: str | None = None,
    reference: str | None = None,
    problems: str | Sequence[str] = (),
    choose_on: int | str | Sequence[int] = (),
    unit: Literal["steps", "seconds"] = "steps",
    profile: bool = False,
    algoperf: bool = False,
    rungs: int | None = None,
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return how many steps, or seconds, optimizers of runs need to a target.

    There is one row for each problem and label, with the fields of
    :class:`optbench.report.targets.Arrival` as columns; +inf is beyond the budget. With
    ``profile``, ``algoperf`` or ``rungs`` the problems are put together, and there is one row for
    each label. docs/statistics.md says what the columns mean.

    Parameters
    ----------
    runs
        As for :func:`export`; of several, labels that they share become ``label (run)``.
    targets
        What to reach, as ``"0.1"``, ``"best:5%"`` (the default), ``"of:adam"``, ``"quantile:0.5"``,
        ``"start/100"`` or ``"published"``, of all problems or of one: ``"booth=0.1"``.
    on
        What to watch; by default the loss of the trace.
    reference
        The label with whose times the others' are compared.
    choose_on
        Seeds that choose the configuration of each label, where it has several.
    rungs
        Targets of a ladder, of which the shares reached are counted.

    Raises
    ------
    UsageError
        For whatever ``optbench target`` would exit with code 2.
    NothingToCompareError
        If nothing was recorded that could be watched, or the problems have no label in common.
    """
    question = TargetQuestion(
        targets=[targets] if isinstance(targets, str) else targets,
        on=on,
        reference=reference,
        problems=[problems] if isinstance(problems, str) else problems,
        choose_on=() if choose_on == () else seed_list(plain_value(choose_on)),
        unit=unit,
        profile=profile,
        algoperf=algoperf,
        rungs=rungs,
    )
    return reach(_tables(runs, out), question).table


def _several(suite: object) -> bool:
    return not isinstance(suite, str | PathLike | Mapping) and suite != ()


def _invocation(suite: Any, options: Mapping[str, Any]) -> Invocation:
    invocation = Invocation(suite, **options)
    if not (invocation.suite or invocation.problem or invocation.function):
        raise SuiteError("nothing to run; name a suite, a problem or a function")
    return invocation


def _results(result: RunResult) -> Results:
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return Results(read_run(result.path))


def _study(result: studies.StudyResult) -> Study:
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return Study(read_study(result.path))
