"""Compiled updates of gradient transformations.

The update of one lane is a function of its hyperparameters, parameters, gradient and state. It is
vectorised over lanes and compiled once:

    updates, state = transformation(hyperparameters).update(gradient, state, parameters, **extra)
    parameters = apply_updates(parameters, updates)

Extra arguments are ``value``, ``grad`` and ``value_fn`` as optax has them, and the ``grad_fn`` of
its SAM; a transformation is given those that its ``update`` takes. The functions call back to the
engine, which computes the loss and the gradient of all lanes on the batch of the step.

Lanes meet nowhere in it, but XLA may order an operation within a lane by the number of lanes, so
that lanes are independent to 1e-6 relative and not to the bit. Lanes of a transformation that looks
at losses are updated one by one, with the same compiled update: line searches and steps that follow
from differences of losses magnify any rounding. Hyperparameters have the precision
of the parameters, as with optax.inject_hyperparams.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from optbench.arrays import Tensor
from optbench.optimizers.optax.factory import Factory
from optbench.optimizers.optax.noise import is_key, with_noise
from optbench.plugins.foreign import jax_on
from optbench.rng import process_generators

NOISE = "noise of the lane"
"""A column beside the hyperparameters; see :mod:`optbench.optimizers.optax.noise`."""

CALLER = "number of the caller"
"""Another one, of integers: which of the evaluators of a compiled update its lanes ask."""

Evaluate: TypeAlias = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Returns losses (lanes,) and gradients (lanes, parameters) at parameters of that shape."""

MOST_KEPT = 256
"""Compiled updates of a factory that are kept for later blocks."""

CALL_BACK = re.compile(r"\bindex = \d+ : ui64")
"""What XLA calls a function of Python in the text of an update: a number that is never the same."""


