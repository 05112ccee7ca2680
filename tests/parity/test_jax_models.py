"""JAX models as problems: beside plain loops of JAX, and what is refused of them."""

import numpy as np
import pytest

import optbench
from optbench import rng
from optbench.problems.registry import make_problem
from tests.parity.zoo import LR, NAMES, STEPS, assert_goes_the_way_of, run

jax = pytest.importorskip("jax")

from tests.parity.models import zoo_jax

ZOO = NAMES["jax"]


def key_of(words):
    return jax.random.wrap_key_data(jax.numpy.asarray(words), impl="threefry2x32")


def plain_loop(kind: str, seed: int) -> tuple[list[float], dict[str, float]]:
    """Return the losses of a loop of JAX by itself, and what the validation gives at its end."""
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
        return rows, {"loss": float(validation[0] if own else validation)}


@pytest.mark.parametrize("stack", ["vmap", "loop"])
@pytest.mark.parametrize("kind", ["mlp", "dropout", "norm", "branching"])
def test_a_model_goes_the_way_of_a_plain_loop_of_jax(tmp_path, kind, stack):
    if (kind, stack) == ("branching", "vmap"):
        return
    results = run(tmp_path, "jax", kind, seeds=(0, 3), stack=stack)
    assert_goes_the_way_of(results, lambda seed: plain_loop(kind, seed))


def test_only_a_loss_that_looks_at_its_key_is_random():
    found = {
        kind: make_problem(ZOO, {"kind": kind, "batch_size": "full"})[0].stochastic
        for kind in ("mlp", "dropout")
    }
    assert found == {"mlp": False, "dropout": True}


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
