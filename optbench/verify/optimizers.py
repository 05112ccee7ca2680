"""Checks of what every optimizer promises, for user's own tests as well.

Whatever an optimizer is, it is seen through its contract alone, on two quadratics whose gradients
are written in :mod:`~optbench.verify.descent`: a function of ten variables in float64, and tensors
as a network has them in float32, each stored as the engine stores such problems.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from optbench.arrays import Tensor
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import one_blas_thread
from optbench.errors import SuiteError, UnrepeatableError, UsageError, nearest, quoted
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.plugins import complaint, new_code_cache
from optbench.settings import Setting, typed
from optbench.suite.handed import named_optimizers
from optbench.verify.descent import Configuration, Descent, Gradient, Quadratic

VALLEY = Quadratic("the function", (Tensor("w", (10,)),), "float64", by_coordinate=True)

TENSORS = (Tensor("w1", (6, 4)), Tensor("b1", (4,)), Tensor("w2", (4, 3)), Tensor("scale"))

NETWORK = Quadratic("the network", TENSORS, "float32", by_coordinate=False)

MATRICES = replace(NETWORK, title="matrices alone", tensors=(TENSORS[0], TENSORS[2]))
"""For optimizers that take nothing else."""

MANY, SOME, FEW = 256, 24, 6
"""Numbers of updates: to stay finite; to compare runs; to look at each."""

ZEROS = 20
"""Updates with a gradient of 0."""

SEEDS = (0, 1, 2, 3)
"""Lanes of a check, where it needs several."""

TOLERANCE = 1e-6
"""How far its company may move a lane of another library's optimizer, relative to the largest entry
of its parameters, or of an array of its state. Rules on stacked lanes must not move at all."""

FACTORS = tuple(10.0 ** (power / 2) for power in range(-4, 5))
"""What the learning rate is multiplied by in search of the best."""

MOST, SHARE, INTERVAL = 2000, 0.01, 50
"""Within so many updates the loss has to fall to this share of its start; it is computed once in
so many."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found."""

    check: str
    passed: bool | None  # None where it was not made, since another one failed
    note: str


@typed
@new_code_cache()
def check_optimizer(
    name: str | Callable[..., Any], given: Mapping[str, Any] | None = None
) -> tuple[CheckResult, ...]:
    """Check what every optimizer promises.

    Parameters
    ----------
    name
        As a suite or a flag gives it; in Python also a class.
    given
        Hyperparameters that are not to have their defaults; only the optimizer's own.

    Raises
    ------
    SuiteError
        If there is no such optimizer or hyperparameter, or if the optimizer cannot run on any of
        the quadratics.
    """
    plain = named_optimizers(name)
    with one_blas_thread(), NumpyDevice().quiet():
        results: dict[str, CheckResult] = {}
        try:
            subject = _subject(plain, given or {})
        except UnrepeatableError as error:
            differs = CheckResult(DETERMINISTIC, False, str(error))
            return tuple(differs if check == DETERMINISTIC else _unknown(check) for check in CHECKS)
        for check in CHECKS:
            if check in COMPARING and not results[DETERMINISTIC].passed:
                results[check] = _unknown(check)
            else:
                results[check] = _result(check, subject)
        return tuple(results.values())


@typed
@new_code_cache()
def positions(
    name: str | Callable[..., Any],
    start: Sequence[float] | np.ndarray,
    gradients: Sequence[Sequence[float]] | np.ndarray,
    **hyperparameters: Any,
) -> np.ndarray:
    """Return the parameters after each update by an optimizer, in float64.

    Parameters
    ----------
    name
        As a suite or a flag gives it; in Python also a class.
    start, gradients
        Of shape (parameters,) and (updates, parameters).
    hyperparameters
        Those that are not to have their defaults.

    Returns
    -------
    ndarray
        Shape (updates, parameters).

    Raises
    ------
    UsageError
        If start or gradients have another shape, or if there is no such optimizer or
        hyperparameter.

    >>> positions("sgd", [1.0], [[2.0], [1.0]], lr=0.25).tolist()
    [[0.5], [0.25]]
    """
    optimizer = get_optimizer(named_optimizers(name))
    configuration = complete_hyperparameters(optimizer, hyperparameters)
    begin, slopes = _numbers("start", start), _numbers("gradients", gradients)
    if begin.ndim != 1 or not begin.size:
        raise UsageError("start must have the shape (parameters,)")
    if slopes.ndim != 2 or slopes.shape[1] != len(begin):
        raise UsageError(f"gradients must have the shape (updates, {len(begin)})")
    descent = Descent(optimizer, [configuration], begin, by_coordinate=True)
    return descent.path(lambda _, update: slopes[update - 1], len(slopes))[:, 0]


