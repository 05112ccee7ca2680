"""Sets of spaces: complete, in range, as the docs have them, and a file of one's own."""

import re
from pathlib import Path

import pytest

from optbench.errors import SuiteError
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import (
    OPTIMIZERS,
    complete_hyperparameters,
    get_optimizer,
    known_hyperparameters,
)
from optbench.tuning import sets
from optbench.tuning.sets import check_spaces, space_set
from optbench.tuning.spaces import parse
from tests.refusal import refusal

BUILT_IN = [*OPTIMIZERS, *PRESETS]
PAGE = Path(__file__).parents[2] / "docs" / "tuning.md"


def texts(name: str, optimizer: str) -> dict[str, str]:
    return {key: str(space) for key, space in space_set(name).of(optimizer).items()}


@pytest.mark.parametrize("optimizer", BUILT_IN)
def test_wide_and_full_have_an_entry_for_everything_built_in(optimizer):
    wide, full = space_set("wide"), space_set("full")
    assert optimizer in wide.entries
    assert optimizer in full.entries
    assert wide.of(optimizer)
    assert wide.of(optimizer).items() <= full.of(optimizer).items()
    assert wide.source(optimizer)
    assert full.source(optimizer).startswith(wide.source(optimizer))


@pytest.mark.parametrize("name", ["wide", "full", "algoperf"])
def test_every_end_of_every_space_is_taken_by_its_optimizer(name):
    entries = space_set(name).entries
    assert set(entries) <= {*BUILT_IN, "*"}
    for optimizer in entries.keys() - {"*"}:
        spaces = entries[optimizer].spaces
        for key, space in spaces.items():
            for u in (0.0, 0.5, 1.0):
                recorded = complete_hyperparameters(get_optimizer(optimizer), {key: space.at(u)})
                assert recorded[key] == space.at(u)


@pytest.mark.parametrize("optimizer", BUILT_IN)
def test_what_is_searched_holds_the_default(optimizer):
    known = known_hyperparameters(get_optimizer(optimizer))
    for key, space in space_set("full").of(optimizer).items():
        if key != "weight_decay":  # none by default, which no logarithm reaches
            assert 0.0 <= space.unit(known[key].default) <= 1.0


def test_presets_keep_what_makes_them():
    assert list(space_set("full").of("signsgd")) == ["lr", "weight_decay"]
    for name, preset in PRESETS.items():
        changed = set(preset.settings) - {"lr", "eps", "decay", "weight_decay"}
        assert changed.isdisjoint(space_set("wide").of(name)) or name == "nesterov-torch"


def test_what_algoperf_searches_lies_in_what_we_do():
    for optimizer in space_set("algoperf").entries:
        full = space_set("full").of(optimizer)
        for key, space in space_set("algoperf").of(optimizer).items():
            if key in full:
                assert full[key].unit(space.at(0.0)) >= 0.0
                assert full[key].unit(space.at(1.0)) <= 1.0


@pytest.mark.parametrize(
    ("name", "optimizer", "spaces"),
    [
        ("wide", "adam", {"lr": "log(1e-05, 1)", "beta1": "1 - log(0.004, 1)"}),
        ("wide", "schedule-free-sgd", {"lr": "log(0.001, 100)", "momentum": "1 - log(0.005, 0.5)"}),
        ("full", "prodigy", {
            "d_coef": "log(0.1, 10)",
            "beta1": "1 - log(0.004, 1)",
            "beta2": "1 - log(1e-05, 0.5)",
        }),
        ("full", "rprop", {
            "lr": "log(1e-05, 1)",
            "eta_minus": "uniform(0.2, 0.9)",
            "eta_plus": "uniform(1.05, 1.5)",
        }),
        ("algoperf", "adamw", {
            "lr": "log(0.0001, 0.01)",
            "beta1": "1 - log(0.02, 0.5)",
            "weight_decay": "log(0.005, 1)",
        }),
        ("algoperf", "lamb", {
            "lr": "log(0.0001, 0.01)",
            "beta1": "1 - log(0.05, 0.3)",
            "weight_decay": "log(0.001, 1)",
        }),
    ],
)  # fmt: skip
def test_spaces_are_those_of_the_specification(name, optimizer, spaces):
    assert texts(name, optimizer) == spaces


