"""optbench: benchmarks first-order optimizers; every run is a row.

:func:`run` runs a suite, :func:`load` loads what a run left; both return :class:`Results`.
"""

from optbench.api import Results, load, run

__all__ = ["Results", "__version__", "load", "run"]

__version__ = "0.1.0"
