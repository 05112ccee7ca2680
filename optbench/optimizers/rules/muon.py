"""Muon: momentum whose update is made orthogonal, for the matrices of hidden layers."""

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from optbench.arrays import Array, Namespace, Tensor, stack
from optbench.optimizers.base import HostColumns, Optimizer, Task, UpdateContext
from optbench.optimizers.rules.layerwise import (
    adam_columns,
    adam_direction,
    adam_moments,
    norm,
    spread,
)
from optbench.settings import Hyperparameter, Switch, fraction

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the quintic iteration: chosen for a steep slope at 0, not for convergence to 1."""

ITERATIONS = 5


def hidden_matrices(tensors: Sequence[Tensor]) -> tuple[str, ...]:
    """Return the names of the tensors that are matrices of hidden layers.

    Tensors of two or more dimensions are the weights of layers, in the order of the layers. The
    first belongs to the input layer and the last to the output layer; those between are hidden.
    So there are none in a network of fewer than three layers with weights.

    >>> shapes = {"dense1.weight": (4, 8), "dense1.bias": (8,), "dense2.weight": (8, 8)}
    >>> tensors = [Tensor(name, shape) for name, shape in shapes.items()]
    >>> hidden_matrices([*tensors, Tensor("dense3.weight", (8, 2))])
    ('dense2.weight',)
    """
    return tuple(tensor.name for tensor in tensors if len(tensor.shape) >= 2)[1:-1]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return fan_in and fan_out of a matrix (fan_in, fan_out) or of filters (fan_out, …).

    >>> fans((3, 5)), fans((5, 2, 3, 3))
    ((3, 5), (18, 5))
    """
    return (shape[0], shape[1]) if len(shape) == 2 else (prod(shape[1:]), shape[0])


def orthogonalize(matrices: Array, eps: Array, xp: Namespace) -> Array:
    """Return nearly orthogonal matrices: U S Vᵀ with the singular values S near 1 instead of own.

    ::

        X ← M/max(‖M‖, eps)            ‖M‖ is the Frobenius norm
        X ← aX + (bA + cA²)X           A = X Xᵀ, five times

    A matrix with more rows than columns is transposed before and after, which gives the same and
    takes less work. The coefficients bring singular values to about [0.7, 1.2].

    Parameters
    ----------
    matrices
        M, shape (lanes, rows, columns).
    eps
        Shape (lanes or 1, 1); keeps M = 0 at 0.
    xp
        The array namespace.

    Returns
    -------
    Array
        The shape of ``matrices``.
    """
    lanes, rows, columns = matrices.shape
    tall = rows > columns
    # Products of matrices that are stored alike, however the parameters are.
    x = xp.empty((lanes, min(rows, columns), max(rows, columns)), dtype=matrices.dtype)
    x[...] = xp.matrix_transpose(matrices) if tall else matrices
    x /= spread(xp.maximum(norm(x, xp), eps), x, xp)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ xp.matrix_transpose(x)
        factor = gram @ gram
        factor *= c
        gram *= b
        factor += gram
        product = factor @ x
        x *= a
        x += product
    return xp.matrix_transpose(x) if tall else x


