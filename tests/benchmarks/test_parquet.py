"""The section that times writing runs against the writer as it is."""

from benchmarks.speed import ours, parquet


def test_it_writes_a_trace_and_counts_its_rows(monkeypatch):
    monkeypatch.setattr(parquet, "LANES", 40)
    monkeypatch.setattr(parquet, "STEPS", 5)
    found = parquet.run(2, quick=False, say=lambda line: None)
    assert found["rows"] == 40 * 6
    assert len(found["rows_per_second"]) == 2
    assert all(rate > 0 for rate in found["rows_per_second"])


def test_rules_are_compiled_before_they_are_timed(monkeypatch):
    monkeypatch.setattr(ours.jit, "COMPILE_AFTER", 10**10)
    monkeypatch.setattr(ours.jit, "LOAD_AFTER", 10**10)
    ours.compile_rules(["adam"], 1, function=True)
    assert ours.jit.COMPILE_AFTER == ours.jit.LOAD_AFTER == 0
