"""Devices: what they hand out, what is said where there is no GPU, and that times are exact."""

import gc
import sys
import weakref
from importlib.metadata import metadata

import numpy as np
import pytest

from optbench.device import gpu
from optbench.device.base import CPU_BLOCK_BYTES, Device
from optbench.device.choose import get_device
from optbench.device.cpu import NumpyDevice
from optbench.device.gpu import CupyDevice, list_gpus, why_no_gpu
from optbench.errors import DeviceError, SuiteError
from optbench.records import Status
from tests.device.cuda import needs_compiler
from tests.small import anisotropic, run_suite, small_network, suite
from tests.strict import StrictDevice


def test_the_cpu_is_numpy():
    for chosen in (get_device("cpu"), NumpyDevice()):
        assert chosen.xp is np
        assert chosen.kind == "cpu"
        assert chosen.describe() == {"kind": "cpu", "namespace": "numpy"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3), (5, 7), (3, 100_003)])
def test_rows_and_work_arrays_of_a_cpu_begin_where_jax_takes_them_without_a_copy(shape, dtype):
    device, work = NumpyDevice(), NumpyDevice().workspace()
    for array in (device.rows(*shape, dtype, by_coordinate=False), work.take(shape, dtype)):
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
        assert array.flags.writeable


KNOWN = "known are cpu, gpu, auto (gpu:1 is the second GPU)"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", f"unknown device 'cuda'; {KNOWN}"),
        ("gpus", "unknown device 'gpus'; did you mean 'gpu'? (gpu:1 is the second GPU)"),
        ("", f"unknown device ''; {KNOWN}"),
        ("cpu:1", "unknown device 'cpu:1'; did you mean 'cpu'? (gpu:1 is the second GPU)"),
        ("auto:0", "unknown device 'auto:0'; did you mean 'auto'? (gpu:1 is the second GPU)"),
        ("gpu:", "unknown device 'gpu:'; did you mean 'gpu'? (gpu:1 is the second GPU)"),
        ("gpu:-1", "unknown device 'gpu:-1'; did you mean 'gpu'? (gpu:1 is the second GPU)"),
        ("gpu:one", "unknown device 'gpu:one'; did you mean 'gpu'? (gpu:1 is the second GPU)"),
    ],
)
def test_another_name_is_refused(name, says):
    with pytest.raises(DeviceError) as caught:
        get_device(name)
    assert str(caught.value) == says


def refusal() -> str:
    """Return why ``gpu`` is refused; ``auto`` then has to be the CPU, and no GPU is listed."""
    assert get_device("auto").kind == "cpu"
    assert list_gpus() == []
    with pytest.raises(DeviceError) as caught:
        get_device("gpu")
    message = str(caught.value)
    assert "\n" not in message
    reason = why_no_gpu()
    assert reason is not None
    assert message == f"no GPU can be used: {reason}; or run with --device cpu"
    return reason


def test_without_cupy_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert refusal() == (
        "CuPy is not installed; pip install 'optbench[gpu-cuda13]' (or gpu-cuda12)"
    )


def test_the_extras_that_it_names_are_there():
    extras = metadata("optbench").get_all("Provides-Extra")
    assert {"gpu-cuda12", "gpu-cuda13"} <= set(extras)


def test_a_cupy_that_cannot_be_imported_is_named(cupy):
    cupy("raise ImportError('libcudart.so.13: not found\\nsecond line')")
    assert refusal() == (
        "CuPy cannot be imported (libcudart.so.13: not found); install it for your CUDA version"
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient",
            "the NVIDIA driver is missing or too old for CuPy; install a newer one",
        ),
        (
            "cudaErrorNoDevice: no CUDA-capable device is detected",
            "the driver sees no CUDA device; check nvidia-smi and CUDA_VISIBLE_DEVICES",
        ),
        (
            "cudaErrorUnknown: unknown\\nsecond line",
            "the CUDA runtime does not start (cudaErrorUnknown: unknown); "
            "check that nvidia-smi works",
        ),
    ],
)
def test_each_way_to_have_no_driver_has_its_remedy(cupy, message, reason):
    cupy(f"def fail(): raise RuntimeError('{message}')\ncuda.runtime.getDeviceCount = fail")
    assert refusal() == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("def ones(*a, **k): raise OSError('no NVRTC\\nof version 13')", "no NVRTC"),
        ("def ones(*a, **k): raise RuntimeError", "RuntimeError"),
    ],
)
def test_a_gpu_that_cannot_compute_is_found_out(cupy, change, reason):
    cupy(change)
    assert refusal() == (
        f"the CUDA compiler or cuBLAS does not work ({reason}); install the CUDA toolkit"
    )


@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:1", "auto"])
def test_a_gpu_that_works_is_used(cupy, name):
    cupy()
    number = int(name == "gpu:1")
    assert why_no_gpu(number) is None
    chosen = get_device(name)
    assert isinstance(chosen, CupyDevice)
    assert chosen.kind == "gpu"
    fake = sys.modules["cupy"]
    assert set(fake.used) == {number}  # tried on the card that was asked for
    with chosen.active():
        assert fake.used[-1] == number


