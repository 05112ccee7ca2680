"""The optimizers that names stand for: rules, presets, and plug-ins."""

from collections.abc import Iterable, Mapping
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.base import Optimizer
from optbench.optimizers.modifiers import COMMON, check_common
from optbench.optimizers.plugin import offered, plugin_optimizer
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.rules import RULES
from optbench.settings import Setting

OPTIMIZERS: dict[str, type[Optimizer]] = {rule.name: rule for rule in RULES}
"""All built-in rules by name, from simple to complex."""

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
