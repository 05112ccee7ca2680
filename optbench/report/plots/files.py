"""Which figures runs have, and the files that they are written to."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from os.path import isdir
from pathlib import Path

from matplotlib.figure import Figure

from optbench.errors import UsageError, argument, nearest
from optbench.records import RunTables, StudyTables
from optbench.report.configurations import problem_names
from optbench.report.formats import format_of, suffix_of
from optbench.report.joined import joined, of_problems
from optbench.report.plots import JOINED, KINDS, OVERALL, animate, drawable, fits, kinds_for
from optbench.report.plots.animation import form_of
from optbench.report.plots.fonts import boxes_allowed, fit_fonts
from optbench.report.protocol import problem_names as problems_of_study
from optbench.store.files import check_place, file_name, write_output
from optbench.store.pack import beside
from optbench.store.studies import run_name
from optbench.store.thinning import BEYOND, every_of, in_words

AUTO = "auto"
"""The kind that stands for all kinds that fit."""

RACE = "trajectory"
"""The kind of figure whose animation a race is."""

TOGETHER = ("loss", "evaluation")
"""Kinds that show a problem of several runs in one figure."""

FORMATS = ("png", "svg", "pdf")

LONGEST_RUNS = 60
"""Bytes of a file's name that name runs; more of them become their number and a digest."""


@dataclass(frozen=True)
class Subject:
    """What a figure shows: a kind, of a problem, of a run or of several joined ones."""

    tables: RunTables
    problem: str
    kind: str

    @property
    def name(self) -> str:
        """Name of its file, without the suffix; that of several runs names them all."""
        shown = [] if self.kind in OVERALL else [file_name(self.problem)]
        return "-".join([*shown, self.kind, *_in_file(self.tables.runs)])


@dataclass(frozen=True)
class StudySubject:
    """What a figure of a study shows: a kind, of a problem."""

    tables: StudyTables
    problem: str
    kind: str

    @property
    def name(self) -> str:
        """Name of its file, without the suffix."""
        return f"{file_name(self.problem)}-{self.kind}"


def _in_file(runs: Sequence[str]) -> list[str]:
    """Return what of a file's name tells which runs it shows."""
    names = [file_name(run) for run in runs]
    if len("-".join(names).encode()) <= LONGEST_RUNS:
        return names
    return [f"{len(runs)}-runs", sha256("\n".join(runs).encode()).hexdigest()[:8]]


def choose(
    runs: Sequence[RunTables],
    kind: str = AUTO,
    problems: Collection[str] = (),
    *,
    together: bool = False,
) -> list[Subject]:
    """Return what is to be drawn of runs: of every problem, or of some, the kinds that fit.

    ``together`` joins the runs that have a problem, for kinds that can show them in one figure.
    """
    if kind not in (AUTO, *KINDS):
        raise UsageError(f"unknown kind '{kind}'; {nearest(kind, (AUTO, *KINDS))}")
    if kind in JOINED:
        runs = [joined(runs)]
    pairs = [(run, problem) for run in runs for problem in problem_names(run)]
    known = dict.fromkeys(problem for _, problem in pairs)
    for problem in problems:
        if problem not in known:
            raise UsageError(f"these runs have no problem '{problem}'; {nearest(problem, known)}")
    pairs = [pair for pair in pairs if pair[1] in (problems or known)]
    if together and kind in TOGETHER:
        pairs = _joined(pairs)
    subjects = [
        Subject(run, problem, fit)
        for run, problem in pairs
        for fit in (kinds_for(run, problem) if kind == AUTO else [kind])
        if fits(fit, run, problem)
    ]
    if not subjects:
        kinds = dict.fromkeys(fit for run, problem in pairs for fit in drawable(run, problem))
        told = f"what fits: {', '.join(kinds)}" if kinds else "they hold no rows"
        if all(every_of(run.meta) == BEYOND for run, _ in pairs):
            told = f"of their traces they kept {in_words(BEYOND)}; {told}"
        raise UsageError(f"none of these runs can be drawn as {kind}; {told}")
    if kind in OVERALL:
        shown = [subject.problem for subject in subjects]
        return [Subject(of_problems(subjects[0].tables, shown), shown[0], kind)]
    return subjects


