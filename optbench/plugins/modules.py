"""Modules of installed packages, or of any folder on Python's path."""

import hashlib
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from optbench.errors import SuiteError
from optbench.plugins.source import Source, complaint


def load_module(name: str) -> tuple[ModuleType, Source]:
    """Import a module by its dotted name and return it with its source.

    Raises
    ------
    SuiteError
        If there is none, or if its code raises.
    """
    try:
        module = import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a package's code may raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            file = f"{name.replace('.', '/')}.py"
            hint = f"write {file}:NAME for the file" if Path(file).is_file() else "is it installed?"
            raise SuiteError(f"there is no module '{missing}'; {hint}") from None
        raise SuiteError(f"{name} cannot be imported: {complaint(error, _root(name))}") from error
    return module, _module_source(module)


def _root(name: str) -> Path:
    """Return the folder of the package that a module belongs to, or the module's file."""
    spec = find_spec(name.partition(".")[0])
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0] if locations else (spec and spec.origin) or name)


def _module_source(module: ModuleType) -> Source:
    sha256 = None
    file = getattr(module, "__file__", None)
    if file is not None:
        with suppress(OSError):  # in an archive
            sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    package, version = _distribution(module.__name__.partition(".")[0])
    return Source(module.__name__, sha256, package=package, version=version)


@cache
def _distribution(top: str) -> tuple[str | None, str | None]:
    """Return name and version of the installed package that a module's first part belongs to."""
    from importlib import metadata  # slow to import

    names = sorted(metadata.packages_distributions().get(top, ()))
    return (names[0], metadata.version(names[0])) if names else (None, None)
