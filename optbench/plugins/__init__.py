"""Objects from a user's own code, and where they came from.

A plug-in is named ``path/to/file.py:NAME`` or ``package.module:NAME``, or offered by an installed
package under an entry point. What a file imports from beside it is hashed with it, so that its
:class:`Source` changes with any of its code.
"""

from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.plugins.files import load_file
from optbench.plugins.modules import load_module
from optbench.plugins.source import Source, blame, complaint

__all__ = [
    "Plugin",
    "Source",
    "blame",
    "check_unchanged",
    "complaint",
    "entry_point_names",
    "first_line",
    "is_spec",
    "load",
    "load_entry_point",
    "loaded",
]

loaded: list[Source] = []
"""Where all code is that was asked for in this process, in that order."""


@dataclass(frozen=True)
class Plugin:
    """An object, what it is called in its file or module, and where that is."""

    object: Any = field(repr=False)
    name: str
    source: Source

    @property
    def title(self) -> str:
        """What messages call it: the file's or module's last part, and the name in it."""
        return f"{Path(self.source.place).name}:{self.name}"

    @property
    def spec(self) -> str:
        """What :func:`load` finds it by, from any folder."""
        return f"{self.source.place}:{self.name}"


def is_spec(name: str) -> bool:
    """Say whether a name is that of a file or module rather than of something registered."""
    return ":" in name or name.endswith(".py")


def load(spec: str) -> Plugin:
    """Return the object that ``path/to/file.py:NAME`` or ``package.module:NAME`` names.

    The same code is executed once a process, so that it always gives the same object.

    Raises
    ------
    SuiteError
        If there is no such file, module or name, or if the code raises while it is imported.
    """
    place, _, name = spec.rpartition(":")
    if spec.endswith(".py") or (place.endswith(".py") and not name):
        raise SuiteError(f"'{spec}' names a file only; add what to take from it: file.py:NAME")
    if not place or not _dotted(name):
        raise SuiteError(
            f"'{spec}' names no plug-in; write path/to/file.py:NAME or package.module:NAME"
        )
    if place.endswith(".py"):
        module, source = load_file(place)
    elif _dotted(place):
        module, source = load_module(place)
    else:
        raise SuiteError(f"'{place}' names no module; a plug-in's file ends in .py")
    loaded.append(source)
    return Plugin(_attribute(module, name, place), name, source)


def check_unchanged(found: Source, source: Source, name: str) -> None:
    """Refuse code that is no longer what it was.

    Raises
    ------
    SuiteError
        If its text has changed, or that of a module beside it.
    """
    if (found.sha256, found.beside) != (source.sha256, source.beside):
        raise SuiteError(f"{source.place} has changed since {name} was taken from it")


def entry_point_names(group: str) -> list[str]:
    """Return the names that installed packages offer under a group."""
    return sorted({each.name for each in metadata.entry_points(group=group)})


def load_entry_point(group: str, name: str) -> Plugin | None:
    """Return the object that an installed package offers under a group, or None if none does.

    Raises
    ------
    SuiteError
        If several packages offer different objects of that name, or the object cannot be loaded.
    """
    found = {each.value: each for each in metadata.entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        raise SuiteError(f"'{name}' is offered more than once; give one of {', '.join(found)}")
    (point,) = found.values()
    plugin = load(f"{point.module}:{point.attr}")
    if point.dist is None:
        return plugin
    source = replace(plugin.source, package=point.dist.name, version=point.dist.version)
    return replace(plugin, source=source)


def first_line(text: object) -> str:
    r"""Return the first line of a docstring; nothing where there is none.

    >>> first_line("  Steps downhill.\n\n    Slowly."), first_line(" "), first_line(None)
    ('Steps downhill.', '', '')
    """
    lines = text.strip().splitlines() if isinstance(text, str) else []
    return lines[0] if lines else ""


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _attribute(module: ModuleType, name: str, place: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = _own_names(module)
            meant = nearest(name, known) if known else "nothing is defined there"
            raise SuiteError(f"{place} has no '{name}'; {meant}")
        found = getattr(found, part)
    return found


def _own_names(module: ModuleType) -> list[str]:
    """Return the public names of what a module defines itself."""
    return [
        name
        for name, each in vars(module).items()
        if not name.startswith("_")
        and not isinstance(each, ModuleType)
        and getattr(each, "__module__", module.__name__) == module.__name__
    ]
