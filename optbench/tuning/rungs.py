"""Successive halving: how far trials go, and how many of them go on.

After each rung the best ⌈n/η⌉ of n trials go on (Jamieson and Talwalkar, "Non-stochastic best arm
identification and hyperparameter optimization", AISTATS 2016). Rungs are first, first·η, first·η²,
… iterations, rounded down, and last all N.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from optbench.errors import SuiteError

Plan = list[tuple[int, int]]
"""The rungs from the first to the last: iterations of a lane by then, and trials that train on."""


def first_rung(text: str, iterations: int) -> Fraction:
    """Return how long the first rung is: a number of iterations, or a share of all N.

    Raises
    ------
    SuiteError
        If it is neither.

    >>> first_rung("N/9", 900), first_rung("200", 900)
    (Fraction(100, 1), Fraction(200, 1))
    """
    whole = text.strip().removeprefix("N/")
    if not (whole.isdecimal() and whole.isascii() and 0 < len(whole) < 19 and int(whole) > 0):
        raise SuiteError(f"first rung '{text}' is malformed; write N/9, or 200 (iterations)")
    return Fraction(iterations, int(whole)) if "/" in text else Fraction(int(whole))


def plan(trials: int, eta: int, first: int | Fraction, iterations: int) -> Plan:
    """Return the rungs: iterations of a lane by then, and the trials that get there.

    Parameters
    ----------
    trials
        Trials at the start.
    eta
        One in so many goes on, at least 2.
    first
        Iterations of the first rung.
    iterations
        N, those of a lane that is never stopped.

    Raises
    ------
    SuiteError
        If ``eta`` is below 2, or the first rung is shorter than one iteration or not before N.

    >>> plan(64, 3, 100, 900), plan(10, 2, Fraction(1000, 9), 1000)
    ([(100, 64), (300, 22), (900, 8)], [(111, 10), (222, 5), (444, 3), (888, 2), (1000, 1)])
    """
    if eta < 2:
        raise SuiteError(f"halving {eta} stops no trial; give a whole number from 2 up, such as 3")
    if not 1 <= first < iterations:
        raise SuiteError(
            f"a first rung of {float(first):.12g} iterations must be at least 1 and "
            f"less than the {iterations} of a whole lane"
        )
    rungs, length = [], first
    while length < iterations:
        rungs.append((int(length), trials))
        length, trials = length * eta, -(-trials // eta)
    return [*rungs, (iterations, trials)]


def steps(plan: Sequence[tuple[int, int]]) -> int:
    """Return how many steps all trials of a plan make, of one lane each.

    A trial that goes on makes only the steps that are new since the rung before.

    >>> steps([(100, 64), (300, 22), (900, 8)])
    15600
    """
    return sum((there - here) * trials for (here, _), (there, trials) in pairwise([(0, 0), *plan]))
