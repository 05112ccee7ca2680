"""PyTorch models as problems: beside plain loops of PyTorch, and what their lanes carry."""

import pickle

import numpy as np
import pytest

import optbench
from optbench import rng
from optbench.problems.registry import make_problem
from tests.parity.zoo import LR, NAMES, STEPS, assert_goes_the_way_of, run, traces

torch = pytest.importorskip("torch")

from tests.parity.models import zoo_torch

ZOO = NAMES["torch"]
PLAIN = ("mlp", "conv", "norm", "lstm", "attention", "features", "branching")
"""Kinds of models in which nothing is random but start and batches."""


def made(kind: str, seed: int):
    """Return the model of a seed as PyTorch itself makes it, in float64."""
    torch.manual_seed(int(rng.stream(seed, "start").integers(2**63)))
    return zoo_torch.MODELS[kind]().double()


def plain_loop(kind: str, seed: int) -> tuple[list[float], dict[str, float]]:
    """Return the losses of PyTorch's own loop, and what the validation gives at its end."""
    problem, _ = make_problem(ZOO, {"kind": kind, "dtype": "float64"})
    data = {
        name: {leaf: torch.tensor(array) for leaf, array in split.arrays.items()}
        for name, split in problem.splits.items()
    }
    for split in data.values():
        split["x"] = split["x"].double() if split["x"].is_floating_point() else split["x"]
    model = made(kind, seed)
    stepper = torch.optim.SGD(model.parameters(), lr=LR)
    rows = []
    for step, indices in enumerate(problem.draws(seed, 0)["indices"][: STEPS + 1]):
        model.train()
        loss = zoo_torch.loss(model, {leaf: each[indices] for leaf, each in data["train"].items()})
        rows.append(loss.item())
        if step < STEPS:
            stepper.zero_grad()
            loss.backward()
            stepper.step()
        if step == STEPS - 1:  # the last row changes no running mean
            model.eval()
            with torch.no_grad():
                validation = zoo_torch.loss(model, data["validation"]).item()
                error = zoo_torch.error(model, data["validation"]).double().mean().item()
    return rows, {"loss": validation, "error": error}


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_model_goes_the_way_of_a_plain_loop_of_pytorch(tmp_path, kind, stack):
    if (kind, stack) == ("branching", "vmap"):
        return
    results = run(tmp_path, "torch", kind, seeds=(0, 3), stack=stack)
    assert_goes_the_way_of(results, lambda seed: plain_loop(kind, seed))


def test_every_optimizer_has_the_start_and_the_masks_of_a_seed():
    problem, _ = make_problem(ZOO, {"kind": "dropout"})
    np.testing.assert_array_equal(problem.start(5), problem.start(5))
    assert not np.array_equal(problem.start(5), problem.start(6))
    keys = [name for name in problem.draws(0, 0) if name.startswith("mask.")]
    assert keys == ["mask.1", "mask.3"]
    assert problem.stochastic


def test_dropout_keeps_what_the_hashed_words_say():
    problem, _ = make_problem(ZOO, {"kind": "dropout", "dtype": "float64", "batch_size": "full"})
    draws = problem.draws(2, 0)
    model = made("dropout", 2)
    x = torch.tensor(problem.splits["train"].arrays["x"]).double()
    y = torch.tensor(problem.splits["train"].arrays["y"])
    for name, p in (("1", 0.25), ("3", 0.5)):
        key = rng.stream(2, f"dropout/{name}").integers(2**32, size=(256, 2), dtype=np.uint32)[:1]
        np.testing.assert_array_equal(draws[f"mask.{name}"][:1], key)
        words = rng.hash_bits(key, 40 * 8, np).reshape(40, 8)
        kept = torch.tensor((words >= p * 2**32) / (1 - p))
        model[int(name)].forward = kept.__mul__
    expected = torch.nn.functional.cross_entropy(model(x), y).item()
    loss, _ = optbench.loss_and_gradient(
        ZOO, problem.start(2), seed=2, kind="dropout", batch_size="full"
    )
    assert loss == pytest.approx(expected, rel=1e-12)


def test_only_what_training_changes_or_seeds_decide_is_carried_by_lanes():
    found = {
        kind: [buffer.name for buffer in make_problem(ZOO, {"kind": kind})[0].buffers]
        for kind in ("mlp", "norm", "attention", "features")
    }
    assert found == {
        "mlp": [],
        "norm": ["1.running_mean", "1.running_var", "1.num_batches_tracked"],
        "attention": [],
        "features": ["frozen.weight", "frozen.bias", "directions"],
    }


def test_a_run_is_repeated_to_the_bit_and_its_problem_can_be_pickled(tmp_path):
    first = run(tmp_path / "one", "torch", "norm", seeds=(0, 3))
    (again,) = [optbench.run(first.path / "run.json", out=tmp_path / "two")]
    one, two = traces(first), traces(again)
    assert {lane: rows.tobytes() for lane, rows in one.items()} == {
        lane: rows.tobytes() for lane, rows in two.items()
    }
    problem, _ = make_problem(ZOO, {"kind": "norm"})
    assert pickle.loads(pickle.dumps(problem)).fingerprint == problem.fingerprint