def _numbers(name: str, given: Any) -> np.ndarray:
    """Return a float64 array of what was given."""
    try:
        return np.array(given, dtype=float)
    except (TypeError, ValueError):
        raise UsageError(f"{name} = {quoted(given)} must be numbers") from None


@dataclass(frozen=True)
class _Subject:
    """The optimizer that is checked."""

    make: Callable[[], Optimizer]  # returns it anew
    hyperparameters: Configuration  # all of its own
    quadratics: tuple[Quadratic, ...]  # those that it runs on, at least one

    @property
    def has_rate(self) -> bool:
        """Whether it has a learning rate that is a number."""
        return isinstance(self.hyperparameters.get("lr"), float)

    def begin(self, quadratic: Quadratic, seeds: Sequence[int] = SEEDS[:2]) -> Descent:
        """Return lanes at the starts of these seeds, all with its hyperparameters."""
        configurations = [self.hyperparameters] * len(seeds)
        return quadratic.descent(self.make(), configurations, quadratic.starts(seeds))


def _subject(name: str, given: Mapping[str, Any]) -> _Subject:
    """Return an optimizer with its hyperparameters and the quadratics that it takes."""
    optimizer = get_optimizer(name)
    own = [setting.name for setting in optimizer.hyperparameters]
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
    return _Subject(partial(get_optimizer, name), hyperparameters, tuple(taken))


def _taken(
    optimizer: Optimizer, hyperparameters: Configuration, *quadratics: Quadratic
) -> tuple[list[Quadratic], SuiteError | None]:
    """Return those of the quadratics that an optimizer runs on, and why not on another one."""
    taken, refusal = [], None
    for quadratic in quadratics:
        try:
            optimizer.fit(quadratic.task(optimizer, [hyperparameters]))
            taken.append(quadratic)
        except UnrepeatableError:
            raise
        except SuiteError as error:
            refusal = error
        except (Exception, SystemExit):  # the checks will say what a user's code raises
            if optimizer.plugin is None:
                raise
            taken.append(quadratic)
    return taken, refusal


def _unknown(check: str) -> CheckResult:
    return CheckResult(check, None, "not checked, since equal runs differ")


def _result(check: str, subject: _Subject) -> CheckResult:
    """Make a check; a user's own code that raises has not passed."""
    try:
        return CheckResult(check, *CHECKS[check](subject))
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        plugin = subject.make().plugin
        if plugin is None:
            raise
        return CheckResult(check, False, complaint(error, plugin.source.root))


# The checks: each returns whether a promise is kept, and what was seen.

Judgement: TypeAlias = tuple[bool, str]


def finite(subject: _Subject) -> Judgement:
    """Check that many updates with noisy gradients keep everything finite."""
    for quadratic in subject.quadratics:
        gradient = quadratic.noisy_gradient(SEEDS[:2])
        fault = _advance_while_finite(subject.begin(quadratic), gradient, range(1, MANY + 1))
        if fault:
            return False, f"{fault}, on {quadratic.title}"
    return True, f"for {MANY} updates with noise"


def _advance_while_finite(descent: Descent, gradient: Gradient, updates: range) -> str:
    """Make updates until something is no longer finite; say what, and when."""
    for update in updates:
        descent.advance(gradient, range(update, update + 1))
        for name, array in descent.arrays.items():
            if not np.isfinite(array).all():
                return f"not finite after update {update}: {name}"
    return ""


def same_form(subject: _Subject) -> Judgement:
    """Check that no update changes the dtype or the shape of anything.

    What is stepped lane by lane may keep another thing from one update to the next.
    """
    for quadratic, dtype in product(subject.quadratics, ("float32", "float64")):
        in_dtype = replace(quadratic, dtype=dtype)
        descent, gradient = subject.begin(in_dtype), in_dtype.noisy_gradient(SEEDS[:2])
        before = _forms(descent)
        for update in range(1, FEW + 1):
            descent.advance(gradient, range(update, update + 1))
            after = _forms(descent)
            for name, form in before.items():
                gone = name not in after and not descent.is_stacked
                if after.get(name) != form and not gone:
                    new = after.get(name, "nothing")
                    return False, f"update {update} turns {name} from {form} into {new}"
            before = after
    return True, "kept, in float32 and in float64"


