"""Data of one's own, against what NumPy and pandas make of the same files."""

import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest

from optbench.datasets import Asked, load_file
from optbench.datasets import files as own_files
from optbench.errors import DataError

RNG = np.random.default_rng(8)
NUMBERS = Asked(numbers=True)


def table(rows=50):
    x = RNG.normal(size=(rows, 3))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "price": x @ [1, -2, 0.5] + 3})


def rows_of(dataset):
    """All features and targets of a data set, sorted, whatever the splits."""
    parts = dataset.splits.values()
    both = [np.column_stack([part.images, part.labels]) for part in parts]
    whole = np.concatenate(both)
    return whole[np.lexsort(whole.T)]


def refusal(path, asked=None):
    with pytest.raises(DataError) as caught:
        load_file(str(path), asked or Asked())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_numbers_is_read_as_pandas_reads_it(header, separator, tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "houses.csv", index=False, header=header, sep=separator)
    dataset = load_file(str(tmp_path / "houses.csv"), NUMBERS)
    expected = frame.to_numpy()
    assert rows_of(dataset).tolist() == expected[np.lexsort(expected.T)].tolist()
    assert (dataset.shape, dataset.classes, dataset.outputs, dataset.scale) == ((3,), None, 1, 1.0)
    sizes = {name: len(part.labels) for name, part in dataset.splits.items()}
    assert sizes == {"train": 35, "validation": 5, "test": 10}
    assert not dataset.splits["train"].images.flags.writeable


@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_gzipped_tables_and_parquet_hold_the_same(ending, tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "one.csv", index=False)
    other = tmp_path / f"one.{ending}"
    write = frame.to_parquet if ending == "parquet" else frame.to_csv
    write(other, index=False)
    one, two = (load_file(str(path), NUMBERS) for path in (tmp_path / "one.csv", other))
    assert rows_of(one).tolist() == rows_of(two).tolist()


def test_words_and_gaps_between_labels_are_numbered_in_their_order(tmp_path):
    names = np.array(["rose", "iris", "lily"] * 10)
    pd.DataFrame({"x": np.arange(30.0), "kind": names}).to_csv(tmp_path / "words.csv", index=False)
    words = load_file(str(tmp_path / "words.csv"), Asked())
    assert "iris is 0, lily is 1, rose is 2" in " ".join(words.notices)
    found = rows_of(words)
    codes = {"iris": 0, "lily": 1, "rose": 2}
    assert found[np.argsort(found[:, 0]), 1].tolist() == [codes[name] for name in names]
    np.savez(tmp_path / "gaps.npz", x=np.zeros((30, 2)), y=[3, 7, 40] * 10)
    gaps = load_file(str(tmp_path / "gaps.npz"), Asked())
    assert gaps.classes == 3
    assert "3 is 0, 7 is 1, 40 is 2" in " ".join(gaps.notices)


def test_the_target_is_a_column_by_name_or_number_else_label_or_the_last(tmp_path):
    path = tmp_path / "data.csv"
    frame = pd.DataFrame({"Label": [0, 1] * 10, "a": np.arange(20.5, 40.5), "b": [2, 5] * 10})
    frame.to_csv(path, index=False)
    for target, column in (("", "Label"), ("b", "b"), ("3", "b"), ("1", "Label")):
        dataset = load_file(str(path), Asked(target=target))
        assert f"the target is column '{column}'" in dataset.notices[0]
    assert "no column 'B2'; did you mean 'b'?" in refusal(path, Asked(target="B2"))
    frame.rename(columns={"Label": "first"}).to_csv(path.with_name("last.csv"), index=False)
    assert "column 'b'" in load_file(str(path.with_name("last.csv")), Asked()).notices[0]


