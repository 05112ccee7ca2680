import random

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from optbench.optimizers.registry import optimizer_names
from optbench.report.plots.style import (
    COLORS,
    KNOWN,
    MORE_COLORS,
    OTHERS,
    Style,
    display_name,
    styles,
)

TEXTBOOK = {"sgd": "o", "momentum": "x", "adagrad": "s", "rmsprop": "^", "adam": "D"}


def test_the_known_have_the_textbooks_markers_and_differ():
    found = {label: styles([(label, label)])[label] for label in TEXTBOOK}
    assert {label: style.marker for label, style in found.items()} == TEXTBOOK
    assert {style.linestyle for style in found.values()} == {"-"}
    names = ["SGD", "Momentum", "AdaGrad", "RMSprop", "Adam"]
    assert [display_name(label) for label in TEXTBOOK] == names
    assert len(set(KNOWN.values())) == len(KNOWN)
    assert len({style.color for style in KNOWN.values()}) == len(KNOWN)


ENTRIES = [
    *((name, name) for name in KNOWN),
    *((f"Adam {k}", "adam") for k in range(20)),
    ("adam-torch", "adam-torch"),
    *((f"mine-{k}", f"mine-{k}") for k in range(40)),
]


def test_no_two_labels_of_a_figure_look_the_same_in_whatever_order():
    found = styles(ENTRIES)
    assert len(set(found.values())) == len(ENTRIES)
    assert styles(random.Random(0).sample(ENTRIES, len(ENTRIES))) == found


@pytest.mark.parametrize(("label", "optimizer"), [("sgd", "sgd"), ("mine", "mine")])
def test_company_does_not_matter(label, optimizer):
    alone = styles([(label, optimizer)])[label]
    assert styles([("adam", "adam"), (label, optimizer), ("z", "z")])[label] == alone


@pytest.mark.parametrize(("label", "optimizer"), [("Adam, swept", "adam"), ("adam-torch",) * 2])
def test_a_variant_keeps_its_marker_and_where_it_can_its_colour(label, optimizer):
    style = styles([(label, optimizer), ("sgd", "sgd")])[label]
    assert (style.color, style.marker) == (KNOWN["adam"].color, KNOWN["adam"].marker)
    assert style != KNOWN["adam"]
    style = styles([(label, optimizer), ("adam", "adam")])[label]
    assert style.marker == KNOWN["adam"].marker
    assert style.color != KNOWN["adam"].color


@pytest.mark.parametrize(
    "entries",
    [
        [(f"Adam {k}", "adam") for k in range(14)],
        [(f"mine-{k}", f"mine-{k}") for k in range(14)],
        [("sgd", "sgd"), ("sgd-torch", "sgd-torch"), ("SGD, swept", "sgd"), ("mine", "mine")],
        [("adabelief", "adabelief"), ("muon", "muon"), ("lars", "lars"), ("amsgrad", "amsgrad")],
    ],
)
def test_no_two_labels_of_a_figure_have_one_colour(entries):
    found = styles(entries)
    assert len({style.color for style in found.values()}) == len(entries)
    assert styles(entries[::-1]) == found


ALL = [(name, name) for name in sorted(optimizer_names())]
"""Every optimizer that comes with optbench."""


@pytest.mark.parametrize("seed", range(40))
def test_of_any_optimizers_no_two_share_a_colour_and_the_known_keep_theirs(seed):
    chance = random.Random(seed)
    chosen = chance.sample(ALL, chance.randint(1, len(ALL))) if seed else ALL
    found = styles(chosen)
    assert len({style.color for style in found.values()}) == len(chosen)
    for label, _ in chosen:
        if label in KNOWN:
            assert found[label] == KNOWN[label]


@pytest.mark.parametrize("seed", range(20))
def test_of_joined_runs_and_variants_no_two_share_a_colour(seed):
    chance = random.Random(seed)
    rules = chance.sample([name for name, _ in ALL], chance.randint(1, 10))
    shared = {f"{name} ({run})": (name, run) for name in rules for run in range(3)}
    entries = [(label, own) for label, (own, _) in shared.items()]
    entries += [(f"{name}, swept", name) for name in rules]
    colors = [to_rgb(style.color) for style in styles(entries, shared).values()]
    assert len(set(colors)) == len(entries)


def test_colours_can_be_told_apart_from_one_another_and_from_paper():
    known = [style.color for style in KNOWN.values()]
    every = np.array([to_rgb(color) for color in dict.fromkeys([*known, *COLORS, *MORE_COLORS])])
    distance = np.abs(every[:, None] - every[None]).max(axis=2) + np.eye(len(every))
    assert distance.min() > 0.08
    assert (every @ [0.2126, 0.7152, 0.0722]).max() < 0.75


def test_what_is_unknown_has_a_stable_style():
    # A golden value: a new hash would give every plug-in optimizer of old figures a new look.
    assert styles([("my-optimizer", "my-optimizer")])["my-optimizer"] == Style(
        "#56B4E9", "<", (0, (8, 2))
    )


def test_what_is_unknown_never_looks_like_a_known_optimizer():
    assert not set(OTHERS) & set(KNOWN.values())
    assert len(set(OTHERS)) == len(OTHERS)


def test_filling_is_no_difference_for_a_marker_of_lines():
    found = styles([(f"m{k}", "momentum") for k in range(8)]).values()
    looks = {(style.color, style.marker, style.linestyle) for style in found}
    assert len(looks) == 8


def test_open_markers_are_white_inside():
    variants = [styles([(label, "adam")])[label] for label in map("Adam {}".format, range(10))]
    faces = {style.open: style.line()["markerfacecolor"] for style in variants}
    assert faces == {False: KNOWN["adam"].color, True: "white"}


def test_a_label_that_runs_share_is_told_apart_by_line_filling_and_shade():
    shared = {
        f"{name} ({run})": (name, run) for name in ("adam", "sgd", "mine") for run in range(3)
    }
    entries = [(label, own) for label, (own, _) in shared.items()]
    found = styles([*entries, ("lion", "lion")], shared)
    assert len(set(found.values())) == len(entries) + 1
    alone = styles([(name, name) for name in ("adam", "sgd", "mine", "lion")])
    for label, (own, run) in shared.items():
        style = found[label]
        assert style.marker == alone[own].marker
        assert style.open == (run > 0)
        if run == 0:
            assert style == alone[own]
    lines = {
        run: {found[f"{name} ({run})"].linestyle for name in ("adam", "sgd")} for run in (1, 2)
    }
    assert all(len(each) == 1 for each in lines.values())  # of one run all are broken alike
    assert lines[1] != lines[2]
    assert len({found[f"adam ({run})"].color for run in range(3)}) == 3
    assert found["lion"] == alone["lion"]
