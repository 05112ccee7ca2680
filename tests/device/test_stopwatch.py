"""Stopwatches: what they count, and how seldom that of a GPU makes the host wait."""

from typing import Any

import pytest

from optbench.device import stopwatch
from optbench.device.stopwatch import EventStopwatch, Stopwatch


class Cuda:
    """Stands in for ``cupy.cuda``, with a clock that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = self.made = 0

    def Event(self) -> Any:  # noqa: N802
        cuda = self
        self.made += 1

        class Event:
            def record(self) -> None:
                self.time = cuda.now

            def synchronize(self) -> None:
                cuda.waits += 1

        return Event()

    def get_elapsed_time(self, start: Any, stop: Any) -> float:
        return (stop.time - start.time) * 1000.0


def test_only_what_lies_between_start_and_stop_counts():
    times = iter([1.0, 3.5, 100.0, 100.25])
    watch = Stopwatch(lambda: next(times))
    assert watch.seconds() == 0.0
    for _ in range(2):
        watch.start()
        watch.stop()
    assert watch.seconds() == 2.75


def test_a_gpu_is_waited_for_when_it_is_asked_or_many_events_wait(monkeypatch):
    monkeypatch.setattr(stopwatch, "MOST_EVENT_PAIRS", 4)
    cuda = Cuda()
    watch = EventStopwatch(cuda)
    waits = []
    for step in range(10):
        watch.start()
        cuda.now += 2.0**step
        watch.stop()
        cuda.now += 1e6
        waits.append(cuda.waits)
    assert waits == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert watch.seconds() == pytest.approx(2.0**10 - 1)
    assert cuda.waits == 10
    assert cuda.made == 20
    assert watch.seconds() == pytest.approx(2.0**10 - 1)
    assert cuda.waits == 10
