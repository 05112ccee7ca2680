"""Gathers the code of plug-ins: what a run keeps of it, and what travels to other machines."""

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar

from optbench.plugins import Plugin, is_path
from optbench.store.files import file_name
from optbench.store.kept import MOST_BYTES, is_place

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Gathered(Generic[Key]):
    """The code of plug-ins in folders.

    Attributes
    ----------
    folders
        The texts of files, by folder and by where they lie in it.
    places
        For each plug-in its folder, and the file or module there that it is in.
    reasons
        Why the code of some cannot be taken.
    """

    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    places: dict[Key, tuple[str, str]] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)


def gather(plugins: Iterable[tuple[Key, Plugin]]) -> Gathered[Key]:
    """Gather what plug-ins are somebody's own code; releases of installed packages are left out."""
    found: Gathered[Key] = Gathered()
    folders = found.folders
    origins: dict[str, Path | None] = {}
    for key, plugin in plugins:
        files = dict(plugin.source.texts)
        if not files:
            continue
        if reason := _why_not(files):
            found.reasons[key] = reason
            continue
        place = Path(plugin.source.place)
        origin = place.parent if is_path(plugin.source.place) else None
        # Together, what lay together: code may import it late, and then only one may be meant.
        together = (
            name
            for name, others in folders.items()
            if origins[name] == origin and others | files == files | others
        )
        called = "modules" if origin is None else file_name(origin.name)
        folder = next(together, None) or free_name(called, folders)
        folders[folder] = folders.get(folder, {}) | files
        origins[folder] = origin
        found.places[key] = folder, place.name
    return found


def _why_not(files: dict[str, bytes]) -> str:
    """Say why code cannot be kept; nothing where it can."""
    size = sum(map(len, files.values()))
    if size > MOST_BYTES:
        return f"it takes {size / 2**20:,.1f} MiB, and at most {MOST_BYTES >> 20} MiB are kept"
    for place in files:
        if not place.endswith(tuple(all_suffixes())):
            return f"part of it is in the archive '{place}'"
        if not is_place(place):
            return f"{place!r} is no name that a file can have on any system"
    return ""


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name, with a number where it is taken."""
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(free for free in numbered if free not in taken)