def test_the_page_shows_every_entry():
    row = re.compile(r"^\| ([a-z][\w, -]*) \|(.*)\|$", re.MULTILINE)
    shown: dict[str, list[dict[str, str]]] = {}
    for names, cells in row.findall(PAGE.read_text(encoding="utf-8")):
        columns = [
            {key: str(parse(text)) for key, text in re.findall(r"`(\w+)` ([^;|]+\))", cell)}
            for cell in cells.split("|")
        ]
        if any(columns):
            for name in names.split(", "):
                shown.setdefault(name, []).extend(columns)
    assert set(shown) == {*BUILT_IN, "all others"}
    assert shown.pop("all others") == [{"lr": "log(1e-05, 10)"}, {}]
    published = space_set("algoperf").entries
    for name, (wide, more, *algoperf) in shown.items():
        assert texts("wide", name) == wide
        assert texts("full", name) == wide | more
        assert algoperf == ([texts("algoperf", name)] if name in published else [])


def test_algoperf_has_no_others():
    assert refusal(SuiteError, space_set("algoperf").of, "sgd") == (
        "the spaces algoperf have none for sgd; give --space 'sgd.lr=log(1e-4, 1)', or other spaces"
    )
    assert "none for rprop" in refusal(SuiteError, space_set("algoperf").source, "rprop")


RULES = """\
from optbench.optimizers import Elementwise, Hyperparameter

class Heavy(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)

class Bare(Elementwise):
    hyperparameters = (Hyperparameter("rate", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, rate, xp):
        return (w - rate * g,)

class Tame(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate", high=1.0),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)
"""


@pytest.fixture
def rules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(RULES, encoding="utf-8")


@pytest.mark.usefixtures("rules")
def test_a_plug_in_is_searched_by_its_learning_rate():
    for name in ("wide", "full"):
        assert texts(name, "mine.py:Heavy") == {"lr": "log(1e-05, 10)"}
        assert space_set(name).source("mine.py:Heavy").startswith("ours")
    assert refusal(SuiteError, space_set("wide").of, "mine.py:Bare") == (
        "mine.py:Bare has no lr, which is all that the spaces wide know to try of it; "
        "give --space 'Bare.KEY=log(1e-4, 1)', or other spaces"
    )
    message = refusal(SuiteError, space_set("wide").of, "mine.py:Tame")
    assert "lr takes [0, 1], but log(1e-05, 10) holds 10" in message


@pytest.mark.parametrize("optimizer", ["torch:AdamW", "optax:lion"])
def test_optimizers_of_libraries_are_searched_by_their_learning_rate(optimizer):
    pytest.importorskip(optimizer.partition(":")[0])
    assert texts("wide", optimizer) == {"lr": "log(1e-05, 10)"}


def own_set(text: str) -> sets.SpaceSet:
    Path("own.toml").write_text(text, encoding="utf-8")
    return space_set("own.toml")


@pytest.mark.usefixtures("rules")
def test_a_file_extends_a_set():
    own = own_set(
        """
        extends = "full"

        [[optimizer]]
        name = ["adam", "sgd"]
        space.lr = "log(1e-3, 1e-1)"
        source = "us"

        [[optimizer]]
        name = "mine.py:Bare"
        space.rate = "uniform(0, 1)"
        """
    )
    adam = {key: str(space) for key, space in own.of("adam").items()}
    assert adam == texts("full", "adam") | {"lr": "log(0.001, 0.1)"}
    assert own.source("adam") == f"{space_set('full').source('adam')}; us"
    assert own.of("sgd") == {"lr": parse("log(1e-3, 0.1)")}
    assert own.of("yogi") == space_set("full").of("yogi")
    assert own.of("mine.py:Bare") == {"rate": parse("uniform(0, 1)")}
    assert own.source("mine.py:Bare") == "own.toml"
    assert own.of("mine.py:Heavy") == space_set("full").of("mine.py:Heavy")


