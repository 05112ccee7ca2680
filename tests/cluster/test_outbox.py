"""Records that wait on a worker until the client has them."""

import pickle
import threading

import numpy as np
import pytest

from optbench.cluster import outbox
from optbench.cluster.outbox import Outbox
from optbench.records import TraceChunk


def chunk(first, rows=1):
    lanes = np.arange(2, dtype=np.int32)
    return TraceChunk(0, lanes, first, np.zeros((rows, 2)), np.full(2, rows))


def firsts(taken):
    return [pickle.loads(each).first_iteration for each in taken]


@pytest.fixture
def box():
    made = Outbox()
    for first in range(4):
        made.put(chunk(first), lambda: False)
    return made


def test_what_is_taken_comes_in_order(box):
    assert firsts(box.take(0)) == [0, 1, 2, 3]


def test_what_the_client_does_not_have_is_given_again(box):
    box.take(0)
    assert firsts(box.take(1)) == [1, 2, 3]
    assert firsts(box.take(3)) == [3]


def test_it_is_empty_once_the_client_has_all(box):
    assert box.waits
    assert box.take(4) == []
    assert not box.waits


def test_little_is_taken_at_once_but_never_nothing(box, monkeypatch):
    monkeypatch.setattr(outbox, "TAKEN_BYTES", 1)
    assert firsts(box.take(0)) == [0]
    assert firsts(box.take(1)) == [1]


def test_a_block_waits_while_the_outbox_is_full(monkeypatch):
    monkeypatch.setattr(outbox, "FULL_BYTES", 1)
    box = Outbox()
    box.put(chunk(0), lambda: False)
    written = threading.Thread(target=box.put, args=(chunk(1), lambda: False))
    written.start()
    written.join(3 * outbox.LOOK_SECONDS)
    assert written.is_alive()
    assert firsts(box.take(0)) == [0]
    box.take(1)
    written.join()
    assert firsts(box.take(1)) == [1]


def test_a_block_that_nobody_wants_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(outbox, "FULL_BYTES", 1)
    box = Outbox()
    for first in range(3):
        box.put(chunk(first), lambda: True)
    assert firsts(box.take(0)) == [0, 1, 2]
