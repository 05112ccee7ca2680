"""The methods paragraph of a page, and the BibTeX entries of what was used."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from optbench.records import RunTables, StudyTables
from optbench.report.configurations import CRITERIA
from optbench.report.page.contents import Subject
from optbench.report.protocol import adaptive, sampler
from optbench.report.statistics import INTERVAL_SEEDS

OPTIMIZERS: Mapping[str, Sequence[str]] = {
    "sgd": ["robbins1951"],
    "sgd-torch": ["robbins1951", "sutskever2013"],
    "momentum": ["polyak1964", "saitoh2016"],
    "nesterov": ["nesterov1983", "bengio2013", "saitoh2016"],
    "adagrad": ["duchi2011"],
    "rmsprop": ["tieleman2012"],
    "rmsprop-torch": ["tieleman2012", "graves2013"],
    "adadelta": ["zeiler2012"],
    "adam": ["kingma2015"],
    "adamax": ["kingma2015"],
    "adamw": ["loshchilov2019"],
    "nadam": ["dozat2016"],
    "amsgrad": ["reddi2018"],
    "radam": ["liu2020"],
    "adabelief": ["zhuang2020"],
    "yogi": ["zaheer2018"],
    "adan": ["xie2024"],
    "lars": ["you2017"],
    "lamb": ["you2020"],
    "lion": ["chen2023"],
    "muon": ["jordan2024"],
    "prodigy": ["mishchenko2024"],
    "rprop": ["riedmiller1993", "igel2000"],
    "schedule-free-sgd": ["defazio2024"],
    "schedule-free-adamw": ["defazio2024"],
    "signum": ["bernstein2018"],
}
"""Where each rule was published, by keys of references.bib."""

DATA: Mapping[str, Sequence[str]] = {
    "mnist": ["lecun1998"],
    "fashion-mnist": ["xiao2017"],
    "kmnist": ["clanuwat2018"],
    "mnist-5k": ["lecun1998"],
}
"""Where each data set was published."""

ENTRY = re.compile(r"^@\w+\{(\w+),.*?^\}$", re.DOTALL | re.MULTILINE)


@cache
def entries() -> dict[str, str]:
    """Return the entries of references.bib by their keys."""
    text = (files(__package__) / "references.bib").read_text(encoding="utf-8")
    return {found[1]: found[0] for found in ENTRY.finditer(text)}


def methods(subjects: Sequence[Subject]) -> list[str]:
    """Return a paragraph for each subject that says how its numbers came about."""
    return [" ".join(_sentences(subject)) for subject in subjects]


def _sentences(subject: Subject) -> Iterator[str]:
    if subject.study is not None:
        yield from _tuned(subject.study)
    if subject.tables is None:
        return
    lanes = subject.tables.lanes
    labels, problems = lanes["label"].nunique(), lanes["problem"].nunique()
    seeds = lanes["seed"].nunique()
    yield (
        f"{_counted(labels, 'optimizer')} {'was' if labels == 1 else 'were'} run on "
        f"{_counted(problems, 'problem')} with {_counted(seeds, 'seed')} by optbench "
        f"{_version(subject.tables)}; runs of one problem and seed share start, batches and all "
        "other random numbers."
    )
    what = dict.fromkeys(CRITERIA[str(name)] for name in subject.rows["criterion"])
    yield f"They are ranked by {' and '.join(what)}; diverged runs count as infinitely bad."
    if subject.study is None:
        swept = (subject.rows["configurations"] > 1).any()
        yield (
            "Of each grid the best configuration is shown."
            if swept
            else "Hyperparameters are as given, not tuned."
        )
    found = subject.comparison
    tested = [pair for pair in found.rows if pair.random] if found else []
    if found and any(pair.p_adjusted == pair.p_adjusted for pair in tested):
        level = f"{100 * found.question.level:g} %"
        yield (
            f"Pairs were compared by sign-flip tests on paired seeds (Hartigan 1969), with Holm's "
            f"adjustment (1979) over {_counted(len(tested), 'pair')}, at a level of {level}."
        )
    if found and not tested:
        yield "Nothing in these runs is random, so that differences between them are exact."
    if subject.together is not None:
        yield (
            "Problems are put together by mean ranks with the tests of Friedman and of Iman and "
            "Davenport (1980), pairs of optimizers by Wilcoxon's signed ranks with Holm's "
            "adjustment (Demšar 2006), and times by performance profiles (Dolan and Moré 2002)."
        )
    if seeds >= INTERVAL_SEEDS:
        yield "Intervals of medians are those of order statistics (Thompson 1936)."


def _tuned(study: StudyTables) -> Iterator[str]:
    meta = study.meta
    halving = " with successive halving" if meta.get("halving") else ""
    tuning, judging = (len(meta.get(f"{name}_seeds") or ()) for name in ("tuning", "evaluation"))
    yield (
        f"All optimizers were tuned by the same procedure: {sampler(study)} search{halving} with "
        f"a budget of {meta['budget']['given']} for each optimizer and problem, drawn from the "
        f"spaces shown, each trial run with {_counted(tuning, 'seed')}."
    )
    if adaptive(study) is None:
        yield "What smaller budgets would have found is estimated as by Tang et al. (2020)."
    seeds = _counted(judging, "seed")
    yield f"The winners were then run on {seeds} that took no part in the choice."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _version(tables: RunTables) -> str:
    return str((tables.meta.get("environment") or {}).get("optbench") or "")


def citations(subjects: Sequence[Subject]) -> list[str]:
    """Return BibTeX entries of optbench, and of the rules, data sets and tests that were used."""
    runs = [subject.tables for subject in subjects if subject.tables is not None]
    keys = [key for run in runs for key in _of_run(run.meta)]
    paragraphs = " ".join(methods(subjects))
    keys += [key for key, name in TOLD.items() if name in paragraphs]
    known = entries()
    own = [_software(version) for version in dict.fromkeys(map(_version, runs)) if version]
    return own + [known[key] for key in dict.fromkeys(keys)]


TOLD = {
    "hartigan1969": "Hartigan",
    "holm1979": "Holm",
    "demsar2006": "Demšar",
    "iman1980": "Iman",
    "dolan2002": "Dolan",
    "thompson1936": "Thompson",
    "tang2020": "Tang",
}
"""Names in the paragraph by the key of what they published."""


def _of_run(meta: Mapping[str, Any]) -> Iterator[str]:
    for entry in meta.get("optimizers") or ():
        if entry.get("source") == "optbench":
            yield from OPTIMIZERS.get(str(entry.get("rule") or entry["name"]), ())
    for problem in meta["problems"]:
        yield from DATA.get(str(problem.get("data")), ())


def _software(version: str) -> str:
    return (
        "@software{optbench,\n"
        "  title = {optbench: benchmarks of first-order optimizers},\n"
        f"  version = {{{version}}}\n"
        "}"
    )
