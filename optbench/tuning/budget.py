"""Budgets: how many trials an optimizer gets on a problem.

A budget is so many trials, steps, gradients or seconds, for each optimizer on each problem. The
steps of T trials are those of the search and of the finalists::

    steps(T) = s·(steps of one lane each of T trials) + min(F, trials that get to N)·s_F·N

with s tuning seeds, N iterations, and F finalists on s_F further seeds. Without halving the T
trials make T·N steps and all of them get to N. A gradient budget counts g for a step of a rule
that takes g gradients on average, one of seconds the seconds of a lane's step. The number of trials
is the largest T whose cost is within the budget. What the winner and the defaults cost on the
suite's seeds is the same for all, and no part of it; nor are evaluations. Steps that a diverged
lane no longer makes are not given back.
"""

import math
import re
from bisect import bisect_right
from dataclasses import dataclass

from optbench.errors import SuiteError
from optbench.tuning import rungs

FEWEST_TRIALS = 4

MOST_TRIALS = 1_000_000
"""As a run has at most so many lanes."""

UNITS = {
    "trial": "trials",
    "trials": "trials",
    "step": "steps",
    "steps": "steps",
    "gradient": "gradients",
    "gradients": "gradients",
    "s": "s",
    "second": "s",
    "seconds": "s",
}
"""What may be written, and what it is called."""


@dataclass(frozen=True)
class Budget:
    """So much of a unit: trials, steps, gradients or s, for each optimizer on each problem."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:,.12g} {self.unit}"


def parse(text: str) -> Budget:
    """Return the budget that a text means.

    Raises
    ------
    SuiteError
        If it is malformed, not positive, or a part of a trial.

    >>> parse("64 trials"), parse("600 s")
    (Budget(amount=64.0, unit='trials'), Budget(amount=600.0, unit='s'))
    """
    match = re.fullmatch(r"\s*([0-9][0-9.eE+_-]*)\s*([a-z]+)\s*", text)
    unit = UNITS.get(match[2]) if match else None
    try:
        amount = float(match[1]) if match else math.nan
    except ValueError:
        amount = math.nan
    whole = unit != "trials" or amount.is_integer()
    if not unit or not 0.0 < amount < math.inf or not whole:
        raise SuiteError(
            f"budget '{text}' is malformed; write '64 trials', '2e6 steps', '2e6 gradients' "
            "or '600 s'"
        )
    return Budget(amount, unit)


@dataclass(frozen=True)
class Effort:
    """What trials of an optimizer on a problem take.

    Attributes
    ----------
    iterations
        N, the steps of a lane that is never stopped.
    seeds
        Tuning seeds of a trial; 1 where nothing is random.
    finalists, finalist_seeds
        The trials that are tried again, and on how many further seeds.
    gradients_per_step
        More than 1 for a rule that evaluates the loss again, as counted.
    seconds_per_step
        Of one lane, as measured; needed for budgets in seconds only.
    eta, first_rung
        Of halving; see :func:`optbench.tuning.rungs.plan`. None without it.
    """

    iterations: int
    seeds: int = 1
    finalists: int = 0
    finalist_seeds: int = 0
    gradients_per_step: float = 1
    seconds_per_step: float | None = None
    eta: int | None = None
    first_rung: str = "N/9"

    def plan(self, trials: int) -> rungs.Plan:
        """Return how far so many trials go: all of them to the end without halving."""
        if self.eta is None:
            return [(self.iterations, trials)]
        first = rungs.first_rung(self.first_rung, self.iterations)
        return rungs.plan(trials, self.eta, first, self.iterations)

    def steps(self, trials: int) -> int:
        """Return the steps of search and finalists of so many trials."""
        plan = self.plan(trials)
        finalists = min(self.finalists, plan[-1][1])
        again = finalists * self.finalist_seeds * self.iterations
        return self.seeds * rungs.steps(plan) + again

    def cost(self, trials: int, unit: str) -> float:
        """Return what so many trials take of a budget's unit."""
        if unit == "trials":
            return trials
        if unit == "s":
            if self.seconds_per_step is None:
                raise ValueError("a budget in seconds needs the seconds of a step")
            return self.steps(trials) * self.seconds_per_step
        return self.steps(trials) * (self.gradients_per_step if unit == "gradients" else 1)


def trials(budget: Budget, effort: Effort) -> int:
    """Return the number of trials that a budget buys: the largest whose cost is within it.

    Raises
    ------
    SuiteError
        If it is less than 4, or more than a run can hold.

    >>> trials(parse("1920 steps"), Effort(iterations=30))
    64
    """
    numbers = range(1, MOST_TRIALS + 2)
    count = bisect_right(
        numbers, budget.amount, key=lambda number: effort.cost(number, budget.unit)
    )
    if count < FEWEST_TRIALS:
        enough = Budget(math.ceil(effort.cost(FEWEST_TRIALS, budget.unit)), budget.unit)
        raise SuiteError(
            f"a budget of {budget} buys {count} trial{'s' * (count != 1)}; "
            f"at least {FEWEST_TRIALS} are needed, which cost {enough}"
        )
    if count > MOST_TRIALS:
        raise SuiteError(
            f"a budget of {budget} buys more than {MOST_TRIALS:,} trials; give a smaller one"
        )
    return count
