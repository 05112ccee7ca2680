"""Gives the blocks of a run to the workers of a cluster, and takes what they record.

Each block is a task of Dask for one worker, and no worker has more of them than threads. So it is
known which blocks were at work where a worker ended. They go on from their last checkpoint on
another one, alone there, so that none is blamed for what another does; one that has ended its
worker :data:`MOST_DEATHS` times without getting any further is given up.
"""

import asyncio
import pickle
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future as Answer
from concurrent.futures import wait
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from optbench.cluster import worker as there
from optbench.cluster.members import Member, check_usable, complaint, introduced
from optbench.cluster.worker import Orders, Parts
from optbench.engine.block import Block, halves
from optbench.engine.block_error import BlockError
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import BlockResult, BlockSplit, LaneResult, Receipt, Record, Status
from optbench.store.journal import Journal
from optbench.suite.travel import Bundle, pack

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

MOST_DEATHS = 3
"""How many workers a block may end before it is given up."""

LOOK_SECONDS = 1.0
"""Time from one look for workers that have come or gone to the next."""

TAKE_SECONDS = 0.5
"""Time from one question for what blocks have recorded to the next."""

ANSWER_SECONDS = 20.0
"""How long a worker may take for an answer that nothing goes on without."""

LATE_SECONDS = 2.0
"""How long workers may take to say what blocks have recorded, which can be asked once more."""

ANSWERS_PER_SECOND = 500
"""How many blocks are asked about in a second, at most."""

WAIT_SECONDS = 0.05
"""How long the end of a block is waited for before other things get their turn."""


class SchedulerGoneError(Exception):
    """The scheduler does not answer any more."""


@dataclass
class _Flight:
    """A block at work: its task, where it is, and how many of its records have been taken.

    It is ``lost`` if Dask has given the task up, which it does as a rule since the worker has gone.
    Once the block ``has_ended`` there, it is at work no more.
    """

    block: Block
    task: "Future"
    worker: Member
    taken: int = 0
    lost: bool = False
    has_ended: bool = False


