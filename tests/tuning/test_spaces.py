import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.optimizers.arguments import Argument
from optbench.settings import Choice, Hyperparameter, Number, Option, Switch, Text, fraction
from optbench.tuning.spaces import check, grid, parse
from tests.refusal import refusal

TEXTS = [
    "log(0.0001, 1)",
    "log(5e-324, 1.7976931348623157e+308)",
    "log(1e-05, 10)",
    "1 - log(0.001, 0.5)",
    "1 - log(0.005, 1)",
    "uniform(-3, 0.1234567890123456)",
    "int(1, 5)",
    "int(-3, 4)",
    "choice(a, b, c)",
    "choice(1, 2.5, 1e-07)",
    "choice(cosine, 1/t, 3)",
    "choice(true, false)",
    "choice([0.9, 0.99], [0.9, 0.999])",
    'choice("0.1", "b")',
    'choice("a, b", "c\\"d\\\\")',
]
coordinates = st.floats(0.0, 1.0, exclude_max=True)
spaces = st.sampled_from([*map(parse, TEXTS), grid([1e-3, 10.0, 0.1])])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("log(1e-4, 1)", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("1 - log(1e-3, 0.5)", [0.999, 0.995271291955, 0.977639320225, 0.894262873656]),
        ("uniform(0.1, 0.9)", [0.1, 0.3, 0.5, 0.7]),
        ("int(1, 5)", [1, 2, 3, 4]),
        ("choice(a, b, c)", ["a", "a", "b", "c"]),
    ],
)
def test_case_28_values_of_spaces(text, values):
    assert [parse(text).at(u) for u in (0.0, 0.25, 0.5, 0.75)] == values


@given(coordinates, st.floats(1e-9, 1.0), st.floats(1e-9, 1.0))
def test_intervals_are_the_distributions_of_scipy(u, one, other):
    from scipy import stats

    low, high = sorted((one, other))
    if high < low * (1 + 1e-9):
        return
    log = float(stats.loguniform.ppf(u, low, high))
    assert parse(f"log({low!r}, {high!r})").at(u) == pytest.approx(log, rel=2e-12)
    assert parse(f"1-log({low!r}, {high!r})").at(u) == pytest.approx(1 - log, rel=1e-12, abs=2e-12)
    flat = float(stats.uniform.ppf(u, low, high - low))
    assert parse(f"uniform({low!r}, {high!r})").at(u) == pytest.approx(flat, rel=2e-12)


@given(st.integers(-9, 9), st.integers(2, 60))
def test_whole_numbers_have_equal_shares_with_both_ends(low, count):
    space = parse(f"int({low}, {low + count - 1})")
    middles = [space.at((i + 0.5) / count) for i in range(count)]
    assert middles == list(range(low, low + count))
    assert [space.at(0.0), space.at(math.nextafter(1.0, 0.0)), space.at(1.0)] == [
        low,
        low + count - 1,
        low + count - 1,
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_a_canonical_text_means_the_same_space(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (" log ( 1e-4 ,1.0 ) ", "log(0.0001, 1)"),
        ("1-log(1e-3,1)", "1 - log(0.001, 1)"),
        ("1  -  log(1_0e-4, 1)", "1 - log(0.001, 1)"),
        ("int(0x10, 20)", "int(16, 20)"),
        ('choice( "a",b )', "choice(a, b)"),
        ("choice('a', 'b',)", "choice(a, b)"),
        ("choice(1.0, 2)", "choice(1, 2)"),
    ],
)
def test_one_space_has_one_canonical_text(written, canonical):
    assert str(parse(written)) == canonical
    assert parse(canonical) == parse(written)


@given(spaces, coordinates)
def test_a_value_s_coordinate_gives_the_value_again(space, u):
    value = space.at(u)
    assert 0.0 <= space.unit(value) <= 1.0 + 1e-12
    again = space.at(min(space.unit(value), 1.0))
    assert again == (pytest.approx(value, rel=2e-11) if isinstance(value, float) else value)


