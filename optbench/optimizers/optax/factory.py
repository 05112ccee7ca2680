"""Factories of optax: functions that return a gradient transformation.

Arguments of a factory that are numbers, switches, lists or text are hyperparameters. What optax
calls ``learning_rate`` is called ``lr``, as everywhere in optbench. A wrapper's
``base_optimizer`` is named by a hyperparameter, as ``"sgd"`` of optax, has its defaults, and takes
its learning rate from ``lr``.
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from optbench import plugins
from optbench.errors import SuiteError, nearest
from optbench.optimizers.arguments import Argument, arguments_of
from optbench.optimizers.optax.noise import draws, seed_arguments, seed_for
from optbench.plugins import Plugin, complaint
from optbench.plugins.foreign import jax_on

NO_NUMBERS = ("mask", "dtype", "dimension_numbers")
"""Ends of the names of arguments that take trees, functions or types."""

TRIED_RATE, TRIED_COUNT = 0.01, 1
"""Values for arguments without default, to see what a factory returns."""

WRAPPED, BASE = "base_optimizer", "sgd"
"""What a wrapper takes, and what it gets unless a suite says otherwise."""

TELLING = {"learning_rate", "lr", "max_learning_rate", WRAPPED}
"""Arguments by which functions that make optimizers are told from others."""


def find(rest: str) -> Plugin:
    """Return the function that ``optax:REST`` names.

    Raises
    ------
    SuiteError
        If there is none.
    """
    if ":" in rest or rest.endswith(".py"):
        return plugins.load(rest)
    import optax.contrib

    name = rest.removeprefix("contrib.")
    for module in (optax.contrib,) if name != rest else (optax, optax.contrib):
        if name in vars(module) and not name.startswith("_"):
            return plugins.load(f"{module.__name__}:{name}")
    place, dot, last = name.rpartition(".")
    if dot:
        return plugins.load(f"{place}:{last}")
    raise SuiteError(f"optax has no optimizer '{rest}'; {nearest(name, names_of_optax())}")


def names_of_optax() -> list[str]:
    """Return the names of all optimizers that optax and optax.contrib have."""
    import optax.contrib

    return sorted({*names_in(optax), *names_in(optax.contrib)})


def names_in(module: Any) -> list[str]:
    """Return the names of all functions of a module's package in it that make optimizers."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and _package(value.__module__) == _package(module.__name__)
        and not name.startswith(("_", "scale_by"))
        and not TELLING.isdisjoint(inspect.signature(value).parameters)
    ]


def _package(module: str) -> str:
    return module.partition(".")[0]


@dataclass(frozen=True, eq=False)
class Factory:
    """A function that returns a gradient transformation, and what a suite gives it.

    Attributes
    ----------
    plugin
        The function and where it is.
    arguments
        What can be given; what the function calls its learning rate is ``lr`` here.
    rate
        What that is; nothing where it takes none.
    seeds
        What it is given for its random numbers, with defaults; no suite sets these.
    random
        Whether it draws any.
    wraps
        Whether it takes another optimizer, as :data:`WRAPPED`.
    compiled
        Updates compiled so far, by what they were compiled for.
    """

    plugin: Plugin
    arguments: tuple[Argument, ...]
    rate: str
    seeds: Mapping[str, Any]
    random: bool = False
    wraps: bool = False
    compiled: dict[Any, Any] = field(default_factory=dict, repr=False)

    def values(self, recorded: Mapping[str, float | str]) -> dict[str, Any]:
        """Return what recorded hyperparameters mean, by the names of :attr:`arguments`."""
        return {
            argument.name: argument.value(recorded[argument.name]) for argument in self.arguments
        }

    def __call__(self, values: Mapping[str, Any], noise: Any = 0) -> Any:
        """Return the gradient transformation of a lane with this noise.

        Raises
        ------
        SuiteError
            If the function returns something else. What it raises itself is passed on.
        """
        given = dict(values)
        if self.wraps:
            given[WRAPPED] = _base(str(given[WRAPPED]), given["lr"])
        if "lr" in given:
            rate = given.pop("lr")
            given |= {self.rate: rate} if self.rate else {}
        given |= {name: seed_for(name, default, noise) for name, default in self.seeds.items()}
        made = self.plugin.object(**given)
        if not _is_transformation(made):
            kind = "a function" if callable(made) else type(made).__name__
            raise SuiteError(_no_factory(self.plugin, kind))
        return made

    def complaint(self, error: BaseException) -> str:
        """Say in one line what its code raised."""
        return complaint(error, self.plugin.source.root)


def _is_transformation(value: Any) -> bool:
    return all(callable(getattr(value, name, None)) for name in ("init", "update"))


def _no_factory(plugin: Plugin, returned: str) -> str:
    return (
        f"{_title(plugin)} returns {returned}, not a gradient transformation; "
        "name a factory of optimizers, such as optax:adam"
    )


