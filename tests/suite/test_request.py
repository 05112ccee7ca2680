"""Requests: flags and Python values that change suites."""

import json
import re

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.suite.flags import parse_grid, parse_set
from optbench.suite.format import parse_suite
from optbench.suite.request import RunRequest, apply_request
from optbench.suite.resolve import resolve
from tests.refusal import refusal

SUITE = {
    "name": "mine",
    "problem": [{"name": "anisotropic"}],
    "optimizer": [
        {"name": "sgd", "lr": 0.5},
        {"name": "adam", "label": "Adam, slow", "lr": 0.1},
        {"name": "adam", "label": "v1.0", "beta1": 0.5},
    ],
}


def apply(*suites, sets=(), grids=(), **options):
    """Return the suites, as plain data, as a request changes them, and the notices."""
    request = RunRequest(
        set=[parse_set(text) for text in sets], grid=[parse_grid(text) for text in grids], **options
    )
    changed = apply_request([parse_suite(each, "test") for each in suites or [SUITE]], request)
    plain = [json.loads(json.dumps(file.as_written())) for file, _ in changed]
    return plain, [notice for _, notices in changed for notice in notices]


def optimizers(*suites, **flags):
    """Return the optimizer entries of the first suite by label."""
    changed, _ = apply(*suites, **flags)
    return {each.pop("label", each["name"]): each for each in changed[0]["optimizer"]}


def lr(*suites, **flags):
    """Return what the first problem of the first suite runs at, by label."""
    changed, _ = apply(*suites, **flags)
    (problem, *_) = resolve(parse_suite(changed[0], "test")).problems
    return {
        entry.label: [each["lr"] for each in entry.configurations] for entry in problem.optimizers
    }


def refused(*suites, **flags):
    return refusal(SuiteError, apply, *suites, **flags)


def test_without_flags_nothing_changes():
    assert apply() == ([SUITE], [])


# Optimizers.


def test_a_label_counts_before_a_name():
    assert list(optimizers(optimizers=["v1.0", "sgd"])) == ["v1.0", "sgd"]
    assert list(optimizers(optimizers=["adam"])) == ["Adam, slow", "v1.0"]
    disguised = SUITE | {"optimizer": [*SUITE["optimizer"], {"name": "rmsprop", "label": "adam"}]}
    assert list(optimizers(disguised, optimizers=["adam"])) == ["adam"]
    assert optimizers(disguised, sets=["adam.lr=9"])["adam"]["lr"] == 9
    assert optimizers(disguised, sets=["adam.lr=9"])["Adam, slow"]["lr"] == 0.1


CAPITALS = [
    {"name": "adam", "label": "Baseline"},
    {"name": "sgd"},
    {"name": "adamw", "label": "sgd, decayed"},
    {"name": "rmsprop", "label": "ADAM"},
]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("SGD", "sgd"),
        ("baseline", "Baseline"),
        ("SGD, Decayed", "sgd, decayed"),
        ("AdamW", "sgd, decayed"),
        ("adam", "Baseline"),  # a name as it is written counts before a label in other capitals
        ("Adam", "ADAM"),  # and else a label before a name
        ("RMSprop", "ADAM"),
        ("Lion", "lion"),  # the suite has none, but the registry
    ],
)
def test_names_are_found_whatever_their_capitals(name, title):
    capitals = SUITE | {"optimizer": CAPITALS}
    assert list(optimizers(capitals, optimizers=[name])) == [title]
    assert list(optimizers(capitals, optimizers=[name, title])) == [title]
    if title != "lion":
        assert optimizers(capitals, sets=[f"{name}.lr=9"])[title]["lr"] == 9
        assert "lr" in optimizers(capitals, grids=[f"{name}.lr=8,9"])[title]["grid"]


def test_capitals_that_leave_open_what_is_meant_are_refused():
    twins = SUITE | {"optimizer": [{"name": "sgd", "label": label} for label in ("Run", "RUN")]}
    says = "'run' may mean 'Run' or 'RUN'; write one of them"
    assert refused(twins, optimizers=["run"]) == says
    assert refused(twins, sets=["run.lr=1"]) == says
    assert list(optimizers(twins, optimizers=["RUN"])) == ["RUN"]


def test_users_names_are_taken_as_they_are():
    assert refused(optimizers=["MY.py:Rule"]).startswith("there is no file 'MY.py'")


def test_nothing_is_chosen_twice():
    names = ["adam", "v1.0", "adam", "Adam, slow", "sgd"]
    assert list(optimizers(optimizers=names)) == ["Adam, slow", "v1.0", "sgd"]


def test_what_the_suite_lacks_is_added_and_noticed():
    (changed,), notices = apply(optimizers=["rmsprop", "sgd"])
    assert changed["optimizer"] == [{"name": "rmsprop"}, {"name": "sgd", "lr": 0.5}]
    assert notices == ["suite 'mine' has no optimizer 'rmsprop': added with its defaults"]


