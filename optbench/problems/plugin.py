"""Problems from a user's own code: what a plug-in's object becomes for the registry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Stacked, Tensor, Workspace, stack
from optbench.errors import SuiteError
from optbench.plugins import Plugin
from optbench.plugins.adopt import Adopted, Adopter, checked_notices
from optbench.problems.base import RECORDS, Losses, Problem

KINDS = ("function", "network")


class PluginProblem(Adopted, Problem):
    """What the class of every user's problem has in front of its own."""

    @override
    def prepare(self) -> tuple[str, ...]:
        """Ask the user's own, and see whether the problem gives what the contract asks for."""
        with self.faults_in_one_line("is not a valid problem"):
            notices = checked_notices("prepare", super().prepare())
            probe(self)
        return notices

    @property
    @override
    def stochastic(self) -> bool:
        with self.faults_in_one_line("is not a valid problem"):
            return bool(super().stochastic)

    @override
    def is_random(self, seeds: Sequence[int] = ()) -> bool:
        with self.faults_in_one_line("is not a valid problem"):
            return super().is_random(seeds)

    @override
    def definition(self) -> dict[str, Any]:
        """Return the problem's own definition and what identifies its code."""
        code = {"name": self.plugin.name, **self.plugin.source.identity()}
        return self.with_code("definition", cast(Any, super()).definition(), {"plugin": code})

    @override
    def describe(self) -> dict[str, Any]:
        """Return the problem's own description and its source."""
        source = {"source": self.plugin.source.describe()}
        return {**Problem.describe(self), **super().describe(), **source}


class _Adopter(Adopter[Problem]):
    noun, flag = "problem", "--problem"
    contract = Problem
    front = PluginProblem
    required = ("kind", "default_iterations", "options", "minibatch")
    settings, declared_by = "options", "Option"

    @override
    def base(self, plugin: Plugin) -> type[Problem]:
        given = plugin.object
        if isinstance(given, type) and issubclass(given, Problem):
            return given
        if isinstance(given, Problem):
            return _class_of_copies(given)
        raise self.refusal(
            plugin,
            "give a subclass of Problem, an instance of one, or a function decorated with "
            "@function(start=…); before one that returns a model's Task write torch: or jax:",
        )

    @override
    def check(self, base: type[Problem], title: str) -> None:
        if base.kind not in KINDS:
            raise SuiteError(f"{title}: kind = {base.kind!r} must be one of {', '.join(KINDS)}")
        if type(base.default_iterations) is not int or base.default_iterations < 1:
            raise SuiteError(
                f"{title}: default_iterations = {base.default_iterations!r} "
                "must be a whole number of at least 1"
            )
        if not any(option.name == "dtype" for option in base.options):
            raise SuiteError(f"{title} lacks the option dtype; add it to its options")


ADOPTER = PluginProblem.adopter = _Adopter()
plugin_problem = ADOPTER.find
offered = ADOPTER.offered


def _class_of_copies(instance: Problem) -> type[Problem]:
    """Return a class whose problems are copies of an instance; its options cannot be changed."""
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
        replace(option, default=settings.get(option.name, option.default))
        for option in kind.options
    )
    own = {"__init__": copied, "options": options, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})


LANES = 2


def probe(problem: Problem) -> None:
    """Ask a problem for all that a run needs, on the host, with two lanes at the start of seed 0.

    A TypeError or ValueError says what does not fit the contract.
    """
    if problem.record not in RECORDS:
        raise ValueError(f"record = {problem.record!r} must be one of {', '.join(RECORDS)}")
    _check_tensors(problem.tensors)
    _check_shape("start(0)", problem.start(0), (problem.parameters,))
    for split, size in problem.split_sizes().items():
        if not isinstance(size, int) or size < 1:
            raise TypeError(f"split_sizes() gives {size!r} for {split!r} where a number is due")
    epoch = problem.iterations_per_epoch
    if epoch is not None and (not isinstance(epoch, int) or epoch < 1):
        raise ValueError(f"iterations_per_epoch = {epoch!r} must be None, or at least 1")
    problem.definition()
    _check_plain(problem.describe())
    with np.errstate(all="ignore"):
        _step(problem)


def _check_tensors(tensors: Any) -> None:
    good = isinstance(tensors, tuple) and all(isinstance(tensor, Tensor) for tensor in tensors)
    if not good or not tensors:
        raise TypeError("tensors must be a tuple of Tensor(name, shape), at least one")
    names = [tensor.name for tensor in tensors]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"the tensors' names must be texts, not {names!r}")
    if len(set(names)) < len(names) or any(min(tensor.shape, default=1) < 1 for tensor in tensors):
        raise ValueError("tensors must have different names, and sizes of at least 1")


def _check_shape(what: str, value: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(value, np.ndarray | np.number) or value.shape != shape:
        other = getattr(value, "shape", type(value).__name__)
        raise TypeError(f"{what} must be an array of the shape {shape}, not {other}")


def _check_plain(description: dict[str, Any]) -> None:
    try:
        json.dumps(description, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"describe() must return plain data: {error}") from None


def _step(problem: Problem) -> None:
    """Take one batch, and loss and gradient of it for two lanes."""
    work = Workspace(np)
    draws = problem.draws(0, 0)
    for name, rows in draws.items():
        if not isinstance(rows, np.ndarray) or len(rows) < rng.ITERATIONS_PER_BLOCK:
            count = rng.ITERATIONS_PER_BLOCK
            raise TypeError(f"draws(0, 0) must give an array of {count} rows for {name!r}")
    data = problem.data()
    batch = problem.batch(data, {name: rows[:1] for name, rows in draws.items()}, work=work)
    for method, arrays in (("data", data), ("batch", batch)):
        if not isinstance(arrays, Mapping):
            raise TypeError(f"{method}() must return arrays by name, not {type(arrays).__name__}")
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{method}() must give an array for {name!r}")
    params, grads = _stacked(problem, problem.start(0)), _stacked(problem, 0.0)
    buffers = {
        name: np.repeat(start[None].astype(problem.dtype), LANES, axis=0)
        for name, start in problem.start_buffers(0).items()
    }
    losses = problem.loss_and_grad(params, grads, batch, buffers=buffers, work=work)
    _check_losses("loss_and_grad", losses)
    _check_losses("loss", problem.loss(params, batch, buffers=buffers, work=work))


def _stacked(problem: Problem, values: Any) -> Stacked:
    rows = np.empty((LANES, problem.parameters), dtype=problem.dtype)
    rows[...] = values
    return stack(rows, problem.tensors, np)


def _check_losses(method: str, losses: Any) -> None:
    if not isinstance(losses, Losses):
        raise TypeError(f"{method} must return Losses(total), not {type(losses).__name__}")
    _check_shape(f"of {LANES} lanes, the total of {method}", losses.total, (LANES,))
    if losses.penalty is not None:
        _check_shape(f"of {LANES} lanes, the penalty of {method}", losses.penalty, (LANES,))
