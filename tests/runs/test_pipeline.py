"""From a suite to results on disk, and these against an implementation of the textbook."""

import json
import re
import signal
import subprocess
import sys
import threading
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from optbench import __version__, rng
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.errors import DeviceError, ResultsError
from optbench.optimizers.registry import OPTIMIZERS
from optbench.optimizers.rules.sgd import SGD
from optbench.problems.python.function import function
from optbench.problems.registry import make_problem
from optbench.records import SCHEMA_VERSION, BlockResult, EvaluationRows, Status, TraceChunk
from optbench.report.summaries import summary
from optbench.runs import layout as lanes_module
from optbench.runs.layout import lay_out
from optbench.runs.pipeline import RunResult, new_invocation, plan_run, run_plan
from optbench.store.lock import locked
from optbench.store.reader import read_run
from optbench.suite.format import parse_suite, read_suite
from optbench.suite.resolve import resolve
from tests.reference.optimizers import REFERENCE, textbook
from tests.reference.training import train_network
from tests.refusal import refusal
from tests.slow import assert_same_run
from tests.small import (
    TEXTBOOK,
    anisotropic,
    problem,
    quadratic,
    reference_batches,
    reference_network,
    run_suite,
    small_network,
    suite,
)
from tests.studies import make_study

ALL_OPTIMIZERS = [{"name": name} for name in TEXTBOOK]


def read_meta(path):
    return json.loads((path / "run.json").read_text("utf-8"))


def carry_out(settled, out, **options) -> RunResult:
    device = NumpyDevice()
    return run_plan(plan_run(settled, device, workers=2), device, out, "invocation", **options)


@pytest.fixture(scope="module")
def textbook_losses(tmp_path_factory) -> pd.DataFrame:
    """200 iterations of mnist-mlp in float64 with every optimizer, a column of losses a label."""
    file = read_suite("mnist-mlp").changed(
        data="mnist-5k", dtype="float64", iterations=200, optimizer=ALL_OPTIMIZERS
    )
    outcome = carry_out(resolve(file), tmp_path_factory.mktemp("results"))
    lanes = pd.read_parquet(outcome.path / "lanes.parquet")
    trace = pd.read_parquet(outcome.path / "trace").merge(lanes[["lane", "label"]], on="lane")
    return trace.pivot(index="iteration", columns="label", values="loss")


@pytest.mark.parametrize("name", TEXTBOOK)
def test_acceptance_200_losses_of_the_textbooks_network_are_the_references(name, textbook_losses):
    """The true network, start and batches; the reference shares no code with the package."""
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    reference, batches = reference_network(network, 0), reference_batches(network, 0, 200)
    with threadpool_limits(1, user_api="blas"):
        expected = train_network(reference, REFERENCE[name](), batches, record="after")
    assert textbook_losses.index.tolist() == list(range(200))
    np.testing.assert_allclose(textbook_losses[name], expected, rtol=1e-9)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_losses_of_a_small_network_are_the_references(name, record):
    """Over two blocks of random numbers, for several seeds and rates at once."""
    rates = [{}, {"lr": 0.003}]
    network = small_network(record=record)
    settled = suite(network, optimizers=[(name, rates)], seeds=(0, 7), iterations=270)
    for outcome in run_suite(settled).values():
        seed = outcome.lane.seed
        batches = reference_batches(network, seed, 271 if record == "before" else 270)
        reference = reference_network(network, seed)
        optimizer = textbook(name, outcome.lane.hyperparameters)
        expected = train_network(reference, optimizer, batches, record=record)
        assert len(expected) == {"before": 271, "after": 270}[record]
        np.testing.assert_allclose(outcome.loss, expected, rtol=1e-9)
        for part, (loss, error) in outcome.evaluations.items():
            split = network.dataset.splits[part]
            images, labels = split.images / 255.0, split.labels
            assert loss == pytest.approx(reference.loss(images, labels), rel=1e-9)
            assert error == pytest.approx(1 - reference.accuracy(images, labels), abs=1e-12)


