"""Two optimizers beside one another: rules written here, which differ in a thing or in several."""

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.verify.against import compare_optimizers
from tests.forget import forget  # noqa: F401

pytestmark = pytest.mark.usefixtures("forget")

RULES = '''
from optbench.optimizers import Hyperparameter, Optimizer
import numpy as np

class Mine(Optimizer):
    """Adam with decay, in which a subclass changes one thing."""
    hyperparameters = (
        Hyperparameter("lr", 0.001, ""),
        Hyperparameter("beta1", 0.9, ""),
        Hyperparameter("beta2", 0.999, ""),
        Hyperparameter("eps", 1e-8, ""),
        Hyperparameter("weight_decay", 0.01, ""),
    )
    slots = ("m", "v")
    scalars = ("t",)
    order = "before"
    eps_place = "outside"
    corrects = True
    ahead = False

    def step(self, step):
        c, s = step.columns, step.state
        w, g = step.params.rows, step.grads.rows
        decay = c["weight_decay"]
        if self.order == "l2":
            g = g + decay * w
        s["t"] += 1
        s["m"][...] = c["beta1"] * s["m"] + (1 - c["beta1"]) * g
        s["v"][...] = c["beta2"] * s["v"] + (1 - c["beta2"]) * g ** 2
        t = s["t"] if self.corrects else np.inf
        m, v = s["m"] / (1 - c["beta1"] ** t), s["v"] / (1 - c["beta2"] ** t)
        if self.ahead:
            m = c["beta1"] * s["m"] / (1 - c["beta1"] ** (t + 1))
            m = m + (1 - c["beta1"]) * g / (1 - c["beta1"] ** t)
        root = np.sqrt(v + c["eps"]) if self.eps_place == "inside" else np.sqrt(v) + c["eps"]
        if self.order == "before":
            w *= 1 - c["lr"] * decay
        if self.order == "without lr":
            w *= 1 - decay
        w -= c["lr"] * m / root
        if self.order == "after":
            w *= 1 - c["lr"] * decay

class After(Mine):
    order = "after"

class L2(Mine):
    order = "l2"

class WithoutLr(Mine):
    order = "without lr"

class Inside(Mine):
    eps_place = "inside"

class Uncorrected(Mine):
    corrects = False

class Ahead(Mine):
    ahead = True

class Twice(L2):
    eps_place = "inside"

class Strange(Mine):
    def step(self, step):
        super().step(step)
        step.params.rows[...] -= 1e-4 * np.sin(step.params.rows)

class Slow(Mine):
    def step(self, step):
        if step.state["t"].max() >= 7:
            step.grads.rows[...] *= 2.0
        super().step(step)
'''


