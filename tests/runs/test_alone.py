"""What a step takes where a label's rule has the machine to itself."""

from itertools import count

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.optimizers.rules.sgd import SGD
from optbench.problems.functions.quadratics import Anisotropic
from optbench.runs import alone
from optbench.runs.alone import ROWS, STEPS, STRETCHES, alone_seconds
from optbench.runs.layout import lay_out
from optbench.runs.pipeline import plan_run, run_plan
from optbench.store.reader import read_run
from tests.small import anisotropic, quadratic, small_network, suite


def timed(settled, device=None, **options):
    return list(alone_seconds(settled, lay_out(settled, "cpu"), device or NumpyDevice(), **options))


def test_each_label_of_each_problem_is_timed_once_by_gradient_and_update():
    """Every reading of the clock is a second on, and a step has four."""
    settled = suite(
        anisotropic(),
        small_network(),
        optimizers=[("sgd", [{"lr": 0.1}, {"lr": 0.2}]), "adam"],
        seeds=(0, 1),
        iterations=3,
    )
    ticks = count()
    found = timed(settled, NumpyDevice(lambda: next(ticks)))
    assert found == [
        (problem, label, 2.0)
        for problem in ("anisotropic", "small-network")
        for label in ("sgd", "adam")
    ]


def test_the_median_of_five_stretches_of_200_steps_counts_after_one_that_warms_up(monkeypatch):
    assert (STRETCHES, STEPS) == (5, 200)
    assert STEPS % ROWS == 0
    steps = []
    loss_and_grad = Anisotropic.loss_and_grad

    def counted(self, *arguments, **options):
        steps.append(1)
        return loss_and_grad(self, *arguments, **options)

    monkeypatch.setattr(Anisotropic, "loss_and_grad", counted)

    class Clock:
        """A step of stretch k takes twice the k-th of these seconds."""

        now, readings = 0.0, 0
        seconds = (100.0, 5.0, 1.0, 9.0, 2.0, 3.0)

        def __call__(self):
            stretch = min(self.readings // (4 * STEPS), 5)
            self.now += self.seconds[stretch] * (self.readings % 2)
            self.readings += 1
            return self.now

    found = timed(suite(anisotropic(), optimizers=["sgd"]), NumpyDevice(Clock()))
    assert len(steps) == 6 * 200
    assert found == [("anisotropic", "sgd", 2 * 3.0)]


def test_a_rule_that_raises_is_left_out(monkeypatch):
    def step(self, *arguments):
        raise FloatingPointError

    monkeypatch.setattr(SGD, "rule", step)
    found = timed(suite(anisotropic(), optimizers=["sgd", "adam"]))
    assert [label for _, label, _ in found] == ["adam"]


def test_an_interrupt_leaves_the_rest_out():
    answers = iter([False, True])
    found = timed(suite(anisotropic(), optimizers=["sgd", "adam"]), cancelled=answers.__next__)
    assert [label for _, label, _ in found] == ["sgd"]


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_holds_them_if_asked_to(wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(alone, "STEPS", 50)
    device = NumpyDevice()
    plan = plan_run(suite(quadratic(), anisotropic(), optimizers=["sgd", "adam"]), device)
    outcome = run_plan(plan, device, tmp_path, "invocation", time_alone=wanted)
    for entry in read_run(outcome.path).meta["problems"]:
        found = entry.get("alone_seconds", {})
        assert list(found) == (["sgd", "adam"] if wanted else [])
        assert all(seconds > 0.0 for seconds in found.values())
