from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from optbench.gate.compare import compare
from optbench.gate.verdict import Gate
from tests.gate.made import (
    ENVIRONMENT,
    TOLERANCE,
    edited,
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_rows,
)

RUN = made(network_lanes() + function_lanes())
BASELINE = saved(RUN)
SAME = "mnist-mlp, adam, seed 3"


def rows_of(label="adam", seed=3):
    """Return what picks the rows of a lane of the network."""
    lanes = RUN.lanes
    chosen = (lanes["problem"] == "mnist-mlp") & (lanes["label"] == label) & (lanes["seed"] == seed)
    number = int(lanes.loc[chosen, "lane"].iloc[0])
    return lambda trace: trace["lane"] == number


def moved(by, label="adam", seed=3, first=0, run=RUN):
    """Return a run in which the losses of a lane are moved from an iteration on."""
    trace = run.trace.copy()
    trace.loc[rows_of(label, seed)(trace) & (trace["iteration"] >= first), "loss"] += by
    return replace(run, trace=trace)


def elsewhere(**changes):
    meta = deepcopy(RUN.meta)
    meta["environment"] |= changes
    return meta


def test_a_changed_bit_in_the_same_environment_is_a_notice():
    finding = only(compare(BASELINE, moved(1e-12, first=7)))
    assert (finding.severity, finding.kind) == ("notice", "numerics")
    assert (finding.where, finding.iteration) == ("mnist-mlp, adam, seed 3", 7)
    loss = float(RUN.trace.loc[rows_of()(RUN.trace), "loss"].iloc[7])
    assert (finding.values["then"], finding.values["now"]) == (loss, loss + 1e-12)
    assert finding.values["tolerance"] == TOLERANCE
    assert not finding.values["beyond_tolerance"]
    assert f"loss {loss!r} then, {loss + 1e-12!r} now at iteration 7" in finding.message
    assert finding.message.endswith("(tolerance 1e-06); 1 of 8 lanes")


def test_one_unit_in_the_last_place_is_a_changed_bit():
    losses = np.nextafter(RUN.trace["loss"], 0.0)
    run = with_rows(RUN, lambda rows: rows["iteration"] == 49, losses)
    finding = compare(BASELINE, run).findings[0]
    assert (finding.severity, finding.iteration, finding.seed) == ("notice", 49, 0)
    assert "8 of 8 lanes" in finding.message


def test_a_strict_gate_fails_on_a_changed_bit():
    verdict = compare(BASELINE, moved(1e-12), Gate(strict=True))
    assert only(verdict).severity == "failure"
    assert verdict.exit_code == 3


def test_beyond_the_tolerance_fails_everywhere():
    for meta in (RUN.meta, elsewhere(machine="aarch64")):
        verdict = compare(BASELINE, replace(moved(2 * TOLERANCE, first=12), meta=meta))
        finding = verdict.findings[0]
        assert (finding.severity, finding.kind, finding.iteration) == ("failure", "numerics", 12)
        assert finding.values["beyond_tolerance"]
        assert finding.size == pytest.approx(2.0, rel=1e-6)
        assert verdict.exit_code == 3


def test_the_row_quoted_is_the_first_beyond_the_tolerance_and_the_first_bit_is_told():
    run = moved(1e-3, first=20, run=moved(1e-9, first=5))
    finding = only(compare(BASELINE, run))
    assert finding.iteration == 20
    assert finding.values["first_iteration"] == 5
    assert "bits differ from iteration 5" in finding.message


def test_of_several_lanes_the_first_to_differ_is_quoted():
    run = moved(1e-3, seed=6, first=2, run=moved(1e-3, seed=1, first=9))
    finding = only(compare(BASELINE, run))
    assert (finding.seed, finding.iteration) == (6, 2)
    assert finding.values["seeds"] == [1, 6]
    assert "2 of 8 lanes" in finding.message


def test_rows_from_fifty_on_are_not_compared():
    assert compare(BASELINE, moved(1.0, first=50)).findings == ()
    assert compare(BASELINE, moved(1.0, first=49)).findings != ()


def test_elsewhere_bits_may_differ_and_the_difference_of_environments_is_told():
    run = replace(moved(1e-12), meta=elsewhere(packages=ENVIRONMENT["packages"] | {"numpy": "3.0"}))
    for gate in (Gate(), Gate(strict=True)):
        finding = only(compare(BASELINE, run, gate))
        assert finding.severity == "notice"
        assert 'packages.numpy: "2.4.6" then, "3.0" now' in finding.message


@pytest.mark.parametrize(
    ("where", "meta"),
    [
        ("", elsewhere(blas=[ENVIRONMENT["blas"][0] | {"architecture": "SkylakeX"}])),
        ("", elsewhere(packages=ENVIRONMENT["packages"] | {"numpy": "2.5.0"})),
        ("", elsewhere(packages=ENVIRONMENT["packages"] | {"scipy": "2.13"})),
        ("", elsewhere(system="Darwin")),
        ("", RUN.meta | {"numerics_version": 2}),
        ("", RUN.meta | {"device": {"kind": "gpu", "namespace": "cupy"}}),
        (SAME, elsewhere(packages=ENVIRONMENT["packages"] | {"pandas": "9.9", "numba": "1.0"})),
        (SAME, elsewhere(packages=ENVIRONMENT["packages"] | {"torch": "2.13", "jaxlib": "0.9"})),
        (SAME, elsewhere(python="3.13.0", optbench="9.0")),
        (SAME, elsewhere(git={"commit": "abc"}, cores=64, processor="other")),
        (SAME, elsewhere(blas=ENVIRONMENT["blas"] * 2)),
        (SAME, RUN.meta | {"device": {"kind": "cpu", "namespace": "numpy", "number": 1}}),
    ],
)
def test_what_decides_bits_and_only_that_makes_another_environment(where, meta):
    finding = only(compare(BASELINE, replace(moved(1e-12), meta=meta)))
    if where:
        assert finding.where == where
    else:
        assert finding.message.startswith("another environment")


def test_values_that_are_not_finite_on_both_sides_or_then_are_no_matter_of_bits():
    lane = rows_of()
    run = with_rows(RUN, lambda rows: lane(rows) & rows["iteration"].eq(10), np.nan)
    run = with_rows(run, lambda rows: lane(rows) & rows["iteration"].eq(11), np.inf)
    assert compare(saved(run), run).findings == ()
    run = with_rows(RUN, lambda rows: rows["lane"].eq(0) & rows["iteration"].eq(10), np.nan)
    assert compare(saved(run), RUN).findings == ()


def test_without_a_stored_tolerance_no_difference_is_let_through():
    baseline = replace(BASELINE, tolerance=BASELINE.tolerance.iloc[:0])
    assert compare(baseline, RUN).findings == ()
    finding = only(compare(baseline, moved(1e-12)))
    assert finding.severity == "failure"
    assert "(tolerance 0)" in finding.message


@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan, np.inf])
def test_a_tolerance_that_is_none_lets_no_difference_through(tolerance):
    baseline = saved(RUN, tolerance=tolerance)
    assert compare(baseline, RUN).findings == ()
    assert only(compare(baseline, moved(1e-12))).severity == "failure"


def test_other_settings_explain_other_numbers():
    verdict = compare(BASELINE, edited(moved(1.0), "adam", hp_lr=0.2))
    assert told(verdict) == [
        ("failure", kind, "mnist-mlp", "adam") for kind in ("settings", "numerics")
    ]
    assert verdict.findings[1].consequence
    assert verdict.findings[1].message.endswith("its settings differ too")
