"""Runs element-wise optimizers over recorded gradients, and compares them with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optbench.arrays import Tensor, stack
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import Elementwise, Optimizer, UpdateContext
from tests.reference.network import MultiLayerNet

UPDATES = (1, 7, 50)
"""Updates after which positions are compared."""

BOUNDS = {"float64": 1e-10, "float32": 1e-5}
"""The largest difference allowed at each precision."""


@dataclass(frozen=True)
class Recording:
    """Tensors, a start (parameters,), and the gradients of each update, (updates, parameters)."""

    tensors: tuple[Tensor, ...]
    start: np.ndarray
    gradients: np.ndarray

    def split(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors in a row (parameters,) by name."""
        ends = np.cumsum([tensor.size for tensor in self.tensors])[:-1]
        parts = zip(self.tensors, np.split(row, ends), strict=True)
        return {tensor.name: part.reshape(tensor.shape) for tensor, part in parts}


def _quadratic() -> Recording:
    """Gradients of Σ aᵢwᵢ²/2 along a noisy descent; their signs stay, turn, or come and go."""
    rng = np.random.default_rng(21)
    tensors = (Tensor("a", (5, 7)), Tensor("b", (7,)), Tensor("c", (4,)))
    size = sum(tensor.size for tensor in tensors)
    curvatures = rng.permutation(np.geomspace(0.02, 1.6, size))
    start = w = rng.normal(size=size) * 3.0
    rows = []
    for _ in range(max(UPDATES)):
        rows.append(curvatures * w)
        w = w - rows[-1] + 0.1 * rng.normal(size=size)
    return Recording(tensors, start, np.array(rows))


def _network() -> Recording:
    """Gradients of a network on random batches; many are 0."""
    rng = np.random.default_rng(22)
    network = MultiLayerNet(5, [6, 7], 3, seed=4)
    tensors = tuple(Tensor(name, each.shape) for name, each in network.params.items())
    rows = []
    for _ in range(max(UPDATES)):
        grads = network.gradient(rng.normal(size=(6, 5)), rng.integers(3, size=6))
        rows.append(np.concatenate([each.ravel() for each in grads.values()]))
        for name, gradient in grads.items():
            network.params[name] -= 0.1 * gradient
    return Recording(tensors, rng.normal(size=len(rows[0])), np.array(rows))


RECORDINGS = {"quadratic": _quadratic(), "network": _network()}


Given = Mapping[str, float | str]
"""Hyperparameters, as a suite gives them."""


def settings(optimizer: type[Optimizer], given: Given) -> dict[str, float | str]:
    """Return all hyperparameters of an optimizer, checked."""
    known = {each.name: each for each in optimizer.hyperparameters}
    assert given.keys() <= known.keys()
    return {name: each.check(given.get(name, each.default)) for name, each in known.items()}


def hyperparameters_of(optimizer: type[Optimizer], given: Sequence[Given]):
    """Return all hyperparameters of lanes, (1, lanes, 1) each."""
    complete = [settings(optimizer, each) for each in given]
    return {
        each.name: np.array([[[each.number(lane[each.name])] for lane in complete]])
        for each in optimizer.hyperparameters
    }


class Lanes:
    """Lanes of one optimizer, a configuration each, all at one start (parameters,)."""

    def __init__(
        self,
        optimizer: type[Elementwise],
        configurations: Sequence[Given],
        start: np.ndarray,
        *,
        dtype: str = "float64",
        by_coordinate: bool = False,
        device: Device | None = None,
    ) -> None:
        self.optimizer = optimizer()
        self.device = device or NumpyDevice()
        self._dtype = dtype
        self._hyperparameters = hyperparameters_of(optimizer, configurations)
        self._shape = (len(configurations), len(start))
        self._tensors = (Tensor("w", start.shape),)

        def zeros():
            rows = self.device.rows(*self._shape, dtype, by_coordinate=by_coordinate)
            return stack(rows, self._tensors, self.device.xp)

        self._params, self._grads = zeros(), zeros()
        self._params.rows[...] = self._put(np.broadcast_to(start, self._shape))
        self._state = {slot: zeros().rows for slot in optimizer.slots}
        self._elementwise = self.device.elementwise()
        self._t = 0

    def _put(self, array: np.ndarray):
        return self.device.put(array.astype(self._dtype))

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """Make an update with gradients (lanes, parameters), or (parameters,) for all lanes."""
        self._t += 1
        columns = self.optimizer.columns(self._hyperparameters, range(self._t, self._t + 1))
        self._grads.rows[...] = self._put(np.broadcast_to(gradient, self._shape))
        self.optimizer.step(
            UpdateContext(
                params=self._params,
                grads=self._grads,
                state=self._state,
                columns={name: self._put(column[0]) for name, column in columns.items()},
                elementwise=self._elementwise,
                tensors=self._tensors,
                xp=self.device.xp,
            )
        )
        return np.array(self.device.get(self._params.rows))

    def path(self, gradients: np.ndarray) -> np.ndarray:
        """Return the positions after each update, (updates, lanes, parameters)."""
        return np.array([self.step(row) for row in gradients])


Reference = Callable[[dict[str, float | str], Recording, str], np.ndarray]
"""Takes all hyperparameters, a recording and a precision; returns (updates, parameters)."""


def largest_difference(
    optimizer: type[Elementwise],
    configurations: Sequence[Given],
    reference: Reference,
    recording: Recording,
    dtype: str,
) -> float:
    """Return the largest max|a − b| / max|b| of any tensor and lane after 1, 7 and 50 updates."""
    path = Lanes(optimizer, configurations, recording.start, dtype=dtype).path(recording.gradients)
    assert path.dtype == dtype
    differences = []
    for lane, given in enumerate(configurations):
        expected = reference(settings(optimizer, given), recording, dtype)
        assert expected.shape == recording.gradients.shape
        assert np.abs(expected[-1] - recording.start).max() > 1e-4  # it went somewhere
        for update in UPDATES:
            found = recording.split(path[update - 1, lane])
            for name, tensor in recording.split(expected[update - 1]).items():
                differences.append(np.abs(found[name] - tensor).max() / np.abs(tensor).max())
    return float(max(differences))
