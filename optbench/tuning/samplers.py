"""Samplers: which configurations are tried.

A trial is a point of the unit cube with an axis for each hyperparameter that has a space, in the
order of their names. Points of ``random``, ``sobol`` and ``halton`` come from the stream
``tune/<sampler>/<rule>/<SHA-256 of the spaces>``, and trial t is point t: a larger budget begins
with the trials of a smaller one, and all problems are given the same trials. Sobol's and Halton's
points are scrambled (SciPy's ``qmc``). ``grid`` takes the values of grids in the order in which
suites run them.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import numpy as np

from optbench import rng
from optbench.errors import SuiteError, nearest
from optbench.tuning.spaces import Finite, Space

SAMPLERS = ("random", "sobol", "halton", "grid", "tpe")


@dataclass(frozen=True)
class Trial:
    """One configuration that is tried.

    Attributes
    ----------
    number
        From 0 up.
    values
        What each hyperparameter is set to.
    coordinates
        Where in its space each of them lies, from 0 to 1.
    """

    number: int
    values: Mapping[str, Any]
    coordinates: Mapping[str, float]


def canonical(spaces: Mapping[str, Space]) -> str:
    """Return spaces as one text, the same in whatever order they are given.

    >>> from optbench.tuning.spaces import parse
    >>> canonical({"momentum": parse("1 - log(5e-3, 1)"), "lr": parse("log(1e-4, 10)")})
    '{"lr": "log(0.0001, 10)", "momentum": "1 - log(0.005, 1)"}'
    """
    return json.dumps({name: str(space) for name, space in spaces.items()}, sort_keys=True)


def stream(sampler: str, rule: str, spaces: Mapping[str, Space]) -> np.random.Generator:
    """Return the stream of a sampler for a rule, whatever its preset, on some spaces."""
    digest = hashlib.sha256(canonical(spaces).encode()).hexdigest()
    return rng.stream(0, f"tune/{sampler}/{rule}/{digest}")


def trials(
    sampler: str, rule: str, spaces: Mapping[str, Space], first: int, last: int
) -> list[Trial]:
    """Return the trials from ``first`` up to, but without, ``last``; fewer where a grid ends.

    Parameters
    ----------
    sampler
        One that looks at no score; see :mod:`optbench.tuning.tpe` for the other.
    rule
        The name of the optimizer's rule.
    spaces
        By hyperparameter; all of them finite for ``grid``.

    Raises
    ------
    SuiteError
        If there is no such sampler, or a space has too many values for a grid.
    """
    if sampler == "grid":
        values = {name: space.values for name, space in _finite(spaces).items()}
        return [
            Trial(
                first + i,
                dict(zip(values, point, strict=True)),
                {name: spaces[name].unit(value) for name, value in zip(values, point, strict=True)},
            )
            for i, point in enumerate(islice(product(*values.values()), first, last))
        ]
    drawn = points(sampler, rule, spaces, last)[first:]
    return [trial_at(first + i, spaces, point) for i, point in enumerate(drawn.tolist())]


def trial_at(number: int, spaces: Mapping[str, Space], point: list[float]) -> Trial:
    """Return the trial at a point, whose axes are in the order of the spaces' names."""
    coordinates = dict(zip(sorted(spaces), point, strict=True))
    return Trial(number, {name: spaces[name].at(coordinates[name]) for name in spaces}, coordinates)


def points(sampler: str, rule: str, spaces: Mapping[str, Space], count: int) -> np.ndarray:
    """Return the first points of a sampler: float64 in [0, 1), shape (count, spaces).

    Raises
    ------
    SuiteError
        If there is no such sampler.
    """
    drawn = stream(sampler, rule, spaces)
    if sampler == "random":
        return drawn.random((count, len(spaces)))
    if sampler not in ("sobol", "halton"):
        raise SuiteError(f"unknown sampler '{sampler}'; {nearest(sampler, SAMPLERS)}")
    from scipy.stats import qmc

    if sampler == "halton":
        found: np.ndarray = qmc.Halton(len(spaces), seed=drawn).random(count)
    else:
        whole = qmc.Sobol(len(spaces), seed=drawn).random_base2(max(count - 1, 0).bit_length())
        found = whole[:count]
    return found


def trial_count(sampler: str, spaces: Mapping[str, Space], asked: int) -> tuple[int, str | None]:
    """Return how many trials a sampler makes of a number, and a notice where it is another.

    Sobol's points are even in powers of two, so the number is rounded up to one; a grid is tried
    whole.

    Raises
    ------
    SuiteError
        If a grid has more points than trials are asked for.

    >>> trial_count("sobol", {}, 50)
    (64, 'sobol makes 64 trials of the 50 asked for, as it needs a power of two')
    """
    if sampler == "sobol":
        count, reason = 1 << max(asked - 1, 0).bit_length(), "as it needs a power of two"
    elif sampler == "grid":
        count = math.prod(len(space.values) for space in _finite(spaces).values())
        reason = "as many as there are points"
        if count > asked:
            raise SuiteError(
                f"the grid has {count} points, more than the {asked} trials of the budget; "
                f"give a budget of '{count} trials', or fewer values"
            )
    else:
        return asked, None
    notice = f"{sampler} makes {count} trials of the {asked} asked for, {reason}"
    return count, None if count == asked else notice


def _finite(spaces: Mapping[str, Space]) -> dict[str, Finite]:
    finite = {name: space for name, space in spaces.items() if isinstance(space, Finite)}
    for name in spaces.keys() - finite.keys():
        raise SuiteError(
            f"the sampler grid takes grids only, and {name} has the space {spaces[name]}; "
            f"give it a grid, as 1e-4:1:9, or take another sampler"
        )
    return finite
