"""optbench: benchmarks first-order optimizers; every run is a row.

:func:`run` runs suites, :func:`resume` goes on with a run, :func:`load` loads one; each returns
:class:`Results`. :func:`estimate` says what a run would take.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.api import Results, estimate, load, resume, run

__all__ = ["Results", "__version__", "estimate", "load", "resume", "run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what people call when it is asked for, so that ``optbench --help`` starts fast."""
    if name not in __all__:
        raise AttributeError(f"module 'optbench' has no attribute '{name}'")
    return getattr(import_module("optbench.api"), name)
