"""The ledger finds where lanes diverge, cuts their traces there, and sums up."""

from dataclasses import replace

import numpy as np
import pytest

from optbench.engine.ledger import Ledger
from optbench.engine.recorder import TraceRows
from optbench.engine.stopping import Rules
from optbench.problems.base import Problem
from optbench.records import Status
from tests.small import anisotropic, blocks_of, small_network, suite


def ledger(problem=None, *, lanes: int = 3, iterations: int = 6) -> Ledger:
    problem = problem or anisotropic()
    (block,) = blocks_of(
        suite(problem, optimizers=["sgd"], seeds=range(lanes), iterations=iterations)
    )
    return Ledger(block)


def rows(first: int, loss, finite=None) -> TraceRows:
    loss = np.array(loss, dtype=float)
    finite = np.isfinite(loss) if finite is None else np.array(finite, dtype=bool)
    return TraceRows(first, loss, finite, None)


def test_a_trace_has_a_row_more_where_losses_are_recorded_before():
    assert ledger(anisotropic(), iterations=6).full_rows == 7
    assert ledger(small_network(record="before"), iterations=6).full_rows == 7
    assert ledger(small_network(record="after"), iterations=6).full_rows == 6


def test_what_is_entered_comes_back_as_a_piece_of_the_trace():
    book = ledger()
    position = np.zeros((2, 3, 2))
    chunk = book.enter(TraceRows(0, np.ones((2, 3)), np.ones((2, 3), dtype=bool), position))
    assert (chunk.block, chunk.first_iteration, chunk.rows.tolist()) == (0, 0, [2, 2, 2])
    assert chunk.lanes.tolist() == [0, 1, 2]
    assert chunk.lanes.dtype == np.int32
    assert chunk.position is position
    assert book.enter(rows(2, np.ones((3, 3)))).first_iteration == 2


def test_the_first_row_that_is_not_finite_is_a_lanes_last():
    book = ledger()
    first = book.enter(rows(0, [[1, 1, np.nan], [1, np.inf, 2]]))
    assert first.rows.tolist() == [2, 2, 1]
    assert book.running.tolist() == [True, False, False]
    second = book.enter(rows(2, [[1, 1, 1]] * 5))
    assert second.rows.tolist() == [5, 0, 0]
    lanes = book.result().lanes
    assert [lane.status for lane in lanes] == [Status.DONE, Status.DIVERGED, Status.DIVERGED]
    assert [lane.diverged_at for lane in lanes] == [None, 1, 0]
    assert [lane.iterations for lane in lanes] == [6, 1, 0]
    assert [lane.final_loss for lane in lanes] == [1.0, None, None]
    assert [lane.best_loss for lane in lanes] == [1.0, None, None]


def test_parameters_that_are_not_finite_end_a_lane_although_its_loss_is():
    book = ledger(lanes=2, iterations=1)
    chunk = book.enter(rows(0, [[1, 1], [0.5, 0.5]], [[True, True], [True, False]]))
    assert chunk.rows.tolist() == [2, 2]
    assert [lane.diverged_at for lane in book.result().lanes] == [None, 1]


def test_where_losses_are_recorded_after_the_row_of_divergence_has_had_its_update():
    book = ledger(small_network(record="after"), lanes=2, iterations=3)
    book.enter(rows(0, [[1, 1], [1, np.nan], [1, np.nan]]))
    done, diverged = book.result().lanes
    assert (done.iterations, done.diverged_at) == (3, None)
    assert (diverged.iterations, diverged.diverged_at) == (2, 1)


def test_no_lane_is_left_once_all_have_diverged():
    book = ledger(lanes=2)
    book.enter(rows(0, [[1, np.nan]]))
    assert book.running.any()
    book.enter(rows(1, [[np.inf, 1]]))
    assert not book.running.any()
    assert not book.complete


def test_it_is_complete_with_its_last_row_where_a_lane_is_left():
    book = ledger(lanes=2, iterations=2)
    book.enter(rows(0, [[1, 1], [1, 1]]))
    assert not book.complete
    book.enter(rows(2, [[1, np.nan]]))
    assert book.complete
    everybody_lost = ledger(lanes=1, iterations=1)
    everybody_lost.enter(rows(0, [[1], [np.nan]]))
    assert not everybody_lost.complete


@pytest.mark.parametrize(
    ("problem", "entered", "updates"),
    [
        (anisotropic(), 0, 0),
        (anisotropic(), 4, 4),
        (anisotropic(), 6, 6),
        (small_network(record="after"), 4, 4),
    ],
)
def test_a_lane_cut_short_is_interrupted_and_has_no_summary(problem, entered, updates):
    book = ledger(problem)
    if entered:
        book.enter(rows(0, np.ones((entered, 3))))
    for lane in book.result().lanes:
        assert lane.status is Status.INTERRUPTED
        assert lane.iterations == updates
        assert (lane.final_loss, lane.best_loss, lane.diverged_at) == (None, None, None)


def test_the_time_of_a_step_is_the_lanes_share_in_gradients_and_updates():
    book = ledger()
    book.enter(rows(0, [[1, 1, np.nan]] * 4))
    book.enter_seconds(np.full(3, 8.0), np.array([2.0, 4.0, 6.0]))
    book.drop_ended()
    book.enter(rows(4, np.ones((3, 2))))  # two updates, and the row after the last
    book.enter_seconds(np.full(2, 1.0), np.array([1.0, 2.0]))
    lanes = book.result().lanes
    assert [lane.gradient_seconds for lane in lanes] == [1.5, 1.5, 2.0]
    assert [lane.update_seconds for lane in lanes] == [0.5, 1.0, 1.5]
    assert [lane.step_seconds for lane in lanes] == [2.0, 2.5, 3.5]
    assert [lane.block_lanes for lane in lanes] == [3, 3, 3]


