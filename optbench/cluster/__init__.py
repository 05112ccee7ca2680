"""Clusters that blocks run on, by way of Dask.

``local:4`` is four processes on this machine, ``tcp://scheduler:8786`` a cluster that is running,
and a TOML file says what jobs a queueing system is asked for. Nothing here loads Dask before a
cluster is opened.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import Any, TypeAlias

import numpy as np

from optbench.cluster.facts import facts
from optbench.cluster.members import Member, check_usable, introduced
from optbench.cluster.places import Place, opened
from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.device.cpu import NumpyDevice
from optbench.engine.block import Block
from optbench.errors import DeviceError, SuiteError, argument
from optbench.records import Record

Notice: TypeAlias = Callable[[str], object]

LOOK_SECONDS = 0.2

SHARED, STREAM = "shared", "stream"
"""How records come into the run's directory: workers write them there, or send them."""


@dataclass
class Cluster:
    """A cluster that is open.

    Attributes
    ----------
    place
        Where its scheduler and its workers are.
    device
        What blocks are planned for.
    device_name
        What it is called on a worker: ``"cpu"`` or ``"gpu"``.
    records
        :data:`SHARED` or :data:`STREAM`.
    force
        Whether workers are taken that differ from this machine.
    notice
        Is told of workers that come, cannot be used, or are lost.
    begun
        Is told the directory of a run whenever a worker is given one of its blocks, and when the
        first worker is waited for.
    """

    place: Place
    device: Device
    device_name: str
    records: str
    force: bool
    notice: Notice
    begun: Callable[[Path], object] = lambda run: None
    _took_part: dict[str, Member] = field(default_factory=dict)
    _members: dict[str, Member] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """How many blocks run at a time once all workers are there."""
        return self.place.slots

    @property
    def writes(self) -> bool:
        """Whether its workers write what they record themselves."""
        return self.records == SHARED

    @property
    def at_work(self) -> tuple[int, int]:
        """How many workers have a block, and how many there are or are still to come."""
        usable = [member for member in [*self._members.values()] if not member.refused]
        there = sum(member.slots for member in usable)
        return sum(len(member.blocks) for member in usable), max(self.workers, there)

    @property
    def where(self) -> str:
        """What people are told of it."""
        dashboard = self.place.dashboard
        return f"{self.place.text}, dashboard {dashboard}" if dashboard else self.place.text

    @property
    def here(self) -> dict[str, Any]:
        """The facts that workers are compared with: this machine's, and the first GPU's."""
        found = {**facts("cpu"), "device": self.device.describe()}
        if isinstance(self.device, RemoteDevice):
            found["packages"] |= self.device.packages
        return found

    def wait(self, seconds: float) -> None:
        """Wait for the workers to be there, or as many as have come by then."""
        if self.place.client is None:
            return
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if sum(self.place.client.nthreads().values()) >= max(1, self.workers):
                return
            time.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Refuse a cluster that has workers none of which can be used.

        Raises
        ------
        DeviceError
            If so.
        """
        members = self.members()
        if self.force:
            for member in members:
                member.take_anyway()
        check_usable(members)

    def members(self) -> list[Member]:
        """Return the workers that are there, with why they cannot be used."""
        from optbench.cluster.worker import tell

        if self.place.client is None:
            return []
        told = self.place.client.run(tell, self.device_name, on_error="return")
        return [introduced(address, found, self.here) for address, found in told.items()]

    def execute(
        self,
        blocks: Sequence[Block],
        run: Path,
        cancelled: Event,
        checkpoint_seconds: float,
        first_new: int,
        *,
        every: int,
        extra: tuple[str, ...],
        long: bool,
    ) -> Iterator[Record]:
        """Run blocks and yield their records as they come.

        What workers have written themselves comes as :class:`~optbench.records.Underway` and
        :class:`~optbench.records.Receipt`. The parameters are those of
        :func:`optbench.engine.executor.execute` and
        :class:`~optbench.store.block_writer.BlockWriter`.

        ``long`` says whether workers have enough to do for programs to be compiled at once.

        Raises
        ------
        DeviceError
            If no worker can be used.
        """
        from optbench.cluster.driver import Driver, parts_of
        from optbench.cluster.worker import Orders

        parts, code = parts_of(blocks)
        orders = Orders(
            run=f"{run.name}-{token_hex(4)}",
            device=self.device_name,
            folder=run.resolve() if self.writes else None,
            every=every,
            extra=extra,
            checkpoint_seconds=checkpoint_seconds,
            long=long,
            parts=parts,
            code=code,
        )
        if self.place.client is None:
            raise AssertionError("what is only planned for runs nothing")
        driver = Driver(
            self.place.client,
            blocks,
            orders,
            self.here,
            run,
            cancelled,
            first_new,
            force=self.force,
            notice=self.notice,
            renew=self.place.renew,
            begun=self.begun,
        )
        self._took_part, self._members = driver.took_part, driver.members
        yield from driver.records()

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of the cluster, and of the workers that took part."""
        workers = [member.describe() for member in self._took_part.values()]
        return {"cluster": self.place.text, "records": self.records, "workers": workers}


