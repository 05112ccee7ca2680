"""Derivatives against SymPy's, where it is installed."""

import numpy as np
import pytest

from tests.problems.expressions.independent import ours
from tests.problems.expressions.test_derivatives import SCALARS

sympy = pytest.importorskip("sympy")

NAMES = {
    "minimum": sympy.Min,
    "maximum": sympy.Max,
    "max": sympy.Max,
    "min": sympy.Min,
    "abs": sympy.Abs,
    "e": sympy.E,
    "arctan": sympy.atan,
    "ln": sympy.log,
    "log10": lambda value: sympy.log(value, 10),
    "where": lambda condition, one, other: sympy.Piecewise((one, condition), (other, True)),
}


UNKNOWN_TO_SYMPY = ("np.", "<= 1 <")
TEXTS = [text for text in SCALARS if not any(part in text for part in UNKNOWN_TO_SYMPY)]


@pytest.mark.parametrize("text", TEXTS)
def test_sympy_differentiates_alike(text):
    x, y = sympy.symbols("x y", real=True)
    formula = sympy.sympify(text, locals={**NAMES, "x": x, "y": y})
    points = np.random.default_rng(6).uniform(0.2, 1.4, (5, 2))
    values, grads = ours(text, [{"x": one, "y": other} for one, other in points])
    for lane, (one, other) in enumerate(points):
        place = {x: sympy.Float(one, 30), y: sympy.Float(other, 30)}
        expected = [
            float(each.subs(place).evalf()) for each in (formula, formula.diff(x), formula.diff(y))
        ]
        found = [values[lane], *grads[lane]]
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
