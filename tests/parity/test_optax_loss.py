"""Transformations of optax that look at the loss, against plain loops over optax."""

from functools import partial
from itertools import count, product

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.errors import SuiteError
from optbench.optimizers.base import Task
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.verify.optimizers import check_optimizer, positions
from tests.forget import forget  # noqa: F401
from tests.small import anisotropic, blocks_of, run_suite, small_network, suite

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
contrib = pytest.importorskip("optax.contrib")

from tests.parity.optax_hand import TENSORS, difference

pytestmark = pytest.mark.usefixtures("forget")


def on_anisotropic(w):
    return w[0] ** 2 / 20 + w[1] ** 2


def plain_path(transformation, updates=10, start=(-7.0, 2.0)):
    """Return where a plain loop over optax goes on x²/20 + y²."""
    with jax.enable_x64(True):
        w = jax.numpy.array(start)
        state = transformation.init(w)

        @jax.jit
        def update(w, state):
            value, grad = jax.value_and_grad(on_anisotropic)(w)
            updates, state = transformation.update(
                grad, state, w, value=value, grad=grad, value_fn=on_anisotropic
            )
            return optax.apply_updates(w, updates), state

        path = [np.array(start)]
        for _ in range(updates):
            w, state = update(w, state)
            path.append(np.asarray(w))
    return np.array(path)


CASES = [
    ("polyak_sgd", optax.polyak_sgd, [{}, {"max_learning_rate": 0.1}]),
    ("momo", contrib.momo, [{}, {"lr": 0.1, "beta": 0.5}]),
    ("momo_adam", contrib.momo_adam, [{}, {"lr": 0.5, "b1": 0.5}]),
    ("lbfgs", optax.lbfgs, [{}, {"memory_size": 2}, {"lr": 0.5}]),
]


@pytest.mark.parametrize(("name", "make", "lanes"), CASES, ids=[case[0] for case in CASES])
def test_lanes_are_plain_loops_over_optax_that_know_the_loss(name, make, lanes):
    found = run_suite(suite(anisotropic(), optimizers=[(f"optax:{name}", lanes)], iterations=10))
    for lane, given in enumerate(lanes):
        known = dict(given)
        if "lr" in known:
            known["learning_rate"] = known.pop("lr")
        expected = plain_path(make(**known))
        assert difference(found[lane].position, expected) < 1e-9
        assert on_anisotropic(expected[-1]) < on_anisotropic(expected[0])