@given(st.sampled_from(TEXTS[:8]).map(parse), coordinates)
def test_coordinates_of_numbers_are_where_their_values_are(space, u):
    value = space.at(u)
    if isinstance(value, int):
        assert abs(space.unit(value) - u) <= 0.5 / len(space.values)
    else:
        assert space.unit(value) == pytest.approx(u, abs=1e-8)
        assert value == float(f"{value:.12g}")


def test_what_is_outside_has_no_coordinate_from_0_to_1():
    log = parse("log(1e-3, 1)")
    assert [log.unit(10.0), log.unit(1e-6), log.unit(0.0)] == pytest.approx([4 / 3, -1, -math.inf])
    assert parse("1 - log(1e-3, 1)").unit(1.0) == -math.inf
    assert parse("uniform(0, 2)").unit(3.0) == 1.5
    assert [math.isnan(parse(text).unit(9)) for text in ("int(1, 5)", "choice(a, b)")] == [True] * 2


def test_whole_numbers_are_known_as_the_floats_that_are_recorded():
    assert parse("int(1, 4)").unit(2.0) == 0.375
    assert math.isnan(parse("int(1, 4)").unit(2.5))


@pytest.mark.parametrize(
    ("text", "value", "edge"),
    [
        ("log(1e-4, 1)", 1e-4 * 10**0.19, 1e-4),
        ("log(1e-4, 1)", 1e-4 * 10**0.21, None),
        ("log(1e-4, 1)", 10**-0.21, None),
        ("log(1e-4, 1)", 10**-0.19, 1.0),
        ("1 - log(1e-3, 1)", 0.9988, 0.999),
        ("1 - log(1e-3, 1)", 0.2, 0.0),
        ("1 - log(1e-3, 1)", 0.5, None),
        ("uniform(0, 1)", 0.049, 0.0),
        ("uniform(0, 1)", 0.05, None),
        ("uniform(0, 1)", 0.951, 1.0),
        ("int(1, 100)", 1, None),
        ("choice(1, 2)", 2, None),
    ],
)
def test_a_value_is_at_an_edge_within_a_twentieth(text, value, edge):
    assert parse(text).edge(value) == edge


def test_the_edges_of_a_grid_are_its_smallest_and_largest_values():
    space = grid([1.0, 1e-3, 1e-2])
    assert [space.edge(value) for value in space.values] == [1.0, 1e-3, None]
    assert grid([0.1]).edge(0.1) is None
    assert [space.unit(value) for value in space.values] == [1 / 6, 0.5, 5 / 6]


LOG = "log(a, b) with 0 < a < b, as in log(1e-4, 1)"
ANY = "one of log(1e-4, 1), uniform(0.1, 0.9), 1 - log(1e-3, 0.5), int(1, 5), choice(1, 2, 4)"
CHOICE = "choice(x, …) with at least two different numbers or words, as in choice(1, 2, 4)"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("log(0, 1)", LOG),
        ("log(1, 1)", LOG),
        ("log(1e-4)", LOG),
        ("log(1e-4, 1, 2)", LOG),
        ("log(1e-4, inf)", LOG),
        ("log(low, high)", LOG),
        ("log(true, 2)", LOG),
        (f"log(1, 1{'0' * 400})", LOG),
        ("uniform(1, 0)", "uniform(a, b) with a < b, as in uniform(0.1, 0.9)"),
        ("1 - log(0.5, 2)", "1 - log(a, b) with 0 < a < b ≤ 1, as in 1 - log(1e-3, 0.5)"),
        ("int(1, 2.5)", "int(a, b) with whole numbers a < b, as in int(1, 5)"),
        ("int(0, 9007199254740993)", "int(a, b) with whole numbers a < b, as in int(1, 5)"),
        ("choice()", CHOICE),
        ("choice(a)", CHOICE),
        ("choice(a, a)", CHOICE),
        ("choice(1, true)", CHOICE),
        ("choice(a,, b)", CHOICE),
        ("choice(nan, 1)", CHOICE),
        ("choice(2026-01-01, 1)", CHOICE),
        ("choice([a], [b])", CHOICE),
        ('choice("a, b", c)', CHOICE),
        ("choice([[1]], [[2]])", CHOICE),
        ("lg(1, 2)", ANY),
        ("2 - log(1, 2)", ANY),
        ("log 1e-4 1", ANY),
        ("", ANY),
        (0.1, ANY),
    ],
)
def test_what_is_no_space_is_refused_with_the_right_form(text, right):
    message = refusal(SuiteError, parse, text)
    assert message.startswith("space ")
    assert message.removesuffix(right).endswith(" is malformed; write ") or message.endswith(
        f" is malformed; write it as {right}"
    )


