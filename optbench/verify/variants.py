"""Known variants of a rule, and which of them two implementations are.

An implementation is identified as a variant if that goes the same way, within the tolerance, on all
gradients that both were given. A cause is a setting in which the variants of two implementations
differ, so all causes together make the second of the first. Variants are the settings of built-in
rules, and those of one general rule of moments, which is written here:

    g ← g + λ·w                            where decay is added to the gradient
    m ← β₁·m + (1 − β₁)·g, or β₁·m + g     v ← β₂·v + (1 − β₂)·g², or v + g²
    w ← w − lr·d/(√(v + eps) + eps)        d is m, or looks ahead; each eps may be 0

with or without the corrections 1 − βᵢᵗ, before or after eps, and with λ·w taken off somewhere.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.settings import Choice, Setting, Switch
from optbench.verify.descent import Configuration, Descent

Value = float | str

MEANINGS = {
    "b1": ("beta1",),
    "b2": ("beta2",),
    "b3": ("beta3",),
    "betas": ("beta1", "beta2"),
    "momentum": ("beta1",),
    "decay": ("beta2",),
    "alpha": ("beta2",),
    "rho": ("beta2",),
    "initial_accumulator_value": ("initial",),
    "initial_scale": ("initial",),
    "learning_rate": ("lr",),
}
"""What hyperparameters are called here, by what rules and libraries call them."""

SHORT, MOST = 3, 4096
"""Updates after which variants that have gone elsewhere are dropped, and the most of a family."""

CORRECTED, UNCORRECTED = "after bias correction", "before bias correction"

WORDS: dict[str, tuple[str, ...]] = {
    "mean of gradients": ("β₁·m + (1 − β₁)·g", "β₁·m + g"),
    "look ahead": (
        "none",
        "Nesterov's: g + β₁·m",
        "Nesterov's, a step further: (1 + β₁)·g + β₁²·m",
    ),
    "bias correction of the mean": ("yes", "no"),
    "divides by": ("nothing", "the root of the sum of squares", "the root of the mean square"),
    "bias correction of the mean square": ("yes", "no"),
    "place of eps": (
        f"outside the root, {CORRECTED}",
        f"outside the root, {UNCORRECTED}",
        f"inside the root, {CORRECTED}",
        f"inside the root, {UNCORRECTED}",
    ),
    "weight decay": (
        "none",
        "added to the gradient",
        "lr·λ·w off the old w",
        "lr·λ·w off the new w",
        "λ·w off, without lr",
    ),
}
"""What may be one way or another in the rule of moments; its numbers are in :data:`NUMBERS`."""

NUMBERS: dict[str, tuple[float, ...]] = {
    "lr": (1.0,),
    "beta1": (0.0, 0.9),
    "beta2": (0.99, 0.999, 0.9),
    "eps": (0.0, 1e-8, 1e-7),
    "eps_root": (0.0,),
    "initial": (0.0,),
    "weight_decay": (0.0,),
}
"""The numbers of the rule of moments, and what they may be where an implementation has none."""


@dataclass(frozen=True)
class Cause:
    """A setting in which two implementations differ: what it is, and what each has."""

    what: str
    first: str
    second: str


@dataclass(frozen=True, eq=False)
class Rule:
    """An optimizer with all of its hyperparameters."""

    optimizer: Optimizer
    configuration: Configuration


@dataclass(frozen=True, eq=False)
class Met:
    """Where two optimizers went from a start, given the same gradients.

    Attributes
    ----------
    start
        Shape (parameters,).
    gradients, first, second
        Of each update, and the parameters after it, shape (updates, parameters).
    """

    start: np.ndarray
    gradients: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class _Variant:
    """A point in a family of rules, and how far it is from what it stands for."""

    settings: Mapping[str, Value]
    distance: float


def distances(start: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how far apart two paths are after each update, relative to the largest move.

    Paths have the shape (updates, parameters); a number that is not finite in only one of them is
    infinitely far away.
    """
    apart, moved = np.abs(first - second), np.abs(first - start)
    lost = ~np.isfinite(first) & ~np.isfinite(second)
    apart = np.where(lost, 0.0, np.where(np.isfinite(apart), apart, np.inf)).max(axis=1)
    largest = np.where(np.isfinite(moved), moved, 0.0).max(axis=1)
    relative: np.ndarray = np.where(apart == 0.0, 0.0, apart / np.maximum(largest, 1e-300))
    return relative


