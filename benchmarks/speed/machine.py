"""What the figures were measured on."""

import os
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.speed.contenders import LIBRARIES
from optbench.store.environment import describe_environment

THREADS = (
    "every contender has as many threads as there are usable cores: NumPy's BLAS by threadpoolctl "
    "(optbench sets it to one in each of its workers), PyTorch by torch.set_num_threads, "
    "XLA by NPROC"
)

CHOICES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Environment variables that hold a library back from what it would do on this processor."""


def held_back() -> dict[str, str]:
    """Return the environment variables of :data:`CHOICES` that are set."""
    return {name: os.environ[name] for name in CHOICES if name in os.environ}


def load() -> float | None:
    """Return how many processes wanted to run in the last minute, where the system tells it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe(threads: int) -> dict[str, Any]:
    """Return processor, cores, memory, versions, threads and date."""
    environment = describe_environment()
    packages = environment["packages"]
    packages |= {name: found for name in LIBRARIES if (found := _version(name))}
    return {
        **environment,
        "memory_bytes": _memory_bytes(),
        "threads": threads,
        "held_back_by": held_back(),
        "threads_note": THREADS,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory_bytes() -> int | None:
    """Return the memory of the machine, where the system tells it."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
