"""Problems as they are checked: in float64, on few examples, without what their gradients omit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optbench import datasets
from optbench.problems.base import Problem
from optbench.problems.registry import PROBLEMS, get_problem_class, make_problem
from optbench.suite.format import builtin_suites, read_suite
from optbench.suite.resolve import SHARED_OPTIONS

EMBEDDED = "mnist-5k"
BATCH_SIZE = 4
SUITE_ENDINGS = (".toml", ".json")


def subjects(source: str) -> tuple[tuple[str, Problem], ...]:
    """Return the problems that a name or a file means, each with its title.

    Parameters
    ----------
    source
        The name of a problem, else that of a built-in suite, or a suite's TOML file or run.json.

    Raises
    ------
    SuiteError
        If there is no such problem or suite, or it is malformed.
    DataError
        If a data set that is needed is not to be had.
    """
    is_suite = Path(source).suffix in SUITE_ENDINGS or source in builtin_suites()
    if source in PROBLEMS or not is_suite:
        return ((source, _problem(source, {}, {})),)
    suite = read_suite(source)
    shared = {key: getattr(suite, key) for key in SHARED_OPTIONS}
    return tuple((each.title, _problem(each.name, each.options, shared)) for each in suite.problem)


def _problem(name: str, own: Mapping[str, Any], shared: Mapping[str, Any]) -> Problem:
    """Return a problem with the options given, but for those that the check has a say in."""
    known = {option.name: option for option in get_problem_class(name).options}
    taken = {key: each for key, each in shared.items() if key in known and each is not None}
    options = {**taken, **own}
    if "dtype" in known:
        options["dtype"] = "float64"
    if "batch_size" in known:
        size = options.get("batch_size", known["batch_size"].default)
        options["batch_size"] = min(size, BATCH_SIZE) if isinstance(size, int) else BATCH_SIZE
    if "log_eps" in known:
        options["log_eps"] = 0.0  # only the reported loss has it, not its gradient
    if "data" in known:
        data = options.get("data", known["data"].default)
        # Images of one shape; the embedded ones are always there.
        if data == "auto" or data in tuple(datasets.COLLECTIONS):
            options["data"] = EMBEDDED
    problem, _ = make_problem(name, options)
    return problem
