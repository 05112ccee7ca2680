"""Data of a user's own: one file, ``.npz``, ``.csv``, ``.parquet`` or IDX, checked before use.

Nothing in a file is run (``allow_pickle=False``), and no more of it is read than
:data:`LIMIT_BYTES`. What is missing, infinite or no number is a DataError that names file, row and
column: lines of the file for CSV, counted from 1; indices from 0 for arrays and parquet.

Images are bytes, (examples, height, width), with channels before or behind height and width. All
other features are numbers that stay as they are.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench import rng
from optbench.datasets import idx
from optbench.datasets.base import FILE, Dataset, Split, read_only, sha256
from optbench.errors import DataError, nearest

if TYPE_CHECKING:
    import pandas as pd

LIMIT_BYTES = 4 * 2**30
"""Most that a file may hold, decompressed."""

MOST_CLASSES = 2**16

LONGEST_WORD = 200
"""Characters of a label."""

LEAST_EXAMPLES = 10
"""Fewer examples than these make no three splits."""

STREAM = "datasets/file"
"""What the order is drawn from in which a file without splits of its own is cut, with seed 0."""

TARGETS = ("label", "labels", "target", "class", "y")
"""Names of the column, whatever their capitals, that is taken for the target."""

ENDINGS = (".npz", ".csv", ".parquet")
"""What names of files end in, beside those of IDX files."""

TEXT_TYPES = ("string", "large_string", "binary", "large_binary")

TABLES = (".csv", ".csv.gz", ".parquet")
IDX_NAME = re.compile(r"images[-.]idx(\d)-")

KEYS: tuple[Mapping[str, tuple[str, str]], ...] = (
    {
        "train": ("x_train", "y_train"),
        "validation": ("x_val", "y_val"),
        "test": ("x_test", "y_test"),
    },
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("x", "y")},
)
"""Names of arrays in ``.npz``, whatever their capitals, by split: Keras', MedMNIST's, plain ones.

