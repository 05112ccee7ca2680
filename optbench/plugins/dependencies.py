"""What users' code depends on: every module that it imports, whenever it does.

Imports are read from the text of files, so that modules count which are imported only when a
function is called. Modules of the standard library and of optbench are left out. The others either
belong to a release of an installed package, whose name and version say what they hold, or are
somebody's work in progress, and their text is hashed.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes
from importlib.util import find_spec
from inspect import isclass, isfunction, ismodule
from os import walk
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from importlib.metadata import Distribution

NEVER = sys.stdlib_module_names | {"optbench", "__main__"}
"""Modules that are never looked for."""

COMPUTING = {
    *("numpy", "scipy", "numba", "torch", "jax", "jaxlib", "optax", "tensorflow"),
    *("cupy-cuda12x", "cupy-cuda13x"),
}
"""Packages whose versions count wherever an imported package requires them."""

SITES = ("site-packages", "dist-packages")


class Code(NamedTuple):
    """What is known of a file of code once it has been read."""

    text: bytes
    sha256: str
    imports: frozenset[str]


class Dependencies(NamedTuple):
    """Modules with the SHA-256 of all their text, and packages with their versions, by name."""

    modules: tuple[tuple[str, str], ...] = ()
    libraries: tuple[tuple[str, str], ...] = ()


NOTHING = Dependencies()


class Found(NamedTuple):
    """What code depends on, and the texts of its own modules, by where they lie in a folder."""

    depends_on: Dependencies
    texts: dict[str, bytes]


_as_loaded: dict[Path, tuple[ModuleSpec, Code]] = {}
"""Code of modules that Python keeps, as it was when they were first seen."""


class CodeFiles:
    """Files of code, each of them read once."""

    def __init__(self) -> None:
        self._read: dict[Path, Code] = {}

    def code(self, path: Path) -> Code:
        """Read a file."""
        if path not in self._read:
            text = path.read_bytes()
            self._read[path] = Code(text, hashlib.sha256(text).hexdigest(), _imports(path, text))
        return self._read[path]

    def code_as_loaded(self, path: Path, module: str) -> Code:
        """Return the code of a module's file; if it has been loaded, as it was when first seen.

        What Python has loaded does not change with the file, unless it is reloaded, which gives the
        module another specification.
        """
        spec: ModuleSpec | None = getattr(sys.modules.get(module), "__spec__", None)
        if spec is None or spec.origin != str(path):
            return self.code(path)
        if path not in _as_loaded or _as_loaded[path][0] is not spec:
            _as_loaded[path] = spec, self.code(path)
        return _as_loaded[path][1]

    def beside(self, folder: Path, names: Iterable[str]) -> dict[str, Path]:
        """Return the modules in a folder that have some names, or that these import, by name."""
        places: dict[str, Path] = {}
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            place = None if name in places or name in NEVER else _beside(folder, name)
            if place is not None:
                places[name] = place
                waiting.update(*(self.code(file).imports for file in _files(name, place).values()))
        return places

    def dependencies(
        self,
        names: Iterable[str],
        beside: Mapping[str, Path] | None = None,
        kept: Collection[str] = (),
    ) -> Found:
        """Return all that code depends on which imports some modules.

        Parameters
        ----------
        names
            The first parts of their names.
        beside
            Where modules lie that mean the same whatever else goes by their names.
        kept
            Those of them that are not loaded anew.
        """
        near = beside or {}
        modules: dict[str, str] = {}
        libraries = _versions({"numpy"})  # whose arrays any code is given
        texts: dict[str, bytes] = {}
        seen, waiting = set(NEVER), set(names)
        while waiting := waiting - seen:
            seen |= waiting
            imported: set[str] = set()
            for name in waiting:
                own, released = ([near[name]], []) if name in near else _own_and_released(name)
                for package in released:
                    libraries |= {package.name: package.version, **_required(package)}
                anew = name in near and name not in kept
                codes = {}
                for place in own:
                    for module, path in _files(name, place).items():
                        code = self.code(path) if anew else self.code_as_loaded(path, module)
                        codes[module] = code
                        texts[_place_in_folder(path, place)] = code.text
                if codes:
                    modules[name] = _total(codes)
                imported |= {other for code in codes.values() for other in code.imports}
            waiting = imported
        known = Dependencies(tuple(sorted(modules.items())), tuple(sorted(libraries.items())))
        return Found(known, texts)


def releases(name: str) -> "list[Distribution]":
    """Return the installed packages of which a top-level module is a part, if all of it is."""
    own, released = _own_and_released(name)
    return [] if own else released


def required_versions(distribution: "Distribution") -> Dependencies:
    """Return what a release of an installed package depends on: what computes, with versions."""
    if distribution.name in COMPUTING:
        return NOTHING  # its own version says enough
    return Dependencies(libraries=tuple(sorted(_required(distribution).items())))


def held_names(module: ModuleType) -> set[str]:
    """Return the first parts of the modules that what a module holds comes from.

    They tell of imports whose names are computed.
    """
    names = [
        value.__name__ if ismodule(value) else value.__module__
        for value in vars(module).values()
        if ismodule(value) or isclass(value) or isfunction(value)
    ]
    return {name.partition(".")[0] for name in names if isinstance(name, str)}


def _imports(path: Path, text: bytes) -> frozenset[str]:
    """Return the first parts of the modules that a file's text imports anywhere."""
    try:
        tree = ast.parse(text if path.suffix == ".py" else b"")
    except (SyntaxError, ValueError, RecursionError):  # executing it will say so
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Call) and node.args:
            names.add(_called_for(node))
    firsts = {name.partition(".")[0] for name in names}
    return frozenset(name for name in firsts if name.isidentifier())


