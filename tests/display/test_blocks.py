"""What blocks are called while they run."""

import pytest

from optbench.display.blocks import title, titles
from optbench.records import Lane


def lanes(label, seeds=(0,), problem="p", **values):
    """Return lanes of an optimizer: every seed at every value of its hyperparameters."""
    (name, swept) = next(iter(values.items()), ("lr", (0.1,)))
    return [
        Lane(0, "key", problem, label, label, {name: value}, seed, "print")
        for value in swept
        for seed in seeds
    ]


def test_a_block_is_named_by_its_labels_and_lanes():
    assert title(lanes("sgd")) == "sgd"
    assert title(lanes("sgd", lr=(0.1, 0.2))) == "sgd ×2"
    four = [lanes(label) for label in ("sgd", "adam", "adagrad", "momentum")]
    assert title([lane for (lane,) in four[:3]]) == "sgd, adam, adagrad ×3"
    assert title([lane for (lane,) in four]) == "sgd, adam and 2 more ×4"


@pytest.mark.parametrize(
    ("blocks", "called"),
    [
        ([lanes("sgd", range(2)), lanes("adam")], ["sgd ×2", "adam"]),
        (
            [lanes("adam", range(5)), lanes("adam", [5, 6, 8]), lanes("adam", [9])],
            ["adam, seeds 0–4", "adam, seeds 5–6, 8", "adam, seed 9"],
        ),
        (
            [lanes("adam", range(0, 9, 2)), lanes("adam", range(1, 9, 2))],
            ["adam, seeds 0 … 8", "adam, seeds 1 … 7"],
        ),
        (
            [lanes("adam", range(3), lr=(1e-5, 0.01)), lanes("adam", range(3), lr=(0.1, 1.0))],
            ["adam, lr 1e-05–0.01", "adam, lr 0.1–1"],
        ),
        (
            [lanes("adam", schedule=("cosine", "step")), lanes("adam", schedule=("1/t",))],
            ["adam, schedule cosine, step", "adam, schedule 1/t"],
        ),
        (
            [lanes("a", [s], lr=(v,)) for s in (0, 1) for v in (0.1, 0.2)],
            ["a, seed 0, lr 0.1", "a, seed 0, lr 0.2", "a, seed 1, lr 0.1", "a, seed 1, lr 0.2"],
        ),
        (
            [lanes("a", [0], "p"), lanes("a", [1], "p"), lanes("a", [0, 1], "q")],
            ["p: a, seed 0", "p: a, seed 1", "q: a ×2"],
        ),
    ],
)
def test_blocks_are_told_apart_by_what_differs(blocks, called):
    found = titles(dict(enumerate(blocks)))
    assert [found[number] for number in range(len(blocks))] == called
