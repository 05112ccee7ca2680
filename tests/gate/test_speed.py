from dataclasses import replace

import pytest

from optbench.gate.compare import compare
from optbench.gate.verdict import Gate
from tests.gate.made import edited, made, network_lanes, only, saved

RUN = made(network_lanes(step_seconds=0.01), calibration_seconds=2e-3)
BASELINE = saved(RUN)


def slower(factor, label="adam"):
    return edited(RUN, label, step_seconds=0.01 * factor)


def test_a_slower_step_is_noticed_with_the_ratio_and_a_gate_may_fail_on_it():
    verdict = compare(BASELINE, slower(1.6))
    finding = only(verdict)
    assert (finding.severity, finding.kind, finding.where) == ("notice", "speed", "mnist-mlp, adam")
    assert finding.message.startswith("a step takes 1.60 times as long")
    assert finding.values["ratio"] == finding.size == pytest.approx(1.6)
    assert verdict.exit_code == 0
    verdict = compare(BASELINE, slower(1.6), Gate(fail_on_speed=True))
    assert (only(verdict).severity, verdict.exit_code) == ("failure", 3)


def test_within_the_ratio_nothing_is_said_and_the_ratio_can_be_set():
    assert compare(BASELINE, slower(1.4)).findings == ()
    assert compare(BASELINE, slower(1.4), Gate(slowdown=1.3)).findings != ()
    assert compare(BASELINE, slower(0.1)).findings == ()


def test_time_is_relative_to_the_calibration_loop():
    machine = replace(slower(3.0), meta=RUN.meta | {"calibration_seconds": 6e-3})
    assert compare(BASELINE, machine).findings == ()  # three times slower, as is the loop
    busy = replace(RUN, meta=RUN.meta | {"calibration_seconds": 1e-3})
    assert {f.values["ratio"] for f in compare(BASELINE, busy).findings} == {2.0}


def test_the_median_over_lanes_counts():
    times = RUN.lanes["step_seconds"].copy()
    times[[0, 3, 5]], times[1] = 1.0, None
    assert compare(BASELINE, edited(RUN, step_seconds=times)).findings == ()


@pytest.mark.parametrize("side", ["baseline", "run"])
def test_without_calibration_nothing_is_compared_and_that_is_said_to_who_asked(side):
    bare = replace(slower(9.0), meta=RUN.meta | {"calibration_seconds": None})
    baseline, run = (saved(bare), slower(9.0)) if side == "baseline" else (BASELINE, bare)
    assert compare(baseline, run).findings == ()
    finding = only(compare(baseline, run, Gate(fail_on_speed=True)))
    assert finding.severity == "warning"
    assert finding.message == (
        f"speed not compared: the {side} has no time of the calibration loop"
    )


def test_lanes_in_other_company_are_not_compared():
    run = edited(slower(9.0), workers=4)
    assert compare(BASELINE, run).findings == ()
    finding = only(compare(BASELINE, run, Gate(fail_on_speed=True)))
    assert finding.severity == "warning"
    assert finding.message == (
        "speed not compared: blocks or workers differ from those of the baseline "
        "for mnist-mlp, sgd and 1 more"
    )


def test_times_of_another_kind_of_device_are_not_compared():
    run = replace(slower(9.0), meta=RUN.meta | {"device": {"kind": "gpu", "namespace": "cupy"}})
    found = compare(BASELINE, run, Gate(fail_on_speed=True)).findings
    assert [f.message for f in found if f.kind == "speed"] == [
        "speed not compared: device cpu then, gpu now"
    ]


def test_steps_that_took_too_little_time_are_not_compared():
    """Lanes make 120 steps: 0.12 s is enough, 0.06 s is not."""
    short, long = slower(1e-3 / 0.02), slower(1e-3 / 0.01)
    assert only(compare(saved(long), slower(1.0))).values["ratio"] == pytest.approx(10.0)
    assert compare(saved(short), slower(1.0)).findings == ()
    assert compare(BASELINE, short).findings == ()
    finding = only(compare(saved(short), RUN, Gate(fail_on_speed=True)))
    assert finding.message == (
        "speed not compared: steps took less than 0.1 s in all for mnist-mlp, adam"
    )


def test_lanes_without_times_are_not_compared():
    for then, now in ((float("nan"), 2.0), (1.0, float("nan"))):
        assert compare(saved(slower(then)), slower(now)).findings == ()
