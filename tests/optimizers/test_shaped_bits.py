"""Rules that look at tensors have the bits of their equations, one NumPy operation at a time."""

import numpy as np
import pytest

from optbench.arrays import Tensor
from optbench.device import jit
from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.muon import COEFFICIENTS, ITERATIONS, Muon
from optbench.optimizers.rules.prodigy import Prodigy
from tests.optimizers.driver import Driver

TENSORS = (
    Tensor("a.weight", (11, 23)),
    Tensor("a.bias", (23,)),
    Tensor("b.weight", (23, 9)),
    Tensor("b.bias", (9,)),
    Tensor("c.weight", (9, 17)),
    Tensor("c.bias", (17,)),
    Tensor("d.weight", (17, 3)),
    Tensor("d.bias", (3,)),
    Tensor("scale"),
)
SIZE = sum(tensor.size for tensor in TENSORS)
UPDATES = 4
SPECIAL = [0.0, -0.0, 1e-30, -3e38, np.inf, -np.inf, np.nan]

Tensors = dict[str, np.ndarray]


def parts(row: np.ndarray) -> Tensors:
    """Return the tensors of a row, (parameters,), each an array of its own."""
    ends = np.cumsum([tensor.size for tensor in TENSORS])[:-1]
    pieces = zip(TENSORS, np.split(row, ends), strict=True)
    return {tensor.name: piece.reshape(tensor.shape).copy() for tensor, piece in pieces}


def norm(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum((values * values).ravel()))


def ratio(w, u, trust, eps):
    of_w, of_u = norm(w), norm(u)
    if of_w != 0 and of_u != 0:
        return trust * of_w / (of_u + eps)
    return np.ones((), w.dtype)[()]


def lars(row, grads, columns):
    w = parts(row)
    v = {name: np.zeros_like(each) for name, each in w.items()}
    for t, grad in enumerate(grads):
        c, g = columns(t), parts(grad)
        for name in w:
            u = c["weight_decay"] * w[name] + g[name]
            u = u * (c["lr"] * ratio(w[name], u, c["trust"], c["eps"]))
            v[name] = v[name] * c["momentum"] + u
            w[name] = w[name] - v[name]
        yield w


def moments(m, v, g, c):
    return m + c["rate1"] * (g - m), v + c["rate2"] * (g * g - v)


def direction(m, v, c):
    return m * c["scale1"] / (np.sqrt(v) * c["scale2"] + c["eps"])


def lamb(row, grads, columns):
    w = parts(row)
    m, v = ({name: np.zeros_like(each) for name, each in w.items()} for _ in range(2))
    for t, grad in enumerate(grads):
        c, g = columns(t), parts(grad)
        for name in w:
            m[name], v[name] = moments(m[name], v[name], g[name], c)
            u = direction(m[name], v[name], c) + c["weight_decay"] * w[name]
            one, zero = w[name].dtype.type(1), w[name].dtype.type(0)
            w[name] = w[name] - u * (c["lr"] * ratio(w[name], u, one, zero))
        yield w


def prodigy(row, grads, columns):
    start, w = row, row
    m, v, s = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    n = d = w.dtype.type(0)
    for t, g in enumerate(grads):
        c = columns(t)
        before = np.maximum(d, c["d0"])
        growth, size = before / c["d0"], before * c["step_size"]
        n = c["beta3"] * n + growth * size * np.sum(g * (start - w))
        m = c["beta1"] * m + before * c["rate1"] * g
        v = c["beta2"] * v + before * before * c["rate2"] * (g * g)
        s = c["beta3"] * s + growth * before * c["sum_size"] * g
        total = np.sum(np.abs(s))
        d = np.maximum(before, c["d_coef"] * n / (total if total != 0 else w.dtype.type(1)))
        w = w - size * (m / (np.sqrt(v) + d * c["eps"]) + c["weight_decay"] * w)
        yield parts(w)


