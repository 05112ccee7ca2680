"""Functions and classes that are handed over from Python rather than named.

Those of a notebook stand in no file that could be loaded again. They are known by ``python:NAME``
for as long as the process lives. What tells their code is the text of the function or class and of
what it uses from around it, the values of its globals and its closure, as far as these are plain
data or arrays, and the modules that it uses.
"""

import dis
import functools
import hashlib
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from optbench.errors import SuiteError
from optbench.plugins.dependencies import CodeFiles
from optbench.plugins.source import HANDED, Source
from optbench.plugins.texts import class_text, function_text, own_functions

if TYPE_CHECKING:
    import numpy as np

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""Types of values that tell themselves."""

_known: dict[str, tuple[Any, Source]] = {}
"""What has been handed over in this process, the latest of each name."""


def hand_over(given: Any, name: str, parts: Iterable[Any]) -> Source:
    """Keep an object for :func:`handed`, and return what tells its code.

    Parameters
    ----------
    given
        The object.
    name
        What it is called.
    parts
        The functions and classes that it is made of, whose code counts.

    Raises
    ------
    SuiteError
        If the text of one of them cannot be seen.
    """
    found = _Found(name)
    for part in parts:
        found.add(name, part, root=True)
    lines = "".join(f"{key}\n{text}\n\n" for key, text in sorted(found.told.items()))
    digest = hashlib.sha256(lines.encode("utf-8", "backslashreplace")).hexdigest()
    depends_on = CodeFiles().dependencies(found.modules).depends_on
    source = Source(HANDED, digest, depends_on, file=found.file, text="\n\n".join(found.texts))
    _known[name] = given, source
    return source


def handed(name: str) -> tuple[Any, Source]:
    """Return what was handed over under a name, and its source.

    Raises
    ------
    SuiteError
        If this process has been handed nothing of that name.
    """
    if name in _known:
        return _known[name]
    raise SuiteError(
        f"'{HANDED}:{name}' was handed over from Python, and this process does not have it; hand "
        "it over again in Python, as optbench.resume(run, problem=…) does, or save it in a file, "
        "which any command can name: FILE.py:NAME"
    )


class _Found:
    """What is known of an object's code; it grows as the code is looked at.

    Attributes
    ----------
    told
        All that tells it from other code: texts and values, by what they are called.
    texts
        The texts of functions and classes alone.
    modules
        The first parts of the names of modules that it uses.
    file
        Where it was written, as Python calls that.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: dict[str, str] = {}
        self.texts: list[str] = []
        self.modules: set[str] = set()
        self.file: str | None = None
        self._seen: dict[int, Any] = {}  # kept, so that no other object gets its number

    def add(self, name: str, value: Any, module: str = "__main__", *, root: bool = False) -> None:
        """Add something that code of a module uses by a name.

        Functions and classes that were typed in, or stand in the same module, count by their text;
        of others the module does. A ``root`` counts by its text wherever it stands.
        """
        while not isinstance(value, FunctionType | type) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__  # what jax.jit, for one, was given
        if isinstance(value, PLAIN):
            self.told[name] = repr(value)
            return
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, ModuleType):
            self._use(value.__name__)
        elif isinstance(value, FunctionType | type):
            if root or value.__module__ == module or not _can_be_imported(value.__module__):
                self._add_code(value)
            else:
                self._use(value.__module__)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                self.add(f"{name}[{key!r}]", part, module)
        elif isinstance(value, list | tuple):
            for place, part in enumerate(value):
                self.add(f"{name}[{place}]", part, module)
        elif isinstance(value, set | frozenset):
            self.told[name] = repr(sorted(map(repr, value)))
        elif isinstance(value, functools.partial):
            self.add(name, value.func, module, root=root)
            self.add(f"{name}()", (value.args, value.keywords), module)
        elif isinstance(value, MethodType):
            self.add(name, value.__func__, module, root=root)
            self.add(f"{name}.__self__", value.__self__, module)
        elif (array := _as_array(value)) is not None:
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            self.told[name] = f"{array.dtype} {array.shape} {digest}"
        else:
            self._add_instance(name, value, module)

    def _add_instance(self, name: str, value: Any, module: str) -> None:
        """Add an object by its type and attributes, and a built-in function by its name."""
        kind = type(value)
        called = getattr(value, "__qualname__", kind.__qualname__)
        self.told[name] = f"{getattr(value, '__module__', None) or kind.__module__}.{called}"
        self.add(f"{name}.__class__", kind, module)
        self.add(f"{name}.__dict__", getattr(value, "__dict__", {}), module)

    def _use(self, module: str) -> None:
        self.modules.add(module.partition(".")[0])

    def _add_code(self, value: FunctionType | type) -> None:
        """Add the text of a function or a class, and all that it uses."""
        if isinstance(value, type):
            text, functions = class_text(value), [*own_functions(value)]
            used = {"base": value.__bases__}
        else:
            text, functions = function_text(value.__code__), [value]
            used = {}
        if text is None:
            raise SuiteError(
                f"the code of {self.name} cannot be seen, so a run could not say what it was of; "
                "save it in a file and import it, or use a notebook or IPython"
            )
        self.file = self.file or next((each.__code__.co_filename for each in functions), None)
        self.texts.append(text)
        self.told[f"{value.__qualname__} {len(self.texts)}"] = text
        if _can_be_imported(value.__module__):
            self._use(value.__module__)
        for function in functions:
            used |= _used_by(function)
        for name in sorted(used):
            self.add(f"{value.__qualname__}: {name}", used[name], value.__module__)


def _can_be_imported(module: str) -> bool:
    return module != "__main__" and module in sys.modules


def _used_by(function: FunctionType) -> dict[str, Any]:
    """Return what a function uses from around it by name: globals, its closure and defaults."""
    around = function.__globals__
    used = {name: around[name] for name in _globals_of(function.__code__) if name in around}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # nothing is in it yet
            used[name] = cell.cell_contents
    defaults = (function.__defaults__ or (), function.__kwdefaults__ or {})
    return {**used, f"{function.__name__}()": defaults}


def _globals_of(code: CodeType) -> set[str]:
    """Return the names that code looks up around it, and those that functions within it do."""
    names = {
        str(each.argval)
        for each in dis.get_instructions(code)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*map(_globals_of, inner))


def _as_array(value: Any) -> "np.ndarray | None":
    """Return an array, of any library, as one of NumPy; None where a value is none."""
    if not hasattr(value, "__array__"):
        return None
    import numpy as np  # slow to import, and the light commands need no array

    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except Exception:  # it may lie on a device
        return None
    return None if array.dtype.hasobject else array
