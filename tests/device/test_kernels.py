"""Programs on NumPy have the bits of their rules; the source for CUDA does the same."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.device import kernels
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.device.cuda import rule_source
from optbench.device.kernels import NumpyKernel
from optbench.device.programs import OPERATIONS, trace
from optbench.optimizers.base import host_columns
from optbench.optimizers.registry import OPTIMIZERS
from tests.device.cuda import run_source
from tests.device.random_rules import COLUMNS, rules
from tests.optimizers.driver import ELEMENTWISE
from tests.strict import StrictDevice

SHAPES = [(1, 1), (1, 13), (13, 1), (3, 5), (7, 2), (2, 11), (17, 19)]
LAYOUTS = ["by lane", "by coordinate", "a group", "a stretch", "a part"]


def laid_out(values: np.ndarray, layout: str) -> np.ndarray:
    """Return a copy of values (lanes, parameters), stored in one way or another."""
    lanes, parameters = values.shape
    if layout == "by coordinate":
        array = np.empty((parameters, lanes), values.dtype).T
    elif layout == "a group":  # of the lanes of a block
        array = np.empty((parameters, lanes + 3), values.dtype).T[2:-1]
    elif layout == "a stretch":  # of each lane's parameters
        array = np.empty((lanes, parameters + 3), values.dtype)[:, 2:-1]
    elif layout == "a part":
        array = np.empty((lanes, 2 * parameters + 1), values.dtype)[:, 1::2]
    else:
        array = np.empty((lanes, parameters), values.dtype)
    array[...] = values
    return array


def made_up(shape, dtype, count, columns):
    """Values of arrays and columns; slots of squares have to be positive."""
    generator = np.random.default_rng(3)
    arrays = [generator.normal(size=shape) * 3.0 for _ in range(2)]
    arrays += [generator.uniform(0.1, 2.0, size=shape) for _ in range(count - 2)]
    lanes = {name: generator.uniform(0.01, 0.9, size=(shape[0], 1)) for name in columns}
    return (
        [array.astype(dtype) for array in arrays],
        {name: column.astype(dtype) for name, column in lanes.items()},
    )


def as_the_rule_says(rule, arrays, columns):
    """Return all arrays after the rule, computed as a whole, gradients as they were."""
    with np.errstate(all="ignore"):
        results = rule(*(array.copy() for array in arrays), xp=np, **columns)
    expected = [np.broadcast_to(each, arrays[0].shape).astype(arrays[0].dtype) for each in results]
    return [expected[0], arrays[1], *expected[1:]]


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        numbers = ~np.isnan(other)
        np.testing.assert_array_equal(np.signbit(one[numbers]), np.signbit(other[numbers]))


def columns_of(optimizer) -> tuple[str, ...]:
    defaults = {setting.name: setting.default for setting in optimizer.hyperparameters}
    return tuple(optimizer().columns(host_columns(optimizer(), [defaults]), range(1, 2)))


@pytest.mark.parametrize("tile_bytes", [1, 40, 200, kernels.TILE_BYTES])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_rule_has_its_bits_on_any_tiles(name, dtype, layout, tile_bytes, monkeypatch):
    monkeypatch.setattr(kernels, "TILE_BYTES", max(tile_bytes, np.dtype(dtype).itemsize))
    optimizer = OPTIMIZERS[name]
    names, count = columns_of(optimizer), 2 + len(optimizer.slots)
    for shape in SHAPES:
        values, columns = made_up(shape, dtype, count, names)
        arrays = [laid_out(each, layout) for each in values]
        kernel = NumpyKernel(trace(optimizer.rule, count, names), arrays)
        for scale in (1.0, 0.5):  # columns change from step to step
            scaled = {key: (scale * column).astype(dtype) for key, column in columns.items()}
            expected = as_the_rule_says(optimizer.rule, arrays, scaled)
            kernel(scaled)
            assert_same_bits(arrays, expected)


@settings(max_examples=80)
@given(
    rule=rules(),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from(["float32", "float64"]),
    tile=st.integers(1, 40),
)
def test_any_rule_has_its_bits(rule, shape, layout, dtype, tile):
    values, columns = made_up(shape, dtype, rule.arrays, COLUMNS)
    arrays = [laid_out(each, layout) for each in values]
    expected = as_the_rule_says(rule, arrays, columns)
    with patch.object(kernels, "TILE_BYTES", tile * np.dtype(dtype).itemsize):
        kernel = NumpyKernel(trace(rule, rule.arrays, COLUMNS), arrays)
    with np.errstate(all="ignore"):
        kernel(columns)
    assert_same_bits(arrays, expected)


@given(rule=rules(), device=st.sampled_from([Device(np, "cpu"), StrictDevice()]))
def test_any_rule_runs_plainly_on_any_arrays(rule, device):
    values, columns = made_up((3, 4), "float64", rule.arrays, COLUMNS)
    arrays = [device.put(each) for each in values]
    there = {name: device.put(column) for name, column in columns.items()}
    with device.quiet():
        device.elementwise()(rule, arrays, there)
    expected = as_the_rule_says(rule, values, columns)
    assert_same_bits([device.get(each) for each in arrays], expected)


def of(name):
    """Return a rule that does one operation, and how many arrays it needs."""
    if "{1}" not in OPERATIONS[name] and OPERATIONS[name].count("{}") < 2:
        return lambda w, g, *, xp: (getattr(xp, name)(w),)
    return lambda w, g, *, xp: (getattr(xp, name)(w, g),)


SPECIAL = np.array([0.5, -2.0, 3.0, np.inf, -np.inf, np.nan])
PAIRS = [np.repeat(SPECIAL, 6).reshape(6, 6), np.tile(SPECIAL, 6).reshape(6, 6)]
"""All pairs of numbers, infinities and NaN."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_numpys(name):
    arrays = [array.copy() for array in PAIRS]
    with np.errstate(all="ignore"):
        (expected,) = of(name)(*PAIRS, xp=np)
        NumpyKernel(trace(of(name), 2, ()), arrays)({})
    np.testing.assert_array_equal(arrays[0], expected)
    np.testing.assert_array_equal(arrays[1], PAIRS[1])


