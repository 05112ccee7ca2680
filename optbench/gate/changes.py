"""What a baseline would hold in another way if a run took its place.

Dates and measured times, which differ from run to run, are left out, and tolerances, which follow
from the lanes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from optbench.gate.baseline import Baseline
from optbench.gate.compare import test_errors
from optbench.gate.comparison import (
    Comparison,
    Pair,
    averaged_alike,
    share_of_lanes,
)
from optbench.gate.metric import measure
from optbench.gate.quality import judge
from optbench.gate.save import targets
from optbench.gate.settings import settings_findings
from optbench.gate.verdict import Gate, share
from optbench.records import RunTables
from optbench.report.differences import differences, shown
from optbench.suite.values import seeds_text

NOTHING = "nothing"

PASSING = ("git",)
"""What of an environment is another with every commit."""

DIGITS = 4
"""Digits of a loss, unless it takes more to tell two apart."""


@dataclass(frozen=True)
class Change:
    """Something of a baseline, then and now as texts; "nothing" where a side lacks it.

    ``problem`` and ``label`` are empty where it is about all; ``then`` and ``now`` where ``what``
    says it all.

    >>> str(Change("net", "adam", "final loss", "0.25", "0.3", "+20 %"))
    'net, adam: final loss: 0.25 → 0.3 (+20 %)'
    """

    problem: str
    label: str
    what: str
    then: str = ""
    now: str = ""
    note: str = ""

    def __str__(self) -> str:
        place = ", ".join(filter(None, (self.problem, self.label)))
        values = f"{self.then} → {self.now}" if self.then or self.now else ""
        text = ": ".join(filter(None, (place, self.what, values)))
        return f"{text} ({self.note})" if self.note else text


def changes_of(baseline: Baseline, run: RunTables, thresholds: Mapping[str, float]) -> list[Change]:
    """Return what changes if a run, with thresholds, takes the place of a baseline."""
    comparison = Comparison(baseline, averaged_alike(run, baseline), Gate())
    return [
        *_lanes(baseline.lanes, run.lanes),
        *_settings(comparison),
        *_thresholds(baseline.meta.get("thresholds", {}), thresholds),
        *_endings(comparison),
        *_final_losses(comparison),
        *_rows(comparison),
        *_test_errors(baseline.meta.get("test_error", {}), test_errors(run)),
        *_targets(baseline.meta["targets"], targets(run)),
        *_surroundings(baseline.meta, run.meta),
    ]


def _lanes(then: pd.DataFrame, now: pd.DataFrame) -> Iterator[Change]:
    """Say which problems and labels came or went, and which have other seeds or configurations.

    >>> lanes = pd.DataFrame({"problem": "net", "label": ["sgd", "adam"], "seed": 0})
    >>> [str(change) for change in _lanes(lanes[:1], lanes)]
    ['net, adam: lanes: nothing → seed 0']
    """
    sides = _described(then), _described(now)
    for problem in dict.fromkeys((*sides[0], *sides[1])):
        old, new = (side.get(problem, {}) for side in sides)
        changed = {
            label: (old.get(label, NOTHING), new.get(label, NOTHING))
            for label in dict.fromkeys((*old, *new))
            if old.get(label) != new.get(label)
        }
        if len(changed) == len({*old, *new}) and len(set(changed.values())) == 1:
            ((before, after),) = set(changed.values())
            yield Change(problem, "", "lanes", before, after, ", ".join(changed))
        else:
            for label, (before, after) in changed.items():
                yield Change(problem, label, "lanes", before, after)


def _described(lanes: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return seeds and number of configurations in words, by problem and label."""
    described: dict[str, dict[str, str]] = {}
    for (problem, label), part in lanes.groupby(["problem", "label"], sort=False):
        seeds = part["seed"].astype(int)
        configurations = int(seeds.value_counts().max())
        text = seeds_text(seeds)
        if configurations > 1:
            text = f"{configurations} configurations, {text}"
        described.setdefault(str(problem), {})[str(label)] = text
    return described


def _settings(comparison: Comparison) -> Iterator[Change]:
    for finding in settings_findings(comparison):
        then, now = (
            NOTHING if finding.values[side] is None else shown(finding.values[side])
            for side in ("then", "now")
        )
        names = [*finding.values.get("labels", ()), *finding.values.get("problems", ())]
        what = str(finding.values["path"]).removeprefix("hyperparameters.")
        place = finding.problem, finding.label
        if then == now:
            yield Change(*place, finding.message)
        else:
            yield Change(*place, what, then, now, ", ".join(names) if len(names) > 1 else "")


