"""Studies that are killed, interrupted or cut: carried on, they end as one that nothing ended.

Moments are drawn from fixed seeds and printed: how many steps and records have been seen, and how
many seconds later. Steps are those of :mod:`tests.slow.faults`.
"""

import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optbench.engine import loop as engine
from optbench.errors import OptbenchError
from optbench.problems.registry import PROBLEMS
from optbench.records import Record, Status
from optbench.runs import pipeline, resume
from optbench.runs.invocation import Execution
from optbench.runs.pipeline import Plan
from optbench.store import block_writer, lock
from optbench.store.find import list_unbegun
from optbench.store.studies import is_study, read_study
from optbench.tuning import study
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.study import resume_study, tune
from tests.slow import assert_same_study
from tests.slow.faults import EVENTS, FAULTS, Child, start_action
from tests.small import SmallNetwork

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs forks and signals of POSIX systems"),
]

NETWORK = """
name = "killed"
iterations = 100
evaluate_every = 50
seeds = [0, 1, 2, 3, 4, 5]

[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 16", "relu", "dense 10"]

[[optimizer]]
name = "adam"

[[optimizer]]
name = "momentum"
"""

SHORT = """
name = "short"
iterations = 8
seeds = [0]

[[problem]]
name = "small-network"

[[optimizer]]
name = "sgd"
"""

SEED = 20


@dataclass(frozen=True)
class Desk:
    """A folder in which a study is made, by children of this process, until it has ended."""

    folder: Path
    suite: str
    options: dict[str, Any]
    workers: int = 1
    checkpoint_every: float = 0.0

    @property
    def studies(self) -> list[Path]:
        return [path for path in (self.folder / "results").glob("*") if is_study(path)]

    @property
    def study(self) -> Path:
        (found,) = self.studies
        return found

    def work(self, child: Child, moment: "Moment") -> int:
        """Tune, or go on with the study that is there; return the exit code, and tell an error."""

        @contextmanager
        def progress(plan: Plan) -> Iterator[Callable[[Record], None]]:
            yield lambda record: moment.come()

        (self.folder / "mine.toml").write_text(self.suite, encoding="utf-8")
        asked = TuneRequest(suite=str(self.folder / "mine.toml"), **self.options)
        how = Execution(
            out=self.folder / "results",
            workers=self.workers,
            checkpoint_every=self.checkpoint_every,
        )
        told = {"progress": progress, "announce": moment.enter}
        try:
            if found := self.studies:
                result = resume_study(found[0], how, **told)
            else:
                result = tune(asked, how, **told)
        except KeyboardInterrupt:
            return 130
        except OptbenchError as error:
            child.tell("error", str(error))
            return int(error.exit_code)
        return 130 if result.status is Status.INTERRUPTED else 0

    def act(self, moment: "Moment | None" = None) -> tuple[int, dict[str, Any]]:
        """Work in a child, which a moment may end; return its exit code and what it told.

        It tells how many events it saw in each round, and before the first.
        """

        def action(child: Child) -> int:
            seen = moment or Moment()
            # A shell lets what it starts in the background ignore Ctrl-C, and so does Python then.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.addaudithook(seen.hear)
            code = self.work(child, seen)
            child.tell("events", seen.events)
            return code

        code, told = start_action(None, 0, action, self.folder).told()
        return code, dict(told)

    def check(self) -> None:
        """Read what is there: nothing, or a study that can be read; then it can be carried on."""
        for path in (self.folder / "results").glob("*"):
            if not is_study(path):
                assert [run.path for run in list_unbegun(path.parent)] == [path]
                shutil.rmtree(path)
        for path in self.studies:
            tables = read_study(path)
            assert tables.meta["status"] in ("interrupted", "done")
            assert not tables.trials.duplicated(["problem", "label", "trial", "phase"]).any()


@dataclass
class Moment:
    """Sends a signal some seconds after so many events of a round, or when the next one begins.

    Events are steps on files and records of runs; those before the first round are of round "".
    """

    signal: int = signal.SIGKILL
    round: str = "none"
    after: int = 0
    seconds: float = 0.0
    events: dict[str, int] = field(default_factory=lambda: {"": 0})

    def enter(self, step: study.Step) -> None:
        if self.round == next(reversed(self.events)):
            self.fire()
        self.events[step.run] = 0

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            self.come()

    def come(self) -> None:
        here = next(reversed(self.events))
        self.events[here] += 1
        if (here, self.events[here]) == (self.round, self.after):
            self.fire()

    def fire(self) -> None:
        threading.Timer(self.seconds, os.kill, [os.getpid(), self.signal]).start()
        self.round = "none"


