"""Operations on a GPU give what plain passes of NumPy give: on a card, and emulated."""

import sys

import numpy as np
import pytest

from optbench.arrays import Tensor, Workspace, stack
from optbench.device.cpu import NumpyDevice
from optbench.device.gpu import CupyDevice, why_no_gpu
from optbench.engine.stepper import Stepper
from tests.device import cuda
from tests.device.cublas import Array
from tests.problems.networks.nn.passes import LAYERS, by_name, case, run
from tests.small import blocks_of, small_network, suite

NUMPY = Workspace(np, writes_out=True)
SPECIAL = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -3e38]
LANES, ROWS, COLUMNS = 3, 5, 4

UNFIT = "operand|broadcast|aligned|[Dd]imension|size"
"""What NumPy or CuPy, by its version, says of shapes that do not fit."""

both_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(
    params=[
        pytest.param("emulated", marks=cuda.needs_compiler),
        pytest.param("card", marks=pytest.mark.gpu),
    ]
)
def device(request, cupy) -> CupyDevice:
    if request.param == "emulated":
        cupy()
    elif reason := why_no_gpu():
        pytest.skip(reason)
    return CupyDevice()


@pytest.fixture
def emulation(cupy):
    """Return the fake CuPy."""
    cupy()
    CupyDevice()
    return sys.modules["cupy"]