def test_a_card_that_is_not_there_is_refused(cupy):
    cupy()
    with pytest.raises(DeviceError) as caught:
        get_device("gpu:2")
    assert str(caught.value) == (
        "no GPU can be used: GPU 2 cannot be found; this machine has 2, counted from 0; "
        "or run with --device cpu"
    )


def described(number: int) -> dict[str, object]:
    return {
        "kind": "gpu",
        "namespace": "array_api_compat.cupy",
        "number": number,
        "name": f"Fake GPU {number}",
        "memory_bytes": 2**33 + number,
        "cuda_runtime": 13000,
    }


def test_gpus_are_described_and_listed(cupy):
    cupy()
    assert get_device("gpu").describe() == described(0)
    assert get_device("gpu:1").describe() == described(1)
    assert list_gpus() == [described(0), described(1)]


def test_blocks_on_a_gpu_take_a_part_of_its_memory(cupy):
    cupy()
    assert get_device("gpu").block_bytes == 2**33 // 4
    assert NumpyDevice().block_bytes == CPU_BLOCK_BYTES


def test_memory_that_is_released_goes_back_to_the_card(cupy):
    cupy()
    get_device("gpu:1").release()
    fake = sys.modules["cupy"]
    assert fake.freed == ["all"]
    assert fake.used[-1] == 1


@pytest.fixture(params=["numpy", "any namespace", "strict", "fake cupy"])
def any_device(request, cupy) -> Device:
    if request.param == "fake cupy":
        cupy()
        return CupyDevice()
    return {
        "numpy": NumpyDevice,
        "any namespace": lambda: Device(np, "cpu"),
        "strict": StrictDevice,
    }[request.param]()


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.arange(3, dtype=np.uint8)])
def test_what_is_put_is_what_is_got(any_device, array):
    back = any_device.get(any_device.put(array.copy()))
    assert isinstance(back, np.ndarray)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def read_only(size: int = 3) -> np.ndarray:
    array = np.arange(float(size))
    array.flags.writeable = False
    return array


def test_resident_data_are_copied_to_a_device_once(any_device):
    array = read_only()
    with any_device.residents():
        there = any_device.resident(array)
        with any_device.residents():
            assert any_device.resident(array) is there
        assert any_device.resident(array) is there
        assert any_device.resident(array.copy()) is not there
    np.testing.assert_array_equal(any_device.get(there), array)


class Counting(Device):
    """Knows which of the arrays that were put on it are alive."""

    def __init__(self) -> None:
        super().__init__(np, "gpu")
        self._put: list[weakref.ref[np.ndarray]] = []

    def put(self, array: np.ndarray) -> np.ndarray:
        copy = array.copy()
        self._put.append(weakref.ref(copy))
        return copy

    @property
    def live(self) -> int:
        return sum(reference() is not None for reference in self._put)


def test_resident_data_are_freed_with_the_last_run_that_uses_them():
    device, array = Counting(), read_only()
    host = weakref.ref(array)
    with device.residents():
        with device.residents():
            device.resident(array)
        assert device.live == 1
        del array
        assert host() is not None  # else another array might get its id
    assert device.live == 0
    assert host() is None
    device.resident(read_only())
    assert device.live == 0


def test_nothing_of_a_run_stays_on_the_device():
    device = Counting()
    settled = suite(small_network(), optimizers=["sgd", "adam"], seeds=(0, 7), iterations=5)
    outcomes = run_suite(settled, device=device)
    gc.collect()
    assert {outcome.result.status for outcome in outcomes.values()} == {Status.DONE}
    assert device.live == 0


def test_the_cpu_needs_no_copy_of_resident_data():
    array = read_only()
    assert NumpyDevice().resident(array) is array


@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_zeros_stored_as_asked(any_device, dtype, by_coordinate):
    rows = any_device.rows(4, 3, dtype, by_coordinate=by_coordinate)
    assert rows.shape == (4, 3)
    assert any_device.get(rows).tolist() == [[0.0] * 3] * 4
    assert any_device.get(rows).dtype == dtype
    rows[1, 2] = 5.0
    assert any_device.get(rows)[1, 2] == 5.0


def test_coordinates_of_all_lanes_lie_together_or_each_lane_does():
    assert NumpyDevice().rows(4, 3, "float64", by_coordinate=True)[:, 0].flags.c_contiguous
    assert NumpyDevice().rows(4, 3, "float64", by_coordinate=False)[0].flags.c_contiguous


def forget_and_gather(w, g, total, *, rate, xp):
    return w * rate, total + g


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (2, 70_000), (40_000, 1)])
def test_a_rule_changes_parameters_and_slots_in_place_and_reads_gradients(any_device, shape):
    lanes, parameters = shape
    w, g, total = (
        any_device.put(np.full(shape, value) * np.arange(1.0, parameters + 1))
        for value in (1.0, 2.0, 3.0)
    )
    rate = np.arange(1.0, lanes + 1).reshape(lanes, 1)
    any_device.elementwise()(forget_and_gather, [w, g, total], {"rate": any_device.put(rate)})
    index = np.arange(1.0, parameters + 1)
    np.testing.assert_array_equal(any_device.get(w), rate * index)
    np.testing.assert_array_equal(any_device.get(g), np.broadcast_to(2.0 * index, shape))
    np.testing.assert_array_equal(any_device.get(total), np.broadcast_to(5.0 * index, shape))


