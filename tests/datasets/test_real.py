"""Checks with the real data sets, where OPTBENCH_DATA_DIR holds them."""

import os
from pathlib import Path

import numpy as np
import pytest

from optbench import datasets
from optbench.datasets.collection import locate
from optbench.datasets.mnist import MNIST

FOLDER = Path(os.environ.get("OPTBENCH_DATA_DIR") or os.devnull)

needs_mnist = pytest.mark.skipif(
    locate(MNIST, FOLDER) is None, reason="OPTBENCH_DATA_DIR does not name a folder with MNIST"
)


@needs_mnist
def test_the_real_files_are_good():
    report = datasets.verify("mnist", FOLDER)
    assert report.problems == ()
    if report.source == "idx":
        assert [check.sha256 for check in report.checks] == list(
            datasets.info("mnist").files.values()
        )


@needs_mnist
def test_the_real_set_is_what_is_known_of_it():
    splits = datasets.load("mnist", FOLDER).splits
    labels = np.concatenate([splits[name].labels for name in splits if name != "test"])
    # Counts a digit, and the first labels, as published in many places.
    assert np.bincount(labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits["test"].labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert splits["test"].images.shape == (10_000, 784)


@needs_mnist
def test_the_embedded_images_are_the_first_500_of_each_digit_for_training():
    splits = datasets.load("mnist", FOLDER).splits
    images = np.concatenate([splits[name].images for name in splits if name != "test"])
    labels = np.concatenate([splits[name].labels for name in splits if name != "test"])
    rows = np.concatenate([np.flatnonzero(labels == digit)[:500] for digit in range(10)])
    real = {images[row].tobytes(): int(labels[row]) for row in rows}
    embedded = {
        image.tobytes(): int(label)
        for split in datasets.load("mnist-5k").splits.values()
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert embedded == real


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_the_sets_of_mnists_form_are_good_where_they_are_there(name):
    if datasets.find(name, FOLDER) is None:
        pytest.skip(f"OPTBENCH_DATA_DIR does not hold {name}")
    assert datasets.verify(name, FOLDER).problems == ()
    splits = datasets.load(name, FOLDER).splits
    # Both are balanced, as their authors say.
    assert np.bincount(splits["train"].labels).tolist() == [6_000] * 10
    assert np.bincount(splits["test"].labels).tolist() == [1_000] * 10
