import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import ExitCode, SuiteError
from optbench.tuning.budget import Budget, Effort, parse, trials
from tests.refusal import refusal

NETWORK = Effort(iterations=2000, seeds=3, finalists=4, finalist_seeds=5)


@pytest.mark.parametrize(
    ("text", "budget", "shown"),
    [
        ("64 trials", Budget(64, "trials"), "64 trials"),
        (" 6.4e1trials ", Budget(64, "trials"), "64 trials"),
        ("1 trial", Budget(1, "trials"), "1 trials"),
        ("2e6 steps", Budget(2e6, "steps"), "2,000,000 steps"),
        ("2_000_000 gradients", Budget(2e6, "gradients"), "2,000,000 gradients"),
        ("600 s", Budget(600, "s"), "600 s"),
        ("0.5 seconds", Budget(0.5, "s"), "0.5 s"),
    ],
)
def test_budgets_as_they_are_written(text, budget, shown):
    assert parse(text) == budget
    assert str(budget) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "64", "trials", "0 trials", "-4 trials", "4.5 trials", "1e steps", "1e999 steps"),
        *("nan s", "inf s", "6 minutes", "64 trials each", "600 ss", "6 S"),
    ],
)
def test_a_malformed_budget_is_refused(text):
    assert refusal(SuiteError, parse, text) == (
        f"budget '{text}' is malformed; write '64 trials', '2e6 steps', '2e6 gradients' or '600 s'"
    )


@pytest.mark.parametrize(
    ("budget", "effort", "count"),
    [
        ("64 trials", NETWORK, 64),
        ("1920 steps", Effort(30), 64),
        ("1919 steps", Effort(30), 63),
        ("1920 gradients", Effort(30), 64),
        ("1920 gradients", Effort(30, gradients_per_step=2), 32),
        # 1000 lanes of 2000 iterations, 20 of them for finalists, three to a trial.
        ("2e6 steps", NETWORK, 980 // 3),
        ("2e6 gradients", Effort(2000, 3, 4, 5, gradients_per_step=2), 480 // 3),
        ("600 s", Effort(2000, 3, 4, 5, seconds_per_step=1e-3), 280 // 3),
        # Four trials are all finalists: 4 · 3 + 4 · 5 lanes.
        ("64_000 steps", NETWORK, 4),
        # (100·64 + 200·22 + 600·8) · 3 seeds + 4 · 5 · 900
        ("64_800 steps", Effort(900, 3, 4, 5, eta=3), 64),
        ("64_799 steps", Effort(900, 3, 4, 5, eta=3), 63),
    ],
)
def test_trials_that_a_budget_buys(budget, effort, count):
    assert trials(parse(budget), effort) == count


def test_the_budget_of_the_example_is_spent_on_search_and_finalists():
    assert NETWORK.steps(64) == 64 * 3 * 2000 + 4 * 5 * 2000
    assert Effort(900, 3, 4, 5, eta=3, first_rung="100").steps(64) == 64_800
    assert Effort(900, 1, 4, 5, eta=3).steps(9) == 100 * 9 + 200 * 3 + 600 + 5 * 900


@given(
    st.integers(1, 50),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(0, 5),
    st.integers(1, 2),
    st.integers(0, 5000),
)
def test_one_more_trial_would_be_too_many(n, seeds, finalists, further, gradients, more):
    def lanes(count):
        return count * seeds + min(finalists, count) * further

    amount = lanes(4) * n * gradients + more
    count = max(t for t in range(1, amount + 1) if lanes(t) * n * gradients <= amount)
    effort = Effort(n, seeds, finalists, further, gradients_per_step=gradients)
    assert trials(Budget(amount, "gradients"), effort) == count


def test_too_little_is_refused_with_what_would_do():
    with pytest.raises(SuiteError) as caught:
        trials(parse("63_999 steps"), NETWORK)
    assert caught.value.exit_code == ExitCode.USAGE
    message = (
        "a budget of 63,999 steps buys 3 trials; at least 4 are needed, which cost 64,000 steps"
    )
    assert str(caught.value) == message
    trials(parse("64_000 steps"), NETWORK)
    message = "a budget of 1 s buys 1 trial; at least 4 are needed, which cost 3 s"
    assert refusal(SuiteError, trials, parse("1 s"), Effort(10, seconds_per_step=0.06)) == message


def test_too_much_is_refused():
    for text in ("1e6 trials", "1e30 steps"):
        effort = Effort(1)
        if text.startswith("1e6"):
            assert trials(parse(text), effort) == 1_000_000
            text = "1000001 trials"
        message = refusal(SuiteError, trials, parse(text), effort)
        assert message.endswith("buys more than 1,000,000 trials; give a smaller one")


def test_seconds_need_a_measurement():
    with pytest.raises(ValueError, match="needs the seconds of a step"):
        trials(parse("1 s"), Effort(10))
