"""``optbench new``: write a file to start from."""

import json
from collections.abc import Mapping
from os.path import lexists
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from optbench.cli import models
from optbench.cli.output import say, tell
from optbench.errors import UsageError

PROBLEM = '''\
"""A problem for optbench, stacked over lanes: arrays hold all training runs at once."""

from optbench.problems import DTYPES, Losses, Option, Problem, Tensor, stream


class Valley(Problem):
    """A valley in ten dimensions: f(w) = sum(c * (w - 1)**2) / 2, minimum 0 at 1."""

    kind = "function"  # or "network"
    default_iterations = 2000
    minibatch = False  # the loss is that of the whole problem, not of one batch
    record = "before"  # a trace row is the loss before the update
    tensors = (Tensor("w", (10,)),)  # the parameters of one lane
    options = (  # what a suite may set; dtype is always among them
        Option("condition", 100.0, "largest curvature over the smallest", low=1),
        Option("dtype", "float64", "of parameters and arithmetic", choices=DTYPES),
    )

    def definition(self):
        """Return, as plain data, everything that makes the problem what it is."""
        rule = {"formula": "sum(c * (w - 1)**2) / 2", "start": "N(0, 1)"}
        return {**rule, "streams": ["start"], "record": self.record, **self.settings}

    def start(self, seed):
        """Return the start of one lane; a seed gives every optimizer the same."""
        return stream(seed, "start").normal(size=self.parameters)

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        """Write the gradients and return the losses, one per lane."""
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


PROBLEM_TEST = '''\
"""Tests of a problem for optbench; python -m pytest runs them."""

from pathlib import Path

import numpy as np

from optbench import check_problem, loss_and_gradient

FILE = Path(__file__).with_name(FILE_NAME)
VALLEY = f"{FILE}:Valley"


def test_its_loss_and_gradient_are_those_of_its_docstring():
    """Compare them at one point with plain arithmetic."""
    w = [0.5 * i - 2.0 for i in range(10)]
    c = [9.0 ** (i / 9 - 1) for i in range(10)]  # from 1/9 to 1
    loss = sum(c * (w - 1.0) ** 2 for c, w in zip(c, w, strict=True)) / 2
    gradient = [c * (w - 1.0) for c, w in zip(c, w, strict=True)]
    found = loss_and_gradient(VALLEY, w, condition=9.0)
    np.testing.assert_allclose(found[0], loss, rtol=1e-12)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-12)


def test_its_gradient_is_that_of_its_loss():
    """Run the checks of optbench verify problem."""
    assert [check for check in check_problem(VALLEY) if not check.passed] == []
'''
"""The test beside it; ``FILE_NAME`` stands for the name of the problem's file."""


OPTIMIZER = '''\
"""An optimizer for optbench: a rule that treats every parameter alike, on its own."""

from optbench.optimizers import Elementwise, Hyperparameter, fraction


class Tempered(Elementwise):
    """Momentum whose long steps are shortened, for each parameter on its own.

    ::

        m <- beta*m + (1 - beta)*g                      m is 0 at the start
        w <- w - lr * m / sqrt(1 + (m/cap)**2)

    Where abs(m) is far below cap this is momentum; no step is longer than lr*cap.
    """

    summary = "m <- mean of g;  w <- w - lr*m/sqrt(1 + (m/cap)**2)"
    hyperparameters = (  # what a suite may set: name, default, meaning, range
        Hyperparameter("lr", 0.01, "learning rate"),
        fraction("beta", 0.9, "decay of the mean gradient"),  # in [0, 1)
        Hyperparameter("cap", 1.0, "where steps begin to be shortened", low=1e-6),
    )
    slots = ("mean",)  # state in the shape of the parameters, 0 at the start

    @staticmethod
    def rule(w, g, m, *, lr, beta, cap, xp):
        """Return the new parameters, then the new slots.

        w, g and m hold all training runs and have the shape (lanes, parameters);
        hyperparameters have the shape (lanes, 1); xp is NumPy, or CuPy on a GPU. The
        rule is read once, as a formula: no if, no loop, nothing changed in place.
        """
        m = beta * m + (1 - beta) * g
        ratio = m / cap
        return w - lr * m / xp.sqrt(1 + ratio * ratio), m
