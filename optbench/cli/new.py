"""``optbench new``: write a file to start from."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from optbench.cli.output import say
from optbench.errors import UsageError

PROBLEM = '''\
"""A problem for optbench, stacked over lanes: arrays hold all training runs at once."""

from optbench import rng
from optbench.arrays import Tensor
from optbench.problems.base import DTYPES, Losses, Option, Problem


class Valley(Problem):
    """A valley in ten dimensions: f(w) = sum(c * (w - 1)**2) / 2, minimum 0 at 1."""

    kind = "function"  # or "network"
    default_iterations = 2000
    random = True  # something depends on the seed: here the start
    minibatch = False  # the loss is that of the whole problem, not of one batch
    record = "before"  # a row of a trace is the loss before the update
    tensors = (Tensor("w", (10,)),)  # the parameters of one lane
    options = (  # what a suite may set; dtype is always among them
        Option("condition", 100.0, "largest curvature over the smallest", low=1),
        Option("dtype", "float64", "of parameters and arithmetic", choices=DTYPES),
    )

    def definition(self):
        """Return, as plain data, all that makes the problem what it is."""
        rule = {"formula": "sum(c * (w - 1)**2) / 2", "start": "N(0, 1)"}
        return {**rule, "streams": ["start"], "record": self.record, **self.settings}

    def start(self, seed):
        """Return the start of one lane; a seed gives every optimizer the same."""
        return rng.stream(seed, "start").normal(size=self.parameters)

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        """Write the gradients and return the losses, one a lane."""
        distance, slope = self._distance_and_slope(params, work.xp)
        grads.views["w"][...] = slope
        return Losses(work.xp.sum(distance * slope, axis=1) / 2)

    def loss(self, params, batch, *, buffers, work):
        """Return the losses only."""
        distance, slope = self._distance_and_slope(params, work.xp)
        return Losses(work.xp.sum(distance * slope, axis=1) / 2)

    def _distance_and_slope(self, params, xp):
        w = params.views["w"]  # shape (lanes, 10); xp is NumPy, or CuPy on a GPU
        c = self.settings["condition"] ** xp.linspace(-1, 0, 10, dtype=w.dtype)
        return w - 1, c * (w - 1)
'''
"""The file that ``optbench new problem`` writes; ``Valley`` is the problem in it."""

app = typer.Typer(no_args_is_help=True, help="Write a file to start from.")


@app.callback()
def _new() -> None:
    """Write a file to start from."""


@app.command()
def problem(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write it; it must not be there yet.")
    ],
) -> None:
    """Write a working problem into a new Python file, to be changed into your own."""
    write_new(file, PROBLEM)
    typer.echo(file)
    say(f"run it with: optbench run --problem {quote(f'{file}:Valley')} -o adam")


def write_new(file: Path, text: str) -> None:
    """Write a Python file that is not there yet.

    Raises
    ------
    UsageError
        If it is there, its name does not end in .py, or it cannot be written.
    """
    if file.suffix != ".py":
        raise UsageError(f"'{file}' is no Python file; give a name that ends in .py")
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise UsageError(f"'{file}' is there already; give another name") from None
    except FileNotFoundError:
        raise UsageError(f"there is no folder '{file.parent}'; make it first") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"'{file}' cannot be written: {error}") from None
