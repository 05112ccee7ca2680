"""How a study was made, as every table and figure of it says: budget, sampler, metric, seeds.

A trial's score is the median over tuning seeds of the study's metric; the lanes of the final run
have evaluation seeds. All are smaller the better, and +inf where they diverged.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import RunTables, StudyTables
from optbench.report.compare import METRICS
from optbench.report.configurations import MEASURE_NAMES, problem_title, ranked_lanes
from optbench.report.configurations import problem_names as problems_of_run
from optbench.report.entrants import entrants
from optbench.report.joined import of_problems
from optbench.report.statistics import quantile
from optbench.report.watched import at_most
from optbench.store.studies import is_study

DEFAULT = "{} (default)"
"""Label, in the final run, of an optimizer with the hyperparameters that come with it."""

ADAPTIVE = {
    "tpe": "tpe chooses trials by those before them",
    "halving": "halving ends trials by how the others do",
}
"""Why trials are not exchangeable: k of them are not what a budget of k would have given."""


def problem_names(study: StudyTables) -> list[str]:
    """Return the problems of a study, in order."""
    return [str(name) for name in study.trials["problem"].unique()]


def searches(study: StudyTables, problem: str) -> dict[str, pd.DataFrame]:
    """Return the trials of each label's search on a problem, in order; a score is never NaN."""
    trials = study.trials
    rows = trials[(trials["phase"] == "search") & (trials["problem"] == problem)]
    rows = rows.assign(score=rows["score"].astype(float).fillna(np.inf))
    return {
        str(label): own.sort_values("trial", ignore_index=True)
        for label, own in rows.groupby("label", sort=False)
    }


def winners(study: StudyTables, problem: str) -> dict[str, Mapping[str, Any]]:
    """Return what tune.json says of each label's winner on a problem.

    There is none where no trial is finite.
    """
    entries = study.meta.get("winners") or ()
    return {
        str(each["label"]): each
        for each in entries
        if each["problem"] == problem and each["search_score"] is not None
    }


def adaptive(study: StudyTables) -> str | None:
    """Say why the trials of a study are not exchangeable; None where they are."""
    return ADAPTIVE["halving"] if study.meta.get("halving") else ADAPTIVE.get(sampler(study))


def sampler(study: StudyTables) -> str:
    """Return what chose the points."""
    return str(study.meta["sampler"])


def metric(study: StudyTables, problem: str) -> str:
    """Return what a trial's score on a problem is the median of."""
    return str(study.meta["metric"][problem])


def metric_name(name: str) -> str:
    """Return a metric as a reader has it.

    >>> metric_name("validation_loss"), metric_name("steps_to_target")
    ('validation loss', 'steps to target')
    """
    return MEASURE_NAMES.get(name, name.replace("_", " "))


def scored_by(study: StudyTables, problem: str) -> str:
    """Return the metric of a problem as a reader has it, with its target where it has one."""
    target = (study.meta.get("target") or {}).get(problem)
    if target is None or target["value"] is None:
        return metric_name(metric(study, problem))
    return f"steps to {at_most(target['on'], target['value'])}"


def spaces(study: StudyTables, problem: str, label: str) -> Mapping[str, str]:
    """Return what may be tried of each hyperparameter of a label on a problem, as text."""
    return dict(study.meta["spaces"].get(problem, {}).get(label, {}))


def is_problem_specific(study: StudyTables, label: str) -> bool:
    """Say whether what may be tried of a label differs between the problems that have it."""
    found = [spaces(study, problem, label) for problem in problem_names(study)]
    known = [space for space in found if space]
    return any(space != known[0] for space in known)


def problem_specific(label: str) -> str:
    """Say of a label that :func:`is_problem_specific`."""
    return f"{label}: its space is problem-specific"


def title(study: StudyTables, problem: str) -> str:
    """Return the problem of a study, with its data set where the final run names one."""
    final = study.final
    known = final is not None and problem in problems_of_run(final)
    return problem_title(final, problem) if final is not None and known else problem


def protocol(study: StudyTables, problem: str) -> str:
    """Say in a line how numbers of a problem came about."""
    found = searches(study, problem)
    counts = [len(rows) for rows in found.values()]
    seeds = max(int(rows["seeds"].max()) for rows in found.values())
    trials = f"{_span(counts)} trials" + (f" × {seeds} seeds" if seeds > 1 else "")
    budget = study.meta["budget"]
    if budget["unit"] != "trials":
        trials = f"{budget['given']}: {trials}"
    halving = ", halving" if study.meta.get("halving") else ""
    by = f"{sampler(study)}{halving}, by {scored_by(study, problem)}"
    judging = max((len(each.values) for each in endings(study, problem).values()), default=0)
    evaluation = f"; {judging} evaluation seeds" if judging > 1 else ""
    return f"{trials}, {by}{evaluation}"


def _span(counts: Collection[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{most}" if least == most else f"{least}–{most}"


@dataclass(frozen=True)
class Ending:
    """What a label's lanes of the final run reached: one value for each evaluation seed."""

    values: np.ndarray  # of what judges, shape (seeds,)
    test_error: float  # median over seeds, NaN where it was not evaluated
    random: bool  # whether seeds make any difference

    @property
    def median(self) -> float:
        """Return the median over seeds, +inf where most of them diverged."""
        return float(quantile(self.values, 0.5))


def endings(study: StudyTables, problem: str) -> dict[str, Ending]:
    """Return what the labels of a problem reached in the final run, defaults among them."""
    final = study.final
    if final is None or problem not in problems_of_run(final):
        return {}
    final = of_problems(final, [problem])
    lanes = ranked_lanes(final).set_index("lane")
    of = judged_by(study, problem)
    found = {}
    for entrant in entrants(final, problem):
        own = lanes.loc[list(entrant.lanes)]
        error = float(quantile(own["test_error"].to_numpy(), 0.5))
        found[entrant.label] = Ending(own[of].to_numpy(), error, entrant.random)
    return found


def judged_by(study: StudyTables, problem: str) -> str:
    """Return what the lanes of the final run are judged by.

    That is what chose, or where lanes do not have it, what tables rank them by.
    """
    chosen_by = metric(study, problem)
    if chosen_by in METRICS or study.final is None:
        return chosen_by
    return str(ranked_lanes(of_problems(study.final, [problem]))["criterion"].iloc[0])


def defaults(study: StudyTables, problem: str) -> dict[str, float]:
    """Return the median of each tuned label with the hyperparameters that come with it.

    There is none where the final run is judged by something else than what chose.
    """
    if judged_by(study, problem) != metric(study, problem):
        return {}
    found = endings(study, problem)
    named = {label: DEFAULT.format(label) for label in searches(study, problem)}
    return {label: found[name].median for label, name in named.items() if name in found}


def of_winners(final: RunTables) -> RunTables:
    """Return a study's final run without what was not tuned: the suite's own hyperparameters."""
    labels = set(final.lanes["label"])
    added = {DEFAULT.format(label) for label in labels} & labels
    lanes = final.lanes[~final.lanes["label"].isin(list(added))]
    return replace(
        final,
        lanes=lanes,
        trace=final.trace[final.trace["lane"].isin(lanes["lane"])],
        evaluation=final.evaluation[final.evaluation["lane"].isin(lanes["lane"])],
    )


def contestants(run: RunTables) -> RunTables:
    """Return what of a run is compared: all of it, but of a study's final run the winners."""
    return of_winners(run) if is_study(run.path.parent) else run
