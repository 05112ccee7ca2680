"""The built-in suites say what their sources do: networks, data, rates, lengths, stopping."""

import pytest

from optbench.engine.stopping import Rules
from optbench.problems.functions.base import Function
from optbench.problems.registry import PROBLEMS
from optbench.suite.format import read_suite
from optbench.suite.resolve import resolve

SGD = {"sgd": 0.01}
TEXTBOOK = {**SGD, "momentum": 0.01, "adagrad": 0.01, "adam": 0.001}
DEEPOBS = {"sgd": 0.1, "momentum": 0.01, "adam": 0.001}


def five(*after):
    """Return the textbook's four hidden layers of 100 with what follows each, and the last."""
    return (*("dense 100", *after) * 4, "dense 10")


TEXTBOOK_MLP = {
    "layers": five("relu"),
    "loss": "cross-entropy",
    "log_eps": 1e-7,
    "init": "he",
    "batch_size": 128,
    "batches": "replacement",
    "record": "after",
}
DEEPOBS_MLP = {
    "layers": ("dense 1000", "relu", "dense 500", "relu", "dense 100", "relu", "dense 10"),
    "split": "train-test",
    "loss": "cross-entropy",
    "log_eps": 0.0,
    "init": "truncated-normal",
    "init_std": 0.03,
    "batch_size": 128,
    "batches": "shuffled",
    "record": "before",
}
NETWORKS = {
    "mnist-mlp": TEXTBOOK_MLP,
    "mnist-mlp-sigmoid": {**TEXTBOOK_MLP, "layers": five("sigmoid"), "init": "xavier"},
    "mnist-mlp-dropout": {**TEXTBOOK_MLP, "layers": five("relu", "dropout 0.5")},
    "mnist-mlp-batchnorm": {**TEXTBOOK_MLP, "layers": five("batch-norm", "relu")},
    "mnist-mlp-weight-decay": {**TEXTBOOK_MLP, "weight_decay": 0.1},
    "mnist-logreg": {
        "layers": ("dense 10",),
        "loss": "nll-mean",
        "init": "zeros",
        "batch_size": 600,
        "batches": "in-order",
        "record": "before",
    },
    "mnist-cnn": {
        **TEXTBOOK_MLP,
        "layers": (
            *("conv 30 5x5", "relu", "max-pool 2x2 stride=2"),
            *("dense 100", "relu", "dense 10"),
        ),
        "init": "normal",
        "init_std": 0.01,
        "batch_size": 100,
    },
    "mnist-mlp-tanh": {
        "layers": ("dense 300 bias=false", "tanh", "dense 10 bias=false"),
        "loss": "nll-sum",
        "init": "normal",
        "init_std": 1.0,
        "batch_size": 500,
        "batches": "in-order",
        "record": "before",
    },
    "mnist-early-stopping": {
        "layers": ("dense 500 init=glorot-uniform", "tanh", "dense 10 init=zeros"),
        "split": "train-validation-test",
        "loss": "nll-mean",
        "l1": 0.0,
        "l2": 1e-4,
        "batch_size": 20,
        "batches": "in-order",
        "record": "before",
    },
    "deepobs-mnist-mlp": DEEPOBS_MLP,
    "deepobs-fmnist-mlp": {**DEEPOBS_MLP, "data": "fashion-mnist"},
    "deepobs-mnist-logreg": {
        **DEEPOBS_MLP,
        "layers": ("dense 10",),
        "init": "zeros",
        "init_std": 0.01,
    },
}
"""Options of each network; those that are not named have no penalty and take any data."""

PLAIN = {"data": "auto", "l1": 0.0, "l2": 0.0, "weight_decay": 0.0, "dtype": "float32"}

SUITES = {
    "mnist-mlp": (TEXTBOOK, {"iterations": 2000}),
    "mnist-mlp-sigmoid": (TEXTBOOK, {"iterations": 2000}),
    "mnist-mlp-dropout": (TEXTBOOK, {"iterations": 2000}),
    "mnist-mlp-batchnorm": (TEXTBOOK, {"iterations": 2000}),
    "mnist-mlp-weight-decay": (TEXTBOOK, {"iterations": 2000}),
    "mnist-cnn": (TEXTBOOK, {"iterations": 300}),
    "mnist-logreg": (
        {"sgd": 0.13, "momentum": 0.013, "adagrad": 0.1, "adam": 0.001},
        {"epochs": 20},
    ),
    "mnist-mlp-tanh": ({"sgd": 4e-5}, {"epochs": 20}),
    "mnist-early-stopping": (SGD, {"epochs": 100}),
    "deepobs-mnist-mlp": (DEEPOBS, {"epochs": 100}),
    "deepobs-fmnist-mlp": (DEEPOBS, {"epochs": 100}),
    "deepobs-mnist-logreg": (DEEPOBS, {"epochs": 50}),
}
"""Learning rates, and how long it goes on."""


def settled(name):
    """Return a suite on the embedded data."""
    return resolve(read_suite(name).changed(data="mnist-5k"))


@pytest.mark.parametrize(("name", "options"), NETWORKS.items(), ids=NETWORKS)
def test_a_network_is_its_sources(name, options):
    defaults = {option.name: option.default for option in PROBLEMS[name].options}
    expected = {**PLAIN, **options}
    assert {key: defaults[key] for key in expected} == expected


@pytest.mark.parametrize(("name", "rates", "length"), [(k, *v) for k, v in SUITES.items()])
def test_a_suite_trains_its_problem_as_its_source_does(name, rates, length):
    suite = settled(name)
    (setting,) = suite.problems
    defaults = {option.name: option.default for option in PROBLEMS[name].options}
    assert setting.problem.name == name
    assert setting.problem.settings == {**defaults, "data": "mnist-5k"}
    assert {
        each.name: [one["lr"] for one in each.configurations] for each in setting.optimizers
    } == {optimizer: [lr] for optimizer, lr in rates.items()}
    epochs = length.get("epochs", 0) * setting.problem.iterations_per_epoch
    assert setting.iterations == length.get("iterations", epochs)
    assert suite.seeds == (0,)


def test_the_tanh_network_is_evaluated_every_10_batches():
    (setting,) = settled("mnist-mlp-tanh").problems
    assert setting.rules == Rules(evaluate_every=10)
    assert setting.problem.tensors[0].shape == (784, 300)
    assert [tensor.name for tensor in setting.problem.tensors] == ["dense1.weight", "dense2.weight"]


def test_early_stopping_has_the_tutorials_patience():
    (setting,) = settled("mnist-early-stopping").problems
    assert setting.rules == Rules(patience=5000, patience_increase=2.0, improvement_threshold=0.995)


@pytest.mark.parametrize(
    "name", ["deepobs-mnist-mlp", "deepobs-fmnist-mlp", "deepobs-mnist-logreg", "mnist-logreg"]
)
def test_suites_of_epochs_are_evaluated_each_epoch(name):
    (setting,) = settled(name).problems
    assert setting.rules == Rules(evaluate_every=setting.problem.iterations_per_epoch)


def test_functions_are_all_that_have_a_formula_of_their_own():
    suite = resolve(read_suite("functions"))
    functions = {name for name, kind in PROBLEMS.items() if issubclass(kind, Function)}
    assert {each.problem.name for each in suite.problems} == functions - {"function"}
    for setting in suite.problems:
        names = [each.name for each in setting.optimizers]
        assert names == ["sgd", "momentum", "adagrad", "rmsprop", "adam"]
        assert all(len(each.configurations) == 25 for each in setting.optimizers)
