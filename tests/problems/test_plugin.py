"""Problems from a user's own files, modules and packages."""

import copy
import json
import pickle
import re
import sys
from pathlib import Path

import pytest

from optbench.errors import SuiteError
from optbench.plugins import new_code_cache
from optbench.problems.plugin import offered, plugin_problem
from optbench.records import Status
from tests.forget import forget  # noqa: F401
from tests.refusal import refusal
from tests.small import problem, run_suite, suite

DOCS = Path(__file__).parents[2] / "docs" / "problems.md"

STACKED = """
from optbench.problems import function

@function(start=[3.0, 4.0], gradient=lambda p: 2 * p)
def bowl(p):
    return p @ p

def plain(p):
    return p @ p

number = 3
"""

WHOLE = '''
from optbench.problems import DTYPES, Losses, Option, Problem, Tensor

class Bowl(Problem):
    """A bowl of given steepness."""

    kind = "function"
    default_iterations = 5
    minibatch = False
    record = "before"
    tensors = (Tensor("w", (4,)),)
    options = (
        Option("steepness", 1.0, "of the bowl"),
        Option("dtype", "float64", "of arithmetic", choices=DTYPES),
    )

    def definition(self):
        return dict(self.settings)

    def start(self, seed):
        import numpy as np
        return np.ones(4)

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = self.settings["steepness"] * params.rows
        return self.loss(params, batch, buffers=buffers, work=work)

    def loss(self, params, batch, *, buffers, work):
        squares = params.rows * params.rows
        return Losses(self.settings["steepness"] / 2 * work.xp.sum(squares, axis=1))

steep = Bowl({"steepness": 3.0, "dtype": "float32"})
steep.remembered = "kept"
'''


pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def write(tmp_path):
    """Return what writes ``mine.py`` and returns the name of something in it."""

    def write(text: str, name: str, file: str = "mine.py") -> str:
        (tmp_path / file).write_text(text, encoding="utf-8")
        return f"{tmp_path / file}:{name}"

    return write


def losses(kind, **options):
    made = problem(kind, **options)
    made.prepare()
    (outcome,) = run_suite(suite(made, optimizers=[("sgd", [{"lr": 0.1}])], iterations=2)).values()
    assert outcome.result.status is Status.DONE
    return outcome.loss.tolist()


def test_a_function_becomes_a_problem(write):
    kind = plugin_problem(write(STACKED, "bowl"))
    assert (kind.name, kind.summary) == ("bowl", "bowl")
    assert losses(kind) == pytest.approx([25.0, 25.0 * 0.64, 25.0 * 0.64**2])


def test_a_class_becomes_a_problem_with_its_options(write):
    kind = plugin_problem(write(WHOLE, "Bowl"))
    assert (kind.name, kind.summary) == ("Bowl", "A bowl of given steepness.")
    assert losses(kind) == pytest.approx([2.0, 2.0 * 0.81, 2.0 * 0.81**2])
    assert losses(kind, steepness=2.0) == pytest.approx([4.0, 4.0 * 0.64, 4.0 * 0.64**2])


def test_an_instance_keeps_its_settings_and_what_it_holds(write):
    kind = plugin_problem(write(WHOLE, "steep"))
    assert kind.name == "steep"
    made = problem(kind)
    assert made.settings == {"steepness": 3.0, "dtype": "float32"}
    assert (made.dtype, made.remembered) == ("float32", "kept")
    assert losses(kind) == pytest.approx([6.0, 6.0 * 0.49, 6.0 * 0.49**2], rel=1e-6)
    assert kind({"steepness": 3.0, "dtype": "float32"}, Path("x")).data_dir == Path("x")
    with pytest.raises(SuiteError, match=r"steepness = 1.0, but .* steepness = 3.0; give its cl"):
        problem(kind, steepness=1.0)


def test_the_same_code_gives_the_same_class(write, monkeypatch, tmp_path):
    name = write(WHOLE, "Bowl")
    monkeypatch.chdir(tmp_path)
    assert plugin_problem(name) is plugin_problem("mine.py:Bowl")
    assert plugin_problem(name) is not plugin_problem("mine.py:steep")


def test_the_fingerprint_is_that_of_the_code_wherever_it_lies(write, tmp_path):
    one = problem(plugin_problem(write(WHOLE, "Bowl")))
    (tmp_path / "other").mkdir()
    moved = problem(plugin_problem(write(WHOLE, "Bowl", "other/renamed.py")))
    with new_code_cache():
        changed = problem(plugin_problem(write(WHOLE + "\n", "Bowl")))
    assert moved.fingerprint == one.fingerprint
    assert changed.fingerprint != one.fingerprint
    code = one.definition()["plugin"]
    assert code["name"] == "Bowl"
    assert len(code["sha256"]) == 64
    assert one.definition()["steepness"] == 1.0
    assert str(tmp_path) not in json.dumps(one.definition())


def test_two_functions_of_a_file_differ(write):
    same = "\n@function(start=[1.0], gradient=lambda p: p)\ndef {}(p): return p[0]\n"
    text = STACKED + same.format("one") + same.format("two")
    prints = {problem(plugin_problem(write(text, name))).fingerprint for name in ("one", "two")}
    assert len(prints) == 2


