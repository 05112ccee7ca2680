"""How weights start: host arrays drawn from named streams."""

import math

import numpy as np

from optbench import rng


def he(seed: int, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Draw weights from N(0, 2/fan_in), which suits layers followed by ReLU.

    Parameters
    ----------
    seed
        The lane's seed.
    name
        Name of the tensor; its stream is ``start/<name>``.
    shape
        (fan_in, fan_out).

    Source: K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    return rng.stream(seed, f"start/{name}").standard_normal(shape) * math.sqrt(2.0 / shape[0])


def zeros(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return zeros, whatever the seed."""
    return np.zeros(shape)
