"""Optimizers of PyTorch by name, from packages and files, and what is refused of them."""

import copy
import json
import pickle
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.optimizers.base import Task
from optbench.optimizers.registry import get_optimizer
from optbench.plugins import new_code_cache
from optbench.verify.optimizers import check_optimizer
from tests.cli import command
from tests.small import anisotropic, run_suite, small_network, suite

pytest.importorskip("torch")

from optbench.optimizers.torch.lanes import Layout
from optbench.optimizers.torch.optimizer import INSTALL, VALUES
from tests.parity.torch_hand import Hand, fit, fresh, rows_of  # needs torch

# Names, and what is refused.


def refusal(name: str, *given: Mapping[str, Any], problem=anisotropic) -> str:
    with pytest.raises(SuiteError) as caught:
        fit(suite(problem(), optimizers=[(f"torch:{name}", given or [{}])]))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Adm", "torch.optim has no optimizer 'Adm'; did you mean 'Adam'?"),
        ("adamw", "torch.optim has no optimizer 'adamw'; did you mean 'AdamW'?"),
        ("torch.nn.Linear", "torch.nn.Linear is a class, not a subclass of torch.optim.Optimizer"),
        ("math.sqrt", "math.sqrt is a function, not a subclass of torch.optim.Optimizer"),
        ("torch.optim.Optimizer", "torch.optim.Optimizer has no step of its own"),
        ("no_such_package.Adam", "there is no module 'no_such_package'; is it installed?"),
    ],
)
def test_what_is_no_optimizer_is_refused(name, message):
    assert refusal(name).startswith(message)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("AdamW", {"lr": -1}, "AdamW: Invalid learning rate: -1.0"),
        ("AdamW", {"wight_decay": 1}, "AdamW has no hyperparameter 'wight_decay'; did you mean"),
        ("AdamW", {"betas": 0.9}, "AdamW: betas = 0.9 must be a list of numbers"),
        ("SGD", {"nesterov": True}, "SGD: Nesterov momentum requires a momentum"),
        ("Muon", {}, "Muon: it takes matrices only, and there are none"),
        ("SparseAdam", {}, "SparseAdam on anisotropic: RuntimeError: SparseAdam does not support"),
    ],
)
def test_what_pytorch_refuses_is_said_in_a_line(name, given, message):
    assert refusal(name, given).startswith(message)


def test_every_configuration_is_constructed_before_anything_runs():
    given = [{"lr": lr} for lr in (*np.linspace(0.1, 1, 30), -1.0, *np.linspace(2, 3, 30))]
    said = refusal("Adam", *given)
    assert said == f"Adam: Invalid learning rate: -1.0; {VALUES}"


