"""The built-in networks, step by step beside a script in the manner of their sources.

The scripts (:mod:`tests.reference.extended`, :mod:`tests.reference.tutorials`) share no code with
the package. They are given what is random: the start, which images make a batch, and what dropout
keeps.
"""

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from optbench import rng
from optbench.datasets.base import Split
from optbench.engine.stopping import Rules
from optbench.problems.registry import make_problem
from optbench.records import Status
from tests.reference.extended import MultiLayerNetExtend, SimpleConvNet
from tests.reference.optimizers import textbook
from tests.reference.tutorials import TutorialMLP, train_until_patience
from tests.small import run_suite, suite

OPTIMIZERS = ("sgd", "momentum", "adagrad", "adam")
STEPS = 50
BATCH = 32

NETWORKS = {
    "mnist-mlp-sigmoid": {"activation": "sigmoid"},
    "mnist-mlp-dropout": {"dropout_ratio": 0.5},
    "mnist-mlp-batchnorm": {},
    "mnist-mlp-weight-decay": {"weight_decay": 0.1},
}
"""Built-in problems, and what makes the script's network the same."""

LAYERS = {"mnist-cnn": {"conv1": 1, "dense1": 2, "dense2": 3}}
"""Numbers that the script gives layers, where they are not those at the end of the names."""

EXAMPLES = {"train": 500, "validation": 100, "test": 100}
PARTS = {"weight": "W", "bias": "b", "gamma": "gamma", "beta": "beta"}


@pytest.fixture(autouse=True)
def one_thread():
    """Keep NumPy to one thread: matrices as small as these only wait for more."""
    with threadpool_limits(1):
        yield


def built_in(title, examples=EXAMPLES, **options):
    """Return a built-in network on the first of its images, in double precision."""
    problem, _ = make_problem(title, {"dtype": "float64", "data": "mnist-5k", **options})
    splits = {
        name: Split(split.images[: examples[name]], split.labels[: examples[name]])
        for name, split in problem.dataset.splits.items()
    }
    problem.dataset = replace(problem.dataset, splits=splits)
    return problem


def start_of(problem, seed):
    """Return the start that a seed gives, as the script's parameters."""
    row, params, offset = problem.start(seed), {}, 0
    for tensor in problem.tensors:
        layer, part = tensor.name.split(".")
        number = LAYERS.get(problem.name, {}).get(layer, layer[-1])
        values = row[offset : offset + tensor.size].reshape(tensor.shape)
        params[f"{PARTS[part]}{number}"] = values
        offset += tensor.size
    return params


def split_of(problem, name):
    split = problem.dataset.splits[name]
    return split.images / 255.0, split.labels


def steps_of(problem, net, seed, count):
    """Yield the images and labels of each step, and give the network the step's masks."""
    images, labels = split_of(problem, "train")
    for step in range(count):
        block, row = divmod(step, rng.ITERATIONS_PER_BLOCK)
        if row == 0:
            draws = problem.draws(seed, block)
        for number, layer in enumerate(net.dropouts, start=1):
            units = net.params[f"b{number}"].size
            keys = draws[f"dropout{number}"][row : row + 1]
            words = rng.hash_bits(keys, problem.batch_size * units, np)
            layer.mask = (words >= layer.ratio * 2.0**32).reshape(problem.batch_size, units)
        indices = draws["indices"][row]
        yield images[indices], labels[indices]


def trained(problem, net, lane, steps):
    """Train the script's network as a lane was; return rows of loss and penalty."""
    optimizer = textbook(lane.optimizer, lane.hyperparameters)
    before = problem.record == "before"
    rows = []
    for step, (x, t) in enumerate(steps_of(problem, net, lane.seed, steps + before)):
        if before:
            rows.append((net.loss(x, t, train=True), net.penalty()))
        if step < steps:
            net.train(optimizer, x, t)
        if not before:
            rows.append((net.loss(x, t, train=True), net.penalty()))
    return np.array(rows)


def watch_buffers(problem, monkeypatch):
    """Return a dictionary that is filled with all lanes' buffers when a split is evaluated."""
    seen, evaluate = {}, problem.evaluate

    def watching(params, data, split, *, buffers, work):
        seen.update({name: array.copy() for name, array in buffers.items()})
        return evaluate(params, data, split, buffers=buffers, work=work)

    monkeypatch.setattr(problem, "evaluate", watching)
    return seen