@pytest.fixture
def mixed():
    return suite(
        small_network(), anisotropic(), quadratic(), optimizers=["sgd", "adam"], seeds=(0, 7)
    )


def test_a_run_is_a_directory_of_its_own(tmp_path, mixed):
    outcomes = [carry_out(mixed, tmp_path / "new" / "results") for _ in range(2)]
    assert outcomes[0].path != outcomes[1].path
    for outcome in outcomes:
        assert (outcome.status, outcome.failures) == (Status.DONE, ())
        assert outcome.path.parent == tmp_path / "new" / "results"
        name, moment, digest = outcome.path.name.rsplit("-", 2)
        assert name == "small"
        datetime.strptime(moment, "%Y%m%dT%H%M%SZ")
        assert len(digest) == 8


def test_a_round_of_a_study_is_a_run_in_the_directory_of_its_name(tmp_path, mixed):
    """One that was killed before it had a run.json is begun anew; one that has is left alone."""
    plan = plan_run(mixed, NumpyDevice(), workers=1)
    plain = run_plan(plan, NumpyDevice(), tmp_path, "i").path
    study = make_study(tmp_path)
    killed = study / "search-001"
    killed.mkdir()
    (killed / "lanes.parquet").write_bytes(b"half")
    for name in ("search-000", "search-001"):
        result = run_plan(plan, NumpyDevice(), study, "i", directory=name)
        assert result.path == study / name
        assert not (result.path / ".lock").exists()
        assert_same_run(result.path, plain)
    again = [file.stat().st_mtime_ns for file in sorted(killed.rglob("*"))]
    refused = f"'{killed}' holds a run already; resume it or choose another name"
    with pytest.raises(ResultsError, match=re.escape(refused)):
        run_plan(plan, NumpyDevice(), study, "i", directory="search-001")
    assert [file.stat().st_mtime_ns for file in sorted(killed.rglob("*"))] == again
    other = study / "search-002"
    other.mkdir()
    taken = pytest.raises(ResultsError, match="is being written by another process")
    with locked(other), taken:
        run_plan(plan, NumpyDevice(), study, "i", directory=other.name)


def test_what_is_written_is_what_was_computed(tmp_path, mixed):
    path = carry_out(mixed, tmp_path).path
    trace = pd.read_parquet(path / "trace").set_index("lane")
    lanes = pd.read_parquet(path / "lanes.parquet").set_index("lane")
    evaluation = pd.read_parquet(path / "evaluation").set_index(["lane", "split"])
    for number, outcome in run_suite(mixed).items():
        rows = trace.loc[number]
        assert rows["iteration"].tolist() == list(range(len(outcome.loss)))
        assert rows["loss"].to_numpy().tobytes() == outcome.loss.tobytes()
        position = rows[["x", "y"]].to_numpy()
        if outcome.position is None:
            assert np.isnan(position).all()
        else:
            width = outcome.position.shape[1]
            np.testing.assert_array_equal(position[:, :width], outcome.position)
            assert np.isnan(position[:, width:]).all()
        lane = lanes.loc[number]
        assert lane["lane_key"] == outcome.lane.key
        assert lane["fingerprint"] == outcome.lane.fingerprint
        assert (lane["seed"], lane["label"]) == (outcome.lane.seed, outcome.lane.label)
        assert lane["status"] == "done"
        for column in ("final_loss", "best_loss"):
            assert lane[column] == getattr(outcome.result, column)
        for split, numbers in outcome.evaluations.items():
            assert tuple(evaluation.loc[(number, split), ["loss", "error"]]) == numbers


