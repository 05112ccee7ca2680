from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.tuning.rungs import first_rung, plan, steps
from tests.refusal import refusal


@pytest.mark.parametrize(
    ("arguments", "rungs", "total"),
    [
        ((64, 3, 100, 900), [(100, 64), (300, 22), (900, 8)], 6400 + 4400 + 4800),
        ((81, 3, 100, 900), [(100, 81), (300, 27), (900, 9)], 8100 + 5400 + 5400),
        ((16, 4, 25, 400), [(25, 16), (100, 4), (400, 1)], 400 + 300 + 300),
        # N/9 and N/3 of 1000 are rounded down, and no rung of 999 is left before the last.
        ((9, 3, Fraction(1000, 9), 1000), [(111, 9), (333, 3), (1000, 1)], 999 + 666 + 667),
        ((5, 2, 10, 35), [(10, 5), (20, 3), (35, 2)], 50 + 30 + 30),
        ((1, 3, 1, 9), [(1, 1), (3, 1), (9, 1)], 9),
    ],
)
def test_plans_and_their_steps(arguments, rungs, total):
    assert plan(*arguments) == rungs
    assert steps(rungs) == total


@given(
    st.integers(1, 300),
    st.integers(2, 5),
    st.fractions(1, 60, max_denominator=20),
    st.integers(61, 2000),
)
def test_a_plan_is_what_training_and_stopping_trial_by_trial_gives(trials, eta, first, iterations):
    ends = []
    while first * eta ** len(ends) < iterations:
        ends.append(int(first * eta ** len(ends)))
    made, reached, alive = [0] * trials, [], list(range(trials))
    for end in [*ends, iterations]:
        for trial in alive:
            made[trial] = end
        reached.append((end, len(alive)))
        alive = alive[: ceil(len(alive) / eta)]
    assert plan(trials, eta, first, iterations) == reached
    assert steps(reached) == sum(made)
    assert sorted({end for end, _ in reached}) == [end for end, _ in reached]


@pytest.mark.parametrize(
    ("text", "length"), [("N/9", Fraction(1000, 9)), ("N/3", Fraction(1000, 3)), (" 200", 200)]
)
def test_a_first_rung_is_a_share_or_a_number(text, length):
    assert first_rung(text, 1000) == length


@pytest.mark.parametrize("text", ["", "N", "N/", "/9", "N/0", "0", "-1", "N/9/2", "1.5", "N/³"])
def test_a_malformed_first_rung_is_refused(text):
    message = refusal(SuiteError, first_rung, text, 1000)
    assert message == f"first rung '{text}' is malformed; write N/9, or 200 (iterations)"


def test_what_halves_nothing_is_refused():
    message = "halving 1 stops no trial; give a whole number from 2 up, such as 3"
    assert refusal(SuiteError, plan, 9, 1, 1, 9) == message
    for first, said in ((900, "900"), (Fraction(5, 9), "0.555555555556")):
        assert refusal(SuiteError, plan, 9, 3, first, 900) == (
            f"a first rung of {said} iterations must be at least 1 and "
            "less than the 900 of a whole lane"
        )
