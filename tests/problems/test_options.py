"""Options take values of their default's type and refuse others in one line."""

import pytest

from optbench.errors import SuiteError
from optbench.settings import Option

FLAG = Option("flag", False, "")
TEXTS = Option("texts", ("a", "b"), "")
COUNT = Option("count", 3, "", choices=("full",), low=1)
SHARE = Option("share", 0.5, "", low=0.0)
FEW = Option("few", 3, "", low=1, high=9)
NAME = Option("name", "one", "", choices=("one", "two"))


@pytest.mark.parametrize(
    ("option", "given", "value"),
    [
        (FLAG, True, True),
        (TEXTS, ["x", "y", "z"], ("x", "y", "z")),
        (TEXTS, (), ()),
        (COUNT, 7, 7),
        (COUNT, "full", "full"),
        (SHARE, 1, 1.0),
        (NAME, "two", "two"),
    ],
)
def test_what_fits_is_taken_in_the_defaults_type(option, given, value):
    found = option.check(given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        (FLAG, 1, "flag = 1; it takes true or false"),
        (FLAG, "yes", "flag = 'yes'; it takes true or false"),
        (TEXTS, "dense 10", "texts = 'dense 10'; it takes a list of texts"),
        (TEXTS, ["a", 1], "texts = ['a', 1]; it takes a list of texts"),
        (COUNT, 0, "count = 0; it takes a whole number of at least 1 or full"),
        (COUNT, 2.0, "count = 2.0; it takes a whole number of at least 1 or full"),
        (COUNT, True, "count = True; it takes a whole number of at least 1 or full"),
        (COUNT, "all", "count = 'all'; it takes a whole number of at least 1 or full"),
        (FEW, 10, "few = 10; it takes a whole number of at least 1 and at most 9"),
        (SHARE, -0.1, "share = -0.1; it takes a number of at least 0"),
        (SHARE, float("nan"), "share = nan; it takes a number of at least 0"),
        (NAME, "three", "name = 'three' is not known; it takes one, two"),
        (NAME, 1, "name = 1 is not known; it takes one, two"),
    ],
)
def test_what_does_not_fit_is_refused(option, given, message):
    with pytest.raises(SuiteError) as caught:
        option.check(given)
    assert str(caught.value) == message


def test_lists_show_what_an_option_takes():
    shown = [option.range for option in (FLAG, TEXTS, COUNT, SHARE, NAME)]
    assert shown == ["true | false", "list", "[1, ∞) | full", "[0, ∞)", "one | two"]