def test_run_json_says_how_the_run_was_made(tmp_path, mixed):
    meta = read_meta(carry_out(mixed, tmp_path).path)
    expected = {
        "schema_version": SCHEMA_VERSION,
        "numerics_version": 1,
        "invocation_id": "invocation",
        "status": "done",
        "failures": [],
        "seeds": [0, 7],
        "suite": {
            "name": "small",
            **{key: getattr(mixed, key) for key in ("written", "given", "resolved")},
        },
        "device": {"kind": "cpu", "namespace": "numpy"},
        "blocks": [
            {"block": number, "lanes": list(range(4 * number, 4 * number + 4))}
            for number in range(3)
        ],
    }
    assert {key: meta[key] for key in expected} == expected
    assert meta["calibration_seconds"] > 0
    assert meta["environment"]["optbench"] == __version__
    assert meta["environment"]["blas"]
    assert meta["workers"] >= 1
    assert meta["timings"]["wall_seconds"] > 0
    assert datetime.fromisoformat(meta["started"]) <= datetime.fromisoformat(meta["ended"])
    labels = [entry["problem"] for entry in meta["problems"]]
    assert labels == ["small-network", "anisotropic", "quadratic-1d"]
    network, function, line = meta["problems"]
    for described, setting in zip(meta["problems"], mixed.problems, strict=True):
        assert described["name"] == setting.problem.name
        assert described["fingerprint"] == setting.problem.fingerprint
        assert described["definition"] == setting.problem.definition()
        assert described["iterations"] == 20
        assert described["stream_digests"].keys() == {"0", "7"}
    assert (network["kind"], network["batch_size"]) == ("network", 8)
    assert function["minima"] == [{"position": [0.0, 0.0], "value": 0.0}]
    assert function["plot"]["domain"] == [[-10.0, 10.0], [-10.0, 10.0]]
    assert line["minima"] == [{"position": [-0.5], "value": 0.75}]


def test_stream_digests_are_those_of_start_and_first_batches(tmp_path):
    network = small_network()
    settled = suite(network, optimizers=["sgd"], seeds=(0, 7))
    meta = read_meta(carry_out(settled, tmp_path).path)
    digests = meta["problems"][0]["stream_digests"]
    for seed in (0, 7):
        expected = rng.digest(network.start(seed), network.draws(seed, 0)["indices"])
        assert digests[str(seed)] == expected
    assert digests["0"] != digests["7"]


def test_a_run_json_can_be_run_again(tmp_path):
    once = carry_out(resolve(read_suite("anisotropic")), tmp_path)
    again = carry_out(resolve(read_suite(str(once.path / "run.json"))), tmp_path)
    first, second = read_run(once.path), read_run(again.path)
    assert second.meta["suite"]["resolved"] == first.meta["suite"]["resolved"]
    pd.testing.assert_frame_equal(second.trace, first.trace)
    pd.testing.assert_series_equal(second.lanes["lane_key"], first.lanes["lane_key"])


def test_surfaces_are_written_for_functions_of_one_or_two_variables(tmp_path, mixed):
    both = pd.read_parquet(carry_out(mixed, tmp_path).path / "surface")
    assert set(both["problem"]) == {"anisotropic", "quadratic-1d"}
    surface = both[both["problem"] == "anisotropic"]
    assert len(surface) == 201 * 201
    np.testing.assert_allclose(surface["value"], surface["x"] ** 2 / 20 + surface["y"] ** 2)


FAR_BOWL = {
    "name": "far",
    "iterations": 100,
    "problem": [{"name": "function", "expression": "(x-10)**2 + y**2", "start": {"x": 1, "y": 1}}],
    "optimizer": [{"name": "sgd", "grid": {"lr": [1e-5, 1e-4, 0.1, 0.4]}}],
}


def test_the_best_may_end_outside_a_domain_that_nobody_gave(tmp_path):
    once = carry_out(resolve(parse_suite(FAR_BOWL, "far")), tmp_path)
    again = carry_out(resolve(read_suite(str(once.path / "run.json"))), tmp_path)
    for tables in map(read_run, (once.path, again.path)):
        (row,) = summary(tables).to_dict("records")
        assert row["swept"] == "lr=0.4"
        assert row["final_loss"] == pytest.approx(1.607e-140, rel=1e-3)
        assert (row["outside"], row["lanes_outside"]) == (False, 0)
        plot = tables.meta["problems"][0]["plot"]
        assert plot["domain"] == [[-2.0, pytest.approx(11.2)], [-2.0, 2.0]]
        assert plot["guessed"] == [True, True]
        surface = tables.surface
        sides = [[surface[name].min(), surface[name].max()] for name in ("x", "y")]
        assert sides == plot["domain"]
        np.testing.assert_allclose(
            surface["value"], (surface["x"] - 10) ** 2 + surface["y"] ** 2, rtol=1e-12
        )


