import numpy as np
import pytest

from optbench.records import Status
from optbench.report.curves import LaneLoss, lane_losses, median_curve, starting_loss
from optbench.report.statistics import smooth
from tests.report.runs import Lane, function_problem, function_run, tables, with_every


def lane(loss, status=Status.DONE, number=0):
    return LaneLoss(number, status, np.asarray(loss, dtype=float), np.arange(len(loss)))


def test_losses_are_read_lane_by_lane_in_order_of_iterations():
    run = function_run()
    shuffled = type(run)(**(vars(run) | {"trace": run.trace.sample(frac=1.0, random_state=0)}))
    found = lane_losses(shuffled, "anisotropic")
    assert list(found) == [0, 1, 2, 3]
    for number, each in found.items():
        expected = run.trace.loc[run.trace["lane"] == number, "loss"]
        np.testing.assert_array_equal(each.loss, expected)


def test_a_lane_ends_before_its_first_value_that_is_not_finite():
    lanes = [
        Lane("sgd", [1.0, 2.0, np.inf], status=Status.DIVERGED),
        Lane("adam", [np.nan], status=Status.DIVERGED),
        Lane("rprop", [], status=Status.FAILED),
    ]
    found = lane_losses(tables(lanes, [function_problem()]), "anisotropic")
    assert [each.loss.tolist() for each in found.values()] == [[1.0, 2.0], [], []]
    assert found[0].status == Status.DIVERGED


def test_the_curve_is_the_median_of_smoothed_lanes_and_not_the_smoothed_median():
    rows = np.random.default_rng(0).normal(size=(3, 40))
    curve = median_curve([lane(each) for each in rows], window=11)
    each_smoothed = np.stack([smooth(each) for each in rows])
    np.testing.assert_allclose(curve.median, np.median(each_smoothed, axis=0))
    np.testing.assert_allclose(curve.low, each_smoothed.min(axis=0))
    np.testing.assert_allclose(curve.high, each_smoothed.max(axis=0))
    assert not np.allclose(curve.median, smooth(np.median(rows, axis=0)))


def test_the_band_of_many_seeds_leaves_out_the_tails():
    curve = median_curve([lane(np.full(5, float(level))) for level in range(21)])
    np.testing.assert_allclose((curve.low[0], curve.median[0], curve.high[0]), (2.0, 10.0, 18.0))


def test_after_its_end_a_diverged_lane_is_the_worst():
    lanes = [lane([1.0] * 4), lane([2.0, 2.0], Status.DIVERGED), lane([3.0] * 4)]
    curve = median_curve(lanes)
    np.testing.assert_array_equal(curve.median, [2.0, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(curve.high, [3.0, 3.0, np.inf, np.inf])


@pytest.mark.parametrize(
    ("status", "median"),
    [
        (Status.STOPPED, [3.5, 3.0, 3.0]),  # keeps its last value
        (Status.RUNNING, [3.5, 3.0]),  # ends the curve
        (Status.INTERRUPTED, [3.5, 3.0]),
    ],
)
def test_a_lane_that_is_shorter_than_the_others(status, median):
    curve = median_curve([lane([3.0, 2.0], status), lane([4.0, 4.0, 4.0])])
    np.testing.assert_array_equal(curve.median, median)
    assert median_curve([lane([], status)]).median.size == 0


def test_smoothing_a_diverged_lane_does_not_look_beyond_its_end():
    loss = np.linspace(1.0, 2.0, 15)
    curve = median_curve([lane(loss, Status.DIVERGED), lane(np.ones(20))], window=11)
    np.testing.assert_allclose(curve.high[:15], smooth(loss))
    assert np.isposinf(curve.high[15:]).all()


def test_the_start_is_the_median_of_first_rows():
    assert starting_loss([lane([2.0, 1.0]), lane([2.2]), lane([1e30]), lane([])]) == 2.2
    assert np.isnan(starting_loss([lane([])]))


@pytest.mark.parametrize("every", [1, 3, 7, 100])
def test_of_thinned_lanes_the_curve_has_the_rows_that_all_have_which_got_so_far(every):
    """At these iterations it is the curve of all rows, once lanes that ended have ended in both."""
    random = np.random.default_rng(3)
    ends = [(40, Status.DONE), (40, Status.DONE), (11, Status.STOPPED), (21, Status.STOPPED)]
    lanes = [
        Lane("sgd", random.normal(size=end + 1), seed=seed, status=status)
        for seed, (end, status) in enumerate([*ends, (40, Status.DONE)])
    ]
    run = tables(lanes, [function_problem(iterations=40)])
    whole = median_curve([*lane_losses(run, "anisotropic").values()])
    thin = [*lane_losses(with_every(run, every), "anisotropic").values()]
    assert [each.end for each in thin] == [40, 40, 11, 21, 40]
    curve = median_curve(thin)
    assert curve.iterations.tolist() == sorted({*range(0, 41, every), 40})
    for name in ("median", "low", "high"):
        expected = getattr(whole, name)[curve.iterations]
        np.testing.assert_array_equal(getattr(curve, name), expected)


def test_a_thinned_lane_that_diverged_is_the_worst_from_the_next_row_on():
    lanes = [
        Lane("sgd", np.full(21, 1.0)),
        Lane("sgd", [*np.full(13, 2.0), np.nan], seed=1, status=Status.DIVERGED),
    ]
    run = with_every(tables(lanes, [function_problem(iterations=20)]), 5)
    found = lane_losses(run, "anisotropic")
    assert found[1].iterations.tolist() == [0, 5, 10]
    curve = median_curve([*found.values()])
    assert curve.iterations.tolist() == [0, 5, 10, 15, 20]
    np.testing.assert_array_equal(curve.high, [2.0, 2.0, 2.0, np.inf, np.inf])


def test_a_thinned_lane_that_goes_on_ends_the_curve_at_its_last_row():
    lanes = [
        Lane("sgd", np.full(21, 1.0)),
        Lane("sgd", np.full(13, 2.0), seed=1, status=Status.RUNNING),
        Lane("sgd", [], seed=2, status=Status.FAILED),
    ]
    run = with_every(tables(lanes, [function_problem(iterations=20)]), 5)
    curve = median_curve([*lane_losses(run, "anisotropic").values()][:2])
    assert curve.iterations.tolist() == [0, 5, 10]
    curve = median_curve([*lane_losses(run, "anisotropic").values()])
    np.testing.assert_array_equal(curve.high, np.full(3, np.inf))
