"""``mnist.pkl.gz``: all splits in one gzipped pickle, read without running any of it.

The file of the deep learning tutorials (deeplearning.net) is a Python 2 pickle of
``((images, labels), (images, labels), (images, labels))`` for train, validation and test: images
float32 of shape (examples, 784) whose pixels are k/256 with k from 0 to 255, labels int64.

Pickles of the same content that other versions of Python or NumPy wrote are read too.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from optbench.datasets import unpickler
from optbench.datasets.base import Split, read_only
from optbench.datasets.idx import check_labels
from optbench.errors import DataError

SCALE = 256.0
"""A pixel of the pickle, times this, is a whole number below it."""


def load(
    path: Path, examples: Mapping[str, int], shape: tuple[int, ...], classes: int
) -> dict[str, Split]:
    """Read the splits of a pickle and turn its pixels back into bytes.

    ``examples`` says how many there should be, by split in the file's order. What is damaged or
    malformed, names anything but arrays, or has the wrong structure, pixels that are not k/256 or
    labels out of range is a DataError.
    """
    pairs = _pairs(unpickler.load(path), len(examples), str(path))
    return {
        name: _split(images, labels, f"{path}: {name}", (count, prod(shape)), classes)
        for (images, labels), (name, count) in zip(pairs, examples.items(), strict=True)
    }


def _pairs(content: object, count: int, where: str) -> list[tuple[np.ndarray, np.ndarray]]:
    wrong = DataError(f"{where}: should hold {count} pairs of arrays, (images, labels)")
    if not isinstance(content, tuple | list) or len(content) != count:
        raise wrong
    pairs = []
    for pair in content:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise wrong
        images, labels = map(unpickler.array_of, pair)
        if images is None or labels is None:
            raise wrong
        pairs.append((images, labels))
    return pairs


def _split(
    images: np.ndarray, labels: np.ndarray, where: str, shape: tuple[int, int], classes: int
) -> Split:
    if images.dtype.newbyteorder("=") != np.float32 or images.shape != shape:
        raise DataError(
            f"{where} images: {images.dtype} of shape {images.shape}, expected float32 of "
            f"shape {shape}"
        )
    if labels.dtype.kind not in "iu" or labels.shape != shape[:1]:
        raise DataError(
            f"{where} labels: {labels.dtype} of shape {labels.shape}, expected integers "
            f"of shape {shape[:1]}"
        )
    check_labels(labels, f"{where} labels", classes)
    return Split(_as_bytes(images, where), read_only(labels.astype(np.uint8)))


def _as_bytes(images: np.ndarray, where: str) -> np.ndarray:
    if ((images >= 0) & (images < 1)).all():
        scaled = images * np.float32(SCALE)
        pixels = np.ascontiguousarray(scaled, dtype=np.uint8)
        if (pixels == scaled).all():
            return read_only(pixels)
    raise DataError(f"{where} images: pixels should be k/256 with k from 0 to 255")
