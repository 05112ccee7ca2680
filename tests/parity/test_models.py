"""What models of PyTorch and JAX promise alike: lanes that share nothing, and the right losses."""

import numpy as np
import pytest

import optbench
from optbench.device.cpu import NumpyDevice
from optbench.gate.baseline import NUMERICS_ITERATIONS
from optbench.gate.save import tolerances
from optbench.problems.registry import make_problem
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve
from optbench.verify.sharing import shared_state
from tests.parity.zoo import FOLDER, NAMES, run, traces

STACKED_JAX = [("jax", kind) for kind in ("mlp", "dropout", "norm")]
STACKED = [
    *(
        ("torch", kind)
        for kind in (
            "mlp",
            "conv",
            "norm",
            "lstm",
            "attention",
            "features",
            "dropout",
            "channels",
        )
    ),
    *STACKED_JAX,
]
IN_TURN = [("torch", "branching"), ("torch", "noisy"), ("jax", "branching")]
"""Kinds that vmap takes, and that it cannot take."""


@pytest.fixture(autouse=True)
def needed(library):
    pytest.importorskip(library)


@pytest.mark.parametrize(("library", "kind"), [*STACKED, *IN_TURN])
def test_a_lane_goes_the_same_way_whatever_its_company(tmp_path, library, kind):
    company = traces(run(tmp_path, library, kind, seeds=(0, 3, 4), optimizers=("sgd", "adam")))
    assert len(company) == 6
    for label, seed in (("sgd", 3), ("adam", 4)):
        results = run(tmp_path, library, kind, seeds=(seed,), optimizers=(label,))
        (alone,) = traces(results).values()
        np.testing.assert_allclose(alone, company[label, seed], rtol=1e-6)


@pytest.mark.parametrize(("library", "kind"), [*STACKED, *IN_TURN])
def test_in_a_loop_lanes_are_the_same_to_the_bit(tmp_path, library, kind):
    company = traces(run(tmp_path, library, kind, seeds=(0, 3, 4), stack="loop"))
    (alone,) = traces(run(tmp_path, library, kind, seeds=(3,), stack="loop")).values()
    assert alone.tobytes() == company["sgd", 3].tobytes()


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize(("library", "kind"), STACKED)
def test_lanes_blocks_and_calls_share_nothing(library, kind, stack):
    options = {"kind": kind, "stack": stack, "batch_size": 4}
    problem, _ = make_problem(NAMES[library], options)
    assert shared_state(problem) == ""


@pytest.mark.parametrize(("library", "kind"), IN_TURN)
def test_what_vmap_cannot_take_is_said_and_computed_in_turn(library, kind):
    _, (notice,) = make_problem(NAMES[library], {"kind": kind})
    assert notice.startswith("problem: its lanes are computed one after another, not by vmap: ")
    with pytest.raises(optbench.UsageError, match="give stack = 'loop', or 'auto'"):
        make_problem(NAMES[library], {"kind": kind, "stack": "vmap"})


@pytest.mark.parametrize(
    ("library", "kind"),
    [*(("torch", kind) for kind in ("norm", "noisy", "dropout")), *STACKED_JAX],
)
def test_a_gradient_is_that_of_the_loss(library, kind, tmp_path):
    text = (FOLDER / f"zoo_{library}.py").read_text("utf-8")
    file = tmp_path / "own.py"
    file.write_text(text.replace('kind: str = "mlp"', f'kind: str = "{kind}"'), "utf-8")
    (check,) = optbench.check_problem(f"{library}:{file}:problem")
    assert check.passed, check


def textbook(problem, steps, names=("sgd", "momentum", "adagrad", "adam")):
    return {
        "name": "textbook",
        "problem": [problem],
        "optimizer": [{"name": name} for name in names],
        "iterations": steps,
    }


def theirs(library, dtype):
    return {"name": f"{library}:{FOLDER / f'textbook_{library}.py'}:problem", "dtype": dtype}


def ours(dtype):
    return {"name": "mnist-mlp", "data": "mnist-5k", "dtype": dtype}


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [("float32", 30, 1e-6), ("float64", 100, 1e-10)]
)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_the_textbooks_network_has_the_trace_of_mnist_mlp(
    tmp_path, library, dtype, steps, tolerance
):
    # AdaGrad divides by gradients that are nothing but float32's rounding: see the next test.
    names = ["sgd", "momentum", "adam", *(["adagrad"] if dtype == "float64" else [])]
    found = [
        optbench.run(textbook(problem, steps, names), out=tmp_path)
        for problem in (ours(dtype), theirs(library, dtype))
    ]
    one, other = (traces(results) for results in found)
    assert len(one) == len(names)
    for lane, losses in one.items():
        np.testing.assert_allclose(other[lane], losses, rtol=tolerance)
    keys = ["lane", "iteration", "split"]
    evaluated = found[0].evaluation.merge(found[1].evaluation, on=keys)
    assert len(evaluated) == 3 * len(names)
    np.testing.assert_allclose(evaluated.loss_x, evaluated.loss_y, rtol=10 * tolerance)
    np.testing.assert_allclose(evaluated.error_x, evaluated.error_y, atol=1e-6)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_in_float32_only_rounding_parts_the_textbooks_network_from_mnist_mlp(tmp_path, library):
    # In float64 the test above finds AdaGrad the same; in float32 each is after 50 steps about as
    # far from that trace as from the other. How far rounding goes is what a baseline allows for it.
    suite = textbook(ours("float32"), NUMERICS_ITERATIONS)
    other = textbook(theirs(library, "float32"), NUMERICS_ITERATIONS)
    losses = optbench.run(suite, out=tmp_path).trace
    allowed = tolerances(resolve(parse_suite(suite, "test")), NumpyDevice())
    keys = ["lane", "iteration"]
    both = losses.merge(optbench.run(other, out=tmp_path).trace, on=keys).merge(allowed, on=keys)
    assert len(both) == 4 * NUMERICS_ITERATIONS
    parted = both[(both.loss_x - both.loss_y).abs() > both.tolerance]
    assert parted.empty, parted
