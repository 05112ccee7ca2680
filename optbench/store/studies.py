"""A study's directory: what ``optbench tune`` writes beside the runs of its rounds.

The rounds are runs, each in a folder of the study: ``search-000`` and so on, ``finalists``,
``final``. Who tunes a study holds its lock (:func:`optbench.store.lock.locked`) from the start to
the end, and that of each run while it is made.
"""

from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import ResultsError, shown
from optbench.records import SCHEMA_VERSION, TRIAL_COLUMNS, Status, StudyTables
from optbench.store.columns import trial_table
from optbench.store.files import null_unless_finite, write_json, write_parquet
from optbench.store.reader import Keep, check_once, read_run, read_state, read_table
from optbench.store.writer import new_run_directory

if TYPE_CHECKING:
    import pandas as pd

TUNE = "tune.json"

TRIALS = "trials.parquet"

FINAL = "final"
"""Folder of the round that judges, which a RUN argument means that names the study."""


def new_study_directory(out: Path, name: str) -> Path:
    """Make and return ``<out>/<suite>-tune-<UTC time>-<hash>``, which was not there before."""
    return new_run_directory(out, name, "-tune")


def is_study(path: Path) -> bool:
    """Say whether a directory is that of a study."""
    return isfile(path / TUNE)


def run_name(run: Path) -> str:
    """Return the name of a run's directory, by which it is found under the results directory.

    A round's begins with that of its study; the final has the study's.
    """
    whole = run.resolve()
    if not is_study(whole.parent):
        return run.name
    return whole.parent.name if whole.name == FINAL else f"{whole.parent.name}/{whole.name}"


def write_tune(study: Path, meta: Mapping[str, Any]) -> None:
    """Write tune.json, which holds the fields of :class:`StudyTables` and ``schema_version``.

    Scores that are not finite are null.
    """
    write_json(
        study / TUNE, {"schema_version": SCHEMA_VERSION, **null_unless_finite(meta)}, indent=2
    )


def write_trials(study: Path, trials: "pd.DataFrame") -> None:
    """Write trials.parquet: :data:`TRIAL_COLUMNS`, and a column each for what was tried."""
    kinds, columns = trial_table(trials)
    write_parquet(study / TRIALS, kinds, [columns])


def read_tune_as_written(study: Path) -> dict[str, Any]:
    """Return a study's tune.json, checked for all that is needed of it, for who goes on with it.

    A study that nobody tunes, and that has not ended, is interrupted.
    """
    from optbench.store.description import check_study

    meta = read_state(study / TUNE, "study")
    check_study(meta, study / TUNE)
    return meta


def read_tune(study: Path) -> dict[str, Any]:
    """Return a study's tune.json for readers.

    It is as :func:`read_tune_as_written` has it, but for names, which are as
    :func:`optbench.errors.shown` has them, except those in the suite.
    """
    meta = read_tune_as_written(study)
    suite = {**meta["suite"], "name": shown(meta["suite"]["name"])}
    return {**_shown(meta), "suite": suite}


def _shown(value: Any) -> Any:
    """Return plain data with all its texts as they are shown."""
    if isinstance(value, dict):
        return {shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return shown(value) if isinstance(value, str) else value


def read_study(study: Path, keep: Mapping[str, Keep] | None = None) -> StudyTables:
    """Return all tables of a study, also of one that is being tuned.

    ``keep`` is for those of its final run, as in :func:`optbench.store.reader.read_run`.
    """
    meta = read_tune(study)
    trials = _read_trials(study, meta)
    begun = isfile(study / FINAL / "run.json")
    final = read_run(study / FINAL, keep) if begun else None
    # Trials that a round added meanwhile would not be those that tune.json tells of.
    if read_tune(study) != meta:
        return read_study(study, keep)
    return StudyTables(study, meta, trials, final)


def _read_trials(study: Path, meta: Mapping[str, Any]) -> "pd.DataFrame":
    """Return trials.parquet as it was written; before the first round has ended there is none."""
    file = study / TRIALS
    going_on = meta["status"] in (Status.RUNNING, Status.INTERRUPTED)
    if going_on and not file.exists():
        return read_table([], TRIAL_COLUMNS)
    trials = read_table([file], TRIAL_COLUMNS)
    if trials.empty and not going_on:
        raise ResultsError(f"'{file}' is damaged: it holds no trials")
    check_once(trials, ["problem", "label", "trial", "phase"], file)
    return trials
