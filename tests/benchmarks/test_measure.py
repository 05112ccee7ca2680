import pytest

from benchmarks.speed.measure import Spread, interleave, pooled, spread, timed


def test_spread_holds_median_extremes_and_count():
    assert spread([4.0, 1.0, 9.0, 2.0]) == Spread(median=3.0, lowest=1.0, highest=9.0, samples=4)


def test_pooled_takes_the_samples_of_all_cases_alike():
    samples = {"sgd": [1.0, 1.0, 1.0], "adam": [5.0, 7.0]}
    assert pooled(samples) == Spread(median=1.0, lowest=1.0, highest=7.0, samples=5)


def test_contenders_take_turns_within_a_case_and_round(monkeypatch):
    monkeypatch.setattr("benchmarks.speed.measure.REST_SECONDS", 0.0)
    monkeypatch.setattr("benchmarks.speed.measure.gc.collect", lambda: 0)
    order, said = [], []

    def work(name, case):
        def run():
            order.append((name, case))
            return float(len(order))

        return run

    table = {name: {case: work(name, case) for case in ("x", "y")} for name in ("a", "b")}
    table["c"] = {"y": work("c", "y")}
    samples = interleave(table, 2, said.append)
    one_round = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y"), ("c", "y")]
    assert order == one_round * 2
    assert samples["a"] == {"x": [1.0, 6.0], "y": [3.0, 8.0]}
    assert samples["c"] == {"y": [5.0, 10.0]}
    assert said == ["round 1 of 2: x", "round 1 of 2: y", "round 2 of 2: x", "round 2 of 2: y"]


def test_time_is_divided_by_the_units_of_work(monkeypatch):
    readings = iter([10.0, 16.0])
    monkeypatch.setattr("benchmarks.speed.measure.time.perf_counter", lambda: next(readings))
    assert timed(lambda: None, 4) == 1.5


def test_nothing_has_no_spread():
    with pytest.raises(ValueError, match="empty"):
        spread([])
