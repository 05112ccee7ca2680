"""What an update rule of your own is made of.

::

    from optbench.optimizers import Elementwise, Hyperparameter, fraction

    class Heavy(Elementwise):
        hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

        @staticmethod
        def rule(w, g, *, lr, xp):
            return (w - lr * g,)

``optbench new optimizer FILE`` writes a complete one; docs/optimizer-plugins.md explains it. The
built-in rules are in :mod:`optbench.optimizers.rules`, and :mod:`optbench.optimizers.registry`
finds an optimizer by its name.
"""

from optbench.arrays import Array, Namespace, inner, lane_sum
from optbench.optimizers.base import Elementwise, HostColumns, Optimizer, UpdateContext, powers
from optbench.settings import Choice, Hyperparameter, Switch, fraction

__all__ = [
    "Array",
    "Choice",
    "Elementwise",
    "HostColumns",
    "Hyperparameter",
    "Namespace",
    "Optimizer",
    "Switch",
    "UpdateContext",
    "fraction",
    "inner",
    "lane_sum",
    "powers",
]
