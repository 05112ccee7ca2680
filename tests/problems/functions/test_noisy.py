"""DeepOBS's noisy functions."""

import numpy as np
import pytest

from optbench.arrays import stack
from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.problems.functions import noisy
from tests.problems.functions.formulas import FORMULAS, gradient
from tests.small import problem
from tests.strict import StrictDevice

KINDS = {kind.name: kind for kind in noisy.NOISY}
STARTS = {"noisy-beale": (-4.5, 4.5), "noisy-branin": (2.5, 12.5), "noisy-rosenbrock": (-0.5, 1.5)}


def arranged(function, points, tilt, device):
    """Return params, grads and the batch of one iteration, lane by lane."""
    rows = (device.rows(*points.shape, function.dtype, by_coordinate=True) for _ in range(2))
    params, grads = (stack(each, function.tensors, device.xp) for each in rows)
    params.rows[...] = device.put(points.astype(function.dtype))
    draws = {"tilt": device.put(tilt.astype(function.dtype))}
    return params, grads, function.batch({}, draws, work=device.workspace())


def test_the_noise_is_that_of_randomstate_42_all_x_first():
    x, y = noisy.pairs().T
    assert x.dtype == np.float32
    assert len(x) == len(y) == 10_000
    # The numbers that everybody who has typed seed(42) knows.
    first_x = [0.49671415, -0.1382643, 0.64768854, 1.52302986]
    np.testing.assert_array_equal(x[:4], np.float32(first_x))
    first_y = [-0.67849475, -0.30549946, -0.59738106, 0.110418044]
    np.testing.assert_array_equal(y[:4], np.float32(first_y))
    assert abs(x.mean()) < 0.02
    assert abs(y.mean()) < 0.03


@pytest.mark.parametrize("name", KINDS)
def test_start_batches_and_epochs_are_those_of_deepobs(name):
    function = problem(KINDS[name])
    assert tuple(function.start(3)) == STARTS[name]
    assert (function.dtype, function.batches.size) == ("float32", 128)
    assert function.iterations_per_epoch == 78
    assert function.default_iterations == 100 * 78
    described = function.describe()
    assert (described["batch_size"], described["iterations_per_epoch"]) == (128, 78)
    assert described["minima"] == problem(KINDS[name].__mro__[2]).describe()["minima"]


def test_an_iteration_takes_the_mean_of_its_pairs():
    function = problem(KINDS["noisy-branin"], dtype="float64", batch_size=10)
    tilt = function.draws(5, 0)["tilt"]
    assert (tilt.shape, tilt.dtype) == ((256, 2), np.float64)
    indices = function.batches.indices(5, 0)
    np.testing.assert_allclose(tilt[3], noisy.pairs()[indices[3]].astype(float).mean(axis=0))
    assert not (tilt == function.draws(6, 0)["tilt"]).any()
    np.testing.assert_array_equal(tilt, function.draws(5, 0)["tilt"])


def test_the_whole_epoch_is_tilted_by_the_mean_of_all_pairs():
    function = problem(KINDS["noisy-beale"], dtype="float64", batch_size=100)
    tilt = function.draws(0, 0)["tilt"][:100]
    np.testing.assert_allclose(tilt.mean(axis=0), noisy.pairs().mean(axis=0, dtype=float))


@pytest.mark.parametrize("device", [NumpyDevice(), StrictDevice()], ids=["numpy", "strict"])
@pytest.mark.parametrize("name", KINDS)
def test_training_sees_the_tilted_function_and_testing_the_function(name, device):
    function, formula = problem(KINDS[name], dtype="float64"), FORMULAS[name.removeprefix("noisy-")]
    points = np.array([[0.5, 1.5], [-1.0, 2.0], [2.0, 0.25]])
    tilt = np.array([[0.3, -0.1], [-0.2, 0.5], [0.0, 1.0]])
    params, grads, batch = arranged(function, points, tilt, device)
    common = {"buffers": {}, "work": device.workspace()}
    loss = device.get(function.loss_and_grad(params, grads, batch, **common).total)
    plain = formula(points.T)
    np.testing.assert_allclose(loss, plain + (points * tilt).sum(axis=1), rtol=1e-13)
    expected = gradient(formula, points.T).T + tilt
    np.testing.assert_allclose(device.get(grads.rows), expected, rtol=1e-12, atol=1e-11)
    again = device.get(function.loss(params, batch, **common).total)
    assert again.tolist() == loss.tolist()
    tested, error = (device.get(each) for each in function.evaluate(params, {}, "test", **common))
    np.testing.assert_allclose(tested, plain, rtol=1e-13)
    assert np.isnan(error).all()
    assert error.shape == (3,)


def test_all_lanes_of_one_seed_share_their_noise():
    function, device = problem(KINDS["noisy-branin"]), NumpyDevice()
    points, tilt = np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[0.5, 0.25]])
    params, grads, batch = arranged(function, points, tilt, device)
    common = {"buffers": {}, "work": device.workspace()}
    loss = function.loss_and_grad(params, grads, batch, **common).total
    assert loss.dtype == grads.rows.dtype == np.float32
    assert loss[0] == loss[1]


def test_the_definition_names_noise_and_batches():
    definition = problem(KINDS["noisy-beale"]).definition()
    assert definition["noise"]["generator"] == "numpy.random.RandomState"
    assert (definition["noise"]["seed"], definition["noise"]["pairs"]) == (42, 10_000)
    assert definition["batch"] == {"rule": "shuffled", "size": 128}
    assert definition["streams"] == ["shuffle"]
    assert KINDS["noisy-beale"].minibatch
    assert problem(KINDS["noisy-beale"]).split_sizes() == {"test": 1}


def test_a_batch_fits_the_pairs():
    assert problem(KINDS["noisy-beale"], batch_size=10_000).prepare() == ()
    with pytest.raises(SuiteError, match="batch_size = 10001 is larger than the data; noisy-beale"):
        problem(KINDS["noisy-beale"], batch_size=10_001).prepare()
