"""What rankings read of a run, taken piece by piece, gives what all of it gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.device.cpu import NumpyDevice
from optbench.engine.stopping import Rules
from optbench.records import BEST_AT, Status
from optbench.report.configurations import RANKED_BY, configurations, last_evaluations
from optbench.report.domain import grown_domain, lanes_outside
from optbench.report.summaries import summary
from optbench.runs.pipeline import plan_run, run_plan
from optbench.store import reader
from optbench.store.reader import read_run
from tests.report.runs import Lane, function_problem, tables
from tests.small import anisotropic, quadratic, small_network, suite

ROWS = 12


def kept_of(name, rows, lanes, cuts) -> pd.DataFrame:
    """Return what is kept of rows that are read in pieces."""
    kept = rows.iloc[:0]
    for piece in np.split(np.arange(len(rows)), sorted(cuts)):
        kept = RANKED_BY[name](pd.concat([kept, rows.iloc[piece]], ignore_index=True), lanes)
    return kept


@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 6 * ROWS), max_size=8),
    by_lane=st.booleans(),
)
def test_rows_that_say_where_lanes_ended(seed, cuts, by_lane):
    """Positions wander in and out of domains and stop being finite; pieces are cut anywhere.

    Files of a long run hold all lanes of some iterations, then those of the next.
    """
    random = np.random.default_rng(seed)
    problems, lanes = [], []
    for variables in (1, 2, 3):
        guessed = random.random(variables) < 0.5
        plot = {"domain": [[-1.0, 1.0]] * variables, "guessed": guessed.tolist(), "levels": None}
        name = f"of {variables}"
        names = ["x", "y", "z"][:variables]
        problems.append(function_problem(name, variables=names, minima=[], plot=plot))
        for _ in range(2):
            count = random.integers(1, ROWS + 1)
            position = random.normal(scale=1.5, size=(count, variables))
            position[random.random(position.shape) < 0.4] = random.choice([np.nan, np.inf, 1e9])
            loss = random.normal(size=count)
            loss[random.random(count) < 0.1] = np.nan
            status = random.choice([Status.DONE, Status.DIVERGED])
            lanes.append(Lane("sgd", loss, name, position=position, status=Status(status)))
    whole = tables(lanes, problems)
    if not by_lane:
        shuffled = whole.trace.sort_values("iteration", kind="stable", ignore_index=True)
        whole = replace(whole, trace=shuffled)
    some = replace(whole, trace=kept_of("trace", whole.trace, whole.lanes, cuts))
    assert len(some.trace) <= 5 * len(lanes)
    assert not some.trace.duplicated(["lane", "iteration"]).any()
    assert lanes_outside(some) == lanes_outside(whole)
    for problem in problems[1:]:
        grown = grown_domain(whole, problem["problem"], range(len(lanes)))
        assert grown_domain(some, problem["problem"], range(len(lanes))) == grown
    pd.testing.assert_frame_equal(configurations(some), configurations(whole), check_exact=True)


@given(
    seed=st.integers(0, 2**32),
    cuts=st.lists(st.integers(0, 30), max_size=8),
    patience=st.booleans(),
)
def test_evaluations_that_say_what_lanes_reached(seed, cuts, patience):
    random = np.random.default_rng(seed)
    places = [(at, lane, split) for at in range(5) for split in "ab" for lane in range(3)]
    columns = pd.DataFrame(places, columns=["iteration", "lane", "split"])
    rows = columns.assign(loss=random.random(30), error=random.random(30))
    lanes = pd.DataFrame({"lane": range(3)})
    if patience:
        lanes[BEST_AT] = [2, 4, None]
    kept = kept_of("evaluation", rows, lanes, cuts)
    assert len(kept) == 6
    keys = ["lane", "split"]
    for lane, split in kept[keys].itertuples(index=False):
        best = lanes[BEST_AT][lane] if patience else None
        own = rows[(rows["lane"] == lane) & (rows["split"] == split)]
        (found,) = kept.loc[(kept["lane"] == lane) & (kept["split"] == split), "loss"]
        assert found == own["loss"].iloc[4 if best is None or np.isnan(best) else int(best)]
    expected = last_evaluations(rows, lanes).sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(kept.sort_values(keys, ignore_index=True), expected)


@pytest.mark.parametrize("piece", [1, 7, 2**18])
def test_the_summary_of_a_run_needs_no_more(piece, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_ROWS", piece)
    rates = [{"lr": rate} for rate in (0.1, 1.05, 1e200)]
    given = {"optimizers": [("sgd", rates), "adam"], "seeds": (0, 7)}
    functions = suite(anisotropic(), quadratic(), iterations=50, **given)
    rules = Rules(patience=8, evaluate_every=5)
    network = suite(small_network(), iterations=30, rules=rules, **given)
    settled = replace(functions, problems=(*functions.problems, *network.problems))
    device = NumpyDevice()
    path = run_plan(plan_run(settled, device, workers=1), device, tmp_path, "i").path
    whole, some = read_run(path), read_run(path, RANKED_BY)
    assert {"diverged", "stopped", "done"} <= {*whole.lanes["status"]}
    assert lanes_outside(whole)
    pd.testing.assert_frame_equal(summary(some), summary(whole), check_exact=True)
    pd.testing.assert_frame_equal(some.lanes, whole.lanes)
    assert len(some.trace) <= 5 * len(whole.lanes) < len(whole.trace)
    assert len(some.evaluation) <= 3 * len(whole.lanes) < len(whole.evaluation)
