"""Optimizers from a user's own files, modules and packages."""

import json
import pickle
import re
from copy import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optbench import positions
from optbench.errors import SuiteError
from optbench.optimizers.plugin import offered
from optbench.optimizers.registry import get_optimizer, known_hyperparameters
from optbench.plugins import new_code_cache
from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401
from tests.small import anisotropic, run_suite, suite

PAGE = Path(__file__).parents[2] / "docs" / "optimizer-plugins.md"

HEAVY = '''
from optbench.optimizers import Elementwise, Hyperparameter, fraction

class Heavy(Elementwise):
    """A heavy ball."""

    hyperparameters = (
        Hyperparameter("lr", 0.01, "learning rate"),
        fraction("momentum", 0.9, "share of the velocity kept"),
    )
    slots = ("velocity",)

    @staticmethod
    def rule(w, g, v, *, lr, momentum, xp):
        v = momentum * v - lr * g
        return w + v, v

instance = Heavy()

def function():
    return 3

number = 3
'''

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return what writes ``mine.py`` into the current folder and returns the name of a thing."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "Heavy") -> str:
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        return f"mine.py:{name}"

    return write


def refused(name: str) -> str:
    with pytest.raises(SuiteError) as caught:
        get_optimizer(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_in_a_file_is_an_optimizer_like_momentum(write):
    """The rule is momentum's, so its lanes have momentum's bits."""
    name = write(HEAVY)
    rates = [{"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}]
    found = run_suite(suite(anisotropic(), optimizers=[(name, rates)], iterations=80))
    expected = run_suite(suite(anisotropic(), optimizers=[("momentum", rates)], iterations=80))
    assert [each.bits for each in found.values()] == [each.bits for each in expected.values()]


def test_its_name_is_what_stands_after_the_colon_and_its_summary_its_docstring(write):
    optimizer = get_optimizer(write(HEAVY))
    assert (optimizer.name, optimizer.summary) == ("Heavy", "A heavy ball.")
    assert {"lr", "momentum", "schedule", "clip_norm"} <= known_hyperparameters(optimizer).keys()


def test_its_code_decides_its_identity(write):
    first = get_optimizer(write(HEAVY)).identity()
    assert get_optimizer(write(HEAVY)).identity() == first
    with new_code_cache():
        second = get_optimizer(write(HEAVY.replace("- lr * g", "- 2 * lr * g"))).identity()
    assert first["name"] == second["name"] == "Heavy"
    assert first["source"] != second["source"]


def test_it_is_pickled_without_its_code_and_refused_where_that_has_changed(write):
    optimizer = get_optimizer(write(HEAVY))
    text = pickle.dumps(optimizer)
    assert b"velocity" not in text
    again = pickle.loads(text)
    assert (again.name, again.identity()) == (optimizer.name, optimizer.identity())
    assert copy(optimizer).identity() == optimizer.identity()
    write(HEAVY + "\n# changed\n")
    with (
        new_code_cache(),
        pytest.raises(SuiteError, match="has changed since Heavy was taken from it"),
    ):
        pickle.loads(text)


def test_a_run_takes_it_with_its_hyperparameters_and_records_its_source(write, tmp_path):
    name = write(HEAVY)
    sweep = ("--set", "Heavy.momentum=0.5", "--grid", "Heavy.lr=0.01,0.1", "--iterations", "20")
    seen = optbench("run", "anisotropic", "-o", name, "-o", "sgd", *sweep, "-q", cwd=tmp_path)
    assert seen.code == 0
    meta = json.loads((seen.path / "run.json").read_text(encoding="utf-8"))
    heavy, sgd = meta["optimizers"]
    assert (heavy["label"], heavy["name"], heavy["rule"]) == ("Heavy", name, "Heavy")
    assert heavy["source"]["place"] == str(tmp_path / "mine.py")
    assert len(heavy["source"]["sha256"]) == 64
    names = dict.fromkeys(("label", "name", "rule"), "sgd")
    assert sgd == {**names, "random": False, "source": "optbench"}
    lanes = pd.read_parquet(seen.path / "lanes.parquet")
    assert lanes["label"].tolist() == ["Heavy", "Heavy", "sgd"]
    assert lanes["hp_lr"].tolist()[:2] == [0.01, 0.1]
    assert lanes["hp_momentum"].tolist()[:2] == [0.5, 0.5]
    again = optbench("run", seen.path / "run.json", "-q", cwd=tmp_path)
    assert pd.read_parquet(again.path / "lanes.parquet")["lane_key"].equals(lanes["lane_key"])


def test_a_command_reads_a_file_once_however_often_it_is_named(write, tmp_path, monkeypatch):
    name = write(HEAVY)
    read, seen = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path.name) or read(path))
    run = ("run", "anisotropic", "quadratic-1d", "-o", name, "--grid", "Heavy.lr=0.1,0.2", "-q")
    assert optbench(*run, "--iterations", "5", cwd=tmp_path).code == 0
    assert seen.count("mine.py") == 1
    assert optbench("verify", "optimizer", name, cwd=tmp_path).code in (0, 3)
    assert seen.count("mine.py") == 2


RAISES = HEAVY.replace(
    "        v = momentum * v - lr * g",
    "        raise ValueError('no\\n way')\n        v = momentum * v - lr * g",
)

ONCE = (
    HEAVY
    + '''
class Picky(Heavy):
    """Raises where a learning rate is 0.5."""

    def columns(self, hyperparameters, updates):
        if (hyperparameters["lr"] == 0.5).any():
            raise ArithmeticError("half is too much")
        return super().columns(hyperparameters, updates)
'''
)


def test_the_lane_to_blame_fails_with_its_message_and_the_others_go_on(write, tmp_path):
    name = write(ONCE, "Picky")
    rates = "Picky.lr=0.01,0.5,0.1"
    run = ("run", "anisotropic", "-o", name, "--grid", rates, "--iterations", "20")
    seen = optbench(*run, "-q", cwd=tmp_path)
    assert seen.code == 4
    lanes = pd.read_parquet(seen.path / "lanes.parquet")
    assert lanes["status"].tolist() == ["done", "failed", "done"]
    (line,) = [each for each in seen.err.splitlines() if each.startswith("error: ")]
    message = "ArithmeticError: half is too much (mine.py, line 30)"
    assert line.startswith(f"error: Picky on anisotropic (seed 0) failed: {message}")
    assert "Traceback" not in seen.err
    debugged = optbench(*run, "-q", "--debug", cwd=tmp_path)
    assert "Traceback (most recent call last)" in debugged.err
    assert "raise ArithmeticError" in debugged.err


def test_a_rule_that_always_raises_fails_all_its_lanes(write, tmp_path):
    seen = optbench(
        *("run", "anisotropic", "-o", write(RAISES), "-o", "sgd", "--iterations", "5", "-q"),
        cwd=tmp_path,
    )
    assert seen.code == 4
    assert pd.read_parquet(seen.path / "lanes.parquet")["status"].tolist() == ["failed", "done"]
    assert "ValueError: no (mine.py, line 15)" in seen.err


@pytest.mark.parametrize(
    ("wrong", "returned"), [("w + v", "no tuple"), ("(w + v,)", "1"), ("w + v, v, v", "3")]
)
def test_a_rule_that_forgets_a_slot_is_told_what_to_return(write, tmp_path, wrong, returned):
    name = write(HEAVY.replace("return w + v, v", f"return {wrong}"))
    seen = optbench("run", "anisotropic", "-o", name, "--iterations", "5", "-q", cwd=tmp_path)
    assert seen.code == 4
    (line,) = [line for line in seen.err.splitlines() if line.startswith("error: ")]
    message = (
        "failed: Heavy.rule must return a tuple of 2: the new parameters, then each of its slots; "
        f"it returned {returned} (the traceback"
    )
    assert message in line


@pytest.mark.parametrize("more", [(), ("--reuse",), ("--dry-run",)])
def test_one_whose_runs_would_not_repeat_is_refused(write, tmp_path, more):
    drawing = HEAVY.replace("v = momentum * v - lr * g", "v = momentum * v - lr * g * noise()")
    name = write(drawing + "\nfrom random import random as noise\n")
    seen = optbench("run", "anisotropic", "-o", name, "--iterations", "5", *more, cwd=tmp_path)
    assert seen.code == 2
    assert seen.message == (
        "suite 'anisotropic': Heavy draws random numbers of its own; runs would not repeat"
    )
    assert not (tmp_path / "results").exists()


def test_two_that_would_be_called_the_same_keep_their_whole_names(write, tmp_path):
    name = write(HEAVY.replace("class Heavy", "class adam").replace("Heavy()", "adam()"), "adam")
    run = ("run", "anisotropic", "-o", "adam", "-o", name, "--iterations", "5", "-q")
    seen = optbench(*run, cwd=tmp_path)
    lanes = pd.read_parquet(seen.path / "lanes.parquet")
    assert lanes["label"].tolist() == ["adam", name]


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (HEAVY, "Heay", "mine.py has no 'Heay'; did you mean 'Heavy'?"),
        (HEAVY, "instance", "mine.py:instance is an instance of an optimizer; give its class"),
        (HEAVY, "number", "mine.py:number is of type int, not an optimizer; give a subclass of "),
        (HEAVY, "function", "mine.py:function is a function, not an optimizer; write optax:"),
        (
            HEAVY + "class Net: pass\n",
            "Net",
            "mine.py:Net is the class Net, not an optimizer; make it a subclass of "
            "optbench.optimizers.Optimizer, and add hyperparameters, step",
        ),
        (
            HEAVY + "class Net:\n    def __call__(self): pass\nnet = Net()\n",
            "net",
            "mine.py:net is of type Net, not an optimizer; write optax:",
        ),
        (
            HEAVY + "class Pair:\n    def init(self): pass\n    update = init\npair = Pair()\n",
            "pair",
            "of type Pair, not an optimizer; if it is optax's, write a function that returns it",
        ),
        (
            HEAVY + "from optbench.problems import Problem\nclass Bowl(Problem): pass\n",
            "Bowl",
            "mine.py:Bowl is a problem, not an optimizer; it belongs to --problem, or in a suite "
            "under [[problem]]",
        ),
        (
            "from optbench.optimizers import Optimizer\nclass Heavy(Optimizer):\n    pass\n",
            "Heavy",
            "mine.py:Heavy is an incomplete optimizer; it lacks hyperparameters, step",
        ),
        (
            HEAVY.replace("def rule", "def ruler"),
            "Heavy",
            "mine.py:Heavy is an incomplete optimizer; it lacks rule",
        ),
        (HEAVY.replace('("velocity",)', '"velocity"'), "Heavy", "slots = 'velocity' must be a tup"),
        (
            HEAVY.replace('slots = ("velocity",)', 'slots = ("velocity",)\n    copies = ("w",)'),
            "Heavy",
            "mine.py:Heavy: copies names 'w', which is not one of its slots",
        ),
        (
            HEAVY.replace("hyperparameters = (", "hyperparameters = (3,"),
            "Heavy",
            " must be a tuple of Hyperparameter",
        ),
        (
            HEAVY.replace(
                "    @staticmethod", "    def __init__(self):\n        1 / 0\n    @staticmethod"
            ).replace("instance = Heavy()", ""),
            "Heavy",
            "Heavy cannot be made: ZeroDivisionError: division by zero (mine.py, line 14)",
        ),
        ("1 / 0\n", "Heavy", "mine.py cannot be imported: ZeroDivisionError"),
    ],
)
def test_what_is_no_optimizer_is_refused_in_one_line(text, name, says, write):
    assert says in refused(write(text, name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.py:Heavy", "there is no file 'none.py'"),
        ("mine.py", "names a file only"),
        ("adm", "unknown optimizer 'adm'; did you mean 'adam', 'radam' or 'nadam'?"),
        ("torch:", "'torch:' lacks the name of an optimizer; write torch:NAME"),
        ("no_such_module:Heavy", "there is no module 'no_such_module'"),
    ],
)
def test_names_that_lead_nowhere_are_refused_in_one_line(name, says, write):
    assert says in refused(name)


