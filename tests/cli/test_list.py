"""``optbench list``: everything that there is."""

import json

import pytest
from rich.cells import cell_len

from optbench.engine.executor import usable_cores
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.registry import PROBLEMS
from optbench.store.lock import locked
from optbench.store.studies import write_tune
from optbench.suite.format import builtin_suites
from tests.cli.command import meta, optbench, run
from tests.studies import META, NAME, make_study


def rows(cwd, *arguments):
    """Return the words of each line below the headings."""
    seen = optbench("list", *arguments, cwd=cwd)
    assert (seen.code, seen.err) == (0, "")
    assert "\x1b" not in seen.out
    lines = [line.split() for line in seen.out.splitlines()]
    ruler = next(index for index, line in enumerate(lines) if set("".join(line)) == {"─"})
    return [line for line in lines[ruler + 1 :] if line and set("".join(line)) != {"─"}]


def folded(lines):
    """Return the text of one row whose last cell takes several lines."""
    return " ".join(word for line in lines for word in line)


def test_suites_with_what_they_hold(tmp_path):
    listed = {row[0]: " ".join(row) for row in rows(tmp_path, "suites")}
    assert builtin_suites().keys() <= listed.keys()
    assert "sgd, momentum, adagrad, adam 30 " in listed["anisotropic"]
    assert " 2000 " in listed["mnist-mlp"]
    assert "problems" not in listed["mnist-mlp"]
    assert "; problems: 24 of them" in " ".join(
        optbench("list", "suites", cwd=tmp_path).out.split()
    )


def test_problems_with_what_they_are(tmp_path):
    listed = rows(tmp_path, "problems")
    assert [row[0] for row in listed if row[0] in PROBLEMS] == list(PROBLEMS)
    (shown,) = (row for row in listed if row[0] == "anisotropic")
    assert shown[1:3] == ["function", "30"]


def test_a_problem_with_its_options(tmp_path):
    listed = rows(tmp_path, "problems", "mnist-mlp")
    names = [option.name for option in PROBLEMS["mnist-mlp"].options]
    assert [row[0] for row in listed if row[0] in names] == names
    assert ["batch_size", "128", "[1,", "∞)", "|", "full", "examples", "a", "minibatch"] in listed


def test_the_options_of_an_unknown_problem_are_refused(tmp_path):
    seen = optbench("list", "problems", "mnist-mpl", cwd=tmp_path)
    assert (seen.code, seen.out) == (2, "")
    assert "did you mean 'mnist-mlp'" in seen.err


def optimizer_tables(cwd):
    """Return the rows of the three tables: rules, presets, and what any optimizer takes."""
    listed = rows(cwd, "optimizers")
    starts = [
        next(place for place, row in enumerate(listed) if row[: len(words)] == words)
        for words in (["preset", "rule"], ["any", "optimizer"])
    ]
    return listed[: starts[0]], listed[starts[0] + 1 : starts[1]], listed[starts[1] + 1 :]


def shown(value):
    return value if isinstance(value, str) else f"{value:g}"


def test_optimizers_with_defaults_and_ranges_of_every_hyperparameter(tmp_path):
    listed, _, common = optimizer_tables(tmp_path)
    entries = [
        [one.name, shown(one.default), *one.range.split(), *one.meaning.split()]
        for optimizer in OPTIMIZERS.values()
        for one in optimizer.hyperparameters
    ]
    names = {entry[0] for entry in entries}
    assert [row for row in listed if row[0] in names - OPTIMIZERS.keys()] == [
        # "momentum" is an optimizer and a hyperparameter of it
        entry
        for entry in entries
        if entry[0] not in OPTIMIZERS
    ]
    assert ["momentum", "0.9", "[0,", "1)", "share", "of", "the", "velocity", "kept"] in listed
    assert ["adam:", *OPTIMIZERS["adam"].summary.split()] in listed
    place = [row[0] for row in listed].index("adam:")
    assert ["eps_place", "uncorrected", "uncorrected", "|", "corrected"] in [
        row[:5] for row in listed[place : place + 7]
    ]
    assert [row[0] for row in common if row[0] in COMMON] == list(COMMON)


def test_presets_with_their_rules_and_settings(tmp_path):
    _, listed, _ = optimizer_tables(tmp_path)
    assert listed == [
        [
            name,
            preset.rule.name,
            *", ".join(f"{key}={shown(value)}" for key, value in preset.settings.items()).split(),
            *preset.summary.split(),
        ]
        for name, preset in PRESETS.items()
    ]
    assert ["adam-torch", "adam", "eps=1e-08,", "eps_place=corrected"] in [
        row[:4] for row in listed
    ]


