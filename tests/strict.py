"""A stand-in for a GPU: array-api-strict on its device ``device1``.

Arrays there refuse to meet NumPy's or those of another device, and have nothing but what the array
API standard names. What the core does with them, it can do with CuPy.
"""

from functools import partial
from typing import Any

import array_api_strict
import numpy as np

from optbench.device.base import Device

PLACE = array_api_strict.Device("device1")

CREATE = {"arange", "asarray", "empty", "eye", "full", "linspace", "ones", "zeros"}
"""Functions that CuPy runs on the current device; the standard's strict form has to be told."""


class OnDevice:
    """The strict namespace, making new arrays on ``device1``."""

    __name__ = "array_api_strict"

    def __getattr__(self, name: str) -> Any:
        found = getattr(array_api_strict, name)
        return partial(found, device=PLACE) if name in CREATE else found


class StrictDevice(Device):
    """Moves arrays between the host and ``device1``."""

    def __init__(self) -> None:
        super().__init__(OnDevice(), "gpu")

    def get(self, array: Any) -> np.ndarray:
        return np.array(array.to_device(array_api_strict.Device("CPU_DEVICE")))
