import collections
import contextlib
import gzip
import os
import pickle
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optbench.datasets import pickled, unpickler
from optbench.errors import DataError
from tests.datasets.files import (
    FEATURES,
    PICKLED,
    SHAPE,
    assert_bytes_to_read_only,
    digits,
    pickle_pairs,
    pixels,
    python2_pickle,
    write_pickle,
    write_pickle_bytes,
)


def load(path):
    return pickled.load(path, PICKLED, SHAPE, 10)


def assert_right(splits):
    assert list(splits) == list(PICKLED)
    for (name, split), count in zip(splits.items(), PICKLED.values(), strict=True):
        np.testing.assert_array_equal(split.images, pixels(count), err_msg=name)
        np.testing.assert_array_equal(split.labels, digits(count), err_msg=name)
        assert_bytes_to_read_only(split)


def changed(split, part, value):
    content: list[list[Any]] = [list(pair) for pair in pickle_pairs()]
    content[split][part] = value
    return content


SIGNALLING_NAN = np.full((2, 6), 0x7F800001, np.uint32).view(np.float32)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_python_3_is_read(protocol, tmp_path):
    assert_right(load(write_pickle(tmp_path, pickle_pairs(), protocol)))


def test_a_pickle_of_python_2_is_read(tmp_path):
    data = python2_pickle(pickle_pairs())
    # The pickle is what Python itself takes for one of Python 2.
    images, labels = pickle.loads(data, encoding="latin1")[2]
    np.testing.assert_array_equal(images, pickle_pairs()[2][0])
    np.testing.assert_array_equal(labels, pickle_pairs()[2][1])
    assert_right(load(write_pickle_bytes(tmp_path, data)))


def test_both_names_of_numpys_private_package_are_read(tmp_path):
    data = pickle.dumps(pickle_pairs(), 2)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        renamed = data.replace(b"numpy._core.multiarray", name)
        assert_right(load(write_pickle_bytes(tmp_path, renamed)))


@pytest.mark.parametrize("protocol", [2, 5])
def test_order_in_memory_and_of_bytes_does_not_matter(protocol, tmp_path):
    content = [
        (np.asfortranarray(images).astype(">f4"), labels.astype(">i2"))
        for images, labels in pickle_pairs()
    ]
    assert_right(load(write_pickle(tmp_path, content, protocol)))
    fortran = [(np.asfortranarray(images), labels) for images, labels in pickle_pairs()]
    assert_right(load(write_pickle(tmp_path, fortran, protocol)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle_pairs()[:2], "should hold 3 pairs of arrays"),
        ({"train": 1}, "should hold 3 pairs of arrays"),
        ((1, 2, 3), "should hold 3 pairs of arrays"),
        (changed(1, 1, [1, 2]), "should hold 3 pairs of arrays"),
        (changed(0, 0, np.zeros((4, 5), np.float32)), r"train images: float32 of shape \(4, 5\)"),
        (changed(0, 0, np.zeros((3, 6), np.float32)), r"train images: float32 of shape \(3, 6\)"),
        (changed(2, 0, np.zeros((3, 6))), "test images: float64"),
        (changed(1, 1, np.zeros(3, np.int64)), r"validation labels: int64 of shape \(3,\)"),
        (changed(1, 1, np.zeros(2)), "validation labels: float64"),
        (changed(1, 1, np.array([0, 10])), "validation labels: label 10 at position 1"),
        (changed(1, 1, np.array([-1, 0])), "validation labels: label -1 at position 0"),
        (changed(1, 0, np.full((2, 6), 1 / 255, np.float32)), "validation images: pixels should"),
        (changed(1, 0, np.full((2, 6), 1.0, np.float32)), "validation images: pixels should"),
        (changed(1, 0, np.full((2, 6), -1 / 256, np.float32)), "validation images: pixels should"),
        (changed(1, 0, np.full((2, 6), np.nan, np.float32)), "validation images: pixels should"),
        (changed(1, 0, np.full((2, 6), 3e38, np.float32)), "validation images: pixels should"),
        (changed(1, 0, SIGNALLING_NAN), "validation images: pixels should"),
        (changed(1, 0, np.array(["a"])), "not a pickle of arrays"),
        (changed(1, 0, np.array([None])), "not a pickle of arrays"),
    ],
)
def test_content_that_is_not_mnist_is_refused(content, message, tmp_path):
    path = write_pickle(tmp_path, content)
    with pytest.raises(DataError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


class Malicious:
    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_cannot_run_anything(protocol, tmp_path):
    witness = tmp_path / "witness"
    path = write_pickle(tmp_path, Malicious(os.mkdir, str(witness)), protocol)
    with pytest.raises(DataError, match=r"mnist\.pkl\.gz: refused, its pickle asks for \w+\.mkdir"):
        load(path)
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, getattr, np.load, np.fromfile, np.memmap, np.empty])
def test_nothing_but_the_parts_of_arrays_may_be_named(function, tmp_path):
    with pytest.raises(DataError, match="refused, its pickle asks for"):
        load(write_pickle(tmp_path, changed(0, 0, Malicious(function, "x"))))


