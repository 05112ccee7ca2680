"""Studies of what is seldom tuned: each is right, or refused in one line before anything is run."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optbench.errors import SuiteError
from optbench.plugins.cache import new_code_cache
from optbench.records import Status
from optbench.runs.invocation import Execution
from optbench.store.studies import read_study
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.scores import recorded
from optbench.tuning.settling import settle
from optbench.tuning.study import StudyResult, tune
from tests.refusal import refusal

FUNCTION = {"name": "anisotropic"}
NOISY = {"name": "noisy-rosenbrock"}
SGD = {"name": "sgd", "space": {"lr": "log(1e-5, 1e-3)"}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda opened: None)


def request(optimizers: Any, problems: Any = (FUNCTION,), **options: Any) -> TuneRequest:
    suite = {
        "name": "small",
        "iterations": 6,
        "seeds": options.pop("suite_seeds", [0, 1]),
        "problem": list(problems),
        "optimizer": list(optimizers),
    }
    small = {"budget": "5 trials", "trial_seeds": 2, "finalists": 2, "finalist_seeds": 2}
    return TuneRequest(suite=suite, **{**small, **options})


def study(asked: TuneRequest) -> StudyResult:
    with new_code_cache():
        return tune(asked, Execution(workers=1))


def refused(*arguments: Any, **options: Any) -> str:
    """Return why a study is refused, of which nothing is left."""
    message = refusal(SuiteError, study, request(*arguments, **options))
    assert not Path("results").exists()
    return message


def trials(result: StudyResult) -> pd.DataFrame:
    return read_study(result.path).trials


def test_a_stochastic_function_beside_others_needs_no_validation_split():
    result = study(request([SGD], [FUNCTION, NOISY]))
    assert result.status is Status.DONE
    table = trials(result)
    counts = table.groupby(["problem", "phase"])["seeds"].agg(["size", "sum"])
    assert counts.to_dict("index") == {
        ("anisotropic", "search"): {"size": 5, "sum": 5},
        ("noisy-rosenbrock", "search"): {"size": 5, "sum": 10},
        ("noisy-rosenbrock", "finalists"): {"size": 2, "sum": 4},
    }


def test_each_value_of_a_problems_grid_is_tuned_as_a_problem_of_its_own():
    asked = request(
        [{"name": "sgd", "lr": 1e-4}],
        [{**FUNCTION, "grid": {"start_spread": [0.0, 0.1]}}, NOISY],
        grid={"noisy-rosenbrock.batch_size": [1, 2], "sgd.lr": [1e-5, 1e-4, 1e-3, 1e-2, 2e-2]},
        sampler="grid",
    )
    result = study(asked)
    titles = [
        "anisotropic (start_spread=0.0)",
        "anisotropic (start_spread=0.1)",
        "noisy-rosenbrock (batch_size=1)",
        "noisy-rosenbrock (batch_size=2)",
    ]
    assert [each.entrant.problem for each in result.winners] == titles
    assert [each.entrant.random for each in result.winners] == [False, True, True, True]
    final = pd.read_parquet(result.path / "final" / "lanes.parquet")
    assert sorted(final["problem"].unique()) == titles
    assert set(final.loc[final["label"] == "sgd (default)", "hp_lr"]) == {1e-4}


@pytest.mark.parametrize("label", ["name", "iterations", "start_spread"])
def test_an_optimizer_called_like_an_option_of_a_problem_is_refused(label):
    assert refused([{**SGD, "label": label}]) == (
        f"an optimizer called '{label}' cannot be tuned on anisotropic, which has an option of "
        "that name; give it another label"
    )


def test_labels_that_the_final_could_not_have_are_refused_before_the_search():
    same = refused([SGD, {**SGD, "label": "sgd (default)"}])
    assert "there are two called 'sgd (default)'; give one of them another label" in same
    assert "use at most 255" in refused([{**SGD, "label": "x" * 250}])
    result = study(request([SGD, {**SGD, "label": "sgd (default)"}], defaults=False))
    first, second = (each.trial.values for each in result.winners)
    assert first == second


def test_only_seeds_that_choose_may_not_judge():
    message = "seed 1000003 would choose and judge: tuning seeds are 1000000 to 1000003"
    assert message in refused([SGD], [NOISY], suite_seeds=[0, 1000003])
    study(request([SGD], [NOISY], suite_seeds=[0, 1000004]))
    study(request([SGD], [NOISY], suite_seeds=[0, 1000003], finalists=0))


def test_trials_that_are_the_same_share_their_lanes():
    entry = {"name": "sgd", "space": {"lr": "choice(1e-4, 2e-4)"}}
    result = study(request([entry], [NOISY], budget="12 trials"))
    lanes = pd.read_parquet(result.path / "search-000" / "lanes.parquet")
    assert len(lanes) == 2 * 2
    table = trials(result).query("phase == 'search'")
    assert len(table) == 12
    assert table.groupby("hp_lr")["score"].nunique().tolist() == [1, 1]
    best = table.loc[table["score"] == table["score"].min(), "trial"].min()
    assert result.winners[0].trial.number == best


def test_words_are_tried_and_shown_as_lanes_have_them():
    space = {"lr": "log(1e-3, 1)", "schedule": "choice(constant, cosine)", "warmup": "int(0, 2)"}
    result = study(request([{"name": "adam", "space": space}]))
    lanes = pd.read_parquet(result.path / "search-000" / "lanes.parquet")
    table = trials(result)
    for name in ("hp_lr", "hp_schedule", "hp_warmup"):
        assert table[name].tolist() == lanes[name].tolist()
    meta = json.loads((result.path / "tune.json").read_text())
    (winner,) = meta["winners"]
    chosen = table[table["chosen"]].iloc[0]
    assert winner["hyperparameters"] == {
        "lr": chosen["hp_lr"],
        "schedule": chosen["hp_schedule"],
        "warmup": chosen["hp_warmup"],
    }


def test_lists_and_switches_of_other_libraries_are_tried_and_shown_as_lanes_have_them():
    pytest.importorskip("torch")
    space = {"betas": "choice([0.9, 0.99], [0.8, 0.9])", "amsgrad": "choice(true, false)"}
    result = study(request([{"name": "torch:AdamW", "space": space}], sampler="grid"))
    lanes = pd.read_parquet(result.path / "search-000" / "lanes.parquet")
    table = trials(result)
    for name in ("hp_betas", "hp_amsgrad"):
        assert table[name].tolist() == lanes[name].tolist()
    assert set(table["hp_betas"]) == {"[0.9, 0.99]", "[0.8, 0.9]"}


def test_what_trials_hold_of_values():
    values = [True, 3, 0.5, (0.9, None), "none", None]
    assert [recorded(value) for value in values] == [1.0, 3.0, 0.5, "[0.9, null]", "none", None]


RAISING = """
from optbench.optimizers import Hyperparameter, Optimizer


