"""What PyTorch optimizers carry from step to step, as arrays of all lanes by name, and back again.

An optimizer keeps numbers and tensors, and lists, tuples, sets and dicts of them. Each becomes an
array of shape (lanes, …) whose name says where it was and what it was, as JSON: the path to it, one
token per container (``l`` or ``t`` and the index in a list or tuple, ``e`` and the token of a set's
element, else a letter for the type of a dict's key and the key), then its type. Where not all lanes
have it, a second array, named with a ``?`` at the end, says which do.

A parameter is no value to be saved: as a key or as a value, its :class:`Place` stands for it, and
for its ``id``.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optbench.arrays import Array
from optbench.errors import SuiteError

Leaf: TypeAlias = tuple[tuple[str, ...], Any]
"""The path to a value, and the value."""

NUMBERS = {bool: "uint8", int: "int64", float: "float64"}
"""How Python's numbers are stored; those that it cannot hold exactly are refused."""


@dataclass(frozen=True)
class Place:
    """Where a parameter is among those of its lane; ``by_id`` where its ``id`` is meant."""

    index: int
    by_id: bool = False


DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "bool"),
)
"""Types of tensors that arrays have as well."""

VIEWED = {"bool": "uint8", "bfloat16": "int16"}
"""Types of tensors that are stored as others of their size."""

EMPTY = {"dict": dict, "list": list, "tuple": tuple, "set": set}


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

    >>> nested(list(leaves({"k": 3, "q": [1.5, None], "done": {4}})))
    {'k': 3, 'q': [1.5, None], 'done': {4}}
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
    if all(token[0] == "e" for token in whole):
        return {_key(token[1:]) for token in whole}
    return {_key(token): part for token, part in whole.items()}


def _token(key: Any) -> str | None:
    """Return the token of a dict's key, or None for one that cannot be written.

    >>> [_token(key) for key in ("m", 3, 0.5, None, True, ("m", 3), Place(1), Place(1, True))]
    ['sm', 'i3', 'f0x1.0000000000000p-1', 'n', 'b1', 'k["sm", "i3"]', 'p1', 'd1']
    """
    kind = type(key)
    if kind is tuple:
        parts = [_token(part) for part in key]
        return None if None in parts else f"k{json.dumps(parts)}"
    written: dict[type, Callable[[], str]] = {
        str: lambda: f"s{key}",
        int: lambda: f"i{key}",
        float: lambda: f"f{key.hex()}",
        bool: lambda: f"b{int(key)}",
        type(None): lambda: "n",
        Place: lambda: f"{'d' if key.by_id else 'p'}{key.index}",
    }
    return written[kind]() if kind in written else None


def _key(token: str) -> Any:
    """Return the key of a dict that has this token."""
    kind, text = token[0], token[1:]
    if kind == "k":
        return tuple(map(_key, json.loads(text)))
    read: dict[str, Callable[[str], Any]] = {
        "s": str,
        "i": int,
        "f": float.fromhex,
        "b": lambda text: text == "1",
        "n": lambda _: None,
        "p": lambda text: Place(int(text)),
        "d": lambda text: Place(int(text), by_id=True),
    }
    return read[kind](text)


def replaced(value: Any, other: Callable[[Any], Any]) -> Any:
    """Return a value whose keys and values, in nested containers, are replaced by others."""
    if type(value) is dict:
        return {replaced(key, other): replaced(item, other) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(replaced(item, other) for item in value)
    return other(value)


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
    return first is second or (isinstance(first, int | str | Place) and first == second)


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
    if type(value) is dict:
        tokens = [_token(key) for key in value]
        return () if None in tokens else zip(map(str, tokens), value.values(), strict=True)
    if type(value) is set:
        elements = [_token(element) for element in value]
        return (
            () if None in elements else [(f"e{token}", None) for token in sorted(elements, key=str)]
        )
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
    if type(leaf) is Place:
        return f"{'id' if leaf.by_id else 'place'} {leaf.index}"
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
        stored = VIEWED.get(str(kept.dtype).removeprefix("torch."))
        return kept if stored is None else kept.view(getattr(torch, stored))
    try:
        kind = NUMBERS.get(type(leaf))
        return torch.zeros(()) if kind is None else torch.tensor(leaf, dtype=getattr(torch, kind))
    except (OverflowError, RuntimeError):
        raise SuiteError(f"it keeps {leaf} in {name}, which is too large to be saved") from None


def _from_tensor(row: Any, kind: str) -> Any:
    """Return a value of the type that an array's name says."""
    import torch

    plain = {number.__name__: number for number in NUMBERS}
    if kind in plain:
        return plain[kind](row.item())
    if kind == "NoneType":
        return None
    if kind in EMPTY:
        return EMPTY[kind]()
    if kind.startswith("text "):
        return kind.removeprefix("text ")
    place, _, index = kind.partition(" ")
    if place in ("place", "id"):
        return Place(int(index), by_id=place == "id")
    dtype = kind.removeprefix("host ").partition(" ")[0]
    tensor = row.clone().view(getattr(torch, dtype)) if dtype in VIEWED else row.clone()
    return tensor.cpu() if kind.startswith("host ") else tensor
