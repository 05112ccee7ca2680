"""Functions of JAX as problems: ``optbench.jax.Task``, which ``jax:FILE.py:problem`` returns.

docs/models.md shows examples; ``optbench new problem FILE --jax`` writes one.
"""

from optbench.problems.models.jax.task import Task

__all__ = ["Task"]
