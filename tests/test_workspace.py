"""Work arrays are given out again and again, and what they held never matters."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from optbench.arrays import Tensor, Workspace
from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.optimizers.registry import OPTIMIZERS
from tests.small import anisotropic, blocks_of, small_network, suite
from tests.strict import StrictDevice


@pytest.fixture(params=["numpy", "numpy without out", "strict"])
def work(request) -> Workspace:
    return {
        "numpy": NumpyDevice().workspace,
        "numpy without out": lambda: Workspace(np),
        "strict": StrictDevice().workspace,
    }[request.param]()


def host(array) -> list:
    return (array if isinstance(array, np.ndarray) else StrictDevice().get(array)).tolist()


def test_a_pass_gets_the_arrays_of_the_pass_of_that_name_before(work):
    taken = []
    for _ in range(3):
        work.begin("there")
        taken.append([work.take((2, 3), work.xp.float64) for _ in range(2)])
    first, second = taken[0]
    assert first is not second
    for one, other in taken[1:]:
        assert one is first
        assert other is second


def test_passes_of_other_names_have_arrays_of_their_own(work):
    arrays = []
    for name in ("there", "back"):
        work.begin(name)
        arrays.append(work.take((2, 3), work.xp.float64))
    assert arrays[0] is not arrays[1]
    work.begin("there")
    assert work.take((2, 3), work.xp.float64) is arrays[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_have_the_shape_and_type_asked_for(work, dtype):
    kind = getattr(work.xp, dtype)
    for shape in [(2, 3), (3, 2), (2, 3)]:
        work.begin("there")
        array = work.take(shape, kind)
        assert array.shape == shape
        assert array.dtype == kind


def test_another_shape_or_type_in_a_place_is_another_array(work):
    asked = [((2, 3), work.xp.float32), ((2, 3), work.xp.float64), ((3, 2), work.xp.float64)]
    arrays = []
    for shape, kind in asked * 2:
        work.begin("there")
        arrays.append(work.take(shape, kind))
    assert len({id(array) for array in arrays}) == 3
    assert [arrays[index] is arrays[index + 3] for index in range(3)] == [True] * 3


def test_results_go_into_the_array_given(work):
    xp = work.xp
    out = xp.zeros((2, 2))
    one, other = xp.asarray([[1.0, 2.0], [3.0, 4.0]]), xp.asarray([[0.0, 1.0], [1.0, 0.0]])
    assert work.into(out, xp.matmul, one, other) is out
    assert host(out) == [[2.0, 1.0], [4.0, 3.0]]
    row = xp.zeros((2,))
    assert work.into(row, xp.sum, one, axis=1) is row
    assert host(row) == [3.0, 7.0]
    assert host(work.into(one, xp.add, one, other)) == [[1.0, 3.0], [4.0, 4.0]]


def test_where_it_can_a_function_writes_by_itself():
    seen = []

    def add(one, other, **options):
        seen.append(options)
        return np.add(one, other, **options)

    out = np.zeros(2)
    Workspace(np, writes_out=True).into(out, add, np.ones(2), 1.0)
    Workspace(np).into(out, add, np.ones(2), 2.0)
    assert list(seen[0]) == ["out"]
    assert seen[0]["out"] is out
    assert seen[1] == {}
    assert out.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_kept_where_a_condition_holds(work, dtype):
    xp = work.xp
    values = xp.asarray([1.0, -2.0, 3.0, -4.0], dtype=getattr(xp, dtype))
    assert work.keep_where(values, xp.asarray([True, True, False, False])) is values
    assert host(values) == [1.0, -2.0, 0.0, 0.0]
    assert values.dtype == getattr(xp, dtype)


def test_values_are_rectified_and_their_gradients_summed(work):
    xp = work.xp
    values = xp.asarray([[[1.0, -2.0], [3.0, 0.5]]])
    assert work.rectify(values, xp.asarray([[-1.5, 1.0]])) is values
    assert host(values) == [[[0.0, 0.0], [1.5, 1.5]]]
    grads, sums = xp.asarray([[[5.0, 6.0], [7.0, 8.0]]]), xp.zeros((1, 2))
    assert work.rectify_back(grads, values, sums) is grads
    assert host(grads) == [[[0.0, 0.0], [7.0, 8.0]]]
    assert host(sums) == [[7.0, 8.0]]


def test_nan_is_rectified_to_nan(work):
    values = work.rectify(work.xp.asarray([[[np.nan, -1.0]]]), work.xp.zeros((1, 2)))
    assert np.isnan(host(values)[0][0][0])
    assert host(values)[0][0][1] == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_normal_distribution_function_is_that_of_the_error_function(work, dtype):
    xp, kind = work.xp, getattr(work.xp, dtype)
    points = np.concatenate([np.linspace(-12.0, 12.0, 97), [-np.inf, np.inf, -1e4, 1e4, np.nan]])
    points = points.astype(dtype)
    out = xp.empty(points.shape, dtype=kind)
    assert work.normal_cdf(out, xp.asarray(points.tolist(), dtype=kind)) is out
    expected = [(1.0 + math.erf(x / math.sqrt(2.0))) / 2.0 for x in points.tolist()]
    rounding = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(host(out), expected, rtol=rounding, atol=rounding)
    assert [host(out)[place] for place in (-5, -3)] == [0.0, 0.0]  # at −∞ and −1e4


def test_bytes_are_gathered_as_shares(work):
    xp = work.xp
    rows = xp.asarray([[0, 51], [102, 255]], dtype=xp.uint8)
    found = work.gather_ratio(rows, xp.asarray([1, 0, 1]), 255.0, xp.float64)
    assert host(found) == [[0.4, 1.0], [0.0, 0.2], [0.4, 1.0]]


def test_rows_are_finite_where_all_their_numbers_are(work):
    rows = work.xp.asarray([[1.0, 2.0], [np.inf, 0.0], [0.0, -np.inf], [np.nan, 1.0], [-3e38, 0.0]])
    assert host(work.all_finite(rows)) == [True, False, False, False, True]


def test_arrays_are_taken_in_the_order_of_storage_of_another():
    for like in (np.zeros((3, 2)), np.zeros((2, 3)).T, np.zeros((2, 9)).T[2:5]):
        array = NumpyDevice().workspace().take_like(like)
        assert array.shape == (3, 2)
        assert np.argsort(array.strides).tolist() == np.argsort(like.strides).tolist()


def test_the_next_pass_gets_the_array_taken_like_another_again(work):
    taken = []
    for _ in range(2):
        work.begin("there")
        taken.append([work.take_like(work.xp.zeros((2, 3))) for _ in range(2)])
    assert taken[0][0] is taken[1][0]
    assert taken[0][1] is taken[1][1]
    assert taken[0][0] is not taken[0][1]


def test_views_of_the_same_tensors_are_the_same_arrays(work):
    rows, tensors = work.xp.zeros((2, 3)), (Tensor("a", (2,)), Tensor("b"))
    views = work.views(rows, tensors)
    views["a"][...] = work.xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert host(rows) == [[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]]
    assert work.views(rows, tensors)["a"] is views["a"]
    assert work.views(work.xp.zeros((2, 3)), tensors)["a"] is not views["a"]


def test_sums_within_lanes_and_tensors(work):
    terms = work.xp.asarray([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    assert host(work.lane_sum(terms)) == [[7.0], [56.0]]
    tensors = (Tensor("a", (2,)), Tensor("b"))
    assert host(work.tensor_sums(terms, tensors)) == [[3.0, 4.0], [24.0, 32.0]]


@pytest.mark.parametrize("layout", [lambda rows: rows, np.asfortranarray])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_within_tensors_add_as_those_of_each_tensor_alone(dtype, layout):
    rng = np.random.default_rng(4)
    terms = rng.normal(size=(3, 1400)).astype(dtype)
    tensors = (Tensor("a", (13, 77)), Tensor("b", (7,)), Tensor("c", (131,)), Tensor("d", (261,)))
    found = NumpyDevice().workspace().tensor_sums(layout(terms), tensors)
    for lane, row in enumerate(terms):
        alone = np.split(row, np.cumsum([tensor.size for tensor in tensors])[:-1])
        assert found[lane].tolist() == [float(each.copy().sum()) for each in alone]


def worst(dtype) -> float:
    """Return what does most harm: NaN, or a large number where there is none."""
    return np.nan if "float" in str(dtype) else True if "bool" in str(dtype) else 101


class Spoilt(Workspace):
    """A workspace whose arrays are spoilt whenever they are given out."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.taken = 0
        self.given = {}

    def take(self, shape, dtype):
        array = super().take(shape, dtype)
        array[...] = worst(array.dtype)
        self.given[id(array)] = array
        self.taken += 1
        return array

    def take_like(self, array):
        array = super().take_like(array)
        array[...] = worst(array.dtype)
        self.given[id(array)] = array
        return array

    def scratch(self, shape, dtype):
        array = super().scratch(shape, dtype)
        array[...] = worst(array.dtype)
        return array

    def spoil(self) -> int:
        """Spoil all arrays and return how many there are."""
        for array in self.given.values():
            array[...] = worst(array.dtype)
        return len(self.given)