def test_what_was_added_can_be_changed():
    assert lr(optimizers=["rmsprop"], sets=["rmsprop.lr=2"]) == {"rmsprop": [2.0]}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("adm", "unknown optimizer 'adm'; did you mean 'adam', 'radam' or 'nadam'?"),
        ("v1.1", "unknown optimizer 'v1.1'; did you mean 'v1.0'?"),
        ("", "unknown optimizer ''; known are sgd, Adam, slow, v1.0, momentum"),
    ],
)
def test_unknown_optimizers_name_the_nearest(name, says):
    assert refused(optimizers=[name]).startswith(says)


def test_a_problems_word_on_what_was_left_out_goes_with_it():
    problem = {"name": "anisotropic", "sgd": {"lr": 3.0}, "v1.0": {"lr": 4.0}, "*": {"eps": 0.1}}
    (changed,), _ = apply(SUITE | {"problem": [problem]}, optimizers=["v1.0"])
    assert changed["problem"] == [{"name": "anisotropic", "v1.0": {"lr": 4.0}, "*": {"eps": 0.1}}]


# Hyperparameters.


@pytest.mark.parametrize(
    ("text", "label", "key", "value"),
    [
        ("sgd.lr=2", "sgd", "lr", 2),
        ("sgd.lr= 2e-1 ", "sgd", "lr", 0.2),
        ("v1.0.lr=2", "v1.0", "lr", 2),
        ("Adam, slow.eps=1e-8", "Adam, slow", "eps", 1e-8),
        ("sgd.lr=a=b", "sgd", "lr", "a=b"),
        ("sgd.lr=word", "sgd", "lr", "word"),
        ("sgd.lr='0.1'", "sgd", "lr", "0.1"),
        ("sgd.lr=true", "sgd", "lr", True),
        ("sgd.lr=1\nname='x'", "sgd", "lr", "1\nname='x'"),
    ],
)
def test_a_set_splits_at_the_first_equals_sign_and_the_last_dot_before_it(text, label, key, value):
    assert optimizers(sets=[text])[label][key] == value


@pytest.mark.parametrize("flag", ["set", "grid"])
@pytest.mark.parametrize("text", ["", "=", "sgd.lr", "sgd.lr=", ".lr=1", "sgd.=1", "lr="])
def test_malformed_changes_show_the_right_form(flag, text):
    example = {"set": "adam.lr=0.01", "grid": "adam.lr=1e-4:1e-1:13"}[flag]
    assert refused(**{f"{flag}s": [text]}) == (
        f"--{flag} '{text}' is malformed; write TARGET.key=value, as {example}"
    )


@pytest.mark.parametrize("flag", ["set", "grid"])
def test_changes_without_a_target_show_what_it_may_be(flag):
    assert refused(**{f"{flag}s": ["lr=0.5"]}) == (
        f"--{flag} 'lr=0.5' names no optimizer; "
        "write '*.lr=0.5' for all that have it, or 'sgd.lr=0.5' for one"
    )


def test_a_star_means_all_that_have_it():
    changed = optimizers(sets=["*.beta1=0.7", "*.lr=2"])
    assert [each["lr"] for each in changed.values()] == [2, 2, 2]
    assert [each.get("beta1") for each in changed.values()] == [None, 0.7, 0.7]


def test_the_last_word_counts():
    assert lr(sets=["sgd.lr=2", "*.lr=3", "v1.0.lr=4"]) == {
        "sgd": [3.0],
        "Adam, slow": [3.0],
        "v1.0": [4.0],
    }


def test_a_grid_takes_the_place_of_a_value_and_the_other_way_round():
    swept = SUITE | {"optimizer": [{"name": "sgd", "grid": {"lr": [1, 2]}}]}
    assert lr(swept, sets=["sgd.lr=5"]) == {"sgd": [5.0]}
    assert lr(swept, grids=["sgd.lr=1e-2:1:3"]) == {"sgd": [0.01, 0.1, 1.0]}
    assert lr(grids=["sgd.lr=3,4"])["sgd"] == [3.0, 4.0]
    assert lr(sets=["sgd.lr=5"], grids=["sgd.lr=3,4"])["sgd"] == [3.0, 4.0]