def _forms(descent: Descent) -> dict[str, str]:
    return {name: f"{array.dtype}{array.shape}" for name, array in descent.arrays.items()}


def deterministic(subject: _Subject) -> Judgement:
    """Check that a run that is made twice gives the same bits."""
    for quadratic in subject.quadratics:
        first, second = subject.begin(quadratic), subject.begin(quadratic)
        for descent in (first, second):
            descent.advance(quadratic.noisy_gradient(SEEDS[:2]), range(1, SOME + 1))
        differing = _first_difference(first.arrays, second.arrays)
        if differing:
            return False, f"{differing} differed when the same run was made again"
    return True, f"{SOME} updates, twice: the same bits"


def independent(subject: _Subject) -> Judgement:
    """Check that a lane does alone what it does among others, and beside gradients of NaN."""
    configurations = _varied(subject)
    for quadratic in subject.quadratics:
        alone = [
            _advanced(subject, quadratic, [configuration], [seed]).arrays_of(0)
            for configuration, seed in zip(configurations, SEEDS, strict=True)
        ]
        for spoilt in (None, 1):
            together = _advanced(subject, quadratic, configurations, SEEDS, spoilt)
            tolerance = 0.0 if together.is_stacked else TOLERANCE
            for lane, own in enumerate(alone):
                if lane == spoilt:
                    continue
                differing = _first_difference(own, together.arrays_of(lane), tolerance)
                if differing:
                    company = "other lanes" if spoilt is None else "a lane of NaN"
                    return False, f"{differing} of a lane beside {company} differ from those alone"
    exactness = "to the bit" if tolerance == 0.0 else f"within {TOLERANCE:g}"
    return True, f"{exactness}: alone, among others, beside NaN"


def _varied(subject: _Subject) -> list[Configuration]:
    """Return hyperparameters for each lane: other learning rates, other numbers between 0 and 1."""
    return [
        {
            setting.name: _change(setting, subject.hyperparameters[setting.name], lane)
            for setting in subject.make().hyperparameters
        }
        for lane in range(len(SEEDS))
    ]


def _change(setting: Setting, value: float | str, lane: int) -> float | str:
    """Return another value that a hyperparameter takes, or the same one."""
    if isinstance(value, str):
        return value
    factor = 0.5 if setting.name == "lr" else 0.98 if 0 < value < 1 else 1.0
    try:
        changed: float | str = setting.check(value * factor**lane)
        return changed
    except SuiteError:
        return value


def _advanced(
    subject: _Subject,
    quadratic: Quadratic,
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    spoilt: int | None = None,
) -> Descent:
    """Return lanes after some updates; the gradients of one may become NaN."""
    descent = quadratic.descent(subject.make(), configurations, quadratic.starts(seeds))
    noisy = quadratic.noisy_gradient(seeds)

    def gradient(params: np.ndarray, update: int) -> np.ndarray:
        grads = noisy(params, update)
        if spoilt is not None and update > FEW:
            grads[spoilt] = np.nan
        return grads

    descent.advance(gradient, range(1, SOME + 1))
    return descent


def _first_difference(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], tolerance: float = 0.0
) -> str:
    """Return the first name whose arrays differ, or nothing; without tolerance, in any bit."""
    for name in {**one, **other}:
        if name not in one or name not in other or not _same(one[name], other[name], tolerance):
            return name
    return ""