class Driver:
    """One run's blocks on a cluster.

    Parameters
    ----------
    client
        Dask's.
    blocks
        What to run.
    orders
        What workers are to know of the run.
    here
        The facts that each worker is compared with.
    path
        The run's directory.
    cancelled
        Once set, blocks end after their current chunk, with a checkpoint.
    first_new
        Number of the first block that is made by splitting.
    force
        Whether workers are taken that differ from ``here``.
    notice
        Is told of workers that cannot be used or are lost.
    renew
        Asks for new workers; None where nobody can.
    begun
        Is told ``path`` whenever a worker is given a block, and when the first one is waited for.
    """

    def __init__(
        self,
        client: "Client",
        blocks: Sequence[Block],
        orders: Orders,
        here: Mapping[str, Any],
        path: Path,
        cancelled: Event,
        first_new: int,
        *,
        force: bool,
        notice: Callable[[str], object],
        renew: Callable[[], None] | None,
        begun: Callable[[Path], object],
    ) -> None:
        self._renew = renew
        self._client = client
        self._orders = orders
        self._here = here
        self._path = path
        self._cancelled = cancelled
        self._numbers = count(first_new)
        self._force = force
        self._notice = notice
        self._begun = begun
        self._title = f"{orders.run}-{token_hex(2)}"
        self._waiting = deque(blocks)
        self._alone: deque[Block] = deque()
        self._deaths: dict[int, tuple[float | None, int]] = {}
        self._flights: dict[int, _Flight] = {}
        self._landed: SimpleQueue[int] = SimpleQueue()
        self._attempts = count()
        self.members: dict[str, Member] = {}
        self.took_part: dict[str, Member] = {}
        self._coming: dict[str, Answer[Member]] = {}
        self._looked_at = self._taken_at = -LOOK_SECONDS
        self._stopped = self._said_to_wait = self._has_asked = False

    def records(self) -> Iterator[Record]:
        """Yield the records of all blocks as they come; each block's own are in order.

        Raises
        ------
        DeviceError
            If no worker can be used.
        """
        try:
            while self._waiting or self._alone or self._flights:
                if self._cancelled.is_set():
                    self._stop()
                    yield from self._never_begun()
                yield from self._look()
                self._assign()
                yield from self._take()
                yield from self._land()
        except SchedulerGoneError as error:
            self._notice(f"{error}; what was recorded is kept")
            for flight in self._flights.values():
                self._waiting.append(flight.block)
            yield from self._never_begun()
        finally:
            self._leave()

    # Workers

    def _look(self) -> Iterator[Record]:
        """See which workers have come, and which have gone; yield what became of lost blocks."""
        is_due = time.monotonic() - self._looked_at >= LOOK_SECONDS
        if not (is_due or any(each.done() for each in self._coming.values())):
            return
        self._looked_at = time.monotonic()
        present = self._present()
        for address in [*self.members]:
            if address not in present:
                yield from self._lose(self.members.pop(address))
        for flight in [each for each in self._flights.values() if each.lost]:
            self._take_back(flight)
        self._ask_for_more(present)
        self._welcome(present)
        if not (self._stopped or self._flights or self._coming):
            self._check_that_some_work()

    def _ask_for_more(self, present: Collection[str]) -> None:
        """Where all workers have ended that there were, as at their walltime, ask for new ones."""
        if present:
            self._has_asked = False
        elif self.took_part and not (self._has_asked or self._stopped):
            self._has_asked = True
            if self._renew is None:
                self._notice("the last worker has gone; waiting for another")
            else:
                self._notice("the last worker has gone; asking for new ones")
                self._renew()

    def _welcome(self, present: Collection[str]) -> None:
        """Let workers enter the run that are like this machine, each once it is ready."""
        for address in present:
            if address not in self.members and address not in self._coming:
                self._coming[address] = self._begin(self._entered(address))
        for address, coming in [*self._coming.items()]:
            if address in present and not coming.done():
                continue
            del self._coming[address]
            if address in present:
                self._introduce(_given(coming))

    def _introduce(self, member: Member) -> None:
        self.members[member.address] = member
        for text in member.refused or member.differs:
            verb = "is not used" if member.refused else "is used although it differs"
            self._notice(f"worker {member.name} {verb}: {text}")

    async def _entered(self, address: str) -> Member:
        """Return a worker that has entered the run, unless it is refused."""
        told = await self._asked(address, there.tell, self._orders.device)
        member = introduced(address, told, self._here)
        if self._force:
            member.take_anyway()
        if not member.refused:
            answer = await self._asked(address, there.enter, self._orders)
            reasons = [complaint(answer)] if isinstance(answer, Exception) else answer
            member.refused = tuple(reasons)
        return member

    def _check_that_some_work(self) -> None:
        """Refuse to go on where workers are there and none can be used; say that none are there."""
        check_usable(self.members.values())
        if not (self.members or self._said_to_wait):
            self._said_to_wait = True
            self._notice("waiting for the cluster's first worker")
            self._begun(self._path)

    def _lose(self, member: Member) -> Iterator[Record]:
        """Let the blocks of a worker that has gone go on elsewhere, or give them up."""
        for number in sorted(member.blocks):
            block = self._flights[number].block
            self._take_back(self._flights[number])
            if member.leaving or self._count_death(number) < MOST_DEATHS:
                self._notice(f"worker {member.name} has gone; block {number} goes on elsewhere")
                continue
            self._alone.pop()
            yield _without_rows(
                block, Status.FAILED, f"it has ended its worker {MOST_DEATHS} times"
            )

    def _take_back(self, flight: _Flight) -> None:
        """Let a block go on elsewhere, from its last checkpoint."""
        flight.task.cancel()
        flight.worker.blocks.discard(flight.block.number)
        del self._flights[flight.block.number]
        self._alone.append(self._rest_of(flight.block))

    def _count_death(self, number: int) -> int:
        """Return how many workers a block has ended since its last checkpoint, with this one."""
        kept = Journal(self._path, number).kept_at
        known, deaths = self._deaths.get(number, (None, 0))
        self._deaths[number] = kept, deaths + 1 if known == kept else 1
        return self._deaths[number][1]

    def _rest_of(self, block: Block) -> Block:
        """Return a block as the next worker is to be given it."""
        if self._orders.folder is not None:
            return block  # it finds the journal
        lanes = [lane.number for lane in block.lanes]
        return replace(block, progress=Journal(self._path, block.number).progress(lanes))

    # Blocks

    def _assign(self) -> None:
        """Give blocks to workers that have a thread to spare, to each in turn."""
        usable = [each for each in self.members.values() if not (each.refused or each.leaving)]
        while self._alone and not self._stopped:
            idle = next((each for each in usable if not each.blocks), None)
            if idle is None:
                break
            self._submit(self._alone.popleft(), idle)
            usable.remove(idle)  # nothing else beside it
        usable = [each for each in usable if not each.blocks & self._deaths.keys()]
        free = [each for each in usable if len(each.blocks) < each.slots]
        while self._waiting and free and not self._stopped:
            member = min(free, key=lambda each: len(each.blocks))
            self._submit(self._waiting.popleft(), member)
            free = [each for each in free if len(each.blocks) < each.slots]

    def _submit(self, block: Block, member: Member) -> None:
        number = block.number
        sent = replace(block, progress=None) if self._orders.folder is not None else block
        on_gpu = member.facts["device"]["kind"] == "gpu"
        task = self._client.submit(
            there.work,
            self._orders.run,
            pickle.dumps(sent, pickle.HIGHEST_PROTOCOL),
            key=f"{self._title}-block-{number}-{next(self._attempts)}",
            workers=[member.address],
            allow_other_workers=False,
            pure=False,
            retries=0,
            **({"resources": {"GPU": 1}} if on_gpu else {}),
        )
        self._flights[number] = _Flight(block, task, member)
        member.blocks.add(number)
        self.took_part.setdefault(member.address, member)
        task.add_done_callback(lambda task: self._landed.put(number))
        self._begun(self._path)

    def _take(self) -> Iterator[Record]:
        """Yield what blocks at work have recorded."""
        pause = max(TAKE_SECONDS, len(self._flights) / ANSWERS_PER_SECOND)
        if time.monotonic() - self._taken_at >= pause:
            yield from self._take_of(self._flights.values())
            self._taken_at = time.monotonic()

    def _take_of(
        self, flights: Iterable[_Flight], seconds: float = LATE_SECONDS
    ) -> Iterator[Record]:
        known: dict[str, dict[int, int]] = {}
        for flight in flights:
            known.setdefault(flight.worker.address, {})[flight.block.number] = flight.taken
        answers = self._call(
            there.take, self._orders.run, known, addresses=[*known], seconds=seconds
        )
        for found in answers.values():
            if isinstance(found, Exception):  # the worker has gone, or is to be asked once more
                self._looked_at = -LOOK_SECONDS
                continue
            for number, packed in found.items():
                flight = self._flights[number]
                flight.taken += len(packed)
                for record in map(pickle.loads, packed):
                    yield from self._end(flight, record)

    def _land(self) -> Iterator[Record]:
        """Wait a moment for a block that comes back, and yield what became of it."""
        try:
            number = self._landed.get(timeout=WAIT_SECONDS)
        except Empty:
            return
        flight = self._flights.get(number)
        if flight is None or not flight.task.done():  # it was taken back since
            return
        answer = self._answer(flight)
        for record in answer or ():
            yield from self._end(flight, record)
        while answer == [] and not flight.has_ended:  # its end is among what it has recorded
            taken = flight.taken
            yield from self._take_of([flight], ANSWER_SECONDS)
            if flight.taken == taken:
                break
        flight.lost = not flight.has_ended

    def _answer(self, flight: _Flight) -> list[Record | BlockError] | None:
        """Return what a task gave, or None if its worker has gone with it."""
        from distributed import CancelledError, KilledWorker

        try:
            given: list[Record | BlockError] = flight.task.result(timeout=ANSWER_SECONDS)
            return given
        except (KilledWorker, CancelledError, OSError, TimeoutError):
            return None
        except Exception as error:  # of the task, or of a connection that has just broken
            ran = flight.task.status == "error" and self._client.status == "running"
            return [BlockError(complaint(error))] if ran else None

    def _end(self, flight: _Flight, record: Record | BlockError) -> Iterator[Record]:
        """Yield a record, or what becomes of its block if it is the last one."""
        block = flight.block
        if isinstance(record, BlockError | BlockResult | Receipt):
            flight.has_ended = True
            flight.worker.blocks.discard(block.number)
            del self._flights[block.number]
        if isinstance(record, BlockError):
            yield from self._split_or_fail(block, record)
        elif isinstance(record, BlockResult) and not self._stopped and _interrupted(record):
            flight.worker.leaving = True
            name = flight.worker.name
            self._notice(f"worker {name} is ending; block {block.number} goes on elsewhere")
            self._waiting.appendleft(self._rest_of(block))
        else:
            yield record

    def _split_or_fail(self, block: Block, error: BlockError) -> Iterator[Record]:
        if len(block.lanes) > 1:
            parts = halves(block, self._numbers)
            lanes = tuple(
                (part.number, tuple(lane.number for lane in part.lanes)) for part in parts
            )
            said = ("", "") if error.lacks_memory else (error.message, error.traceback)
            yield BlockSplit(block.number, lanes, *said)
            self._waiting.extend(parts)
            return
        yield _without_rows(block, Status.FAILED, error.message, error.traceback)

    # The end

    def _stop(self) -> None:
        """Let all blocks at work end."""
        if not self._stopped:
            self._stopped = True
            self._call(there.stop, self._orders.run, addresses=[*self.members])

    def _never_begun(self) -> Iterator[Record]:
        for waiting in (self._waiting, self._alone):
            while waiting:
                yield _without_rows(waiting.popleft(), Status.INTERRUPTED)

    def _leave(self) -> None:
        """Have the workers forget the run; those of a scheduler that has gone do so themselves."""
        for coming in self._coming.values():
            coming.cancel()
        for flight in self._flights.values():
            flight.task.cancel()
        entered = [each.address for each in self.members.values() if not each.refused]
        try:
            self._call(there.stop, self._orders.run, addresses=entered)
            self._call(there.leave, self._orders.run, addresses=entered)
        except SchedulerGoneError:
            pass

    def _call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        addresses: Sequence[str],
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        """Return what a function gives on workers, or the exception, by their addresses.

        Each is asked by itself, since Dask waits half a minute for one that has just gone.
        """
        asked = {
            address: self._begin(self._asked(address, function, *arguments))
            for address in addresses
        }
        done, late = wait(asked.values(), seconds)
        for each in late:
            each.cancel()
        return {
            address: _given(each) if each in done else TimeoutError("it does not answer")
            for address, each in asked.items()
        }

    def _begin(self, asking: Coroutine[Any, Any, T]) -> "Answer[T]":
        """Let something go on beside what happens here."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return asyncio.run_coroutine_threadsafe(asking, loop)

    async def _asked(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function gives on a worker, or the exception."""
        self._check_scheduler()
        found = await self._client.run(
            function, *arguments, workers=[address], on_error="return", asynchronous=True
        )
        return found[address]

    def _present(self) -> Collection[str]:
        """Return the addresses of the workers that are there."""
        self._check_scheduler()
        try:
            present: Collection[str] = self._client.nthreads()
        except (OSError, TimeoutError) as error:
            raise _gone(error) from None
        return present

    def _check_scheduler(self) -> None:
        if self._client.status != "running":
            raise SchedulerGoneError("the cluster's scheduler has gone")


