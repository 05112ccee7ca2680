"""LARS: momentum with a learning rate for each tensor."""

from optbench.optimizers.base import Optimizer, UpdateContext
from optbench.optimizers.rules.layerwise import scale_tensors, trust_ratios
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
    work_arrays = 3
    source = "You, Gitman and Ginsburg 2017, arXiv:1708.03888"
    partner = "optax.lars"

    def step(self, context: UpdateContext) -> None:
        """Update each tensor of each lane by its own ratio."""
        columns, work = context.columns, context.work
        w, g = context.params.rows, context.grads.rows
        work.begin("update")
        update, square, square_of_update = (work.take_like(w) for _ in range(3))
        context.elementwise(
            self.direct,
            [update, g, w, square, square_of_update],
            {"weight_decay": columns["weight_decay"]},
        )
        given = {name: columns[name] for name in ("trust", "eps")}
        ratios = trust_ratios(square, square_of_update, context.tensors, work, **given)
        scale_tensors(update, columns["lr"] * ratios, context.tensors, work)
        context.elementwise(
            self.move, [w, update, context.state["velocity"]], {"momentum": columns["momentum"]}
        )

    @staticmethod
    def direct(u, g, w, of_w, of_u, *, weight_decay, xp):
        """Return u, w as it is, and the squares of w and u, (lanes, parameters) each."""
        u = weight_decay * w + g
        return u, w, w * w, u * u

    @staticmethod
    def move(w, u, v, *, momentum, xp):
        """Return w and v, both of shape (lanes, parameters); u is lr·r·u."""
        v = momentum * v + u
        return w - v, v
