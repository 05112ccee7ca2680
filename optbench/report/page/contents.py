"""What a page says of each problem: tables, figures, and why one of them is missing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import pandas as pd
from matplotlib.figure import Figure

from optbench.errors import NothingToCompareError, UsageError
from optbench.records import RunTables, StudyTables
from optbench.report import arrivals, budgets, studies, tolerance, verdicts
from optbench.report.across import Across, across
from optbench.report.compare import BETTER, Comparison, Pair, Question, compare
from optbench.report.configurations import problem_names, problem_title, swept_numbers
from optbench.report.entrants import entrants
from optbench.report.joined import joined, of_problems
from optbench.report.page.parts import Chapter, Drawing, Lines, Part, Table
from optbench.report.page.pictures import picture
from optbench.report.page.series import losses, targets
from optbench.report.page.thinning import points_for
from optbench.report.plots import OVERALL, PlotOptions, draw, draw_effects, fits
from optbench.report.plots.style import Style, styles
from optbench.report.protocol import adaptive, of_winners
from optbench.report.protocol import problem_names as problems_of_study
from optbench.report.races import Question as TargetQuestion
from optbench.report.summaries import summary
from optbench.report.tables import NOT_TUNED
from optbench.report.tables import sections as summary_sections
from optbench.report.targets import Answer, reach
from optbench.report.watched import LOSS, recorded
from optbench.store.files import file_name
from optbench.store.studies import run_name

MOST_DRAWN = 6
"""Problems of which there are figures; of the others there are tables."""

UNDRAWN = "there are figures of the problems above alone; optbench plot draws the others"

RUNGS = 51
"""Targets of the ladder by which problems are put together."""

INCHES = 5.6
"""Width of a figure: its text can be read on a telephone, and two stand side by side elsewhere."""

REFUSED = (UsageError, NothingToCompareError)
"""What says that something cannot be computed of what there is."""


@dataclass(frozen=True)
class Subject:
    """What is reported as one: runs that are joined, or a study with its final run.

    ``choose_on`` are the seeds that choose a label's configuration where it has several.
    """

    tables: RunTables | None
    study: StudyTables | None
    choose_on: Sequence[int]
    alone: bool = True  # whether no other study has a problem of it

    @cached_property
    def problems(self) -> list[str]:
        """Its problems, in order."""
        return problems_of_study(self.study) if self.study else problem_names(self.run)

    @property
    def name(self) -> str:
        """What a study is called; nothing for runs."""
        return run_name(self.study.path) if self.study else ""

    @property
    def run(self) -> RunTables:
        """Its tables, where there are any."""
        if self.tables is None:
            raise AssertionError("without a run there are no lanes")
        return self.tables

    def title(self, problem: str) -> str:
        """Return a problem's title, with the study that it belongs to."""
        known = self.tables is not None and problem in problem_names(self.tables)
        title = problem_title(self.run, problem) if known else problem
        if self.study is None:
            return title
        return f"{title}, tuned" if self.alone else f"{title}, tuned in {self.name}"

    @property
    def comparison(self) -> Comparison | None:
        """The pairs of all problems that can be compared, one family; None without any."""
        return self._compared[0]

    @property
    def why_not(self) -> Mapping[str, str]:
        """Why problems cannot be compared: nobody chose of a grid, or there is one label."""
        return self._compared[1]

    @cached_property
    def _compared(self) -> tuple[Comparison | None, Mapping[str, str]]:
        why_not = {}
        known = problem_names(self.tables) if self.tables else []
        for problem in known:
            try:
                entrants(self.run, problem, self.choose_on)
            except UsageError as error:
                why_not[problem] = str(error)
        rest = [problem for problem in known if problem not in why_not]
        try:
            question = Question(problems=rest, choose_on=self.choose_on)
            return compare(self.run, question) if rest else None, why_not
        except NothingToCompareError as error:
            return None, why_not | dict.fromkeys(rest, str(error))

    @cached_property
    def together(self) -> Across | None:
        """What several problems say together."""
        found = self.comparison
        return across(found.contests, found.question.level) if found else None

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The summary."""
        return summary(self.run)

    def best_pair(self, problem: str) -> Pair | None:
        """Return the best label of a problem against the next."""
        found = self.comparison
        for contest in found.contests if found else ():
            if contest.problem == problem:
                two = contest.labels[:2]
                pairs = (pair for pair in found.rows if pair.problem == problem)  # type: ignore[union-attr]
                return next((pair for pair in pairs if [pair.a, pair.b] == two), None)
        return None

    def verdict(self, problem: str) -> str:
        """Say which is better of the best two of a problem, as alternative texts do."""
        pair = self.best_pair(problem)
        if pair is None or self.comparison is None:
            return "nothing is compared"
        return studies.sentence(pair, self.comparison.question)

    @property
    def overall_verdict(self) -> str:
        """Say which label is the best of all problems together."""
        found = self.together
        if found is None:
            return "nothing is compared"
        best = str(found.labels["label"].iloc[0])
        rows = found.pairs[(found.pairs["a"] == best) & (found.pairs["verdict"] == BETTER)]
        if rows.empty:
            rank = found.labels["mean_rank"].iloc[0]
            return f"{best} has the best mean rank, {rank:.2f}, and no test tells it from the next"
        return f"{best} is better than {_listed(rows['b'])}, sure at {100 * found.level:g} %"

    def look(self, problem: str) -> dict[str, Style]:
        """Return the style of each label of a problem."""
        lanes = self.run.lanes[self.run.lanes["problem"] == problem]
        return styles(zip(lanes["label"], lanes["optimizer"], strict=True), self.run.shared)

    def answer(self, problem: str) -> Answer:
        """Return when labels were at the usual target, by evaluations where the trace is thin."""
        on = next(iter(recorded(self.run, problem)), LOSS)
        question = TargetQuestion(on=on, problems=[problem], choose_on=self.choose_on)
        return reach([of_problems(self.run, [problem])], question)

    def overall(self) -> Answer:
        """Return what times to targets on all problems say together."""
        question = TargetQuestion(choose_on=self.choose_on, profile=True, rungs=RUNGS)
        return reach([self.run], question)


def subjects_of(
    runs: Sequence[RunTables], found: Sequence[StudyTables], choose_on: Sequence[int] = ()
) -> list[Subject]:
    """Return runs as one subject, and each study as one of its own.

    Raises
    ------
    UsageError
        If runs have a problem in common that is not the same in all of them.
    """
    subjects = [Subject(joined(runs), None, choose_on)] if runs else []
    tuned = Counter(problem for study in found for problem in problems_of_study(study))
    for study in found:
        alone = all(tuned[problem] == 1 for problem in problems_of_study(study))
        final = study.final and of_winners(study.final)
        subjects.append(Subject(final, study, choose_on, alone))
    return subjects


class Chapters:
    """The chapters of a page, made one after the other; figures are numbered throughout."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._numbers = count(1)
        self._drawn = 0
        curves = sum(len(each.rows) for each in subjects if each.tables is not None)
        self.most = points_for(curves)
        """Points of a curve."""

    def of_problems(self) -> Iterator[Chapter]:
        """Yield a chapter for each problem of each subject."""
        for place, subject in enumerate(self._subjects):
            for problem in subject.problems:
                self._drawn += 1
                made = ((heading, [*parts]) for heading, parts in self._groups(subject, problem))
                groups = [(heading, parts) for heading, parts in made if parts]
                if self._drawn == MOST_DRAWN + 1:
                    groups.insert(0, ("", [Lines([UNDRAWN])]))
                name = f"problem-{place + 1}-{file_name(problem)}"
                yield Chapter(subject.title(problem), name, groups)

    def across_problems(self) -> Iterator[Chapter]:
        """Yield a chapter for each subject that has several problems with labels in common."""
        for place, subject in enumerate(self._subjects):
            if subject.together is None or subject.comparison is None:
                continue
            parts = [*self._together(subject)]
            name = f"study {subject.name}" if subject.study else "All problems together"
            yield Chapter(name, f"together-{place + 1}", [("", parts)])

    def _groups(self, subject: Subject, problem: str) -> Iterator[tuple[str, Iterator[Part]]]:
        if subject.study is not None:
            yield "What was chosen", self._chosen(subject.study, problem)
            yield "Trials", self._figure("trials", subject, subject.study, problem)
        if subject.tables is not None and problem in problem_names(subject.tables):
            yield "What they reached", self._reached(subject, problem)
            yield "Effects", self._effects(subject, problem)
            yield "Loss", self._losses(subject, problem)
            yield "How exactly to set it", self._tolerance(subject, problem)
        if subject.study is not None:
            yield "Budget", self._budget(subject, subject.study, problem)
        if subject.tables is not None and problem in problem_names(subject.tables):
            yield "Steps to a target", self._targets(subject, problem)
            yield "Paths", self._paths(subject, problem)

    @staticmethod
    def _chosen(study: StudyTables, problem: str) -> Iterator[Part]:
        rows = studies.results(study)
        rows = rows[rows["problem"] == problem]
        for section in studies.sections(rows):
            yield Table(section, rows, f"{problem}-study")

    def _reached(self, subject: Subject, problem: str) -> Iterator[Part]:
        rows = subject.rows[subject.rows["problem"] == problem]
        look = subject.look(problem)
        marks = [look[str(label)].color for label in rows["label"]]
        for section in summary_sections(rows):
            facts = [fact for fact in section.facts if not (subject.study and fact == NOT_TUNED)]
            yield Table(replace(section, facts=facts), rows, f"{problem}-summary", marks)

    def _effects(self, subject: Subject, problem: str) -> Iterator[Part]:
        if problem in subject.why_not:
            yield Lines([subject.why_not[problem]])
            return
        found = subject.comparison
        if found is None:
            return
        contests = [each for each in found.contests if each.problem == problem]
        pairs = found.pairs[found.pairs["problem"] == problem]
        yield from self._figure("effects", subject, subject.tables, problem)
        of_problem = replace(found, contests=contests)
        for section in verdicts.sections(subject.run, of_problem, None)[1:]:
            yield Table(section, pairs, f"{problem}-pairs")

    def _losses(self, subject: Subject, problem: str) -> Iterator[Part]:
        tables = of_problems(subject.run, [problem])
        if fits("loss", tables, problem):
            data = losses(tables, problem, subject.look(problem), self.most) or {}
            yield from self._figure("loss", subject, tables, problem, data=data)
        yield from self._figure("evaluation", subject, tables, problem)

    def _tolerance(self, subject: Subject, problem: str) -> Iterator[Part]:
        tables = of_problems(subject.run, [problem])
        yield from self._figure("sensitivity", subject, tables, problem)
        if swept_numbers(tables.lanes, tolerance.FEWEST_VALUES):
            rows = tolerance.tolerance(tables)
            for section in tolerance.sections(rows):
                yield Table(section, rows, f"{problem}-tolerance")

    def _budget(self, subject: Subject, study: StudyTables, problem: str) -> Iterator[Part]:
        why = adaptive(study)
        if why is not None:
            yield Lines([budgets.no_curves(why)])
        yield from self._figure("budget", subject, study, problem)
        rows = budgets.budgets(study) if why is None else budgets.incumbents(study)
        rows = rows[rows["problem"] == problem]
        written = budgets.sections(rows) if why is None else budgets.incumbent_sections(rows)
        for section in written:
            yield Table(section, rows, f"{problem}-budget")

    def _targets(self, subject: Subject, problem: str) -> Iterator[Part]:
        try:
            answer = subject.answer(problem)
        except REFUSED as error:
            yield Lines([str(error)])
            return
        (race,) = answer.races
        data = targets(race, answer.labels) or {}
        on = {"on": race.watched.on, "choose_on": subject.choose_on}
        tables = of_problems(subject.run, [problem])
        yield from self._figure("target", subject, tables, problem, data=data, **on)
        for section in arrivals.sections(answer):
            yield Table(section, answer.labels, f"{problem}-target")

    def _paths(self, subject: Subject, problem: str) -> Iterator[Part]:
        tables = of_problems(subject.run, [problem])
        yield from self._figure("trajectory", subject, tables, problem)

    def _together(self, subject: Subject) -> Iterator[Part]:
        found, together = subject.comparison, subject.together
        if found is None or together is None:
            return
        first = subject.problems[0]
        yield from self._figure(
            "ranks", subject, subject.tables, first, choose_on=subject.choose_on
        )
        none = replace(found, contests=[])
        for section in verdicts.sections(subject.run, none, together):
            is_pairs = section.title.endswith("pair by pair")
            values = together.pairs if is_pairs else together.labels
            yield Table(section, values, "together-pairs" if is_pairs else "together")
        try:
            answer = subject.overall()
        except REFUSED as error:
            yield Lines([str(error)])
            return
        for kind in ("profile", "ecdf"):
            yield from self._figure(
                kind, subject, subject.tables, first, choose_on=subject.choose_on
            )
        yield Table(arrivals.sections(answer)[-1], answer.table, "together-targets")

    def _figure(
        self,
        kind: str,
        subject: Subject,
        tables: RunTables | StudyTables | None,
        problem: str,
        data: dict[str, object] | None = None,
        **options: object,
    ) -> Iterator[Part]:
        """Yield a figure of a kind, or why there is none, unless there are too many problems.

        Its alternative text is the verdict on the problem, or of all of them what they say.
        """
        if tables is None or self._drawn > MOST_DRAWN:
            return
        if isinstance(tables, RunTables) and not fits(kind, tables, problem):
            return
        try:
            wanted = PlotOptions(width=INCHES, **options)  # type: ignore[arg-type]
            figure = self._drawn_as(kind, subject, tables, problem, wanted)
        except REFUSED as error:
            yield Lines([str(error)])
            return
        number = next(self._numbers)
        where = "all problems" if kind in OVERALL else problem
        verdict = subject.overall_verdict if kind in OVERALL else subject.verdict(problem)
        alternative = f"{kind} on {where}: {verdict}"
        found = picture(figure, f"f{number}", alternative, self.most)
        thinned = f"at most {self.most} points a curve: of each stretch the lowest and the highest"
        yield Drawing(kind, found.svg, [thinned] if found.thinned else [], data or {})

    @staticmethod
    def _drawn_as(
        kind: str,
        subject: Subject,
        tables: RunTables | StudyTables,
        problem: str,
        options: PlotOptions,
    ) -> Figure:
        """Draw a figure; that of effects has the verdicts of the page's tables."""
        found = subject.comparison
        if kind == "effects" and found is not None and isinstance(tables, RunTables):
            return draw_effects(found, tables, problem, options)
        return draw(kind, tables, problem, options)


def _listed(names: Iterable[object]) -> str:
    *others, last = map(str, names)
    return f"{', '.join(others)} and {last}" if others else last
