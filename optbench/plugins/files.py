"""Python files as modules, with the modules beside them.

A file is executed as ``python file.py`` would: what lies beside it can be imported while it is
being loaded. ``sys.path`` and the modules of others are left as they were.
"""

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType

from optbench.errors import SuiteError, nearest
from optbench.plugins.source import Source, complaint

NEVER_BESIDE = sys.stdlib_module_names | {"optbench"}
"""Modules that are never looked for beside a file."""

_executed: dict[Source, ModuleType] = {}

_loading = RLock()


def load_file(name: str) -> tuple[ModuleType, Source]:
    """Execute a file, once as long as its code stays the same, and return module and source.

    Raises
    ------
    SuiteError
        If there is no such file, it cannot be read, or its code raises.
    """
    path = _existing(name)
    importlib.invalidate_caches()  # files may have been written a moment ago
    try:
        text = path.read_bytes()
        beside = _modules_beside(path)
        hashes = tuple((each, _hash(place)) for each, place in sorted(beside.items()))
    except OSError as error:
        raise SuiteError(f"plug-in '{name}' cannot be read: {error.strerror}") from None
    source = Source(str(path), hashlib.sha256(text).hexdigest(), hashes)
    with _loading:
        if source not in _executed:
            _executed[source] = _execute(path, text, source, beside)
    return _executed[source], source


def _existing(name: str) -> Path:
    try:
        path = Path(name).expanduser().resolve()
        if path.is_file():
            return path
        near = [each.name for each in path.parent.glob("*.py")]
    except (OSError, RuntimeError, ValueError) as error:  # no path at all
        raise SuiteError(f"plug-in {name!r} cannot be read: {error}") from None
    meant = nearest(path.name, near) if near else "there is no Python file in that folder"
    raise SuiteError(f"there is no file '{name}'; {meant}")


def _execute(path: Path, text: bytes, source: Source, beside: dict[str, Path]) -> ModuleType:
    """Return the module that a file's text makes; what is run is what was hashed."""
    digest = hashlib.sha256(repr(source).encode()).hexdigest()
    module = ModuleType(f"optbench_plugin_{digest[:16]}_{path.stem}".replace(".", "_"))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where pickle and dataclasses look classes up
    try:
        with _importable(path.parent, beside):
            exec(compile(text, str(path), "exec"), vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's code may raise anything
        del sys.modules[module.__name__]
        raise SuiteError(
            f"{path.name} cannot be imported: {complaint(error, path.parent)}"
        ) from error
    return module


@contextmanager
def _importable(folder: Path, beside: dict[str, Path]) -> Iterator[None]:
    """Let modules beside a file be imported, whatever else goes by their names.

    Afterwards a name that meant something else means that again. Modules that an earlier file has
    imported from the same place are imported anew, since they may have changed.
    """
    foreign: dict[str, ModuleType] = {}
    ours = set(beside)
    for name, place in beside.items():
        module = sys.modules.get(name)
        from_here = _lies_at(module, place)
        if from_here and _imported_beside.get(name) is not module:
            ours.remove(name)  # the program has it from there
            continue
        taken = _take_out(name)
        if not from_here:
            foreign |= taken
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):  # the code may have taken it out itself
            sys.path.remove(str(folder))
        for name in ours:
            if name in foreign:
                _take_out(name)
            elif name in sys.modules:
                _imported_beside[name] = sys.modules[name]
            _late.add(name, folder)
        sys.modules.update(foreign)


_imported_beside: dict[str, ModuleType] = {}
"""Modules that plug-in files have imported from beside them while they were loaded."""


class _Late(MetaPathFinder):
    """Finds modules beside plug-in files that are imported only when a function is called.

    Asked last, so that it takes no name from anybody; a name that lies beside files of two folders
    is found for neither.
    """

    def __init__(self) -> None:
        self._folders: dict[str, set[Path]] = {}

    def add(self, name: str, folder: Path) -> None:
        self._folders.setdefault(name, set()).add(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folders = self._folders.get(fullname, set())
        return (
            PathFinder.find_spec(fullname, list(map(str, folders))) if len(folders) == 1 else None
        )


_late = _Late()
sys.meta_path.append(_late)


def _take_out(name: str) -> dict[str, ModuleType]:
    """Take a module and those below it out of ``sys.modules``, and return them."""
    names = [each for each in sys.modules if each == name or each.startswith(f"{name}.")]
    return {each: sys.modules.pop(each) for each in names}


def _lies_at(module: ModuleType | None, place: Path) -> bool:
    paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    where = place.resolve()
    return any(path is not None and Path(path).resolve() == where for path in paths)


def _modules_beside(path: Path) -> dict[str, Path]:
    """Return the modules beside a file that it imports, itself or through them, by name."""
    found: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        for name in _imports(waiting.pop()) - found.keys() - NEVER_BESIDE:
            place = _beside(path.parent, name)
            if place is not None:
                found[name] = place
                waiting += _texts(place)
    return found


def _imports(path: Path) -> set[str]:
    """Return the first parts of the modules that a file imports anywhere in its text."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # executing it will say so
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _beside(folder: Path, name: str) -> Path | None:
    """Return the file or folder of a module, if importing it from a folder's code finds it there.

    A folder without ``__init__.py`` gives way to an installed package of the same name.
    """
    package = folder / name
    if not package.is_dir() and not (folder / f"{name}.py").is_file():
        return None
    spec = PathFinder.find_spec(name, [str(folder), *sys.path])
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        return package if str(package) in spec.submodule_search_locations else None
    origin = Path(spec.origin or "")
    return origin if origin.parent == folder else None


def _texts(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _hash(place: Path) -> str:
    """Return the SHA-256 of a module's text, or of the names and texts of a package's files."""
    if place.is_file():
        return hashlib.sha256(place.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for path in _texts(place):
        total.update(f"{path.relative_to(place).as_posix()}:{_hash(path)}\n".encode())
    return total.hexdigest()