def test_a_given_domain_neither_grows_nor_lets_the_best_end_outside(tmp_path):
    (far,) = FAR_BOWL["problem"]
    given = [far | {"domain": {"x": [-2, 2]}}]
    made = carry_out(resolve(parse_suite({**FAR_BOWL, "problem": given}, "far")), tmp_path)
    tables = read_run(made.path)
    (row,) = summary(tables).to_dict("records")
    assert (row["swept"], row["lanes_outside"]) == ("lr=0.0001", 2)
    assert tables.meta["problems"][0]["plot"]["domain"] == [[-2.0, 2.0], [-2.0, 2.0]]
    assert tables.surface["x"].max() == 2.0


def test_the_guessed_domain_of_a_plug_in_grows(tmp_path):
    def far(p):
        return (p[0] - 10) ** 2 + p[1] ** 2, 2 * (p - [10.0, 0.0])

    distant = problem(function(start=[1.0, 1.0])(far))
    settled = suite(distant, optimizers=[("sgd", [{"lr": 0.001}, {"lr": 0.4}])], iterations=50)
    tables = read_run(carry_out(settled, tmp_path).path)
    assert summary(tables)["swept"].tolist() == ["lr=0.4"]
    assert tables.surface["x"].max() == pytest.approx(10 + 0.1 * (10 + 1.25))


def test_a_function_that_raises_where_no_lane_has_been_keeps_its_guess(tmp_path):
    def far(p):
        if p[0] * p[1] > 5:
            raise RuntimeError("too far")
        return (p[0] - 10) ** 2 + p[1] ** 2, 2 * (p - [10.0, 0.0])

    distant = problem(function(start=[1.0, -1.0])(far))
    settled = suite(distant, optimizers=[("sgd", [{"lr": 0.1}])], iterations=30)
    made = carry_out(settled, tmp_path)
    assert made.status == Status.DONE
    tables = read_run(made.path)
    assert tables.surface["x"].max() == tables.meta["problems"][0]["plot"]["domain"][0][1] == 1.25


def test_no_temporary_file_is_left(tmp_path, mixed):
    path = carry_out(mixed, tmp_path).path
    files = sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
    assert files == [
        "evaluation/block-00000.parquet",
        "lanes.parquet",
        "run.json",
        *(f"surface/problem-{number:05d}.parquet" for number in range(2)),
        *(f"trace/block-{number:05d}.parquet" for number in range(3)),
    ]


def test_positions_have_no_column_where_no_problem_has_one(tmp_path):
    path = carry_out(suite(small_network(), optimizers=["sgd"]), tmp_path).path
    assert pd.read_parquet(path / "trace").columns.tolist() == ["lane", "iteration", "loss"]
    assert not (path / "surface").exists()
    one = carry_out(suite(quadratic(), optimizers=["sgd"]), tmp_path).path
    assert pd.read_parquet(one / "trace").columns.tolist() == ["lane", "iteration", "loss", "x"]


def test_whoever_watches_sees_every_record_after_it_was_taken(tmp_path, mixed):
    seen = []

    def observe(record):
        seen.append(type(record))
        if isinstance(record, BlockResult):
            (path,) = tmp_path.iterdir()
            assert (path / "trace" / f"block-{record.block:05d}.parquet").exists()

    carry_out(mixed, tmp_path, observe=observe)
    assert seen.count(BlockResult) == seen.count(TraceChunk) == 3
    assert seen.count(EvaluationRows) == 3


def statuses(path) -> list[str]:
    return pd.read_parquet(path / "lanes.parquet").sort_values("lane")["status"].tolist()


