"""Optimizers of pytorch_optimizer and HeavyBall in lanes, beside the libraries' own loops.

A sample of different kinds: with ``foreach``, with state by other keys, with several scales in one,
with random numbers, with another optimizer within, with closures, with weight decay.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from optbench.optimizers.torch.noise import noise_of
from tests.small import anisotropic, run_suite, suite

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("pytorch_optimizer")

from tests.parity.torch_hand import NETWORK, Hand, fresh, rows_of  # needs torch

STEPS = 25

DECAY = {"lr": 0.01, "weight_decay": 0.1}

SAMPLE: dict[str, dict[str, Any]] = {
    "Lion": DECAY,
    "AdamP": {**DECAY, "nesterov": True},
    "AdaBelief": {**DECAY, "foreach": True},
    "AdEMAMix": {**DECAY, "foreach": False},
    "AggMo": {"lr": 0.01, "betas": [0.0, 0.5, 0.9]},
    "AdaFactor": {"lr": 0.01, "relative_step": False, "scale_parameter": False},
    "Prodigy": {"lr": 1.0, "weight_decay": 0.1},
    "DAdaptAdam": {"lr": 1.0},
    "Ranger21": {"lr": 0.01, "num_iterations": 100},
    "ScheduleFreeAdamW": {**DECAY, "warmup_steps": 5},
    "Kron": {"lr": 0.01, "weight_decay": 0.1},
    "SOAP": {**DECAY, "precondition_frequency": 4},
    "Shampoo": {"lr": 0.1, "preconditioning_compute_steps": 3},
    "Lookahead": {"optimizer": "AdamW", "lr": 0.01, "k": 3},
}
"""Of pytorch_optimizer, and what one lane is given; another one has half the learning rate."""

HEAVY: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": DECAY,
    "RMSprop": DECAY,
    "MuonLaProp": {"lr": 0.01},
    "SOAP": {"lr": 0.01, "precondition_frequency": 4},
    "Muon": {"lr": 0.01},
    "PSGDKron": {"lr": 0.01},
    "SFAdamW": {"lr": 0.01, "warmup_steps": 5},
    "MSAMLaProp": {"lr": 0.01},
}
"""Of HeavyBall."""


def made(package: Any, name: str, given: dict[str, Any], params: list[Any]) -> Any:
    """Return an optimizer as the library's own users make it."""
    given = dict(given)
    if "optimizer" in given:
        kind = getattr(package, given.pop("optimizer"))
        params = kind(params, lr=given.pop("lr"))
    return getattr(package, name)(params, **given)


def plain_path(
    make: Callable[[list[Any]], Any], hand: Hand, lane: int, tensors: Any
) -> tuple[list[bytes], bytes]:
    """Return where a loop over the library goes, and what it evaluates at the end.

    The generators begin as those of a lane of seed 0.
    """

    def split(row: np.ndarray) -> list[Any]:
        whole = torch.tensor(row, dtype=torch.float32)
        parts = whole.split([each.size for each in tensors])
        return [part.reshape(each.shape).clone() for part, each in zip(parts, tensors, strict=True)]

    def row() -> bytes:
        return np.concatenate([each.detach().numpy().ravel() for each in params]).tobytes()

    number = noise_of(0)
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)
    params = [torch.nn.Parameter(each) for each in split(hand.drawn(0)[lane])]
    optimizer = make(params)
    switches = hasattr(optimizer, "eval")
    if switches:
        optimizer.train()
    rows = []
    for update in range(1, STEPS + 1):
        for param, grad in zip(params, split(hand.drawn(update)[lane]), strict=True):
            param.grad = grad
        optimizer.step()
        rows.append(row())
    if switches:
        optimizer.eval()
    return rows, row()


def compare(package: Any, name: str, given: dict[str, Any], tensors: Any) -> None:
    lanes = [given, {**given, "lr": given["lr"] / 2}]
    hand = Hand(fresh(f"{package.__name__}:{name}"), lanes, tensors, dtype="float32")
    ours = rows_of(hand, STEPS)
    evaluated = hand.evaluated()
    assert len({row.tobytes() for row in ours}) == STEPS
    for lane, configuration in enumerate(lanes):
        path, last = plain_path(
            lambda params, own=configuration: made(package, name, own, params), hand, lane, tensors
        )
        assert [row[lane].tobytes() for row in ours] == path
        assert evaluated[lane].tobytes() == last


@pytest.fixture
def generators():
    """Put the generators of the process back."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    yield
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])


@pytest.mark.usefixtures("generators")
@pytest.mark.parametrize("name", SAMPLE)
def test_lanes_go_the_way_of_pytorch_optimizer_to_the_bit(name):
    compare(theirs, name, SAMPLE[name], NETWORK)


@pytest.mark.usefixtures("generators")
@pytest.mark.parametrize("name", HEAVY)
def test_lanes_go_the_way_of_heavyball_to_the_bit(name, monkeypatch):
    heavyball = pytest.importorskip("heavyball")
    monkeypatch.setattr(heavyball.utils, "compile_mode", None)  # compiling takes minutes
    compare(heavyball, name, HEAVY[name], NETWORK[:3])  # some take no scalars


CLOSING: dict[str, tuple[dict[str, Any], Callable[[list[Any]], Any]]] = {
    "SAM": (
        {"base_optimizer": "SGD", "lr": 0.1, "rho": 0.2},
        lambda params: theirs.SAM(params, theirs.SGD, rho=0.2, lr=0.1),
    ),
    "AliG": ({"max_lr": 0.5, "momentum": 0.9}, lambda params: theirs.AliG(params, 0.5, None, 0.9)),
    "LBFGS": ({"lr": 0.1}, lambda params: theirs.LBFGS(params, lr=0.1)),
}


@pytest.mark.parametrize("name", CLOSING)
def test_lanes_of_closures_go_the_way_of_pytorch_optimizer(name):
    """The engine's gradient of x²/20 is x/10, and autograd's 2x/20: other last bits."""
    given, make = CLOSING[name]
    entry = (f"torch:pytorch_optimizer:{name}", [given])
    lane = run_suite(suite(anisotropic(), optimizers=[entry], iterations=STEPS))[0]
    x, y = params = [torch.nn.Parameter(torch.tensor(each).double()) for each in lane.position[0]]
    optimizer = make(params)

    def closure() -> Any:
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = x**2 / 20.0 + y**2
            loss.backward()
        return loss

    path = [lane.position[0]]
    for _ in range(STEPS):
        closure()
        optimizer.step(closure)
        path.append(np.array([x.item(), y.item()]))
    assert lane.position == pytest.approx(np.array(path), rel=1e-9, abs=1e-12)
    assert not np.allclose(path[-1], path[0])
