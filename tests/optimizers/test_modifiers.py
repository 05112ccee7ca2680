"""Schedules, decay and clipping are the same for every optimizer, lane by lane."""

import math

import numpy as np
import pytest

from optbench.arrays import inner
from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer
from optbench.runs.layout import lay_out
from optbench.schedules import SCHEDULES, learning_rate_factors
from tests.small import anisotropic, blocks_of, run_suite, small_network, suite
from tests.strict import StrictDevice

N = 40


def by_hand(given, u):
    """The factor of update u, from 0, as the manual states it."""
    warmup, every = given.get("warmup", 0), given.get("schedule_every", 1000)
    decay, floor = given.get("schedule_decay", 0.1), given.get("schedule_floor", 0.0)
    if u < warmup:
        return (u + 1) / warmup
    v = u - warmup
    p, n = v / (N - warmup), v / every
    return {
        "constant": 1.0,
        "linear": 1 - (1 - floor) * p,
        "cosine": floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * p)),
        "step": decay ** (v // every),
        "exponential": decay**n,
        "1/t": 1 / (1 + decay * n),
    }[given.get("schedule", "constant")]


GIVEN = [
    {"schedule": kind, **more}
    for kind in SCHEDULES
    for more in (
        {},
        {"warmup": 7},
        *([] if kind == "constant" else [{"schedule_every": 9, "schedule_decay": 0.5}]),
        *([] if kind == "constant" else [{"warmup": 3, "schedule_floor": 0.2}]),
    )
]


@pytest.mark.parametrize("given", GIVEN, ids=str)
def test_factors_are_what_the_manual_says_wherever_a_chunk_starts(given):
    found = learning_rate_factors(given, range(1, N + 1), N)
    assert found == pytest.approx([by_hand(given, u) for u in range(N)], rel=1e-14)
    later = learning_rate_factors(given, range(17, 23), N)
    assert later.tolist() == found[16:22].tolist()


def path(lr, change, given, steps=N):
    """Gradient descent on the anisotropic function, by hand."""
    w = np.array([-7.0, 2.0])
    losses = []
    for u in range(steps + 1):
        losses.append(w[0] ** 2 / 20 + w[1] ** 2)
        gradient = np.array([w[0] / 10, 2 * w[1]])
        rate = lr * by_hand(given, u)
        w, gradient = change(w, gradient, rate)
        w = w - rate * gradient
    return losses


def clipped(norm):
    return lambda w, g, rate: (w, g * min(1.0, norm / np.sqrt((g * g).sum())))


CASES = [
    ({"schedule": "cosine", "warmup": 5}, lambda w, g, rate: (w, g)),
    ({"l2": 0.3}, lambda w, g, rate: (w, g + 0.3 * w)),
    ({"weight_decay": 0.2}, lambda w, g, rate: (w * (1 - rate * 0.2), g)),
    ({"weight_decay": 0.2, "schedule": "linear"}, lambda w, g, rate: (w * (1 - rate * 0.2), g)),
    ({"clip_norm": 0.5}, clipped(0.5)),
    ({"clip_value": 0.3}, lambda w, g, rate: (w, np.clip(g, -0.3, 0.3))),
    (
        {"clip_norm": 0.5, "l2": 0.3},
        lambda w, g, rate: (w, clipped(0.5)(w, g, rate)[1] + 0.3 * w),
    ),
]


@pytest.mark.parametrize(("given", "change"), CASES, ids=[str(given) for given, _ in CASES])
@pytest.mark.parametrize("device", [NumpyDevice, StrictDevice])
def test_sgd_with_each_is_that_written_by_hand(given, change, device):
    entry = ("sgd", [{"lr": 0.3, **given}])
    (lane,) = run_suite(
        suite(anisotropic(), optimizers=[entry], iterations=N), device=device()
    ).values()
    assert lane.loss == pytest.approx(path(0.3, change, given), rel=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_lanes_that_have_them_change_nothing_for_those_that_have_not(name):
    some = [{}, {"schedule": "cosine"}, {"l2": 0.01}, {"clip_norm": 0.1}, {"weight_decay": 0.1}]
    together = run_suite(suite(small_network(), optimizers=[(name, some)], iterations=12))
    bits = set()
    for number, given in enumerate(some):
        lane = together[number]
        alone = run_suite(suite(small_network(), optimizers=[(name, [given])], iterations=12))
        assert next(iter(alone.values())).bits == lane.bits
        bits.add(lane.loss.tobytes())
    if name == "sgd":  # signs alone do not see a gradient's length
        assert len(bits) == len(some)


def test_a_gradient_within_its_bounds_keeps_its_bits():
    loose = {"clip_norm": 1e6, "clip_value": 1e6}
    both = [
        run_suite(suite(small_network(), optimizers=[("adam", [each])])) for each in ({}, loose)
    ]
    plain, bounded = (next(iter(outcome.values())).loss.tolist() for outcome in both)
    assert plain == bounded


def test_only_those_given_are_recorded_and_make_another_key():
    plain = complete_hyperparameters(get_optimizer("adam"), {})
    assert not plain.keys() & COMMON.keys()
    scheduled = complete_hyperparameters(get_optimizer("adam"), {"schedule": "cosine", "warmup": 3})
    assert scheduled == {**plain, "schedule": "cosine", "warmup": 3.0}
    settled = suite(anisotropic(), optimizers=[("adam", [{}, {"warmup": 3}, {"warmup": 4}])])
    assert len({lane.key for lane in lay_out(settled, "cpu")}) == 3
    (block,) = blocks_of(settled)
    assert [len(group.lanes) for group in block.groups] == [1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "cosin"}, "schedule = 'cosin' must be one of constant, linear"),
        ({"schedule": 1.0}, "schedule = 1.0 must be one of"),
        ({"schedule_floor": 0.1}, "sgd: schedule_floor needs a schedule; give schedule as well"),
        ({"warmup": -1}, "warmup = -1 must be at least 0"),
        ({"clip_norm": float("nan")}, "clip_norm = nan must be a finite number of at least 1e-30"),
    ],
)
def test_what_they_do_not_take_is_refused(given, message):
    with pytest.raises(SuiteError) as caught:
        complete_hyperparameters(get_optimizer("sgd"), given)
    assert message in str(caught.value)


@pytest.mark.parametrize("lanes", [2, 5, 33])
def test_norms_of_many_coordinates_do_not_depend_on_company(lanes):
    """Stored by coordinate, a sum over coordinates would add in another order."""

    def by_coordinate(values):
        stored = np.asfortranarray(values)
        return inner(stored, stored, np)

    rows = np.random.default_rng(2).normal(size=(lanes, 100))
    together = by_coordinate(rows)
    alone = [by_coordinate(rows[i : i + 1]) for i in range(lanes)]
    assert together.tobytes() == np.concatenate(alone).tobytes()
