"""A study is written and read back whole; what is damaged or newer is named in one line."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optbench.errors import ResultsError
from optbench.records import SCHEMA_VERSION, TRIAL_COLUMNS
from optbench.report.configurations import RANKED_BY
from optbench.store import studies
from optbench.store.lock import locked
from optbench.store.reader import read_run
from optbench.store.studies import (
    is_study,
    new_study_directory,
    read_study,
    read_tune,
    run_name,
    write_trials,
    write_tune,
)
from tests.studies import META, make_study, trials


@pytest.fixture
def study(tmp_path, finished):
    return make_study(tmp_path, "search-000", "final", run=finished)


def refused(study) -> str:
    with pytest.raises(ResultsError) as caught:
        read_study(study)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change(study, **changes):
    meta = json.loads((study / "tune.json").read_text("utf-8")) | changes
    (study / "tune.json").write_text(json.dumps(meta), encoding="utf-8")


def test_a_study_has_a_directory_of_its_own(tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    paths = [new_study_directory(tmp_path / "results", "A suite: " + "x" * 300) for _ in range(2)]
    assert paths[0] != paths[1]
    for path in paths:
        assert path.is_dir()
        assert path.parent == tmp_path / "results"
        name, started, number = path.name.rsplit("-", 2)
        assert (
            name == ("A suite: " + "x" * 300).replace(": ", "-").replace(" ", "-")[:120] + "-tune"
        )
        started = datetime.strptime(started, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert before <= started <= datetime.now(UTC)
        assert len(number) == 8
        assert len(path.name.encode()) <= 255


def test_a_study_is_read_as_it_was_written(study):
    found = read_study(study)
    assert found.path == study
    assert found.meta == {"schema_version": SCHEMA_VERSION, **META}
    pd.testing.assert_frame_equal(found.final.trace, read_run(study / "final").trace)
    schema = pq.read_schema(study / "trials.parquet")
    names = [*TRIAL_COLUMNS]
    place = names.index("round") + 1
    names[place:place] = ["hp_lr", "u_lr", "hp_schedule", "u_schedule"]
    assert schema.names == names
    kinds = {name: str(field.type) for name, field in zip(schema.names, schema, strict=True)}
    written = {"float64": "double", "string": "string"}
    for name, kind in TRIAL_COLUMNS.items():
        assert kinds[name] == written.get(kind, kind)
    assert kinds["hp_lr"] == kinds["u_lr"] == kinds["u_schedule"] == "double"
    assert kinds["hp_schedule"] == "string"
    pd.testing.assert_frame_equal(
        found.trials, trials()[names], check_dtype=False, check_exact=True
    )
    assert np.isposinf(found.trials["score"]).tolist() == [False, True] * 2
    nulls = pq.read_table(study / "trials.parquet")["validation_loss"].null_count
    assert nulls == len(found.trials)
    assert found.trials["chosen"].dtype == bool


def test_numbers_beside_words_are_text_and_scores_that_are_not_finite_are_null(tmp_path):
    table = trials()
    table["hp_lr"] = [0.1, "auto", 0.3, np.nan]
    study = make_study(tmp_path, winners=[META["winners"][0] | {"search_score": np.inf}])
    write_trials(study, table)
    found = read_study(study)
    assert found.trials["hp_lr"].fillna("").tolist() == ["0.1", "auto", "0.3", ""]
    assert found.meta["winners"][0]["search_score"] is None


def test_only_the_rows_that_are_wanted_are_read_of_the_final(study):
    found = read_study(study, RANKED_BY)
    pd.testing.assert_frame_equal(found.final.trace, read_run(study / "final", RANKED_BY).trace)
    assert len(found.final.trace) < len(read_run(study / "final").trace)


def test_a_study_without_final_has_none_and_before_a_round_has_ended_no_trials(tmp_path):
    study = make_study(tmp_path, "search-000", status="interrupted")
    assert read_study(study).final is None
    assert len(read_study(study).trials) == 4
    (study / "trials.parquet").unlink()
    assert read_study(study).trials.empty
    assert [*read_study(study).trials.columns] == [*TRIAL_COLUMNS]
    change(study, status="done")
    assert refused(study).startswith(f"'{study / 'trials.parquet'}' is missing or damaged: ")


def test_a_study_that_nobody_tunes_is_interrupted(tmp_path):
    study = make_study(tmp_path, status="running", ended=None)
    assert read_tune(study)["status"] == "interrupted"
    with locked(study):
        assert read_tune(study)["status"] == "running"
        again = locked(study, seconds=0.0)
        with pytest.raises(ResultsError, match="is being written by another process"), again:
            pass


def test_what_changes_while_it_is_read_is_read_again(study, monkeypatch):
    real, changes = studies.read_table, [{"ended": "later"}]

    def read_table(*arguments, **options):
        if changes:
            change(study, **changes.pop())
        return real(*arguments, **options)

    monkeypatch.setattr(studies, "read_table", read_table)
    assert read_study(study).meta["ended"] == "later"


def test_what_is_no_study_is_said_to_be_none(study, finished):
    assert is_study(study)
    assert not is_study(finished)
    assert not is_study(study / "final")
    assert refused(finished) == f"'{finished}' is not a study: it holds no tune.json"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": None}, "was not written by optbench: it has no schema_version"),
        ({"schema_version": SCHEMA_VERSION + 1}, "install a newer optbench"),
        ({"budget": {"given": "4 trials", "amount": 4}}, "is damaged: budget.unit: it is missing"),
        ({"rounds": [{"phase": "search"}]}, "is damaged: rounds.0.run: it is missing"),
        ({"sampler": 3}, "is damaged: sampler: it must be text"),
        ({"halving": {"eta": float("nan")}}, "is damaged: it holds a number that is not finite"),
    ],
)
def test_a_tune_json_that_readers_cannot_rely_on_is_refused(study, changes, said):
    change(study, **changes)
    assert refused(study).startswith(f"'{study / 'tune.json'}' ")
    assert said in refused(study)


def test_half_a_tune_json_is_named(study):
    (study / "tune.json").write_text("{", encoding="utf-8")
    assert refused(study).startswith(f"'{study / 'tune.json'}' cannot be read: ")


@pytest.mark.parametrize(
    ("change_rows", "said"),
    [
        (lambda table: table.slice(0, 0), "holds no trials"),
        (lambda table: table.drop_columns(["score"]), "is missing or damaged: "),
        (
            lambda table: pa.concat_tables([table, table.slice(1, 1)]),
            "is damaged: it holds problem booth, label adam, trial 1, phase search twice",
        ),
        (
            lambda table: table.set_column(3, "trial", pa.nulls(4, pa.int32())),
            "column 'trial' has gaps",
        ),
    ],
)
def test_damaged_trials_are_named(study, change_rows, said):
    file = study / "trials.parquet"
    pq.write_table(change_rows(pq.read_table(file)), file)
    assert refused(study).startswith(f"'{file}' ")
    assert said in refused(study)


def test_what_somebody_else_wrote_does_no_more_than_show_itself(study):
    evil = "a\x1b[31m"
    change(study, suite={"name": evil}, sampler=evil, spaces={evil: {evil: {evil: evil}}})
    found = read_study(study).meta
    shown = "a\\x1b[31m"
    assert found["suite"]["name"] == found["sampler"] == shown
    assert found["spaces"] == {shown: {shown: {shown: shown}}}


def test_rounds_are_named_with_their_study(study, finished, monkeypatch):
    assert run_name(study / "final") == study.name
    assert run_name(study / "search-000") == f"{study.name}/search-000"
    assert run_name(finished) == finished.name
    monkeypatch.chdir(study / "final")
    assert run_name(study.__class__("../search-000")) == f"{study.name}/search-000"


def test_tune_json_is_replaced_at_once(study):
    write_tune(study, META | {"status": "failed"})
    assert read_tune(study)["status"] == "failed"
    assert sorted(path.name for path in study.iterdir()) == [
        "final",
        "search-000",
        "trials.parquet",
        "tune.json",
    ]