MINE = """
import optax
from optax import contrib

def plateau(learning_rate, factor=0.5, patience=1):
    return optax.chain(
        optax.sgd(learning_rate), contrib.reduce_on_plateau(factor, patience, rtol=0.5)
    )

def sam(learning_rate, rho=0.1):
    return contrib.sam(
        optax.sgd(learning_rate),
        optax.chain(contrib.normalize(), optax.sgd(rho)),
        sync_period=2,
        opaque_mode=True,
    )

def polls(learning_rate, looks=3):
    def update(updates, state, params, *, value_fn):
        seen = 0
        for each in range(looks):
            seen += value_fn({name: w + each for name, w in params.items()})
        return {name: -learning_rate * g + 0 * seen for name, g in updates.items()}, state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)

def backtracking(learning_rate):
    return optax.chain(
        optax.sgd(learning_rate), optax.scale_by_backtracking_linesearch(max_backtracking_steps=9)
    )

def asks(learning_rate):
    def update(updates, state, params, *, temperature):
        return updates, state
    return optax.GradientTransformationExtraArgs(lambda params: (), update)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return tmp_path


def position_of(name, given, updates=10):
    entry = (f"optax:mine.py:{name}", [given])
    return run_suite(suite(anisotropic(), optimizers=[entry], iterations=updates))[0].position


def test_a_rate_falls_where_the_loss_falls_too_slowly(mine):
    made = optax.chain(optax.sgd(0.5), contrib.reduce_on_plateau(0.5, 1, rtol=0.5))
    found = position_of("plateau", {"lr": 0.5})
    assert difference(found, plain_path(made)) < 1e-12
    assert difference(found, plain_path(optax.sgd(0.5))) > 0.01


def test_a_line_search_tries_losses_on_the_batch(mine):
    made = optax.chain(
        optax.sgd(8.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=9)
    )
    assert difference(position_of("backtracking", {"lr": 8.0}), plain_path(made)) < 1e-9


def test_sam_takes_gradients_elsewhere(mine):
    found, w = position_of("sam", {"lr": 0.5}), np.array([-7.0, 2.0])
    for row in range(11):
        assert difference(found[row], w) < 1e-12
        grad = w * [0.1, 2.0]
        ahead = w + 0.1 * grad / np.linalg.norm(grad)
        w = w - 0.5 * ahead * [0.1, 2.0]


LOOKING = ["polyak_sgd", "momo", "momo_adam", "lbfgs"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LOOKING)
def test_lanes_that_look_at_losses_go_the_same_way_alone_to_the_bit(name, dtype):
    rate = "max_learning_rate" if name == "polyak_sgd" else "lr"
    lanes = [{rate: 0.5}, {}, {rate: 0.1}]
    network = small_network(dtype=dtype)
    entry = (f"optax:{name}", lanes)
    settled = suite(network, optimizers=[entry, ("sgd", [{}])], iterations=30, seeds=[0, 1])
    together = run_suite(settled)
    assert {outcome.result.status for outcome in together.values()} == {"done"}
    assert len({outcome.loss.tobytes() for outcome in together.values()}) == 8
    for place, (given, seed) in enumerate(product(lanes, [0, 1])):
        alone = suite(network, optimizers=[(entry[0], [given])], iterations=30, seeds=[seed])
        assert run_suite(alone)[0].bits == together[place].bits


def test_evaluations_count_as_gradients():
    def seconds(name):
        (block,) = blocks_of(suite(anisotropic(), optimizers=[(name, [{"lr": 0.1}])]))
        stepper = Stepper(block, NumpyDevice(partial(next, count())))
        stepper.advance(0, 5)
        return stepper.take_seconds()

    gradient, update = seconds("optax:sgd")
    with_search, other = seconds("optax:lbfgs")
    assert with_search[0] > gradient[0]
    assert other[0] > update[0]


def test_each_evaluation_is_counted_as_a_gradient(mine):
    entries = [
        ("optax:sgd", [{"lr": 0.01}]),
        ("optax:polyak_sgd", [{}]),
        ("optax:mine.py:sam", [{"lr": 0.01}]),
        ("optax:mine.py:polls", [{"lr": 0.01, "looks": looks} for looks in (1, 4)]),
    ]
    for problem in (anisotropic(), small_network()):
        lanes = run_suite(suite(problem, optimizers=entries, iterations=20)).values()
        assert [lane.result.gradients for lane in lanes] == [20, 20, 40, 40, 100]


def test_they_keep_what_every_optimizer_promises():
    assert [each for each in check_optimizer("optax:polyak_sgd") if not each.passed] == []


def refused(name, **given):
    optimizer = get_optimizer(f"optax:{name}")
    complete = complete_hyperparameters(optimizer, given)
    with pytest.raises(SuiteError) as caught:
        optimizer.fit(Task("mine", "made-up", TENSORS, "float64", False, [complete]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings('ignore:"seed" is deprecated')  # dpsgd's own
def test_what_lanes_cannot_give_is_refused_with_a_remedy(mine):
    assert "needs temperature in every update" in refused("mine.py:asks", lr=0.1)
    assert "optax:noisy_sgd adds noise" in refused("contrib.dpsgd", **DPSGD)
    assert "choose one that takes gradients and losses" in refused("sophia", lr=0.1)
    assert "tensors of the shapes w (3, 4), b (4,), s ()" in refused("sm3", lr=0.1)
    said = refused("lbfgs", clip_norm=1.0)
    assert said.endswith(
        "evaluates the loss itself, which clip_norm does not change; leave clip_norm out"
    )


DPSGD = {"lr": 0.1, "l2_norm_clip": 1.0, "noise_multiplier": 1.0}


def test_gradients_that_are_given_have_no_loss():
    with pytest.raises(SuiteError, match="run the optimizer on a problem"):
        positions("optax:polyak_sgd", [1.0], [[2.0]])


@pytest.mark.parametrize("name", ["momo", "lbfgs"])
def test_what_magnifies_rounding_keeps_lanes_independent(name):
    found = {each.check: each for each in check_optimizer(f"optax:{name}")}
    for check in ("deterministic", "lanes independent", "blocks independent", "resumes"):
        assert found[check].passed, found[check]
