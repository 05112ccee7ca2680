"""Functions that a user writes as an expression."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Namespace, Stacked, Tensor, Workspace
from optbench.datasets.base import read_only
from optbench.errors import SuiteError, nearest
from optbench.problems.base import Arrays, Losses, Minimum
from optbench.problems.expressions import (
    CompiledExpression,
    Expression,
    Shape,
    Value,
    compile_graph,
    gradient,
    parse,
)
from optbench.problems.expressions.options import Known, TableOption
from optbench.problems.functions.base import Function, Interval, Point
from optbench.settings import Text

EXAMPLE = "x**2/20 + y**2"
EXAMPLE_START = {"x": -7.0, "y": 2.0}

DOMAIN_MARGIN = 1.2
"""The domain reaches at least so many times as far as the start's largest coordinate."""


class ExpressionFunction(Function):
    """A function given as an expression, differentiated and compiled.

    Its variables are those of ``start``, numbers or vectors, in natural order of their names
    (x, y; x2, x10), so that the columns x and y of a trace are these variables. Of minima at most
    the value is known, which ``minimum`` gives; it decides no trace. By default figures show a
    square around the origin in which the start lies, and more where lanes end outside it.
    """

    name = "function"
    summary = "a function of your own, given as an expression"
    default_iterations = 100
    options = (
        Text("expression", EXAMPLE, "what is minimised"),
        TableOption(
            "start",
            None,
            "where every variable starts; a list makes it a vector",
            dimensions=(0, 1),
            example="{x = -7, y = 2}",
        ),
        TableOption(
            "constants",
            {},
            "numbers, vectors and matrices that the expression names",
            dimensions=(0, 1, 2),
            example="{a = 1.5, A = [[2, 0], [0, 1]]}",
        ),
        TableOption(
            "domain",
            {},
            "what figures show of each variable",
            dimensions=(1,),
            pairs=True,
            example="{x = [-10, 10], y = [-10, 10]}",
        ),
        Known("minimum", None, "the smallest value, where it is known", low=-math.inf),
        *Function.options,
    )

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        try:
            self._set_start()
            expression = self._parse()
            self._compile(expression)
            self._set_domain()
        except SuiteError as error:
            raise error.within(self.name) from None
        self.formula = expression.text
        minimum = self.settings["minimum"]
        self.minima = () if minimum is None else (Minimum(None, minimum),)

    def _set_start(self) -> None:
        """Fix variables, their order and their start."""
        given = self.settings["start"]
        if given is None and self.settings["expression"] == EXAMPLE:
            given = EXAMPLE_START
        if not given:
            raise SuiteError("the start is missing; give each variable a value, as {x = -7, y = 2}")
        for name in given:
            if name in self.settings["constants"]:
                raise SuiteError(
                    f"'{name}' has a start and is a constant; it can only be one of them"
                )
        start = {name: given[name] for name in sorted(given, key=_natural)}
        self.settings["start"] = start
        self._shapes: dict[str, Shape] = {
            name: (len(value),) if isinstance(value, list) else () for name, value in start.items()
        }
        self.origin = tuple(
            float(coordinate) for value in start.values() for coordinate in np.atleast_1d(value)
        )
        sizes = [math.prod(shape) for shape in self._shapes.values()]
        self._places = tuple(pairwise(accumulate(sizes, initial=0)))
        self.variables = tuple(
            name if shape == () else f"{name}[{index}]"
            for name, shape in self._shapes.items()
            for index in range(*(shape or (1,)))
        )

    def _parse(self) -> Expression:
        """Parse the expression; every variable and constant has to be in it."""
        constants = {
            name: value if isinstance(value, float) else np.shape(value)
            for name, value in self.settings["constants"].items()
        }
        expression = parse(self.settings["expression"], self._shapes, constants)
        for place, names in (("start", self._shapes), ("constants", constants)):
            for name in names:
                if name not in expression.names:
                    meant = nearest(name, sorted(expression.names) or ["none"])
                    raise SuiteError(f"{place}: '{name}' is not in the expression; {meant}")
        return expression

    def _compile(self, expression: Expression) -> None:
        """Compile the expression, and bring the constants to the dtype of the arithmetic."""
        graph = expression.graph
        variables = [graph.variable(name, shape) for name, shape in self._shapes.items()]
        partials = gradient(graph, expression.result, variables)
        self._value = compile_graph(graph, [expression.result])
        self._value_and_partials = compile_graph(graph, [expression.result, *partials])
        self._check_range()
        self._constants = {}
        for name, value in self.settings["constants"].items():
            if isinstance(value, list):
                self._constants[name] = read_only(np.asarray(value, dtype=self.dtype))

    def _check_range(self) -> None:
        """Refuse numbers that the dtype cannot hold."""
        largest = float(np.finfo(self.dtype).max)
        arrays = [np.ravel(constant) for constant in self.settings["constants"].values()]
        numbers = self._value_and_partials.numbers.values()
        for value in (*self.origin, *np.concatenate([[0.0], *arrays]).tolist(), *numbers):
            if math.isfinite(value) and abs(value) > largest:
                raise SuiteError(f"{value:g} is too large for {self.dtype}; use float64")

    def _set_domain(self) -> None:
        """Fix what figures show of each variable."""
        given = self.settings["domain"]
        for name, (low, high) in given.items():
            if name not in self._shapes:
                raise SuiteError(
                    f"domain: unknown variable '{name}'; {nearest(name, self._shapes)}"
                )
            if not low < high:
                raise SuiteError(f"domain: {name} = [{low:g}, {high:g}] must rise")
        reach = _reach(max(map(abs, self.origin)))
        names = [name for name, shape in self._shapes.items() for _ in range(math.prod(shape))]
        self.domain = tuple(tuple(given.get(name, (-reach, reach))) for name in names)
        self.guessed = tuple(name not in given for name in names)

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(name, shape) for name, shape in self._shapes.items())

    @property
    @override
    def work_values(self) -> int:
        return self._value_and_partials.work_values

    @override
    def definition(self) -> dict[str, Any]:
        own = {"start": self.settings["start"], "constants": self.settings["constants"]}
        return {**super().definition(), **own}

    @override
    def data(self) -> dict[str, np.ndarray]:
        return self._constants

    @override
    def surface(self, domain: Sequence[Interval] | None = None) -> dict[str, np.ndarray] | None:
        with np.errstate(all="ignore"):  # where it is undefined, it is infinite or NaN
            return super().surface(domain)

    @override
    def value_and_grad(self, point: Point, xp: Namespace) -> tuple[Array, Point]:
        rows = xp.stack(point, axis=1)
        constants = {
            name: xp.asarray(array[None, ...], dtype=rows.dtype)
            for name, array in self._constants.items()
        }
        grads = xp.zeros_like(rows)
        value = self._value_into(rows, grads, constants, xp)
        return value, tuple(grads[:, index] for index in range(self.parameters))

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        return Losses(self._value_into(params.rows, grads.rows, batch, work.xp))

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        (value,) = self._run(self._value, params.rows, batch, work.xp)
        return Losses(_of_each(value, params.rows, work.xp))

    def _value_into(self, rows: Array, grads: Array, constants: Arrays, xp: Namespace) -> Array:
        """Return f at rows (lanes, parameters), and write its gradient into ``grads``."""
        value, *partials = self._run(self._value_and_partials, rows, constants, xp)
        for (first, stop), part in zip(self._places, partials, strict=True):
            grads[:, first:stop] = part
        return _of_each(value, rows, xp)

    def _run(
        self, compiled: CompiledExpression, rows: Array, constants: Arrays, xp: Namespace
    ) -> list[Array]:
        variables = {
            name: rows[:, first:stop]
            for name, (first, stop) in zip(self._shapes, self._places, strict=True)
        }
        return compiled({**variables, **constants}, xp, rows.dtype)


def _of_each(value: Value, rows: Array, xp: Namespace) -> Array:
    """Return a result, shape (lanes, 1), (1, 1) or a float, as an array (lanes,) of its own."""
    return xp.zeros_like(rows[:, 0]) + (value if isinstance(value, float) else value[:, 0])


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts names with their numbers in order: x2 before x10.

    >>> sorted(["y", "x10", "x2"], key=_natural)
    ['x2', 'x10', 'y']
    """
    parts = re.split("([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _reach(largest: float) -> float:
    """Return 1, 2 or 5 times a power of ten, well beyond a start's largest coordinate.

    >>> _reach(7.0), _reach(0.5), _reach(0.0)
    (10.0, 1.0, 1.0)
    """
    wanted = DOMAIN_MARGIN * largest or 1.0
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(
        (factor * power for factor in (1.0, 2.0, 5.0) if factor * power >= wanted), 10.0 * power
    )
