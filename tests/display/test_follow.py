"""Looking at a run that another process makes: here a thread takes its part."""

import io
import threading

import pytest
from rich.console import Console

from optbench.device.cpu import NumpyDevice
from optbench.display import follow as module
from optbench.display import runs as display
from optbench.display.follow import follow
from optbench.errors import ResultsError
from optbench.records import Status, TraceChunk
from optbench.runs.pipeline import plan_run, run_plan
from optbench.store import block_writer
from optbench.store.lock import LOCK, locked
from optbench.store.studies import write_tune
from tests.small import anisotropic, suite


class Maker:
    """Makes a run in a thread, which goes on by a record whenever somebody waits for news."""

    def __init__(self, out, name="run"):
        self.path = out / name
        self._go_on, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._make, args=(out, name))
        self._thread.start()
        self._waits.acquire()

    def _make(self, out, name):
        settled = suite(anisotropic(), optimizers=["sgd", "adam"], iterations=200)
        plan = plan_run(settled, NumpyDevice(), workers=1)
        run_plan(plan, NumpyDevice(), out, "i", self._pause, directory=name)
        self._waits.release()

    def _pause(self, record):
        if isinstance(record, TraceChunk):
            self._waits.release()
            self._go_on.acquire()

    def sleep(self, seconds):
        """Let it go on, and wait until it has."""
        self._go_on.release()
        self._waits.acquire()

    def end(self):
        for _ in range(100):
            self._go_on.release()
        self._thread.join()


@pytest.fixture
def maker(tmp_path, monkeypatch):
    monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 0.0)
    monkeypatch.setattr(display, "SECONDS_BETWEEN_LINES", 0.0)
    made = Maker(tmp_path)
    yield made
    made.end()


def told(capsys):
    seen = capsys.readouterr()
    assert seen.out == ""
    return seen.err.splitlines()


def test_lines_say_how_far_a_run_is_until_it_ends(maker, capsys):
    assert follow(maker.path, maker.sleep) is Status.DONE
    first, second, *lines = told(capsys)
    assert first.startswith("run runs in process ")
    assert first.endswith("; Ctrl-C ends only this display")
    assert second == "small: 2 lanes, 1 block, 1 worker"
    assert [line.partition(", loss")[0] for line in lines] == [
        f"  sgd, adam ×2: iteration {done} of 200" for done in (64, 128, 192, 200)
    ]
    assert all("0 of 1 block done, " in line for line in lines)


def test_bars_show_it_in_a_terminal(maker, monkeypatch):
    screen = Console(force_terminal=True, file=io.StringIO(), width=100, color_system=None)
    monkeypatch.setattr(module, "console", lambda stderr: screen)
    seen = []

    def sleep(seconds):
        maker.sleep(seconds)
        seen.append(screen.file.getvalue())

    assert follow(maker.path, sleep) is Status.DONE
    shown = screen.file.getvalue()
    for text in ("sgd, adam ×2", "/200", "of 1 block done"):
        assert text in shown


def test_an_interrupt_ends_only_the_looking(maker):
    def sleep(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(maker.path, sleep)
    maker.end()
    assert follow(maker.path) is Status.DONE


def test_a_run_that_has_ended_is_told_of_at_once(maker, capsys):
    maker.end()
    assert follow(maker.path, lambda seconds: pytest.fail("it waits")) is Status.DONE
    assert told(capsys) == ["run is not running: it is done"]


def test_it_is_said_where_the_end_of_a_writer_cannot_be_seen(maker, capsys, tmp_path):
    def ended(seconds):
        (copy / LOCK).unlink()

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("run.json", "lanes.parquet"):
        (copy / file).write_bytes((maker.path / file).read_bytes())
    (copy / LOCK).write_text("1 another-machine\n", encoding="utf-8")
    assert follow(copy, ended) is Status.INTERRUPTED
    assert told(capsys)[:2] == [
        "copy runs in process 1 on another-machine; Ctrl-C ends only this display",
        "note: if that process is killed, it is seen on another-machine only",
    ]


def test_a_run_that_is_deleted_meanwhile_is_an_error(maker, tmp_path):
    def deleted(seconds):
        (copy / "run.json").unlink()

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("run.json", "lanes.parquet"):
        (copy / file).write_bytes((maker.path / file).read_bytes())
    with locked(copy), pytest.raises(ResultsError, match="is not a run"):
        follow(copy, deleted)


def test_of_a_study_the_round_is_shown_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 0.0)
    study = tmp_path / "study"
    study.mkdir()
    meta = {
        "started": "now",
        "suite": {"name": "small"},
        "sampler": "random",
        "budget": {"given": "1 trial", "amount": 1, "unit": "trials", "trials": {}},
        "metric": {},
        "rounds": [],
    }
    made = []

    def sleep(seconds):
        if not made:
            made.append(Maker(study, "search-000"))
        elif made[0].path.joinpath(LOCK).exists():
            made[0].sleep(seconds)
        else:
            write_tune(study, {**meta, "status": Status.DONE})

    write_tune(study, {**meta, "status": Status.RUNNING})
    with locked(study):
        assert follow(study, sleep) is Status.DONE
        made[0].end()
        lines = told(capsys)
        assert lines[0].startswith("study runs in process ")
        assert lines[1:3] == ["search-000:", "small: 2 lanes, 1 block, 1 worker"]
    assert follow(study) is Status.DONE
    assert told(capsys) == ["study is not running: it is done"]
