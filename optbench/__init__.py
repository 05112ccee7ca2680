"""optbench: benchmarks first-order optimizers; every run is a row.

:func:`run` runs suites and returns :class:`Results`; :func:`tune` tunes optimizers alike and
returns a :class:`Study`; :func:`resume` continues either, :func:`load` loads one. :func:`estimate`
says what a run would take. :func:`merge` makes one run of several, :func:`pack` one file of a run
or a study. :func:`check` compares with the baselines that :func:`save_baseline`
keeps; :func:`export` gives one table of runs, and :func:`compare` says which optimizer is better
and whether that is sure, :func:`target` how long each needs to a target; :func:`write_report`
writes it all into one HTML file. :func:`check_optimizer`, :func:`compare_optimizers`
and :func:`positions` test an optimizer of your own, :func:`check_problem` and
:func:`loss_and_gradient` a problem. What a user can mend raises :class:`UsageError`.
:func:`function` makes a problem of a Python function, ``torch.Task`` and ``jax.Task`` one of a
model; :func:`show` and :func:`plot` are commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.api import (
        Results,
        Study,
        UsageError,
        check,
        check_optimizer,
        check_problem,
        compare,
        compare_optimizers,
        estimate,
        export,
        function,
        load,
        loss_and_gradient,
        merge,
        pack,
        plot,
        positions,
        resume,
        run,
        save_baseline,
        show,
        target,
        tune,
        write_report,
    )

__all__ = [
    "Results",
    "Study",
    "UsageError",
    "__version__",
    "check",
    "check_optimizer",
    "check_problem",
    "compare",
    "compare_optimizers",
    "estimate",
    "export",
    "function",
    "load",
    "loss_and_gradient",
    "merge",
    "pack",
    "plot",
    "positions",
    "resume",
    "run",
    "save_baseline",
    "show",
    "target",
    "tune",
    "write_report",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what people call when it is asked for, so that ``optbench --help`` starts fast."""
    if name in ("jax", "torch"):
        return import_module(f"optbench.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'optbench' has no attribute '{name}'")
    return getattr(import_module("optbench.api"), name)
