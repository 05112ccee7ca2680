"""What a block has recorded on a worker, until the client takes it."""

import pickle
import threading
from collections import deque
from collections.abc import Callable

from optbench.records import Record

FULL_BYTES = 64 * 2**20
"""Once so much waits, the block does too."""

TAKEN_BYTES = 16 * 2**20
"""How much is taken at once, but for a record that is larger by itself."""

LOOK_SECONDS = 0.1


class Outbox:
    """Records in the order in which a block gave them; the client says how many it has.

    A record stays until the client has said so: what was on its way when a connection broke is
    taken once more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._gone = 0

    @property
    def waits(self) -> bool:
        """Whether there is something that the client has not taken."""
        return bool(self._records)

    def put(self, record: Record, given_up: Callable[[], bool]) -> None:
        """Add a record, once there is room for it or nobody waits for it any more."""
        packed = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        with self._changed:
            while self._bytes >= FULL_BYTES and not given_up():
                self._changed.wait(LOOK_SECONDS)
            self._records.append(packed)
            self._bytes += len(packed)

    def take(self, known: int) -> list[bytes]:
        """Forget the ``known`` first records, and return some of the others, pickled."""
        with self._changed:
            while self._gone < known:
                self._bytes -= len(self._records.popleft())
                self._gone += 1
            self._changed.notify_all()
            taken: list[bytes] = []
            size = 0
            for packed in self._records:
                size += len(packed)
                if taken and size > TAKEN_BYTES:
                    break
                taken.append(packed)
            return taken
