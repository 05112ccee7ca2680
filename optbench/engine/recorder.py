"""Rows of a chunk, kept on the device until the last one is there."""

from dataclasses import dataclass

import numpy as np

from optbench.arrays import Array, Workspace, inner
from optbench.device.base import Device
from optbench.problems.base import Losses
from optbench.records import POSITION_NAMES


@dataclass(frozen=True)
class TraceRows:
    """Consecutive rows of the lanes being stepped, on the host: arrays (rows, lanes)."""

    first: int  # iteration of the first row
    loss: np.ndarray  # float64
    finite: np.ndarray  # whether loss and parameters were
    position: np.ndarray | None = None  # the parameters if they are few, (rows, lanes, parameters)
    penalty: np.ndarray | None = None  # what of the loss is regularisation, if anything can be
    grad_norm: np.ndarray | None = None  # Euclidean norm of the gradient, if a rule asks for it
    evaluations: np.ndarray | None = None  # int64: gradients that rules asked for in the update


class Recorder:
    """Keeps what is reported of each lane at each row of a chunk.

    Parameters
    ----------
    params
        Parameters of all lanes, shape (lanes, parameters), as they stand at each row.
    count
        How many rows.
    penalized, grad_norm
        Whether to keep penalties, and norms of gradients.
    """

    def __init__(
        self,
        params: Array,
        count: int,
        device: Device,
        work: Workspace,
        *,
        penalized: bool,
        grad_norm: bool,
    ) -> None:
        xp = device.xp
        lanes, parameters = params.shape
        self._params, self._device, self._work = params, device, work
        self._loss = xp.empty((count, lanes), dtype=xp.float64)
        self._penalty: Array = xp.empty_like(self._loss) if penalized else None
        self._grad_norm: Array = xp.empty_like(self._loss) if grad_norm else None
        self._position: Array = None
        self._finite: Array = None
        if parameters <= len(POSITION_NAMES):  # by coordinate, as such parameters are stored
            self._position = xp.empty((count, parameters, lanes), dtype=params.dtype)
        else:
            self._finite = xp.empty((count, lanes), dtype=xp.bool)

    def record(self, row: int, losses: Losses) -> None:
        """Keep the losses of a row, and the positions or whether parameters are finite."""
        xp = self._device.xp
        self._loss[row, :] = xp.astype(losses.total, xp.float64, copy=False)
        if self._penalty is not None:
            self._penalty[row, :] = xp.astype(losses.penalty, xp.float64, copy=False)
        if self._position is not None:
            self._position[row, ...] = xp.permute_dims(self._params, (1, 0))
        else:
            self._finite[row, :] = self._work.all_finite(self._params)

    def record_gradient(self, row: int, grads: Array) -> None:
        """Keep the Euclidean norm of each lane's gradient, (lanes, parameters), where asked for."""
        if self._grad_norm is not None:
            xp = self._device.xp
            precise = xp.astype(grads, xp.float64, copy=False)
            self._grad_norm[row, :] = xp.sqrt(inner(precise, precise, xp))[:, 0]

    def fetch(self, first: int, evaluations: np.ndarray | None) -> TraceRows:
        """Bring the rows to the host; ``first`` is the iteration of the first."""
        xp, get = self._device.xp, self._device.get
        position, finite = self._position, self._finite
        if position is not None:
            finite = xp.all(xp.isfinite(position), axis=1)
            position = get(xp.permute_dims(position, (0, 2, 1)))
        return TraceRows(
            first,
            get(self._loss),
            get(finite & xp.isfinite(self._loss)),
            position,
            None if self._penalty is None else get(self._penalty),
            None if self._grad_norm is None else get(self._grad_norm),
            evaluations,
        )
