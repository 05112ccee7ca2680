"""scikit-learn's digits, with a stand-in where it is not installed."""

import builtins
import hashlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from optbench import datasets, rng
from optbench.datasets import digits
from optbench.errors import DataError, UsageError
from tests.datasets.files import assert_bytes_to_read_only
from tests.refusal import refusal

IMAGES = (np.arange(1_797 * 64).reshape(1_797, 64) * 7 // 3 % 17).astype(float)
LABELS = np.arange(1_797) % 10
DIGESTS = {
    "images": hashlib.sha256(IMAGES.astype("u1").tobytes()).hexdigest(),
    "labels": hashlib.sha256(LABELS.astype("u1").tobytes()).hexdigest(),
}


@pytest.fixture
def stand_in(monkeypatch):
    """Put made-up images into a stand-in for scikit-learn, and their checksums in place."""

    def load_digits(*, return_X_y):
        assert return_X_y
        return IMAGES, LABELS

    package, module = ModuleType("sklearn"), ModuleType("sklearn.datasets")
    package.__spec__ = ModuleSpec("sklearn", None, origin="/x/sklearn/__init__.py")
    module.load_digits = load_digits
    monkeypatch.setitem(sys.modules, "sklearn", package)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", module)
    for name, digest in DIGESTS.items():
        monkeypatch.setitem(digits.INFO.files, name, digest)


@pytest.mark.usefixtures("stand_in")
def test_the_splits_are_parts_of_one_permutation():
    dataset = datasets.load("digits")
    assert (dataset.name, dataset.source, dataset.scale) == ("digits", "package", 16.0)
    assert (dataset.shape, dataset.image_shape, dataset.classes) == ((8, 8), (1, 8, 8), 10)
    order = rng.stream(0, "datasets/digits").permutation(1_797)
    images = np.concatenate([split.images for split in dataset.splits.values()])
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    np.testing.assert_array_equal(images, IMAGES[order])
    np.testing.assert_array_equal(labels, LABELS[order])
    assert {name: len(split.labels) for name, split in dataset.splits.items()} == {
        "train": 1_197,
        "validation": 300,
        "test": 300,
    }
    for split in dataset.splits.values():
        assert_bytes_to_read_only(split)


@pytest.mark.usefixtures("stand_in")
def test_the_order_is_the_same_for_ever_and_part_of_the_checksums():
    checksums = datasets.load("digits").checksums
    assert {name: checksums[name] for name in DIGESTS} == DIGESTS
    golden = "4197768e292bdb34b4fcd8a29c3a85240fb26590a30d590ffb8334dfc4b39c03"
    assert checksums["order"] == golden


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("split", datasets.SPLITTINGS)
def test_there_is_one_split_whatever_is_asked_for(split):
    assert datasets.load("digits", split=split) is datasets.load("digits")


@pytest.mark.usefixtures("stand_in")
def test_other_digits_are_refused(monkeypatch):
    report = datasets.verify("digits")
    assert (report.problems, report.place) == ((), Path("/x/sklearn"))
    monkeypatch.setitem(digits.INFO.files, "labels", "0" * 64)
    with pytest.raises(
        DataError, match=r"SHA-256 of scikit-learn's labels is .*…, expected 0{12}…; install"
    ):
        datasets.load("digits")
    (problem,) = datasets.verify("digits").problems
    assert problem.startswith("labels: ")


@pytest.mark.parametrize("call", [datasets.load, datasets.verify])
def test_without_scikit_learn_the_message_says_how_to_get_it(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert refusal(DataError, call, "digits") == (
        "digits comes with scikit-learn, which is not installed; "
        "`pip install scikit-learn` installs it"
    )


def test_there_is_nothing_to_fetch():
    with pytest.raises(UsageError, match=r"part of scikit-learn; .* `pip install scikit-learn`"):
        datasets.fetch("digits")


def test_its_place_is_found_without_importing_anything(monkeypatch):
    imported: list[str] = []
    real = builtins.__import__

    def spy(name, *arguments):
        imported.append(name)
        return real(name, *arguments)

    monkeypatch.setattr(digits, "find_spec", lambda name: SimpleNamespace(origin=f"/x/{name}/a.py"))
    monkeypatch.setattr(builtins, "__import__", spy)
    assert datasets.find("digits") == Path("/x/sklearn")
    assert "sklearn" not in imported
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    assert datasets.find("digits") is None


@pytest.mark.skipif(find_spec("sklearn") is None, reason="scikit-learn is not installed")
def test_the_real_digits_are_those_known():
    assert datasets.verify("digits").problems == ()
    dataset = datasets.load("digits")
    labels = np.concatenate([split.labels for split in dataset.splits.values()])
    # Counts a digit, as scikit-learn's documentation of the set has them.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert max(split.images.max() for split in dataset.splits.values()) == 16
