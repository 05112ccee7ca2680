"""What a run shows while it goes on."""

import io
import re
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from optbench.display import runs as display
from optbench.display.runs import Bars, Lines, current_loss
from optbench.display.screen import PIPE_COLUMNS, console
from optbench.optimizers.registry import OPTIMIZERS
from optbench.records import BlockResult, BlockSplit, EvaluationRows, LaneResult, Status, TraceChunk
from tests.cli.command import in_terminal, optbench
from tests.small import anisotropic, blocks_of, suite

COLOR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[\d;]*m")


@dataclass
class Clock:
    """Tells the time that a test wants."""

    now: float = 100.0

    def __call__(self):
        return self.now


def plan(*optimizers, iterations=200):
    """Return what the display takes from a plan, here with one block for each optimizer."""
    settled = suite(anisotropic(), optimizers=optimizers, iterations=iterations)
    (block,) = blocks_of(settled)
    blocks = [
        replace(block, number=number, groups=(group,)) for number, group in enumerate(block.groups)
    ]
    lanes = [lane for block in blocks for lane in block.lanes]
    return SimpleNamespace(suite=settled, lanes=lanes, blocks=blocks, workers=2, cluster=None)


def chunk(block, first, losses, rows=None):
    """Return trace rows of a block; ``losses`` has a row a list."""
    loss = np.array(losses, dtype=float)
    counts = np.full(loss.shape[1], len(loss)) if rows is None else np.array(rows)
    return TraceChunk(block, np.arange(loss.shape[1]), first, loss, counts)


def ended(block, *statuses):
    lanes = tuple(LaneResult(number, status, 200) for number, status in enumerate(statuses))
    return BlockResult(block, lanes)


# The loss that is shown.


@pytest.mark.parametrize(
    ("losses", "rows", "shown"),
    [
        ([[3.0], [1.23456]], None, "1.235"),
        ([[9.0, 9.0, 9.0], [1.0, 2.0, 7.0]], None, "2"),
        ([[9.0, 9.0, 9.0], [1.0, 2.0, 3.0]], [1, 2, 2], "3"),
        ([[9.0, 9.0, 9.0], [1.0, 2.0, 3.0]], [1, 0, 2], "6"),
        ([[1.0], [np.nan]], [2], "diverged"),
        ([[1.0, 1.0], [np.inf, 2.0]], [2, 2], "diverged"),
        ([[1e-12], [1.5e-11]], None, "1.5e-11"),
    ],
)
def test_the_current_loss_is_a_median_in_which_diverged_lanes_count(losses, rows, shown):
    assert current_loss(chunk(0, 0, losses, rows).last_loss) == shown


# Plain lines.


def seen_lines(capsys):
    seen = capsys.readouterr()
    assert seen.out == ""
    return seen.err.splitlines()


def test_a_short_run_says_its_start_and_its_end_whatever_its_blocks(capsys):
    lines = Lines(plan(*list(OPTIMIZERS)[:12]), Clock())
    assert seen_lines(capsys) == []
    for block in range(12):
        lines.observe(chunk(block, 0, [[1.0]] * 200))
        lines.observe(ended(block, Status.DIVERGED if block == 3 else Status.DONE))
    lines.end()
    assert seen_lines(capsys) == [
        "small: 12 lanes, 12 blocks, 2 workers",
        "small: 1 diverged, 11 done",
    ]


def test_one_is_not_many(capsys):
    single = plan("sgd")
    single.workers = 1
    Lines(single, Clock()).observe(ended(0, Status.DONE))
    assert seen_lines(capsys) == ["small: 1 lane, 1 block, 1 worker"]