def _title(plugin: Plugin) -> str:
    if plugin.source.package == "optax":
        return f"optax:{plugin.name}"
    return plugin.title


def factory_of(plugin: Plugin) -> Factory:
    """Return the factory that a plug-in is, always the same one for the same code.

    Raises
    ------
    SuiteError
        If it is something else, or takes what no suite can give.
    """
    key = (Factory, plugin.name, plugin.source)
    return plugins.code_cache().once(key, lambda: _made(plugin))


def _made(plugin: Plugin) -> Factory:
    _check(plugin)
    parameters = inspect.signature(plugin.object).parameters
    seeds = seed_arguments(plugin.object)
    skip = [name for name in parameters if name in seeds or name.endswith(NO_NUMBERS)]
    rate = next((name for name in ("lr", "learning_rate") if name in parameters), "")
    arguments = [_clear(argument, rate) for argument in arguments_of(plugin.object, skip)]
    if wraps := _wraps(parameters):
        arguments = [each for each in arguments if each.name != WRAPPED]
        arguments.insert(0, Argument(WRAPPED, BASE, ""))
        arguments += [] if rate else [Argument("lr", None, "", required=True, annotation="float")]
    optional = [name for name, default in seeds.items() if default is not inspect.Parameter.empty]
    for name in optional[1:]:  # another name for the first
        del seeds[name]
    factory = Factory(plugin, tuple(arguments), rate, seeds, wraps=wraps)
    return replace(factory, random=_try(factory))


def _check(plugin: Plugin) -> None:
    """Refuse what no suite can call."""
    function, title = plugin.object, _title(plugin)
    if _is_transformation(function) and not isinstance(function, type):
        raise SuiteError(
            f"{title} is already a gradient transformation; "
            "name a function that returns one, such as def my_opt(lr): return …"
        )
    if not callable(function):
        raise SuiteError(
            f"{title} is of type {type(function).__name__}; "
            "name a function that returns a gradient transformation, such as optax:adam"
        )
    arguments = {argument.name: argument for argument in arguments_of(function)}
    seeds = seed_arguments(function)
    for name, parameter in inspect.signature(function).parameters.items():
        needed = parameter.default is parameter.empty
        needed &= parameter.kind is not parameter.VAR_KEYWORD and name != WRAPPED
        if needed and name not in seeds and (name not in arguments or _no_number(arguments[name])):
            raise SuiteError(
                f"{title} takes {name}, which a suite cannot give; "
                "name a function of numbers that calls it, such as optax:path/to/file.py:my_opt"
            )


def _wraps(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Say whether a factory needs another optimizer."""
    return WRAPPED in parameters and parameters[WRAPPED].default is inspect.Parameter.empty


def _base(name: str, rate: Any) -> Any:
    """Return an optimizer of optax for a wrapper.

    Raises
    ------
    SuiteError
        If optax has none of that name.
    """
    import optax.contrib

    known = names_of_optax()
    if name not in known:
        raise SuiteError(f"optax has no optimizer '{name}' to wrap; {nearest(name, known)}")
    place = optax if name in vars(optax) else optax.contrib
    return getattr(place, name)(learning_rate=rate)


def _no_number(argument: Argument) -> bool:
    """Say whether an argument takes a function, a tree or another transformation."""
    if argument.name.endswith(NO_NUMBERS) or "Transformation" in argument.annotation:
        return True
    return re.match(r"[\w.]*\bCallable\b", argument.annotation) is not None


def _clear(argument: Argument, rate: str) -> Argument:
    """Return an argument by optbench's name; JAX's type of a scalar means a number."""
    name = "lr" if argument.name == rate else argument.name
    annotation = argument.annotation
    if name == "lr" or re.search(r"\bfloat\b", annotation):
        annotation = "float"
    return replace(argument, name=name, annotation=annotation)


def _try(factory: Factory) -> bool:
    """Return whether a factory draws random numbers; refuse what returns something else.

    What raises may work with a suite's values.
    """
    import jax

    values = {
        argument.name: (TRIED_COUNT if argument.annotation == "int" else TRIED_RATE)
        if argument.required
        else argument.default
        for argument in factory.arguments
    }
    try:
        with jax_on(None, "float32"):
            state = jax.eval_shape(factory(values).init, {"w": np.ones((2, 2)), "b": np.ones(2)})
            return bool(factory.seeds) or draws(state)
    except SuiteError:
        raise
    except (Exception, SystemExit):  # a user's code may raise anything
        function = factory.plugin.object
        returned = inspect.formatannotation(inspect.signature(function).return_annotation)
        if factory.plugin.source.package == "optax" and "Transformation" not in returned:
            raise SuiteError(_no_factory(factory.plugin, returned)) from None
        return bool(factory.seeds)
