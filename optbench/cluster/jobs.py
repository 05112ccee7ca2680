"""Workers as jobs of a queueing system, which dask-jobqueue submits and cancels.

A TOML file asks for them, in one table that is named after the system::

    [slurm]
    jobs = 8
    cores = 16
    memory = "32 GB"
    walltime = "02:00:00"

``jobs`` is how many jobs are submitted. Every other key is a keyword argument of dask-jobqueue's
class for that system, and keys that are left out have the values of the user's jobqueue.yaml.
``processes`` is ``cores`` if neither says anything: a block computes on one thread, so a job runs
one worker process on each of its cores.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from inspect import Parameter, signature
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from optbench.errors import UsageError, nearest, quoted
from optbench.suite.format import read_text, toml_table

if TYPE_CHECKING:
    from dask_jobqueue.core import JobQueueCluster

SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}
"""Classes of dask-jobqueue, by the names that queueing systems have in jobqueue.yaml."""

INTERNAL = {"self", "scheduler", "scheduler_cls", "job_cls", "loop", "asynchronous", "n_workers"}
"""Arguments of those classes that a table cannot give."""

INSTEAD = {
    "extra": "worker_extra_args",
    "env_extra": "job_script_prologue",
    "header_skip": "job_directives_skip",
    "job_extra": "job_extra_directives",
    "dashboard_address": "scheduler_options",
    "host": "scheduler_options",
}
"""Arguments that are deprecated or refused, and those that dask-jobqueue wants instead."""

NAME = "optbench"
"""What names of workers begin with."""

LEAST_MEMORY_BYTES = 2**20
"""Whoever asks for less has left out the unit."""

FAILED_COMMAND = re.compile(
    r"Exit code: (?P<code>-?\d+)\n.*\nstdout:\n(?P<out>.*)\nstderr:\n(?P<err>.*)", re.DOTALL
)
"""How dask-jobqueue tells of a command that failed."""


@dataclass(frozen=True)
class Jobs:
    """The jobs that a file asks for.

    Parameters
    ----------
    place
        The file and its table, as messages name them.
    system
        The queueing system, a key of :data:`SYSTEMS`.
    jobs
        How many jobs are submitted.
    cores
        Cores of one job, each for one block at a time.
    options
        Keyword arguments of dask-jobqueue's class.
    """

    place: str
    system: str
    jobs: int
    cores: int
    options: Mapping[str, Any]

    @property
    def slots(self) -> int:
        """How many blocks all jobs together run at a time."""
        return self.jobs * self.cores

    def open(self) -> "JobQueueCluster":
        """Start a scheduler in this process and submit the jobs, which may then wait in the queue.

        Returns
        -------
        JobQueueCluster
            To be closed by the caller; this cancels the jobs, as does the end of this process
            unless it is killed.

        Raises
        ------
        UsageError
            If a command of the queueing system is missing, if dask-jobqueue refuses an argument,
            or if a job cannot be submitted; then none is left in the queue.
        """
        kind = _class_of(self.system, self.place)
        submit = kind.job_cls.submit_command
        for command in (submit, kind.job_cls.cancel_command):
            if which(command) is None:
                raise UsageError(
                    f"{self.place} needs the command {command}, which is not on the PATH; "
                    "start this where jobs are submitted"
                )
        own = [key for key in _arguments(kind.job_cls) if key in self.options and key != "security"]
        try:
            # alone first: a cluster whose arguments are refused is never closed
            kind.job_cls(**{key: self.options[key] for key in own})
            cluster: JobQueueCluster = kind(**self.options)
        except Exception as error:  # an argument can lead to any
            raise UsageError(f"{self.place} cannot be used: {error}") from error
        try:
            self.submit(cluster)
        except UsageError:
            cluster.close()
            raise
        return cluster

    def submit(self, cluster: "JobQueueCluster") -> None:
        """Submit the jobs to an open cluster, also once more when those before have ended.

        Raises
        ------
        UsageError
            If one cannot be submitted.
        """
        refused = _submit(cluster, self.jobs)
        if refused is not None:
            command = cluster.job_cls.submit_command
            raise UsageError(f"{self.place} {command} failed: {refused}")


def _submit(cluster: Any, jobs: int) -> str | None:
    """Submit the jobs of a cluster; return what the queueing system says if it refuses one.

    ``cluster.scale`` would do so in the background, where what goes wrong is logged and lost.
    """
    from distributed.core import Status

    for _ in range(jobs):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        cluster.sync(_settled, cluster)
    except Exception as error:
        for job in cluster.workers.values():
            job.status = Status.failed  # dask-jobqueue sets none, and closing asks for it
        return _said(error)
    return None


async def _settled(cluster: Any) -> None:
    await cluster


def _said(error: Exception) -> str:
    """Return what a command of the queueing system said when it failed."""
    failed = FAILED_COMMAND.search(str(error))
    if failed is None:
        return str(error)
    said = failed["err"].strip() or failed["out"].strip()
    return said or f"it said nothing and ended with exit code {failed['code']}"


def read_jobs(source: str) -> Jobs:
    """Return the jobs that a TOML file asks for.

    Raises
    ------
    UsageError
        If the file cannot be read, has a key or a value that dask-jobqueue does not take, or lacks
        what it needs; or if dask-jobqueue is not installed.
    """
    plain = toml_table(read_text(Path(source), f"cluster file '{source}'"), source)
    if len(plain) != 1 or not all(isinstance(table, dict) for table in plain.values()):
        systems = ", ".join(SYSTEMS)
        raise UsageError(f"{source} must hold one table, named after a queueing system: {systems}")
    ((system, table),) = plain.items()
    if system not in SYSTEMS:
        meant = nearest(system, SYSTEMS)
        raise UsageError(f"{source}: unknown queueing system '{system}'; {meant}")
    place = f"{source}: [{system}]"
    kind = _class_of(system, place)
    known = dict.fromkeys(("jobs", *_arguments(kind.job_cls), *_arguments(kind)))
    for key in table:
        if key not in known:
            meant = nearest(INSTEAD.get(key, key), known)
            raise UsageError(f"{place} has no '{key}'; {meant}")
    defaults = _defaults(place, str(table.get("config_name", system)))
    _check_containers(place, table, defaults)
    asked = {**defaults, **table}
    processes = _processes(place, asked)
    scheduler = asked.get("scheduler_options") or {}
    options = {
        "name": NAME,
        **{key: value for key, value in table.items() if key != "jobs"},
        "processes": processes,
        # any free port: another run on this machine may have the usual one
        "scheduler_options": {"dashboard_address": ":0", **scheduler},
    }
    return Jobs(place, system, asked["jobs"], asked["cores"], options)


def _class_of(system: str, place: str) -> Any:
    """Return dask-jobqueue's class for a queueing system."""
    if find_spec("dask_jobqueue") is None:
        raise UsageError(
            f"{place} needs dask-jobqueue, which is not installed; pip install 'optbench[slurm]'"
        )
    import dask_jobqueue

    return getattr(dask_jobqueue, SYSTEMS[system])


