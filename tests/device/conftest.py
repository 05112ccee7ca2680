"""A CuPy for machines without a GPU: NumPy in its clothes, with kernels and products emulated."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np
import pytest

from tests.device.cublas import Array

FAKE_CUPY = '''
"""NumPy, dressed as CuPy: what the device layer asks of it, with a clock that tests turn."""

from types import SimpleNamespace

from numpy import float32, may_share_memory, ones, ufunc
from numpy import array as asnumpy

from tests.device.cublas import HANDLE, Cublas
from tests.device.cuda import ElementwiseKernel, ReductionKernel

now = 0.0
devices = 2
used = []
freed = []
copying = 0


class Event:
    """Takes the time when it is recorded; synchronising is counted."""

    waits = 0

    def record(self):
        self.time = now

    def synchronize(self):
        Event.waits += 1


class Device:
    """A context; the numbers of the devices that were used are kept."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        used.append(self.number)

    def __exit__(self, *error):
        pass


def properties(number):
    return {"name": b"Fake GPU %d" % number, "totalGlobalMem": 2**33 + number}


def get_default_memory_pool():
    return SimpleNamespace(free_all_blocks=lambda: freed.append("all"))


cuda = SimpleNamespace(
    Event=Event,
    Device=Device,
    cublas=Cublas(),
    get_cublas_handle=lambda: HANDLE,
    get_elapsed_time=lambda start, stop: (stop.time - start.time) * 1000.0,
    runtime=SimpleNamespace(
        getDeviceCount=lambda: devices,
        getDeviceProperties=properties,
        runtimeGetVersion=lambda: 13000,
    ),
)
'''


def matmul(a: Array, b: Array, out: Array | None = None) -> np.ndarray:
    """Multiply as CuPy's own matmul does, and count the call."""
    sys.modules["cupy"].copying += 1
    return np.matmul(a, b, out=out)


def take(a: Array, indices: Array, axis: int, out: Array | None = None) -> np.ndarray:
    """Take without NumPy's ``mode``, which CuPy does not have."""
    return np.take(a, indices, axis=axis, out=out)


def total(a: Array, axis: int | None = None, out: Array | None = None, **options: Any) -> Any:
    """Sum into an array that may be written before everything has been read."""
    if out is not None:
        out[...] = np.nan
    return np.sum(a, axis=axis, out=out, **options)


def dressed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose arrays have addresses."""

    def call(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        return result.view(Array) if isinstance(result, np.ndarray) else result

    return call


@pytest.fixture
def cupy(tmp_path, monkeypatch):
    """Return a function that puts a fake CuPy, with changes at its end, where it is imported."""

    def install(changes: str = "") -> None:
        (tmp_path / "cupy.py").write_text(FAKE_CUPY + changes, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, "cupy", None)  # so that what is imported goes afterwards
        del sys.modules["cupy"]
        namespace = ModuleType("array_api_compat.cupy")
        for name, value in {**vars(np), "matmul": matmul, "sum": total, "take": take}.items():
            if not name.startswith("_"):
                is_function = callable(value) and not isinstance(value, type | np.ufunc)
                setattr(namespace, name, dressed(value) if is_function else value)
        monkeypatch.setitem(sys.modules, "array_api_compat.cupy", namespace)
        monkeypatch.delattr(array_api_compat, "cupy", raising=False)

    return install
