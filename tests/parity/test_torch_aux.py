"""Optimizers for matrices only, beside loops of PyTorch's own with two optimizers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from optbench.errors import SuiteError
from tests.small import anisotropic, run_suite, small_network, suite

torch = pytest.importorskip("torch")

from tests.parity.torch_hand import NETWORK, Hand, fit, fresh  # needs torch

STEPS = 15

Make = Callable[[dict[str, Any]], Sequence[Any]]
"""Returns optimizers of parameters by name."""


def by_hand(hand: Hand, lane: int, make: Make, factors: Sequence[float]) -> np.ndarray:
    """Return where a loop of PyTorch's own goes, with the same start and gradients."""

    def split(row: np.ndarray) -> dict[str, Any]:
        whole = torch.tensor(row, dtype=torch.float64)
        parts = whole.split([each.size for each in NETWORK])
        named = zip(NETWORK, parts, strict=True)
        return {each.name: part.reshape(each.shape).clone() for each, part in named}

    params = {name: torch.nn.Parameter(each) for name, each in split(hand.drawn(0)[lane]).items()}
    optimizers = make(params)
    groups = [group for each in optimizers for group in each.param_groups]
    rates = [group["lr"] for group in groups]
    rows = []
    for number, factor in enumerate(factors, start=1):
        for name, grad in split(hand.drawn(number)[lane]).items():
            params[name].grad = grad
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        for each in optimizers:
            each.step()
        rows.append(np.concatenate([each.detach().numpy().ravel() for each in params.values()]))
    return np.array(rows)


def by_default(lr: float, aux_lr: float) -> Make:
    return lambda params: [
        torch.optim.Muon([params["a"], params["c"]], lr=lr),
        torch.optim.AdamW([params["b"], params["d"]], lr=aux_lr),
    ]


def with_sgd(params: dict[str, Any]) -> Sequence[Any]:
    return [
        torch.optim.Muon([params["a"], params["c"]], lr=0.02, weight_decay=0.0),
        torch.optim.SGD([params["b"], params["d"]], lr=0.1, momentum=0.9),
    ]


def by_name(params: dict[str, Any]) -> Sequence[Any]:
    others = [params[name] for name in "bcd"]
    return [
        torch.optim.Muon([params["a"]], lr=0.001),
        torch.optim.AdamW(others, lr=0.01, betas=(0.5, 0.9), weight_decay=0.0, eps=1e-3),
    ]


CASES: list[tuple[dict[str, Any], Make]] = [
    ({}, by_default(0.001, 0.001)),
    ({"lr": 0.02, "aux_lr": 0.05}, by_default(0.02, 0.05)),
    ({"lr": 0.02, "weight_decay": 0.0, "aux": "SGD", "aux_lr": 0.1, "aux_momentum": 0.9}, with_sgd),
    (
        {
            "aux_lr": 0.01,
            "aux_betas": [0.5, 0.9],
            "aux_weight_decay": 0.0,
            "aux_eps": 1e-3,
            "aux_names": "none, c*",
        },
        by_name,
    ),
]


@pytest.mark.parametrize(
    ("common", "factors"),
    [({}, [1.0] * STEPS), ({"schedule": "linear"}, np.linspace(1, 0.1, STEPS))],
    ids=["constant", "scheduled"],
)
def test_matrices_are_the_rules_and_all_else_is_another_optimizers(common, factors):
    hand = Hand(fresh("Muon"), [given | common for given, _ in CASES], NETWORK)
    path = np.array([hand.step(hand.drawn(n + 1), factors[n]) for n in range(STEPS)])
    for lane, (_, make) in enumerate(CASES):
        expected = by_hand(hand, lane, make, factors)
        assert path[:, lane] == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_lanes_go_on_from_the_state_of_both():
    def begun() -> Hand:
        return Hand(fresh("Muon"), [given for given, _ in CASES], NETWORK)

    whole, cut = begun(), begun()
    bits = [whole.go(number) for number in range(1, 11)]
    seen = [cut.go(number) for number in range(1, 6)]
    cut.resumed()
    assert seen + [cut.go(number) for number in range(6, 11)] == bits


def test_lanes_of_a_network_keep_to_themselves():
    given = [{"aux_lr": rate, "aux": name} for rate in (0.01, 0.1) for name in ("AdamW", "SGD")]
    network = small_network()
    together = run_suite(suite(network, optimizers=[("torch:Muon", given)], seeds=(0, 1)))
    assert len({each.loss.tobytes() for each in together.values()}) == 8
    alone = run_suite(suite(network, optimizers=[("torch:Muon", given[2:3])], seeds=(1,)))
    assert alone[0].bits == together[5].bits


@pytest.mark.parametrize(
    ("problem", "given", "message"),
    [
        (anisotropic(), {}, "it takes matrices only, and there are none; choose another optimizer"),
        (small_network(), {"aux": "Adamw"}, "no optimizer 'Adamw' for aux; did you mean 'AdamW'?"),
        (small_network(), {"aux": "SGD", "aux_eps": 0.1}, "unexpected keyword argument 'eps'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(problem, given, message):
    with pytest.raises(SuiteError) as caught:
        fit(suite(problem, optimizers=[("torch:Muon", [given])]))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