def test_kaggles_layout_of_mnist_gives_images(tmp_path):
    pixels, labels = RNG.integers(0, 256, (40, 784)), np.arange(40) % 10
    names = [f"pixel{index}" for index in range(784)]
    frame = pd.DataFrame(pixels, columns=names)
    frame.insert(0, "label", labels)
    frame.to_csv(tmp_path / "train.csv", index=False)
    dataset = load_file(str(tmp_path / "train.csv"), Asked())
    assert (dataset.image_shape, dataset.scale, dataset.classes) == ((1, 28, 28), 255.0, 10)
    assert dataset.splits["train"].images.dtype == np.uint8
    expected = frame[[*names, "label"]].to_numpy()
    assert rows_of(dataset).tolist() == expected[np.lexsort(expected.T)].tolist()


def test_keras_arrays_keep_their_splits_and_their_channels(tmp_path):
    arrays = {
        "x_train": RNG.integers(0, 256, (30, 5, 4, 3), dtype=np.uint8),
        "y_train": np.arange(30).reshape(30, 1) % 4,
        "x_test": RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8),
        "y_test": np.arange(12).reshape(12, 1) % 4,
    }
    np.savez_compressed(tmp_path / "keras.npz", **arrays)
    dataset = load_file(str(tmp_path / "keras.npz"), Asked())
    assert list(dataset.splits) == ["train", "test"]
    assert dataset.image_shape == (3, 5, 4)
    first = dataset.splits["train"].images[0].reshape(3, 5, 4)
    assert (first[1] == arrays["x_train"][0, :, :, 1]).all()
    held = load_file(str(tmp_path / "keras.npz"), Asked(), "train-validation-test")
    assert [len(part.labels) for part in held.splits.values()] == [25, 5, 12]


