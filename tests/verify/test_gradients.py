"""Gradients beside differences: what is right passes, what is wrong does not."""

import sys

import numpy as np
import pytest

from optbench.arrays import Buffer, Tensor
from optbench.errors import DataError, SuiteError
from optbench.problems.base import Losses, Problem
from optbench.problems.registry import PROBLEMS
from optbench.verify import gradients
from optbench.verify.gradients import ENTRIES, TOLERANCE, check_gradient, problems_to_check


class Chain(Problem):
    """f = mean over the batch of cosh(w·x) − b³ + rectifier, with a gradient that can be spoilt."""

    name, summary, kind = "chain", "for tests", "function"
    default_iterations, options, record = 1, (), "before"
    minibatch = True
    tensors = (Tensor("w", (20, 3)), Tensor("b", (4,)), Tensor("c"))
    buffers = (Buffer("seen", (2,), 1.0),)

    def __init__(self, spoil=None, start=0.3, second=0.0):
        super().__init__({"dtype": "float64"})
        self.spoil, self.at, self.second = spoil or (lambda grads: None), start, second
        self.lanes, self.steps = [], []

    def definition(self):
        return {}

    def start(self, seed):
        values = np.random.default_rng(seed).normal(size=65)
        values[64] = self.at
        return values

    def data(self):
        return {"x": np.linspace(-0.5, 0.5, 5 * 60).reshape(5, 60)}

    def draws(self, seed, block):
        return {"rows": np.random.default_rng(seed).integers(5, size=(256, 4))}

    def batch(self, data, draws, *, work):
        work.begin("batch")
        rows = work.gather(data["x"], draws["rows"].reshape(-1))
        return {"x": rows.reshape(*draws["rows"].shape, 60)}

    def _value(self, params, batch):
        w = params.views["w"].reshape(-1, 1, 60)
        inner = (w * batch["x"]).sum(-1)
        total = np.cosh(inner).mean(-1) - (params.views["b"] ** 3).sum(-1)
        return total + np.maximum(params.views["c"], 0.0), inner

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        assert (buffers["seen"] == 1.0).all()
        buffers["seen"][...] = 0.0
        total, inner = self._value(params, batch)
        dw = (np.sinh(inner)[..., None] * batch["x"]).mean(1)
        grads.views["w"][...] = dw.reshape(-1, 20, 3)
        grads.views["b"][...] = -3.0 * params.views["b"] ** 2
        grads.views["c"][...] = params.views["c"] > 0
        self.spoil(grads)
        return Losses(total + self.second)

    def loss(self, params, batch, *, buffers, work):
        assert buffers["seen"].shape == (params.rows.shape[0], 2)
        self.lanes.append(params.rows.shape[0])
        return Losses(self._value(params, batch)[0])


@pytest.fixture
def at_the_start(monkeypatch):
    """Let the check look at the start itself."""
    monkeypatch.setattr(gradients, "AWAY", 0.0)


def tensor(check, name):
    (found,) = [each for each in check.tensors if each.tensor == name]
    return found


def test_a_right_gradient_passes_with_all_the_entries_that_were_asked_for():
    check = check_gradient(Chain(), "mine")
    assert (check.title, check.loss_error, check.passed) == ("mine", 0.0, True)
    assert [(each.tensor, each.size, each.entries) for each in check.tensors] == [
        ("w", 60, ENTRIES),
        ("b", 4, 4),
        ("c", 1, 1),
    ]
    for each in check.tensors:
        assert each.redrawn == 0
        assert each.error < 1e-8
        assert each.analytic == pytest.approx(each.numeric, rel=1e-6)
        assert len(each.worst) == {"w": 2, "b": 1, "c": 0}[each.tensor]


@pytest.mark.parametrize("factor", [1.0 + 5e-6, 1.0 - 5e-6, -1.0, 0.0, 2.0])
def test_a_factor_in_one_tensor_is_found_there_and_nowhere_else(factor):
    def spoil(grads):
        grads.views["w"][...] *= factor

    check = check_gradient(Chain(spoil), "mine")
    assert [each.passed for each in check.tensors] == [False, True, True]
    w = tensor(check, "w")
    assert w.error == pytest.approx(abs(factor - 1.0) / max(abs(factor), 1.0), rel=0.01)


def test_the_worst_entry_is_named():
    def spoil(grads):
        grads.views["b"][:, 2] += 0.5

    b = tensor(check_gradient(Chain(spoil), "mine"), "b")
    assert b.worst == (2,)
    assert b.analytic - b.numeric == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_infinitely_wrong(value):
    def spoil(grads):
        grads.views["b"][:, 1] = value

    check = check_gradient(Chain(spoil), "mine")
    assert [each.error == np.inf for each in check.tensors] == [False, True, False]


def test_an_entry_that_is_never_written_is_found():
    class Forgets(Chain):
        def loss_and_grad(self, params, grads, batch, *, buffers, work):
            spare = type(grads)(grads.rows.copy(), dict(grads.views))
            spare.views["c"] = np.zeros(1)
            return super().loss_and_grad(params, spare, batch, buffers=buffers, work=work)

    assert tensor(check_gradient(Forgets(), "mine"), "c").error == np.inf


@pytest.mark.usefixtures("at_the_start")
@pytest.mark.parametrize("start", [0.0, 1e-9, -1e-7])
def test_a_kink_is_not_compared_and_that_is_no_pass(start):
    c = tensor(check_gradient(Chain(start=start), "mine"), "c")
    assert (c.entries, c.redrawn, c.passed) == (0, 1, False)


@pytest.mark.usefixtures("at_the_start")
@pytest.mark.parametrize("start", [1e-2, -1e-3, 5e-4])
def test_beside_a_kink_the_step_becomes_small_enough(start):
    c = tensor(check_gradient(Chain(start=start), "mine"), "c")
    assert (c.entries, c.redrawn, c.passed) == (1, 0, True)
    assert c.analytic == float(start > 0)


