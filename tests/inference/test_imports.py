"""What the folder may load: gates and light commands import it."""

import subprocess
import sys
from pkgutil import iter_modules

import optbench.inference

HEAVY = ("pandas", "matplotlib", "scipy")

DRIVER = """
import sys
from importlib import import_module
for name in {names!r}:
    import_module("optbench.inference." + name)
print(*[name for name in {heavy!r} if name in sys.modules])
"""


def test_importing_every_module_loads_neither_pandas_nor_scipy():
    names = [module.name for module in iter_modules(optbench.inference.__path__)]
    assert {"flips", "pairs", "ranks"} <= set(names)
    driver = DRIVER.format(names=names, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", driver], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
