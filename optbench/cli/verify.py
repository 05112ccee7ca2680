"""``optbench verify``: checks that optbench makes of itself on the machine at hand."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any

import typer

from optbench.cli.options import check_choice, complete_optimizer
from optbench.cli.output import console, say, tell
from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.device.cpu import NumpyDevice
from optbench.errors import CheckError, DeviceError, UsageError
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich
from optbench.store.files import json_text
from optbench.suite.values import toml_value
from optbench.verify.against import LOOKED_AT, Comparison, compare_optimizers
from optbench.verify.devices import DeviceComparison, verify_devices, worst
from optbench.verify.gradients import TOLERANCE, GradientCheck, TensorCheck
from optbench.verify.optimizers import CheckResult, check_optimizer
from optbench.verify.problems import check_problem
from optbench.verify.variants import Cause

VERDICTS = {True: "good", False: "wrong", None: "not checked"}
COLORS = {False: "red", None: "yellow"}

FORMATS = ("table", "json")

NO_VARIANT = (
    "no known variant of one is the other; if they agree to some digits, as where a library keeps "
    "a number in single precision, give --tolerance 1e-6"
)

Format = Annotated[
    str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print it.")
]

app = typer.Typer(no_args_is_help=True, help="Check what optbench computes on this machine.")


@app.command()
def devices(
    device: Annotated[
        str, typer.Option(metavar="gpu|gpu:N", help="Which GPU: the first, or this one.")
    ] = "gpu",
    format_: Format = "table",
) -> None:
    """Run every optimizer on CPU and GPU, and compare the traces with what rounding explains.

    Prints the largest relative differences beside their tolerances; exits with 3 beyond them.
    """
    check_choice("format", format_, FORMATS)
    gpu = get_device(device)
    if gpu.kind != "gpu":
        raise DeviceError(f"device '{device}' is the CPU itself; give a GPU to compare it with")
    comparisons = verify_devices(NumpyDevice(), gpu)
    if format_ == "json":
        tell(_devices_json(comparisons))
    else:
        _print_devices(comparisons, gpu)
    noted = [comparison for comparison in comparisons if comparison.note]
    for text in dict.fromkeys(f"{_title(noticed)}: {noticed.note}" for noticed in noted):
        say(text)
    beyond = [comparison for comparison in comparisons if not comparison.passed]
    if beyond:
        far = worst(beyond)
        reason = far.note or f"{far.difference:.1e} where rounding explains {far.tolerance:.1e}"
        raise CheckError(
            f"{len(beyond)} of {len(comparisons)} comparisons are beyond their tolerance; "
            f"the worst: {_title(far)}, {far.steps} steps: {reason}"
        )


@app.command()
def problem(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A problem, or a built-in suite or a suite's file for all its problems.",
            show_default=False,
        ),
    ],
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Seed of start, minibatch, masks and the entries compared."
        ),
    ] = 0,
    format_: Format = "table",
) -> None:
    """Compare a problem's gradient with central differences of its loss, in float64.

    Prints the worst of up to 32 entries of every tensor; exits with 3 above an error of 1e-6, or if
    a problem of yours shares state between lanes, blocks or calls.
    """
    check_choice("format", format_, FORMATS)
    checks = check_problem(source, seed=seed)
    if format_ == "json":
        tell(_gradients_json(checks))
    else:
        _print_gradients(checks)
    for check in checks:
        if check.shared:
            raise CheckError(
                f"{check.title}: {check.shared}; nothing may be kept from one call to the next, "
                "and lanes may share nothing"
            )
        if check.loss_error > TOLERANCE:
            raise CheckError(
                f"{check.title}: loss and loss_and_grad differ by {check.loss_error:.1e}, "
                "relative; both should give the loss of the same batch with the same masks"
            )
    tensors = [(check.title, tensor) for check in checks for tensor in check.tensors]
    wrong = [(title, tensor) for title, tensor in tensors if not tensor.passed]
    if wrong:
        title, far = max(wrong, key=lambda pair: pair[1].error)
        raise CheckError(
            f"{len(wrong)} of {len(tensors)} tensors did not pass; "
            f"the worst: {far.tensor} of {title}: {_why(far)}"
        )


@app.command()
def optimizer(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE:CLASS",
            help="An optimizer, as optbench run -o names it.",
            autocompletion=complete_optimizer,
            show_default=False,
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a hyperparameter, as lr=0.01; beside --against that of both, a.lr or b.lr "
            "that of one. Repeatable.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE:CLASS",
            help="Compare it update by update with another optimizer, and say what differs.",
            autocompletion=complete_optimizer,
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            help="How far the two may be apart, relative to the largest move of a parameter; "
            "default: 1e-9.",
            show_default=False,
        ),
    ] = None,
    format_: Format = "table",
) -> None:
    """Check on two small quadratics what every optimizer promises.

    Prints one row per check; exits with 3 if one fails. With --against, compares it with another
    one instead: same starts, same gradients; exits with 3 beyond the tolerance.
    """
    check_choice("format", format_, FORMATS)
    given = parse_hyperparameters(set_ or [])
    if against is not None:
        _compare(name, against, given, tolerance, format_)
        return
    if tolerance is not None:
        raise UsageError("--tolerance is of a comparison; give --against as well")
    results = check_optimizer(name, given)
    if format_ == "json":
        tell(json_text([{"optimizer": name, **vars(result)} for result in results]))
    else:
        _print_checks(name, results)
    wrong = [result for result in results if not result.passed]
    if wrong:
        first = next(result for result in wrong if result.passed is False)
        raise CheckError(
            f"{name} did not pass {len(wrong)} of {len(results)} checks; "
            f"the first: {first.check}: {first.note}"
        )


def _compare(
    first: str, second: str, given: dict[str, Any], tolerance: float | None, format_: str
) -> None:
    """Compare two optimizers, say what was seen, and end as it turned out."""
    allowed = {} if tolerance is None else {"tolerance": tolerance}
    comparison = compare_optimizers(first, second, given, **allowed)
    if format_ == "json":
        tell(_comparison_json(comparison))
    else:
        _print_comparison(comparison)
    for note in comparison.notes:
        say(note)
    parted = [parting for parting in comparison.partings if parting.update is not None]
    if parted:
        early = min(parted, key=lambda parting: parting.update or 0)
        likely = "; ".join(_cause_text(cause) for cause in comparison.causes)
        raise CheckError(
            f"{first} and {second} part at update {early.update} on {early.problem}: "
            + (likely or NO_VARIANT)
        )


def _cause_text(cause: Cause) -> str:
    name, _, _ = cause.what.partition(",")
    return f"{name}: {cause.first} against {cause.second}"


def _comparison_json(comparison: Comparison) -> str:
    """Return an object with all that was seen."""
    seen = asdict(comparison) | {"agrees": comparison.agrees}
    return json_text(seen)


def _print_comparison(comparison: Comparison) -> None:
    """Print where the two part, and what makes one of the other."""
    first, second = comparison.first, comparison.second
    columns = [
        Column("on", "word"),
        Column("gradients", "word"),
        Column("part at"),
        Column("parameter", "word", spare=1),
        Column("A", spare=2),
        Column("B", spare=3),
        *(Column(f"after {update}") for update in LOOKED_AT),
    ]
    rows = [
        [
            parting.problem,
            "A's" if parting.given else "its own",
            "never" if parting.update is None else str(parting.update),
            parting.parameter,
            "" if parting.first is None else f"{parting.first:.9g}",
            "" if parting.second is None else f"{parting.second:.9g}",
            *(_short(parting.differences[update]) for update in LOOKED_AT),
        ]
        for parting in comparison.partings
    ]
    colors = {
        place: "red"
        for place, parting in enumerate(comparison.partings)
        if parting.update is not None
    }
    title = f"{first} (A) against {second} (B): first update apart by more than "
    title += f"{comparison.tolerance:g}, and relative differences"
    sections = [Section(title, columns, rows, colors=colors)]
    if comparison.causes:
        apart = f"to {comparison.agreement:.0e}" if comparison.agreement else "exactly"
        title = f"What makes B of A, {apart}"
        causes = [[cause.what, cause.first, cause.second] for cause in comparison.causes]
        headings = [Column("what differs", "prose"), Column("A", "word"), Column("B", "word")]
        sections.append(Section(title, headings, causes))
    console().print(to_rich(sections))


def parse_hyperparameters(texts: Sequence[str]) -> dict[str, Any]:
    """Read hyperparameters, each as ``KEY=VALUE``.

    >>> parse_hyperparameters(["lr=0.5", "variant=fast"])
    {'lr': 0.5, 'variant': 'fast'}
    """
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--set '{text}' is malformed; write KEY=VALUE, as lr=0.01")
        values[key] = toml_value(value)
    return values


def _print_checks(name: str, results: Sequence[CheckResult]) -> None:
    columns = [
        Column("check", "word"),
        Column("result", "word"),
        Column("what was seen", "prose"),
    ]
    title = f"What every optimizer promises, checked for {name}"
    rows = [[result.check, VERDICTS[result.passed], result.note] for result in results]
    colors = {
        place: COLORS[result.passed]
        for place, result in enumerate(results)
        if result.passed in COLORS
    }
    console().print(to_rich([Section(title, columns, rows, colors=colors)]))


def _gradients_json(checks: Sequence[GradientCheck]) -> str:
    """Return an array of objects, one per tensor."""
    return json_text(
        [
            {
                "problem": check.title,
                "tensor": tensor.tensor,
                "size": tensor.size,
                "entries": tensor.entries,
                "redrawn": tensor.redrawn,
                "error": tensor.error,
                "worst": list(tensor.worst) if tensor.entries else None,
                "analytic": tensor.analytic,
                "numeric": tensor.numeric,
                "loss_error": check.loss_error,
                "shared": check.shared or None,
                "passed": tensor.passed,
            }
            for check in checks
            for tensor in check.tensors
        ]
    )


def _print_gradients(checks: Sequence[GradientCheck]) -> None:
    """Print one row per tensor, under the name of its problem."""
    columns = [
        Column("tensor", "name"),
        Column("entries", spare=2),
        Column("redrawn", spare=3),
        Column("error"),
        Column("at", "word", spare=1),
        Column("result", "word"),
    ]
    rows: list[list[str]] = []
    colors = {}
    for check in checks:
        rows.append([check.title])
        for tensor in check.tensors:
            verdict = "good" if tensor.passed else "wrong" if tensor.entries else "no derivative"
            if not tensor.passed:
                colors[len(rows)] = "red"
            rows.append(
                [
                    tensor.tensor,
                    f"{tensor.entries} of {tensor.size}",
                    str(tensor.redrawn or ""),
                    _short(tensor.error),
                    ", ".join(map(str, tensor.worst)),
                    verdict,
                ]
            )
    title = "Largest error of the gradient beside central differences of the loss"
    console().print(to_rich([Section(title, columns, rows, colors=colors)]))


def _why(far: TensorCheck) -> str:
    if not far.entries:
        return "at a kink, or hidden by rounding, wherever it was looked at; nothing was compared"
    where = f" at ({', '.join(map(str, far.worst))})" if far.worst else ""
    return f"the gradient{where} is {far.analytic:.6g}, differences give {far.numeric:.6g}"


def _devices_json(comparisons: Sequence[DeviceComparison]) -> str:
    names = ("problem", "optimizer", "dtype", "steps", "difference", "tolerance", "passed")
    return json_text(
        [
            {name: getattr(comparison, name) for name in names} | {"note": comparison.note or None}
            for comparison in comparisons
        ]
    )


def _print_devices(comparisons: Sequence[DeviceComparison], device: Device) -> None:
    """Print one row per problem, optimizer and dtype, under the name of the GPU."""
    steps = dict.fromkeys(comparison.steps for comparison in comparisons)
    numbers = [
        column
        for count in steps
        for column in (
            Column(f"{count} steps"),
            Column("tolerance", spare=1, called=f"tolerance of {count} steps"),
        )
    ]
    columns = [Column("optimizer", "name"), Column("dtype", "word"), *numbers]
    columns.append(Column("result", "word"))
    rows: list[list[str]] = []
    colors = {}
    for title, of_problem in groupby(comparisons, key=lambda compared: compared.problem):
        rows.append([title])
        for (name, dtype), group in groupby(
            of_problem, key=lambda compared: (compared.optimizer, compared.dtype)
        ):
            row = list(group)
            cells = [_short(value) for cell in row for value in (cell.difference, cell.tolerance)]
            passed = all(cell.passed for cell in row)
            if not passed:
                colors[len(rows)] = "red"
            rows.append([name, dtype, *cells, "good" if passed else "beyond"])
    gpu = device.describe().get("name", device.kind)
    title = f"Largest relative difference of the traces on {gpu} from those on the CPU"
    console().print(to_rich([Section(title, columns, rows, colors=colors)]))


def _short(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _title(comparison: DeviceComparison) -> str:
    return f"{comparison.optimizer} on {comparison.problem} in {comparison.dtype}"
