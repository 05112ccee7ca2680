"""What is special about some of the element-wise rules, in numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.optimizers.rules.adam import Adam
from optbench.optimizers.rules.adan import Adan
from optbench.optimizers.rules.lion import Lion
from optbench.optimizers.rules.muon import Muon
from optbench.optimizers.rules.nadam import NAdam, momenta, momentum_products
from optbench.optimizers.rules.nesterov import Nesterov
from optbench.optimizers.rules.radam import RAdam, rectification
from optbench.optimizers.rules.rmsprop import RMSprop, RMSpropTorch
from optbench.optimizers.rules.rprop import Rprop
from optbench.optimizers.rules.sgd import SGDTorch
from optbench.optimizers.rules.yogi import Yogi
from tests.optimizers.driver import BOUNDS, Driver, settings
from tests.optimizers.elementwise import RECORDINGS, in_scalars


@pytest.mark.parametrize(("rule", "rate"), [(RMSprop, "decay"), (Adam, "beta2")])
def test_single_precision_keeps_small_rates(rule, rate):
    """1 − 0.9999 must not be rounded twice: the first steps would be off by 1e-4."""
    recording, close_to_one = RECORDINGS["quadratic"], {rate: 0.9999}
    ours = Driver(rule, [close_to_one], recording, dtype="float32").path(recording.gradients[:3])
    theirs = in_scalars(rule)(settings(rule, close_to_one), recording, "float32")[2]
    moved = ours[-1, 0] - recording.start.astype(np.float32)
    np.testing.assert_allclose(moved, theirs - recording.start, rtol=1e-5, atol=2e-6)


@given(lr=st.floats(1e-6, 1.0), scale=st.floats(1e-3, 1e3))
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient(lr, scale):
    """With eps = 0, m/√v·√(1 − β₂)/(1 − β₁) is the sign of the gradient at t = 1."""
    driver = Driver("adam", [{"lr": lr, "eps": 0.0}], np.zeros(2))
    step = driver.step(np.array([scale, -2.0 * scale]))[0]
    np.testing.assert_allclose(step, [-lr, lr], rtol=1e-12)


def test_nesterov_takes_the_new_velocity_as_the_textbook_does():
    """From v = 0, w − (1 + μ + μ²)·lr·g, where the paper has w − (1 + μ)·lr·g."""
    given = {"lr": 0.1, "momentum": 0.5}
    textbook = Driver(Nesterov, [given], np.zeros(1)).step(np.ones(1))
    np.testing.assert_allclose(textbook, [[-0.175]], rtol=1e-14)
    paper = Driver(SGDTorch, [{**given, "nesterov": 1.0}], np.zeros(1)).step(np.ones(1))
    np.testing.assert_allclose(paper, [[-0.15]], rtol=1e-14)


def test_the_first_gradient_is_not_dampened():
    lanes = Driver(SGDTorch, [{"lr": 1.0, "momentum": 0.5, "dampening": 0.9}], np.zeros(1))
    assert lanes.step(np.ones(1)).tolist() == [[-1.0]]
    np.testing.assert_allclose(lanes.step(np.ones(1)), [[-1.6]], rtol=1e-14)


@pytest.mark.parametrize("dtype", BOUNDS)
def test_a_variance_never_becomes_negative(dtype):
    """h − a² would, by rounding, where the gradient stays the same."""
    lanes = Driver(RMSpropTorch, [{"centered": 1.0, "decay": 0.5}], np.zeros(3), dtype=dtype)
    for _ in range(100):
        after = lanes.step(np.array([0.1, 1 / 3, 1e4]))
    assert np.isfinite(after).all()


def test_rprop_forgets_a_sign_that_turned():
    given = {"lr": 1.0, "eta_minus": 0.5, "eta_plus": 2.0}
    lanes = Driver(Rprop, [given], np.zeros(1))
    found = [lanes.step(np.array([g]))[0, 0] for g in (0.1, 3.0, -1.0, -1.0, -9.0, 0.0, 1.0)]
    assert found == [-1.0, -3.0, -3.0, -2.0, 0.0, 0.0, -2.0]


def test_rprop_tells_signs_of_gradients_whose_product_is_zero():
    lanes = Driver(Rprop, [{"lr": 1.0, "eta_plus": 2.0}], np.zeros(1), dtype="float32")
    assert [lanes.step(np.array([1e-30]))[0, 0] for _ in range(2)] == [-1.0, -3.0]


@pytest.mark.parametrize("dtype", BOUNDS)
def test_rprops_factors_are_exact(dtype):
    lanes = Driver(Rprop, [{"lr": 1.0, "step_max": 1e9}], np.zeros(1), dtype=dtype)
    kind, size = np.dtype(dtype).type, np.dtype(dtype).type(1.0)
    position = kind(-1.0)
    lanes.step(np.ones(1))
    for _ in range(20):
        size = size * kind(1.2)
        position = position - size
        assert lanes.step(np.ones(1))[0, 0] == position


def test_lions_step_is_the_learning_rate_in_every_direction():
    gradient = np.array([1e-20, -5.0, 0.0])
    after = Driver(Lion, [{"lr": 0.25}], np.zeros(3)).step(gradient)
    assert after.tolist() == [[-0.25, 0.25, 0.0]]


@pytest.mark.parametrize("beta2", [0.0, 0.3, 0.6, 0.66])
def test_radam_never_divides_where_the_variance_is_never_finite(beta2):
    """ρₜ < ρ∞ = 2/(1 − β₂) − 1, which is 5 at β₂ = 2/3; it is 1, 4 and others with no root."""
    finite, factor = rectification(np.array([[[beta2]]]), range(1, 200))
    assert not finite.any()
    assert (factor == 1.0).all()
    given = {"lr": 0.5, "beta1": 0.0, "beta2": beta2}
    assert Driver(RAdam, [given], np.zeros(1)).step(np.array([4.0])).tolist() == [[-2.0]]


def test_radam_rectifies_from_the_sixth_update_on():
    """As the paper says of β₂ = 0.999; r grows towards 1 from then on."""
    finite, factor = rectification(np.array([[[0.999]]]), range(1, 20_000))
    assert finite.ravel()[:7].tolist() == [False] * 5 + [True] * 2
    rectified = factor.ravel()[5:]
    assert (np.diff(rectified) > 0).all()
    assert 0.0 < rectified[0] < 0.05
    assert rectified[-1] == pytest.approx(1.0, abs=1e-4)


def test_products_of_momenta_do_not_depend_on_where_a_chunk_starts():
    whole = momenta(0.99, 0.004, range(1, 3001))
    for first, count in [(1, 1), (7, 64), (64, 64), (1025, 100), (2999, 2)]:
        part = momenta(0.99, 0.004, range(first, first + count))
        assert part == whole[first - 1 : first - 1 + count]


def test_products_of_momenta_end_once_they_are_negligible():
    products = momentum_products(0.9, 0.004, 2**20)
    assert len(products) < 1000
    assert products[-1] == 0.0
    assert 1.0 - products[-2] == 1.0
    assert momenta(0.9, 0.004, range(10**6, 10**6 + 1))[0][2] == 0.0
    assert momentum_products(0.0, 0.004, 8) == (1.0, 0.0)


def test_nadam_in_a_late_update_has_adams_corrections():
    """There the products are 0, and what is left are lr·(1 − μ) and lr·μ."""
    lanes = Driver(NAdam, [{"lr": 0.5, "beta1": 0.8, "beta2": 0.9}], np.zeros(1))
    columns = lanes.optimizer.columns(lanes.hyperparameters, range(10**6, 10**6 + 1))
    np.testing.assert_allclose(columns["along_g"], 0.5 * 0.2, rtol=1e-12)
    np.testing.assert_allclose(columns["along_m"], 0.5 * 0.8, rtol=1e-12)


def test_yogi_starts_from_the_initial_mean_square():
    given = {"lr": 1.0, "beta1": 0.0, "beta2": 0.0, "eps": 0.0, "initial": 9.0}
    lanes = Driver(Yogi, [given], np.zeros(1))
    np.testing.assert_allclose(lanes.step(np.array([2.0])), [[-2.0 / np.sqrt(5.0)]], rtol=1e-14)
    np.testing.assert_allclose(
        lanes.step(np.array([1.0])), [[-2.0 / np.sqrt(5.0) - 0.5]], rtol=1e-14
    )


@pytest.mark.parametrize(("given", "ahead"), [({}, 0.92), ({"ahead": "1-beta2"}, 0.08)])
def test_adan_looks_ahead_by_a_share_of_the_change(given, ahead):
    lanes = Driver(Adan, [given], np.zeros(1))
    columns = lanes.optimizer.columns(lanes.hyperparameters, range(1, 3))
    np.testing.assert_allclose(columns["ahead"].ravel(), [0.0, ahead], rtol=1e-14)


@pytest.mark.parametrize(
    ("optimizer", "given", "says"),
    [
        (SGDTorch, {"nesterov": 0.5}, "nesterov = 0.5 must be 0 or 1"),
        (RMSpropTorch, {"centered": 2}, "centered = 2 must be 0 or 1"),
        (Muon, {"nesterov": 0.5}, "nesterov = 0.5 must be 0 or 1"),
        (Adam, {"bias_correction": -1}, "bias_correction = -1 must be 0 or 1"),
        (Adam, {"eps_place": "inside"}, "eps_place = 'inside' must be one of uncorrected"),
        (RMSprop, {"eps_place": 1.0}, "eps_place = 1.0 must be one of outside, inside"),
        (SGDTorch, {"dampening": 1.1}, "dampening = 1.1 must be between 0 and 1"),
        (Rprop, {"eta_minus": 1.0}, "eta_minus = 1.0 must be at least 0 and below 1"),
        (Rprop, {"eta_plus": 0.9}, "eta_plus = 0.9 must be at least 1"),
        (Adan, {"beta3": 1.0}, "beta3 = 1.0 must be at least 0 and below 1"),
        (Lion, {"weight_decay": -0.1}, "weight_decay = -0.1 must be at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(optimizer, given, says):
    with pytest.raises(SuiteError) as caught:
        settings(optimizer, given)
    assert says in str(caught.value)
