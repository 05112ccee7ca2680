"""Code of plug-ins is read anew in each test, and forgotten after it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from optbench.plugins import new_code_cache


def _folders(module: object) -> list[str]:
    """Return where a package lies; some call something else so."""
    try:
        return list(getattr(module, "__path__", ()))
    except TypeError:
        return []


@pytest.fixture
def forget(tmp_path: Path) -> Iterator[None]:
    """Take what was imported from the test's folder out of ``sys.modules`` again."""
    with new_code_cache():
        yield
    for name, module in list(sys.modules.items()):
        paths = [getattr(module, "__file__", None), *_folders(module)]
        if any(path is not None and Path(path).is_relative_to(tmp_path) for path in paths):
            del sys.modules[name]