def test_ordinary_classes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"asks for collections\.OrderedDict"):
        load(write_pickle(tmp_path, collections.OrderedDict(a=1)))


def test_a_name_cannot_break_the_line_or_colour_the_terminal(tmp_path):
    name = "\x1b[31mred\nline"
    data = b"\x80\x04\x8c\x02os\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
    with pytest.raises(DataError, match="asks for os") as raised:
        load(write_pickle_bytes(tmp_path, data))
    assert str(raised.value).isprintable()


# What stands in for ndarray, dtype and _codecs.encode can be used for nothing else.
@pytest.mark.parametrize(
    "data",
    [
        b"cnumpy\nndarray\n(I999999999999\ntR.",
        b"cnumpy\nndarray\n)\x81.",
        b"cnumpy\ndtype\n(S'O8'\ntR.",
        b"cnumpy\ndtype\n(S'(1000000000,)f4'\ntR.",
        b"cnumpy.core.numeric\n_frombuffer\n(S'a'\ncnumpy\ndtype\n(S'f1'\ntR(I1\ntS'C'\ntR.",
        b"\x80\x02cnumpy\ndtype\nU\x02f4\x85R(K\x03U\x01!tb.",
        b"\x80\x02cnumpy\ndtype\n(N}U\x01aK\x01stb.",
        b"c_codecs\nencode\n(V\\u20ac\nVutf-8\ntR.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\x02\x85NNNtb.",
    ],
)
def test_stand_ins_refuse_what_no_array_needs(data, tmp_path):
    with pytest.raises(DataError, match=r"mnist\.pkl\.gz: not a pickle of arrays"):
        load(write_pickle_bytes(tmp_path, data))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x05\x96" + struct.pack("<Q", 10**8) + b".",  # a bytearray of 100 MB
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",  # bytes of a tebibyte
        b"\x80\x02]r\xff\xff\xff\xff.",  # memo number 2**32 - 1
        b"\x80\x04\x95" + struct.pack("<Q", 2**20) + b"]" * 2**20 + b".",  # a million lists
        b"\x80\x02c_codecs\nencode\nq\x00X" + struct.pack("<I", 2**16) + b"a" * 2**16
        + b"U\x01x\x86q\x01R" + b"h\x00h\x01R" * 2_000 + b".",  # 130 MB encoded from 64 KiB
    ],
    ids=["bytearray", "bytes", "memo", "lists", "encode"],
)  # fmt: skip
def test_a_small_file_cannot_fill_the_memory(data, tmp_path, monkeypatch):
    monkeypatch.setattr(unpickler, "LIMIT_BYTES", 10**7)
    path = write_pickle_bytes(tmp_path, data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"mnist\.pkl\.gz: "):
            load(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * 10**7


def test_no_more_than_the_limit_is_decompressed(tmp_path, monkeypatch):
    data = python2_pickle(pickle_pairs())
    path = write_pickle_bytes(tmp_path, data)
    monkeypatch.setattr(unpickler, "LIMIT_BYTES", len(data))
    assert_right(load(path))
    monkeypatch.setattr(unpickler, "LIMIT_BYTES", len(data) - 1)
    with pytest.raises(DataError, match="more data than the right file holds"):
        load(path)


def test_bytes_after_the_pickle_are_refused(tmp_path):
    path = write_pickle_bytes(tmp_path, pickle.dumps(pickle_pairs()) + b"x")
    with pytest.raises(DataError, match="there are bytes after the end of its pickle"):
        load(path)


def test_damaged_files_are_said_to_be_so(tmp_path):
    path = write_pickle(tmp_path, pickle_pairs())
    good = path.read_bytes()
    wrong_checksum = bytearray(good)
    wrong_checksum[-6] ^= 1
    for data in (good[:-30], b"text", bytes(wrong_checksum), gzip.compress(b"", mtime=0)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"mnist\.pkl\.gz: truncated, or its gzip compression"):
            load(path)
    path.unlink()
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        load(path)


GOOD = (python2_pickle(pickle_pairs()), *(pickle.dumps(pickle_pairs(), p) for p in range(6)))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.sampled_from(GOOD),
    edits=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_whatever_the_file_holds_the_only_error_is_a_data_error(data, edits, tmp_path):
    changed = bytearray(data)
    for position, value in edits:
        changed[position % len(changed)] = value
    with contextlib.suppress(DataError):
        splits = load(write_pickle_bytes(tmp_path, bytes(changed)))
        assert splits["train"].images.shape == (PICKLED["train"], FEATURES)