def _same(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not tolerance:
        return one.tobytes() == other.tobytes()
    apart = np.abs(one.astype(float) - other)
    return bool((apart <= tolerance * np.abs(one).max(initial=0.0)).all())


def apart(subject: _Subject) -> Judgement:
    """Check that a block does alone what it does in turns with another one."""
    for quadratic in subject.quadratics:
        alone = [_in_turns(subject, quadratic, [seed])[0] for seed in SEEDS[:2]]
        in_turns = _in_turns(subject, quadratic, SEEDS[:2])
        for own, other in zip(alone, in_turns, strict=True):
            differing = _first_difference(own, other)
            if differing:
                return False, f"{differing} of a block differ when another is updated in between"
    return True, "to the bit: alone, in turns with another"


def _in_turns(
    subject: _Subject, quadratic: Quadratic, seeds: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """Return what blocks of one lane hold after updates in turns, by copies of one instance."""
    optimizer = subject.make()
    configurations = [subject.hyperparameters]
    blocks = [
        quadratic.descent(copy(optimizer), configurations, quadratic.starts([seed]))
        for seed in seeds
    ]
    gradients = [quadratic.noisy_gradient([seed]) for seed in seeds]
    for update in range(1, SOME + 1):
        for block, gradient in zip(blocks, gradients, strict=True):
            block.advance(gradient, range(update, update + 1))
    return [block.arrays for block in blocks]


def zero_gradient(subject: _Subject) -> Judgement:
    """Check that gradients of 0, from the start or after some updates, keep everything finite."""
    for quadratic, update_count in product(subject.quadratics, (0, SOME)):
        descent = subject.begin(quadratic)
        descent.advance(quadratic.noisy_gradient(SEEDS[:2]), range(1, update_count + 1))
        updates = range(update_count + 1, update_count + 1 + ZEROS)
        fault = _advance_while_finite(descent, lambda params, _: np.zeros_like(params), updates)
        if fault:
            since = f"after update {update_count}" if update_count else "from the start"
            return False, f"{fault}, with gradients of 0 {since}"
    return True, f"{ZEROS} updates, at the start and later: all finite"


def resumes(subject: _Subject) -> Judgement:
    """Check that another instance, given saved state and parameters, goes on to the same bits."""
    for quadratic in subject.quadratics:
        gradient = quadratic.noisy_gradient(SEEDS[:2])
        whole, first = subject.begin(quadratic), subject.begin(quadratic)
        whole.advance(gradient, range(1, SOME + 1))
        first.advance(gradient, range(1, SOME // 2 + 1))
        configurations = [subject.hyperparameters] * 2
        second = quadratic.descent(subject.make(), configurations, first.params, first.state)
        second.advance(gradient, range(SOME // 2 + 1, SOME + 1))
        differing = _first_difference(whole.arrays, second.arrays)
        if differing:
            return False, f"{differing} differed after an interruption"
    return True, "from saved state, to the bit"


def converges(subject: _Subject) -> Judgement:
    """Check that one of several learning rates minimises a quadratic."""
    quadratic = replace(subject.quadratics[0], dtype="float64")
    configurations = _learning_rates(subject)
    starts = quadratic.starts([0] * len(configurations))
    descent = quadratic.descent(subject.make(), configurations, starts)
    start, least, best = quadratic.loss(starts)[0], np.inf, configurations[0]
    for update_count in range(INTERVAL, MOST + 1, INTERVAL):
        updates = range(update_count - INTERVAL + 1, update_count + 1)
        descent.advance(quadratic.gradient, updates)
        losses = np.nan_to_num(quadratic.loss(descent.eval_params) / start, nan=np.inf)
        if losses.min() < least:
            least, best = losses.min(), configurations[int(losses.argmin())]
        if least < SHARE:
            break
    at = f"; best lr = {best['lr']:.3g}" if subject.has_rate else ""
    return bool(least < SHARE), f"loss × {least:.1e} in {update_count} updates{at}"


def _learning_rates(subject: _Subject) -> list[Configuration]:
    """Return the hyperparameters at several learning rates, where there is one.

    Those of parts of the parameters, such as ``aux_lr``, are multiplied alike.
    """
    given = subject.hyperparameters
    if not subject.has_rate:
        return [given]
    rates = {
        setting.name: (setting, value)
        for setting in subject.make().hyperparameters
        if re.search(r"(^|_)lr$", setting.name) and isinstance(value := given[setting.name], float)
    }
    found: list[Configuration] = []
    for factor in FACTORS:
        try:
            tried = {name: each.check(value * factor) for name, (each, value) in rates.items()}
        except SuiteError:  # out of its range
            continue
        if {**given, **tried} not in found:
            found.append({**given, **tried})
    return found


DETERMINISTIC = "deterministic"

COMPARING = ("lanes independent", "blocks independent", "resumes")
"""Checks that compare runs, and so say nothing of a rule that is not deterministic."""

CHECKS: dict[str, Callable[[_Subject], Judgement]] = {
    "finite": finite,
    "dtype and shape": same_form,
    DETERMINISTIC: deterministic,
    "lanes independent": independent,
    "blocks independent": apart,
    "zero gradient": zero_gradient,
    "resumes": resumes,
    "converges": converges,
}
"""All checks by name, in the order in which they are made."""
