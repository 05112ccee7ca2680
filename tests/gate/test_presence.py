import numpy as np
import pytest

from optbench.gate.compare import compare
from tests.gate.made import (
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_lanes,
    with_trace,
    without_lanes,
)

RUN = made(network_lanes() + function_lanes())
BASELINE = saved(RUN)


def edited(run=RUN, label="adam", seeds=(2, 5), **values):
    def change(lanes):
        rows = (lanes["label"] == label) & lanes["seed"].isin(seeds)
        for name, value in values.items():
            if isinstance(value, str):
                lanes[name] = lanes[name].astype(object)
            lanes.loc[rows, name] = value

    return with_lanes(run, change)


def cut(run, lanes, after):
    """Return a run in which lanes have no rows after an iteration."""
    trace = run.trace
    kept = ~(trace["lane"].isin(lanes) & (trace["iteration"] > after))
    return type(run)(**(vars(run) | {"trace": trace[kept].reset_index(drop=True)}))


DIVERGED = {"status": "diverged", "final_loss": np.nan, "diverged_at": 30.0, "iterations": 30}


def adam_lanes(*seeds):
    lanes = RUN.lanes
    return lanes.loc[(lanes["label"] == "adam") & lanes["seed"].isin(seeds), "lane"].tolist()


def test_missing_lanes_are_one_failure_a_label():
    run = without_lanes(RUN, lambda lanes: (lanes["label"] == "adam") & (lanes["seed"] > 4))
    verdict = compare(BASELINE, run)
    assert ("failure", "presence", "mnist-mlp", "adam") in told(verdict)
    finding = next(f for f in verdict.findings if f.kind == "presence")
    assert finding.message == "3 lanes missing from the run: seeds 5–7"
    assert finding.values == {"seeds": [5, 6, 7], "lanes": 3}
    assert verdict.matched == 14
    assert verdict.exit_code == 3


def test_a_problem_that_is_missing_fails_and_a_new_one_is_a_notice():
    network = made(network_lanes())
    finding = only(compare(BASELINE, network))
    assert (finding.severity, finding.where) == ("failure", "anisotropic, sgd")
    assert finding.message == "1 lane missing from the run: seed 0"
    verdict = compare(saved(network), RUN)
    assert (only(verdict).severity, verdict.exit_code) == ("notice", 0)
    assert only(verdict).message == "1 lane not in the baseline: seed 0"


def test_other_seeds_leave_nothing_to_compare_and_say_what_there_is():
    verdict = compare(saved(made(network_lanes())), made(network_lanes(seeds=range(8, 16))))
    assert (verdict.matched, verdict.exit_code, verdict.groups) == (0, 5, ())
    assert only(verdict).message == (
        "no lane has the problem, label and seed of one in the baseline, which has mnist-mlp with "
        "sgd, adam, seeds 0–7; the run has mnist-mlp with sgd, adam, seeds 8–15"
    )


def test_lanes_that_diverge_now_fail_with_the_iteration():
    run = cut(edited(**DIVERGED), adam_lanes(2, 5), 30)
    verdict = compare(BASELINE, run)
    finding = next(f for f in verdict.findings if f.kind == "presence")
    assert (finding.severity, finding.seed, finding.iteration) == ("failure", 2, 30)
    assert finding.message.startswith("diverged at iteration 30, was done with loss 0.2")
    assert finding.message.endswith("2 of 8 lanes")
    assert only(verdict) == finding  # the others end with the losses that they had
    assert verdict.exit_code == 3


def test_lanes_that_no_longer_diverge_are_a_notice():
    verdict = compare(saved(cut(edited(**DIVERGED), adam_lanes(2, 5), 30)), RUN)
    finding = next(f for f in verdict.findings if f.kind == "presence")
    assert finding.severity == "notice"
    assert finding.message.startswith("was diverged, is done with loss 0.2")
    assert verdict.exit_code == 0


def test_diverging_as_then_is_nothing_to_tell_but_where_it_happened_is():
    run = cut(edited(**DIVERGED), adam_lanes(2, 5), 30)
    assert not any(f.kind == "presence" for f in compare(saved(run), run).findings)
    later = cut(edited(**DIVERGED | {"diverged_at": 40.0, "iterations": 40}), adam_lanes(2, 5), 40)
    finding = next(f for f in compare(saved(run), later).findings if f.kind == "presence")
    assert finding.severity == "notice"
    assert finding.message == (
        "diverged at iteration 30 then, diverged at iteration 40 now; 2 of 8 lanes"
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("failed", "failed, was done"),
        ("interrupted", "did not end: it is interrupted, was done"),
        ("running", "did not end: it is running, was done"),
    ],
)
def test_lanes_that_did_not_end_fail(status, message):
    verdict = compare(BASELINE, edited(status=status, final_loss=np.nan, iterations=np.nan))
    finding = next(f for f in verdict.findings if f.kind == "presence")
    assert (finding.severity, finding.message) == ("failure", f"{message}; 2 of 8 lanes")


def test_no_number_for_a_final_loss_that_was_one_fails():
    verdict = compare(BASELINE, edited(final_loss=np.nan, seeds=[3]))
    finding = next(f for f in verdict.findings if f.kind == "presence")
    assert (finding.severity, finding.seed) == ("failure", 3)
    assert finding.message.startswith("final loss 0.2")
    assert finding.message.endswith("then, none now; 1 of 8 lanes")


def test_no_number_in_a_row_fails_once_and_names_the_first():
    def spoil(trace):
        rows = trace["lane"].isin(adam_lanes(3))
        trace.loc[rows & (trace["iteration"] >= 60), "loss"] = np.nan

    for run in (with_trace(RUN, spoil), edited(with_trace(RUN, spoil), seeds=[3], final_loss=None)):
        found = [f for f in compare(BASELINE, run).findings if f.kind == "presence"]
        assert [(f.severity, f.iteration, f.seed) for f in found] == [("failure", 60, 3)]
        assert "then, nan now at iteration 60" in found[0].message


def test_no_number_then_and_now_is_nothing_to_tell():
    run = edited(final_loss=np.nan)
    assert not any(f.kind == "presence" for f in compare(saved(run), run).findings)


def test_rows_that_are_gone_fail_unless_the_lane_ended_before_them():
    finding = next(
        f for f in compare(BASELINE, cut(RUN, adam_lanes(3), 20)).findings if f.kind == "presence"
    )
    assert (finding.severity, finding.iteration) == ("failure", 21)
    assert "no row now at iteration 21" in finding.message
    ended = edited(seeds=[3], status="stopped", stopped_at=20.0, iterations=20)
    finding = only(compare(BASELINE, cut(ended, adam_lanes(3), 20)))
    assert finding.severity == "notice"
    assert finding.message == "done then, stopped at iteration 20 now; 1 of 8 lanes"


def test_stopping_elsewhere_is_a_notice():
    then = edited(status="stopped", stopped_at=100.0)
    now = edited(status="stopped", stopped_at=90.0)
    finding = only(compare(saved(then), now))
    assert (finding.severity, finding.kind, finding.iteration) == ("notice", "presence", 90)
    assert compare(saved(then), then).findings == ()


def test_the_row_after_the_last_update_counts_as_well():
    def spoil(trace):
        last = trace["lane"].eq(RUN.lanes["lane"].max()) & trace["iteration"].eq(30)
        assert last.sum() == 1
        trace.loc[last, "loss"] = np.nan

    finding = only(compare(BASELINE, with_trace(RUN, spoil)))
    assert (finding.where, finding.iteration) == ("anisotropic, sgd, seed 0", 30)
