import gzip
import struct

import numpy as np
import pytest

from optbench.datasets import idx
from optbench.errors import DataError
from tests.datasets.files import SHAPE, digits, idx_images, idx_labels, pixels
from tests.refusal import refusal


def test_images_are_rows_of_bytes_that_cannot_be_written():
    array = idx.parse(idx_images(pixels(4)), "file", SHAPE, 4)
    np.testing.assert_array_equal(array, pixels(4))
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    assert not array.flags.writeable


def test_labels_are_one_row():
    np.testing.assert_array_equal(idx.parse(idx_labels(digits(4)), "file", (), 9), digits(4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated: 0 bytes, its header alone has 16"),
        (idx_images(pixels(4))[:15], "truncated: 15 bytes, its header alone has 16"),
        (idx_labels(digits(20)), "magic number 0x00000801, expected 0x00000803"),
        (b"\x1f\x8b" + bytes(20), "magic number 0x1f8b0000, expected 0x00000803"),
        (struct.pack(">4I", 2051, 1, 3, 3) + bytes(9), "holds images of 3×3 pixels, expected 2×3"),
        (idx_images(pixels(5)), "claims 5 examples, expected at most 4"),
        (idx_images(pixels(4))[:-1], "truncated: 1 bytes of 4 examples are missing"),
        (idx_images(pixels(4)) + b"x", "there are bytes after the end of its 4 examples"),
    ],
)
def test_a_malformed_file_is_said_to_be_so(content, message):
    assert refusal(DataError, idx.parse, content, "some/file", SHAPE, 4) == f"some/file: {message}"


def test_labels_out_of_range_are_found():
    idx.check_labels(np.array([0, 9]), "file", 10)
    with pytest.raises(DataError, match=r"file: label 10 at position 1, expected 0 to 9"):
        idx.check_labels(np.array([0, 10, 11], np.uint8), "file", 10)
    with pytest.raises(DataError, match="label -1 at position 0"):
        idx.check_labels(np.array([-1]), "file", 10)


@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_no_more_than_the_limit_and_one_byte_is_read(name, tmp_path):
    content = bytes(50_000_000)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    assert idx.read(path, 10) == bytes(11)


def test_a_damaged_or_truncated_gzip_file_is_said_to_be_so(tmp_path):
    good = gzip.compress(pixels(100).tobytes())
    damaged = bytearray(good)
    damaged[-6] ^= 1  # in the checksum
    inside = bytearray(gzip.compress(np.random.default_rng(0).bytes(5_000)))
    inside[10] |= 0b110  # a block type that does not exist
    for data in (b"not gzip", good[:-20], bytes(damaged), bytes(inside)):
        path = tmp_path / "file.gz"
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"file\.gz: its gzip compression is damaged"):
            idx.read(path, 10_000)


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path):
    with pytest.raises(DataError, match=r"gone: cannot be read \(No such file"):
        idx.read(tmp_path / "gone", 10)
