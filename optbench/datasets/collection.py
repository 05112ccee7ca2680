"""Data sets of the MNIST kind: four IDX files, or one pickle, in a folder."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from optbench.datasets import idx, pickled
from optbench.datasets.base import IDX, PICKLE, Dataset, DatasetInfo, FileCheck, Split, sha256
from optbench.errors import DataError


@dataclass(frozen=True)
class IdxFile:
    """One IDX file: its name without ``.gz`` and the SHA-256 of its decompressed content."""

    name: str
    sha256: str
    examples: int
    shape: tuple[int, ...]

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names that the file goes by; where there are several, the first counts."""
        dotted = self.name.replace("-idx", ".idx")
        return (self.name, f"{self.name}.gz", dotted, f"{dotted}.gz")

    @property
    def size_bytes(self) -> int:
        """Size of the decompressed file."""
        return idx.size_bytes(self.examples, self.shape)


@dataclass(frozen=True)
class Collection:
    """How one data set is laid out in files, and what is right for them.

    Attributes
    ----------
    info
        What ``list`` shows; its ``files`` and ``splits`` are those of the IDX files.
    splits
        The IDX files of images and of labels, by split.
    pickle
        Name of the file that holds all splits as one gzipped pickle, or None.
    pickle_splits
        Examples by split in the pickle.
    """

    info: DatasetInfo
    splits: Mapping[str, tuple[IdxFile, IdxFile]]
    shape: tuple[int, ...]
    classes: int
    pickle: str | None
    pickle_splits: Mapping[str, int]

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All IDX files."""
        return tuple(file for pair in self.splits.values() for file in pair)

    @property
    def file_names(self) -> str:
        """What a folder is searched for, in words."""
        names = ", ".join(file.name for file in self.files)
        ending = f" or {self.pickle}" if self.pickle else ""
        return f"{names} (each also as .gz){ending}"


@dataclass(frozen=True)
class Location:
    """The files of a collection that a folder holds.

    Attributes
    ----------
    paths
        The IDX files that are there, by :attr:`IdxFile.name`.
    pickle
        The pickle where it is there and the IDX files are not complete.
    """

    folder: Path
    paths: Mapping[str, Path]
    pickle: Path | None


def locate(collection: Collection, folder: Path) -> Location | None:
    """Return the files of ``collection`` in ``folder``/<name> or in ``folder`` itself.

    None where there is not one of them. Complete IDX files come before the pickle.
    """
    for place in (folder / collection.info.name, folder):
        paths = {}
        for file in collection.files:
            there = [place / name for name in file.spellings if os.path.isfile(place / name)]
            if there:
                paths[file.name] = there[0]
        pickle = place / collection.pickle if collection.pickle else None
        has_pickle = pickle is not None and os.path.isfile(pickle)
        complete = len(paths) == len(collection.files)
        if paths or has_pickle:
            return Location(place, paths, pickle if has_pickle and not complete else None)
    return None


def load(collection: Collection, location: Location) -> Dataset:
    """Read and verify a collection.

    Raises
    ------
    DataError
        A file is missing, unreadable, damaged or not the right one; the message names it.
    """
    if location.pickle is not None:
        return _load_pickle(collection, location.pickle)
    missing = [file.name for file in collection.files if file.name not in location.paths]
    if missing:
        raise DataError(
            f"{location.folder} holds only a part of {collection.info.name}: "
            f"{', '.join(missing)} missing (also not there as .gz)"
        )
    return _load_idx(collection, location.paths)


def check(collection: Collection, location: Location) -> Iterator[FileCheck]:
    """Re-read every file on its own and say what was found."""
    if location.pickle is not None:
        try:
            checksums = _load_pickle(collection, location.pickle).checksums
        except DataError as error:
            yield FileCheck(location.pickle.name, problem=str(error))
        else:
            yield from (FileCheck(name, digest) for name, digest in checksums.items())
        return
    for file in collection.files:
        path = location.paths.get(file.name)
        if path is None:
            yield FileCheck(file.name, problem=f"{location.folder / file.name}: missing")
            continue
        try:
            content = verified(file, idx.read(path, file.size_bytes), str(path), collection.classes)
        except DataError as error:
            yield FileCheck(path.name, problem=str(error))
        else:
            yield FileCheck(path.name, sha256(content))


def verified(file: IdxFile, content: bytes, where: str, classes: int) -> bytes:
    """Return ``content`` when it is that of ``file``, structure first so that messages say most.

    Raises
    ------
    DataError
        It is not; ``where`` names the file.
    """
    _parse(file, content, where, classes)
    _check_digest(file, content, where)
    return content


def _load_idx(collection: Collection, paths: Mapping[str, Path]) -> Dataset:
    splits = {
        name: _read_split(images, labels, paths, collection.classes)
        for name, (images, labels) in collection.splits.items()
    }
    return Dataset(
        name=collection.info.name,
        source=IDX,
        splits=MappingProxyType(splits),
        scale=255.0,
        shape=collection.shape,
        classes=collection.classes,
        checksums=MappingProxyType({file.name: file.sha256 for file in collection.files}),
    )


def _read_split(
    images_file: IdxFile, labels_file: IdxFile, paths: Mapping[str, Path], classes: int
) -> Split:
    images_path, labels_path = paths[images_file.name], paths[labels_file.name]
    images_content = idx.read(images_path, images_file.size_bytes)
    labels_content = idx.read(labels_path, labels_file.size_bytes)
    images = _parse(images_file, images_content, str(images_path), classes)
    labels = _parse(labels_file, labels_content, str(labels_path), classes)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: holds {len(labels):,} labels, but {images_path.name} holds "
            f"{len(images):,} images"
        )
    _check_digest(images_file, images_content, str(images_path))
    _check_digest(labels_file, labels_content, str(labels_path))
    return Split(images, labels)


def _parse(file: IdxFile, content: bytes, where: str, classes: int) -> np.ndarray:
    array = idx.parse(content, where, file.shape, file.examples)
    if not file.shape:
        idx.check_labels(array, where, classes)
    return array


def _check_digest(file: IdxFile, content: bytes, where: str) -> None:
    digest = sha256(content)
    if digest != file.sha256:
        raise DataError(f"{where}: its SHA-256 is {digest[:12]}…, {file.sha256[:12]}… is right")


def _load_pickle(collection: Collection, path: Path) -> Dataset:
    splits = pickled.load(path, collection.pickle_splits, collection.shape, collection.classes)
    checksums = {}
    for name, split in splits.items():
        checksums[f"{name} images"] = sha256(split.images.data)
        checksums[f"{name} labels"] = sha256(split.labels.data)
    return Dataset(
        name=collection.info.name,
        source=PICKLE,
        splits=MappingProxyType(splits),
        scale=pickled.SCALE,
        shape=collection.shape,
        classes=collection.classes,
        checksums=MappingProxyType(checksums),
    )
