"""Data sets of the MNIST kind: four IDX files, or one pickle, in a folder."""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from optbench.datasets import idx, pickled
from optbench.datasets.base import IDX, PICKLE, Dataset, DatasetInfo, FileCheck, Split, sha256
from optbench.errors import DataError


@dataclass(frozen=True)
class IdxFile:
    """One IDX file; its name has no ``.gz``, and its SHA-256 is that of the decompressed content.

    Of one that is ``gzipped`` only the SHA-256 of the gzipped file as it is published is known; it
    is kept and looked for in that form alone.
    """

    name: str
    sha256: str
    examples: int
    shape: tuple[int, ...]
    gzipped: bool = False

    @property
    def stored_name(self) -> str:
        """Name of the file that ``sha256`` is of, and that a download becomes."""
        return f"{self.name}.gz" if self.gzipped else self.name

    @property
    def spellings(self) -> tuple[str, ...]:
        """Names that the file goes by; where there are several, the first counts."""
        dotted = self.name.replace("-idx", ".idx")
        if self.gzipped:
            return (f"{self.name}.gz", f"{dotted}.gz")
        return (self.name, f"{self.name}.gz", dotted, f"{dotted}.gz")

    @property
    def size_bytes(self) -> int:
        """Size of the decompressed file."""
        return idx.size_bytes(self.examples, self.shape)


@dataclass(frozen=True)
class Collection:
    """How one data set is laid out in files, and what they should hold.

    ``info.files`` and ``info.splits`` are those of the IDX files, of which each split has one of
    images and one of labels. ``pickle`` names the file that holds all splits as one gzipped pickle,
    with as many examples as ``pickle_splits`` says. Where validation examples are asked for, the
    last ``validation`` training examples become them.

    With ``own_folder`` only a folder that bears its name counts: its files have the names of
    MNIST's, and what is in a folder of any other name is taken for MNIST. ``torchvision`` is the
    name of torchvision's folder, which keeps the files in its subfolder ``raw``.
    """

    info: DatasetInfo
    splits: Mapping[str, tuple[IdxFile, IdxFile]]
    shape: tuple[int, ...]
    classes: int
    pickle: str | None = None
    pickle_splits: Mapping[str, int] = field(default_factory=dict)
    validation: int = 10_000
    own_folder: bool = False
    torchvision: str = ""

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All IDX files."""
        return tuple(file for pair in self.splits.values() for file in pair)

    @property
    def file_names(self) -> str:
        """What a folder is searched for, in words."""
        names = ", ".join(file.stored_name for file in self.files)
        also = "" if all(file.gzipped for file in self.files) else " (each also as .gz)"
        ending = f" or {self.pickle}" if self.pickle else ""
        return f"{names}{also}{ending}"

    def places(self, folder: Path) -> tuple[Path, ...]:
        """Return where in ``folder`` its files may lie, in the order in which they count."""
        name = self.info.name
        inside = [folder / name]
        if self.torchvision:
            inside.append(folder / self.torchvision / "raw")
        alone = self.own_folder and folder.name != name
        return (*inside,) if alone else (*inside, folder)


@dataclass(frozen=True)
class Location:
    """The files of a collection that a folder holds: the IDX files that are there, by name.

    The pickle counts only where the IDX files are not complete.
    """

    folder: Path
    paths: Mapping[str, Path]
    pickle: Path | None


def locate(collection: Collection, folder: Path) -> Location | None:
    """Return the files of ``collection`` in the first of its places in ``folder``.

    None where there is not one of them. Complete IDX files come before the pickle.
    """
    for place in collection.places(folder):
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
    """Read and verify a collection; a DataError names the file that is missing or damaged."""
    if location.pickle is not None:
        return _load_pickle(collection, location.pickle)
    missing = [file for file in collection.files if file.name not in location.paths]
    if missing:
        also = "" if missing[0].gzipped else " (also not there as .gz)"
        raise DataError(
            f"{location.folder} holds only a part of {collection.info.name}: "
            f"{', '.join(file.stored_name for file in missing)} missing{also}"
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
            name = file.stored_name
            yield FileCheck(name, problem=f"{location.folder / name}: missing")
            continue
        try:
            stored = verified(file, read(file, path), str(path), collection.classes)
        except DataError as error:
            yield FileCheck(path.name, problem=str(error))
        else:
            yield FileCheck(path.name, sha256(stored))


@dataclass(frozen=True)
class Content:
    """What a file holds: the bytes that its SHA-256 is of, and the same decompressed."""

    stored: bytes
    decompressed: bytes


def read(file: IdxFile, path: Path) -> Content:
    """Read a file, not more of it than the right one holds and a little."""
    if not file.gzipped:
        content = idx.read(path, file.size_bytes)
        return Content(content, content)
    return unpack(file, idx.read_stored(path, file.size_bytes), str(path))


def unpack(file: IdxFile, received: bytes, where: str) -> Content:
    """Return the content of a file from its bytes, gzipped or, unless they must be, not."""
    if received.startswith(idx.GZIP_MAGIC):
        content = idx.gunzip(io.BytesIO(received), file.size_bytes, where)
        return Content(received if file.gzipped else content, content)
    if file.gzipped:
        raise DataError(f"{where}: is not gzipped, and only that form can be verified")
    return Content(received, received)


def verified(file: IdxFile, content: Content, where: str, classes: int) -> bytes:
    """Return what is stored when it is that of ``file``, structure first so messages say most."""
    _parse(file, content, where, classes)
    _check_digest(file, content, where)
    return content.stored


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
        checksums=MappingProxyType({file.stored_name: file.sha256 for file in collection.files}),
    )


def _read_split(
    images_file: IdxFile, labels_file: IdxFile, paths: Mapping[str, Path], classes: int
) -> Split:
    images_path, labels_path = paths[images_file.name], paths[labels_file.name]
    images_content, labels_content = read(images_file, images_path), read(labels_file, labels_path)
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


def _parse(file: IdxFile, content: Content, where: str, classes: int) -> np.ndarray:
    array = idx.parse(content.decompressed, where, file.shape, file.examples)
    if not file.shape:
        idx.check_labels(array, where, classes)
    return array


def _check_digest(file: IdxFile, content: Content, where: str) -> None:
    digest = sha256(content.stored)
    if digest != file.sha256:
        raise DataError(f"{where}: its SHA-256 is {digest[:12]}…, expected {file.sha256[:12]}…")


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
