"""Runs gradient transformations of optax on the lanes of a block."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array
from optbench.errors import SuiteError, argument
from optbench.optimizers.base import HostColumns, Lanes, Updater
from optbench.optimizers.optax.factory import Factory
from optbench.optimizers.optax.noise import is_key, noise_of
from optbench.optimizers.optax.transformation import (
    CALLER,
    NOISE,
    CompiledTransformation,
    compiled_for,
)
from optbench.plugins.foreign import jax_device, jax_on

_CALLERS = count(1)


class _Group:
    """Lanes that share a compiled transformation, at some places of the block."""

    def __init__(self, compiled: CompiledTransformation, places: Sequence[int], lanes: int) -> None:
        self.compiled = compiled
        self.places = places
        self.index = slice(None) if len(places) == lanes else np.array(places)
        self.columns: dict[str, np.ndarray] = {}
        self.rates: np.ndarray | None = None
        self.state: Any = None

    def at(self, row: int) -> dict[str, np.ndarray]:
        """Return the hyperparameters of a planned update."""
        if self.rates is None:
            return self.columns
        return {**self.columns, "lr": self.rates[row if len(self.rates) > 1 else 0]}


class OptaxUpdater(Updater):
    """Updates of lanes by a gradient transformation.

    On the CPU arrays are copied to JAX and back; on a GPU they go through DLPack, which needs a JAX
    with CUDA.

    Parameters
    ----------
    factory
        Makes the transformation.
    lanes
        The lanes, their parameters as they stand.
    state
        What :attr:`state` gave; None at the start.
    """

    def __init__(self, factory: Factory, lanes: Lanes, state: Mapping[str, Array] | None) -> None:
        self._params, self._grads = lanes.context.params.rows, lanes.context.grads.rows
        self._loss, self._evaluate = lanes.context.loss, lanes.context.evaluate
        self._xp = lanes.context.xp
        self._dtype = lanes.dtype
        self._device = jax_device(self._params)
        self._lanes = len(lanes.hyperparameters)
        self._groups = list(_groups(factory, lanes))
        self._takes_loss = any(group.compiled.takes_loss for group in self._groups)
        if self._device is not None and any(group.compiled.asks for group in self._groups):
            raise SuiteError(
                "an optimizer that evaluates the loss itself cannot do so on a GPU; "
                f"run with {argument('device', 'cpu')}"
            )
        with self._active():
            for group in self._groups:
                self._start(group, factory, lanes, state)

    def _start(
        self,
        group: _Group,
        factory: Factory,
        lanes: Lanes,
        state: Mapping[str, Array] | None,
    ) -> None:
        """Give a group its columns and its state, and compile its update."""
        import jax

        values = [factory.values(lanes.hyperparameters[place]) for place in group.places]
        group.columns = {
            name: np.array([lane[name] for lane in values], self._dtype)
            for name in group.compiled.traced
        }
        noises = [noise_of(lanes.seeds[place]) for place in group.places]
        group.columns[NOISE] = np.array(noises, np.int32)
        group.columns[CALLER] = np.zeros(len(noises), np.int32)  # nobody, until all is compiled
        compiled, columns = group.compiled, group.columns
        group.state = compiled.begin(columns, self._of(group, self._params))
        # Compiled here, an update takes no longer the first time, when it is timed.
        rows = (self._params, self._grads, self._params[:, 0])
        spare = compiled.begin(columns, self._of(group, self._params))
        compiled.step(columns, *(self._of(group, each) for each in rows), spare)
        columns[CALLER] = np.full(len(group.places), next(_CALLERS), np.int32)
        if state is not None:
            group.state = jax.tree_util.tree_map_with_path(
                lambda path, leaf: self._restored(leaf, group, state[_name(path, leaf)]),
                group.state,
            )

    def _active(self) -> Any:
        return jax_on(self._device, self._dtype)

    def _of(self, group: _Group, array: Array) -> Any:
        """Return a copy of a group's lanes, stored by lane, as a compiled function takes it."""
        import jax

        lanes = array[group.index, ...]
        if self._xp is np:
            return lanes.copy()
        stored = self._xp.empty(lanes.shape, dtype=lanes.dtype)
        stored[...] = lanes
        return jax.dlpack.from_dlpack(stored)

    def _shared(self, array: Any) -> Array:
        """Return an array of JAX as one of the block's namespace, in the same memory."""
        return np.asarray(array) if self._xp is np else self._xp.from_dlpack(array)

    def _restored(self, leaf: Any, group: _Group, array: Array) -> Any:
        """Return a leaf of a state from what :attr:`state` returned of it."""
        import jax

        data = jax.numpy.array(self._of(group, array))  # a copy that JAX may write into
        if is_key(leaf):
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return data

    @override
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        for group in self._groups:
            if "lr" in group.compiled.traced:
                group.rates = hyperparameters["lr"][:, group.index, 0].astype(self._dtype)

    @override
    def update(self, row: int) -> None:
        with self._active():
            moved = []
            losses = self._loss() if self._takes_loss else self._params[:, 0]
            for group in self._groups:
                given = (self._of(group, each) for each in (self._params, self._grads, losses))
                with self._answering(group):
                    rows, group.state = group.compiled.step(group.at(row), *given, group.state)
                moved.append(rows)
            self._write(moved, self._params)

    @contextmanager
    def _answering(self, group: _Group) -> Iterator[None]:
        """Answer what a group's update asks, until it has ended."""
        if not group.compiled.asks:
            yield
            return
        import jax

        caller = int(group.columns[CALLER][0])
        group.compiled.evaluators[caller] = partial(self._evaluated, group)
        try:
            yield
            jax.block_until_ready(group.state)
        finally:
            del group.compiled.evaluators[caller]

    def _evaluated(self, group: _Group, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and gradients of a group's lanes at other parameters."""
        losses, grads = self._evaluate(self._xp.asarray(rows), group.index)
        return np.asarray(losses).astype(self._dtype), np.asarray(grads).astype(self._dtype)

    def _write(self, parts: Sequence[Any], rows: Array) -> None:
        """Write what the groups gave into an array (lanes, …)."""
        for group, part in zip(self._groups, parts, strict=True):
            rows[group.index, ...] = self._shared(part)

    @property
    @override
    def state(self) -> Mapping[str, Array]:
        """The leaves of the transformation's state; zero in lanes whose state lacks the leaf."""
        import jax

        arrays: dict[str, Array] = {}
        with self._active():
            for group in self._groups:
                for path, leaf in jax.tree_util.tree_leaves_with_path(group.state):
                    data = self._shared(jax.random.key_data(leaf) if is_key(leaf) else leaf)
                    name = _name(path, leaf)
                    if name not in arrays:
                        shape = (self._lanes, *data.shape[1:])
                        arrays[name] = self._xp.zeros(shape, dtype=data.dtype)
                    arrays[name][group.index, ...] = data
        return arrays

    @override
    def eval_params(self) -> Array:
        """Return the parameters; for optax.contrib.schedule_free, the average that it evaluates."""
        averaged = [_schedule_free(group.state) for group in self._groups]
        if not any(averaged):
            return self._params
        parts = []
        with self._active():
            for group, states in zip(self._groups, averaged, strict=True):
                params = self._of(group, self._params)
                parts.append(group.compiled.average(params, states[0]) if states else params)
            rows = self._xp.empty(self._params.shape, dtype=self._params.dtype)
            self._write(parts, rows)
        return rows


def _groups(factory: Factory, lanes: Lanes) -> Iterator[_Group]:
    """Yield groups of the lanes that share a compiled transformation, or single ones of them."""
    groups: dict[CompiledTransformation, list[int]] = {}
    tensors, noises = lanes.context.tensors, map(noise_of, lanes.seeds)
    for place, (recorded, noise) in enumerate(zip(lanes.hyperparameters, noises, strict=True)):
        compiled = compiled_for(factory, recorded, tensors, lanes.dtype, noise)
        groups.setdefault(compiled, []).append(place)
    for compiled, places in groups.items():
        for own in [[place] for place in places] if compiled.apart else [places]:
            yield _Group(compiled, own, len(lanes.hyperparameters))


def _name(path: Any, leaf: Any) -> str:
    """Return what a leaf of a state is called: its place, its type and its shape in a lane.

    Lanes may have states of several structures, and those that share a name share an array.
    """
    import jax

    return f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape[1:])}"


def _schedule_free(state: Any) -> list[Any]:
    """Return the first state of schedule_free within a state, if there is one."""
    import jax
    from optax.contrib import ScheduleFreeState

    def is_state(value: Any) -> bool:
        return isinstance(value, ScheduleFreeState)

    return [leaf for leaf in jax.tree.leaves(state, is_leaf=is_state) if is_state(leaf)][:1]
