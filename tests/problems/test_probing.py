"""Problems of a user's own that break the contract are refused in one line, before they run."""

import re

import pytest

from optbench.errors import SuiteError
from optbench.problems.plugin import plugin_problem
from tests.forget import forget  # noqa: F401
from tests.problems.test_plugin import WHOLE
from tests.refusal import refusal
from tests.small import problem

pytestmark = pytest.mark.usefixtures("forget")

WHOLE = WHOLE.partition("\nsteep")[0]

RAISES = "raise RuntimeError('boom')"

SIGNATURES = {
    **dict.fromkeys(("prepare", "data", "split_sizes", "describe", "definition"), ""),
    "start": ", seed",
    "draws": ", seed, block",
    "batch": ", data, draws, *, work",
    "loss": ", params, batch, *, buffers, work",
    "loss_and_grad": ", params, grads, batch, *, buffers, work",
}
METHODS = {name: f"def {name}(self{arguments}): ..." for name, arguments in SIGNATURES.items()}
METHODS |= {name: f"{name} = property(lambda self: boom())" for name in ("tensors", "buffers")}

LOSS = "def loss(self, params, batch, *, buffers, work):"

WRONG = {
    "record": ("record = 'middle'", "record = 'middle' must be one of before, after"),
    "no tensors": ("tensors = ()", "at least one"),
    "tensors of text": ("tensors = 'xy'", "a tuple of Tensor(name, shape)"),
    "equal names": ("tensors = (Tensor('x'), Tensor('x'))", "different names"),
    "empty tensor": ("tensors = (Tensor('x', (0,)),)", "sizes of at least 1"),
    "start": ("def start(self, seed): return [1.0] * 4", "shape (4,), not list"),
    "start's shape": (
        "def start(self, seed): import numpy; return numpy.ones(3)",
        "start(0) must be an array of the shape (4,), not (3,)",
    ),
    "prepare": ("def prepare(self): return None", "prepare() must return a tuple of texts"),
    "sizes": ("def split_sizes(self): return {'test': 'all'}", "gives 'all' for 'test'"),
    "epoch": ("iterations_per_epoch = 0", "iterations_per_epoch = 0 must be None, or at least 1"),
    "description": ("def describe(self): return {'x': object()}", "describe() must return plain"),
    "data": ("def data(self): return None", "data() must return arrays by name, not NoneType"),
    "batch": (
        "def batch(self, data, draws, *, work): return 3",
        "batch() must return arrays by name",
    ),
    "draws": ("def draws(self, seed, block): return {'a': [1]}", "an array of 256 rows for 'a'"),
    "no losses": (
        f"{LOSS} return params.rows[:, 0]",
        "loss_and_grad must return Losses(total), not ndarray",
    ),
    "a sum over lanes": (
        f"{LOSS} return Losses(params.rows.sum())",
        "of 2 lanes, the total of loss_and_grad must be an array of the shape (2,), not ()",
    ),
    "penalty": (
        f"{LOSS} return Losses(params.rows[:, 0], params.rows)",
        "of 2 lanes, the penalty of loss_and_grad must be",
    ),
}


def refused(tmp_path, text):
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    return refusal(
        SuiteError, lambda: problem(plugin_problem(f"{tmp_path / 'mine.py'}:Bowl")).prepare()
    )


@pytest.mark.parametrize("line", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("what", [RAISES, "raise SystemExit(3)"])
def test_whatever_raises_is_told_with_its_line(line, what, tmp_path):
    line = line.replace("...", what)
    text = f"def boom(): {what}\n{WHOLE}\n    {line}\n"
    said = {RAISES: "RuntimeError: boom", "raise SystemExit(3)": "SystemExit: 3"}[what]
    number = 1 if "boom()" in line else len(text.splitlines())
    message = f"Bowl is not a valid problem: {said} (mine.py, line {number})"
    assert refused(tmp_path, text) == message


def test_a_constructor_that_raises_is_told(tmp_path):
    text = f"{WHOLE}\n    def __init__(self, options, data_dir=None): {RAISES}\n"
    message = r"Bowl cannot be made: RuntimeError: boom \(mine.py, line \d+\)"
    assert re.fullmatch(message, refused(tmp_path, text))


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG)
def test_what_breaks_the_contract_is_named(line, message, tmp_path):
    said = refused(tmp_path, f"{WHOLE}\n    {line}\n")
    assert said.startswith("Bowl is not a valid problem: ")
    assert message in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("options = None", "mine.py:Bowl: options = None must be a tuple of Option"),
        ("default_iterations = '5'", "default_iterations = '5' must be a whole number of at least"),
        ("default_iterations = 0", "default_iterations = 0 must be a whole number of at least 1"),
    ],
)
def test_attributes_are_looked_at_before_anything_is_made(line, message, tmp_path):
    assert message in refused(tmp_path, f"{WHOLE}\n    {line}\n")
