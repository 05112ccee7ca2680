"""What the folder may load: spaces and budgets are checked before anything heavy is needed."""

import subprocess
import sys

LIGHT = ("budget", "protocol", "rungs", "samplers", "sets", "settling", "spaces", "tpe")
"""What says whether a request can be done; the other modules do it."""

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
    driver = DRIVER.format(names=LIGHT)
    done = subprocess.run(
        [sys.executable, "-c", driver], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
