"""Finds and reads studies: directories with tune.json, trials.parquet and the run final/."""

from pathlib import Path

from optbench.errors import ResultsError
from optbench.records import StudyTables
from optbench.store.find import LATEST
from optbench.store.reader import read_json, read_run

FILE = "tune.json"


def find_study(argument: str, out: Path) -> Path | None:
    """Return the directory of the study that an argument means; None if it means none."""
    for path in (Path(argument), out / argument):
        if (path / FILE).is_file():
            return path
    known = sorted(file.parent for file in out.glob(f"*/{FILE}"))
    meant = (
        known[-1:]
        if argument == LATEST
        else [path for path in known if argument and path.name.startswith(argument)]
    )
    if len(meant) > 1:
        raise ResultsError(f"'{argument}' means {len(meant)} studies; write more of it")
    return meant[0] if meant else None


def read_study(path: Path) -> StudyTables:
    """Return all that the reporting side knows of a study."""
    import pandas as pd

    meta = read_json(path / FILE, "study")
    trials = pd.read_parquet(path / "trials.parquet")
    final = path / "final"
    return StudyTables(path, meta, trials, read_run(final) if final.is_dir() else None)