def choose_of_studies(
    studies: Sequence[StudyTables], kind: str, problems: Collection[str] = ()
) -> list[StudySubject]:
    """Return what is to be drawn of studies: a kind, of every problem or of some."""
    pairs = [(study, problem) for study in studies for problem in problems_of_study(study)]
    known = dict.fromkeys(problem for _, problem in pairs)
    for problem in problems:
        if problem not in known:
            raise UsageError(f"there is no problem '{problem}'; {nearest(problem, known)}")
    chosen = problems or known
    return [StudySubject(study, problem, kind) for study, problem in pairs if problem in chosen]


def _joined(pairs: Iterable[tuple[RunTables, str]]) -> list[tuple[RunTables, str]]:
    """Return each problem once, with the only run that has it or all of them as one."""
    having: dict[str, list[RunTables]] = {}
    for run, problem in pairs:
        having.setdefault(problem, []).append(run)
    try:
        return [
            (
                runs[0]
                if len(runs) == 1
                else joined([of_problems(run, [problem]) for run in runs]),
                problem,
            )
            for problem, runs in having.items()
        ]
    except UsageError as error:
        raise UsageError(f"{error}; draw these runs one by one") from None


def places(
    subjects: Sequence[Subject | StudySubject],
    target: Path | None = None,
    format_: str | None = None,
    *,
    force: bool = False,
) -> list[Path]:
    """Return a file for each figure.

    ``target`` is a folder, or the file for the only figure, and nothing there is overwritten but
    by ``force``; by default figures go to ``plots/`` of each run, and of a pack
    ``FILE.zip`` to ``FILE-plots/`` beside it.
    """
    suffix = format_ or FORMATS[0]
    if target is None:
        folders = [beside(subject.tables.path, "plots") for subject in subjects]
        named = zip(folders, subjects, strict=True)
        return _distinct(folder / f"{subject.name}.{suffix}" for folder, subject in named)
    if _is_file(target):
        if len(subjects) > 1:
            raise UsageError(f"'{target}' is one file for {len(subjects)} figures; give a folder")
        format_of(target, format_, {form: form for form in FORMATS})
        chosen = [target]
    else:
        several = len({subject.tables.path for subject in subjects}) > 1
        runs = [run_name(subject.tables.path).replace("/", "-") for subject in subjects]
        names = [
            f"{run}-{subject.name}" if several else subject.name
            for run, subject in zip(runs, subjects, strict=True)
        ]
        chosen = _distinct(target / f"{name}.{suffix}" for name in names)
    for place in chosen:
        check_place(place, force=force)
    return chosen


def _is_file(target: Path) -> bool:
    """Say whether a place is that of a figure, as its suffix says, or a folder.

    Raises
    ------
    UsageError
        If the suffix looks like that of another format.
    """
    suffix = suffix_of(target)
    if suffix in FORMATS:
        return True
    if suffix.isalpha() and not isdir(target):
        raise UsageError(
            f"the suffix of '{target}' names no format; end it in {', '.join(FORMATS)}, or if it "
            "is to be a folder, make that first"
        )
    return False


def _distinct(files: Iterable[Path]) -> list[Path]:
    """Return the files, numbered where one comes again: titles may differ by a sign only."""
    seen: Counter[Path] = Counter()
    numbered = []
    for file in files:
        seen[file] += 1
        number = f"-{seen[file]}" if seen[file] > 1 else ""
        numbered.append(file.with_stem(f"{file.stem}{number}"))
    return numbered


def write_figure(figure: Figure, place: Path) -> str:
    """Write a figure into a file whose suffix says the format; its folder is made.

    Returned are the characters of its texts that no font has.
    """
    lacking = fit_fonts(figure)
    with boxes_allowed():
        write_output(place, lambda beside: figure.savefig(beside, format=suffix_of(place)))
    return lacking


def check_animation(place: Path, *, force: bool = False) -> None:
    """Refuse an animation that cannot be written, before anything is read or drawn."""
    form_of(place)
    check_place(place, force=force)


def write_animation(races: Sequence[Subject], place: Path) -> str:
    """Write the only race, beside its place first, so that nothing half written is ever seen.

    Returned are the characters of its texts that no font has.
    """
    if len(races) > 1:
        several = len({race.problem for race in races}) > 1
        remedy = f"choose one with {argument('problem')}" if several else "name one run"
        raise UsageError(f"'{place}' shows one race and there are {len(races)}; {remedy}")
    (race,) = races
    lacking: list[str] = []

    def write(beside: Path) -> None:
        lacking.append(animate(race.tables, race.problem, beside, form_of(place)))

    write_output(place, write)
    return lacking[0]
