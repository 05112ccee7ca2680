"""The registry of optimizers."""

from collections.abc import Iterable, Mapping
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.adadelta import ADADELTA_OPTIMIZERS
from optbench.optimizers.adam import ADAM_OPTIMIZERS
from optbench.optimizers.adamax import ADAMAX_OPTIMIZERS
from optbench.optimizers.adan import ADAN_OPTIMIZERS
from optbench.optimizers.adaptive import AdaGrad, Adam, RMSprop
from optbench.optimizers.base import Optimizer, Setting
from optbench.optimizers.common import COMMON, check_common
from optbench.optimizers.layerwise import LAYERWISE
from optbench.optimizers.momentum import MOMENTUM_OPTIMIZERS
from optbench.optimizers.muon import MUON
from optbench.optimizers.nadam import NADAM_OPTIMIZERS
from optbench.optimizers.plugin import offered, plugin_optimizer
from optbench.optimizers.presets import PRESETS
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
"""All rules that are built in, by name, from simple to complex."""


ALIASES = {"learning_rate": "lr", "learningrate": "lr", "alpha": "lr", "step_size": "lr"}
"""What other libraries call a hyperparameter, for whoever looks for it."""


def get_optimizer(name: str, also: Iterable[str] = ()) -> Optimizer:
    """Return the optimizer of that name: a rule, a preset, or a plug-in's.

    Parameters
    ----------
    name
        As a suite or a flag gives it.
    also
        Other names that may have been meant.

    Raises
    ------
    SuiteError
        If there is none; it names the nearest. If it is a plug-in's, as
        :func:`~optbench.optimizers.plugin.plugin_optimizer`.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]()
    if name in PRESETS:
        return PRESETS[name].optimizer()
    found = plugin_optimizer(name)
    if found is None:
        known = dict.fromkeys([*also, *optimizer_names()])
        raise SuiteError(f"unknown optimizer '{name}'; {nearest(name, known)}")
    return found


def optimizer_names() -> list[str]:
    """Return the names of all that is built in, and of what installed packages offer."""
    return list(dict.fromkeys([*OPTIMIZERS, *PRESETS, *offered()]))


def known_hyperparameters(optimizer: Optimizer) -> dict[str, Setting]:
    """Return what an optimizer takes by name: its own, then what any optimizer takes."""
    own = {each.name: each for each in optimizer.hyperparameters}
    return {**own, **{key: each for key, each in COMMON.items() if key not in own}}


def complete_hyperparameters(
    optimizer: Optimizer, given: Mapping[str, Any]
) -> dict[str, float | str]:
    """Return all hyperparameters of an optimizer: those given, and defaults for its own others.

    Raises
    ------
    SuiteError
        For a hyperparameter that it has not, one without a default that is not given, or a value
        out of its range.
    """
    known = known_hyperparameters(optimizer)
    own = [each.name for each in optimizer.hyperparameters]
    for key in given:
        if key not in known:
            meant = nearest(ALIASES.get(key, key), known)
            raise SuiteError(f"{optimizer.name} has no hyperparameter '{key}'; {meant}")
    try:
        check_common(given, own)
        return {
            key: each.check(given.get(key, each.default))
            for key, each in known.items()
            if key in own or key in given
        }
    except SuiteError as error:
        raise SuiteError(f"{optimizer.name}: {error}") from None
