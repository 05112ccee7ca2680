"""Verdicts of ``optbench check`` for programs: JSON, GitHub's workflow commands, and JUnit."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from optbench.errors import ExitCode, ResultsError, printable
from optbench.gate.baseline import titles
from optbench.gate.verdict import LOSS_THRESHOLD, share
from optbench.store.files import json_text

if TYPE_CHECKING:
    from optbench.gate.check import CheckedBaseline
    from optbench.gate.verdict import Finding, Group

GITHUB_LEVELS = {"failure": "error", "warning": "warning", "notice": "notice"}

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""

NOTE = "note"
"""Column of the texts of a group that the table of the terminal shows below itself."""


def line(finding: "Finding") -> str:
    """Return what a finding is about, where it was found, and its message, in one line."""
    where = f"{finding.where}: " if finding.where else ""
    return printable(f"{finding.kind}: {where}{finding.message}")


def told(checked: "CheckedBaseline") -> "Iterator[tuple[Finding, str]]":
    """Yield findings, worst first, the last failure of each kind with what to do about them."""
    findings = checked.verdict.findings
    remedies = [checked.remedy(finding) for finding in findings]
    for finding, remedy, following in zip(findings, remedies, [*remedies[1:], ""], strict=False):
        yield finding, remedy if remedy != following else ""


def changed(checked: "CheckedBaseline") -> list[str]:
    """Return what changes in a baseline that is refreshed: a heading, and one line per change.

    A suite's file that is not what is run has a line too: who edited it may wait for its effect.
    """
    changes = list(map(str, checked.changes))
    what = (
        "what changes in the baseline:"
        if changes
        else "nothing changes in the baseline but its date and measured times"
    )
    warnings = [
        f"{finding.severity}: {line(finding)}"
        for finding in checked.verdict.findings
        if finding.kind == "baseline" and finding.severity == "warning"
    ]
    return [printable(text) for text in (f"{checked.name}: {what}", *changes, *warnings)]


def titled(what: "Finding | Group") -> str:
    """Return the label, with what tells its configuration from the others."""
    return printable(f"{what.label} ({what.setting})" if what.setting else what.label)


def used_cells(groups: "Sequence[Group]") -> list[dict[str, str]]:
    """Return the texts of each group by column, without columns that are empty for all."""
    rows = [_cells(group) for group in groups]
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in names} for row in rows]


def _cells(group: "Group") -> dict[str, str]:
    return {
        "problem": printable(group.problem),
        "optimizer": titled(group),
        "verdict": str(group.verdict),
        "change": share(group.effect),
        "between": _between(group),
        "detects": share(group.detectable),
        "seeds": str(group.seeds),
        "p": "" if group.p is None or not group.effect else f"{group.p:.2g}",
        "test error": _then_now(group.test_error_then, group.test_error_now, _percent),
        "to target": _then_now(group.reached_then, group.reached_now, str),
        NOTE: group.note,
    }


def _between(group: "Group") -> str:
    """Write an interval; nothing where it is a single point."""
    ends = share(group.low), share(group.high)
    return "" if ends[0] == ends[1] else f"{ends[0].removesuffix(' %')} to {ends[1]}"


def _percent(value: float) -> str:
    return f"{100.0 * value:.2f} %"


def _then_now(then: Any, now: Any, write: Callable[[Any], str]) -> str:
    old, new = ("" if value is None else write(value) for value in (then, now))
    return old if old == new else f"{old or '?'} → {new or '?'}"


def to_json(checked: "Sequence[CheckedBaseline]") -> str:
    """Return all that was found; numbers that JSON cannot say are null."""
    baselines = [
        {
            "baseline": one.name,
            "run": str(one.run.path),
            "exit_code": int(one.verdict.exit_code),
            "failed": one.verdict.failed,
            "lanes": one.verdict.matched,
            "not_checked": list(one.left_out),
            "thresholds": {
                title: one.thresholds.get(title, one.thresholds.get("", LOSS_THRESHOLD))
                for title in titles(one.baseline.meta)
            },
            "findings": [
                {**asdict(finding), "remedy": one.remedy(finding)}
                for finding in one.verdict.findings
            ],
            "groups": [asdict(group) for group in one.verdict.groups],
            "changes": [asdict(change) for change in one.changes],
            "figures": [str(path) for path in one.figures],
        }
        for one in checked
    ]
    return json_text({"baselines": baselines})


def annotations(checked: "Sequence[CheckedBaseline]", *, update: bool = False) -> Iterator[str]:
    """Yield workflow commands, which GitHub shows beside the job; of a refresh what changes."""
    for one in checked:
        nothing = one.verdict.exit_code == ExitCode.NOTHING_TO_COMPARE
        if update:
            heading, *changes = changed(one)
            yield from (heading, *(f"- {change}" for change in changes))
            continue
        if nothing:
            yield f"::error title=optbench::{_escaped(one.heading)}"
        for finding in one.verdict.findings:
            title = _escaped(f"optbench {one.name}: {finding.kind}", inside=True)
            text = f"{finding.where}: {finding.message}" if finding.where else finding.message
            message = "\n".join(map(printable, filter(None, (text, one.remedy(finding)))))
            yield f"::{GITHUB_LEVELS[finding.severity]} title={title}::{_escaped(message)}"
        if not nothing:
            yield one.heading


def error_annotation(error: Exception) -> str:
    """Return the workflow command for a check that could not be made."""
    return f"::error title=optbench::{_escaped(str(error))}"


def _escaped(text: str, *, inside: bool = False) -> str:
    """Return a text as workflow commands take it; ``inside`` the value of a property.

    >>> _escaped("5 %"), _escaped("ci: quality", inside=True)
    ('5 %25', 'ci%3A quality')
    """
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(character, code)
    return text.replace(":", "%3A").replace(",", "%2C") if inside else text


def write_summary(checked: "Sequence[CheckedBaseline]", *, update: bool = False) -> None:
    """Append Markdown to the summary of the job, if there is a job."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    text = "\n".join(_markdown_of_changes(one) if update else _markdown(one) for one in checked)
    try:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise ResultsError(f"GITHUB_STEP_SUMMARY '{place}' cannot be written: {error}") from None


