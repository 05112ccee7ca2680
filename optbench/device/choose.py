"""The device that ``--device`` names."""

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.device.gpu import CupyDevice, why_no_gpu
from optbench.errors import DeviceError, argument, nearest

DEVICE_NAMES = ("cpu", "gpu", "auto")


def get_device(name: str) -> Device:
    """Return a device: ``cpu``, ``gpu``, ``gpu:1``, or ``auto`` for a GPU where one works.

    Raises
    ------
    DeviceError
        For an unknown name, or for a GPU that does not work, with the reason and the remedy.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICE_NAMES or (colon and not (kind == "gpu" and number.isdecimal())):
        meant = nearest(kind, DEVICE_NAMES)
        raise DeviceError(f"unknown device '{name}'; {meant} (gpu:1 is the second GPU)")
    if kind == "cpu":
        return NumpyDevice()
    wanted = int(number) if colon else 0
    reason = why_no_gpu(wanted)
    if reason is None:
        return CupyDevice(wanted)
    if kind == "auto":
        return NumpyDevice()
    raise DeviceError(f"no GPU can be used: {reason}; or run with {argument('device', 'cpu')}")
