"""Networks with their data: batches, evaluation, and what makes the problem what it is."""

import pickle
from unittest.mock import Mock

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Workspace, stack
from optbench.datasets.base import Dataset, Split
from optbench.errors import SuiteError
from optbench.problems.batches import Batches
from optbench.problems.networks import classifier as networks
from optbench.problems.registry import make_problem
from tests.refusal import refusal
from tests.small import FEATURES, IMAGES, SmallNetwork, reference_network, small_network

TRAIN = IMAGES.splits["train"]


def test_batches_are_drawn_with_replacement_from_the_training_examples():
    indices = small_network(batch_size=64).draws(3, 1)["indices"]
    np.testing.assert_array_equal(indices, Batches("replacement", 200, 64).indices(3, 1))
    assert set(np.unique(indices)) == set(range(200))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_holds_the_images_drawn_in_0_to_1(dtype):
    network = small_network(dtype=dtype)
    indices = np.array([[3, 199, 3], [0, 7, 50]])
    batch = network.batch(network.data(), {"indices": indices}, work=Workspace(np))
    assert batch["images"].dtype == dtype
    assert batch["images"].shape == (2, 3, FEATURES)
    expected = TRAIN.images[indices].astype(dtype) / np.dtype(dtype).type(255)
    np.testing.assert_array_equal(batch["images"], expected)
    np.testing.assert_array_equal(batch["labels"], TRAIN.labels[indices])
    assert 0.0 <= batch["images"].min() < batch["images"].max() <= 1.0


def test_data_are_every_splits_images_as_bytes_and_labels():
    data = small_network().data()
    splits = ("train", "validation", "test")
    assert list(data) == [f"{split}.{part}" for split in splits for part in ("images", "labels")]
    assert all(array.dtype == np.uint8 for array in data.values())


@pytest.mark.parametrize("at_a_time", [7, 50, 1000])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluation_is_the_references_over_the_whole_split(split, at_a_time, monkeypatch):
    monkeypatch.setattr(networks, "EVALUATION_EXAMPLES", at_a_time)
    network = small_network()
    rows = np.stack([network.start(seed) for seed in (0, 7)])
    params = stack(rows, network.tensors, np)
    loss, error = network.evaluate(params, network.data(), split, buffers={}, work=Workspace(np))
    images = IMAGES.splits[split].images / 255.0
    labels = IMAGES.splits[split].labels
    for lane, seed in enumerate((0, 7)):
        reference = reference_network(network, seed)
        assert loss[lane] == pytest.approx(reference.loss(images, labels), rel=1e-12)
        assert error[lane] == pytest.approx(1.0 - reference.accuracy(images, labels), abs=1e-12)


def test_starts_and_batches_of_mnist_mlp_are_the_same_for_ever():
    """Golden values: the start of the first weights, and indices of the first batches."""
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    golden = {
        0: (0.0008348554540774607, "e2d76e83936dfea1", "715310bcd3ff6ef9", "2587f4220b109a76"),
        7: (-0.0509607119769415, "572b3e38fa406900", "d9b7010ed89542bd", "552535cb90811103"),
    }
    first = {0: [2158, 2733, 2467, 20, 3032], 7: [1610, 2637, 870, 1055, 2628]}
    later = {0: [28, 1421, 2136, 756, 1665], 7: [3477, 206, 2285, 1346, 1729]}
    for seed, (weight, start, *blocks) in golden.items():
        assert network.start(seed)[0] == weight
        assert rng.digest(network.start(seed)) == start
        drawn = [network.draws(seed, block)["indices"] for block in (0, 1)]
        assert [rng.digest(each) for each in drawn] == blocks
        assert [each[0, :5].tolist() for each in drawn] == [first[seed], later[seed]]


def test_mnist_mlp_is_the_textbooks():
    network, notices = make_problem("mnist-mlp", {"data": "mnist-5k"})
    assert notices == ()
    defaults = {option.name: option.default for option in network.options}
    assert network.settings == defaults | {"data": "mnist-5k"}  # test_builtin.py says which
    assert len(defaults) == 16
    shapes = {tensor.name: tensor.shape for tensor in network.tensors}
    widths = [784, 100, 100, 100, 100, 10]
    for i in range(1, 6):
        assert shapes[f"dense{i}.weight"] == (widths[i - 1], widths[i])
        assert shapes[f"dense{i}.bias"] == (widths[i],)
    assert network.parameters == 784 * 100 + 3 * 100 * 100 + 100 * 10 + 4 * 100 + 10
    assert network.iterations_per_epoch == 3500 // 128
    assert network.describe() == {
        "kind": "network",
        "record": "after",
        "dtype": "float32",
        "iterations_per_epoch": 27,
        "parameters": 109_810,
        "data": "mnist-5k",
        "batch_size": 128,
    }


