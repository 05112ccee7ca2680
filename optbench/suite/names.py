"""Names of optimizers and problems as users write them, whatever the capitals."""

from collections.abc import Iterable

from optbench.errors import SuiteError
from optbench.optimizers.registry import OPTIMIZERS, optimizer_names
from optbench.problems.plugin import offered
from optbench.problems.registry import PROBLEMS


def as_spelled(name: str, *known: Iterable[str]) -> str:
    """Return the known name that a name means: the same, else one with other capitals.

    Names of users' code and of other libraries, with a colon, mean nothing but themselves.

    Parameters
    ----------
    name
        As a user writes it; where it means nothing that is known, it is returned as it is.
    known
        Names; with other capitals those of the first group that has one count.

    Raises
    ------
    SuiteError
        If the name with other capitals is that of several.

    >>> as_spelled("SGD", ["Adam"], ["sgd", "adam"]), as_spelled("ADAM", ["Adam"], ["sgd", "adam"])
    ('sgd', 'Adam')
    >>> as_spelled("adam", ["Adam"], ["sgd", "adam"])
    'adam'
    """
    groups = [list(dict.fromkeys(names)) for names in known]
    if ":" in name or any(name in names for names in groups):
        return name
    for names in groups:
        alike = [each for each in names if each.casefold() == name.casefold()]
        if len(alike) > 1:
            listed = " or ".join(f"'{each}'" for each in alike)
            raise SuiteError(f"'{name}' may mean {listed}; write one of them")
        if alike:
            return alike[0]
    return name


def optimizer_name(name: str) -> str:
    """Return the name under which an optimizer is known, as :func:`as_spelled` does."""
    return name if name in OPTIMIZERS else as_spelled(name, optimizer_names())


def problem_name(name: str) -> str:
    """Return the name under which a problem is known, as :func:`as_spelled` does."""
    return name if name in PROBLEMS else as_spelled(name, [*PROBLEMS, *offered()])