def test_a_program_works_on_tiles_of_no_more_than_so_many_bytes(monkeypatch):
    monkeypatch.setattr(kernels, "TILE_BYTES", 64)
    for shape, count in [((3, 20), 9), ((20, 3), 10), ((2, 2), 1)]:
        kernel = NumpyKernel(trace(of("add"), 2, ()), [np.zeros(shape), np.zeros(shape)])
        tiles = [target for _, _, target in kernel.calls]
        assert len(tiles) == count
        assert max(tile.nbytes for tile in tiles) <= 64
        assert sum(tile.size for tile in tiles) == shape[0] * shape[1]


def test_kernels_of_arrays_that_come_and_go_never_mix():
    """Views made anew in each step may get the ids of those before."""
    w, g = np.zeros((2, 12)), np.ones((2, 12))
    rule, elementwise = of("add"), NumpyDevice().elementwise()
    for _ in range(3):
        for left in range(12):
            part = slice(left, left + 1)
            elementwise(rule, [w[:, part], g[:, part]], {})
    assert (w == 3.0).all()


@settings(max_examples=80)
@given(rules(), st.sampled_from(["float32", "float64"]))
def test_the_source_for_cuda_does_what_the_rule_does(rule, dtype):
    arrays, columns = made_up((3, 4), dtype, rule.arrays, COLUMNS)
    source = rule_source(trace(rule, rule.arrays, COLUMNS))
    with np.errstate(all="ignore"):
        found = run_source(source, [*arrays, *columns.values()])
    found = [np.broadcast_to(each, (3, 4)) for each in found]
    expected = as_the_rule_says(rule, arrays, columns)
    assert_same_bits(found, [expected[0], *expected[2:]])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_for_cuda_is_numpys_where_there_are_infinities_and_nan(name):
    source = rule_source(trace(of(name), 2, ()))
    with np.errstate(all="ignore"):
        (found,) = run_source(source, PAIRS)
        (expected,) = of(name)(*PAIRS, xp=np)
    np.testing.assert_array_equal(found, expected)


def test_the_source_for_cuda_reads_as_it_should():
    inputs, outputs, body, _ = rule_source(
        trace(OPTIMIZERS["momentum"].rule, 3, ("lr", "momentum"))
    )
    assert inputs == "T a0, T a1, T a2, T c_lr, T c_momentum"
    assert outputs == "T o0, T o2"
    assert body.splitlines() == [
        "T n0 = a0;",
        "T n2 = a2;",
        "T r0;",
        "T r1;",
        "r0 = c_momentum * n2;",
        "r1 = c_lr * a1;",
        "n2 = r0 - r1;",
        "n0 = n0 + n2;",
        "o0 = n0;",
        "o2 = n2;",
    ]


def test_numbers_are_written_in_the_type_of_the_arrays():
    source = rule_source(trace(lambda w, g, *, xp: (w * 0.1 + 3,), 2, ()))
    assert "n0 * T(0.1);" in source[2]
    assert " + T(3.0);" in source[2]
