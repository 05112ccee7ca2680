import json

import pytest

from benchmarks.speed import cluster, function, network, processes
from benchmarks.speed.report import digits, document, ratio_table, table, to_json, to_text
from benchmarks.speed.targets import Target, share_of_product_rate, targets

MACHINE = {
    "processor": "A Processor",
    "cores": 4,
    "threads": 2,
    "python": "3.11.0",
    "packages": {"numpy": "2.0"},
    "blas": [{"architecture": "Haswell"}],
    "date": "2026-01-02T03:04:05+00:00",
}


def cases(seconds):
    """A sample an optimizer whose median is ``seconds``."""
    return {"sgd": [seconds * 0.5], "adam": [seconds, seconds * 4]}


@pytest.fixture
def sections():
    times = {
        network.TEXTBOOK: cases(8e-3),
        network.TEXTBOOK32: cases(3e-3),
        network.PYTORCH: cases(2e-3),
        network.JAX: cases(1.5e-3),
        network.jax_of(4): cases(1.2e-3),
        network.jax_of(5): cases(1.1e-3),
        network.jax_of(16): cases(0.9e-3),
        network.optbench(1): {network.ALL: [0.5e-3, 1e-3, 4e-3]},
        network.optbench(4): {network.ALL: [0.8e-3]},
        network.optbench(5): {network.ALL: [0.5e-3]},
        network.optbench(16): {network.ALL: [0.4e-3]},
    }
    return {
        "network": {
            "data": "mnist-5k",
            "flop_per_lane_step": 64e6,
            "flop_per_second": {"sgd": [80e9], "adam": [100e9, 120e9]},
            "seconds_per_lane_step": times,
        },
        "function": {
            "seconds_per_lane_step": {
                "textbook": {"adam": [9e-6]},
                function.optbench(10_000): {"adam": [3e-8]},
            }
        },
        "parquet": {"rows_per_second": [9e6]},
        "processes": {"seconds": {processes.HELP: [0.2], processes.RUN: [1.5]}},
        "cluster": {
            "lanes": 32,
            "seconds": {
                cluster.HERE: {cluster.ONE: [100.0], cluster.TWO: [50.0, 51.0, 52.0]},
                cluster.CLUSTER: {cluster.ONE: [102.0, 103.0, 104.0], cluster.TWO: [52.02]},
            },
        },
        "programs": {
            "iterations": 2000,
            "seconds": {"optbench": {"1 seed": [8.0, 9.0, 10.0]}, "JAX": {"1 seed": [6.0]}},
        },
        "models": {"lanes": 16, "ratios": {"PyTorch": 1.2, "JAX": 1.4}},
        "overhead": {"shares": [0.01, 0.03, 0.02]},
        "tuning": {
            "studies": {"network": {"own_seconds": 0.6, "lane_seconds": 10.0, "share": 0.06}}
        },
        "memory": {
            "lanes": 64,
            "peak_bytes": 3 * 2**30,
            "import_bytes": 2**30,
            "needed_bytes": 2**30,
            "ratio": 2.0,
            "long_peak_bytes": {"10000": 300 * 2**20, "100000": 345 * 2**20},
            "long_ratio": 1.15,
        },
    }


def found(sections):
    return {each.name: each for each in targets(sections)}


def test_columns_are_padded_the_first_to_the_left():
    lines = table(["contender", "ms"], [["a", "12.5"], ["bb", "3"]]).splitlines()
    assert lines == [
        "| contender |   ms |",
        "| --------- | ---: |",
        "| a         | 12.5 |",
        "| bb        |    3 |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (1.0, "1.00"), (99.94, "99.9"), (123.4, "123"), (1234567.0, "1,234,567")],
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert digits(value) == text


def test_ratios_are_those_of_the_medians(sections):
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ratio_table(sections["network"]).splitlines()
    ]
    assert rows[0] == ["times faster than", *(f"4 × {seeds} lanes" for seeds in (1, 4, 5, 16))]
    assert rows[2] == [network.TEXTBOOK, "8.00", "10.0", "16.0", "20.0"]
    assert not any(row[0].startswith("optbench") for row in rows)


def test_share_is_of_the_median_rate(sections):
    assert share_of_product_rate(sections["network"], 1e-3) == pytest.approx(0.64)


def test_targets_are_ratios_of_medians_with_as_many_seeds(sections):
    ratios = found(sections)
    expected = {
        "4 optimizers, 1 seed: PyTorch eager": 2.0,
        "4 optimizers, 1 seed: JAX scan of each optimizer": 1.5,
        "4 optimizers, 5 seeds: PyTorch eager": 4.0,
        "4 optimizers, 5 seeds: the textbook's loop": 16.0,
        "4 optimizers, 4 seeds: matrix-product rate": 0.8,
    }
    assert {name: ratios[name].found for name in expected} == pytest.approx(expected)
    assert [ratios[name].reached for name in expected] == [False, True, True, True, True]


