"""What a baseline keeps of a run, and how far a later run may lie from it."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optbench.arrays import stack
from optbench.device.cpu import NumpyDevice
from optbench.engine.stepper import Stepper
from optbench.errors import ResultsError
from optbench.gate import save as baseline
from optbench.gate.baseline import NUMERICS_ITERATIONS, load
from optbench.problems.networks.classifier import Classifier
from optbench.problems.registry import make_problem
from optbench.records import Status
from tests.gate.made import made, network_lanes
from tests.report.runs import Lane
from tests.small import anisotropic, blocks_of, small_network, suite

ROOT = Path(__file__).parents[2]

RULES = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "signsgd", "rprop")


def table_of(settled):
    return baseline.tolerances(settled, NumpyDevice())


def losses_of(settled):
    """Return the losses of each lane's first rows, by lane number."""
    found = {}
    for block in blocks_of(settled):
        rows = Stepper(block, NumpyDevice()).advance(0, min(block.iterations, NUMERICS_ITERATIONS))
        found |= {lane.number: rows.loss[:, k] for k, lane in enumerate(block.lanes)}
    return found


def reverse_batches(monkeypatch):
    """Take all examples from last to first: other rounding in all steps, the same mathematics."""
    batch = Classifier.batch

    def backwards(self, data, draws, *, work):
        return batch(self, data, {k: v[:, ::-1] for k, v in draws.items()}, work=work)

    monkeypatch.setattr(Classifier, "batch", backwards)


def test_starts_are_nudged_by_one_ulp_up_or_down_and_differ_from_nudge_to_nudge():
    network = small_network()
    own = network.start(3)
    starts = [
        baseline.nudged_problem(network, nudge, NumpyDevice()).start(3) for nudge in range(1, 9)
    ]
    for start in starts:
        beside = (start == np.nextafter(own, np.inf)) | (start == np.nextafter(own, -np.inf))
        assert beside.all()
        assert 0.3 < (start > own).mean() < 0.7
    assert len({start.tobytes() for start in starts}) == 8


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_nudged_by_a_unit_of_rounding_and_zeros_stay(dtype):
    network = small_network(dtype=dtype)
    device = NumpyDevice()
    nudged = baseline.nudged_problem(network, 1, device)
    params = np.stack([network.start(0), network.start(1)]).astype(dtype)
    params[:, :84] = -1.0  # no unit of the first layer is ever active
    found = []
    for each in (network, nudged):
        grads = stack(np.zeros_like(params), network.tensors, np)
        data = {name: device.resident(array) for name, array in network.data().items()}
        draws = {name: each[0][None] for name, each in network.draws(0, 0).items()}
        batch = each.batch(data, draws, work=device.workspace())
        at = stack(params, network.tensors, np)
        each.loss_and_grad(at, grads, batch, buffers={}, work=device.workspace())
        found.append(grads)
    plain, beside = found
    assert beside.rows.dtype == dtype
    zeros = plain.rows == 0.0
    assert zeros.any()
    assert (beside.rows[zeros] == 0.0).all()
    assert (beside.rows[~zeros] != plain.rows[~zeros]).mean() > 0.4
    eps = np.finfo(dtype).eps
    for name, grad in plain.views.items():
        size = max(np.abs(grad).max(), np.finfo(dtype).tiny)
        assert np.abs(beside.views[name] - grad).max() <= 2.0 * eps * size, name


def test_nudges_are_the_same_ones_every_time():
    settled = suite(small_network(), optimizers=("adam",), seeds=(0, 1), iterations=10)
    pd.testing.assert_frame_equal(table_of(settled), table_of(settled))


@pytest.mark.slow
def test_tolerances_are_at_least_ten_ulps_of_the_loss_and_do_not_shrink_beside_it():
    settled = suite(
        anisotropic(), small_network(), optimizers=("adam",), seeds=(0, 1), iterations=60
    )
    found = table_of(settled)
    for lane, losses in losses_of(settled).items():
        tolerance = found.loc[found["lane"] == lane].sort_values("iteration")["tolerance"]
        relative = tolerance.to_numpy() / losses
        assert len(relative) == NUMERICS_ITERATIONS
        assert (relative >= 10 * np.finfo("float64").eps).all()
        assert (np.diff(relative) >= -1e-12 * relative[1:]).all()
        assert relative.max() < 1e-9


def test_short_lanes_have_as_many_tolerances_as_rows_and_none_where_they_have_no_loss():
    found = table_of(suite(anisotropic(), optimizers=("sgd",), iterations=5))
    assert found["iteration"].tolist() == [0, 1, 2, 3, 4, 5]
    diverging = suite(anisotropic(), optimizers=[("sgd", [{"lr": 1e30}])], iterations=20)
    found = table_of(diverging)["tolerance"].to_numpy()
    assert np.isinf(found[-1])
    assert not np.isnan(found).any()


def test_tolerances_are_positive_where_losses_are_zero_and_finite_where_only_nudges_overflow(
    monkeypatch,
):
    at_rest = {"expression": "x**2", "start": {"x": 0.0}}
    settled = suite(make_problem("function", at_rest)[0], optimizers=("sgd",), iterations=5)
    assert not losses_of(settled)[0].any()
    assert table_of(settled)["tolerance"].between(1e-307, 1e-300).all()
    settled = suite(anisotropic(), optimizers=("sgd",), iterations=5)
    plain, losses = losses_of(settled)[0], baseline._losses

    def overflow(block, device):
        found = losses(block, device)
        if (found[: len(plain), 0] != plain).any():
            found[3], found[4] = np.inf, np.nan
        return found

    monkeypatch.setattr(baseline, "_losses", overflow)
    tolerance = table_of(settled)["tolerance"].to_numpy()
    assert (tolerance[:3] < 1e-12).all()
    assert (tolerance[3:] > 1e300).all()
    assert np.isfinite(tolerance).all()


