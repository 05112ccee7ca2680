"""PyTorch's modules as problems: ``optbench.torch.Task``, which ``torch:FILE.py:problem`` returns.

docs/models.md shows examples; ``optbench new problem FILE --torch`` writes one.
"""

from optbench.problems.models.torch.task import Task

__all__ = ["Task"]
