"""PyTorch optimizers that ask for the loss again, and functions that make them, beside own loops.

The loops evaluate f(x, y) = x²/20 + y² by PyTorch's autograd.
"""

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.errors import SuiteError
from optbench.verify.optimizers import check_optimizer
from tests.small import anisotropic, blocks_of, run_suite, small_network, suite

torch = pytest.importorskip("torch")

from tests.parity.torch_hand import fit  # needs torch

OWN = '''
import torch


class Sharp(torch.optim.Optimizer):
    """Steps along the gradient at the top of a hill nearby: SAM."""

    def __init__(self, params, lr=0.05, rho=0.1):
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        (group,) = self.param_groups
        norm = torch.sqrt(sum((p.grad**2).sum() for p in group["params"]))
        away = [group["rho"] / norm * p.grad for p in group["params"]]
        for p, step in zip(group["params"], away):
            p.add_(step)
        with torch.enable_grad():
            closure()
        for p, step in zip(group["params"], away):
            p.sub_(step)
            p.sub_(group["lr"] * p.grad)
        return loss


class Polyak(torch.optim.Optimizer):
    """Steps of loss / |gradient|²."""

    def __init__(self, params, share=1.0):
        super().__init__(params, {"share": share})

    @torch.no_grad()
    def step(self, closure=None):
        if closure is None:
            raise RuntimeError("a closure is needed")
        loss = float(closure())
        (group,) = self.param_groups
        norm = float(sum((p.grad**2).sum() for p in group["params"]))
        for p in group["params"]:
            p.sub_(group["share"] * loss / norm * p.grad)


class Ahead:
    """Lookahead, of another optimizer."""

    def __init__(self, optimizer, k=3, alpha=0.5):
        self.optimizer, self.k, self.alpha, self.count = optimizer, k, alpha, 0
        self.param_groups = optimizer.param_groups
        self.slow = {p: p.detach().clone() for p in optimizer.param_groups[0]["params"]}

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        self.count += 1
        if self.count % self.k == 0:
            for p, slow in self.slow.items():
                slow.add_(self.alpha * (p - slow))
                p.copy_(slow)


def ahead(params, lr=0.1, k=3):
    return Ahead(torch.optim.Adam(params, lr=lr), k=k)


def by_shape(params, lr, bias_lr=0.01):
    """Matrices by one rate, all else by another."""
    matrices = [p for p in params if p.ndim > 1]
    others = [p for p in params if p.ndim < 2]
    groups = [{"params": matrices, "lr": lr}, {"params": others, "lr": bias_lr}]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=lr)


def by_name(named_parameters, lr=0.1):
    own = [p for name, p in named_parameters if name.endswith("bias")]
    return torch.optim.SGD(own, lr=lr)


class Polls(torch.optim.Optimizer):
    """Steps along the gradient, after so many looks elsewhere."""

    def __init__(self, params, lr=0.1, looks=3):
        super().__init__(params, {"lr": lr, "looks": looks})

    @torch.no_grad()
    def step(self, closure):
        (group,) = self.param_groups
        grads = [p.grad.clone() for p in group["params"]]
        begun = [p.clone() for p in group["params"]]
        for _ in range(int(group["looks"])):
            for p in group["params"]:
                p.add_(1.0)
            closure()
        for p, start, grad in zip(group["params"], begun, grads):
            p.copy_(start - group["lr"] * grad)


def nothing(params, lr=0.1):
    return None
'''

namespace: dict[str, Any] = {}
exec(OWN, namespace)


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    return str(path)


def by_hand(make, start, steps: int, *, closes: bool) -> tuple[list[float], list[np.ndarray], int]:
    """Return losses and positions of a loop of PyTorch's own, and how often it was evaluated."""
    x, y = (torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in start)
    optimizer = make([x, y])
    losses, positions, calls = [], [], 0

    def closure():
        nonlocal calls
        calls += 1
        for param in (x, y):
            param.grad = None
        with torch.enable_grad():
            loss = x**2 / 20.0 + y**2
            loss.backward()
        return loss.detach()

    for _ in range(steps):
        losses.append(float(x.detach() ** 2 / 20.0 + y.detach() ** 2))
        positions.append(np.array([x.item(), y.item()]))
        if closes:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    return losses, positions, calls


@pytest.mark.parametrize(
    ("name", "given", "closes"),
    [
        ("LBFGS", {"lr": 0.1, "max_iter": 3}, True),
        ("LBFGS", {"lr": 1.0, "max_iter": 4, "line_search_fn": "strong_wolfe"}, True),
        ("Sharp", {"lr": 0.1, "rho": 0.2}, True),
        ("Polyak", {"share": 0.5}, True),
        ("ahead", {"lr": 0.2}, False),
        ("Ahead", {"lr": 0.3, "k": 2, "optimizer": "SGD"}, False),
    ],
)
def test_lanes_go_the_way_of_a_loop_by_hand(own, name, given, closes):
    title = name if name == "LBFGS" else f"{own}:{name}"
    make = getattr(torch.optim, name, None) or namespace[name]
    if name == "Ahead":

        def make_ahead(params):
            return namespace["Ahead"](torch.optim.SGD(params, lr=0.3), k=2)

        make = make_ahead
    else:
        make = partial(make, **given)
    other = {key: value / 2 if type(value) is float else value for key, value in given.items()}
    lanes = run_suite(suite(anisotropic(), optimizers=[(f"torch:{title}", [given, other])]))
    lane = lanes[0]
    losses, positions, _ = by_hand(make, lane.position[0], 21, closes=closes)
    assert lane.loss == pytest.approx(losses, rel=1e-9, abs=1e-25)
    assert lane.position == pytest.approx(np.array(positions), rel=1e-9, abs=1e-13)
    alone = run_suite(suite(anisotropic(), optimizers=[(f"torch:{title}", [other])]))
    assert alone[0].bits == lanes[1].bits


