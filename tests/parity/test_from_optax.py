"""Optimizers of optax in optbench's engine, against plain loops over optax."""

import gc
import json
import pickle
import weakref
from copy import copy
from functools import partial
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.errors import SuiteError
from optbench.optimizers.base import Task
from optbench.optimizers.registry import (
    complete_hyperparameters,
    get_optimizer,
    known_hyperparameters,
)
from optbench.plugins import new_code_cache
from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401
from tests.optimizers.driver import Driver
from tests.small import (
    anisotropic,
    blocks_of,
    run_suite,
    small_network,
    suite,
)

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
contrib = pytest.importorskip("optax.contrib")

from tests.parity.optax_hand import (
    BOUNDS,
    TENSORS,
    difference,
    gradients,
    mechanize,
    noisy_sgd,
    schedule_free,
    start,
    theirs,
)

pytestmark = pytest.mark.usefixtures("forget")

# name, what makes it plainly, hyperparameters of lanes as optbench has them
CASES = [
    ("sgd", optax.sgd, [{"lr": 0.1}, {"lr": 0.02, "momentum": 0.9}]),
    ("sgd", optax.sgd, [{"lr": 0.1, "momentum": 0.5, "nesterov": each} for each in (False, True)]),
    ("adam", optax.adam, [{"lr": 0.01}, {"lr": 0.1, "b1": 0.5, "b2": 0.9, "eps": 1e-3}]),
    ("adamw", optax.adamw, [{"lr": 0.01, "weight_decay": 0.1}, {"lr": 0.1, "nesterov": True}]),
    ("lion", optax.lion, [{"lr": 0.01}, {"lr": 0.1, "b1": 0.5, "weight_decay": 0.2}]),
    ("adabelief", optax.adabelief, [{"lr": 0.01, "eps": 1e-8}, {"lr": 0.1, "b2": 0.9}]),
    ("rmsprop", optax.rmsprop, [{"lr": 0.01}, {"lr": 0.1, "centered": True, "momentum": 0.3}]),
    ("adafactor", optax.adafactor, [{"lr": 0.01, "min_dim_size_to_factor": 2}, {"lr": 0.1}]),
    ("lamb", optax.lamb, [{"lr": 0.01}, {"lr": 0.1, "weight_decay": 0.1}]),
    ("yogi", optax.yogi, [{"lr": 0.01}, {"lr": 0.1, "b1": 0.5}]),
    ("rprop", optax.rprop, [{"lr": 0.01}, {"lr": 0.1, "eta_minus": 0.3}]),
    ("noisy_sgd", noisy_sgd, [{"lr": 0.01}, {"lr": 0.1}]),
    ("adadelta", optax.adadelta, [{"lr": 1.0}, {"lr": 0.5, "rho": 0.5}]),
    ("muon", contrib.muon, [{"lr": 0.01}, {"lr": 0.1, "ns_coeffs": [2.0, -1.5, 0.5]}]),
    ("prodigy", contrib.prodigy, [{}, {"lr": 0.5, "betas": [0.8, 0.9]}]),
    (
        "schedule_free",
        schedule_free,
        [{"lr": 0.1}, {"lr": 0.05, "base_optimizer": "adam", "b1": 0.5}],
    ),
    ("mechanize", mechanize, [{"lr": 0.1}, {"lr": 0.5, "base_optimizer": "adamw", "eps": 1e-6}]),
]
IDS = [name for name, _, _ in CASES]


def ours(name, configurations, given, dtype="float64", *, by_coordinate=False):
    """Return the parameters after each update of lanes with these gradients."""
    optimizer = get_optimizer(f"optax:{name}")
    complete = [complete_hyperparameters(optimizer, each) for each in configurations]
    task = Task(name, "made-up", TENSORS, dtype, False, complete)
    assert optimizer.fit(task) == ()
    lanes = Driver(
        optimizer, complete, start(dtype), tensors=TENSORS, dtype=dtype, by_coordinate=by_coordinate
    )
    return lanes.path(given)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(("name", "make", "lanes"), CASES, ids=IDS)
def test_lanes_are_plain_loops_over_optax(name, make, lanes, dtype):
    given = gradients(dtype=dtype)
    path = ours(name, lanes, given, dtype)
    assert path.dtype == dtype
    for lane, configuration in enumerate(lanes):
        expected = theirs(make, configuration, given[:, lane], dtype)
        assert expected.dtype == dtype
        assert difference(path[:, lane], expected) < BOUNDS[dtype]
        assert np.mean(path[-1, lane] != start(dtype)) > 0.8


