"""What all rules promise that look at tensors, or at all parameters of a lane."""

import numpy as np
import pytest

from optbench.arrays import Tensor
from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.muon import Muon
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.shaped import RECORDINGS, Lanes, Recording
from tests.strict import StrictDevice

CONFIGURATIONS = {
    LARS: [{}, {"lr": 9.0, "momentum": 0.5}, {"weight_decay": 0.1}, {"trust": 0.1, "eps": 1.0}],
    LAMB: [{}, {"lr": 0.1}, {"weight_decay": 0.1, "beta1": 0.5}, {"beta2": 0.9, "eps": 0.1}],
    Muon: [{}, {"lr": 0.1, "nesterov": 0.0}, {"weight_decay": 0.1}, {"beta1": 0.5, "eps": 0.1}],
    ScheduleFreeSGD: [{}, {"lr": 0.1, "r": 1.0}, {"weight_decay": 0.1}, {"momentum": 0.5}],
    ScheduleFreeAdamW: [{}, {"lr": 0.1, "r": 2.0}, {"weight_decay": 0.1}, {"beta2": 0.5}],
    Prodigy: [{"d0": 0.1}, {"d0": 0.01}, {"weight_decay": 0.1}, {"bias_correction": 1.0}],
}
OPTIMIZERS = pytest.mark.parametrize("optimizer", CONFIGURATIONS, ids=lambda each: each.name)
NETWORK = RECORDINGS["network"]
UPDATES = 20


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("by_coordinate", [False, True])
@pytest.mark.parametrize("name", RECORDINGS)
@OPTIMIZERS
def test_a_lane_alone_has_the_bits_that_it_has_among_others(optimizer, name, by_coordinate, dtype):
    options = {"dtype": dtype, "by_coordinate": by_coordinate}
    configurations = CONFIGURATIONS[optimizer]
    together = Lanes(optimizer, configurations, RECORDINGS[name], **options).path(UPDATES)
    assert np.isfinite(together).all()
    for lane, given in enumerate(configurations):
        alone = Lanes(optimizer, [given], RECORDINGS[name], **options).path(UPDATES)
        assert together[:, lane].tobytes() == alone[:, 0].tobytes()


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
    together = Lanes(optimizer, configurations, recording, **options).path(3)
    for lane, given in enumerate(configurations):
        alone = Lanes(optimizer, [given], recording, **options).path(3)
        assert together[:, lane].tobytes() == alone[:, 0].tobytes()


@pytest.mark.parametrize("by_coordinate", [False, True])
@OPTIMIZERS
def test_any_namespace_of_the_standard_follows_numpy(optimizer, by_coordinate):
    configurations = CONFIGURATIONS[optimizer]
    numpy = Lanes(optimizer, configurations, NETWORK)
    strict = Lanes(
        optimizer, configurations, NETWORK, by_coordinate=by_coordinate, device=StrictDevice()
    )
    np.testing.assert_allclose(strict.path(UPDATES), numpy.path(UPDATES), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(strict.evaluated(), numpy.evaluated(), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@OPTIMIZERS
def test_gradients_of_zero_leave_parameters_where_they_are(optimizer, dtype):
    """Some parameters are 0 as well, and some lanes decay."""
    lanes = Lanes(optimizer, CONFIGURATIONS[optimizer], NETWORK, dtype=dtype)
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


@OPTIMIZERS
def test_a_start_at_zero_can_be_left(optimizer):
    start = np.zeros_like(NETWORK.start)
    lanes = Lanes(
        optimizer,
        CONFIGURATIONS[optimizer],
        Recording(NETWORK.tensors, start, NETWORK.gradients),
    )
    assert np.isfinite(lanes.path(3)).all()
    assert (lanes.rows() != 0.0).any(axis=1).all()


@OPTIMIZERS
def test_a_learning_rate_of_zero_leaves_parameters_alone(optimizer):
    lanes = Lanes(optimizer, [{"lr": 0.0}, {}], NETWORK)
    path = lanes.path(5)
    assert (path[:, 0] == NETWORK.start).all()
    assert (lanes.evaluated()[0] == NETWORK.start).all()


@OPTIMIZERS
def test_gradients_are_only_read(optimizer):
    lanes = Lanes(optimizer, CONFIGURATIONS[optimizer], NETWORK)
    lanes.step(NETWORK.gradients[0])
    assert (lanes.grads.rows == NETWORK.gradients[0]).all()


@OPTIMIZERS
def test_columns_of_a_stretch_of_updates_are_those_of_each_alone(optimizer):
    given = Lanes(optimizer, CONFIGURATIONS[optimizer], NETWORK).hyperparameters
    rates = given["lr"] * np.linspace(1.0, 0.1, 5)[:, None, None]
    stretch = optimizer().columns({**given, "lr": rates}, range(9, 14))
    for row, t in enumerate(range(9, 14)):
        alone = optimizer().columns({**given, "lr": rates[row : row + 1]}, range(t, t + 1))
        for name, column in stretch.items():
            assert column.shape[0] in (1, 5)
            assert column.shape[1] in (1, 4)
            assert column.shape[2] == 1
            whole = np.broadcast_to(column, (5, 4, 1))
            assert whole[row].tobytes() == np.broadcast_to(alone[name], (1, 4, 1))[0].tobytes()


@OPTIMIZERS
def test_state_taken_over_goes_on_as_before(optimizer):
    """Steps of lanes whose arrays were copied into new ones, as when others leave a block."""
    lanes = Lanes(optimizer, CONFIGURATIONS[optimizer], NETWORK)
    lanes.path(7)
    rest = Lanes(optimizer, CONFIGURATIONS[optimizer][1:3], NETWORK)
    rest.params.rows[...] = lanes.params.rows[1:3]
    for name, slot in lanes.state.items():
        rest.state[name][...] = slot[1:3]
    rest._t = lanes._t
    for row in NETWORK.gradients[7:12]:
        assert rest.step(row).tobytes() == lanes.step(row)[1:3].tobytes()


@OPTIMIZERS
def test_an_optimizer_says_what_it_does(optimizer):
    assert "Source:" in optimizer.__doc__
    assert "w ← w" in optimizer.summary
    assert optimizer.source
    assert optimizer.partner
    assert set(optimizer.copies) <= set(optimizer.slots)
    for each in optimizer.hyperparameters:
        assert each.meaning
        assert each.check(each.default) == each.default