def test_a_line_tells_how_far_it_is_every_ten_seconds_over_all_blocks(capsys):
    clock = Clock()
    lines = Lines(plan("sgd", "adam"), clock)
    rows = [[2.0]] * 64
    for seconds, block, first in ((0, 0, 0), (9.9, 1, 0), (10, 0, 64), (11, 1, 64), (20, 1, 192)):
        clock.now = 100.0 + seconds
        lines.observe(chunk(block, first, rows))
    lines.observe(ended(0, Status.DONE))
    clock.now = 130.0
    lines.observe(chunk(1, 192, [[2.0]]))
    assert seen_lines(capsys)[1:] == [
        "  sgd: iteration 128 of 200, loss 2 (0 of 2 blocks have ended)",
        "  adam: iteration 200 of 200, loss 2 (0 of 2 blocks have ended)",
        "  adam: iteration 200 of 200, loss 2 (1 of 2 blocks have ended)",
    ]


def test_an_evaluation_is_part_of_the_next_line(capsys):
    clock = Clock()
    evaluated = plan("sgd")
    rules = SimpleNamespace(evaluate_every=50, patience=None)
    evaluated.suite = SimpleNamespace(name="small", problems=[SimpleNamespace(rules=rules)])
    lines = Lines(evaluated, clock)
    clock.now += 60
    for split, loss in (("validation", 0.25), ("train", 0.125)):
        losses, errors = np.array([loss]), np.array([0.0625])
        lines.observe(EvaluationRows(0, 0, np.zeros(1, dtype=int), 50, split, losses, errors))
    lines.observe(chunk(0, 50, [[2.0]] * 14))
    assert seen_lines(capsys)[1:] == [
        "  sgd: iteration 64 of 200, loss 2, validation loss 0.25, error 6.25 %"
    ]


# Bars.


@pytest.fixture
def screen():
    return Console(force_terminal=True, file=io.StringIO(), width=100, color_system=None)


def tasks(bars):
    return {
        task.description: (task.completed, task.total, task.fields["loss"], task.visible)
        for task in bars.progress.tasks
    }


def test_bars_move_with_the_rows(screen):
    bars = Bars(plan("sgd", "adam"), screen)
    assert tasks(bars) == {"sgd": (0, 200, "", True), "adam": (0, 200, "", True)}
    assert [task.started for task in bars.progress.tasks] == [False, False]
    bars.observe(chunk(1, 0, [[3.0]] * 64))
    bars.observe(chunk(1, 64, [[2.5]] * 64))
    zeros = np.zeros(1)
    bars.observe(EvaluationRows(0, 0, np.zeros(1, dtype=int), 200, "test", zeros, zeros))
    assert [task.started for task in bars.progress.tasks] == [False, True]
    assert tasks(bars)["adam"] == (128, 200, "2.5", True)
    bars.observe(ended(1, Status.DONE))
    assert tasks(bars)["adam"][3]


def test_a_finished_bar_does_not_go_beyond_its_total(screen):
    """A function has a row more than updates."""
    bars = Bars(plan("sgd", iterations=3), screen)
    bars.observe(chunk(0, 0, [[1.0]] * 4))
    assert tasks(bars) == {"sgd": (3, 3, "1", True)}


def test_of_many_blocks_those_at_work_have_a_bar_beside_one_for_all(screen, monkeypatch):
    monkeypatch.setattr(display, "MOST_BARS", 1)
    bars = Bars(plan("sgd", "adam"), screen)
    assert tasks(bars) == {
        "small: 2 blocks": (0, 400, "", True),
        "sgd": (0, 200, "", False),
        "adam": (0, 200, "", False),
    }
    bars.observe(chunk(1, 0, [[3.0]] * 64))
    assert tasks(bars) == {
        "small: 2 blocks": (64, 400, "", True),
        "sgd": (0, 200, "", False),
        "adam": (64, 200, "3", True),
    }
    bars.observe(ended(1, Status.DIVERGED))
    assert tasks(bars)["small: 2 blocks"][0] == 200
    assert not tasks(bars)["adam"][3]


