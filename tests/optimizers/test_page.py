"""docs/optimizers.md says of every rule and preset what its class says; `make docs` rebuilds it."""

import re

import pytest

from docs.tools.markdown import rows_of, unlinked
from docs.tools.optimizers_page import (
    COMPARED,
    NOTES,
    PAGE,
    PLAIN,
    capabilities,
    number,
    page,
    read,
    rounded_up,
    stated,
)
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS, get_optimizer

if not PAGE.exists():
    pytest.skip("the manual is not part of this installation", allow_module_level=True)

TEXT = PAGE.read_text(encoding="utf-8")
ROWS = rows_of(TEXT)
WRITTEN = read(TEXT)
ALL = OPTIMIZERS | PRESETS


def bare(text: str) -> str:
    """Return a text without the marks of Markdown."""
    text = re.sub(r"\[([^]]*)\]\(https:[^)]*\)", r"\1", text)
    for mark in ("\\", "`", "<br>", ";", " "):
        text = text.replace(mark, "")
    return text


def row_of(name: str, head: str) -> dict[str, str]:
    (found,) = [row for row in ROWS if COMPARED[0] in row and unlinked(row.get(head, "")) == name]
    return found


def test_the_page_is_what_make_docs_would_write():
    """But for the differences, which need other libraries to be measured anew."""
    assert page(WRITTEN) == TEXT, "docs/optimizers.md is out of date; run make docs"


def test_every_rule_and_preset_is_compared_with_its_partner():
    assert {name for name, _ in WRITTEN} == ALL.keys()
    for name, each in ALL.items():
        places = [place for whose, place in WRITTEN if whose == name]
        assert each.partner is None or each.partner in places
        assert PLAIN not in places or places == [PLAIN]


def test_differences_have_one_digit_and_are_below_the_bounds_of_the_tests():
    for found in WRITTEN.values():
        for text, bound in zip(found, (1e-10, 1e-5), strict=True):
            assert text == rounded_up(float(text))
            assert 0.0 <= float(text) <= bound


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rule_stands_there_with_what_its_class_says(name):
    rule, row = OPTIMIZERS[name], row_of(name, "optimizer")
    assert bare(row["update rule"]) == bare(rule.summary)
    assert bare(row["source"]) == bare(rule.source)
    assert row["capabilities"] == ", ".join(capabilities(rule))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_there_with_its_settings(name):
    preset, row = PRESETS[name], row_of(name, "preset")
    assert unlinked(row["rule"]) == preset.rule.name
    assert row["settings"].replace("`", "").split("<br>") == [
        f"{key} = {number(value)}" for key, value in preset.settings.items()
    ]
    assert bare(row["meaning"]) == bare(preset.summary)
    assert bare(row["source"]) == bare(preset.source)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_defaults_of_a_rule_stand_there(name):
    rows = [row for row in ROWS if {"optimizer", "hyperparameter"} <= row.keys()]
    first = [unlinked(row["optimizer"]) for row in rows].index(name)
    for row, each in zip(rows[first:], get_optimizer(name).hyperparameters, strict=False):
        assert unlinked(row["hyperparameter"]) == each.name
        assert each.check(type(each.default)(row["default"])) == each.default
        assert bare(row["range"]) == bare(each.range)


def test_what_every_optimizer_takes_stands_there():
    rows = [row for row in ROWS if "hyperparameter" in row and "optimizer" not in row]
    assert [unlinked(row["hyperparameter"]) for row in rows] == list(COMMON)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adam", ["element-wise"]),
        ("rprop", ["element-wise", "full batch"]),
        ("lamb", ["by tensor"]),
        ("muon", ["by matrix"]),
        ("schedule-free-sgd", ["sums of a lane", "evaluates elsewhere"]),
        ("prodigy", ["sums of a lane"]),
    ],
)
def test_capabilities_are_those_of_the_class(name, expected):
    assert capabilities(OPTIMIZERS[name]) == expected


@pytest.mark.parametrize(
    "title",
    [
        *("SGD with momentum", "Nesterov's momentum", "AdaGrad", "RMSprop", "Adadelta", "Adam"),
        *("AMSGrad", "NAdam", "RAdam", "AdamW", "Lion", "Adan", "LAMB", "Muon"),
    ],
)
def test_the_differences_between_libraries_are_told_of(title):
    assert f"| **{title}** |" in TEXT


def test_notes_are_of_comparisons_on_the_page():
    assert NOTES.keys() <= WRITTEN.keys()


def test_a_default_that_is_not_there_is_not_stated():
    known = "`eps_place`: uncorrected (`radam`), corrected (`radam-optax`)"
    assert stated("{radam:eps_place}") == known
    assert stated("{torch.optim.Adagrad:eps}, {adadelta:eps}") == "1e-10, `eps`: 1e-6"
    with pytest.raises(KeyError):
        stated("{radam:epsilon}")
    with pytest.raises(KeyError):
        stated("{torch.optim.RAdam:epsilon}")


def test_a_page_with_another_difference_or_a_rule_less_is_another_page():
    changed = {**WRITTEN, ("sgd", "torch.optim.SGD"): ("1e-11", "1e-6")}
    assert page(changed) != TEXT
    assert read(page(changed)) == changed
    del changed["sgd", "torch.optim.SGD"]
    assert page(changed) != TEXT
