"""What tells the code of functions and classes that a program hands over."""

import functools
import linecache
import os
import subprocess
import sys
from itertools import count

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.plugins import given_name, load, new_code_cache
from optbench.plugins.handed import hand_over

cells = count()


def typed(text, **around):
    """Return what a cell of a notebook defines: its text is kept for inspection, but in no file."""
    name = f"<cell {next(cells)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {"__name__": "__main__", "np": np, **around}
    exec(compile(text, name, "exec"), space)
    return space["f"]


def told(text, **around):
    """Return the SHA-256 of what tells a function."""
    return hand_over(None, "f", [typed(text, **around)]).sha256


PLAIN = "def f(x):\n    return A * helper(x)\n"


def helped(factor):
    return typed(f"def f(x):\n    return {factor} * x\n")


def test_the_same_code_is_told_alike_wherever_it_stands():
    assert told(PLAIN, A=2, helper=helped(1)) == told("\n\n" + PLAIN, A=2, helper=helped(1), B=7)


OTHERS = {
    "text": (PLAIN.replace("A *", "A +"), {"A": 2, "helper": helped(1)}),
    "global": (PLAIN, {"A": 3, "helper": helped(1)}),
    "type": (PLAIN, {"A": 2.0, "helper": helped(1)}),
    "helper": (PLAIN, {"A": 2, "helper": helped(2)}),
    "array": (PLAIN, {"A": np.array([2.0]), "helper": helped(1)}),
    "another array": (PLAIN, {"A": np.array([2.5]), "helper": helped(1)}),
    "partial": (PLAIN, {"A": 2, "helper": functools.partial(pow, 2)}),
    "another partial": (PLAIN, {"A": 2, "helper": functools.partial(pow, 3)}),
    "default": (PLAIN.replace("(x)", "(x, A=C)", 1), {"C": 2, "helper": helped(1)}),
    "another default": (PLAIN.replace("(x)", "(x, A=C)", 1), {"C": 3, "helper": helped(1)}),
    "lambda": ("f = lambda x: A * x\n", {"A": 2}),
    "inner": ("def f(x):\n    return [A * y for y in x]\n", {"A": 2}),
    "another inner": ("def f(x):\n    return [A * y for y in x]\n", {"A": 3}),
}


def test_other_code_and_other_values_are_told_apart():
    found = {told(PLAIN, A=2, helper=helped(1)), *(told(text, **a) for text, a in OTHERS.values())}
    assert len(found) == 1 + len(OTHERS)


CLOSURE = """
def make(a):
    def f(x):
        return a * x
    return f
f = make(A)
"""

CLASS = """
def plain(w):
    return A * w

class f:
    rate = 0.5
    def step(self, w):
        return plain(w)
    @property
    def half(self):
        return self.rate / 2
"""


@pytest.mark.parametrize("text", [CLOSURE, CLASS])
def test_closures_and_classes_are_told_by_what_they_hold_and_use(text):
    assert told(text, A=1) == told(text, A=1)
    assert told(text, A=1) != told(text, A=2)
    assert told(CLASS, A=1) != told(CLASS.replace("0.5", "0.25"), A=1)


def test_modules_count_as_those_of_files_do():
    source = hand_over(None, "f", [typed("import json\ndef f(x):\n    return np.exp(x)\n")])
    assert dict(source.depends_on.libraries)["numpy"] == np.__version__
    assert source.describe()["text"] == "def f(x):\n    return np.exp(x)"
    assert "text" not in source.identity()


DRIVER = """
import linecache
from optbench.plugins.handed import hand_over
text = "def f(x):\\n    return a + b + c + d + g(x)\\n"
linecache.cache["cell"] = (len(text), None, text.splitlines(keepends=True), "cell")
a, b, c, d = 1, {"k": (2, 3), "j": {4, 5}}, "c", 1.5
g = lambda x: x
exec(compile(text, "cell", "exec"))
linecache.cache["<string>"] = (len(text), None, open(__file__).readlines(), "<string>")
print(hand_over(None, "f", [f]).sha256)
"""


def test_another_process_tells_the_same(tmp_path):
    file = tmp_path / "driver.py"
    file.write_text(DRIVER)
    found = {
        subprocess.run(
            [sys.executable, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_code_that_nobody_can_see_is_refused():
    space = {}
    exec("def f(x):\n    return x\n", space)
    with pytest.raises(SuiteError, match=r"the code of f cannot be seen, .*; save it in a file"):
        hand_over(None, "f", [space["f"]])


def test_what_was_handed_over_is_found_by_its_name_until_another_takes_it():
    first, second = typed("f = lambda x: x\n"), typed("f = lambda x: 2 * x\n")
    with new_code_cache():
        assert given_name(first, "f", [first]) == "python:f"
        assert load("python:f").object is first
        with pytest.raises(SuiteError, match="two of what was handed over are called f; rename on"):
            given_name(second, "f", [second])
    with new_code_cache():
        given_name(second, "f", [second])
        assert load("python:f").object is second
        assert load("python:f").spec == "python:f"
        assert load("python:f").is_users


def test_what_was_not_handed_over_is_refused():
    with pytest.raises(SuiteError, match=r"'python:nothing' was handed over from Python, and this"):
        load("python:nothing")
