"""Every element-wise rule follows its paper's algorithm, and is the same however it is run."""

import numpy as np
import pytest

from optbench.device import jit, kernels
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.device.cuda import rule_source
from optbench.device.programs import trace
from optbench.optimizers.base import Optimizer
from optbench.optimizers.presets import PRESETS
from optbench.settings import Choice, Switch
from tests.device.cuda import run_source
from tests.optimizers.driver import BOUNDS, UPDATES, Driver, largest_difference, settings
from tests.optimizers.elementwise import (
    ALL,
    RECORDINGS,
    SETTINGS,
    by_name,
    cases,
    in_scalars,
    rule_of,
)
from tests.strict import StrictDevice

QUADRATIC = RECORDINGS["quadratic"]
every_optimizer = pytest.mark.parametrize("optimizer", ALL, ids=by_name)


def four(optimizer: type[Optimizer]) -> list[dict[str, float | str]]:
    return cases(optimizer.name)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", SETTINGS)
def test_the_path_is_that_of_the_papers_algorithm(optimizer, name, dtype):
    rule = rule_of(optimizer)
    difference = largest_difference(
        rule, cases(optimizer), in_scalars(rule), RECORDINGS[name], dtype
    )
    assert difference < BOUNDS[dtype]


def test_there_are_four_settings_of_every_optimizer_and_preset():
    names = {each.name for each in ALL}
    assert SETTINGS.keys() == names | {
        name for name, preset in PRESETS.items() if preset.rule.name in names
    }
    for name in SETTINGS:
        assert len({tuple(settings(rule_of(name), each).values()) for each in cases(name)}) == 4


@every_optimizer
def test_every_word_and_switch_of_an_optimizer_is_among_its_settings(optimizer):
    seen = [settings(optimizer, each) for each in four(optimizer)]
    for each in optimizer.hyperparameters:
        match each:
            case Choice():
                assert {lane[each.name] for lane in seen} == set(each.choices)
            case Switch():
                assert {lane[each.name] for lane in seen} == {0.0, 1.0}


def path(optimizer, device=None, dtype="float64", updates=12, **how) -> np.ndarray:
    lanes = Driver(optimizer, four(optimizer), QUADRATIC, dtype=dtype, device=device, **how)
    return lanes.path(QUADRATIC.gradients[:updates])


@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("dtype", BOUNDS)
@every_optimizer
def test_a_program_has_the_bits_of_its_rule_in_tiles(optimizer, dtype, by_coordinate, monkeypatch):
    plain = path(optimizer, Device(np, "cpu"), dtype, by_coordinate=by_coordinate)
    monkeypatch.setattr(kernels, "TILE_BYTES", 40)
    tiled = path(optimizer, NumpyDevice(), dtype, by_coordinate=by_coordinate)
    assert tiled.tobytes() == plain.tobytes()


@every_optimizer
def test_a_compiled_program_has_the_bits_of_its_rule(optimizer, monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed")
    plain = path(optimizer, Device(np, "cpu"), "float32")
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 0)
    assert path(optimizer, NumpyDevice(), "float32").tobytes() == plain.tobytes()


@pytest.mark.parametrize("dtype", BOUNDS)
@every_optimizer
def test_the_array_api_standard_is_enough(optimizer, dtype):
    strict = path(optimizer, StrictDevice(), dtype)
    assert strict.tobytes() == path(optimizer, Device(np, "cpu"), dtype).tobytes()


class CudaSource(Device):
    """Runs rules as the source of their CUDA kernels."""

    def elementwise(self):
        def apply(rule, arrays, columns):
            source = rule_source(trace(rule, len(arrays), tuple(columns)))
            results = run_source(source, [*arrays, *columns.values()])
            for array, result in zip((arrays[0], *arrays[2:]), results, strict=True):
                array[...] = result

        return apply


@every_optimizer
def test_the_source_for_cuda_has_the_bits_of_its_rule(optimizer):
    found = path(optimizer, CudaSource(np, "cpu"))
    assert found.tobytes() == path(optimizer, Device(np, "cpu")).tobytes()


@pytest.mark.parametrize("dtype", BOUNDS)
@every_optimizer
def test_a_gradient_of_zero_changes_nothing(optimizer, dtype):
    without_decay = {"weight_decay": 0.0} if {"weight_decay"} & names_of(optimizer) else {}
    start = np.array([0.0, 1.5, -3.0])
    lanes = Driver(optimizer, [without_decay], start, dtype=dtype)
    for _ in range(20):
        assert lanes.step(np.zeros(3)).tolist() == [start.tolist()]
    moved = lanes.step(np.array([0.5, -0.5, 0.0]))[0]
    assert moved[0] < 0.0 < moved[1] - 1.5
    assert moved[2] == -3.0
    assert np.isfinite(moved).all()


def names_of(optimizer) -> set[str]:
    return {each.name for each in optimizer.hyperparameters}


@every_optimizer
def test_a_gradient_that_is_no_number_is_not_hidden(optimizer):
    lanes = Driver(optimizer, [{}], np.ones(3))
    lanes.step(np.ones(3))
    after = lanes.step(np.array([1.0, np.nan, -1.0]))[0]
    assert np.isnan(after).tolist() == [False, True, False]


def test_paths_are_compared_after_enough_updates():
    assert UPDATES == (1, 7, 50)
    for recording in RECORDINGS.values():
        assert len(recording.gradients) == 50
        signs = np.sign(recording.gradients[1:] * recording.gradients[:-1])
        assert {-1.0, 1.0} <= set(signs.ravel())
