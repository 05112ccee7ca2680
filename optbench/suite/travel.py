"""Takes the code of plug-ins to processes on other machines.

The sender packs it, the receiver unpacks it, and what is unpickled there meanwhile is made of it,
whatever lies at the place where the sender had it.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer
from optbench.plugins import HANDED, Plugin, Source
from optbench.plugins.cache import CodeCache, using
from optbench.problems.base import Problem
from optbench.store.kept import FOLDER, write_code
from optbench.suite.gather import gather


@dataclass(frozen=True)
class Bundle:
    """The code of plug-ins, plain data that can be pickled.

    Attributes
    ----------
    places
        The file or module that each source is, within the bundle.
    folders
        The texts of files, by folder and by where they lie in it.
    """

    places: Mapping[Source, str]
    folders: Mapping[str, Mapping[str, bytes]]


def pack(parts: Iterable[Problem | Optimizer]) -> Bundle:
    """Return the code that problems and optimizers need on another machine.

    That of releases of installed packages stays here: they have to be installed there as well.

    Raises
    ------
    SuiteError
        If the code of one cannot be taken along.
    """
    found: Iterator[Plugin | None] = (getattr(part, "plugin", None) for part in parts)
    plugins = {plugin.source: plugin for plugin in found if plugin is not None}
    for plugin in plugins.values():
        if plugin.source.place == HANDED:
            raise SuiteError(
                f"{plugin.name} was handed over from Python, and other machines cannot have it; "
                f"put it into a file and name it FILE.py:{plugin.name}"
            )
    gathered = gather(plugins.items())
    for source, reason in gathered.reasons.items():
        raise SuiteError(
            f"the code of {plugins[source].title} cannot be sent to other machines: {reason}"
        )
    places = {source: f"{folder}/{name}" for source, (folder, name) in gathered.places.items()}
    return Bundle(places, gathered.folders)


class Unpacked:
    """Code that has come from another machine, in files of this process alone until it is closed.

    Parameters
    ----------
    bundle
        What :func:`pack` returned there.
    folder
        Where a folder of its own is made for it.
    """

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="code-", dir=folder)).resolve()
        write_code(self._folder, bundle.folders)
        at = self._folder / FOLDER
        self._cache = CodeCache(
            {source: str(at / place) for source, place in bundle.places.items()}
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Make of it what this thread unpickles within this context."""
        with using(self._cache):
            yield

    def close(self) -> None:
        """Forget the code, and remove its files."""
        self._cache.files.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Unpacked":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
