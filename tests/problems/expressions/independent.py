"""Expressions by another way: Python runs the text on complex numbers, and a step into the
imaginary direction gives the derivative (W. Squire and G. Trapp, SIAM Review 40, 1998)."""

import math
from functools import reduce

import numpy as np

from optbench.device.cpu import NumpyDevice
from optbench.problems.expressions import compile_graph, gradient, parse

STEP = 1e-30


def _smaller(one, other):
    return np.where(np.real(one) < np.real(other), one, other)


def _larger(one, other):
    return np.where(np.real(one) > np.real(other), one, other)


def _most(choose):
    return lambda first, *others: reduce(choose, (first, *others) if others else first)


FUNCTIONS = {
    **{name: getattr(np, name) for name in ("exp", "log", "sin", "cos", "tan", "tanh", "sqrt")},
    **{name: getattr(np, name) for name in ("sum", "dot", "pi", "e", "prod", "mean", "where")},
    **{name: getattr(np, name) for name in ("log10", "arctan", "sinh", "cosh")},
    "ln": np.log,
    "np": np,
    "norm": lambda vector: np.sqrt(np.sum(vector**2)),
    "sign": lambda value: np.sign(np.real(value)),
    "max": _most(_larger),
    "min": _most(_smaller),
    "abs": lambda value: np.where(np.real(value) < 0, -value, value),
    "minimum": _smaller,
    "maximum": _larger,
    "__builtins__": {},
}


def evaluate(text, point, constants=None):
    """Value and gradient at a point, {name: number or list}, as flat arrays."""
    values = {name: np.asarray(value, dtype=complex) for name, value in point.items()}
    values |= {name: np.asarray(value, dtype=float) for name, value in (constants or {}).items()}
    grads = []
    with np.errstate(all="ignore"):
        for name in point:
            for index in np.ndindex(values[name].shape):
                moved = values[name].copy()
                moved[index] += 1j * STEP
                result = eval(text, FUNCTIONS, {**values, name: moved})
                grads.append(np.imag(result) / STEP)
        value = float(np.real(eval(text, FUNCTIONS, values)))
    return value, np.array(grads, dtype=float)


def shapes(values):
    return {name: np.shape(value) for name, value in values.items()}


def ours(text, points, constants=None, device=None, dtype="float64"):
    """Values (lanes,) and gradients (lanes, coordinates) at points, by our programs.

    Parameters
    ----------
    points
        Numbers or lists by name, one mapping a lane.
    """
    device, constants = device or NumpyDevice(), constants or {}
    known = {
        name: value if np.ndim(value) == 0 else np.shape(value) for name, value in constants.items()
    }
    expression = parse(text, shapes(points[0]), known)
    graph = expression.graph
    variables = [graph.variable(name, shape) for name, shape in shapes(points[0]).items()]
    program = compile_graph(
        graph, [expression.result, *gradient(graph, expression.result, variables)]
    )
    rows = {
        name: np.array([np.ravel(point[name]) for point in points], dtype=dtype)
        for name in points[0]
    }
    arrays = {
        name: np.asarray(value, dtype=dtype)[None]
        for name, value in constants.items()
        if np.ndim(value)
    }
    inputs = {name: device.put(array) for name, array in (rows | arrays).items()}
    with np.errstate(all="ignore"):
        results = program(inputs, device.xp, getattr(device.xp, dtype))
    lanes = len(points)
    widths = [1, *(math.prod(shape) for shape in shapes(points[0]).values())]
    flat = [
        np.broadcast_to(each if isinstance(each, float) else device.get(each), (lanes, width))
        for each, width in zip(results, widths, strict=True)
    ]
    return flat[0][:, 0], np.concatenate(flat[1:], axis=1)
