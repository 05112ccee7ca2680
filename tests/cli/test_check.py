"""The gate from the command line: what is done, how it exits, and what it finds."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from optbench.gate.check import check_baselines
from tests.cli import gate_changes as do
from tests.cli.command import run
from tests.cli.gate import ANEW, FINDING, NOW, Desk, table

NUMERICS, QUALITY = ("failure numerics",), ("failure quality",)
SETTINGS, PRESENCE = ("failure settings",), ("failure presence",)
BITS = ("notice numerics",)
STRICT = (*NOW, "--strict")


@dataclass(frozen=True)
class Case:
    """What is changed, how ``optbench check`` exits, and what it says.

    Attributes
    ----------
    finds
        Severity and kind of all findings; the worst first.
    says
        Stands in the output, or in the message on stderr.
    arguments
        Of ``check``; by default it looks at the run that is there.
    """

    name: str
    change: Callable[[Desk], None]
    code: int
    finds: tuple[str, ...] = ()
    says: str = ""
    arguments: tuple[str, ...] = NOW


CASES = [
    Case("identical", do.nothing, 0, says="gate: passed, 18 lanes compared\n"),
    Case("identical, run anew", do.nothing, 0, says="18 lanes compared\n", arguments=ANEW),
    Case("identical, strict", do.nothing, 0, arguments=(*ANEW, "--strict")),
    Case("starts one ulp beside", do.starts_beside, 0, BITS, arguments=ANEW),
    Case("another order of sums", do.another_order, 0, BITS, arguments=ANEW),
    Case("one bit", do.one_bit, 0, BITS, "at iteration 10"),
    Case("one bit, strict", do.one_bit, 3, NUMERICS, arguments=STRICT),
    Case(
        "one bit elsewhere, strict",
        do.one_bit_elsewhere,
        0,
        BITS,
        "another environment",
        arguments=STRICT,
    ),
    Case("20 % worse", do.losses("net", "adam", 1.2), 3, QUALITY, "regression: final loss"),
    Case("20 % worse, one lane", do.losses("anisotropic", "sgd", 1.2), 3, QUALITY, "+20.2 %"),
    Case("3 % worse", do.losses("net", "adam", 1.03), 0),
    Case("30 % better", do.losses("net", "adam", 0.7), 0, ("notice quality",), "improvement"),
    Case(
        "20 % worse, let through",
        do.losses("net", "adam", 1.2),
        0,
        arguments=(*NOW, "--threshold", "net=0.3"),
    ),
    Case(
        "20 % worse, let through elsewhere",
        do.losses("net", "adam", 1.2),
        3,
        QUALITY,
        arguments=(*NOW, "--threshold", "anisotropic=0.3"),
    ),
    Case(
        "20 % worse, others looked for",
        do.losses("net", "adam", 1.2),
        0,
        says="compared; not checked: quality, speed\n",
        arguments=(*NOW, "--only", "settings", "--only", "numerics"),
    ),
    Case(
        "other data, others looked for",
        do.other_data,
        0,
        says="compared; not checked: settings, numerics, speed\n",
        arguments=(*NOW, "--only", "quality"),
    ),
    Case(
        "newly diverged, others looked for",
        do.diverged_now,
        3,
        PRESENCE,
        arguments=(*NOW, "--only", "quality"),
    ),
    Case(
        "20 % worse, threshold stored",
        lambda desk: (
            do.losses("net", "adam", 1.2)(desk),
            do.described_as(thresholds={"": 0.3})(desk),
        ),
        0,
    ),
    Case("too few seeds", do.few_seeds, 0, ("warning quality",), "needs at least 8 seeds, has 3"),
    Case("sign error in Adam", do.sign_error, 3, NUMERICS + QUALITY, arguments=ANEW),
    Case(
        "lr 5 % off",
        do.ran(lr=("lr = 0.01\n", "lr = 0.0105\n")),
        3,
        SETTINGS + NUMERICS,
        "lr: 0.01 then, 0.0105 now",
    ),
    Case(
        "another default",
        do.another_default,
        3,
        SETTINGS + NUMERICS,
        "beta1: 0.9 then, 0.95 now",
        arguments=ANEW,
    ),
    Case(
        "another batch size",
        do.ran("--batch-size", 8),
        3,
        SETTINGS + NUMERICS,
        "definition.batch.size: 16 then, 8 now",
    ),
    Case(
        "another option of a problem",
        do.ran(clip=('record = "before"', 'record = "before"\nlog_eps = 1e-3')),
        3,
        SETTINGS,
        "log_eps",
    ),
    Case(
        "other iterations", do.ran("--iterations", 55), 3, SETTINGS, "iterations: 60 then, 55 now"
    ),
    Case("other data", do.other_data, 3, SETTINGS, "definition.data.checksums.mnist-5k"),
    Case("no number any more", do.no_number, 3, PRESENCE, "nan now at iteration 30"),
    Case("a lane missing", do.lane_missing, 3, PRESENCE, "1 lane missing from the run"),
    Case("an optimizer missing", do.ran("-o", "sgd"), 3, PRESENCE, "seeds 0–7"),
    Case(
        "an optimizer more",
        do.ran("-o", "sgd", "-o", "adam", "-o", "momentum"),
        0,
        ("notice presence",),
        "not in the baseline",
    ),
    Case("newly diverged", do.diverged_now, 3, PRESENCE, "diverged at iteration 30, was"),
    Case("no longer diverged", do.diverged_then, 0, ("notice presence",), "was diverged, is done"),
    Case("a lane failed", do.failed_now, 3, PRESENCE, "failed with ValueError: no, was done; 1 of"),
    Case("other seeds", do.ran("--seed", "20,21,22"), 5, says="no lane of"),
    Case("slower", do.steps_slower, 0, ("notice speed",), "2.00 times as long"),
    Case(
        "slower, to fail",
        do.steps_slower,
        3,
        ("failure speed",),
        arguments=(*NOW, "--fail-on-speed"),
    ),
    Case("no baseline", do.without_baselines, 5, says="there are no baselines", arguments=()),
    Case("unknown baseline", do.nothing, 5, says="did you mean 'gate'?", arguments=("gaet",)),
    Case(
        "baseline of a later schema", do.described_as(schema_version=999), 2, says="newer optbench"
    ),
    Case("run of a later schema", do.newer_run, 2, says="newer optbench"),
    Case(
        "problems lost by the run", do.problems_lost, 2, says="run.json' is damaged: problems: 'a"
    ),
    Case("damaged JSON", do.cut("baseline.json"), 2, says="cannot be read"),
    Case("no JSON object", do.text_in("baseline.json", "[]"), 2, says="not written by optbench"),
    Case(
        "JSON without a part",
        do.text_in("baseline.json", '{"schema_version": 1}'),
        2,
        says="suite: it is missing",
    ),
    Case("no suite", do.described_as(suite={"name": "x"}), 2, says="is damaged: suite"),
    Case(
        "thresholds of words", do.described_as(thresholds={"": "x"}), 2, says="is damaged: thresh"
    ),
    Case("problems lost", do.described_as(problems=[]), 2, says="is damaged: problems"),
    *(
        Case(f"damaged {name}", do.cut(f"{name}.parquet"), 2, says=f"{name}.parquet")
        for name in ("lanes", "trace", "tolerance")
    ),
    Case("several baselines", do.two_baselines, 2, says="name one of", arguments=("--run", "now")),
    Case(
        "unknown format", do.nothing, 2, says="unknown format 'xml'", arguments=("--format", "xml")
    ),
    Case(
        "no threshold", do.nothing, 2, says="write 0.05", arguments=(*NOW, "--threshold", "net=x")
    ),
    Case(
        *("unknown check", do.nothing, 2),
        says="unknown check 'qality'; did you mean 'quality'?",
        arguments=(*NOW, "--only", "qality"),
    ),
    Case(
        *("strict about nothing", do.nothing, 2),
        says="--strict needs numerics, which --only leaves out; add --only numerics",
        arguments=(*STRICT, "--only", "quality"),
    ),
    Case(
        *("nothing to fail", do.nothing, 2),
        says="--only speed fails nothing without --fail-on-speed; give both",
        arguments=(*NOW, "--only", "speed"),
    ),
    Case(
        *("dry without update", do.nothing, 2),
        says="--dry-run goes with --update",
        arguments=(*NOW, "--dry-run"),
    ),
    Case("unknown run", do.nothing, 2, says="nowhere", arguments=("gate", "--run", "nowhere")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gate(case, desk):
    case.change(desk)
    seen = desk.check(*case.arguments)
    assert seen.code == case.code, seen
    if not seen.out:
        assert len(seen.err.splitlines()) == 1
        assert case.says in seen.err
        return
    assert case.says in seen.out
    worst = list(dict.fromkeys(" ".join(each) for each in FINDING.findall(seen.out)))
    if case.code != 5:
        assert tuple(worst[: len(case.finds)]) == case.finds
        assert bool(case.finds) == bool(worst), worst


# Several baselines, and refreshing them.


def test_all_baselines_are_checked_and_the_worst_counts(desk):
    do.two_baselines(desk)
    table(desk.baseline / "lanes.parquet", lambda x: x.assign(final_loss=x["final_loss"] / 1.2))
    seen = desk.check()
    assert seen.code == 3
    assert re.findall(r"^(\w+): (\w+), 18 lanes", seen.out, re.MULTILINE) == [
        ("gate", "FAILED"),
        ("second", "passed"),
    ]


def test_update_shows_what_changes_then_refreshes(desk):
    do.ran(lr=("lr = 0.01\n", "lr = 0.0105\n"))(desk)
    update = (*NOW, "--update", "--threshold", "net=0.5")
    before = {path: path.read_bytes() for path in desk.baseline.iterdir()}
    looked = desk.check(*update, "--dry-run")
    assert (looked.code, looked.err) == (0, "not refreshed: results/baselines/gate\n")
    assert {path: path.read_bytes() for path in desk.baseline.iterdir()} == before
    seen = desk.check(*update)
    assert (seen.code, seen.out) == (0, looked.out)
    assert seen.err == "refreshed: results/baselines/gate\n"
    heading, *changes = seen.out.splitlines()
    assert heading == "gate: what changes in the baseline:"
    assert changes[:2] == ["  net, adam: lr: 0.01 → 0.0105", "  net: threshold: nothing → 50 %"]
    assert re.fullmatch(r"  net, adam: final loss: \S+ → \S+ \(\S+ %, 8 of 8 lanes\)", changes[2])
    after = desk.check("gate", "--strict")
    assert (after.code, FINDING.findall(after.out)) == (0, [])
    description = json.loads((desk.baseline / "baseline.json").read_text())
    assert description["thresholds"] == {"net": 0.5}


def test_update_says_where_nothing_changes(desk):
    seen = desk.check(*NOW, "--update")
    assert seen.code == 0
    assert seen.out == "gate: nothing changes in the baseline but its date and measured times\n"


def test_update_refreshes_a_baseline_where_it_lies(desk):
    elsewhere = desk.cwd / "kept/mine"
    elsewhere.parent.mkdir()
    desk.baseline.rename(elsewhere)
    before = (elsewhere / "baseline.json").read_text()
    seen = desk.check("kept/mine", "--run", "now", "--update")
    assert (seen.code, list(desk.baseline.parent.iterdir())) == (0, []), seen
    after = json.loads((elsewhere / "baseline.json").read_text())
    assert after["name"] == "mine"
    assert after["saved"] != json.loads(before)["saved"]
    assert [path.name for path in elsewhere.parent.iterdir()] == ["mine"]


def test_update_takes_no_run_of_another_suite(desk):
    do.ran(name=('name = "gate"', 'name = "other"'))(desk)
    before = (desk.baseline / "baseline.json").read_bytes()
    seen = desk.check(*NOW, "--update")
    assert seen.code == 2
    assert seen.err == (
        "error: 'results/now' is a run of suite 'other', and baseline 'gate' is of 'gate'; "
        "to keep it as well, use: optbench baseline save\n"
    )
    assert (desk.baseline / "baseline.json").read_bytes() == before


def test_update_drops_thresholds_of_problems_that_are_gone_and_takes_those_of_new_ones(desk):
    do.described_as(thresholds={"net": 0.2})(desk)
    do.ran(label=('label = "net"', 'label = "small"'))(desk)
    assert desk.check(*NOW, "--update", "--threshold", "small=0.3").code == 0
    description = json.loads((desk.baseline / "baseline.json").read_text())
    assert description["thresholds"] == {"small": 0.3}
    assert desk.check(*NOW).code == 0


def test_a_baseline_in_the_current_folder_has_its_name(desk):
    where = replace(desk, cwd=desk.baseline)
    seen = where.check(".", "--run", "../../now")
    assert (seen.code, seen.out.splitlines()[0]) == (0, "gate: passed, 18 lanes compared")


def test_update_keeps_the_baseline_where_a_lane_failed(desk):
    do.failed_now(desk)
    desk.meta(status="failed")
    before = (desk.baseline / "baseline.json").read_bytes()
    seen = desk.check(*NOW, "--update")
    assert seen.code == 2
    assert "a baseline needs a run that is done" in seen.err
    assert (desk.baseline / "baseline.json").read_bytes() == before


def test_the_suite_of_the_baseline_runs_whatever_became_of_its_file(desk):
    (desk.cwd / "mine.toml").unlink()
    assert desk.check("gate").code == 0


def test_a_suite_file_that_was_edited_is_said_and_the_baseline_counts(desk):
    file = desk.cwd / "mine.toml"
    text = file.read_text().replace("seeds = 8", "seeds = 9").replace("adam.lr = 0.3\n", "")
    file.write_text(text.replace("lr = 0.01", "lr = 0.02\neps = 1e-6"))
    seen = desk.check("gate", "--only", "quality")
    assert seen.code == 0
    assert seen.out.splitlines()[1] == (
        "  warning: baseline: mine.toml differs from the baseline's suite, which is the one that "
        "is run: seeds is 8 in the baseline, 9 in the file; problem.anisotropic.adam is "
        '{"lr": 0.3} in the baseline,'
        " nothing in the file; optimizer.adam.lr is 0.01 in the baseline, 0.02 in the "
        "file; optimizer.adam.eps is nothing in the baseline, 1e-06 in the file; to take the file, "
        "run it, then: optbench check gate --run latest --update"
    )
    # The run of a refresh is of the baseline's suite too, and knows the file as before.
    assert "  warning: baseline: mine.toml differs" in desk.check("gate", "--update").out
    assert "mine.toml differs" in desk.check("gate").out
    run(file, cwd=desk.cwd)
    assert desk.check("gate", "--run", "latest", "--update").code == 0
    assert "mine.toml" not in desk.check("gate").out


@pytest.mark.parametrize("text", ["seeds = [", "name = 3"])
def test_a_suite_file_that_cannot_be_read_is_said_too(desk, text):
    (desk.cwd / "mine.toml").write_text(text)
    seen = desk.check("gate")
    assert seen.code == 0
    assert seen.out.splitlines()[1].startswith("  warning: baseline: ")
    assert seen.out.splitlines()[1].endswith("; the suite of the baseline is run")


def test_only_can_be_chosen_from_python(desk):
    do.losses("net", "adam", 1.2)(desk)
    out = desk.cwd / "results"
    (checked,) = check_baselines("gate", run="now", out=out, only="numerics")
    assert not checked.verdict.failed
    assert checked.verdict.groups == ()
    assert checked.left_out == ("settings", "quality", "speed")
    (checked,) = check_baselines("gate", run="now", out=out, only=["numerics", "quality"])
    assert [change.what for change in checked.changes] == ["final loss", "target"]
    assert checked.verdict.failed


def test_baselines_are_checked_from_python(desk):
    do.losses("net", "adam", 1.2)(desk)
    out = desk.cwd / "results"
    (checked,) = check_baselines("gate", run=desk.now, out=out)
    assert (checked.name, checked.verdict.failed, checked.run.path) == ("gate", True, desk.now)
    assert [path.name for path in checked.figures] == ["check-net-adam.png"]
    (checked,) = check_baselines([desk.baseline], run="now", out=out, threshold={"net": 0.3})
    assert (checked.verdict.failed, checked.figures) == (False, ())