@pytest.mark.parametrize(
    ("dtype", "rules"),
    [
        ("float64", ("sgd", "adagrad", "adam", "rprop")),
        ("float32", ("momentum", "rmsprop", "adam", "signsgd")),
        pytest.param("float64", RULES, marks=pytest.mark.slow),
        pytest.param("float32", RULES, marks=pytest.mark.slow),
    ],
)
def test_another_order_of_sums_stays_within_the_tolerance(dtype, rules, monkeypatch):
    settled = suite(small_network(dtype=dtype), optimizers=rules, seeds=range(4), iterations=50)
    found = table_of(settled).set_index(["lane", "iteration"])["tolerance"]
    then = losses_of(settled)
    reverse_batches(monkeypatch)
    changed = 0
    for lane, losses in losses_of(settled).items():
        difference = np.abs(losses - then[lane])
        changed += (difference > 0.0).sum()
        assert (difference <= found[lane].to_numpy()).all(), lane
    assert changed > 0


def test_a_rule_of_signs_that_starts_at_zero_has_an_envelope(monkeypatch):
    """Nothing that a loss could see lies one ulp beside 0; its gradients are rounded all the same.

    OpenBLAS's kernels for SkylakeX and Haswell give losses here that are 3e-4 apart, relatively,
    from iteration 24 on, since a sign turns over; starts alone say ten ulps, which are 1e-6.
    """
    options = {"data": "mnist-5k", "dtype": "float32"}
    network, _ = make_problem("mnist-logreg", options)
    settled = suite(network, optimizers=("rprop",), iterations=50)
    assert not network.start(0).any()
    tolerance, then = table_of(settled)["tolerance"].to_numpy(), losses_of(settled)[0]
    assert (tolerance / then)[24:].min() > 1e-3
    reverse_batches(monkeypatch)
    assert (np.abs(losses_of(settled)[0] - then) <= tolerance).all()


def test_traces_are_thinned_behind_their_first_rows_for_each_problem():
    run = made(
        [
            *(Lane("sgd", np.ones(rows), problem="mnist-mlp", seed=rows) for rows in (5001, 301)),
            Lane("sgd", np.ones(121)),
        ]
    )
    kept = baseline.thinned(run)
    assert list(kept) == ["lane", "iteration", "loss"]
    rows = [kept.loc[kept["lane"] == lane, "iteration"].tolist() for lane in range(3)]
    for own, last in zip(rows, (5000, 300, 120), strict=True):
        assert own[:NUMERICS_ITERATIONS] == list(range(NUMERICS_ITERATIONS))
        assert own[-1] == last
        assert len(own) <= NUMERICS_ITERATIONS + baseline.KEPT_ROWS
        assert len(own) == len(set(own))
    assert set(rows[1]) <= {*rows[0], 300}  # of one problem, one ended early: the same rows
    assert np.diff(rows[2]).max() <= 3  # however long another problem is
    assert baseline.thinned(replace(run, trace=run.trace.head(0))).empty


def test_targets_are_medians_over_labels_of_medians_over_seeds():
    levels = {"a": 1.0, "b": 0.5, "c": 0.1}
    run = made(network_lanes(levels), suite={}, calibration_seconds=1.0)
    middle = run.lanes.loc[run.lanes["label"] == "b", "final_loss"].median()
    told = baseline.description(run, Path("x"), {"": 0.1})
    assert told["targets"] == {"mnist-mlp": pytest.approx(middle)}
    assert (told["name"], told["thresholds"]) == ("x", {"": 0.1})


NOT_DONE = {"suite": {"given": {}}, "calibration_seconds": 1.0}


@pytest.mark.parametrize(
    ("status", "more", "message"),
    [
        (Status.FAILED, NOT_DONE, "is failed: a baseline needs a run that is done"),
        (Status.INTERRUPTED, NOT_DONE, "is interrupted: a baseline needs a run that is done"),
        (Status.RUNNING, NOT_DONE, "is running: a baseline needs a run that is done"),
        (Status.DONE, {}, "run its suite again"),  # of an earlier optbench
        (Status.DONE, {**NOT_DONE, "schema_version": 2}, "run its suite again"),
    ],
)
def test_a_run_that_is_not_done_or_of_an_earlier_optbench_is_no_reference(status, more, message):
    with pytest.raises(ResultsError, match=message):
        baseline.check_savable(made(network_lanes(), status=status, **more))


def test_lanes_of_other_code_are_no_reference():
    settled = suite(small_network(), optimizers=("sgd",), seeds=range(8))
    run = made(network_lanes(levels={"sgd": 0.8}))
    with pytest.raises(ResultsError, match="other code, data or defaults"):
        baseline.check_lanes(run, settled, NumpyDevice())
    keys = [lane.key for block in blocks_of(settled) for lane in block.lanes]
    same = replace(run, lanes=run.lanes.assign(lane_key=keys))
    baseline.check_lanes(same, settled, NumpyDevice())


def test_the_gate_of_this_project_is_of_its_suite_and_small_enough_for_git():
    folder = ROOT / "results/baselines/ci"
    written = tomllib.loads((ROOT / "benchmarks/ci.toml").read_text(encoding="utf-8"))
    kept = load(folder)
    assert kept.meta["suite"]["given"] == written, "refresh it: see docs/ci.md"
    assert len(kept.meta["seeds"]) >= 8
    assert sum(file.stat().st_size for file in folder.iterdir()) < 300 * 1024
    assert json.loads((folder / "baseline.json").read_text())["device"]["kind"] == "cpu"
