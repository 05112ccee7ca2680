"""The protocol of a study: all that is fixed before the first trial runs.

What is compared is a procedure: rule, spaces, sampler and budget. A :class:`Protocol` is settled
from a request once, written into tune.json, and read from there when the study goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from optbench.records import STEPS_TO_TARGET
from optbench.suite.format import (
    SuiteFile,
)
from optbench.suite.request import Changes, RunRequest
from optbench.tuning.budget import Budget, Effort
from optbench.tuning.rungs import Plan
from optbench.tuning.spaces import Space

if TYPE_CHECKING:
    from optbench.tuning.targets import Goal  # that loads pandas

FIRST_RUNG = "N/9"
"""Where halving looks first, by default."""

OWN_SPACES = "the suite, or --space and --grid"
"""By whose opinion spaces are that come from no set."""

METRICS = ("validation_loss", "validation_error", "final_loss", "best_loss", STEPS_TO_TARGET)
"""What trials can be scored by; the test split never chooses."""

Key = tuple[str, str]
"""Titles of a problem and of an optimizer."""


@dataclass(frozen=True)
class TuneRequest(RunRequest):
    """What a study is asked for: that of a run, and each option of ``optbench tune``.

    Attributes
    ----------
    space
        What is tried of a hyperparameter, by target, as ``{"sgd.lr": "log(1e-3, 10)"}``. The first
        space of an optimizer replaces all that the set has for it.
    spaces
        The set of spaces: ``"wide"``, ``"full"``, ``"algoperf"``, or a TOML file.
    sampler
        ``"random"``, ``"sobol"``, ``"halton"``, ``"grid"`` or ``"tpe"``.
    batch
        Trials in a round of ``tpe``.
    budget
        Of each optimizer on each problem: ``"64 trials"``, ``"2e6 steps"``, ``"2e6 gradients"`` or
        ``"600 s"``.
    trial_seeds
        Tuning seeds that each trial is run with.
    finalists, finalist_seeds
        The best trials, tried again on further seeds; 0 leaves them out.
    eval_seeds
        How many seeds judge the winners, from 0 up; which they are may be said by ``seeds`` in its
        place. ``"auto"``: those that the suite lists, else as many as a verdict needs.
    defaults
        Whether the suite's own hyperparameters are judged, too.
    metric
        What trials are scored by; by default validation loss where there is a validation split,
        else final loss.
    target
        What is to be reached where ``metric`` is ``"steps_to_target"``: ``"0.1"``, ``"published"``
        or ``"start/100"``, of all problems or of one: ``"booth=0.1"``.
    halving, first_rung
        After each rung, N/9, N/3 and N with 3, the best one in so many trials goes on. The first
        rung is a share of N or a number of iterations. None: all trials make N.
    halving_anyway
        Whether to halve where a schedule decays.
    """

    _: KW_ONLY
    space: Changes = ()
    spaces: str = "wide"
    sampler: str = "random"
    batch: int = 16
    budget: str = "64 trials"
    trial_seeds: int = 3
    finalists: int = 4
    finalist_seeds: int = 5
    eval_seeds: int | Literal["auto"] = "auto"
    defaults: bool = True
    metric: str | None = None
    target: float | str | Sequence[str] = ()
    halving: int | None = None
    first_rung: str = FIRST_RUNG
    halving_anyway: bool = False

    @property
    def changes(self) -> list[tuple[str, Changes]]:
        """Values, sweeps and spaces by the options that they are given with."""
        return [*super().changes, ("space", self.space)]

    @property
    def targets(self) -> list[str]:
        """The targets as texts."""
        if isinstance(self.target, str | int | float):
            return [str(self.target)]
        return list(self.target)


@dataclass(frozen=True)
class Entrant:
    """An optimizer that is tuned on a problem.

    Attributes
    ----------
    problem, label
        Their titles.
    optimizer, rule
        The optimizer's name, and that of its rule, whose presets have the same trials.
    spaces, source
        What is tried of each hyperparameter, and by whose opinion.
    specific
        Whether the spaces are this problem's own.
    random
        Whether its lanes differ by seed.
    iterations
        N, those of a whole lane.
    trials
        How many its budget buys.
    """

    problem: str
    label: str
    optimizer: str
    rule: str
    spaces: Mapping[str, Space]
    source: str
    specific: bool
    random: bool
    iterations: int
    trials: int = 0

    @property
    def key(self) -> Key:
        """The titles of problem and optimizer."""
        return self.problem, self.label


@dataclass(frozen=True)
class Protocol:
    """How a study is done.

    Attributes
    ----------
    base
        The suite as resolved, without spaces and grids: its hyperparameters are the defaults.
    written, given
        The suite as its author wrote it, and with the request's options.
    entrants
        By problem, then optimizer.
    metrics
        What trials of each problem are scored by.
    goals
        The targets of problems whose trials are scored by their steps to them.
    tuning_seeds, finalist_seeds, evaluation_seeds
        No two of them overlap.
    seconds_per_step
        Of each entrant's lanes, where the budget is in seconds.
    halving, first_rung
        As in the request.
    """

    base: SuiteFile
    written: Mapping[str, Any]
    given: Mapping[str, Any]
    entrants: tuple[Entrant, ...]
    spaces: str
    sampler: str
    batch: int
    budget: Budget
    metrics: Mapping[str, str]
    goals: "Mapping[str, Goal]"
    tuning_seeds: tuple[int, ...]
    finalists: int
    finalist_seeds: tuple[int, ...]
    evaluation_seeds: tuple[int, ...]
    defaults: bool
    seconds_per_step: Mapping[Key, float]
    halving: int | None
    first_rung: str

    def rungs(self, entrant: Entrant) -> Plan:
        """Return the rungs of an entrant's trials: iterations, and how many get there."""
        effort = Effort(entrant.iterations, eta=self.halving, first_rung=self.first_rung)
        return effort.plan(entrant.trials)

    @property
    def retried(self) -> tuple[Entrant, ...]:
        """The entrants that have finalists."""
        again = self.finalists > 0 and bool(self.finalist_seeds)
        return tuple(entrant for entrant in self.entrants if again and entrant.random)

    def as_meta(self) -> dict[str, Any]:
        """Return what tune.json holds of the protocol."""
        return {
            "suite": {
                "name": self.base.name,
                "written": self.written,
                "given": self.given,
                "resolved": self.base.as_written(),
            },
            "spaces": self._of_all(lambda entrant: _texts(entrant.spaces)),
            "space_sources": self._of_all(lambda entrant: entrant.source),
            "space_set": self.spaces,
            "problem_specific": sorted({each.label for each in self.entrants if each.specific}),
            "sampler": self.sampler,
            "batch": self.batch,
            "budget": {
                "given": str(self.budget),
                "amount": self.budget.amount,
                "unit": self.budget.unit,
                "trials": self._of_all(lambda entrant: entrant.trials),
                "seconds_per_step": self._of_all(
                    lambda entrant: self.seconds_per_step.get(entrant.key)
                ),
            },
            "metric": dict(self.metrics),
            "target": self.targets,
            "tuning_seeds": list(self.tuning_seeds),
            "finalists": self.finalists,
            "finalist_seeds": list(self.finalist_seeds),
            "evaluation_seeds": list(self.evaluation_seeds),
            "defaults": self.defaults,
            "halving": None
            if self.halving is None
            else {
                "eta": self.halving,
                "first_rung": self.first_rung,
                "rungs": self._of_all(lambda entrant: list(map(list, self.rungs(entrant)))),
            },
        }

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """What tune.json holds of the goals."""
        return {problem: dict(vars(goal)) for problem, goal in self.goals.items()}

    def _of_all(self, value: Callable[[Entrant], Any]) -> dict[str, dict[str, Any]]:
        """Return something of each entrant by problem and label."""
        table: dict[str, dict[str, Any]] = {}
        for entrant in self.entrants:
            table.setdefault(entrant.problem, {})[entrant.label] = value(entrant)
        return table


def _texts(spaces: Mapping[str, Space]) -> dict[str, str]:
    return {name: str(space) for name, space in spaces.items()}
