"""Studies that go on: only as they began, whatever has become of them or around them."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optbench.errors import OptbenchError, ResultsError, SuiteError
from optbench.plugins.cache import new_code_cache
from optbench.records import Status
from optbench.runs import resume
from optbench.runs.invocation import Execution
from optbench.store.studies import read_study
from optbench.tuning import study, tpe
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.study import Step, StudyResult, resume_study, tune
from tests.refusal import refusal
from tests.slow import assert_same_study

RULE = """
from optbench.optimizers import Elementwise, Hyperparameter


class Plain(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)
"""

SUITE = {
    "name": "small",
    "iterations": 5,
    "seeds": [0, 1],
    "problem": [{"name": "noisy-rosenbrock"}, {"name": "anisotropic"}],
    "optimizer": [
        {"name": "mine.py:Plain", "space": {"lr": "log(1e-5, 1e-3)"}},
        {"name": "sgd", "grid": {"lr": "1e-5:1e-3:40"}},
    ],
}

SMALL: Mapping[str, Any] = {
    "suite": SUITE,
    "budget": "5 trials",
    "trial_seeds": 2,
    "finalists": 2,
    "finalist_seeds": 1,
}


class Killed(BaseException):
    """Ends a study as a kill does: nothing is written any more."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda opened: None)
    Path("mine.py").write_text(RULE, encoding="utf-8")


def killed_at(run: str, **options: Any) -> Path:
    """Return a study that was killed when a round was to begin."""

    def announce(step: Step) -> None:
        if step.run == run:
            raise Killed

    with new_code_cache(), pytest.raises(Killed):
        tune(TuneRequest(**{**SMALL, **options}), Execution(workers=1), announce=announce)
    (path,) = Path("results").iterdir()
    return path


def resumed(path: Path, **options: Any) -> StudyResult:
    with new_code_cache():
        return resume_study(path, Execution(workers=1), **options)


def refused(path: Path, error: type[OptbenchError] = ResultsError, **options: Any) -> str:
    """Return why a study does not go on, which leaves it as it was."""
    before = (path / "tune.json").read_bytes()
    message = refusal(error, resumed, path, **options)
    assert (path / "tune.json").read_bytes() == before
    return message


def change(path: Path, *steps: Any, to: Any) -> None:
    """Change a value in tune.json."""
    meta = json.loads((path / "tune.json").read_text())
    inner = meta
    for step in steps[:-1]:
        inner = inner[step]
    if to is None:
        del inner[steps[-1]]
    else:
        inner[steps[-1]] = to
    (path / "tune.json").write_text(json.dumps(meta))


def test_what_was_made_stays_told_while_it_is_read_again():
    path = killed_at("final")
    before = json.loads((path / "tune.json").read_text())
    trials = (path / "trials.parquet").read_bytes()
    seen = []

    def announce(step: Step) -> None:
        now = json.loads((path / "tune.json").read_text())
        assert now["rounds"] == before["rounds"]
        assert now["winners"] == before["winners"]
        assert (path / "trials.parquet").read_bytes() == trials or step.run == "final"
        seen.append(step.run)

    resumed(path, announce=announce)
    assert seen == ["search-000", "finalists", "final"]
    (resumption,) = json.loads((path / "tune.json").read_text())["resumes"]
    assert [*resumption] == ["resumed"]


@pytest.mark.parametrize("lost", ["search-000", "finalists", "trials.parquet"])
def test_what_is_missing_or_damaged_is_made_again_to_the_same_bits(lost, tmp_path):
    path = killed_at("final")
    shutil.copytree(path, tmp_path / "other")
    if lost == "trials.parquet":
        (path / lost).write_bytes(b"PAR1")
    else:
        shutil.rmtree(path / lost)
    assert resumed(path).status is Status.DONE
    assert resumed(tmp_path / "other").status is Status.DONE
    assert_same_study(path, tmp_path / "other")


def test_a_round_that_is_damaged_is_told():
    path = killed_at("finalists")
    (file,) = (path / "search-000" / "trace").glob("block-00000.parquet")
    file.write_bytes(file.read_bytes()[:-10])
    assert "is missing or damaged" in refusal(ResultsError, resumed, path)


@pytest.mark.parametrize("where", ["finalists", "final"])
def test_a_rule_that_has_changed_since_is_refused(where):
    path = killed_at(where)
    Path("mine.py").write_text(RULE.replace("lr * g", "2 * lr * g"), encoding="utf-8")
    assert refusal(ResultsError, resumed, path) == (
        f"'{path}/search-000' cannot be resumed: lane 0 (Plain on noisy-rosenbrock) is another "
        "one now, since its data, code or defaults have changed"
    )
    Path("mine.py").unlink()
    assert "there is no file 'mine.py'" in refused(path, SuiteError)


