"""Early stopping is that of the tutorial, and rules are told as they were given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.engine.stopping import Patience, Rules


def tutorial(errors, patience, increase, threshold, batches, epochs):
    """The training loop of the tutorial, one lane: returns updates, best error and where."""
    frequency = max(1, min(batches, patience // 2))
    best, best_updates, looked = np.inf, 0, 0
    iteration = -1
    for epoch in range(epochs):
        for minibatch in range(batches):
            iteration = epoch * batches + minibatch
            if (iteration + 1) % frequency == 0:
                error = errors[looked % len(errors)]
                looked += 1
                if error < best:
                    if error < best * threshold:
                        patience = max(patience, iteration * increase)
                    best, best_updates = error, iteration + 1
            if patience <= iteration:
                return iteration + 1, best, best_updates
    return iteration + 1, best, best_updates


def ours(errors, patience, increase, threshold, batches, epochs):
    rules = Rules(patience=patience, patience_increase=increase, improvement_threshold=threshold)
    rule = Patience(rules, 1, batches)
    end = batches * epochs
    for number, updates in enumerate(range(rule.frequency, end + 1, rule.frequency)):
        if updates > rule.end_update_counts[0]:
            break
        rule.validate(updates, np.array([errors[number % len(errors)]]))
        if rule.end_update_counts[0] <= updates:
            return updates, rule.best[0], rule.best_update_counts[0]
    return min(end, int(rule.end_update_counts[0])), rule.best[0], rule.best_update_counts[0]


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30),
    st.integers(1, 60),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.sampled_from([0.5, 0.9, 0.995, 1.0]),
    st.integers(1, 20),
    st.integers(1, 12),
)
def test_it_ends_where_the_tutorial_ends(errors, patience, increase, threshold, batches, epochs):
    setting = (errors, patience, increase, threshold, batches, epochs)
    assert ours(*setting) == tutorial(*setting)


def test_lanes_have_a_patience_of_their_own():
    rule = Patience(Rules(patience=10), 3, 100)
    assert rule.frequency == 5
    assert rule.validate(5, np.array([0.5, 0.5, np.nan])).tolist() == [True, True, False]
    assert rule.validate(10, np.array([0.4, 0.499, 0.3])).tolist() == [True, True, True]
    assert rule.end_update_counts.tolist() == [19, 11, 19]
    assert rule.best.tolist() == [0.4, 0.499, 0.3]
    assert rule.best_update_counts.tolist() == [10, 10, 10]


def test_a_patience_is_needed():
    with pytest.raises(ValueError, match="patience"):
        Patience(Rules(), 1, 1)


def test_rules_are_told_as_far_as_they_count():
    assert Rules(evaluate_every=5, pause_at=3).stopping() is None
    assert [Rules(**given).may_stop for given in ({}, {"pause_at": 3}, {"patience": 5})] == [
        False,
        True,
        True,
    ]
    assert Rules(loss=0.1).stopping() == {"loss": 0.1}
    assert Rules(patience=10).stopping() == {
        "patience": 10,
        "patience_increase": 2.0,
        "improvement_threshold": 0.995,
    }
    assert [Rules(**given).watches_rows for given in ({}, {"loss": 0.0}, {"grad_norm": 1.0})] == [
        False,
        True,
        True,
    ]


def test_patience_may_grow_beyond_all_integers():
    rule = Patience(Rules(patience=4, patience_increase=1e300), 1, 100)
    rule.validate(2, np.array([0.5]))
    assert rule.end_update_counts[0] > 2**61
