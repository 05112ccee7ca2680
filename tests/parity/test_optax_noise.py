"""Noise of an optax transformation's own: each lane's is that of its seed."""

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.errors import SuiteError
from optbench.optimizers.base import Task
from optbench.optimizers.optax.noise import noise_of
from optbench.optimizers.registry import get_optimizer
from tests.forget import forget  # noqa: F401
from tests.optimizers.driver import Driver
from tests.small import SmallNetwork, anisotropic, blocks_of, problem, run_suite, suite

pytest.importorskip("optax")

from tests.parity.optax_hand import (
    BOUNDS,
    PARAMETERS,
    TENSORS,
    difference,
    gradients,
    noisy_sgd,
    start,
    theirs,
)

pytestmark = pytest.mark.usefixtures("forget")


def test_the_noise_of_a_lane_is_that_of_its_seed():
    given = gradients(lanes=3)
    lanes = Driver(
        *("optax:noisy_sgd", [{"lr": 0.1}, {"lr": 0.1}, {"lr": 0.01}], start()),
        tensors=TENSORS,
        seeds=[3, 4, 3],
    )
    path = lanes.path(given)
    for lane, (seed, lr) in enumerate([(3, 0.1), (4, 0.1), (3, 0.01)]):
        expected = theirs(noisy_sgd, {"lr": lr, "seed": seed}, given[:, lane])
        assert difference(path[:, lane], expected) < BOUNDS["float64"]
    assert not np.allclose(path[0, 0] - start(), path[0, 1] - start())


def test_the_noise_of_a_seed_is_the_same_for_ever():
    assert [noise_of(seed) for seed in (0, 1, 7)] == [1820987411, 1938333572, 1508298506]


def test_no_suite_gives_what_the_noise_comes_from():
    noisy = get_optimizer("optax:noisy_sgd")
    assert (noisy.random, get_optimizer("optax:adam").random) == (True, False)
    assert [each.name for each in noisy.hyperparameters] == ["lr", "eta", "gamma"]
    assert noisy.identity()["noise"] == "optimizer"
    assert "noise" not in get_optimizer("optax:adam").identity()


def test_on_a_network_each_seed_has_noise_of_its_own():
    """The start and the batches are taken from one seed, so that only noise is left to differ."""

    class OneSeed(SmallNetwork):
        def start(self, seed):
            return super().start(0)

        def draws(self, seed, block):
            return super().draws(0, block)

    configured = suite(
        problem(OneSeed), optimizers=[("optax:noisy_sgd", [{"lr": 0.1}])], seeds=range(3)
    )
    losses = [tuple(lane.loss) for lane in run_suite(configured).values()]
    assert len(set(losses)) == len(losses) == 3


def test_keys_of_random_numbers_go_on_as_well():
    entry = ("optax:noisy_sgd", [{"lr": 0.1}, {"lr": 0.2}])
    (block,) = blocks_of(suite(anisotropic(), optimizers=[entry], iterations=20))
    whole, parted = (Stepper(block, NumpyDevice()) for _ in range(2))
    whole.advance(0, 5)
    parted.advance(0, 5)
    expected = whole.advance(5, 5).position
    assert (
        parted.subset(np.array([1])).advance(5, 5).position.tobytes() == expected[:, 1:].tobytes()
    )


NOISY = '''
import itertools
import random
import jax
import jax.numpy as jnp
import numpy as np
import optax

COUNT = itertools.count(1)

def drawing(key, of_state):
    """SGD with normal noise of a key that its state holds."""
    def init(params):
        return of_state(key)
    def update(updates, state, params=None):
        key, new = jax.random.split(jax.tree.leaves(state)[0])
        draw = lambda g: jax.random.normal(key, g.shape, g.dtype)
        return jax.tree.map(lambda g: -0.1 * (g + draw(g)), updates), of_state(new)
    return optax.GradientTransformation(init, update)

def raw():
    return drawing(jax.random.PRNGKey(7), lambda key: {"k": key})

def typed():
    return drawing(jax.random.key(7), lambda key: (key,))

def with_key(key):
    return drawing(key, lambda key: key)

def with_default(rng=jax.random.PRNGKey(2)):
    return drawing(rng, lambda key: key)

def with_seed(lr=0.1, seed=3):
    return drawing(jax.random.PRNGKey(seed), lambda key: key)

def projecting(lr, seed):
    """Steps along one fixed random line, drawn by NumPy."""
    direction = float(np.random.default_rng(seed).normal())
    return optax.scale(-lr * direction)

def still(lr=0.1, key="w"):
    return optax.sgd(lr)

def impure(lr=0.1):
    return optax.stateless(lambda g, p: jax.tree.map(lambda x: -lr * random.random() * x, g))

def fresh(lr=0.1):
    draw = np.random.default_rng().random
    return optax.stateless(lambda g, p: jax.tree.map(lambda x: -lr * draw() * x, g))

def counting(lr=0.1):
    return optax.stateless(lambda g, p: jax.tree.map(lambda x: -lr / next(COUNT) * x, g))
'''


@pytest.fixture
def noisy(tmp_path):
    """Return a function for the full name of an optimizer in a file."""
    path = tmp_path / "noisy.py"
    path.write_text(NOISY, encoding="utf-8")
    return lambda name: f"optax:{path}:{name}"


@pytest.mark.parametrize(
    "name", ["raw", "typed", "with_key", "with_default", "with_seed", "projecting"]
)
def test_whatever_noise_comes_from_it_is_that_of_the_seed(noisy, name):
    optimizer = get_optimizer(noisy(name))
    assert optimizer.random
    given = {each.name: 0.1 for each in optimizer.hyperparameters}
    assert given in ({}, {"lr": 0.1})

    def path(seeds):
        lanes = Driver(noisy(name), [given] * len(seeds), start(), tensors=TENSORS, seeds=seeds)
        return lanes.path(np.ones((3, 1, PARAMETERS)))

    together, alone = path([5, 6, 5]), path([6])
    assert difference(together[:, 1], alone[:, 0]) < 1e-12
    assert difference(together[:, 0], together[:, 2]) < 1e-12
    assert not np.allclose(together[:, 0], together[:, 1])


def test_another_argument_called_key_is_left_to_the_suite(noisy):
    still = get_optimizer(noisy("still"))
    assert not still.random
    assert [each.name for each in still.hyperparameters] == ["lr", "key"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("impure", "impure draws random numbers of its own; runs would not repeat"),
        ("fresh", "fresh gives other numbers when the same updates are made again, so runs would"),
        ("counting", "counting gives other numbers when the same updates are made again, so runs"),
    ],
)
def test_noise_that_would_be_compiled_in_is_refused(noisy, name, says):
    optimizer = get_optimizer(noisy(name))
    task = Task(name, "made-up", TENSORS, "float32", False, [{"lr": 0.1}])
    with pytest.raises(SuiteError, match=says):
        optimizer.fit(task)
