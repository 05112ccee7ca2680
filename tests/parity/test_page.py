"""docs/optimizers.md in CI: rules are still as near to the others as it says."""

import inspect
from importlib import import_module
from operator import itemgetter

import numpy as np
import pytest

from docs.tools.optimizers_page import PAGE, PLAIN, STATED, page, read

for library in ("torch", "optax", "schedulefree", "prodigyopt"):
    pytest.importorskip(library)
from tests.parity.comparisons import COMPARISONS, largest  # needs the libraries

TEXT = PAGE.read_text(encoding="utf-8")
WRITTEN = read(TEXT)

FACTOR = 10.0
"""How much larger a difference may be elsewhere: compilers and processors round otherwise."""


def function(place: str):
    """Return what a dotted name stands for."""
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)


def test_what_is_measured_is_what_stands_there():
    by_name = itemgetter(0)
    measured, written = sorted(COMPARISONS, key=by_name), sorted(WRITTEN, key=by_name)
    assert measured == written, "docs/optimizers.md is out of date; run make docs"
    assert page(WRITTEN) == TEXT, "docs/optimizers.md is out of date; run make docs"


@pytest.mark.parametrize("place", sorted({place for _, place in COMPARISONS} - {PLAIN}))
def test_partners_are_there(place):
    assert callable(function(place))


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("each", COMPARISONS, ids=" ".join)
def test_a_difference_is_not_much_larger_than_it_was(each, precision):
    """Equal to the bit is written 0, and may be a unit in the last place elsewhere."""
    before = float(WRITTEN[each][("float64", "float32").index(precision)])
    least = float(np.finfo(precision).eps)
    assert largest(*each, precision) <= FACTOR * max(before, least)


@pytest.mark.parametrize("place", STATED)
def test_defaults_of_libraries_are_those_stated(place):
    parameters = inspect.signature(function(place)).parameters
    found = {key: float(parameters[key].default) for key in STATED[place]}
    assert found == STATED[place]
