"""What commands that run suites share: options, and what they say of lanes that failed.

A command that has these options calls its parameters as ``run`` does; :func:`asked` reads them from
its context.
"""

from collections.abc import Collection
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from optbench.cli.options import DEFAULT_OUT, complete_optimizer, complete_problem
from optbench.errors import SuiteError
from optbench.records import Failure, RunTables
from optbench.suite.flags import (
    parse_count,
    parse_domains,
    parse_grid,
    parse_set,
    parse_starts,
    parse_stops,
)

WHAT_TO_RUN = {
    "What to run": (
        *("optimizer", "problem", "function", "start", "domain", "minimum", "start_spread"),
        *("data", "batch_size", "dtype", "seeds", "seed"),
    ),
    "Hyperparameters": ("set_", "grid"),
    "Length and evaluation": ("iterations", "epochs", "evaluate_every", "stop", "time_alone"),
}
"""Options that decide results, as the help shows them together."""

Optimizers = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--optimizer",
        metavar="NAME",
        help="Run only this entry of the suite, by label, else by name; one that the suite "
        "doesn't have is added with its defaults. Repeatable.",
        autocompletion=complete_optimizer,
    ),
]

OnProblems = Annotated[
    list[str] | None,
    typer.Option(
        "--problem",
        metavar="NAME|FILE.py:NAME",
        help="Run on this problem, built in or yours, instead of the suite's. Repeatable.",
        autocompletion=complete_problem,
    ),
]

Function = Annotated[
    str | None,
    typer.Option(
        "--function",
        metavar="EXPRESSION",
        help="Minimise a function of your own, as 'x**2/20 + y**2', with --start.",
    ),
]

Start = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VARIABLE=VALUE",
        help="Where the function's variables start: x=-7,y=2, or a vector: 'x=[1, 2, 3]'.",
    ),
]

Domain = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VARIABLE=LOW:HIGH",
        help="What figures show of the function's variables, and where lanes may end: "
        "x=-5:15,y=-5:5.",
    ),
]

KnownMinimum = Annotated[
    float | None,
    typer.Option(
        "--minimum",
        metavar="VALUE",
        help="The function's smallest value, where it is known; targets measure from it.",
    ),
]

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="TARGET.KEY=VALUE",
        help="Set a hyperparameter: adam.lr=0.01; '*' means all optimizers; or an option of a "
        "problem. Repeatable.",
    ),
]

Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET.KEY=VALUES",
        help="Sweep a hyperparameter: adam.lr=1e-4:1e-1:13 (log-spaced), "
        "'adam.lr=lin(0, 1, 5)' or adam.schedule=step,cosine; or a problem's option. "
        "Repeatable; several multiply.",
    ),
]

Seeds = Annotated[int | None, typer.Option(metavar="N", help="Number of seeds: 0 to N − 1.")]

Seed = Annotated[str | None, typer.Option(metavar="LIST", help="These seeds: 0-4,7.")]

Iterations = Annotated[
    int | None, typer.Option(metavar="N", help="Updates to make, instead of the suite's.")
]

Epochs = Annotated[int | None, typer.Option(metavar="N", help="The same, as passes over the data.")]

BatchSize = Annotated[
    str | None, typer.Option(metavar="N|full", help="Examples in a minibatch; full: all.")
]

EvaluateEvery = Annotated[
    str | None, typer.Option(metavar="N|'N epochs'", help="How often to evaluate all splits.")
]

Stop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Stop lanes early: loss=0.01, grad_norm=1e-6, patience=5000. Repeatable.",
    ),
]

Dtype = Annotated[
    str | None, typer.Option(metavar="float32|float64", help="Of parameters and arithmetic.")
]

OnDevice = Annotated[
    str,
    typer.Option(metavar="cpu|gpu|gpu:N|auto", help="Where to run; auto: on a GPU if one works."),
]

Data = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE|auto",
        help="Data set, or a file of your own: .npz, .csv, .parquet or IDX; auto: mnist if it "
        "can be found.",
    ),
]

