"""JAX models as problems: beside plain loops of JAX, alone and in company."""

from pathlib import Path

import numpy as np
import pytest

import optbench
from optbench import rng
from optbench.problems.registry import make_problem
from optbench.verify.sharing import shared_state

jax = pytest.importorskip("jax")

from tests.parity.models import zoo_jax

ZOO = f"jax:{Path(__file__).parent / 'models' / 'zoo_jax.py'}:problem"
STEPS, LR = 12, 0.2
KINDS = ("mlp", "dropout", "norm", "branching")


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


def key_of(words):
    return jax.random.wrap_key_data(jax.numpy.asarray(words), impl="threefry2x32")


def plain_loop(kind: str, seed: int) -> tuple[list[float], float]:
    """Return the losses of a loop of JAX by itself, and the validation loss at its end."""
    problem, _ = make_problem(ZOO, {"kind": kind, "dtype": "float64"})
    data = {name: [*split.arrays.values()] for name, split in problem.splits.items()}
    draws = problem.draws(seed, 0)
    words = rng.stream(seed, "start").integers(2**32, size=(2, 2), dtype=np.uint32)
    loss = zoo_jax.LOSSES[kind]
    rows = []
    with jax.enable_x64(True):
        params, state = zoo_jax.init(key_of(words[0])), {"steps": 0, "mean": jax.numpy.zeros(8)}
        for step in range(STEPS + 1):
            batch = [array[draws["indices"][step]] for array in data["train"]]
            key = key_of(draws["key"][step]) if "key" in draws else key_of(words[0])
            if kind == "norm":
                (value, moved), slopes = jax.value_and_grad(loss, has_aux=True)(
                    params, batch, key, state
                )
                state = moved if step < STEPS else state
            else:
                value, slopes = jax.value_and_grad(loss)(params, batch, key)
            rows.append(float(value))
            if step < STEPS:
                params = jax.tree.map(lambda w, g: w - LR * g, params, slopes)
        own = (state,) if kind == "norm" else ()
        validation = loss(params, data["validation"], None, *own)
        return rows, float(validation[0] if own else validation)


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_goes_the_way_of_a_plain_loop_of_jax(tmp_path, kind, stack):
    if (kind, stack) == ("branching", "vmap"):
        return
    results = run(tmp_path, kind, seeds=(0, 3), stack=stack)
    evaluated = results.evaluation.query("split == 'validation'").set_index("lane").loss
    seeds = results.lanes.set_index("seed").lane
    for (_, seed), losses in traces(results).items():
        rows, validation = plain_loop(kind, seed)
        np.testing.assert_allclose(losses, rows, rtol=1e-12)
        np.testing.assert_allclose(evaluated.loc[seeds[seed]], validation, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lane_goes_the_same_way_whatever_its_company(tmp_path, kind):
    company = traces(run(tmp_path, kind, seeds=(0, 3), optimizers=("sgd", "adam")))
    (alone,) = traces(run(tmp_path, kind, seeds=(3,), optimizers=("adam",))).values()
    np.testing.assert_allclose(alone, company["adam", 3], rtol=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "dropout", "norm"])
def test_lanes_blocks_and_calls_share_nothing(kind):
    problem, _ = make_problem(ZOO, {"kind": kind, "batch_size": 4})
    assert shared_state(problem) == ""


def test_only_a_loss_that_looks_at_its_key_is_random():
    found = {kind: make_problem(ZOO, {"kind": kind, "batch_size": "full"})[0] for kind in KINDS[:2]}
    assert {kind: problem.stochastic for kind, problem in found.items()} == {
        "mlp": False,
        "dropout": True,
    }


def test_what_vmap_cannot_take_is_said_and_computed_in_turn():
    _, (notice,) = make_problem(ZOO, {"kind": "branching"})
    assert notice.startswith("problem: its lanes are computed one after another, not by vmap: ")
    with pytest.raises(optbench.UsageError, match="give stack = 'loop', or 'auto'"):
        make_problem(ZOO, {"kind": "branching", "stack": "vmap"})


def test_a_gradient_is_that_of_the_loss():
    (check,) = optbench.check_problem(ZOO)
    assert check.passed, check


FILE = """
import jax, jax.numpy as jnp, numpy as np, optbench

x, y = np.ones((20, 4)), np.arange(20) % 3


def init(key):
    return {"w": jnp.zeros((4, 3))}


def loss(params, batch, key):
    return ((batch[0] @ params["w"]) ** 2).mean()


def task(**given):
    return optbench.jax.Task(**{"init": init, "loss": loss, "data": (x, y), **given})


def problem(batch_size: int = 8):
    return RESULT
"""


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("task(init=lambda key: {})", "init returns no arrays; return the parameters"),
        ("task(init=lambda key: {'n': 3})", "the parameter n is of the type int32, not of reals"),
        ("task(loss=lambda params, batch, key: batch[0] @ params['w'])", "return shape () or"),
        ("task(loss=lambda params, batch, key: None)", "returns NoneType; return shape ()"),
        ("task(loss=lambda p, b, key: loss(p, b, key) * jax.random.normal(key))", "own.py, line"),
        (
            "task(loss=lambda p, b, key: loss(p, b, key) * np.random.rand())",
            "draws random numbers of NumPy or Python, which are compiled in; draw them from the",
        ),
        ("task(state=lambda key: 0.0)", "takes 3 positional arguments but 4 were given"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, result, message):
    (tmp_path / "own.py").write_text(FILE.replace("RESULT", result), encoding="utf-8")
    with pytest.raises(optbench.UsageError) as caught:
        make_problem(f"jax:{tmp_path / 'own.py'}:problem", {})
    assert message in str(caught.value)
    assert str(caught.value).startswith("problem")
