"""Whether somebody watches a Python program at work."""

import sys

from optbench.display.notebook import in_notebook


def watched(progress: bool | None) -> bool:
    """Say whether progress is shown: as ``progress`` says, else where somebody types the calls.

    That is in a notebook, and at the prompt of Python or IPython in a terminal; scripts are silent.
    """
    if progress is not None:
        return progress
    ipython = sys.modules.get("IPython")
    prompt = hasattr(sys, "ps1") or (ipython is not None and ipython.get_ipython() is not None)
    return in_notebook() or (prompt and sys.stderr.isatty())
