"""Where a cluster is: processes here, a scheduler that is running, or jobs of a queueing system."""

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from optbench.errors import DeviceError, SuiteError, argument

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local:"

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer at first."""

SETTINGS = {
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:.0f}s",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
}
"""Dask's settings, in processes that are started here as well.

By default each of them looks at itself 50 to 100 times a second, which takes a thread at work a
tenth of its time.
"""


@dataclass(frozen=True)
class Place:
    """A cluster that is there.

    Attributes
    ----------
    text
        What it was asked for as.
    client
        Dask's; None where the cluster is only planned for.
    slots
        How many blocks it runs at a time once all its workers are there.
    renew
        Asks for new workers when all have ended; None where nobody can.
    """

    text: str
    client: "Client | None"
    slots: int
    renew: Callable[[], None] | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is processes of this machine."""
        return self.text.startswith(LOCAL)

    @property
    def dashboard(self) -> str:
        """Where Dask shows what it does; empty where it does not."""
        if self.client is None or not find_spec("bokeh"):
            return ""
        return str(self.client.dashboard_link)


@contextmanager
def opened(text: str, *, gpus: bool = False, planning: bool = False) -> Iterator[Place]:
    """Open the cluster of that name, on whose workers blocks take a GPU each if ``gpus``.

    What is only planned for is connected to, but not started.

    Raises
    ------
    SuiteError
        If the name means nothing.
    DeviceError
        If Dask is missing or the cluster cannot be reached.
    """
    if find_spec("distributed") is None:
        raise DeviceError(f"{argument('cluster', text)} needs Dask; pip install 'optbench[dask]'")
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        client = renew = None
        if text.startswith(LOCAL):
            slots = _count(text)
            if not planning:
                client = stack.enter_context(_local(slots, gpus=gpus))
        elif "://" in text:
            client = stack.enter_context(_running(text))
            slots = sum(client.nthreads().values())
        elif text.endswith(".toml"):
            from optbench.cluster.jobs import read_jobs

            jobs = read_jobs(text)
            slots = jobs.slots
            if not planning:
                cluster = stack.enter_context(jobs.open())
                client, renew = stack.enter_context(_client(cluster)), partial(jobs.submit, cluster)
        else:
            raise SuiteError(
                f"{argument('cluster', text)} means nothing; give local:4 (processes), "
                "tcp://HOST:8786 (a scheduler), or FILE.toml (jobs)"
            )
        yield Place(text, client, slots, renew)


def _count(text: str) -> int:
    """Return how many processes ``local:N`` is."""
    digits = text.removeprefix(LOCAL)
    if not (digits.isascii() and digits.isdecimal() and int(digits) >= 1):
        raise SuiteError(f"{argument('cluster', text)} must be local:N with N of at least 1")
    return int(digits)


@contextmanager
def _local(count: int, *, gpus: bool) -> Iterator["Client"]:
    """Start so many processes of one thread each; on GPUs each sees its own."""
    from distributed import Nanny, Scheduler, SpecCluster

    options: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": 0,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    workers = {}
    for number in range(count):
        own = {"resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": str(number)}}
        workers[number] = {"cls": Nanny, "options": {**options, **(own if gpus else {})}}
    dashboard = {"dashboard": bool(find_spec("bokeh")), "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, **dashboard}}
    with ExitStack() as stack:
        stack.enter_context(_script_kept_out())
        with _interrupts_held_back():
            cluster = SpecCluster(workers, scheduler, name="optbench", silence_logs=False)
        yield stack.enter_context(_client(stack.enter_context(cluster)))


@contextmanager
def _running(address: str) -> Iterator["Client"]:
    """Connect to a scheduler that somebody has started, and leave it running."""
    from distributed import Client

    try:
        with _versions_compared_later():
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceError(
            f"no scheduler answers at {address} ({reason}); start one with: dask scheduler"
        ) from None
    with _closing(client):
        yield client


@contextmanager
def _client(cluster: Any) -> Iterator["Client"]:
    from distributed import Client

    with _versions_compared_later():
        client = Client(cluster, timeout=CONNECT_SECONDS, set_as_default=False)
    with _closing(client):
        yield client


@contextmanager
def _versions_compared_later() -> Iterator[None]:
    """Let Dask not warn, in a table, of versions that :mod:`optbench.cluster.facts` compares."""
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        yield


@contextmanager
def _closing(client: "Client") -> Iterator["Client"]:
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from writing between our lines of what is told in them."""
    import distributed  # noqa: F401 - it sets up how it writes when it is imported
    from dask import config

    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loggers = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with config.set(SETTINGS):
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


@contextmanager
def _script_kept_out() -> Iterator[None]:
    """Let no process that is started here, at any time, run the user's script again.

    Those of multiprocessing do, for what was pickled from it, unless it is guarded.
    """
    names = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {
        name: names[name] for name in ("__file__", "__spec__") if name in names
    }
    names.pop("__file__", None)
    names["__spec__"] = None
    try:
        yield
    finally:
        names.update(hidden)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let no interrupt reach the threads, nor their processes, that are started here.

    A terminal sends it to all processes; only the client decides what it means.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # which lets interrupts through wherever it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
