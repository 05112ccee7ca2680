"""How verdicts of ``optbench check`` are printed: as text, JSON, for GitHub, and as JUnit."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import typer

from optbench.cli.output import console, table
from optbench.errors import ExitCode

if TYPE_CHECKING:
    from optbench.checks.verdict import Finding, Group, Verdict
    from optbench.records import RunTables
    from optbench.reference import Baseline

GITHUB_LEVELS = {"failure": "error", "warning": "warning", "notice": "notice"}

COLORS = {"failure": "red", "warning": "yellow", "regression": "red", "improvement": "green"}


@dataclass(frozen=True)
class Judged:
    """A baseline, the run that was compared with it, what was found, and figures of that."""

    baseline: "Baseline"
    run: "RunTables"
    verdict: "Verdict"
    figures: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The baseline's name."""
        return self.baseline.path.name

    @property
    def heading(self) -> str:
        """The verdict in a line."""
        verdict = self.verdict
        if verdict.exit_code == ExitCode.NOTHING_TO_COMPARE:
            return f"{self.name}: no lane of {self.run.path} is one of the baseline's"
        result = "FAILED" if verdict.failed else "passed"
        lanes = f"{verdict.matched} lane{'' if verdict.matched == 1 else 's'}"
        counts = [
            f"{len(some)} {severity}{'' if len(some) == 1 else 's'}"
            for severity in GITHUB_LEVELS
            if (some := [each for each in verdict.findings if each.severity == severity])
        ]
        return f"{self.name}: {result}, {lanes} compared" + "".join(f", {each}" for each in counts)


def print_verdicts(judged: Sequence[Judged], format_: str) -> None:
    """Print verdicts to stdout; ``github`` also writes the job's summary."""
    match format_:
        case "json":
            plain = {"baselines": [_plain(each) for each in judged]}
            typer.echo(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False))
        case "github":
            for line in (line for each in judged for line in _annotations(each)):
                typer.echo(line)
            _write_summary("\n".join(_markdown(each) for each in judged))
        case "junit":
            typer.echo(_junit(judged))
        case _:
            for each in judged:
                _print_text(each)


def _print_text(judged: Judged) -> None:
    screen = console()
    failed = judged.verdict.exit_code != ExitCode.DONE
    screen.print(judged.heading, style="bold red" if failed else "bold green")
    for finding in judged.verdict.findings:
        style = COLORS.get(finding.severity)
        screen.print(f"  {finding.severity}: {_line(finding)}", style=style, soft_wrap=True)
    if judged.verdict.groups:
        listed = table(*COLUMNS)
        for group in judged.verdict.groups:
            listed.add_row(*_cells(group), style=COLORS.get(group.verdict))
        screen.print(listed)
    for figure in judged.figures:
        screen.print(f"figure: {figure}", soft_wrap=True)


def _line(finding: "Finding") -> str:
    where = f"{finding.where}: " if finding.where else ""
    return f"{finding.kind}: {where}{finding.message}"


COLUMNS = (
    *("problem", "optimizer", "verdict", "change", "between", "detects", "seeds", "p"),
    *("test error", "to target", "note"),
)


def _cells(group: "Group") -> list[str]:
    label = f"{group.label} ({group.setting})" if group.setting else group.label
    between = "" if group.low is None else f"{_share(group.low)} to {_share(group.high)}"
    return [
        group.problem,
        label,
        str(group.verdict),
        _share(group.effect),
        between,
        _share(group.detectable),
        str(group.seeds),
        "" if group.p is None else f"{group.p:.2g}",
        _then_now(_percent(group.test_error_then), _percent(group.test_error_now)),
        _then_now(_text(group.reached_then), _text(group.reached_now)),
        group.note,
    ]


def _share(value: float | None) -> str:
    """Write a relative change.

    >>> _share(0.213), _share(-0.05), _share(None)
    ('+21.3 %', '-5 %', '')
    """
    return "" if value is None else f"{100 * value:+.3g} %"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _then_now(then: str, now: str) -> str:
    if not then and not now:
        return ""
    return then if then == now else f"{then or '?'} → {now or '?'}"


def _plain(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    found = {
        "baseline": judged.name,
        "run": str(judged.run.path),
        "exit_code": int(verdict.exit_code),
        "failed": verdict.failed,
        "lanes": verdict.matched,
        "findings": [asdict(each) for each in verdict.findings],
        "groups": [asdict(each) for each in verdict.groups],
        "figures": [str(path) for path in judged.figures],
    }
    cleaned: dict[str, Any] = _finite(found)
    return cleaned


def _finite(value: Any) -> Any:
    """Return plain data with null in place of what JSON cannot say."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _annotations(judged: Judged) -> Iterator[str]:
    """Yield workflow commands, which GitHub shows beside the job."""
    nothing = judged.verdict.exit_code == ExitCode.NOTHING_TO_COMPARE
    if nothing:
        yield f"::error title=optbench::{_escaped(judged.heading)}"
    for finding in judged.verdict.findings:
        title = f"optbench {judged.name}: {finding.kind}"
        level = GITHUB_LEVELS[finding.severity]
        text = f"{finding.where}: {finding.message}" if finding.where else finding.message
        yield f"::{level} title={_escaped(title, inside=True)}::{_escaped(text)}"
    if not nothing:
        yield judged.heading


def _escaped(text: str, *, inside: bool = False) -> str:
    """Return a text as workflow commands take it; ``inside`` a property."""
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(character, code)
    return text.replace(":", "%3A").replace(",", "%2C") if inside else text


def _markdown(judged: Judged) -> str:
    lines = [f"### optbench: {judged.heading}", ""]
    lines += [f"- **{each.severity}** {_line(each)}" for each in judged.verdict.findings]
    if judged.verdict.groups:
        lines += ["", f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
        for group in judged.verdict.groups:
            cells = [cell.replace("|", "\\|") for cell in _cells(group)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _write_summary(text: str) -> None:
    """Append to the summary of the job, if this is one."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _junit(judged: Sequence[Judged]) -> str:
    """Return a suite a baseline, a case a group, and one for what concerns no group."""
    suites = ElementTree.Element("testsuites", name="optbench check")
    for each in judged:
        cases = _cases(each)
        failures = sum(bool(messages) for _, _, messages in cases)
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=each.name,
            tests=str(len(cases)),
            failures=str(failures),
        )
        for problem, label, messages in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{each.name}.{problem or 'all'}", name=label or "all"
            )
            if messages:
                failure = ElementTree.SubElement(case, "failure", message=messages[0])
                failure.text = "\n".join(messages)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)


def _cases(judged: Judged) -> list[tuple[str, str, list[str]]]:
    """Return problem, label and what failed of each group, then of everything else."""
    failed: dict[tuple[str, str], list[str]] = {
        (group.problem, group.label): [] for group in judged.verdict.groups
    }
    if judged.verdict.exit_code == ExitCode.NOTHING_TO_COMPARE:
        failed["", ""] = [judged.heading]
    for finding in judged.verdict.findings:
        if finding.severity == "failure":
            failed.setdefault((finding.problem, finding.label), []).append(_line(finding))
    return [(problem, label, messages) for (problem, label), messages in failed.items()]
