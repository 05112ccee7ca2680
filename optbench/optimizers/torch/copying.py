"""Copies of PyTorch optimizers that hold what cannot be saved.

PyTorch's own way leaves out attributes; this one takes them along, and those of optimizers within.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any


def within(optimizer: Any) -> Iterator[tuple[str, Any]]:
    """Yield an optimizer and those in its attributes, with the path to each; itself has none.

    A wrapper, such as Lookahead, has another optimizer in an attribute.
    """
    yield from _within(optimizer, "", set())


def _within(optimizer: Any, path: str, known: set[int]) -> Iterator[tuple[str, Any]]:
    if id(optimizer) in known:
        return
    known.add(id(optimizer))
    yield path, optimizer
    for name, value in vars(optimizer).items():
        if is_optimizer(value):
            yield from _within(value, f"{path}{name}.", known)


def is_optimizer(value: Any) -> bool:
    """Say whether an object has what lanes need of an optimizer: a step and parameter groups."""
    if isinstance(value, type):
        return False
    return callable(getattr(value, "step", None)) and isinstance(
        getattr(value, "param_groups", None), list
    )


def copied(optimizer: Any, params: Sequence[tuple[Any, Any]]) -> Any:
    """Return a copy of an optimizer and of all that it holds.

    Parameters
    ----------
    params
        The parameters that it steps, each with the one that stands for it in the copy.
    """
    memo = {id(theirs): ours for theirs, ours in params}
    addresses = {theirs.data_ptr(): ours.data_ptr() for theirs, ours in params}
    pairs = [(each, copy_of(each)) for _, each in within(optimizer)]
    memo |= {id(each): other for each, other in pairs}
    for each, _ in pairs:
        _note_tensors(vars(each), memo)
    for each, other in pairs:
        vars(other).clear()
        vars(other).update(deepcopy(vars(each), memo))
        for value in vars(other).values():
            if isinstance(value, dict):
                _move(value, addresses)
    return pairs[0][1]


def _move(kept: dict[Any, Any], addresses: Mapping[int, int]) -> None:
    """Let what is kept by the addresses of parameters, as HeavyBall does, be found at others."""
    for key in [*kept]:
        if isinstance(key, tuple) and key and key[0] in addresses:
            kept[(addresses[key[0]], *key[1:])] = kept.pop(key)


def _note_tensors(value: Any, memo: dict[int, Any]) -> None:
    """Note copies of the tensors in containers that PyTorch does not copy: views made in a step."""
    import torch

    if isinstance(value, torch.Tensor) and id(value) not in memo:
        try:
            deepcopy(value, memo)
        except RuntimeError:
            memo[id(value)] = value.detach().clone()
    elif isinstance(value, dict):
        _note_tensors([*value, *value.values()], memo)
    elif isinstance(value, list | tuple | set):
        for each in value:
            _note_tensors(each, memo)


def copy_of(optimizer: Any) -> Any:
    """Return an object of an optimizer's class, without attributes of its own."""
    return object.__new__(type(optimizer))