def swap(w, g, slot, *, xp):
    return slot, w


def replace_all(w, g, slot, *, rate, xp):
    return rate, 0.5


def test_arrays_may_change_places(any_device):
    w, g, slot = (any_device.put(np.full((2, 3), value)) for value in (1.0, 2.0, 3.0))
    any_device.elementwise()(swap, [w, g, slot], {})
    assert [any_device.get(each)[0, 0] for each in (w, g, slot)] == [3.0, 2.0, 1.0]


def test_a_column_or_a_number_may_be_a_result(any_device):
    w, g, slot = (any_device.put(np.full((2, 3), value)) for value in (1.0, 2.0, 3.0))
    rate = any_device.put(np.array([[0.25], [0.75]]))
    any_device.elementwise()(replace_all, [w, g, slot], {"rate": rate})
    assert any_device.get(w).tolist() == [[0.25] * 3, [0.75] * 3]
    assert any_device.get(slot).tolist() == [[0.5] * 3] * 2


def test_rules_and_arrays_of_one_block_do_not_mix(any_device):
    elementwise = any_device.elementwise()
    blocks = [[any_device.put(np.full((2, 3), value)) for value in (1.0, 2.0)] for _ in range(2)]
    for rule in (lambda w, g, *, xp: (w + g,), lambda w, g, *, xp: (w * g,)):
        for arrays in blocks:
            elementwise(rule, arrays, {})
    elementwise(rule, blocks[1], {})
    assert [any_device.get(w)[0, 0] for w, _ in blocks] == [6.0, 12.0]


def test_columns_may_change_from_step_to_step(any_device):
    elementwise = any_device.elementwise()
    arrays = [any_device.put(np.full((2, 3), value)) for value in (1.0, 0.0, 0.0)]
    for rate in (2.0, 3.0):
        column = any_device.put(np.array([[rate], [10.0 * rate]]))
        elementwise(forget_and_gather, arrays, {"rate": column})
    assert any_device.get(arrays[0])[:, 0].tolist() == [6.0, 600.0]


@pytest.mark.parametrize("kind", ["numpy", "any namespace"])
def test_a_rule_that_forgets_a_slot_is_refused(kind):
    chosen = NumpyDevice() if kind == "numpy" else Device(np, "cpu")
    with pytest.raises(SuiteError, match=r"must return a tuple of 2: .* it returned 1"):
        chosen.elementwise()(lambda w, g, slot, *, xp: (w,), [np.zeros((1, 1))] * 3, {})


def test_on_the_cpu_there_is_nothing_to_switch_or_give_back():
    with NumpyDevice().active():
        NumpyDevice().release()


@pytest.mark.parametrize("make", [NumpyDevice, StrictDevice])
def test_overflow_is_quiet(make):
    with make().quiet():
        assert np.array([1e308]) * 10 == np.inf
    with pytest.raises(RuntimeWarning):
        np.array([1e308]) * 10


def test_every_device_knows_when_memory_is_lacking(any_device):
    assert any_device.lacks_memory(MemoryError())
    assert not any_device.lacks_memory(RuntimeError("no such thing"))


def test_a_gpu_lacks_memory_where_cublas_says_so(cupy):
    cupy()
    assert CupyDevice().lacks_memory(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))


def test_devices_time_with_the_clock_given():
    times = iter([1.0, 5.0])
    watch = Device(np, "cpu", lambda: next(times)).stopwatch()
    watch.start()
    watch.stop()
    assert watch.seconds() == 4.0


def test_a_gpu_is_timed_by_its_events_and_waited_for_only_when_asked(cupy):
    cupy()
    chosen = get_device("gpu")
    fake = sys.modules["cupy"]
    watch = chosen.stopwatch()
    for counted, not_counted in [(1.0, 10.0), (2.5, 100.0)]:
        watch.start()
        fake.now += counted
        watch.stop()
        fake.now += not_counted
    assert fake.Event.waits == 0
    assert watch.seconds() == 3.5
    assert fake.Event.waits == 2
    assert watch.seconds() == 3.5
    watch.start()
    fake.now += 1.0
    watch.stop()
    assert watch.seconds() == 4.5


@needs_compiler
def test_a_whole_suite_runs_on_a_gpu_as_the_device_layer_sees_it(cupy):
    cupy()
    settled = suite(small_network(), anisotropic(), seeds=(0, 7), iterations=20)
    expected = run_suite(settled)
    found = run_suite(settled, device=get_device("gpu"))
    for number, outcome in found.items():
        np.testing.assert_allclose(outcome.loss, expected[number].loss, rtol=1e-12)
        assert outcome.result.step_seconds == 0.0