Training examples are needed; other splits are where both arrays are.
"""


@dataclass(frozen=True)
class Asked:
    """What is asked of a file: whether its targets are ``numbers`` or classes, and in what column.

    ``target`` is the column's name, or its number from 1; the empty text leaves the choice to
    :data:`TARGETS`, else takes the last. With ``standardize`` features get the mean 0 and the
    standard deviation 1 over the training examples.
    """

    numbers: bool = False
    target: str = ""
    standardize: bool = False


@dataclass(frozen=True)
class Examples:
    """Features, (examples, …), and targets of one split, as a file has them."""

    x: np.ndarray
    y: np.ndarray


UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError),
    *(MemoryError, NotImplementedError, RuntimeError, KeyError),
)
"""What NumPy and zipfile raise for archives that are damaged, encrypted or make no sense."""


def is_file_name(name: str) -> bool:
    """Say whether a data set's name is the path of a file that may hold one.

    >>> is_file_name("houses.csv"), is_file_name("emnist-letters-train-images-idx3-ubyte.gz")
    (True, True)
    >>> is_file_name("mnist")
    False
    """
    lowered = Path(name).name.lower()
    return lowered.endswith((".npz", *TABLES)) or IDX_NAME.search(lowered) is not None


def load(path: Path, asked: Asked) -> Dataset:
    """Read a file, check all of it, and return its data in splits.

    Where the file has no test examples, all are put into the order of the permutation of the random
    stream ``datasets/file`` (seed 0) and cut: 70 % train, 10 % validate, 20 % test.
    """
    name = path.name.lower()
    notices: list[str] = []
    checksums: dict[str, str] = {}
    if name.endswith(".npz"):
        parts = _npz(path, checksums)
    elif name.endswith(TABLES):
        parts = {"train": _table(path, asked, checksums, notices)}
    else:
        parts = _idx(path, checksums)
    for split, part in parts.items():
        if len(part.x) != len(part.y):
            raise DataError(
                f"{path}: {split} has {len(part.x):,} examples and {len(part.y):,} targets"
            )
    if "test" not in parts:
        parts = _cut(parts, path, checksums, notices)
    shapes = {split: part.x.shape[1:] for split, part in parts.items()}
    for split, shape in shapes.items():
        if shape != shapes["train"]:
            raise DataError(f"{path}: {split} examples have the shape {shape}, not as to train on")
    return _dataset(path, parts, asked, checksums, notices)


def _dataset(
    path: Path,
    parts: Mapping[str, Examples],
    asked: Asked,
    checksums: Mapping[str, str],
    notices: list[str],
) -> Dataset:
    shape, parts = _shaped(path, parts)
    features = {split: part.x.reshape(len(part.x), -1) for split, part in parts.items()}
    bytes_ = features["train"].dtype == np.uint8
    if asked.standardize:
        features, bytes_ = _standardized(features, 255.0 if bytes_ else 1.0), False
    classes: int | None = None
    if asked.numbers:
        targets = _numbers(path, parts)
    else:
        targets, classes = _classes(path, parts, notices)
    splits = {
        split: Split(read_only(np.ascontiguousarray(features[split])), read_only(targets[split]))
        for split in ("train", "validation", "test")
        if split in parts
    }
    return Dataset(
        name=path.name,
        source=FILE,
        splits=MappingProxyType(splits),
        scale=255.0 if bytes_ else 1.0,
        shape=shape,
        classes=classes,
        checksums=MappingProxyType(dict(checksums)),
        outputs=None if classes else prod(targets["train"].shape[1:]),
        notices=tuple(notices),
    )


# Reading.


def _content(path: Path, checksums: dict[str, str], part: str = "file") -> bytes:
    """Return all bytes of a file, decompressed where its name ends in .gz, and note their hash.

    It is noted as that of a ``part`` of the data, so that files may be renamed.
    """
    content = idx.read(path, LIMIT_BYTES)
    if len(content) > LIMIT_BYTES:
        raise DataError(f"{path}: holds more than {LIMIT_BYTES >> 30} GiB")
    checksums[part] = sha256(content)
    return content


def _npz(path: Path, checksums: dict[str, str]) -> dict[str, Examples]:
    content = _content(path, checksums)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size_bytes = sum(member.file_size for member in archive.infolist())
        if size_bytes > LIMIT_BYTES:
            raise DataError(f"{path}: holds more than {LIMIT_BYTES >> 30} GiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names = {name.lower(): name for name in arrays.files}
            keys = next((keys for keys in KEYS if set(keys["train"]) <= names.keys()), None)
            if keys is None:
                raise DataError(
                    f"{path}: holds {_listed(arrays.files)}; x and y are needed, or x_train, "
                    "y_train, x_test and y_test"
                )
            return {
                split: Examples(*(_array(path, key, arrays[names[key]]) for key in pair))
                for split, pair in keys.items()
                if set(pair) <= names.keys()
            }
    except UNREADABLE as error:
        reason = "it holds Python objects, which are not read" if "pickle" in str(error) else error
        raise DataError(f"{path}: cannot be read as .npz ({reason})") from None


def _array(path: Path, key: str, array: np.ndarray) -> np.ndarray:
    """Return an array of numbers, or of words for labels, all of them finite."""
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{path}: {key} is empty")
    is_x = key.startswith("x") or key.endswith("images")
    if array.dtype.kind not in ("biuf" if is_x else "biufUS"):
        raise DataError(f"{path}: {key} holds {array.dtype}; it must hold numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        inside = ", ".join(map(str, place))
        raise DataError(f"{path}: {key}[{inside}] is {array[place]}; all must be finite numbers")
    return array


def _idx(path: Path, checksums: dict[str, str]) -> dict[str, Examples]:
    """Read an IDX file of images and the files beside it that belong to it, by their names."""

    def beside(name: str) -> Path | None:
        bare = name.removesuffix(".gz")
        there = [path.with_name(each) for each in (name, bare, f"{bare}.gz")]
        return next((each for each in there if each.is_file()), None)

    def pair(images: Path, split: str) -> Examples:
        name = IDX_NAME.sub(lambda found: found[0].replace("images", "labels"), images.name)
        name = re.sub(r"idx\d-", "idx1-", name)
        labels = beside(name)
        if labels is None:
            raise DataError(f"{images}: {name} is not beside it; labels are needed as well")
        return Examples(
            idx.parse_any(_content(images, checksums, f"{split} images"), str(images)),
            idx.parse_any(_content(labels, checksums, f"{split} labels"), str(labels)),
        )

    parts = {"train": pair(path, "train")}
    if "train" in path.name:
        others = (beside(path.name.replace("train", word)) for word in ("test", "t10k"))
        test = next((other for other in others if other is not None), None)
        if test is not None:
            parts["test"] = pair(test, "test")
    return parts


def _table(path: Path, asked: Asked, checksums: dict[str, str], notices: list[str]) -> Examples:
    content = _content(path, checksums)
    is_csv = not path.name.lower().endswith(".parquet")
    frame, first_row = _csv(path, content) if is_csv else (_parquet(path, content), 0)
    if frame.empty or frame.shape[1] < 2:
        raise DataError(f"{path}: a column of targets and at least one of features are needed")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{path}: two columns are called '{twice}'")
    place = _target_column(path, [str(name) for name in frame.columns], asked.target)
    column = frame.columns[place]
    notices.append(f"{path.name}: the target is column '{column}', all others are features")

    def where(row: int, name: object) -> str:
        return f"{path}: row {row + first_row}, column '{name}'"

    y = _column(frame[column], where, words=not asked.numbers)
    others = [name for name in frame.columns if name != column]
    columns = [_column(frame[name], where) for name in others]
    whole = all(each.dtype.kind in "biu" for each in columns)
    side = isqrt(len(columns))
    bytes_ = whole and all(each.min() >= 0 and each.max() <= 255 for each in columns)
    if bytes_ and side >= 8 and side * side == len(columns):
        notices.append(f"{path.name}: {len(columns)} columns of bytes are images of {side}×{side}")
        return Examples(np.stack(columns, axis=1).astype(np.uint8).reshape(-1, side, side), y)
    return Examples(np.stack([each.astype(np.float64) for each in columns], axis=1), y)


def _column(values: "pd.Series[Any]", where: Any, *, words: bool = False) -> np.ndarray:
    """Return a column as numbers, or as words where it may hold some; nothing may be missing."""
    import pandas as pd

    def refuse(rows: np.ndarray, problem: str) -> None:
        if rows.any():
            row = int(np.flatnonzero(rows)[0])
            value = "" if problem == "is missing" else f"{str(values.iloc[row])!r:.40} "
            raise DataError(f"{where(row, values.name)}: {value or 'a value '}{problem}")

    refuse(values.isna().to_numpy(), "is missing")
    if values.dtype.kind in "mM":
        refuse(np.full(len(values), True), "is a time")
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_integer_dtype(values.dtype):
        return values.to_numpy(dtype=np.int64)
    if pd.api.types.is_float_dtype(values.dtype):
        floats: np.ndarray = values.to_numpy(dtype=np.float64)
        refuse(~np.isfinite(floats), "is not finite")
        return floats
    if words:
        known = values.cat.categories.to_series() if values.dtype == "category" else values
        if known.astype(str).str.len().max() > LONGEST_WORD:
            raise DataError(f"{where(0, values.name)}: labels are longer than {LONGEST_WORD}")
        return values.astype(str).to_numpy(dtype=np.str_)
    numbers = pd.to_numeric(values.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    refuse(~np.isfinite(numbers), "is no number")
    return numbers


def _csv(path: Path, content: bytes) -> "tuple[pd.DataFrame, int]":
    """Return a table and the line that its first row stands in, counted from 1."""
    import pandas as pd

    if b"\0" in content[:4096]:
        raise DataError(f"{path}: is no text")
    first, second = [*content.split(b"\n", 2), b"", b""][:2]
    delimiter = max(",;\t", key=lambda sign: first.count(sign.encode()))
    header = _is_header(first.decode(errors="replace"), second.decode(errors="replace"), delimiter)
    # Before version 3, numbers that are read are the nearest only where that is asked for.
    exact: Any = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
    try:
        frame = pd.read_csv(
            io.BytesIO(content),
            sep=delimiter,
            header=0 if header else None,
            skip_blank_lines=False,
            skipinitialspace=True,
            index_col=False,
            encoding="utf-8-sig",
            **exact,
            low_memory=False,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())})") from None
    if not header:
        frame.columns = pd.Index([str(number + 1) for number in range(frame.shape[1])])
    rows = frame.notna().any(axis=1).to_numpy()
    last = int(np.flatnonzero(rows)[-1]) + 1 if rows.any() else 0
    return frame.iloc[:last], 2 if header else 1


def _is_header(first: str, second: str, delimiter: str) -> bool:
    """Say whether the first line names columns: all words, or a word above a number."""
    lines = (line.split(delimiter) for line in (first, second))
    names, values = ([_is_number(each) for each in line] for line in lines)
    above = any(not name and value for name, value in zip(names, values, strict=False))
    return above or not any(names)


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return not text.strip()
    return True


def _parquet(path: Path, content: bytes) -> "pd.DataFrame":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Words that repeat stay a dictionary: unfolded, a small file could fill the memory.
        schema = pq.read_schema(io.BytesIO(content))
        texts = [each.name for each in schema if str(each.type) in TEXT_TYPES]
        file = pq.ParquetFile(io.BytesIO(content), read_dictionary=texts)
        meta = file.metadata
        if meta.num_rows * meta.num_columns * 8 > LIMIT_BYTES:
            raise DataError(f"{path}: holds more than {LIMIT_BYTES >> 30} GiB")
        flat = [field for field in file.schema_arrow if pa.types.is_nested(field.type)]
        if flat:
            raise DataError(f"{path}: column '{flat[0].name}' holds {flat[0].type}, not numbers")
        frame: pd.DataFrame = file.read().to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({str(error)[:100]})") from None
    return frame


def _target_column(path: Path, columns: Sequence[str], target: str) -> int:
    if target in columns:
        return columns.index(target)
    if target.isdecimal() and 1 <= int(target) <= len(columns):
        return int(target) - 1
    if target:
        raise DataError(f"{path}: there is no column '{target}'; {nearest(target, columns)}")
    named = [place for place, name in enumerate(columns) if name.lower() in TARGETS]
    return named[0] if len(named) == 1 else len(columns) - 1


# Making splits, features and targets.


def _cut(
    parts: Mapping[str, Examples], path: Path, checksums: dict[str, str], notices: list[str]
) -> dict[str, Examples]:
    """Cut all examples of a file without test examples into three splits, in a random order."""
    whole = parts["train"]
    count = len(whole.y)
    if count < LEAST_EXAMPLES:
        raise DataError(f"{path}: holds {count} examples; at least {LEAST_EXAMPLES} are needed")
    order = rng.stream(0, STREAM).permutation(count)
    checksums["order"] = sha256(order.astype("<i8").tobytes())
    held = max(1, round(0.2 * count))
    ends = {"train": count - held, "test": count}
    if "validation" not in parts:
        ends = {"train": count - held - max(1, round(0.1 * count)), "validation": count - held}
        ends["test"] = count
    cut, start = {}, 0
    for split, end in ends.items():
        chosen = order[start:end]
        cut[split], start = Examples(whole.x[chosen], whole.y[chosen]), end
    sizes = ", ".join(f"{len(part.y):,} {split}" for split, part in cut.items())
    notices.append(f"{path.name} has no split of its own: its {count:,} examples are cut: {sizes}")
    return {**parts, **cut}


def _shaped(
    path: Path, parts: Mapping[str, Examples]
) -> tuple[tuple[int, ...], Mapping[str, Examples]]:
    """Return the shape of an example as networks take it, and the examples in that order."""
    shape = parts["train"].x.shape[1:]
    if len(shape) == 0:
        parts = {split: replace(part, x=part.x[:, None]) for split, part in parts.items()}
        shape = (1,)
    if len(shape) == 3 and shape[2] in (1, 3, 4) and shape[0] not in (1, 3, 4):
        parts = {
            split: replace(part, x=part.x.transpose(0, 3, 1, 2)) for split, part in parts.items()
        }
        shape = (shape[2], *shape[:2])
    if len(shape) > 3:
        raise DataError(f"{path}: examples have {len(shape)} axes; at most 3 are taken")
    kept = {split: replace(part, x=_kept(part.x)) for split, part in parts.items()}
    return shape, kept


def _kept(x: np.ndarray) -> np.ndarray:
    """Return bytes as bytes, and all other numbers as float32 or float64."""
    if x.dtype in (np.uint8, np.float32):
        return x
    return x.astype(np.float32 if x.dtype == np.float16 else np.float64)


def _standardized(features: Mapping[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    train = features["train"] / scale
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation == 0.0, 1.0, deviation)  # what is constant becomes 0
    return {split: (x / scale - mean) / deviation for split, x in features.items()}


def _numbers(path: Path, parts: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    """Return targets of a regression, float64 (examples, outputs)."""
    targets = {}
    for split, part in parts.items():
        if part.y.dtype.kind not in "biuf":
            raise DataError(f"{path}: targets are words, such as '{part.y[0]}'; mse needs numbers")
        targets[split] = part.y.reshape(len(part.y), -1).astype(np.float64)
    if len({y.shape[1] for y in targets.values()}) > 1:
        raise DataError(f"{path}: splits have different numbers of targets an example")
    return targets


def _classes(
    path: Path, parts: Mapping[str, Examples], notices: list[str]
) -> tuple[dict[str, np.ndarray], int]:
    """Return labels from 0, and how many classes there are; others are numbered as they sort."""
    labels = {}
    for split, part in parts.items():
        y = part.y
        if y.ndim > 1 and y.size != len(y):
            raise DataError(f"{path}: labels have the shape {y.shape}; one an example is needed")
        y = y.reshape(-1)
        if y.dtype.kind == "f":
            wrong = np.flatnonzero(y != np.round(y))
            if wrong.size:
                raise DataError(
                    f"{path}: {y[wrong[0]]:g} is no class; loss = 'mse' takes numbers as targets"
                )
            y = y.astype(np.int64)
        labels[split] = y
    names, codes = np.unique(np.concatenate([*labels.values()]), return_inverse=True)
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(f"{path}: has {len(names)} classes; 2 to {MOST_CLASSES} are taken")
    if names.dtype.kind == "U" or not np.array_equal(names, np.arange(len(names))):
        shown = [str(name) for name in names[:5]]
        listed = ", ".join(f"{name} is {code}" for code, name in enumerate(shown))
        more = "" if len(names) == len(shown) else f", … ({len(names)} classes)"
        notices.append(f"{path.name}: labels are numbered in their order: {listed}{more}")
    kind = np.uint8 if len(names) <= 256 else np.int32
    ends = np.cumsum([len(y) for y in labels.values()])[:-1]
    coded = np.split(codes.reshape(-1).astype(kind), ends)
    return dict(zip(labels, coded, strict=True)), len(names)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:8]) or "no arrays"
