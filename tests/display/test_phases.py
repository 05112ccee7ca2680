"""What a study shows while it goes on: its bars, lines, and how long it still takes."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from optbench.display import phases
from optbench.display.phases import Phases, TimeLeft, best_so_far, roughly
from optbench.records import BlockResult, BlockSplit, LaneResult, Status
from optbench.tuning.study import Step
from tests.display.test_runs import Clock, chunk, plan


def ended(block, *lanes):
    return BlockResult(block, tuple(LaneResult(lane, Status.DONE, 200) for lane in lanes))


def step(phase="search", later=None, trials=2, **changes):
    counts = {("anisotropic", "sgd"): trials}
    options = {"kept": False, "best": {}, "metrics": {}, "later": later or {}} | changes
    return Step(phase, f"{phase}-000", counts, **options)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "1 s"), (99.4, "99 s"), (99.5, "2 min"), (5969.0, "99 min"), (5970.0, "1.7 h")],
)
def test_a_time_is_written_as_one_plans_with_it(seconds, text):
    assert roughly(seconds) == text


# The time that is left.


def time_left(costs, clock, later=None):
    made = TimeLeft(costs, clock)
    made.begin(plan("sgd", "adam"), later or {})
    return made


def test_before_there_is_a_pace_the_estimate_counts():
    # two blocks of one lane and 200 steps each, then 100 steps of a problem that costs more
    left = time_left({"anisotropic": 0.5, "booth": 2.0}, Clock(), {"booth": 100})
    assert left.seconds() == 2 * 200 * 0.5 + 100 * 2.0
    left.observe(chunk(0, 0, [[1.0]] * 50))
    assert left.seconds() == 150 * 0.5 + 200 * 0.5 + 200.0
    assert time_left({}, Clock()).seconds() is None


def test_then_that_of_the_steps_made_which_the_start_is_no_part_of():
    clock = Clock()
    left = time_left({}, clock, {"anisotropic": 100})
    clock.now += 1000.0  # processes start, and data are read
    left.observe(chunk(0, 0, [[1.0]] * 50))
    assert left.seconds() is None
    clock.now += 20.0
    left.observe(chunk(0, 50, [[1.0]] * 40))
    assert left.seconds() == pytest.approx((110 + 200 + 100) * 20.0 / 40.0)


def test_lanes_that_end_early_take_no_more_time():
    left = time_left({"anisotropic": 1.0}, Clock())
    left.observe(chunk(0, 0, [[1.0], [np.inf]], rows=[2]))
    assert left.seconds() == 198 + 200
    left.observe(chunk(0, 2, [[1.0], [np.nan]], rows=[1]))
    assert left.seconds() == 200
    left.observe(chunk(1, 0, [[1.0]] * 201))
    assert left.seconds() == 0
    left.begin(plan("sgd"), {})
    left.observe(ended(0, 0))
    assert left.seconds() == 0


def test_a_block_that_is_split_begins_anew():
    made = TimeLeft({"anisotropic": 1.0}, Clock())
    made.begin(plan(("sgd", [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}])), {})
    assert made.seconds() == 600
    made.observe(chunk(0, 0, [[1.0, 1.0, 1.0]] * 100))
    assert made.seconds() == 300
    made.observe(BlockSplit(0, ((1, (0,)), (2, (1, 2)))))
    assert made.seconds() == 600
    made.observe(ended(1, 0))
    assert made.seconds() == 400


# Lines, where no terminal shows bars.


def shown(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_round_says_how_far_it_is(capsys):
    clock = Clock()
    made = Phases(quiet=False, clock=clock)
    made.announce(step(later={"anisotropic": 400}))
    assert shown(capsys) == ["search: 2 trials"]
    with made.show(plan("sgd", "adam")) as observe:
        observe(chunk(0, 0, [[1.0]] * 100))
        clock.now += 12.0
        observe(chunk(0, 100, [[1.0]] * 101))
        assert shown(capsys) == ["  search: 0 of 2 trials, 71 s left in all"]
        observe(ended(0, 0))
        assert shown(capsys) == []
        clock.now += 12.0
        observe(chunk(1, 0, [[1.0]] * 100))
        assert shown(capsys) == ["  search: 1 of 2 trials, 60 s left in all"]


def test_what_is_best_and_which_round_is_next_is_said(capsys):
    made = Phases(quiet=False)
    best = {("a", "sgd"): 0.123456, ("a", "adam"): np.inf, ("b", "sgd"): 2e-9}
    by_loss = {"a": "final_loss", "b": "final_loss"}
    made.announce(step("finalists", best=best, metrics=by_loss, kept=True))
    assert shown(capsys) == [
        "  best so far on a: sgd 0.1235, adam diverged",
        "  best so far on b: sgd 2.000e-09",
        "finalists: 2 trials again, run already",
    ]
    assert best_so_far({}, {}) == []
    made.announce(step("final", trials=1))
    assert shown(capsys) == ["final: 1 winner"]
    others = {"a": "steps_to_target", "b": "validation_error"}
    assert best_so_far({("a", "sgd"): 32.0, ("a", "adam"): np.inf, ("b", "sgd"): 0.02}, others) == [
        "best so far on a: sgd 32, adam missed",
        "best so far on b: sgd 2.00 %",
    ]


def test_the_final_counts_lanes_and_those_that_were_kept(capsys):
    clock = Clock()
    made = Phases(quiet=False, clock=clock)
    made.announce(step("final"))
    whole = plan("sgd", "adam")
    rest = SimpleNamespace(lanes=whole.lanes, blocks=whole.blocks[1:], cluster=None)
    with made.show(rest) as observe:
        clock.now += 10.0
        observe(chunk(1, 0, [[1.0]]))
    assert shown(capsys) == ["final: 2 winners", "  final: 1 of 2 lanes"]


def test_rounds_in_a_row_say_no_more_than_a_line_every_ten_seconds(capsys):
    clock = Clock()
    made = Phases(quiet=False, clock=clock)
    best = {("a", "sgd"): 0.5}
    for _ in range(8):
        made.announce(step(best=best, metrics={"a": "final_loss"}))
        with made.show(plan("sgd", "adam")) as observe:
            clock.now += 3.0
            observe(chunk(0, 0, [[1.0]] * 201))
            observe(ended(0, 0))
            observe(ended(1, 1))
    assert shown(capsys) == [
        "  best so far on a: sgd 0.5000",
        "search: 2 trials",
        "  search: 0 of 2 trials",
        "  search: 0 of 2 trials",
    ]


def test_quiet_is_quiet(capsys):
    made = Phases(quiet=True)
    made.announce(step(best={("a", "sgd"): 1.0}, metrics={"a": "final_loss"}))
    with made.show(plan("sgd")) as observe:
        observe(chunk(0, 0, [[1.0]]))
    assert capsys.readouterr() == ("", "")


def test_bars_stand_below_the_line(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(phases, "console", lambda stderr: screen)
    made = Phases(quiet=False)
    made.announce(step())
    with made.show(plan("sgd", "adam")) as observe:
        observe(chunk(0, 0, [[1.0]] * 201))
        observe(ended(0, 0))
    text = screen.file.getvalue()
    assert re.search(r"search: 1 of 2 trials *\n", text)
    assert "200/200" in text