def test_grids_multiply():
    (changed,), _ = apply(grids=["v1.0.lr=1,2", "v1.0.beta1=0.1,0.2", "v1.0.beta2=0.5"])
    (problem,) = resolve(parse_suite(changed, "test")).problems
    entries = problem.optimizers[2].configurations
    made = [[entry[key] for key in ("lr", "beta1", "beta2")] for entry in entries]
    assert made == [[1.0, 0.1, 0.5], [1.0, 0.2, 0.5], [2.0, 0.1, 0.5], [2.0, 0.2, 0.5]]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            {"sets": ["adm.lr=1"]},
            "--set adm.lr: there is no optimizer or problem 'adm'; did you mean 'adam'?",
        ),
        (
            {"grids": ["x.lr=1"]},
            "--grid x.lr: there is no optimizer or problem 'x'; known are sgd, Adam",
        ),
        ({"sets": ["*.foo=1"]}, "--set *.foo: no optimizer has a hyperparameter 'foo'"),
        (
            {"sets": ["sgd.name=adam"]},
            "sgd: 'name' is not a hyperparameter; only those can be changed",
        ),
        ({"sets": ["sgd.label=x"]}, "sgd: 'label' is not a hyperparameter"),
        ({"sets": ["sgd.grid=x"]}, "sgd: 'grid' is not a hyperparameter"),
        ({"grids": ["sgd.lr=1,"]}, "--grid sgd.lr: grid '1,' is malformed; write values as"),
        ({"grids": ["sgd.lr=1:2"]}, "--grid sgd.lr: grid '1:2' is malformed"),
    ],
)
def test_changes_that_fit_nothing_are_refused(flags, says):
    assert refused(**flags).startswith(says)


def test_a_flag_counts_before_a_problems_own_word():
    problems = [
        {"name": "anisotropic", "sgd": {"lr": 3.0}, "*": {"lr": 4.0}},
        {"name": "quadratic-1d", "adam": {"grid": {"lr": [5.0, 6.0]}}},
    ]
    own = SUITE | {"problem": problems}
    assert lr(own) == {"sgd": [3.0], "Adam, slow": [4.0], "v1.0": [4.0]}
    assert lr(own, sets=["sgd.lr=7"]) == {"sgd": [7.0], "Adam, slow": [4.0], "v1.0": [4.0]}
    assert lr(own, sets=["*.lr=7"]) == {"sgd": [7.0], "Adam, slow": [7.0], "v1.0": [7.0]}
    assert lr(own, grids=["v1.0.lr=8,9"])["v1.0"] == [8.0, 9.0]
    (changed,), _ = apply(own, sets=["adam.lr=7"])
    second = resolve(parse_suite(changed, "test")).problems[1]
    rates = [[each["lr"] for each in entry.configurations] for entry in second.optimizers]
    assert rates == [[0.5], [7.0], [7.0]]


# Several suites.


OTHER = {
    "name": "other",
    "problem": [{"name": "mnist-mlp", "data": "mnist-5k"}],
    "optimizer": [{"name": "momentum"}],
}


def test_a_change_must_fit_one_suite_of_several():
    changed, notices = apply(SUITE, OTHER, sets=["momentum.lr=3"])
    assert changed[0] == SUITE
    assert changed[1]["optimizer"] == [{"name": "momentum", "lr": 3}]
    assert notices == []
    assert "there is no optimizer or problem 'rmsprop'" in refused(
        SUITE, OTHER, sets=["rmsprop.lr=3"]
    )


def test_an_optimizer_is_added_to_every_suite_that_lacks_it():
    changed, notices = apply(SUITE, OTHER, optimizers=["momentum"])
    assert [each["optimizer"] for each in changed] == [[{"name": "momentum"}]] * 2
    assert notices == ["suite 'mine' has no optimizer 'momentum': added with its defaults"]


# Numbers.


def test_options_go_to_the_problems_that_take_them():
    changed, _ = apply(SUITE, OTHER, batch_size=7, data="auto", dtype="float64")
    assert changed[0]["problem"] == [{"name": "anisotropic", "dtype": "float64"}]
    assert changed[1]["problem"] == [
        {"name": "mnist-mlp", "data": "auto", "batch_size": 7, "dtype": "float64"}
    ]


def iterations(suite, **flags):
    changed, _ = apply(suite, **flags)
    return resolve(parse_suite(changed[0], "test")).problems[0].iterations


def test_iterations_and_epochs_take_each_others_place():
    in_epochs = OTHER | {"problem": [{**OTHER["problem"][0], "epochs": 3, "batch_size": 35}]}
    assert iterations(in_epochs) == 300
    assert iterations(in_epochs, iterations=5) == 5
    assert iterations(in_epochs, epochs=2) == 200
    assert iterations(OTHER | {"iterations": 9}, epochs=1, batch_size=350) == 10
    assert iterations(SUITE | {"iterations": 9}, iterations=4) == 4


def test_epochs_leave_alone_what_has_none():
    changed, _ = apply(SUITE | {"iterations": 9}, OTHER, epochs=2)
    assert changed[0]["problem"] == [{"name": "anisotropic"}]
    assert changed[1]["problem"][0]["epochs"] == 2


