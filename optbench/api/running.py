"""Running and tuning, going on with either, and reading what they have left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from optbench.api.results import Results, Study
from optbench.cluster import SHARED
from optbench.display.interactive import watched
from optbench.display.phases import Phases
from optbench.display.runs import display
from optbench.display.screen import say
from optbench.errors import SuiteError, UsageError, in_python
from optbench.plugins import new_code_cache
from optbench.records import Status
from optbench.runs.estimate import Estimate, estimate_plan
from optbench.runs.invocation import Execution, Invocation, plan_runs, run_all
from optbench.runs.merge import merge as merge_runs
from optbench.runs.pipeline import CHECKPOINT_SECONDS, RunResult
from optbench.runs.resume import resume_run
from optbench.settings import call_with, typed
from optbench.store.find import find_entries
from optbench.store.pack import pack as pack_run
from optbench.store.reader import read_run
from optbench.store.studies import is_study, read_study
from optbench.suite.handed import Given, named_optimizers, named_problems
from optbench.suite.request import SuiteSource
from optbench.tuning import study as studies

Options = ParamSpec("Options")

Made = TypeVar("Made")
Asked = TypeVar("Asked", bound=Invocation)


@dataclass(frozen=True)
class RunCall(Invocation):
    """What :func:`run` takes: what ``optbench run`` does, and whether progress is shown."""

    _: KW_ONLY
    progress: bool | None = None


@dataclass(frozen=True)
class TuneCall(studies.Tuning):
    """What :func:`tune` takes: what ``optbench tune`` does, and whether progress is shown."""

    _: KW_ONLY
    progress: bool | None = None


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
    """Give a function the parameters of :class:`RunCall`, which stand there alone."""

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


@_with_options(RunCall)
@in_python()
@new_code_cache()
def run(suite: Any = (), **options: Any) -> "Results | list[Results]":
    """Run a suite, or several, and return the results.

    Parameters
    ----------
    suite
        Name of a built-in suite, path of a TOML file, or a suite as a mapping; a list of these
        gives a list of results. It may be left out where ``problem`` or ``function`` is given.
    options
        Those of ``optbench run``, by the same names: what is asked for
        (:class:`~optbench.suite.request.RunRequest`) and how it is carried out
        (:class:`~optbench.runs.invocation.Execution`). With ``progress`` the run is shown while it
        goes on; None, the default, shows it in notebooks and at the prompt, and nothing in scripts.

    Raises
    ------
    UsageError
        For whatever ``optbench run`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written.
    """
    call = _asking_for_something(call_with(RunCall, suite, **options))
    shown = watched(call.progress)
    notice = _note if shown else _ignore
    made = run_all(call, notice, partial(display, quiet=not shown))
    results = [_results(result) for result in made]
    return results if _several(suite) else results[0]


@_taking(TuneCall)
@in_python()
@new_code_cache()
def tune(suite: Any = (), **options: Any) -> Study:
    """Tune optimizers alike, and judge the winners on seeds that chose nothing.

    Parameters
    ----------
    suite
        Name of a built-in suite, path of a TOML file, or a suite as a mapping; without one, and
        without ``problem`` and ``function``, the textbook's comparison with 1,000 iterations.
    options
        Those of ``optbench tune``, by the same names: what is asked for
        (:class:`~optbench.tuning.protocol.TuneRequest`) and how it is carried out
        (:class:`~optbench.runs.invocation.Execution`). Spaces are texts by target, as
        ``{"adam.lr": "log(1e-4, 1)"}``. ``progress`` is as for :func:`run`.

    Raises
    ------
    UsageError
        For whatever ``optbench tune`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written, and :func:`resume` goes on.
    """
    call = call_with(TuneCall, suite, **options)
    shown = watched(call.progress)
    phases = Phases(quiet=not shown)
    expect = phases.expect if shown else None
    notice = _note if shown else _ignore
    return _study(studies.tune(call, call, notice, phases.show, phases.announce, expect))


@in_python()
@new_code_cache()
def estimate(suite: Any = (), **options: Any) -> list[Estimate]:
    """Return what :func:`run` would take with these arguments; nothing is run, nothing written.

    There is one estimate for each optimizer on each problem, from a few of its steps.
    """
    call = _asking_for_something(call_with(Invocation, suite, **options))
    with plan_runs(call) as (device, plans):
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
    cluster: str | None = None,
    cluster_records: str = SHARED,
    force: bool = False,
    trust: bool = False,
    problem: Given | Sequence[Given] = (),
    optimizers: Given | Sequence[Given] = (),
    progress: bool | None = None,
) -> Results | Study:
    """Resume a run or a study that was interrupted or killed, and return its results.

    Parameters
    ----------
    run
        Its directory, the name of one under ``out``, the beginning of that name, or ``"latest"``.
    force
        Whether the environment may be another one than the run began in, and that of a cluster's
        workers another than here.
    problem, optimizers
        What the run was handed of functions, as :func:`optbench.problems.function` makes problems
        of them, and classes, where this process has not handed them over already.

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
        cluster=cluster,
        cluster_records=cluster_records,
        force=force,
    )
    named_problems(problem)
    named_optimizers(optimizers)
    shown = watched(progress)
    notice = _note if shown else _ignore
    (path,) = find_entries([str(run)], Path(out))
    if is_study(path):
        if trust:
            raise UsageError(f"'{path}' is a study, which is resumed with its own code alone")
        phases = Phases(quiet=not shown)
        return _study(
            studies.resume_study(path, execution, notice, phases.show, phases.announce, force=force)
        )
    return _results(
        resume_run(
            str(path),
            execution,
            notice,
            partial(display, quiet=not shown),
            force=force,
            trust=trust,
        )
    )


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
def merge(
    *runs: str | PathLike[str],
    name: str | None = None,
    out: str | PathLike[str] = "results",
) -> Results:
    """Make one new run of runs that belong together, such as other seeds or optimizers.

    Parameters
    ----------
    runs
        Two or more, each as for :func:`load`.
    name
        What to call the new run; by default as its runs, or ``"merged"``.
    out
        The results directory.

    Raises
    ------
    ResultsError
        If they cannot be one run; the message names the places that differ, one a line.
    """
    notice = _note if watched(None) else _ignore
    return Results(read_run(merge_runs([*map(str, runs)], Path(out), name=name, notice=notice)))


@typed
def pack(
    run: str | PathLike[str],
    file: str | PathLike[str],
    *,
    force: bool = False,
    out: str | PathLike[str] = "results",
) -> Path:
    """Write a run or a study into one zip file, which is read like it, and return its path.

    Parameters
    ----------
    run
        As for :func:`load`.
    file
        Its name ends in ``.zip``.
    force
        Whether a file may be overwritten.

    Raises
    ------
    UsageError
        For whatever ``optbench pack`` would exit with code 2.
    """
    (path,) = find_entries([str(run)], Path(out))
    pack_run(path, Path(file), force=force)
    return Path(file)


def _note(message: str) -> None:
    say(f"note: {message}")


def _ignore(message: str) -> None:
    """Show nothing."""


def _several(suite: object) -> bool:
    return not isinstance(suite, str | PathLike | Mapping) and suite != ()


def _asking_for_something(invocation: Asked) -> Asked:
    """Refuse a call that names nothing to run, for which the command has a default."""
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