def test_the_point_lies_beside_the_start_so_that_whole_tensors_are_at_no_kink():
    c = tensor(check_gradient(Chain(start=0.0), "mine"), "c")
    assert (c.entries, c.redrawn, c.passed) == (1, 0, True)


class Faint(Chain):
    """A loss of 1 − tiny, whose rounding hides small derivatives; those of b beside a large one."""

    def _value(self, params, batch):
        w, b = params.views["w"].sum((1, 2)), params.views["b"]
        return 1.0 + 1e-4 * w + 1e-13 * b.sum(-1), None

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = 0.0
        grads.views["w"][...] = 1e-4
        grads.views["b"][...] = 1e-13
        return Losses(self._value(params, batch)[0])


def test_what_rounding_hides_is_not_taken_for_a_derivative(monkeypatch):
    monkeypatch.setattr(gradients, "FLOOR", 1e-12)
    check = check_gradient(Faint(), "mine")
    assert tensor(check, "w").passed
    b = tensor(check, "b")
    assert (b.entries, b.redrawn, b.passed) == (0, 4, False)


class Folded(Chain):
    """f = Σ |w|, whose first weights lie at the kink."""

    kinks = 30

    def start(self, seed):
        values = super().start(seed)
        values[: self.kinks] = 0.0
        return values

    def _value(self, params, batch):
        return np.abs(params.views["w"]).sum((1, 2)), None

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = 0.0
        grads.views["w"][...] = np.sign(params.views["w"])
        return Losses(self._value(params, batch)[0])


@pytest.mark.usefixtures("at_the_start")
def test_entries_at_kinks_are_drawn_anew_and_counted():
    w = tensor(check_gradient(Folded(), "mine"), "w")
    assert w.passed
    assert w.entries == 30  # those away from kinks; there are no more
    assert w.redrawn == 30


def test_a_tensor_that_changes_nothing_passes():
    assert tensor(check_gradient(Folded(), "mine"), "b").error == 0.0


def test_two_losses_that_differ_are_no_pass():
    check = check_gradient(Chain(second=0.01), "mine")
    assert not check.passed
    assert all(each.passed for each in check.tensors)
    assert check.loss_error > TOLERANCE
    assert check_gradient(Chain(second=np.nan), "mine").loss_error == np.inf


def test_few_lanes_give_what_many_give(monkeypatch):
    many = check_gradient(Chain(), "mine")
    monkeypatch.setattr(gradients, "WORK_VALUES", 200)
    problem = Chain()
    assert check_gradient(problem, "mine") == many
    assert set(problem.lanes) == {3}


def test_a_seed_chooses_start_batch_and_entries():
    one, again, other = (check_gradient(Chain(), "mine", seed) for seed in (0, 0, 1))
    assert one == again
    assert tensor(one, "w").analytic != tensor(other, "w").analytic
    assert other.passed


@pytest.mark.parametrize("name", PROBLEMS)
def test_built_in_problems_pass(name):
    ((title, problem),) = problems_to_check(name)
    assert (title, problem.dtype) == (name, "float64")
    check = check_gradient(problem, title)
    assert check.passed
    assert [each.tensor for each in check.tensors] == [each.name for each in problem.tensors]
    # Pooling and rectifiers of mnist-cnn put kinks beside biases that every pixel shares.
    assert all(3 * each.entries >= 2 * min(ENTRIES, each.size) for each in check.tensors)


def test_a_network_is_checked_on_few_embedded_examples_without_log_eps():
    ((_, network),) = problems_to_check("mnist-mlp")
    assert network.settings["batch_size"] == 4
    assert network.settings["data"] == "mnist-5k"
    assert network.settings["log_eps"] == 0.0


def test_the_gradient_that_leaves_log_eps_out_would_not_pass():
    """The tolerance tells 1e-7 in the reported loss."""
    ((_, network),) = problems_to_check("mnist-mlp")
    spoilt = type(network)({**network.settings, "log_eps": 1e-4})
    assert not check_gradient(spoilt, "mnist-mlp").passed


def test_a_file_means_all_its_problems(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'batch_size = 2\ndata = "auto"\n[[problem]]\nname = "mnist-mlp"\nlabel = "net"\n'
        '[[problem]]\nname = "anisotropic"\n[[problem]]\nname = "mnist-mlp"\n'
        "grid.batch_size = [3, 300]\n"
    )
    found = problems_to_check(str(path))
    swept = ["mnist-mlp (batch_size=3)", "mnist-mlp (batch_size=300)"]
    assert [title for title, _ in found] == ["net", "anisotropic", *swept]
    assert [each.settings.get("batch_size") for _, each in found] == [2, None, 3, 4]
    data = [each.settings.get("data") for _, each in found]
    assert data == ["mnist-5k", None, "mnist-5k", "mnist-5k"]


def test_images_of_another_shape_stay_those_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    path = tmp_path / "mine.toml"
    path.write_text('[[problem]]\nname = "network"\ndata = "digits"\n')
    with pytest.raises(DataError, match="digits comes with scikit-learn"):
        problems_to_check(str(path))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("anisotropc", "unknown problem 'anisotropc'; did you mean 'anisotropic'?"),
        ("gone.toml", "suite file 'gone.toml' cannot be found"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(source, says):
    with pytest.raises(SuiteError) as caught:
        problems_to_check(source)
    assert says in str(caught.value)


def test_options_that_a_problem_has_not_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[[problem]]\nname = "anisotropic"\nbatch_size = 8\n')
    with pytest.raises(SuiteError, match="anisotropic has no option 'batch_size'"):
        problems_to_check(str(path))
