"""Activations: functions of each number on its own."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from typing_extensions import override

from optbench.arrays import Array, Workspace
from optbench.problems.networks.nn.base import Layer, Pass

Approximation: TypeAlias = Literal["none", "tanh"]

APPROXIMATIONS: tuple[Approximation, ...] = get_args(Approximation)
"""How the normal distribution function is computed: exactly, or by tanh."""

CUBIC = 0.044715
"""The factor of x³ in the approximation by tanh."""


class Activation(Layer):
    """A function f of each number on its own: y = f(x), dx = dy·f'(x)."""

    arrays: ClassVar[int] = 2
    """Work arrays of the input's size: the output, the slope, and what else it takes."""

    @property
    def work_values(self) -> int:
        """Those of all work arrays."""
        return self.arrays * self.in_size

    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy·f'(x)."""
        return pass_.work.into(dy, pass_.work.xp.multiply, dy, self.slope(saved, pass_.work))

    @abstractmethod
    def slope(self, saved: Any, work: Workspace) -> Array:
        """Return f'(x), a work array; ``saved`` is what :meth:`forward` returned for it."""


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectifier: y = max(x, 0); dx = dy where x > 0, else 0."""

    arrays = 1

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return max(x, 0), twice; NaN stays NaN."""
        work, xp = pass_.work, pass_.work.xp
        y = work.take(x.shape, x.dtype)
        flat = (*x.shape[:2], self.in_size)
        # A row of zeros: NumPy's loop for a single number is twice as slow.
        zeros = xp.zeros((1, 1, self.in_size), dtype=x.dtype)
        work.into(xp.reshape(y, flat, copy=False), xp.maximum, xp.reshape(x, flat), zeros)
        return y, y

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy where the output was positive, else 0."""
        return pass_.work.keep_where(dy, self.slope(saved, pass_.work))

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        """Return where the output was positive, as truth values."""
        positive = work.take(saved.shape, work.xp.bool)
        return work.into(positive, work.xp.greater, saved, 0.0)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Leaky rectifier: y = x where x > 0, else s·x, with a slope s in [0, 1]; dx likewise.

    Source: A. Maas, A. Hannun and A. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013, with s = 0.01.
    """

    below: float = 0.01

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return max(x, s·x), and x."""
        work, xp = pass_.work, pass_.work.xp
        y = work.take(x.shape, x.dtype)
        work.into(y, xp.multiply, x, self.below)
        return work.into(y, xp.maximum, x, y), x

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, work.xp.sign, saved)
        return work.into(slope, work.xp.maximum, slope, self.below)


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit: y = x where x > 0, else α·(exp(x) − 1); slope 1, or α·exp(x).

    Source: D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network
    learning by exponential linear units (ELUs)", ICLR 2016.
    """

    alpha: float = 1.0

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return max(x, 0) + α·(exp(min(x, 0)) − 1), and x."""
        work, xp = pass_.work, pass_.work.xp
        y, below = work.take(x.shape, x.dtype), work.scratch(x.shape, x.dtype)
        work.into(below, xp.minimum, x, 0.0)
        work.into(below, xp.expm1, below)
        work.into(below, xp.multiply, below, self.alpha)
        work.into(y, xp.maximum, x, 0.0)
        return work.into(y, xp.add, y, below), x

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        slope, xp = work.take(saved.shape, saved.dtype), work.xp
        work.into(slope, xp.minimum, saved, 0.0)
        work.into(slope, xp.exp, slope)
        if self.alpha == 1.0:
            return slope
        more = work.scratch(saved.shape, saved.dtype)
        work.into(more, xp.multiply, slope, self.alpha - 1.0)
        below = work.scratch(saved.shape, xp.bool)
        work.keep_where(more, work.into(below, xp.less_equal, saved, 0.0))
        return work.into(slope, xp.add, slope, more)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function: y = 1/(1 + exp(−x)); dx = dy·y·(1 − y)."""

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return 1/(1 + exp(−x)), twice; where the exponential overflows it is 0, as it should."""
        work, xp = pass_.work, pass_.work.xp
        y = work.take(x.shape, x.dtype)
        work.into(y, xp.negative, x)
        work.into(y, xp.exp, y)
        work.into(y, xp.add, y, 1.0)
        return work.into(y, xp.divide, 1.0, y), y

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, work.xp.subtract, 1.0, saved)
        return work.into(slope, work.xp.multiply, slope, saved)


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent: y = tanh(x); dx = dy·(1 − y²)."""

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return tanh(x), twice."""
        work = pass_.work
        y = work.take(x.shape, x.dtype)
        return work.into(y, work.xp.tanh, x), y

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, work.xp.multiply, saved, saved)
        return work.into(slope, work.xp.subtract, 1.0, slope)


@dataclass(frozen=True)
class Softplus(Activation):
    """Smooth rectifier: y = log(1 + exp(βx))/β; its slope is 1/(1 + exp(−βx)).

    It is computed as max(x, 0) + log(1 + exp(−β|x|))/β, which never overflows. PyTorch takes y = x
    where βx > 20, which differs from this by less than 2.1e-9/β.
    """

    beta: float = 1.0

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return the output, and x."""
        work, xp = pass_.work, pass_.work.xp
        y, above = work.take(x.shape, x.dtype), work.scratch(x.shape, x.dtype)
        work.into(y, xp.abs, x)
        work.into(y, xp.multiply, y, -self.beta)
        work.into(y, xp.exp, y)
        work.into(y, xp.log1p, y)
        work.into(y, xp.divide, y, self.beta)
        work.into(above, xp.maximum, x, 0.0)
        return work.into(y, xp.add, y, above), x

    @override
    def slope(self, saved: Array, work: Workspace) -> Array:
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, work.xp.multiply, saved, self.beta)
        return _logistic(slope, slope, work)


