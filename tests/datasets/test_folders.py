from pathlib import Path

import pytest

from optbench import datasets
from optbench.datasets import folders
from optbench.errors import DataError
from tests.datasets.files import CONTENT, NAMES, write_idx
from tests.refusal import refusal

pytestmark = pytest.mark.usefixtures("tiny")


def test_the_folder_given_comes_first_then_the_variable_then_the_cache(
    tmp_path, cache, monkeypatch
):
    given, variable = (write_idx(tmp_path / name) for name in ("given", "variable"))
    write_idx(cache / "mnist")
    assert datasets.find("mnist") == cache / "mnist"
    monkeypatch.setenv("OPTBENCH_DATA_DIR", str(variable))
    assert datasets.find("mnist") == variable
    assert datasets.find("mnist", given) == given
    assert datasets.load("mnist", given) is not datasets.load("mnist")
    assert datasets.load_best(given) == (datasets.load("mnist", given), None)
    assert datasets.load_best() == (datasets.load("mnist", variable), None)


def test_a_subfolder_of_its_name_comes_before_the_folder_itself(tmp_path):
    write_idx(tmp_path)
    write_idx(tmp_path / "mnist")
    assert datasets.find("mnist", tmp_path) == tmp_path / "mnist"


def test_a_named_folder_without_the_data_is_an_error_whatever_the_cache_holds(
    tmp_path, cache, monkeypatch
):
    write_idx(cache / "mnist")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert datasets.find("mnist", empty) is None
    assert refusal(DataError, datasets.load, "mnist", empty) == (
        f"{empty} holds no mnist: looked there and in its subfolder mnist for {', '.join(NAMES)} "
        "(each also as .gz) or mnist.pkl.gz"
    )
    monkeypatch.setenv("OPTBENCH_DATA_DIR", str(empty))
    with pytest.raises(DataError, match=r"which OPTBENCH_DATA_DIR names, holds no mnist.*; unset"):
        datasets.load("mnist")


def test_a_folder_that_is_none_is_said_to_be_so(tmp_path):
    with pytest.raises(DataError, match=r"gone is not a folder; it should hold train-images"):
        datasets.load("mnist", tmp_path / "gone")


def test_what_is_nowhere_can_be_fetched(cache):
    message = refusal(DataError, datasets.load, "mnist")
    assert f"mnist is not in the cache ({cache}): `optbench data fetch mnist`" in message


def test_best_is_the_embedded_subset_where_mnist_is_not_there():
    dataset, notice = datasets.load_best()
    assert dataset.name == "mnist-5k"
    assert notice == (
        "mnist is not in the cache, so mnist-5k is used, the 5,000 images that come with optbench; "
        "`optbench data fetch mnist` downloads all of them."
    )


def test_best_goes_on_to_the_cache_where_the_variable_leads_nowhere(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("OPTBENCH_DATA_DIR", str(tmp_path / "gone"))
    dataset, notice = datasets.load_best()
    assert dataset.name == "mnist-5k"
    assert f"mnist is not in OPTBENCH_DATA_DIR ({tmp_path / 'gone'}) or the cache" in str(notice)
    write_idx(cache / "mnist")
    assert datasets.load_best()[0].name == "mnist"


def test_best_insists_on_a_folder_that_was_given(tmp_path):
    with pytest.raises(DataError, match="holds no mnist"):
        datasets.load_best(tmp_path)


def test_best_never_passes_over_a_damaged_or_incomplete_set(cache):
    folder = write_idx(cache / "mnist", train_labels=CONTENT[NAMES[1]][:-1])
    with pytest.raises(
        DataError, match=r"truncated.*; `optbench data fetch mnist` downloads it again"
    ):
        datasets.load_best()
    (folder / f"{NAMES[1]}.gz").unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte missing.*downloads it again"):
        datasets.load_best()


def test_an_empty_variable_names_no_folder(monkeypatch):
    monkeypatch.setenv("OPTBENCH_DATA_DIR", "")
    assert folders.variable_folder() is None
    monkeypatch.setenv("OPTBENCH_DATA_DIR", "~/data")
    assert folders.variable_folder() == Path.home() / "data"


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda project: tmp_path / project)
    assert folders.cache_folder() == tmp_path / "optbench"


def test_torchvisions_folders_are_found(tmp_path):
    raw = write_idx(tmp_path / "MNIST" / "raw", spelling="{name}")
    assert datasets.find("mnist", tmp_path) == raw
    assert datasets.load("mnist", tmp_path).splits["train"].labels.tolist() == [0, 3, 6, 9, 2]
