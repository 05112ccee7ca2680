import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from optbench.records import SCHEMA_VERSION, Status
from optbench.report import tables as text
from optbench.report.sections import to_csv, to_json, to_markdown
from optbench.report.summaries import SUMMARY_COLUMNS, summary
from optbench.report.terminal import to_rich
from tests.report.runs import (
    Lane,
    function_lane,
    function_problem,
    function_run,
    network_lane,
    network_problem,
    network_run,
    swept_run,
    tables,
)


def shown(table, width=80):
    """Return the lines that a terminal of this width shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(text.sections(table)))
    return console.file.getvalue().splitlines()


def markdown(table):
    return to_markdown(text.sections(table))


def row_of(lines, label):
    return next(line for line in lines if label in line)


def of_lanes(*lanes):
    """Return the summary of lanes on a function."""
    return summary(tables(lanes, [function_problem()]))


def diverged_run():
    lanes = [function_lane("sgd"), Lane("adam", [1.0, np.nan], status=Status.DIVERGED)]
    return tables(lanes, [function_problem()])


def test_a_terminal_shows_a_row_an_optimizer():
    lines = shown(summary(function_run()))
    assert lines[0].strip() == "anisotropic"
    header = next(line for line in lines if "optimizer" in line)
    assert header.split() == ["optimizer", "final", "loss"]
    row = next(line for line in lines if "adagrad" in line)
    expected = 49 * 0.7**60 / 20 + 4 * 0.6**60
    assert row.split() == ["adagrad", f"{expected:.3e}"]
    assert not any("edge" in line or "diverged" in line for line in lines)


def test_networks_show_the_test_error_in_percent_and_the_spread():
    table = summary(network_run(seeds=3))
    lines = shown(table)
    assert lines[0].strip() == "mnist-mlp, median of 3 seeds"
    assert " ".join(lines[2].split()) == "optimizer validation loss min–max final loss test error"
    row = row_of(lines, "adam").split()
    final = text.number(table.set_index("label").loc["adam", "final_loss"])
    assert row == ["adam", "0.2700", "0.260–0.280", final, "3.25", "%"]


def test_a_heading_says_that_only_some_optimizers_have_several_seeds():
    lanes = [Lane("sgd", [2.0, 1.0]), *(Lane("mine", [2.0, 1.5], seed=seed) for seed in range(3))]
    assert shown(of_lanes(*lanes))[0].strip() == "anisotropic, median of 1 to 3 seeds"


def test_without_a_validation_split_networks_show_the_training_loss_first():
    lane = network_lane("sgd", evaluations=[(200, "train", 0.4, 0.1), (200, "test", 0.2, 0.05)])
    written = markdown(summary(tables([lane], [network_problem()])))
    assert "| optimizer | training loss | final loss | test error |" in written
    assert "| sgd | 0.4000 | 0." in written


@pytest.mark.parametrize("width", [80, 120])
def test_the_widest_table_fits_without_losing_a_character(width):
    lanes = [
        network_lane("momentum", seed, hyperparameters={"lr": lr})
        for lr in (0.001, 0.01778)
        for seed in range(3)
    ]
    table = summary(tables(lanes, [network_problem()]))
    lines = shown(table, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    row = next(line for line in lines if "momentum" in line)
    assert "lr=0.001" in row


def test_a_long_label_is_folded_and_not_cut_and_no_markup():
    label = "an optimizer of my own with a very long name and then some more words"
    lines = shown(of_lanes(Lane(label, [2.0, 1.0], optimizer="mine")), 60)
    assert max(map(len, lines)) <= 60
    assert set(label.split()) <= set(" ".join(lines).split())
    lines = shown(of_lanes(Lane("[bold]x[/bold]", [2.0, 1.0], optimizer="sgd")))
    assert any("[bold]x[/bold]" in line for line in lines)


def test_divergence_stands_where_the_loss_would():
    row = row_of(shown(summary(diverged_run())), "adam")
    assert row.split() == ["adam", "diverged"]


def test_what_numbers_do_not_say_stands_below_the_table():
    table = summary(swept_run(seeds=2))
    adam = "adam: 2 of 10 lanes ended outside the function's domain, which ranks last"
    above = "adam: 2 of 10 lanes ended above the start"
    assert text.notes(table) == ["sgd: 2 of 10 lanes diverged", above, adam]
    assert [line.strip() for line in shown(table)[-3:]] == text.notes(table)
    assert text.notes(summary(function_run())) == []
    lanes = [Lane("sgd", [5.0, lr], hyperparameters={"lr": lr}) for lr in (0.1, 0.2, 0.3)]
    failed = Lane("sgd", [5.0], hyperparameters={"lr": 0.4}, status=Status.FAILED)
    assert text.notes(of_lanes(*lanes, failed)) == [
        "sgd: 1 of 4 lanes failed",
        "sgd: lr=0.1 is the smallest tried; the best may lie beyond",
    ]
    both = pd.concat([summary(swept_run()), summary(network_run())])
    assert text.notes(both)[0] == "anisotropic, sgd: 1 of 5 lanes diverged"


def test_a_lane_that_the_domain_ranks_last_is_said_in_its_cell_and_below():
    outside = Lane("sgd", [5.0, -9.0], position=np.array([[0.0, 0.0], [30.0, 0.0]]))
    inside = Lane("adam", [5.0, 1.0], position=np.array([[0.0, 0.0], [3.0, 0.0]]))
    table = of_lanes(outside, inside)
    assert [row.split()[1:3] for row in shown(table) if "sgd " in row] == [["-9.000", "outside"]]
    assert text.notes(table) == ["sgd: ended outside the function's domain, which ranks last"]
    assert table[["outside", "lanes_outside"]].to_numpy().tolist() == [[True, 1], [False, 0]]


def test_a_table_a_problem():
    table = pd.concat([summary(function_run()), summary(network_run())], ignore_index=True)
    lines = [line.strip() for line in shown(table)]
    assert lines.index("anisotropic") < lines.index("mnist-mlp")
    headers = [line for line in lines if line.startswith("optimizer")]
    assert ["error" in header for header in headers] == [False, True]


@pytest.mark.parametrize("status", [Status.RUNNING, Status.INTERRUPTED])
def test_a_run_that_has_not_ended_says_so(status):
    assert any(status in line for line in shown(of_lanes(Lane("sgd", [2.0, 1.0], status=status))))


def test_spreads_end_in_failures_and_need_several_seeds():
    lanes = [Lane("sgd", [2.0, 1.0 + k / 10], seed=k) for k in range(2)]
    failed = Lane("sgd", [2.0], seed=2, status=Status.FAILED)
    assert "1.00–failed" in markdown(of_lanes(*lanes, failed))
    written = markdown(of_lanes(*lanes, Lane("adam", [2.0, 1.5])))
    assert "| adam | 1.500 | - |" in written


def test_a_loss_that_nobody_recorded_is_missing():
    table = summary(function_run())
    table.loc[0, "score"] = np.nan
    assert "| sgd | - |" in markdown(table)


def test_markdown_is_a_table_a_problem_with_its_notes():
    table = pd.concat([summary(swept_run()), summary(network_run())], ignore_index=True)
    table.loc[0, "label"] = "a|b"
    lines = markdown(table).splitlines()
    assert lines[:4] == [
        "### anisotropic",
        "",
        "| optimizer | best at | tried | final loss |",
        "| --- | --- | --- | --- |",
    ]
    assert lines[4].startswith("| a\\|b | lr=0.1 | ")
    assert "- a\\|b: 1 of 5 lanes diverged" in lines
    assert "### mnist-mlp" in lines


WHOLE = "training loss: over the whole split"
MEAN = "final loss: mean of the last {} batches' losses, each after its update"


def summary_after(
    *updates, evaluated=True, version=SCHEMA_VERSION, record="after", rising=False, **lane
):
    """Return the summary of a network's lanes that made so many updates each."""
    evaluations = [(1, "train", 0.5, 0.1)] if evaluated else []
    losses = [np.arange(rows) + 1.0 if rising else np.ones(rows) for rows in updates]
    lanes = [
        Lane(f"sgd {len(loss)}", loss, "mnist-mlp", evaluations=evaluations, **lane)
        for loss in losses
    ]
    run = tables(lanes, [network_problem(record=record)])
    return summary(replace(run, meta=run.meta | {"schema_version": version}))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (summary_after(200), [WHOLE, MEAN.format(20)]),
        (summary_after(2000, 1500), [WHOLE, MEAN.format(100)]),
        (summary_after(200, 90), [WHOLE, MEAN.format("9 to 20")]),
        (summary_after(200, record="before"), [WHOLE, MEAN.format(20).replace("after", "before")]),
        (summary_after(19), [WHOLE, "final loss: that of the last batch, after its update"]),
        (summary_after(200, evaluated=False), [MEAN.format(20)]),
        (
            summary_after(200, evaluated=False, rising=True),
            [f"{MEAN.format(20)}; best loss: the lowest such mean"],
        ),
        (
            summary_after(19, evaluated=False),
            ["final loss: that of the last batch, after its update"],
        ),
        (summary_after(60, version=2), [WHOLE, MEAN.format(60)]),
        (summary_after(60, status=Status.DIVERGED), [WHOLE]),
        (summary(function_run()), []),
    ],
)
def test_the_batches_that_a_final_loss_is_the_mean_of_are_named(table, says):
    assert text.measured(table) == says
    lines = [line.strip() for line in shown(table, 120)]
    assert [line for line in lines if line.startswith(("final loss:", "training loss:"))] == says
    below = [*says, "hyperparameters as given, not tuned"]
    assert [f"- {line}" for line in below] == markdown(table).splitlines()[5 + len(table) :]


