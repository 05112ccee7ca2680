"""Every rule gives each iteration its examples, by the seed alone."""

import numpy as np
import pytest

from optbench import rng
from optbench.problems.batches import RULES, Batches


def flat(rule, seed=0, *, blocks=2, examples=23, size=5):
    batches = Batches(rule, examples, size)
    return np.concatenate([batches.indices(seed, block) for block in range(blocks)])


@pytest.mark.parametrize("rule", RULES)
def test_a_block_has_a_row_of_known_examples_for_each_iteration(rule):
    found = flat(rule, blocks=1)
    assert found.shape == (rng.ITERATIONS_PER_BLOCK, 5)
    assert found.dtype == np.int64
    assert 0 <= found.min() <= found.max() < 23


def test_batches_with_replacement_keep_their_stream():
    drawn = rng.stream(7, "batches", 1).integers(23, size=(rng.ITERATIONS_PER_BLOCK, 5))
    assert flat("replacement", 7)[rng.ITERATIONS_PER_BLOCK :].tolist() == drawn.tolist()


@pytest.mark.parametrize("rule", ["shuffled", "shuffled-once", "in-order"])
def test_an_epoch_shows_no_example_twice_and_drops_the_remainder(rule):
    epochs = flat(rule)[: 4 * 100].reshape(100, 20)
    assert all(len(set(epoch)) == 20 for epoch in epochs.tolist())


def test_orders_differ_or_stay_as_the_rule_says():
    shuffled, once, ordered = (
        flat(rule)[:400].reshape(100, 20).tolist()
        for rule in ("shuffled", "shuffled-once", "in-order")
    )
    assert len(set(map(tuple, shuffled))) == 100
    assert once == [once[0]] * 100
    assert ordered == [list(range(20))] * 100
    assert once[0] != ordered[0]
    assert {example for epoch in shuffled for example in epoch} == set(range(23))


@pytest.mark.parametrize("rule", ["replacement", "shuffled", "shuffled-once"])
def test_seeds_have_batches_of_their_own_and_the_same_ones_each_time(rule):
    assert flat(rule, 1).tolist() == flat(rule, 1).tolist()
    assert flat(rule, 1).tolist() != flat(rule, 2).tolist()


@pytest.mark.parametrize(
    ("rule", "streams"),
    [("replacement", ("batches",)), ("shuffled", ("shuffle",)), ("in-order", ())],
)
def test_a_rule_names_its_streams(rule, streams):
    assert Batches(rule, 10, 2).streams == streams


def test_epochs_are_whole_batches():
    assert [Batches("in-order", 23, size).per_epoch for size in (5, 23, 12)] == [4, 1, 1]
