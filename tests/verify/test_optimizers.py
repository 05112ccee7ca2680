"""What every optimizer promises: one that keeps it passes, and one that does not fails a check."""

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import OPTIMIZERS, optimizer_names
from optbench.verify.optimizers import (
    CHECKS,
    COMPARING,
    NETWORK,
    VALLEY,
    check_optimizer,
    positions,
)
from tests.forget import forget  # noqa: F401

pytestmark = pytest.mark.usefixtures("forget")

WRONG = '''
"""Momentum, and what becomes of it where one thing is wrong."""

import itertools
import random

import numpy as np

from optbench.optimizers import Choice, Elementwise, Hyperparameter, Optimizer, fraction
from optbench.optimizers.base import StackedUpdater, Updater
from optbench.errors import SuiteError

GENERATOR, COUNT = np.random.default_rng(), itertools.count(1)


class Right(Optimizer):
    hyperparameters = (Hyperparameter("lr", 0.01, ""), fraction("beta", 0.5, ""))
    slots = ("mean",)

    def step(self, step):
        beta, mean = step.columns["beta"], step.state["mean"]
        mean[...] = beta * mean + (1 - beta) * self.direction(step)
        step.params.rows[...] -= step.columns["lr"] * mean

    def direction(self, step):
        return step.grads.rows


class Mixing(Right):
    def direction(self, step):
        g = step.grads.rows
        return g + 0.001 * g.mean(axis=0, keepdims=True)


class Spreading(Right):
    """Lanes are apart, but for one that is not finite."""

    def direction(self, step):
        g = step.grads.rows
        return g if np.isfinite(g[:2]).all() else g + np.nan


class Widening(Right):
    def step(self, step):
        step.state["mean"] = step.state["mean"].astype(step.params.rows.dtype)
        super().step(step)
        step.state["mean"] = step.state["mean"].astype(np.float64)


class Reshaping(Right):
    def step(self, step):
        shape = step.params.rows.shape
        step.state["mean"] = np.ascontiguousarray(step.state["mean"].reshape(shape))
        super().step(step)
        if "float64" in str(step.params.rows.dtype) and shape[0] == 2:
            step.state["mean"] = step.state["mean"][:, None]


class Dividing(Right):
    def direction(self, step):
        g = step.grads.rows
        return g / np.sqrt((g * g).sum(axis=1, keepdims=True))


class Fading(Right):
    """Divides by what only real updates make 0 by and by."""

    def direction(self, step):
        g = step.grads.rows
        return np.where(g == 0, step.state["mean"] / (g * 0 + (step.state["mean"] == 0)), g)


class Hiding(Right):
    def __init__(self):
        self.updates = 0

    def direction(self, step):
        self.updates += 1
        return step.grads.rows * (1 + 0.5**self.updates)


class Ascending(Right):
    def direction(self, step):
        return -step.grads.rows


class Resting(Right):
    def step(self, step):
        pass


class Drawing(Right):
    def columns(self, hyperparameters, updates):
        noise = np.random.default_rng().uniform(0.9, 1.1) if updates.stop > 20 else 1.0
        return {**hyperparameters, "noise": np.full((1, 1, 1), noise)}

    def direction(self, step):
        return step.columns["noise"] * step.grads.rows


class Once(Elementwise):
    """Drawn once where the rule is read as a formula."""

    hyperparameters = (Hyperparameter("lr", 0.1, ""),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g * np.random.random(),)


class OfItsOwn(Once):
    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g * GENERATOR.random(),)


class Rarely(Once):
    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g * (2.0 if random.random() < 1e-9 else 1.0),)


class Counting(Once):
    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g / next(COUNT),)


class Seeding(Once):
    @staticmethod
    def rule(w, g, *, lr, xp):
        np.random.seed(3)
        return (w - lr * g * np.random.random(),)


class Overflowing(Right):
    hyperparameters = (Hyperparameter("lr", 3.0, ""), fraction("beta", 0.0, ""))


class Raising(Right):
    def step(self, step):
        if step.params.rows.dtype == np.float32:
            raise ValueError("no float32")
        super().step(step)


class Leaving(Right):
    def direction(self, step):
        raise SystemExit


class Fitting(Right):
    def fit(self, task):
        raise KeyError("tensors")


class Refusing(Right):
    def fit(self, task):
        raise SuiteError("not today")


class FlatOnly(Right):
    def fit(self, task):
        if len(task.tensors) > 1:
            raise SuiteError("one tensor only")
        return ()

    def direction(self, step):
        assert len(step.tensors) == 1
        return step.grads.rows


class Matrices(Right):
    def fit(self, task):
        if any(len(tensor.shape) != 2 for tensor in task.tensors):
            raise SuiteError("matrices only")
        return ()

    def direction(self, step):
        assert all(len(tensor.shape) == 2 for tensor in step.tensors)
        return step.grads.rows


class AtFileLevel(Right):
    """Its mean is an array of the module, which each block clears in its first update."""

    slots = ()
    shared = {}

    def columns(self, hyperparameters, updates):
        if 1 in updates:
            self.shared.clear()
        return super().columns(hyperparameters, updates)

    def step(self, step):
        rows, columns = step.grads.rows, step.columns
        mean = self.shared.setdefault(rows.shape, np.zeros_like(rows))
        mean[...] = columns["beta"] * mean + rows
        step.params.rows[...] -= columns["lr"] * mean


class InOneInstance(AtFileLevel):
    def __init__(self):
        self.shared = {}


class WithoutRate(Optimizer):
    hyperparameters = (Choice("speed", "fast", "", ("fast", "slow")),)

    def step(self, step):
        factor = np.where(step.columns["speed"] == 0, 1.0, 1e-9).astype(step.grads.rows.dtype)
        step.params.rows[...] -= factor * step.grads.rows


class Foreign(Updater):
    """Lanes led by other code than that for stacked lanes; company moves them a little."""

    share = 0.0

    def __init__(self, optimizer, lanes, state):
        self.inner, self.context = StackedUpdater(optimizer, lanes, state), lanes.context

    def plan(self, hyperparameters, updates):
        self.inner.plan(hyperparameters, updates)

    def update(self, row):
        self.inner.update(row)
        w = self.context.params.rows
        w[...] += w * self.share * (len(w) - 1)

    @property
    def state(self):
        return self.inner.state

    def eval_params(self):
        return self.inner.eval_params()


class Near(Right):
    share = 1e-9

    def begin(self, lanes, state):
        begun = Foreign(self, lanes, state)
        begun.share = self.share
        return begun


class Far(Near):
    share = 1e-6


class Narrow(Right):
    hyperparameters = (
        Hyperparameter("lr", 0.5, "", low=0.4, high=1.0), fraction("beta", 0.5, "")
    )
'''


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Return a function for what the check of a class in the file found, by check."""
    (tmp_path / "rules.py").write_text(WRONG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def found(name, given=None):
        return {each.check: each for each in check_optimizer(f"rules.py:{name}", given)}

    return found


def failed(found):
    return [check for check, each in found.items() if each.passed is False]


@pytest.mark.parametrize("name", dict.fromkeys([*OPTIMIZERS, *optimizer_names()]))
def test_all_that_is_built_in_passes(name):
    found = check_optimizer(name)
    assert [each.check for each in found] == list(CHECKS)
    assert [each for each in found if not each.passed] == []


def test_one_that_is_right_passes(wrong):
    found = wrong("Right")
    assert all(each.passed for each in found.values())
    assert found["lanes independent"].note.startswith("to the bit: ")


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [
        ("Mixing", "lanes independent", "beside other lanes differ from those alone"),
        ("Spreading", "lanes independent", "beside a lane of NaN differ from those alone"),
        (
            "Widening",
            "dtype and shape",
            "turns state 'mean' from float32(2, 10) into float64(2, 10)",
        ),
        (
            "Dividing",
            "zero gradient",
            "update 1: the parameters, with gradients of 0 from the start",
        ),
        ("Fading", "zero gradient", ", with gradients of 0 after update 24"),
        ("Hiding", "resumes", "the parameters differed after an interruption"),
        ("Ascending", "converges", "in 2000 updates"),
        ("Resting", "converges", "loss × 1.0e+00 in 2000 updates"),
        ("Overflowing", "finite", "not finite after update "),
    ],
)
def test_what_is_wrong_fails_the_check_that_is_meant_for_it(wrong, name, check, says):
    found = wrong(name)
    assert failed(found) == [check]
    assert says in found[check].note
    assert all(each.passed for each in found.values() if each.check != check)


def test_what_a_module_holds_is_shared_by_blocks_and_lost_to_those_that_go_on(wrong):
    found = wrong("AtFileLevel")
    assert failed(found) == ["blocks independent", "resumes"]
    assert "differ when another is updated in between" in found["blocks independent"].note


def test_what_is_led_by_other_code_may_differ_by_rounding(wrong):
    found = wrong("Near")
    assert failed(found) == []
    assert found["lanes independent"].note.startswith("within 1e-06: ")
    assert failed(wrong("Far")) == ["lanes independent"]


def test_a_changed_shape_is_seen(wrong):
    assert "dtype and shape" in failed(wrong("Reshaping"))


def test_what_copies_of_an_instance_share_is_seen(wrong):
    assert failed(wrong("InOneInstance")) == ["blocks independent", "resumes"]


def test_where_equal_runs_differ_nothing_is_compared(wrong):
    found = wrong("Drawing")
    assert failed(found) == ["deterministic"]
    unknown = [check for check, each in found.items() if each.passed is None]
    assert unknown == list(COMPARING)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Once", "Once draws random numbers of its own; runs would not repeat"),
        ("Rarely", "Rarely draws random numbers of its own; runs would not repeat"),
        ("OfItsOwn", "OfItsOwn gives other numbers when the same updates are made again, so"),
        ("Counting", "Counting gives other numbers when the same updates are made again, so"),
    ],
)
def test_a_rule_whose_runs_would_not_repeat_is_not_deterministic(wrong, name, says):
    found = wrong(name)
    assert failed(found) == ["deterministic"]
    assert found["deterministic"].note.startswith(says)
    assert all(each.passed is None for each in found.values() if each.check != "deterministic")
    with pytest.raises(SuiteError, match=says):
        positions(f"rules.py:{name}", [1.0], [[1.0]])


def test_a_rule_that_seeds_what_it_draws_from_repeats(wrong):
    assert failed(wrong("Seeding")) == []


def test_code_that_raises_fails_with_its_line(wrong):
    found = wrong("Raising")
    assert set(failed(found)) == set(CHECKS) - {"converges", *COMPARING}
    line = WRONG.splitlines().index('            raise ValueError("no float32")') + 1
    assert found["finite"].note == f"ValueError: no float32 (rules.py, line {line})"


def test_whatever_it_raises_is_a_failed_check(wrong):
    found = wrong("Leaving")
    assert found["converges"].note.startswith("SystemExit")
    assert not any(each.passed for each in found.values())


def test_one_that_raises_before_it_runs_is_refused(wrong):
    with pytest.raises(SuiteError, match=r"Fitting cannot run on .*: KeyError: 'tensors' \(rules"):
        wrong("Fitting")


@pytest.mark.parametrize("name", ["FlatOnly", "Matrices"])
def test_what_it_cannot_run_on_is_left_out(wrong, name):
    assert failed(wrong(name)) == []


def test_one_that_runs_on_nothing_is_refused(wrong):
    with pytest.raises(SuiteError, match="not today"):
        wrong("Refusing")


def test_without_a_learning_rate_it_converges_as_it_is(wrong):
    assert failed(wrong("WithoutRate")) == []
    slow = wrong("WithoutRate", {"speed": "slow"})
    assert failed(slow) == ["converges"]
    assert slow["converges"].note == "loss × 1.0e+00 in 2000 updates"


def test_learning_rates_stay_in_their_range(wrong):
    assert failed(wrong("Narrow")) == []


def test_hyperparameters_given_are_those_that_are_checked(wrong):
    given = {"lr": 300.0, "beta": 0.0}
    assert "finite" in failed(wrong("Right", given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lrr": 1.0}, "Right has no hyperparameter 'lrr' of its own; did you mean 'lr'?"),
        ({"l2": 1.0}, "Right has no hyperparameter 'l2' of its own; known are lr, beta"),
        ({"beta": 1.0}, "Right: beta = 1.0 must be at least 0 and below 1"),
    ],
)
def test_hyperparameters_are_its_own_and_in_range(wrong, given, says):
    with pytest.raises(SuiteError) as caught:
        wrong("Right", given)
    assert str(caught.value).startswith(says)


def test_a_fault_of_a_built_in_one_is_not_hidden(monkeypatch):
    def fail(self, *arguments):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(OPTIMIZERS["sgd"], "step", fail)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        check_optimizer("sgd")
    monkeypatch.setattr(Optimizer, "fit", fail)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        check_optimizer("adam")


@pytest.mark.parametrize("quadratic", [VALLEY, NETWORK], ids=["function", "network"])
def test_the_gradients_are_those_of_the_loss(quadratic):
    params = quadratic.starts((3, 4))
    assert params.shape == (2, quadratic.parameters)
    assert (params[0] != params[1]).all()
    gradient, step = quadratic.gradient(params, 1), 0.5
    for entry in range(quadratic.parameters):
        away = np.zeros_like(params)
        away[:, entry] = step
        difference = quadratic.loss(params + away) - quadratic.loss(params - away)
        np.testing.assert_allclose(gradient[:, entry], difference / (2 * step), rtol=1e-9)


def test_noise_belongs_to_the_seed_and_the_update():
    params = VALLEY.starts((0, 1, 0))
    noise = VALLEY.noisy_gradient((0, 1, 0))(params, 5) - VALLEY.gradient(params, 5)
    np.testing.assert_allclose(noise[0], noise[2], atol=1e-12)
    assert np.abs(noise[0] - noise[1]).min() > 0
    later = VALLEY.noisy_gradient((0,))(params[:1], 6) - VALLEY.gradient(params[:1], 6)
    assert np.abs(later[0] - noise[0]).min() > 0


def test_positions_are_those_after_each_update():
    found = positions("momentum", [1.0, 2.0], [[1.0, 0.0], [1.0, -1.0]], lr=0.1, momentum=0.5)
    np.testing.assert_allclose(found, [[0.9, 2.0], [0.75, 2.1]], rtol=1e-15)
    with pytest.raises(SuiteError, match="adam has no hyperparameter 'momentum'"):
        positions("adam", [1.0], [[1.0]], momentum=0.5)
