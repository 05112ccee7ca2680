"""PyTorch's optimizers in the engine, beside plain loops of PyTorch's own, to the bit."""

from functools import partial

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from tests.cli.command import optbench
from tests.small import anisotropic, blocks_of, run_suite, small_network, suite

torch = pytest.importorskip("torch")

from optbench.optimizers.torch.lanes import Layout
from optbench.optimizers.torch.updater import TorchUpdater
from tests.parity.torch_hand import MATRICES, NETWORK, RULES, Hand, fit, fresh, plain_rows, rows_of

# Bits.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_paths_are_those_of_a_plain_loop(name, by_coordinate, dtype):
    tensors = MATRICES if name == "Muon" else NETWORK
    given = RULES[name]
    hand = Hand(fresh(name), given, tensors, by_coordinate=by_coordinate, dtype=dtype)
    ours = rows_of(hand)
    for lane, configuration in enumerate(given):
        theirs = plain_rows(getattr(torch.optim, name), configuration, hand, lane, tensors)
        assert [row[lane].tobytes() for row in ours] == [row.tobytes() for row in theirs]


@pytest.mark.parametrize("name", RULES)
def test_a_lane_goes_the_same_way_alone(name):
    tensors = MATRICES if name == "Muon" else NETWORK
    given = [*RULES[name], *RULES[name]]
    together = rows_of(Hand(fresh(name), given, tensors))
    for lane in range(len(given)):
        alone = rows_of(Hand(fresh(name), given, tensors, places=[lane]))
        assert [row[lane].tobytes() for row in together] == [row.tobytes() for row in alone]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return parameters, gradients and new parameters of each update that the engine makes."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    update = TorchUpdater.update

    def spy(self: TorchUpdater, row: int) -> None:
        before = self._params.numpy().copy(), self._grads.numpy().copy()
        update(self, row)
        found.append((*before, self._params.numpy().copy()))

    monkeypatch.setattr(TorchUpdater, "update", spy)
    return found


def replayed(seen, lane, tensors, make, rates=None) -> list[bytes]:
    """Return where PyTorch's own loop goes, fed the gradients that a lane had in the engine."""
    sizes = [each.size for each in tensors]
    start = torch.tensor(seen[0][0][lane]).split(sizes)
    params = [
        torch.nn.Parameter(part.reshape(each.shape).clone())
        for part, each in zip(start, tensors, strict=True)
    ]
    optimizer = make(params)
    rows = []
    for place, (_, gradient, _) in enumerate(seen):
        parts = torch.tensor(gradient[lane]).split(sizes)
        for param, part in zip(params, parts, strict=True):
            param.grad = part.reshape(param.shape).clone()
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[place]
        optimizer.step()
        rows.append(np.concatenate([each.detach().numpy().ravel() for each in params]).tobytes())
    return rows


