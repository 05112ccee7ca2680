"""What every rule of the package promises, at four settings of its hyperparameters."""

import numpy as np
import pytest

from optbench.optimizers.base import Elementwise
from optbench.optimizers.registry import OPTIMIZERS, get_optimizer
from tests.optimizers import elementwise, shaped
from tests.optimizers.driver import BOUNDS, ELEMENTWISE, Driver, hyperparameters_of

CONFIGURATIONS = {
    **{name: elementwise.cases(name) for name in ELEMENTWISE},
    **{rule.name: given for rule, given in shaped.CONFIGURATIONS.items()},
}
RECORDINGS = {
    name: [elementwise.RECORDINGS["quadratic"]]
    if name in ELEMENTWISE
    else [*shaped.RECORDINGS.values()]
    for name in OPTIMIZERS
}

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def lanes_of(name: str, **how) -> Driver:
    return Driver(name, CONFIGURATIONS[name], RECORDINGS[name][-1], **how)


@every_optimizer
def test_an_optimizer_says_what_it_is(name):
    optimizer = get_optimizer(name)
    assert optimizer.name == name
    assert "w ← w" in optimizer.summary
    assert "Source:" in type(optimizer).__doc__
    assert optimizer.source
    assert set(optimizer.copies) <= set(optimizer.slots)
    assert isinstance(optimizer, Elementwise) or optimizer.partner
    names = [each.name for each in optimizer.hyperparameters]
    assert names[0] == "lr"
    assert len(set(names)) == len(names)
    for each in optimizer.hyperparameters:
        assert each.meaning
        assert each.check(each.default) == each.default


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("by_coordinate", [False, True])
@every_optimizer
def test_a_lane_alone_has_the_bits_that_it_has_among_others(name, by_coordinate, dtype):
    for recording in RECORDINGS[name]:
        how = {"by_coordinate": by_coordinate, "dtype": dtype}
        gradients = recording.gradients[:20]
        together = Driver(name, CONFIGURATIONS[name], recording, **how).path(gradients)
        assert np.isfinite(together).all()
        for lane, given in enumerate(CONFIGURATIONS[name]):
            alone = Driver(name, [given], recording, **how).path(gradients)
            assert together[:, lane].tobytes() == alone[:, 0].tobytes()


@every_optimizer
def test_state_taken_over_goes_on_as_before(name):
    """Lanes whose arrays were copied into new ones, as when others leave a block."""
    recording, lanes = RECORDINGS[name][-1], lanes_of(name)
    lanes.path(recording.gradients[:7])
    rest = Driver(
        name,
        CONFIGURATIONS[name][1:3],
        lanes.rows()[1:3],
        tensors=recording.tensors,
        state={slot: array[1:3] for slot, array in lanes.state.items()},
        updates=7,
    )
    for gradient in recording.gradients[7:12]:
        assert rest.step(gradient).tobytes() == lanes.step(gradient)[1:3].tobytes()


@every_optimizer
def test_gradients_are_only_read(name):
    lanes, gradient = lanes_of(name), RECORDINGS[name][-1].gradients[0]
    lanes.step(gradient)
    assert (lanes.grads.rows == gradient).all()


def scales_steps(name: str) -> bool:
    """Return whether lr counts beyond the first update."""
    optimizer = get_optimizer(name)
    lanes = Driver(optimizer, [{"lr": 0.0}, {"lr": 0.1}], np.zeros(1))
    columns = optimizer.columns(lanes.hyperparameters, range(2, 3)).values()
    return any(len(np.unique(np.broadcast_to(each, (1, 2, 1)))) == 2 for each in columns)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if scales_steps(name)])
def test_a_learning_rate_of_zero_leaves_parameters_alone(name):
    recording = RECORDINGS[name][-1]
    lanes = Driver(name, [{"lr": 0.0}, {"lr": 0.1}], recording)
    path = lanes.path(recording.gradients[:10])
    assert (path[:, 0] == recording.start).all()
    assert (lanes.evaluated()[0] == recording.start).all()
    moved = path[-1, 1] != recording.start
    assert moved.all() if name in ELEMENTWISE else moved.any()


@every_optimizer
def test_columns_of_a_stretch_of_updates_are_those_of_each_alone(name):
    """Whatever the learning rate of each update is."""
    optimizer, lanes = get_optimizer(name), lanes_of(name)
    factors = np.linspace(1.0, 0.1, 8)[:, None, None]
    scheduled = {**lanes.hyperparameters, "lr": lanes.hyperparameters["lr"] * factors}
    for given in (lanes.hyperparameters, scheduled):
        stretch = optimizer.columns(given, range(1, 9))
        for row, t in enumerate(range(1, 9)):
            rates = given["lr"][row : row + 1] if given is scheduled else given["lr"]
            alone = optimizer.columns({**given, "lr": rates}, range(t, t + 1))
            assert alone.keys() == stretch.keys()
            for key, columns in stretch.items():
                assert columns.dtype == np.float64
                for axis, most in zip(columns.shape, (8, 4, 1), strict=True):
                    assert axis in (1, most)
                whole = np.broadcast_to(columns, (8, 4, 1))[row]
                assert np.broadcast_to(alone[key], (1, 4, 1))[0].tobytes() == whole.tobytes()


def test_hyperparameters_of_lanes_are_columns():
    optimizer = get_optimizer("adam")
    complete = [{**{each.name: each.default for each in optimizer.hyperparameters}, "lr": 0.5}]
    assert hyperparameters_of(optimizer, complete)["lr"].tolist() == [[[0.5]]]
