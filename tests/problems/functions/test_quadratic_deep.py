"""DeepOBS's stochastic quadratic, beside the same written plainly in float64."""

import numpy as np
import pytest

from optbench.arrays import Workspace, stack
from optbench.errors import SuiteError
from optbench.problems.functions.quadratic_deep import QuadraticDeep, hessian, points, rotation
from optbench.suite.format import read_suite
from optbench.suite.resolve import resolve
from optbench.verify.gradients import check_gradient
from tests.small import problem


def plain_hessian():
    """Q as the definition says it, matrix by matrix, with the spectrum that it was made with."""
    random = np.random.RandomState(42)
    eigenvalues = np.append(random.uniform(0, 1, size=90), random.uniform(30, 60, size=10))
    t = 2 * np.pi * random.uniform()
    R = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    for d in range(2, 100):
        v = random.normal(size=(d + 1, 1))
        v = v / np.sqrt((v**2).sum())
        e = np.zeros((d + 1, 1))
        e[0, 0] = 1.0
        x = (e - v) / np.sqrt(((e - v) ** 2).sum())
        block = np.zeros((d + 1, d + 1))
        block[0, 0] = 1.0
        block[1:, 1:] = R
        R = (np.identity(d + 1) - 2.0 * x @ x.T) @ block
    R = -R
    return R.T @ np.diag(eigenvalues) @ R, eigenvalues


Q, EIGENVALUES = plain_hessian()
TRAIN = np.random.RandomState(42).normal(0, 0.6, (1000, 100)).astype(np.float32).astype(float)
TEST = np.random.RandomState(43).normal(0, 0.6, (1000, 100)).astype(np.float32).astype(float)


def plain_loss(theta, some):
    return np.mean([0.5 * (theta - x) @ Q @ (theta - x) for x in some])


def quadratic_deep(**options):
    return problem(QuadraticDeep, **options)


def first_batches(made, seeds, work, device=None):
    put = device.put if device else np.asarray
    data = {name: put(each) for name, each in made.data().items()}
    drawn = np.stack([made.draws(seed, 0)["indices"][0] for seed in seeds])
    return made.batch(data, {"indices": put(drawn)}, work=work), drawn


def thetas(lanes):
    return np.random.default_rng(5).normal(size=(lanes, 100))


def test_the_hessian_is_the_definitions():
    np.testing.assert_allclose(hessian("float64"), Q, atol=1e-12)
    assert hessian("float32").dtype == np.float32
    spectrum = np.linalg.eigvalsh(hessian("float64"))
    np.testing.assert_allclose(spectrum, np.sort(EIGENVALUES), rtol=1e-9)
    assert (EIGENVALUES[:90] < 1).all()
    assert ((EIGENVALUES[90:] > 30) & (EIGENVALUES[90:] < 60)).all()


def test_rotations_are_rotations():
    turned = rotation(6, np.random.RandomState(1))
    np.testing.assert_allclose(turned @ turned.T, np.eye(6), atol=1e-14)


def test_points_are_float32_and_the_same_for_every_seed():
    assert points(42).dtype == np.float32
    np.testing.assert_array_equal(points(42), TRAIN)
    np.testing.assert_array_equal(points(43), TEST)
    with pytest.raises(ValueError, match="read-only"):
        points(42)[0, 0] = 1.0


@pytest.mark.parametrize(("dtype", "rel"), [("float32", 1e-5), ("float64", 1e-12)])
def test_loss_and_gradient_are_means_over_the_batch(dtype, rel):
    made, work, lanes = quadratic_deep(dtype=dtype), Workspace(np, writes_out=True), (0, 3, 11)
    batch, drawn = first_batches(made, lanes, work)
    rows = thetas(3).astype(dtype)
    params = stack(rows, made.tensors, np)
    grads = stack(np.empty_like(rows), made.tensors, np)
    losses = made.loss_and_grad(params, grads, batch, buffers={}, work=work)
    again = made.loss(params, batch, buffers={}, work=work)
    assert losses.penalty is again.penalty is None
    np.testing.assert_array_equal(again.total, losses.total)
    assert losses.total.dtype == grads.rows.dtype == dtype
    for lane in range(3):
        some, theta = TRAIN[drawn[lane]], rows[lane].astype(float)
        assert losses.total[lane] == pytest.approx(plain_loss(theta, some), rel=rel)
        gradient = np.mean([Q @ (theta - x) for x in some], axis=0)
        np.testing.assert_allclose(grads.rows[lane], gradient, rtol=0, atol=50 * rel)


def test_a_lane_alone_has_the_bits_that_it_has_in_company():
    made, work = quadratic_deep(), Workspace(np, writes_out=True)
    rows = thetas(5).astype("float32")

    def gradients(seeds, rows):
        batch, _ = first_batches(made, seeds, work)
        grads = stack(np.empty_like(rows), made.tensors, np)
        params = stack(rows.copy(), made.tensors, np)
        losses = made.loss_and_grad(params, grads, batch, buffers={}, work=work)
        return losses.total.copy(), grads.rows

    together = gradients((0, 1, 2, 3, 4), rows)
    for lane in range(5):
        alone = gradients((lane,), rows[lane : lane + 1])
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, all_[lane : lane + 1])


