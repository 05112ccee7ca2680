"""The environment in which a tracker's library runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def surroundings(prefix: str, **variables: str) -> Iterator[None]:
    """Let no variable of the user count that begins with a prefix; the given ones, which do, count.

    Those of the user may send to a server what is to be written into a folder.
    """
    kept = _with_prefix(prefix)
    try:
        _replace(prefix, variables)
        yield
    finally:
        _replace(prefix, kept)


def _with_prefix(prefix: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


def _replace(prefix: str, variables: dict[str, str]) -> None:
    for name in _with_prefix(prefix):
        del os.environ[name]
    os.environ.update(variables)