class Gated(Activation):
    """An activation that lets a share of its input through: y = x·g(x), with slope g + x·g'."""

    arrays = 3

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, tuple[Array, Array]]:
        """Return x·g(x); with it x and g(x)."""
        work = pass_.work
        gate = self.gate(work.take(x.shape, x.dtype), x, work)
        y = work.take(x.shape, x.dtype)
        return work.into(y, work.xp.multiply, x, gate), (x, gate)

    @override
    def slope(self, saved: tuple[Array, Array], work: Workspace) -> Array:
        x, gate = saved
        slope = self.gate_slope(work.take(x.shape, x.dtype), x, gate, work)
        work.into(slope, work.xp.multiply, slope, x)
        return work.into(slope, work.xp.add, slope, gate)

    @abstractmethod
    def gate(self, out: Array, x: Array, work: Workspace) -> Array:
        """Return ``out``, holding g(x)."""

    @abstractmethod
    def gate_slope(self, out: Array, x: Array, gate: Array, work: Workspace) -> Array:
        """Return ``out``, holding g'(x), where g(x) = ``gate``."""


@dataclass(frozen=True)
class SiLU(Gated):
    """Sigmoid linear unit, also called swish: y = x/(1 + exp(−x)).

    Source: S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network
    function approximation in reinforcement learning", Neural Networks 107 (2018).
    """

    @override
    def gate(self, out: Array, x: Array, work: Workspace) -> Array:
        return _logistic(out, x, work)

    @override
    def gate_slope(self, out: Array, x: Array, gate: Array, work: Workspace) -> Array:
        work.into(out, work.xp.subtract, 1.0, gate)
        return work.into(out, work.xp.multiply, out, gate)


@dataclass(frozen=True)
class GELU(Gated):
    """Gaussian error linear unit: y = x·Φ(x) with Φ(x) = ½(1 + erf(x/√2)), and Φ' = φ.

    With ``approximate="tanh"``, as in PyTorch, Φ is replaced by g = ½(1 + tanh(c(x + a·x³))), with
    a = 0.044715 and c = √(2/π), and φ by g' = 2g(1 − g)·c(1 + 3a·x²).

    Source: D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415.
    """

    approximate: Approximation = "none"

    @override
    def gate(self, out: Array, x: Array, work: Workspace) -> Array:
        if self.approximate == "none":
            return work.normal_cdf(out, x)
        xp = work.xp
        work.into(out, xp.multiply, x, x)
        work.into(out, xp.multiply, out, CUBIC)
        work.into(out, xp.add, out, 1.0)
        work.into(out, xp.multiply, out, x)
        work.into(out, xp.multiply, out, math.sqrt(2.0 / math.pi))
        work.into(out, xp.tanh, out)
        work.into(out, xp.add, out, 1.0)
        return work.into(out, xp.multiply, out, 0.5)

    @override
    def gate_slope(self, out: Array, x: Array, gate: Array, work: Workspace) -> Array:
        xp = work.xp
        work.into(out, xp.multiply, x, x)
        if self.approximate == "none":
            work.into(out, xp.multiply, out, -0.5)
            work.into(out, xp.exp, out)
            return work.into(out, xp.multiply, out, 1.0 / math.sqrt(2.0 * math.pi))
        work.into(out, xp.multiply, out, 3.0 * CUBIC)
        work.into(out, xp.add, out, 1.0)
        rest = work.into(work.scratch(x.shape, x.dtype), xp.subtract, 1.0, gate)
        work.into(rest, xp.multiply, rest, gate)
        work.into(out, xp.multiply, out, rest)
        return work.into(out, xp.multiply, out, 2.0 * math.sqrt(2.0 / math.pi))


def _logistic(out: Array, x: Array, work: Workspace) -> Array:
    """Return ``out``, which may be x, holding 1/(1 + exp(−x)).

    It is computed as exp(min(x, 0))/(1 + exp(−|x|)), which never overflows.
    """
    xp, below = work.xp, work.scratch(x.shape, x.dtype)
    work.into(below, xp.abs, x)
    work.into(below, xp.negative, below)
    work.into(below, xp.exp, below)
    work.into(below, xp.add, below, 1.0)
    work.into(out, xp.minimum, x, 0.0)
    work.into(out, xp.exp, out)
    return work.into(out, xp.divide, out, below)
