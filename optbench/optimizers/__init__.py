"""The registry of optimizers."""

from optbench.errors import SuiteError, nearest
from optbench.optimizers.adaptive import AdaGrad, Adam, RMSprop
from optbench.optimizers.base import Optimizer
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


def complete_hyperparameters(name: str, given: dict[str, float]) -> dict[str, float]:
    """Return all hyperparameters of an optimizer: those given, and defaults for the others.

    Raises
    ------
    SuiteError
        For an unknown optimizer, a hyperparameter that it has not, or a value out of its range.
    """
    known = {each.name: each for each in get_optimizer(name).hyperparameters}
    for key in given:
        if key not in known:
            raise SuiteError(f"{name} has no hyperparameter '{key}'; {nearest(key, known)}")
    try:
        return {key: each.check(given.get(key, each.default)) for key, each in known.items()}
    except SuiteError as error:
        raise SuiteError(f"{name}: {error}") from None
