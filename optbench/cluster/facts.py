"""What a worker tells of itself, and how that differs from what lanes are compared with."""

from collections.abc import Mapping
from typing import Any

from optbench.device.choose import get_device
from optbench.errors import UsageError
from optbench.records import NUMERICS_VERSION
from optbench.store.environment import describe_environment, same_environment

DECISIVE = (
    *("optbench", "numerics_version", "implementation", "python", "system", "machine"),
    *("packages", "blas", "simd", "device"),
)
"""What of a worker decides the bits of a trace, or the bytes of its file."""

DECISIVE_PACKAGES = (
    "numpy",
    "numba",
    "pyarrow",
    "array-api-compat",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
"""Packages that every run computes or writes with; those of plug-ins count with the plug-ins."""


def facts(device: str) -> dict[str, Any]:
    """Return what a run with this device on this machine would record of its environment.

    ``trouble`` says in a line why the device cannot be used here, and is empty where it can.
    """
    found: dict[str, Any] = {"numerics_version": NUMERICS_VERSION, **describe_environment()}
    try:
        chosen = get_device(device)
    except UsageError as error:
        return {**found, "device": {}, "memory_bytes": None, "trouble": str(error)}
    memory = {"memory_bytes": chosen.memory_bytes, "block_bytes": chosen.block_bytes}
    return {**found, "device": chosen.describe(), **memory, "trouble": ""}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return in what a worker differs that decides bits, one text each.

    >>> differences({"python": "3.11.2", "cores": 2}, {"python": "3.12.1", "cores": 64})
    ['Python 3.11.2 there, 3.12.1 here']
    """
    return [
        text
        for name in DECISIVE
        if not same_environment(name, there.get(name), here.get(name))
        for text in _differences(name, there.get(name), here.get(name))
    ]


def _differences(name: str, there: Any, here: Any) -> list[str]:
    if name == "packages":
        there, here = there or {}, here or {}
        pairs = [(each, there.get(each), here.get(each)) for each in DECISIVE_PACKAGES]
        return [f"{each} {_text(a)} there, {_text(b)} here" for each, a, b in pairs if a != b]
    title = {"python": "Python", "blas": "BLAS", "simd": "SIMD"}.get(name, name.replace("_", " "))
    return [f"{title} {_text(there)} there, {_text(here)} here"]


def _text(value: Any) -> str:
    """Write a fact for people.

    >>> _text(None), _text("1.0"), _text([{"internal_api": "openblas", "version": "0.3.29"}])
    ('none', '1.0', 'openblas 0.3.29')
    >>> _text(["AVX2", "FMA3"]), _text({"kind": "gpu", "name": "A100"})
    ('AVX2 FMA3', 'gpu A100')
    """
    if value is None or value == []:
        return "none"
    if isinstance(value, dict):
        return " ".join(str(each) for each in value.values() if each is not None)
    if isinstance(value, list):
        between = ", " if any(isinstance(each, dict) for each in value) else " "
        return between.join(_text(each) for each in value)
    return str(value)