def test_csv_holds_exactly_the_summary():
    table = summary(swept_run())
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert list(rows[0]) == [*SUMMARY_COLUMNS, "hp_lr"]
    assert float(rows[0]["final_loss"]) == table["final_loss"].iloc[0]
    assert (rows[0]["test_error"], rows[0]["edge"]) == ("", "")
    assert rows[0]["lanes_diverged"] == "1"


def test_json_is_strict_and_holds_exactly_the_summary():
    table = summary(diverged_run())
    table["hp_other"] = [np.inf, np.nan]

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads(to_json(table), parse_constant=refuse)
    assert list(rows[0]) == list(table.columns)
    assert rows[0]["final_loss"] == table["final_loss"].iloc[0]
    assert (rows[1]["final_loss"], rows[1]["status"]) == (None, "diverged")
    assert (rows[0]["swept"], rows[0]["hp_other"], rows[1]["hp_other"]) == (None, None, None)
    assert isinstance(rows[0]["lanes"], int)


def test_json_of_several_runs_names_them():
    first = function_run()
    second = replace(first, path=first.path.with_name("another"))
    rows = json.loads(to_json(pd.concat([summary(first), summary(second)])))
    assert [row["run"] for row in rows[3:5]] == [first.path.name, "another"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (1.5, "1.50 s"),
        (0.0321, "32.1 ms"),
        (9.87e-6, "9.87 µs"),
        (2e-8, "20.0 ns"),
        (5e-10, "0.500 ns"),
        (0.0, "0.00 ns"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_durations(seconds, written):
    assert text.duration(seconds) == written


def test_stopped_lanes_show_how_far_they_came():
    plain = shown(summary(function_run()))
    assert not any("iterations" in line for line in plain)
    table = summary(function_run())
    table.loc[table["label"] == "adam", ["status", "iterations"]] = [Status.STOPPED, 17.0]
    table.loc[table["label"] == "sgd", "iterations"] = np.nan
    lines = shown(table)
    assert any("iterations" in line for line in lines)
    assert row_of(lines, "adam ").split()[-1] == "17"


def test_a_test_loss_without_an_error_is_shown():
    table = summary(function_run())
    assert not any("test loss" in line for line in shown(table))
    table["test_loss"] = 87.5
    assert all("87.5" in line for line in shown(table) if line.startswith(("sgd", "adam ")))
    table["test_error"] = 0.5
    assert not any("test loss" in line for line in shown(table))


def test_a_sweep_says_how_many_were_tried_and_who_chose():
    rows = {
        (random, seeds): tables(
            [
                Lane("sgd", [5.0, lr + seed], hyperparameters={"lr": lr}, seed=seed)
                for lr in (0.1, 0.2, 0.3)
                for seed in range(seeds)
            ],
            [function_problem(random=random)],
        )
        for random, seeds in ((True, 2), (False, 1))
    }
    chosen = "the best of those tried, chosen on these seeds: on others it may be worse"
    assert text.tuning(summary(rows[True, 2])) == [chosen]
    assert text.tuning(summary(rows[False, 1])) == []  # nothing that other seeds would change
    assert text.tuning(summary(function_run())) == ["hyperparameters as given, not tuned"]
    row = row_of(shown(summary(rows[True, 2])), "sgd ")
    assert row.split()[:3] == ["sgd", "lr=0.1", "3"]


def of_ends(*ends):
    """Return the summary of a sweep from 10 over ends, the rounding of whose start is 2.3e-12."""
    return of_lanes(
        *(Lane("sgd", [10.0, end], hyperparameters={"lr": 10.0**k}) for k, end in enumerate(ends))
    )


def test_losses_next_to_rounding_tie_and_the_middle_of_them_is_the_best():
    table = of_ends(1.0, 1e-13, 1e-30, 2e-12, 0.0, 5e-13, 1.0)
    assert table["swept"].tolist() == ["lr=1000"]
    row = row_of(shown(table), "sgd ")
    assert row.split()[:5] == ["sgd", "lr=1000", "7", "≤", "2.3e-12"]
    assert table["floor"][0] == pytest.approx(1024 * 2.0**-52 * 10)
    assert table["edge"].isna().all()


def test_a_flat_region_that_reaches_the_edge_only_in_part_is_no_warning():
    assert of_ends(1e-20, 1e-25, 1.0)["edge"].isna().all()
    assert of_ends(1e-20, 1.0, 2.0)["edge"][0].startswith("lr=1 is the smallest tried")


def test_what_is_above_rounding_does_not_tie():
    table = of_ends(1.0, 5e-12, 4e-12, 1e-11)
    assert table["swept"].tolist() == ["lr=100"]
    assert "4.000e-12" in row_of(shown(table), "sgd ")


@pytest.mark.parametrize(("seeds", "heading", "band"), [(9, "min–max", "1.00–1.80"),
                                                        (11, "10–90 %", "1.10–1.90")])  # fmt: skip
def test_a_band_is_named_where_it_stands(seeds, heading, band):
    lanes = [Lane("sgd", [5.0, 1.0 + seed / 10], seed=seed) for seed in range(seeds)]
    lines = shown(of_lanes(*lanes))
    assert heading in next(line for line in lines if "optimizer" in line)
    assert band in row_of(lines, "sgd ")


def test_what_ended_above_its_start_says_so_beside_its_loss():
    seeds = [Lane("sgd", [2.0, end], seed=seed) for seed, end in enumerate((1.0, 3.0, 12.25))]
    lanes = [Lane("adam", [2.0, 12.25]), *seeds, Lane("muon", [2.0, 1.5])]
    lines = shown(of_lanes(*lanes))
    assert "12.25 above start" in row_of(lines, "adam ")
    assert "3.000 above start" in row_of(lines, "sgd ")
    assert "above" not in row_of(lines, "muon ")
    said = [line.strip() for line in lines if "ended above" in line]
    assert said == ["sgd: 2 of 3 lanes ended above the start"], "of all lanes the cell says it"


def test_a_few_seeds_above_the_start_are_said_below_alone():
    lanes = [Lane("sgd", [2.0, end], seed=seed) for seed, end in enumerate((1.0, 1.5, 3.0))]
    lines = shown(of_lanes(*lanes))
    assert "start" not in row_of(lines, "sgd ")
    assert text.notes(of_lanes(*lanes)) == ["sgd: 1 of 3 lanes ended above the start"]


def test_a_best_loss_is_shown_where_it_is_another_number():
    assert "best loss" not in markdown(of_lanes(Lane("sgd", [2.0, 1.00001, 1.0000101])))
    written = markdown(of_lanes(Lane("sgd", [2.0, 1.0, 1.5]), Lane("adam", [2.0, 0.5])))
    assert "| optimizer | final loss | best loss |" in written
    assert "| sgd | 1.500 | 1.000 |" in written


def timed(*seconds, updates, problem):
    """Return the summary of one lane for each time of a step, which made so many updates."""
    lanes = [
        Lane("sgd", np.linspace(2.0, 1.0, updates + 1), problem, seed=seed, step_seconds=each)
        for seed, each in enumerate(seconds)
    ]
    return summary(tables(lanes, [function_problem(), network_problem()]))


@pytest.mark.parametrize(
    ("table", "cell"),
    [
        (timed(2.6e-4, updates=1000, problem="mnist-mlp"), "260 µs"),
        (timed(2.6e-4, updates=60, problem="mnist-mlp"), None),
        (timed(2.6e-4, 2.1e-4, 2.5e-4, updates=1000, problem="mnist-mlp"), "210–260 µs"),
        (timed(2.5e-4, 2.501e-4, updates=1000, problem="mnist-mlp"), "250 µs"),
        (timed(2.6e-4, updates=1000, problem="anisotropic"), None),
        (timed(2.6e-3, updates=1000, problem="anisotropic"), "2.60 ms"),
        (timed(None, updates=1000, problem="mnist-mlp"), None),
    ],
)
def test_the_time_of_a_step_is_shown_where_lanes_ran_long_enough(table, cell):
    lines = markdown(table).splitlines()
    assert lines[2].endswith("| a step |") == (cell is not None)
    assert cell is None or lines[4].endswith(f"| {cell} |")
    assert any(line.startswith("- a step: a lane's share") for line in lines) == (cell is not None)


def test_of_several_runs_titles_name_the_run_and_what_sets_it_apart():
    first = function_run()
    second = replace(first, path=first.path.with_name("another"))
    rows = pd.concat([summary(first), summary(second)])
    name = first.path.name
    assert [section.title for section in text.sections(rows)] == [
        f"{name}: anisotropic",
        "another: anisotropic",
    ]
    apart = {(name, "anisotropic"): "30 iterations", ("another", "anisotropic"): "60 iterations"}
    assert [section.title for section in text.sections(rows, apart)] == [
        f"{name}: anisotropic, 30 iterations",
        "another: anisotropic, 60 iterations",
    ]
    assert text.sections(summary(first), apart)[0].title == "anisotropic"