@pytest.mark.parametrize(("name", "lanes"), [(CASES[i][0], CASES[i][2]) for i in (1, 2, 13)])
def test_lanes_go_the_same_way_alone_and_beside_one_that_is_not_finite(name, lanes):
    given = gradients(lanes=5)
    given[3, 4, 2] = np.nan
    company = [lanes[0], lanes[1], lanes[0], lanes[1], lanes[0]]
    together = ours(name, company, given)
    assert np.isnan(together[-1, 4]).any()
    for lane in range(4):
        alone = ours(name, company[lane : lane + 1], given[:, lane : lane + 1])[:, 0]
        assert difference(together[:, lane], alone) < 1e-6


def test_arrays_of_another_library_come_and_go_through_dlpack():
    strict = pytest.importorskip("array_api_strict")
    lanes = [{"lr": 0.1}, {"lr": 0.2}]
    settled = suite(anisotropic(), small_network(), optimizers=[("optax:adam", lanes)])
    expected, found = run_suite(settled), run_suite(settled, device=Device(strict, "cpu"))
    for lane, outcome in expected.items():
        assert found[lane].result.status == "done"
        assert difference(found[lane].loss, outcome.loss) < 1e-9


def test_the_order_of_storage_does_not_matter():
    lanes = CASES[1][2]
    by_lane, by_coordinate = (
        ours("sgd", lanes, gradients(), by_coordinate=each) for each in (False, True)
    )
    assert by_lane.tobytes() == by_coordinate.tobytes()


def path_on_anisotropic(rates, make=optax.adam, start=(-7.0, 2.0)):
    """Return where a plain loop goes on x²/20 + y² with these learning rates."""
    with jax.enable_x64(True):
        w, state = np.array(start), None
        path = [w]
        for rate in rates:
            transformation = make(rate)
            state = transformation.init(w) if state is None else state
            grad = np.array([w[0] / 10, 2 * w[1]])
            updates, state = transformation.update(grad, state, w)
            w = np.asarray(w + updates)
            path.append(w)
    return np.array(path)


