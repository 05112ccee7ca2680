"""Stopwatches for work on the host and on a GPU."""

import time
from collections.abc import Callable
from typing import Any

from typing_extensions import override

Clock = Callable[[], float]
"""Returns seconds; tests give a fake one."""

MOST_EVENT_PAIRS = 1024
"""Pairs of CUDA events that wait to be added up; each holds resources of the driver."""


class Stopwatch:
    """Adds up the seconds between :meth:`start` and :meth:`stop`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._started = 0.0

    def start(self) -> None:
        """Start, or go on."""
        self._started = self._clock()

    def stop(self) -> None:
        """Pause."""
        self._seconds += self._clock() - self._started

    def seconds(self) -> float:
        """Return the seconds added up so far."""
        return self._seconds

    def take(self) -> float:
        """Return the seconds added up so far, and begin again from 0."""
        seconds = self.seconds()
        self._seconds = 0.0
        return seconds


class EventStopwatch(Stopwatch):
    """Times the work queued on a GPU with pairs of CUDA events.

    The host waits only in :meth:`seconds`, and once :data:`MOST_EVENT_PAIRS` pairs are waiting.

    Parameters
    ----------
    cuda
        CuPy's module ``cuda``, or what takes its place.
    """

    def __init__(self, cuda: Any) -> None:
        super().__init__(time.perf_counter)
        self._cuda = cuda
        self._pairs: list[tuple[Any, Any]] = []

    def _event(self) -> Any:
        event = self._cuda.Event()
        event.record()
        return event

    @override
    def start(self) -> None:
        if len(self._pairs) == MOST_EVENT_PAIRS:
            self.seconds()
        self._pairs.append((self._event(), None))

    @override
    def stop(self) -> None:
        self._pairs[-1] = (self._pairs[-1][0], self._event())

    @override
    def seconds(self) -> float:
        for start, stop in self._pairs:
            stop.synchronize()
            self._seconds += self._cuda.get_elapsed_time(start, stop) / 1000.0
        self._pairs.clear()
        return self._seconds
