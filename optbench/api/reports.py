"""Tables and figures of runs, as ``optbench show``, ``compare``, ``target``, ``plot`` make them."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optbench.records import RunTables
from optbench.report.compare import Question
from optbench.report.compare import compare as compare_labels
from optbench.report.export import TABLES, check_export
from optbench.report.export import export as export_table
from optbench.report.joined import joined
from optbench.report.protocol import contestants
from optbench.report.races import Question as TargetQuestion
from optbench.report.summaries import summary
from optbench.report.targets import reach
from optbench.report.tolerance import tolerance as tolerance_of
from optbench.report.trackers import check_target, export_to
from optbench.settings import call_with, typed
from optbench.store.find import find_entries, find_runs, find_study
from optbench.store.reader import read_run
from optbench.store.studies import read_study
from optbench.suite.values import plain_value, seed_list

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@typed
def export(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    table: str | None = None,
    *,
    to: str | None = None,
    lanes: str | Sequence[int] | None = None,
    format: str | None = None,
    output: str | PathLike[str] | None = None,
    force: bool = False,
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return one table of runs, and write it to a file if ``output`` names one; or fill a tracker.

    Parameters
    ----------
    runs
        Directories, names under ``out``, or ``"latest"``; without any, those of the latest
        invocation.
    table
        ``"trace"``, ``"lanes"``, ``"evaluation"`` or ``"summary"``; by default the trace.
    to
        ``"tensorboard"``, ``"wandb"`` or ``"mlflow"``: the lanes are written into the folder
        ``output``, by default one of that name in each run's directory, and returned as a table.
        With ``"iohanalyzer"`` the table is what IOHanalyzer reads.
    lanes
        Which lanes go there: ``"best"``, ``"all"``, numbers, or text such as ``"0-9,12"``.
    format
        ``"csv"``, ``"json"`` or ``"parquet"``; by default what the file's suffix says.
    force
        Whether a file, or the folder of an earlier export, may be overwritten.

    Raises
    ------
    UsageError
        For whatever ``optbench export`` would exit with code 2.
    """
    place = None if output is None else Path(output)
    wanted = lanes if isinstance(lanes, str | None) else ",".join(map(str, lanes))
    check_target(to, wanted, table, format, place, force=force)
    if to is not None:
        paths = find_runs(_names(runs), Path(out))
        return export_to(to, paths, wanted, place, force=force).rows
    chosen = TABLES[0] if table is None else table
    check_export(chosen, format, place, force=force)
    return export_table(_tables(runs, out), chosen, format, place, force=force)


@typed
def plot(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    kind: str = "auto",
    *,
    problem: str | Sequence[str] = (),
    out: str | PathLike[str] = "results",
    **options: Any,
) -> "list[Figure]":
    """Return figures of runs, those of ``optbench plot``; nothing is written.

    Runs that are named together share the figures of the kinds that can show several.

    Parameters
    ----------
    runs
        As for :func:`export`; for the kinds ``"budget"`` and ``"trials"`` studies.
    kind
        What to draw; ``"auto"`` draws of each run what fits.
    problem
        Only these problems; by default all.
    options
        As in :class:`optbench.report.plots.PlotOptions`.

    Raises
    ------
    UsageError
        For whatever ``optbench plot`` would exit with code 2.
    """
    from optbench.report.plots import STUDY_KINDS, PlotOptions, draw  # these load Matplotlib
    from optbench.report.plots.files import choose, choose_of_studies
    from optbench.report.plots.fonts import fit_fonts

    wanted, names = call_with(PlotOptions, **options), _names(runs)
    if kind in STUDY_KINDS:
        studies = [read_study(find_study(name, Path(out))) for name in names or ["latest"]]
        drawn = [
            draw(one.kind, one.tables, one.problem, wanted)
            for one in choose_of_studies(studies, kind, _listed(problem))
        ]
    else:
        subjects = choose(_tables(runs, out), kind, _listed(problem), together=bool(names))
        drawn = [draw(one.kind, one.tables, one.problem, wanted) for one in subjects]
    for figure in drawn:
        fit_fonts(figure)
    return drawn