def meaning_of(name: str) -> tuple[str, ...]:
    """Return what the hyperparameter of a library is called here.

    >>> meaning_of("betas"), meaning_of("eps")
    (('beta1', 'beta2'), ('eps',))
    """
    return MEANINGS.get(name, (name,))


def meanings(rule: Rule) -> dict[str, Value]:
    """Return the hyperparameters of a rule by their meanings here.

    Nothing is 0, where a number could stand; a word or a list that means none of ours is left out.
    """
    found: dict[str, Value] = {}
    for setting in rule.optimizer.hyperparameters:
        recorded = rule.configuration[setting.name]
        value = setting.value(recorded) if hasattr(setting, "value") else recorded
        names = meaning_of(setting.name)
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) != len(names):
            continue
        for name, each in zip(names, values, strict=True):
            if each is None or isinstance(each, bool | int | float):
                found.setdefault(name, float(each or 0.0))
            elif isinstance(each, str):
                found.setdefault(name, each)
    return found


def causes(
    first: Rule, second: Rule, met: Sequence[Met], tolerance: float
) -> tuple[tuple[Cause, ...], float | None]:
    """Return in which settings two rules differ, and how far their variants are from them.

    The first family that has both counts, and of its variants those that differ least. Both are
    empty where no family has them.
    """
    for family in _families(first, second):
        of_first = family.stand_for(first, second, [(each, each.first) for each in met], tolerance)
        if not of_first:
            continue
        of_second = family.stand_for(
            second, first, [(each, each.second) for each in met], tolerance
        )
        pairs = [
            (_differing(one, other), one, other) for one, other in product(of_first, of_second)
        ]
        if not pairs:
            continue
        _, one, other = min(pairs, key=lambda pair: len(pair[0]))
        needed, distance = _needed(family, one, other, met, tolerance)
        if needed:
            said = tuple(
                Cause(family.title(key), _text(one.settings[key]), _text(other.settings[key]))
                for key in needed
            )
            return said, max(one.distance, distance)
    return (), None


def _differing(one: _Variant, other: _Variant) -> list[str]:
    return [key for key, value in one.settings.items() if value != other.settings[key]]


def _needed(
    family: "_Family", one: _Variant, other: _Variant, met: Sequence[Met], tolerance: float
) -> tuple[list[str], float]:
    """Return which settings of one have to be those of the other to go where that goes.

    Also returns how far that still is from it.
    """
    needed, distance = _differing(one, other), other.distance
    for key in list(needed):
        changed = {name: other.settings[name] for name in needed if name != key}
        point = {**one.settings, **changed}
        far = max(
            distances(
                each.start, each.second, family.paths([point], each, len(each.second))[:, 0]
            ).max()
            for each in met
        )
        if far <= tolerance:
            needed.remove(key)
            distance = float(far)
    return needed, distance


