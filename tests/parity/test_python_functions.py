"""Functions of JAX and PyTorch as problems: their own gradients, found by calling them once."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")

import jax.numpy as jnp

from optbench.problems.python.function import function
from tests.problems.test_differences import rosenbrock
from tests.small import problem

START = [-1.2, 1.0, 0.5]


def of_jax(x):
    return jnp.sum((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2)


def of_jax_alone(x):
    return of_jax(x.at[0].multiply(1.0))  # NumPy's arrays have no "at"


def of_jax_that_looks(x):
    return of_jax(x) if x[0] < 10 else x[0]


def of_torch(x):
    return ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum() + 0 * torch.exp(x).sum()


with torch.random.fork_rng():
    torch.manual_seed(0)  # of others its sum may all but cancel, which float32 cannot say
    LAYER = torch.nn.Linear(3, 1)


def of_torch_module(x):
    return LAYER(x).square().sum()


def of_numpy(x):
    return float(rosenbrock(np.asarray(x)[None])[0][0])


@pytest.fixture
def doubles():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def both(made, points):
    with np.errstate(all="ignore"):
        return made.calls.losses_and_gradients(points)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    ("f", "way"),
    [
        (of_jax, "jax"),
        (jax.jit(of_jax), "jax"),
        (of_jax_alone, "jax"),
        (of_jax_that_looks, "jax"),
        (of_torch, "torch"),
        (of_numpy, "central differences"),
    ],
)
def test_the_gradient_is_the_librarys(f, way):
    made = problem(function(f, start=START))
    notices = made.prepare()
    assert made.definition()["gradient"] == way
    assert bool(notices) is (way == "central differences")
    points = np.random.default_rng(1).normal(size=(4, 3))
    loss, gradients = both(made, points)
    exact = rosenbrock(points)
    tolerance = 1e-7 if way == "central differences" else 1e-12
    np.testing.assert_allclose(loss, exact[0], rtol=1e-12)
    np.testing.assert_allclose(gradients, exact[1], rtol=tolerance, atol=tolerance)


def test_jax_computes_in_single_precision_unless_it_is_set_and_says_so():
    made = problem(function(of_jax, start=START))
    assert made.prepare() == ("of_jax: jax computes it in float32, as it is set",)
    _, gradients = both(made, np.array([START]))
    np.testing.assert_allclose(gradients, rosenbrock(np.array([START]))[1], rtol=1e-5)


def test_pytorch_computes_as_its_modules_do():
    made = problem(function(of_torch_module, start=START))
    assert made.prepare() == ("of_torch_module: torch computes it in float32, as it is set",)
    weight, bias = (part.detach().numpy() for part in LAYER.parameters())
    _, gradients = both(made, np.array([START]))
    out = weight @ np.array(START) + bias
    np.testing.assert_allclose(gradients[0], 2 * out * weight[0], rtol=1e-5)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    "f", [lambda x, y: jnp.cos(x) + y**2, lambda x, y: torch.cos(x) + y**2], ids=["jax", "torch"]
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_variables_by_name_and_all_lanes_at_once(f, vectorized):
    made = problem(function(f, start={"x": 1.0, "y": 2.0}, vectorized=vectorized))
    made.prepare()
    points = np.array([[1.0, 2.0], [0.5, -1.0]])
    loss, gradients = both(made, points)
    np.testing.assert_allclose(loss, np.cos(points[:, 0]) + points[:, 1] ** 2, rtol=1e-14)
    exact = np.stack([-np.sin(points[:, 0]), 2 * points[:, 1]], axis=1)
    np.testing.assert_allclose(gradients, exact, rtol=1e-14)
    assert np.isfinite(made.surface()["value"]).all()
