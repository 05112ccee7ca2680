"""What a data set is: bytes and labels in named splits, with where they came from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

EMBEDDED = "embedded"
IDX = "idx"
PICKLE = "pickle"
PACKAGE = "package"
FILE = "file"

OWN = "own"
TRAIN_TEST = "train-test"
TRAIN_VALIDATION_TEST = "train-validation-test"

SPLITTINGS = (OWN, TRAIN_TEST, TRAIN_VALIDATION_TEST)
"""How a data set may be split: as its files are, or as asked for."""


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of one split, read-only: features, (examples, features), and targets.

    Images are bytes, other features float32 or float64. Labels are uint8, (examples,), or int32
    where there are more than 256 classes; numbers to regress on are float64 (examples, outputs).
    """

    images: np.ndarray
    labels: np.ndarray


def splits_in_order(
    images: np.ndarray, labels: np.ndarray, sizes: Mapping[str, int]
) -> Mapping[str, Split]:
    """Return splits of these sizes, one after the other, as read-only views."""
    splits, start = {}, 0
    for name, examples in sizes.items():
        part = slice(start, start + examples)
        splits[name] = Split(read_only(images[part]), read_only(labels[part]))
        start += examples
    return MappingProxyType(splits)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory, verified.

    ``source`` is ``"idx"`` or ``"pickle"`` for files of a set that is known, ``"file"`` for one of
    a user's own, ``"embedded"``, or ``"package"``. Splits come
    in the order train, validation, test; validation only where there is one. A pixel in [0, 1] is
    its byte divided by ``scale``: 255 for IDX files and the embedded file, 256 for
    ``mnist.pkl.gz``, 16 for ``digits``. Images have the ``shape`` (height, width) or (channels,
    height, width), other examples (features,). Labels are 0 to ``classes - 1``; of numbers to
    regress on, ``classes`` is None and ``outputs`` says how many an example has. ``notices`` say
    what was decided in reading a user's file.

    ``checksums`` are SHA-256 of the raw data by name: of the IDX files, decompressed unless the
    name ends in ``.gz``, of the embedded file, and of the bytes of images and labels for a pickle
    or a package.
    """

    name: str
    source: str
    splits: Mapping[str, Split]
    scale: float
    shape: tuple[int, ...]
    classes: int | None
    checksums: Mapping[str, str]
    outputs: int | None = None
    notices: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an example as networks take it; (1, height, width) without channels."""
        return (1, *self.shape) if len(self.shape) == 2 else self.shape


def split_as(dataset: Dataset, splitting: str, validation: int) -> Dataset:
    """Return a data set with the splits asked for; itself where it has them.

    ``train-test`` lets validation examples join the training ones, at their end;
    ``train-validation-test`` takes the last ``validation`` training examples to validate.
    """
    if splitting == TRAIN_TEST and "validation" in dataset.splits:
        train, held = dataset.splits["train"], dataset.splits["validation"]
        splits = {"train": _joined(train, held), "test": dataset.splits["test"]}
    elif splitting == TRAIN_VALIDATION_TEST and "validation" not in dataset.splits:
        whole = dataset.splits["train"]
        start = len(whole.labels) - validation
        splits = {
            "train": Split(whole.images[:start], whole.labels[:start]),
            "validation": Split(whole.images[start:], whole.labels[start:]),
            "test": dataset.splits["test"],
        }
    else:
        return dataset
    return replace(dataset, splits=MappingProxyType(splits))


def _joined(one: Split, other: Split) -> Split:
    images = np.concatenate([one.images, other.images])
    labels = np.concatenate([one.labels, other.labels])
    return Split(read_only(images), read_only(labels))


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before any of it is read.

    ``splits`` gives examples by split, ``files`` the SHA-256 by file, of IDX files decompressed
    unless the name ends in ``.gz``. ``mirrors`` are addresses of folders that the files can be
    fetched from, ``package`` is the Python package that brings them.
    """

    name: str
    description: str
    splits: Mapping[str, int]
    origin: str
    licence: str
    files: Mapping[str, str]
    mirrors: tuple[str, ...] = ()
    package: str | None = None


@dataclass(frozen=True)
class FileCheck:
    """What re-reading one file, or one part of a pickle, found.

    ``sha256`` is None where it could not be read. ``problem`` is one line that names the file.
    """

    name: str
    sha256: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Verification:
    """What re-reading a whole data set from a place, a folder or a file, found."""

    name: str
    source: str
    place: Path
    checks: tuple[FileCheck, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each file that is missing or damaged."""
        return tuple(check.problem for check in self.checks if check.problem is not None)


def read_only(array: np.ndarray) -> np.ndarray:
    """Return the array itself, which can no longer be written to."""
    array.flags.writeable = False
    return array


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of ``data`` as hexadecimal digits.

    >>> sha256(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()
