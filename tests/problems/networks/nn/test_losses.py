"""Losses against formulas written out, and their gradients against differences."""

import math

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.problems.networks.nn.losses import (
    LOSS_NAMES,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    make_loss,
    zero_one_errors,
)
from tests.problems.networks.nn.passes import differences
from tests.strict import StrictDevice

WORK = NumpyDevice().workspace()
LANES, BATCH, CLASSES = 3, 4, 5
RNG = np.random.default_rng(9)
SCORES = RNG.normal(size=(LANES, BATCH, CLASSES)) * 3.0
LABELS = RNG.integers(CLASSES, size=(LANES, BATCH)).astype(np.uint8)

LOSSES = [
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(1e-7),
    SoftmaxCrossEntropy(0.1),
    SoftmaxCrossEntropy(reduction="sum"),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)


def by_hand(scores, label, log_eps):
    total = sum(math.exp(score) for score in scores)
    return -math.log(math.exp(scores[label]) / total + log_eps)


@every_loss
def test_losses_are_those_of_the_formula(loss):
    expected = [
        [by_hand(SCORES[lane, n], LABELS[lane, n], loss.log_eps) for n in range(BATCH)]
        for lane in range(LANES)
    ]
    np.testing.assert_allclose(loss.per_example(SCORES, LABELS, work=WORK), expected, rtol=1e-12)
    totals = np.sum(expected, axis=1) / (BATCH if loss.reduction == "mean" else 1)
    np.testing.assert_allclose(loss.value(SCORES, LABELS, work=WORK), totals, rtol=1e-12)
    value, _ = loss.value_and_grad(SCORES, LABELS, work=WORK)
    np.testing.assert_allclose(value, totals, rtol=1e-12)


@every_loss
def test_labels_may_be_shared_by_all_lanes(loss):
    spread = np.broadcast_to(LABELS[:1], LABELS.shape)
    for one, other in zip(
        loss.value_and_grad(SCORES, LABELS[:1], work=WORK),
        loss.value_and_grad(SCORES, spread, work=WORK),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


@every_loss
def test_a_lane_alone_has_the_bits_that_it_has_in_company(loss):
    scores = SCORES.astype(np.float32)
    together = loss.value_and_grad(scores, LABELS, work=WORK)
    for lane in range(LANES):
        own = slice(lane, lane + 1)
        alone = loss.value_and_grad(scores[own], LABELS[own], work=WORK)
        assert [each[own].tobytes() for each in together] == [each.tobytes() for each in alone]


@every_loss
def test_devices_agree(loss):
    device = StrictDevice()
    given = device.put(SCORES), device.put(LABELS)
    here, there = (
        loss.value_and_grad(SCORES, LABELS, work=WORK),
        loss.value_and_grad(*given, work=device.workspace()),
    )
    for own, other in zip(here, there, strict=True):
        np.testing.assert_allclose(device.get(other), own, rtol=1e-12, atol=1e-14)
    errors = device.get(zero_one_errors(*given, xp=device.xp))
    np.testing.assert_array_equal(errors, zero_one_errors(SCORES, LABELS, xp=np))


def test_the_mean_squared_error_is_that_of_its_formula_on_every_device():
    targets = RNG.normal(size=(1, BATCH, CLASSES))
    loss, by_example = MeanSquaredError(), ((SCORES - targets) ** 2).mean(axis=2)
    scores = SCORES.copy()
    slopes = differences(lambda: loss.value(scores, targets, work=WORK).sum(), scores)
    for device in (NumpyDevice(), StrictDevice()):
        given, work = (device.put(SCORES), device.put(targets)), device.workspace()
        each = device.get(loss.per_example(*given, work=work))
        value, grad = (device.get(array) for array in loss.value_and_grad(*given, work=work))
        np.testing.assert_allclose(each, by_example, rtol=1e-14)
        np.testing.assert_allclose(value, by_example.mean(axis=1), rtol=1e-14)
        assert device.get(loss.value(*given, work=work)).tolist() == value.tolist()
        np.testing.assert_allclose(grad, slopes, atol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_log_eps_the_gradient_is_that_of_the_loss(reduction):
    loss = SoftmaxCrossEntropy(reduction=reduction)
    _, grad = loss.value_and_grad(SCORES, LABELS, work=WORK)
    scores = SCORES.copy()
    slopes = differences(lambda: loss.value(scores, LABELS, work=WORK).sum(), scores)
    np.testing.assert_allclose(grad, slopes, atol=1e-9)


def test_the_gradient_leaves_log_eps_out():
    plain = SoftmaxCrossEntropy().value_and_grad(SCORES, LABELS, work=WORK)[1]
    with_eps = SoftmaxCrossEntropy(0.1).value_and_grad(SCORES, LABELS, work=WORK)[1]
    assert plain.tobytes() == with_eps.tobytes()
    np.testing.assert_allclose(plain.sum(axis=-1), 0.0, atol=1e-15)


def test_large_scores_neither_overflow_nor_lose_the_loss():
    scores = np.array([[[1e4, 0.0], [0.0, 1e4]]])
    labels = np.array([[0, 0]], dtype=np.uint8)
    assert SoftmaxCrossEntropy().per_example(scores, labels, work=WORK).tolist() == [[0.0, 1e4]]
    capped = SoftmaxCrossEntropy(1e-7).per_example(scores, labels, work=WORK)
    np.testing.assert_allclose(capped, [[-math.log1p(1e-7), -math.log(1e-7)]], rtol=1e-9)


@every_loss
def test_single_precision_stays_single(loss):
    scores = SCORES.astype(np.float32)
    value, grad = loss.value_and_grad(scores, LABELS, work=WORK)
    assert value.dtype == grad.dtype == np.float32
    assert loss.per_example(scores, LABELS, work=WORK).dtype == np.float32


def test_the_largest_score_is_chosen_and_the_first_of_several():
    scores = np.array([[[0.0, 2.0, 1.0], [3.0, 3.0, 0.0], [0.0, 0.0, 1.0]]])
    wrong = zero_one_errors(scores, np.array([[1, 1, 0]], dtype=np.uint8), xp=np)
    assert wrong.tolist() == [[False, True, True]]


def test_losses_have_names():
    assert make_loss("cross-entropy", 1e-7) == SoftmaxCrossEntropy(1e-7)
    assert make_loss("nll-mean", 1e-7) == SoftmaxCrossEntropy()
    assert make_loss("nll-sum", 1e-7) == SoftmaxCrossEntropy(reduction="sum")
    assert all(make_loss(name) for name in LOSS_NAMES)
    with pytest.raises(SuiteError, match=r"^unknown loss 'nll-summ'; did you mean 'nll-sum'\?$"):
        make_loss("nll-summ")