def network(folder: Path) -> Desk:
    options = {"budget": "16 trials", "trial_seeds": 2, "finalists": 2, "finalist_seeds": 2}
    return Desk(folder, NETWORK, options, workers=2, checkpoint_every=0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The study that nothing ends, and how many events its rounds have."""
    desk = network(tmp_path_factory.mktemp("whole"))
    code, told = desk.act()
    assert code == 0
    return desk.study, told["events"]


def test_seeds_that_choose_never_judge(whole):
    meta = read_study(whole[0]).meta
    seeds = [*meta["tuning_seeds"], *meta["finalist_seeds"], *meta["evaluation_seeds"]]
    assert len(set(seeds)) == len(seeds) == 2 + 2 + 6
    for name in ("search-000", "finalists", "final"):
        chosen = {"search-000": "tuning", "finalists": "finalist", "final": "evaluation"}[name]
        lanes = pd.read_parquet(whole[0] / name / "lanes.parquet")
        assert sorted(lanes["seed"].unique()) == meta[f"{chosen}_seeds"]


ROUNDS = {"": 1, "search-000": 4, "finalists": 3, "final": 2}
"""How many moments come before the first round, and how many in each."""


def moments(number: int, events: Mapping[str, int], rounds: Mapping[str, int]) -> Iterator[Moment]:
    """Draw moments: in each round, and between them."""
    drawn = random.Random(f"{SEED} {number}")
    sent = signal.SIGINT if number % 2 else signal.SIGKILL
    for name, times in rounds.items():
        most = events[name] // (2 if name == "final" else 1)  # of a study that has not ended
        for _ in range(times):
            yield Moment(sent, name, drawn.randint(1, most), drawn.uniform(0.0, 0.01))


def carried_on(desk: Desk, drawn: Iterable[Moment]) -> list[int]:
    """Work until moments end it, one after another, and then to the end; return exit codes."""
    codes = []
    for moment in drawn:
        code, _ = desk.act(moment)
        sys.stdout.write(f"{moment} ended it with {code}\n")
        codes.append(code)
        desk.check()
        if code == 0:
            break
    else:
        assert desk.act()[0] == 0
    return codes


@pytest.mark.parametrize("number", range(4))
def test_a_study_survives_being_killed_ten_times(number, whole, tmp_path, monkeypatch):
    """For odd numbers it gets Ctrl-C; for the latter half, workers are processes."""
    expected, events = whole
    if number >= 2:
        monkeypatch.setattr(pipeline, "PROCESSES_AFTER", 0.0)
    desk = network(tmp_path)
    codes = carried_on(desk, moments(number, events, ROUNDS))
    # Ctrl-C may come when the final has all but ended.
    assert codes[:8] == [130 if number % 2 else -signal.SIGKILL] * 8
    assert_same_study(desk.study, expected)


@pytest.mark.parametrize("number", range(2))
def test_a_study_of_tpe_survives_being_killed_in_every_round(number, tmp_path):
    """Each of its rounds follows from those before, also where they were carried on."""
    pytest.importorskip("optuna")
    text = NETWORK.replace("evaluate_every = 50", "").replace("100", "30")

    def study_of_tpe(folder: Path) -> Desk:
        folder.mkdir()
        desk = network(folder)
        return replace(desk, suite=text, options={**desk.options, "sampler": "tpe", "batch": 4})

    whole = study_of_tpe(tmp_path / "whole")
    code, told = whole.act()
    names = [f"search-{each:03d}" for each in range(4)]
    assert (code, [*told["events"]]) == (0, ["", *names, "finalists", "final"])
    desk = study_of_tpe(tmp_path / "killed")
    codes = carried_on(desk, moments(number, told["events"], dict.fromkeys(told["events"], 1)))
    assert codes[:6] == [130 if number % 2 else -signal.SIGKILL] * 6
    assert_same_study(desk.study, whole.study)


def short(folder: Path) -> Desk:
    options = {"budget": "4 trials", "trial_seeds": 1, "finalists": 1, "finalist_seeds": 1}
    return Desk(folder, SHORT, {**options, "defaults": False})


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Make chunks short; look at the machine once only, and at locks for a moment."""
    environment, seconds = pipeline.describe_environment(), pipeline.calibration_seconds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROBLEMS, SmallNetwork.name, SmallNetwork)
        patch.setattr(engine, "CHUNK_ROWS", 6)
        patch.setattr(block_writer, "JOURNAL_SECONDS", 3600.0)  # it is written with each checkpoint
        patch.setattr(lock, "LOOK_SECONDS", 0.02)
        for module in (pipeline, resume, study):
            patch.setattr(module, "describe_environment", lambda: environment)
        patch.setattr(pipeline, "calibration_seconds", lambda: seconds)
        yield


@pytest.fixture(scope="module")
def short_whole(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    desk = short(tmp_path_factory.mktemp("short"))
    assert desk.act()[0] == 0
    return desk.study


def work_with(fault: str, at: int, desk: Desk) -> tuple[int, dict[str, Any]]:
    """Work with a fault at a step; see :func:`tests.slow.faults.run_with`."""
    (desk.folder / "results").mkdir(exist_ok=True)

    def action(child: Child) -> int:
        return desk.work(child, Moment())

    code, told = start_action(fault, at, action, desk.folder / "results").told()
    return code, dict(told)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_step_of_a_study_loses_nothing(fault, short_whole, tmp_path):
    """At every fourth step, each fault at others; test_faults looks at all those of a run."""
    for at in count(1 + list(FAULTS).index(fault), 4):
        desk = short(tmp_path / str(at))
        desk.folder.mkdir()
        code, told = work_with(fault, at, desk)
        if "reached" not in told:
            assert code == 0
            assert at > 20
            return
        ends = {"kill": (-signal.SIGKILL,), "cut": (-signal.SIGXFSZ,), "interrupt": (130, 0)}
        assert code in ends.get(fault, (2, 0)), (at, code, told)
        desk.check()
        if not desk.studies or read_study(desk.study).meta["status"] == "interrupted":
            assert desk.act()[0] == 0
        assert_same_study(desk.study, short_whole)
        shutil.rmtree(desk.folder)


def test_only_one_of_two_processes_goes_on_with_a_study(whole, tmp_path):
    expected, events = whole
    desk = network(tmp_path)
    assert desk.act(Moment(round="search-000", after=events["search-000"] // 4))[0] == -9
    reading, writing = os.pipe()

    class Told(Moment):
        def enter(self, step: study.Step) -> None:
            os.write(writing, b"1")

    one = start_action(None, 0, lambda child: desk.work(child, Told()), tmp_path)
    os.read(reading, 1)
    code, told = desk.act()
    assert (code, told["error"]) == (
        2,
        f"'{desk.study}' is being written by another process; wait for its end",
    )
    assert one.told()[0] == 0
    assert_same_study(desk.study, expected)
