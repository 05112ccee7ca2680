"""Problems from a user's own code: what a plug-in's object becomes for the registry."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from optbench import plugins, rng
from optbench.arrays import Stacked, Tensor, Workspace, stack
from optbench.errors import SuiteError, UsageError
from optbench.plugins import Plugin, Source, complaint
from optbench.problems.base import RECORDS, Losses, Problem
from optbench.settings import Setting

GROUP = "optbench.problems"
"""The group of entry points under which installed packages offer problems."""


KINDS = ("function", "network")


REQUIRED = ("kind", "default_iterations", "options", "random", "minibatch")
"""Attributes of a class that nothing can be derived from."""


def plugin_problem(name: str) -> type[Problem] | None:
    """Return the class of the problem that a name means, or None if it is no plug-in's.

    The same code always gives the same class.

    Parameters
    ----------
    name
        ``path/to/file.py:NAME``, ``package.module:NAME``, or the name of an entry point of the
        group ``optbench.problems``.

    Raises
    ------
    SuiteError
        If it names a plug-in that is not there, cannot be imported, or is no problem.
    """
    if plugins.is_spec(name):
        return _class_of(plugins.load(name), label(name))
    plugin = plugins.load_entry_point(GROUP, name)
    return None if plugin is None else _class_of(plugin, name)


def offered() -> list[str]:
    """Return the names of the problems that installed packages offer; none is imported."""
    return plugins.entry_point_names(GROUP)


def label(name: str) -> str:
    """Return what a problem of that name is called: the part after the colon.

    >>> label("my/problems.py:Valley"), label("anisotropic")
    ('Valley', 'anisotropic')
    """
    return name.rpartition(":")[2]


class PluginProblem(Problem):
    """What every plug-in's class has in front of its own: its source in all that is recorded."""

    plugin: ClassVar[Plugin]

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        try:
            super().__init__(options, data_dir)
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise SuiteError(self.failure("cannot be made", error)) from error

    def prepare(self) -> tuple[str, ...]:
        """Settle the problem and see whether it gives what the contract asks for.

        Raises
        ------
        SuiteError
            If it does not, or if it raises.
        """
        try:
            notices = super().prepare()
            if not isinstance(notices, tuple) or not all(isinstance(each, str) for each in notices):
                raise TypeError("prepare() is to return a tuple of texts")
            probe(self)
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # a user's code may raise anything
            raise SuiteError(self.failure("is no whole problem", error)) from error
        return notices

    def failure(self, how: str, error: BaseException) -> str:
        """Say in one line what the problem's code raised, and where."""
        if isinstance(error, UsageError):
            return str(error)
        return f"{self.name} {how}: {complaint(error, self.plugin.source.root)}"

    def definition(self) -> dict[str, Any]:
        """Return the problem's own definition and what identifies its code.

        Raises
        ------
        SuiteError
            If its own is no plain data.
        """
        own = cast(Any, super()).definition()
        code = {"name": self.plugin.name, **self.plugin.source.identity()}
        try:
            json.dumps(own, allow_nan=False, sort_keys=True, ensure_ascii=False).encode()
            return {**own, "plugin": code}
        except (TypeError, ValueError) as error:
            raise SuiteError(f"{self.name}: definition() is no plain data: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Return the problem's own description and its source."""
        source = {"source": self.plugin.source.describe()}
        return {**Problem.describe(self), **super().describe(), **source}

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        plugin = self.plugin
        return _empty, (plugin.spec, self.name, plugin.source), self.__getstate__()


def _empty(spec: str, name: str, source: Source) -> Problem:
    """Return a problem without its state, if its code is still what it was."""
    found = plugins.load(spec)
    plugins.check_unchanged(found.source, source, name)
    kind = _class_of(replace(found, source=source), name)
    return kind.__new__(kind)


_classes: dict[tuple[str, str, Source], type[Problem]] = {}


def _class_of(plugin: Plugin, name: str) -> type[Problem]:
    key = (name, plugin.name, plugin.source)
    if key not in _classes:
        _classes[key] = _build(plugin, name)
    return _classes[key]


def _build(plugin: Plugin, name: str) -> type[Problem]:
    found = plugin.object
    if isinstance(found, type) and issubclass(found, Problem):
        base = found
    elif isinstance(found, Problem):
        base = _settled(found)
    else:
        what = "a function" if callable(found) else f"of type {type(found).__name__}"
        raise SuiteError(
            f"{plugin.title} is {what}, no problem; give a subclass of Problem, "
            "an instance of one, or a function under @stacked_function"
        )
    _check(base, plugin)
    attributes = {
        "name": name,
        "summary": getattr(base, "summary", plugins.first_line(base.__doc__) or name),
        "plugin": plugin,
        "__doc__": base.__doc__,
        "__module__": base.__module__,
    }
    return type(name, (PluginProblem, base), attributes)


def _check(kind: type[Problem], plugin: Plugin) -> None:
    """Refuse a class that lacks what the contract asks for."""
    lacking = [each for each in REQUIRED if not hasattr(kind, each)]
    lacking += sorted(kind.__abstractmethods__)
    if lacking:
        raise SuiteError(f"{plugin.title} is not a whole problem; it lacks {', '.join(lacking)}")
    if kind.kind not in KINDS:
        raise SuiteError(f"{plugin.title}: kind = {kind.kind!r}; it is one of {', '.join(KINDS)}")
    options = kind.options
    if not isinstance(options, tuple) or not all(isinstance(each, Setting) for each in options):
        raise SuiteError(f"{plugin.title}: options = {options!r}; it is a tuple of Option")
    if type(kind.default_iterations) is not int or kind.default_iterations < 1:
        raise SuiteError(
            f"{plugin.title}: default_iterations = {kind.default_iterations!r}; "
            "it is a whole number of at least 1"
        )
    if not any(each.name == "dtype" for each in options):
        raise SuiteError(f"{plugin.title} lacks the option dtype; add it to its options")
    for each in options:
        _check_option(each, plugin.title)


def _check_option(option: Setting, place: str) -> None:
    """Refuse an option that no suite could name, or that does not take its own default."""
    if not isinstance(option.name, str) or not option.name.isidentifier():
        raise SuiteError(f"{place}: {option.name!r} names no option; write it as Python's names")
    try:
        option.check(option.default)
    except (SuiteError, TypeError, ValueError) as error:
        raise SuiteError(f"{place}: {option.name} does not take its default: {error}") from None


def _settled(instance: Problem) -> type[Problem]:
    """Return a class whose problems are copies of an instance; its options are settled."""
    kind, settings = type(instance), instance.settings

    def copied(self: Problem, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        for key, value in options.items():
            if settings.get(key) != value:
                raise SuiteError(
                    f"{key} = {value!r}, but this problem is an instance with "
                    f"{key} = {settings.get(key)!r}; give its class to set options"
                )
        self.__dict__.update(instance.__dict__)
        self.settings = dict(options)
        self.data_dir = instance.data_dir if data_dir is None else data_dir

    options = tuple(
        replace(each, default=settings.get(each.name, each.default)) for each in kind.options
    )
    own = {"__init__": copied, "options": options, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})


LANES = 2


def probe(problem: Problem) -> None:
    """Ask a problem for all that a run needs, on the host, with two lanes at the start of seed 0.

    Raises
    ------
    TypeError, ValueError
        If something does not fit the contract; the message says what.
    Exception
        Whatever the problem raises.
    """
    if problem.record not in RECORDS:
        raise ValueError(f"record = {problem.record!r}; it is one of {', '.join(RECORDS)}")
    _check_tensors(problem.tensors)
    _check_shape("start(0)", problem.start(0), (problem.parameters,))
    for split, size in problem.split_sizes().items():
        if not isinstance(size, int) or size < 1:
            raise TypeError(f"split_sizes() gives {size!r} for {split!r}; it is to be a number")
    epoch = problem.iterations_per_epoch
    if epoch is not None and (not isinstance(epoch, int) or epoch < 1):
        raise ValueError(f"iterations_per_epoch = {epoch!r}; it is None, or at least 1")
    problem.definition()
    _check_plain(problem.describe())
    with np.errstate(all="ignore"):
        _step(problem)


def _check_tensors(tensors: Any) -> None:
    good = isinstance(tensors, tuple) and all(isinstance(each, Tensor) for each in tensors)
    if not good or not tensors:
        raise TypeError("tensors is to be a tuple of Tensor(name, shape), at least one")
    names = [each.name for each in tensors]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"the tensors' names are to be texts, not {names!r}")
    if len(set(names)) < len(names) or any(min(each.shape, default=1) < 1 for each in tensors):
        raise ValueError("tensors are to have different names, and sizes of at least 1")


