"""Classes of users' code, made fit to stand beside the built-in ones."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isroutine
from typing import Any, ClassVar, Generic, TypeVar

from optbench.errors import SuiteError, UsageError
from optbench.plugins import (
    Plugin,
    code_cache,
    complaint,
    entry_point_names,
    first_line,
    is_spec,
    label,
    load,
    load_entry_point,
    load_unchanged,
)
from optbench.plugins.source import Source
from optbench.settings import Setting

Base = TypeVar("Base")


class Adopted:
    """What the class of every plug-in has in front of the user's own: faults become one line."""

    name: str
    plugin: Any
    adopter: ClassVar["Adopter[Any]"]

    def __init__(self, *arguments: Any) -> None:
        with self.faults_in_one_line("cannot be made"):
            super().__init__(*arguments)

    def failure(self, what: str, error: BaseException) -> str:
        """Say in one line what the user's code raised, and where."""
        if isinstance(error, UsageError):
            return str(error)
        return f"{self.name} {what}: {complaint(error, self.plugin.source.root)}"

    @contextmanager
    def faults_in_one_line(self, what: str) -> Iterator[None]:
        """Turn whatever the user's code raises into a SuiteError that begins with ``what``."""
        try:
            yield
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise SuiteError(self.failure(what, error)) from error

    def with_code(self, method: str, own: Any, code: dict[str, Any]) -> dict[str, Any]:
        """Return what a method of the user's own says, and what identifies the code.

        Raises
        ------
        SuiteError
            If it is not plain data.
        """
        try:
            json.dumps(own, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
            return {**own, **code}
        except (TypeError, ValueError) as error:
            raise SuiteError(f"{self.name}: {method}() must return plain data: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        code = (self.adopter.front, self.plugin.spec, self.name, self.plugin.source)
        return _empty, code, self.__getstate__()


def checked_notices(method: str, notices: Any) -> tuple[str, ...]:
    """Return what a method of a user's class returned, which must be notices.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(notices, tuple) and all(isinstance(text, str) for text in notices):
        return notices
    raise TypeError(f"{method}() must return a tuple of texts")


def _empty(front: type[Adopted], spec: str, name: str, source: Source) -> Any:
    """Return an object of a plug-in's class without its state, if the code is what it was."""
    kind = front.adopter.adopt(load_unchanged(spec, source, name), name)
    return object.__new__(kind)


class Adopter(ABC, Generic[Base]):
    """Makes classes of plug-ins.

    Attributes
    ----------
    noun, flag
        What such a class is, and the option of ``optbench run`` that takes it.
    contract
        What it has to be a subclass of.
    front
        What a class has in front of the user's own.
    required
        Attributes of a class that nothing can be derived from.
    settings, declared_by
        The attribute that says what a suite may set, and what declares each of these.
    """

    noun: ClassVar[str]
    flag: ClassVar[str]
    contract: ClassVar[type]
    front: ClassVar[type[Adopted]]
    required: ClassVar[tuple[str, ...]]
    settings: ClassVar[str]
    declared_by: ClassVar[str]

    def __init__(self) -> None:
        _adopters.append(self)

    @property
    def a_noun(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    @property
    def group(self) -> str:
        """The group of entry points under which installed packages offer them."""
        return f"optbench.{self.noun}s"

    def find(self, name: str) -> type[Base] | None:
        """Return the class that a name means, or None if it is no plug-in's.

        The same code always gives the same class.

        Parameters
        ----------
        name
            ``path/to/file.py:NAME``, ``package.module:NAME``, or the name of an entry point.

        Raises
        ------
        SuiteError
            If it names a plug-in that is not there, cannot be imported, or is something else.
        """
        if is_spec(name):
            return self.adopt(load(name), label(name))
        plugin = load_entry_point(self.group, name)
        return None if plugin is None else self.adopt(plugin, name)

    def offered(self) -> list[str]:
        """Return the names that installed packages offer; none is imported."""
        return entry_point_names(self.group)

    def adopt(self, plugin: Plugin, name: str) -> type[Base]:
        """Return the class of a plug-in under a name, made once."""
        key = (self.noun, name, plugin.name, plugin.source)
        return code_cache().once(key, lambda: self._made(plugin, name))

    def _made(self, plugin: Plugin, name: str) -> type[Base]:
        for other in _adopters:
            if other.noun != self.noun and _is_of(plugin.object, other.contract):
                raise SuiteError(
                    f"{plugin.title} is {other.a_noun}, not {self.a_noun}; it belongs to "
                    f"{other.flag}, or in a suite under [[{other.noun}]]"
                )
        base = self.base(plugin)
        self._check_complete(base, plugin.title)
        self._check_settings(getattr(base, self.settings), plugin.title)
        self.check(base, plugin.title)
        attributes = {
            "name": name,
            "summary": getattr(base, "summary", first_line(base.__doc__) or name),
            "plugin": plugin,
            "__doc__": base.__doc__,
            "__module__": base.__module__,
        }
        return type(name, (self.front, base), attributes)

    @abstractmethod
    def base(self, plugin: Plugin) -> type[Base]:
        """Return the user's class that a plug-in is.

        Raises
        ------
        SuiteError
            If it is none; the message says what to write instead.
        """

    def refusal(self, plugin: Plugin, remedy: str) -> SuiteError:
        """Return an error that says what an object is that is none, and what to write instead."""
        given = plugin.object
        if isinstance(given, type):
            needed = [*self.required, *sorted(getattr(self.contract, "__abstractmethods__", ()))]
            lacking = ", ".join(name for name in needed if not hasattr(given, name))
            return SuiteError(
                f"{plugin.title} is the class {given.__name__}, not {self.a_noun}; make it a "
                f"subclass of optbench.{self.noun}s.{self.contract.__name__}"
                + (f", and add {lacking}" if lacking else "")
            )
        what = "a function" if isroutine(given) else f"of type {type(given).__name__}"
        return SuiteError(f"{plugin.title} is {what}, not {self.a_noun}; {remedy}")

    @abstractmethod
    def check(self, base: type[Base], title: str) -> None:
        """Refuse a complete class whose attributes break the contract.

        Raises
        ------
        SuiteError
            If they do.
        """

    def lacking(self, base: type[Base]) -> list[str]:
        """Return what a class lacks to be complete."""
        abstract: frozenset[str] = getattr(base, "__abstractmethods__", frozenset())
        return [name for name in self.required if not hasattr(base, name)] + sorted(abstract)

    def _check_complete(self, base: type[Base], title: str) -> None:
        if lacking := self.lacking(base):
            raise SuiteError(f"{title} is an incomplete {self.noun}; it lacks {', '.join(lacking)}")

    def _check_settings(self, settings: Any, title: str) -> None:
        """Refuse settings that no suite could name, or that do not take their own defaults."""
        if not isinstance(settings, tuple) or not all(
            isinstance(setting, Setting) for setting in settings
        ):
            raise SuiteError(
                f"{title}: {self.settings} = {settings!r} must be a tuple of {self.declared_by}"
            )
        for setting in settings:
            if not isinstance(setting.name, str) or not setting.name.isidentifier():
                raise SuiteError(
                    f"{title}: {setting.name!r} in {self.settings} must be a name as in Python"
                )
            try:
                setting.check(setting.default)
            except (SuiteError, TypeError, ValueError) as error:
                raise SuiteError(
                    f"{title}: {setting.name} does not take its own default: {error}"
                ) from None


_adopters: list[Adopter[Any]] = []
"""All that have been made."""


def _is_of(given: Any, contract: type) -> bool:
    """Say whether an object is a subclass, or an instance, of a contract."""
    return issubclass(given, contract) if isinstance(given, type) else isinstance(given, contract)
