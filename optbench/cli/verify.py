"""``optbench verify``: checks that optbench makes of itself on the machine at hand."""

import json
from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optbench.cli import verify as verify_optimizer
from optbench.cli.options import complete_optimizer
from optbench.cli.output import console, say, table
from optbench.errors import CheckError, DeviceError, UsageError, nearest

if TYPE_CHECKING:
    from optbench.device.base import Device
    from optbench.problems.base import Problem
    from optbench.verify.devices import DeviceComparison
    from optbench.verify.gradients import GradientCheck, TensorCheck
    from optbench.verify.optimizers import CheckResult

VERDICTS = {True: "good", False: "wrong", None: "not checked"}


STYLES = {True: None, False: "red", None: "yellow"}


def settings(texts: Sequence[str]) -> dict[str, Any]:
    """Read hyperparameters, each as ``KEY=VALUE``.

    >>> settings(["lr=0.5", "variant=fast"])
    {'lr': 0.5, 'variant': 'fast'}

    Raises
    ------
    UsageError
        If one is malformed.
    """
    from optbench.suite.values import toml_value

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--set '{text}' is malformed; write KEY=VALUE, as lr=0.01")
        found[key] = toml_value(value)
    return found


def report(name: str, found: "Sequence[CheckResult]", *, as_json: bool) -> None:
    """Print a row a check, or an array of objects; what was not checked has passed null."""
    if as_json:
        rows = [
            {"optimizer": name, "check": each.check, "passed": each.passed, "note": each.note}
            for each in found
        ]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    listed = table("check", "result", "what was seen")
    for each in found:
        listed.add_row(each.check, VERDICTS[each.passed], each.note, style=STYLES[each.passed])
    screen = console()
    screen.print(f"What every optimizer promises, checked of {name}\n")
    screen.print(listed)


def raise_wrong(name: str, found: "Sequence[CheckResult]") -> None:
    """Name the first check that was not passed, if there is one.

    Raises
    ------
    CheckError
        If there is one.
    """
    wrong = [each for each in found if not each.passed]
    if wrong:
        first = wrong[0]
        raise CheckError(
            f"{name} did not pass {len(wrong)} of {len(found)} checks; "
            f"the first: {first.check}: {first.note}"
        )


FORMATS = ("table", "json")


Format = Annotated[
    str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print it.")
]


app = typer.Typer(no_args_is_help=True, help="Check what optbench computes on this machine.")


@app.callback()
def _verify() -> None:
    """Check what optbench computes on this machine."""


@app.command()
def devices(
    device: Annotated[
        str, typer.Option(metavar="gpu|gpu:N", help="The GPU, the first or this one.")
    ] = "gpu",
    format_: Format = "table",
) -> None:
    """Run every optimizer on CPU and GPU, and compare the traces with what rounding explains.

    Prints the largest relative differences beside their tolerances; exits with 3 beyond them.
    """
    _check_format(format_)
    from optbench.device.choose import get_device
    from optbench.device.cpu import NumpyDevice
    from optbench.verify.devices import verify_devices

    chosen = get_device(device)
    if chosen.kind != "gpu":
        raise DeviceError(f"device '{device}' is the CPU itself; give a GPU to compare it with")
    found = verify_devices(NumpyDevice(), chosen)
    if format_ == "json":
        typer.echo(_json(found))
    else:
        _print(found, chosen)
    for text in dict.fromkeys(f"{_what(each)}: {each.note}" for each in found if each.note):
        say(text)
    _raise_beyond(found)


@app.command()
def problem(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A problem, a built-in suite, or a suite's file: all its problems.",
            show_default=False,
        ),
    ],
    seed: Annotated[
        int, typer.Option(min=0, help="Of start, minibatch, masks and the entries looked at.")
    ] = 0,
    format_: Format = "table",
) -> None:
    """Compare a problem's gradient with central differences of its loss, in float64.

    Prints the worst of up to 32 entries of every tensor; exits with 3 above an error of 1e-6.
    """
    _check_format(format_)
    from optbench.verify.gradients import problems_to_check

    found = [_checked(each, title, seed) for title, each in problems_to_check(source)]
    if format_ == "json":
        typer.echo(_gradients_json(found))
    else:
        _print_gradients(found)
    _raise_wrong(found)


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
        typer.Option("--set", metavar="KEY=VALUE", help="A hyperparameter, not at its default."),
    ] = None,
    format_: Format = "table",
) -> None:
    """Check on two small quadratics what every optimizer promises.

    Prints a row a check; exits with 3 where one fails.
    """
    _check_format(format_)
    from optbench.verify.optimizers import check_optimizer

    found = check_optimizer(name, verify_optimizer.settings(set_ or []))
    verify_optimizer.report(name, found, as_json=format_ == "json")
    verify_optimizer.raise_wrong(name, found)


def _checked(problem: "Problem", title: str, seed: int) -> "GradientCheck":
    """Check a gradient; code of the user's own that raises has not passed.

    Raises
    ------
    CheckError
        If it raises.
    """
    from optbench.problems.plugin import PluginProblem
    from optbench.verify.gradients import check_gradient

    try:
        return check_gradient(problem, title, seed)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        if not isinstance(problem, PluginProblem):
            raise
        raise CheckError(problem.failure("fails beside its start", error)) from error