def test_another_environment_is_refused_between_rounds_too_unless_forced(monkeypatch):
    path = killed_at("finalists")
    real = study.describe_environment()
    for module in (study, resume):
        monkeypatch.setattr(module, "describe_environment", lambda: {**real, "python": "3.9"})
    message = refused(path)
    assert message.startswith(f"'{path}' was begun in another environment (python: ")
    assert message.endswith("--force resumes it anyway and records that")
    assert resumed(path, force=True).status is Status.DONE
    (resumption,) = read_study(path).meta["resumes"]
    assert resumption["environment"]["python"] == "3.9"


def test_another_optuna_would_propose_other_trials(monkeypatch):
    path = killed_at("finalists")
    change(path, "sampler", to="tpe")
    change(path, "optuna", to="4.5.0")
    monkeypatch.setattr(tpe, "optuna_version", lambda: "5.0.0")
    assert "(optuna: 4.5.0 then, 5.0.0 now)" in refused(path)


def test_a_study_of_an_earlier_optbench_or_one_that_has_ended_does_not_go_on():
    path = killed_at("finalists")
    change(path, "schema_version", to=1)
    assert "was begun by an earlier optbench" in refused(path)
    change(path, "schema_version", to=3)
    resumed(path)
    assert refused(path) == f"'{path}' has ended (done): there is nothing to resume"


@pytest.mark.parametrize(
    ("steps", "to", "reason"),
    [
        (["spaces"], None, "spaces: it is missing"),
        (["spaces", "anisotropic", "sgd", "lr"], 3, "spaces.anisotropic.sgd.lr: "),
        (["spaces", "anisotropic", "sgd"], None, "spaces does not fit its suite"),
        (["space_sources", "anisotropic"], None, "space_sources does not fit its suite"),
        (["budget", "trials", "anisotropic", "Plain"], 0, "budget.trials.anisotropic.Plain: "),
        (["budget", "seconds_per_step"], {}, "budget.seconds_per_step does not fit its suite"),
        (["budget", "amount"], "many", "budget.amount: "),
        (["metric", "anisotropic"], "test_loss", "metric.anisotropic: "),
        (["metric", "booth"], "final_loss", "metric does not fit its suite"),
        (["evaluation_seeds"], [1_000_000], "a seed is there twice; none may choose and judge"),
        (["finalist_seeds"], [0], "a seed is there twice; none may choose and judge"),
        (["tuning_seeds"], [], "tuning_seeds: "),
        (["finalists"], -1, "finalists: "),
        (["batch"], 0, "batch: "),
        (["suite", "resolved"], None, "suite.resolved: it is missing"),
    ],
)
def test_a_tune_json_that_is_damaged_is_told(steps, to, reason):
    path = killed_at("finalists")
    change(path, *steps, to=to)
    message = refused(path)
    assert message.startswith(f"'{path}/tune.json' is damaged: {reason}"), message


@pytest.mark.parametrize(
    ("steps", "to"),
    [
        (["spaces", "anisotropic", "Plain", "lr"], "log(1e-5, 1e-2)"),
        (["spaces", "anisotropic", "Plain"], {"momentum": "log(1e-5, 1e-2)"}),
        (["budget", "trials", "anisotropic", "Plain"], 6),
        (["tuning_seeds"], [7, 8]),
        (["suite", "resolved", "problem", 0, "iterations"], 6),
    ],
)
def test_a_protocol_that_was_changed_does_not_fit_the_rounds_that_are_there(steps, to):
    path = killed_at("finalists")
    change(path, *steps, to=to)
    message = refusal(OptbenchError, resumed, path)
    assert "another one now" in message or "began with" in message or "has no" in message


def test_seconds_of_a_step_are_measured_once(monkeypatch):
    measured: Callable[..., Any] = study.step_seconds
    # What the machine measures, while others use it too, may buy no trial.
    monkeypatch.setattr(study, "step_seconds", lambda *given: dict.fromkeys(measured(*given), 1e-4))
    path = killed_at("finalists", budget="0.01 s", suite={**SUITE, "optimizer": [{"name": "sgd"}]})
    monkeypatch.setattr(study, "step_seconds", lambda *given: pytest.fail("measured again"))
    before = json.loads((path / "tune.json").read_text())["budget"]
    assert resumed(path).status is Status.DONE
    after = json.loads((path / "tune.json").read_text())["budget"]
    assert after == before
    trials = pd.read_parquet(path / "trials.parquet").query("phase == 'search'")
    counts = trials.groupby("problem").size().to_dict()
    assert counts == {problem: labels["sgd"] for problem, labels in before["trials"].items()}