def numbers(shape: tuple[int, ...], dtype: str, share: float = 0.0, seed: int = 3) -> np.ndarray:
    """Return ordinary numbers, a share of them special."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) * 3.0
    special = rng.random(shape) < share
    values[special] = rng.choice(SPECIAL, size=int(special.sum()))
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def counts(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Return small whole numbers, of which sums are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, size=shape).astype(dtype)


def on_rows(device: CupyDevice, array: np.ndarray):
    """Put an array (lanes, …) between others in rows, as tensors of parameters are; NaN around."""
    lanes, *shape = array.shape
    before, tensor = Tensor("before", (3,)), Tensor("tensor", tuple(shape))
    rows = np.full((lanes, 3 + tensor.size + 2), np.nan, array.dtype)
    rows[:, 3:-2] = array.reshape(lanes, -1)
    return stack(device.put(rows), (before, tensor), device.xp).views["tensor"]


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare bits, but for the kind of NaN."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)
    are_numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[are_numbers], np.signbit(expected)[are_numbers])


@both_types
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("lanes", [1, LANES])
def test_values_are_rectified_and_their_gradients_summed(device, dtype, share, lanes):
    shape = lanes, ROWS, COLUMNS
    here = [numbers(shape, dtype, share, seed) for seed in (3, 4)]
    shift = numbers((lanes, COLUMNS), dtype, share, seed=5)
    work = device.workspace()
    values, grads = map(device.put, here)
    sums = on_rows(device, np.zeros_like(shift))
    assert work.rectify(values, on_rows(device, shift)) is values
    assert work.rectify_back(grads, values, sums) is grads
    with np.errstate(all="ignore"):
        NUMPY.rectify(here[0], shift)
        NUMPY.rectify_back(here[1], here[0], shift)
    for found, expected in zip((values, grads, sums), (*here, shift), strict=True):
        assert_same(device.get(found), expected)


def test_gradients_that_do_not_lie_together_are_rectified_too(device):
    values = numbers((ROWS, LANES, COLUMNS), "float64")
    grads = numbers((ROWS, LANES, COLUMNS), "float64", seed=4)
    there = [device.xp.permute_dims(device.put(array), (1, 0, 2)) for array in (grads, values)]
    sums = device.put(np.zeros((LANES, COLUMNS)))
    device.workspace().rectify_back(*there, sums)
    kept = np.where(values > 0.0, grads, 0.0)
    np.testing.assert_allclose(device.get(sums), kept.sum(axis=0), rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(device.get(there[0]), kept.transpose(1, 0, 2))


@both_types
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_a_batch_is_gathered_and_scaled(device, dtype, shape):
    images = np.random.default_rng(1).integers(256, size=(20, *shape)).astype(np.uint8)
    labels, indices = images.reshape(20, -1)[:, 0], np.array([19, 0, 7, 7, 1])
    work, there = device.workspace(), device.put(indices)
    found = work.gather_ratio(device.put(images), there, 255.0, getattr(device.xp, dtype))
    assert_same(device.get(found), images[indices].astype(dtype) / np.dtype(dtype).type(255.0))
    np.testing.assert_array_equal(
        device.get(work.gather(device.put(labels), there)), labels[indices]
    )
    apart = device.put(images)[::2, ...]
    found = work.gather_ratio(apart, there // 2, 255.0, getattr(device.xp, dtype))
    expected = images[::2][indices // 2].astype(dtype) / np.dtype(dtype).type(255.0)
    assert_same(device.get(found), expected)


@both_types
def test_the_normal_distribution_function(device, dtype):
    points = numbers((LANES, ROWS, COLUMNS), dtype, share=0.3)
    out = device.put(np.full_like(points, np.nan))
    assert device.workspace().normal_cdf(out, device.put(points)) is out
    expected = NUMPY.normal_cdf(np.empty_like(points), points)
    rounding = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(device.get(out), expected, rtol=rounding, atol=rounding)


@both_types
@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("log_eps", [0.0, 1e-7])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("classes", [1, 10])
def test_losses_of_a_softmax_and_their_gradient(device, dtype, share, log_eps, shared, classes):
    scores = numbers((LANES, ROWS, classes), dtype, share)
    labels = np.random.default_rng(2).integers(classes, size=(1 if shared else LANES, ROWS))
    labels = labels.astype(np.uint8)
    work = device.workspace()
    found = work.softmax_losses(device.put(scores), device.put(labels), log_eps)
    with np.errstate(all="ignore"):
        expected = NUMPY.softmax_losses(scores, labels, log_eps)
    for one, other in zip(found, expected, strict=True):
        rounding = 16 * np.finfo(dtype).eps
        np.testing.assert_allclose(device.get(one), other, rtol=rounding, atol=rounding)
        assert device.get(one).dtype == other.dtype


def test_scores_that_do_not_lie_together_have_the_same_losses(device):
    scores = numbers((ROWS, LANES, 10), "float64")
    labels = np.zeros((LANES, ROWS), np.uint8)
    there = device.xp.permute_dims(device.put(scores), (1, 0, 2))
    found = device.workspace().softmax_losses(there, device.put(labels), 0.0)
    expected = NUMPY.softmax_losses(np.ascontiguousarray(scores.transpose(1, 0, 2)), labels, 0.0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(device.get(one), other, rtol=1e-14, atol=1e-14)


@both_types
@pytest.mark.parametrize("by_coordinate", [False, True])
def test_rows_are_finite_where_all_their_numbers_are(device, dtype, by_coordinate):
    host = np.ones((4, 700), dtype)
    host[1, 699], host[2, 0], host[3, 350] = np.inf, np.nan, -np.finfo(dtype).max
    rows = device.rows(4, 700, dtype, by_coordinate=by_coordinate)
    rows[...] = device.put(host)
    found = device.get(device.workspace().all_finite(rows))
    assert found.tolist() == [True, False, False, True]
    assert found.dtype == bool


@pytest.mark.parametrize("name", ["abs", "exp", "isfinite", "negative", "sign", "sum", "tanh"])
def test_functions_write_into_arrays_whether_they_can_or_not(device, name):
    options = {"axis": 1} if name == "sum" else {}
    given = numbers((LANES, COLUMNS), "float32", 0.0 if options else 0.3)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(given, **options)
    out = device.put(np.zeros_like(expected))
    found = device.workspace().into(
        out, getattr(device.xp, name), on_rows(device, given), **options
    )
    assert found is out
    np.testing.assert_allclose(device.get(found), expected, rtol=1e-6, atol=1e-6)


class Untouched(Array):
    """An array that nothing is copied into."""

    def __setitem__(self, place, values) -> None:
        raise AssertionError("copied")


def test_what_can_write_by_itself_copies_nothing(emulation):
    work, a = CupyDevice().workspace(), np.ones((2, 3)).view(Array)
    out = np.zeros((2, 3)).view(Untouched)
    work.into(out, work.xp.add, a, 1.0)
    assert out.tolist() == [[2.0] * 3] * 2
    with pytest.raises(AssertionError, match="copied"):
        work.into(out, lambda array: array, a)


def product(work, out, a, b) -> None:
    assert work.into(out, work.xp.matmul, a, b) is out


@both_types
@pytest.mark.parametrize("lanes", [1, LANES])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("sizes", [(5, 4, 3), (1, 4, 3), (5, 1, 3), (5, 4, 1), (1, 1, 1)])
def test_products_of_an_affine_layer(device, dtype, lanes, shared, sizes):
    """Forward, the gradient of W into its place in the rows, and that of x."""
    batch, fan_in, fan_out = sizes
    x = counts((1 if shared else lanes, batch, fan_in), dtype, 1)
    W = counts((lanes, fan_in, fan_out), dtype, 2)
    dy = counts((lanes, batch, fan_out), dtype, 3)
    xp, work = device.xp, device.workspace()
    there_x, there_W, there_dy = device.put(x), on_rows(device, W), device.put(dy)
    y = device.put(np.full_like(dy, np.nan))
    dx = device.put(np.full((lanes, batch, fan_in), np.nan, dtype))
    dW = on_rows(device, np.full_like(W, np.nan))
    product(work, y, there_x, there_W)
    product(work, dW, xp.matrix_transpose(there_x), there_dy)
    product(work, dx, there_dy, xp.matrix_transpose(there_W))
    np.testing.assert_array_equal(device.get(y), np.matmul(x, W))
    np.testing.assert_array_equal(device.get(dW), np.matmul(x.transpose(0, 2, 1), dy))
    np.testing.assert_array_equal(device.get(dx), np.matmul(dy, W.transpose(0, 2, 1)))


def test_they_need_no_copy(emulation):
    test_products_of_an_affine_layer(CupyDevice(), "float32", LANES, True, (5, 4, 3))
    test_products_of_an_affine_layer(CupyDevice(), "float64", LANES, False, (1, 4, 3))
    assert emulation.cuda.cublas.products == 6
    assert emulation.copying == 0


LAYOUTS = {
    "as stored": lambda array, xp: array,
    "transposed": lambda array, xp: xp.matrix_transpose(array),
    "every other": lambda array, xp: array[..., ::2],
    "upside down": lambda array, xp: array[..., ::-1, :],
    "reversed": lambda array, xp: array[::-1, ...],
    "other lanes": lambda array, xp: array[::2, ...],
    "inner axis first": lambda array, xp: xp.permute_dims(array, (1, 0, 2)),
    "shared": lambda array, xp: array[:1, ...],
    "one row": lambda array, xp: xp.broadcast_to(array[:, :1, :], array.shape),
    "one column": lambda array, xp: xp.matrix_transpose(
        xp.broadcast_to(array[:, :1, :], array.shape)
    ),
}


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_products_of_any_layout(device, left, right):
    given = [counts((4, 4, 4), "float64", seed) for seed in (1, 2)]
    here = [LAYOUTS[name](array, np) for name, array in zip((left, right), given, strict=True)]
    there = [
        LAYOUTS[name](device.put(array), device.xp)
        for name, array in zip((left, right), given, strict=True)
    ]
    work = device.workspace()
    try:
        expected = np.matmul(*here)
    except ValueError:  # then CuPy says so too
        with pytest.raises(ValueError, match=UNFIT):
            product(work, device.put(np.zeros((4, 4, 4))), *there)
        return
    out = device.put(np.full_like(expected, np.nan, order="C"))
    product(work, out, *there)
    np.testing.assert_array_equal(device.get(out), expected)
    across = device.put(np.full_like(expected, np.nan, order="C").swapaxes(1, 2).copy())
    product(work, device.xp.matrix_transpose(across), *there)
    np.testing.assert_array_equal(device.get(across).swapaxes(1, 2), expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("lanes", [1, LANES])
def test_products_of_images_of_lanes(device, lanes, shared):
    """Four axes: kernels of lanes, (lanes, 1, …), and columns of examples."""
    kernels = counts((lanes, 1, 2, 6), "float32", 1)
    columns = counts((1 if shared else lanes, 5, 6, 7), "float32", 2)
    dy = counts((lanes, 5, 2, 7), "float32", 3)
    xp, work = device.xp, device.workspace()
    there = device.put(columns)
    y, dW = (device.put(np.zeros((lanes, 5, 2, last), "float32")) for last in (7, 6))
    product(work, y, device.put(kernels), there)
    product(work, dW, device.put(dy), xp.matrix_transpose(there))
    np.testing.assert_array_equal(device.get(y), np.matmul(kernels, columns))
    np.testing.assert_array_equal(device.get(dW), np.matmul(dy, columns.swapaxes(2, 3)))


def test_examples_of_all_lanes_are_one_batch(emulation):
    test_products_of_images_of_lanes(CupyDevice(), LANES, shared=False)
    assert (emulation.cuda.cublas.products, emulation.copying) == (1, 1)  # dW, but not y
    test_products_of_images_of_lanes(CupyDevice(), 1, shared=False)
    assert (emulation.cuda.cublas.products, emulation.copying) == (3, 1)


def test_a_result_may_take_the_place_of_an_operand(device):
    a, b = (counts((LANES, 4, 4), "float64", seed) for seed in (1, 2))
    there, work = device.put(a), device.workspace()
    product(work, there, there, device.put(b))
    np.testing.assert_array_equal(device.get(there), np.matmul(a, b))
    work.into(there[:, 0, :], device.xp.sum, there, axis=1)
    np.testing.assert_array_equal(device.get(there)[:, 0], np.matmul(a, b).sum(axis=1))


@pytest.mark.parametrize("shapes", [((3, 4, 5), (3, 4, 5)), ((3, 4, 5), (2, 5, 4))])
def test_shapes_that_do_not_fit_are_refused(device, shapes):
    a, b = (device.put(np.ones(shape)) for shape in shapes)
    with pytest.raises(ValueError, match=UNFIT):
        product(device.workspace(), device.put(np.ones((3, 4, 4))), a, b)


def test_whole_numbers_are_multiplied_too(device):
    a = np.arange(12).reshape(1, 3, 4)
    out = device.put(np.zeros((1, 3, 3), a.dtype))
    there = device.put(a)
    product(device.workspace(), out, there, device.xp.matrix_transpose(there))
    np.testing.assert_array_equal(device.get(out), a @ a.transpose(0, 2, 1))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=by_name)
def test_layers_agree_with_those_of_the_cpu(device, layer, shared):
    given = case(layer, shared=shared)
    found, expected = (run(layer, given, device=where) for where in (device, NumpyDevice()))
    assert found.arrays().keys() == expected.arrays().keys()
    for name, array in found.arrays().items():
        np.testing.assert_allclose(array, expected.arrays()[name], rtol=1e-11, atol=1e-12)


@cuda.needs_compiler
def test_a_step_of_a_network_copies_no_operand_of_a_product(emulation):
    network = small_network(record="before")
    (block,) = blocks_of(suite(network, optimizers=["adam", "sgd"], seeds=(0, 7)))
    stepper = Stepper(block, CupyDevice())
    stepper.advance(0, 1)
    products, before = emulation.cuda.cublas.products, cuda.ElementwiseKernel.calls
    stepper.advance(1, 1)
    layers = sum(tensor.name.endswith("weight") for tensor in block.problem.tensors)
    assert emulation.cuda.cublas.products - products == 3 * layers - 1
    assert emulation.copying == 0
    # Gathering, the softmax, the rectifiers there and back, and the rules of two groups.
    assert cuda.ElementwiseKernel.calls - before == 1 + 1 + 2 * (layers - 1) + 2
