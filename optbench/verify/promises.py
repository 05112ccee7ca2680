"""What every optimizer promises, each promise with the check that it is kept.

Whatever an optimizer is, it is seen through its contract alone, on two quadratics whose gradients
are written here: a function of ten variables in float64, and tensors as a network has them in
float32, each stored as the engine stores such problems.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer
from optbench.settings import Setting
from optbench.verify.descent import Configuration, Descent, Gradient, Quadratic, no_gradient

VALLEY = Quadratic("the function", (Tensor("w", (10,)),), "float64", by_coordinate=True)

TENSORS = (Tensor("w1", (6, 4)), Tensor("b1", (4,)), Tensor("w2", (4, 3)), Tensor("scale"))

NETWORK = Quadratic("the network", TENSORS, "float32", by_coordinate=False)

MATRICES = replace(NETWORK, title="matrices alone", tensors=(TENSORS[0], TENSORS[2]))
"""For those that take nothing else."""

MANY, SOME, FEW = 256, 24, 6
"""Updates: until all was finite; until runs are compared; of which each is looked at."""

ZEROS = 20
"""Updates with a gradient of 0."""

SEEDS = (0, 1, 2, 3)
"""Lanes of a check, where it needs several."""

TOLERANCE = 1e-6
"""How far its company may move a lane of another library's optimizer, relative to the largest entry
of its parameters, or of an array of its state. Rules on stacked lanes have none."""

FACTORS = tuple(10.0 ** (power / 2) for power in range(-4, 5))
"""What the learning rate is multiplied by where the best is looked for."""

MOST, SHARE, LOOK = 2000, 0.01, 50
"""Within so many updates the loss falls to this share of its start; looked at every so many."""

Judgement = tuple[bool, str]
"""Whether a promise is kept, and what was seen."""


@dataclass(frozen=True)
class Subject:
    """The optimizer that is checked.

    Attributes
    ----------
    make
        Returns it anew.
    hyperparameters
        All of its own.
    quadratics
        Those that it runs on, at least one.
    """

    make: Callable[[], Optimizer]
    hyperparameters: Configuration
    quadratics: tuple[Quadratic, ...]

    @property
    def has_rate(self) -> bool:
        """Whether it has a learning rate that is a number."""
        return isinstance(self.hyperparameters.get("lr"), float)

    def begin(self, quadratic: Quadratic, seeds: Sequence[int] = SEEDS[:2]) -> Descent:
        """Return lanes at the starts of these seeds, with the hyperparameters given."""
        configurations = [self.hyperparameters] * len(seeds)
        return Descent(self.make(), quadratic, configurations, quadratic.starts(seeds))


def finite(subject: Subject) -> Judgement:
    """Make many updates with noisy gradients."""
    for quadratic in subject.quadratics:
        descent = subject.begin(quadratic)
        gradient = quadratic.noisy_gradient(SEEDS[:2])
        wrong = _advance_finite(descent, gradient, range(1, MANY + 1))
        if wrong:
            return False, f"{wrong} on {quadratic.title}"
    return True, f"after {MANY} updates with noise"


def _advance_finite(descent: Descent, gradient: Gradient, updates: range) -> str:
    """Make updates until something is not finite any more; say what, and when."""
    for update in updates:
        descent.advance(gradient, range(update, update + 1))
        for name, array in descent.arrays.items():
            if not np.isfinite(array).all():
                return f"{name} not finite after update {update}"
    return ""


def same_form(subject: Subject) -> Judgement:
    """Look at dtypes and shapes after each update."""
    for each, dtype in product(subject.quadratics, ("float32", "float64")):
        quadratic = replace(each, dtype=dtype)
        descent = subject.begin(quadratic)
        before = _forms(descent)
        for update in range(1, FEW + 1):
            descent.advance(quadratic.noisy_gradient(SEEDS[:2]), range(update, update + 1))
            after = _forms(descent)
            for name, form in before.items():
                if after.get(name) != form:
                    found = after.get(name, "nothing")
                    return False, f"update {update} makes {found} of {name}, {form}"
            before = after
    return True, "kept, in float32 and in float64"


def _forms(descent: Descent) -> dict[str, str]:
    return {name: f"{array.dtype}{array.shape}" for name, array in descent.arrays.items()}


def deterministic(subject: Subject) -> Judgement:
    """Do the same twice."""
    for quadratic in subject.quadratics:
        first, second = subject.begin(quadratic), subject.begin(quadratic)
        for descent in (first, second):
            descent.advance(quadratic.noisy_gradient(SEEDS[:2]), range(1, SOME + 1))
        differs = _difference(first.arrays, second.arrays)
        if differs:
            return False, f"{differs} came out otherwise when the same was done again"
    return True, f"{SOME} updates, twice: the same bits"


def independent(subject: Subject) -> Judgement:
    """Put lanes into company, and then beside one whose gradients are NaN."""
    configurations = _varied(subject)
    for quadratic in subject.quadratics:
        alone = [
            _lanes(subject, quadratic, [configuration], [seed]).arrays
            for configuration, seed in zip(configurations, SEEDS, strict=True)
        ]
        for spoilt in (None, 1):
            together = _lanes(subject, quadratic, configurations, SEEDS, spoilt)
            tolerance = 0.0 if together.stacked else TOLERANCE
            for lane, own in enumerate(alone):
                there = {name: each[lane : lane + 1] for name, each in together.arrays.items()}
                differs = "" if lane == spoilt else _difference(own, there, tolerance)
                if differs:
                    company = "in company" if spoilt is None else "beside a lane of NaN"
                    return False, f"{differs} of a lane came out otherwise {company} than alone"
    held = "to the bit" if tolerance == 0.0 else f"within {TOLERANCE:g}"
    return True, f"{held}: alone, in company, beside NaN"


def _varied(subject: Subject) -> list[Configuration]:
    """Return hyperparameters for each lane: other learning rates, other numbers between 0 and 1."""
    return [
        {
            each.name: _change(each, subject.hyperparameters[each.name], lane)
            for each in subject.make().hyperparameters
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


def _lanes(
    subject: Subject,
    quadratic: Quadratic,
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    spoilt: int | None = None,
) -> Descent:
    """Return lanes after some updates; the gradients of one may be NaN."""
    descent = Descent(subject.make(), quadratic, configurations, quadratic.starts(seeds))
    noisy = quadratic.noisy_gradient(seeds)

    def gradient(params: np.ndarray, update: int) -> np.ndarray:
        found = noisy(params, update)
        if spoilt is not None and update > FEW:
            found[spoilt] = np.nan
        return found

    descent.advance(gradient, range(1, SOME + 1))
    return descent


def _difference(
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


def zero_gradient(subject: Subject) -> Judgement:
    """Give gradients of 0, from the start and after some updates."""
    for quadratic in subject.quadratics:
        for updates in (0, SOME):
            descent = subject.begin(quadratic)
            descent.advance(quadratic.noisy_gradient(SEEDS[:2]), range(1, updates + 1))
            zeros = range(updates + 1, updates + 1 + ZEROS)
            wrong = _advance_finite(descent, no_gradient, zeros)
            if wrong:
                since = "from the start" if not updates else f"after update {updates}"
                return False, f"{wrong} where gradients are 0 {since}"
    return True, f"{ZEROS} updates, at the start and later: all finite"


def resumes(subject: Subject) -> Judgement:
    """Take state and parameters, and go on from them with another instance."""
    for quadratic in subject.quadratics:
        gradient = quadratic.noisy_gradient(SEEDS[:2])
        whole, first = subject.begin(quadratic), subject.begin(quadratic)
        whole.advance(gradient, range(1, SOME + 1))
        first.advance(gradient, range(1, SOME // 2 + 1))
        configurations = [subject.hyperparameters] * 2
        second = Descent(subject.make(), quadratic, configurations, first.params, first.state)
        second.advance(gradient, range(SOME // 2 + 1, SOME + 1))
        differs = _difference(whole.arrays, second.arrays)
        if differs:
            return False, f"{differs} came out otherwise after an interruption"
    return True, "from saved state, to the bit"


def converges(subject: Subject) -> Judgement:
    """Minimise a quadratic at several learning rates; the best one counts."""
    quadratic = replace(subject.quadratics[0], dtype="float64")
    configurations = _learning_rates(subject)
    starts = quadratic.starts([0] * len(configurations))
    descent = Descent(subject.make(), quadratic, configurations, starts)
    start, least, best = quadratic.loss(starts)[0], np.inf, configurations[0]
    for updates in range(LOOK, MOST + 1, LOOK):
        descent.advance(quadratic.gradient, range(updates - LOOK + 1, updates + 1))
        losses = np.nan_to_num(quadratic.loss(descent.eval_params) / start, nan=np.inf)
        if losses.min() < least:
            least, best = losses.min(), configurations[int(losses.argmin())]
        if least < SHARE:
            break
    at = f"; best lr = {best['lr']:.3g}" if subject.has_rate else ""
    return bool(least < SHARE), f"loss × {least:.1e} in {updates} updates{at}"


def _learning_rates(subject: Subject) -> list[Configuration]:
    """Return the hyperparameters at several learning rates, where there is one."""
    given = subject.hyperparameters
    if not subject.has_rate:
        return [given]
    setting = next(each for each in subject.make().hyperparameters if each.name == "lr")
    rates: list[float | str] = []
    for factor in FACTORS:
        try:
            rates.append(setting.check(float(given["lr"]) * factor))
        except SuiteError:  # out of its range
            continue
    return [{**given, "lr": rate} for rate in dict.fromkeys(rates)]


DETERMINISTIC = "deterministic"

COMPARING = ("lanes independent", "resumes")
"""Checks that compare runs, and so say nothing of a rule that is not deterministic."""

CHECKS: dict[str, Callable[[Subject], Judgement]] = {
    "finite": finite,
    "dtype and shape": same_form,
    DETERMINISTIC: deterministic,
    "lanes independent": independent,
    "zero gradient": zero_gradient,
    "resumes": resumes,
    "converges": converges,
}
"""All checks by what they are called."""
