"""PyTorch models as problems: beside plain loops of PyTorch, alone and in company."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import optbench
from optbench import rng
from optbench.problems.registry import make_problem
from optbench.verify.sharing import shared_state

torch = pytest.importorskip("torch")

from tests.parity.models import zoo_torch

FOLDER = Path(__file__).parent / "models"
ZOO = f"torch:{FOLDER / 'zoo_torch.py'}:problem"
STEPS, LR = 12, 0.2
PLAIN = ("mlp", "conv", "norm", "lstm", "attention", "features", "branching")
"""Kinds of models in which nothing is random but start and batches."""

STACKED = ("mlp", "conv", "norm", "lstm", "attention", "features", "dropout", "channels")
IN_TURN = ("branching", "noisy")
"""Kinds that vmap takes, and that it cannot take."""


def run(tmp_path, kind, *, seeds=(0,), optimizers=("sgd",), **options):
    suite = {
        "name": "models",
        "problem": [{"name": ZOO, "kind": kind, "dtype": "float64", **options}],
        "optimizer": [{"name": name, "lr": LR if name == "sgd" else 0.01} for name in optimizers],
        "iterations": STEPS,
        "seeds": list(seeds),
    }
    return optbench.run(suite, out=tmp_path)


def traces(results) -> dict[tuple[str, int], np.ndarray]:
    lanes = results.lanes.set_index("lane")
    return {
        (lanes.label[lane], int(lanes.seed[lane])): rows.sort_values("iteration").loss.to_numpy()
        for lane, rows in results.trace.groupby("lane")
    }


def made(kind: str, seed: int):
    """Return the model of a seed as PyTorch itself makes it, in float64."""
    torch.manual_seed(int(rng.stream(seed, "start").integers(2**63)))
    return zoo_torch.MODELS[kind]().double()


def plain_loop(kind: str, seed: int) -> tuple[list[float], float, float]:
    """Return the losses of PyTorch's own loop, then validation loss and error."""
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
    return rows, validation, error


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_model_goes_the_way_of_a_plain_loop_of_pytorch(tmp_path, kind, stack):
    if stack == "vmap" and kind in IN_TURN:
        return
    results = run(tmp_path, kind, seeds=(0, 3), stack=stack)
    evaluated = results.evaluation.query("split == 'validation'").set_index("lane")
    seeds = results.lanes.set_index("seed").lane
    for (_, seed), losses in traces(results).items():
        rows, validation, error = plain_loop(kind, seed)
        np.testing.assert_allclose(losses, rows, rtol=1e-12)
        last = evaluated.loc[seeds[seed]]
        np.testing.assert_allclose([last.loss, last.error], [validation, error], rtol=1e-12)


@pytest.mark.parametrize("kind", [*STACKED, *IN_TURN])
def test_a_lane_goes_the_same_way_whatever_its_company(tmp_path, kind):
    company = traces(run(tmp_path, kind, seeds=(0, 3, 4), optimizers=("sgd", "adam")))
    assert len(company) == 6
    for label, seed in (("sgd", 3), ("adam", 4)):
        (alone,) = traces(run(tmp_path, kind, seeds=(seed,), optimizers=(label,))).values()
        np.testing.assert_allclose(alone, company[label, seed], rtol=1e-6)


@pytest.mark.parametrize("kind", [*STACKED, *IN_TURN])
def test_in_a_loop_lanes_are_the_same_to_the_bit(tmp_path, kind):
    company = traces(run(tmp_path, kind, seeds=(0, 3, 4), stack="loop"))
    (alone,) = traces(run(tmp_path, kind, seeds=(3,), stack="loop")).values()
    assert alone.tobytes() == company["sgd", 3].tobytes()


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize("kind", STACKED)
def test_lanes_blocks_and_calls_share_nothing(kind, stack):
    options = {"kind": kind, "stack": stack, "batch_size": 4}
    problem, _ = make_problem(ZOO, options)
    assert shared_state(problem) == ""


@pytest.mark.parametrize("kind", IN_TURN)
def test_what_vmap_cannot_take_is_said_and_computed_in_turn(kind):
    _, (notice,) = make_problem(ZOO, {"kind": kind})
    assert notice.startswith("problem: its lanes are computed one after another, not by vmap: ")
    with pytest.raises(optbench.UsageError, match="give stack = 'loop', or 'auto'"):
        make_problem(ZOO, {"kind": kind, "stack": "vmap"})


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
    first = run(tmp_path / "one", "norm", seeds=(0, 3))
    (again,) = [optbench.run(first.path / "run.json", out=tmp_path / "two")]
    one, two = traces(first), traces(again)
    assert {lane: rows.tobytes() for lane, rows in one.items()} == {
        lane: rows.tobytes() for lane, rows in two.items()
    }
    problem, _ = make_problem(ZOO, {"kind": "norm"})
    assert pickle.loads(pickle.dumps(problem)).fingerprint == problem.fingerprint


@pytest.mark.parametrize("kind", ["norm", "noisy", "dropout"])
def test_a_gradient_is_that_of_the_loss(kind, tmp_path):
    text = (FOLDER / "zoo_torch.py").read_text("utf-8")
    file = tmp_path / "own.py"
    file.write_text(text.replace('kind: str = "mlp"', f'kind: str = "{kind}"'), "utf-8")
    (check,) = optbench.check_problem(f"torch:{file}:problem")
    assert check.passed, check


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [("float32", 30, 1e-6), ("float64", 100, 1e-10)]
)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_textbooks_network_has_the_trace_of_mnist_mlp(
    tmp_path, library, dtype, steps, tolerance
):
    pytest.importorskip(library)
    # AdaGrad divides by gradients that are nothing but float32's rounding.
    names = ["sgd", "momentum", "adam", *(["adagrad"] if dtype == "float64" else [])]
    theirs = {"name": f"{library}:{FOLDER / f'textbook_{library}.py'}:problem", "dtype": dtype}
    ours = {"name": "mnist-mlp", "data": "mnist-5k", "dtype": dtype}
    found = []
    for problem in (ours, theirs):
        suite = {
            "name": "textbook",
            "problem": [problem],
            "optimizer": [{"name": name} for name in names],
            "iterations": steps,
        }
        found.append(optbench.run(suite, out=tmp_path))
    one, other = (traces(results) for results in found)
    assert len(one) == len(names)
    for lane, losses in one.items():
        np.testing.assert_allclose(other[lane], losses, rtol=tolerance)
    keys = ["lane", "iteration", "split"]
    evaluated = found[0].evaluation.merge(found[1].evaluation, on=keys)
    assert len(evaluated) == 3 * len(names)
    np.testing.assert_allclose(evaluated.loss_x, evaluated.loss_y, rtol=10 * tolerance)
    np.testing.assert_allclose(evaluated.error_x, evaluated.error_y, atol=1e-6)
