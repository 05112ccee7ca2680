import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from optbench import datasets
from optbench.datasets import collection as collections
from optbench.errors import UsageError
from tests.datasets.files import NAMES, write_idx


def test_names_and_what_is_known_of_them():
    assert datasets.names() == ("mnist", "fashion-mnist", "kmnist", "mnist-5k", "digits")
    for name in ("mnist", "fashion-mnist", "kmnist"):
        info = datasets.info(name)
        assert info.name == name
        assert info.splits == {"train": 60_000, "test": 10_000}
        ending = ".gz" if name == "kmnist" else ""  # only that form's checksums are published
        assert list(info.files) == [f"{file}{ending}" for file in NAMES]
        assert len(info.mirrors) >= 2
        assert info.mirrors[0].startswith("https://")
        assert info.package is None
    for name, splits in (("mnist-5k", (3_500, 500, 1_000)), ("digits", (1_197, 300, 300))):
        small = datasets.info(name)
        assert tuple(small.splits) == ("train", "validation", "test")
        assert tuple(small.splits.values()) == splits
        assert small.mirrors == ()
    assert datasets.info("digits").package == "scikit-learn"
    known = [datasets.info(name) for name in datasets.names()]
    for info in known:
        assert info.origin
        assert info.licence
        assert all(len(digest) == 64 for digest in info.files.values())
    digests = [digest for info in known for digest in info.files.values()]
    assert len(set(digests)) == len(digests)


def test_the_embedded_set_is_found_in_the_package():
    folder = datasets.find("mnist-5k")
    assert folder is not None
    assert (folder / "mnist-5k.idx.gz").is_file()


@pytest.mark.parametrize(
    "call", [datasets.info, datasets.find, datasets.load, datasets.fetch, datasets.verify]
)
def test_an_unknown_name_gets_the_nearest(call):
    with pytest.raises(UsageError, match=r"^unknown data set 'mnits': did you mean 'mnist'\?$"):
        call("mnits")


@pytest.mark.usefixtures("tiny")
def test_a_folder_is_read_once_however_it_is_spelled(tmp_path):
    write_idx(tmp_path / "folder")
    first = datasets.load("mnist", tmp_path / "folder")
    assert datasets.load("mnist", tmp_path / "folder" / ".." / "folder") is first
    write_idx(tmp_path / "other")
    assert datasets.load("mnist", tmp_path / "other") is not first


@pytest.mark.usefixtures("tiny")
def test_threads_share_one_data_set(tmp_path, monkeypatch):
    write_idx(tmp_path)
    reads = []

    def slow(collection, location):
        reads.append(location)
        time.sleep(0.02)
        return read(collection, location)

    read = collections.load
    monkeypatch.setattr(collections, "load", slow)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: datasets.load("mnist", tmp_path), range(32)))
    assert len({id(dataset) for dataset in loaded}) == len(reads) == 1


def test_importing_the_registry_loads_nothing_heavy():
    code = (
        "import sys, optbench.datasets as d; d.names(); d.info('mnist'); "
        "print(*{m.partition('.')[0] for m in sys.modules}); assert not d._loaded"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "numpy" in modules
    heavy = {"pandas", "matplotlib", "pyarrow", "cupy", "requests", "rich", "typer"}
    assert not heavy.intersection(modules)
