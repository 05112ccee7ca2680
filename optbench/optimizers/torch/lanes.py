"""Lanes stepped by PyTorch optimizers: one parameter group or one optimizer per lane.

A lane's parameters are tensors in its row; nothing is copied.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from optbench.arrays import Tensor
from optbench.optimizers.torch.copying import copied, within
from optbench.optimizers.torch.noise import Noise
from optbench.optimizers.torch.state import Leaf, Place, alike, leaves, replaced

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Given:
    """The parameters of a lane, or groups of several lanes', and what tensors they are."""

    params: tuple[Any, ...]
    tensors: Sequence[Tensor]


Make: TypeAlias = Callable[[Given, Arguments], Any]
"""Constructs an optimizer from parameters, or groups of them, and its arguments."""


class TorchObjective(Protocol):
    """What lanes minimise in a step, for closures."""

    def loss(self, lane: int) -> float:
        """Return the loss that the step began with."""

    def evaluate(self, lane: int, row: Any, grad_row: Any) -> float:
        """Return the loss at other parameters (parameters,), and write the gradient there."""


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
    """One lane: its tensors, its optimizer and the parameter groups that are its own.

    ``parts`` are the optimizer and those within it, by their paths, with the groups of each.
    """

    row: Any
    grad_row: Any
    params: list[Any]
    grads: list[Any]
    optimizer: Any
    parts: dict[str, tuple[Any, list[dict[str, Any]]]]
    noise: Noise
    begun: dict[str, dict[str, list[Leaf]]] = field(default_factory=dict)
    lrs: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        groups = {id(group): group for _, own in self.parts.values() for group in own}
        self.lrs = [(group, group.get("lr")) for group in groups.values()]
        self._places = {id(param): Place(index) for index, param in enumerate(self.params)}
        self.begun = {
            path: {name: _still(value) for name, value in self._beside(path).items()}
            for path in self.parts
        }

    def _beside(self, path: str) -> dict[str, Any]:
        """Return what may be carried beside ``state``: entries of groups, and attributes."""
        optimizer, groups = self.parts[path]
        entries = {
            f"{place}.{name}": value
            for place, group in enumerate(groups)
            for name, value in group.items()
            if name != "params"
        }
        own = {
            f"self.{name}": value
            for name, value in vars(optimizer).items()
            if name not in KNOWN and f"{path}{name}." not in self.parts
        }
        return {name: self._placed(value) for name, value in (entries | own).items()}

    def _placed(self, value: Any) -> Any:
        """Return a value in which places stand for the lane's parameters, and for their ids."""

        def place(each: Any) -> Any:
            if type(each) is int and each in self._places:
                return replace(self._places[each], by_id=True)
            return self._places.get(id(each), each)

        return replaced(value, place)

    def _found(self, value: Any) -> Any:
        """Return a value in which the lane's parameters stand for their places."""

        def found(each: Any) -> Any:
            if type(each) is not Place:
                return each
            param = self.params[each.index]
            return id(param) if each.by_id else param

        return replaced(value, found)

    def carried(self) -> dict[str, Any]:
        """Return all that the next step depends on and that construction does not bring back."""
        whole = {path: self._carried(path) for path in self.parts}
        noise = self.noise.carried()
        own = whole.pop("")
        return own | ({"within": whole} if whole else {}) | ({"noise": noise} if noise else {})

    def _carried(self, path: str) -> dict[str, Any]:
        import torch

        states = _states_of(self.parts[path][0])
        beside = self._beside(path)
        changed = [name for name, value in beside.items() if not self._begun_as(path, name, value)]
        others = {key: value for key, value in states.items() if not isinstance(key, torch.Tensor)}
        return {
            "params": [self._placed(states.get(param)) for param in self.params],
            "state": self._placed(others),
            "beside": {name: beside[name] for name in changed},
        }

    def _begun_as(self, path: str, name: str, value: Any) -> bool:
        """Say whether something beside ``state`` is as it was constructed."""
        begun, now = self.begun[path].get(name, []), list(leaves(value))
        return len(begun) == len(now) and all(
            place == other and alike(leaf, before)
            for (place, leaf), (other, before) in zip(now, begun, strict=True)
        )

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Put what :meth:`carried` returned into an optimizer just constructed."""
        own = {key: carried[key] for key in ("params", "state", "beside")}
        for path, each in {"": own, **carried.get("within", {})}.items():
            self._restore(path, each)
        self.noise.restore(carried.get("noise", {}))

    def _restore(self, path: str, carried: Mapping[str, Any]) -> None:
        optimizer, groups = self.parts[path]
        states = _states_of(optimizer)
        for param, state in zip(self.params, carried["params"], strict=True):
            states.pop(param, None)
            if state is not None:
                states[param] = self._found(state)
        states.update(self._found(carried["state"]))
        for name, value in carried["beside"].items():
            place, _, key = name.partition(".")
            if place == "self":
                setattr(optimizer, key, self._found(value))
            else:
                groups[int(place)][key] = self._found(value)

    def take(self, other: "_Lane") -> None:
        """Go on from another lane, with a copy of its optimizer."""
        pairs = zip(other.params, self.params, strict=True)
        self.optimizer = copied(other.optimizer, [*pairs])
        self.parts = _parts(self.optimizer)
        rates = [rate for _, rate in other.lrs]
        groups = {id(group): group for _, own in self.parts.values() for group in own}
        self.lrs = list(zip(groups.values(), rates, strict=True))
        self.broken = other.broken
        self.noise.restore(other.noise.carried())


def _states_of(optimizer: Any) -> Any:
    """Return what an optimizer keeps by parameter; a function that makes one may have none."""
    return getattr(optimizer, "state", {})


def _parts(optimizer: Any) -> dict[str, tuple[Any, list[dict[str, Any]]]]:
    return {path: (each, each.param_groups) for path, each in within(optimizer)}


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
    tensors
        Those in a row.
    layout
        How they are given to PyTorch.
    noises
        The generators of each lane.
    """

    def __init__(
        self,
        make: Make,
        arguments: Sequence[Arguments],
        params: Any,
        grads: Any,
        tensors: Sequence[Tensor],
        layout: Layout,
        noises: Sequence[Noise],
    ) -> None:
        import torch

        whole = (Tensor("params", (params.shape[1],)),)
        parts = whole if layout.flat else tensors
        shapes = [tensor.shape for tensor in parts]
        given = [
            Given(tuple(map(torch.nn.Parameter, _split(row, shapes))), parts)
            for row in params.unbind()
        ]
        alone = []
        for own, values, noise in zip(given, arguments, noises, strict=True):
            with noise.drawn():
                alone.append(make(own, values))
        lane_parts = [_parts(optimizer) for optimizer in alone]
        if layout.together and len(alone) > 1:
            groups = [own[""][1] for own in lane_parts]
            if any(len(own) > 1 for own in (*groups, *lane_parts)):
                raise ValueError("it makes several groups, or optimizers, of one")
            own_groups = [
                {**own[0], "params": list(each.params)}
                for own, each in zip(groups, given, strict=True)
            ]
            one = make(Given(tuple(own_groups), parts), arguments[0])
            alone = [one] * len(alone)
            lane_parts = [{"": (one, [group])} for group in one.param_groups]
        self.params, self.grads = params, grads
        self.lanes = [
            _Lane(row, grad, list(own.params), _split(grad, shapes), optimizer, within, noise)
            for row, grad, own, optimizer, within, noise in zip(
                params.unbind(), grads.unbind(), given, alone, lane_parts, noises, strict=True
            )
        ]
        self._shared = layout.together and len(alone) > 1
        self.switch("train")

    @property
    def switches(self) -> bool:
        """Whether the optimizers train and evaluate at different parameters."""
        return switches(type(self.lanes[0].optimizer))

    def switch(self, mode: str) -> None:
        """Call ``train()`` or ``eval()`` of optimizers that have both."""
        if self.switches:
            for lane in self.lanes[:1] if self._shared else self.lanes:
                with lane.noise.drawn():
                    getattr(lane.optimizer, mode)()

    def take(self, others: Sequence[_Lane]) -> None:
        """Go on from other lanes, with copies of their optimizers."""
        for lane, other in zip(self.lanes, others, strict=True):
            lane.take(other)

    def step(
        self, lrs: Sequence[float] | None = None, objective: TorchObjective | None = None
    ) -> None:
        """Make a step.

        Parameters
        ----------
        lrs
            Learning rates of the lanes, if they are others than before.
        objective
            What closures evaluate, for optimizers that are given one.
        """
        for place, lane in enumerate(self.lanes):
            if lrs is not None:
                _set_lr(lane, lrs[place])
            _give_grads(lane)
        if self._shared:
            self.lanes[0].optimizer.step()
        else:
            for place, lane in enumerate(self.lanes):
                _step_alone(lane, None if objective is None else _closure(lane, place, objective))
        for lane in self.lanes:
            _keep_in_row(lane)


