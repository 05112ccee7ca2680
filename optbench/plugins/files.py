"""Python files as modules, with the modules beside them, and modules taken from a folder.

A file is executed as ``python file.py`` would: what lies beside it can be imported while it is
being loaded. ``sys.path`` and the modules of others are left as they were.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType

from optbench.errors import SuiteError, encoding_complaint, nearest
from optbench.plugins.dependencies import CodeFiles, held_names
from optbench.plugins.modules import imported
from optbench.plugins.source import Source, complaint

ENCODING_FAULT = re.compile(r"unicode error|null bytes")
"""What Python says of a file that is not written in UTF-8, nor in what it says it is."""

_lock = RLock()
"""Held while modules come and go."""


class FileModules:
    """Plug-in files that have been loaded, each of them read and executed once.

    What lies beside a file is read once as well, so that all files see the same code, whatever
    happens to it on the disk meanwhile.
    """

    def __init__(self) -> None:
        self.code = CodeFiles()
        self._loaded: dict[Path, tuple[ModuleType, Source]] = {}
        self._executed: dict[Source, ModuleType] = {}
        """Modules by what was known of their code before it was executed."""
        self._beside: dict[str, set[Path]] = {}
        """Where modules lie that were imported from beside a file, by name."""
        _open.append(self)

    def load(self, name: str) -> tuple[ModuleType, Source]:
        """Return the module that a file is, and its source.

        Raises
        ------
        SuiteError
            If there is no such file, it cannot be read, or its code raises.
        """
        with _lock:
            path = _existing(name)
            if path not in self._loaded:
                self._loaded[path] = self._load(path, name)
            return self._loaded[path]

    def load_module(self, place: str) -> tuple[ModuleType, Source]:
        """Return a module that lies in a folder, ``folder/package.module``, and its source.

        What lies in the folder is imported from there, whatever else goes by its name.

        Raises
        ------
        SuiteError
            If there is no such module, it cannot be read, or its code raises.
        """
        with _lock:
            path = _resolved(place)
            if path not in self._loaded:
                self._loaded[path] = self._import(path.parent, path.name)
            return self._loaded[path]

    def release(self) -> None:
        """Take all modules out of ``sys.modules``, except those that another instance uses."""
        with _lock:
            _open.remove(self)
            for source, module in self._executed.items():
                if _executed(source) is None and sys.modules.get(module.__name__) is module:
                    del sys.modules[module.__name__]
            for name, places in self._beside.items():
                if any(_is_ours(name, place) for place in places):
                    continue
                if any(_lies_at(sys.modules.get(name), place) for place in places):
                    _take_out(name)

    def _load(self, path: Path, name: str) -> tuple[ModuleType, Source]:
        importlib.invalidate_caches()  # files may have been written a moment ago
        try:
            code = self.code.code(path)
            beside = self.code.beside(path.parent, code.imports)
            kept = [name for name, place in beside.items() if _is_kept(name, place)]
            known = self.code.dependencies(code.imports, beside, kept).depends_on
            before = Source(str(path), code.sha256, known)
            module = _executed(before) or self._execute(path, code.text, before, beside)
            self._executed[before] = module
            # Code may change the path on which modules are found, or compute their names.
            found = self.code.dependencies(code.imports | held_names(module), beside, kept)
            texts = {**found.texts, path.name: code.text}
            source = replace(before, depends_on=found.depends_on)
            return module, replace(source, texts=tuple(sorted(texts.items())))
        except OSError as error:
            raise SuiteError(f"plug-in '{name}' cannot be read: {error.strerror}") from None

    def _import(self, folder: Path, name: str) -> tuple[ModuleType, Source]:
        importlib.invalidate_caches()
        top = name.partition(".")[0]
        try:
            beside = self.code.beside(folder, [top])
            if top not in beside:
                raise SuiteError(
                    f"there is no module '{top}' in '{folder}'; a plug-in's file ends in .py"
                )
            kept = [module for module, place in beside.items() if _is_kept(module, place)]
            with self._importable(folder, beside):
                module = imported(name, folder)
            code = self.code.code_as_loaded(Path(str(module.__file__)), name)
            names = {top, *code.imports, *held_names(module)}
            found = self.code.dependencies(names, beside, kept)
            texts = tuple(sorted(found.texts.items()))
            return module, Source(str(folder / name), code.sha256, found.depends_on, texts=texts)
        except OSError as error:
            raise SuiteError(f"'{folder / name}' cannot be read: {error.strerror}") from None

    def _execute(
        self, path: Path, text: bytes, source: Source, beside: dict[str, Path]
    ) -> ModuleType:
        """Return the module that a file's text makes; what is run is what was hashed."""
        digest = hashlib.sha256(repr(source).encode()).hexdigest()
        module = ModuleType(f"optbench_plugin_{digest[:16]}_{path.stem}".replace(".", "_"))
        module.__file__ = str(path)
        sys.modules[module.__name__] = module  # where pickle and dataclasses look classes up
        try:
            with self._importable(path.parent, beside):
                exec(compile(text, str(path), "exec"), vars(module))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's code may raise anything
            sys.modules.pop(module.__name__, None)
            said = complaint(error, path.parent)
            if isinstance(error, SyntaxError) and ENCODING_FAULT.search(said):
                said = encoding_complaint(text) or said
            raise SuiteError(f"{path.name} cannot be imported: {said}") from error
        return module

    @contextmanager
    def _importable(self, folder: Path, beside: dict[str, Path]) -> Iterator[None]:
        """Let modules beside a file be imported, whatever else goes by their names.

        Afterwards a name that meant something else means that again.
        """
        foreign: dict[str, ModuleType] = {}
        ours = set()
        for name, place in beside.items():
            if not _lies_at(sys.modules.get(name), place):
                foreign |= _take_out(name)
            elif place in self._beside.get(name, ()) or _is_kept(name, place):
                continue  # this instance has imported it, or the program has it from there
            else:
                _take_out(name)  # it may have changed since another instance imported it
            ours.add(name)
        sys.path.insert(0, str(folder))
        # Compiled files are known by second and size: a change within a second would be missed.
        writes_no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield
        finally:
            sys.dont_write_bytecode = writes_no_bytecode
            with suppress(ValueError):  # the code may have taken it out itself
                sys.path.remove(str(folder))
            for name in ours:
                self._beside.setdefault(name, set()).add(beside[name])
                if name in foreign:
                    _take_out(name)
            sys.modules.update(foreign)


