"""What PyTorch and JAX are told before they compute for optbench; neither is loaded before that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optbench.arrays import Array
from optbench.errors import SuiteError, argument

ON_CPU = 1
"""What DLPack calls the CPU."""


def one_thread() -> None:
    """Let PyTorch compute on one thread, so that bits do not depend on the number of cores."""
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@contextmanager
def jax_on(device: Any, dtype: str) -> Iterator[None]:
    """Let JAX compute on a device, by default the CPU, in a precision, within this thread."""
    import jax

    with (
        jax.enable_x64(dtype == "float64"),
        jax.default_device(jax.devices("cpu")[0] if device is None else device),
    ):
        yield


def jax_device(array: Array) -> Any:
    """Return what JAX calls the device of an array; None for the CPU.

    Raises
    ------
    SuiteError
        If this JAX cannot use it.
    """
    import jax

    kind, number = array.__dlpack_device__()
    if kind == ON_CPU:
        return None
    try:
        return jax.devices("gpu")[number]
    except (RuntimeError, IndexError):
        raise SuiteError(
            "this JAX cannot use the GPU; install it with CUDA (pip install 'jax[cuda13]'), "
            f"or run with {argument('device', 'cpu')}"
        ) from None