@pytest.fixture(autouse=True)
def rules(tmp_path, monkeypatch):
    (tmp_path / "rules.py").write_text(RULES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(first, second, given=None, **options):
    """Return what differs, and how it is in both."""
    found = compare_optimizers(first, second, given, **options)
    assert not found.agrees
    assert (found.agreement is None) == (not found.causes)
    return [(cause.what, cause.first, cause.second) for cause in found.causes]


OFF_OLD, OFF_NEW = "lr·λ·w off the old w", "lr·λ·w off the new w"


@pytest.mark.parametrize(
    ("name", "what", "first", "second"),
    [
        ("After", "weight decay", OFF_OLD, OFF_NEW),
        ("L2", "weight decay", OFF_OLD, "added to the gradient"),
        ("WithoutLr", "weight decay", OFF_OLD, "λ·w off, without lr"),
        ("Ahead", "look ahead", "none", "Nesterov's: g + β₁·m"),
        (
            "Inside",
            "place of eps",
            "outside the root, after bias correction",
            "inside the root, after bias correction",
        ),
    ],
)
def test_one_difference_from_a_built_in_rule_is_named(name, what, first, second):
    assert told("adamw", f"rules.py:{name}") == [(what, first, second)]
    assert told(f"rules.py:{name}", "adamw") == [(what, second, first)]
    assert told("rules.py:Mine", f"rules.py:{name}") == [(what, first, second)]


def test_two_differences_are_named_together():
    found = {what: second for what, _, second in told("adamw", "rules.py:Twice")}
    assert found == {
        "weight decay": "added to the gradient",
        "place of eps": "inside the root, after bias correction",
    }


def test_missing_bias_correction_is_named_for_both_means():
    assert told("rules.py:Mine", "rules.py:Uncorrected") == [
        ("bias correction of the mean", "yes", "no"),
        ("bias correction of the mean square", "yes", "no"),
    ]


def test_the_same_rule_written_twice_agrees():
    for second in ("adamw", "rules.py:Mine"):
        found = compare_optimizers("rules.py:Mine", second)
        assert found.agrees
        assert (found.causes, found.agreement, found.notes) == ((), None, ())
        assert len(found.partings) == 4
        assert max(max(parting.differences.values()) for parting in found.partings) < 1e-12


def test_defaults_of_one_name_are_compared_by_value():
    assert told("adamw", "adamw-optax") == [("weight_decay", "0.01", "0.0001")]
    assert compare_optimizers("adamw", "adamw-optax", {"weight_decay": 0.1}).agrees
    assert compare_optimizers("adamw", "adamw-optax", {"b.weight_decay": 0.01}).agrees


def test_settings_of_built_in_rules_are_named():
    found = {what.partition(",")[0]: pair for what, *pair in told("rmsprop", "rmsprop-optax")}
    assert found == {
        "decay": ["0.99", "0.9"],
        "eps": ["1e-07", "1e-08"],
        "eps_place": ["outside", "inside"],
    }
    found = {what.partition(",")[0]: pair for what, *pair in told("nadam", "nadam-optax")}
    assert found == {"momentum_decay": ["0.004", "10000"]}


def test_forms_of_momentum_are_told_apart():
    given = {"lr": 0.01, "momentum": 0.9, "a.nesterov": 1}
    further = "Nesterov's, a step further: (1 + β₁)·g + β₁²·m"
    assert told("nesterov-torch", "nesterov") == [("look ahead", "Nesterov's: g + β₁·m", further)]
    assert told("sgd-torch", "momentum", given) == [
        ("nesterov, 1 to look ahead, 0 not to", "1", "0")
    ]
    assert compare_optimizers("sgd-torch", "momentum", {"lr": 0.01, "momentum": 0.9}).agrees


def test_no_cause_is_named_where_no_variant_is_both():
    assert told("adamw", "rules.py:Strange") == []
    assert told("adamw", "adamax") == []


def test_where_they_part_is_told():
    found = compare_optimizers("rules.py:Mine", "rules.py:Slow")
    given = found.partings[0]
    assert {parting.update for parting in found.partings} == {8}
    assert given.differences[1] == 0.0
    assert given.differences[100] > 0
    assert given.parameter.partition("[")[0] in ("w1", "b1", "w2", "scale")
    assert given.first != given.second
    assert found.causes == ()


def test_what_one_lacks_is_told():
    notes = compare_optimizers("adamw", "sgd").notes
    assert notes == ("sgd lacks beta1, beta2, eps, weight_decay of adamw",)


def test_a_tolerance_decides_what_is_apart():
    given = {"a.eps": 1e-8, "b.eps": 1.1e-8}
    assert not compare_optimizers("adamw", "adamw", given).agrees
    assert compare_optimizers("adamw", "adamw", given, tolerance=1e-2).agrees


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"c.lr": 0.1}, "write a.lr for the first optimizer"),
        ({"b.momentum": 0.1}, "no hyperparameter 'momentum' of its own"),
        ({"nope": 0.1}, "no hyperparameter 'nope' of its own"),
    ],
)
def test_what_neither_takes_is_refused(given, said):
    with pytest.raises(UsageError) as caught:
        compare_optimizers("adam", "sgd", given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tolerance_is_a_number():
    for tolerance in (-1.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="tolerance"):
            compare_optimizers("adam", "sgd", tolerance=tolerance)
