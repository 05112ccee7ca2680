"""The Python API: run suites and load runs as DataFrames, without a shell.

>>> import tempfile
>>> import optbench
>>> results = optbench.run("anisotropic", optimizers=["adam"], out=tempfile.mkdtemp())
>>> results.trace[["iteration", "loss"]].round(4).head(2)
   iteration    loss
0          0  6.4500
1          1  5.1345
>>> results = optbench.run(
...     problem="booth",
...     optimizers=["adam"],
...     grid={"adam.lr": [1e-6, 0.1]},
...     stop={"loss": 1.0},
...     out=tempfile.mkdtemp(),
... )
>>> results.lanes["status"].tolist()
['done', 'stopped']
"""

from optbench.api.reports import compare, export, plot, show, target, write_report
from optbench.api.results import Results, Study
from optbench.api.running import estimate, load, merge, pack, resume, run, tune
from optbench.errors import UsageError
from optbench.gate import check as gate_check
from optbench.gate import save as gate_save
from optbench.plugins import new_code_cache
from optbench.problems import function
from optbench.settings import typed
from optbench.verify.against import compare_optimizers
from optbench.verify.optimizers import check_optimizer, positions
from optbench.verify.problems import check_problem, loss_and_gradient

__all__ = [
    "Results",
    "Study",
    "UsageError",
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

check = typed(new_code_cache()(gate_check.check_baselines))
save_baseline = typed(new_code_cache()(gate_save.save_baseline))
