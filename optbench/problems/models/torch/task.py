"""What a file returns that makes a problem of a PyTorch module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optbench.problems.models.problem import Task as AnyTask


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(AnyTask):
    """A PyTorch module, its loss and its data.

    Attributes
    ----------
    model
        Returns a new ``torch.nn.Module``; it is called with PyTorch's generator seeded by the
        lane's seed, so that its own initialisation is the start.
    loss
        Takes the module and a batch, in the structure of the data, and returns the mean loss of its
        examples, or the loss of each: shape () or (batch,). Data of reals have the dtype of the
        parameters, all else the type it was given with.
    """

    model: Callable[[], Any]
    loss: Callable[[Any, Any], Any]