def assert_rows(outcome, rows):
    np.testing.assert_allclose(outcome.loss, rows[:, 0], rtol=1e-9)
    if outcome.penalty is None:
        assert not rows[:, 1].any()
    else:
        np.testing.assert_allclose(outcome.penalty, rows[:, 1], rtol=1e-9)


def assert_evaluation(outcome, net, problem):
    loss, error = outcome.evaluations["test"]
    expected_loss, expected_error = net.evaluate(*split_of(problem, "test"))
    assert loss == pytest.approx(expected_loss, rel=1e-9)
    assert error == pytest.approx(expected_error, abs=1e-12)


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_textbooks(name, record):
    problem = built_in(name, batch_size=BATCH, record=record)
    settled = suite(problem, optimizers=OPTIMIZERS, iterations=STEPS, seeds=(3,))
    outcomes = run_suite(settled).values()
    assert [outcome.lane.optimizer for outcome in outcomes] == list(OPTIMIZERS)
    for outcome in outcomes:
        net = MultiLayerNetExtend(start_of(problem, 3), **NETWORKS[name])
        assert_rows(outcome, trained(problem, net, outcome.lane, STEPS))
        assert outcome.result.status is Status.DONE
        assert_evaluation(outcome, net, problem)


def test_each_seed_has_its_own_masks_in_every_block_of_iterations():
    steps = rng.ITERATIONS_PER_BLOCK + 2
    layers = (*["dense 20", "relu", "dropout 0.5"] * 2, "dense 10")
    problem = built_in("mnist-mlp-dropout", layers=layers, batch_size=4, record="before")
    rates = [{"lr": 0.01}, {"lr": 0.001}]
    settled = suite(problem, optimizers=[("sgd", rates)], iterations=steps, seeds=(0, 3))
    outcomes = run_suite(settled).values()
    assert len(outcomes) == 4
    for outcome in outcomes:
        net = MultiLayerNetExtend(start_of(problem, outcome.lane.seed), dropout_ratio=0.5)
        assert_rows(outcome, trained(problem, net, outcome.lane, steps))


@pytest.mark.parametrize("record", ["before", "after"])
def test_running_averages_are_the_textbooks(record, monkeypatch):
    """With momentum: the adaptive rules enlarge the rounding errors that are the gradients of the
    biases before a normalisation, which the running mean sees and nothing else does."""
    problem = built_in("mnist-mlp-batchnorm", batch_size=BATCH, record=record)
    settled = suite(problem, optimizers=["momentum"], iterations=STEPS, seeds=(0, 3))
    seen = watch_buffers(problem, monkeypatch)
    for place, outcome in enumerate(run_suite(settled).values()):
        net = MultiLayerNetExtend(start_of(problem, outcome.lane.seed))
        trained(problem, net, outcome.lane, STEPS)
        assert len(seen) == 2 * len(net.norms) == 8
        for number, norm in net.norms.items():
            for part in ("mean", "var"):
                ours = seen[f"norm{number}.running_{part}"][place]
                np.testing.assert_allclose(ours, getattr(norm, f"running_{part}"), rtol=1e-9)