def idx(array, code):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def test_idx_files_of_any_size_and_number_of_classes_find_those_beside_them(tmp_path):
    images = {
        "train": RNG.integers(0, 256, (300, 5, 4), dtype=np.uint8),
        "test": RNG.integers(0, 256, (60, 5, 4), dtype=np.uint8),
    }
    for split, array in images.items():
        labels = (np.arange(len(array)) % 30 + 1).astype(np.uint8)
        stem = tmp_path / f"emnist-letters-{split}"
        stem.with_name(f"{stem.name}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx(array, 8))
        )
        stem.with_name(f"{stem.name}-labels-idx1-ubyte").write_bytes(idx(labels, 8))
    dataset = load_file(str(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"), Asked())
    assert (dataset.classes, dataset.image_shape) == (30, (1, 5, 4))
    assert dataset.splits["test"].images.tolist() == images["test"].reshape(60, 20).tolist()
    assert len(dataset.checksums) == 4
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\1\0")
    own_files_name = tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"
    with pytest.raises(DataError, match="truncated: 256 bytes are missing"):
        own_files.load(own_files_name, Asked())


def test_standardised_features_have_mean_0_and_deviation_1_over_training_examples(tmp_path):
    table(200).assign(constant=4.0)[["a", "constant", "price"]].to_csv(
        tmp_path / "t.csv", index=False
    )
    train = load_file(str(tmp_path / "t.csv"), Asked(True, "", True)).splits["train"].images
    np.testing.assert_allclose(train.mean(axis=0), [0, 0], atol=1e-14)
    np.testing.assert_allclose(train.std(axis=0), [1, 0], atol=1e-14)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,y\n1,2,0\n1,,1\n", "row 3, column 'b': a value is missing"),
        ("a,b,y\n1,2,0\n\n1,2,1\n", "row 3, column 'y': a value is missing"),
        ("a,b,y\n1,2,0\n1,inf,1\n", "row 3, column 'b': 'inf' is not finite"),
        ("1,2,0\n1,two,1\n", "row 2, column '2': 'two' is no number"),
        ("a,b,y\n1,2,0\n1,2,\n", "row 3, column 'y': a value is missing"),
        ("a,b,y\n1,2,0\n1,2,3,4\n", "Expected 3 fields in line 3, saw 4"),
        ("a\n1\n", "a column of targets and at least one of features"),
        ("", "cannot be read as CSV"),
        ("a,y\n1,0\n2,1\n", "holds 2 examples; at least 10 are needed"),
        ("a,y\n" + "1,2.5\n" * 12, "2.5 is no class; loss = 'mse' takes numbers"),
        ("a,y\n" + "1,2\n" * 12, "has 1 classes"),
        ("a,y\n" + "1,\0\n" * 12, "is no text"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_row_and_column(text, says, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert says in refusal(path)


def test_targets_of_a_regression_are_numbers(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("a,y\n" + "1,big\n" * 12)
    assert "row 2, column 'y': 'big' is no number" in refusal(path, NUMBERS)


class Bomb:
    def __reduce__(self):
        return (open, ("ran", "w"))


def test_nothing_of_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("objects.npz", x=np.array([Bomb()], dtype=object), y=[0])
    assert "it holds Python objects, which are not read" in refusal(tmp_path / "objects.npz")
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Bomb()))
    assert "cannot be read as .npz" in refusal(tmp_path / "bare.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": [1.0]}, "holds a; x and y are needed, or x_train,"),
        ({"x": np.array([[1.0, np.nan]]), "y": [0]}, "x[0, 1] is nan"),
        ({"x": np.zeros((20, 2)), "y": [0, 1] * 9}, "has 20 examples and 18 targets"),
        ({"x": np.zeros((20, 2)), "y": np.eye(20)}, "labels have the shape (14, 20)"),
        ({"x": np.zeros((20, 2), complex), "y": [0, 1] * 10}, "x holds complex128"),
        ({"x": np.zeros((20, 2, 2, 2, 2)), "y": [0, 1] * 10}, "examples have 4 axes"),
        ({"x": np.zeros((0, 2)), "y": []}, "x is empty"),
    ],
)
def test_what_is_wrong_in_arrays_is_said_with_its_indices(arrays, says, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    assert says in refusal(tmp_path / "bad.npz")


def test_what_unfolds_beyond_measure_is_refused_before_it_does(tmp_path, monkeypatch):
    monkeypatch.setattr(own_files, "LIMIT_BYTES", 2**20)
    np.savez_compressed(tmp_path / "zeros.npz", x=np.zeros((1000, 1000)), y=np.zeros(1000))
    assert "holds more than" in refusal(tmp_path / "zeros.npz")
    (tmp_path / "long.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 2**20))
    assert "holds more than" in refusal(tmp_path / "long.csv.gz")
    pd.DataFrame(np.zeros((2**17, 2)), columns=["a", "y"]).to_parquet(tmp_path / "wide.parquet")
    assert "holds more than" in refusal(tmp_path / "wide.parquet")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": pd.date_range("2020", periods=20)}, "column 'a': '2020-01-01 00:00:00' is a time"),
        ({"a": ["1"] * 19 + ["x"]}, "row 19, column 'a': 'x' is no number"),
        ({"a": [[1.0, 2.0]] * 20}, "column 'a' holds list"),
        ({"a": [1.0] * 19 + [None]}, "row 19, column 'a': a value is missing"),
    ],
)
def test_columns_of_parquet_that_hold_no_numbers_are_refused(columns, says, tmp_path):
    frame = pd.DataFrame({**columns, "y": [0, 1] * 10})
    frame.to_parquet(tmp_path / "bad.parquet")
    assert says in refusal(tmp_path / "bad.parquet")


def test_words_that_repeat_in_parquet_take_no_more_memory_than_once(tmp_path):
    frame = pd.DataFrame({"a": np.arange(1000.0), "y": ["long" * 10_000] * 1000})
    frame.to_parquet(tmp_path / "long.parquet")
    assert "labels are longer than 200" in refusal(tmp_path / "long.parquet")


@pytest.mark.parametrize("name", ["bad.npz", "bad.parquet", "bad-images-idx3-ubyte"])
def test_damaged_files_are_refused_in_one_line(name, tmp_path):
    path = tmp_path / name
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY nothing")
    (tmp_path / name.replace("images-idx3", "labels-idx1")).write_bytes(b"")
    path.write_bytes(buffer.getvalue())
    assert refusal(path)