@pytest.mark.usefixtures("rules")
def test_a_file_stands_alone():
    own = own_set(
        "[[optimizer]]\nname = 'adam'\nspace.eps_place = 'choice(corrected, uncorrected)'"
    )
    assert list(own.of("adam")) == ["eps_place"]
    assert "the spaces own.toml have none for sgd" in refusal(SuiteError, own.of, "sgd")
    every = own_set("[[optimizer]]\nname = '*'\nspace.lr = 'log(1e-3, 1)'")
    assert every.of("adam") == every.of("mine.py:Heavy") == {"lr": parse("log(1e-3, 1)")}


ENTRY = "[[optimizer]]\nname = 'adam'\n"


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[optimizer]\n", "own.toml: expected ']]' at the end of an array declaration (at line 1"),
        (
            "extends = 'narrow'",
            "own.toml: extends = 'narrow' is no set; known are wide, full, algop",
        ),
        ("extends = 1", "own.toml: extends: it must be text"),
        ("optimiser = []", "own.toml: unknown key 'optimiser'; did you mean 'optimizer'?"),
        (f"{ENTRY}spaces.lr = 'log(1, 2)'", "own.toml: optimizer 1 space is missing"),
        (
            f"{ENTRY}space.lr = 'log(1, 2)'\nsorce = ''",
            "own.toml: unknown key 'optimizer 1 sorce'; d",
        ),
        (
            f"{ENTRY}space = {{}}",
            "own.toml: optimizer 1 space: it must be at least 1 long, not {}",
        ),
        (f"{ENTRY}space.lr = 0.1", "own.toml: adam: space.lr: space 0.1 is malformed; write it as"),
        (f"{ENTRY}space.lr = 'log(1)'", "own.toml: adam: space.lr: space 'log(1)' is malformed; "),
        (
            f"{ENTRY}space.beta = 'log(1e-4, 1)'",
            "own.toml: adam has no hyperparameter 'beta'; did you mean 'beta",
        ),
        (
            f"{ENTRY}space.learning_rate = 'log(1e-4, 1)'",
            "own.toml: adam has no hyperparameter 'learning_rate'; did you mean 'lr'?",
        ),
        (
            f"{ENTRY}space.beta1 = 'uniform(0, 1)'",
            "own.toml: adam: beta1 takes [0, 1), but uniform(0, 1) holds 1; all of it must fit",
        ),
        (
            2 * f"{ENTRY}space.lr = 'log(1e-4, 1)'\n",
            "own.toml: adam has two entries; give it one",
        ),
        (
            "[[optimizer]]\nname = 'adm'\nspace.lr = 'log(1e-4, 1)'",
            "own.toml: unknown optimizer 'adm'; did you mean 'adam'?",
        ),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(text, message):
    assert refusal(SuiteError, own_set, text).startswith(message)


@pytest.mark.usefixtures("rules")
def test_a_plug_in_s_hyperparameters_are_checked_when_it_is_asked_for():
    own = own_set("[[optimizer]]\nname = 'mine.py:Heavy'\nspace.rate = 'log(1e-4, 1)'")
    message = refusal(SuiteError, own.of, "mine.py:Heavy")
    assert message.startswith("Heavy has no hyperparameter 'rate'; ")


@pytest.mark.usefixtures("rules")
def test_a_set_that_is_not_there_is_refused():
    assert refusal(SuiteError, space_set, "wid") == (
        "unknown spaces 'wid'; did you mean 'wide'? (or give a .toml)"
    )
    message = "file of spaces 'none.toml' cannot be found"
    assert refusal(SuiteError, space_set, "none.toml") == message
    Path("dir.toml").mkdir()
    assert "'dir.toml' cannot be read: " in refusal(SuiteError, space_set, "dir.toml")
    Path("utf16.toml").write_bytes("[[optimizer]]".encode("utf-16"))
    message = "file of spaces 'utf16.toml' cannot be read: it is UTF-16; save it as UTF-8"
    assert refusal(SuiteError, space_set, "utf16.toml") == message


def test_spaces_of_an_entry_are_checked_alike():
    check_spaces(get_optimizer("sgd"), {"lr": parse("log(1e-4, 1)"), "warmup": parse("int(0, 9)")})
    schedules = parse("choice(constant, cosine)")
    check_spaces(get_optimizer("sgd"), {"schedule": schedules})
    message = refusal(SuiteError, check_spaces, get_optimizer("sgd"), {"beta1": schedules})
    assert message.startswith("sgd has no hyperparameter 'beta1'; ")