def test_run_json_says_where_the_code_lies_and_what_readers_need(write, tmp_path):
    found = problem(plugin_problem(write(WHOLE, "Bowl"))).describe()
    assert found["source"]["place"] == str(tmp_path / "mine.py")
    assert (found["variables"], found["minima"], found["plot"]) == (["w"], [], None)
    assert found["kind"] == "function"
    found = problem(plugin_problem(write(STACKED, "bowl", "other.py"))).describe()
    assert found["variables"] == ["x", "y"]
    assert found["plot"]["domain"] == [[-5.0, 5.0], [-5.0, 5.0]]


@pytest.mark.parametrize("name", ["Bowl", "steep"])
def test_problems_can_be_pickled_and_copied(write, name):
    made = problem(plugin_problem(write(WHOLE, name)))
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert type(again) is type(made)
        assert again.__dict__ == made.__dict__
        assert again.fingerprint == made.fingerprint


def test_a_pickle_of_code_that_has_changed_is_refused(write):
    pickled = pickle.dumps(problem(plugin_problem(write(WHOLE, "Bowl"))))
    write(WHOLE + "\n", "Bowl")
    with (
        new_code_cache(),
        pytest.raises(SuiteError, match=r"mine.py has changed since Bowl was taken from it"),
    ):
        pickle.loads(pickled)


WITHOUT = {
    "kind": ('kind = "function"', "mine.py:Bowl is an incomplete problem; it lacks kind"),
    "loss": ("def loss(self, params, batch", "it lacks loss"),
    "dtype": ('Option("dtype"', "mine.py:Bowl lacks the option dtype; add it to its options"),
}


@pytest.mark.parametrize(("part", "says"), WITHOUT.values(), ids=WITHOUT)
def test_a_class_that_is_not_whole_is_refused(write, part, says):
    assert part in WHOLE
    text = WHOLE.replace(part, part.replace("def loss(", "def lose(").replace("kind =", "kin ="))
    text = text.replace('Option("dtype"', 'Option("type"') if "dtype" in part else text
    name = write(text.partition("\nsteep")[0], "Bowl")
    assert says in refusal(SuiteError, plugin_problem, name)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (
            STACKED,
            "plain",
            "mine.py:plain is a function, not a problem; give a subclass of Problem",
        ),
        (STACKED, "number", "mine.py:number is of type int, not a problem; give "),
        (
            STACKED + "class Net:\n    def loss(self): pass\n",
            "Net",
            "mine.py:Net is the class Net, not a problem; make it a subclass of "
            "optbench.problems.Problem, and add kind, default_iterations, options, minibatch, "
            "definition, loss_and_grad, record, start, tensors",
        ),
        (
            STACKED + "class Net:\n    def __call__(self): pass\nnet = Net()\n",
            "net",
            "mine.py:net is of type Net, not a problem; give ",
        ),
        (
            STACKED + "from optbench.optimizers import Optimizer\nclass Heavy(Optimizer): pass\n",
            "Heavy",
            "mine.py:Heavy is an optimizer, not a problem; it belongs to -o, or in a suite under "
            "[[optimizer]]",
        ),
        (STACKED, "bowel", "has no 'bowel'; did you mean 'bowl'?"),
        (WHOLE.replace('"function"', '"puzzle"'), "Bowl", "kind = 'puzzle' must be one of functio"),
        (STACKED.replace("start=[3.0, 4.0]", "start=[]"), "bowl", "start is empty; give a number"),
        ("1 / 0\n", "x", "mine.py cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_problem_is_refused_in_one_line(write, text, name, says):
    assert says in refusal(SuiteError, plugin_problem, write(text, name))


@pytest.mark.parametrize("value", ["{'x': object()}", "{'x': float('nan')}", "3"])
def test_a_definition_that_is_no_plain_data_is_refused(write, value):
    text = WHOLE.replace("return dict(self.settings)", f"return {value}")
    made = problem(plugin_problem(write(text, "Bowl")))
    with pytest.raises(SuiteError, match=r"^Bowl: definition\(\) must return plain data: "):
        made.fingerprint  # noqa: B018


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package that offers ``deep-bowl``."""
    (tmp_path / "bowls.py").write_text(WHOLE)
    about = tmp_path / "bowls-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bowls\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text("[optbench.problems]\ndeep-bowl = bowls:Bowl\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_packages_offer_problems_by_name(installed):
    assert "deep-bowl" in offered()
    assert plugin_problem("shallow-bowl") is None
    assert "bowls" not in sys.modules
    kind = plugin_problem("deep-bowl")
    assert kind.name == "deep-bowl"
    assert kind is plugin_problem("deep-bowl")
    made = problem(kind)
    assert made.definition()["plugin"]["package"] == "bowls"
    assert made.definition()["plugin"]["version"] == "2.0"
    assert made.describe()["source"]["place"] == "bowls"
    assert type(pickle.loads(pickle.dumps(made))) is kind


def test_a_module_of_a_package_can_be_named(installed):
    kind = plugin_problem("bowls:Bowl")
    assert kind.name == "Bowl"
    assert losses(kind)[0] == 2.0


def test_the_page_shows_a_problem_in_15_lines_that_runs(write):
    if not DOCS.exists():
        pytest.skip("the pages are not part of this installation")
    shown = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(shown[0].splitlines()) <= 15
    (name,) = re.findall(r"^def (\w+)", shown[0], re.MULTILINE)
    made = problem(plugin_problem(write(shown[0], name)))
    assert made.prepare() == ()
    adam = [("adam", [{"lr": 0.1}])]
    (outcome,) = run_suite(suite(made, optimizers=adam, iterations=500)).values()
    assert outcome.loss[-1] < 0.01 * outcome.loss[0]
