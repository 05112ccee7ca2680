import gzip

import numpy as np
import pytest

from optbench import datasets
from optbench.datasets.collection import locate
from optbench.errors import DataError
from tests.datasets.files import (
    CONTENT,
    NAMES,
    SHAPE,
    TEST,
    TRAIN,
    assert_bytes_to_read_only,
    digits,
    idx_images,
    idx_labels,
    pickle_pairs,
    pixels,
    write_idx,
    write_pickle,
)
from tests.refusal import refusal

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize(
    "spelling", ["{name}", "{name}.gz", "{dotted}", "{dotted}.gz"], ids=["raw", "gz", ".raw", ".gz"]
)
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_all_spellings_and_both_places_are_read(spelling, subfolder, tmp_path):
    write_idx(tmp_path / subfolder, spelling=spelling)
    dataset = datasets.load("mnist", tmp_path)
    assert (dataset.name, dataset.source, dataset.scale) == ("mnist", "idx", 255.0)
    assert (dataset.shape, dataset.classes) == (SHAPE, 10)
    assert list(dataset.splits) == ["train", "test"]
    for name, images, count in (("train", pixels(TRAIN), TRAIN), ("test", pixels(TEST) + 1, TEST)):
        np.testing.assert_array_equal(dataset.splits[name].images, images)
        np.testing.assert_array_equal(dataset.splits[name].labels, digits(count))
    assert dataset.checksums == datasets.info("mnist").files


def test_nothing_of_a_data_set_can_be_written(tmp_path):
    dataset = datasets.load("mnist", write_idx(tmp_path))
    for split in dataset.splits.values():
        assert_bytes_to_read_only(split)
    with pytest.raises(TypeError):
        dataset.splits["train"] = dataset.splits["test"]


FEWER = {"train_images": idx_images(pixels(4)), "train_labels": idx_labels(digits(4))}
"""The same count in both files, but too short."""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_images": CONTENT[NAMES[0]][:-1]}, "train-images-idx3-ubyte.gz: truncated"),
        ({"t10k_images": CONTENT[NAMES[2]] + b"x"}, "t10k-images-idx3-ubyte.gz: there are bytes"),
        (
            {"train_labels": CONTENT[NAMES[0]]},
            "train-labels-idx1-ubyte.gz: magic number 0x00000803",
        ),
        (
            {"t10k_labels": idx_labels(np.array([1, 2, 10], np.uint8))},
            "t10k-labels-idx1-ubyte.gz: label 10 at position 2",
        ),
        (
            {"train_labels": idx_labels(digits(4))},
            "train-labels-idx1-ubyte.gz: holds 4 labels, but train-images-idx3-ubyte.gz holds 5",
        ),
        (
            {"train_images": idx_images(pixels(TRAIN) + 1)},
            "train-images-idx3-ubyte.gz: its SHA-256",
        ),
        ({"t10k_labels": idx_labels(digits(TEST) + 1)}, "t10k-labels-idx1-ubyte.gz: its SHA-256"),
        (FEWER, "train-images-idx3-ubyte.gz: its SHA-256"),
    ],
)
def test_bad_files_are_named_in_one_line(changed, message, tmp_path):
    write_idx(tmp_path, **changed)
    text = refusal(DataError, datasets.load, "mnist", tmp_path)
    assert f"{tmp_path}/{message}" in text
    assert text.endswith("; put a good copy there")


def test_damaged_compression_is_named(tmp_path):
    write_idx(tmp_path)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"\x1f\x8b garbage")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: its gzip compression"):
        datasets.load("mnist", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(name, tmp_path):
    write_idx(tmp_path, spelling="{name}")
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"holds only a part of mnist: {name} missing"):
        datasets.load("mnist", tmp_path)


def test_a_pickle_gives_three_splits_of_bytes(tmp_path):
    write_pickle(tmp_path, pickle_pairs())
    dataset = datasets.load("mnist", tmp_path)
    assert (dataset.source, dataset.scale) == ("pickle", 256.0)
    assert list(dataset.splits) == ["train", "validation", "test"]
    np.testing.assert_array_equal(dataset.splits["validation"].images, pixels(2))
    assert list(dataset.checksums) == [
        f"{split} {kind}" for split in dataset.splits for kind in ("images", "labels")
    ]
    assert dataset.checksums["train images"] != dataset.checksums["test images"]


def test_complete_idx_files_come_before_the_pickle_and_that_before_incomplete_ones(tmp_path):
    write_pickle(tmp_path, pickle_pairs())
    write_idx(tmp_path)
    assert datasets.load("mnist", tmp_path).source == "idx"
    other = tmp_path / "other"
    write_pickle(other, pickle_pairs())
    (other / NAMES[0]).write_bytes(CONTENT[NAMES[0]])
    assert datasets.load("mnist", other).source == "pickle"


def test_a_raw_file_comes_before_a_compressed_one(tmp_path, tiny):
    write_idx(tmp_path)
    write_idx(tmp_path, spelling="{name}")
    location = locate(tiny, tmp_path)
    assert location is not None
    assert {path.suffix for path in location.paths.values()} == {""}


def test_verify_looks_at_every_file(tmp_path):
    write_idx(tmp_path, train_labels=b"short")
    (tmp_path / f"{NAMES[2]}.gz").unlink()
    report = datasets.verify("mnist", tmp_path)
    assert (report.name, report.source, report.place) == ("mnist", "idx", tmp_path)
    missing = NAMES[2]
    expected = [name if name == missing else f"{name}.gz" for name in NAMES]
    assert [check.name for check in report.checks] == expected
    first, second, third, fourth = report.checks
    assert first.sha256 == datasets.info("mnist").files[NAMES[0]]
    assert fourth.sha256 == datasets.info("mnist").files[NAMES[3]]
    assert first.problem is fourth.problem is second.sha256 is third.sha256 is None
    assert report.problems == (second.problem, third.problem)
    assert "train-labels-idx1-ubyte.gz: truncated" in str(second.problem)
    assert f"{tmp_path / NAMES[2]}: missing" == third.problem


def test_verify_sees_a_change_that_load_has_not_seen(tmp_path):
    datasets.load("mnist", write_idx(tmp_path))
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(gzip.compress(b"", mtime=0))
    assert len(datasets.verify("mnist", tmp_path).problems) == 1


def test_verify_reads_a_pickle(tmp_path):
    path = write_pickle(tmp_path, pickle_pairs())
    good = datasets.verify("mnist", tmp_path)
    assert (good.source, good.problems, len(good.checks)) == ("pickle", (), 6)
    path.write_bytes(gzip.compress(b".", mtime=0))
    bad = datasets.verify("mnist", tmp_path)
    assert [check.name for check in bad.checks] == ["mnist.pkl.gz"]
    assert str(path) in bad.problems[0]
