"""Final and best losses, summed up while rows come, are those of the whole trace, to the bit."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.engine.ledger import Ledger
from optbench.engine.recorder import TraceRows
from optbench.engine.stopping import Rules
from optbench.records import Status, averaged_rows
from tests.small import anisotropic, blocks_of, small_network, suite

TARGET = -100.0
"""A loss of which the rule says that it ends a lane."""

WILD = {"diverged": [np.inf, -np.inf, np.nan], "target": [TARGET, -1e308]}
"""What the losses of a chunk are from the row on at which a lane ends."""

PROBLEMS = {
    "function": anisotropic,
    "network, before": lambda: small_network(record="before"),
    "network, after": lambda: small_network(record="after"),
}


def of_whole_trace(loss, updates, stochastic) -> tuple[float, float]:
    """Compute the final and the best loss from all rows of one lane."""
    width = averaged_rows(updates, stochastic=stochastic)
    with np.errstate(over="ignore"):
        means = np.lib.stride_tricks.sliding_window_view(np.array(loss), width).mean(axis=-1)
    return float(means[-1]), float(means.min())


@dataclass
class Ending:
    """How a lane ends: at a row, by divergence, by a rule, or by patience after the chunk."""

    row: int
    how: str


def run(block, losses, endings, heights, *, resume, drop) -> tuple[Ledger, list[list[float]]]:
    """Enter random rows as the loop does; return the ledger, and all rows of each lane."""
    book = Ledger(block)
    rows: list[list[float]] = [[] for _ in block.lanes]
    iterations, heights = block.iterations, iter(heights)
    while book.entered < book.full_rows and book.places.size:
        first = book.entered
        end = min(first + next(heights), book.full_rows)
        if first < iterations < end:
            end = iterations
        loss = losses[first:end, book.places].copy()
        for column, place in enumerate(book.places):
            ending = endings[place]
            if first <= ending.row < end and ending.how in WILD:
                loss[ending.row - first :, column] = np.resize(WILD[ending.how], end - ending.row)
        chunk = book.enter(TraceRows(first, loss, np.isfinite(loss)))
        for place, count in enumerate(chunk.rows):
            rows[place] += chunk.loss[:count, place].tolist()
        running = book.places[book.running[book.places]]
        impatient = [p for p in running if endings[p].how == "patience" and endings[p].row < end]
        if impatient and end <= iterations:
            book.stop(np.array(impatient))
        if drop:
            book.drop_ended()
        if resume:
            state = {name: np.array(array) for name, array in book.state.items()}
            book = Ledger(block)
            book.restore(state)
    return book, rows


def assert_summed_up(book, rows, stochastic) -> list[Status]:
    ends = book.result().lanes
    for end, loss in zip(ends, rows, strict=True):
        if end.status in (Status.DONE, Status.STOPPED):
            expected = of_whole_trace(loss, end.iterations, stochastic)
            assert np.array([end.final_loss, end.best_loss]).tobytes() == (
                np.array(expected).tobytes()
            )
        else:
            assert (end.final_loss, end.best_loss) == (None, None)
    return [end.status for end in ends]


lengths = st.one_of(st.integers(1, 40), st.integers(41, 400), st.integers(990, 2600))


@given(
    name=st.sampled_from([*PROBLEMS]),
    rules=st.sampled_from([Rules(), Rules(loss=TARGET), Rules(loss=TARGET, patience=10)]),
    iterations=lengths,
    seed=st.integers(0, 2**32),
    scale=st.sampled_from([1e-300, 1.0, 1e304]),
    highest=st.sampled_from([1, 7, 64, 500]),
    resume=st.booleans(),
    drop=st.booleans(),
)
def test_they_are_those_of_the_whole_trace(
    name, rules, iterations, seed, scale, highest, resume, drop
):
    """Lanes diverge, stop and go on to their end; chunks are cut at random, some resumed at each.

    A chunk of one row is tried only with few: a trace of thousands would take long.
    """
    problem, lanes = PROBLEMS[name](), 5
    if iterations > 400:
        highest = max(highest, 64)
    settled = suite(
        problem, optimizers=["sgd"], seeds=range(lanes), iterations=iterations, rules=rules
    )
    (block,) = blocks_of(settled)
    random = np.random.default_rng(seed)
    losses = scale * np.exp(random.uniform(-8.0, 8.0, size=(iterations + 1, lanes)))
    losses[random.random(losses.shape) < 0.1] = -0.0
    hows = ["diverged", "none"]
    hows += ["target"] if rules.loss is not None else []
    hows += ["patience"] if rules.patience is not None else []
    endings = [
        Ending(int(row), str(how))
        for row, how in zip(
            random.integers(0, iterations + 1, lanes), random.choice(hows, lanes), strict=True
        )
    ]
    heights = random.integers(1, highest + 1, iterations + 1).tolist()
    book, rows = run(block, losses, endings, heights, resume=resume, drop=drop)
    assert_summed_up(book, rows, problem.stochastic)


@pytest.mark.parametrize("rules", [Rules(), Rules(loss=TARGET), Rules(patience=10)])
@pytest.mark.parametrize("iterations", [99, 100, 999, 1000, 1001, 1009, 1010, 1100, 1500])
@pytest.mark.parametrize("name", PROBLEMS)
def test_lanes_that_stop_where_the_window_is_about_to_widen(name, iterations, rules):
    """Around the update from which on no window is wider, lanes end at every row."""
    how = "target" if rules.loss is not None else "patience" if rules.patience else "none"
    last = [*range(max(0, iterations - 14), iterations + 1)]
    endings = [Ending(row, how) for row in last]
    settled = suite(
        PROBLEMS[name](), optimizers=["sgd"], seeds=range(len(last)), iterations=1500, rules=rules
    )
    (block,) = blocks_of(settled)
    losses = np.random.default_rng(iterations).normal(size=(1501, len(last)))
    book, rows = run(block, losses, endings, [10] * 200, resume=True, drop=True)
    statuses = assert_summed_up(book, rows, PROBLEMS[name]().stochastic)
    assert (Status.STOPPED in statuses) == (how != "none")


@pytest.mark.parametrize("rules", [Rules(), Rules(loss=TARGET)])
@pytest.mark.parametrize("name", PROBLEMS)
def test_memory_does_not_grow_with_the_rows(name, rules):
    lanes, height = 50, 64

    def peak(iterations: int) -> int:
        settled = suite(
            PROBLEMS[name](),
            optimizers=["sgd"],
            seeds=range(lanes),
            iterations=iterations,
            rules=rules,
        )
        (block,) = blocks_of(settled)
        book = Ledger(block)
        loss = np.ones((height, lanes))
        tracemalloc.start()
        while book.entered + height < iterations:
            book.enter(TraceRows(book.entered, loss.copy(), np.isfinite(loss)))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(array.nbytes for array in book.state.values()) < 300 * lanes * 8
        return used

    few, many = 3000, 30_000
    # Not even a bit of each row stays. Other threads of the tests' process allocate something too.
    assert peak(many) - peak(few) < (many - few) * lanes / 8
