"""Muon: momentum whose update is made orthogonal, for the matrices of hidden layers."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from math import prod, sqrt

import numpy as np

from optbench.arrays import Array, Tensor, Workspace
from optbench.optimizers.base import HostColumns, Optimizer, Task, UpdateContext
from optbench.optimizers.rules.layerwise import (
    adam_columns,
    adam_direction,
    adam_moments,
)
from optbench.settings import Hyperparameter, Switch, fraction

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the quintic iteration: chosen for a steep slope at 0, not for convergence to 1."""

ITERATIONS = 5

ADAM_COLUMNS = ("rate1", "rate2", "scale1", "scale2", "eps", "adam_lr", "adam_keep")
"""What :meth:`Muon.adamw` takes."""


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


@lru_cache
def stretches(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return flat tensors for hidden matrices, and one for all that lies between two of them.

    >>> shapes = {"a.weight": (2, 3), "a.bias": (3,), "b.weight": (3, 3), "b.bias": (3,)}
    >>> tensors = [Tensor(name, shape) for name, shape in shapes.items()]
    >>> [part.shape for part in stretches((*tensors, Tensor("c.weight", (3, 2))))]
    [(9,), (9,), (9,)]
    """
    hidden = hidden_matrices(tensors)
    parts = [
        list(part)
        for name, part in groupby(tensors, lambda each: each.name if each.name in hidden else None)
    ]
    return tuple(Tensor(part[0].name, (sum(each.size for each in part),)) for part in parts)


def orthogonalize(matrices: Array, eps: Array, work: Workspace) -> Array:
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
    work
        What gives the arrays that are worked in.

    Returns
    -------
    Array
        The shape of ``matrices``; a work array, or a view of one.
    """
    xp = work.xp
    lanes, rows, columns = matrices.shape
    tall = rows > columns
    # Products of matrices that are stored alike, however the parameters are.
    low, high = min(rows, columns), max(rows, columns)
    x, product = (work.take((lanes, low, high), matrices.dtype) for _ in range(2))
    gram, factor = (work.take((lanes, low, low), matrices.dtype) for _ in range(2))
    x[...] = xp.matrix_transpose(matrices) if tall else matrices
    squares = work.into(product, xp.multiply, x, x)
    norm = xp.sqrt(xp.sum(xp.reshape(squares, (lanes, -1)), axis=1, keepdims=True))
    x /= xp.maximum(norm, eps)[..., None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        work.into(gram, xp.matmul, x, xp.matrix_transpose(x))
        work.into(factor, xp.matmul, gram, gram)
        factor *= c
        gram *= b
        factor += gram
        work.into(product, xp.matmul, factor, x)
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
    work_arrays = 1
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
        columns, state, work = context.columns, context.state, context.work
        parts = stretches(context.tensors)
        w, g, mean, mean_square = (
            work.views(rows, parts)
            for rows in (
                context.params.rows,
                context.grads.rows,
                state["mean"],
                state["mean_square"],
            )
        )
        shapes = {tensor.name: tensor.shape for tensor in context.tensors}
        hidden = hidden_matrices(context.tensors)
        adam = {name: columns[name] for name in ADAM_COLUMNS}
        for part in parts:
            name = part.name
            if name in hidden:
                self._orthogonal(context, shapes[name], w[name], g[name], mean[name])
            else:
                arrays = [w[name], g[name], mean[name], mean_square[name]]
                context.elementwise(self.adamw, arrays, adam)

    def _orthogonal(
        self, context: UpdateContext, shape: tuple[int, ...], w: Array, g: Array, m: Array
    ) -> None:
        """Update a hidden matrix, or filters, and m in place; arrays (lanes, size)."""
        columns, xp, work = context.columns, context.xp, context.work
        work.begin("update")  # of each matrix, in arrays of the one before if they are alike
        update = work.take(w.shape, w.dtype)
        rates = {name: columns[name] for name in ("rate", "lead")}
        context.elementwise(self.look_ahead, [m, g, update], rates)
        matrices = xp.reshape(update, (w.shape[0], shape[0], -1), copy=False)
        matrices[...] = orthogonalize(matrices, columns["ns_eps"], work)
        fan_in, fan_out = fans(shape)
        size = columns["lr"] * sqrt(max(1.0, fan_out / fan_in))
        context.elementwise(self.move, [w, update], {"keep": columns["keep"], "size": size})

    @staticmethod
    def look_ahead(m, g, u, *, rate, lead, xp):
        """Return m and u, both of shape (lanes, parameters)."""
        m = m + rate * (g - m)
        return m, lead * (g - m) + m

    @staticmethod
    def move(w, u, *, keep, size, xp):
        """Return w, of shape (lanes, parameters); u is O(u)."""
        return (w * keep - u * size,)

    @staticmethod
    def adamw(w, g, m, v, *, rate1, rate2, scale1, scale2, eps, adam_lr, adam_keep, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m, v = adam_moments(m, g, v, rate1=rate1, rate2=rate2, xp=xp)
        direction = adam_direction(m, v, scale1=scale1, scale2=scale2, eps=eps, xp=xp)
        return w * adam_keep - direction * adam_lr, m, v