_open: list[FileModules] = []
"""All instances that have not been released."""


def _executed(source: Source) -> ModuleType | None:
    """Return the module that some open instance has made of the same code, if any."""
    found = (files._executed.get(source) for files in _open)
    return next((module for module in found if module is not None), None)


def _is_ours(name: str, place: Path) -> bool:
    """Say whether some open instance has imported the module of a name from a place."""
    return any(place in files._beside.get(name, ()) for files in _open)


def _is_kept(name: str, place: Path) -> bool:
    """Say whether the program itself has imported the module of a name from a place."""
    return _lies_at(sys.modules.get(name), place) and not _is_ours(name, place)


def _resolved(name: str) -> Path:
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no path at all
        raise SuiteError(f"plug-in {name!r} cannot be read: {error}") from None


def _existing(name: str) -> Path:
    path = _resolved(name)
    try:
        if path.is_file():
            return path
        near = [file.name for file in path.parent.glob("*.py")]
        place = "" if Path(name).is_absolute() else f" in '{Path.cwd()}'"
    except (OSError, ValueError) as error:
        raise SuiteError(f"plug-in {name!r} cannot be read: {error}") from None
    meant = nearest(path.name, near) if near else "there is no Python file in that folder"
    raise SuiteError(f"there is no file '{name}'{place}; {meant}")


class _LateFinder:
    """Finds modules beside plug-in files that are imported only when a function is called.

    Asked last, so that it takes no name from anybody; a name that lies beside files of two folders
    is found for neither.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        places = [files._beside.get(fullname, set()).copy() for files in _open.copy()]
        folders = {str(place.parent) for place in set().union(*places)}
        return PathFinder.find_spec(fullname, list(folders)) if len(folders) == 1 else None


sys.meta_path.append(_LateFinder())


def _take_out(name: str) -> dict[str, ModuleType]:
    """Take a module and those below it out of ``sys.modules``, and return them."""
    names = [other for other in sys.modules if other == name or other.startswith(f"{name}.")]
    return {other: sys.modules.pop(other) for other in names}


def _lies_at(module: ModuleType | None, place: Path) -> bool:
    paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    where = place.resolve()
    return any(path is not None and Path(path).resolve() == where for path in paths)
