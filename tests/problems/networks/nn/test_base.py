"""What holds for every layer: gradients, lanes, devices, and who may write what."""

import math
from dataclasses import replace

import numpy as np
import pytest

from optbench.problems.networks.nn.base import Layer, Mode, Pass
from tests.problems.networks.nn.passes import (
    DEVICES,
    LANES,
    LAYERS,
    Case,
    Counting,
    by_name,
    case,
    differences,
    run,
)

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=by_name)
shared_or_not = pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])


def bits(layer: Layer, given: Case, mode: Mode = Mode.TRAIN) -> dict[str, bytes]:
    return {name: each.tobytes() for name, each in run(layer, given, mode=mode).arrays().items()}


def sum_of(layer: Layer, given: Case) -> float:
    return float((run(layer, given, mode=Mode.SCORE).y * given.dy).sum())


@every_layer
@shared_or_not
def test_gradients_are_the_differences_of_the_output(layer, shared):
    given = case(layer, shared=shared, lanes=2)
    outcome = run(layer, given)
    for name, array in given.weights.items():
        slopes = differences(lambda: sum_of(layer, given), array)
        np.testing.assert_allclose(outcome.grads[name], slopes, rtol=1e-7, atol=1e-8)
    slopes = differences(lambda: sum_of(layer, given), given.x)
    dx = outcome.dx.sum(axis=0, keepdims=True) if shared else outcome.dx
    np.testing.assert_allclose(dx, slopes, rtol=1e-7, atol=1e-8)


@every_layer
@shared_or_not
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 37])
def test_a_lane_alone_has_the_bits_that_it_has_in_company(layer, shared, dtype, batch):
    given = case(layer, shared=shared, lanes=5, batch=batch).astype(dtype)
    for mode in (Mode.TRAIN, Mode.EVALUATE):
        together = run(layer, given, mode=mode).arrays()
        for lane in range(5):
            alone = run(layer, given.lane(lane), mode=mode).arrays()
            for name, array in together.items():
                own = array[:1] if len(array) == 1 else array[lane : lane + 1]
                assert own.tobytes() == alone[name].tobytes(), (name, mode)


@every_layer
@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.EVALUATE])
def test_a_shared_input_is_that_of_every_lane(layer, mode):
    given = case(layer, shared=True)
    repeated = replace(given, x=np.repeat(given.x, LANES, axis=0))
    if len(given.dy) == 1:
        repeated.dy = np.repeat(given.dy, LANES, axis=0)
    one, other = run(layer, given, mode=mode).arrays(), run(layer, repeated, mode=mode).arrays()
    for name, array in other.items():
        assert np.broadcast_to(one[name], array.shape).tobytes() == array.tobytes(), name


@every_layer
@shared_or_not
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name.lower())
def test_devices_agree(layer, shared, mode):
    given = case(layer, shared=shared)
    numpy, strict = (
        run(layer, given, mode=mode, device=device()).arrays() for device in DEVICES.values()
    )
    assert set(numpy) == set(strict)
    for name, array in numpy.items():
        assert array.shape == strict[name].shape
        np.testing.assert_allclose(strict[name], array, rtol=1e-12, atol=1e-13)


@every_layer
def test_single_precision_stays_single_and_follows_double(layer):
    given = case(layer)
    double, single = run(layer, given).arrays(), run(layer, given.astype("float32")).arrays()
    for name, array in single.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, double[name], rtol=2e-4, atol=2e-5)


@every_layer
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.name.lower())
def test_a_pass_only_reads_what_goes_in(layer, mode):
    given = case(layer)
    for array in (given.x, *given.weights.values(), *given.masks.values()):
        array.flags.writeable = False
    before = bits(layer, given, mode)
    assert bits(layer, given, mode) == before


@every_layer
def test_only_training_writes_buffers(layer):
    given = case(layer)
    for mode in (Mode.SCORE, Mode.EVALUATE):
        after = run(layer, given, mode=mode).buffers
        for name, array in given.buffers.items():
            assert after[name].tobytes() == array.tobytes()
    trained = run(layer, given).buffers
    assert all((trained[name] != array).all() for name, array in given.buffers.items())


@every_layer
def test_scoring_gives_what_training_gave(layer):
    given = case(layer)
    assert run(layer, given, mode=Mode.SCORE).y.tobytes() == run(layer, given).y.tobytes()


@every_layer
def test_the_first_layer_has_the_same_gradients_but_not_that_of_its_input(layer):
    given = case(layer)
    one, other = run(layer, given).grads, run(layer, given, first=True)
    assert {n: g.tobytes() for n, g in one.items()} == {
        n: g.tobytes() for n, g in other.grads.items()
    }
    assert other.dx is None or not layer.input_gradient_values


@every_layer
def test_a_layer_says_its_shapes_and_starts_every_tensor(layer):
    given = case(layer)
    assert run(layer, given).y.shape[2:] == layer.out_shape
    assert (layer.in_size, layer.out_size) == (
        math.prod(layer.in_shape),
        math.prod(layer.out_shape),
    )
    start = layer.start(3)
    assert {name: array.shape for name, array in start.items()} == {
        tensor.name: tensor.shape for tensor in layer.tensors
    }
    assert all(array.dtype == np.float64 for array in start.values())
    assert all(name.startswith(f"{layer.name}.") for name in start)
    weights = {name for name in start if name.endswith(".weight")}
    assert set(layer.penalized) == weights


@every_layer
@pytest.mark.parametrize("first", [False, True])
def test_work_values_are_what_a_pass_takes(layer, first):
    given = case(layer, lanes=1, batch=200).astype("float32")
    work = Counting(np, writes_out=True)
    context = Pass(work, Mode.TRAIN, given.weights, given.buffers, given.masks)
    grads = {name: np.empty_like(array) for name, array in given.weights.items()}
    _, saved = layer.forward(given.x, context)
    layer.backward(given.dy, saved, context, grads, first=first)
    said = layer.work_values - (layer.input_gradient_values if first else 0)
    assert work.taken / 200 == pytest.approx(said)
