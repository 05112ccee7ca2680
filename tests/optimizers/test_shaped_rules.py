"""Rules that look at tensors follow the papers' algorithms, written plainly."""

import numpy as np
import pytest

from optbench.arrays import Tensor, Workspace, inner, lane_sum
from optbench.optimizers.base import Task
from optbench.optimizers.registry import OPTIMIZERS
from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.muon import Muon, fans, hidden_matrices, orthogonalize
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD, raised
from tests.optimizers.driver import (
    BOUNDS,
    Driver,
    Recording,
    largest_difference,
    settings,
    worst,
)
from tests.optimizers.shaped import CONFIGURATIONS, RECORDINGS, following, network, quadratic
from tests.reference import papers
from tests.strict import StrictDevice

HIDDEN = {"a.weight": "b.weight", "W1": "W2 W3"}


def muon(start, **given):
    return papers.Muon(start, HIDDEN[next(iter(start))].split(), **given)


def schedule_free(start, **given):
    beta = given.pop("momentum") if "momentum" in given else given.pop("beta1")
    return papers.ScheduleFree(start, beta=beta, **given)


PLAIN = {
    LARS: papers.LARS,
    LAMB: papers.LAMB,
    Muon: muon,
    ScheduleFreeSGD: schedule_free,
    ScheduleFreeAdamW: schedule_free,
    Prodigy: papers.Prodigy,
}

CASES = {
    LARS: [{}, {"lr": 20.0}, {"weight_decay": 0.2, "momentum": 0.5}, {"lr": 5.0, "eps": 0.3}],
    LAMB: [{}, {"lr": 0.05}, {"weight_decay": 0.2, "beta1": 0.5, "beta2": 0.9}, {"eps": 0.01}],
    Muon: [{}, {"lr": 0.1}, {"weight_decay": 0.2, "nesterov": 0.0}, {"eps": 0.01, "ns_eps": 3.0}],
    ScheduleFreeSGD: [
        {"lr": 0.2},
        {"lr": 0.05, "r": 1.5},
        {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.5},
        {"lr": 0.1, "weight_lr_power": 0.5},
    ],
    ScheduleFreeAdamW: [
        {},
        {"lr": 0.05, "r": 1.5},
        {"weight_decay": 0.2, "beta1": 0.5, "beta2": 0.9},
        {"eps": 0.01, "weight_lr_power": 0.5},
    ],
}


def plain_path(optimizer, evaluated=False):
    def path(given, recording, dtype):
        # While w is near the start, w₀ − w is what rounding makes of it.
        kind = dtype if optimizer is Prodigy else "float64"
        rule = PLAIN[optimizer](recording.split(recording.start.astype(kind)), **given)
        rows = []
        for row in recording.gradients.astype(kind):
            rule.step(recording.split(row))
            seen = rule.x if evaluated else rule.w
            rows.append(np.concatenate([each.ravel() for each in seen.values()]))
        return np.array(rows)

    return path


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", CASES, ids=lambda each: each.name)
def test_the_path_is_that_of_the_paper(optimizer, name, dtype):
    difference = largest_difference(
        optimizer, CASES[optimizer], plain_path(optimizer), RECORDINGS[name], dtype
    )
    assert difference < BOUNDS[dtype]


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", [ScheduleFreeSGD, ScheduleFreeAdamW])
def test_what_is_evaluated_is_the_average(optimizer, name):
    difference = largest_difference(
        optimizer,
        CASES[optimizer],
        plain_path(optimizer, evaluated=True),
        RECORDINGS[name],
        "float64",
        evaluated=True,
    )
    assert difference < BOUNDS["float64"]


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("record", [quadratic, network])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"lr": 0.5, "d_coef": 2.0},
        {"d0": 1e-3, "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.99},
        {"d0": 1e-2, "eps": 1e-3, "safeguard_warmup": 1.0, "bias_correction": 1.0},
    ],
    ids=str,
)
def test_prodigy_follows_the_authors_package_along_its_own_path(given, record, dtype):
    recording = record(following(papers.Prodigy, Prodigy, given))
    difference = largest_difference(Prodigy, [given], plain_path(Prodigy), recording, dtype)
    assert difference < BOUNDS[dtype]


def test_prodigy_finds_the_distance_to_the_minimum():
    """From d0 = 1e-6, d grows to the order of the distance, and the minimum is approached."""
    recording = quadratic(following(papers.Prodigy, Prodigy, {}))
    lanes = Driver(Prodigy, [{}], recording)
    lanes.path(recording.gradients)
    distance = float(lanes.state["distance"][0, 0])
    farthest = np.abs(recording.start - recording.start.mean()).max()
    assert 0.01 * farthest < distance < 10 * farthest


