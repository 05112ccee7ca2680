"""Compiled loops have the bits of NumPy's passes, and take their place where that is worth it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from optbench.arrays import Workspace
from optbench.device import jit, loops
from optbench.device.cpu import NumpyWorkspace
from tests.small import run_suite, small_network, suite

pytest.importorskip("numba", reason="Numba is not installed")

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38]
DTYPES = st.sampled_from([np.dtype("float32"), np.dtype("float64")])
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 20))

many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(jit, "_kept", lambda text: None)
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 0)


@st.composite
def numbers(draw, shape, dtype):
    """Return an array of ordinary numbers with some special ones among them."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 3)
    share = draw(st.sampled_from([0.0, 0.02, 0.3]))
    special = rng.random(shape) < share
    values[special] = rng.choice(SPECIAL, size=int(special.sum()))
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def strided(array: np.ndarray) -> np.ndarray:
    """Return the array as part of longer rows, as the tensors of parameters are."""
    whole = np.full((len(array), array.shape[1] + 7), np.nan, array.dtype)
    whole[:, 3:-4] = array
    return whole[:, 3:-4]


def assert_same(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        signs = ~np.isnan(one)
        np.testing.assert_array_equal(np.signbit(one[signs]), np.signbit(other[signs]))


def both(work):
    """Return what a function of a workspace gives with compiled loops and without."""
    with np.errstate(all="ignore"):
        return work(NumpyWorkspace()), work(Workspace(np, writes_out=True))


@pytest.mark.usefixtures("at_once")
@many
@given(data=st.data(), dtype=DTYPES, shape=SHAPES)
def test_rectified_sums_and_their_gradients(data, dtype, shape):
    values, grads = data.draw(numbers(shape, dtype)), data.draw(numbers(shape, dtype))
    shift = data.draw(numbers((shape[0], shape[2]), dtype))

    def work(workspace):
        y = workspace.rectify(values.copy(), strided(shift))
        sums = strided(np.zeros_like(shift))
        return y, workspace.rectify_back(grads.copy(), y, sums), sums

    assert_same(*both(work))


@pytest.mark.usefixtures("at_once")
@many
@given(data=st.data(), dtype=DTYPES, shape=SHAPES, log_eps=st.sampled_from([0.0, 1e-7]))
def test_losses_of_a_softmax(data, dtype, shape, log_eps):
    lanes, batch, classes = shape
    scores = data.draw(numbers(shape, dtype))
    of_labels = (data.draw(st.sampled_from([1, lanes])), batch)
    labels = data.draw(arrays.arrays(np.uint8, of_labels, elements=st.integers(0, classes - 1)))
    assert_same(*both(lambda workspace: workspace.softmax_losses(scores, labels, log_eps)))


@pytest.mark.usefixtures("at_once")
@many
@given(data=st.data(), dtype=DTYPES, shape=SHAPES)
def test_gathered_bytes_and_finite_rows(data, dtype, shape):
    images = data.draw(arrays.arrays(np.uint8, shape))
    images.flags.writeable = False
    indices = np.array(data.draw(st.lists(st.integers(0, len(images) - 1), min_size=1)))
    rows = data.draw(numbers(shape[:2], dtype))
    divisor = data.draw(st.sampled_from([255.0, 16.0]))

    def work(workspace):
        gathered = workspace.gather_ratio(images, indices, divisor, dtype)
        return gathered, workspace.all_finite(rows).astype(float)

    assert_same(*both(work))


@pytest.mark.usefixtures("at_once")
def test_arrays_in_pieces_stay_with_numpy():
    values = np.ones((3, 4, 2)).transpose(1, 0, 2)
    assert not values.flags.c_contiguous
    found = NumpyWorkspace().rectify(values, np.full((4, 2), -0.5))
    assert found is values
    assert (values == 0.5).all()


def test_numpy_makes_the_passes_until_a_loop_is_worth_compiling(monkeypatch):
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 2 * 6 * 3)  # a sum and a maximum of six, thrice
    monkeypatch.setattr(jit, "_LOOPS", {})
    monkeypatch.setattr(jit, "_loop_work", jit._Work())
    compiled = []
    monkeypatch.setattr(
        jit, "_compiled_loop", lambda *of: compiled.append(of) or (lambda *arrays: None)
    )
    for _ in range(4):
        assert compiled == []
        NumpyWorkspace().rectify(np.ones((1, 2, 3)), np.zeros((1, 3)))
    assert compiled == [(loops.rectify, np.dtype("float64"))]


def test_a_trace_does_not_depend_on_when_loops_are_compiled(monkeypatch):
    network = small_network(dtype="float32")
    several = suite(network, optimizers=["adam", "momentum"], seeds=(0, 1), iterations=30)
    found = []
    monkeypatch.setattr(jit, "_kept", lambda text: None)
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    for after in (10**18, 20_000, 0):
        monkeypatch.setattr(jit, "COMPILE_AFTER", after)
        monkeypatch.setattr(jit, "_LOOPS", {})
        monkeypatch.setattr(jit, "_loop_work", jit._Work())
        found.append([lane.bits for lane in run_suite(several).values()])
    assert found[0] == found[1] == found[2]