def test_lanes_share_a_batch_where_it_is_one(core_device):
    made, xp = quadratic_deep(dtype="float64"), core_device.xp
    work = core_device.workspace()
    batch, drawn = first_batches(made, (2,), work, core_device)
    rows = core_device.put(thetas(2))
    grads = stack(core_device.put(np.zeros((2, 100))), made.tensors, xp)
    losses = made.loss_and_grad(stack(rows, made.tensors, xp), grads, batch, buffers={}, work=work)
    expected = [plain_loss(theta, TRAIN[drawn[0]]) for theta in thetas(2)]
    np.testing.assert_allclose(core_device.get(losses.total), expected, rtol=1e-12)
    data = {name: core_device.put(each) for name, each in made.data().items()}
    params = stack(rows, made.tensors, xp)
    loss, error = made.evaluate(params, data, "test", buffers={}, work=work)
    expected = [plain_loss(theta, TEST[:896]) for theta in thetas(2)]
    np.testing.assert_allclose(core_device.get(loss), expected, rtol=1e-12)
    assert np.isnan(core_device.get(error)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_test_loss_at_the_start_is_deepobs(dtype):
    made = quadratic_deep(dtype=dtype)
    assert (made.start(0) == 1.0).all()
    params = stack(made.start(0)[None].astype(dtype), made.tensors, np)
    losses = {}
    for split in made.split_sizes():
        loss, error = made.evaluate(params, made.data(), split, buffers={}, work=Workspace(np))
        assert loss.dtype == error.dtype == np.float64
        assert np.isnan(error).all()
        losses[split] = loss[0]
    assert round(losses["test"], 4) == pytest.approx(353.4468, abs=1.01e-4)
    assert losses["train"] == pytest.approx(plain_loss(np.ones(100), TRAIN), rel=1e-6)


def test_a_seed_orders_the_points_once():
    made = quadratic_deep()
    drawn = made.draws(4, 0)["indices"]
    assert (drawn.shape, drawn.dtype) == ((256, 128), np.int64)
    epochs = drawn[:252].reshape(36, 896)
    assert len(set(epochs[0].tolist())) == 896
    assert (epochs == epochs[0]).all()
    assert (made.draws(5, 0)["indices"][0] != drawn[0]).any()
    assert made.iterations_per_epoch == 7
    assert made.default_iterations == 700


def test_ten_steps_of_gradient_descent_are_those_written_plainly():
    made, work = quadratic_deep(dtype="float64"), Workspace(np, writes_out=True)
    drawn = made.draws(0, 0)["indices"]
    ours, plain = np.ones((1, 100)), np.ones(100)
    for k in range(10):
        batch = made.batch(made.data(), {"indices": drawn[k : k + 1]}, work=work)
        grads = stack(np.empty((1, 100)), made.tensors, np)
        made.loss_and_grad(stack(ours, made.tensors, np), grads, batch, buffers={}, work=work)
        ours = ours - 0.0158489 * grads.rows
        plain = plain - 0.0158489 * (Q @ (plain - TRAIN[drawn[k]].mean(axis=0)))
    np.testing.assert_allclose(ours[0], plain, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_the_loss():
    assert check_gradient(quadratic_deep(dtype="float64", batch_size=16), "quadratic-deep").passed


def test_the_definition_says_what_makes_the_problem():
    made = quadratic_deep()
    definition = made.definition()
    assert definition["batch"] == {"rule": "shuffled-once", "size": 128}
    assert definition["data"]["splits"] == {"train": 1000, "test": 896}
    assert definition["streams"] == ["shuffle"]
    others = [{"dtype": "float64"}, {"batch_size": 64}, {"record": "after"}]
    prints = {made.fingerprint, *(quadratic_deep(**each).fingerprint for each in others)}
    assert len(prints) == 4
    described = made.describe()
    assert (described["batch_size"], described["iterations_per_epoch"]) == (128, 7)
    assert (described["record"], described["parameters"]) == ("before", 100)
    assert (described["kind"], described["variables"]) == ("function", ["theta"])
    assert (described["minima"], described["plot"]) == ([], None)


def test_its_fingerprint_is_that_of_earlier_runs():
    """Runs on disk call it a network; what they measured is comparable all the same."""
    golden = "421ce6655d7ef20b9577d657272ad6696a3b3e70ddd20c81ecd5882645b8e165"
    assert quadratic_deep().fingerprint == golden


def test_a_batch_larger_than_the_data_is_refused():
    assert quadratic_deep(batch_size=1000).prepare() == ()
    with pytest.raises(SuiteError, match="batch_size = 1001 is larger than the data; quadratic-d"):
        quadratic_deep(batch_size=1001).prepare()
    assert quadratic_deep(batch_size=1000).work_values >= 3 * 1000 * 100


def test_the_suite_is_deepobs():
    suite = resolve(read_suite("quadratic-deep"))
    (setting,) = suite.problems
    assert (suite.seeds, setting.iterations) == (tuple(range(10)), 700)
    assert setting.problem.fingerprint == quadratic_deep().fingerprint
    lrs = {each.label: each.configurations[0]["lr"] for each in setting.optimizers}
    assert lrs == {"sgd": 0.0158489, "momentum": 0.00251189, "adam-torch": 0.0398107}
    (momentum,) = setting.optimizers[1].configurations
    (adam,) = setting.optimizers[2].configurations
    assert (momentum["momentum"], adam["eps"]) == (0.99, 1e-8)
