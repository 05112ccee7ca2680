"""Where a plug-in's code lies, and what it says where it raises."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optbench.errors import UsageError
from optbench.plugins.dependencies import NOTHING, Dependencies

HANDED = "python"
"""The place of what was handed over from Python rather than named."""

SHA256_DIGITS = 64

PACKAGE = Path(__file__).resolve().parents[1]
"""Where optbench itself lies."""


@dataclass(frozen=True)
class Source:
    """The code that an object came from.

    Attributes
    ----------
    place
        Absolute path of a file, or name of a module; of one that is taken from a folder, the
        folder's absolute path before it.
    sha256
        SHA-256 of the file's or module's text; None for a module without text.
    depends_on
        The modules and packages that it imports, itself or through each other.
    package, version
        The installed package that the module belongs to, if any.
    texts
        All of the code that is somebody's own, the file and the modules that it imports, by where
        it lies in a folder. It is left out where sources are compared, and of pickles.
    file, text
        Of what was handed over: the file, or what Python calls the cell, and its text. Of what has
        come from another machine: the file or folder here whose code counts as its own.
    """

    place: str
    sha256: str | None
    depends_on: Dependencies = NOTHING
    package: str | None = None
    version: str | None = None
    texts: tuple[tuple[str, bytes], ...] = field(default=(), compare=False, repr=False)
    file: str | None = field(default=None, compare=False)
    text: str | None = field(default=None, compare=False, repr=False)

    def identity(self) -> dict[str, Any]:
        """Return what tells its code from other code, wherever it lies, for fingerprints."""
        identity: dict[str, Any] = {"sha256": self.sha256}
        for name, found in self.depends_on._asdict().items():
            if found:
                identity[name] = dict(found)
        module = Path(self.place).name.partition(".")[0]
        hashed = any(module == name for name, _ in self.depends_on.modules)
        return identity if hashed else {**identity, **self._release}  # a version tells no more

    @property
    def _release(self) -> dict[str, Any]:
        return {} if self.package is None else {"package": self.package, "version": self.version}

    @property
    def root(self) -> Path:
        """The folder of its file, or the file of its module: where code counts as its own."""
        if self.file is not None:
            return Path(self.file)
        if is_path(self.place):
            return Path(self.place).parent
        return Path(getattr(sys.modules.get(self.place), "__file__", None) or self.place)

    def differences(self, earlier: "Source") -> Iterator[str]:
        """Say in what this code, loaded again, differs from what it was."""
        if self.package == earlier.package and self.version != earlier.version:
            yield f"{self.package} is {self.version} here, not {earlier.version}"
        for was, here in zip(earlier.depends_on, self.depends_on, strict=True):
            before, now = dict(was), dict(here)
            for name in sorted({*before, *now}):
                if before.get(name) != now.get(name):
                    yield f"{name} is {_short(now.get(name))} here, not {_short(before.get(name))}"
        if self.sha256 != earlier.sha256:
            yield f"its SHA-256 is {_short(self.sha256)} here, not {_short(earlier.sha256)}"

    def describe(self) -> dict[str, Any]:
        """Return the same with its place, for run.json."""
        text = {} if self.text is None else {"text": _as_text(self.text)}
        return {"place": _as_text(self.place), **self.identity(), **self._release, **text}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "texts": ()}


def _short(told: str | None) -> str:
    """Return what tells code from other code, a version or the beginning of a SHA-256."""
    if told is None:
        return "absent"
    return f"{told[:12]}…" if len(told) == SHA256_DIGITS else told


def is_path(place: str) -> bool:
    """Say whether a place is that of a file, or of a module in a folder, rather than a module.

    >>> is_path("rules.py"), is_path("src/my_package.rules"), is_path("my_package.rules")
    (True, True, False)
    """
    return place.endswith(".py") or Path(place).name != place


def complaint(error: BaseException, root: Path | None = None) -> str:
    """Say in one line what code raised, and in which line of the code in ``root``.

    Parameters
    ----------
    root
        The file or folder whose code counts; libraries that it calls do not. Without one no line
        is named.
    """
    said = _said(error)
    lines = said.splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    places = [(Path(frame.filename), frame.lineno) for frame in frames]
    if isinstance(error, UsageError):
        text = said
    elif isinstance(error, SyntaxError) and error.filename is not None:
        text = f"{type(error).__name__}: {error.msg}"
        places.append((Path(error.filename), error.lineno))
    own = [(path, line) for path, line in places if root is not None and _is_own(path, root)]
    if root is None or not own:
        return text
    path, line = own[-1]
    if path == root and not path.exists():  # the cell of a notebook, whose name says nothing
        return f"{text} (line {line})"
    name = path.name if path == root else path.relative_to(root)
    return f"{text} ({name}, line {line})"


def _said(error: BaseException) -> str:
    """Return what an exception says; a user's may fail even in that."""
    try:
        return _as_text(str(error))
    except Exception:
        return ""


def _as_text(text: str) -> str:
    r"""Return text that any file takes.

    >>> _as_text("caf\xe9 \udcff")
    'café \\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _is_own(path: Path, root: Path) -> bool:
    if path.is_relative_to(PACKAGE) and not root.is_relative_to(PACKAGE):
        return False  # the user's code may lie in a folder that optbench lies in
    return path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts


def blame(error: BaseException, sources: Sequence[Source]) -> str | None:
    """Say in one line which code is behind an unexpected error.

    Returns
    -------
    str or None
        None where none can be: the error did not pass through the code, and none of it is a user's
        own file, which may have returned what optbench could not go on with.
    """
    for source in reversed(sources):
        said = complaint(error, source.root)
        if said != complaint(error):
            return f"{Path(source.place).name} fails: {said}"
    files = [Path(source.place).name for source in sources if source.place.endswith(".py")]
    if not files or not isinstance(error, Exception):
        return None
    names = ", ".join(dict.fromkeys(files))
    return f"what {names} returned does not fit: {complaint(error)}; --debug shows where"