LR = Hyperparameter("lr", 0.01, "")
SHARE = fraction("share", 0.9, "")
AWAY = Hyperparameter("away", 0.9, "", low=0.01, high=1.0, high_open=True)
OPEN = Number("open", 0.5, "", high=1.0, low_open=True)
COUNT = Option("count", 3, "", low=1)
ON = Switch("on", 0.0, "")
PLACE = Choice("place", "inside", "", ("outside", "inside"))
ALPHA, PAIR, ANY_TEXT = Argument("alpha", 0.1), Argument("pair", (0.9, 0.99)), Text("text", "", "")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("log(1e-4, 10)", LR),
        ("uniform(0, 1)", LR),
        ("1 - log(1e-3, 1)", SHARE),
        ("uniform(0, 0.999)", SHARE),
        ("1 - log(1e-3, 0.99)", AWAY),
        ("uniform(0.1, 1)", OPEN),
        ("int(1, 9)", COUNT),
        ("int(0, 9)", LR),
        ("int(0, 1)", ON),
        ("choice(0, 1)", ON),
        ("choice(true, false)", ON),
        ("choice(inside, outside)", PLACE),
        ("log(1e-4, 10)", ALPHA),
        ("choice([0.9, 0.99], [0.8, 0.9])", PAIR),
        ("choice(a, b)", ANY_TEXT),
    ],
)
def test_a_space_within_the_range_is_taken(text, setting):
    check(parse(text), setting)


@pytest.mark.parametrize(
    ("text", "setting", "message"),
    [
        ("uniform(0, 1)", SHARE, "share takes [0, 1), but uniform(0, 1) holds 1"),
        ("uniform(-1, 1)", LR, "lr takes [0, ∞), but uniform(-1, 1) holds -1"),
        # The share that is left rounds to 1.
        ("1 - log(1e-13, 1)", SHARE, "share takes [0, 1), but 1 - log(1e-13, 1) holds 1"),
        ("1 - log(1e-3, 1)", AWAY, "away takes [0.01, 1), but 1 - log(0.001, 1) holds 0"),
        ("1 - log(1e-3, 1)", OPEN, "open takes (0, 1], but 1 - log(0.001, 1) holds 0"),
        ("uniform(1, 9)", COUNT, "count takes [1, ∞), but uniform(1, 9) holds 1"),
        ("int(0, 9)", COUNT, "count takes [1, ∞), but int(0, 9) holds 0"),
        ("uniform(0, 1)", ON, "on takes 0 | 1, but uniform(0, 1) holds 0.5"),
        ("int(0, 2)", ON, "on takes 0 | 1, but int(0, 2) holds 2"),
        (
            "choice(inside, under)",
            PLACE,
            'place takes outside | inside, but choice(inside, under) holds "under"',
        ),
        ("uniform(0, 1)", PLACE, "place takes outside | inside, but uniform(0, 1) holds 0"),
        ("choice(a, b)", LR, 'lr takes [0, ∞), but choice(a, b) holds "a"'),
        ("log(1e-4, 1)", PAIR, "pair takes list, but log(0.0001, 1) holds 0.0001"),
    ],
)
def test_a_space_that_leaves_the_range_is_refused(text, setting, message):
    assert refusal(SuiteError, check, parse(text), setting) == f"{message}; all of it must fit"
