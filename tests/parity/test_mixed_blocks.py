"""Optimizers of PyTorch and optax share a block with built-in rules."""

import pytest

from tests.small import anisotropic, blocks_of, cpu, run_suite, small_network, suite

pytest.importorskip("torch")
pytest.importorskip("optax")

BUILT_IN = [("adam", [{}, {"lr": 0.1}]), "schedule-free-sgd", ("momentum", [{"clip_norm": 0.1}])]
NAMES = ["torch:AdamW", ("optax:lion", [{"lr": 0.001}]), "torch:schedulefree.SGDScheduleFree"]


@pytest.mark.parametrize("problem", [anisotropic, small_network])
def test_each_goes_the_way_that_it_goes_alone(problem):
    optimizers = [*BUILT_IN[:2], *NAMES, BUILT_IN[2]]
    options = {"seeds": (0, 3), "iterations": 70}
    settled = suite(problem(), optimizers=optimizers, **options)
    (block,) = blocks_of(settled)
    assert len(block.groups) == len(optimizers)
    together = {outcome.lane.key: outcome for outcome in run_suite(settled).values()}
    for optimizer in optimizers:
        alone = run_suite(suite(problem(), optimizers=[optimizer], **options))
        for outcome in alone.values():
            mixed = together[outcome.lane.key]
            if outcome.lane.optimizer.startswith("optax:"):
                assert mixed.loss == pytest.approx(outcome.loss, rel=1e-6)
            else:
                assert mixed.bits == outcome.bits


def test_small_blocks_give_what_one_gives():
    settled = suite(small_network(), optimizers=NAMES, seeds=(0, 3), iterations=20)
    whole, parts = run_suite(settled), run_suite(settled, device=cpu(1))
    for number, outcome in whole.items():
        assert parts[number].loss == pytest.approx(outcome.loss, rel=1e-6)
