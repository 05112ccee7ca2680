"""An optimizer beside what every optimizer promises; for user's own tests as well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from optbench.arrays import Tensor
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import one_blas_thread
from optbench.errors import SuiteError, nearest
from optbench.optimizers.base import Optimizer, Task
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.plugins import complaint, new_code_cache
from optbench.verify.descent import Configuration, Descent, Quadratic
from optbench.verify.promises import (
    CHECKS,
    COMPARING,
    DETERMINISTIC,
    MATRICES,
    NETWORK,
    VALLEY,
    Subject,
)


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes
    ----------
    check
        What it is called.
    passed
        None where it says nothing, since another one failed.
    note
        What was seen.
    """

    check: str
    passed: bool | None
    note: str


@new_code_cache()
def check_optimizer(name: str, given: Mapping[str, Any] | None = None) -> tuple[CheckResult, ...]:
    """Check what every optimizer promises, and say what was found.

    Parameters
    ----------
    name
        As a suite or a flag gives it.
    given
        Hyperparameters that are not to have their defaults; only the optimizer's own.

    Raises
    ------
    SuiteError
        If there is no such optimizer or hyperparameter, or if it cannot run on what it is checked
        with.
    """
    with one_blas_thread(), NumpyDevice().quiet():
        subject = _subject(name, given or {})
        found: dict[str, CheckResult] = {}
        for check in CHECKS:
            if check in COMPARING and not found[DETERMINISTIC].passed:
                found[check] = CheckResult(check, None, "says nothing where equal runs differ")
            else:
                found[check] = _finding(check, subject)
        return tuple(found.values())


def _finding(check: str, subject: Subject) -> CheckResult:
    """Make a check; code of the user's own that raises has not passed."""
    try:
        return CheckResult(check, *CHECKS[check](subject))
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        plugin = subject.make().plugin
        if plugin is None:
            raise
        return CheckResult(check, False, complaint(error, plugin.source.root))


def _subject(name: str, given: Mapping[str, Any]) -> Subject:
    """Return an optimizer with its hyperparameters and the quadratics that it takes."""
    optimizer = get_optimizer(name)
    own = [each.name for each in optimizer.hyperparameters]
    for key in given:
        if key not in own:
            meant = nearest(key, own) if own else "it has none"
            raise SuiteError(f"{optimizer.name} has no hyperparameter '{key}' of its own; {meant}")
    hyperparameters = complete_hyperparameters(optimizer, given)
    taken, refusal = _taken(optimizer, hyperparameters, VALLEY, NETWORK)
    if refusal is not None and not taken:
        taken, _ = _taken(optimizer, hyperparameters, MATRICES)
    if refusal is not None and not taken:
        raise refusal
    return Subject(partial(get_optimizer, name), hyperparameters, tuple(taken))


def _taken(
    optimizer: Optimizer, hyperparameters: Configuration, *quadratics: Quadratic
) -> tuple[list[Quadratic], SuiteError | None]:
    """Return those of the quadratics that an optimizer runs on, and why not on another one."""
    taken, refusal = [], None
    for quadratic in quadratics:
        try:
            optimizer.fit(Task(optimizer.name, *quadratic.task, [hyperparameters]))
            taken.append(quadratic)
        except SuiteError as error:
            refusal = error
        except (Exception, SystemExit):  # the checks will say what a user's code raises
            if optimizer.plugin is None:
                raise
            taken.append(quadratic)
    return taken, refusal


@new_code_cache()
def positions(
    name: str,
    start: Sequence[float] | np.ndarray,
    gradients: Sequence[Sequence[float]] | np.ndarray,
    **hyperparameters: Any,
) -> np.ndarray:
    """Return where a lane stands after each update by an optimizer, in float64.

    Parameters
    ----------
    name
        As a suite or a flag gives it.
    start, gradients
        Of shape (parameters,) and (updates, parameters).
    hyperparameters
        Those that are not to have their defaults.

    Returns
    -------
    ndarray
        Shape (updates, parameters).

    >>> positions("sgd", [1.0], [[2.0], [1.0]], lr=0.25).tolist()
    [[0.5], [0.25]]
    """
    optimizer = get_optimizer(name)
    complete = complete_hyperparameters(optimizer, hyperparameters)
    starts, slopes = np.array([start], dtype=float), np.array(gradients, dtype=float)
    shaped = replace(VALLEY, tensors=(Tensor("w", (starts.size,)),))
    descent = Descent(optimizer, shaped, [complete], starts)
    path = np.empty_like(slopes)
    for row in range(len(slopes)):
        descent.advance(lambda _, update: slopes[update - 1], range(row + 1, row + 2))
        path[row] = descent.params[0]
    return path
