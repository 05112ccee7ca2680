"""``optbench list``: what optbench offers, with defaults and ranges, and the runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from optbench.cli import data
from optbench.cli.options import DEFAULT_OUT, Out
from optbench.cli.output import console, say, tell
from optbench.cli.request import OnDevice
from optbench.cluster import open_cluster
from optbench.device.gpu import list_gpus, why_no_gpu
from optbench.engine.executor import usable_cores
from optbench.errors import ResultsError
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.registry import PROBLEMS, get_problem_class
from optbench.records import Status
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich
from optbench.store.find import list_runs, list_unbegun
from optbench.store.reader import read_description
from optbench.store.studies import is_study, read_tune
from optbench.suite.format import SuiteFile, builtin_suites, read_suite

MOST_TITLES = 4
"""Up to so many problems or optimizers of a suite are named; more are only counted."""

MOST_WAITED = 60.0
"""Seconds that the workers of a cluster are waited for."""

SETTING = (Column("default", "word"), Column("values", "word"), Column("meaning", "prose"))
"""Columns of hyperparameters and options, beside their names."""

app = typer.Typer(
    help="List suites, problems, optimizers, data sets, devices, a cluster's workers, or runs.",
    no_args_is_help=True,
)
app.command("datasets")(data.list_)


@app.command()
def suites() -> None:
    """List the built-in suites."""
    columns = [
        Column("suite", "name"),
        Column("optimizers", "list"),
        Column("iterations", spare=1),
        Column("what it is", "prose"),
    ]
    rows = []
    for name in builtin_suites():
        suite = read_suite(name)
        problems = [entry.title for entry in suite.problem]
        of_others = "" if problems == [name] else f"; problems: {_titles(problems)}"
        optimizers = _titles([entry.title for entry in suite.optimizer])
        rows.append([name, optimizers, _length(suite), f"{suite.description}{of_others}"])
    _print(Section("", columns, rows))


def _print(*sections: Section) -> None:
    console().print(to_rich(sections))


def _titles(titles: list[str]) -> str:
    return ", ".join(titles) if len(titles) <= MOST_TITLES else f"{len(titles)} of them"


def _length(suite: SuiteFile) -> str:
    return f"{suite.epochs} epochs" if suite.epochs is not None else str(suite.iterations or "")


@app.command()
def problems(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A problem, to list its options.", show_default=False
        ),
    ] = None,
) -> None:
    """List the problems, or the options of one."""
    if name is None:
        columns = [
            Column("problem", "name"),
            Column("kind", "word", spare=1),
            Column("iterations", spare=2),
            Column("what it is", "prose"),
        ]
        rows = [
            [title, problem.kind, f"{problem.default_iterations}", problem.summary]
            for title, problem in PROBLEMS.items()
        ]
    else:
        columns = [Column("option", "name"), *SETTING]
        rows = [
            [option.name, option.default_text, option.range, option.meaning]
            for option in get_problem_class(name).options
        ]
    _print(Section("", columns, rows))


@app.command()
def optimizers() -> None:
    """List the optimizers with their hyperparameters, and the presets."""
    rules: list[list[str]] = []
    for name, optimizer in OPTIMIZERS.items():
        rules.append([f"{name}: {optimizer.summary}"])
        rules += [
            [f"  {setting.name}", setting.default_text, setting.range, setting.meaning]
            for setting in optimizer.hyperparameters
        ]
    presets = [
        [
            name,
            preset.rule.name,
            ", ".join(f"{key}={_value(value)}" for key, value in preset.settings.items()),
            preset.summary,
        ]
        for name, preset in PRESETS.items()
    ]
    common = [[each.name, each.range, each.meaning] for each in COMMON.values()]
    _print(
        Section("", [Column("optimizer", "name"), *SETTING], rules),
        Section(
            "",
            [
                Column("preset", "name"),
                Column("rule", "name"),
                Column("settings", "list"),
                Column("what it is", "prose"),
            ],
            presets,
        ),
        Section("", [Column("any optimizer", "name"), *SETTING[1:]], common),
    )


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@app.command()
def devices() -> None:
    """List the devices, and say why the GPU cannot be used if it cannot."""
    columns = [
        Column("device", "name"),
        Column("usable", "word"),
        Column("memory", spare=1),
        Column("what it is", "prose"),
    ]
    rows = [["cpu", "yes", "", f"NumPy on {usable_cores()} cores"]]
    for gpu in list_gpus():
        memory = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        rows.append([f"gpu:{gpu['number']}", "yes", memory, gpu["name"]])
    reason = why_no_gpu()
    if reason is not None:
        rows.append(["gpu", "no", "", reason])
    _print(Section("", columns, rows))


@app.command()
def cluster(
    name: Annotated[
        str,
        typer.Argument(
            metavar="local:N|ADDRESS|FILE.toml",
            help="A cluster as --cluster takes it; jobs are asked for, and let go of again.",
            show_default=False,
        ),
    ],
    device: OnDevice = "cpu",
) -> None:
    """List the workers of a cluster, and say why one cannot be used if it cannot."""
    with open_cluster(name, device, notice=say) as opened:
        opened.wait(MOST_WAITED)
        members = opened.members()
    columns = [
        Column("worker", "name"),
        Column("host", "name", spare=3),
        Column("cores", spare=4),
        Column("memory", spare=5),
        Column("optbench", "word", spare=6),
        Column("Python", "word", spare=7),
        Column("NumPy", "word", spare=2),
        Column("BLAS", "word", spare=1),
        Column("usable", "word"),
        Column("why not", "prose"),
    ]
    rows = []
    for member in sorted(members, key=lambda each: each.name):
        verdict = "no" if member.refused else "yes"
        rows.append([member.name, *_worker(member.facts), verdict, "; ".join(member.refused)])
    _print(Section("", columns, rows))
    slots = sum(member.slots for member in members if not member.refused)
    tell(f"{opened.where}: {slots} block{'' if slots == 1 else 's'} at a time")


def _worker(facts: Mapping[str, Any]) -> list[str]:
    """Write what a worker tells of itself, nothing for one that cannot."""
    if not facts:
        return [""] * 7
    memory = facts["limit_bytes"] or facts["memory_bytes"]
    blas = ", ".join(
        " ".join(str(library[key]) for key in ("internal_api", "architecture") if library[key])
        for library in facts["blas"]
    )
    return [
        facts["host"],
        f"{facts['threads']}",
        f"{memory / 2**30:.0f} GiB" if memory else "",
        facts["optbench"],
        facts["python"],
        facts["packages"].get("numpy", ""),
        blas,
    ]


@app.command()
def runs(out: Out = DEFAULT_OUT) -> None:
    """List the runs and studies under a results directory, oldest first."""
    columns = [
        Column("run", "name"),
        Column("status", "word", spare=1),
        Column("suite", "name", spare=3),
        Column("started", "word", spare=2),
        Column("invocation", "word", spare=4),
    ]
    rows, studies, damaged = [], [], []
    for path in list_runs(out):
        study = is_study(path)
        try:
            meta = read_tune(path) if study else read_description(path)
        except ResultsError as error:
            rows.append([path.name, "damaged", "", "", ""])
            damaged.append(str(error))
            continue
        invocation = "study" if study else meta["invocation_id"]
        name = meta["suite"]["name"]
        rows.append([path.name, meta["status"], name, _second(meta["started"]), invocation])
        if study:
            studies.append(f"{path.name}: {_study(meta, list_runs(path))}")
    unbegun = [
        [run.path.name, Status.INTERRUPTED, run.suite, _second(run.started), ""]
        for run in list_unbegun(out)
    ]
    ended = [f"{row[0]} ended before it began; optbench clean removes it" for row in unbegun]
    _print(Section("", columns, rows + unbegun, facts=studies, warnings=damaged + ended))


def _second(started: str) -> str:
    """Write a time of ISO 8601 down to the second."""
    return str(started)[:19].replace("T", " ")


def _study(meta: Mapping[str, Any], rounds: Sequence[Path]) -> str:
    """Say in a line what a study tries, and in which round it is."""
    trials = meta["budget"]["trials"].values()
    labels = dict.fromkeys(label for of_problem in trials for label in of_problem)
    counts = [count for of_problem in trials for count in of_problem.values()]
    least, most = min(counts, default=0), max(counts, default=0)
    count = f"{most}" if least == most else f"{least} to {most}"
    round_ = rounds[-1].name if rounds else "not begun"
    metrics = ", ".join(dict.fromkeys(meta["metric"].values()))
    return f"{count} trials each of {_titles([*labels])}, by {metrics}; {round_}"