def orthogonal(matrix, eps):
    tall = matrix.shape[0] > matrix.shape[1]
    x = np.ascontiguousarray(matrix.T if tall else matrix)
    x = x / np.maximum(norm(x), eps)
    a, b, c = (x.dtype.type(each) for each in COEFFICIENTS)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = x * a + ((gram @ gram) * c + gram * b) @ x
    return x.T if tall else x


def muon(row, grads, columns):
    w = parts(row)
    m, v = ({name: np.zeros_like(each) for name, each in w.items()} for _ in range(2))
    for t, grad in enumerate(grads):
        c, g = columns(t), parts(grad)
        for name in w:
            if name in ("b.weight", "c.weight"):
                m[name] = m[name] + c["rate"] * (g[name] - m[name])
                u = orthogonal((g[name] - m[name]) * c["lead"] + m[name], c["ns_eps"])
                rows, columns_ = u.shape
                factor = w[name].dtype.type(np.sqrt(max(1.0, columns_ / rows)))
                w[name] = w[name] * c["keep"] - u * (c["lr"] * factor)
            else:
                m[name], v[name] = moments(m[name], v[name], g[name], c)
                u = direction(m[name], v[name], c) * c["adam_lr"]
                w[name] = w[name] * c["adam_keep"] - u
        yield w


RULES = {LARS: lars, LAMB: lamb, Prodigy: prodigy, Muon: muon}

CONFIGURATIONS = [
    {"lr": 0.1, "weight_decay": 0.0},
    {"lr": 0.03, "weight_decay": 0.1},
    {"lr": 2.0, "weight_decay": 0.01},
]


def numbers(dtype: str, *, special: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a start, (lanes, parameters), and gradients, (updates, lanes, parameters)."""
    rng = np.random.default_rng(5)
    start = rng.normal(size=(len(CONFIGURATIONS), SIZE))
    start[:, ::3] = -0.0
    start[1, 253:276] = 0.0  # a tensor of norm 0
    grads = rng.normal(size=(UPDATES, *start.shape))
    if special:  # in the last updates, so that there are others to compare
        places = rng.random(grads.shape) < 0.01
        places[:2] = False
        grads[places] = rng.choice(SPECIAL, size=int(places.sum()))
    with np.errstate(over="ignore"):
        return start.astype(dtype), grads.astype(dtype)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", RULES, ids=lambda each: each.name)
def test_each_bit_is_that_of_plain_operations(
    optimizer, dtype, compiled, by_coordinate, special, monkeypatch
):
    if compiled:
        pytest.importorskip("numba", reason="Numba is not installed")
        for name in ("LOAD_AFTER", "COMPILE_AFTER"):
            monkeypatch.setattr(jit, name, 0)
        monkeypatch.setattr(jit, "_kept", lambda text: None)
    start, grads = numbers(dtype, special=special)
    lanes = Driver(
        optimizer,
        CONFIGURATIONS,
        start,
        tensors=TENSORS,
        dtype=dtype,
        by_coordinate=by_coordinate,
    )
    with np.errstate(all="ignore"):
        found = lanes.path(grads)
        given = lanes.optimizer.columns(lanes.hyperparameters, range(1, UPDATES + 1))
        for lane in range(len(CONFIGURATIONS)):

            def columns(t, lane=lane):
                rows = {name: each[min(t, len(each) - 1)] for name, each in given.items()}
                return {
                    name: row[min(lane, len(row) - 1), 0].astype(dtype)
                    for name, row in rows.items()
                }

            paths = RULES[optimizer](start[lane], grads[:, lane], columns)
            for t, tensors in enumerate(paths):
                expected = np.concatenate([each.ravel() for each in tensors.values()])
                np.testing.assert_array_equal(found[t, lane], expected)
                signs = ~np.isnan(expected)
                np.testing.assert_array_equal(
                    np.signbit(found[t, lane][signs]), np.signbit(expected[signs])
                )
