"""Sets of which only the gzipped files can be verified, and that share MNIST's names of files."""

import gzip
import hashlib
from dataclasses import replace

import pytest

from optbench import datasets
from optbench.datasets import collection
from optbench.errors import DataError
from tests.datasets.files import CONTENT, GZIPPED, NAMES, tiny_collection, write_idx
from tests.datasets.mirror import serve
from tests.refusal import refusal


@pytest.fixture(autouse=True)
def kmnist(monkeypatch):
    """Put the tiny collection in the place of kmnist, with the SHA-256 of its gzipped files."""
    tiny = tiny_collection()

    def zipped(file):
        sha256 = hashlib.sha256(GZIPPED[f"{file.name}.gz"]).hexdigest()
        return replace(file, sha256=sha256, gzipped=True)

    splits = {split: tuple(map(zipped, pair)) for split, pair in tiny.splits.items()}
    made = replace(
        tiny, info=replace(tiny.info, name="kmnist"), splits=splits, pickle=None, own_folder=True
    )
    monkeypatch.setitem(datasets.COLLECTIONS, "kmnist", made)
    return made


def write(folder, **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in GZIPPED.items():
        (folder / name).write_bytes(content)
    for name, content in changed.items():
        (folder / f"{name.replace('_', '-')}-ubyte.gz").write_bytes(content)
    return folder


def test_the_gzipped_files_are_read_and_their_checksums_are_those_of_the_set(tmp_path, kmnist):
    write(tmp_path / "kmnist")
    dataset = datasets.load("kmnist", tmp_path)
    assert dataset.splits["train"].images.shape == (5, 6)
    assert list(dataset.checksums) == list(GZIPPED)
    assert dataset.checksums[f"{NAMES[0]}.gz"] == kmnist.files[0].sha256
    report = datasets.verify("kmnist", tmp_path)
    assert report.problems == ()
    assert [check.sha256 for check in report.checks] == [file.sha256 for file in kmnist.files]


def test_only_a_folder_of_its_name_counts(tmp_path):
    assert datasets.find("kmnist", write(tmp_path / "mnist")) is None
    assert refusal(DataError, datasets.load, "kmnist", tmp_path / "mnist") == (
        f"{tmp_path / 'mnist'} holds no kmnist: looked in its subfolder kmnist for "
        f"{', '.join(GZIPPED)}"
    )
    own = write(tmp_path / "kmnist")
    assert datasets.find("kmnist", tmp_path) == datasets.find("kmnist", own) == own


def test_files_that_are_not_gzipped_are_not_looked_for(tmp_path):
    folder = write(tmp_path / "kmnist")
    (folder / f"{NAMES[3]}.gz").unlink()
    (folder / NAMES[3]).write_bytes(CONTENT[NAMES[3]])
    with pytest.raises(DataError, match=rf"only a part of kmnist: {NAMES[3]}\.gz missing; put a"):
        datasets.load("kmnist", tmp_path)
    (check,) = [each for each in datasets.verify("kmnist", tmp_path).checks if each.problem]
    assert check.problem == f"{folder / NAMES[3]}.gz: missing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[NAMES[1]], "is not gzipped, and only that form can be verified"),
        (b"\x1f\x8b garbage", "its gzip compression is damaged"),
        (gzip.compress(b"short", mtime=0), "truncated"),
        (gzip.compress(CONTENT[NAMES[1]], mtime=1), "its SHA-256 is"),  # the same, zipped otherwise
    ],
)
def test_damaged_files_are_named(content, message, tmp_path):
    write(tmp_path / "kmnist", train_labels_idx1=content)
    with pytest.raises(DataError, match=rf"train-labels-idx1-ubyte\.gz: {message}"):
        datasets.load("kmnist", tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    folder = write(tmp_path / "kmnist")
    files = datasets.COLLECTIONS["kmnist"].files
    with pytest.raises(DataError, match="gone: cannot be read"):
        collection.read(files[0], folder / "gone")


def test_what_is_fetched_stays_gzipped_in_a_folder_of_its_own(cache):
    write_idx(cache / "mnist")
    with serve(GZIPPED) as mirror:
        folder = datasets.fetch("kmnist", mirrors=[mirror.url])
    assert folder == cache / "kmnist"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == GZIPPED
    assert datasets.load("kmnist").name == "kmnist"
    with serve(GZIPPED) as mirror:
        datasets.fetch("kmnist", mirrors=[mirror.url])
        assert mirror.requests == []


def test_a_mirror_that_decompresses_gives_no_good_file(tmp_path):
    plain = {f"{name}.gz": content for name, content in CONTENT.items()}
    with serve(plain) as mirror, pytest.raises(DataError, match="is not gzipped, and only that"):
        datasets.fetch("kmnist", mirrors=[mirror.url], cache=tmp_path)
