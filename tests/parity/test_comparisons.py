"""Rules follow other libraries', and are still as near to them as docs/optimizers.md says."""

import inspect
from importlib import import_module
from operator import itemgetter

import numpy as np
import pytest

from docs.tools.optimizers_page import PAGE, PLAIN, STATED, page, read
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from tests.optimizers.driver import BOUNDS
from tests.optimizers.elementwise import SETTINGS

for library in ("torch", "optax", "schedulefree", "prodigyopt"):
    pytest.importorskip(library)
from tests.parity.comparisons import COMPARISONS, largest  # needs the libraries
from tests.parity.elementwise import (
    OPTAX,
    OPTAX_SETTINGS,
    TORCH,
    TORCH_SETTINGS,
    difference_from,
    optax_path,
    torch_path,
)
from tests.parity.shaped import muon_from_half_precision

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


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("recording", ["quadratic", "network"])
@pytest.mark.parametrize("each", [each for each in COMPARISONS if each[1] != PLAIN], ids=" ".join)
def test_the_path_is_the_others(each, recording, dtype, record_property):
    difference = COMPARISONS[each](recording, dtype)
    record_property("largest_difference", difference)
    assert difference < BOUNDS[dtype]


@pytest.mark.parametrize("recording", ["quadratic", "network"])
def test_half_precision_of_pytorchs_muon_stays_near(recording):
    assert muon_from_half_precision(recording) < 0.05


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


SAID = {
    "nesterov-torch": {"momentum": 0.9, "nesterov": True},
    "rmsprop-centered": {"centered": True},
}
"""What a partner must be told beside the learning rate to be a preset."""


@pytest.mark.parametrize("recording", ["quadratic", "network"])
@pytest.mark.parametrize("name", [name for name in SETTINGS if name in PRESETS])
def test_a_preset_is_its_partner_at_the_partners_own_defaults(name, recording):
    partner = PRESETS[name].partner
    make = function(partner)

    def reference(given, recording, dtype):
        said = SAID.get(name, {})
        if partner.startswith("torch."):
            return torch_path(lambda params: make(params, given["lr"], **said), recording, dtype)
        return optax_path(make(given["lr"], **said), recording, dtype)

    assert difference_from(reference, name, [{}], recording, "float64") < BOUNDS["float64"]


def test_every_partner_is_compared_with():
    partners = {name: (OPTIMIZERS | PRESETS)[name].partner for name in SETTINGS}
    of = {name: partner.partition(".")[0] for name, partner in partners.items() if partner}
    assert {name for name, library in of.items() if library == "torch"} <= TORCH.keys()
    assert {name for name, library in of.items() if library == "optax"} <= OPTAX.keys()
    assert set(of.values()) <= {"torch", "optax"}


def test_four_settings_are_compared():
    for settings in (*TORCH_SETTINGS.values(), *OPTAX_SETTINGS.values()):
        assert len({tuple(each.items()) for each in settings}) == 4
