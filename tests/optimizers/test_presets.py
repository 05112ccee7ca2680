"""Presets are rules with other defaults, and no more than that."""

import pytest

from optbench.errors import SuiteError
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import (
    OPTIMIZERS,
    complete_hyperparameters,
    get_optimizer,
    known_hyperparameters,
    optimizer_names,
)
from optbench.runs.layout import lay_out
from tests.small import anisotropic, blocks_of, run_suite, suite

every_preset = pytest.mark.parametrize("name", PRESETS)


@every_preset
def test_a_preset_is_its_rule_with_other_defaults(name):
    preset = PRESETS[name]
    optimizer, rule = get_optimizer(name), get_optimizer(preset.rule.name)
    assert type(optimizer) is type(rule) is OPTIMIZERS[preset.rule.name]
    assert optimizer.identity() == rule.identity()
    assert known_hyperparameters(optimizer).keys() == known_hyperparameters(rule).keys()
    assert preset.settings.keys() <= {each.name for each in rule.hyperparameters}
    found = complete_hyperparameters(optimizer, {})
    assert found == complete_hyperparameters(rule, dict(preset.settings))
    assert found == {each.name: each.default for each in optimizer.hyperparameters}


@every_preset
def test_a_preset_changes_each_default_that_it_names_and_leaves_the_rule_alone(name):
    defaults = complete_hyperparameters(get_optimizer(PRESETS[name].rule.name), {})
    assert {key: defaults[key] != value for key, value in PRESETS[name].settings.items()} == (
        dict.fromkeys(PRESETS[name].settings, True)
    )
    assert all(each.default == defaults[each.name] for each in PRESETS[name].rule.hyperparameters)


@every_preset
def test_a_preset_says_what_it_is(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert preset.summary
    assert preset.source
    assert preset.partner is None or preset.partner.partition(".")[0] in ("torch", "optax")


def test_no_preset_hides_a_rule():
    assert not PRESETS.keys() & OPTIMIZERS.keys()
    assert [*OPTIMIZERS, *PRESETS] == optimizer_names()[: len(OPTIMIZERS) + len(PRESETS)]


def test_what_is_given_to_a_preset_counts_before_its_settings():
    found = complete_hyperparameters(get_optimizer("adam-torch"), {"eps": 1e-3, "lr": 1})
    assert (found["eps"], found["lr"], found["eps_place"]) == (1e-3, 1.0, "corrected")
    with pytest.raises(SuiteError, match=r"eps = -1 must be at least 0; the default is 1e-08"):
        complete_hyperparameters(get_optimizer("adam-torch"), {"eps": -1})


def test_a_misspelt_preset_is_named():
    with pytest.raises(SuiteError, match="did you mean 'adam-torch'"):
        get_optimizer("adam-troch")


def test_a_preset_is_the_same_run_as_its_rule_at_its_settings():
    preset = PRESETS["adam-torch"]
    settled = suite(anisotropic(), optimizers=["adam-torch", ("adam", [preset.settings, {}])])
    one, other, textbook = lay_out(settled, "cpu")
    assert one.key == other.key != textbook.key
    assert [len(block.lanes) for block in blocks_of(settled)] == [3]
    found = run_suite(settled)
    assert found[0].bits == found[1].bits != found[2].bits
