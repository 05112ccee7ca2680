"""Lanes stepped by PyTorch optimizers: one parameter group or one optimizer per lane.

A lane's parameters are tensors in its row; nothing is copied.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from optbench.optimizers.torch.state import Leaf, alike, leaves

Arguments: TypeAlias = Mapping[str, Any]
Make: TypeAlias = Callable[[Any, Arguments], Any]
"""Constructs an optimizer from parameters, or groups of them, and its arguments."""


@dataclass(frozen=True)
class Layout:
    """How lanes are given to PyTorch.

    Attributes
    ----------
    together
        Whether one optimizer has all lanes, a parameter group each; else each lane has its own.
    flat
        Whether a lane is one tensor; else it has one for each tensor of the problem.
    """

    together: bool = False
    flat: bool = False


KNOWN = ("param_groups", "state", "defaults")
"""Attributes of optimizers that are handled apart, or never change."""


@dataclass
class _Lane:
    """One lane: its tensors, its optimizer and the parameter groups that are its own."""

    row: Any
    params: list[Any]
    grads: list[Any]
    optimizer: Any
    groups: list[dict[str, Any]]
    lrs: list[Any]
    begun: dict[str, list[Leaf]]
    broken: bool = False

    def beside(self) -> dict[str, Any]:
        """Return what may be carried beside ``state``: entries of groups, and attributes."""
        entries = {
            f"{place}.{name}": value
            for place, group in enumerate(self.groups)
            for name, value in group.items()
            if name != "params"
        }
        own = vars(self.optimizer).items()
        return entries | {f"self.{name}": value for name, value in own if name not in KNOWN}

    def carried(self) -> dict[str, Any]:
        """Return all that the next step depends on and that construction does not bring back."""
        states = self.optimizer.state
        beside = self.beside()
        changed = [name for name, value in beside.items() if not self._begun_as(name, value)]
        return {
            "params": [states.get(param) for param in self.params],
            "state": {key: value for key, value in states.items() if isinstance(key, str)},
            "beside": {name: beside[name] for name in changed},
        }

    def _begun_as(self, name: str, value: Any) -> bool:
        """Say whether something beside ``state`` is as it was constructed."""
        begun, now = self.begun.get(name, []), list(leaves(value))
        return len(begun) == len(now) and all(
            path == other and alike(leaf, before)
            for (path, leaf), (other, before) in zip(now, begun, strict=True)
        )

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Put what :meth:`carried` returned into an optimizer just constructed."""
        states = self.optimizer.state
        for param, state in zip(self.params, carried["params"], strict=True):
            states.pop(param, None)
            if state is not None:
                states[param] = state
        states.update(carried["state"])
        for name, value in carried["beside"].items():
            place, _, key = name.partition(".")
            if place == "self":
                setattr(self.optimizer, key, value)
            else:
                self.groups[int(place)][key] = value


class TorchLanes:
    """PyTorch optimizers at work on rows of parameters.

    Parameters
    ----------
    make
        Constructs an optimizer.
    arguments
        Of each lane.
    params, grads
        Tensors (lanes, parameters), each row contiguous.
    shapes
        Of the tensors in a row.
    layout
        How they are given to PyTorch.
    """

    def __init__(
        self,
        make: Make,
        arguments: Sequence[Arguments],
        params: Any,
        grads: Any,
        shapes: Sequence[tuple[int, ...]],
        layout: Layout,
    ) -> None:
        import torch

        parts = [(params.shape[1],)] if layout.flat else shapes
        tensors = [
            [torch.nn.Parameter(part) for part in _split(row, parts)] for row in params.unbind()
        ]
        alone = [make(own, given) for own, given in zip(tensors, arguments, strict=True)]
        groups = [optimizer.param_groups for optimizer in alone]
        if layout.together and len(alone) > 1:
            if any(len(own) > 1 for own in groups):
                raise ValueError("it makes several groups of one")
            own_groups = [
                {**own[0], "params": params} for own, params in zip(groups, tensors, strict=True)
            ]
            one = make(own_groups, arguments[0])
            alone, groups = [one] * len(alone), [[group] for group in one.param_groups]
        self.params, self.grads = params, grads
        self.lanes = [
            _Lane(
                row,
                own,
                _split(grad, parts),
                optimizer,
                group,
                [entry.get("lr") for entry in group],
                {},
            )
            for row, own, grad, optimizer, group in zip(
                params.unbind(), tensors, grads.unbind(), alone, groups, strict=True
            )
        ]
        for lane in self.lanes:
            lane.begun = {name: _still(value) for name, value in lane.beside().items()}
        self.optimizers = list({id(optimizer): optimizer for optimizer in alone}.values())
        self.switch("train")

    @property
    def switches(self) -> bool:
        """Whether the optimizers train and evaluate at different parameters."""
        return switches(type(self.optimizers[0]))

    def switch(self, mode: str) -> None:
        """Call ``train()`` or ``eval()`` of optimizers that have both."""
        for optimizer in self.optimizers if self.switches else ():
            getattr(optimizer, mode)()

    def step(self, lrs: Sequence[float] | None = None) -> None:
        """Make a step, with learning rates of the lanes if they are given."""
        for place, lane in enumerate(self.lanes):
            if lrs is not None:
                _set_lr(lane, lrs[place])
            for param, grad in zip(lane.params, lane.grads, strict=True):
                if param.grad is not grad:
                    param.grad = grad
        if len(self.optimizers) == len(self.lanes):
            for lane in self.lanes:
                _step_alone(lane)
        else:
            self.optimizers[0].step()
        for lane in self.lanes:
            _keep_in_row(lane)


def switches(kind: type) -> bool:
    """Say whether a class has ``train()`` and ``eval()``, to train at other parameters."""
    return all(callable(getattr(kind, mode, None)) for mode in ("train", "eval"))


def _split(row: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return the tensors of these shapes that lie in a row one after the other."""
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    starts = [0, *ends[:-1]]
    return [
        row[start:end].view(shape) for start, end, shape in zip(starts, ends, shapes, strict=True)
    ]


def _set_lr(lane: _Lane, lr: float) -> None:
    """Set a learning rate; groups that began with another keep their ratio to the first."""
    first = lane.lrs[0]
    for group, begun in zip(lane.groups, lane.lrs, strict=True):
        group["lr"] = lr if begun == first else lr * (begun / first)


def _step_alone(lane: _Lane) -> None:
    """Step a lane that has an optimizer of its own.

    Some raise where numbers are not finite, as eigenvalues do. Such a lane has diverged, which its
    parameters then show, and no other lane ends with it.
    """
    import torch

    if lane.broken:
        return
    try:
        lane.optimizer.step()
    except Exception:
        values = [lane.row, *lane.grads]
        if all(bool(torch.isfinite(value).all()) for value in values):
            raise
        lane.broken = True
        lane.row.fill_(math.nan)


def _keep_in_row(lane: _Lane) -> None:
    """Copy what an optimizer has stored elsewhere, as ``p.data = …`` does, back into the row."""
    at = lane.row.data_ptr()
    for param, grad in zip(lane.params, lane.grads, strict=True):
        if param.data_ptr() != at:
            own = lane.row[(at - lane.row.data_ptr()) // grad.element_size() :][: grad.numel()]
            own.copy_(param.data.reshape(-1))
            param.data = own.view(grad.shape)
        at += grad.numel() * grad.element_size()


def _still(value: Any) -> list[Leaf]:
    """Return the values in nested containers, tensors as copies so that changes can be seen."""
    import torch

    return [
        (path, leaf.clone() if type(leaf) is torch.Tensor else leaf) for path, leaf in leaves(value)
    ]