def test_a_run_has_diverged_only_if_every_lane_has(tmp_path):
    rates = [{"lr": 3.0}, {"lr": 0.1}]
    both = carry_out(suite(anisotropic(), optimizers=[("sgd", rates)], iterations=300), tmp_path)
    assert (both.status, statuses(both.path)) == (Status.DONE, ["diverged", "done"])
    lanes = read_run(both.path).lanes
    assert lanes["diverged_at"].isna().tolist() == [False, True]
    assert lanes["final_loss"].isna().tolist() == [True, False]
    assert lanes["best_loss"].isna().tolist() == [True, False]
    trace = read_run(both.path).trace
    last = trace[trace["lane"] == 0].iloc[-1]
    assert last["iteration"] == lanes["diverged_at"][0]
    assert last["loss"] == np.inf
    settled = suite(anisotropic(), optimizers=[("sgd", rates[:1])], iterations=300)
    lost = carry_out(settled, tmp_path)
    assert lost.status is Status.DIVERGED
    assert read_run(lost.path).meta["status"] == "diverged"


class Broken(SGD):
    """Raises in every step."""

    def step(self, step) -> None:
        raise FloatingPointError("a rule that is wrong")


def test_a_rule_that_raises_fails_its_lanes_and_no_others(tmp_path, request, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "sgd", Broken)
    outcome = carry_out(request.getfixturevalue("mixed"), tmp_path)
    assert outcome.status is Status.FAILED
    (failed,) = outcome.failures
    assert failed.message == "FloatingPointError: a rule that is wrong"
    assert sorted(failed.lanes) == [0, 1, 4, 5, 8, 9]
    assert statuses(outcome.path) == ["failed", "failed", "done", "done"] * 3
    meta = read_run(outcome.path).meta
    assert meta["status"] == "failed"
    (failure,) = meta["failures"]
    assert failure["message"] == "FloatingPointError: a rule that is wrong"
    assert sorted(failure["lanes"]) == [0, 1, 4, 5, 8, 9]
    assert failure["traceback"].startswith("Traceback (most recent call last)")
    assert "in step" in failure["traceback"]
    assert set(read_run(outcome.path).trace["lane"]) == {2, 3, 6, 7, 10, 11}
    lanes = read_run(outcome.path).lanes
    assert lanes["iterations"].isna().tolist() == [True, True, False, False] * 3


def test_an_interrupt_keeps_what_was_done(tmp_path):
    """Lane 0 is done, lane 1 is in its second chunk, lane 2 waits."""
    long = {"name": "quadratic-1d", "iterations": 10**6}
    problems = [{"name": "anisotropic"}, long, long | {"label": "last"}]
    entries = {"name": "cut", "problem": problems, "optimizer": [{"name": "sgd"}]}
    device = NumpyDevice()
    plan = plan_run(resolve(parse_suite(entries, "x")), device, workers=1)

    def observe(record):
        if isinstance(record, TraceChunk) and record.block == 1 and record.first_iteration == 64:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    outcome = run_plan(plan, device, tmp_path, "invocation", observe)
    assert signal.getsignal(signal.SIGINT) is before
    assert outcome.status is Status.INTERRUPTED
    tables = read_run(outcome.path)
    assert tables.meta["status"] == "interrupted"
    assert statuses(outcome.path) == ["done", "interrupted", "interrupted"]
    rows = tables.trace.groupby("lane").size()
    assert set(rows.index) == {0, 1}
    assert rows[0] == 31
    assert rows[1] >= 128
    assert rows[1] % 64 == 0
    assert tables.lanes["iterations"].tolist() == [30, rows[1], 0]
    assert tables.lanes["final_loss"].isna().tolist() == [False, True, True]
    assert not list(outcome.path.rglob(".*"))


def test_a_second_interrupt_stops_at_once(tmp_path):
    def observe(record):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    settled = suite(anisotropic(), optimizers=["sgd"], iterations=10**6)
    with pytest.raises(KeyboardInterrupt):
        carry_out(settled, tmp_path, observe=observe)
    assert signal.getsignal(signal.SIGINT) is before
    (path,) = tmp_path.iterdir()
    tables = read_run(path)
    assert tables.meta["status"] == "interrupted"
    assert len(tables.trace) >= 64  # what was reported


