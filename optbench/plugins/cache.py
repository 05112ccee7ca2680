"""What has been loaded of users' code, for as long as one invocation needs it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, TypeVar

from optbench.errors import SuiteError
from optbench.plugins.files import FileModules
from optbench.plugins.modules import load_module
from optbench.plugins.source import Source, is_path

T = TypeVar("T")


class CodeCache:
    """Plug-in code that is read once, and what has been made of it.

    Parameters
    ----------
    moved
        Where code lies here that has come from another machine, by what it was there.
    """

    def __init__(self, moved: Mapping[Source, str] | None = None) -> None:
        self.moved = dict(moved or {})
        self.files = FileModules()
        self._modules: dict[str, tuple[ModuleType, Source]] = {}
        self._handed: dict[str, Source] = {}
        self._made: dict[Any, Any] = {}
        self._sources: dict[Source, None] = {}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where all code is that was asked for, in that order."""
        return tuple(self._sources)

    def load(self, place: str) -> tuple[ModuleType, Source]:
        """Return the module of a file, one in a folder, or that of a dotted name, and its source.

        Raises
        ------
        SuiteError
            If it is not there, cannot be read, or raises.
        """
        token = _loading.set(True)
        try:
            if place.endswith(".py"):
                module, source = self.files.load(place)
            elif is_path(place):
                module, source = self.files.load_module(place)
            else:
                if place not in self._modules:
                    self._modules[place] = load_module(place, self.files.code)
                module, source = self._modules[place]
        finally:
            _loading.reset(token)
        self._sources[source] = None
        return module, source

    def note(self, name: str, source: Source) -> None:
        """Remember code that was handed over under a name.

        Raises
        ------
        SuiteError
            If the name has been given to other code.
        """
        if self._handed.setdefault(name, source) != source:
            raise SuiteError(f"two of what was handed over are called {name}; rename one of them")
        self._sources[source] = None

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what was made for a key, or make it."""
        if key not in self._made:
            self._made[key] = make()
        made: T = self._made[key]
        return made


_process = CodeCache()
_current: ContextVar[CodeCache] = ContextVar("code", default=_process)
_loading: ContextVar[bool] = ContextVar("loading", default=False)
"""Whether users' code is being imported."""


def code_cache() -> CodeCache:
    """Return the cache of this invocation, or that of the process outside of any."""
    return _current.get()


@contextmanager
def using(cache: CodeCache) -> Iterator[None]:
    """Let a cache be that of this thread within this context; it stays as it is at its end."""
    token = _current.set(cache)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def new_code_cache() -> Iterator[CodeCache]:
    """Read plug-in code anew within this context, and free it at its end.

    An invocation is one such context: it sees what has been changed since the last one, and the
    same code throughout.

    Raises
    ------
    SuiteError
        If it is users' code that begins one while it is imported, which might go on for ever.
    """
    if _loading.get():
        raise SuiteError(
            "it calls optbench while it is imported; put the call below if __name__ == '__main__':"
        )
    outer, cache = _current.get(), CodeCache()
    try:
        with using(cache):
            yield cache
    finally:
        cache.files.release()
        if outer is not _process:
            outer._sources |= cache._sources
