"""The registry of data sets: find, load, fetch and verify them by name.

Importing it reads no data. ``mnist``, ``fashion-mnist`` and ``kmnist`` are looked for in files;
``mnist-5k`` is part of optbench, ``digits`` of scikit-learn.

>>> names()
('mnist', 'fashion-mnist', 'kmnist', 'mnist-5k', 'digits')
>>> load("mnist-5k").splits["train"].images.shape
(3500, 784)
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock

from optbench.datasets import collection as collections
from optbench.datasets import digits, embedded, files, folders
from optbench.datasets.base import (
    IDX,
    OWN,
    PICKLE,
    SPLITTINGS,
    Dataset,
    DatasetInfo,
    FileCheck,
    Split,
    Verification,
    split_as,
)
from optbench.datasets.collection import Collection, Location
from optbench.datasets.download import Progress
from optbench.datasets.download import fetch as fetch_collection
from optbench.datasets.files import Asked, is_file_name
from optbench.datasets.mnist import FASHION_MNIST, KMNIST, MNIST
from optbench.errors import DataError, UsageError, nearest

__all__ = [
    "COLLECTIONS",
    "SPLITTINGS",
    "Asked",
    "Dataset",
    "DatasetInfo",
    "FileCheck",
    "Split",
    "Verification",
    "fetch",
    "find",
    "info",
    "is_file_name",
    "load",
    "load_best",
    "load_file",
    "names",
    "verify",
]

COLLECTIONS: dict[str, Collection] = {
    collection.info.name: collection for collection in (MNIST, FASHION_MNIST, KMNIST)
}
"""Data sets that are read from a folder, all of images of one shape."""

SMALL = {module.INFO.name: module for module in (embedded, digits)}
"""Data sets that come with a package, in one split of three parts."""

PREFERRED = "mnist"
"""What ``auto`` means where it is found."""

_loaded: dict[tuple[str, Path | None, str], Dataset] = {}
_lock = RLock()  # a data set that is split anew loads its own splits


def names() -> tuple[str, ...]:
    """Return the names of all data sets."""
    return (*COLLECTIONS, *SMALL)


def info(name: str) -> DatasetInfo:
    """Return what is known of a data set, without reading it."""
    collection = _collection(name)
    return SMALL[name].INFO if collection is None else collection.info


def find(name: str, data_dir: Path | None = None) -> Path | None:
    """Return the folder that a data set would be read from, or None where it is not there.

    With ``data_dir`` only that folder counts; without, the folder that OPTBENCH_DATA_DIR names,
    then the cache. For one that comes with a package it is the package's folder.
    """
    collection = _collection(name)
    if collection is None:
        folder: Path | None = SMALL[name].find()
        return folder
    location = folders.find(collection, data_dir)
    return None if location is None else location.folder


def load(name: str, data_dir: Path | None = None, split: str = OWN) -> Dataset:
    """Read and verify a data set, once a process and folder; safe to call from several threads.

    ``data_dir`` holds the files, themselves or in a subfolder of the data set's name; without it
    the folder that OPTBENCH_DATA_DIR names does, else the user's cache. ``split`` is one of:

    ``own``: as the files are split, 60,000/10,000 in IDX files and 50,000/10,000/10,000 in
    ``mnist.pkl.gz``. ``train-test``: 60,000/10,000; what validates in the files joins the training
    examples. ``train-validation-test``: 50,000/10,000/10,000; the last 10,000 training examples
    validate. ``mnist-5k`` and ``digits`` have one split of three parts, whatever is asked for.
    """
    collection = _collection(name)
    if split not in SPLITTINGS:
        raise UsageError(f"unknown split '{split}': {nearest(split, SPLITTINGS)}")
    if collection is None:
        return _once((name, None, OWN), SMALL[name].load)
    return _load_location(collection, folders.require(collection, data_dir), split)


def load_file(name: str, asked: Asked, split: str = OWN) -> Dataset:
    """Read a user's file, checked by :func:`optbench.datasets.files.load`, once a process.

    ``train-validation-test`` takes the last sixth of the training examples to validate, where the
    file has none for that.
    """
    path = Path(name)
    key = (repr(asked), path.resolve(), split)
    own = _once((repr(asked), path.resolve(), OWN), lambda: files.load(path, asked))
    held = len(own.splits["train"].labels) // 6
    return _once(key, lambda: split_as(own, split, held))


def load_best(data_dir: Path | None = None, split: str = OWN) -> tuple[Dataset, str | None]:
    """Return MNIST where it is found, else the embedded subset and a sentence that says so.

    A ``data_dir`` that is given has to hold MNIST.
    """
    collection = COLLECTIONS[PREFERRED]
    location = (
        folders.find(collection, None)
        if data_dir is None
        else folders.require(collection, data_dir)
    )
    if location is not None:
        return _load_location(collection, location, split), None
    variable = folders.variable_folder()
    searched = f"{folders.VARIABLE} ({variable}) or " if variable else ""
    dataset = load(embedded.INFO.name)
    examples = sum(embedded.INFO.splits.values())
    notice = (
        f"{PREFERRED} is not in {searched}the cache, so {dataset.name} is used, the {examples:,} "
        f"images that come with optbench; `optbench data fetch {PREFERRED}` downloads all of them."
    )
    return dataset, notice


def fetch(
    name: str,
    *,
    mirrors: Sequence[str] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a data set and verify it; return the folder that it is in.

    ``mirrors`` are addresses of folders that hold the gzipped IDX files, tried in this order, by
    default those of :func:`info`. The files go into a subfolder of ``cache``, by default that of
    the user.
    """
    collection = _collection(name)
    if collection is None:
        package = SMALL[name].INFO.package
        bringing = f"; `pip install {package}` installs it" if package else ""
        raise UsageError(
            f"{name} is part of {package or 'optbench'}; there is nothing to fetch{bringing}"
        )
    folder = (folders.cache_folder() if cache is None else cache) / name
    tried = collection.info.mirrors if mirrors is None else mirrors
    fetch_collection(collection, tried, folder, progress or _silent)
    return folder