class Spoiling(NumpyDevice):
    """The CPU with spoilt work arrays, which it keeps in sight."""

    def workspace(self) -> Workspace:
        self.work = Spoilt(np, writes_out=True)
        return self.work


class SpoilingPlain(StrictDevice):
    """Any namespace with spoilt work arrays."""

    def workspace(self) -> Workspace:
        self.work = Spoilt(self.xp)
        return self.work


def stretches(stepper: Stepper, between=lambda: None) -> Iterator[bytes]:
    """Step row by row, evaluate, step again; yield all that comes down, as bytes."""
    for row in range(6):
        between()
        rows = stepper.advance(row, 1)
        yield rows.loss.tobytes() + rows.finite.tobytes()
        if row == 3:
            between()
            yield b"".join(each.tobytes() for each in stepper.evaluate("test"))


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("seeds", "rates"),
    [
        ((0,), [{"lr": 0.1}, {"lr": 0.01}]),
        ((0, 7), [{"lr": 0.1}, {"lr": 0.01}]),
        ((0, 7, 3), [{"lr": 0.1}]),
    ],
)
def test_what_work_arrays_held_before_a_step_changes_no_bit(seeds, rates, name, record):
    network = small_network(record=record, dtype="float32")
    (block,) = blocks_of(suite(network, optimizers=[(name, rates)], seeds=seeds))
    expected = list(stretches(Stepper(block, NumpyDevice())))
    device = Spoiling()
    stepper = Stepper(block, device)
    assert list(stretches(stepper, lambda: device.work.spoil())) == expected
    assert device.work.spoil() > 10


