"""Which of the libraries to compare with are there; none of them is a dependency of optbench."""

import os
from importlib.util import find_spec

from optbench.engine.executor import usable_cores

LIBRARIES = {"torch": "PyTorch", "jax": "JAX"}


def missing() -> list[str]:
    """Return a line for each library that is left out, with what brings it."""
    return [
        f"{title} is not installed and left out; the extra 'bench' brings it: "
        "pip install 'optbench[bench]'"
        for name, title in LIBRARIES.items()
        if not has(name)
    ]


def has(library: str) -> bool:
    """Return whether a library can be imported."""
    return find_spec(library) is not None


def set_threads() -> int:
    """Give every library as many threads as there are usable cores, and return that number.

    NumPy's BLAS starts with that many and is set again by ``threadpool_limits`` around the whole
    run. XLA reads the size of its pool from NPROC when JAX is imported.
    """
    cores = usable_cores()
    os.environ["NPROC"] = str(cores)
    os.environ["JAX_PLATFORMS"] = "cpu"
    if has("torch"):
        import torch

        torch.set_num_threads(cores)
    return cores
