"""Grids, lists and seeds as they are written, and what is said of those that are malformed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.suite.values import grid_values, lin_spaced, log_spaced, seed_list, toml_value
from tests.refusal import refusal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("3", 3),
        ("true", True),
        ("cosine", "cosine"),
        ("'a word'", "a word"),
        ("[1, 2]", [1, 2]),
        ("", ""),
    ],
)
def test_values_are_toml_and_bare_words_are_strings(text, value):
    read = toml_value(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("given_", "values"),
    [
        ("0.01", [0.01]),
        ("1e-3,1e-2", [1e-3, 1e-2]),
        (" 1e-3 , 2 ", [1e-3, 2]),
        ("1e-4:1e-1:4", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("2:8:3", [2, 4, 8]),
        ("2.0:8:3", [2.0, 4.0, 8.0]),
        ("1:2:3", [1, 1.41421356237, 2]),
        ("lin(0, 1, 5)", [0, 0.25, 0.5, 0.75, 1]),
        (" lin( 0.0,1,2 ) ", [0.0, 1.0]),
        ("lin(0.1,0.5,5)", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("lin(-0.1, 0.2, 4)", [-0.1, 0.0, 0.1, 0.2]),
        ("lin(0, 1, 4)", [0, 0.333333333333, 0.666666666667, 1]),
        ("lin(32, 96, 3)", [32, 64, 96]),
        ("lin(-1e308, 1e308, 3)", [-1e308, 0.0, 1e308]),
        ("1e-3:10:2", [1e-3, 10.0]),
        ([1, 0.5], [1, 0.5]),
        ("3,1,2", [3, 1, 2]),
        ("constant, 1/t", ["constant", "1/t"]),
        ("'a:b,c', \"d\"", ["a:b,c", "d"]),
        ("none,true,0.5", ["none", True, 0.5]),
        ("[0.9,0.99], [0.8, 0.9]", [[0.9, 0.99], [0.8, 0.9]]),
        ("[[1,2],[3]],[0]", [[[1, 2], [3]], [0]]),
        ([[1, 2], [1, 3], "none"], [[1, 2], [1, 3], "none"]),
        ([{"x": [1]}, {"x": [2]}], [{"x": [1]}, {"x": [2]}]),
    ],
)
def test_grids(given_, values):
    read = grid_values(given_)
    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


def test_the_grid_of_the_manual_is_evenly_spaced_in_its_logarithm():
    values = grid_values("1e-3:10:25")
    np.testing.assert_allclose(values, np.logspace(-3, 1, 25), rtol=1e-11)
    assert (values[0], values[-1], len(values)) == (1e-3, 10.0, 25)


@given(st.floats(1e-12, 1e12), st.floats(1.001, 1e6), st.integers(2, 60))
def test_log_spacing_rises_with_one_ratio_between_the_ends_given(low, factor, count):
    high = low * factor
    values = log_spaced(low, high, count)
    assert (values[0], values[-1], len(values)) == (low, high, count)
    np.testing.assert_allclose(np.diff(np.log(values)), np.log(high / low) / (count - 1), atol=1e-9)


@given(st.floats(-1e12, 1e12, allow_subnormal=False), st.floats(1e-3, 1e12), st.integers(2, 60))
def test_linear_spacing_is_numpys_and_keeps_the_ends_given(low, width, count):
    values = lin_spaced(low, low + width, count)
    assert (values[0], values[-1], len(values)) == (low, low + width, count)
    size = max(abs(low), abs(low + width))
    np.testing.assert_allclose(
        values, np.linspace(low, low + width, count), rtol=1e-11, atol=1e-14 * size
    )


MALFORMED_GRIDS = ("1,", ",", "a,,b", "1:2", "1:2:3:4", "a:1:3", "1:inf:3", "1:2:nan", "1,2:3:4")
MALFORMED_GRIDS += ("1e-320:1e300:3", [], 3, None, True, {"a": 1})


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ("", "grid '' is malformed; write values as 1e-3,1e-2"),
        *((bad, f"grid {bad!r} is malformed") for bad in MALFORMED_GRIDS),
        (
            "lin(0, 1)",
            "grid 'lin(0, 1)' is malformed; write values as 1e-3,1e-2 or a range as 1e-4:1",
        ),
        ("lin(0, 1, 5", "malformed"),
        ("lin(0, a, 5)", "malformed"),
        ("log(1, 2, 5)", "malformed"),
        ("lin(0, 1, 5),2", "malformed"),
        ("lin(0, 1, 1)", "asks for 1 values; a range has 2 to 100000"),
        ("lin(1, 0, 3)", "grid 'lin(1, 0, 3)' must rise like lin(0, 1, 5)"),
        ("lin(1, 1, 3)", "must rise like lin(0, 1, 5)"),
        ("lin(1, 1.0000000000001, 3)", "contains a value twice"),
        ("1:2:1", "asks for 1 values; a range has 2 to 100000"),
        ("1:2:2.5", "asks for 2.5 values"),
        ("1:2:100001", "asks for 100001 values"),
        ("1:2:-3", "asks for -3 values"),
        ("0:1:3", "must rise from a positive value, like 1e-4:1e-1:13"),
        ("-1:1:3", "must rise from a positive value"),
        ("2:1:3", "must rise from a positive value"),
        ("1:1:3", "must rise from a positive value"),
        ("1,1.0", "grid '1,1.0' contains a value twice"),
        ([1, 2, 1], "grid [1, 2, 1] contains a value twice"),
        ("constant,cosine,constant", "grid 'constant,cosine,constant' contains a value twice"),
        ([[1, 2], [1.0, 2]], "contains a value twice"),
        ([{"x": [1]}, {"x": [1]}], "contains a value twice"),
        (f"1:1{'0' * 400}:3", "malformed"),
    ],
)
def test_malformed_grids_are_refused_in_one_line(given_, says):
    assert says in refusal(SuiteError, grid_values, given_)


@pytest.mark.parametrize(
    ("given_", "seeds"),
    [
        (1, (0,)),
        (3, (0, 1, 2)),
        ([3, 7, 11], (3, 7, 11)),
        ("3,7,11", (3, 7, 11)),
        ("0-2, 7", (0, 1, 2, 7)),
        ("5", (5,)),
    ],
)
def test_a_number_of_seeds_counts_and_a_list_names_them(given_, seeds):
    assert seed_list(given_) == seeds


MALFORMED_SEEDS = (1.5, [], [1, -1], [1, 1], [1.0], [True], "", "a", "1,,2", "1:3")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (0, "seeds = 0; at least 1 seed is needed"),
        (-1, "seeds = -1; at least 1 seed is needed"),
        (True, "seeds True are malformed; write different whole numbers from 0 up, as 0-4,7"),
        *((bad, f"seeds {bad!r} are malformed") for bad in MALFORMED_SEEDS),
        ([2**63], f"a seed is too large; the largest is {2**63 - 1}"),
    ],
)
def test_malformed_seeds_are_refused_in_one_line(given_, says):
    assert says in refusal(SuiteError, seed_list, given_)


@given(st.text(max_size=20) | st.lists(st.integers() | st.floats() | st.text(), max_size=4))
def test_whatever_is_given_is_read_or_refused(given_):
    for read in (grid_values, seed_list):
        try:
            values = read(given_)
        except SuiteError:
            continue
        assert values
        assert len(set(values)) == len(values)
