"""How weights start: host arrays drawn from named streams."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from optbench import rng
from optbench.errors import SuiteError

InitName: TypeAlias = Literal[
    "he", "xavier", "normal", "truncated-normal", "glorot-uniform", "zeros"
]

INIT_NAMES: tuple[InitName, ...] = get_args(InitName)

GAINED: tuple[InitName, ...] = ("he", "xavier", "glorot-uniform")
"""Those that take a gain."""

TRUNCATION = 2.0
"""Standard deviations at which the truncated normal distribution is cut."""


@dataclass(frozen=True)
class Initializer:
    """Draws the start of a weight tensor; ``std`` and ``gain`` are used where the table says so.

    ====================  ==========================================================
    ``he``                N(0, gain²/fan_in); the gain is √2, which suits ReLU
    ``xavier``            N(0, gain²/fan_in); the gain is 1, which suits sigmoid
    ``normal``            N(0, std²)
    ``truncated-normal``  N(0, std²), drawn anew where it lies beyond 2 std
    ``glorot-uniform``    U(−a, a), a = gain·√(6/(fan_in + fan_out)); the gain is 1
    ``zeros``             0
    ====================  ==========================================================

    A gain that is None is the one named here. Cutting at 2 std leaves a standard deviation of
    0.88 std, as in TensorFlow.

    Sources: K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015;
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010; for ``xavier`` without fan_out, K. Saitoh, "Deep Learning from
    Scratch", section 6.2; TensorFlow's ``truncated_normal``.
    """

    name: InitName
    std: float = 0.01
    gain: float | None = None

    def __post_init__(self) -> None:
        if self.gain is not None and self.name not in GAINED:
            raise SuiteError(f"init={self.name} has no gain; it belongs to {', '.join(GAINED)}")

    def draw(
        self, seed: int, tensor: str, shape: tuple[int, ...], *, fan_in: int, fan_out: int
    ) -> np.ndarray:
        """Return a start, float64, from the stream ``start/<tensor>``."""
        generator = rng.stream(seed, f"start/{tensor}")
        match self.name:
            case "he":
                return generator.standard_normal(shape) * math.sqrt(self._square(2.0) / fan_in)
            case "xavier":
                return generator.standard_normal(shape) * math.sqrt(self._square(1.0) / fan_in)
            case "normal":
                return generator.standard_normal(shape) * self.std
            case "truncated-normal":
                return _truncated(generator, shape) * self.std
            case "glorot-uniform":
                bound = math.sqrt(6.0 * self._square(1.0) / (fan_in + fan_out))
                return generator.uniform(-bound, bound, size=shape)
            case "zeros":
                return np.zeros(shape)

    def _square(self, default: float) -> float:
        """Return the square of the gain."""
        return default if self.gain is None else self.gain**2


he = Initializer("he")


def _truncated(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from the standard normal distribution between ±2: what lies beyond is drawn anew."""
    values = generator.standard_normal(shape)
    while (beyond := np.abs(values) > TRUNCATION).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()))
    return values
