"""How the gate's verdict is printed: as text, JSON, for GitHub, and as JUnit."""

import io
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from optbench.cli import verdicts
from optbench.gate.formats import NOT_XML
from tests.cli import gate_changes as changes
from tests.cli.command import optbench
from tests.cli.gate import NOW, described, table


def worse(desk):
    """Make a run that fails, with a name that no format takes as it is."""
    changes.losses("net", "adam", 1.2)(desk)
    changes.one_bit(desk)


def test_json_holds_all_that_was_found_and_finite_numbers_only(desk):
    worse(desk)
    seen = desk.check(*NOW, "--format", "json")
    assert seen.code == 3

    def refuse(text):
        raise AssertionError(text)

    (found,) = json.loads(seen.out, parse_constant=refuse)["baselines"]
    assert (found["baseline"], found["exit_code"], found["failed"]) == ("gate", 3, True)
    kinds = [(each["severity"], each["kind"], each["label"]) for each in found["findings"]]
    assert kinds == [("failure", "quality", "adam"), ("notice", "numerics", "sgd")]
    effects = {(each["problem"], each["label"]): each["effect"] for each in found["groups"]}
    assert effects["net", "adam"] == pytest.approx(0.2, abs=0.002)
    assert effects["net", "sgd"] == 0.0


UPDATE = "optbench check gate --run results/now --update"
TO_DO = {
    "quality": f"if the change is intended: {UPDATE}; else see in the figure where the curves "
    "part; --threshold lets more through",
    "settings": f"if the change is intended: {UPDATE}; else put back what the message names",
}


def fails_twice(desk):
    """Make a run with two failures of one kind, one of another, and a notice."""
    worse(desk)
    desk.losses("net", "sgd", 1.3)
    changes.other_data(desk)


def test_text_says_once_per_kind_of_failure_what_to_do(desk):
    fails_twice(desk)
    shown = [line for line in desk.check(*NOW).out.splitlines() if line.startswith("  ")]
    assert [line.split(": ")[1] if line[2] != " " else line for line in shown[:6]] == [
        "settings",
        f"    → {TO_DO['settings']}",
        "quality",
        "quality",
        f"    → {TO_DO['quality']}",
        "numerics",
    ]


def test_every_failure_of_other_formats_ends_in_what_to_do(desk, monkeypatch):
    summary = desk.cwd / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    fails_twice(desk)
    (found,) = json.loads(desk.check(*NOW, "--format", "json").out)["baselines"]
    assert [each["remedy"] for each in found["findings"]] == [
        *(TO_DO["settings"], TO_DO["quality"], TO_DO["quality"], "")
    ]
    errors = [
        line
        for line in desk.check(*NOW, "--format", "github").out.splitlines()
        if line.startswith("::error")
    ]
    assert [line.split("%0A")[1] for line in errors] == [
        *(TO_DO["settings"], TO_DO["quality"], TO_DO["quality"])
    ]
    assert summary.read_text().count(f"  - {TO_DO['quality']}") == 1
    cases = ElementTree.fromstring(desk.check(*NOW, "--format", "junit").out).iter("failure")
    assert [case.text.splitlines()[-1] for case in cases] == [
        *(TO_DO["quality"], TO_DO["quality"], TO_DO["settings"])
    ]


def test_every_format_says_what_was_not_checked(desk, monkeypatch):
    summary = desk.cwd / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    worse(desk)
    seen = {
        name: desk.check(*NOW, "--only", "numerics", "--format", name).out
        for name in ("text", "github", "json", "junit")
    }
    heading = "gate: passed, 18 lanes compared, 1 notice; not checked: settings, quality, speed"
    assert seen["text"].splitlines()[0] == heading
    assert "optimizer" not in seen["text"]  # no table of what was not judged
    assert seen["github"].splitlines()[-1] == heading
    assert summary.read_text().splitlines()[0] == f"### optbench: {heading}"
    (found,) = json.loads(seen["json"])["baselines"]
    assert found["not_checked"] == ["settings", "quality", "speed"]
    (suite,) = ElementTree.fromstring(seen["junit"])
    skipped = [
        case.get("name") for case in suite.iter("testcase") if case.find("skipped") is not None
    ]
    assert skipped == found["not_checked"]
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("4", "3", "0")


def test_every_format_shows_what_a_refresh_changes(desk, monkeypatch):
    summary = desk.cwd / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    changes.losses("anisotropic", "sgd", 2.0)(desk)
    seen = {
        name: desk.check(*NOW, "--update", "--dry-run", "--format", name)
        for name in ("text", "github", "json", "junit")
    }
    assert {each.code for each in seen.values()} == {0}
    (change,) = [line for line in seen["text"].out.splitlines() if "final loss" in line]
    assert change.endswith(" (+102 %)")  # twice, and a hundredth of that for the seed
    assert f"-{change[1:]}\n" in seen["github"].out
    assert "::" not in seen["github"].out
    assert f"-{change[1:]}\n" in summary.read_text()
    (found,) = json.loads(seen["json"].out)["baselines"]
    (told,) = [each for each in found["changes"] if each["what"] == "final loss"]
    assert change == "  anisotropic, sgd: final loss: {then} → {now} ({note})".format(**told)
    assert change[2:] in ElementTree.fromstring(seen["junit"].out).findtext(".//system-out")


def test_json_of_numbers_that_are_none(desk):
    changes.no_number(desk)
    desk.lanes(lambda lanes: lanes.assign(final_loss=np.inf))
    seen = desk.check(*NOW, "--format", "json")
    assert seen.code == 3
    assert not re.search(r"NaN|Infinity", seen.out)