def _check_format(format_: str) -> None:
    if format_ not in FORMATS:
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")


def _gradients_json(found: "Sequence[GradientCheck]") -> str:
    """Return an array of objects, one a tensor, a number that is not finite as null."""
    rows = [
        {
            "problem": check.title,
            "tensor": each.tensor,
            "size": each.size,
            "entries": each.entries,
            "redrawn": each.redrawn,
            "error": _finite(each.error),
            "worst": list(each.worst) if each.entries else None,
            "analytic": _finite(each.analytic),
            "numeric": _finite(each.numeric),
            "loss_error": _finite(check.loss_error),
            "passed": each.passed,
        }
        for check in found
        for each in check.tensors
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _print_gradients(found: "Sequence[GradientCheck]") -> None:
    """Print a row a tensor, under the name of its problem."""
    listed = table("tensor", "entries", "redrawn", "error", "at", "result")
    listed.columns[0].overflow = "fold"
    for column in listed.columns[1:-2]:
        column.justify = "right"
    for check in found:
        listed.add_section()
        listed.add_row(check.title, style="bold")
        for each in check.tensors:
            verdict = "good" if each.passed else "wrong" if each.entries else "no derivative"
            listed.add_row(
                each.tensor,
                f"{each.entries} of {each.size}",
                str(each.redrawn or ""),
                _short(each.error),
                ", ".join(map(str, each.worst)),
                verdict,
                style=None if each.passed else "red",
            )
    screen = console()
    screen.print("Largest error of the gradient beside central differences of the loss\n")
    screen.print(listed)


def _raise_wrong(found: "Sequence[GradientCheck]") -> None:
    """Name the worst of what did not pass, if anything did not.

    Raises
    ------
    CheckError
        If something did not.
    """
    from optbench.verify.gradients import TOLERANCE

    for check in found:
        if check.loss_error > TOLERANCE:
            raise CheckError(
                f"{check.title}: loss and loss_and_grad differ by {check.loss_error:.1e}, "
                "relative; both should give the loss of the same batch with the same masks"
            )
    wrong = [(check.title, each) for check in found for each in check.tensors if not each.passed]
    if wrong:
        title, far = max(wrong, key=lambda pair: pair[1].error)
        total = sum(len(check.tensors) for check in found)
        raise CheckError(
            f"{len(wrong)} of {total} tensors did not pass; "
            f"the worst: {far.tensor} of {title}: {_why(far)}"
        )


def _why(far: "TensorCheck") -> str:
    if not far.entries:
        return "at a kink, or hidden by rounding, wherever it was looked at; nothing was compared"
    where = f" at ({', '.join(map(str, far.worst))})" if far.worst else ""
    return f"the gradient{where} is {far.analytic:.6g}, differences give {far.numeric:.6g}"


def _json(found: "Sequence[DeviceComparison]") -> str:
    """Return an array of objects, a number that is not finite as null."""
    rows = [
        {
            "problem": each.problem,
            "optimizer": each.optimizer,
            "dtype": each.dtype,
            "steps": each.steps,
            "difference": each.difference if isfinite(each.difference) else None,
            "tolerance": each.tolerance if isfinite(each.tolerance) else None,
            "passed": each.passed,
            "note": each.note or None,
        }
        for each in found
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def _print(found: "Sequence[DeviceComparison]", device: "Device") -> None:
    """Print a row a problem, optimizer and dtype, under the name of the GPU."""
    steps = dict.fromkeys(each.steps for each in found)
    numbers = [heading for each in steps for heading in (f"{each} steps", "tolerance")]
    listed = table("optimizer", "dtype", *numbers, "result")
    listed.columns[0].overflow = "fold"
    for column in listed.columns[2:-1]:
        column.justify = "right"
    for problem, of_problem in groupby(found, key=lambda each: each.problem):
        listed.add_section()
        listed.add_row(problem, style="bold")
        for (name, dtype), some in groupby(
            of_problem, key=lambda each: (each.optimizer, each.dtype)
        ):
            row = list(some)
            cells = [_short(value) for each in row for value in (each.difference, each.tolerance)]
            passed = all(each.passed for each in row)
            verdict, style = ("good", None) if passed else ("beyond", "red")
            listed.add_row(name, dtype, *cells, verdict, style=style)
    screen = console()
    name = device.describe().get("name", device.kind)
    screen.print(f"Largest relative difference of the traces on {name} from those on the CPU\n")
    screen.print(listed)


def _short(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _raise_beyond(found: "Sequence[DeviceComparison]") -> None:
    """Name the worst of what is beyond its tolerance, if anything is.

    Raises
    ------
    CheckError
        If something is.
    """
    from optbench.verify.devices import worst

    beyond = [each for each in found if not each.passed]
    if not beyond:
        return
    far = worst(beyond)
    reason = far.note or f"{far.difference:.1e} where rounding explains {far.tolerance:.1e}"
    raise CheckError(
        f"{len(beyond)} of {len(found)} comparisons are beyond their tolerance; "
        f"the worst: {_what(far)}, {far.steps} steps: {reason}"
    )


def _what(each: "DeviceComparison") -> str:
    return f"{each.optimizer} on {each.problem} in {each.dtype}"
