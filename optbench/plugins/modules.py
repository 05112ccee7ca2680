"""Modules of installed packages, or of any folder on Python's path."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from optbench.errors import SuiteError
from optbench.plugins.dependencies import CodeFiles, held_names, releases, required_versions
from optbench.plugins.source import Source, complaint


def load_module(name: str, files: CodeFiles) -> tuple[ModuleType, Source]:
    """Import a module by its dotted name and return it with its source.

    Raises
    ------
    SuiteError
        If there is none, if its code raises, or if its text cannot be known.
    """
    module = imported(name)
    try:
        return module, _module_source(module, files)
    except OSError as error:
        raise SuiteError(f"{name} cannot be read: {error.strerror}") from None


def imported(name: str, root: Path | None = None) -> ModuleType:
    """Import a module by its dotted name.

    ``root`` is the folder whose code is named where it raises; by default that of its package.

    Raises
    ------
    SuiteError
        If there is none, or if its code raises.
    """
    try:
        return import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a package's code may raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            file = f"{name.replace('.', '/')}.py"
            hint = f"write {file}:NAME for the file" if Path(file).is_file() else "is it installed?"
            raise SuiteError(f"there is no module '{missing}'; {hint}") from None
        said = complaint(error, root or _root(name))
        raise SuiteError(f"{name} cannot be imported: {said}") from error


def _root(name: str) -> Path:
    """Return the folder of the package that a module belongs to, or the module's file."""
    spec = find_spec(name.partition(".")[0])
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0] if locations else (spec and spec.origin) or name)


def _module_source(module: ModuleType, files: CodeFiles) -> Source:
    name = module.__name__
    top = name.partition(".")[0]
    path = Path(getattr(module, "__file__", None) or "")
    code = files.code_as_loaded(path, name) if path.is_file() else None
    if code is None and module.__spec__ is None:
        raise SuiteError(
            f"{name} is in no file, where a change of its code could be seen; save it in one and "
            "write FILE.py:NAME"
        )
    sha256 = None if code is None else code.sha256
    for package in releases(top):
        return Source(name, sha256, required_versions(package), package.name, package.version)
    imports = frozenset() if code is None else code.imports
    found = files.dependencies({top, *imports, *held_names(module)})
    return Source(name, sha256, found.depends_on, texts=tuple(sorted(found.texts.items())))
