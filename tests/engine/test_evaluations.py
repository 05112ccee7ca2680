"""What rules evaluate beside a step's gradient: where, on which batch, and how it is counted."""

from typing import ClassVar

import numpy as np
import pytest

from optbench.engine.block import Block, Group
from optbench.optimizers.base import Optimizer, UpdateContext
from optbench.problems.base import Problem
from optbench.settings import Hyperparameter
from tests.small import Outcome, anisotropic, blocks_of, ruled_by, run_blocks, small_network, suite


class Looks(Optimizer):
    """Steps of SGD that look elsewhere first: all lanes once, then some of them again."""

    name = "looks"
    hyperparameters: ClassVar = (Hyperparameter("lr", 0.1, "learning rate"),)
    again: ClassVar[slice | np.ndarray] = slice(0, 0)
    seen: ClassVar[list[tuple[np.ndarray, np.ndarray]]] = []

    def step(self, context: UpdateContext) -> None:
        params = context.params.rows
        self.seen.append(context.evaluate(params))
        self.seen.append((context.loss().copy(), context.grads.rows.copy()))
        if params[self.again].shape[0]:
            self.seen.append(context.evaluate(params[self.again], self.again))
        params[...] -= context.columns["lr"] * context.grads.rows


Seen = list[tuple[np.ndarray, np.ndarray]]


def ran(problem: Problem, again: slice | np.ndarray) -> tuple[list[Outcome], Seen]:
    """Return what lanes of three seeds gave, and the losses and gradients that they saw."""
    kind = type("Again", (Looks,), {"again": again, "seen": []})
    (block,) = blocks_of(suite(problem, optimizers=[("sgd", [{"lr": 0.1}])], seeds=(0, 1, 2)))
    plain = [lane.bits for lane in run_blocks([block]).values()]
    lanes = list(run_blocks([ruled_by(kind(), block)]).values())
    assert [lane.bits for lane in lanes] == plain  # nothing else has changed
    return lanes, kind.seen


@pytest.mark.parametrize(
    ("again", "gradients"),
    [
        (slice(0, 0), [40, 40, 40]),
        (slice(1, 3), [40, 60, 60]),
        (np.array([0, 2]), [60, 40, 60]),
    ],
    ids=str,
)
def test_each_evaluation_of_a_lane_is_a_gradient_of_its_own(again, gradients):
    lanes, _ = ran(small_network(), again)
    assert [lane.result.gradients for lane in lanes] == gradients


@pytest.mark.parametrize("again", [slice(1, 3), np.array([0, 2])], ids=str)
def test_lanes_are_evaluated_on_their_own_batches(again):
    _, seen = ran(small_network(), again)
    assert len(seen) == 60
    for (loss, grads), step, some in zip(seen[0::3], seen[1::3], seen[2::3], strict=True):
        assert loss.tobytes() == step[0].tobytes()
        assert grads.tobytes() == step[1].tobytes()
        assert some[0].tobytes() == loss[again].tobytes()
        assert some[1].tobytes() == grads[again].tobytes()


def test_other_rules_of_the_block_have_none():
    entries = [("sgd", [{"lr": 0.1}]), ("momentum", [{"lr": 0.1}])]
    (block,) = blocks_of(suite(anisotropic(), optimizers=entries))
    plain, looking = block.groups
    mixed = Block(0, block.problem, block.iterations, (plain, Group(Looks(), looking.lanes)))
    assert [lane.result.gradients for lane in run_blocks([mixed]).values()] == [20, 40]
