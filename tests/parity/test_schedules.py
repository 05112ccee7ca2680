"""Learning rates of each update against PyTorch's schedulers and optax's schedules.

All three count updates from u = 0 where ours number them from 1, so no definition is shifted:
``step`` is StepLR(every), ``exponential`` is ExponentialLR(decay^(1/every)), ``linear`` is LinearLR
down to ``floor`` and ``cosine`` is CosineAnnealingLR with T_max and total_iters the number of
updates; the last update is one short of where they end. PyTorch has no 1/t; it is a LambdaLR.

The warm-up is the one thing with an offset. Ours is (u + 1)/warmup: its first update is not 0, and
update u = warmup − 1 has the whole learning rate, as has the next, with which the schedule begins.
That is a LinearLR from 1/warmup of warmup − 1 updates, and a SequentialLR with its milestone at
warmup. ``optax.warmup_cosine_decay_schedule`` begins the cosine one update earlier, at the end of
the warm-up itself; joined schedules with the boundary at warmup are ours.
"""

from functools import partial

import numpy as np
import pytest

from optbench.schedules import SCHEDULES, learning_rate_factors
from tests.small import anisotropic, run_suite, suite

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")

N = 120
LR = 0.25
WITHIN = {"rtol": 1e-12, "atol": 1e-15}

CASES = [
    {"schedule": "constant"},
    {"schedule": "linear"},
    {"schedule": "linear", "schedule_floor": 0.2},
    {"schedule": "cosine"},
    {"schedule": "cosine", "schedule_floor": 0.01},
    {"schedule": "step", "schedule_every": 30.0},
    {"schedule": "step", "schedule_every": 7.0, "schedule_decay": 0.5},
    {"schedule": "exponential", "schedule_every": 1.0, "schedule_decay": 0.97},
    {"schedule": "exponential", "schedule_every": 40.0, "schedule_decay": 0.3},
    {"schedule": "1/t", "schedule_every": 10.0, "schedule_decay": 0.5},
]
WARMUPS = (0, 2, 25)


def written(given):
    return " ".join(f"{value}" for value in given.values())


every_case = pytest.mark.parametrize("given", CASES, ids=written)
every_warmup = pytest.mark.parametrize("warmup", WARMUPS)

schedulers = torch.optim.lr_scheduler


def torch_main(given, optimizer, updates):
    """Return PyTorch's scheduler of what follows the warm-up, for so many updates."""
    every, decay = given.get("schedule_every", 1000.0), given.get("schedule_decay", 0.1)
    floor = given.get("schedule_floor", 0.0)
    make = {
        "constant": partial(schedulers.ConstantLR, factor=1.0),
        "linear": partial(
            schedulers.LinearLR, start_factor=1.0, end_factor=floor, total_iters=updates
        ),
        "cosine": partial(schedulers.CosineAnnealingLR, T_max=updates, eta_min=floor * LR),
        "step": partial(schedulers.StepLR, step_size=int(every), gamma=decay),
        "exponential": partial(schedulers.ExponentialLR, gamma=decay ** (1 / every)),
        "1/t": partial(schedulers.LambdaLR, lr_lambda=lambda u: 1 / (1 + decay * u / every)),
    }
    return make[given["schedule"]](optimizer)


def torch_scheduler(given, warmup, optimizer):
    if warmup == 0:
        return torch_main(given, optimizer, N)
    rise = schedulers.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
    main = torch_main(given, optimizer, N - warmup)
    return schedulers.SequentialLR(optimizer, [rise, main], milestones=[warmup])


def ours(given, warmup):
    return LR * learning_rate_factors({**given, "warmup": float(warmup)}, range(1, N + 1), N)


@every_warmup
@every_case
def test_learning_rates_are_those_of_pytorch(given, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], LR)
    scheduler = torch_scheduler(given, warmup, optimizer)
    found = []
    for _ in range(N):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(ours(given, warmup), found, **WITHIN)


def optax_main(given, updates):
    every, decay = given.get("schedule_every", 1000.0), given.get("schedule_decay", 0.1)
    floor = given.get("schedule_floor", 0.0)
    make = {
        "constant": lambda: optax.constant_schedule(LR),
        "linear": lambda: optax.linear_schedule(LR, LR * floor, updates),
        "cosine": lambda: optax.cosine_decay_schedule(LR, updates, floor),
        "step": lambda: optax.exponential_decay(LR, every, decay, staircase=True),
        "exponential": lambda: optax.exponential_decay(LR, every, decay),
    }
    return make[given["schedule"]]()


@pytest.fixture
def _double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@every_warmup
@pytest.mark.parametrize(
    "given", [each for each in CASES if each["schedule"] != "1/t"], ids=written
)
@pytest.mark.usefixtures("_double_precision")
def test_learning_rates_are_those_of_optax(given, warmup):
    schedule = optax_main(given, N - warmup)
    if warmup:
        rise = optax.linear_schedule(LR / warmup, LR, warmup - 1)
        schedule = optax.join_schedules([rise, schedule], [warmup])
    found = np.asarray(jax.vmap(schedule)(jax.numpy.arange(N)))
    assert found.dtype == np.float64 or given["schedule"] == "constant"
    np.testing.assert_allclose(ours(given, warmup), found, **WITHIN)


@pytest.mark.usefixtures("_double_precision")
def test_optaxs_own_warm_up_begins_the_cosine_an_update_earlier():
    warmup = 20
    theirs = optax.warmup_cosine_decay_schedule(LR / warmup, LR, warmup - 1, N - 1)
    found = np.asarray(jax.vmap(theirs)(jax.numpy.arange(N)))
    mine = ours({"schedule": "cosine"}, warmup)
    np.testing.assert_allclose(mine[:warmup], found[:warmup], **WITHIN)
    np.testing.assert_allclose(mine[warmup:], found[warmup - 1 : -1], **WITHIN)


@pytest.mark.parametrize("warmup", [0, 12])
@every_case
def test_a_scheduled_run_takes_the_path_of_pytorchs(given, warmup):
    """The learning rate of an update scales the velocity of that update, gathered or not."""
    hyperparameters = {"lr": LR, "momentum": 0.8, "warmup": float(warmup), **given}
    entry = ("sgd-torch", [hyperparameters])
    (lane,) = run_suite(suite(anisotropic(), optimizers=[entry], iterations=N)).values()
    w = torch.nn.Parameter(torch.tensor([-7.0, 2.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([w], LR, momentum=0.8)
    scheduler = torch_scheduler(given, warmup, optimizer)
    path = [w.detach().numpy().copy()]
    for _ in range(N):
        optimizer.zero_grad()
        (w[0] ** 2 / 20 + w[1] ** 2).backward()
        optimizer.step()
        scheduler.step()
        path.append(w.detach().numpy().copy())
    np.testing.assert_allclose(lane.position, path, rtol=1e-9, atol=1e-12)


def test_every_schedule_is_compared():
    assert {each["schedule"] for each in CASES} == set(SCHEDULES)
