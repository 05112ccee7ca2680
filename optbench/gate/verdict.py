"""What the gate lets through, and what a comparison with a baseline finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from optbench.errors import ExitCode, UsageError, argument, nearest

LOSS_THRESHOLD = 0.05
FAMILY_LEVEL = 0.01
SLOWDOWN = 1.5


class Severity(StrEnum):
    """How much a finding matters, worst first."""

    FAILURE = "failure"
    WARNING = "warning"
    NOTICE = "notice"


class Kind(StrEnum):
    """What a finding is about, in the order in which findings are listed."""

    BASELINE = "baseline"
    SETTINGS = "settings"
    NUMERICS = "numerics"
    QUALITY = "quality"
    PRESENCE = "presence"
    SPEED = "speed"


ALWAYS = frozenset({Kind.BASELINE, Kind.PRESENCE})
"""Kinds that every check looks for: what is not there, or diverged, cannot be compared."""


def kinds_of(only: str | Sequence[str]) -> frozenset[Kind]:
    """Return the kinds that a check looks for: all, or those named and :data:`ALWAYS`.

    >>> sorted(kinds_of("quality"))
    [<Kind.BASELINE: 'baseline'>, <Kind.PRESENCE: 'presence'>, <Kind.QUALITY: 'quality'>]
    """
    names = [only] if isinstance(only, str) else only
    for name in names:
        if name not in list(Kind):
            raise UsageError(f"unknown check '{name}'; {nearest(name, Kind)}")
    return ALWAYS.union(map(Kind, names)) if names else frozenset(Kind)


class Outcome(StrEnum):
    """What the losses of a group say."""

    PASS = "pass"
    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Gate:
    """What is let through.

    ``strict`` fails a changed bit in the environment that the baseline was made in. ``threshold``
    is the relative change of the loss from which a change counts, 0.05 for 5 %, ``thresholds`` the
    same by problem, where it differs. ``level`` is the probability of at least one false alarm
    among all groups whose losses are judged, ``slowdown`` the ratio of step times from which a step
    counts as slower. Findings of other ``kinds`` are left out.

    Raises
    ------
    UsageError
        If something is to fail that is left out, or if nothing that is asked for can fail.
    """

    strict: bool = False
    fail_on_speed: bool = False
    threshold: float = LOSS_THRESHOLD
    thresholds: Mapping[str, float] = field(default_factory=dict)
    level: float = FAMILY_LEVEL
    slowdown: float = SLOWDOWN
    kinds: frozenset[Kind] = frozenset(Kind)

    def __post_init__(self) -> None:
        flags = (
            ("strict", self.strict, Kind.NUMERICS),
            ("fail_on_speed", self.fail_on_speed, Kind.SPEED),
        )
        for name, given, kind in flags:
            if given and kind not in self.kinds:
                raise UsageError(
                    f"{argument(name)} needs {kind}, which {argument('only')} leaves out; add "
                    f"{argument('only', str(kind))}"
                )
        if self.kinds == ALWAYS | {Kind.SPEED} and not self.fail_on_speed:
            raise UsageError(
                f"{argument('only', 'speed')} fails nothing without {argument('fail_on_speed')}; "
                "give both"
            )

    @property
    def left_out(self) -> tuple[Kind, ...]:
        """Return the kinds that are not looked for."""
        return tuple(kind for kind in Kind if kind not in self.kinds)

    def threshold_of(self, problem: str) -> float:
        """Return the threshold of a problem."""
        return self.thresholds.get(problem, self.threshold)


@dataclass(frozen=True)
class Finding:
    """Something that differs from the baseline.

    ``problem`` and ``label`` are empty where it is about all; ``message`` is one line with the
    numbers, and ``seed`` that of the lane that it quotes; ``iteration`` the first that differs, or
    that differs by too much. ``setting`` tells the configuration from the others of its label. A
    ``consequence`` is explained by settings that differ too. ``size`` is how bad it is among
    findings of its kind, and ``values`` are its numbers, for machines.
    """

    severity: Severity
    kind: Kind
    problem: str
    label: str
    message: str
    seed: int | None = None
    iteration: int | None = None
    setting: str = ""
    consequence: bool = False
    size: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Problem, label, configuration and seed as far as there are any.

        >>> Finding("failure", "numerics", "sphere", "adam", "…", seed=3, setting="lr=0.1").where
        'sphere, adam (lr=0.1), seed 3'
        """
        label = f"{self.label} ({self.setting})" if self.setting else self.label
        seed = "" if self.seed is None else f"seed {self.seed}"
        return ", ".join(filter(None, (self.problem, label, seed)))


@dataclass(frozen=True)
class Reached:
    """Iterations until a target loss; censored where it was not reached within so many.

    >>> str(Reached(120)), str(Reached(2000, censored=True))
    ('120', '> 2000')
    """

    iterations: float
    censored: bool = False

    def __str__(self) -> str:
        return f"> {self.iterations:g}" if self.censored else f"{self.iterations:g}"


@dataclass(frozen=True)
class Group:
    """The lanes of one problem, label and configuration over all seeds, and what they say.

    Relative changes are those of the loss above its known minimum; −0.1 is 10 % less. ``effect`` is
    exp(mean difference of logarithms) − 1, None where no pair of lanes has a final loss; the change
    lies between ``low`` and ``high`` with a confidence of 1 − 2 × level, and one for the worse by
    ``detectable`` is found with a probability of 90 %: None where seeds are too few for that.
    ``p`` is adjusted for all groups, in the direction of the effect; None where nothing was tested.
    ``seeds`` counts pairs with finite losses. The mean test errors of the label and the iterations
    to the target are reported and not judged.
    """

    problem: str
    label: str
    verdict: Outcome
    effect: float | None
    low: float | None
    high: float | None
    detectable: float | None
    p: float | None
    seeds: int
    note: str = ""
    configuration: int = 0
    setting: str = ""
    test_error_then: float | None = None
    test_error_now: float | None = None
    reached_then: Reached | None = None
    reached_now: Reached | None = None


@dataclass(frozen=True)
class Verdict:
    """All that a comparison found: findings, worst first, and groups in the order of the baseline.

    ``matched`` counts pairs of lanes.
    """

    findings: tuple[Finding, ...]
    groups: tuple[Group, ...]
    matched: int

    @property
    def failed(self) -> bool:
        """Whether any finding is a failure."""
        return any(finding.severity == Severity.FAILURE for finding in self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """Nothing to compare; check failed; or done."""
        if not self.matched:
            return ExitCode.NOTHING_TO_COMPARE
        return ExitCode.CHECK_FAILED if self.failed else ExitCode.DONE


def share(value: float | None) -> str:
    """Write a relative change to three digits; what is less than 0.005 % is rounding.

    >>> share(0.213), share(-0.05), share(3e-16), share(12.5), share(None)
    ('+21.3 %', '-5 %', '0 %', '13.5 ×', '')
    """
    if value is None:
        return ""
    if abs(value) < 5e-5:
        return "0 %"
    return f"{1.0 + value:.3g} ×" if value >= 9.995 else f"{100.0 * value:+.3g} %"


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, kind and size; of equals in the order given."""
    severities, kinds = list(Severity), list(Kind)

    def rank(finding: Finding) -> tuple[int, int, float]:
        kind = kinds.index(finding.kind)
        return severities.index(finding.severity), kind, -finding.size

    return tuple(sorted(findings, key=rank))
