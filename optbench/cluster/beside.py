"""Writes what a block records while the block goes on."""

import threading
from collections.abc import Callable
from queue import Queue
from types import TracebackType

from optbench.records import Record
from optbench.store.block_writer import BlockWriter, Unfinished

MOST_WAITING = 16
"""Records that wait to be written, at most; then the block does."""


class Beside:
    """A thread that hands a block's records to its writer, which waits for the disk.

    Parameters
    ----------
    writer
        Takes the records, in their order.
    note
        Is told of each record that lies on the disk.
    """

    def __init__(self, writer: BlockWriter, note: Callable[[Record], None]) -> None:
        self._writer = writer
        self._note = note
        self._waiting: Queue[Unfinished | None] = Queue(MOST_WAITING)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="optbench-writer")

    def __enter__(self) -> "Beside":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def add(self, record: Unfinished) -> None:
        """Take a record.

        Raises
        ------
        Exception
            Whatever writing an earlier one raised.
        """
        self._complain()
        self._waiting.put(record)

    def finish(self) -> None:
        """Wait until all has been written; nothing may be added from then on.

        Raises
        ------
        Exception
            Whatever writing raised.
        """
        self._waiting.put(None)
        self._thread.join()
        self._complain()

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (record := self._waiting.get()) is not None:
            if self._error is not None:
                continue  # nobody is to wait for room
            try:
                for written in self._writer.add(record):
                    self._note(written)
            except Exception as error:
                self._error = error