class Muon(Optimizer):
    """Muon for the matrices of hidden layers, AdamW for everything else.

    Of a hidden matrix W of a lane, with O(·) as in :func:`orthogonalize`::

        m ← m + (1 − momentum)(g − m)                  m is 0 at the start
        u ← g + momentum·(m − g)                       u ← m with nesterov = 0
        W ← (1 − lr·weight_decay)W − lr·√max(1, fan_out/fan_in)·O(u)

    Of biases, normalisation, and the weights of the input and output layers::

        m ← m + (1 − β₁)(g − m)        m and v are 0 at the start
        v ← v + (1 − β₂)(g² − v)
        w ← (1 − lr·adam_ratio·weight_decay)w − lr·adam_ratio·m̂/(√v̂ + eps)

    with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ). Which tensors are hidden matrices
    :func:`hidden_matrices` decides, by their order and shape; with fewer than three layers of
    weights there are none and this is AdamW. Filters (fan_out, channels, height, width) are
    matrices of fan_out rows.

    The equations and defaults are those of Jordan's reference (``MuonWithAuxAdam``: lr = 0.02 and,
    for AdamW, 3e-4, β₁ = 0.9, β₂ = 0.95, eps = 1e-10), which adds 1e-7 to ‖u‖ and takes the ratio
    of height and width in place of fan_out/fan_in for filters. ``torch.optim.Muon`` has the bound
    max(‖u‖, eps) that is taken here, and the same W in the layout (fan_out, fan_in); its defaults
    are lr = 0.001 and weight_decay = 0.1. ``optax.contrib.muon`` corrects the bias of m and g
    apart, which weighs them otherwise under nesterov = 1, adds eps to the norm, and takes every
    matrix as hidden. PyTorch and the reference orthogonalise in bfloat16, here it is the precision
    of the parameters. Learning rates of both parts are multiples of ``lr``, so that a schedule
    moves both.

    Source: K. Jordan, Y. Jin, V. Boza et al., "Muon: an optimizer for hidden layers in neural
    networks" (2024), kellerjordan.github.io/posts/muon.
    """

    name = "muon"
    summary = "w ← w − lr·orthogonalised momentum for hidden matrices, AdamW for the others"
    hyperparameters = (
        Hyperparameter("lr", 0.02, "learning rate: spectral norm of an update"),
        fraction("momentum", 0.95, "share of the momentum kept"),
        Switch("nesterov", 1.0, "1 looks ahead by Nesterov's momentum, 0 does not"),
        Hyperparameter("weight_decay", 0.0, "decoupled, times the learning rate"),
        Hyperparameter("ns_eps", 1e-7, "lower bound of the norm before orthogonalisation"),
        Hyperparameter("adam_ratio", 0.015, "AdamW's learning rate as a multiple of lr"),
        fraction("beta1", 0.9, "AdamW: share of the mean gradient kept"),
        fraction("beta2", 0.95, "AdamW: share of the mean square kept"),
        Hyperparameter("eps", 1e-10, "AdamW: added to the root, after bias correction"),
    )
    slots = ("mean", "mean_square")
    needs_matrices = True
    source = "Jordan, Jin, Boza et al. 2024, kellerjordan.github.io/posts/muon"
    partner = "torch.optim.Muon"

    def fit(self, task: Task) -> tuple[str, ...]:
        """Return also a notice where there are no hidden matrices."""
        notices = super().fit(task)
        if hidden_matrices(task.tensors):
            return notices
        notice = (
            f"{task.label} on {task.problem} has no hidden matrices: "
            "every tensor is updated by AdamW"
        )
        return (*notices, notice)

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates; ``lead`` is the share of g − m added to m."""
        given = hyperparameters
        lr, adam_lr = given["lr"], given["lr"] * given["adam_ratio"]
        rate = 1.0 - given["momentum"]
        return {
            "lr": lr,
            "keep": 1.0 - lr * given["weight_decay"],
            "rate": rate,
            "lead": given["nesterov"] * rate,
            "ns_eps": given["ns_eps"],
            "adam_lr": adam_lr,
            "adam_keep": 1.0 - adam_lr * given["weight_decay"],
            "eps": given["eps"],
            **adam_columns(given, updates),
        }

    def step(self, context: UpdateContext) -> None:
        """Update hidden matrices by Muon and the other tensors by AdamW."""
        means = stack(context.state["mean"], context.tensors, context.xp).views
        squares = stack(context.state["mean_square"], context.tensors, context.xp).views
        hidden = hidden_matrices(context.tensors)
        for name, w in context.params.views.items():
            g = context.grads.views[name]
            columns = {
                key: spread(column, w, context.xp) for key, column in context.columns.items()
            }
            if name in hidden:
                _muon(w, g, means[name], columns, context.columns["ns_eps"], context.xp)
            else:
                _adamw(w, g, means[name], squares[name], columns, context.xp)


def _muon(
    w: Array, g: Array, m: Array, columns: dict[str, Array], ns_eps: Array, xp: Namespace
) -> None:
    """Update a hidden matrix, or filters, and m in place; all arrays (lanes, *shape)."""
    ahead = g - m
    m += columns["rate"] * ahead
    ahead = g - m
    ahead *= columns["lead"]
    ahead += m
    fan_in, fan_out = fans(w.shape[1:])
    matrices = xp.reshape(ahead, (w.shape[0], w.shape[1], -1))
    update = xp.reshape(orthogonalize(matrices, ns_eps, xp), w.shape)
    update *= columns["lr"] * sqrt(max(1.0, fan_out / fan_in))
    w *= columns["keep"]
    w -= update


def _adamw(
    w: Array, g: Array, m: Array, v: Array, columns: dict[str, Array], xp: Namespace
) -> None:
    """Update a tensor and its moments in place; all arrays (lanes, *shape)."""
    rates = {name: columns[name] for name in ("rate1", "rate2")}
    m[...], v[...] = adam_moments(m, g, v, **rates, xp=xp)
    scales = {name: columns[name] for name in ("scale1", "scale2", "eps")}
    update = adam_direction(m, v, **scales, xp=xp)
    update *= columns["adam_lr"]
    w *= columns["adam_keep"]
    w -= update
