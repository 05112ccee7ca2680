"""The data of a model: arrays in any structure, whatever they were given as.

Arrays are taken as they are. The items of a data set are collated once, and what can only be
iterated, such as a loader, is recorded once; from then on both are arrays as well.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench import rng
from optbench.errors import SuiteError

SPLITS = ("train", "validation", "test")

WHOLE = "batch"
"""What a batch that is one array calls it."""


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split.

    Attributes
    ----------
    arrays
        By where each lies in a batch, such as ``"0"`` of a pair or ``"images"`` of a dict; all have
        the shape (examples, …).
    build
        Returns a batch in the user's structure from its arrays by name.
    """

    arrays: Mapping[str, np.ndarray]
    build: Callable[[Mapping[str, Any]], Any]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each array's type, shape and bytes."""
        return {name: _sha256(array) for name, array in self.arrays.items()}


def read_splits(given: Any) -> tuple[dict[str, Split], list[str]]:
    """Return splits by name, and notices for the user.

    Parameters
    ----------
    given
        The training data, or a mapping of them, ``validation`` and ``test`` by these names.

    Raises
    ------
    SuiteError
        If something is no data; the message says what would be.
    """
    named = isinstance(given, Mapping) and any(name in given for name in SPLITS)
    parts: Mapping[str, Any] = given if named else {"train": given}
    for name in parts:
        if name not in SPLITS:
            raise SuiteError(f"data has a split {name!r}; the splits are {', '.join(SPLITS)}")
    if "train" not in parts:
        raise SuiteError("data has no split 'train'; give one, which is trained on")
    splits, notices = {}, []
    for name in SPLITS:
        if name in parts:
            structure, said = _structure(parts[name], name)
            splits[name] = _split(structure, name)
            notices += said
    _check_alike(splits)
    return splits, notices


def flattened(structure: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings, tuples and lists, each with where it lies.

    >>> dict(flattened({"x": [1, 2], "y": 3}))
    {'x.0': 1, 'x.1': 2, 'y': 3}
    """
    if isinstance(structure, Mapping):
        entries = [(str(key), value) for key, value in structure.items()]
    elif isinstance(structure, list | tuple):
        entries = [(str(number), value) for number, value in enumerate(structure)]
    else:
        yield place or WHOLE, structure
        return
    for key, value in entries:
        yield from flattened(value, f"{place}.{key}" if place else key)


def rebuilt(structure: Any, leaves: Iterator[Any]) -> Any:
    """Return a structure with other leaves, in the order of :func:`flattened`.

    >>> rebuilt({"x": [1, 2], "y": 3}, iter("abc"))
    {'x': ['a', 'b'], 'y': 'c'}
    """
    if isinstance(structure, Mapping):
        return {key: rebuilt(value, leaves) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        values = [rebuilt(value, leaves) for value in structure]
        if hasattr(structure, "_fields"):  # a named tuple
            return type(structure)(*values)
        return type(structure)(values)
    return next(leaves)


def _structure(given: Any, split: str) -> tuple[Any, list[str]]:
    """Return a structure of arrays, and what is to be said of it."""
    if isinstance(given, Mapping | list | tuple) or hasattr(given, "__array__"):
        return given, []
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return _collated(given, split)
    if isinstance(given, Iterable):
        return _recorded(given, split)
    raise SuiteError(
        f"data: {split} is of type {type(given).__name__}; give arrays, such as (x, y) or "
        "{'x': x}, a data set with items, or a loader of batches"
    )


def _collated(given: Any, split: str) -> tuple[Any, list[str]]:
    """Stack the items of a data set, each taken once."""
    with rng.seeded_generators(0):
        before = rng.process_generators()
        items = [given[place] for place in range(len(given))]
        is_random = rng.process_generators() != before
    if not items:
        raise SuiteError(f"data: {split} has no items")
    said = f"{split} draws random numbers for its items: they were drawn once, for all epochs"
    return _joined(items, np.stack, f"the items of {split}"), [said] if is_random else []


def _recorded(given: Iterable[Any], split: str) -> tuple[Any, list[str]]:
    """Join the batches of a loader, which is gone through once."""
    with rng.seeded_generators(0):
        batches = list(given)
    if not batches:
        raise SuiteError(f"data: {split} gives no batches")
    joined = _joined(batches, np.concatenate, f"the batches of {split}")
    examples = len(_array("", next(flattened(joined))[1]))
    return joined, [
        f"{split} is a {type(given).__name__}: its {examples:,} examples were read once, and "
        "batches of batch_size are drawn from them"
    ]


def _joined(
    parts: Sequence[Any], join: Callable[[Sequence[np.ndarray]], np.ndarray], what: str
) -> Any:
    """Join leaf by leaf what has one structure."""
    leaves: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, leaf in flattened(part):
            leaves.setdefault(name, []).append(_array(name, leaf))
    try:
        if any(len(of_leaf) != len(parts) for of_leaf in leaves.values()):
            raise ValueError("they differ in structure")
        arrays = [join(of_leaf) for of_leaf in leaves.values()]
    except ValueError as error:
        raise SuiteError(f"data: {what} do not fit together: {error}; pad them alike") from None
    return rebuilt(parts[0], iter(arrays))


def _split(structure: Any, split: str) -> Split:
    arrays = {name: _array(name, leaf) for name, leaf in flattened(structure)}
    if not arrays:
        raise SuiteError(f"data: {split} is empty")
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise SuiteError(
            f"data: the arrays of {split} must have the same number of examples: {told}"
        )

    def build(batch: Mapping[str, Any]) -> Any:
        return rebuilt(structure, iter([batch[name] for name in arrays]))

    return Split(arrays, build)


def _array(name: str, leaf: Any) -> np.ndarray:
    """Return a leaf as an array of NumPy that may be written to and lies in one piece."""
    try:
        array = np.asarray(leaf.detach().cpu() if hasattr(leaf, "detach") else leaf)
    except (TypeError, ValueError, RuntimeError):
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        kind = type(leaf).__name__
        raise SuiteError(f"data: {name} is of type {kind}, not an array of numbers; encode it")
    return np.require(array, requirements=["C", "W"])


def _check_alike(splits: Mapping[str, Split]) -> None:
    """Refuse splits whose examples are not like those that are trained on."""
    train = splits["train"].arrays
    for name, split in splits.items():
        same = split.arrays.keys() == train.keys()
        if not same or any(
            array.shape[1:] != train[leaf].shape[1:] for leaf, array in split.arrays.items()
        ):
            raise SuiteError(f"data: the examples of {name} have other shapes than those of train")


def _sha256(array: np.ndarray) -> str:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    total = hashlib.sha256(f"{little.dtype.str}{little.shape}".encode())
    total.update(little.data if little.size else b"")
    return total.hexdigest()
