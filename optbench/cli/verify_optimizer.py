"""What ``optbench verify optimizer`` reads and prints."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from optbench.cli.output import console, table
from optbench.errors import CheckError, UsageError

if TYPE_CHECKING:
    from optbench.verify.optimizers import Finding

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
    from optbench.grids import toml_value

    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--set '{text}' is malformed; write KEY=VALUE, as lr=0.01")
        found[key] = toml_value(value)
    return found


def report(name: str, found: "Sequence[Finding]", *, as_json: bool) -> None:
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


def raise_wrong(name: str, found: "Sequence[Finding]") -> None:
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
