"""What the folder may load: spaces and budgets are checked before anything heavy is needed."""

import subprocess
import sys
from pkgutil import iter_modules

import optbench.tuning

DRIVER = """
import sys
from importlib import import_module
for name in {names!r}:
    import_module("optbench.tuning." + name)
from optbench.tuning.sets import space_set
space_set("full").of("adamw")
print(*[name for name in ("pandas", "matplotlib", "scipy", "optuna") if name in sys.modules])
"""


def test_spaces_are_checked_without_heavy_libraries():
    names = [module.name for module in iter_modules(optbench.tuning.__path__)]
    assert {"budget", "rungs", "samplers", "sets", "spaces"} <= set(names)
    driver = DRIVER.format(names=names)
    done = subprocess.run(
        [sys.executable, "-c", driver], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