@pytest.mark.parametrize("name", ["mnist-mlp-tanh", "network"])
def test_a_network_is_pickled_without_its_data(name):
    network, _ = make_problem(name, {"data": "mnist-5k", "batch_size": 50})
    text = pickle.dumps(network)
    assert len(text) < 10_000
    again = pickle.loads(text)
    assert type(again) is type(network)
    assert again.definition() == network.definition()


def test_auto_becomes_the_data_set_that_was_found(monkeypatch):
    monkeypatch.setattr(networks.datasets, "load_best", lambda folder, split: (IMAGES, "smaller"))
    monkeypatch.setattr(networks.datasets, "load", lambda name, folder, split: IMAGES)
    network, notices = make_problem("network", {"data": "auto", "layers": ["dense 4"]})
    assert network.settings["data"] == "made-up"
    assert notices == ("smaller",)


def test_auto_says_nothing_where_the_full_data_are(monkeypatch, tmp_path):
    load_best = Mock(return_value=(IMAGES, None))
    monkeypatch.setattr(networks.datasets, "load_best", load_best)
    monkeypatch.setattr(networks.datasets, "load", lambda name, folder, split: IMAGES)
    _, notices = make_problem("network", {"layers": ["dense 4"]}, tmp_path)
    assert notices == ()
    assert [call.args[0] for call in load_best.call_args_list] == [tmp_path]


def test_every_iteration_and_every_layer_of_dropout_has_a_mask_of_its_own():
    network, _ = make_problem("mnist-mlp-dropout", {"data": "mnist-5k"})
    drawn = [network.draws(seed, block) for seed in (0, 3) for block in (0, 1)]
    layers = [layer.name for layer in network.network.dropouts]
    keys = np.concatenate([each[name] for each in drawn for name in layers])
    assert layers == ["dropout1", "dropout2", "dropout3", "dropout4"]
    assert len(np.unique(keys, axis=0)) == len(keys) == 4 * 4 * rng.ITERATIONS_PER_BLOCK


@pytest.mark.usefixtures("small_network_known")
def test_a_batch_as_large_as_the_data_fits_and_a_larger_one_does_not():
    network, _ = make_problem("small-network", {"batch_size": 200})
    assert network.iterations_per_epoch == 1
    assert refusal(SuiteError, make_problem, "small-network", {"batch_size": 201}) == (
        "batch_size = 201 is larger than the data; made-up has 200 training examples"
    )


def test_the_definition_holds_what_makes_the_problem():
    assert small_network().definition() == {
        "kind": "network",
        "network": {"layers": [12, 7, 5, 4], "log_eps": 1e-7},
        "data": {
            "checksums": {"made-up": "0" * 64},
            "splits": {"train": 200, "validation": 30, "test": 50},
            "pixel_scale": 255.0,
        },
        "batch": {"rule": "replacement", "size": 8},
        "regularization": {"l1": 0.0, "l2": 0.0, "weight_decay": 0.0},
        "record": "after",
        "dtype": "float64",
        "streams": [
            *(f"start/dense{n}.{part}" for n in (1, 2, 3) for part in ("weight", "bias")),
            "batches",
        ],
    }


def changed_data(**changes) -> Dataset:
    fields = {name: getattr(IMAGES, name) for name in IMAGES.__dataclass_fields__}
    return Dataset(**{**fields, **changes})


@pytest.mark.parametrize(
    "dataset",
    [
        changed_data(checksums={"made-up": "1" * 64}),
        changed_data(scale=256.0),
        changed_data(splits={"train": Split(TRAIN.images[:199], TRAIN.labels[:199])}),
    ],
)
def test_other_data_make_another_fingerprint(dataset, monkeypatch):
    before = small_network().fingerprint
    monkeypatch.setattr(SmallNetwork, "dataset", dataset)
    assert small_network().fingerprint != before


@pytest.mark.parametrize(
    "options", [{"batch_size": 9}, {"dtype": "float32"}, {"record": "before"}, {"log_eps": 0.0}]
)
def test_other_options_make_another_fingerprint(options):
    assert small_network(**options).fingerprint != small_network().fingerprint
    assert small_network(**options).fingerprint == small_network(**options).fingerprint


@pytest.mark.parametrize(
    "options",
    [
        *({"log_eps": 0.0}, {"layers": ("dense 10",)}, {"loss": "nll-sum"}, {"init": "xavier"}),
        *({"l1": 0.1}, {"l2": 0.1}, {"weight_decay": 0.1}),
        *({"batch_size": "full"}, {"batches": "shuffled"}),
    ],
)
def test_every_part_of_a_network_is_in_its_fingerprint(options):
    def fingerprint(**given):
        return make_problem("mnist-mlp", {"data": "mnist-5k", **given})[0].fingerprint

    assert fingerprint(**options) != fingerprint()
