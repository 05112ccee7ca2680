"""What flags of commands that run suites say, from their text to the values of a request."""

from collections.abc import Sequence
from typing import Any

from optbench.errors import SuiteError
from optbench.suite.format import StopTable
from optbench.suite.values import toml_value

START_EXAMPLE = "--start x=-7,y=2 (a vector: --start 'x=[1, 2, 3]')"


DOMAIN_EXAMPLE = "--domain x=-5:15,y=-5:5"


def parse_set(text: str) -> tuple[str, Any]:
    """Read the ``TARGET.key=value`` of ``--set``; values are TOML.

    >>> parse_set("adam.lr=0.01"), parse_set("v1.0.schedule=cosine")
    (('adam.lr', 0.01), ('v1.0.schedule', 'cosine'))
    """
    name, value = _split(text, "--set", "adam.lr=0.01")
    return name, toml_value(value)


def parse_grid(text: str) -> tuple[str, str]:
    """Read the ``TARGET.key=values`` of ``--grid``; a request takes values as text."""
    return _split(text, "--grid", "adam.lr=1e-4:1e-1:13")


def parse_space(text: str) -> tuple[str, str]:
    """Read the ``TARGET.key=space`` of ``--space``.

    >>> parse_space("sgd.lr=log(1e-3, 10)")
    ('sgd.lr', 'log(1e-3, 10)')
    """
    return _split(text, "--space", "'adam.lr=log(1e-4, 1)'")


def _split(text: str, flag: str, example: str) -> tuple[str, str]:
    """Split at the first ``=``; before it stand a target and a hyperparameter."""
    name, _, value = text.partition("=")
    target, _, key = name.rpartition(".")
    if name and value and "." not in name:
        raise SuiteError(f"{flag} '{text}' {without_target(text)}")
    if not (target and key and value):
        raise SuiteError(f"{flag} '{text}' is malformed; write TARGET.key=value, as {example}")
    return name, value


def without_target(change: str) -> str:
    """Return the end of a message about a change that does not say of which optimizer it is.

    >>> without_target("lr=0.5")
    "names no optimizer; write '*.lr=0.5' for all that have it, or 'sgd.lr=0.5' for one"
    """
    return f"names no optimizer; write '*.{change}' for all that have it, or 'sgd.{change}' for one"


def parse_stops(texts: Sequence[str]) -> dict[str, Any]:
    """Read the ``KEY=VALUE`` of each ``--stop``.

    >>> parse_stops(["loss=0.01", "patience=5000"])
    {'loss': 0.01, 'patience': 5000}
    """
    rules = {}
    for text in texts:
        key, _, value = text.partition("=")
        if not value or key not in StopTable.model_fields:
            known = ", ".join(StopTable.model_fields)
            raise SuiteError(f"--stop '{text}' is malformed; write key=value with one of {known}")
        rules[key] = toml_value(value)
    return rules


def parse_starts(texts: Sequence[str]) -> dict[str, Any]:
    """Read the ``VARIABLE=VALUE`` of each ``--start``; values are TOML.

    >>> parse_starts(["x=[1, 2.5],y=2", "z=1e-3"])
    {'x': [1, 2.5], 'y': 2, 'z': 0.001}
    """
    start: dict[str, Any] = {}
    for text in texts:
        part = toml_value(f"{{{text}}}")
        if not isinstance(part, dict) or not part:
            raise SuiteError(f"--start '{text}' is malformed; write {START_EXAMPLE}")
        for name in part:
            if name in start:
                raise SuiteError(f"--start gives '{name}' twice; one value is needed")
        start |= part
    return start


def parse_domains(texts: Sequence[str]) -> dict[str, Any]:
    """Read the ``VARIABLE=LOW:HIGH`` of each ``--domain``.

    >>> parse_domains(["x=-5:15,y=-5:5", "z=0:1e3"])
    {'x': [-5.0, 15.0], 'y': [-5.0, 5.0], 'z': [0.0, 1000.0]}
    """
    domain: dict[str, Any] = {}
    for text in texts:
        for part in text.split(","):
            name, _, interval = (side.strip() for side in part.partition("="))
            try:
                low, high = map(float, interval.split(":"))
            except ValueError:
                name = ""
            if not name:
                raise SuiteError(f"--domain '{text}' is malformed; write {DOMAIN_EXAMPLE}")
            if name in domain:
                raise SuiteError(f"--domain gives '{name}' twice; one interval is needed")
            domain[name] = [low, high]
    return domain


def parse_count(text: str | None) -> int | str | None:
    """Return a whole number where a text is one; what else it may be is checked later.

    >>> parse_count("128"), parse_count("full"), parse_count(None)
    (128, 'full', None)
    """
    try:
        return None if text is None else int(text)
    except ValueError:
        return text
