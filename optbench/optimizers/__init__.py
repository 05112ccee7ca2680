"""The registry of optimizers."""

from collections.abc import Mapping

from optbench.errors import SuiteError, nearest
from optbench.optimizers.adaptive import AdaGrad, Adam, RMSprop
from optbench.optimizers.base import Choice, Hyperparameter, Optimizer
from optbench.optimizers.common import COMMON, check_common
from optbench.optimizers.sgd import SGD, Momentum

OPTIMIZERS: dict[str, type[Optimizer]] = {
    optimizer.name: optimizer for optimizer in (SGD, Momentum, AdaGrad, RMSprop, Adam)
}
"""All optimizers by name, from simple to complex."""


def get_optimizer(name: str) -> Optimizer:
    """Return the optimizer of that name.

    Raises
    ------
    SuiteError
        If there is none; it names the nearest.
    """
    if name not in OPTIMIZERS:
        raise SuiteError(f"unknown optimizer '{name}'; {nearest(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]()


def known_hyperparameters(name: str) -> dict[str, Hyperparameter | Choice]:
    """Return what an optimizer takes by name: its own, then what any optimizer takes."""
    own = {each.name: each for each in get_optimizer(name).hyperparameters}
    return {**own, **{key: each for key, each in COMMON.items() if key not in own}}


def complete_hyperparameters(name: str, given: Mapping[str, float | str]) -> dict[str, float | str]:
    """Return all hyperparameters of an optimizer: those given, and defaults for its own others.

    Raises
    ------
    SuiteError
        For an unknown optimizer, a hyperparameter that it has not, or a value out of its range.
    """
    known = known_hyperparameters(name)
    own = [each.name for each in get_optimizer(name).hyperparameters]
    for key in given:
        if key not in known:
            raise SuiteError(f"{name} has no hyperparameter '{key}'; {nearest(key, known)}")
    try:
        check_common(given)
        return {
            key: each.check(given.get(key, each.default))  # type: ignore[arg-type]  # it checks
            for key, each in known.items()
            if key in own or key in given
        }
    except SuiteError as error:
        raise SuiteError(f"{name}: {error}") from None
