"""Buffers that begin differently for every seed."""

import numpy as np

from optbench.arrays import Buffer, Tensor
from optbench.problems.base import DTYPES, Losses, Problem
from optbench.settings import Option
from tests.small import problem, run_suite, suite


class Distance(Problem):
    """The squared distance from a point that the seed decides and no step moves."""

    name = "distance"
    summary = "the squared distance from a point of the seed's"
    kind = "function"
    default_iterations = 5
    minibatch = False
    record = "before"
    tensors = (Tensor("x", (2,)),)
    buffers = (Buffer("point", (2,)),)
    options = (Option("dtype", "float64", "of parameters and arithmetic", choices=DTYPES),)

    def definition(self):
        return {"kind": self.kind, "formula": "‖x − p‖²"}

    def start(self, seed):
        return np.zeros(2)

    def start_buffers(self, seed):
        return {"point": np.array([seed + 1.0, 0.0])}

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = 2.0 * (params.rows - buffers["point"])
        return self.loss(params, batch, buffers=buffers, work=work)

    def loss(self, params, batch, *, buffers, work):
        return Losses(work.xp.sum((params.rows - buffers["point"]) ** 2, axis=1))


def test_every_lane_has_the_buffers_of_its_seed():
    settled = suite(
        problem(Distance),
        optimizers=[("sgd", [{"lr": 0.1}, {"lr": 0.2}])],
        seeds=(0, 4),
        iterations=5,
    )
    outcomes = run_suite(settled)
    assert len(outcomes) == 4
    for outcome in outcomes.values():
        shrinks = (1.0 - 2.0 * outcome.lane.hyperparameters["lr"]) ** 2
        first = (outcome.lane.seed + 1.0) ** 2
        expected = first * shrinks ** np.arange(len(outcome.loss))
        np.testing.assert_allclose(outcome.loss, expected, rtol=1e-12)


def test_seeds_that_differ_in_buffers_alone_are_run_each():
    assert problem(Distance).is_random()
