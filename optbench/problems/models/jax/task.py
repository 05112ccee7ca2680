"""What a file returns that makes a problem of functions of JAX."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optbench.problems.models.problem import Task as AnyTask


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(AnyTask):
    """Parameters and their loss as functions of JAX, and the data.

    Attributes
    ----------
    init
        Takes a key, which a lane's seed decides, and returns the parameters: arrays of reals in any
        tree.
    loss
        ``loss(params, batch, key)`` returns the mean loss of a batch, in the structure of the data,
        or the loss of each example: shape () or (batch,). The key is another one in every
        iteration, and None where the loss is evaluated on a split: then dropout keeps everything.
        With a state it is ``loss(params, batch, key, state)``, which returns the new state as well.
    state
        Takes a key and returns what training changes without gradients, such as running means; no
        state by default. Evaluations leave it as it is.

    A metric takes params and a batch, and the state where there is one.
    """

    init: Callable[[Any], Any]
    loss: Callable[..., Any]
    state: Callable[[Any], Any] | None = None