def test_bars_show_speed_time_left_and_loss(screen):
    bars = Bars(plan("sgd"), screen)
    clock = Clock()
    bars.progress.get_time = clock
    with bars.progress:
        for first in (0, 64):
            bars.observe(chunk(0, first, [[0.5]] * 64))
            clock.now += 2.0
        bars.progress.refresh()
    text = screen.file.getvalue()
    assert "128/200" in text
    assert "32 it/s" in text
    assert "00:03" in text
    assert "0.5" in text


def test_a_label_is_no_markup(screen):
    labelled = plan("sgd")
    (group,) = labelled.blocks[0].groups
    lane = replace(group.lanes[0], label="[/x] [bold]")
    labelled.blocks[0] = replace(labelled.blocks[0], groups=(replace(group, lanes=(lane,)),))
    with Bars(labelled, screen).progress:
        pass
    assert "[/x] [bold]" in screen.file.getvalue()


def test_which_display_a_terminal_gets(monkeypatch):
    def shown(quiet=False, **options):
        screen = Console(file=io.StringIO(), **options)
        monkeypatch.setattr(display, "console", lambda *, stderr: screen)
        with display.display(plan("sgd"), quiet=quiet) as observe:
            return getattr(observe, "__self__", None).__class__

    assert shown(force_terminal=True) is Bars
    assert shown(force_terminal=False) is Lines
    assert shown(force_terminal=True, _environ={"TERM": "dumb"}) is Lines
    assert shown(force_terminal=True, quiet=True) is type(None)


# Control codes and colours.


def test_where_the_output_is_no_terminal_tables_have_a_width_and_no_codes(tmp_path):
    assert console().width == PIPE_COLUMNS
    seen = optbench("run", "anisotropic", "--set", "sgd.lr=1e200", cwd=tmp_path)
    assert "\x1b" not in seen.out + seen.err
    assert "\r" not in seen.out + seen.err


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_is_honoured_in_a_terminal(tmp_path, no_color):
    environment = {"TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    arguments = ("run", "anisotropic", "--iterations", 100, "--set", "sgd.lr=1e200")
    code, _, text = in_terminal(*arguments, cwd=tmp_path, **environment)
    assert (code, "\x1b" in text, "diverged" in text) == (0, True, True)
    assert bool(COLOR.search(text)) is not no_color


# Blocks that do not fit.

HALVES = BlockSplit(0, ((1, (0,)), (2, (1,))))


def test_lines_say_that_a_block_is_split_and_go_on_with_its_parts(capsys):
    clock = Clock()
    lines = Lines(plan(("sgd", [{"lr": 0.1}, {"lr": 0.2}])), clock)
    lines.observe(HALVES)
    lines.observe(ended(1, Status.DONE))
    clock.now += 10.0
    lines.observe(chunk(2, 0, [[1.0]] * 64))
    assert seen_lines(capsys)[1:] == [
        "  sgd ×2: does not fit into memory, split in two",
        "  sgd, lr 0.2: iteration 64 of 200, loss 1 (1 of 2 blocks have ended)",
    ]


@pytest.mark.parametrize("others", [0, display.MOST_BARS])
def test_bars_go_on_with_the_parts_of_a_split_block(others):
    rates = [{"lr": 0.1}, {"lr": 0.2}]
    first = plan(("sgd", rates))
    first.blocks += tuple(replace(first.blocks[0], number=3 + number) for number in range(others))
    bars = Bars(first, Console(file=io.StringIO(), force_terminal=True, width=120))
    bars.observe(chunk(0, 0, [[1.0, 1.0]] * 64))
    bars.observe(HALVES)
    for number in (1, 2):
        bars.observe(chunk(number, 0, [[1.0]] * 200))
        bars.observe(ended(number, Status.DONE))
    for number in range(others):
        bars.observe(ended(3 + number, Status.DONE))
    tasks = bars.progress.tasks
    parts = [task for task in tasks if task.description in ("sgd, lr 0.1", "sgd, lr 0.2")]
    assert [(task.completed, task.total) for task in parts] == [(200, 200)] * 2
    if others:
        assert tasks[0].completed == tasks[0].total == 200 * (1 + others + 2)