def _given(answer: "Answer[T]") -> T:
    """Return what was answered."""
    try:
        return answer.result()
    except (OSError, TimeoutError) as error:
        raise _gone(error) from None


def _gone(error: Exception) -> SchedulerGoneError:
    return SchedulerGoneError(f"the cluster's scheduler does not answer ({complaint(error)})")


def parts_of(blocks: Sequence[Block]) -> tuple[Parts, Bundle]:
    """Return what blocks are made of, and the code of plug-ins among that.

    Raises
    ------
    SuiteError
        If the code of one cannot be taken along.
    """
    parts: dict[str, Problem | Optimizer] = {}
    for block in blocks:
        parts.setdefault(block.lanes[0].problem, block.problem)
        for group in block.groups:
            parts.setdefault(f"{group.lanes[0].label} on {group.lanes[0].problem}", group.optimizer)
    pickled = {name: pickle.dumps(part, pickle.HIGHEST_PROTOCOL) for name, part in parts.items()}
    identities = {name: there.identity_of(part) for name, part in parts.items()}
    return Parts(pickled, identities), pack(parts.values())


def _without_rows(block: Block, status: Status, message: str = "", text: str = "") -> BlockResult:
    lanes = len(block.lanes)
    results = tuple(
        LaneResult(lane.number, status, iterations=None, block_lanes=lanes) for lane in block.lanes
    )
    return BlockResult(block.number, results, message, text)


def _interrupted(result: BlockResult) -> bool:
    return any(lane.status is Status.INTERRUPTED for lane in result.lanes)