def test_the_convolutional_network_is_the_textbooks():
    problem = built_in("mnist-cnn", batch_size=8)
    start = start_of(problem, 3)
    pooled = 30 * 12 * 12
    shapes = {"W1": (30, 1, 5, 5), "W2": (pooled, 100), "W3": (100, 10)}
    assert {key: start[key].shape for key in shapes} == shapes
    settled = suite(problem, optimizers=["momentum", "adam"], iterations=4, seeds=(3,))
    for outcome in run_suite(settled).values():
        net = SimpleConvNet(start)
        assert_rows(outcome, trained(problem, net, outcome.lane, 4))
        assert_evaluation(outcome, net, problem)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "patience", "increase", "threshold", "rates"),
    [
        (30, 61, 2.0, 0.995, (0.01, 0.05, 0.3)),
        (30, 61, 1.5, 0.9, (0.03, 0.1, 0.5)),
        (500, 400, 2.0, 0.995, (0.1,)),  # as built in; looks once an epoch
    ],
)
def test_early_stopping_is_the_tutorials(units, patience, increase, threshold, rates):
    layers = (f"dense {units} init=glorot-uniform", "tanh", "dense 10 init=zeros")
    examples = EXAMPLES | {"train": 3500}
    problem = built_in("mnist-early-stopping", examples, layers=layers)
    epochs = 2
    settled = suite(
        problem,
        optimizers=[("sgd", [{"lr": lr} for lr in rates])],
        iterations=epochs * problem.iterations_per_epoch,
        seeds=(3,),
        rules=Rules(patience=patience, patience_increase=increase, improvement_threshold=threshold),
    )
    ends = []
    for outcome, lr in zip(run_suite(settled).values(), rates, strict=True):
        expected = train_until_patience(
            TutorialMLP(start_of(problem, 3), l2=1e-4),
            [split_of(problem, name) for name in EXAMPLES],
            lr=lr,
            epochs=epochs,
            patience=patience,
            patience_increase=increase,
            improvement_threshold=threshold,
        )
        assert_stopped_as(outcome, expected)
        ends.append(len(expected.rows))
    assert len(set(ends)) == len(rates)


def made_up(**shapes):
    """Return parameters of these shapes, six images of 36 pixels, and labels of three classes."""
    generator = np.random.default_rng(5)
    params = {key: generator.normal(size=shape) for key, shape in shapes.items()}
    return params, generator.normal(size=(6, 36)), generator.integers(3, size=6)


def test_gradients_of_the_scripts_are_central_differences():
    shapes = {"W1": (36, 5), "b1": 5, "gamma1": 5, "beta1": 5, "W2": (5, 3), "b2": 3}
    params, x, t = made_up(**shapes)
    dense = MultiLayerNetExtend(params, "sigmoid", dropout_ratio=0.3, weight_decay=0.2, log_eps=0)
    dense.dropouts[0].mask = np.arange(30).reshape(6, 5) % 3 > 0
    assert_gradients(dense.params, lambda: dense.loss(x, t, train=True), dense.gradient(x, t))
    shapes = {"W1": (2, 1, 3, 3), "b1": 2, "W2": (8, 4), "b2": 4, "W3": (4, 3), "b3": 3}
    params, x, t = made_up(**shapes)
    images = SimpleConvNet(params, image=(1, 6, 6), log_eps=0)
    assert_gradients(images.params, lambda: images.loss(x, t, train=True), images.gradient(x, t))
    start, x, t = made_up(W1=(36, 5), b1=5, W2=(5, 3), b2=3)
    mlp = TutorialMLP(start, l2=0.1)
    mlp.train(x, t, lr=1.0)
    steps = {key: start[key] - mlp.params[key] for key in start}
    assert_gradients(start, lambda: TutorialMLP(start, l2=0.1).train(x, t, lr=0.0)[0], steps)


def assert_gradients(params, loss, grads, h=1e-5):
    assert grads.keys() == params.keys()
    for key, param in params.items():
        for index in np.ndindex(param.shape):
            value = param[index]
            param[index] = value + h
            above = loss()
            param[index] = value - h
            slope = (above - loss()) / (2 * h)
            param[index] = value
            assert grads[key][index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def assert_stopped_as(outcome, expected):
    """Same rows, same looks, same end, and the test split as it was at the best look."""
    result, updates = outcome.result, len(expected.rows)
    assert result.iterations == updates
    if expected.ended:
        assert (result.status, result.stopped_at) == (Status.STOPPED, updates - 1)
    else:
        assert (result.status, result.stopped_at) == (Status.DONE, None)
    assert len(outcome.loss) == updates + (not expected.ended)  # done: a row after the last update
    rows = np.array(expected.rows)
    np.testing.assert_allclose(outcome.loss[:updates], rows[:, 0], rtol=1e-9)
    np.testing.assert_allclose(outcome.penalty[:updates], rows[:, 1], rtol=1e-9)
    evaluated = outcome.evaluated.items()
    looks = {at: error for (split, at), (_, error) in evaluated if split == "validation"}
    assert looks == expected.validation
    assert [at for split, at in outcome.evaluated if split == "test"] == [expected.best_updates]
    loss, error = outcome.evaluated["test", expected.best_updates]
    assert loss == pytest.approx(expected.test[0], rel=1e-9)
    assert error == expected.test[1]
