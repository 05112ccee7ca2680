"""Optimizers from a user's own code or another library: what a name becomes for the registry.

A name is ``path/to/file.py:NAME`` or ``package.module:NAME`` for a class of this contract,
``torch:NAME`` or ``optax:NAME`` for an optimizer of those libraries or written for them, or the
name of an entry point of the group ``optbench.optimizers``.
"""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, cast

from optbench import plugins
from optbench.errors import SuiteError
from optbench.optimizers.base import Elementwise, Optimizer, Task
from optbench.plugins import Plugin, Source, complaint
from optbench.settings import Choice, Hyperparameter, Switch

GROUP = "optbench.optimizers"
"""The group of entry points under which installed packages offer optimizers."""

LIBRARIES = ("torch", "optax")
"""Libraries whose optimizers are adapted; each is an extra of the same name."""

NAMES = ("slots", "copies", "scalars")
"""Attributes of a class that are tuples of names."""


def plugin_optimizer(name: str) -> Optimizer | None:
    """Return the optimizer that a name means, or None if it is no plug-in's.

    Raises
    ------
    SuiteError
        If it names a plug-in that is not there, cannot be imported, or is no optimizer, or if it
        needs a library that is not installed.
    """
    library, colon, rest = name.partition(":")
    if colon and library in LIBRARIES:
        return _from_library(library, name, rest)
    if plugins.is_spec(name):
        return _instance(plugins.load(name), label(name))
    plugin = plugins.load_entry_point(GROUP, name)
    return None if plugin is None else _instance(plugin, name)


def offered() -> list[str]:
    """Return the names of the optimizers that installed packages offer; none is imported."""
    return plugins.entry_point_names(GROUP)


def label(name: str) -> str:
    """Return what an optimizer of that name is called: the part after the last colon.

    >>> label("my/rules.py:Heavy"), label("torch:AdamW"), label("adam")
    ('Heavy', 'AdamW', 'adam')
    """
    return name.rpartition(":")[2]


def _from_library(library: str, name: str, rest: str) -> Optimizer:
    if not rest:
        raise SuiteError(f"'{name}' names no optimizer; write {library}:NAME")
    if find_spec(library) is None:
        raise SuiteError(
            f"'{name}' needs {library}, which is not installed; pip install 'optbench[{library}]'"
        )
    if library == "torch":
        from optbench.optimizers.torch.optimizer import torch_optimizer

        return torch_optimizer(rest)
    from optbench.optimizers.optax.optimizer import optax_optimizer

    return optax_optimizer(rest)