def _called_for(call: ast.Call) -> str:
    """Return what ``import_module("name")`` or ``__import__(f"name.{part}")`` begins with."""
    function = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if function not in ("import_module", "__import__"):
        return ""
    constants = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return constants[0] if constants and isinstance(constants[0], str) else ""


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


def _files(name: str, place: Path) -> dict[str, Path]:
    """Return the files of a module, or of all modules of a package, by the modules' names."""
    if not place.is_dir():
        archive = next((path for path in (place, *place.parents) if path.is_file()), None)
        return {} if archive is None else {name: archive}
    found = {}
    for folder, folders, files in walk(place):
        folders[:] = [part for part in folders if part.isidentifier() and part != "__pycache__"]
        package = ".".join((name, *Path(folder).relative_to(place).parts))
        for file in sorted(files):
            module = file.partition(".")[0]
            if file.endswith(tuple(all_suffixes())) and module.isidentifier():
                dotted = package if module == "__init__" else f"{package}.{module}"
                found[dotted] = Path(folder, file)
    return found


def _place_in_folder(path: Path, place: Path) -> str:
    """Return where a module's file lies, as seen from the folder that the module lies in."""
    inside = path.is_relative_to(place)  # else it is an archive that the module is in
    return path.relative_to(place.parent).as_posix() if inside else path.name


def _total(codes: Mapping[str, Code]) -> str:
    """Return the SHA-256 of a module's text, or of the names and texts of all of a package's."""
    if len(codes) == 1:
        return next(iter(codes.values())).sha256
    lines = [f"{module}:{code.sha256}\n" for module, code in sorted(codes.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _own_and_released(name: str) -> "tuple[list[Path], list[Distribution]]":
    """Return where a top-level module lies, except for what releases of packages have installed.

    A package without ``__init__.py`` may lie in several places.
    """
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # what was loaded so came from nowhere
        spec = None
    if spec is None:
        return [], []
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if spec.submodule_search_locations is None and spec.has_location:
        places = [Path(str(spec.origin))]
    own, released = [], []
    for place in places:
        installed = _distributions(name, place.parent)
        here = [package for package in installed if _is_released(package, place.parent)]
        released += here
        own += [] if here else [place]
    return own, released


def _distributions(name: str, folder: Path) -> "list[Distribution]":
    """Return the packages installed in a folder that contain a top-level module."""
    from importlib import metadata  # slow to import, and most invocations need none of it

    path = [str(folder)]
    called_so = [*metadata.distributions(name=name, path=path)]  # as most are
    return called_so or [
        package for package in metadata.distributions(path=path) if name in _top_level(package)
    ]


def _top_level(distribution: "Distribution") -> set[str]:
    """Return the names of the top-level modules of an installed package."""
    declared = (distribution.read_text("top_level.txt") or "").split()
    return {*declared} or {file.parts[0].partition(".")[0] for file in distribution.files or ()}


def _is_released(distribution: "Distribution", folder: Path) -> bool:
    """Say whether the version of a package in a folder tells its code.

    What pip has taken from a repository, or from a folder that is still there, keeps its version
    while its code changes.
    """
    if distribution.read_text("METADATA") is None and folder.name not in SITES:
        return False  # what a build has left beside the code
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if "dir_info" in origin:
        from urllib.request import url2pathname  # loads all that HTTP needs

        return not Path(url2pathname(urlsplit(origin["url"]).path)).exists()
    return "vcs_info" not in origin


def _required(distribution: "Distribution") -> dict[str, str]:
    """Return versions of what computes among the packages that one requires."""
    from importlib import metadata

    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        for requirement in waiting.pop().requires or ():
            name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()
            if name not in found and "extra ==" not in requirement:
                found.add(name)
                with suppress(metadata.PackageNotFoundError):
                    waiting.append(metadata.distribution(name))
    return _versions(found & COMPUTING)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    from importlib import metadata

    versions = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
