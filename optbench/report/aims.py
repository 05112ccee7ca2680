"""Targets as users write them, and what value each has on a problem.

====================  ============================================================================
``0.1``               a value
``published``         the one that somebody published for the problem, in targets.toml
``best:5%``           5 % above the smallest median final value of a label
``of:adam``           the median final value of a label; ``of:adam:5%``: 5 % above it
``quantile:0.5``      this quantile of all labels' median final values
``start/100``         a hundredth of the value at the start
====================  ============================================================================

Shares are of the distance from the smallest value m that there is, 0 where it is unknown:
``best:5%`` is m + 1.05 (smallest − m), ``start/100`` is m + (start − m) / 100. A distance below
what rounding leaves counts as that.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

import numpy as np

from optbench.errors import UsageError, argument, nearest
from optbench.report.statistics import quantile
from optbench.report.watched import Watched

DEFAULT = "best:5%"

NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"

FORMS = {
    "best": re.compile(rf"best:(?P<number>{NUMBER})%"),
    "of": re.compile(rf"of:(?P<label>.+?)(?::(?P<number>{NUMBER})%)?"),
    "quantile": re.compile(rf"quantile:(?P<number>{NUMBER})"),
    "start": re.compile(rf"start/(?P<number>{NUMBER})"),
}

EXAMPLES = "0.1, best:5%, of:adam, of:adam:5%, quantile:0.5, start/100 or published"

FIXED = "0.1, start/100 or published"
"""Those that are the same whatever is run."""


@dataclass(frozen=True)
class Aim:
    """A target as it was asked for.

    ``number`` is a value, a share above, a quantile or a divisor, by ``kind``: value, best, of,
    quantile, start or published.
    """

    text: str
    kind: str
    number: float = 0.0
    label: str = ""


@dataclass(frozen=True)
class Target:
    """What an aim is on a problem: the value to be at or below, and where it comes from.

    ``chosen_here`` says that it was chosen from the results that are measured by it, ``by`` who
    published it.
    """

    value: float
    aim: str
    source: str
    chosen_here: bool = False
    by: str = ""

    @property
    def says(self) -> str:
        """Where it comes from, in a few words."""
        here = "; chosen from these runs" if self.chosen_here else ""
        return f"published by {self.by}" if self.by else f"{self.source}{here}"


@dataclass(frozen=True)
class Published:
    """A target that somebody published: of what, by whom, and where it stands."""

    on: str
    value: float
    by: str
    source: str
    problem: str | None = None
    data: str | None = None

    @property
    def subject(self) -> str:
        """What it is a target of."""
        return self.problem or f"networks on {self.data}"


def parse_aim(text: str, *, fixed: bool = False) -> Aim:
    """Read a target; ``fixed`` takes none that is chosen from runs.

    >>> parse_aim("of:adam:5%")
    Aim(text='of:adam:5%', kind='of', number=0.05, label='adam')

    Raises
    ------
    UsageError
        If it is none of the forms.
    """
    if text == "published":
        return Aim(text, "published")
    for kind, form in FORMS.items():
        found = form.fullmatch(text)
        if found is None:
            continue
        if fixed and kind != "start":
            raise UsageError(
                f"target '{text}' depends on the runs that are compared; write {FIXED}"
            )
        parts = found.groupdict()
        number = float(parts["number"] or 0.0)
        if kind == "quantile" and number > 1.0:
            raise UsageError(f"target '{text}' must have a quantile from 0 to 1, as quantile:0.5")
        if kind == "start" and number < 1.0:
            raise UsageError(f"target '{text}' must divide by 1 or more, as start/100")
        scale = 0.01 if kind in ("best", "of") else 1.0
        return Aim(text, kind, number * scale, parts.get("label") or "")
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not isfinite(value):
        raise UsageError(f"target '{text}' is malformed; write {FIXED if fixed else EXAMPLES}")
    return Aim(text, "value", value)


def aims_of(
    texts: Sequence[str],
    known: Sequence[str],
    *,
    who: str = "these runs have",
    fixed: bool = False,
) -> dict[str, Aim]:
    """Return the target asked for of each problem, of those known that have one.

    A text is ``RULE`` for all problems or ``PROBLEM=RULE`` for one.

    >>> {name: aim.text for name, aim in aims_of(["0.1", "b=start/9"], ["a", "b"]).items()}
    {'a': '0.1', 'b': 'start/9'}

    Raises
    ------
    UsageError
        If a text is malformed, names no problem of those that ``who`` has, or is a second one.
    """
    general: Aim | None = None
    own: dict[str, Aim] = {}
    for text in texts:
        # A label may hold the sign, so that the longest problem that fits is meant.
        named = max((name for name in known if text.startswith(f"{name}=")), key=len, default=None)
        if named is not None:
            if named in own:
                raise UsageError(f"'{named}' has two targets; give one, the same for all labels")
            own[named] = parse_aim(text[len(named) + 1 :], fixed=fixed)
        elif "=" in text and not text.startswith("of:"):
            problem = text.partition("=")[0]
            raise UsageError(f"{who} no problem '{problem}'; {nearest(problem, known)}")
        elif general is not None:
            raise UsageError(f"'{general.text}' and '{text}' are two targets; give one a problem")
        else:
            general = parse_aim(text, fixed=fixed)
    asked = {problem: own.get(problem, general) for problem in known}
    return {problem: aim for problem, aim in asked.items() if aim is not None}


def target_of(aim: Aim, watched: Watched) -> Target | None:
    """Return what an aim is on a problem; None where there is no finite value to take it from.

    What is published is found by :func:`published_for`.

    Raises
    ------
    UsageError
        If it names a label that the problem does not have, or the start, which was not recorded.
    """
    finals = watched.finals()
    match aim.kind:
        case "value":
            return Target(aim.number, aim.text, "given")
        case "start":
            if not isfinite(watched.start):
                raise UsageError(
                    f"'{watched.problem}' has no {watched.on} at the start; run it with "
                    f"{argument('evaluate_every')}, or give another target"
                )
            value = watched.zero + (watched.start - watched.zero) / aim.number
            return Target(value, aim.text, f"the start / {aim.number:g}")
        case "best":
            label = min(finals, key=lambda each: finals[each])
            value = finals[label]
            source = f"the best, {label}"
        case "of":
            if aim.label not in finals:
                raise UsageError(
                    f"'{watched.problem}' has no optimizer '{aim.label}' for the target "
                    f"{aim.text}; {nearest(aim.label, finals)}"
                )
            value = finals[aim.label]
            source = aim.label
        case _:
            value = float(quantile(np.array([*finals.values()]), aim.number))
            source = f"quantile {aim.number:g} of what labels end with"
            return _chosen(_above(value, 0.0, watched), aim, source)
    source = f"{100 * aim.number:g} % above {source}" if aim.number else f"as {source} ends"
    return _chosen(_above(value, aim.number, watched), aim, source)


def _chosen(value: float, aim: Aim, source: str) -> Target | None:
    return Target(value, aim.text, source, chosen_here=True) if isfinite(value) else None


def _above(value: float, share: float, watched: Watched) -> float:
    """Return what lies a share of a value's distance from the smallest above it.

    A distance below the floor of :mod:`optbench.inference.metric` is rounding, and counts as that.
    Where the smallest value is unknown, and this one is negative, the share is of its size.
    """
    distance = value - watched.zero
    if watched.minimum is None and distance < 0.0:
        return value - share * distance
    return watched.zero + (1.0 + share) * max(distance, watched.floor)


@cache
def published_targets() -> tuple[Published, ...]:
    """Return all targets of targets.toml."""
    text = (files("optbench.report") / "targets.toml").read_text(encoding="utf-8")
    return tuple(Published(**entry) for entry in tomllib.loads(text)["target"])


def published_for(meta: Mapping[str, Any]) -> Published:
    """Return the target published for a problem, by its entry in run.json.

    Raises
    ------
    UsageError
        If there is none.
    """
    for target in published_targets():
        if target.problem and target.problem == meta.get("name"):
            return target
        if target.data and target.data == meta.get("data"):
            return target
    known = ", ".join(target.subject for target in published_targets())
    raise UsageError(
        f"no target of '{meta['problem']}' is published; there are those of {known}: "
        f"give {meta['problem']}=RULE"
    )