@pytest.mark.parametrize(
    ("optimizer", "factors"),
    [
        (ScheduleFreeSGD, [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.0, 0.1]),
        (ScheduleFreeAdamW, [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.3, 0.2, 0.1, 0.0]),
    ],
)
def test_weights_of_the_average_take_the_largest_learning_rate_so_far(optimizer, factors):
    recording = RECORDINGS["network"]
    for given in CASES[optimizer]:
        lanes = Driver(optimizer, [given], recording)
        rule = schedule_free(recording.split(recording.start), **settings(optimizer, given))
        for row, factor in zip(recording.gradients, factors, strict=False):
            lanes.step(row, factor)
            rule.step(recording.split(row), factor)
        for found, expected in ((lanes.rows(), rule.w), (lanes.evaluated(), rule.x)):
            row = np.concatenate([each.ravel() for each in expected.values()])
            assert worst(recording, found[0], row) < 1e-10


def test_powers_that_overflow_are_infinite():
    assert raised(np.array([[1e200], [3.0]]), np.array([[2.0], [2.0]])).tolist() == [
        [np.inf],
        [9.0],
    ]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_singular_values_come_near_1_and_vectors_stay(shape):
    matrices = (
        np.random.default_rng(1).normal(size=(3, *shape)) * np.array([1, 1e-3, 50])[:, None, None]
    )
    found = orthogonalize(matrices, np.full((3, 1), 1e-7), Workspace(np, writes_out=True))
    for matrix, ours in zip(matrices, found, strict=True):
        np.testing.assert_allclose(ours, papers.newton_schulz(matrix, 1e-7), atol=1e-10)
        values = np.linalg.svd(ours, compute_uv=False)
        assert 0.5 < values.min() <= values.max() < 1.25


def test_the_middle_weights_are_hidden_and_filters_among_them():
    shapes = {
        "conv1.weight": (4, 1, 3, 3),
        "conv1.bias": (4,),
        "conv2.weight": (8, 4, 3, 3),
        "norm1.gamma": (8,),
        "dense1.weight": (32, 6),
        "dense2.weight": (6, 3),
    }
    tensors = [Tensor(name, shape) for name, shape in shapes.items()]
    assert hidden_matrices(tensors) == ("conv2.weight", "dense1.weight")
    assert hidden_matrices([tensors[0], tensors[1], tensors[5]]) == ()
    assert hidden_matrices([Tensor("x"), Tensor("y")]) == ()
    assert [fans(shape) for shape in shapes.values() if len(shape) > 1] == [
        (9, 4),
        (36, 8),
        (32, 6),
        (6, 3),
    ]


def test_filters_are_matrices_of_as_many_rows():
    shapes = {"conv1.weight": (2, 1, 2, 2), "conv2.weight": (20, 2, 2, 2), "out.weight": (5, 3)}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    size = sum(tensor.size for tensor in tensors)
    rng = np.random.default_rng(4)
    recording = Recording(tensors, rng.normal(size=size), rng.normal(size=(50, size)))

    def theirs(given, recording, dtype):
        rule = papers.Muon(recording.split(recording.start), ["conv2.weight"], **given)
        rows = []
        for row in recording.gradients:
            rule.step(recording.split(row))
            rows.append(np.concatenate([each.ravel() for each in rule.w.values()]))
        return np.array(rows)

    for dtype, bound in BOUNDS.items():
        assert largest_difference(Muon, CASES[Muon], theirs, recording, dtype) < bound


def test_without_hidden_matrices_muon_is_adamw():
    shapes = {"dense1.weight": (2, 3), "dense1.bias": (3,), "dense2.weight": (3, 2)}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    rng = np.random.default_rng(5)
    recording = Recording(tensors, rng.normal(size=15), rng.normal(size=(50, 15)))
    given = {"lr": 0.1, "adam_ratio": 0.5, "weight_decay": 0.2}
    found = Driver(Muon, [given], recording).path(recording.gradients)[:, 0]
    pairs = zip(recording.start.tolist(), recording.gradients.T.tolist(), strict=True)
    expected = [list(papers.adamw(w, g, 0.05, 0.9, 0.95, 1e-10, 0.2)) for w, g in pairs]
    np.testing.assert_allclose(found.T, expected, rtol=1e-11)


LAYERS = {"dense1.weight": (2, 3), "dense1.bias": (3,), "dense2.weight": (3, 2)}


def task(shapes, **others):
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    given = {"dtype": "float64", "minibatch": True, "configurations": [{}], **others}
    return Task("mine", "small", tensors, **given)


def test_muon_says_where_there_are_no_hidden_matrices():
    notice = "mine on small has no hidden matrices: every tensor is updated by AdamW"
    assert Muon().fit(task(LAYERS)) == (notice,)
    assert Muon().fit(task({"x": (), "y": ()})) == (notice,)
    assert Muon().fit(task({**LAYERS, "dense3.weight": (2, 2)})) == ()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=lambda each: each.name)