def _check_shape(what: str, given: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(given, np.ndarray | np.number) or given.shape != shape:
        found = getattr(given, "shape", type(given).__name__)
        raise TypeError(f"{what} is to be an array of the shape {shape}, not {found}")


def _check_plain(description: dict[str, Any]) -> None:
    try:
        json.dumps(description, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"describe() is no plain data: {error}") from None


def _step(problem: Problem) -> None:
    """Take one batch, and loss and gradient of it for two lanes."""
    work = Workspace(np)
    draws = problem.draws(0, 0)
    for name, each in draws.items():
        if not isinstance(each, np.ndarray) or len(each) < rng.ITERATIONS_PER_BLOCK:
            rows = rng.ITERATIONS_PER_BLOCK
            raise TypeError(f"draws(0, 0) gives no array of {rows} rows for {name!r}")
    data = problem.data()
    batch = problem.batch(data, {name: each[:1] for name, each in draws.items()}, work=work)
    for what, given in (("data", data), ("batch", batch)):
        if not isinstance(given, Mapping):
            raise TypeError(f"{what}() gives {type(given).__name__}; it is to give arrays by name")
        for name, each in given.items():
            if not isinstance(each, np.ndarray):
                raise TypeError(f"{what}() gives no array for {name!r}")
    params, grads = _stacked(problem, problem.start(0)), _stacked(problem, 0.0)
    buffers = {
        each.name: np.full((LANES, *each.shape), each.start, dtype=problem.dtype)
        for each in problem.buffers
    }
    losses = problem.loss_and_grad(params, grads, batch, buffers=buffers, work=work)
    _check_losses("loss_and_grad", losses)
    _check_losses("loss", problem.loss(params, batch, buffers=buffers, work=work))


def _stacked(problem: Problem, values: Any) -> Stacked:
    rows = np.empty((LANES, problem.parameters), dtype=problem.dtype)
    rows[...] = values
    return stack(rows, problem.tensors, np)


def _check_losses(what: str, given: Any) -> None:
    if not isinstance(given, Losses):
        raise TypeError(f"{what} returns {type(given).__name__}; it is to return Losses(total)")
    _check_shape(f"of {LANES} lanes, the total of {what}", given.total, (LANES,))
    if given.penalty is not None:
        _check_shape(f"of {LANES} lanes, the penalty of {what}", given.penalty, (LANES,))
