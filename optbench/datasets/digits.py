"""``digits``: 1,797 handwritten digits of 8×8 pixels, which come with scikit-learn.

scikit-learn has no splits for them. Here they are put into the order of the permutation of the
random stream ``datasets/digits`` (seed 0); the first 1,197 train, the next 300 validate and the
last 300 test.

Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine
Learning Repository, 1998; the part of it in scikit-learn's ``load_digits``.
"""

from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np

from optbench import rng
from optbench.datasets.base import (
    PACKAGE,
    Dataset,
    DatasetInfo,
    FileCheck,
    Verification,
    sha256,
    splits_in_order,
)
from optbench.errors import DataError

SHAPE = (8, 8)
CLASSES = 10
SCALE = 16.0
STREAM = "datasets/digits"

INFO = DatasetInfo(
    name="digits",
    description="1,797 handwritten digits of 8×8 pixels; part of scikit-learn",
    splits={"train": 1_197, "validation": 300, "test": 300},
    origin="E. Alpaydin and C. Kaynak; taken from scikit-learn",
    licence="CC BY 4.0; scikit-learn is under the BSD 3-Clause licence",
    files={
        "images": "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
        "labels": "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
    },
    package="scikit-learn",
)


def find() -> Path | None:
    """Return the folder of scikit-learn, or None where it is not installed; imports nothing."""
    spec = find_spec("sklearn")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def load() -> Dataset:
    """Return the data set; a DataError says that scikit-learn or the digits known are missing."""
    images, labels = read()
    for name, digest in digests(images, labels).items():
        if digest != INFO.files[name]:
            raise DataError(
                f"{INFO.name}: the SHA-256 of scikit-learn's {name} is {digest[:12]}…, "
                f"expected {INFO.files[name][:12]}…; install another version of scikit-learn"
            )
    order = rng.stream(0, STREAM).permutation(len(labels))
    return Dataset(
        name=INFO.name,
        source=PACKAGE,
        splits=splits_in_order(images[order], labels[order], INFO.splits),
        scale=SCALE,
        shape=SHAPE,
        classes=CLASSES,
        checksums=MappingProxyType({**INFO.files, "order": sha256(order.astype("<i8").tobytes())}),
    )


def verify() -> Verification:
    """Read the digits again and say of images and labels what was found."""
    checks = tuple(
        FileCheck(name, digest, None if digest == INFO.files[name] else f"{name}: wrong SHA-256")
        for name, digest in digests(*read()).items()
    )
    return Verification(INFO.name, PACKAGE, find() or Path(), checks)


def read() -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 (1797, 64), and labels, uint8 (1797,), in scikit-learn's order."""
    try:
        from sklearn.datasets import load_digits  # here, as it takes a second
    except ImportError:
        raise DataError(
            f"{INFO.name} comes with scikit-learn, which is not installed; "
            "`pip install scikit-learn` installs it"
        ) from None
    images, labels = load_digits(return_X_y=True)
    return np.asarray(images).astype(np.uint8), np.asarray(labels).astype(np.uint8)


def digests(images: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """Return the SHA-256 of the bytes of images and labels, in scikit-learn's order."""
    return {"images": sha256(images.tobytes()), "labels": sha256(labels.tobytes())}
