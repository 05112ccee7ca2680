"""What makes a PyTorch optimizer: a class, or a function that returns one, and what it is given.

The first argument, or one of these names, takes the parameters:

===================  ====================================================
``named_parameters``  pairs of names and parameters
``model``             a module that holds the parameters by their names
``optimizer``         an optimizer of the parameters, for wrappers
any other first one   the parameters
===================  ====================================================

An argument ``base_optimizer`` takes a class, as SAM does, or, where it is the first, an optimizer.
All others are hyperparameters. A wrapper's own optimizer is named by a hyperparameter, as ``"SGD"``
of torch.optim or of the wrapper's package, and takes its learning rate from ``lr``. What takes
matrices only has another one beside it; see :mod:`optbench.optimizers.torch.aux`.
"""

import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from optbench.arrays import Tensor
from optbench.errors import SuiteError, nearest
from optbench.optimizers.arguments import Argument, arguments_of, marks_missing
from optbench.optimizers.torch.aux import ARGUMENTS, paired
from optbench.optimizers.torch.copying import is_optimizer
from optbench.optimizers.torch.lanes import Arguments, Given
from optbench.plugins import Plugin

SKIPPED = ("params", "capturable", "differentiable")
"""Arguments that a suite cannot set: no step is captured in a CUDA graph, none differentiated.

``foreach`` and ``fused`` change no formula either, but time and last bits, so they are recorded.
"""

NAMED = ("named_parameters", "named_params")
WRAPPED = ("optimizer", "base_optimizer", "inner_optimizer")
BASE = Argument("base", "SGD", "")

PROBED = (Tensor("layer1.weight", (4, 4)), Tensor("layer1.bias", (4,)))
"""Parameters that are tried to find out what a constructor needs."""

PROBED_VALUE = 0.001
"""What is tried for an argument without default."""

GROUPED = "use_muon"
"""An entry of groups of parameters that tells hidden matrices from all others."""


@dataclass(frozen=True)
class Recipe:
    """How an optimizer is made of parameters and of what a suite gives.

    Attributes
    ----------
    plugin
        The class or function.
    arguments
        What a suite can give.
    takes
        The name of the argument that takes the parameters, or none where it is the first.
    wraps
        The name of the argument that takes another optimizer, if there is one.
    by_class
        Whether that takes a class.
    own
        Names of the arguments that are not for the optimizer within.
    grouped
        Whether it is given groups that tell hidden matrices from all others.
    matrices
        Whether it is given matrices only, and another optimizer the others.
    """

    plugin: Plugin
    arguments: tuple[Argument, ...]
    takes: str = ""
    wraps: str = ""
    by_class: bool = False
    own: frozenset[str] = frozenset()
    grouped: bool = False
    matrices: bool = False

    @property
    def flat(self) -> bool:
        """Whether it may be given all parameters of a lane as one tensor."""
        parted = self.grouped or self.matrices
        return not parted and self.takes not in (*NAMED, "model")

    def values(self, recorded: Mapping[str, float | str]) -> dict[str, Any]:
        """Return what recorded hyperparameters mean, without those that keep their default."""
        return {
            argument.name: argument.value(recorded[argument.name])
            for argument in self.arguments
            if not argument.is_left_out(recorded[argument.name])
        }

    def __call__(self, given: Given, values: Arguments) -> Any:
        """Return an optimizer; what it prints is dropped.

        Raises
        ------
        SuiteError
            If what is returned is no optimizer. What is raised is passed on.
        """
        with _printing, redirect_stdout(io.StringIO()):
            if self.matrices:
                made = paired(self._made, given, values)
            else:
                made = self._made(given, dict(values))
        if not is_optimizer(made):
            raise SuiteError(
                f"{self.plugin.title} returns {_kind(made)}, not an optimizer of PyTorch; return "
                "one that has step() and param_groups"
            )
        return made

    def _made(self, given: Given, values: dict[str, Any]) -> Any:
        make: Callable[..., Any] = self.plugin.object
        params: Any = list(given.params)
        if self.grouped:
            params = _grouped(given)
        if self.wraps:
            kind = _base(str(values.pop(self.wraps)), self.plugin)
            rate = {"lr": values["lr"] if "lr" in self.own else values.pop("lr")}
            if self.by_class:
                values |= {self.wraps: kind, **rate}
            else:
                params = kind(params, **rate)
        if self.takes in NAMED:
            names = [tensor.name for tensor in given.tensors]
            params = list(zip(names, params, strict=True))
        if self.takes == "model":
            params = _module(given)
        elif "model" in self.own:
            values["model"] = _module(given)
        return make(**{self.takes: params}, **values) if self.takes else make(params, **values)


