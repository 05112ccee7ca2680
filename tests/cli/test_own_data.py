"""``optbench run --data FILE``: networks on data of one's own, against least squares by NumPy."""

import numpy as np
import pandas as pd
import pytest

from optbench.datasets import Asked, load_file
from tests.cli.command import meta, optbench

LINEAR = ("--problem", "network", "--set", "network.layers=['dense 1']", "-o", "momentum")
REGRESSION = (*LINEAR, "--set", "network.loss=mse", "--batch-size", "full", "--dtype", "float64")


@pytest.fixture
def houses(tmp_path):
    """200 examples of a linear function with noise."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + 3.0 + 0.1 * generator.normal(size=200)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "price": y})
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path


def evaluation(path):
    rows = pd.read_parquet(path / "evaluation")
    return rows[rows["iteration"] == rows["iteration"].max()].set_index("split")


def test_a_linear_network_ends_where_the_normal_equations_do(houses):
    arguments = ("--set", "momentum.lr=0.05", "--iterations", "1000", "--data", "houses.csv")
    seen = optbench("run", *REGRESSION, *arguments, "--evaluate-every", "1000", cwd=houses)
    assert (seen.code, "target is column 'price'" in seen.err) == (0, True)
    splits = load_file(str(houses / "houses.csv"), Asked(numbers=True)).splits
    columns = {
        name: np.column_stack([part.images, np.ones(len(part.labels))])
        for name, part in splits.items()
    }
    train = columns["train"]
    weights = np.linalg.solve(train.T @ train, train.T @ splits["train"].labels)
    (results,) = (houses / "results").glob("network-*")
    found = evaluation(results)
    for name, part in splits.items():
        expected = np.mean((columns[name] @ weights - part.labels) ** 2)
        assert found.loc[name, "loss"] == pytest.approx(expected, rel=1e-9)
    assert found["error"].isna().all()


def test_the_last_layer_takes_the_number_of_classes_and_says_so(tmp_path):
    frame = pd.DataFrame({"x": np.arange(60.0), "kind": ["iris", "lily", "rose"] * 20})
    frame.to_csv(tmp_path / "flowers.csv", index=False)
    arguments = ("--data", "flowers.csv", "-o", "sgd", "--iterations", "5", "--batch-size", "8")
    seen = optbench("run", "--problem", "network", *arguments, cwd=tmp_path)
    assert seen.code == 0, seen
    assert "the last layer is 'dense 3' for flowers.csv, not 'dense 10'" in seen.err
    (results,) = (tmp_path / "results").glob("network-*")
    (problem,) = meta(results)["problems"]
    assert problem["definition"]["network"]["layers"][-1] == "dense 3"
    again = optbench("run", results / "run.json", cwd=tmp_path)
    assert again.code == 0, again


def test_the_fingerprint_is_of_what_the_file_holds_not_of_its_place(houses):
    other = houses / "other"
    other.mkdir()
    (other / "homes.csv").write_bytes((houses / "houses.csv").read_bytes())
    changed = pd.read_csv(houses / "houses.csv")
    changed.loc[7, "price"] += 1e-6
    changed.to_csv(houses / "changed.csv", index=False)
    prints = []
    for file in ("houses.csv", "other/homes.csv", "changed.csv"):
        seen = optbench("run", *REGRESSION, "--data", file, "--iterations", "2", cwd=houses)
        assert seen.code == 0, seen
    for path in sorted((houses / "results").iterdir(), key=lambda each: each.stat().st_mtime_ns):
        (problem,) = meta(path)["problems"]
        prints.append(problem["fingerprint"])
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "gone.csv"), "gone.csv: cannot be read (No such file or directory)"),
        (("--data", "notes.txt"), "data are read from .npz, .csv, .parquet and IDX files"),
        (("--data", "mnist-6k"), "must be one of auto, mnist, fashion-mnist"),
        (("--data", "houses.csv"), "is no class; loss = 'mse' takes numbers as targets"),
        (("--data", "mnist-5k", "--set", "network.loss=mse"), "mnist-5k has classes; give data"),
        (("--data", "mnist-5k", "--set", "network.target=y"), "target is for data of your own"),
        (
            ("--data", "houses.csv", "--set", "network.loss=mse", "--batch-size", "500"),
            "batch_size = 500 is larger than the data; houses.csv has 140 training examples",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, says, houses):
    (houses / "notes.txt").write_text("nothing")
    seen = optbench("run", "--problem", "network", *arguments, "-o", "sgd", cwd=houses)
    assert (seen.code, seen.err.count("\n"), says in seen.err) == (2, 1, True), seen
