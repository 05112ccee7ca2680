"""Splits as they are asked for, of files that have two or three."""

from dataclasses import replace

import numpy as np
import pytest

from optbench import datasets
from optbench.errors import UsageError
from tests.datasets.files import TEST, TRAIN, digits, pickle_pairs, pixels, write_idx, write_pickle


@pytest.fixture(autouse=True)
def _few_validate(tiny, monkeypatch):
    monkeypatch.setitem(datasets.COLLECTIONS, "mnist", replace(tiny, validation=2))


def sizes(dataset):
    return {name: len(split.labels) for name, split in dataset.splits.items()}


def test_the_last_training_examples_validate(tmp_path):
    write_idx(tmp_path)
    dataset = datasets.load("mnist", tmp_path, "train-validation-test")
    assert list(sizes(dataset).items()) == [("train", 3), ("validation", 2), ("test", TEST)]
    np.testing.assert_array_equal(dataset.splits["train"].images, pixels(TRAIN)[:3])
    np.testing.assert_array_equal(dataset.splits["validation"].images, pixels(TRAIN)[3:])
    np.testing.assert_array_equal(dataset.splits["validation"].labels, digits(TRAIN)[3:])
    own = datasets.load("mnist", tmp_path)
    assert dataset.splits["test"] is own.splits["test"]
    assert dataset.checksums == own.checksums
    assert sizes(dataset) != sizes(own)


def test_files_of_two_splits_are_train_and_test_as_they_are(tmp_path):
    write_idx(tmp_path)
    own = datasets.load("mnist", tmp_path)
    assert sizes(own) == {"train": TRAIN, "test": TEST}
    assert datasets.load("mnist", tmp_path, "train-test") is own


def test_what_validates_in_a_pickle_joins_the_training_examples(tmp_path):
    write_pickle(tmp_path, pickle_pairs())
    own = datasets.load("mnist", tmp_path)
    joined = datasets.load("mnist", tmp_path, "train-test")
    assert list(joined.splits) == ["train", "test"]
    for part in ("images", "labels"):
        both = [getattr(own.splits[name], part) for name in ("train", "validation")]
        found = getattr(joined.splits["train"], part)
        np.testing.assert_array_equal(found, np.concatenate(both))
        assert not found.flags.writeable
    assert datasets.load("mnist", tmp_path, "train-validation-test") is own


def test_a_split_is_made_once(tmp_path):
    write_idx(tmp_path)
    one, other = (datasets.load("mnist", tmp_path, "train-validation-test") for _ in range(2))
    assert one is other
    with pytest.raises(TypeError):
        one.splits["test"] = one.splits["train"]


@pytest.mark.parametrize("split", datasets.SPLITTINGS)
def test_mnist_5k_has_one_split_whatever_is_asked_for(split):
    dataset = datasets.load("mnist-5k", split=split)
    assert dataset is datasets.load("mnist-5k")
    assert sizes(dataset) == {"train": 3_500, "validation": 500, "test": 1_000}
    assert dataset.image_shape == (1, 28, 28)


def test_the_best_is_split_as_asked(tmp_path):
    assert datasets.load_best(split="train-test")[0].name == "mnist-5k"
    write_idx(tmp_path)
    dataset, notice = datasets.load_best(tmp_path, "train-validation-test")
    assert (sizes(dataset)["validation"], notice) == (2, None)


def test_an_unknown_split_gets_the_nearest(tmp_path):
    for name in ("mnist", "mnist-5k"):
        with pytest.raises(UsageError, match=r"unknown split 'train/test': did you mean 'train-te"):
            datasets.load(name, tmp_path, "train/test")