class CompiledTransformation:
    """A gradient transformation over lanes that differ in traced hyperparameters only.

    Parameters
    ----------
    factory
        Makes the transformation.
    traced
        Names of the hyperparameters that are arguments of the compiled update.
    static
        The others as recorded; they are compiled in.
    noise
        Of its lanes, compiled in as well; None if that is an argument, too.
    tensors, dtype
        Of the parameters.

    Attributes
    ----------
    begin
        Takes columns (lanes,) by name and parameters (lanes, parameters), and returns the state.
        The columns :data:`NOISE` and :data:`CALLER` hold integers.
    step
        Takes columns, parameters, gradients, losses (lanes,) and state, and returns new parameters
        and state. The state that it is given cannot be used afterwards.
    evaluators
        What steps call that :attr:`asks`, by the number of the caller, until they have ended;
        blocks in several threads share a compiled update. Who has none gets losses and gradients
        of 0.
    average
        Takes parameters and the state of schedule_free, and returns the parameters to evaluate.
    repeats
        Whether users' code was the same when it was traced again, and states of random generators;
        see :func:`~optbench.optimizers.repeats.check_alike`.
    takes_loss
        Whether an update looks at the loss that came with the gradient.
    asks
        Whether an update evaluates the loss at parameters of its choice.
    error
        What the transformation raises where these names are traced; None if it works.
    """

    def __init__(
        self,
        factory: Factory,
        traced: tuple[str, ...],
        static: tuple[tuple[str, float | str], ...],
        noise: int | None,
        tensors: tuple[Tensor, ...],
        dtype: str,
    ) -> None:
        import jax

        self.traced = traced
        self._factory = factory
        recorded = dict(static)
        self._fixed = {
            argument.name: argument.value(recorded[argument.name])
            for argument in factory.arguments
            if argument.name in recorded
        }
        self._noise = noise
        self._tensors = tensors
        self._dtype = dtype
        self.begin: Callable[..., Any] = jax.jit(jax.vmap(self._begin))
        self.step: Any = jax.jit(jax.vmap(self._step), donate_argnums=4)
        self.average: Callable[..., Any] = jax.jit(jax.vmap(self._average))
        self.evaluators: dict[int, Evaluate] = {}
        self.repeats: tuple[bool, list[bytes]] = (True, [b""] * 3)
        self.takes_loss = self.asks = False
        self.error = self._attempt()

    @property
    def apart(self) -> bool:
        """Whether lanes are updated one by one: where it looks at losses."""
        return self.takes_loss or self.asks

    def trial(self, values: Mapping[str, Any]) -> float:
        """Return the product of a made-up gradient with the step that a lane takes for it."""
        generator = np.random.default_rng(0)
        size = sum(tensor.size for tensor in self._tensors)
        with jax_on(None, self._dtype):
            params = 0.1 * generator.standard_normal((1, size)).astype(self._dtype)
            grads = generator.standard_normal((1, size)).astype(self._dtype)
            columns = {name: np.array([values[name]], self._dtype) for name in self.traced}
            columns |= {name: np.zeros(1, np.int32) for name in (NOISE, CALLER)}
            losses = np.zeros(1, self._dtype)
            moved, _ = self.step(columns, params, grads, losses, self.begin(columns, params))
            return float(np.sum((np.asarray(moved) - params) * grads))

    def _attempt(self) -> BaseException | None:
        """Trace state and update without computing anything."""
        import jax

        size = sum(tensor.size for tensor in self._tensors)
        with jax_on(None, self._dtype):
            rows = jax.ShapeDtypeStruct((1, size), self._dtype)
            losses = jax.ShapeDtypeStruct((1,), self._dtype)
            columns = dict.fromkeys(self.traced, losses)
            columns |= dict.fromkeys((NOISE, CALLER), jax.ShapeDtypeStruct((1,), np.int32))
            try:
                state = jax.eval_shape(self.begin, columns, rows)
                traced = self.step.trace(columns, rows, rows, losses, state).jaxpr.jaxpr
                loss = traced.invars[len(columns) + 2]
                self.takes_loss = any(
                    loss is each for equation in traced.eqns for each in equation.invars
                ) or any(loss is each for each in traced.outvars)
                if self._factory.plugin.source.package != "optax":
                    self.repeats = self._traced_again(columns, rows, losses)
            except (Exception, SystemExit) as error:  # a user's code may raise anything
                return error
        return None

    def _traced_again(self, columns: Any, rows: Any, losses: Any) -> tuple[bool, list[bytes]]:
        """Return the arguments of :func:`~optbench.optimizers.repeats.check_alike`.

        What is drawn while an update is traced would be compiled in.
        """
        import jax

        states, texts = [process_generators()], []
        for _ in range(2):
            # A new function each time, since JAX traces none twice.
            def update(columns: Any, row: Any, grad: Any, loss: Any) -> Any:
                return self._step(columns, row, grad, loss, self._begin(columns, row))

            text = jax.jit(jax.vmap(update)).lower(columns, rows, rows, losses).as_text()
            texts.append(CALL_BACK.sub("", text))
            states.append(process_generators())
        return texts[0] == texts[1], states

    def _tree(self, row: Any) -> dict[str, Any]:
        """Return the tensors in a row (parameters,) by name."""
        ends = np.cumsum([tensor.size for tensor in self._tensors])
        return {
            tensor.name: row[end - tensor.size : end].reshape(tensor.shape)
            for tensor, end in zip(self._tensors, ends.tolist(), strict=True)
        }

    def _row(self, tree: Mapping[str, Any]) -> Any:
        import jax.numpy as jnp

        return jnp.concatenate([tree[tensor.name].reshape(-1) for tensor in self._tensors])

    def _made(self, hyperparameters: Mapping[str, Any]) -> Any:
        """Return the transformation of one lane.

        Its numbers have JAX's weak type, as Python's have: a float32 of the transformation's own
        stays one in company with them.
        """
        import jax.numpy as jnp

        weak = {name: jnp.asarray(0.0).at[()].set(hyperparameters[name]) for name in self.traced}
        noise = hyperparameters[NOISE] if self._noise is None else self._noise
        return self._factory({**self._fixed, **weak}, noise)

    def _begin(self, hyperparameters: Mapping[str, Any], row: Any) -> Any:
        """Return the state of one lane at its start, of the types that it has after an update."""
        import jax

        state = self._made(hyperparameters).init(self._tree(row))
        then = jax.eval_shape(
            lambda state: self._updated(hyperparameters, row, row, row.sum(), state)[1], state
        )
        if jax.tree.structure(then) != jax.tree.structure(state):
            raise TypeError("its state has another structure after an update")
        typed = jax.tree.map(_of_type, state, then)
        noise = hyperparameters[NOISE]
        return jax.tree.map(lambda leaf, like: with_noise(leaf, like, noise), typed, then)

    def _step(
        self, hyperparameters: Mapping[str, Any], row: Any, grad: Any, loss: Any, state: Any
    ) -> Any:
        import optax

        updates, state = self._updated(hyperparameters, row, grad, loss, state)
        return self._row(optax.apply_updates(self._tree(row), updates)), state

    def _updated(
        self, hyperparameters: Mapping[str, Any], row: Any, grad: Any, loss: Any, state: Any
    ) -> Any:
        """Return the updates of a transformation and its new state."""
        caller = hyperparameters[CALLER]
        made, grads = self._made(hyperparameters), self._tree(grad)
        offered = {
            "value": loss,
            "grad": grads,
            "value_fn": lambda params: self._value(params, caller),
            "grad_fn": lambda params, _=None: self._gradient(params, caller),  # _ counts calls
        }
        taken = inspect.signature(made.update).parameters
        # Line searches refuse what neither they nor value_fn take.
        anything = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        given = {
            name: each
            for name, each in offered.items()
            if name in taken or (anything and name != "grad_fn")
        }
        return made.update(grads, state, self._tree(row), **given)

    def _value(self, params: Any, caller: Any) -> Any:
        """Return the loss of a lane at some parameters; JAX can take its first derivative."""
        import jax

        value = jax.custom_vjp(lambda row, caller: self._evaluated(row, caller)[0])
        value.defvjp(self._evaluated, lambda grad, scale: (scale * grad, None))
        return value(self._row(params), caller)

    def _gradient(self, params: Any, caller: Any) -> Any:
        return self._tree(self._evaluated(self._row(params), caller)[1])

    def _evaluated(self, row: Any, caller: Any) -> Any:
        """Return the loss of a lane and its gradient, computed by the engine."""
        import jax

        self.asks = True
        # Bits go there and back: JAX rounds float64 in a thread that did not ask for it.
        bits = jax.lax.bitcast_convert_type(row, np.uint32)
        shapes = jax.ShapeDtypeStruct(bits.shape[1:], np.uint32), bits
        losses, grads = jax.pure_callback(
            self._called, shapes, caller, bits, vmap_method="broadcast_all"
        )
        return tuple(jax.lax.bitcast_convert_type(each, row.dtype) for each in (losses, grads))

    def _called(self, callers: Any, bits: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what an evaluator returns, all as bits, of parameters of all its lanes."""
        evaluate = self.evaluators.get(int(np.asarray(callers)[0]), _flat)
        rows = np.ascontiguousarray(bits).view(self._dtype).reshape(bits.shape[:2])
        losses, grads = (np.ascontiguousarray(each).view(np.uint32) for each in evaluate(rows))
        return losses.reshape(len(bits), *bits.shape[2:]), grads.reshape(bits.shape)

    def _average(self, row: Any, state: Any) -> Any:
        import optax.contrib

        return self._row(optax.contrib.schedule_free_eval_params(state, self._tree(row)))


def _flat(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and gradients of 0, for updates whose results nobody uses."""
    return np.zeros(len(rows), rows.dtype), np.zeros_like(rows)


def compiled_for(
    factory: Factory,
    recorded: Mapping[str, float | str],
    tensors: tuple[Tensor, ...],
    dtype: str,
    noise: int = 0,
) -> CompiledTransformation:
    """Return the transformation of a lane; lanes that differ in numbers only share one.

    Numbers are traced. A factory that needs the value of one where Python decides, as in
    ``if momentum > 0:``, gets the values of all but the learning rate, or of that as well; one that
    needs its seed gets that.
    """
    floats = [name for name, value in factory.values(recorded).items() if isinstance(value, float)]
    ladder = dict.fromkeys((tuple(floats), tuple(name for name in floats if name == "lr"), ()))
    for traced, seed in product(ladder, (None, noise) if factory.seeds else (None,)):
        names = [argument.name for argument in factory.arguments if argument.name not in traced]
        static = tuple((name, recorded[name]) for name in names)
        compiled = _compiled(factory, (traced, static, seed, tensors, dtype))
        if compiled.error is None:
            break
    return compiled


def _compiled(factory: Factory, key: tuple[Any, ...]) -> CompiledTransformation:
    kept: dict[Any, CompiledTransformation] = factory.compiled
    compiled = kept.get(key) or CompiledTransformation(factory, *key)
    kept[key] = compiled
    while len(kept) > MOST_KEPT:
        kept.pop(next(iter(kept)), None)
    return compiled


def _of_type(leaf: Any, like: Any) -> Any:
    import jax

    return leaf if is_key(like) else jax.lax.convert_element_type(leaf, like.dtype)