@pytest.mark.parametrize("name", ["LBFGS", "Sharp", "Polyak"])
def test_a_closure_evaluates_its_lane_on_its_batch(own, name):
    title = f"torch:{name}" if name == "LBFGS" else f"torch:{own}:{name}"
    given = {"share": 0.2} if name == "Polyak" else {"lr": 0.05}
    together = run_suite(suite(small_network(), optimizers=[(title, [given])], seeds=(0, 1, 2)))
    for seed in (0, 1, 2):
        alone = run_suite(suite(small_network(), optimizers=[(title, [given])], seeds=(seed,)))
        assert alone[0].bits == together[seed].bits
    assert together[0].result.final_loss < together[0].loss[0]


@pytest.mark.parametrize("problem", [anisotropic(), small_network()], ids=lambda each: each.name)
def test_what_a_closure_evaluates_is_counted_as_a_gradient(own, problem):
    entries = [
        ("sgd", [{"lr": 0.01}]),
        (f"torch:{own}:Polyak", [{"share": 0.1}]),
        (f"torch:{own}:Sharp", [{"lr": 0.01}]),
        (f"torch:{own}:Polls", [{"lr": 0.01, "looks": looks} for looks in (0, 1, 5)]),
    ]
    lanes = run_suite(suite(problem, optimizers=entries, iterations=70)).values()
    assert [lane.result.iterations for lane in lanes] == [70] * 6
    # The gradient of each step, and closures but for one at the parameters of that gradient.
    assert [lane.result.gradients for lane in lanes] == [70, 70, 140, 70, 140, 420]


@pytest.mark.parametrize(
    "given", [{"max_iter": 3}, {"max_iter": 9, "line_search_fn": "strong_wolfe"}]
)
def test_gradients_of_a_line_search_are_the_calls_of_a_loop_by_hand(given):
    (lane,) = run_suite(
        suite(anisotropic(), optimizers=[("torch:LBFGS", [given])], iterations=8)
    ).values()
    *_, calls = by_hand(partial(torch.optim.LBFGS, **given), lane.position[0], 8, closes=True)
    assert lane.result.gradients == calls > 8


def test_gradients_after_a_lane_diverged_are_not_its_own(own):
    entry = (f"torch:{own}:Polls", [{"lr": 1e200, "looks": 2}, {"lr": 0.1, "looks": 2}])
    diverged, done = run_suite(suite(anisotropic(), optimizers=[entry], iterations=30)).values()
    assert diverged.result.iterations == diverged.result.diverged_at < 5
    assert diverged.result.gradients == 3 * diverged.result.iterations
    assert done.result.gradients == 90


def test_the_time_of_a_closure_is_that_of_a_gradient(own):
    def ticks(name: str, given: dict[str, float]) -> list[float]:
        (block,) = blocks_of(suite(anisotropic(), optimizers=[(name, [given])]))
        stepper = Stepper(block, NumpyDevice(partial(next, count())))
        stepper.advance(0, 5)
        return [float(seconds[0]) for seconds in stepper.take_seconds()]

    # A tick between two looks at the clock: five gradients, and five updates; an evaluation is a
    # gradient, and has an update before and after.
    assert ticks("torch:SGD", {"lr": 0.1}) == [5, 5]
    assert ticks(f"torch:{own}:Polls", {"looks": 3}) == [5 + 15, 5 + 15]
    assert ticks(f"torch:{own}:Polyak", {}) == [5, 5]


def test_what_evaluates_the_loss_again_keeps_what_every_optimizer_promises(own):
    found = {each.check: each.passed for each in check_optimizer(f"torch:{own}:Sharp")}
    kept = ("dtype and shape", "deterministic", "lanes independent", "blocks independent")
    assert all(found[check] for check in (*kept, "resumes")), found


def test_groups_by_shape_and_by_name_are_a_function_away(own):
    network = small_network()
    entries = [
        (f"torch:{own}:by_shape", [{"lr": 0.1, "bias_lr": 0.0}]),
        (f"torch:{own}:by_name", [{"lr": 0.1}]),
        ("torch:SGD", [{"lr": 0.1}]),
    ]
    shape, name, whole = run_suite(suite(network, optimizers=entries, iterations=1)).values()
    start = network.start(0)
    ends = np.cumsum([tensor.size for tensor in network.tensors])
    assert len({shape.loss.tobytes(), name.loss.tobytes(), whole.loss.tobytes()}) == 3
    assert len(start) == ends[-1]


def test_a_function_that_returns_no_optimizer_is_told_so(own):
    with pytest.raises(SuiteError, match=r"nothing returns None, not an optimizer of PyTorch"):
        fit(suite(anisotropic(), optimizers=[(f"torch:{own}:nothing", [{}])]))
