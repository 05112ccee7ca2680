"""Rows that are kept of a trace, beside those that a list keeps."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import UsageError
from optbench.records import TraceChunk
from optbench.store.columns import last_table, trace_table
from optbench.store.journal import after
from optbench.store.thinning import BEYOND, every_of, holds, in_words, kept_every, latest, thinned

EXTRA = ("x", "y", "penalty")


@pytest.mark.parametrize(
    ("trace", "every"),
    [("all", 1), ("every:1", 1), ("every:10", 10), ("every:999999999", 999_999_999)],
)
def test_what_is_kept(trace, every):
    assert kept_every(trace) == every_of({"trace": trace}) == every
    assert kept_every("none") == BEYOND == np.iinfo(np.int32).max
    assert every_of({}) == 1


@pytest.mark.parametrize(
    "trace", ["", "every", "every:0", "every:-1", "every:1.5", "every:1e3", "10", "All", 3, None]
)
def test_what_says_nothing_is_refused(trace):
    with pytest.raises(UsageError) as caught:
        kept_every(trace)
    assert str(caught.value) == f"trace '{trace}' is none of all, none and every:N, as every:10"


def test_words():
    numbers = {1: "1st", 2: "2nd", 3: "3rd", 10: "10th", 11: "11th", 12: "12th", 13: "13th"}
    numbers |= {21: "21st", 111: "111th", 102: "102nd"}
    for every, word in numbers.items():
        assert in_words(every) == f"every {word} row"


def test_what_holds_what():
    pairs = {(1, 1), (1, 10), (5, 10), (10, 10), (3, BEYOND), (BEYOND, BEYOND)}
    everything = [(finer, every) for finer in (1, 3, 5, 10, BEYOND) for every in (1, 10, BEYOND)]
    for finer, every in everything:
        rows = set(range(0, 1000, finer))
        wanted = set(range(0, 1000, every))
        assert holds(finer, every) == (wanted <= rows or every == BEYOND), (finer, every)
    assert all(holds(*pair) for pair in pairs)


def chunks_of(lengths, cuts, every=1):
    """Cut made-up rows of lanes that end after so many rows; of them one in ``every``."""
    random, height = np.random.default_rng(0), max(lengths)
    shape = (height, len(lengths))
    loss, position, penalty = random.random(shape), random.random((*shape, 2)), random.random(shape)
    lanes = np.arange(len(lengths), dtype=np.int32)[::-1]
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < height}), height]
    made = []
    for first, end in pairwise(edges):
        rows = np.clip(np.array(lengths) - first, 0, end - first)
        part = slice(first, end)
        made.append(TraceChunk(0, lanes, first, loss[part], rows, position[part], penalty[part]))
    rows = [
        (int(lane), row, loss[row, place], *position[row, place], penalty[row, place])
        for place, lane in enumerate(lanes)
        for row in range(lengths[place])
        if row % every == 0 or row == lengths[place] - 1
    ]
    return made, sorted(rows)


def listed(*tables):
    """Return the rows of tables, in order."""
    rows = [
        row
        for kinds, columns in filter(None, tables)
        for row in zip(*(np.asarray(columns[name]).tolist() for name in kinds), strict=True)
    ]
    return sorted(rows)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4).filter(any),
    st.lists(st.integers(1, 29), max_size=6),
    st.sampled_from([1, 2, 3, 7, 30, 64, BEYOND]),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 5),
)
def test_chunks_are_thinned_wherever_they_are_cut(lengths, cuts, every, factor, back):
    """Also in two steps, and where some rows come a second time."""
    chunks, expected = chunks_of(lengths, cuts, every * factor if every < BEYOND else every)
    found, last, count = [], None, 0
    for chunk in chunks:
        repeated = after(chunk, count)
        assert repeated is not None
        last, count = latest(last, repeated), repeated.next_iteration
        thin = thinned(repeated, every)
        thin = thinned(thin, every * factor) if every < BEYOND else thin
        assert thin.first_iteration >= chunk.first_iteration
        if len(thin.loss):
            found.append(thin)
        assert after(chunk, count - back) is None or back
    table = last_table(last, found[0].every, EXTRA)
    assert listed(trace_table(found, EXTRA), table) == expected
    ends = np.array(lengths)
    np.testing.assert_array_equal(last.iteration, np.where(ends, ends - 1, -1))


def test_columns_that_a_problem_lacks_are_null_in_last_rows_too():
    (chunk,), _ = chunks_of([6], [])
    plain = TraceChunk(0, chunk.lanes, 0, chunk.loss, chunk.rows)
    kinds, columns = last_table(latest(None, plain), 10, EXTRA)
    assert [*kinds] == ["lane", "iteration", "loss", *EXTRA]
    assert [columns[name] for name in EXTRA] == [[None]] * 3
    assert last_table(latest(None, plain), 5, EXTRA) is None
