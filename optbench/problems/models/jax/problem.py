"""Functions of JAX as a problem: lanes of them stacked by vmap and compiled, or in a loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Array, Buffer, Stacked, Tensor, Workspace
from optbench.errors import SuiteError
from optbench.plugins.foreign import jax_device, jax_on
from optbench.problems.base import Arrays, Losses
from optbench.problems.models.arguments import AUTO, VMAP
from optbench.problems.models.jax.task import Task
from optbench.problems.models.jax.tree import Tree
from optbench.problems.models.problem import DATA, ERROR, ModelProblem

KEY = "key"
"""What a batch calls the keys of lanes: uint32, (lanes, 2) or (1, 2)."""

STATE = "state"
"""The buffer that a lane's state is kept in, as one row."""

KEYS = "threefry2x32"
"""The kind of keys, whose data are two words."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What tracing the loss tells.

    Attributes
    ----------
    params, state
        Their structures.
    draws
        Whether the loss looks at its key.
    saved
        Numbers that are kept for the gradient; 0 where nobody knows.
    compiles
        Whether its code can be compiled.
    why_not
        Why it cannot be stacked; nothing where it can.
    """

    params: Tree
    state: Tree
    draws: bool
    saved: int
    compiles: bool
    why_not: str


class JaxProblem(ModelProblem):
    """Functions of JAX, trained on batches.

    One compiled function computes all lanes; where their number changes it is compiled anew.
    """

    library = "jax"
    task_type = Task

    @override
    def _active(self, device: Any = None) -> Any:
        return jax_on(device, self.dtype)

    def _begun(self, seed: int) -> tuple[Any, Any]:
        """Return parameters and state at the start of a seed; an empty state where there is none.

        They are drawn in the problem's precision.
        """
        words = rng.stream(seed, "start").integers(2**32, size=(2, 2), dtype=np.uint32)
        init, state = self.task.init, self.task.state
        with self._active(), rng.seeded_generators(0):
            params = init(_key(words[0]))
            return params, () if state is None else state(_key(words[1]))

    @cached_property
    def _trees(self) -> tuple[Tree, Tree]:
        """The structures of parameters and state."""
        with self._active():
            params, state = map(Tree.of, self._begun(0))
        if not params.names:
            raise SuiteError(f"{self.name}: init returns no arrays; return the parameters")
        for name, dtype in zip(params.names, params.dtypes, strict=True):
            if np.dtype(dtype).kind != "f":
                raise SuiteError(
                    f"{self.name}: the parameter {name} is of the type {dtype}, not of reals; "
                    "what is not trained belongs into state"
                )
        return params, state

    @override
    def start(self, seed: int) -> np.ndarray:
        return self._trees[0].row(self._begun(seed)[0])

    @override
    def start_buffers(self, seed: int) -> dict[str, np.ndarray]:
        row = self._trees[1].row(self._begun(seed)[1])
        return {STATE: row.astype(self.dtype)} if row.size else {}

    @cached_property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        tree = self._trees[0]
        return tuple(map(Tensor, tree.names, tree.shapes))

    @cached_property
    @override
    def buffers(self) -> tuple[Buffer, ...]:
        size = sum(Tensor("", shape).size for shape in self._trees[1].shapes)
        return (Buffer(STATE, (size,)),) if size else ()

    @property
    @override
    def work_values(self) -> int:
        return 2 * self._learned.saved

    # One lane.

    def _loss(self, row: Any, state: Any, batch: Mapping[str, Any], key: Any) -> tuple[Any, Any]:
        """Return the loss of a lane, and its state afterwards as a row.

        Parameters
        ----------
        row, state
            Shapes (parameters,) and (numbers of the state,).
        batch
            By leaf.
        key
            None in an evaluation.
        """
        return self._loss_of(self._trees[0].built(row), state, batch, key)

    def _loss_of(
        self, params: Any, state: Any, batch: Mapping[str, Any], key: Any
    ) -> tuple[Any, Any]:
        """Return the same of parameters in the user's structure."""
        of_state = self._trees[1]
        own = (of_state.built(state),) if self.task.state is not None else ()
        value = self.task.loss(params, self._built("train", batch), key, *own)
        if not own:
            return self._mean(value), state
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError("its loss must return the loss and the new state")
        return self._mean(value[0]), of_state.flat(value[1], state.dtype)

    def _gradient(self, row: Any, state: Any, batch: Mapping[str, Any], words: Any) -> Any:
        """Return loss and state, and the gradient as a row.

        It is that of each tensor, put together: differentiated by the row, each would be padded
        with zeros to a row, and all these rows added.
        """
        import jax

        tree, both = self._trees[0], jax.value_and_grad(self._loss_of, has_aux=True)
        found, slopes = both(tree.built(row), state, batch, _key(words))
        return found, tree.flat(slopes, row.dtype)

    def _metric(self, row: Any, state: Any, batch: Mapping[str, Any]) -> Any:
        tree, of_state = self._trees
        own = (of_state.built(state),) if self.task.state is not None else ()
        return self._mean(
            self.task.metrics[ERROR](tree.built(row), self._built("train", batch), *own)
        )

    def _mean(self, value: Any) -> Any:
        import jax.numpy as jnp

        if not hasattr(value, "ndim") or value.ndim > 1:
            what = getattr(value, "shape", type(value).__name__)
            raise TypeError(f"its loss or metric returns {what}; return shape () or (batch,)")
        return jnp.mean(jnp.asarray(value).astype(self.dtype))

    # What tracing tells.

    @cached_property
    def _learned(self) -> Learned:
        import jax

        params, state = self._trees
        with self._active():
            rows = [
                jax.ShapeDtypeStruct((sum(tensor.size for tensor in tensors),), self.dtype)
                for tensors in (self.tensors, self.buffers)
            ]
            drawn = {name: each[:1] for name, each in super().draws(0, 0).items()}
            arrays = super().batch(self.data(), drawn, work=Workspace(np))
            batch = {name.removeprefix(DATA): array[0] for name, array in arrays.items()}
            shapes = jax.eval_shape(lambda: {n: jax.numpy.asarray(a) for n, a in batch.items()})
            key = jax.eval_shape(lambda: _key(np.zeros(2, np.uint32)))
            before = rng.process_generators()
            try:
                traced = jax.make_jaxpr(self._loss)(*rows, shapes, key)
                vjp = jax.eval_shape(
                    lambda *given: jax.vjp(lambda row: self._loss(row, *given[1:])[0], given[0])[1],
                    *(*rows, shapes, key),
                )
                jax.eval_shape(self._evaluated, *rows, shapes)
            except jax.errors.JAXTypeError as error:  # it looks at numbers
                self._try_uncompiled(batch)
                return Learned(params, state, True, 0, False, self.complaint(error))
            if rng.process_generators() != before:
                raise SuiteError(
                    f"{self.name} draws random numbers of NumPy or Python, which are compiled in; "
                    "draw them from the key"
                )
            used = {id(var) for eqn in traced.jaxpr.eqns for var in eqn.invars}
            used |= {id(var) for var in traced.jaxpr.outvars}
            draws = id(traced.jaxpr.invars[-1]) in used
            # The batch is shared, and parameters are counted elsewhere.
            known = rows[0].size + sum(leaf.size for leaf in shapes.values())
            saved = sum(leaf.size for leaf in jax.tree_util.tree_leaves(vjp)) - known
            why_not = ""
            try:
                stacked = [jax.ShapeDtypeStruct((2, *row.shape), row.dtype) for row in rows]
                over = jax.vmap(self._loss, in_axes=(0, 0, None, None))
                jax.eval_shape(over, *stacked, shapes, key)
            except Exception as error:  # a user's code may raise anything
                why_not = self.complaint(error)
        return Learned(params, state, draws, max(0, saved), True, why_not)

    def _evaluated(self, row: Any, state: Any, batch: Mapping[str, Any]) -> Any:
        """Return loss and metrics of a lane as an evaluation takes them."""
        loss = self._loss(row, state, batch, None)[0]
        return loss, self._metric(row, state, batch) if ERROR in self.task.metrics else None

    def _try_uncompiled(self, batch: Mapping[str, np.ndarray]) -> None:
        """Compute loss and gradient once; what the user's code raises is passed on."""
        import jax

        row = jax.numpy.asarray(self.start(0), self.dtype)
        state = jax.numpy.asarray(self._trees[1].row(self._begun(0)[1]), self.dtype)
        given = {name: jax.numpy.asarray(array) for name, array in batch.items()}
        self._gradient(row, state, given, np.zeros(2, np.uint32))
        self._evaluated(row, state, given)

    @override
    def _trial(self) -> tuple[str, str]:
        return self._learned.why_not, ""

    @override
    def _how_stacked(self, slow: str) -> str:
        return "its lanes are stacked by vmap and compiled together"

    # All lanes.

    @cached_property
    def _functions(self) -> dict[Any, Callable[..., Any]]:
        """What computes lanes, compiled where that can be, by what it was made for."""
        return {}

    def _each(self, kind: str, shared: tuple[bool, ...], *given: Any) -> Any:
        """Return what a function gives for every lane, stacked.

        Parameters
        ----------
        kind
            ``"gradient"``, ``"loss"``, ``"score"`` or ``"metric"``.
        shared
            Of what is given, whether lanes share it.
        given
            Rows, states, batch and perhaps keys, lanes first where they do not share them.
        """
        import jax

        learned, asked = self._learned, self.settings["stack"]
        stacked = asked == VMAP or (asked == AUTO and not learned.why_not)
        key = (kind, shared, stacked)
        if key not in self._functions:
            function = self._function(kind)
            if stacked:
                axes = tuple(None if alike else 0 for alike in shared)
                function = jax.vmap(function, in_axes=axes)
            self._functions[key] = jax.jit(function) if learned.compiles else function
        function = self._functions[key]
        if stacked:
            return function(*given)
        each = [
            function(
                *(
                    jax.tree.map(jax.numpy.asarray, part if alike else _at(part, lane))
                    for part, alike in zip(given, shared, strict=True)
                )
            )
            for lane in range(len(given[0]))
        ]
        return jax.tree.map(lambda *parts: jax.numpy.stack(parts), *each)

    def _function(self, kind: str) -> Callable[..., Any]:
        def loss(row: Any, state: Any, batch: Any, words: Any) -> Any:
            return self._loss(row, state, batch, _key(words))[0]

        def score(row: Any, state: Any, batch: Any) -> Any:
            return self._loss(row, state, batch, None)[0]

        known: dict[str, Callable[..., Any]] = {
            "gradient": self._gradient,
            "loss": loss,
            "score": score,
            "metric": self._metric,
        }
        return known[kind]

    @override
    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return indices of the batches, and keys where the loss looks at them."""
        drawn = super().draws(seed, block)
        if self._learned.draws:
            shape = (rng.ITERATIONS_PER_BLOCK, 2)
            stream = rng.stream(seed, KEY, block)
            drawn[KEY] = stream.integers(2**32, size=shape, dtype=np.uint32)
        return drawn

    @override
    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        keys = {KEY: draws[KEY]} if self._learned.draws else {}
        return {**super().batch(data, draws, work=work), **keys}

    @property
    @override
    def _streams(self) -> tuple[str, ...]:
        return (KEY,) if self._learned.draws else ()

    @override
    def definition(self) -> dict[str, Any]:
        state = dict(zip(self._trees[1].names, map(list, self._trees[1].shapes), strict=True))
        return {**super().definition(), "state": state}

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        with self._active(jax_device(params.rows)):
            shared, given = self._inputs(params, batch, buffers, work)
            (losses, states), slopes = self._each("gradient", shared, *given)
            grads.rows[...] = _shared(slopes, work)
            if self.buffers:
                buffers[STATE][...] = _shared(states, work)
            return Losses(_shared(losses, work))

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        with self._active(jax_device(params.rows)):
            shared, given = self._inputs(params, batch, buffers, work)
            return Losses(_shared(self._each("loss", shared, *given), work))

    @override
    def _scores(
        self, params: Stacked, examples: Arrays, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        with self._active(jax_device(params.rows)):
            rows, states = self._rows(params, buffers, work)
            batch = {name: _given(array, work) for name, array in examples.items()}
            given, shared = (rows, states, batch), (False, False, True)
            loss = _shared(self._each("score", shared, *given), work)
            if ERROR not in self.task.metrics:
                return loss, loss * float("nan")
            return loss, _shared(self._each("metric", shared, *given), work)

    def _inputs(
        self, params: Stacked, batch: Arrays, buffers: Arrays, work: Workspace
    ) -> tuple[tuple[bool, ...], tuple[Any, ...]]:
        """Return what lanes are given in training, and which of it they share."""
        rows, states = self._rows(params, buffers, work)
        leaves = {name: each for name, each in batch.items() if name.startswith(DATA)}
        one = any(array.shape[0] == 1 for array in leaves.values())
        data = {
            name.removeprefix(DATA): _given(array[0, ...] if one else array, work)
            for name, array in leaves.items()
        }
        words = batch[KEY] if self._learned.draws else work.xp.zeros((1, 2), dtype=work.xp.uint32)
        one_key = words.shape[0] == 1
        keys = _given(words[0, ...] if one_key else words, work)
        return (False, False, one, one_key), (rows, states, data, keys)

    def _rows(self, params: Stacked, buffers: Arrays, work: Workspace) -> tuple[Any, Any]:
        lanes = params.rows.shape[0]
        empty = work.xp.empty((lanes, 0), dtype=params.rows.dtype)
        state = buffers[STATE] if self.buffers else empty
        return _given(params.rows, work), _given(state, work)


def _key(words: Any) -> Any:
    import jax

    return jax.random.wrap_key_data(jax.numpy.asarray(words), impl=KEYS)


def _at(part: Any, lane: int) -> Any:
    """Return the entry of one lane of arrays (lanes, …)."""
    if isinstance(part, dict):
        return {name: array[lane] for name, array in part.items()}
    return part[lane]


def _given(array: Array, work: Workspace) -> Any:
    """Return an array as compiled functions take it: the same memory, if it begins where they ask.

    It must not be written to before :func:`_shared` has given a result.
    """
    import jax

    if work.xp is np:
        return array
    return jax.dlpack.from_dlpack(work.xp.asarray(array, copy=None))


def _shared(array: Any, work: Workspace) -> Array:
    """Return an array of JAX as one of the block's namespace: the same memory, only to be read.

    On a CPU this waits until it is computed, and so until nobody reads what :func:`_given` shared.
    """
    return np.asarray(array) if work.xp is np else work.xp.from_dlpack(array)