def _thresholds(then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Change]:
    for problem in dict.fromkeys((*then, *now)):
        texts = [
            f"{100.0 * side[problem]:g} %" if problem in side else NOTHING for side in (then, now)
        ]
        if texts[0] != texts[1]:
            yield Change(problem, "", "threshold", *texts)


def _endings(comparison: Comparison) -> Iterator[Change]:
    """Say where lanes ended with other statuses."""
    matching = comparison.matching
    for pairs in matching.groups():
        then = Counter(str(matching.then[pair.then]["status"]) for pair in pairs)
        now = Counter(str(matching.now[pair.now]["status"]) for pair in pairs)
        if then != now:
            texts = [
                ", ".join(f"{number} {status}" for status, number in side.items())
                for side in (then, now)
            ]
            yield Change(pairs[0].problem, _title(pairs[0]), "ended", *texts)


def _final_losses(comparison: Comparison) -> Iterator[Change]:
    """Say where final losses of paired lanes differ: their medians, and the change that is judged.

    A lane without a final loss counts as worst.
    """
    matching = comparison.matching
    judged = judge(measure(comparison), comparison.gate)
    for pairs, group in zip(matching.groups(), judged, strict=True):
        sides = (
            [matching.then[pair.then]["final_loss"] for pair in pairs],
            [matching.now[pair.now]["final_loss"] for pair in pairs],
        )
        then, now = (pd.Series(side, dtype="float64").fillna(np.inf).to_numpy() for side in sides)
        changed = int((then != now).sum())
        if changed:
            lanes = share_of_lanes(changed, len(pairs)).removeprefix("; ")
            note = ", ".join(filter(None, (share(group.effect), lanes)))
            texts = _apart(float(np.median(then)), float(np.median(now)))
            yield Change(pairs[0].problem, _title(pairs[0]), "final loss", *texts, note)


def _title(pair: Pair) -> str:
    return f"{pair.label} ({pair.setting})" if pair.setting else pair.label


def _apart(then: float, now: float) -> tuple[str, str]:
    """Write two losses with as many digits as tell them apart.

    >>> _apart(0.25, 0.3), _apart(0.25, 0.2500001), _apart(0.25, float("inf"))
    (('0.25', '0.3'), ('0.25', '0.2500001'), ('0.25', 'none'))
    """
    for digits in range(DIGITS, 18):
        texts = tuple(f"{loss:.{digits}g}" if isfinite(loss) else "none" for loss in (then, now))
        if texts[0] != texts[1]:
            break
    return texts[0], texts[1]


def _rows(comparison: Comparison) -> Iterator[Change]:
    """Say how many lanes have other losses in the rows that a baseline keeps."""
    rows = comparison.rows
    alike = (rows["then"] == rows["now"]) | (rows["then"].isna() & rows["now"].isna())
    changed = rows.loc[~(alike & rows["found"]), "pair"].nunique()
    if changed:
        total = len(comparison.matching.pairs)
        yield Change("", "", f"{changed} of {total} lanes have other losses in their traces")


def _test_errors(
    then: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]]
) -> Iterator[Change]:
    for problem in dict.fromkeys((*then, *now)):
        old, new = then.get(problem, {}), now.get(problem, {})
        for label in dict.fromkeys((*old, *new)):
            if old.get(label) != new.get(label):
                texts = [
                    f"{100.0 * side[label]:.4g} %" if label in side else NOTHING
                    for side in (old, new)
                ]
                yield Change(problem, label, "test error", *texts)


def _targets(then: Mapping[str, float], now: Mapping[str, float]) -> Iterator[Change]:
    for problem in dict.fromkeys((*then, *now)):
        if then.get(problem) != now.get(problem):
            old, new = (side.get(problem, np.inf) for side in (then, now))
            yield Change(problem, "", "target", *_apart(old, new))


def _surroundings(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Say what else the baseline was made with."""
    old, new = (
        {
            "numerics_version": meta.get("numerics_version"),
            "device": meta.get("device"),
            **{
                name: value
                for name, value in (meta.get("environment") or {}).items()
                if name not in PASSING
            },
        }
        for meta in (then, now)
    )
    for difference in differences(old, new):
        yield Change("", "", difference.path, shown(difference.then), shown(difference.now))
