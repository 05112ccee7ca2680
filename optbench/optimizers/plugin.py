"""Optimizers from a user's own code or another library: what a name becomes for the registry.

A name is ``path/to/file.py:NAME`` or ``package.module:NAME`` for a class of this contract, or for
one with ``update(params, grads)`` as textbooks write it,
``torch:NAME`` or ``optax:NAME`` for an optimizer of those libraries or written for them, or the
name of an entry point of the group ``optbench.optimizers``.
"""

import sys
from copy import copy
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

from typing_extensions import override

from optbench.errors import SuiteError
from optbench.optimizers.base import Elementwise, Optimizer, Task
from optbench.optimizers.repeats import check_repeats
from optbench.optimizers.textbook import textbook_class
from optbench.plugins import Plugin
from optbench.plugins.adopt import Adopted, Adopter, checked_notices

LIBRARIES = ("torch", "optax")
"""Libraries whose optimizers are adapted; each is an extra of the same name."""

NAMES = ("slots", "copies", "scalars")
"""Attributes of a class that are tuples of names."""


class PluginOptimizer(Adopted, Optimizer):
    """What the class of every user's optimizer has in front of its own."""

    @override
    def fit(self, task: Task) -> tuple[str, ...]:
        with self.faults_in_one_line(f"cannot run on {task.problem}"):
            notices = checked_notices("fit", super().fit(task))
        check_repeats(lambda: copy(self), task)
        return notices

    @override
    def identity(self) -> dict[str, Any]:
        """Return what identifies its code, and what else the user's own says of it."""
        code = {"name": self.plugin.name, "source": self.plugin.source.identity()}
        return self.with_code("identity", cast(Any, super()).identity(), code)


class _Adopter(Adopter[Optimizer]):
    noun, flag = "optimizer", "-o"
    contract = Optimizer
    front = PluginOptimizer
    required = ("hyperparameters",)
    settings, declared_by = "hyperparameters", "Hyperparameter"

    @override
    def base(self, plugin: Plugin) -> type[Optimizer]:
        given = plugin.object
        if isinstance(given, type) and issubclass(given, Optimizer):
            return given
        if isinstance(given, Optimizer):
            raise SuiteError(f"{plugin.title} is an instance of an optimizer; give its class")
        torch = sys.modules.get("torch")
        if torch is not None and _is_class_of(given, torch.optim.Optimizer):
            raise SuiteError(f"{plugin.title} is PyTorch's; write torch:{plugin.spec}")
        if isinstance(given, type) and callable(getattr(given, "update", None)):
            return textbook_class(plugin)
        remedy = "give a subclass of optbench.optimizers.Optimizer"
        if all(callable(getattr(given, name, None)) for name in ("init", "update")):
            remedy = "if it is optax's, write a function that returns it and name that: optax:NAME"
        elif callable(given):
            remedy = (
                f"write optax:{plugin.spec} if it returns a gradient transformation, else {remedy}"
            )
        raise self.refusal(plugin, remedy)

    @override
    def lacking(self, base: type[Optimizer]) -> list[str]:
        no_rule = getattr(base, "step", None) is Elementwise.step and not hasattr(base, "rule")
        return super().lacking(base) + ["rule"] * no_rule

    @override
    def check(self, base: type[Optimizer], title: str) -> None:
        for attribute in NAMES:
            names = getattr(base, attribute)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise SuiteError(
                    f"{title}: {attribute} = {names!r} must be a tuple of names, such as ('mean',)"
                )
        if stray := [name for name in base.copies if name not in base.slots]:
            raise SuiteError(f"{title}: copies names {stray[0]!r}, which is not one of its slots")


def _is_class_of(given: Any, base: type) -> bool:
    return isinstance(given, type) and issubclass(given, base)


ADOPTER = PluginOptimizer.adopter = _Adopter()
offered = ADOPTER.offered


def plugin_optimizer(name: str) -> Optimizer | None:
    """Return the optimizer that a name means, or None if it is no plug-in's.

    Raises
    ------
    SuiteError
        As :meth:`optbench.plugins.adopt.Adopter.find`, or if it needs a library that is not
        installed.
    """
    library, colon, rest = name.partition(":")
    if colon and library in LIBRARIES:
        return _from_library(library, name, rest)
    if colon and library == "jax":
        raise SuiteError(f"'{name}' is no optimizer; those of JAX are optax's: optax:{rest}")
    found = ADOPTER.find(name)
    return None if found is None else found()


ALL = "*"

OWN = {"torch": ("torch.optim",), "optax": ("optax", "optax.contrib")}
"""Where a library has its own optimizers."""


def all_of_library(name: str) -> list[str] | None:
    """Return the names of all optimizers of a library, for ``torch:*``, ``optax:PACKAGE:*``.

    None if the name means one optimizer.

    Raises
    ------
    SuiteError
        If there is no such library, or none of its names is an optimizer.
    """
    library, colon, rest = name.partition(":")
    place, _, last = rest.rpartition(":")
    if not colon or last != ALL:
        return None
    if library not in LIBRARIES:
        raise SuiteError(
            f"'{name}' must be torch:{ALL}, optax:{ALL}, torch:PACKAGE:{ALL} or "
            f"optax:PACKAGE:{ALL}; name others by name"
        )
    _check_installed(library, name)
    if library == "torch":
        from optbench.optimizers.torch.recipe import names_in
    else:
        from optbench.optimizers.optax.factory import names_in
    modules = [place] if place else OWN[library]
    try:
        found = [each for module in modules for each in names_in(import_module(module))]
    except ImportError as error:
        needed = " and ".join(modules)
        raise SuiteError(f"'{name}' needs {needed}, which cannot be imported: {error}") from None
    if not found:
        raise SuiteError(f"{place} has no optimizers; name a package that offers some")
    return [f"{library}:{place}{':' if place else ''}{each}" for each in dict.fromkeys(found)]


def _from_library(library: str, name: str, rest: str) -> Optimizer:
    if not rest:
        raise SuiteError(f"'{name}' lacks the name of an optimizer; write {library}:NAME")
    if rest.rpartition(":")[2] == ALL:
        raise SuiteError(
            f"'{name}' means all optimizers of a library, which only a run can be given; name "
            "those that are meant"
        )
    _check_installed(library, name)
    if library == "torch":
        from optbench.optimizers.torch.optimizer import torch_optimizer

        return torch_optimizer(rest)
    from optbench.optimizers.optax.optimizer import optax_optimizer

    return optax_optimizer(rest)


def _check_installed(library: str, name: str) -> None:
    if find_spec(library) is None:
        raise SuiteError(
            f"'{name}' needs {library}, which is not installed; pip install 'optbench[{library}]'"
        )
