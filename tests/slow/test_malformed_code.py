"""Users' optimizers and problems that raise anywhere, or give what nobody could go on with.

What holds of all malformed input holds of them: see :mod:`tests.slow.test_malformed`.
"""

import pytest

from optbench.cli.new import PROBLEM
from optbench.errors import ExitCode
from tests.cli.command import suite
from tests.forget import forget  # noqa: F401
from tests.slow.test_malformed import answered, comes_back  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forget", "comes_back")]

HEAD = """
import asyncio, sys
import numpy as np
from optbench.optimizers import Elementwise, Hyperparameter, Choice

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("not even that")

class Outside(BaseException):
    pass
"""

OPTIMIZER = """
class Mine(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.01, "learning rate"),)
    slots = ("mean",)

    @staticmethod
    def rule(w, g, m, *, lr, xp):
        return w - lr * g, m

"""

MISTAKES = (
    *("raise ValueError('x')", "raise Mute", "raise Outside", "raise asyncio.CancelledError"),
    *("raise SystemExit(0)", "raise GeneratorExit", "raise StopIteration", "raise MemoryError"),
    *("raise OSError(2, 'gone')", "raise ValueError('\\udcff\\nand more')", "raise RecursionError"),
    *("return None", "return 3", "return 'x'", "return {}", "return np.zeros(3)"),
)

METHODS = {
    "def __init__(self)": "",
    "def fit(self, task)": "",
    "def begin(self, lanes, state)": "",
    "def columns(self, hyperparameters, updates)": "",
    "def step(self, step)": "",
    "def eval_params(self, params, state, xp)": "evaluates_elsewhere = True",
    "def identity(self)": "",
    "def __init_subclass__(cls)": "",
    "def rule(w, g, m, *, lr, xp)": "@staticmethod",
}
"""What an optimizer may define, and what stands before it."""

ATTRIBUTES = (
    *('hyperparameters = (Hyperparameter("lr", "fast", ""),)', "hyperparameters = (3,)"),
    *('hyperparameters = (Hyperparameter(3, 0.1, ""),)', "hyperparameters = None"),
    *('hyperparameters = (Hyperparameter("lr", 0.1, "", low="a"),)', 'slots = ("mean", "mean")'),
    *('hyperparameters = (Hyperparameter("l r\\n", 0.1, ""),)', "slots = ()", "slots = 3"),
    *('hyperparameters = (Choice("lr", "a", "", 3),)', "__doc__ = '   '", "__doc__ = 3"),
    *("rule = None", "rule = 3", "rule = staticmethod(lambda *all, **columns: (1, 2, 3))"),
    *("__abstractmethods__ = frozenset(['x'])", "summary = 3", "name = None", "plugin = 3"),
    "def step(self, step):\n        del step.params",
    "def step(self, step):\n        del self.slots",
    "def step(self, step):\n        step.state.clear()",
    "def step(self, step):\n        step.params.rows.resize((1, 1))",
    "def step(self, step):\n        step.params.rows[...] = 'a'",
    "def step(self, step):\n        print('x' * 100_000)",
)

FILES = (
    *("", "Mine =", "import nowhere", "import sys; sys.exit(3)", "raise BaseException('x')"),
    *("import asyncio; raise asyncio.CancelledError", "Mine = 3", "def Mine(): pass"),
    *("class Mine: pass", "\0", "# coding: nowhere", "Mine = " + "(" * 300, "Mine = None"),
    *("import sys; del sys.modules[__name__]"),
    "raise type('Mute', (Exception,), {'__str__': lambda self: 3})",
    "class Meta(type):\n  def __subclasscheck__(*_): 1 / 0\nclass Mine(metaclass=Meta): pass",
)

RUNS = """
iterations = 4
seeds = 2
evaluate_every = 2
[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 3", "relu", "dense 10"]
batch_size = 4
[[optimizer]]
name = "mine.py:Mine"
grid.lr = [0.1, 0.2]
[[optimizer]]
name = "sgd"
"""


def answers(text, tmp_path, *commands):
    """Run commands on the code of a file; one that has not ended well says so by its exit code."""
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    return [answered(*command.split(), cwd=tmp_path) for command in commands]


USES = (
    "run anisotropic -o mine.py:Mine --iterations 3 -q",
    "run mine.toml -q",
    "run anisotropic -o mine.py:Mine --dry-run",
    "verify optimizer mine.py:Mine",
)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_optimizers(method, tmp_path):
    suite(tmp_path, RUNS)
    for mistake in MISTAKES:
        text = f"    {METHODS[method]}\n    {method}:\n        {mistake}\n"
        found = answers(HEAD + OPTIMIZER + text, tmp_path, *USES)
        if mistake.startswith("raise"):
            assert {seen.code for seen in found} != {ExitCode.DONE}, (method, mistake)


def test_attributes_of_optimizers(tmp_path):
    suite(tmp_path, RUNS)
    for attribute in ATTRIBUTES:
        answers(f"{HEAD}{OPTIMIZER}    {attribute}\n", tmp_path, *USES)


def test_files(tmp_path):
    for text in FILES:
        wrong = answers(
            text,
            tmp_path,
            "run anisotropic -o mine.py:Mine",
            "verify optimizer mine.py:Mine",
            "run --problem mine.py:Mine",
            "list problems mine.py:Mine",
        )
        assert {seen.code for seen in wrong} == {ExitCode.USAGE}, text


