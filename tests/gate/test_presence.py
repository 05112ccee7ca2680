from dataclasses import replace

import numpy as np
import pytest

from optbench.gate.compare import compare
from tests.gate.made import (
    edited,
    function_lanes,
    made,
    network_lanes,
    only,
    saved,
    told,
    with_rows,
    without_lanes,
)

RUN = made(network_lanes() + function_lanes())
BASELINE = saved(RUN)


def adam(run=RUN, seeds=(2, 5), **values):
    return edited(run, "adam", seeds, **values)


def presence(verdict):
    return [finding for finding in verdict.findings if finding.kind == "presence"]


def cut(run, lanes, after):
    """Return a run in which lanes have no rows after an iteration."""
    gone = run.trace["lane"].isin(lanes) & (run.trace["iteration"] > after)
    return replace(run, trace=run.trace[~gone].reset_index(drop=True))


DIVERGED = {"status": "diverged", "final_loss": np.nan, "diverged_at": 30.0, "iterations": 30}


def adam_lanes(*seeds):
    lanes = RUN.lanes
    return lanes.loc[(lanes["label"] == "adam") & lanes["seed"].isin(seeds), "lane"].tolist()


def test_missing_lanes_are_one_failure_a_label():
    run = without_lanes(RUN, lambda lanes: (lanes["label"] == "adam") & (lanes["seed"] > 4))
    verdict = compare(BASELINE, run)
    assert ("failure", "presence", "mnist-mlp", "adam") in told(verdict)
    finding = presence(verdict)[0]
    assert finding.message == "3 lanes missing from the run: seeds 5–7"
    assert finding.values == {"seeds": [5, 6, 7], "lanes": 3}
    assert (verdict.matched, verdict.exit_code) == (14, 3)


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


def test_lanes_that_diverge_now_fail_with_the_iteration_and_otherwise_are_noticed():
    run = cut(adam(**DIVERGED), adam_lanes(2, 5), 30)
    verdict = compare(BASELINE, run)
    finding = only(verdict)  # the others end with the losses that they had
    assert (finding.severity, finding.kind) == ("failure", "presence")
    assert (finding.seed, finding.iteration) == (2, 30)
    assert finding.message.startswith("diverged at iteration 30, was done with loss 0.2")
    assert finding.message.endswith("2 of 8 lanes")
    assert verdict.exit_code == 3
    verdict = compare(saved(run), RUN)
    finding = presence(verdict)[0]
    assert (finding.severity, verdict.exit_code) == ("notice", 0)
    assert finding.message.startswith("was diverged, is done with loss 0.2")
    assert presence(compare(saved(run), run)) == []
    later = cut(adam(**DIVERGED | {"diverged_at": 40.0, "iterations": 40}), adam_lanes(2, 5), 40)
    finding = presence(compare(saved(run), later))[0]
    expected = "diverged at iteration 30 then, diverged at iteration 40 now; 2 of 8 lanes"
    assert (finding.severity, finding.message) == ("notice", expected)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("failed", "failed, was done"),
        ("interrupted", "did not end: it is interrupted, was done"),
        ("running", "did not end: it is running, was done"),
    ],
)
def test_lanes_that_did_not_end_fail(status, message):
    verdict = compare(BASELINE, adam(status=status, final_loss=np.nan, iterations=np.nan))
    finding = presence(verdict)[0]
    assert (finding.severity, finding.message) == ("failure", f"{message}; 2 of 8 lanes")


def test_no_number_for_a_final_loss_that_was_one_fails():
    finding = presence(compare(BASELINE, adam(final_loss=np.nan, seeds=[3])))[0]
    assert (finding.severity, finding.seed) == ("failure", 3)
    assert finding.message.startswith("final loss 0.2")
    assert finding.message.endswith("then, none now; 1 of 8 lanes")
    run = adam(final_loss=np.nan)
    assert presence(compare(saved(run), run)) == []


def test_no_number_in_a_row_fails_once_and_names_the_first():
    (lane,) = adam_lanes(3)
    run = with_rows(RUN, lambda rows: rows["lane"].eq(lane) & rows["iteration"].ge(60), np.nan)
    for now in (run, adam(run, seeds=[3], final_loss=None)):
        found = presence(compare(BASELINE, now))
        assert [(f.severity, f.iteration, f.seed) for f in found] == [("failure", 60, 3)]
        assert "then, nan now at iteration 60" in found[0].message


def test_rows_that_are_gone_fail_unless_the_lane_ended_before_them():
    finding = presence(compare(BASELINE, cut(RUN, adam_lanes(3), 20)))[0]
    assert (finding.severity, finding.iteration) == ("failure", 21)
    assert "no row now at iteration 21" in finding.message
    ended = adam(seeds=[3], status="stopped", stopped_at=20.0, iterations=20)
    finding = only(compare(BASELINE, cut(ended, adam_lanes(3), 20)))
    assert finding.severity == "notice"
    assert finding.message == "done then, stopped at iteration 20 now; 1 of 8 lanes"


def test_rows_that_are_gone_fail_whatever_the_run_says_of_its_lane():
    gone = cut(RUN, adam_lanes(3), -1)
    finding = presence(compare(BASELINE, edited(gone, "adam", [3], iterations=None)))[0]
    assert (finding.severity, finding.iteration) == ("failure", 0)
    last = function_lanes()[0].loss.size - 1
    (lane,) = RUN.lanes.loc[RUN.lanes["problem"] == "anisotropic", "lane"]
    assert only(compare(BASELINE, cut(RUN, [lane], last - 1))).iteration == last
    diverged = cut(adam(**DIVERGED), adam_lanes(2, 5), 30)
    finding = presence(compare(saved(diverged), cut(diverged, adam_lanes(2, 5), 10)))[0]
    assert (finding.severity, finding.iteration) == ("failure", 11)
    assert "no row now at iteration 11; 2 of 8 lanes" in finding.message


def test_stopping_elsewhere_is_a_notice():
    then = adam(status="stopped", stopped_at=100.0)
    now = adam(status="stopped", stopped_at=90.0)
    finding = only(compare(saved(then), now))
    assert (finding.severity, finding.kind, finding.iteration) == ("notice", "presence", 90)
    assert compare(saved(then), then).findings == ()


def test_the_row_after_the_last_update_counts_as_well():
    def last(rows):
        return rows["lane"].eq(RUN.lanes["lane"].max()) & rows["iteration"].eq(30)

    assert last(RUN.trace).sum() == 1
    finding = only(compare(BASELINE, with_rows(RUN, last, np.nan)))
    assert (finding.where, finding.iteration) == ("anisotropic, sgd, seed 0", 30)
