import pytest

from optbench import datasets
from optbench.datasets import folders
from tests.datasets.files import tiny_collection


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep the user's cache and environment out of the tests."""
    monkeypatch.delenv("OPTBENCH_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(datasets, "_loaded", {})
    return tmp_path / "cache"


@pytest.fixture
def tiny(monkeypatch):
    """Put a tiny collection in the place of mnist."""
    collection = tiny_collection()
    monkeypatch.setitem(datasets.COLLECTIONS, "mnist", collection)
    return collection