def verify(name: str, data_dir: Path | None = None) -> Verification:
    """Read all files of a data set again and say of each what was found."""
    collection = _collection(name)
    if collection is None:
        verification: Verification = SMALL[name].verify()
        return verification
    location = folders.require(collection, data_dir)
    return Verification(
        name=name,
        source=IDX if location.pickle is None else PICKLE,
        place=location.folder,
        checks=tuple(collections.check(collection, location)),
    )


def _collection(name: str) -> Collection | None:
    """Return the collection of this name, or None for a data set that comes with a package."""
    if name not in names():
        raise UsageError(f"unknown data set '{name}': {nearest(name, names())}")
    return COLLECTIONS.get(name)


def _load_location(collection: Collection, location: Location, split: str) -> Dataset:
    name, folder = collection.info.name, location.folder.resolve()
    own = _once((name, folder, OWN), lambda: _read(collection, location))
    return _once((name, folder, split), lambda: split_as(own, split, collection.validation))


def _read(collection: Collection, location: Location) -> Dataset:
    try:
        return collections.load(collection, location)
    except DataError as error:
        name = collection.info.name
        fetched = location.folder == folders.cache_folder() / name
        again = f"`optbench data fetch {name}` downloads it again"
        raise DataError(f"{error}; {again if fetched else 'put a good copy there'}") from None


def _once(key: tuple[str, Path | None, str], read: Callable[[], Dataset]) -> Dataset:
    with _lock:
        if key not in _loaded:
            _loaded[key] = read()
        return _loaded[key]


def _silent(_file: str, _received_bytes: int, _total_bytes: int | None) -> None:
    """Say nothing of a download's progress."""