@pytest.mark.parametrize(
    ("problem", "gradients"),
    # Rows recorded before an update belong to one, but for the last: of a trace, or of a lane.
    [(anisotropic(), [6 + 21, 1 + 1, 0]), (small_network(record="after"), [6 + 21, 2 + 3, 1 + 1])],
)
def test_gradients_are_updates_and_what_rules_evaluate_in_them(problem, gradients):
    book, height = ledger(problem), ledger(problem).full_rows - 4
    loss = [[1, 1, np.nan], [1, np.nan, 1], [1, 1, 1], [1, 1, 1]]
    looks = np.array([[1], [2], [3], [4]]) * [1, 1, 1]
    book.enter(replace(rows(0, loss), evaluations=looks))
    book.drop_ended()
    looks = np.array([[5], [6], [7]])[:height]
    book.enter(replace(rows(4, np.ones((height, 1))), evaluations=looks))
    assert [lane.gradients for lane in book.result().lanes] == gradients
    assert [lane.gradients for lane in _taken_up(book, problem).result().lanes] == gradients


def _taken_up(book: Ledger, problem: Problem) -> Ledger:
    other = ledger(problem)
    other.restore(book.state)
    return other


def test_a_block_without_a_step_has_no_time_of_a_step():
    assert [lane.step_seconds for lane in ledger().result().lanes] == [None] * 3


def test_functions_are_summed_up_by_their_last_and_smallest_row():
    book = ledger(lanes=2, iterations=3)
    book.enter(rows(0, [[4, 4], [1, 3]]))
    book.enter(rows(2, [[2, 2], [3, 1]]))
    first, second = book.result().lanes
    assert (first.final_loss, first.best_loss) == (3.0, 1.0)
    assert (second.final_loss, second.best_loss) == (1.0, 1.0)


def test_stochastic_problems_are_summed_up_by_means_of_a_tenth_of_their_rows():
    losses = np.random.default_rng(13).normal(size=(150, 2))
    book = ledger(small_network(record="after"), lanes=2, iterations=150)
    book.enter(rows(0, losses[:64]))
    book.enter(rows(64, losses[64:]))
    for lane in book.result().lanes:
        own = losses[:, lane.lane].tolist()
        means = [sum(own[i : i + 15]) / 15 for i in range(136)]
        assert lane.final_loss == pytest.approx(means[-1], rel=1e-12)
        assert lane.best_loss == pytest.approx(min(means), rel=1e-12)


def test_a_stopped_lane_says_which_rule_it_met_first():
    """Of two rules that one row meets it is the loss; a row that is not finite meets none."""
    rules = Rules(loss=0.5, grad_norm=0.1, patience=2)
    (block,) = blocks_of(
        suite(anisotropic(), optimizers=["sgd"], seeds=range(5), iterations=6, rules=rules)
    )
    book = Ledger(block)
    loss = np.array([[1, 1, 1, 1, 1], [0.4, 1, 0.4, -np.inf, 1], [0.4, 0.4, 1, 1, 1]], dtype=float)
    norm = np.array([[1, 1, 1, 1, 1], [1, 0.1, 0.1, 0.1, 1], [1, 1, 1, 1, 1]], dtype=float)
    book.enter(TraceRows(0, loss, np.isfinite(loss), grad_norm=norm))
    book.stop(np.array([4]))
    again = Ledger(block)
    again.restore(book.state)
    for each in (book, again):
        lanes = each.result().lanes
        assert [lane.stopped_by for lane in lanes] == [
            "loss",
            "grad_norm",
            "loss",
            None,
            "patience",
        ]
        assert [lane.stopped_at for lane in lanes] == [1, 1, 1, None, 2]
    older = Ledger(block)  # of a checkpoint from before that was kept
    older.restore({name: value for name, value in book.state.items() if name != "stopped_by"})
    lanes = older.result().lanes
    assert [lane.stopped_by for lane in lanes] == [None] * 5
    assert [lane.stopped_at for lane in lanes] == [1, 1, 1, None, 2]


def test_lanes_pause_before_the_row_that_follows_their_update():
    (block,) = blocks_of(
        suite(
            small_network(record="before"),
            optimizers=["sgd"],
            seeds=range(3),
            iterations=30,
            rules=Rules(pause_at=20, loss=-1.0),
        )
    )
    book = Ledger(block)
    assert (book.full_rows, book.planned_rows) == (31, 20)
    loss = np.arange(60.0).reshape(20, 3)
    loss[4, 0], loss[7, 1] = np.nan, -2.0
    book.enter(rows(0, loss))
    assert (book.paused, book.complete) == (True, False)
    book.drop_ended()
    book.condense()
    book.sum_up_paused()
    lanes = book.result().lanes
    assert [lane.status for lane in lanes] == [Status.DIVERGED, Status.STOPPED, Status.PAUSED]
    assert [lane.iterations for lane in lanes] == [4, 7, 20]
    assert [lane.stopped_at for lane in lanes] == [None, 7, None]
    assert lanes[2].final_loss == (56 + 59) / 2  # a tenth of 20 updates
    assert lanes[2].best_loss == (2 + 5) / 2