class Careful(Optimizer):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    def step(self, context):
        if (context.columns["lr"] > 0.1).any():
            raise ValueError("too large")
        context.params.rows[...] -= context.columns["lr"] * context.grads.rows
"""


def test_trials_whose_code_raises_are_the_worst_and_said():
    Path("mine.py").write_text(RAISING, encoding="utf-8")
    entry = {"name": "mine.py:Careful", "space": {"lr": "log(1e-3, 10)"}}
    result = study(request([entry, SGD]))
    assert result.status is Status.FAILED
    failures = [each for of_round in result.failures.values() for each in of_round]
    assert [failure.message for failure in failures] == ["ValueError: too large (mine.py, line 10)"]
    table = trials(result).query("label == 'Careful'")
    large = table["hp_lr"] > 0.1
    assert 0 < large.sum() < 5
    assert (table["score"] == math.inf).tolist() == large.tolist()
    assert (table["seeds_diverged"] > 0).tolist() == large.tolist()
    assert not result.hopeless


def test_an_optimizer_that_always_diverges_on_one_of_two_problems_is_hopeless_there():
    wild = {"name": "sgd", "space": {"lr": "log(5, 9)"}}
    result = study(request([wild], [NOISY, {"name": "quadratic-1d"}]))
    assert [each.problem for each in result.hopeless] == ["noisy-rosenbrock"]
    assert result.status is Status.DONE
    table = trials(result).query("problem == 'noisy-rosenbrock'")
    assert (table["score"] == math.inf).all()
    assert table.loc[table["chosen"], "trial"].unique().tolist() == [0]
    assert json.loads((result.path / "tune.json").read_text())["winners"][0]["search_score"] is None


def test_spaces_of_a_problem_are_its_own():
    own = {**FUNCTION, "sgd": {"space": {"lr": "log(0.1, 0.2)"}}}
    protocol = settle(request([SGD, {"name": "adam"}], [own, NOISY]), None, lambda suite: {})
    assert [(each.problem, each.label) for each in protocol.entrants if each.specific] == [
        ("anisotropic", "sgd")
    ]
    assert str(protocol.entrants[0].spaces["lr"]) == "log(0.1, 0.2)"
    assert str(protocol.entrants[2].spaces["lr"]) == "log(1e-05, 0.001)"
