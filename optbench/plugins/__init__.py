"""Objects from a user's own code, and where they came from.

A plug-in is named ``path/to/file.py:NAME``, ``package.module:NAME`` or
``path/to/folder/package.module:NAME``, or offered by an installed package under an entry point.
What its code imports is hashed with it, or known by its version, so that its :class:`Source`
changes with any of it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.plugins.cache import code_cache, new_code_cache
from optbench.plugins.dependencies import CodeFiles
from optbench.plugins.handed import hand_over, handed
from optbench.plugins.source import HANDED, Source, blame, complaint, is_path

__all__ = [
    "HANDED",
    "LIBRARIES",
    "Plugin",
    "Source",
    "anchored",
    "blame",
    "code_cache",
    "complaint",
    "entry_point_names",
    "first_line",
    "given_name",
    "is_path",
    "is_spec",
    "is_there",
    "label",
    "load",
    "load_entry_point",
    "load_unchanged",
    "new_code_cache",
    "parts",
    "texts_now",
]

LIBRARIES = ("torch", "optax", "jax")
"""Libraries that are adapted: a name that begins with one and a colon is of something written for
it, an optimizer of PyTorch or optax, a model of PyTorch or JAX."""


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
    def is_users(self) -> bool:
        """Whether it is somebody's own code, rather than an optimizer of PyTorch or optax."""
        return self.source.package not in LIBRARIES

    @property
    def spec(self) -> str:
        """What :func:`load` finds it by, from any folder."""
        return f"{self.source.place}:{self.name}"


def is_spec(name: str) -> bool:
    """Say whether a name is that of a file or module rather than of something registered."""
    return ":" in name or name.endswith(".py")


def anchored(name: str, folder: Path) -> str:
    """Return what a plug-in's name means that was given in a folder, for use in this one.

    Only names of files, and of modules in folders, depend on that. What is not there may be here.

    Raises
    ------
    SuiteError
        If it is in neither.
    """
    library, place, rest = parts(name)
    if not is_path(place):
        return name
    here, there = Path(os.path.expanduser(place)), folder / place
    same = is_there(here) and is_there(there) and _looked_for(here).samefile(_looked_for(there))
    if here.is_absolute() or same:
        return name
    if is_there(there):
        return f"{library}{there}{rest}"
    if is_there(here):
        return name
    kind = "file" if place.endswith(".py") else "folder of a module"
    here_too = folder.resolve() == Path.cwd()
    elsewhere = "" if here_too else f", where the run was made, nor in '{Path.cwd()}'"
    raise SuiteError(f"there is no {kind} '{place}' in '{folder}'{elsewhere}")


def parts(name: str) -> tuple[str, str, str]:
    """Return the library of a plug-in's name with its colon, its place, and what stands after that.

    >>> parts("torch:rules.py:Heavy"), parts("my_package.rules:Heavy"), parts("adam")
    (('torch:', 'rules.py', ':Heavy'), ('', 'my_package.rules', ':Heavy'), ('', '', 'adam'))
    """
    library = next((f"{each}:" for each in LIBRARIES if name.startswith(f"{each}:")), "")
    place, colon, last = name.removeprefix(library).rpartition(":")
    return library, place, f"{colon if place else ''}{last}"


def is_there(place: Path) -> bool:
    """Say whether a file is there, or the folder that a module is to be taken from."""
    looked_for = _looked_for(place)
    return looked_for.is_dir() if looked_for != place else place.is_file()


def _looked_for(place: Path) -> Path:
    return place if place.name.endswith(".py") else place.parent


def given_name(given: Any, name: str, parts: Iterable[Any]) -> str:
    """Return the name, ``python:NAME``, of an object that a program hands over.

    :func:`load` finds it by that in this process.

    Parameters
    ----------
    given, name, parts
        As :func:`optbench.plugins.handed.hand_over` takes them.

    Raises
    ------
    SuiteError
        If its code cannot be seen, or if another object of this invocation has the name.
    """
    code_cache().note(name, hand_over(given, name, parts))
    return f"{HANDED}:{name}"


