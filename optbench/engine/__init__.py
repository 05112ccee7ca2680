"""Steps stacked lanes: it is given blocks of plain data and yields records.

It knows no suite and no file format.
"""

from optbench.engine.block import Block
from optbench.engine.executor import execute
from optbench.engine.loop import run_block

__all__ = ["Block", "execute", "run_block"]
