"""Problems from a user's own code: what a plug-in's object becomes for the registry."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from optbench import plugins
from optbench.errors import SuiteError, UsageError
from optbench.plugins import Plugin, Source, complaint
from optbench.problems.base import Option, Problem
from optbench.problems.probing import probe

GROUP = "optbench.problems"
"""The group of entry points under which installed packages offer problems."""

KINDS = ("function", "network")

REQUIRED = ("kind", "default_iterations", "options", "random", "minibatch")
"""Attributes of a class that nothing can be derived from."""


def plugin_problem(name: str) -> type[Problem] | None:
    """Return the class of the problem that a name means, or None if it is no plug-in's.

    The same code always gives the same class.

    Parameters
    ----------
    name
        ``path/to/file.py:NAME``, ``package.module:NAME``, or the name of an entry point of the
        group ``optbench.problems``.

    Raises
    ------
    SuiteError
        If it names a plug-in that is not there, cannot be imported, or is no problem.
    """
    if plugins.is_spec(name):
        return _class_of(plugins.load(name), label(name))
    plugin = plugins.load_entry_point(GROUP, name)
    return None if plugin is None else _class_of(plugin, name)


def offered() -> list[str]:
    """Return the names of the problems that installed packages offer; none is imported."""
    return plugins.entry_point_names(GROUP)


def label(name: str) -> str:
    """Return what a problem of that name is called: the part after the colon.

    >>> label("my/problems.py:Valley"), label("anisotropic")
    ('Valley', 'anisotropic')
    """
    return name.rpartition(":")[2]


class PluginProblem(Problem):
    """What every plug-in's class has in front of its own: its source in all that is recorded."""

    plugin: ClassVar[Plugin]

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        try:
            super().__init__(options, data_dir)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise SuiteError(self.failure("cannot be made", error)) from error

    def settle(self) -> tuple[str, ...]:
        """Settle the problem and see whether it gives what the contract asks for.

        Raises
        ------
        SuiteError
            If it does not, or if it raises.
        """
        try:
            notices = super().settle()
            if not isinstance(notices, tuple) or not all(isinstance(each, str) for each in notices):
                raise TypeError("settle() is to return a tuple of texts")
            probe(self)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise SuiteError(self.failure("is no whole problem", error)) from error
        return notices

    def failure(self, how: str, error: BaseException) -> str:
        """Say in one line what the problem's code raised, and where."""
        if isinstance(error, UsageError):
            return str(error)
        return f"{self.name} {how}: {complaint(error, self.plugin.source.root)}"

    def definition(self) -> dict[str, Any]:
        """Return the problem's own definition and what identifies its code.

        Raises
        ------
        SuiteError
            If its own is no plain data.
        """
        own = cast(Any, super()).definition()
        code = {"name": self.plugin.name, **self.plugin.source.identity()}
        try:
            json.dumps(own, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
            return {**own, "plugin": code}
        except (TypeError, ValueError) as error:
            raise SuiteError(f"{self.name}: definition() is no plain data: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Return the problem's own description and its source; functions say their variables."""
        source = {"source": self.plugin.source.describe()}
        found = {**Problem.describe(self), **super().describe(), **source}
        if self.kind == "function":
            variables = [tensor.name for tensor in self.tensors]
            found = {"variables": variables, "minima": [], "plot": None, **found}
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        plugin = self.plugin
        return _empty, (plugin.spec, self.name, plugin.source), self.__getstate__()


def _empty(spec: str, name: str, source: Source) -> Problem:
    """Return a problem without its state, if its code is still what it was."""
    found = plugins.load(spec)
    plugins.check_unchanged(found.source, source, name)
    kind = _class_of(replace(found, source=source), name)
    return kind.__new__(kind)


_classes: dict[tuple[str, str, Source], type[Problem]] = {}


def _class_of(plugin: Plugin, name: str) -> type[Problem]:
    key = (name, plugin.name, plugin.source)
    if key not in _classes:
        _classes[key] = _build(plugin, name)
    return _classes[key]


def _build(plugin: Plugin, name: str) -> type[Problem]:
    found = plugin.object
    if isinstance(found, type) and issubclass(found, Problem):
        base = found
    elif isinstance(found, Problem):
        base = _settled(found)
    else:
        what = "a function" if callable(found) else f"of type {type(found).__name__}"
        raise SuiteError(
            f"{plugin.title} is {what}, no problem; give a subclass of Problem, "
            "an instance of one, or a function under @stacked_function"
        )
    _check(base, plugin)
    attributes = {
        "name": name,
        "summary": getattr(base, "summary", plugins.first_line(base.__doc__) or name),
        "plugin": plugin,
        "__doc__": base.__doc__,
        "__module__": base.__module__,
    }
    return type(name, (PluginProblem, base), attributes)


def _check(kind: type[Problem], plugin: Plugin) -> None:
    """Refuse a class that lacks what the contract asks for."""
    lacking = [each for each in REQUIRED if not hasattr(kind, each)]
    lacking += sorted(kind.__abstractmethods__)
    if lacking:
        raise SuiteError(f"{plugin.title} is not a whole problem; it lacks {', '.join(lacking)}")
    if kind.kind not in KINDS:
        raise SuiteError(f"{plugin.title}: kind = {kind.kind!r}; it is one of {', '.join(KINDS)}")
    options = kind.options
    if not isinstance(options, tuple) or not all(isinstance(each, Option) for each in options):
        raise SuiteError(f"{plugin.title}: options = {options!r}; it is a tuple of Option")
    if type(kind.default_iterations) is not int or kind.default_iterations < 1:
        raise SuiteError(
            f"{plugin.title}: default_iterations = {kind.default_iterations!r}; "
            "it is a whole number of at least 1"
        )
    if not any(each.name == "dtype" for each in options):
        raise SuiteError(f"{plugin.title} lacks the option dtype; add it to its options")
    for each in options:
        _check_option(each, plugin.title)


def _check_option(option: Option, place: str) -> None:
    """Refuse an option that no suite could name, or that does not take its own default."""
    if not isinstance(option.name, str) or not option.name.isidentifier():
        raise SuiteError(f"{place}: {option.name!r} names no option; write it as Python's names")
    try:
        option.check(option.default)
    except (SuiteError, TypeError, ValueError) as error:
        raise SuiteError(f"{place}: {option.name} does not take its default: {error}") from None


def _settled(instance: Problem) -> type[Problem]:
    """Return a class whose problems are copies of an instance; its options are settled."""
    kind, settings = type(instance), instance.settings

    def copied(self: Problem, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        for key, value in options.items():
            if settings.get(key) != value:
                raise SuiteError(
                    f"{key} = {value!r}, but this problem is an instance with "
                    f"{key} = {settings.get(key)!r}; give its class to set options"
                )
        self.__dict__.update(instance.__dict__)
        self.settings = dict(options)
        self.data_dir = instance.data_dir if data_dir is None else data_dir

    options = tuple(
        replace(each, default=settings.get(each.name, each.default)) for each in kind.options
    )
    own = {"__init__": copied, "options": options, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})
