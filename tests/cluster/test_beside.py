"""A block's records are written in order, beside the block."""

import threading

import pytest

from optbench.cluster.beside import MOST_WAITING, Beside


class Writer:
    """Keeps what it is given; it may have to wait, or break."""

    def __init__(self, *, broken_at=None):
        self.taken = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._broken_at = broken_at

    def add(self, record):
        self.may_go_on.wait()
        if record == self._broken_at:
            raise OSError("the disk is full")
        self.taken.append(record)
        return [record]


def test_records_are_written_in_order_and_noted():
    writer, noted = Writer(), []
    with Beside(writer, noted.append) as writing:
        for record in range(100):
            writing.add(record)
        writing.finish()
        assert writer.taken == noted == list(range(100))


def test_a_block_goes_on_while_the_disk_makes_it_wait():
    writer = Writer()
    writer.may_go_on.clear()
    with Beside(writer, print) as writing:
        for record in range(MOST_WAITING):
            writing.add(record)
        assert writer.taken == []
        writer.may_go_on.set()
        writing.finish()
    assert writer.taken == list(range(MOST_WAITING))


def write(writer, records, *, then=None):
    with Beside(writer, lambda record: None) as writing:
        for record in records:
            writing.add(record)
        if then is not None:
            raise then
        writing.finish()


def test_what_writing_raises_ends_the_block():
    with pytest.raises(OSError, match="the disk is full"):
        write(Writer(broken_at=3), range(3 * MOST_WAITING))


def test_what_the_block_raises_ends_the_writing():
    writer = Writer()
    with pytest.raises(ValueError, match="too fast"):
        write(writer, [0], then=ValueError("too fast"))
    assert writer.taken == [0]
    assert "optbench-writer" not in {thread.name for thread in threading.enumerate()}
