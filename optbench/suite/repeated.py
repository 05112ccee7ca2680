"""The suite of a run.json that is run again, with the code that the run was made with.

Where a plug-in is what it was, it is taken from where it lies. Else the code that the run has kept
can take its place: only when that is asked for, since it is code, which may do anything.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optbench.errors import ResultsError, SuiteError, argument
from optbench.optimizers.plugin import offered as offered_optimizers
from optbench.optimizers.registry import get_optimizer
from optbench.plugins import Plugin, anchored, is_path, is_there, new_code_cache, parts, texts_now
from optbench.problems.plugin import offered as offered_problems
from optbench.problems.registry import get_problem_class
from optbench.store.kept import KeptCode, check_code, kept_codes, sha256s
from optbench.suite.format import made_in, resolved_suite

MISSING = "is not there any more"
CHANGED = "has changed since the run was made"


def repeated_suite(
    meta: Mapping[str, Any],
    run: Path,
    *,
    trust: bool = False,
    notice: Callable[[str], object] = lambda message: None,
) -> dict[str, Any]:
    """Return the resolved suite of a run.json, whose plug-ins are those that the run was made with.

    Parameters
    ----------
    meta
        The run.json.
    run
        The run's directory.
    trust
        Whether code that the run has kept may be executed where the original is gone or changed.
    notice
        Is told what is executed then.

    Raises
    ------
    SuiteError
        If a plug-in is not what it was, and what was kept of it may not be executed.
    ResultsError
        If that is damaged.
    """
    codes = kept_codes(meta, run)

    @cache
    def rename(kind: str, name: str) -> str:
        code = codes.get((kind, name))
        if code is None:
            return anchored(name, made_in(meta, run))
        original, difference = name, MISSING
        with suppress(SuiteError):  # it is not there
            original = anchored(name, made_in(meta, run))
            difference = _difference(kind, original, code)
        if not difference:
            return original
        where = code.place(run)
        if not trust:
            raise SuiteError(
                f"'{name}' {difference}; {argument('trust', True)} executes the copy that the "
                f"run kept: {where}"
            )
        notice(f"'{name}' {difference}: executing the copy that the run kept: {where}")
        beside = {file for other in codes.values() for file in other.files_in(code.folder)}
        return _kept(kind, code, run, beside)

    return resolved_suite(meta, run, rename)


def _difference(kind: str, name: str, code: KeptCode) -> str:
    """Say how a plug-in differs from what it was; nothing where it does not.

    It is executed only if no file has changed, and some are not where they would be found before.
    """
    if not _is_found(kind, name):
        return MISSING
    _, place, _ = parts(name)
    modules = {file.partition("/")[0].partition(".")[0] for file in code.files}
    found = sha256s(texts_now(place, modules))
    if found != code.files and found.items() <= code.files.items():
        with suppress(SuiteError), new_code_cache():  # it may say itself where they are
            found = _files(kind, name)
    return "" if found == code.files else CHANGED


def _is_found(kind: str, name: str) -> bool:
    """Say whether there is a file, folder, module or entry point of a plug-in's name."""
    library, place, rest = parts(name)
    if is_path(place):
        return is_there(Path(place).expanduser())
    if not (library or place):
        return name in (offered_optimizers() if kind == "optimizer" else offered_problems())
    try:
        return find_spec((place or rest).partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _files(kind: str, name: str) -> dict[str, str]:
    """Return the SHA-256 of all files of a plug-in's own code, as they are now."""
    plugin: Plugin | None
    if kind == "optimizer":
        plugin = get_optimizer(name).plugin
    else:
        plugin = getattr(get_problem_class(name), "plugin", None)
    return {} if plugin is None else sha256s(dict(plugin.source.texts))


def _kept(kind: str, code: KeptCode, run: Path, beside: set[str]) -> str:
    """Return the name of a plug-in whose code a run has kept, with other files beside it.

    Raises
    ------
    ResultsError
        If the code is damaged, or something else would be imported in its place.
    """
    folder = check_code(run, code, beside).resolve()
    library, place, rest = parts(code.spec)
    if place not in code.files and not all(part.isidentifier() for part in place.split(".")):
        raise ResultsError(
            f"'{run / 'run.json'}' is damaged: '{code.spec}' is not in the code that the run kept"
        )
    name = f"{library}{folder / place}{rest}"
    if _files(kind, name) != code.files:
        raise ResultsError(
            f"'{run / code.folder}' does not give the code of '{code.name}' that the run was made "
            "with: something else on Python's path goes by one of its names"
        )
    return name
