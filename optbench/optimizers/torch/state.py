"""What PyTorch optimizers carry from step to step, as arrays of all lanes by name, and back again.

An optimizer keeps numbers and tensors, and lists, tuples and dicts of them. Each becomes an array
of shape (lanes, …) whose name says where it was and what it was, as JSON: the path to it, one token
per container (``s`` or ``i`` and the key of a dict, ``l`` or ``t`` and the index in a list or
tuple), then its type. Where not all lanes have it, a second array, named with a ``?`` at the end,
says which do.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from optbench.arrays import Array
from optbench.errors import SuiteError

Leaf: TypeAlias = tuple[tuple[str, ...], Any]
"""The path to a value, and the value."""

NUMBERS = {bool: "uint8", int: "int64", float: "float64"}
"""How Python's numbers are stored; those that it cannot hold exactly are refused."""

DTYPES = (
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "bool"),
)
"""Types of tensors that arrays have as well."""

EMPTY = {"dict": dict, "list": list, "tuple": tuple}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield the values in nested dicts, lists and tuples; an empty one is a value itself.

    >>> list(leaves({"k": 3, "q": [1.5, None]}))
    [(('sk',), 3), (('sq', 'l0'), 1.5), (('sq', 'l1'), None)]
    """
    items = list(_items(value))
    for token, item in items:
        yield from leaves(item, (*path, token))
    if not items:
        yield path, value


def nested(pairs: Sequence[Leaf]) -> Any:
    """Return what :func:`leaves` took apart.

    >>> nested(list(leaves({"k": 3, "q": [1.5, None]})))
    {'k': 3, 'q': [1.5, None]}
    """
    if pairs[0][0] == ():
        return pairs[0][1]
    parts: dict[str, list[Leaf]] = {}
    for (token, *path), value in pairs:
        parts.setdefault(token, []).append((tuple(path), value))
    whole = {token: nested(part) for token, part in parts.items()}
    if all(token[0] in "lt" for token in whole):
        ordered = [whole[token] for token in sorted(whole, key=lambda token: int(token[1:]))]
        return tuple(ordered) if next(iter(whole))[0] == "t" else ordered
    return {int(token[1:]) if token[0] == "i" else token[1:]: part for token, part in whole.items()}


def alike(first: Any, second: Any) -> bool:
    """Say whether two values have the same type and the same bits."""
    import torch

    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        same = first.shape == second.shape and first.dtype == second.dtype
        return bool(same and equal(first, second))
    if isinstance(first, float):
        return bool(first.hex() == second.hex())
    if type(first).__name__ in EMPTY and not first:
        return not second
    return first is second or (isinstance(first, int | str) and first == second)


def equal(first: Any, second: Any) -> bool:
    """Say whether two tensors of one shape hold the same values; NaN is equal to itself."""
    same = (first == second) | ((first != first) & (second != second))
    return bool(same.all())


def encode(lanes: Sequence[Any], put: Callable[[Any], Array], device: Any) -> dict[str, Array]:
    """Return what lanes hold as arrays (lanes, …) by name.

    Parameters
    ----------
    lanes
        What each lane holds.
    put
        Returns a tensor on ``device`` as an array.

    Raises
    ------
    SuiteError
        If there is something that is neither a number, text nor a tensor.
    """
    import torch

    held: dict[str, dict[int, Any]] = {}
    for lane, value in enumerate(lanes):
        for path, leaf in leaves(value):
            name = json.dumps([*path, _kind(leaf, path, device)])
            held.setdefault(name, {})[lane] = leaf
    arrays = {}
    for name, values in held.items():
        tensors = {lane: _as_tensor(value, name) for lane, value in values.items()}
        filler = torch.zeros_like(next(iter(tensors.values())))
        rows = [tensors.get(lane, filler).to(device) for lane in range(len(lanes))]
        arrays[name] = put(torch.stack(rows))
        if len(values) < len(lanes):
            present = torch.tensor([lane in values for lane in range(len(lanes))])
            arrays[f"{name}?"] = put(present.to(device, torch.uint8))
    return arrays


def decode(arrays: Mapping[str, Array], lanes: int) -> list[Any]:
    """Return what :func:`encode` was given, with tensors of their own."""
    import torch

    values: list[list[Leaf]] = [[] for _ in range(lanes)]
    for name, array in arrays.items():
        if name.endswith("?"):
            continue
        *path, kind = json.loads(name)
        rows, mask = torch.from_dlpack(array), arrays.get(f"{name}?")
        present = range(lanes) if mask is None else torch.from_dlpack(mask).nonzero().ravel()
        for lane in map(int, present):
            values[lane].append((tuple(path), _from_tensor(rows[lane], kind)))
    return [nested(pairs) for pairs in values]


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    """Return what a container holds, each item with its token; nothing for other values."""
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return [(f"{type(key).__name__[0]}{key}", item) for key, item in value.items()]
    if type(value) in (list, tuple):
        return [(f"{type(value).__name__[0]}{place}", item) for place, item in enumerate(value)]
    return ()


def _kind(leaf: Any, path: Sequence[str], device: Any) -> str:
    """Return how an array's name says a value's type."""
    import torch

    if leaf is None or type(leaf) in NUMBERS:
        return type(leaf).__name__
    if type(leaf) is str:
        return f"text {leaf}"
    if type(leaf).__name__ in EMPTY and not leaf:
        return type(leaf).__name__
    if isinstance(leaf, torch.Tensor):
        dtype = str(leaf.dtype).removeprefix("torch.")
        if dtype in DTYPES and leaf.layout is torch.strided:
            host = "host " if leaf.device.type == "cpu" != device.type else ""
            return f"{host}{dtype} {list(leaf.shape)}"
        what = f"a tensor of {leaf.layout} and {leaf.dtype}"
    else:
        what = f"a {type(leaf).__name__}"
    place = ".".join(token[1:] for token in path)
    raise SuiteError(f"it keeps {what} in {place}, which cannot be saved")


def _as_tensor(leaf: Any, name: str) -> Any:
    import torch

    if isinstance(leaf, torch.Tensor):
        kept = leaf.detach()
        return kept.to(torch.uint8) if kept.dtype is torch.bool else kept
    try:
        kind = NUMBERS.get(type(leaf))
        return torch.zeros(()) if kind is None else torch.tensor(leaf, dtype=getattr(torch, kind))
    except (OverflowError, RuntimeError):
        raise SuiteError(f"it keeps {leaf} in {name}, which is too large to be saved") from None


def _from_tensor(row: Any, kind: str) -> Any:
    """Return a value of the type that an array's name says."""
    plain = {number.__name__: number for number in NUMBERS}
    if kind in plain:
        return plain[kind](row.item())
    if kind == "NoneType":
        return None
    if kind in EMPTY:
        return EMPTY[kind]()
    if kind.startswith("text "):
        return kind.removeprefix("text ")
    tensor = row.bool() if kind.removeprefix("host ").startswith("bool ") else row.clone()
    return tensor.cpu() if kind.startswith("host ") else tensor
