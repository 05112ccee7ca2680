"""The Python API: run suites and load runs as DataFrames, without a shell.

>>> import tempfile
>>> import optbench
>>> results = optbench.run("anisotropic", optimizers=["adam"], out=tempfile.mkdtemp())
>>> results.trace[["iteration", "loss"]].round(4).head(2)
   iteration    loss
0          0  6.4500
1          1  5.1345
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.plugins import new_code_cache

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from optbench.records import RunTables


@dataclass(frozen=True)
class Results:
    """One run: its tables, and figures of them.

    Attributes
    ----------
    tables
        All tables of the run and its run.json.
    """

    tables: "RunTables"

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.tables.path

    @property
    def meta(self) -> dict[str, Any]:
        """The run's run.json."""
        return self.tables.meta

    @property
    def lanes(self) -> "pd.DataFrame":
        """A row a lane: problem, optimizer, hyperparameters (hp_…), seed, status, losses."""
        return self.tables.lanes

    @property
    def trace(self) -> "pd.DataFrame":
        """A row an iteration of a lane: lane, iteration, loss, and x, y, z of functions."""
        return self.tables.trace

    @property
    def evaluation(self) -> "pd.DataFrame":
        """A row a lane and split: loss and zero-one error over the whole split."""
        return self.tables.evaluation

    def summary(self) -> "pd.DataFrame":
        """Return a row an optimizer: its best configuration, medians over its seeds."""
        from optbench.report import summary

        return summary(self.tables)

    def plot(self, kind: str = "auto", *, problem: str | None = None, **options: Any) -> "Figure":
        """Return a figure.

        Parameters
        ----------
        kind
            trajectory, surface, field, loss or sensitivity; auto takes the first that fits.
        problem
            Which problem of the run; the first where it is not given.
        options
            As in :class:`optbench.report.plots.PlotOptions`.

        Raises
        ------
        UsageError
            If the run has no such problem, or it cannot be drawn so.
        """
        from optbench.report import problems
        from optbench.report.plots import PlotOptions, draw, kinds_for

        chosen = problems(self.tables)[0] if problem is None else problem
        fitting = kinds_for(self.tables, chosen) or ["loss"]
        wanted = fitting[0] if kind == "auto" else kind
        return draw(wanted, self.tables, chosen, PlotOptions(**options))


def load(path: "str | PathLike[str]") -> Results:
    """Load the run in a directory.

    Raises
    ------
    ResultsError
        If there is none, or it is damaged.
    """
    from optbench.store.reader import read_run

    return Results(read_run(Path(path)))


@new_code_cache()
def run(
    suite: "str | PathLike[str] | Mapping[str, Any]",
    *,
    optimizers: str | Sequence[str] = (),
    set: Mapping[str, Any] | None = None,
    grid: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] | None = None,
    iterations: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    device: str = "cpu",
    workers: int | None = None,
    data: str | None = None,
    data_dir: "str | PathLike[str] | None" = None,
    out: "str | PathLike[str]" = "results",
    name: str | None = None,
) -> Results:
    """Run a suite and return its results; nothing is printed.

    Parameters
    ----------
    suite
        Name of a built-in suite, path of a TOML file, or a suite as a mapping.
    set, grid
        Hyperparameters by target, as ``{"adam.lr": 0.01}`` and ``{"adam.lr": "1e-4:1e-1:13"}`` or
        ``{"adam.lr": [1e-3, 1e-2]}``.
    seeds
        How many, or which.

    The others are the flags of ``optbench run``.

    Raises
    ------
    UsageError
        For whatever ``optbench run`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written.
    """
    from optbench.device.choose import get_device
    from optbench.records import Status
    from optbench.runs.pipeline import new_invocation, plan_run, run_plan
    from optbench.suite.flags import Flags, apply_flags
    from optbench.suite.format import parse_suite, read_suite
    from optbench.suite.resolve import resolve

    file = parse_suite(suite, "suite") if isinstance(suite, Mapping) else read_suite(str(suite))
    flags = Flags(
        optimizers=(optimizers,) if isinstance(optimizers, str) else tuple(optimizers),
        sets=tuple(f"{target}={_text(value)}" for target, value in (set or {}).items()),
        grids=tuple(f"{target}={_text(value)}" for target, value in (grid or {}).items()),
        seeds=seeds if seeds is None or isinstance(seeds, int) else [int(each) for each in seeds],
        iterations=iterations,
        epochs=epochs,
        batch_size=batch_size,
        dtype=dtype,
        data=data,
        name=name,
    )
    changed, _ = apply_flags([file], flags)
    where = None if data_dir is None else Path(data_dir)
    settled = resolve(changed[0], written=file.as_written(), data_dir=where)
    worker = get_device(device)
    outcome = run_plan(plan_run(settled, worker, workers), worker, Path(out), new_invocation())
    if outcome.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return load(outcome.path)


def _text(value: Any) -> str:
    """Write a value as a flag has it: a sequence of numbers with commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return ",".join(repr(float(each)) for each in value)
    return repr(float(value))
