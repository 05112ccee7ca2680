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
    "split": "own",
    "layers": five("relu"),
    "loss": "cross-entropy",
    "log_eps": 1e-7,
    "init": "he",
    "init_std": 0.01,
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
    **{name: (TEXTBOOK, {"iterations": 2000}) for name in tuple(NETWORKS)[:5]},
    "mnist-cnn": (TEXTBOOK, {"iterations": 300}),
    "mnist-logreg": (
        {"sgd": 0.13, "momentum": 0.013, "adagrad": 0.1, "adam": 0.001},
        {"epochs": 20},
    ),
    "mnist-mlp-tanh": ({"sgd": 4e-5}, {"epochs": 20}),
    "mnist-early-stopping": (SGD, {"epochs": 100}),
    **dict.fromkeys(("deepobs-mnist-mlp", "deepobs-fmnist-mlp"), (DEEPOBS, {"epochs": 100})),
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
    entries = setting.optimizers
    found = [(entry.name, [made["lr"] for made in entry.configurations]) for entry in entries]
    assert found == [(optimizer, [lr]) for optimizer, lr in rates.items()]
    epochs = length.get("epochs", 0) * setting.problem.iterations_per_epoch
    assert setting.iterations == length.get("iterations", epochs)
    assert suite.seeds == (0,)


TUTORIAL = Rules(patience=5000, patience_increase=2.0, improvement_threshold=0.995)
RULES = {
    "mnist-mlp-tanh": Rules(evaluate_every=10),
    "mnist-early-stopping": TUTORIAL,
    **dict.fromkeys([name for name in SUITES if "deepobs" in name or "logreg" in name], "epoch"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_suite_is_evaluated_and_ends_as_its_source_says(name):
    (setting,) = settled(name).problems
    each_epoch = Rules(evaluate_every=setting.problem.iterations_per_epoch)
    assert setting.rules == (each_epoch if RULES[name] == "epoch" else RULES[name])


def test_the_tanh_network_has_no_biases():
    (setting,) = settled("mnist-mlp-tanh").problems
    tensors = [(tensor.name, tensor.shape) for tensor in setting.problem.tensors]
    assert tensors == [("dense1.weight", (784, 300)), ("dense2.weight", (300, 10))]


def test_functions_are_all_that_have_a_formula_of_their_own():
    suite = resolve(read_suite("functions"))
    functions = {name for name, kind in PROBLEMS.items() if issubclass(kind, Function)}
    assert {each.problem.name for each in suite.problems} == functions - {"function"}
    for setting in suite.problems:
        names = [each.name for each in setting.optimizers]
        assert names == ["sgd", "momentum", "adagrad", "rmsprop", "adam"]
        assert all(len(each.configurations) == 25 for each in setting.optimizers)