def test_limits_from_above(sections):
    limits = found(sections)
    assert limits[processes.HELP].reached
    assert limits[processes.RUN].reached is False
    assert limits["logging and display"].found == 0.02
    assert limits["logging and display"].reached
    assert limits["a study's own work beside its lanes"].reached is False
    assert limits["peak memory, 64 lanes of Adam"].reached is False
    assert limits["peak memory at 10 times the iterations"].reached


def test_other_figures(sections):
    figures = found(sections)
    assert figures["function, 10,000 lanes: the textbook's loop"].found == pytest.approx(300.0)
    assert figures["trace to parquet"].found == pytest.approx(9.0)


def test_the_slowest_rule_counts_beside_adam():
    some = {"rules": {"lanes": 4, "ratios": {"adam": 1.0, "rprop": 1.4, "sgd": 0.8}}}
    target = found(some)["slowest element-wise rule: Adam's step"]
    assert (target.found, target.reached) == (1.4, False)
    assert "4 lanes: rprop 1.40, adam 1.00, sgd 0.800" in to_text(MACHINE, some)


def test_what_was_not_measured_is_null_and_not_missed():
    everything = targets({})
    assert len(everything) == 18
    assert {(each.found, each.reached) for each in everything} == {(None, None)}


def test_a_cluster_is_compared_with_one_worker_and_with_none_of_it(sections):
    figures = found(sections)
    assert figures["cluster: two workers over one"].found == pytest.approx(103 / 52.02)
    dask = figures["cluster: Dask with two workers beside none"]
    assert dask.found == pytest.approx(0.02)
    assert dask.reached
    assert "two workers on a cluster: 52.0" in to_text(MACHINE, sections)


def test_libraries_that_are_not_there_leave_their_targets_open(sections):
    times = sections["network"]["seconds_per_lane_step"]
    for name in [name for name in times if "JAX" in name or "PyTorch" in name]:
        del times[name]
    figures = found(sections)
    assert figures["4 optimizers, 1 seed: PyTorch eager"].found is None
    assert figures["4 optimizers, 1 seed: JAX scan of each optimizer"].found is None
    assert figures["4 optimizers, 5 seeds: the textbook's loop"].found == pytest.approx(16.0)


def test_bounds_belong_to_both_kinds_of_target():
    assert Target("", 2.0, 2.0).reached
    assert Target("", 2.0, 2.0, at_most=True).reached
    assert Target("", 2.0, 1.9).reached is False
    assert Target("", 2.0, 2.1, at_most=True).reached is False


def test_json_holds_machine_samples_summary_and_targets(sections):
    text = to_json(document(MACHINE, sections, rounds=3, quick=False))
    whole = json.loads(text)
    assert text.endswith("}\n")
    assert whole["schema_version"] == 1
    assert (whole["rounds"], whole["quick"]) == (3, False)
    assert whole["machine"] == MACHINE
    part = whole["sections"]["network"]
    assert part["seconds_per_lane_step"][network.PYTORCH]["adam"] == [2e-3, 8e-3]
    assert part["summary"][network.PYTORCH] == {
        "median": 2e-3,
        "lowest": 1e-3,
        "highest": 8e-3,
        "samples": 3,
    }
    assert whole["sections"]["memory"]["ratio"] == 2.0
    by_name = {each["name"]: each for each in whole["targets"]}
    assert by_name[processes.HELP]["reached"] is True


def test_json_has_null_for_what_is_missing_and_no_nan(sections):
    whole = json.loads(to_json(document(MACHINE, {}, rounds=1, quick=True)))
    assert whole["sections"] == {}
    assert whole["targets"][0]["found"] is None
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": float("nan")})


def test_text_shows_every_section_that_was_run(sections):
    text = to_text(MACHINE, sections)
    assert "A Processor, 2 of 4 cores used" in text
    assert "NumPy 2.0 with BLAS kernels for Haswell, 2026" in text
    assert "64 MFLOP a lane-step; large float32 products: 100 GFLOP/s (80.0 to 120)" in text
    assert "Trace to parquet: 9.00 (9.00 to 9.00) million rows a second" in text
    assert "Logging and display: 2.00 (1.00 to 3.00) % of the CPU time" in text
    assert "64 trials and 3 seeds: 0.600 s of its own beside 10.0 s of its lanes" in text
    assert "Peak of 64 lanes of Adam on the network: 3,072 MiB, 1,024 of it the imports" in text
    assert "function: 300 MiB at 10,000 iterations, 345 MiB at 100,000 iterations" in text
    rows = {
        cells[0]: cells[1:]
        for line in reversed(text.splitlines())  # the first table counts
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert rows[network.PYTORCH] == ["2.00", "1.00", "8.00", "1.00", "5.00", "", "32 %"]
    assert rows[network.optbench(1)] == ["1.00", "0.500", "4.00", "", "", "1.00", "64 %"]
    assert "4 optimizers, 1 seed, 2,000 iterations: optbench 9.00 (8.00 to 10.0); JAX 6.00" in text


def test_text_says_why_a_section_is_empty_and_leaves_out_what_was_not_run():
    text = to_text(MACHINE, {"memory": {"left_out": "no peak here"}})
    assert "memory: no peak here" in text
    assert "network" not in text
    assert "parquet" not in text
