"""``--function`` and ``--start`` as a suite."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.optimizers.registry import OPTIMIZERS as KNOWN
from optbench.suite.format import parse_suite
from optbench.suite.shorthand import OPTIMIZERS, function_suite, start_table


def test_a_function_is_a_suite_of_one_problem():
    suite = parse_suite(function_suite("x**2/20 + y**2", ["x=-7,y=2"]), "--function")
    (entry,) = suite.problem
    assert suite.name == entry.name == "function"
    assert entry.options == {"expression": "x**2/20 + y**2", "start": {"x": -7, "y": 2}}
    assert [each.name for each in suite.optimizer] == list(OPTIMIZERS)
    assert set(OPTIMIZERS) <= set(KNOWN)


@pytest.mark.parametrize(
    ("starts", "table"),
    [
        (["x=-7,y=2"], {"x": -7, "y": 2}),
        ([" x = -7.5 , y = 1e-3 "], {"x": -7.5, "y": 0.001}),
        (["x=[1,2,3]"], {"x": [1, 2, 3]}),
        (["x=[1, 2.5],y=2"], {"x": [1, 2.5], "y": 2}),
        (["x=1", "y=2"], {"x": 1, "y": 2}),
        (['"θ"=1'], {"θ": 1}),
    ],
)
def test_starts(starts, table):
    assert start_table(starts) == table


@pytest.mark.parametrize(
    ("starts", "says"),
    [
        ([], "--function has no start; give each variable a value, as --start x=-7,y=2"),
        (["x"], "--start 'x' is malformed; write --start x=-7,y=2 (a vector: --start 'x=["),
        (["x=-7 y=2"], "is malformed"),
        (["x=.5"], "--start 'x=.5' is malformed"),
        (["x=1,x=2"], "is malformed"),
        (["x=1}\ny={z=1"], "is malformed"),
        ([""], "--start '' is malformed"),
        (["x=[1,2"], "is malformed"),
        (["x=1", "y=2,x=3"], "--start gives 'x' twice; one value is needed"),
    ],
)
def test_bad_starts_are_refused_in_one_line(starts, says):
    with pytest.raises(SuiteError) as caught:
        function_suite("x**2", starts)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(), min_size=1))
def test_any_text_is_a_table_or_a_complaint(starts):
    try:
        table = start_table(starts)
    except SuiteError:
        table = {"": None}
    assert table