@pytest.mark.parametrize(("given", "seeds"), [(3, [0, 1, 2]), ("3,7", [3, 7]), ([5, 4], [5, 4])])
def test_seeds_count_or_are_named(given, seeds):
    (changed,), _ = apply(seeds=given)
    assert changed["seeds"] == seeds


def test_a_name_is_for_one_suite():
    (changed,), _ = apply(name="x")
    assert changed["name"] == "x"
    assert refused(SUITE, OTHER, name="x") == "--name takes one suite, not 2; run them one by one"
    (changed,), _ = apply(name="café / (0.1)")
    assert changed["name"] == "café / (0.1)"
    assert "it has 256 characters; use at most 255" in refused(name="n" * 256)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"iterations": 0}, "--iterations 0: it must be at least 1"),
        ({"iterations": -3}, "--iterations -3: it must be at least 1"),
        ({"epochs": 0}, "--epochs 0: it must be at least 1"),
        ({"iterations": 1, "epochs": 1}, "--iterations and --epochs exclude each other"),
        ({"epochs": 1}, "--epochs means nothing to anisotropic; leave it out"),
        ({"batch_size": 1}, "--batch-size means nothing to anisotropic; leave it out"),
        ({"data": "mnist"}, "--data means nothing to anisotropic; leave it out"),
        ({"seeds": 0}, "seeds = 0; at least 1 seed is needed"),
        ({"seeds": 10**12}, "seeds = 1000000000000; at most 1000000 seeds are possible"),
        ({"seeds": "1,1"}, "seeds '1,1' are malformed"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(flags, says):
    assert refused(**flags).startswith(says)


LABEL_IS_A_NAME = {
    "name": "x",
    "problem": [{"name": "anisotropic", "adam": {"lr": 2.0}}],
    "optimizer": [{"name": "adam"}, {"name": "adam", "label": "swept", "grid": {"lr": [0.1, 0.2]}}],
}


def test_a_label_that_is_another_entrys_name_means_its_own_entry_only():
    assert lr(LABEL_IS_A_NAME) == {"adam": [2.0], "swept": [0.1, 0.2]}
    assert lr(LABEL_IS_A_NAME, sets=["adam.lr=3"]) == {"adam": [3.0], "swept": [0.1, 0.2]}
    assert lr(LABEL_IS_A_NAME, sets=["swept.lr=3"]) == {"adam": [2.0], "swept": [3.0]}
    assert lr(LABEL_IS_A_NAME, optimizers=["swept"]) == {"swept": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (1, 1),
        (0.1, 0.1),
        (True, True),
        ("0.1", "0.1"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((0.9, np.float64(0.99)), [0.9, 0.99]),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
    ],
)
def test_a_value_keeps_its_type(value, plain):
    (changed,), _ = apply_python(set={"sgd.lr": value})
    found = changed["optimizer"][0]["lr"]
    assert (found, type(found)) == (plain, type(plain))


def apply_python(**options):
    ((changed, notices),) = apply_request([parse_suite(SUITE, "test")], RunRequest(**options))
    return [changed.as_written()], notices


@pytest.mark.parametrize(
    "values", [[0.1, 1], (0.1, 1), np.array([0.1, 1.0]), "0.1,1", (each for each in (0.1, 1))]
)
def test_a_grid_is_any_sequence_of_numbers_or_text(values):
    (changed,), _ = apply_python(grid={"v1.0.lr": values})
    assert changed["optimizer"][2]["grid"] == {"lr": [0.1, 1.0]}


def test_numbers_of_numpy_are_numbers_everywhere():
    (changed,), _ = apply_python(
        seeds=np.arange(3, 5), iterations=np.int32(7), stop={"loss": np.float32(0.5)}
    )
    assert changed["seeds"] == [3, 4]
    assert changed["problem"][0]["iterations"] == 7
    assert changed["problem"][0]["stop"] == {"loss": 0.5}


@pytest.mark.parametrize("option", ["set", "grid"])
def test_names_from_python_without_a_target_show_what_it_may_be(option):
    with pytest.raises(
        SuiteError, match=f"^--{option} 'lr' names no optimizer; write '\\*.lr' for"
    ):
        apply_python(**{option: {"lr": 1}})


@pytest.mark.parametrize("option", ["set", "grid"])
@pytest.mark.parametrize("name", [".lr", "sgd.", ""])
def test_names_from_python_show_the_right_form(option, name):
    with pytest.raises(SuiteError, match=f"^--{option} '{re.escape(name)}' is malformed; write TA"):
        apply_python(**{option: {name: 1}})


def test_rules_that_are_unknown_name_the_nearest():
    with pytest.raises(SuiteError, match="unknown key 'problem 1 stop los'; did you mean 'loss'"):
        apply_python(stop={"los": 1})