def _give_grads(lane: _Lane) -> None:
    for param, grad in zip(lane.params, lane.grads, strict=True):
        if param.grad is not grad:
            param.grad = grad


def _closure(lane: _Lane, place: int, objective: TorchObjective) -> Callable[[], Any]:
    """Return a closure that evaluates a lane where its parameters are, on the same batch.

    Where they are still as they were, loss and gradient are those that the step began with.
    """
    import torch

    start, grads = lane.row.clone(), lane.grad_row.clone()
    calls = 0

    def closure() -> Any:
        nonlocal calls
        _keep_in_row(lane)
        calls += 1
        if calls == 1 and torch.equal(lane.row, start):
            lane.grad_row.copy_(grads)
            loss = objective.loss(place)
        else:
            loss = objective.evaluate(place, lane.row, lane.grad_row)
        _give_grads(lane)
        return torch.tensor(loss, dtype=lane.row.dtype, device=lane.row.device)

    return closure


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
    first = lane.lrs[0][1]
    for group, begun in lane.lrs:
        group["lr"] = lr if begun == first else lr * (begun / first)


def _step_alone(lane: _Lane, closure: Callable[[], Any] | None) -> None:
    """Step a lane that has an optimizer of its own.

    Some raise where numbers are not finite, as eigenvalues do. Such a lane has diverged, which its
    parameters then show, and no other lane ends with it.
    """
    import torch

    if lane.broken:
        return
    try:
        with lane.noise.drawn():
            lane.optimizer.step() if closure is None else lane.optimizer.step(closure)
    except Exception:  # a foreign step may raise anything; what is no divergence is raised again
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
