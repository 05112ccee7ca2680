"""Errors carry the exit codes that scripts rely on, and find the name that was meant."""

import pytest

from optbench import errors
from optbench.errors import ExitCode, nearest


def test_exit_codes_are_those_promised():
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "CHECK_FAILED": 3,
        "LANES_FAILED": 4,
        "NOTHING_TO_COMPARE": 5,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("name", ["SuiteError", "DataError", "DeviceError", "ResultsError"])
def test_what_a_user_can_mend_ends_with_2(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.UsageError)
    assert kind("wrong").exit_code == 2


def test_a_fault_of_optbench_ends_with_1():
    assert errors.OptbenchError("bug").exit_code == 1
    assert not issubclass(errors.OptbenchError, errors.UsageError)


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("momentun", ["sgd", "momentum"], "did you mean 'momentum'?"),
        ("Adam", ["sgd", "adamw", "adam"], "did you mean 'adam'?"),
        ("x", ["sgd", "adam"], "known are sgd, adam"),
        ("x", iter(["b", "a"]), "known are b, a"),
    ],
)
def test_nearest_names_what_was_meant(name, known, says):
    assert nearest(name, known) == says


def test_the_drawn_tree_is_the_real_one():
    drawn = errors.__doc__
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.OptbenchError):
            (line,) = [line for line in drawn.splitlines() if f"{name} " in line]
            assert line.split(name)[1].split()[0] == str(int(kind.exit_code))


def test_long_lists_are_cut_and_counted():
    names = [f"name{number}" for number in range(20)]
    assert nearest("zzz", names) == f"known are {', '.join(names[:12])}, … (20 in all)"
    assert nearest("zzz", names[:12]) == f"known are {', '.join(names[:12])}"
