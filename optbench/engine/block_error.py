"""What ended a block before its end."""

import traceback

from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.plugins import complaint


class BlockError(Exception):
    """A block raised, or the process that ran it ended; can be pickled.

    Attributes
    ----------
    message
        What was raised, in one line, and where in a plug-in's code.
    traceback
        The whole of it.
    lacks_memory
        Whether arrays did not fit into memory.
    """

    def __init__(self, message: str, traceback: str = "", lacks_memory: bool = False) -> None:
        super().__init__(message, traceback, lacks_memory)
        self.message = message
        self.traceback = traceback
        self.lacks_memory = lacks_memory


def block_error(block: Block, device: Device, error: BaseException) -> BlockError:
    """Return what is to be reported of an error that a block raised, here or in its process."""
    if isinstance(error, BlockError):
        return error
    owners = [block.problem, *(group.optimizer for group in block.groups)]
    plugins = [getattr(owner, "plugin", None) for owner in owners]
    roots = [plugin.source.root for plugin in plugins if plugin is not None]
    return BlockError(
        max((complaint(error, root) for root in (None, *roots)), key=len),
        "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode(),
        isinstance(error, Exception) and device.lacks_memory(error),
    )