def test_an_installed_package_may_offer_optimizers(tmp_path, monkeypatch):
    package, info = tmp_path / "heavies.py", tmp_path / "heavies-1.2.dist-info"
    package.write_text(HEAVY, encoding="utf-8")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heavies\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[optbench.optimizers]\nheavy-ball = heavies:Heavy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert offered() == ["heavy-ball"]
    optimizer = get_optimizer("heavy-ball")
    assert optimizer.name == "heavy-ball"
    source = optimizer.identity()["source"]
    assert (source["package"], source["version"]) == ("heavies", "1.2")
    assert "did you mean 'heavy-ball'?" in refused("heavy-bal")


@pytest.fixture
def debiased(write):
    """The page's example of numbers that change with the update, in a file."""
    if not PAGE.exists():
        pytest.skip("the pages are not part of this installation")
    shown = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = [text for text in shown if "def columns" in text]
    return write(text, "Debiased")


def test_the_corrected_mean_of_equal_gradients_is_the_gradient(debiased):
    gradient = np.array([0.5, -4.0])
    found = positions(debiased, [1.0, -2.0], np.tile(gradient, (400, 1)), lr=0.25, beta=0.99)
    updates = np.arange(1, 401)[:, None]
    np.testing.assert_allclose(
        found, np.array([1.0, -2.0]) - 0.25 * gradient * updates, rtol=1e-11, atol=1e-12
    )


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_corrected_mean_is_the_weighted_mean_of_all_gradients(debiased, beta):
    gradients = np.random.default_rng(2).normal(size=(30, 3))
    found = positions(debiased, np.zeros(3), gradients, lr=0.1, beta=beta)
    w = np.zeros(3)
    for t, position in enumerate(found, start=1):
        weights = [beta ** (t - i) for i in range(1, t + 1)]
        w = w - 0.1 * np.average(gradients[:t], axis=0, weights=weights)
        np.testing.assert_allclose(position, w, rtol=1e-12)
