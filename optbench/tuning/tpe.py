"""Trials by a tree-structured Parzen estimator: what optuna proposes from the scores so far.

Bergstra, Bardenet, Bengio and Kégl, "Algorithms for hyper-parameter optimization", NeurIPS 2011;
the multivariate estimator is that of Falkner, Klein and Hutter (BOHB, ICML 2018). A round is a
function of the rounds before it: its sampler is a fresh one, and told all of them. Nothing of
optuna is ever stored.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from optbench.errors import SuiteError
from optbench.tuning.samplers import Trial, stream, trial_at, trials
from optbench.tuning.spaces import Choice, Finite, Space

OLDEST = (4, 5)
"""Older releases of optuna fail in multivariate estimates with ``constant_liar``."""


def optuna_version() -> str:
    """Return the version of optuna.

    Raises
    ------
    SuiteError
        If it is not installed, or too old.
    """
    remedy = "pip install 'optbench[tune]'"
    if find_spec("optuna") is None:
        raise SuiteError(f"the sampler tpe needs optuna, which is not installed; {remedy}")
    from importlib.metadata import version

    found = version("optuna")
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SuiteError(f"the sampler tpe needs optuna {oldest}, and {found} is here; {remedy}")
    return found


def next_round(
    rule: str,
    spaces: Mapping[str, Space],
    told: Sequence[tuple[Trial, float]],
    number: int,
    count: int,
) -> list[Trial]:
    """Return the trials of a round: the random sampler's in round 0, then what optuna proposes.

    Parameters
    ----------
    rule
        The name of the optimizer's rule.
    told
        All trials of earlier rounds with their scores, +inf for those that diverged.
    number
        Of the round, from 0.
    count
        Trials to return.

    Raises
    ------
    SuiteError
        If optuna is not installed, or too old.
    """
    optuna_version()
    if number == 0:
        return trials("random", rule, spaces, 0, count)
    words = stream("tpe", rule, spaces).integers(2**32, size=number)
    return ask(spaces, told, count, int(words[-1]))


def ask(
    spaces: Mapping[str, Space], told: Sequence[tuple[Trial, float]], count: int, seed_word: int
) -> list[Trial]:
    """Return what a fresh sampler with this seed proposes after these trials.

    Trials are told in the order of their numbers, as points of the unit cube, so that the scale of
    each hyperparameter is that of its space. Values of finite spaces are told by their places.
    """
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    def distribution(space: Space) -> BaseDistribution:
        if isinstance(space, Choice):
            return CategoricalDistribution(range(len(space.values)))
        if isinstance(space, Finite):
            return IntDistribution(0, len(space.values) - 1)
        return FloatDistribution(0.0, 1.0)

    axes = {name: distribution(spaces[name]) for name in sorted(spaces)}
    with _quiet():
        sampler = optuna.samplers.TPESampler(seed=seed_word, multivariate=True, constant_liar=True)
        study = optuna.create_study(sampler=sampler)
        for trial, score in sorted(told, key=lambda pair: pair[0].number):
            places = _places(spaces, trial)
            study.add_trial(optuna.create_trial(params=places, distributions=axes, value=score))
        proposed = [study.ask(axes).params for _ in range(count)]
    return [
        trial_at(len(told) + i, spaces, _point(spaces, places)) for i, places in enumerate(proposed)
    ]


def _places(spaces: Mapping[str, Space], trial: Trial) -> dict[str, float]:
    """Return coordinates of a trial, and of finite spaces which value it has."""
    return {
        name: space.place(trial.coordinates[name])
        if isinstance(space, Finite)
        else trial.coordinates[name]
        for name, space in spaces.items()
    }


def _point(spaces: Mapping[str, Space], places: Mapping[str, float]) -> list[float]:
    """Return the point of the unit cube that :func:`_places` would tell so."""
    return [
        (places[name] + 0.5) / len(space.values) if isinstance(space, Finite) else places[name]
        for name, space in sorted(spaces.items())
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep optuna from saying that it works, and that it may change."""
    from optuna import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