OWN = """
import random

import torch
from torch.optim.optimizer import required


class Base(torch.optim.Optimizer):
    \"\"\"Steps against the gradient.\"\"\"

    def __init__(self, params, lr, steps: int = 3):
        super().__init__(params, {"lr": lr, "steps": steps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.move(group, p)

    def move(self, group, p):
        p.data = p.data - group["lr"] * p.grad
        p.grad = None


class Noisy(Base):
    def move(self, group, p):
        p.sub_(group["lr"] * torch.rand_like(p))


class Hidden(Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.seen = {}

    def move(self, group, p):
        self.seen[p, 0.5, None] = self.seen.get((p, 0.5, None), 0) + p.grad
        p.sub_(group["lr"] * self.seen[p, 0.5, None])


class ById(Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.seen, self.last = {}, None

    def move(self, group, p):
        self.seen[id(p)] = self.seen.get(id(p), 0) + p.grad
        p.sub_(group["lr"] * self.seen[id(p)])
        self.last = id(p)


class Lacking(Base):
    def __init__(self, params, lr=0.1):
        raise ImportError("You need to install something")


class Counting(Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        super().step()

    def move(self, group, p):
        p.sub_(group["lr"] / self.count * p.grad)


class Old(Base):
    def __init__(self, params, lr=required, steps=1):
        if lr is not required and lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(params, lr, steps)


class Rarely(Base):
    def move(self, group, p):
        p.sub_(group["lr"] * (2 if torch.rand(()) < 1e-7 else 1) * p.grad)


class Drawing(Base):
    def move(self, group, p):
        p.sub_(group["lr"] * random.random() * p.grad)


class Odd(Base):
    def move(self, group, p):
        p.sub_(group["lr"] * p.grad)
        self.state[p]["kept"] = {object(): 1}


class Secret(Base):
    def move(self, group, p):
        p.sub_(group["lr"] * random.SystemRandom().random() * p.grad)


SEEN = {}


class Outside(Base):
    def move(self, group, p):
        count = SEEN[p] = SEEN.get(p, 0) + 1
        p.sub_(group["lr"] / count * p.grad)


class Strict(Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)

    def move(self, group, p):
        if not torch.isfinite(p.grad).all():
            raise RuntimeError("not finite")
        p.sub_(group["lr"] * p.grad)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    return str(path)


def test_a_change_of_another_module_of_its_package_is_a_change_of_its_code(tmp_path, monkeypatch):
    (tmp_path / "hb").mkdir()
    (tmp_path / "hb" / "__init__.py").write_text("from .opt import Base\n")
    (tmp_path / "hb" / "opt.py").write_text("from .core import scale\n" + OWN)
    core = tmp_path / "hb" / "core.py"
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    for text in ("scale = 1\n", "scale = 22\n"):
        core.write_text(text)
        for name in ("hb", "hb.opt", "hb.core"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        with new_code_cache():
            for name in ("torch:hb.Base", "torch:hb:Base", "torch:hb.opt:Base"):
                seen.append(json.dumps(get_optimizer(name).identity()))
    assert len({*seen}) == 4  # two are of one module


def test_a_class_of_a_file_runs_and_can_be_pickled(own):
    optimizer = fresh(f"{own}:Base")
    assert (optimizer.name, optimizer.summary) == ("Base", "Steps against the gradient.")
    identity = optimizer.identity()
    assert identity["name"] == "torch:Base"
    libraries = {"numpy": version("numpy"), "torch": version("torch")}
    assert identity["source"]["libraries"] == libraries
    assert identity["torch"] == version("torch").partition("+")[0]
    given = [{"lr": 0.1}, {"lr": 0.2, "steps": 5}]
    hand = Hand(optimizer, given)
    rows = rows_of(hand)
    start = hand.drawn(0).copy()
    for number, row in enumerate(rows, 1):
        start -= np.array([[0.1], [0.2]]) * hand.drawn(number)
        assert np.allclose(row, start, rtol=1e-12, atol=1e-12)
    for again in (pickle.loads(pickle.dumps(optimizer)), copy.copy(optimizer)):
        assert again.identity() == identity
        assert again._layout == optimizer._layout == Layout(together=True, flat=True)
        assert rows_of(Hand(again, given))[-1].tobytes() == rows[-1].tobytes()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("Base", {}, "Base: lr has no default; give one, as lr = 0.001"),
        ("Secret", {"lr": 0.1}, "Secret gives other numbers when the same updates are made again"),
        ("Old", {}, "Old: lr has no default; give one, as lr = 0.001"),
        ("Outside", {"lr": 0.1}, "Outside keeps something outside its state and parameter groups"),
    ],
)
def test_what_cannot_be_repeated_is_refused(own, name, given, message):
    assert refusal(f"{own}:{name}", given).startswith(message)


def test_what_is_not_installed_is_to_be_installed(own):
    said = refusal(f"{own}:Lacking", {})
    assert said.startswith("Lacking: ImportError: You need to install something (mine.py, line ")
    assert said.endswith(f"; {INSTALL}")


def test_a_learning_rate_marked_as_required_can_be_given(own):
    rates = [{"lr": 0.1}, {"lr": 0.2}]
    found, expected = (
        run_suite(suite(anisotropic(), optimizers=[(f"torch:{own}:{name}", rates)]))
        for name in ("Old", "Base")
    )
    assert [each.bits for each in found.values()] == [each.bits for each in expected.values()]


def test_one_that_nobody_can_repeat_is_not_deterministic(own):
    found = {each.check: each for each in check_optimizer(f"torch:{own}:Secret", {"lr": 0.1})}
    assert [check for check, each in found.items() if each.passed is False] == ["deterministic"]
    assert not any(each.passed for each in found.values())


def test_what_counts_in_an_attribute_goes_on(own):
    straight, paused = (Hand(fresh(f"{own}:Counting"), [{}, {"lr": 0.2}]) for _ in range(2))
    for number in range(1, 6):
        assert straight.go(number) == paused.go(number)
        paused.resumed()


@pytest.mark.parametrize("name", ["Counting", "Hidden", "ById", "Odd", "Noisy", "Drawing"])
def test_lanes_go_on_whatever_keys_objects_and_numbers_an_optimizer_keeps(own, name):
    given = [{"lr": 0.1}, {"lr": 0.2}]
    straight, paused = (Hand(fresh(f"{own}:{name}"), given) for _ in range(2))
    for number in range(1, 6):
        assert straight.go(number) == paused.go(number)
        if name == "Odd":
            paused.resume(paused.state)
        else:
            paused.resumed()
    assert straight.optimizer.resumable == (name != "Odd")


def test_what_cannot_be_saved_runs_and_is_not_resumable(own):
    settled = suite(anisotropic(), optimizers=[(f"torch:{own}:Odd", [{"lr": 0.1}])])
    (entry,) = settled.problems[0].optimizers
    task = Task("Odd", "f", anisotropic().tensors, "float64", False, entry.configurations)
    (notice,) = entry.optimizer.fit(task)
    assert notice == (
        "Odd keeps a dict in params.0.kept, which cannot be saved: not resumable, an interrupted "
        "run starts its lanes again"
    )
    given = [{"lr": lr} for lr in (0.1, 1e300, 0.2)]
    lanes = run_suite(suite(anisotropic(), optimizers=[(f"torch:{own}:Odd", given)]))
    expected = run_suite(suite(anisotropic(), optimizers=[(f"torch:{own}:Base", given)]))
    assert [each.bits for each in lanes.values()] == [each.bits for each in expected.values()]


@pytest.mark.parametrize("name", ["Noisy", "Drawing"])
def test_a_lane_draws_what_its_seed_gives(own, name):
    def losses(seeds, rates=(0.1,)):
        given = [{"lr": lr} for lr in rates]
        found = run_suite(
            suite(small_network(), optimizers=[(f"torch:{own}:{name}", given)], seeds=seeds)
        )
        return [each.loss.tobytes() for each in found.values()]

    together = losses((0, 1), (0.1, 0.3))
    assert len({*together}) == 4
    assert [losses((0,)), losses((1,)), losses((0,), (0.3,))] == [
        together[:1],
        together[1:2],
        together[2:3],
    ]


def test_what_raises_at_infinity_ends_no_other_lane(own):
    given = [{"lr": lr} for lr in (0.01, 1e300, 0.02)]
    together = run_suite(suite(anisotropic(), optimizers=[(f"torch:{own}:Strict", given)]))
    assert [each.result.status.value for each in together.values()] == ["done", "diverged", "done"]
    alone = run_suite(suite(anisotropic(), optimizers=[(f"torch:{own}:Strict", given[2:])]))
    assert alone[0].bits == together[2].bits


# From the command line.


def test_a_sweep_runs_from_the_command_line_and_again_from_its_record(tmp_path):
    arguments = ("-o", "torch:AdamW", "--grid", "AdamW.lr=0.01,0.1", "--iterations", 5)
    more = ("--set", "AdamW.betas=[0.8, 0.9]", "--set", "AdamW.amsgrad=true")
    seen = command.optbench("run", "anisotropic", *arguments, *more, "--quiet", cwd=tmp_path)
    assert seen.code == 0, seen
    lanes = command.lanes(seen.path)
    assert lanes["hp_lr"].tolist() == [0.01, 0.1]
    assert set(lanes["hp_betas"]) == {"[0.8, 0.9]"}
    assert set(lanes["hp_amsgrad"]) == {1.0}
    assert set(lanes["label"]) == {"AdamW"}
    again = command.optbench("run", seen.path / "run.json", "--quiet", cwd=tmp_path)
    assert again.code == 0, again
    assert command.lanes(again.path)["lane_key"].tolist() == lanes["lane_key"].tolist()
    assert command.trace(again.path).equals(command.trace(seen.path))


def test_a_mistake_on_the_command_line_is_one_line(tmp_path):
    seen = command.optbench(
        "run", "anisotropic", "-o", "torch:AdamW", "--set", "AdamW.lrr=0.1", cwd=tmp_path
    )
    assert "did you mean 'lr'?" in seen.message
