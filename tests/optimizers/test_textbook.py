"""Classes with ``update(params, grads)``, as the textbook has them, run as they are."""

from pathlib import Path

import numpy as np
import pytest

import tests.reference.optimizers as reference
from optbench.errors import SuiteError
from optbench.optimizers.base import Task
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from tests.optimizers.driver import Driver
from tests.small import (
    anisotropic,
    reference_batches,
    reference_network,
    run_suite,
    small_network,
    suite,
)

OWN = """
import threading

import numpy as np


class Momentum:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum, self.v = lr, momentum, None

    def update(self, params, grads):
        if self.v is None:
            self.v = {key: np.zeros_like(value) for key, value in params.items()}
        for key in params:
            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]


class Replacing(Momentum):
    def update(self, params, grads):
        for key in params:
            params[key] = params[key] - self.lr * grads[key]


class Locked(Replacing):
    def __init__(self, lr=0.01):
        super().__init__(lr)
        self.lock = Lock()


class Lock:
    pass


class Rateless:
    def __init__(self, step=0.1):
        self.step = step

    def update(self, params, grads):
        for key in params:
            params[key] -= self.step * grads[key]


class Drawing(Rateless):
    def update(self, params, grads):
        for key in params:
            params[key] -= np.random.random() * grads[key]
"""

RULES = ["SGD", "Momentum", "AdaGrad", "RMSprop", "Adam"]


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(OWN, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", RULES)
def test_a_class_goes_the_way_of_its_own_loop(name):
    kind = getattr(reference, name)
    network = small_network()
    given = [{"lr": 0.05}, {"lr": 0.1}]
    lanes = run_suite(
        suite(network, optimizers=[(f"tests.reference.optimizers:{name}", given)], seeds=(0, 1))
    )
    for lane in lanes.values():
        assert lane.result.status.value == "done"
        net = reference_network(network, lane.lane.seed)
        rule = kind(lr=lane.lane.hyperparameters["lr"])
        losses = []
        for images, labels in reference_batches(network, lane.lane.seed, 20):
            rule.update(net.params, net.gradient(images, labels))
            losses.append(net.loss(images, labels))
        assert lane.loss == pytest.approx(losses, rel=1e-10)


@pytest.mark.parametrize("name", ["Momentum", "Replacing", "Locked"])
def test_lanes_go_on_from_their_state(own, name):
    given = [{"lr": 0.1}, {"lr": 0.3}]
    straight, paused = (Driver(f"{own}:{name}", given, np.ones(3)) for _ in range(2))
    for number in range(6):
        gradient = np.random.default_rng(number).normal(size=(2, 3))
        assert straight.step(gradient).tobytes() == paused.step(gradient).tobytes()
        paused.resume(paused.state)
    arrays = straight.state.values()
    assert any(array.dtype == object for array in arrays) == (name == "Locked")


def test_lanes_are_independent_and_one_that_diverges_leaves(own):
    given = [{"lr": lr} for lr in (0.1, 1e300, 0.3)]
    for name in ("Momentum", "Locked"):
        together = run_suite(suite(anisotropic(), optimizers=[(f"{own}:{name}", given)]))
        alone = run_suite(suite(anisotropic(), optimizers=[(f"{own}:{name}", given[2:])]))
        assert together[2].bits == alone[0].bits
        assert together[1].result.status.value == "diverged"


def test_a_schedule_sets_its_learning_rate(own):
    given = {"lr": 0.2, "schedule": "linear"}
    scheduled, plain = (
        run_suite(suite(anisotropic(), optimizers=[(each, [given])]))[0]
        for each in (f"{own}:Replacing", "sgd")
    )
    assert scheduled.loss == pytest.approx(plain.loss, rel=1e-12)


def test_a_class_that_cannot_be_scheduled_or_repeated_is_refused_in_a_line(own):
    def fitted(name, **given):
        optimizer = get_optimizer(f"{own}:{name}")
        configuration = complete_hyperparameters(optimizer, given)
        problem = anisotropic()
        task = Task(name, "f", problem.tensors, "float64", False, [configuration])
        return optimizer.fit(task)

    assert fitted("Momentum") == ()
    assert "not resumable" in fitted("Locked")[0]
    with pytest.raises(SuiteError, match="no learning rate"):
        fitted("Rateless", schedule="cosine")
    with pytest.raises(SuiteError, match="draws random numbers"):
        fitted("Drawing")
    assert [each.name for each in get_optimizer(f"{own}:Rateless").hyperparameters] == ["step"]