def test_names_are_whole_in_a_narrow_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr("optbench.display.screen.PIPE_COLUMNS", 80)
    seen = optbench("list", "optimizers", cwd=tmp_path).out
    assert max(cell_len(line) for line in seen.splitlines()) <= 80
    assert "…" not in seen
    words = set(seen.replace(":", "").split())
    assert OPTIMIZERS.keys() | PRESETS.keys() | COMMON.keys() <= words
    assert {each.name for kind in OPTIMIZERS.values() for each in kind.hyperparameters} <= words


def test_datasets_are_those_of_data_list(tmp_path):
    listed = rows(tmp_path, "datasets")
    known = ["mnist", "fashion-mnist", "kmnist", "mnist-5k", "digits"]
    assert [row[0] for row in listed] == [*known, "FILE"]
    assert (
        optbench("list", "datasets", cwd=tmp_path).out == optbench("data", "list", cwd=tmp_path).out
    )


CARD = {"number": 1, "name": "Some [fine] card", "memory_bytes": 80 * 2**30}


@pytest.mark.parametrize(
    ("reason", "cards", "gpu"),
    [
        (None, [CARD], "gpu:1 yes 80 GiB Some [fine] card"),
        ("buy [a] GPU", [], "gpu no buy [a] GPU"),
    ],
)
def test_devices_say_why_there_is_no_gpu(tmp_path, monkeypatch, reason, cards, gpu):
    monkeypatch.setattr("optbench.cli.list_.why_no_gpu", lambda: reason)
    monkeypatch.setattr("optbench.cli.list_.list_gpus", lambda: cards)
    listed = [" ".join(" ".join(row).split()) for row in rows(tmp_path, "devices")]
    assert listed == [f"cpu yes NumPy on {usable_cores()} cores", gpu]


def test_runs_are_listed_oldest_first_and_damaged_ones_named(tmp_path):
    assert rows(tmp_path, "runs") == []
    first = run("quadratic-1d", "--iterations", 1, cwd=tmp_path)
    second = run("anisotropic", "-o", "sgd", "--set", "*.lr=1e200", cwd=tmp_path, code=4)
    foreign = tmp_path / "results" / "not-ours"
    foreign.mkdir()
    (foreign / "run.json").write_text("{}")
    listed = rows(tmp_path, "runs")
    assert [row[:3] for row in listed[:2]] == [
        [first.name, "done", "quadratic-1d"],
        [second.name, "diverged", "anisotropic"],
    ]
    started = meta(first)["started"]
    assert listed[0][3:] == [started[:10], started[11:19], meta(first)["invocation_id"]]
    assert listed[2][:2] == ["not-ours", "damaged"]
    assert "it has no schema_version" in folded(listed[2:])


@pytest.mark.parametrize("key", ["started", "status", "invocation_id", "suite"])
def test_a_run_json_that_lacks_something_is_damaged(tmp_path, key):
    path = run("quadratic-1d", "--iterations", 1, cwd=tmp_path)
    lacking = {name: value for name, value in meta(path).items() if name != key}
    (path / "run.json").write_text(json.dumps(lacking))
    listed = rows(tmp_path, "runs")
    assert listed[0][:2] == [path.name, "damaged"]
    assert f"is damaged: {key}: it is missing" in folded(listed)


def test_runs_elsewhere(tmp_path):
    run("quadratic-1d", "--iterations", 1, "--out", "other", cwd=tmp_path)
    assert len(rows(tmp_path, "runs", "--out", "other")) == 1
    assert rows(tmp_path, "runs") == []


def test_a_run_that_ended_before_it_began_is_listed(tmp_path):
    path = tmp_path / "results" / "short-20260131T235959Z-0123abcd"
    path.mkdir(parents=True)
    listed, note = rows(tmp_path, "runs")
    assert listed[:5] == [path.name, "interrupted", "short", "2026-01-31", "23:59:59"]
    assert "optbench clean removes it" in folded([note])
    with locked(path):
        assert rows(tmp_path, "runs") == [], "it is just beginning"


def test_a_study_is_one_line_that_says_what_it_tries_and_how_far_it_is(tmp_path):
    out = tmp_path / "results"
    study = make_study(out, "search-000")
    listed = rows(tmp_path, "runs")
    assert listed[0] == [NAME, "done", "small", "2026-01-04", "00:00:00", "study"]
    said = f"{NAME}: 4 trials each of adam, sgd, by final_loss; search-000"
    assert folded(listed).endswith(said)
    (study / "search-000" / "run.json").unlink()
    budget = META["budget"] | {"trials": {"booth": {"adam": 4}, "beale": {"sgd": 8}}}
    write_tune(study, META | {"status": "running", "budget": budget})
    listed = rows(tmp_path, "runs")
    assert listed[0][:3] == [NAME, "interrupted", "small"]
    said = f"{NAME}: 4 to 8 trials each of adam, sgd, by final_loss; not begun"
    assert folded(listed).endswith(said)
    (study / "tune.json").write_text("{}")
    assert rows(tmp_path, "runs")[0][:2] == [NAME, "damaged"]
