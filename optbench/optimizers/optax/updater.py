"""Runs gradient transformations of optax on the lanes of a block."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from optbench.arrays import Array
from optbench.errors import SuiteError
from optbench.optimizers.base import HostColumns, Lanes, Updater
from optbench.optimizers.optax.factory import Factory, jax_on
from optbench.optimizers.optax.program import Program, is_key, program_of

ON_CPU = 1
"""What DLPack calls the CPU."""


class _Group:
    """Lanes that share a program, at some places of the block."""

    def __init__(self, program: Program, places: Sequence[int], lanes: int) -> None:
        self.program = program
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

    On the CPU arrays are copied to JAX and back; those of a GPU go there through DLPack, which asks
    for a JAX with CUDA.

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
        self._xp = lanes.context.xp
        self._dtype = lanes.dtype
        self._device = _device_of(self._params)
        self._lanes = len(lanes.hyperparameters)
        self._groups = list(_groups(factory, lanes))
        with self._active():
            for group in self._groups:
                self._start(group, factory, lanes.hyperparameters, state)

    def _start(
        self,
        group: _Group,
        factory: Factory,
        recorded: Sequence[Mapping[str, float | str]],
        state: Mapping[str, Array] | None,
    ) -> None:
        """Give a group its columns and its state, and compile its update."""
        import jax

        values = [factory.values(recorded[place]) for place in group.places]
        group.columns = {
            name: np.array([each[name] for each in values], self._dtype)
            for name in group.program.traced
        }
        program, columns = group.program, group.columns
        group.state = program.begin(columns, self._of(group, self._params))
        # Compiled here, an update takes no longer the first time, when it is timed.
        spare = program.begin(columns, self._of(group, self._params))
        program.step(
            columns, *(self._of(group, each) for each in (self._params, self._grads)), spare
        )
        if state is not None:
            group.state = jax.tree_util.tree_map_with_path(
                lambda path, leaf: self._again(leaf, group, state[_name(path, leaf)]),
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

    def _given(self, array: Any) -> Array:
        """Return an array of JAX as one of the block's namespace; both are the same memory."""
        return np.asarray(array) if self._xp is np else self._xp.from_dlpack(array)

    def _again(self, leaf: Any, group: _Group, array: Array) -> Any:
        """Return a leaf of a state from what :attr:`state` gave of it."""
        import jax

        data = jax.numpy.array(self._of(group, array))  # a copy that JAX may write into
        if is_key(leaf):
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return data

    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        """Take the learning rates of some updates."""
        for group in self._groups:
            if "lr" in group.program.traced:
                group.rates = hyperparameters["lr"][:, group.index, 0].astype(self._dtype)

    def update(self, row: int) -> None:
        """Make one of the planned updates."""
        with self._active():
            moved = []
            for group in self._groups:
                params, grads = self._of(group, self._params), self._of(group, self._grads)
                rows, group.state = group.program.step(group.at(row), params, grads, group.state)
                moved.append(rows)
            self._write(moved, self._params)

    def _write(self, parts: Sequence[Any], rows: Array) -> None:
        """Write what the groups gave into an array (lanes, …)."""
        for group, part in zip(self._groups, parts, strict=True):
            rows[group.index, ...] = self._given(part)

    @property
    def state(self) -> Mapping[str, Array]:
        """The leaves of the transformation's state; zero in lanes whose state has none such."""
        import jax

        found: dict[str, Array] = {}
        with self._active():
            for group in self._groups:
                for path, leaf in jax.tree_util.tree_leaves_with_path(group.state):
                    data = self._given(jax.random.key_data(leaf) if is_key(leaf) else leaf)
                    name = _name(path, leaf)
                    if name not in found:
                        shape = (self._lanes, *data.shape[1:])
                        found[name] = self._xp.zeros(shape, dtype=data.dtype)
                    found[name][group.index, ...] = data
        return found

    def eval_params(self) -> Array:
        """Return the parameters; of optax.contrib.schedule_free, the average that it evaluates."""
        averaged = [_schedule_free(group.state) for group in self._groups]
        if not any(averaged):
            return self._params
        parts = []
        with self._active():
            for group, found in zip(self._groups, averaged, strict=True):
                params = self._of(group, self._params)
                parts.append(group.program.average(params, found[0]) if found else params)
            rows = self._xp.empty(self._params.shape, dtype=self._params.dtype)
            self._write(parts, rows)
        return rows


def _groups(factory: Factory, lanes: Lanes) -> Iterator[_Group]:
    """Yield groups of the lanes that share a program."""
    places: dict[Program, list[int]] = {}
    for place, recorded in enumerate(lanes.hyperparameters):
        program = program_of(factory, recorded, lanes.context.tensors, lanes.dtype)
        places.setdefault(program, []).append(place)
    for program, found in places.items():
        yield _Group(program, found, len(lanes.hyperparameters))


def _device_of(array: Array) -> Any:
    """Return what JAX calls the device of an array."""
    import jax

    kind, number = array.__dlpack_device__()
    if kind == ON_CPU:
        return None
    try:
        return jax.devices("gpu")[number]
    except (RuntimeError, IndexError):
        raise SuiteError(
            "this JAX cannot use the GPU; install it with CUDA (pip install 'jax[cuda13]'), "
            "or run with --device cpu"
        ) from None


def _name(path: Any, leaf: Any) -> str:
    """Return what a leaf of a state is called: its place, its type and its shape in a lane.

    Lanes may have states of several structures, and those that share a name share an array.
    """
    import jax

    return f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape[1:])}"


def _schedule_free(state: Any) -> list[Any]:
    """Return the state of schedule_free within a state, if there is one."""
    import jax
    from optax.contrib import ScheduleFreeState

    def found(each: Any) -> bool:
        return isinstance(each, ScheduleFreeState)

    return [each for each in jax.tree.leaves(state, is_leaf=found) if found(each)][:1]