_printing = Lock()
"""Held while stdout is redirected, which is done for the whole process."""


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _base(name: str, plugin: Plugin) -> Any:
    """Return the class that a wrapper is to wrap.

    Raises
    ------
    SuiteError
        If neither torch.optim nor the wrapper's package has it.
    """
    import sys

    import torch

    module = sys.modules[plugin.object.__module__]
    package = sys.modules.get(module.__name__.partition(".")[0], module)
    known = {
        key: value
        for place in (torch.optim, package, module)
        for key, value in vars(place).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    if name not in known:
        raise SuiteError(f"there is no optimizer '{name}' to wrap; {nearest(name, known)}")
    return known[name]


def _module(given: Given) -> Any:
    """Return a module that has the parameters by their names."""
    import torch

    whole = torch.nn.Module()
    for tensor, param in zip(given.tensors, given.params, strict=True):
        *path, last = tensor.name.split(".")
        place = whole
        for part in path:
            if part not in place._modules:
                place.add_module(part, torch.nn.Module())
            place = place.get_submodule(part)
        place.register_parameter(last, param)
    return whole


def _grouped(given: Given) -> list[dict[str, Any]]:
    """Return matrices and all other parameters as two groups, as far as there are any."""
    groups = [
        {
            "params": [each for each in given.params if (each.ndim >= 2) is matrices],
            GROUPED: matrices,
        }
        for matrices in (True, False)
    ]
    return [group for group in groups if group["params"]]


def recipe_of(plugin: Plugin) -> Recipe:
    """Return how a class or function makes optimizers.

    Raises
    ------
    SuiteError
        If it has no signature, or no argument for parameters.
    """
    parameters = _parameters(plugin)
    names = list(parameters)
    first = names[0]
    takes = next((name for name in (*NAMED, "params") if name in names), "")
    if not takes:
        takes = "model" if first == "model" else ""
    wraps = next((name for name in WRAPPED if name in names and _is_needed(parameters[name])), "")
    by_class = bool(wraps) and wraps != first
    # Without a name, and where a wrapper is given an optimizer, the first argument has it.
    takes = (
        takes if takes and parameters[takes].kind is not inspect.Parameter.POSITIONAL_ONLY else ""
    )
    skip = {*SKIPPED, *NAMED, "model", wraps, *([] if takes else [first])}
    arguments = arguments_of(plugin.object, tuple(skip))
    own = frozenset(names)
    if wraps:
        arguments = (replace(BASE, name=wraps), *arguments)
        if "lr" not in own:
            arguments = (*arguments, Argument("lr", 0.001, ""))
    recipe = Recipe(plugin, arguments, takes, wraps, by_class, own)
    return _settled(recipe)


def _parameters(plugin: Plugin) -> Mapping[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(plugin.object).parameters
    except (TypeError, ValueError):
        raise SuiteError(f"{plugin.title} does not say which arguments it takes") from None
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if not any(each.kind not in kinds for each in parameters.values()):
        raise SuiteError(f"{plugin.title} takes no parameters; write def {plugin.name}(params, lr)")
    return parameters


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty or marks_missing(parameter.default)


def _settled(recipe: Recipe) -> Recipe:
    """Return a recipe that knows which marked arguments are needed, and whether groups are.

    A mark in place of a default may mean that the argument is needed, or that the optimizer has a
    default that it does not tell.
    """
    lenient = replace(
        recipe,
        arguments=tuple(
            replace(each, required=each.required and not each.marked) for each in recipe.arguments
        ),
    )
    values = {
        each.name: PROBED_VALUE if each.required else each.default
        for each in recipe.arguments
        if not each.marked
    }
    for_matrices = replace(lenient, arguments=(*lenient.arguments, *ARGUMENTS), matrices=True)
    for each in (lenient, replace(lenient, grouped=True), for_matrices):
        if _works(each, values):
            return each
    values |= {each.name: PROBED_VALUE for each in recipe.arguments if each.marked}
    grouped = replace(recipe, grouped=True)
    return grouped if not _works(recipe, values) and _works(grouped, values) else recipe


def _works(recipe: Recipe, values: Mapping[str, Any]) -> bool:
    import torch

    params = tuple(torch.nn.Parameter(torch.zeros(tensor.shape)) for tensor in PROBED)
    try:
        with torch.random.fork_rng(devices=[]):
            recipe(Given(params, PROBED), values)
    except Exception:  # whatever a foreign constructor raises; with a suite's values it may work
        return False
    return True


def parameters_of(tensors: Sequence[Tensor], dtype: str) -> tuple[Any, ...]:
    """Return parameters that are 0, of a problem's shapes."""
    import torch

    kind = getattr(torch, dtype)
    return tuple(torch.nn.Parameter(torch.zeros(tensor.shape, dtype=kind)) for tensor in tensors)


def names_in(module: Any) -> list[str]:
    """Return the names of all optimizers that a module of PyTorch's kind has."""
    import torch

    offered = getattr(module, "__all__", vars(module))
    return [
        name
        for name, value in vars(module).items()
        if name in offered
        and isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
        and not name.startswith("_")
    ]