def test_a_lane_whose_exception_cannot_even_be_said_has_failed(tmp_path):
    text = "    def step(self, step):\n        raise {}\n"
    for name in ("Mute", "Outside", "ValueError('\\udcff')"):
        (seen,) = answers(HEAD + OPTIMIZER + text.format(name), tmp_path, USES[0])
        assert seen.code == ExitCode.LANES_FAILED
        assert name.partition("(")[0] in seen.err
        assert answered("show", cwd=tmp_path).code == ExitCode.DONE


# Problems.

OTHER = "\n\nclass Mine(Valley):\n"

LATER = "if seed == 0:\n            return super().{}\n        "
"""The first seed is the one that is asked before anything runs."""

CALLED = {
    "def __init__(self, options, data_dir=None)": "",
    "def prepare(self)": "",
    "def definition(self)": "",
    "def describe(self)": "",
    "def start(self, seed)": LATER.format("start(seed)"),
    "def draws(self, seed, block)": LATER.format("draws(seed, block)"),
    "def data(self)": "",
    "def batch(self, data, draws, *, work)": "",
    "def loss_and_grad(self, params, grads, batch, **more)": "",
    "def loss(self, params, batch, **more)": "",
    "def split_sizes(self)": "",
    "def evaluate(self, *all, **more)": "",
    "def __init_subclass__(cls)": "",
}

PROPERTIES = ("fingerprint", "penalized", "work_values", "random", "cpu_only", "tensors")

SETTINGS = (
    *("options = ()", 'options = (Option(3, 1.0, ""), Option("dtype", "float64", "", DTYPES))'),
    *('options = (Option("dtype", 3, ""),)', "default_iterations = True", "kind = None"),
    *("tensors = ()", "tensors = (Tensor(3, (10,)),)", 'tensors = (Tensor("w", (2.5,)),)'),
    *("__doc__ = ' '", "work_values = 10**30", "work_values = 'x'", "fingerprint = 3"),
    "def describe(self): return {**super().describe(), 'batch_size': 'x'}",
    "def describe(self): return {'kind': 'function', 'minima': 'x'}",
    "def describe(self): return {**super().describe(), 'x': '\\udcff'}",
    "def definition(self): return {3: 4, 'a': 5}",
    "def data(self): return {'a': [1, 2]}",
    "def split_sizes(self): return {'nowhere': 3}",
)

PROBLEM_USES = (
    "run --problem mine.py:Mine -o adam --iterations 3 --seeds 2 -q",
    "run --problem mine.py:Mine -o sgd --iterations 3 --seeds 2 --dry-run",
    "verify problem mine.py:Mine",
    "list problems mine.py:Mine",
)


@pytest.mark.parametrize("method", CALLED)
def test_methods_of_problems(method, tmp_path):
    sizes = "def split_sizes(self): return {'train': 3}" if "evaluate" in method else ""
    for mistake in MISTAKES:
        text = f"    {sizes}\n    {method}:\n        {CALLED[method]}{mistake}\n"
        ran, *_ = answers(HEAD + PROBLEM + OTHER + text, tmp_path, *PROBLEM_USES)
        if mistake.startswith("raise"):
            assert ran.code != ExitCode.DONE, (method, mistake)


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_of_problems(name, tmp_path):
    for mistake in MISTAKES:
        text = f"    @property\n    def {name}(self):\n        {mistake}\n"
        answers(HEAD + PROBLEM + OTHER + text, tmp_path, *PROBLEM_USES)


def test_settings_of_problems(tmp_path):
    for setting in SETTINGS:
        answers(f"{HEAD}{PROBLEM}{OTHER}    {setting}\n", tmp_path, *PROBLEM_USES)


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ("start=None", "return 3"),
        ("start={3: 1}", "return p[0]**2, 2*p"),
        ("start=[1.0, 2.0], minima=3", "return p[0]**2, 2*p"),
        ("start=[1.0, 2.0], domain=[(0, 1)]", "return p[0]**2, 2*p"),
        ("start=[1.0, 2.0], gradient=3", "return p[0]**2"),
        ("start=[1.0, 2.0]", "return 1j, p"),
        ("start=[1.0, 2.0]", "return p[0], ['a', 'b']"),
        ("start=[1.0, 2.0]", "p.resize(1); return 1.0, p"),
        ("start=[1.0, 2.0]", "raise SystemExit(0)"),
        ("start=[1.0, 2.0]", "if p[0] != 1.0: raise KeyError('away')\n    return p[0]**2, 2*p"),
        ("start=[1.0, 2.0]", "if p[0] != 1.0: raise SystemExit\n    return p[0]**2, 2*p"),
        ("start=[1.0, 2.0]", "if p[0] != 1.0: return None\n    return p[0]**2, 2*p"),
    ],
)
def test_functions_of_one_point(given, body, tmp_path):
    text = "from optbench.problems.python.function import function\n"
    text += f"@function({given})\ndef Mine(p):\n    {body}\n"
    assert answers(text, tmp_path, *PROBLEM_USES)[0].code != ExitCode.DONE