def test_nor_does_it_where_a_namespace_cannot_write_into_arrays():
    (block,) = blocks_of(suite(small_network(), optimizers=["adam"], seeds=(0, 7)))
    expected = list(stretches(Stepper(block, StrictDevice())))
    device = SpoilingPlain()
    stepper = Stepper(block, device)
    assert list(stretches(stepper, lambda: device.work.spoil())) == expected
    assert device.work.spoil() > 10


@pytest.mark.parametrize("problem", [anisotropic(), small_network()])
def test_what_new_arrays_hold_changes_no_bit(problem, monkeypatch):
    """Memory that comes from the system fresh is zero, which would hide a value never written."""
    (block,) = blocks_of(suite(problem, optimizers=["adam"], seeds=(0, 7)))
    expected = Stepper(block, NumpyDevice()).advance(0, 20)
    real = np.empty

    def empty(*arguments, **options):
        array = real(*arguments, **options)
        if array.dtype.kind == "f":
            array[...] = np.nan
        return array

    monkeypatch.setattr(np, "empty", empty)
    found = Stepper(block, NumpyDevice()).advance(0, 20)
    assert found.loss.tobytes() == expected.loss.tobytes()
    assert found.finite.all()


def test_nothing_is_allocated_for_a_step_that_was_allocated_before():
    (block,) = blocks_of(suite(small_network(), optimizers=["adam"], seeds=(0, 7)))
    device = Spoiling()
    stepper = Stepper(block, device)
    stepper.advance(0, 2)
    arrays, taken = len(device.work.given), device.work.taken
    stepper.advance(2, 5)
    assert len(device.work.given) == arrays
    assert device.work.taken > taken + 5 * 10
