from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from optbench.gate.compare import compare
from optbench.gate.verdict import Gate
from tests.gate.made import (
    ENVIRONMENT,
    TOLERANCE,
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_lanes,
    with_trace,
)

RUN = made(network_lanes() + function_lanes())
BASELINE = saved(RUN)


def lane_of(label, seed, problem="mnist-mlp"):
    lanes = RUN.lanes
    chosen = (lanes["problem"] == problem) & (lanes["label"] == label) & (lanes["seed"] == seed)
    return int(lanes.loc[chosen, "lane"].iloc[0])


def moved(by, label="adam", seed=3, first=0, run=RUN):
    """Return a run in which the losses of a lane are moved from an iteration on."""

    def change(trace):
        rows = (trace["lane"] == lane_of(label, seed)) & (trace["iteration"] >= first)
        trace.loc[rows, "loss"] += by

    return with_trace(run, change)


def elsewhere(**changes):
    meta = deepcopy(RUN.meta)
    meta["environment"] |= changes
    return meta


def test_a_changed_bit_in_the_same_environment_is_a_notice():
    finding = only(compare(BASELINE, moved(1e-12, first=7)))
    assert (finding.severity, finding.kind) == ("notice", "numerics")
    assert finding.where == "mnist-mlp, adam, seed 3"
    assert finding.iteration == 7
    loss = float(RUN.trace.loc[RUN.trace["lane"] == lane_of("adam", 3), "loss"].iloc[7])
    assert finding.values["then"] == loss
    assert finding.values["now"] == loss + 1e-12
    assert finding.values["tolerance"] == TOLERANCE
    assert not finding.values["beyond_tolerance"]
    assert f"loss {loss!r} then, {loss + 1e-12!r} now at iteration 7" in finding.message
    assert finding.message.endswith("(tolerance 1e-06); 1 of 8 lanes")


def test_one_unit_in_the_last_place_is_a_changed_bit():
    def change(trace):
        trace.loc[trace["iteration"] == 49, "loss"] = np.nextafter(
            trace.loc[trace["iteration"] == 49, "loss"], 0.0
        )

    finding = compare(BASELINE, with_trace(RUN, change)).findings[0]
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
    "meta",
    [
        elsewhere(blas=[ENVIRONMENT["blas"][0] | {"architecture": "SkylakeX"}]),
        elsewhere(packages=ENVIRONMENT["packages"] | {"numpy": "2.5.0"}),
        elsewhere(packages=ENVIRONMENT["packages"] | {"scipy": "2.13"}),
        elsewhere(system="Darwin"),
        RUN.meta | {"numerics_version": 2},
        RUN.meta | {"device": {"kind": "gpu", "namespace": "cupy"}},
    ],
)
def test_what_decides_bits_makes_another_environment(meta):
    finding = only(compare(BASELINE, replace(moved(1e-12), meta=meta)))
    assert finding.message.startswith("another environment")


@pytest.mark.parametrize(
    "meta",
    [
        elsewhere(packages=ENVIRONMENT["packages"] | {"pandas": "9.9", "numba": "1.0"}),
        elsewhere(packages=ENVIRONMENT["packages"] | {"torch": "2.13", "jaxlib": "0.9"}),
        elsewhere(python="3.13.0", optbench="9.0"),
        elsewhere(git={"commit": "abc"}, cores=64, processor="other"),
        elsewhere(blas=ENVIRONMENT["blas"] * 2),
        RUN.meta | {"device": {"kind": "cpu", "namespace": "numpy", "number": 1}},
    ],
)
def test_what_decides_no_bits_leaves_the_environment_the_same(meta):
    finding = only(compare(BASELINE, replace(moved(1e-12), meta=meta)))
    assert finding.where == "mnist-mlp, adam, seed 3"


def test_values_that_are_not_finite_on_both_sides_are_equal():
    def spoil(trace):
        rows = trace["lane"] == lane_of("adam", 3)
        trace.loc[rows & (trace["iteration"] == 10), "loss"] = np.nan
        trace.loc[rows & (trace["iteration"] == 11), "loss"] = np.inf

    run = with_trace(RUN, spoil)
    assert compare(saved(run), run).findings == ()


def test_a_number_where_none_was_is_no_matter_of_bits():
    def spoil(trace):
        trace.loc[(trace["lane"] == 0) & (trace["iteration"] == 10), "loss"] = np.nan

    assert compare(saved(with_trace(RUN, spoil)), RUN).findings == ()


def test_without_a_stored_tolerance_only_bits_are_compared():
    baseline = replace(BASELINE, tolerance=BASELINE.tolerance.iloc[:0])
    finding = only(compare(baseline, moved(1.0)))
    assert finding.severity == "notice"
    assert "tolerance none stored" in finding.message
    assert finding.values["tolerance"] is None


def test_a_tolerance_of_zero_lets_no_difference_through():
    baseline = saved(RUN, tolerance=0.0)
    assert compare(baseline, RUN).findings == ()
    assert only(compare(baseline, moved(1e-12))).severity == "failure"


def test_other_settings_explain_other_numbers():
    def change(lanes):
        lanes.loc[lanes["label"] == "adam", "hp_lr"] = 0.2

    verdict = compare(BASELINE, with_lanes(moved(1.0), change))
    assert told(verdict) == [
        ("failure", "settings", "mnist-mlp", "adam"),
        ("failure", "numerics", "mnist-mlp", "adam"),
    ]
    assert verdict.findings[1].consequence
    assert verdict.findings[1].message.endswith("its settings differ too")
