"""LARS: momentum with a learning rate for each tensor."""

from optbench.arrays import stack
from optbench.optimizers.base import Optimizer, UpdateContext
from optbench.optimizers.rules.layerwise import spread, trust_ratio
from optbench.settings import Hyperparameter, fraction


class LARS(Optimizer):
    """LARS: momentum with a learning rate per tensor, in proportion to the size of its parameters.

    Of each tensor w of a lane::

        u ← g + weight_decay·w
        r ← trust·‖w‖/(‖u‖ + eps)      r is 1 where ‖w‖ or ‖u‖ is 0
        v ← momentum·v + lr·r·u        v is 0 at the start
        w ← w − v

    The same as ``optax.lars``. The paper has r = trust·‖w‖/(‖g‖ + weight_decay·‖w‖), which is the
    same without weight decay, and says nothing of w = 0. All tensors are treated alike; some
    recipes leave biases and normalisation out. The learning rate stands inside v, as in
    ``momentum``. The step relative to w is lr·trust, and 1/(1 − momentum) times that in the long
    run; ``lr`` has no default in optax.

    Source: Y. You, I. Gitman and B. Ginsburg, "Large batch training of convolutional networks",
    arXiv:1708.03888 (2017).
    """

    name = "lars"
    summary = "u ← g + λw;  v ← momentum·v + lr·trust·‖w‖/‖u‖·u;  w ← w − v, per tensor"
    hyperparameters = (
        Hyperparameter("lr", 1.0, "learning rate, before the trust ratio"),
        fraction("momentum", 0.9, "share of the velocity kept"),
        Hyperparameter("weight_decay", 0.0, "λ, share of w added to the gradient"),
        Hyperparameter("trust", 0.001, "trust coefficient: size of a step relative to ‖w‖"),
        Hyperparameter("eps", 0.0, "added to the norm of the update"),
    )
    slots = ("velocity",)
    source = "You, Gitman and Ginsburg 2017, arXiv:1708.03888"
    partner = "optax.lars"

    def step(self, context: UpdateContext) -> None:
        """Update each tensor of each lane by its own ratio."""
        xp, columns = context.xp, context.columns
        velocities = stack(context.state["velocity"], context.tensors, xp).views
        for name, w in context.params.views.items():
            update = spread(columns["weight_decay"], w, xp) * w
            update += context.grads.views[name]
            ratio = trust_ratio(w, update, xp, trust=columns["trust"], eps=columns["eps"])
            update *= spread(columns["lr"] * ratio, w, xp)
            velocity = velocities[name]
            velocity *= spread(columns["momentum"], w, xp)
            velocity += update
            w -= velocity