@pytest.mark.parametrize("problem", [anisotropic, small_network], ids=["function", "network"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "NAdam", "Adagrad"])
def test_the_engine_goes_the_way_of_a_plain_loop(name, problem, seen):
    settled = suite(problem(), optimizers=[(f"torch:{name}", RULES[name])], seeds=(0, 1))
    outcomes = run_suite(settled)
    assert {each.result.status.value for each in outcomes.values()} == {"done"}
    assert len(seen) == 20
    (block,) = blocks_of(settled)
    for row, lane in enumerate(block.lanes):
        make = partial(getattr(torch.optim, name), **RULES[name][lane.number // 2])
        plain = replayed(seen, row, settled.problems[0].problem.tensors, make)
        assert plain == [after[row].tobytes() for *_, after in seen]


def test_a_scheduled_rate_is_that_of_a_plain_loop(seen):
    given = [{"lr": lr, "schedule": "linear", "warmup": 4} for lr in (0.1, 0.3)]
    run_suite(suite(anisotropic(), optimizers=[("torch:AdamW", given)], iterations=10))
    factors = [*(0.25, 0.5, 0.75, 1.0), *(1.0 - (t - 4) / 6 for t in range(4, 10))]
    for lane, each in enumerate(given):
        rates = [each["lr"] * factor for factor in factors]
        plain = replayed(seen, lane, anisotropic().tensors, torch.optim.AdamW, rates)
        assert plain == [after[lane].tobytes() for *_, after in seen]
    constant = replayed(seen, 0, anisotropic().tensors, partial(torch.optim.AdamW, lr=0.1))
    assert constant[-1] != seen[-1][2][0].tobytes()


@pytest.mark.parametrize("problem", [anisotropic, small_network], ids=["function", "network"])
def test_lanes_in_the_engine_do_not_see_each_other(problem):
    given = [{"lr": lr} for lr in (1e-3, 0.1, 1e300, 0.03)]
    together = run_suite(suite(problem(), optimizers=[("torch:AdamW", given)], seeds=(0, 1)))
    for place, each in enumerate(given):
        alone = run_suite(suite(problem(), optimizers=[("torch:AdamW", [each])], seeds=(1,)))
        assert alone[0].bits == together[2 * place + 1].bits
    assert together[4].result.status.value == "diverged"


# How lanes are given to PyTorch.


@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize(
    ("name", "given", "layout"),
    [
        ("Adam", [{"lr": 0.1}, {"lr": 0.2}], Layout(together=True, flat=True)),
        ("Adafactor", [{"lr": 0.1}, {"lr": 0.2}], Layout(together=True)),
        ("Adagrad", [{"initial_accumulator_value": each} for each in (0, 1)], Layout(flat=True)),
    ],
)
def test_the_layout_is_seen_by_trial(name, given, layout, by_coordinate):
    hand = Hand(fresh(name), given, by_coordinate=by_coordinate)
    assert hand.optimizer._layout == layout


def test_an_argument_that_only_few_lanes_have_is_tried():
    given = [{"initial_accumulator_value": each} for each in (0, 0, 1, 0, 0, 0, 0)]
    assert not Hand(fresh("Adagrad"), given).optimizer._layout.together


def test_what_mixes_groups_has_one_instance_a_lane():
    """Prodigy takes ``torch.dot``, whose last bits differ between calls on some processors."""
    kind = pytest.importorskip("prodigyopt").Prodigy
    name = "prodigyopt.Prodigy"
    for given in ([{}] * 3, [{"lr": 1.0}, {"lr": 0.5}, {"d0": 0.1, "weight_decay": 0.1}]):
        hand = Hand(fresh(name), given)
        together = rows_of(hand)
        assert hand.optimizer._layout == Layout()
        for lane, configuration in enumerate(given):
            alone = rows_of(Hand(fresh(name), given, places=[lane]))
            theirs = plain_rows(kind, configuration, hand, lane, NETWORK)
            for mine, shared, plain in zip(alone, together, theirs, strict=True):
                assert mine[0] == pytest.approx(shared[lane], rel=1e-12, abs=1e-14)
                assert mine[0] == pytest.approx(plain.ravel(), rel=1e-12, abs=1e-14)


def test_what_a_constructor_prints_is_no_result(capsys):
    pytest.importorskip("prodigyopt")
    rows_of(Hand(fresh("prodigyopt.Prodigy"), [{"weight_decay": 0.1}]))
    assert capsys.readouterr().out == ""


def test_pytorch_draws_go_on_as_if_nothing_had_been_tried():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    settled = suite(anisotropic(), optimizers=["torch:Adam"])
    fit(settled)
    run_suite(settled)
    assert torch.equal(torch.rand(2), expected)


# State.


@pytest.mark.parametrize(
    "name",
    [
        *RULES,
        "ASGD",
        "Rprop",
        "RAdam",
        "Adamax",
        "Adadelta",
        "prodigyopt.Prodigy",
        "schedulefree.AdamWScheduleFree",
        "schedulefree.RAdamScheduleFree",
    ],
)
def test_lanes_go_on_from_their_state(name):
    if "." in name:
        pytest.importorskip(name.partition(".")[0])
    tensors = MATRICES if name == "Muon" else NETWORK
    given = RULES.get(name, [{"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.1 * (name != "Rprop")}])
    if name == "Rprop":
        given = [{"lr": 0.1}, {"lr": 0.2}]
    straight, paused = (Hand(fresh(name), given, tensors) for _ in range(2))
    assert paused.updater.state == {}
    paused.resumed()
    for number in range(1, 12):
        assert straight.go(number) == paused.go(number)
        paused.resumed()
        assert all(len(each) == len(given) for each in paused.updater.state.values())


def test_a_part_of_a_stepper_goes_on_as_the_whole():
    given = [{"lr": lr, "momentum": momentum} for lr in (0.1, 0.01) for momentum in (0.0, 0.9)]
    block = blocks_of(suite(small_network(), optimizers=[("torch:SGD", given)]))[0]
    whole = Stepper(block, NumpyDevice())
    whole.advance(0, 5)
    part = whole.subset(np.array([1, 2]))
    rows = whole.advance(5, 5), part.advance(5, 5)
    assert rows[0].loss[:, [1, 2]].tobytes() == rows[1].loss.tobytes()


# Where evaluations are made.


def test_schedule_free_is_evaluated_at_its_average():
    kind = pytest.importorskip("schedulefree").AdamWScheduleFree
    given = [{"lr": 0.1}, {"lr": 0.2, "warmup_steps": 3}]
    hand = Hand(fresh("schedulefree.AdamWScheduleFree"), given)
    watched = Hand(fresh("schedulefree.AdamWScheduleFree"), given)
    assert hand.optimizer.evaluates_elsewhere
    assert watched.updater.eval_params().tobytes() == watched.params.rows.tobytes()
    evaluated = []
    for number in range(1, 16):
        assert hand.go(number) == watched.go(number)
        evaluated.append(watched.updater.eval_params())
        assert watched.params.rows.tobytes() == hand.params.rows.tobytes()
    for lane, configuration in enumerate(given):
        averages = averages_of(kind, configuration, hand, lane)
        assert [row[lane].tobytes() for row in evaluated] == averages


def averages_of(kind, given, hand, lane):
    sizes = [each.size for each in NETWORK]
    params = [
        torch.nn.Parameter(part.clone()) for part in torch.tensor(hand.drawn(0)[lane]).split(sizes)
    ]
    optimizer = kind(params, **given)
    found = []
    for number in range(1, 16):
        optimizer.train()
        for param, part in zip(
            params, torch.tensor(hand.drawn(number)[lane]).split(sizes), strict=True
        ):
            param.grad = part.clone()
        kept = optimizer.step() or [each.detach().clone() for each in params]
        optimizer.eval()
        found.append(np.concatenate([each.detach().numpy() for each in params]).tobytes())
        optimizer.train()
        for param, before in zip(params, kept, strict=True):
            param.data.copy_(before)
    return found


BROKEN = """
import torch

class Broken(torch.optim.SGD):
    steps = 0

    def step(self):
        self.steps += 1
        if self.steps > 100:
            raise KeyError("nothing is kept of this parameter")
"""


def test_a_run_of_which_all_lanes_fail_is_shown_and_reported(tmp_path):
    """Also with pandas 2, which warns of medians of nothing."""
    (tmp_path / "rules.py").write_text(BROKEN, encoding="utf-8")
    options = ("--seeds", 2, "--start-spread", 1, "--iterations", 200)
    seen = optbench("run", "anisotropic", "-o", "torch:rules.py:Broken", *options, cwd=tmp_path)
    assert seen.code == 4
    assert "nothing is kept of this parameter" in seen.err
    for command in ("show", "report"):
        assert optbench(command, cwd=tmp_path).code == 0