def test_a_run_may_be_made_in_any_thread(tmp_path, mixed):
    ends = []
    thread = threading.Thread(target=lambda: ends.append(carry_out(mixed, tmp_path).status))
    thread.start()
    thread.join()
    assert ends == [Status.DONE]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_is_recorded_and_changes_nothing_else(workers, tmp_path, mixed):
    device = NumpyDevice()
    plan = plan_run(mixed, device, workers)
    tables = read_run(run_plan(plan, device, tmp_path, "invocation").path)
    assert set(tables.lanes["workers"]) == {workers}
    trace = tables.trace.sort_values(["lane", "iteration"])
    expected = np.concatenate([each.loss for each in run_suite(mixed).values()])
    assert trace["loss"].to_numpy().tobytes() == expected.tobytes()


def test_results_that_cannot_be_written_are_refused_in_one_line(tmp_path, mixed):
    place = tmp_path / "file"
    place.write_text("", encoding="utf-8")
    message = refusal(ResultsError, carry_out, mixed, place)
    assert message.startswith(f"cannot write results to '{place}': ")
    assert message.endswith("; free it or choose another --out")


def test_a_plan_holds_lanes_blocks_and_workers(mixed):
    plan = plan_run(mixed, NumpyDevice())
    assert plan.lanes == lay_out(mixed, "cpu")
    assert [lane for block in plan.blocks for lane in block.lanes] == list(plan.lanes)
    assert plan.workers >= 1


def test_invocations_have_ids_of_their_own():
    ids = {new_invocation() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(each) == 12 for each in ids)


def test_making_a_plan_loads_no_library_of_tables_or_figures():
    code = (
        "import sys\n"
        "from optbench.device.choose import get_device\n"
        "from optbench.runs.pipeline import plan_run\n"
        "from optbench.suite.resolve import resolve\n"
        "from optbench.suite.format import read_suite\n"
        "plan_run(resolve(read_suite('anisotropic')), get_device('cpu'))\n"
        "heavy = {'pandas', 'matplotlib', 'pyarrow', 'cupy', 'rich', 'typer', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("kind", "blocks"), [("cpu", 3), ("gpu", 1)])
def test_workers_have_no_say_in_the_blocks_of_a_gpu(kind, blocks, monkeypatch):
    monkeypatch.setattr(lanes_module, "WORTH_SHARING", 0)
    settled = suite(anisotropic(), optimizers=[("sgd", [{"lr": 0.1 * n} for n in range(1, 9)])])
    assert len(plan_run(settled, Device(np, kind), workers=3).blocks) == blocks


def test_a_lane_that_fits_no_memory_is_refused_before_it_is_drawn(monkeypatch):
    settled = suite(anisotropic())
    assert plan_run(settled, NumpyDevice()).lanes
    monkeypatch.setattr(Device, "memory_bytes", 20)
    message = r"^anisotropic: one lane of \w+ takes 0 GiB, and the device has 0 GiB; make "
    with pytest.raises(DeviceError, match=message):
        plan_run(settled, NumpyDevice())
    monkeypatch.setattr(Device, "memory_bytes", None)
    assert plan_run(settled, NumpyDevice()).lanes


def test_a_network_is_refused_where_a_limit_on_the_process_leaves_too_little(monkeypatch):
    monkeypatch.setattr(Device, "spare_bytes", 300 * 2**20)
    message = "a network takes about 512 MiB, and the limit on this process leaves 300 MiB; raise"
    with pytest.raises(DeviceError, match=message):
        plan_run(suite(small_network()), NumpyDevice())
    assert plan_run(suite(anisotropic()), NumpyDevice()).lanes


@pytest.mark.skipif(sys.platform != "linux", reason="only there the limit is kept")
def test_what_a_limit_leaves_is_what_is_not_taken():
    code = (
        "import resource; from optbench.device.cpu import NumpyDevice; device = NumpyDevice()\n"
        "print(device.spare_bytes)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "print(2**20 < device.spare_bytes < 2**32)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "True"]
