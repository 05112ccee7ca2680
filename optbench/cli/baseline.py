"""``optbench baseline``: keep runs as references for ``optbench check``."""

from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, DataDir, Out, complete_run
from optbench.cli.output import console, say, tell
from optbench.gate.baseline import Baseline, find, load
from optbench.gate.quality import seeds_needed, untested
from optbench.gate.save import save_baseline
from optbench.gate.verdict import Gate
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich

app = typer.Typer(no_args_is_help=True, help="Keep runs as references for optbench check.")

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[PROBLEM=]SHARE",
        help="Relative change of the loss from which it counts, such as 0.05 or mnist-mlp=0.1. "
        "Repeatable.",
    ),
]


@app.callback()
def _baseline() -> None:
    """Keep runs as references for optbench check."""


@app.command()
def save(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The run: its directory, the name of one under --out, the beginning of that name, "
            "or 'latest'; a study means its final run.",
            autocompletion=complete_run,
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Its name; by default the name of the suite.")
    ] = None,
    threshold: Thresholds = None,
    data_dir: DataDir = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Keep a run as a reference under OUT/baselines/NAME, small enough for git."""
    folder = save_baseline(run, name=name, threshold=threshold or [], data_dir=data_dir, out=out)
    baseline = load(folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    lanes = len(baseline.lanes)
    say(f"{lanes} lanes, {size / 1024:.0f} KiB; compare with: optbench check {folder.name}")
    warn_of_few_seeds(baseline)
    tell(folder)


def warn_of_few_seeds(baseline: Baseline) -> None:
    """Say of which problems a check cannot tell worse losses from noise, and what it still sees."""
    needed = seeds_needed(Gate())
    few = untested(baseline.lanes, baseline.meta, needed)
    if few:
        counts = ", ".join(
            f"{problem} has {seeds} seed{'' if seeds == 1 else 's'}"
            for problem, seeds in few.items()
        )
        say(
            f"warning: {counts} with a final loss, and the test of final losses needs {needed}: "
            "however much worse they get, a check reports them as inconclusive and does not fail; "
            "it still fails where settings or the first 50 losses change, or where lanes are "
            f"missing, fail or diverge; run the suite with --seeds {needed}"
        )


@app.command("list")
def list_(out: Out = DEFAULT_OUT) -> None:
    """List the baselines under OUT/baselines."""
    columns = [
        Column("baseline", "name"),
        Column("suite", "name"),
        Column("lanes"),
        Column("saved", "word", spare=1),
        Column("optbench", "word", spare=3),
        Column("processor", "prose", spare=2),
    ]
    rows = []
    for folder in find([], out):
        baseline = load(folder)
        environment = baseline.meta["environment"]
        saved = str(baseline.meta.get("saved"))[:19].replace("T", " ")
        rows.append(
            [
                folder.name,
                baseline.meta["suite"]["name"],
                str(len(baseline.lanes)),
                saved,
                str(environment.get("optbench")),
                str(environment.get("processor")),
            ]
        )
    console().print(to_rich([Section("", columns, rows)]))
