"""What a suite may set of a problem that a function makes: the function's arguments."""

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from optbench.errors import SuiteError
from optbench.problems.base import DTYPES, RECORDS
from optbench.problems.batches import RULES
from optbench.problems.minibatches import FULL
from optbench.settings import Option, Setting

AUTO, VMAP, LOOP = "auto", "vmap", "loop"
STACKS = (AUTO, VMAP, LOOP)

COMMON: tuple[Setting, ...] = (
    Option("batch_size", 128, "examples a minibatch", choices=(FULL,), low=1),
    Option("batches", "replacement", "how they are drawn", choices=RULES),
    Option("dtype", "float32", "of parameters and arithmetic", choices=DTYPES),
    Option("record", "before", "loss before or after the update", choices=RECORDS),
    Option("stack", AUTO, "how lanes are computed", choices=STACKS),
)
"""Options of every model."""


def options_of(function: Callable[..., Any], title: str) -> tuple[Setting, ...]:
    """Return the options of a problem: the arguments of its function, then those of every model.

    An argument of the name of a common option changes its default.

    Raises
    ------
    SuiteError
        If an argument cannot be an option.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # an annotation that names what is there for type checkers only
        signature = inspect.signature(function)
    common = {option.name: option for option in COMMON}
    own = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SuiteError(f"{title} takes *{name}; name each of its arguments, with a default")
        if parameter.default is parameter.empty:
            raise SuiteError(f"{title}: {name} has no default; give it one, as in {name}=64")
        if name in common:
            common[name] = _with_default(common[name], parameter.default, title)
        else:
            own.append(_option(parameter, title))
    return (*own, *common.values())


def _with_default(option: Setting, default: Any, title: str) -> Setting:
    try:
        return replace(option, default=option.check(default))
    except SuiteError as error:
        raise error.within(title) from None


def _option(parameter: inspect.Parameter, title: str) -> Setting:
    name, default, annotation = parameter.name, parameter.default, parameter.annotation
    meaning = f"an argument of {title.rpartition(':')[2]}"
    if get_origin(annotation) is Literal and all(isinstance(a, str) for a in get_args(annotation)):
        return Option(name, default, meaning, choices=get_args(annotation))
    if annotation is float and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    texts = isinstance(default, tuple) and all(isinstance(each, str) for each in default)
    if not isinstance(default, bool | int | float | str) and not texts:
        raise SuiteError(
            f"{title}: the default of {name} is of type {type(default).__name__}; options are "
            "numbers, true or false, texts and tuples of texts"
        )
    return Option(name, default, meaning, low=-math.inf)
