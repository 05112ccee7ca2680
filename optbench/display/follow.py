"""Shows how far a run or a study is that some process makes, from its files."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optbench.display.crew import Crew
from optbench.display.runs import Bars, Lines, beside, has_bars
from optbench.display.screen import console, say
from optbench.errors import ResultsError
from optbench.records import Record, Status
from optbench.store.find import list_runs
from optbench.store.lock import is_locked, writer_of
from optbench.store.reader import status_now
from optbench.store.studies import TUNE, is_study, run_name
from optbench.store.watching import Watched

LOOK_SECONDS = 1.0
"""Time from one look at a run's files to the next, at least."""

SHARE = 0.1
"""Share of the time that looking takes at most: files may be on another machine."""

Sleep = Callable[[float], object]


def follow(path: Path, sleep: Sleep = time.sleep) -> Status:
    """Show how far a run or a study is until it ends; return how it ended.

    Raises
    ------
    ResultsError
        If it is damaged, or has been deleted.
    KeyboardInterrupt
        After an interrupt, which ends only the looking.
    """
    if is_study(path):
        return _follow_study(path, sleep)
    status = status_now(path / "run.json", "run")
    if status is not Status.RUNNING:
        say(f"{run_name(path)} is not running: it is {status}")
        return status
    _say_who_writes(path)
    return _follow_run(path, sleep)


def _follow_study(study: Path, sleep: Sleep) -> Status:
    """Show the rounds of a study, each from when it is seen to run."""
    status = status_now(study / TUNE, "study")
    if status is not Status.RUNNING:
        say(f"{study.name} is not running: it is {status}")
        return status
    _say_who_writes(study)
    while (status := status_now(study / TUNE, "study")) is Status.RUNNING:
        for path in list_runs(study)[-1:]:
            with suppress(ResultsError):  # it is begun anew, or its lanes are not written yet
                if status_now(path / "run.json", "run") is Status.RUNNING:
                    say(f"{path.name}:")
                    _follow_run(path, sleep)
        sleep(LOOK_SECONDS)
    return status


def _say_who_writes(path: Path) -> None:
    writer = writer_of(path)
    by = "" if writer is None else f" in process {writer.pid} on {writer.host}"
    say(f"{run_name(path)} runs{by}; Ctrl-C ends only this display")
    if writer is not None and writer.is_elsewhere and not is_locked(path):
        say(f"note: if that process is killed, it is seen on {writer.host} only")


def _follow_run(path: Path, sleep: Sleep) -> Status:
    while True:
        watched = Watched(path)
        with _shown(watched) as observe:
            while watched.is_as_planned():
                began = time.monotonic()
                for record in watched.look():
                    observe(record)
                status = watched.status()
                if status is not Status.RUNNING:
                    return status
                sleep(max(LOOK_SECONDS, (time.monotonic() - began) / SHARE))


@contextmanager
def _shown(run: Watched) -> Iterator[Callable[[Record], None]]:
    """Yield what is to be called with each record that is new."""
    screen = console(stderr=True)
    crew = Crew(run.blocks, None)
    if not has_bars(screen):
        yield beside(crew, Lines(run, crew=crew).observe)
        return
    bars = Bars(run, screen, crew.head)
    with bars.progress:
        yield beside(crew, bars.observe)
