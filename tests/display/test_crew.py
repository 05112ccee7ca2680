"""What is told of a cluster while it runs blocks."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from optbench.display import runs as display
from optbench.display.crew import Crew, short
from optbench.display.notebook import Bar
from optbench.display.phases import TimeLeft
from optbench.display.runs import Bars, Lines
from optbench.records import BlockResult, BlockSplit, LaneResult, Status, Underway
from tests.display.test_runs import Clock, chunk, ended, plan, seen_lines, tasks


class SomeCluster:
    """A cluster of two workers, one of which has a block."""

    where = "local:2"
    at_work = (1, 2)
    place = SimpleNamespace(dashboard="")


def on_cluster(*optimizers, iterations=200):
    made = plan(*optimizers, iterations=iterations)
    made.cluster = SomeCluster()
    return made


def under_way(block, iteration, loss=1.0, worker="tcp://10.0.0.7:4711"):
    return Underway(block, iteration, loss, worker)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def crew(clock):
    """That of two blocks: one of a lane, one of two."""
    made = on_cluster("sgd", ("adam", [{"lr": 0.1}, {"lr": 0.2}]))
    return Crew(made.blocks, made.cluster, clock)


def rows_per_second(crew):
    return crew.line().rpartition(", ")[2]


def test_a_line_says_workers_blocks_and_rows(crew, clock):
    assert crew.line() == "1 of 2 workers at work, 0 of 2 blocks done, 0 rows/s"
    clock.now += 2.0
    crew.observe(chunk(0, 0, [[1.0]] * 200))
    crew.observe(ended(0, Status.DONE))
    assert crew.line() == "1 of 2 workers at work, 1 of 2 blocks done, 100 rows/s"


def test_rows_are_those_of_all_lanes_over_the_last_ten_seconds(crew, clock):
    crew.observe(under_way(1, 40))  # where it goes on
    clock.now += 4.0
    crew.observe(under_way(1, 60))
    crew.observe(chunk(0, 0, [[1.0]] * 20))
    assert rows_per_second(crew) == f"{(2 * 20 + 20) / 4:.0f} rows/s"
    clock.now += 9.0
    crew.observe(under_way(1, 110))
    assert rows_per_second(crew) == f"{(2 * (20 + 50) + 20) / 10:.0f} rows/s"
    clock.now += 2.0
    assert rows_per_second(crew) == f"{2 * 50 / 10:.0f} rows/s"
    clock.now += 20.0
    assert rows_per_second(crew) == "0 rows/s"


def test_rows_that_are_recorded_once_more_are_not_counted_twice(crew, clock):
    crew.observe(chunk(0, 0, [[1.0]] * 64))
    clock.now += 2.0
    for record in (under_way(0, 0, np.nan), chunk(0, 32, [[1.0]] * 32), chunk(0, 64, [[1.0]] * 6)):
        crew.observe(record)
    assert rows_per_second(crew) == f"{(64 + 6) / 2:.0f} rows/s"


def test_what_went_on_from_a_checkpoint_was_recorded_before(crew, clock):
    crew.observe(under_way(0, 0, np.nan))
    clock.now += 2.0
    crew.observe(chunk(0, 100, [[1.0]] * 10))
    assert rows_per_second(crew) == "5 rows/s"


def test_a_block_that_is_seen_only_at_its_end_counts(crew, clock):
    clock.now += 2.0
    crew.observe(
        BlockResult(1, (LaneResult(1, Status.DONE, 200), LaneResult(2, Status.DIVERGED, 20)))
    )
    assert crew.line() == "1 of 2 workers at work, 1 of 2 blocks done, 110 rows/s"


def test_blocks_that_are_split_or_interrupted_are_not_done(crew):
    crew.observe(BlockSplit(1, ((2, (1,)), (3, (2,)))))
    crew.observe(ended(0, Status.INTERRUPTED))
    assert "0 of 3 blocks done" in crew.line()
    crew.observe(ended(2, Status.FAILED))
    assert "1 of 3 blocks done" in crew.line()


def test_the_dashboard_is_named_where_it_is_seen_all_the_time(crew, monkeypatch):
    assert crew.head() == crew.line()
    there = "http://127.0.0.1:8787/status"
    monkeypatch.setattr(SomeCluster, "place", SimpleNamespace(dashboard=there))
    assert crew.head() == f"{crew.line()}, {there}"
    assert there not in crew.line()


def test_of_a_run_whose_workers_nobody_knows_only_blocks_and_rows_are_told():
    assert Crew(plan("sgd").blocks, None).line() == "0 of 1 block done, 0 rows/s"


@pytest.mark.parametrize("most", [7, 14])
def test_a_long_name_of_a_worker_keeps_its_end(most):
    name = short("SLURMCluster-12-0", most)
    assert len(name) == most
    assert name.startswith("…")
    assert "SLURMCluster-12-0".endswith(name[1:])


# What each display makes of it.


@pytest.fixture
def screen():
    return Console(force_terminal=True, file=io.StringIO(), width=80, color_system=None)


def test_bars_move_with_what_workers_say_and_name_them(screen):
    bars = Bars(on_cluster("sgd", "adam"), screen)
    bars.observe(under_way(0, 0, np.nan))
    assert tasks(bars)["sgd"] == (0, 200, "", True)
    bars.observe(under_way(0, 64, 0.5, "3"))
    assert tasks(bars)["sgd"] == (64, 200, "0.5", True)
    assert [task.fields["worker"] for task in bars.progress.tasks] == ["3", ""]
    bars.observe(under_way(0, 201, 0.25, "3"))
    bars.observe(ended(0, Status.DONE))
    assert tasks(bars)["sgd"] == (200, 200, "0.25", True)
    assert [task.fields["worker"] for task in bars.progress.tasks] == ["", ""]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_bar_stays_where_it_is_while_its_block_goes_on_elsewhere(screen, monkeypatch, streamed):
    monkeypatch.setattr(display, "MOST_BARS", 1)
    bars = Bars(on_cluster("sgd", "adam"), screen)

    def record(iteration):
        rows = [[0.5]] * 32
        return chunk(0, iteration - 32, rows) if streamed else under_way(0, iteration, 0.5)

    for iteration in (32, 64, 96, 128):
        bars.observe(record(iteration))
    seen = []
    for again in (under_way(0, 0, np.nan, "other"), *map(record, (64, 96, 128, 160, 192, 224))):
        bars.observe(again)
        seen.append(tasks(bars)["sgd"][0])
        assert tasks(bars)["small: 2 blocks"][0] == seen[-1]
    assert seen == [128, 128, 128, 128, 160, 192, 200]
    assert tasks(bars)["sgd"][2] == "0.5"


def test_a_bar_begins_where_its_block_goes_on(screen):
    bars = Bars(on_cluster("sgd"), screen)
    bars.observe(under_way(0, 0, np.nan))
    bars.observe(chunk(0, 100, [[1.0]] * 10))
    assert tasks(bars)["sgd"][0] == 110


@pytest.mark.parametrize("columns", [80, 120])
def test_bars_keep_to_their_lines_whatever_workers_are_called(columns):
    screen = Console(force_terminal=True, file=io.StringIO(), width=columns, color_system=None)
    lanes = [("momentum", [{"lr": 0.1}]), ("adagrad", [{"lr": 0.1}]), "sgd", "adam", "nesterov"]
    bars = Bars(on_cluster(*lanes, iterations=20000), screen)
    bars.observe(under_way(0, 1500, 0.12345, "tcp://192.168.100.100:41234"))
    bars.observe(under_way(1, 1500, np.inf, "SLURMCluster-1234-0"))
    with bars.progress:
        bars.progress.refresh()
    (first, second, *_) = [
        line for line in screen.file.getvalue().splitlines() if "1500/20000" in line
    ][-2:]
    assert ":41234 " in first
    assert "1234-0 " in second
    assert first.rstrip().endswith("0.1235")
    assert second.rstrip().endswith("diverged")


def test_lines_tell_how_far_it_is_and_where(capsys, clock):
    made = on_cluster("sgd", "adam")
    crew = Crew(made.blocks, made.cluster, clock)
    lines = Lines(made, clock, crew)
    lines.observe(under_way(0, 0, np.nan, "3"))
    clock.now += 10.0
    crew.observe(under_way(0, 64, 0.5, "3"))
    lines.observe(under_way(0, 64, 0.5, "3"))
    clock.now += 10.0
    lines.observe(under_way(0, 0, np.nan, "4"))
    clock.now += 10.0
    lines.observe(chunk(1, 0, [[2.0]] * 16))
    assert seen_lines(capsys) == [
        "small: 2 lanes, 2 blocks, 2 workers on local:2",
        "  sgd on 3: iteration 64 of 200, loss 0.5 (1 of 2 workers at work, 0 of 2 blocks done, "
        "0 rows/s)",
        "  sgd on 4: iteration 64 of 200 (1 of 2 workers at work, 0 of 2 blocks done, 0 rows/s)",
        "  adam: iteration 16 of 200, loss 2 (1 of 2 workers at work, 0 of 2 blocks done, "
        "0 rows/s)",
    ]


def test_the_bar_of_a_notebook_moves_and_never_back(clock):
    bar = Bar(on_cluster("sgd"), lambda: "", clock)
    for iteration, loss in ((150, 1.0), (0, np.nan), (100, 1.0)):
        bar.observe(under_way(0, iteration, loss))
        assert bar.done == pytest.approx(0.75)


def test_the_time_left_counts_what_workers_say_once(clock):
    left = TimeLeft({"anisotropic": 1.0}, clock)
    left.begin(on_cluster("sgd", "adam"), {})
    left.observe(under_way(0, 100, np.nan))  # where it goes on
    assert left.seconds() == 100 + 200
    clock.now += 20.0
    left.observe(under_way(0, 140))
    left.observe(under_way(0, 120))  # elsewhere
    assert left.seconds() == pytest.approx((60 + 200) * 20.0 / 40.0)
