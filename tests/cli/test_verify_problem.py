"""``optbench verify problem``: what it prints, and how it ends."""

import json
import re

import pytest

from optbench.problems.functions.quadratics import Anisotropic
from optbench.problems.registry import PROBLEMS
from optbench.verify import gradients
from tests.cli.command import optbench


class Spoilt(Anisotropic):
    """The second partial derivative has a wrong factor."""

    name = "spoilt"

    def value_and_grad(self, point, xp):
        value, (x, y) = super().value_and_grad(point, xp)
        return value, (x, 1.5 * y)


class Torn(Anisotropic):
    """Its loss is another one at the second look."""

    name = "torn"

    def loss(self, params, batch, *, buffers, work):
        losses = super().loss(params, batch, buffers=buffers, work=work)
        return type(losses)(losses.total + 1.0)


class Folded(Anisotropic):
    """|x| + |y| at (0, 0)."""

    name = "folded"
    origin = (0.0, 0.0)

    def value_and_grad(self, point, xp):
        x, y = point
        return abs(x) + abs(y), (xp.sign(x), xp.sign(y))


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    for each in (Spoilt, Torn, Folded):
        monkeypatch.setitem(PROBLEMS, each.name, each)


def cells(out):
    """Return the table's lines, split at spaces."""
    return [line.split() for line in out.splitlines()[2:] if line.strip() and "──" not in line]


def test_a_right_gradient_ends_with_0(tmp_path):
    seen = optbench("verify", "problem", "anisotropic", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert seen.out.startswith("Largest error of the gradient beside central differences")
    heading, title, *rows = cells(seen.out)
    assert heading == ["tensor", "entries", "redrawn", "error", "at", "result"]
    assert title == ["anisotropic"]
    assert [(row[0], row[1:4], row[-1]) for row in rows] == [
        (name, ["1", "of", "1"], "good") for name in "xy"
    ]


def test_lines_fit_80_columns(tmp_path):
    out = optbench("verify", "problem", "mnist-mlp", cwd=tmp_path).out
    assert "32 of 78400" in out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


def test_a_wrong_one_ends_with_3_and_its_worst_entry(tmp_path):
    seen = optbench("verify", "problem", "spoilt", cwd=tmp_path)
    assert seen.code == 3
    assert [row[-1] for row in cells(seen.out)[2:]] == ["good", "wrong"]
    found = re.fullmatch(
        r"error: 1 of 2 tensors did not pass; the worst: y of spoilt: "
        r"the gradient is (\S+), differences give (\S+)\n",
        seen.err,
    )
    assert found is not None
    assert float(found[1]) / float(found[2]) == pytest.approx(1.5, rel=1e-5)


def test_a_place_in_a_tensor_is_named(tmp_path, monkeypatch):
    network = PROBLEMS["mnist-mlp"]

    class Wrong(network):
        def loss_and_grad(self, params, grads, batch, *, buffers, work):
            losses = super().loss_and_grad(params, grads, batch, buffers=buffers, work=work)
            grads.views["dense5.bias"][:, 3] = 1.0
            return losses

    monkeypatch.setitem(PROBLEMS, "mnist-mlp", Wrong)
    seen = optbench("verify", "problem", "mnist-mlp", cwd=tmp_path)
    assert seen.code == 3
    assert "the worst: dense5.bias of mnist-mlp: the gradient at (3) is 1, differences" in seen.err


def test_two_losses_that_differ_end_with_3(tmp_path):
    seen = optbench("verify", "problem", "torn", cwd=tmp_path)
    assert seen.code == 3
    assert "torn: loss and loss_and_grad differ by" in seen.err


def test_where_only_kinks_are_found_nothing_is_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "AWAY", 0.0)
    seen = optbench("verify", "problem", "folded", cwd=tmp_path)
    assert seen.code == 3
    assert "x of folded: at a kink, or hidden by rounding, wherever" in seen.err
    assert [row[-2:] for row in cells(seen.out)[2:]] == [["no", "derivative"]] * 2


@pytest.mark.parametrize(("name", "code"), [("anisotropic", 0), ("spoilt", 3), ("folded", 3)])
def test_json_holds_every_tensor(name, code, tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "AWAY", 0.0)
    seen = optbench("verify", "problem", name, "--format", "json", "--seed", "1", cwd=tmp_path)
    assert seen.code == code
    rows = json.loads(seen.out)
    assert [(row["problem"], row["tensor"]) for row in rows] == [(name, "x"), (name, "y")]
    for row in rows:
        assert row["passed"] is (row["error"] is not None and row["error"] <= 1e-6)
        assert (row["analytic"] is None) is (name == "folded")


def test_a_suite_is_checked_problem_by_problem(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text('[[problem]]\nname = "anisotropic"\n[[problem]]\nname = "spoilt"\n')
    seen = optbench("verify", "problem", path, cwd=tmp_path)
    assert seen.code == 3
    assert [row for row in cells(seen.out) if len(row) == 1] == [["anisotropic"], ["spoilt"]]


def test_mistakes_are_usage_errors(tmp_path):
    unknown = optbench("verify", "problem", "anisotropc", cwd=tmp_path)
    assert unknown.message.startswith("unknown problem 'anisotropc'; did you mean 'anisotropic'?")
    format_ = optbench("verify", "problem", "anisotropic", "--format", "jason", cwd=tmp_path)
    assert format_.message == "unknown format 'jason'; did you mean 'json'?"
    assert optbench("verify", "problem", "x", "--seed", "-1", cwd=tmp_path).code == 2


def test_code_of_a_users_own_that_raises_has_not_passed(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from optbench.problems.python.function import function\n"
        "@function(start=[1.0])\n"
        "def late(p):\n"
        "    assert p[0] == 1.0, 'only at its start'\n"
        "    return p @ p, 2 * p\n"
    )
    seen = optbench("verify", "problem", "mine.py:late", cwd=tmp_path)
    message = "late fails beside its start: AssertionError: only at its start (mine.py, line 4)"
    assert (seen.code, seen.err) == (3, f"error: {message}\n")


def test_what_a_users_own_shares_between_calls_ends_with_3(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from optbench.problems import function\n"
        "calls = []\n"
        "@function(start=[1.0])\n"
        "def counting(p):\n"
        "    calls.append(p)\n"
        "    return float(p @ p) + len(calls), 2 * p\n"
    )
    seen = optbench("verify", "problem", "mine.py:counting", "--format", "json", cwd=tmp_path)
    says = "the loss of a lane is another one when it is computed again"
    assert seen.code == 3
    assert seen.err.startswith(
        f"error: mine.py:counting: {says}; nothing may be kept from one call"
    )
    assert [row["shared"] for row in json.loads(seen.out)] == [says]


def test_a_fault_of_optbench_stays_one(monkeypatch, tmp_path):
    def fail(*arguments):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Anisotropic, "start", fail)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        optbench("verify", "problem", "anisotropic", cwd=tmp_path)
