"""``optbench verify optimizer``: what it prints, and how it ends."""

import json

import pytest

from optbench.cli.options import complete_optimizer
from optbench.verify.optimizers import CHECKS
from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401

pytestmark = pytest.mark.usefixtures("forget")

RULES = """
from optbench.optimizers import Elementwise, Hyperparameter, Optimizer

class Plain(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, ""),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)

class Uphill(Plain):
    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w + lr * g,)

class Drawing(Plain):
    def step(self, step):
        import random
        step.params.rows[...] -= 0.1 * random.random() * step.grads.rows

class Late(Optimizer):
    hyperparameters = ()
    def step(self, step):
        raise ValueError("[late]")

def function(w):
    return w
"""


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "rules.py").write_text(RULES, encoding="utf-8")
    return tmp_path


def cells(out):
    """Return check, verdict and note of each row."""
    rows = [line.strip() for line in out.splitlines()[4:] if line.strip() and "──" not in line]
    parts = [[part for part in row.split("  ") if part] for row in rows]
    return [[part.strip() for part in row] for row in parts]


@pytest.mark.parametrize("name", ["adam", "adam-torch", "rules.py:Plain"])
def test_one_that_keeps_all_ends_with_0(rules, name):
    seen = optbench("verify", "optimizer", name, cwd=rules)
    assert (seen.code, seen.err) == (0, "")
    title, *_ = seen.out.splitlines()
    assert title == f"What every optimizer promises, checked for {name}"
    found = cells(seen.out)
    assert [row[:2] for row in found] == [[check, "good"] for check in CHECKS]
    assert found[3][2] == "to the bit: alone, among others, beside NaN"


@pytest.mark.parametrize("name", ["lamb", "rules.py:Uphill"])
def test_lines_fit_80_columns(rules, name):
    out = optbench("verify", "optimizer", name, cwd=rules).out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_one_that_does_not_ends_with_3_and_the_check(rules):
    seen = optbench("verify", "optimizer", "rules.py:Uphill", cwd=rules)
    assert seen.code == 3
    found = cells(seen.out)
    assert [row[1] for row in found] == ["good"] * 7 + ["wrong"]
    note = found[-1][2]
    assert seen.err == (
        f"error: rules.py:Uphill did not pass 1 of 8 checks; the first: converges: {note}\n"
    )


def test_what_was_not_checked_is_said(rules):
    seen = optbench("verify", "optimizer", "rules.py:Drawing", cwd=rules)
    assert seen.code == 3
    verdicts = {row[0]: row[1] for row in cells(seen.out)}
    assert verdicts["deterministic"] == "wrong"
    assert verdicts["lanes independent"] == verdicts["resumes"] == "not checked"
    assert "did not pass 8 of 8 checks; the first: deterministic: Drawing draws ran" in seen.err


def test_code_that_raises_ends_with_3_and_no_traceback(rules):
    seen = optbench("verify", "optimizer", "rules.py:Late", cwd=rules)
    line = RULES.splitlines().index('        raise ValueError("[late]")') + 1
    says = f"ValueError: [late] (rules.py, line {line})"
    assert seen.code == 3
    assert seen.err == (
        f"error: rules.py:Late did not pass 8 of 8 checks; the first: finite: {says}\n"
    )
    assert ["finite", "wrong", says] in cells(seen.out)


@pytest.mark.parametrize(("name", "code"), [("rules.py:Plain", 0), ("rules.py:Drawing", 3)])
def test_json_holds_every_check(rules, name, code):
    seen = optbench("verify", "optimizer", name, "--format", "json", cwd=rules)
    assert seen.code == code
    rows = json.loads(seen.out)
    assert [(row["optimizer"], row["check"]) for row in rows] == [(name, each) for each in CHECKS]
    assert {row["passed"] for row in rows} == ({True} if code == 0 else {False, None})
    assert all(row["note"] for row in rows)


def test_hyperparameters_can_be_given(rules):
    flags = ("--set", "lr=3", "--set", "momentum=0")
    seen = optbench("verify", "optimizer", "momentum", *flags, cwd=rules)
    assert seen.code == 3
    assert [row[0] for row in cells(seen.out) if row[1] == "wrong"] == ["finite"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("adamm",), "unknown optimizer 'adamm'; did you mean 'adam', 'radam' or 'nadam'?"),
        (("rules.py",), "'rules.py' names a file only; add what to take from it: file.py:NAME"),
        (("rules.py:None",), "rules.py has no 'None'; known are Plain, Uphill"),
        (("rules.py:function",), "rules.py:function is a function, not an optimizer; "),
        (("adam", "--set", "lr"), "--set 'lr' is malformed; write KEY=VALUE, as lr=0.01"),
        (("adam", "--set", "rate=1"), "adam has no hyperparameter 'rate' of its own; "),
        (("adam", "--set", "lr=-1"), "adam: lr = -1 must be at least 0; "),
        (("adam", "--format", "jason"), "unknown format 'jason'; did you mean 'json'?"),
    ],
)
def test_mistakes_are_usage_errors(rules, arguments, says):
    assert optbench("verify", "optimizer", *arguments, cwd=rules).message.startswith(says)


def test_names_are_completed():
    assert {"adam", "adam-torch"} <= set(complete_optimizer("adam"))


def test_two_that_part_end_with_3_and_the_cause(rules):
    seen = optbench("verify", "optimizer", "adamw", "--against", "adamw-optax", cwd=rules)
    assert seen.code == 3
    assert seen.err == (
        "error: adamw and adamw-optax part at update 1 on a noisy quadratic: "
        "weight_decay: 0.01 against 0.0001\n"
    )
    assert "apart by more than 1e-09" in seen.out
    assert "What makes B of A" in seen.out
    given = ("--set", "b.weight_decay=0.01")
    seen = optbench("verify", "optimizer", "adamw", "--against", "adamw-optax", *given, cwd=rules)
    assert (seen.code, seen.err) == (0, "")
    assert seen.out.count("never") == 4
    assert "What makes" not in seen.out


def test_a_comparison_is_an_object_in_json(rules):
    seen = optbench(
        *("verify", "optimizer", "adamw", "--against", "sgd", "--set", "lr=0.1"),
        *("--tolerance", "1e-6", "--format", "json"),
        cwd=rules,
    )
    assert seen.code == 3
    found = json.loads(seen.out)
    assert (found["first"], found["second"], found["tolerance"]) == ("adamw", "sgd", 1e-6)
    assert found["agrees"] is False
    assert [len(found["partings"]), found["partings"][0]["update"]] == [4, 1]
    assert list(found["partings"][0]["differences"]) == ["1", "10", "100"]
    assert {cause["what"] for cause in found["causes"]} >= {"divides by", "beta1"}
    assert found["notes"] == ["sgd lacks beta1, beta2, eps, weight_decay of adamw"]
    assert found["notes"][0] in seen.err


def test_what_has_no_known_cause_says_so(rules):
    seen = optbench("verify", "optimizer", "rules.py:Uphill", "--against", "adam", cwd=rules)
    assert seen.code == 3
    assert "no known variant of one is the other" in seen.err
    assert len(seen.err.splitlines()[-1:]) == 1


def test_a_tolerance_needs_two(rules):
    seen = optbench("verify", "optimizer", "adam", "--tolerance", "1e-3", cwd=rules)
    assert "give --against as well" in seen.message
