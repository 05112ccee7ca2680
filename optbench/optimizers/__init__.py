"""The registry of optimizers."""

from collections.abc import Mapping

from optbench.errors import SuiteError, nearest
from optbench.optimizers.adadelta import ADADELTA_OPTIMIZERS
from optbench.optimizers.adam import ADAM_OPTIMIZERS
from optbench.optimizers.adamax import ADAMAX_OPTIMIZERS
from optbench.optimizers.adan import ADAN_OPTIMIZERS
from optbench.optimizers.adaptive import AdaGrad, Adam, RMSprop
from optbench.optimizers.base import Choice, Hyperparameter, Optimizer
from optbench.optimizers.common import COMMON, check_common
from optbench.optimizers.layerwise import LAYERWISE
from optbench.optimizers.momentum import MOMENTUM_OPTIMIZERS
from optbench.optimizers.muon import MUON
from optbench.optimizers.nadam import NADAM_OPTIMIZERS
from optbench.optimizers.prodigy import PRODIGY
from optbench.optimizers.radam import RADAM_OPTIMIZERS
from optbench.optimizers.rmsprop import RMSPROP_OPTIMIZERS
from optbench.optimizers.rprop import RPROP_OPTIMIZERS
from optbench.optimizers.schedule_free import SCHEDULE_FREE
from optbench.optimizers.sgd import SGD, Momentum
from optbench.optimizers.signs import SIGN_OPTIMIZERS
from optbench.optimizers.squares import SQUARE_OPTIMIZERS

_ALL: tuple[type[Optimizer], ...] = (
    *(SGD, Momentum, *MOMENTUM_OPTIMIZERS, *SIGN_OPTIMIZERS, *RPROP_OPTIMIZERS),
    *(AdaGrad, RMSprop, *RMSPROP_OPTIMIZERS, *ADADELTA_OPTIMIZERS),
    *(Adam, *ADAM_OPTIMIZERS, *ADAMAX_OPTIMIZERS, *NADAM_OPTIMIZERS, *RADAM_OPTIMIZERS),
    *(*SQUARE_OPTIMIZERS, *ADAN_OPTIMIZERS),
    *(*LAYERWISE, *MUON, *SCHEDULE_FREE, *PRODIGY),
)

OPTIMIZERS: dict[str, type[Optimizer]] = {optimizer.name: optimizer for optimizer in _ALL}
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