@typed
def show(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    tolerance: bool = False,
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return the summary of runs: the best configuration of each optimizer, over its seeds.

    Parameters
    ----------
    runs
        As for :func:`export`; for what a study found, see :meth:`optbench.Study.summary`.
    tolerance
        Whether to return how exactly swept hyperparameters have to be set instead.

    Raises
    ------
    UsageError
        For whatever ``optbench show`` would exit with code 2.
    """
    import pandas as pd

    table = tolerance_of if tolerance else summary
    return pd.concat(map(table, _tables(runs, out)), ignore_index=True)


@typed
def compare(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    metric: str | None = None,
    reference: str | None = None,
    problem: str | Sequence[str] = (),
    level: float = 0.05,
    margin: float = 0.01,
    points: float = 0.1,
    choose_on: Sequence[int] = (),
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return which optimizers of runs are better, by how much, and whether that is sure.

    There is one row for each pair of labels of a problem, with the fields of
    :class:`optbench.report.compare.Pair` as columns; docs/statistics.md says what they mean. The
    options are those of :class:`optbench.report.compare.Question`.

    Parameters
    ----------
    runs
        As for :func:`export`; of several, labels that they share become ``label (run)``.

    Raises
    ------
    UsageError
        For whatever ``optbench compare`` would exit with code 2.
    NothingToCompareError
        If no two optimizers have lanes of one problem and seed.
    """
    question = Question(
        metric,
        reference,
        tuple(_listed(problem)),
        level,
        margin,
        points,
        tuple(choose_on),
    )
    return compare_labels(joined([*map(contestants, _tables(runs, out))]), question).pairs


@typed
def target(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    target: str | Sequence[str] = (),
    *,
    on: str | None = None,
    reference: str | None = None,
    problem: str | Sequence[str] = (),
    choose_on: int | str | Sequence[int] = (),
    unit: Literal["steps", "seconds"] = "steps",
    profile: bool = False,
    algoperf: bool = False,
    rungs: int | None = None,
    out: str | PathLike[str] = "results",
) -> "pd.DataFrame":
    """Return how many steps, or seconds, optimizers of runs need to a target.

    There is one row for each problem and label, with the fields of
    :class:`optbench.report.targets.Arrival` as columns; +inf is beyond the budget. With
    ``profile``, ``algoperf`` or ``rungs`` the problems are put together, and there is one row for
    each label. docs/statistics.md says what the columns mean.

    Parameters
    ----------
    runs
        As for :func:`export`; of several, labels that they share become ``label (run)``.
    target
        What to reach, as ``"0.1"``, ``"best:5%"`` (the default), ``"of:adam"``, ``"quantile:0.5"``,
        ``"start/100"`` or ``"published"``, of all problems or of one: ``"booth=0.1"``.
    on
        What to watch; by default the loss of the trace.
    reference
        The label with whose times the others' are compared.
    problem
        Only these problems; by default all.
    choose_on
        Seeds that choose the configuration of each label, where it has several.
    rungs
        Targets of a ladder, of which the shares reached are counted.

    Raises
    ------
    UsageError
        For whatever ``optbench target`` would exit with code 2.
    NothingToCompareError
        If nothing was recorded that could be watched, or the problems have no label in common.
    """
    question = TargetQuestion(
        targets=_listed(target),
        on=on,
        reference=reference,
        problems=_listed(problem),
        choose_on=_seeds(choose_on),
        unit=unit,
        profile=profile,
        algoperf=algoperf,
        rungs=rungs,
    )
    return reach(_tables(runs, out), question).table


@typed
def write_report(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    file: str | PathLike[str] = "report.html",
    *,
    title: str | None = None,
    choose_on: int | str | Sequence[int] = (),
    force: bool = False,
    out: str | PathLike[str] = "results",
) -> Path:
    """Write runs and studies into one HTML file that needs nothing else, and return its path.

    Parameters
    ----------
    runs
        As for :func:`export`; a study is reported with its search.
    title
        What stands at the top.
    choose_on
        Seeds that choose the configuration of each label, where it has several.
    force
        Whether the file may be overwritten.

    Raises
    ------
    UsageError
        For whatever ``optbench report`` would exit with code 2.
    """
    from optbench.report.page import write_page  # it loads Matplotlib

    entries = find_entries(_names(runs), Path(out))
    seeds = _seeds(choose_on)
    write_page(entries, Path(file), title=title, choose_on=seeds, force=force)
    return Path(file)


def _seeds(given: int | str | Sequence[int]) -> Sequence[int]:
    return () if given == () else seed_list(plain_value(given))


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _tables(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]], out: str | PathLike[str]
) -> list[RunTables]:
    return [read_run(path) for path in find_runs(_names(runs), Path(out))]


def _names(runs: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[str]:
    return [str(name) for name in ([runs] if isinstance(runs, str | PathLike) else runs)]
