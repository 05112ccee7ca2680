"""Keeps the code of a suite's plug-ins in the run's directory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from optbench.plugins import Plugin, parts
from optbench.store.kept import FOLDER, KeptCode, sha256s, write_code
from optbench.suite.gather import gather
from optbench.suite.resolve import Suite

Kind: TypeAlias = Literal["problem", "optimizer"]


def keep_code(
    run: Path, suite: Suite, notice: Callable[[str], object] = lambda message: None
) -> dict[str, Any]:
    """Write what plug-ins of a suite are somebody's own code; return what run.json says of it.

    Code that belongs to a release of an installed package is told by its version and not kept.
    ``notice`` is told what cannot be kept.
    """
    plugins = dict(_plugins(suite))
    gathered = gather(plugins.items())
    reasons = {name: reason for (_, name), reason in gathered.reasons.items()}
    for name, reason in reasons.items():
        notice(f"the code of {name} is not kept with the run: {reason}")
    kept = [
        KeptCode(
            kind=kind,
            name=name,
            folder=f"{FOLDER}/{folder}",
            spec=f"{parts(name)[0]}{place}:{plugins[kind, name].name}",
            files=sha256s(dict(plugins[kind, name].source.texts)),
        )
        for (kind, name), (folder, place) in gathered.places.items()
    ]
    write_code(run, gathered.folders)
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
