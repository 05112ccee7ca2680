"""optbench: benchmarks first-order optimizers; every run is a row.

:func:`run` runs a suite, :func:`load` loads what a run left; both return :class:`Results`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.api import Results, load, run
    from optbench.verify.optimizers import check_optimizer, positions

__all__ = ["Results", "__version__", "check_optimizer", "load", "positions", "run"]

__version__ = "0.1.0"

_ELSEWHERE = dict.fromkeys(("check_optimizer", "positions"), "optbench.verify.optimizers")
"""Modules of what is not in :mod:`optbench.api`."""


def __getattr__(name: str) -> Any:
    """Import what people call when it is asked for, so that ``optbench --help`` starts fast."""
    if name not in __all__:
        raise AttributeError(f"module 'optbench' has no attribute '{name}'")
    return getattr(import_module(_ELSEWHERE.get(name, "optbench.api")), name)