def _arguments(kind: Any) -> list[str]:
    """Return the arguments that a table can give to a class and those that it inherits from."""
    names = dict.fromkeys(
        name
        for each in kind.__mro__
        if each.__module__.startswith("dask_jobqueue.")
        for name, parameter in signature(each.__init__).parameters.items()
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
    )
    without = INTERNAL | set(INSTEAD) | ({"project"} if "account" in names else set())
    return [name for name in names if name not in without]


def _defaults(place: str, section: str) -> dict[str, Any]:
    """Return what dask-jobqueue takes for arguments that are left out, after it was imported."""
    import dask

    sections = dask.config.get("jobqueue")
    if section not in sections:
        raise UsageError(
            f"{place} config_name: jobqueue.yaml has no '{section}'; {nearest(section, sections)}"
        )
    return {key.replace("-", "_"): value for key, value in sections[section].items()}


def _check_containers(place: str, table: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse text where a list is needed, as dask-jobqueue would go through its letters."""
    for key, value in table.items():
        for container, called in ((list, "a list"), (dict, "a table")):
            if isinstance(defaults.get(key), container) and not isinstance(value, container):
                raise UsageError(f"{place} {key} must be {called}, not {quoted(value)}")


def _processes(place: str, asked: Mapping[str, Any]) -> int:
    """Return the processes of a job, after a check of all that counts or measures."""
    from dask.utils import parse_bytes

    lacking = [key for key in ("jobs", "cores", "memory") if asked.get(key) is None]
    if lacking:
        raise UsageError(f"{place} lacks {' and '.join(lacking)}")
    cores = asked["cores"]
    processes = cores if asked.get("processes") is None else asked["processes"]
    for key, value in {"jobs": asked["jobs"], "cores": cores, "processes": processes}.items():
        if type(value) is not int or value < 1:
            needed = "a whole number of at least 1"
            raise UsageError(f"{place} {key} must be {needed}, not {quoted(value)}")
    if cores % processes:
        raise UsageError(f"{place} cores ({cores}) must be a multiple of processes ({processes})")
    try:
        enough = parse_bytes(asked["memory"]) >= LEAST_MEMORY_BYTES
    except (AttributeError, TypeError, ValueError):
        enough = False
    if not enough:
        memory = quoted(asked["memory"])
        raise UsageError(f"{place} memory must be a size such as '16 GB', not {memory}")
    return int(processes)