class PluginOptimizer(Optimizer):
    """What the class of every user's optimizer has in front of its own."""

    plugin: Plugin

    def __init__(self) -> None:
        try:
            super().__init__()
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            said = complaint(error, self.plugin.source.root)
            raise SuiteError(f"{self.name} cannot be made: {said}") from error

    def fit(self, task: Task) -> tuple[str, ...]:
        """Ask the user's own; what it raises is said in one line.

        Raises
        ------
        SuiteError
            If it raises, or returns anything but notices.
        """
        try:
            notices = super().fit(task)
            if not isinstance(notices, tuple) or not all(isinstance(each, str) for each in notices):
                raise TypeError("fit() is to return a tuple of texts")
            return notices
        except SuiteError:
            raise
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            said = complaint(error, self.plugin.source.root)
            raise SuiteError(f"{self.name} cannot run on {task.problem}: {said}") from error

    def identity(self) -> dict[str, Any]:
        """Return what identifies its code, and what else the user's own says of it.

        Raises
        ------
        SuiteError
            If that is no plain data.
        """
        own = cast(Any, super()).identity()
        code = {"name": self.plugin.name, "source": self.plugin.source.identity()}
        try:
            json.dumps(own, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
            return {**own, **code}
        except (TypeError, ValueError) as error:
            raise SuiteError(f"{self.name}: identity() is no plain data: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        return _again, (self.plugin.spec, self.name, self.plugin.source), self.__dict__ or None


def _again(spec: str, name: str, source: Source) -> Optimizer:
    """Return an optimizer anew, if its code is still what it was."""
    found = plugins.load(spec)
    plugins.check_unchanged(found.source, source, name)
    return _instance(found, name)


_classes: dict[tuple[str, str, Source], Callable[[], Optimizer]] = {}


def _instance(plugin: Plugin, name: str) -> Optimizer:
    key = (name, plugin.name, plugin.source)
    if key not in _classes:
        _classes[key] = _build(plugin, name)
    return _classes[key]()


def _build(plugin: Plugin, name: str) -> Callable[[], Optimizer]:
    found = plugin.object
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        raise SuiteError(f"{plugin.title} is {_what(found)}; {_remedy(found, plugin)}")
    _check(found, plugin)
    attributes = {
        "name": name,
        "summary": getattr(found, "summary", plugins.first_line(found.__doc__) or name),
        "plugin": plugin,
        "__doc__": found.__doc__,
        "__module__": found.__module__,
    }
    return type(name, (PluginOptimizer, found), attributes)


def _what(found: Any) -> str:
    if isinstance(found, Optimizer):
        return "an instance of an optimizer"
    if isinstance(found, type):
        return f"the class {found.__name__}, no Optimizer"
    return "a function" if callable(found) else f"of type {type(found).__name__}, no optimizer"


def _remedy(found: Any, plugin: Plugin) -> str:
    """Say what to write instead."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(found, type) and issubclass(found, torch.optim.Optimizer):
        return f"it is PyTorch's; write torch:{plugin.source.place}:{plugin.name}"
    if isinstance(found, Optimizer):
        return "give its class"
    if callable(found) and not isinstance(found, type):
        return (
            f"write optax:{plugin.source.place}:{plugin.name} if it returns a gradient "
            "transformation, else give a subclass of optbench.optimizers.base.Optimizer"
        )
    return "give a subclass of optbench.optimizers.base.Optimizer"


def _check(kind: type[Optimizer], plugin: Plugin) -> None:
    """Refuse a class that lacks what the contract asks for."""
    place = plugin.title
    lacking = [each for each in ("hyperparameters",) if not hasattr(kind, each)]
    lacking += sorted(kind.__abstractmethods__)
    if getattr(kind, "step", None) is Elementwise.step and not hasattr(kind, "rule"):
        lacking.append("rule")
    if lacking:
        raise SuiteError(f"{place} is not a whole optimizer; it lacks {', '.join(lacking)}")
    known = (Hyperparameter, Choice, Switch)
    settings = kind.hyperparameters
    if not isinstance(settings, tuple) or not all(isinstance(each, known) for each in settings):
        raise SuiteError(
            f"{place}: hyperparameters = {settings!r}; it is a tuple of Hyperparameter"
        )
    for each in settings:
        _check_setting(each, place)
    for attribute in NAMES:
        names = getattr(kind, attribute)
        if not isinstance(names, tuple) or not all(isinstance(each, str) for each in names):
            raise SuiteError(
                f"{place}: {attribute} = {names!r}; it is a tuple of names, as ('mean',)"
            )
    if stray := [each for each in kind.copies if each not in kind.slots]:
        raise SuiteError(f"{place}: copies names {stray[0]!r}, which is none of its slots")


def _check_setting(setting: Any, place: str) -> None:
    """Refuse a hyperparameter that no suite could name, or that does not take its own default."""
    if not isinstance(setting.name, str) or not setting.name.isidentifier():
        raise SuiteError(f"{place}: {setting.name!r} names no hyperparameter; write it as Python's")
    try:
        setting.check(setting.default)
    except (SuiteError, TypeError, ValueError) as error:
        raise SuiteError(f"{place}: {setting.name} does not take its default: {error}") from None