def _text(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"


class _Family(ABC):
    """Rules that differ in settings."""

    def title(self, key: str) -> str:
        """Return what a setting is called in a cause."""
        return key

    @abstractmethod
    def points(self, rule: Rule, other: Rule) -> Iterable[Mapping[str, Value]]:
        """Yield the variants that a rule may be; values of the other one are tried as well."""

    @abstractmethod
    def paths(self, points: Sequence[Mapping[str, Value]], met: Met, updates: int) -> np.ndarray:
        """Return where variants go, shape (updates, variants, parameters)."""

    def stand_for(
        self, rule: Rule, other: Rule, paths: Sequence[tuple[Met, np.ndarray]], tolerance: float
    ) -> list[_Variant]:
        """Return the variants that go where a rule went on all gradients."""
        points = list(self.points(rule, other))
        far = np.zeros(len(points))
        for updates in (SHORT, len(paths[0][1])):
            if not points:
                return []
            far = np.zeros(len(points))
            for met, path in paths:
                found = self.paths(points, met, updates)
                for place in range(len(points)):
                    apart = distances(met.start, path[:updates], found[:, place])
                    far[place] = max(far[place], apart.max())
            near = np.flatnonzero(far <= tolerance)
            points, far = [points[place] for place in near], far[near]
        return [_Variant(point, float(each)) for point, each in zip(points, far, strict=True)]


class _Settings(_Family):
    """The settings of a built-in rule."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    def title(self, key: str) -> str:
        for setting in self._optimizer.hyperparameters:
            if setting.name == key:
                return f"{key}, {setting.meaning}" if key not in NUMBERS else key
        return key

    def points(self, rule: Rule, other: Rule) -> Iterator[Mapping[str, Value]]:
        if type(rule.optimizer) is type(self._optimizer):
            yield dict(rule.configuration)
            return
        settings = self._optimizer.hyperparameters
        known, others = meanings(rule), meanings(other)
        choices = [self._values(setting, known, others) for setting in settings]
        if math.prod(map(len, choices)) <= MOST:
            for values in product(*choices):
                yield {setting.name: each for setting, each in zip(settings, values, strict=True)}

    def _values(
        self, setting: Setting, known: Mapping[str, Value], others: Mapping[str, Value]
    ) -> list[Value]:
        if isinstance(setting, Choice):
            return list(setting.choices)
        if isinstance(setting, Switch):
            return [0.0, 1.0]
        (name,) = meaning_of(setting.name)[:1]
        if setting.name in known or name in known:
            tried = [known.get(setting.name, known.get(name))]
        else:
            presets = [
                preset.settings[setting.name]
                for preset in PRESETS.values()
                if isinstance(self._optimizer, preset.rule) and setting.name in preset.settings
            ]
            tried = [setting.default, 0.0, others.get(name), *presets]
        return list(dict.fromkeys(_taken(setting, tried)))

    def paths(self, points: Sequence[Mapping[str, Value]], met: Met, updates: int) -> np.ndarray:
        descent = Descent(type(self._optimizer)(), points, met.start)
        return descent.path(lambda _, update: met.gradients[update - 1], updates)


def _taken(setting: Setting, values: Iterable[Value | None]) -> Iterator[Value]:
    """Yield those of some values that a setting takes."""
    for value in values:
        if value is None:
            continue
        try:
            yield setting.check(value)
        except SuiteError:
            continue


class _Moments(_Family):
    """The rule of moments at the top of this file."""

    def points(self, rule: Rule, other: Rule) -> Iterator[Mapping[str, Value]]:
        known, others = meanings(rule), meanings(other)
        numbers = {
            name: [value]
            if isinstance(value := known.get(name), float)
            else list(dict.fromkeys([*usual, *_numbers(others.get(name))]))
            for name, usual in NUMBERS.items()
        }
        for values in product(*numbers.values()):
            point = dict(zip(numbers, values, strict=True))
            for words in product(*WORDS.values()):
                variant: dict[str, Value] = {**dict(zip(WORDS, words, strict=True)), **point}
                if variant == _plain(variant):
                    yield variant

    def paths(self, points: Sequence[Mapping[str, Value]], met: Met, updates: int) -> np.ndarray:
        def column(name: str) -> np.ndarray:
            return np.array([float(point[name]) for point in points])[:, None]

        def has(name: str, *places: int) -> np.ndarray:
            words = [WORDS[name][place] for place in places]
            return np.array([point[name] in words for point in points])[:, None]

        lr, beta1, beta2, eps, root, initial, decay = map(column, NUMBERS)
        averaged, ahead, far = (
            has("mean of gradients", 0),
            has("look ahead", 1),
            has("look ahead", 2),
        )
        unbiased1 = has("bias correction of the mean", 0)
        unbiased2 = has("bias correction of the mean square", 0)
        divides, summed = has("divides by", 1, 2), has("divides by", 1)
        inside, before = has("place of eps", 2, 3), has("place of eps", 1, 3)
        coupled, off_old, off_new, plain = (has("weight decay", place) for place in (1, 2, 3, 4))
        rate1 = np.where(averaged, 1.0 - beta1, 1.0)
        w = np.broadcast_to(met.start, (len(points), len(met.start)))
        m, v = np.zeros_like(w), np.zeros_like(w) + initial
        path = np.empty((updates, *w.shape))
        for row in range(updates):
            t = row + 1
            g = met.gradients[row] + np.where(coupled, decay, 0.0) * w
            m = beta1 * m + rate1 * g
            v = np.where(summed, v + g * g, beta2 * v + (1.0 - beta2) * g * g)
            now = np.where(unbiased1, 1.0 - beta1**t, 1.0)
            following = np.where(unbiased1, 1.0 - beta1 ** (t + 1), 1.0)
            along_m = np.where(ahead, beta1, beta1**2) / following
            along_g = np.where(ahead, 1.0, 1.0 + beta1) * rate1 / now
            d = np.where(ahead | far, along_m * m + along_g * g, m / now)
            c = np.where(unbiased2, 1.0 - beta2**t, 1.0)
            weight = np.where(before, np.where(inside, 1.0 / c, 1.0 / np.sqrt(c)), 1.0)
            added = eps * weight
            below = np.sqrt(v / c + root + np.where(inside, added, 0.0))
            step = lr * np.where(divides, d / (below + np.where(inside, 0.0, added)), d)
            less = np.where(off_old, lr * decay, 0.0) + np.where(plain, decay, 0.0)
            w = w - less * w - step
            w = w - np.where(off_new, lr * decay, 0.0) * w
            path[row] = w
        return path


def _numbers(value: Value | None) -> list[float]:
    return [value] if isinstance(value, float) else []


def _plain(point: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return the one of several variants that do the same which stands for all of them."""
    plain = dict(point)

    def first(*names: str) -> None:
        plain.update({name: WORDS[name][0] for name in names})

    if not plain["weight_decay"]:
        first("weight decay")
    elif plain["weight decay"] == WORDS["weight decay"][0]:
        plain["weight_decay"] = 0.0
    if not plain["beta1"]:
        first("mean of gradients", "look ahead", "bias correction of the mean")
    if plain["mean of gradients"] != WORDS["mean of gradients"][0]:
        plain["bias correction of the mean"] = "no"
    if plain["divides by"] == WORDS["divides by"][0]:
        first("place of eps", "bias correction of the mean square")
    if plain["divides by"] == WORDS["divides by"][1]:
        plain["bias correction of the mean square"] = "no"
    if plain["bias correction of the mean square"] == "no":
        plain["place of eps"] = str(plain["place of eps"]).replace(UNCORRECTED, CORRECTED)
    if not plain["eps"]:
        first("place of eps")
    return plain


def _families(first: Rule, second: Rule) -> Iterator[_Family]:
    """Yield the families in which two rules are looked for: their own, of their names, moments."""
    names: dict[str, None] = {}
    for rule in (first, second):
        names |= dict.fromkeys(
            name
            for name, built_in in OPTIMIZERS.items()
            if type(rule.optimizer) is built_in or _is_named(rule, name)
        )
    for name in names:
        yield _Settings(OPTIMIZERS[name]())
    yield _Moments()


def _is_named(rule: Rule, name: str) -> bool:
    """Say whether a rule bears the name of a built-in one, perhaps of a form of it."""
    bare, known = (each.lower().replace("_", "-") for each in (rule.optimizer.name, name))
    return known == bare or known.startswith(f"{bare}-")