def _markdown(checked: "CheckedBaseline") -> str:
    verdict = checked.verdict
    lines = [f"### optbench: {_cell(checked.heading)}", ""]
    for finding, remedy in told(checked):
        lines.append(f"- **{finding.severity}** {_cell(line(finding))}")
        lines += [f"  - {_cell(remedy)}"] if remedy else []
    if verdict.groups:
        rows = used_cells(verdict.groups)
        lines += ["", f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
        lines += [f"| {' | '.join(map(_cell, row.values()))} |" for row in rows]
    return "\n".join([*lines, ""])


def _markdown_of_changes(checked: "CheckedBaseline") -> str:
    heading, *changes = map(_cell, changed(checked))
    return "\n".join([f"### optbench: {heading}", "", *(f"- {each}" for each in changes), ""])


def _cell(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", text)


def to_junit(checked: "Sequence[CheckedBaseline]", *, update: bool = False) -> str:
    """Return one suite per baseline with one case per group, and one for what concerns no group.

    What was left out is a case that was skipped.
    """
    suites = ElementTree.Element("testsuites", name="optbench check")
    for one in checked:
        cases = _cases(one)
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=one.name,
            tests=str(len(cases) + len(one.left_out)),
            failures=str(sum(bool(messages) for messages in cases.values())),
            errors="0",
            skipped=str(len(one.left_out)),
        )
        for (problem, label), messages in cases.items():
            case = _case(suite, f"{one.name}.{problem or 'all'}", label or "all")
            if messages:
                failure = ElementTree.SubElement(case, "failure", message=_xml(messages[0]))
                failure.text = _xml("\n".join(messages))
        for kind in one.left_out:
            case = _case(suite, f"{one.name}.all", kind)
            ElementTree.SubElement(case, "skipped", message="--only names other checks")
        lines = [one.heading, *(changed(one) if update else ())]
        for finding, remedy in told(one):
            lines += filter(None, (f"{finding.severity}: {line(finding)}", remedy))
        ElementTree.SubElement(suite, "system-out").text = _xml("\n".join(lines))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)


def _case(suite: ElementTree.Element, classname: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_xml(classname), name=_xml(name))


def _xml(text: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _cases(checked: "CheckedBaseline") -> dict[tuple[str, str], list[str]]:
    """Return what failed of each group, then of everything else, by problem and title."""
    verdict = checked.verdict
    failed: dict[tuple[str, str], list[str]] = {
        (group.problem, titled(group)): [] for group in verdict.groups
    }
    if verdict.exit_code == ExitCode.NOTHING_TO_COMPARE:
        failed["", ""] = [checked.heading]
    for finding in verdict.findings:
        if finding.severity == "failure":
            messages = failed.setdefault((finding.problem, titled(finding)), [])
            messages += [line(finding), checked.remedy(finding)]
    return failed or {("", ""): []}