@contextmanager
def open_cluster(
    text: str,
    device: str = "cpu",
    records: str = SHARED,
    *,
    force: bool = False,
    notice: Notice = lambda message: None,
    planning: bool = False,
) -> Iterator[Cluster]:
    """Open a cluster, and close it at the end if it is ours.

    Parameters
    ----------
    text
        ``local:4``, the address of a scheduler, or a TOML file.
    device
        What computes on its workers: ``"cpu"`` or ``"gpu"``.
    records, force, notice
        See :class:`Cluster`.
    planning
        Whether it is only planned for: no process is started then, and no job asked for.

    Raises
    ------
    SuiteError
        If ``text`` or ``records`` means nothing.
    DeviceError
        If Dask is missing, the cluster cannot be reached, or it has no such device.
    """
    kind = device.partition(":")[0]
    if kind not in ("cpu", "gpu") or ":" in device:
        raise DeviceError(
            f"{argument('device', device)} means nothing on a cluster, whose workers have one GPU "
            f"each: give {argument('device', 'cpu')} or {argument('device', 'gpu')}"
        )
    if records not in (SHARED, STREAM):
        raise SuiteError(f"{argument('cluster_records', records)} must be {SHARED} or {STREAM}")
    with opened(text, gpus=kind == "gpu", planning=planning) as place:
        planned = NumpyDevice() if kind == "cpu" else _gpu_of(place, notice)
        yield Cluster(place, planned, kind, records, force, notice)


class RemoteDevice(Device):
    """A device of a worker, for which blocks are planned here.

    Parameters
    ----------
    told
        The facts that the worker told of it.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(np, str(told["device"]["kind"]))
        self.block_bytes = int(told["block_bytes"])
        self._told = told

    @property
    def packages(self) -> dict[str, str]:
        """The versions of CuPy there; nothing here computes with it."""
        there = self._told["packages"].items()
        return {name: version for name, version in there if name.startswith("cupy")}

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the card."""
        memory: int | None = self._told["memory_bytes"]
        return memory

    @property
    def spare_bytes(self) -> int | None:
        """None: limits on processes there are not known here."""
        return None

    def active(self) -> AbstractContextManager[Any]:
        """Refuse to compute: it is elsewhere.

        Raises
        ------
        DeviceError
            Always.
        """
        raise DeviceError("the GPUs are on workers of the cluster, so no step can be timed here")

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the device."""
        return dict(self._told["device"])


def _gpu_of(place: Place, notice: Notice) -> Device:
    """Return the device of the first worker that has a GPU."""
    from optbench.cluster.worker import tell

    if place.client is None:
        if place.is_here:
            return get_device("gpu")
        raise DeviceError(
            "what a GPU of a job holds is known once the job runs, so nothing can be planned before"
        )
    if not place.client.nthreads():
        notice("waiting for the cluster's first worker")
        place.client.wait_for_workers(1)
    reasons = []
    for address, told in place.client.run(tell, "gpu", on_error="return").items():
        member = introduced(address, told, told if isinstance(told, dict) else {})
        if not member.refused:
            return RemoteDevice(told)
        reasons.append(f"{member.name}: {member.refused[0]}")
    raise DeviceError(f"no worker of the cluster can use a GPU: {reasons[0]}")
