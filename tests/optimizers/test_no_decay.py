"""Biases and scales go as if nothing decayed, all else as if everything did."""

import numpy as np
import pytest

from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer
from tests.optimizers.driver import Driver
from tests.small import reference_batches, reference_network, run_suite, small_network, suite

TENSORS = (Tensor("W1", (3, 4)), Tensor("b1", (4,)), Tensor("scale", (4,)), Tensor("W2", (4, 2)))
VECTORS = np.array([False] * 12 + [True] * 8 + [False] * 8)

OWN = [
    name
    for name, rule in OPTIMIZERS.items()
    if any(each.name == "weight_decay" for each in rule.hyperparameters)
    and not rule.needs_matrices
    and not rule.scalars
]


@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("name", OWN)
def test_a_rule_with_a_decay_of_its_own_spares_biases_and_scales(name, by_coordinate):
    decayed, plain = {"weight_decay": 0.3}, {"weight_decay": 0.0}
    start = np.random.default_rng(0).normal(size=28)
    given = [{**decayed, "no_decay": "bias"}, {**decayed, "no_decay": "none"}]
    how = {"tensors": TENSORS, "by_coordinate": by_coordinate}
    mixed = Driver(name, given, start, **how)
    everywhere, nowhere = (Driver(name, [each], start, **how) for each in (decayed, plain))
    for number in range(1, 6):
        gradient = np.random.default_rng(number).normal(size=28)
        bias, whole = mixed.step(gradient)
        (all_decayed,), (none_decayed,) = everywhere.step(gradient), nowhere.step(gradient)
        assert whole.tobytes() == all_decayed.tobytes()
        assert bias[VECTORS] == pytest.approx(none_decayed[VECTORS], rel=1e-13)
        assert bias[~VECTORS] == pytest.approx(all_decayed[~VECTORS], rel=1e-13)
    assert not np.allclose(all_decayed[VECTORS], none_decayed[VECTORS])


@pytest.mark.parametrize("key", ["weight_decay", "l2"])
def test_what_any_optimizer_takes_spares_biases_as_a_loop_by_hand_does(key):
    network = small_network()
    given = {"lr": 0.1, key: 0.2, "no_decay": "bias"}
    lane = run_suite(suite(network, optimizers=[("sgd", [given])]))[0]
    net = reference_network(network, 0)
    losses = []
    for images, labels in reference_batches(network, 0, 20):
        gradients = net.gradient(images, labels)
        for name, param in net.params.items():
            decay = 0.2 * param if name.startswith("W") else 0.0
            param -= 0.1 * (gradients[name] + decay)
        losses.append(net.loss(images, labels))
    assert lane.loss == pytest.approx(losses, rel=1e-10)


def test_lanes_with_and_without_it_keep_their_bits_in_company():
    given = [{"weight_decay": 0.1, "no_decay": each} for each in ("bias", "none")]
    together = run_suite(suite(small_network(), optimizers=[("adamw", given)]))
    for lane, each in enumerate(given):
        alone = run_suite(suite(small_network(), optimizers=[("adamw", [each])]))
        assert alone[0].bits == together[lane].bits
    assert together[0].bits != together[1].bits


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("sgd", {"no_decay": "bias"}, "sgd: no_decay needs something that decays; give weight"),
        ("muon", {"no_decay": "bias"}, "muon decays all of its parameters in one rule"),
        ("adamw", {"no_decay": "biases"}, "no_decay = 'biases' must be one of none, bias"),
    ],
)
def test_where_it_would_change_nothing_it_is_refused(name, given, message):
    with pytest.raises(SuiteError, match=message):
        complete_hyperparameters(get_optimizer(name), given)