def test_schedules_reach_the_learning_rate():
    stepped = {"lr": 0.5, "schedule": "step", "schedule_every": 3, "schedule_decay": 0.5}
    found = run_suite(suite(anisotropic(), optimizers=[("optax:adam", [stepped])], iterations=10))
    expected = path_on_anisotropic([0.5 * 0.5 ** (update // 3) for update in range(10)])
    assert difference(found[0].position, expected) < 1e-12


def test_what_any_optimizer_takes_is_done_before_the_update():
    given = {"lr": 0.1, "weight_decay": 0.5, "clip_value": 0.1}
    found = run_suite(suite(anisotropic(), optimizers=[("optax:sgd", [given])], iterations=5))
    w = np.array([-7.0, 2.0])
    for _ in range(5):  # decay multiplies by 1 − 0.1·0.5
        w = w * 0.95 - 0.1 * np.clip([w[0] / 10, 2 * w[1]], -0.1, 0.1)
    assert difference(found[0].position[-1], w) < 1e-12


def test_lanes_that_go_on_after_a_part_of_them_was_taken_are_unchanged():
    lanes = [{"lr": 0.01}, {"lr": 0.05, "nesterov": True}, {"lr": 0.1, "b1": 0.5}]
    settled = suite(small_network(), optimizers=[("optax:adam", lanes)], iterations=30)
    (block,) = blocks_of(settled)
    whole = Stepper(block, NumpyDevice())
    expected = [whole.advance(0, 12).loss, whole.advance(12, 12).loss]
    first = Stepper(block, NumpyDevice())
    begun = first.advance(0, 12).loss
    assert begun.tobytes() == expected[0].tobytes()
    for places in ([0, 1, 2], [1], [0, 2]):
        found = first.subset(np.array(places)).advance(12, 12).loss
        assert difference(found, expected[1][:, places]) < 1e-9
    assert difference(first.advance(12, 12).loss, expected[1]) == 0


def test_evaluations_take_the_average_of_schedule_free():
    lanes = Driver("optax:schedule_free_sgd", [{"lr": 0.1, "b1": 0.9}], start(), tensors=TENSORS)
    y = lanes.path(gradients(lanes=1))[-1, 0]
    parts = [f".z['{tensor.name}']" for tensor in TENSORS]
    z = [array[0].ravel() for part in parts for name, array in lanes.state.items() if part in name]
    average = lanes.evaluated()[0]
    assert difference(average, (y - 0.1 * np.concatenate(z)) / 0.9) < 1e-12
    assert not np.allclose(average, y)


MINE = '''
import jax
import optax

def clipped(lr, largest=1.0, momentum=0.5, nesterov=False):
    """Momentum with clipping."""
    return optax.chain(optax.clip(largest), optax.sgd(lr, momentum, nesterov))

def careful(learning_rate, momentum=0.5):
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum of {momentum}\\nis too much")
    return optax.sgd(learning_rate, momentum if momentum > 0 else None)

def looks(learning_rate):
    return optax.sgd(float(learning_rate))

def grows(lr):
    def update(updates, state, params=None):
        return updates, (state, state)
    return optax.GradientTransformation(lambda params: 1.0, update)

made = optax.adam(0.1)
number = 3

def nothing(lr):
    return lr

def uphill(scale=0.1):
    return optax.scale(scale)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    return tmp_path


def test_a_factory_in_a_file_is_an_optimizer(mine):
    lanes = [{"lr": 0.3}, {"lr": 0.1, "largest": 0.2, "nesterov": True}]
    name = "optax:mine.py:clipped"
    found = run_suite(suite(anisotropic(), optimizers=[(name, lanes)], iterations=10))
    makes = (
        lambda lr: optax.chain(optax.clip(1.0), optax.sgd(lr, 0.5)),
        lambda lr: optax.chain(optax.clip(0.2), optax.sgd(lr, 0.5, True)),
    )
    for lane, make in enumerate(makes):
        expected = path_on_anisotropic([lanes[lane]["lr"]] * 10, make)
        assert difference(found[lane].position, expected) < 1e-12
    optimizer = get_optimizer(name)
    assert (optimizer.name, optimizer.summary) == ("clipped", "Momentum with clipping.")
    identity = optimizer.identity()
    assert identity["name"] == "optax:clipped"
    assert len(identity["source"]["sha256"]) == 64
    versions = {library: version(library) for library in ("optax", "jax", "jaxlib")}
    assert {library: identity[library] for library in versions} == versions
    assert {
        library: get_optimizer("optax:lion").identity()[library] for library in versions
    } == versions


def test_the_code_of_a_factory_is_freed_with_the_run(mine):
    with new_code_cache():
        entry = ("optax:mine.py:clipped", [{"lr": 0.3}])
        run_suite(suite(anisotropic(), optimizers=[entry], iterations=3))
        function = weakref.ref(get_optimizer(entry[0]).plugin.object)
        assert function() is not None
    gc.collect()
    assert function() is None


def test_a_factory_that_decides_by_a_number_gets_it_as_it_is(mine):
    lanes = [{"lr": 0.3}, {"lr": 0.1, "momentum": 0.0}]
    found = run_suite(suite(anisotropic(), optimizers=[("optax:mine.py:careful", lanes)]))
    for lane, make in enumerate((partial(optax.sgd, momentum=0.5), optax.sgd)):
        expected = path_on_anisotropic([lanes[lane]["lr"]] * 20, make)
        assert difference(found[lane].position, expected) < 1e-12


def test_a_factory_may_look_at_the_learning_rate(mine):
    entry = ("optax:mine.py:looks", [{"lr": 0.3}, {"lr": 0.1}])
    found = run_suite(suite(anisotropic(), optimizers=[entry]))
    for lane, rate in enumerate((0.3, 0.1)):
        expected = path_on_anisotropic([rate] * 20, optax.sgd)
        assert difference(found[lane].position, expected) < 1e-12


def test_copies_and_pickles_are_the_same_optimizer(mine):
    for name in ("optax:lion", "optax:mine.py:clipped"):
        optimizer = get_optimizer(name)
        for again in (copy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert again.identity() == optimizer.identity()
            assert again.name == optimizer.name
            assert again.hyperparameters == optimizer.hyperparameters
    pickled = pickle.dumps(get_optimizer("optax:mine.py:clipped"))
    (mine / "mine.py").write_text(MINE + "\n", encoding="utf-8")
    changed = r"mine.py has changed since clipped was taken from it"
    with new_code_cache(), pytest.raises(SuiteError, match=changed):
        pickle.loads(pickled)


def refused(name, **given):
    """Return the one line that refuses an optimizer, when it is named, set or tried."""
    with pytest.raises(SuiteError) as caught:
        fit(name, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fit(name, **given):
    optimizer = get_optimizer(name)
    complete = complete_hyperparameters(optimizer, given)
    return optimizer.fit(Task("mine", "made-up", TENSORS, "float64", False, [complete]))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nope", "optax has no optimizer 'nope'; known are "),
        ("lionn", "optax has no optimizer 'lionn'; did you mean 'lion'?"),
        ("contrib.moun", "optax has no optimizer 'contrib.moun'; did you mean 'muon'?"),
        ("no_module.opt", "there is no module 'no_module'"),
        ("constant_schedule", "optax:constant_schedule returns a"),
        ("l2_loss", "optax:l2_loss returns "),
        ("ctc_loss", "optax:ctc_loss returns "),
        ("chain", "optax:chain takes args, which a suite cannot give; name a function of numbers"),
        ("masked", "optax:masked takes inner, which a suite cannot give"),
        ("losses", "optax:losses is of type module; name a function that returns"),
        ("mine.py:number", "mine.py:number is of type int; name a function that returns"),
        ("mine.py:made", "mine.py:made is already a gradient transformation; name a function"),
        ("mine.py:nothing", "mine.py:nothing returns float, not a gradient transformation; name"),
        ("mine.py:nope", "has no 'nope'; known are clipped"),
        ("mine.py", "'mine.py' names a file only"),
        ("lion", "lion: lr has no default; give one"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(mine, name, said):
    assert said in refused(f"optax:{name}")


def test_values_that_the_library_refuses_are_refused_before_anything_runs(mine):
    said = refused("optax:mine.py:careful", lr=0.1, momentum=1.5)
    assert said == "mine cannot be made: ValueError: momentum of 1.5 (mine.py, line 11)"
    assert "mine cannot run on made-up: " in refused("optax:contrib.muon", lr=0.1, ns_steps=-1.5)
    said = refused("optax:mine.py:grows", lr=0.1)
    assert "its state has another structure after an update" in said
    said = refused("optax:lion", learning_rate=0.1)
    assert said == "lion has no hyperparameter 'learning_rate'; did you mean 'lr'?"
    said = refused("optax:schedule_free", lr=0.1, base_optimizer="sdg")
    assert said == "optax has no optimizer 'sdg' to wrap; did you mean 'sgd'?"


def test_schedules_need_a_learning_rate_that_can_change(mine):
    said = refused("optax:mine.py:looks", lr=0.1, schedule="cosine")
    assert "mine cannot have its learning rate scheduled" in said
    assert "give lr as well" in refused("optax:adafactor", schedule="cosine")


def test_going_uphill_is_said(mine):
    (notice,) = fit("optax:mine.py:uphill")
    assert notice.startswith("mine steps along the gradient, not against it")
    assert fit("optax:mine.py:uphill", scale=-0.1) == ()


def test_arguments_that_take_trees_or_types_are_left_out():
    known = known_hyperparameters(get_optimizer("optax:adamw"))
    assert list(known)[:3] == ["lr", "b1", "b2"]
    assert not {"mask", "mu_dtype", "learning_rate"} & known.keys()


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_the_lanes_and_that_of_the_program_stays(flag, dtype):
    with jax.enable_x64(flag):
        lanes = Driver("optax:adam", [{"lr": 0.1}], start(dtype), tensors=TENSORS, dtype=dtype)
        lanes.path(gradients(lanes=1, dtype=dtype))
        assert {str(each.dtype) for each in lanes.state.values()} == {"int32", dtype}
        assert jax.config.jax_enable_x64 == flag
        assert jax.numpy.zeros(1).dtype == ("float64" if flag else "float32")


def test_the_command_line_runs_it(tmp_path):
    seen = optbench(
        *("run", "anisotropic", "-o", "optax:lion", "--set", "lion.lr=0.01"),
        *("--iterations", 7, "--quiet"),
        cwd=tmp_path,
    )
    assert seen.code == 0, seen
    lanes = pd.read_parquet(seen.path / "lanes.parquet")
    assert lanes["status"].tolist() == ["done"]
    assert lanes["label"].tolist() == ["lion"]
    assert lanes["hp_lr"].tolist() == [0.01]
    expected = path_on_anisotropic([0.01] * 7, optax.lion)
    trace = pd.read_parquet(seen.path / "trace")
    assert difference(trace[["x", "y"]].to_numpy(), expected) < 1e-12
    recorded = json.loads((seen.path / "run.json").read_text(encoding="utf-8"))
    assert recorded["status"] == "done"
    again = optbench("run", seen.path / "run.json", "--quiet", cwd=tmp_path)
    assert again.code == 0, again
    keys = pd.read_parquet(again.path / "lanes.parquet")["lane_key"].tolist()
    assert keys == lanes["lane_key"].tolist()


def test_the_command_line_refuses_in_one_line(tmp_path):
    seen = optbench("run", "anisotropic", "-o", "optax:lion", cwd=tmp_path)
    assert "lr has no default" in seen.message
