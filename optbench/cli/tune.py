"""``optbench tune``: tune optimizers alike, and judge the winners on seeds that chose nothing."""

from json import dumps, loads
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from optbench.cli.detach import Detached, check_detachable, go_on_detached, is_detached
from optbench.cli.options import (
    DEFAULT_OUT,
    DataDir,
    Debug,
    Out,
    Version,
    Workers,
    complete_suite,
)
from optbench.cli.output import console, debug, say, tell
from optbench.cli.request import (
    WHAT_TO_RUN,
    BatchSize,
    CheckpointEvery,
    ClusterRecords,
    Data,
    Detach,
    Domain,
    Dtype,
    Epochs,
    EvaluateEvery,
    Force,
    Function,
    Grid,
    Iterations,
    Json,
    KnownMinimum,
    Name,
    OnCluster,
    OnDevice,
    OnProblems,
    Optimizers,
    Quiet,
    Seed,
    Seeds,
    Set,
    Start,
    StartSpread,
    Stop,
    TimeAlone,
    Trace,
    asked,
    check_alone,
    cluster_option,
    failed,
    out_option,
)
from optbench.cluster import SHARED
from optbench.display.phases import Phases, expected, in_all
from optbench.errors import ExitCode, SuiteError
from optbench.records import STEPS_TO_TARGET, Status
from optbench.report.aims import FIXED
from optbench.report.configurations import RANKED_BY
from optbench.report.sections import to_json
from optbench.report.studies import results, sections
from optbench.report.terminal import to_rich
from optbench.runs.invocation import Execution, ShowProgress
from optbench.runs.pipeline import CHECKPOINT_SECONDS
from optbench.store.find import find_study
from optbench.store.reader import read_run
from optbench.store.studies import read_study
from optbench.suite.flags import parse_count, parse_space
from optbench.tuning.protocol import METRICS, TuneRequest
from optbench.tuning.samplers import SAMPLERS
from optbench.tuning.study import StudyResult, outlook, resume_study
from optbench.tuning.study import tune as made

PANELS = {
    "What to tune": WHAT_TO_RUN["What to run"],
    "Search": (
        *("space", "spaces", "sampler", "batch", "budget", "metric", "target", "trial_seeds"),
        *("halving", "first_rung", "halving_anyway"),
    ),
    "Choice and judgement": (
        *("finalists", "finalist_seeds", "eval_seeds", "no_defaults", "strict"),
    ),
    **{panel: names for panel, names in WHAT_TO_RUN.items() if panel != "What to run"},
    "Output": ("out", "name", "quiet", "json", "dry_run", "trace"),
    "Machine": ("device", "workers", "data_dir"),
    "Cluster": ("cluster", "cluster_records", "detach"),
    "Resume and reuse": ("resume", "force", "reuse", "checkpoint_every"),
}
"""Options that the help shows together."""

BESIDE_RESUME = {
    *("resume", "force", "workers", "checkpoint_every", "data_dir", "out", "reuse"),
    *("quiet", "json", "strict", "debug", "version", "time_alone"),
    *("cluster", "cluster_records", "detach"),
}
"""Options that may stand beside --resume: none changes what is computed."""


