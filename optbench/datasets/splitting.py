"""Splits as they are asked for, made from those that a data set's files have."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from optbench.datasets.base import TRAIN_TEST, TRAIN_VALIDATION_TEST, Dataset, Split, read_only


def split_as(dataset: Dataset, splitting: str, validation: int) -> Dataset:
    """Return a data set with the splits asked for; itself where it has them.

    ``train-test`` lets validation examples join the training ones, at their end;
    ``train-validation-test`` takes the last ``validation`` training examples to validate.
    """
    if splitting == TRAIN_TEST and "validation" in dataset.splits:
        train, held = dataset.splits["train"], dataset.splits["validation"]
        splits = {"train": _joined(train, held), "test": dataset.splits["test"]}
    elif splitting == TRAIN_VALIDATION_TEST and "validation" not in dataset.splits:
        whole = dataset.splits["train"]
        start = len(whole.labels) - validation
        splits = {
            "train": Split(whole.images[:start], whole.labels[:start]),
            "validation": Split(whole.images[start:], whole.labels[start:]),
            "test": dataset.splits["test"],
        }
    else:
        return dataset
    return replace(dataset, splits=MappingProxyType(splits))


def _joined(one: Split, other: Split) -> Split:
    images = np.concatenate([one.images, other.images])
    labels = np.concatenate([one.labels, other.labels])
    return Split(read_only(images), read_only(labels))
