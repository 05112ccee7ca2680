"""The optimizers that names stand for: rules, presets, and plug-ins."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.base import Optimizer
from optbench.optimizers.modifiers import COMMON, check_common
from optbench.optimizers.plugin import offered, plugin_optimizer
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.rules import RULES
from optbench.settings import Setting, complete

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
        If there is none, naming the nearest, or if a plug-in cannot be used.
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]()
    if name in PRESETS:
        return PRESETS[name].optimizer()
    optimizer = plugin_optimizer(name)
    if optimizer is None:
        known = dict.fromkeys([*also, *optimizer_names()])
        raise SuiteError(f"unknown optimizer '{name}'; {nearest(name, known, most=3)}")
    return optimizer


def optimizer_names() -> list[str]:
    """Return the names of all that is built in, and of what installed packages offer."""
    return list(dict.fromkeys([*OPTIMIZERS, *PRESETS, *offered()]))


def known_hyperparameters(optimizer: Optimizer) -> dict[str, Setting]:
    """Return what an optimizer takes by name: its own, then what any optimizer takes."""
    own = {setting.name: setting for setting in optimizer.hyperparameters}
    return {**own, **COMMON, **own}


def hyperparameter_meant(name: str) -> str | None:
    """Return the hyperparameter of some built-in rule that a name in any spelling means, or None.

    >>> [hyperparameter_meant(name) for name in ("learning-rate", "beta1", "x")]
    ['lr', 'beta1', None]
    """
    plain = name.replace("-", "_")
    key = ALIASES.get(plain, plain)
    known = {setting.name for rule in RULES for setting in rule.hyperparameters}
    return key if key in known or key in COMMON else None


def complete_hyperparameters(
    optimizer: Optimizer, given: Mapping[str, Any]
) -> dict[str, float | str]:
    """Return all hyperparameters of an optimizer: those given, and defaults for its own others.

    Raises
    ------
    SuiteError
        For an unknown hyperparameter, one without a default that is not given, a value that is not
        taken, or one that would change nothing.
    """
    (completed,) = complete_configurations(optimizer, [given])
    return completed


def complete_configurations(
    optimizer: Optimizer, given: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, float | str], ...]:
    """Return all hyperparameters of each configuration of a sweep, which name the same ones.

    Raises
    ------
    SuiteError
        As :func:`complete_hyperparameters`; what belongs to a schedule may be given where only
        some configurations have one.
    """
    completed = tuple(with_defaults(optimizer, configuration) for configuration in given)
    own = {setting.name for setting in optimizer.hyperparameters}
    stacked = type(optimizer).begin is Optimizer.begin
    apart = stacked and not (optimizer.scalars or optimizer.needs_matrices)
    check_common(optimizer.name, given, own, apart=apart)
    return completed


def with_defaults(optimizer: Optimizer, given: Mapping[str, Any]) -> dict[str, float | str]:
    """Return what is given, checked by itself, and the defaults of an optimizer's own others."""
    return complete(
        optimizer.name,
        "hyperparameter",
        known_hyperparameters(optimizer).values(),
        given,
        optional=COMMON.keys() - {setting.name for setting in optimizer.hyperparameters},
        aliases=ALIASES,
    )