def test_annotations_are_escaped_and_the_summary_is_appended_to(desk, monkeypatch):
    summary = desk.cwd / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    worse(desk)
    seen = desk.check(*NOW, "--format", "github")
    first, second, last = seen.out.splitlines()
    assert first.startswith("::error title=optbench gate%3A quality::net, adam: regression: ")
    assert "+20 %25" in first
    assert second.startswith("::notice title=optbench gate%3A numerics::anisotropic, sgd, seed 0: ")
    assert last == "gate: FAILED, 18 lanes compared, 1 failure, 1 notice"
    lines = summary.read_text().splitlines()
    assert lines[:2] == ["before", f"### optbench: {last}"]
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert len({len(re.findall(r"(?<!\\\\)\|", row)) for row in rows}) == 1


def test_a_summary_that_cannot_be_written_is_said(desk, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(desk.cwd))
    seen = desk.check(*NOW, "--format", "github")
    assert (seen.code, len(seen.err.splitlines())) == (2, 1)
    assert "GITHUB_STEP_SUMMARY" in seen.err


def test_nothing_to_compare_is_an_annotation_too(desk):
    changes.ran("--seed", "20,21")(desk)
    seen = desk.check(*NOW, "--format", "github")
    assert seen.code == 5
    assert seen.out.startswith("::error title=optbench::gate: no lane of results/now is")


def test_a_check_that_cannot_be_made_is_an_annotation_too(desk):
    (desk.baseline / "trace.parquet").write_bytes(b"")
    seen = desk.check(*NOW, "--format", "github")
    assert (seen.code, len(seen.err.splitlines())) == (2, 1)
    assert seen.out == seen.err.replace("error: ", "::error title=optbench::", 1)


@pytest.mark.parametrize("format_", ["text", "github", "junit", "json"])
def test_names_in_files_of_others_cannot_speak_for_optbench(desk, format_):
    name = "net\n::stop-commands::x\x1b[2J"
    for folder in (desk.baseline, desk.now):
        table(
            folder / "lanes.parquet", lambda x: x.assign(problem=x["problem"].replace("net", name))
        )
        file = folder / ("baseline.json" if folder == desk.baseline else "run.json")
        problems = json.loads(file.read_text())["problems"]
        described(
            file, problems=[{**e, "problem": e["problem"].replace("net", name)} for e in problems]
        )
    described(desk.baseline / "baseline.json", thresholds={name: 0.5})
    desk.losses(name, "adam", 2.0)
    seen = desk.check(*NOW, "--format", format_)
    assert seen.code == 3, seen
    assert "stop-commands" in seen.out
    assert "\n::stop-commands" not in seen.out
    assert "\x1b" not in seen.out


def test_junit_counts_groups_and_what_failed(desk):
    worse(desk)
    changes.other_data(desk)
    seen = desk.check(*NOW, "--format", "junit")
    root = ElementTree.fromstring(seen.out)
    (counted,) = root.findall("testsuite")
    cases = counted.findall("testcase")
    failures = {
        (each.get("classname"), each.get("name")): failure.get("message")
        for each in cases
        for failure in each.findall("failure")
    }
    assert (counted.get("name"), counted.get("tests"), counted.get("failures")) == (
        "gate",
        "5",
        "2",
    )
    assert len(cases) == 5
    assert set(failures) == {("gate.net", "adam"), ("gate.net", "all")}
    assert failures["gate.net", "adam"].startswith("quality: net, adam: regression: ")
    told = counted.findtext("system-out").splitlines()
    assert told[0].startswith("gate: FAILED, 18 lanes compared, 2 failures, 1 notice")
    assert [line.partition(": ")[0] for line in told[1:]] == [
        *("failure", "if the change is intended", "failure", "if the change is intended", "notice")
    ]


def test_what_xml_cannot_say_is_replaced():
    assert NOT_XML.sub("?", "a\tb\nß✓😀") == "a\tb\nß✓😀"
    assert NOT_XML.sub("?", "\x00\x1b\ufffe") == "???"


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_fits_the_screen(desk, columns, monkeypatch):
    worse(desk)
    screen = Console(file=io.StringIO(), width=columns)
    monkeypatch.setattr(verdicts, "console", lambda: screen)
    desk.check(*NOW)
    shown = screen.file.getvalue().splitlines()
    (heading,) = [line for line in shown if "verdict" in line]
    rows = [line for line in shown if re.match(" +((anisotropic|net) +)?(sgd|adam) ", line)]
    assert len(rows) == 4
    assert all(len(line) <= columns for line in rows)
    assert not any("…" in line for line in [heading, *rows])
    left_out = [line for line in shown if line.startswith("  a wider screen also shows: ")]
    assert heading.endswith("target"), "the last column, whose heading folds"
    assert len(left_out) == (columns == 80)
    verdicts_ = [re.findall("pass|regression", line) for line in rows]
    assert verdicts_ == [["pass"], ["pass"], ["pass"], ["regression"]]
    assert "  anisotropic: nothing random, judged by the threshold" in shown


def test_failed_groups_have_a_figure(desk):
    worse(desk)
    seen = optbench("check", *NOW, cwd=desk.cwd)
    figure = desk.now / "plots/check-net-adam.png"
    assert f"figure: {figure.relative_to(desk.cwd)}" in seen.out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(list(figure.parent.glob("check-*"))) == 1
