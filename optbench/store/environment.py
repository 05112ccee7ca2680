"""What a run was made with: machine, libraries and source, recorded once a run."""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import optbench

PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "array-api-compat",
    "threadpoolctl",
    "numba",
    "torch",
    "optax",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
)
"""Packages whose versions are recorded where they are installed; none is imported for that."""


def describe_environment() -> dict[str, Any]:
    """Return versions, machine, BLAS libraries, and the git commit of the working directory."""
    return {
        "optbench": optbench.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "blas": [
            {key: library.get(key) for key in ("internal_api", "version", "architecture")}
            for library in _blas()
        ],
        "simd": _simd(),
        "git": _git(),
    }


def _blas() -> list[dict[str, Any]]:
    """Return NumPy's BLAS; where it lies with none of NumPy's files, all that have been loaded.

    Other packages load one of their own, in which no trace is computed.
    """
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    package = Path(np.__file__).parent
    homes = {package / ".dylibs", package / ".libs", package.with_name("numpy.libs")}
    own = [library for library in loaded if Path(library["filepath"]).parent in homes]
    return own or loaded


def _simd() -> list[str]:
    """Return the instruction sets beyond the least that NumPy's own loops take here."""
    config: Any = np.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", []))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str | None:
    """Return the processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if sys.platform == "linux" and cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _git() -> dict[str, Any] | None:
    """Return commit and cleanness of the repository that the working directory lies in."""
    try:
        commit = _ask_git("rev-parse", "HEAD")
        return {"commit": commit, "clean": not _ask_git("status", "--porcelain")}
    except (OSError, subprocess.SubprocessError):
        return None


def _ask_git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=5
    )
    return answer.stdout.strip()


def same_environment(name: str, then: Any, now: Any) -> bool:
    """Say whether a part of an environment is the same in two descriptions.

    BLAS libraries may come later, with other packages.
    """
    if name == "blas" and isinstance(then, list) and isinstance(now, list):
        return all(library in then for library in now) or all(library in now for library in then)
    return bool(then == now)


ROUNDS = 7


SIZE = 192


def calibration_seconds() -> float:
    """Return the median time of a round of products and element-wise work, on one BLAS thread.

    A round is 4 products of 192 × 192 matrices in float32, and 4 times exp(−x²) of as many numbers.
    """
    values = np.linspace(-1.0, 1.0, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    seconds = []
    with threadpool_limits(limits=1, user_api="blas"):
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(4):
                np.exp(-np.square(values @ values / SIZE))
            seconds.append(time.perf_counter() - started)
    return float(median(seconds))
