"""``optbench new``: write a file to start from."""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from optbench.cli.output import say
from optbench.cli.templates import OPTIMIZER, OPTIMIZER_TEST, PROBLEM
from optbench.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="Write a file to start from.")


@app.callback()
def _new() -> None:
    """Write a file to start from."""


New = Annotated[
    Path, typer.Argument(metavar="FILE", help="Where to write it; it must not be there yet.")
]


@app.command()
def problem(file: New) -> None:
    """Write a working problem into a new Python file, to be changed into your own."""
    write_new(file, PROBLEM)
    typer.echo(file)
    say(f"run it with: optbench run --problem {quote(f'{file}:Valley')} -o adam")


@app.command()
def optimizer(file: New) -> None:
    """Write a working optimizer and its test, test_FILE, to be changed into your own."""
    test = file.with_name(f"test_{file.name}") if file.name else file
    name = json.dumps(file.name, ensure_ascii=False)
    write_new_files({file: OPTIMIZER, test: OPTIMIZER_TEST.replace("FILE_NAME", name)})
    typer.echo(file)
    typer.echo(test)
    spec = quote(f"{file}:Tempered")
    say(f"run it with: optbench run anisotropic -o {spec}")
    say(f"check it with: optbench verify optimizer {spec}")
    say(f"test it with: python -m pytest {quote(str(test))}")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Write Python files that are not there yet: all of them, or none.

    Raises
    ------
    UsageError
        As :func:`write_new`.
    """
    written: list[Path] = []
    try:
        for file, text in texts.items():
            write_new(file, text)
            written.append(file)
    except UsageError:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def write_new(file: Path, text: str) -> None:
    """Write a Python file that is not there yet.

    Raises
    ------
    UsageError
        If it is there, its name does not end in .py, or it cannot be written.
    """
    if file.suffix != ".py":
        raise UsageError(f"'{file}' is no Python file; give a name that ends in .py")
    begun = False
    try:
        with file.open("x", encoding="utf-8") as target:
            begun = True
            target.write(text)
    except FileExistsError:
        raise UsageError(f"'{file}' is there already; give another name") from None
    except FileNotFoundError:
        raise UsageError(f"there is no folder '{file.parent}'; make it first") from None
    except (OSError, ValueError) as error:
        if begun:
            file.unlink(missing_ok=True)
        raise UsageError(f"'{file}' cannot be written: {error}") from None
