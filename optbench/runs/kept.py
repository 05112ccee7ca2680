"""Keeps the code of a suite's plug-ins in the run's directory."""

from collections.abc import Callable, Collection, Iterator
from importlib.machinery import all_suffixes
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias

from optbench.plugins import Plugin, is_path, parts
from optbench.store.files import file_name
from optbench.store.kept import FOLDER, MOST_BYTES, KeptCode, is_place, sha256s, write_code
from optbench.suite.resolve import Suite

Kind: TypeAlias = Literal["problem", "optimizer"]


def keep_code(
    run: Path, suite: Suite, notice: Callable[[str], object] = lambda message: None
) -> dict[str, Any]:
    """Write what plug-ins of a suite are somebody's own code; return what run.json says of it.

    Code that belongs to a release of an installed package is told by its version and not kept.
    ``notice`` is told what cannot be kept.
    """
    kept: list[KeptCode] = []
    folders: dict[str, dict[str, bytes]] = {}
    origins: dict[str, Path | None] = {}
    reasons: dict[str, str] = {}
    for (kind, name), plugin in dict(_plugins(suite)).items():
        files = dict(plugin.source.texts)
        if not files:
            continue
        reason = _why_not(files)
        if reason:
            reasons[name] = reason
            notice(f"the code of {name} is not kept with the run: {reason}")
            continue
        place = Path(plugin.source.place).name
        origin = Path(plugin.source.place).parent if is_path(plugin.source.place) else None
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
        spec = f"{parts(name)[0]}{place}:{plugin.name}"
        kept.append(
            KeptCode(
                kind=kind,
                name=name,
                folder=f"{FOLDER}/{folder}",
                spec=spec,
                files=sha256s(files),
            )
        )
    write_code(run, folders)
    meta: dict[str, Any] = {}
    if kept:
        meta["plugins"] = [code.model_dump() for code in kept]
    if reasons:
        meta["plugins_not_kept"] = reasons
    return meta


def _plugins(suite: Suite) -> Iterator[tuple[tuple[Kind, str], Plugin]]:
    """Yield the plug-ins of a suite, by what they are and what it calls them."""
    for resolved in suite.problems:
        problem: Plugin | None = getattr(resolved.problem, "plugin", None)
        if problem is not None:
            yield ("problem", resolved.name), problem
        for entry in resolved.optimizers:
            if entry.optimizer.plugin is not None:
                yield ("optimizer", entry.name), entry.optimizer.plugin


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
