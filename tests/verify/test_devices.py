"""Devices beside each other: what is told apart, and what is put down to rounding."""

from itertools import product
from math import inf
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.engine.nudge import nudged_start
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.base import Problem
from optbench.records import BlockResult, Status, TraceChunk
from optbench.verify import devices
from optbench.verify.devices import (
    PROBLEMS,
    DeviceComparison,
    made_up_images,
    relative_difference,
    verify_devices,
    worst,
)
from tests.reference.optimizers import REFERENCE
from tests.strict import StrictDevice


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave two optimizers, one with eps and one without, one nudge, and fewer steps."""
    monkeypatch.setattr(devices, "OPTIMIZERS", {name: OPTIMIZERS[name] for name in ("sgd", "adam")})
    monkeypatch.setattr(devices, "NUDGES", 1)
    monkeypatch.setattr(devices, "STEPS", (5, 20))


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


@pytest.mark.parametrize(
    ("one", "other", "steps", "expected"),
    [
        (column(4, 2, 1), column(4, 2, 1), 2, 0.0),
        (column(4, 2, 1e-9), column(4, 2, 2e-9), 2, 0.25e-9),  # by the largest so far
        (column(4, 2, 1), column(4, 2, 3), 1, 0.0),  # row 2 comes after two steps
        (column(1, 100), column(1, 101), 1, 0.01),  # by what the loss has grown to
        (column(1, 100), column(2, 100), 1, 1.0),  # and not by what it will
        (column(-8, 1), column(-8, 3), 1, 0.25),
        (np.array([[100.0, 1.0]]), np.array([[101.0, 1.5]]), 0, 0.5),  # columns apart
        (column(0, 0), column(0, 0), 1, 0.0),
        (column(1, inf), column(1, inf), 100, 0.0),  # both diverged there
        (column(1, inf), column(1, np.nan), 100, 0.0),
        (np.array([[1.0, 2.0], [inf, 2.0]]), np.array([[1.0, 2.0], [inf, 3.0]]), 9, 0.5),
        (column(1, inf), column(1, 9, inf), 100, inf),  # one a row before the other
        (column(1, 2, inf), column(1, 2, 9, inf), 1, 0.0),  # but not yet after one step
    ],
)
def test_the_difference_counts_relative_to_the_largest_so_far(one, other, steps, expected):
    assert relative_difference(one, other, steps) == pytest.approx(expected, rel=1e-12)


def test_a_number_beside_zeros_is_infinitely_far():
    assert relative_difference(column(0, 0), column(0, 1e-6), 1) > 1e200


def test_numbers_too_far_apart_for_a_number_are_quiet():
    assert relative_difference(column(1e308), column(-1e308), 0) == inf
    assert relative_difference(column(0), column(1e300), 0) == inf


def test_traces_are_left_as_they_are():
    traces = column(1, inf), column(2, inf)
    for trace in traces:
        trace.flags.writeable = False
    relative_difference(*traces, 1)


@pytest.mark.parametrize(
    ("difference", "tolerance", "passed"),
    [
        (0.0, 1e-9, True),
        (1e-9, 1e-9, True),
        (1.01e-9, 1e-9, False),
        (0.0, 0.0, True),
        (1e-16, 0.0, False),
        (inf, 1e-9, False),
        (inf, inf, False),
        (1.0, inf, True),
    ],
)
def test_what_passes(difference, tolerance, passed):
    row = DeviceComparison("p", "o", "float64", 10, difference, tolerance)
    assert row.passed is passed
    assert (row.excess <= 1) is passed


def test_the_worst_is_farthest_beyond_its_own_tolerance():
    numbers = [(1e-3, 1e-2), (5e-9, 1e-9), (1e-1, 1e-1)]
    rows = [DeviceComparison("p", "o", "d", 10, *each) for each in numbers]
    assert worst(rows) is rows[1]


def by_case(
    rows: tuple[DeviceComparison, ...],
) -> dict[tuple[str, str, str, int], DeviceComparison]:
    return {(row.problem, row.optimizer, row.dtype, row.steps): row for row in rows}


@pytest.fixture(scope="module")
def itself() -> tuple[dict[Any, DeviceComparison], list[Any]]:
    """Return comparisons of all optimizers on the CPU with itself, and all records."""
    execute, records = devices.execute, []

    def listening(*arguments: Any) -> Any:
        for record in execute(*arguments):
            records.append(record)
            yield record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "execute", listening)
        patch.setattr(devices, "NUDGES", 2)
        return by_case(verify_devices(NumpyDevice(), NumpyDevice())), records


def test_a_device_does_not_differ_from_itself(itself):
    rows, _ = itself
    assert set(rows) == set(
        product(("anisotropic", "small-mlp"), OPTIMIZERS, ("float32", "float64"), (10, 100))
    )
    assert {row.difference for row in rows.values()} == {0.0}
    assert all(row.passed and not row.note for row in rows.values())
    for (problem, optimizer, dtype, _), row in rows.items():
        if dtype == "float64":
            assert row.tolerance == 1e-9
        elif optimizer in REFERENCE:  # where training is stable, the spread is a few ulp
            assert 1e-7 < row.tolerance < 1e-5
            assert row.tolerance >= rows[problem, optimizer, dtype, 10].tolerance


def test_some_lanes_diverge_on_the_function_and_none_on_the_network(itself):
    _, records = itself
    chunks = [record for record in records if isinstance(record, TraceChunk)]
    ends = [record for record in records if isinstance(record, BlockResult)]
    functions = {lane for chunk in chunks if chunk.position is not None for lane in chunk.lanes}
    results = [lane for end in ends for lane in end.lanes]
    diverged = {lane.lane for lane in results if lane.status is Status.DIVERGED}
    assert diverged
    assert diverged < functions


class OtherOrder:
    """NumPy, but every product adds up in another order."""

    __name__ = "other_order"

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def matmul(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        order = np.random.default_rng(0).permutation(one.shape[-1])
        return np.matmul(one[..., order].copy(), other[..., order, :].copy())


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("device", [StrictDevice(), Device(OtherOrder(), "gpu")])
def test_rounding_is_no_fault(device):
    rows = verify_devices(NumpyDevice(), device)
    assert [row for row in rows if not row.passed] == []
    if not isinstance(device, StrictDevice):
        assert all(row.difference > 0 for row in rows if row.problem == "small-mlp")


class Faulty(StrictDevice):
    """Changes what rules get or give."""

    def before(self, rule: Any, arrays: list[Any], columns: dict[str, Any]) -> None:
        """Change columns or parameters before a rule is applied."""

    def elementwise(self) -> Any:
        apply = super().elementwise()

        def changed(rule: Any, arrays: Any, columns: Any) -> None:
            columns = dict(columns)
            self.before(rule, arrays, columns)
            apply(rule, arrays, columns)

        return changed


class Inexact(Faulty):
    def before(self, rule, arrays, columns):
        arrays[0][...] = arrays[0] * (1 + 1e-6)


class OtherEps(Faulty):
    def before(self, rule, arrays, columns):
        if "eps" in columns:
            columns["eps"] = columns["eps"] * 1.1


class MixedLanes(Faulty):
    def before(self, rule, arrays, columns):
        columns["lr" if "lr" in columns else "step_size"][...] = next(iter(columns.values()))[:1, :]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("device", "found"),
    [
        (Inexact(), {"sgd", "adam"}),
        (OtherEps(), {"adam"}),
        (MixedLanes(), {"sgd", "adam"}),
    ],
)
def test_a_fault_is_found(device, found):
    rows = verify_devices(NumpyDevice(), device)
    for optimizer in ("sgd", "adam"):
        beyond = {
            (row.problem, row.dtype)
            for row in rows
            if row.optimizer == optimizer and not row.passed and row.dtype == "float64"
        }
        expected = {("anisotropic", "float64"), ("small-mlp", "float64")}
        assert beyond == (expected if optimizer in found else set())
    assert worst(rows).difference > 1e-9


class Raising(Faulty):
    def before(self, rule, arrays, columns):
        if rule is OPTIMIZERS["adam"].rule and arrays[0].shape[1] > 2:
            raise RuntimeError("no such kernel\nin this library")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("turned", [False, True])
def test_a_block_that_fails_does_not_pass_on_either_device(turned):
    pair = (NumpyDevice(), Raising())
    rows = verify_devices(*(reversed(pair) if turned else pair))
    for row in rows:
        failed = row.optimizer == "adam" and row.problem == "small-mlp"
        assert row.note == ("RuntimeError: no such kernel" if failed else "")
        assert row.passed is not failed
        assert not failed or row.difference == inf


class Cramped(NumpyDevice):
    """Holds no more than two lanes at a time."""

    def rows(self, lanes: int, *arguments: Any, **options: Any) -> Any:
        if lanes > 2:
            raise MemoryError
        return super().rows(lanes, *arguments, **options)


@pytest.mark.usefixtures("few")
def test_blocks_may_be_split():
    assert {row.difference for row in verify_devices(NumpyDevice(), Cramped())} == {0.0}


class LateToDiverge(NumpyDevice):
    """Hides what is not finite for one step."""

    def __init__(self) -> None:
        super().__init__()

        def isfinite(values, out=None):
            return np.logical_or(np.isfinite(values), np.abs(values) == inf, out=out)

        self.xp = SimpleNamespace(**{**vars(np), "isfinite": isfinite})


@pytest.mark.usefixtures("few")
def test_a_lane_has_to_diverge_at_the_same_row():
    rows = by_case(verify_devices(NumpyDevice(), LateToDiverge()))
    far = {case for case, row in rows.items() if row.difference == inf}
    assert far == {("anisotropic", "sgd", "float32", 20)}


def small(name: str, **options: Any) -> Problem:
    return PROBLEMS[name]({"dtype": "float32", "record": "before", "batch_size": 32, **options})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_nudged_starts_lie_one_ulp_beside_and_all_else_is_the_same(name, dtype):
    plain = small(name, dtype=dtype)
    own = plain.start(1).astype(dtype)
    starts = {}
    for nudge in range(1, 5):
        nudged = nudged_start(plain, nudge)
        start = nudged.start(1)
        above, below = np.nextafter(own, np.inf), np.nextafter(own, -np.inf)
        assert ((start == above) | (start == below)).all()
        assert start.tobytes() == nudged_start(plain, nudge).start(1).tobytes()
        starts[start.tobytes()] = nudge
        assert nudged.definition() == plain.definition()
        for drawn, same in zip(
            nudged.draws(1, 0).values(), plain.draws(1, 0).values(), strict=True
        ):
            np.testing.assert_array_equal(drawn, same)
    assert len(starts) == 4 or name == "anisotropic"  # two numbers have four ways to go


def test_the_images_are_bytes_that_tell_their_label():
    train = made_up_images().splits["train"]
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert set(train.labels.tolist()) == set(range(10))
    means = np.array([train.images[train.labels == label].mean(axis=0) for label in range(10)])
    assert (np.argmax(means, axis=0) == np.arange(64) * 10 // 64).all()
    with pytest.raises(ValueError, match="read-only"):
        train.images[0, 0] = 0
