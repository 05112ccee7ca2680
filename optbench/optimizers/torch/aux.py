"""Optimizers for matrices only, together with another one for all other parameters.

Which parameters are matrices is decided by their shapes; names can take more of them away::

    aux                 the other optimizer: a class of torch.optim
    aux_lr, aux_eps, …  its arguments
    aux_names           patterns of names of matrices that it takes as well, as "dense1.*, head*"
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.arguments import Argument
from optbench.optimizers.torch.lanes import Given

PREFIX = "aux_"

ARGUMENTS = (
    Argument("aux", "AdamW", ""),
    Argument("aux_lr", 0.001, ""),
    Argument("aux_betas", None, "", annotation="tuple"),
    Argument("aux_eps", None, "", annotation="float"),
    Argument("aux_momentum", None, "", annotation="float"),
    Argument("aux_weight_decay", None, "", annotation="float"),
    Argument("aux_names", "", ""),
)
"""What a suite can give beside the rule's own; ``none`` leaves the other optimizer its default."""

_NAMES = {argument.name for argument in ARGUMENTS}


class Pair:
    """Two optimizers that step as one, of different parameters."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second
        self.param_groups = [*first.param_groups, *second.param_groups]

    def step(self) -> None:
        """Make a step of both."""
        self.first.step()
        self.second.step()


def paired(
    make: Callable[[Given, dict[str, Any]], Any], given: Given, values: Mapping[str, Any]
) -> Any:
    """Return an optimizer of matrices and of all other parameters; the rule's alone without others.

    Parameters
    ----------
    make
        Makes that of the matrices, from them and the values that are not for the other one.

    Raises
    ------
    SuiteError
        If there are no matrices, or no such other optimizer.
    """
    import torch

    own = {name: value for name, value in values.items() if name not in _NAMES}
    patterns = [each.strip() for each in str(values.get("aux_names", "")).split(",")]
    taken = [
        len(tensor.shape) == 2
        and not any(fnmatchcase(tensor.name, pattern) for pattern in patterns)
        for tensor in given.tensors
    ]
    if not any(taken):
        raise SuiteError("it takes matrices only, and there are none; choose another optimizer")
    first = make(_part(given, taken), own)
    if all(taken):
        return first
    name = str(values.get("aux", "AdamW"))
    kinds = {
        key: kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    }
    if name not in kinds:
        raise SuiteError(f"torch.optim has no optimizer '{name}' for aux; {nearest(name, kinds)}")
    others = {
        key.removeprefix(PREFIX): value
        for key, value in values.items()
        if key in _NAMES - {"aux", "aux_names"} and value is not None
    }
    rest = _part(given, [not each for each in taken])
    return Pair(first, kinds[name](list(rest.params), **others))


def _part(given: Given, chosen: list[bool]) -> Given:
    places = [place for place, each in enumerate(chosen) if each]
    return Given(
        tuple(given.params[place] for place in places),
        [given.tensors[place] for place in places],
    )