StartSpread = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Start each seed but 0 of a function elsewhere: by normal numbers times this "
        "share of the domain's width, such as 0.05.",
    ),
]

Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the run, instead of the suite's.")
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only where the results are.")]

Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="With --resume or --cluster: even if the environment, or that of workers, differs.",
    ),
]

OnCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local:N|ADDRESS|FILE.toml",
        help="Run blocks on N processes, on a Dask scheduler such as tcp://HOST:8786, or in jobs "
        "of a queueing system. See docs/cluster.md.",
        show_default=False,
    ),
]

ClusterRecords = Annotated[
    str,
    typer.Option(
        "--cluster-records",
        metavar="shared|stream",
        help="Workers write into --out, which they share, or send their records here.",
    ),
]

Detach = Annotated[
    bool,
    typer.Option("--detach", help="Go on in the background, and print how to look at it."),
]

Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="With a run.json or --resume: execute the code of plug-ins that the run kept, where "
        "the originals are gone or have changed.",
    ),
]

TimeAlone = Annotated[
    bool,
    typer.Option(
        "--time-alone",
        help="At the end, time a step of each optimizer alone, for optbench target --in seconds.",
    ),
]

Trace = Annotated[
    str | None,
    typer.Option(
        metavar="all|every:N|none",
        help="Rows of the trace to keep: all, every N-th and each lane's last, or the first and "
        "the last. Summaries are of all rows.",
        show_default=False,
    ),
]

CheckpointEvery = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.0, help="Time between checkpoints.")
]


def asked(context: typer.Context) -> dict[str, Any]:
    """Return what the options of a command ask for, as a :class:`RunRequest` takes it."""
    given = context.params
    if given["seeds"] is not None and given["seed"] is not None:
        raise SuiteError("--seeds and --seed exclude each other; give one of them")
    as_they_are = (
        *("function", "minimum", "iterations", "epochs", "dtype", "data", "start_spread", "name"),
    )
    return {
        **{key: given[key] for key in as_they_are},
        "problem": given["problem"] or (),
        "start": parse_starts(given["start"] or ()),
        "domain": parse_domains(given["domain"] or ()) or None,
        "optimizers": given["optimizer"] or (),
        "set": [parse_set(text) for text in given["set_"] or ()],
        "grid": [parse_grid(text) for text in given["grid"] or ()],
        "seeds": given["seeds"] if given["seed"] is None else given["seed"],
        "batch_size": parse_count(given["batch_size"]),
        "evaluate_every": parse_count(given["evaluate_every"]),
        "stop": parse_stops(given["stop"] or ()),
    }


def check_alone(context: typer.Context, beside: Collection[str], what: str) -> None:
    """Refuse options that would change what has begun, a ``run`` or a ``study``.

    ``beside`` are the parameters that may stand beside ``--resume``.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in beside and source is not None and source.name == "COMMANDLINE":
            option = parameter.opts[0] if parameter.opts[0].startswith("-") else "a suite"
            raise SuiteError(f"--resume continues a {what} as it began; leave {option} out")


def out_option(out: Path) -> str:
    """Return what makes another command look for runs in the same folder."""
    return "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"


def cluster_option(cluster: str | None) -> str:
    """Return what makes another command run blocks in the same place."""
    return "" if cluster is None else f" --cluster {quote(cluster)}"


def failed(failure: Failure, tables: RunTables) -> str:
    """Say in one line which lanes raised something."""
    where = f"(the traceback is in {tables.path}/run.json)"
    if not failure.lanes:
        return (
            f"note: a block of lanes raised what none of them raises alone: {failure.message}; "
            f"they were run in smaller blocks {where}"
        )
    lanes = tables.lanes.set_index("lane").loc[list(failure.lanes)]
    titles = (lanes["label"] + " on " + lanes["problem"]).tolist()
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(lanes["seed"].tolist()))
    which = ", ".join(dict.fromkeys(titles))
    count = "" if len(lanes) == 1 else f", {len(lanes)} lanes"
    return f"error: {which} (seed {seeds}{count}) failed: {failure.message} {where}"
