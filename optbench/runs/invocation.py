"""One invocation: from a request, through its suites and their plans, to runs on disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from functools import partial
from os import PathLike
from pathlib import Path

from optbench.cluster import SHARED, Cluster, open_cluster
from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.errors import UsageError, argument
from optbench.records import Lane, Record, Status
from optbench.runs.pipeline import (
    CHECKPOINT_SECONDS,
    Plan,
    RunResult,
    new_invocation,
    plan_run,
    run_plan,
)
from optbench.runs.reuse import Reused, find_reusable
from optbench.store.thinning import ALL, kept_every
from optbench.suite.repeated import repeated_suite
from optbench.suite.request import RunRequest, resolve_request

Observe = Callable[[Record], None]
"""What sees every record of a run."""

ShowProgress = Callable[[Plan], AbstractContextManager[Observe]]
"""What shows a run while it goes on; it is entered when the run's plan is made."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is made: each option of ``optbench run`` that changes no lane's rows.

    Attributes
    ----------
    device
        What computes: ``"cpu"``, ``"gpu"``, ``"gpu:1"`` or ``"auto"``.
    workers
        Worker threads; by default as many as cores.
    data_dir
        Folder to look for data sets in first.
    out
        The results directory.
    reuse, reuse_diverged
        Whether lanes that earlier runs under ``out`` have finished are taken over, and whether
        those that diverged are, too.
    checkpoint_every
        Seconds from one checkpoint to the next.
    time_alone
        Whether each optimizer is timed alone at the end, for ``optbench target --in seconds``.
    trace
        Which rows of the trace are kept: ``"all"``; ``"every:N"``, those of the iterations 0, N, 2N
        … and each lane's last; or ``"none"``, only the first and the last. By default all; of the
        search of a study about 200.
    cluster
        What runs the blocks instead of this machine: ``"local:4"`` (processes), the address of a
        Dask scheduler, or a TOML file that says what jobs to ask for.
    cluster_records
        ``"shared"`` if its workers see ``out`` and write there, ``"stream"`` if they are to send
        their records.
    force
        Whether workers of the cluster, or the environment of a run that is resumed, may be others.
    """

    device: str = "cpu"
    workers: int | None = None
    data_dir: str | PathLike[str] | None = None
    out: str | PathLike[str] = "results"
    reuse: bool = False
    reuse_diverged: bool = False
    checkpoint_every: float = CHECKPOINT_SECONDS
    time_alone: bool = False
    trace: str | None = None
    cluster: str | None = None
    cluster_records: str = SHARED
    force: bool = False

    @contextmanager
    def opened(
        self,
        device: str | None = None,
        notice: Callable[[str], object] = lambda message: None,
        *,
        planning: bool = False,
    ) -> Iterator[tuple[Device, Cluster | None]]:
        """Open what blocks are to run on: a device of this machine, or a cluster.

        Parameters
        ----------
        device
            The device's name, instead of the one asked for.
        notice
            Gets what the user should know.
        planning
            Whether nothing is going to be run: no process is started then.

        Raises
        ------
        UsageError
            If it cannot be used.
        """
        name = self.device if device is None else device
        if self.cluster is None:
            yield get_device(name), None
            return
        if self.time_alone:
            raise UsageError(
                f"{argument('time_alone', True)} times steps on this machine, and "
                f"{argument('cluster', self.cluster)} runs them elsewhere; leave one of them out"
            )
        with open_cluster(
            self.cluster,
            name,
            self.cluster_records,
            force=self.force,
            notice=notice,
            planning=planning,
        ) as cluster:
            if not planning:
                cluster.check()
            yield cluster.device, cluster

    @property
    def kept(self) -> str:
        """Which rows of a run's trace are kept."""
        return ALL if self.trace is None else self.trace

    @property
    def data_folder(self) -> Path | None:
        """The folder to look for data sets in first."""
        return None if self.data_dir is None else Path(self.data_dir)

    def reusable(self, lanes: Sequence[Lane]) -> list[Reused]:
        """Return which lanes are taken over from earlier runs."""
        if not (self.reuse or self.reuse_diverged):
            return []
        return find_reusable(
            Path(self.out), lanes, diverged=self.reuse_diverged, every=kept_every(self.kept)
        )


@dataclass(frozen=True)
class Invocation(Execution, RunRequest):
    """What ``optbench run`` and :func:`optbench.run` take: a request, and how to carry it out.

    Attributes
    ----------
    trust
        Whether a run.json may be repeated with the code of plug-ins that its run has kept, where
        the originals are gone or have changed. It is executed, and may do anything.
    """

    _: KW_ONLY
    trust: bool = False


@contextmanager
def plan_runs(
    invocation: Invocation,
    notice: Callable[[str], None] = lambda message: None,
    *,
    planning: bool = True,
) -> Iterator[tuple[Device, Iterator[Plan]]]:
    """Resolve all suites of an invocation, and yield their device and, one by one, their plans.

    Everything that is wrong with a suite is found before the first plan is made. ``notice`` gets
    what the user should know; ``planning`` is as of :meth:`Execution.opened`.
    """
    kept_every(invocation.kept)  # it refuses what is malformed
    with invocation.opened(notice=notice, planning=planning) as (device, cluster):
        repeated = partial(repeated_suite, trust=invocation.trust, notice=notice)
        suites = resolve_request(invocation, invocation.data_folder, repeated)
        for message in dict.fromkeys(message for suite in suites for message in suite.notices):
            notice(message)
        yield (
            device,
            (
                plan_run(suite, device, invocation.workers, invocation.reusable, cluster)
                for suite in suites
            ),
        )


def run_all(
    invocation: Invocation,
    notice: Callable[[str], None] = lambda message: None,
    progress: ShowProgress = lambda plan: nullcontext(lambda record: None),
) -> Iterator[RunResult]:
    """Make the runs of an invocation; yield each one's result when it has ended.

    An interrupted run is the last.

    Raises
    ------
    KeyboardInterrupt
        If an interrupt came when a run had all but ended, and there are more.
    """
    with plan_runs(invocation, notice, planning=False) as (device, plans):
        shared_id = new_invocation()
        cancelled = False
        for plan in plans:
            if cancelled:
                raise KeyboardInterrupt
            with progress(plan) as observe:
                result = run_plan(
                    plan,
                    device,
                    Path(invocation.out),
                    shared_id,
                    observe,
                    invocation.checkpoint_every,
                    notice,
                    trace=invocation.kept,
                    time_alone=invocation.time_alone,
                )
            yield result
            cancelled = result.cancelled
            if result.status is Status.INTERRUPTED:
                return