def test_rules_for_the_full_batch_say_so_on_minibatches(optimizer):
    shapes = {**LAYERS, "dense3.weight": (2, 2)}
    said = optimizer().fit(task(shapes))
    assert optimizer().fit(task(shapes, minibatch=False)) == ()
    assert len(said) == optimizer.full_batch
    assert all("mine on small is meant for the full batch" in notice for notice in said)


@pytest.mark.parametrize("optimizer", [LARS, LAMB])
def test_the_size_of_a_step_is_in_proportion_to_the_parameters(optimizer):
    """The first step of each tensor is lr (times trust) of its norm, whatever the gradient."""
    recording = RECORDINGS["quadratic"]
    for scale in (1e-3, 1.0, 1e3):
        lanes = Driver(
            optimizer, [{"lr": 0.5, **({} if optimizer is LAMB else {"trust": 0.01})}], recording
        )
        after = recording.split(lanes.step(scale * recording.gradients[0])[0])
        for name, before in recording.split(recording.start).items():
            moved = np.linalg.norm(after[name] - before) / np.linalg.norm(before)
            assert moved == pytest.approx(0.5 if optimizer is LAMB else 0.005, rel=1e-10)


def test_sums_within_lanes():
    a, b = np.random.default_rng(2).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(lane_sum(a, np)[:, 0], a.reshape(3, -1).sum(axis=1))
    np.testing.assert_allclose(inner(a, b, np)[:, 0], np.einsum("lij,lij->l", a, b))


# However they are run, and whatever they are given

NETWORK = RECORDINGS["network"]
every_rule = pytest.mark.parametrize("optimizer", CONFIGURATIONS, ids=lambda each: each.name)


@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("optimizer", [LARS, LAMB, Muon, Prodigy], ids=lambda each: each.name)
def test_products_of_larger_matrices_do_not_depend_on_the_company(optimizer, by_coordinate):
    """They go to BLAS, or not, as the storage allows."""
    shapes = {"in.weight": (2, 40), "hidden.weight": (40, 33), "out.weight": (33, 2)}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    rng = np.random.default_rng(8)
    size = sum(tensor.size for tensor in tensors)
    recording = Recording(tensors, rng.normal(size=size), rng.normal(size=(3, size)))
    options = {"dtype": "float32", "by_coordinate": by_coordinate}
    configurations = CONFIGURATIONS[optimizer]
    together = Driver(optimizer, configurations, recording, **options).path(recording.gradients)
    for lane, given in enumerate(configurations):
        alone = Driver(optimizer, [given], recording, **options).path(recording.gradients)
        assert together[:, lane].tobytes() == alone[:, 0].tobytes()


@pytest.mark.parametrize("by_coordinate", [False, True])
@every_rule
def test_any_namespace_of_the_standard_follows_numpy(optimizer, by_coordinate):
    configurations = CONFIGURATIONS[optimizer]
    numpy = Driver(optimizer, configurations, NETWORK)
    strict = Driver(
        optimizer, configurations, NETWORK, by_coordinate=by_coordinate, device=StrictDevice()
    )
    np.testing.assert_allclose(
        strict.path(NETWORK.gradients[:20]),
        numpy.path(NETWORK.gradients[:20]),
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(strict.evaluated(), numpy.evaluated(), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_rule
def test_gradients_of_zero_leave_parameters_where_they_are(optimizer, dtype):
    """Some parameters are 0 as well, and some lanes decay."""
    lanes = Driver(optimizer, CONFIGURATIONS[optimizer], NETWORK, dtype=dtype)
    decays = [given.get("weight_decay", 0.0) for given in CONFIGURATIONS[optimizer]]
    start = lanes.rows()
    for _ in range(3):
        found = lanes.step(np.zeros_like(NETWORK.start))
        assert np.isfinite(found).all()
        for lane, decay in enumerate(decays):
            if decay == 0.0:
                assert (found[lane] == start[lane]).all()
                assert (lanes.evaluated()[lane] == start[lane]).all()
    for row in NETWORK.gradients[:5]:
        found = lanes.step(row)
    assert np.isfinite(found).all()
    assert (found != start).any(axis=1).all()


@every_rule
def test_a_start_at_zero_can_be_left(optimizer):
    start = np.zeros_like(NETWORK.start)
    recording = Recording(NETWORK.tensors, start, NETWORK.gradients)
    lanes = Driver(optimizer, CONFIGURATIONS[optimizer], recording)
    assert np.isfinite(lanes.path(NETWORK.gradients[:3])).all()
    assert (lanes.rows() != 0.0).any(axis=1).all()
