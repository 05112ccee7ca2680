"""Optimizers of optax, or written for it, in optbench's engine.

:mod:`optbench.optimizers.optax.factory` finds the function that makes one,
:mod:`optbench.optimizers.optax.transformation` compiles it and
:mod:`optbench.optimizers.optax.updater` runs it.
"""

import inspect
import re
from collections.abc import Mapping
from importlib.metadata import version
from textwrap import shorten
from typing import Any, ClassVar

from typing_extensions import override

from optbench.arrays import Array, Tensor
from optbench.errors import SuiteError
from optbench.optimizers.base import Lanes, Optimizer, Task, UpdateContext, Updater
from optbench.optimizers.modifiers import GRADIENT, LEARNING_RATE
from optbench.optimizers.optax.factory import Factory, factory_of, find
from optbench.optimizers.optax.noise import STREAM
from optbench.optimizers.optax.transformation import CompiledTransformation, compiled_for
from optbench.optimizers.optax.updater import OptaxUpdater
from optbench.optimizers.repeats import check_alike
from optbench.plugins import Plugin, Source, load_unchanged
from optbench.plugins.foreign import jax_on

LIBRARIES = ("optax", "jax", "jaxlib")
"""What computes an update, whoever wrote the transformation."""

BEYOND = {
    "batch dimension": (
        "needs the gradient of every example, and lanes have that of a batch; "
        "optax:noisy_sgd adds noise to it"
    ),
    "obj_fn must be provided": (
        "needs second derivatives of the loss; choose one that takes gradients and losses, "
        "as optax:lbfgs"
    ),
}
"""What lanes cannot give a transformation, by words of what it raises."""


def optax_optimizer(rest: str) -> "OptaxOptimizer":
    """Return the optimizer that ``optax:REST`` means.

    Parameters
    ----------
    rest
        A factory's name in optax or optax.contrib, such as ``lion``, or where another one is:
        ``my_module.my_opt`` or ``path/to/file.py:my_opt``.

    Raises
    ------
    SuiteError
        If there is none, or if a suite cannot call it.
    """
    return OptaxOptimizer(factory_of(find(rest)), rest.rpartition(":")[2])


class OptaxOptimizer(Optimizer):
    """An optimizer of optax, or one that is written for it.

    Parameters
    ----------
    factory
        Returns the gradient transformation.
    name
        What it is called.
    """

    evaluates_elsewhere: ClassVar[bool] = True
    plugin: Plugin

    def __init__(self, factory: Factory, name: str) -> None:
        self._factory = factory
        self.name = name
        self.plugin = factory.plugin
        self.hyperparameters = factory.arguments
        self.random = factory.random
        function = getattr(factory.plugin.object, "func", factory.plugin.object)  # of a partial
        self.summary = (inspect.getdoc(function) or name).splitlines()[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        return _again, (self.plugin.spec, self.name, self.plugin.source)

    @override
    def identity(self) -> dict[str, Any]:
        """Return its name, its code, and the versions of the libraries that it computes with."""
        versions = {library: version(library) for library in LIBRARIES}
        source = self.plugin.source.identity()
        noise = {"noise": STREAM} if self.random else {}
        return {"name": f"optax:{self.plugin.name}", "source": source, **versions, **noise}

    @override
    def fit(self, task: Task) -> tuple[str, ...]:
        """Make the transformation of every configuration, and trace an update of it.

        Raises
        ------
        SuiteError
            If one raises, if it asks for what a suite cannot give, if it draws random numbers
            without a key, if its learning rate is to be scheduled and cannot be, or if gradients
            are to be changed where it evaluates the loss itself.
        """
        uphill = False
        seen: set[CompiledTransformation] = set()
        for recorded in task.configurations:
            self._make(task, recorded)
            compiled = self.compiled(recorded, task.tensors, task.dtype)
            self._check_compiled(task, compiled)
            self._check_rate(task, recorded, compiled)
            self._check_gradients(task, recorded, compiled)
            if compiled not in seen and not isinstance(recorded.get("lr"), float):
                uphill |= compiled.trial(self._factory.values(recorded)) > 0
            seen.add(compiled)
        if not uphill:
            return ()
        return (
            f"{task.label} steps along the gradient, not against it; optax adds updates to "
            "the parameters, so scale them by a negative learning rate",
        )

    def compiled(
        self, recorded: Mapping[str, float | str], tensors: tuple[Tensor, ...], dtype: str
    ) -> CompiledTransformation:
        """Return what updates lanes with these hyperparameters."""
        return compiled_for(self._factory, recorded, tensors, dtype)

    def _make(self, task: Task, recorded: Mapping[str, float | str]) -> None:
        try:
            with jax_on(None, task.dtype):
                self._factory(self._factory.values(recorded))
        except SuiteError:
            raise
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            said = self._factory.complaint(error)
            raise SuiteError(f"{task.label} cannot be made: {said}") from error

    def _check_compiled(self, task: Task, compiled: CompiledTransformation) -> None:
        if compiled.error is None:
            check_alike(task.label, *compiled.repeats)
            return
        said = self._factory.complaint(compiled.error)
        _, needs_more, arguments = said.partition("required keyword-only argument")
        if needs_more:
            names = ", ".join(re.findall(r"'(\w+)'", arguments))
            raise SuiteError(
                f"{task.label} needs {names} in every update; an optimizer of a suite gets "
                "gradients, state, parameters, value, grad and value_fn only"
            ) from compiled.error
        for word, text in BEYOND.items():
            if word in said:
                raise SuiteError(f"{task.label} {text}") from compiled.error
        shapes = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in task.tensors)
        raise SuiteError(
            f"{task.label} cannot run on {task.problem}: {said}; it has to take tensors of the "
            f"shapes {shorten(shapes, 120, placeholder=' …')}"
        ) from compiled.error

    def _check_gradients(
        self, task: Task, recorded: Mapping[str, float | str], compiled: CompiledTransformation
    ) -> None:
        """Refuse to change gradients that are to be those of the loss that an update evaluates."""
        own = [argument.name for argument in self.hyperparameters]
        changing = [
            each.name for each in GRADIENT if each.name in recorded and each.name not in own
        ]
        if changing and compiled.asks:
            raise SuiteError(
                f"{task.label} evaluates the loss itself, which {changing[0]} does not change; "
                f"leave {changing[0]} out"
            )

    def _check_rate(
        self, task: Task, recorded: Mapping[str, float | str], compiled: CompiledTransformation
    ) -> None:
        """Refuse to scale a learning rate that is missing or that the code looks at."""
        own = [argument.name for argument in self.hyperparameters]
        scaling = [name for name in LEARNING_RATE if name in recorded and name not in own]
        if not scaling or "lr" in compiled.traced:
            return
        if isinstance(recorded["lr"], str):
            raise SuiteError(
                f"{task.label}: {scaling[0]} has no effect without a learning rate; give lr as well"
            )
        if scaling != ["weight_decay"]:
            raise SuiteError(
                f"{task.label} cannot have its learning rate scheduled, since its code looks at "
                "the value when it is made; leave schedule and warmup out"
            )

    @override
    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> Updater:
        return OptaxUpdater(self._factory, lanes, state)

    @override
    def step(self, context: UpdateContext) -> None:
        raise AssertionError("optax's transformations are stepped by OptaxUpdater")


def _again(spec: str, name: str, source: Source) -> OptaxOptimizer:
    """Return an optimizer anew, if its code is still what it was."""
    return OptaxOptimizer(factory_of(load_unchanged(spec, source, name)), name)
