"""Whether the suite file that a baseline's run was made of still says the same.

A check takes the suite from the baseline, so a file that was edited since would do nothing, unseen.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optbench.errors import UsageError
from optbench.gate.baseline import Baseline
from optbench.gate.verdict import Finding, Kind, Severity
from optbench.report.differences import Difference, differences, shown
from optbench.suite.format import read_suite

FILE = "file"
"""Key of ``suite`` in run.json and baseline.json: where the suite's file was."""

MOST_DIFFERENCES = 4
"""Differences that a message tells."""


def kept_suite(suite: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a baseline in a folder keeps of a run's suite; its file as seen from there."""
    kept = dict(suite)
    if kept.get(FILE) is not None:
        kept[FILE] = Path(os.path.relpath(kept[FILE], folder.absolute())).as_posix()
    return kept


def file_of(baseline: Baseline) -> Path | None:
    """Return where the suite's file was, seen from the folder of the baseline."""
    place = baseline.meta["suite"].get(FILE)
    return None if place is None else Path(os.path.normpath(baseline.path.absolute() / str(place)))


def origin_findings(baseline: Baseline) -> list[Finding]:
    """Return in what the suite's file differs from the baseline's suite, if it is still there."""
    file = file_of(baseline)
    if file is None or not file.is_file():
        return []
    name = os.path.relpath(file)
    try:
        written = read_suite(name).as_written()
    except UsageError as error:
        return [_finding(f"{error}; the suite of the baseline is run")]
    found = list(_differences(baseline.meta["suite"]["given"], written))
    if not found:
        return []
    texts = [
        f"{each.path} is {shown(each.then)} in the baseline, {shown(each.now)} in the file"
        for each in found[:MOST_DIFFERENCES]
    ]
    more = f"; and {len(found) - MOST_DIFFERENCES} more" if found[MOST_DIFFERENCES:] else ""
    return [
        _finding(
            f"{name} differs from the baseline's suite, which is the one that is run: "
            f"{'; '.join(texts)}{more}; to take the file, run it, then: optbench check "
            f"{baseline.path.name} --run latest --update",
            file=name,
            keys=[each.path for each in found],
        )
    ]


def _finding(message: str, **values: object) -> Finding:
    return Finding(Severity.WARNING, Kind.BASELINE, "", "", message, values=values)


def _differences(baseline: Mapping[str, Any], file: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield where two suites differ in what is run; entries are told by their titles."""
    then, now = (_by_title(json.loads(json.dumps(side))) for side in (baseline, file))
    yield from differences(then, now)


def _by_title(suite: Mapping[str, Any]) -> dict[str, Any]:
    entries = {
        kind: {str(entry.get("label", entry["name"])): entry for entry in suite.get(kind, ())}
        for kind in ("problem", "optimizer")
    }
    rest = {key: value for key, value in suite.items() if key not in ("description", *entries)}
    return {**rest, **entries}