'''
"""The file that ``optbench new optimizer`` writes; ``Tempered`` is the optimizer in it."""


OPTIMIZER_TEST = '''\
"""Tests of an optimizer for optbench; python -m pytest runs them."""

from pathlib import Path

import numpy as np

from optbench import check_optimizer, positions

FILE = Path(__file__).with_name(FILE_NAME)
TEMPERED = f"{FILE}:Tempered"


def test_its_updates_are_those_of_its_docstring():
    """Make two updates, and compare them with plain arithmetic."""
    lr, beta, cap = 0.1, 0.5, 2.0
    w, m = np.array([1.0, -2.0]), np.array([0.0, 0.0])
    gradients = np.array([[0.5, -4.0], [0.25, 3.0]])
    found = positions(TEMPERED, w, gradients, lr=lr, beta=beta, cap=cap)
    for g, position in zip(gradients, found, strict=True):
        m = beta * m + (1 - beta) * g
        w = w - lr * m / np.sqrt(1 + (m / cap) ** 2)
        np.testing.assert_allclose(position, w, rtol=1e-12)


def test_it_keeps_what_every_optimizer_promises():
    """Run the checks of optbench verify optimizer."""
    assert [check for check in check_optimizer(TEMPERED) if not check.passed] == []
'''
"""The test beside it; ``FILE_NAME`` stands for the name of the optimizer's file."""


app = typer.Typer(no_args_is_help=True, help="Write a file to start from.")


@app.callback()
def _new() -> None:
    """Write a file to start from."""


New = Annotated[
    Path, typer.Argument(metavar="FILE", help="Where to write it; the file must not exist yet.")
]


@app.command()
def problem(
    file: New,
    torch: Annotated[bool, typer.Option("--torch", help="A model written with PyTorch.")] = False,
    jax: Annotated[bool, typer.Option("--jax", help="A model written with JAX.")] = False,
) -> None:
    """Write a working problem and its test, test_FILE, to start from."""
    if torch and jax:
        raise UsageError("--torch and --jax exclude each other; a file is written with one library")
    if torch or jax:
        library = "torch" if torch else "jax"
        test = _write_with_test(file, models.TORCH if torch else models.JAX, models.test(library))
        spec = quote(f"{library}:{file}:rings")
    else:
        test = _write_with_test(file, PROBLEM, PROBLEM_TEST)
        spec = quote(f"{file}:Valley")
    say(f"run it with: optbench run --problem {spec} -o adam")
    say(f"check it with: optbench verify problem {spec}")
    say(f"test it with: python -m pytest {quote(str(test))}")


@app.command()
def optimizer(file: New) -> None:
    """Write a working optimizer and its test, test_FILE, to start from."""
    test = _write_with_test(file, OPTIMIZER, OPTIMIZER_TEST)
    spec = quote(f"{file}:Tempered")
    say(f"run it with: optbench run anisotropic -o {spec}")
    say(f"check it with: optbench verify optimizer {spec}")
    say(f"test it with: python -m pytest {quote(str(test))}")


def _write_with_test(file: Path, text: str, of_test: str) -> Path:
    """Write a file and its test, in which ``FILE_NAME`` becomes its name; return the test."""
    test = file.with_name(f"test_{file.name}") if file.name else file
    name = json.dumps(file.name, ensure_ascii=False).encode(errors="backslashreplace").decode()
    write_new_files({file: text, test: of_test.replace("FILE_NAME", name)})
    tell(file)
    tell(test)
    return test


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Write Python files that are not there yet: all of them, or none."""
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
    """Write a Python file that is not there yet, and make its folders."""
    if file.suffix != ".py":
        raise UsageError(f"'{file}' is not a Python file; give a name that ends in .py")
    if lexists(file):
        raise UsageError(f"'{file}' already exists; give another name")
    begun = False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as target:
            begun = True
            target.write(text)
    except (OSError, ValueError) as error:
        if begun:
            file.unlink(missing_ok=True)
        raise UsageError(f"'{file}' cannot be written: {error}") from None