def tune(
    context: typer.Context,
    suite: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|FILE.toml",
            help="A built-in suite, a TOML file, or the run.json or pack of a run, whose plug-ins "
            "have to be here. Without one: mnist-mlp with 1,000 iterations, which takes two cores "
            "about five minutes.",
            autocompletion=complete_suite,
            show_default=False,
        ),
    ] = None,
    optimizer: Optimizers = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="TARGET.KEY=SPACE",
            help="Try this of a hyperparameter: 'sgd.lr=log(1e-4, 10)', uniform(a, b), "
            "1 - log(a, b), int(a, b) or choice(x, …). An optimizer's first replaces its whole "
            "set. Repeatable.",
        ),
    ] = None,
    spaces: Annotated[
        str,
        typer.Option(
            metavar="wide|full|algoperf|FILE.toml", help="What is tried of all other optimizers."
        ),
    ] = TuneRequest.spaces,
    sampler: Annotated[
        str, typer.Option(metavar="|".join(SAMPLERS), help="How trials are chosen.")
    ] = TuneRequest.sampler,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Trials in a round of tpe.")
    ] = TuneRequest.batch,
    budget: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT",
            help="Of each optimizer on each problem: '64 trials', '2e6 steps', '2e6 gradients' "
            "or '600 s'; the final is not counted.",
        ),
    ] = TuneRequest.budget,
    halving: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="After each rung only the best one in so many trials goes on.",
            show_default=False,
        ),
    ] = None,
    first_rung: Annotated[
        str,
        typer.Option(
            metavar="N/K|ITERATIONS",
            help="Where the first rung is: a share of a lane's iterations, as N/9, or a number.",
        ),
    ] = TuneRequest.first_rung,
    halving_anyway: Annotated[
        bool,
        typer.Option("--halving-anyway", help="Halve also where a learning-rate schedule decays."),
    ] = False,
    trial_seeds: Annotated[
        int, typer.Option(metavar="N", help="Tuning seeds of each trial.")
    ] = TuneRequest.trial_seeds,
    finalists: Annotated[
        int, typer.Option(metavar="N", help="Best trials that are tried again; 0: none.")
    ] = TuneRequest.finalists,
    finalist_seeds: Annotated[
        int, typer.Option(metavar="N", help="Further tuning seeds, on which they are.")
    ] = TuneRequest.finalist_seeds,
    eval_seeds: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Seeds that judge the winners; auto: the suite's list, else as many as a verdict "
            "needs.",
        ),
    ] = "auto",
    no_defaults: Annotated[
        bool,
        typer.Option("--no-defaults", help="Leave the suite's own hyperparameters out at the end."),
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(METRICS),
            help="What trials are scored by; by default validation loss, else final loss.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="[PROBLEM=]RULE",
            help=f"What to reach with --metric {STEPS_TO_TARGET}, on one problem or on all: "
            f"{FIXED}. Repeatable.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 3 if a winner is at an edge of its space, or if fewer than 6 seeds "
            "judge.",
        ),
    ] = False,
    problem: OnProblems = None,
    function: Function = None,
    start: Start = None,
    domain: Domain = None,
    minimum: KnownMinimum = None,
    set_: Set = None,
    grid: Grid = None,
    seeds: Seeds = None,
    seed: Seed = None,
    iterations: Iterations = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    evaluate_every: EvaluateEvery = None,
    trace: Trace = None,
    stop: Stop = None,
    dtype: Dtype = None,
    device: OnDevice = "cpu",
    data: Data = None,
    start_spread: StartSpread = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    out: Out = DEFAULT_OUT,
    name: Name = None,
    quiet: Quiet = False,
    json: Json = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print spaces, trials, lanes and time; run nothing."),
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take over lanes of earlier runs, as the trials of a smaller budget."
        ),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="Resume a study that was interrupted or killed."),
    ] = None,
    force: Force = False,
    checkpoint_every: CheckpointEvery = CHECKPOINT_SECONDS,
    time_alone: TimeAlone = False,
    cluster: OnCluster = None,
    cluster_records: ClusterRecords = SHARED,
    detach: Detach = False,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Tune optimizers alike, and judge the winners on seeds that chose nothing.

    Each optimizer gets the same budget of trials from its space. The best few are tried again on
    further seeds, and the winner and the suite's own hyperparameters are run on the suite's.
    """
    notice = (lambda message: None) if quiet and not json else _note
    phases = Phases(quiet=quiet or json)
    show: ShowProgress = phases.show
    if detach:
        check_detachable(cluster, dry_run=dry_run, json=json)
        if not is_detached():
            raise typer.Exit(go_on_detached(out, quiet=quiet))
        show = Detached().telling(show)
    execution = Execution(
        device=device,
        workers=workers,
        data_dir=data_dir,
        out=out,
        reuse=reuse,
        checkpoint_every=checkpoint_every,
        trace=trace,
        time_alone=time_alone,
        cluster=cluster,
        cluster_records=cluster_records,
        force=force,
    )
    if resume is not None:
        check_alone(context, BESIDE_RESUME, "study")
        path = find_study(resume, out)
        result = resume_study(path, execution, notice, show, phases.announce, force=force)
        raise typer.Exit(
            _report(result, out, strict=strict, cluster=cluster, quiet=quiet, json=json)
        )
    if force and cluster is None:
        raise SuiteError("--force belongs to --resume or --cluster; give one of them")
    request = TuneRequest(
        suite or (),
        **asked(context),
        space=[parse_space(text) for text in space or ()],
        spaces=spaces,
        sampler=sampler,
        batch=batch,
        budget=budget,
        trial_seeds=trial_seeds,
        finalists=finalists,
        finalist_seeds=finalist_seeds,
        eval_seeds=_seed_count(eval_seeds),
        defaults=not no_defaults,
        metric=metric,
        target=target or (),
        halving=halving,
        first_rung=first_rung,
        halving_anyway=halving_anyway,
    )
    if dry_run:
        foreseen = outlook(request, execution, notice)
        console().print(to_rich(expected(foreseen)))
        tell(f"{in_all(foreseen)}; nothing was run")
        return
    result = made(request, execution, notice, show, phases.announce, phases.expect)
    raise typer.Exit(_report(result, out, strict=strict, cluster=cluster, quiet=quiet, json=json))


def _seed_count(text: str) -> int | Literal["auto"]:
    count = parse_count(text)
    if isinstance(count, int):
        return count
    if count != "auto":
        raise SuiteError(f"--eval-seeds '{text}' is malformed; write a number, or auto")
    return "auto"


def _note(message: str) -> None:
    say(f"note: {message}")


def _report(
    result: StudyResult,
    out: Path,
    *,
    strict: bool,
    cluster: str | None,
    quiet: bool,
    json: bool,
) -> int:
    """Print what a study found, at last where it is; return the exit code."""
    path = result.path
    for name, failures in result.failures.items():
        tables = read_run(path / name, RANKED_BY)
        for failure in failures:
            say(failed(failure, tables))
            debug(failure.traceback)
    code = _judged(result, strict=strict)
    if code == ExitCode.INTERRUPTED and not (quiet or json):
        where = out_option(out) + cluster_option(cluster)
        command = f"optbench tune --resume {quote(path.name)}{where}"
        say(f"interrupted: what was done is kept; go on with: {command}")
    if quiet and not json:
        tell(path)
        return code
    rows = results(read_study(path, RANKED_BY))
    if json:
        whole = {"path": str(path), "status": result.status, "results": loads(to_json(rows))}
        tell(dumps(whole, indent=2, ensure_ascii=False))
        return code
    if code != ExitCode.INTERRUPTED:
        console().print(to_rich(sections(rows)))
    tell(f"results: {path}")
    return code


def _judged(result: StudyResult, *, strict: bool) -> int:
    """Say what is wrong with a study; return the exit code."""
    if result.status is Status.INTERRUPTED:
        return ExitCode.INTERRUPTED
    for entrant in result.hopeless:
        by_steps = result.protocol.metrics[entrant.problem] == STEPS_TO_TARGET
        none = "no trial is at the target" if by_steps else "no trial has a finite score"
        say(f"error: {entrant.label} on {entrant.problem}: {none}")
    if result.hopeless or result.failures:
        return ExitCode.LANES_FAILED
    if strict:
        for doubt in result.doubts:
            say(f"error: {doubt} (--strict)")
    return ExitCode.CHECK_FAILED if strict and result.doubts else ExitCode.DONE
