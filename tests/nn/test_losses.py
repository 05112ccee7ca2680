"""Softmax cross-entropy against formulas written out, and its gradient against differences."""

import math

import numpy as np
import pytest

from optbench.nn.losses import SoftmaxCrossEntropy

LANES, BATCH, CLASSES = 3, 4, 5
RNG = np.random.default_rng(9)
SCORES = RNG.normal(size=(LANES, BATCH, CLASSES)) * 3.0
LABELS = RNG.integers(CLASSES, size=(LANES, BATCH)).astype(np.uint8)


def by_hand(scores, label, log_eps):
    total = sum(math.exp(score) for score in scores)
    return -math.log(math.exp(scores[label]) / total + log_eps)


@pytest.mark.parametrize("log_eps", [0.0, 1e-7, 0.1])
def test_losses_are_those_of_the_formula(log_eps):
    loss = SoftmaxCrossEntropy(log_eps)
    expected = [
        [by_hand(SCORES[lane, n], LABELS[lane, n], log_eps) for n in range(BATCH)]
        for lane in range(LANES)
    ]
    np.testing.assert_allclose(loss.per_example(SCORES, LABELS, xp=np), expected, rtol=1e-12)
    means = np.sum(expected, axis=1) / BATCH
    np.testing.assert_allclose(loss.mean(SCORES, LABELS, xp=np), means, rtol=1e-12)
    mean, _ = loss.mean_and_grad(SCORES, LABELS, xp=np)
    np.testing.assert_allclose(mean, means, rtol=1e-12)


def test_labels_may_be_shared_by_all_lanes():
    loss = SoftmaxCrossEntropy(1e-7)
    spread = np.broadcast_to(LABELS[:1], LABELS.shape)
    for one, other in zip(
        loss.mean_and_grad(SCORES, LABELS[:1], xp=np),
        loss.mean_and_grad(SCORES, spread, xp=np),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


def test_without_log_eps_the_gradient_is_that_of_the_loss():
    loss = SoftmaxCrossEntropy()
    _, grad = loss.mean_and_grad(SCORES, LABELS, xp=np)
    h = 1e-6
    for index in np.ndindex(SCORES.shape):
        above, below = SCORES.copy(), SCORES.copy()
        above[index] += h
        below[index] -= h
        difference = loss.mean(above, LABELS, xp=np) - loss.mean(below, LABELS, xp=np)
        assert grad[index] == pytest.approx(difference[index[0]] / (2 * h), abs=1e-9)


def test_the_gradient_leaves_log_eps_out():
    plain = SoftmaxCrossEntropy().mean_and_grad(SCORES, LABELS, xp=np)[1]
    with_eps = SoftmaxCrossEntropy(0.1).mean_and_grad(SCORES, LABELS, xp=np)[1]
    assert plain.tobytes() == with_eps.tobytes()
    np.testing.assert_allclose(plain.sum(axis=-1), 0.0, atol=1e-15)


def test_large_scores_neither_overflow_nor_lose_the_loss():
    scores = np.array([[[1e4, 0.0], [0.0, 1e4]]])
    labels = np.array([[0, 0]], dtype=np.uint8)
    assert SoftmaxCrossEntropy().per_example(scores, labels, xp=np).tolist() == [[0.0, 1e4]]
    capped = SoftmaxCrossEntropy(1e-7).per_example(scores, labels, xp=np)
    np.testing.assert_allclose(capped, [[-math.log1p(1e-7), -math.log(1e-7)]], rtol=1e-9)


def test_single_precision_stays_single():
    scores = SCORES.astype(np.float32)
    mean, grad = SoftmaxCrossEntropy(1e-7).mean_and_grad(scores, LABELS, xp=np)
    assert mean.dtype == grad.dtype == np.float32
    assert SoftmaxCrossEntropy().per_example(scores, LABELS, xp=np).dtype == np.float32
