"""What a page says in words: what won, by which protocol, what went wrong, how to repeat it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

import pandas as pd

from optbench.errors import printable
from optbench.records import RunTables, Status, StudyTables
from optbench.report.compare import BETTER, EQUIVALENT, TOO_FEW
from optbench.report.configurations import (
    CRITERIA,
    describe,
    hyperparameter_columns,
    hyperparameter_text,
    problem_names,
    ranked_lanes,
)
from optbench.report.page.contents import REFUSED, Subject
from optbench.report.page.parts import Table
from optbench.report.plots.options import PlotOptions
from optbench.report.protocol import protocol, spaces
from optbench.report.sections import Column, Kind, Section
from optbench.report.statistics import ENDED_WORST
from optbench.report.studies import sentence
from optbench.report.tables import MISSING, number
from optbench.report.tolerance import tolerance
from optbench.store.studies import FINAL, run_name

MOST_SENTENCES = 3
"""Sentences that say what won."""

MOST_MESSAGES = 20
"""Messages of lanes that failed."""


def winners(subjects: Sequence[Subject]) -> list[str]:
    """Return one to three sentences made of verdicts; of many problems they are counted."""
    said = [text for subject in subjects for text in _winners(subject)]
    problems = sum(len(subject.problems) for subject in subjects)
    if problems <= MOST_SENTENCES:
        return said or ["No optimizer has ended with a finite loss."]
    counted = list(filter(None, map(_counted, subjects)))
    together = [
        f"Over all problems together {subject.overall_verdict}."
        for subject in subjects
        if subject.together is not None
    ]
    return [*counted, *together][:MOST_SENTENCES] or said[:MOST_SENTENCES]


def _winners(subject: Subject) -> Iterator[str]:
    """Yield what is known of the best of each problem."""
    for problem in subject.problems:
        first = subject.best_pair(problem)
        if first is not None and subject.comparison is not None:
            text = sentence(first, subject.comparison.question)
            yield f"On {subject.title(problem)}, {text}."
        elif subject.tables is not None and problem in problem_names(subject.tables):
            rows = subject.rows[(subject.rows["problem"] == problem) & ~subject.rows["outside"]]
            rows = rows[rows["score"].notna()]
            if not rows.empty:
                row = rows.sort_values("score", kind="stable").iloc[0]
                what = CRITERIA[str(row["criterion"])]
                yield (
                    f"On {subject.title(problem)}, {row['label']} ends with the lowest {what}, "
                    f"{number(row['score'])}; nothing is tested."
                )


def _counted(subject: Subject) -> str:
    """Say on how many problems each label is the best, and how often that is sure."""
    found = subject.comparison
    if found is None:
        return ""
    first = Counter(contest.labels[0] for contest in found.contests)
    named = ", ".join(f"{label} on {count}" for label, count in first.most_common(4))
    pairs = [subject.best_pair(contest.problem) for contest in found.contests]
    random = [pair for pair in pairs if pair is not None and pair.random]
    sure = sum(pair.verdict == BETTER for pair in random)
    told = f"{sure} of these firsts {'is' if sure == 1 else 'are'} surely better than the next"
    if equal := sum(pair.verdict == EQUIVALENT for pair in random):
        told += f", {equal} equivalent to it"
    if not random:
        told = "nothing is random, so differences are exact"
    elif len(random) < len(pairs):
        told += f"; on {len(pairs) - len(random)} problems nothing is random"
    where = f" of study {subject.name}" if subject.study else ""
    return f"On {len(pairs)} problems{where}, the lowest values are those of {named}; {told}."


def settings(subjects: Sequence[Subject]) -> list[Table]:
    """Return the protocol: of each problem budget, seeds and criterion, and spaces of studies."""
    rows = [
        _setting(subject, problem)
        for subject in subjects
        if subject.tables is not None
        for problem in problem_names(subject.tables)
    ]
    found = []
    if rows:
        values = pd.DataFrame(rows)
        kept = [name for name in rows[0] if any(row[name] != MISSING for row in rows)]
        columns = [Column(name, "name" if name == "problem" else "word") for name in kept]
        cells = [[str(row[name]) for name in kept] for row in rows]
        facts = [
            "every lane of a problem and seed has the same start, batches and other random numbers"
        ]
        section = Section("Problems", columns, cells, facts=facts)
        found.append(Table(section, values, "protocol"))
    found += [_spaces(subject.study) for subject in subjects if subject.study]
    return found


def _setting(subject: Subject, problem: str) -> dict[str, str]:
    tables = subject.run
    meta = describe(tables, problem)
    lanes = tables.lanes[tables.lanes["problem"] == problem]
    rows = subject.rows[subject.rows["problem"] == problem]
    seeds = lanes["seed"].nunique()
    window = PlotOptions().window(meta["batch_size"])
    averaged = int(rows["averaged_rows"].max())
    return {
        "problem": subject.title(problem),
        "budget": f"{int(meta.get('iterations') or lanes['iterations'].max()):,} steps",
        "batch": str(meta["batch_size"] or MISSING),
        "seeds": str(seeds),
        "lanes": str(len(lanes)),
        "ranked by": CRITERIA[str(rows["criterion"].iloc[0])],
        "final loss": f"mean of {averaged} rows" if averaged > 1 else "last row",
        "curves": f"smoothed over {window} rows" if window > 1 else "as recorded",
        "precision": str(meta.get("dtype") or MISSING),
        "device": str((tables.meta.get("device") or {}).get("kind") or MISSING),
    }


def _spaces(study: StudyTables) -> Table:
    """Return what a study tried of each hyperparameter."""
    rows = [
        {"problem": problem, "optimizer": label, "hyperparameter": name, "space": space}
        for problem, labels in study.meta["spaces"].items()
        for label in labels
        for name, space in spaces(study, problem, label).items()
    ]
    problems = dict.fromkeys(row["problem"] for row in rows)
    section = Section(
        f"Study {run_name(study.path)}",
        [Column(name, "word") for name in ("problem", "optimizer", "hyperparameter", "space")],
        [[*row.values()] for row in rows],
        facts=[f"{problem}: {protocol(study, problem)}" for problem in problems],
    )
    return Table(section, pd.DataFrame(rows), f"{run_name(study.path)}-spaces")


def wrongs(
    subjects: Sequence[Subject], runs: Sequence[RunTables], found: Sequence[StudyTables]
) -> list[str]:
    """Return what went wrong, and what the numbers cannot say, a line each."""
    unended = [
        f"{run_name(path)} is {meta['status']}: these are not its last numbers"
        for path, meta in [(each.path, each.meta) for each in runs]
        + [(each.path, each.meta) for each in found]
        if meta["status"] in UNENDED
    ]
    lines = [line for subject in subjects for line in _wrongs(subject)]
    return list(dict.fromkeys([*unended, *lines]))


UNENDED = (Status.RUNNING, Status.INTERRUPTED, Status.PAUSED)


def _wrongs(subject: Subject) -> Iterator[str]:
    if subject.tables is None:
        return
    for problem, why in subject.why_not.items():
        yield f"{subject.title(problem)}: not compared: {why}"
    for _, row in subject.rows.iterrows():
        name = f"{subject.title(str(row['problem']))}, {row['label']}"
        lost = [f"{row[column]} {what}" for column, what in LOST.items() if row[column]]
        if lost:
            yield f"{name}: of {row['lanes']} lane{'s' * (row['lanes'] > 1)} {', '.join(lost)}"
        if not pd.isna(row["edge"]):
            yield f"{name}: {row['edge']}"
    yield from _too_few(subject)
    yield from _too_coarse(subject.tables)
    yield from _failures(subject.tables)
    for entry in subject.study.meta["winners"] if subject.study else ():
        if entry.get("edge"):
            name = f"{entry['problem']}, {entry['label']}"
            yield f"{name}: {entry['edge']}: the best may lie beyond its space"


LOST = {
    "lanes_diverged": "diverged",
    "lanes_failed": "failed",
    "lanes_outside": "ended outside the function's domain",
    "lanes_above": "ended above the start",
}
"""Columns of the summary that count lanes, and what became of these."""


def _too_few(subject: Subject) -> Iterator[str]:
    found = subject.comparison
    few = [pair for pair in found.rows if pair.verdict == TOO_FEW] if found else []
    problems = dict.fromkeys(pair.problem for pair in few)
    for problem in problems:
        seeds = max(pair.seeds for pair in few if pair.problem == problem)
        yield (
            f"{subject.title(problem)}: {seeds} seed{'s' * (seeds > 1)} "
            f"{'are' if seeds > 1 else 'is'} too few for a verdict, which takes "
            f"{found.needs}"  # type: ignore[union-attr]
        )


def _too_coarse(tables: RunTables) -> Iterator[str]:
    try:
        rows = tolerance(tables)
    except REFUSED:
        return
    for _, row in rows[rows["too_coarse"]].iterrows():
        yield (
            f"{row['heading']}, {row['label']}: grid too coarse: a neighbour of "
            f"{row['hyperparameter']}={row['best']:.4g} is more than 10 % worse"
        )


def _failures(tables: RunTables) -> Iterator[str]:
    failures = tables.meta.get("failures") or ()
    for failure in failures[:MOST_MESSAGES]:
        lanes = ", ".join(map(str, failure.get("lanes") or ())) or "together"
        yield f"failed lanes {lanes}: {printable(str(failure.get('message', '')))}"
    if len(failures) > MOST_MESSAGES:
        yield f"and {len(failures) - MOST_MESSAGES} more messages of failed lanes"


def lanes(subjects: Sequence[Subject]) -> list[Table]:
    """Return all lanes, a table for each subject."""
    return [_lanes(subject) for subject in subjects if subject.tables is not None]


def _lanes(subject: Subject) -> Table:
    tables = subject.run
    ranked = ranked_lanes(tables)
    chosen = hyperparameter_columns(ranked)
    swept = [
        name for name in chosen if ranked.groupby(["problem", "label"])[name].nunique().max() > 1
    ]
    several = ranked["problem"].nunique() > 1
    columns = [
        *([Column("problem", "name")] if several else []),
        Column("optimizer", "name"),
        *([Column("hyperparameters", "word")] if swept else []),
        Column("seed"),
        Column("status", "word"),
        Column("iterations"),
        Column("ranked by", "word"),
        Column("value"),
        Column("final loss"),
        Column("best loss"),
    ]
    cells = [
        [
            *([str(row["problem"])] if several else []),
            str(row["label"]),
            *([hyperparameter_text(row, swept)] if swept else []),
            str(row["seed"]),
            str(row["status"]),
            MISSING if pd.isna(row["iterations"]) else str(int(row["iterations"])),
            CRITERIA[str(row["criterion"])],
            _finite(row["score"]),
            _finite(row["final_loss"]),
            _finite(row["best_loss"]),
        ]
        for _, row in ranked.iterrows()
    ]
    lost = ranked["status"].isin(ENDED_WORST)
    title = f"study {subject.name}, its final run" if subject.study else "all runs"
    section = Section(
        f"{len(ranked):,} lanes of {title}",
        columns,
        cells,
        colors={place: "red" for place, is_lost in enumerate(lost) if is_lost},
    )
    return Table(section, tables.lanes, f"lanes-{subject.name or 'runs'}")


def _finite(value: float) -> str:
    return number(value) if pd.notna(value) and abs(value) < float("inf") else MISSING


def repeats(runs: Sequence[RunTables], found: Sequence[StudyTables]) -> list[Table]:
    """Return how to repeat what is shown, and what it was made with."""
    sources: list[tuple[str, Mapping[str, Any], str]] = [
        *((run_name(run.path), run.meta, "run") for run in runs),
        *((run_name(each.path), each.meta, "tune") for each in found),
    ]
    rows = [_repeat(name, meta, command) for name, meta, command in sources]
    kinds: dict[str, Kind] = {"run": "name", "repeat with": "word"}
    columns = [Column(name, kinds.get(name, "list")) for name in rows[0]]
    section = Section("Runs", columns, [[*row.values()] for row in rows], facts=REPEATED)
    prints = [
        {"run": run_name(run.path), "problem": entry["problem"], "SHA-256": entry["fingerprint"]}
        for run in [*runs, *(each.final for each in found if each.final)]
        for entry in run.meta["problems"]
    ]
    fingerprints = Section(
        "Fingerprints of problems",
        [Column("run", "name"), Column("problem", "name"), Column("SHA-256", "word")],
        [[str(each) for each in row.values()] for row in prints],
        facts=["definition, data and streams of random numbers; the same here is the same problem"],
    )
    return [
        Table(section, pd.DataFrame(rows), "runs"),
        Table(fingerprints, pd.DataFrame(prints), "fingerprints"),
    ]


REPEATED = (
    "repeat with: the run.json holds the suite with every default; of a study that of its final",
    "results/ is the folder that holds the run; of a pack: optbench run FILE.zip",
)


def _repeat(name: str, meta: Mapping[str, Any], command: str) -> dict[str, str]:
    environment = meta.get("environment") or {}
    packages = environment.get("packages") or {}
    file = "run.json" if command == "run" else f"{FINAL}/run.json"
    return {
        "run": name,
        "repeat with": f"optbench run {quote(f'results/{name}/{file}')}",
        "started": str(meta.get("started") or MISSING),
        "status": str(meta["status"]),
        "optbench": str(environment.get("optbench") or MISSING),
        "Python": str(environment.get("python") or MISSING),
        "machine": " ".join(
            str(environment[key])
            for key in ("system", "machine", "processor")
            if environment.get(key)
        ),
        "packages": ", ".join(f"{key} {version}" for key, version in packages.items()),
    }
