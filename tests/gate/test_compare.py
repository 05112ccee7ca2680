import json
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest

import optbench
from optbench.errors import ExitCode
from optbench.gate.compare import compare
from optbench.gate.verdict import Finding, Gate, Kind, Severity, Verdict, worst_first
from tests.gate.made import (
    edited,
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_losses,
    with_rows,
    without_lanes,
)

RUN = made(network_lanes(step_seconds=0.01) + function_lanes(), calibration_seconds=1e-3)
BASELINE = saved(RUN)


def finding(severity="notice", kind="speed", size=0.0, message="") -> Finding:
    return Finding(Severity(severity), Kind(kind), "p", "l", message, size=size)


def test_findings_are_ordered_by_severity_then_kind_then_size():
    expected = [
        finding("failure", "settings"),
        finding("failure", "numerics", 5.0),
        finding("failure", "numerics", 2.0, "a"),
        finding("failure", "numerics", 2.0, "b"),
        finding("failure", "quality", 9.0),
        finding("failure", "presence"),
        finding("failure", "speed"),
        finding("warning", "speed", 99.0),
        finding("notice", "settings"),
    ]
    shuffled = [expected[i] for i in (8, 2, 5, 0, 7, 3, 6, 1, 4)]
    assert list(worst_first(shuffled)) == expected


@pytest.mark.parametrize(
    ("findings", "matched", "code"),
    [
        ([], 3, ExitCode.DONE),
        ([finding("notice"), finding("warning")], 3, ExitCode.DONE),
        ([finding("notice"), finding("failure")], 3, ExitCode.CHECK_FAILED),
        ([finding("failure")], 0, ExitCode.NOTHING_TO_COMPARE),
        ([], 0, ExitCode.NOTHING_TO_COMPARE),
    ],
)
def test_exit_codes(findings, matched, code):
    verdict = Verdict(tuple(findings), (), matched)
    assert verdict.exit_code == code
    assert verdict.failed == any(f.severity == "failure" for f in findings)


def test_the_same_run_passes_any_gate():
    network = made(network_lanes(step_seconds=0.01), calibration_seconds=1e-3)
    verdict = compare(saved(network), network, Gate(strict=True, fail_on_speed=True))
    assert (verdict.findings, verdict.matched, verdict.exit_code) == ((), 16, 0)
    assert compare(BASELINE, RUN).findings == ()


def test_findings_of_all_kinds_come_worst_first():
    rates = RUN.lanes["hp_lr"].mask(RUN.lanes["problem"] == "anisotropic", 0.2)
    run = with_losses(edited(RUN, hp_lr=rates), "adam", 1.5)
    run = edited(run, "adam", step_seconds=0.03)
    run = with_rows(run, lambda rows: rows["iteration"] == 5, run.trace["loss"] + 1e-3)
    run = without_lanes(
        run,
        lambda lanes: lanes[["problem", "label", "seed"]].eq(["mnist-mlp", "sgd", 2]).all(axis=1),
    )
    kinds = [(severity, kind) for severity, kind, *_ in told(compare(BASELINE, run))]
    assert kinds == [
        ("failure", "settings"),
        *[("failure", "numerics")] * 3,
        ("failure", "quality"),
        ("failure", "presence"),
        ("notice", "speed"),
    ]


def test_a_verdict_is_plain_data():
    """Everything that a machine is to read goes into JSON without NaN or infinity."""
    for run in (RUN, with_losses(RUN, "adam", 1.3), edited(RUN, "adam", final_loss=np.nan)):
        verdict = compare(BASELINE, run)
        assert json.loads(json.dumps(asdict(verdict), allow_nan=False))["matched"] == 17


def test_the_baseline_and_the_run_stay_as_they_are():
    tables = (BASELINE.lanes, BASELINE.trace, RUN.lanes, RUN.trace)
    before = [table.copy() for table in tables]
    compare(BASELINE, with_losses(RUN, "adam", 1.2))
    compare(BASELINE, RUN)
    assert all(table.equals(copy) for table, copy in zip(tables, before, strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two real runs, of which the second has another learning rate for one optimizer."""
    suite = {
        "name": "gate",
        "iterations": 60,
        "seeds": 8,
        "problem": [{"name": "quadratic-deep", "batch_size": 8}, {"name": "rosenbrock"}],
        "optimizer": [{"name": "adam"}, {"name": "sgd", "grid": {"lr": [1e-3, 1e6]}}],
    }
    out = tmp_path_factory.mktemp("runs")
    return [
        optbench.run(suite, set=changes, out=out).tables for changes in ({}, {"adam.lr": 0.00105})
    ]


def test_a_real_run_is_compared_with_itself(runs):
    verdict = compare(saved(runs[0]), runs[0], Gate(strict=True))
    assert (verdict.findings, verdict.matched) == ((), 27)
    assert [(g.problem, g.label, g.setting, g.verdict) for g in verdict.groups] == [
        (problem, *setting, "pass")
        for problem in ("quadratic-deep", "rosenbrock")
        for setting in (("adam", ""), ("sgd", "lr=0.001"), ("sgd", "lr=1e+06"))
    ]
    assert verdict.groups[2].note == "no lane has a finite loss, neither then nor now"
    assert verdict.groups[4].note == "nothing random, judged by the threshold"
    assert verdict.groups[0].detectable > 0.05


def test_a_learning_rate_that_is_off_by_a_twentieth_is_a_matter_of_settings(runs):
    verdict = compare(saved(runs[0]), runs[1])
    assert verdict.exit_code == 3
    assert [f.message for f in verdict.findings if f.kind == "settings"] == [
        "lr: 0.001 then, 0.00105 now; 8 of 8 lanes",
        "lr: 0.001 then, 0.00105 now",
    ]
    others = [f for f in verdict.findings if f.kind != "settings"]
    assert others
    assert all(f.label == "adam" and f.consequence for f in others)


def test_a_real_run_with_one_lane_changed_is_told_by_lane_and_iteration(runs):
    trace = runs[0].trace.copy()
    lane = int(runs[0].lanes.query("problem == 'quadratic-deep' and seed == 5")["lane"].iloc[0])
    trace.loc[(trace["lane"] == lane) & (trace["iteration"] >= 17), "loss"] *= 1.01
    verdict = compare(saved(runs[0]), replace(runs[0], trace=trace))
    assert (only(verdict).where, only(verdict).iteration) == ("quadratic-deep, adam, seed 5", 17)


@pytest.mark.parametrize("earlier", ["baseline", "run"])
def test_final_losses_of_another_schema_are_made_means_of_as_many_rows(earlier):
    """Before version 3 they were means of up to 100 rows; now of a tenth, 12 of 120."""
    losses = RUN.trace.groupby("lane")["loss"]
    means = [losses.get_group(lane).iloc[-100:].mean() for lane in RUN.lanes["lane"]]
    batches = RUN.lanes["problem"] == "mnist-mlp"
    lanes = RUN.lanes.assign(final_loss=RUN.lanes["final_loss"].where(~batches, means))
    problems = deepcopy(RUN.meta["problems"])
    for problem in problems:
        del problem["stochastic"]  # which they did not say either
    old = replace(RUN, lanes=lanes, meta=RUN.meta | {"schema_version": 2, "problems": problems})
    baseline, run = (saved(old), RUN) if earlier == "baseline" else (BASELINE, old)
    verdict = compare(baseline, run)
    assert not verdict.failed
    assert [group.effect for group in verdict.groups] == pytest.approx([0.0] * 3, abs=1e-12)