def load(spec: str) -> Plugin:
    """Return the object that ``path/to/file.py:NAME`` or ``package.module:NAME`` names.

    A module may stand after the folder that it is to be taken from.

    It is read and executed once in an invocation, so that it always gives the same object.

    Raises
    ------
    SuiteError
        If there is no such file, module or name, or if the code raises while it is imported.
    """
    place, _, name = spec.rpartition(":")
    if place == HANDED:
        given, source = handed(name)
        code_cache().note(name, source)
        return Plugin(given, name, source)
    if spec.endswith(".py") or (place.endswith(".py") and not name):
        raise SuiteError(f"'{spec}' names a file only; add what to take from it: file.py:NAME")
    if not place or not _dotted(name):
        raise SuiteError(
            f"'{spec}' cannot name a plug-in; write path/to/file.py:NAME or package.module:NAME"
        )
    if not place.endswith(".py") and not _dotted(Path(place).name):
        raise SuiteError(f"'{place}' cannot name a module; a plug-in's file ends in .py")
    module, source = code_cache().load(place)
    return Plugin(_attribute(module, name, place), name, source)


def load_unchanged(spec: str, source: Source, name: str) -> Plugin:
    """Load what was taken from some code earlier, such as what a pickle has left out.

    Code that has come from another machine is taken from where it lies here.

    Raises
    ------
    SuiteError
        If it cannot be loaded, or the code has changed, or that of a module which it imports, or
        the version of a package.
    """
    moved = code_cache().moved.get(source)
    plugin = load(spec if moved is None else f"{moved}:{spec.rpartition(':')[2]}")
    differences = "; ".join(plugin.source.differences(source))
    if differences:
        raise SuiteError(
            f"{source.place} has changed since {name} was taken from it: {differences}"
        )
    file = source.file if moved is None else str(plugin.source.root)
    # The earlier source may name the package that offered the code.
    return replace(plugin, source=replace(source, file=file))


def texts_now(place: str, modules: Iterable[str]) -> dict[str, bytes]:
    """Return the texts of a plug-in's file and of own modules, as they are; nothing is executed.

    Parameters
    ----------
    place
        A file, a module, or one in a folder.
    modules
        The names of top-level modules that it imports; what these import counts too.

    Returns
    -------
    dict
        By where each lies in a folder, as in :attr:`Source.texts`; nothing if one cannot be read.
    """
    files, path = CodeFiles(), Path(place).expanduser().resolve()
    try:
        if not is_path(place):
            return files.dependencies(modules).texts
        found = files.dependencies(modules, files.beside(path.parent, modules)).texts
        return {**found, path.name: files.code(path).text} if path.suffix == ".py" else found
    except OSError:
        return {}


def entry_point_names(group: str) -> list[str]:
    """Return the names that installed packages offer under a group."""
    from importlib import metadata  # slow to import, and most invocations need none of it

    return sorted({point.name for point in metadata.entry_points(group=group)})


def load_entry_point(group: str, name: str) -> Plugin | None:
    """Return the object that an installed package offers under a group, or None if none does.

    Raises
    ------
    SuiteError
        If several packages offer different objects of that name, or the object cannot be loaded.
    """
    from importlib import metadata

    points = {point.value: point for point in metadata.entry_points(group=group, name=name)}
    if not points:
        return None
    if len(points) > 1:
        raise SuiteError(f"'{name}' is offered more than once; give one of {', '.join(points)}")
    (point,) = points.values()
    plugin = load(f"{point.module}:{point.attr}")
    if point.dist is None:
        return plugin
    source = replace(plugin.source, package=point.dist.name, version=point.dist.version)
    return replace(plugin, source=source)


def label(name: str) -> str:
    """Return what a plug-in of that name is called: the part after the last colon.

    >>> label("my/rules.py:Heavy"), label("torch:AdamW"), label("adam")
    ('Heavy', 'AdamW', 'adam')
    """
    return name.rpartition(":")[2]


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
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = _own_names(module)
            meant = nearest(name, known) if known else "nothing is defined there"
            raise SuiteError(f"{place} has no '{name}'; {meant}")
        value = getattr(value, part)
    return value


def _own_names(module: ModuleType) -> list[str]:
    """Return the public names of what a module defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]
