"""A tiny data set of the MNIST kind, written here without the package's help."""

import gzip
import hashlib
import pickle
import struct

import numpy as np

from optbench.datasets.base import DatasetInfo
from optbench.datasets.collection import Collection, IdxFile

SHAPE = (2, 3)
FEATURES = 6
TRAIN, TEST = 5, 3
PICKLED = {"train": 4, "validation": 2, "test": 3}


def pixels(examples):
    return np.arange(examples * FEATURES, dtype=np.uint8).reshape(examples, FEATURES) * 7


def digits(examples):
    return (np.arange(examples, dtype=np.uint8) * 3) % 10


def idx_images(images, count=None):
    header = struct.pack(">4I", 2051, len(images) if count is None else count, *SHAPE)
    return header + images.tobytes()


def idx_labels(labels, count=None):
    return struct.pack(">2I", 2049, len(labels) if count is None else count) + labels.tobytes()


CONTENT = {
    "train-images-idx3-ubyte": idx_images(pixels(TRAIN)),
    "train-labels-idx1-ubyte": idx_labels(digits(TRAIN)),
    "t10k-images-idx3-ubyte": idx_images(pixels(TEST) + 1),
    "t10k-labels-idx1-ubyte": idx_labels(digits(TEST)),
}
NAMES = tuple(CONTENT)
GZIPPED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}


def tiny_collection():
    def file(name, examples, shape):
        return IdxFile(name, hashlib.sha256(CONTENT[name]).hexdigest(), examples, shape)

    splits = {
        "train": (file(NAMES[0], TRAIN, SHAPE), file(NAMES[1], TRAIN, ())),
        "test": (file(NAMES[2], TEST, SHAPE), file(NAMES[3], TEST, ())),
    }
    info = DatasetInfo(
        name="mnist",
        description="a tiny stand-in",
        splits={"train": TRAIN, "test": TEST},
        origin="the tests",
        licence="none",
        files={file.name: file.sha256 for pair in splits.values() for file in pair},
        mirrors=("http://mirror.invalid/mnist",),
    )
    return Collection(
        info=info,
        splits=splits,
        shape=SHAPE,
        classes=10,
        pickle="mnist.pkl.gz",
        pickle_splits=PICKLED,
        torchvision="MNIST",
    )


def write_idx(folder, *, spelling="{name}.gz", **changed):
    """Write the four files; ``changed`` replaces content by the first word of a name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        data = changed.get(name.replace("-", "_").partition("_idx")[0], content)
        file = spelling.format(name=name, dotted=name.replace("-idx", ".idx"))
        (folder / file).write_bytes(gzip.compress(data, mtime=0) if file.endswith(".gz") else data)
    return folder


def assert_bytes_to_read_only(split):
    assert split.images.dtype == split.labels.dtype == np.uint8
    assert split.images.flags.c_contiguous
    assert not split.images.flags.writeable
    assert not split.labels.flags.writeable


def pickle_pairs():
    """Return what the deep learning tutorials' pickle holds, but tiny."""
    return tuple(
        (pixels(count).astype(np.float32) / 256, digits(count).astype(np.int64))
        for count in PICKLED.values()
    )


def write_pickle(folder, content, protocol=2):
    return write_pickle_bytes(folder, pickle.dumps(content, protocol))


def write_pickle_bytes(folder, data):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mnist.pkl.gz"
    path.write_bytes(gzip.compress(data, mtime=0))
    return path


def python2_pickle(content):
    """Write pairs of arrays as Python 2 and NumPy 1 did with protocol 2: byte strings, numpy.core.

    Its opcodes are spelled out, as no Python 2 is at hand.
    """

    def integer(value):
        return b"J" + struct.pack("<i", value)

    def array(value):
        start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        shape = b"(" + b"".join(map(integer, value.shape)) + b"t"
        dtype = b"cnumpy\ndtype\nU\x02" + value.dtype.str[1:].encode() + b"K\x00K\x01\x87R"
        dtype += b"(K\x03U\x01<NNN" + integer(-1) + integer(-1) + b"K\x00tb"
        data = b"T" + struct.pack("<I", value.nbytes) + value.tobytes()
        return start + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"

    pairs = b"".join(b"(" + b"".join(map(array, pair)) + b"t" for pair in content)
    return b"\x80\x02(" + pairs + b"t."
