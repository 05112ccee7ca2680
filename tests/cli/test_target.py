"""``optbench target``: what it shows, writes and refuses."""

import csv
import io
import json
import re
import shutil

import pandas as pd
import pytest

import optbench as package
from optbench.cli.run import BESIDE_RESUME
from optbench.display import screen
from optbench.report.aims import EXAMPLES
from optbench.report.plots import PlotOptions
from optbench.runs import alone
from tests.cli.command import in_terminal, meta, optbench, run, suite

TWO = """
iterations = 60

[[problem]]
name = "anisotropic"

[[optimizer]]
name = "sgd"
label = "fast"
lr = 0.95

[[optimizer]]
name = "sgd"
label = "slow"
lr = 0.3
"""

NOISY = """
iterations = 100
seeds = 8

[[problem]]
name = "noisy-beale"

[[problem]]
name = "noisy-rosenbrock"
variant_of = "noisy-beale"

[[optimizer]]
name = "adam"
lr = 0.1

[[optimizer]]
name = "adagrad"
lr = 1.0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two rates on a valley, two noisy functions, a sweep of one, and a network."""
    cwd = tmp_path_factory.mktemp("made")
    run(suite(cwd, NOISY, "noisy"), cwd=cwd)
    sweep = ("--grid", "adam.lr=0.001,0.1", "--name", "sweep")
    run("--problem", "noisy-beale", "-o", "adam", "--seeds", 4, *sweep, cwd=cwd)
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 20, "--batch-size", 16)
    run(*network, "-o", "sgd", "-o", "adam", "--evaluate-every", 5, "--name", "net", cwd=cwd)
    run(suite(cwd, TWO, "two"), cwd=cwd)
    return cwd


def told(made, *arguments):
    seen = optbench("target", *arguments, cwd=made)
    assert (seen.code, seen.err) == (0, ""), seen
    return seen.out


def refused(made, *arguments):
    return optbench("target", *arguments, cwd=made).message


def cells(text):
    return list(csv.DictReader(io.StringIO(text)))


def found(made, *arguments):
    """Return the rows that csv has, by problem and label."""
    rows = cells(told(made, *arguments, "--format", "csv"))
    return {(row["problem"], row["label"]): row for row in rows}


def test_without_options_the_latest_run_is_shown_with_a_target_of_its_own(made):
    shown = told(made)
    assert shown == told(made, "two", "--target", "best:5%")
    assert "anisotropic: steps to loss ≤ " in shown
    assert "target: 5 % above the best, fast; chosen from these runs" in shown
    assert "a miss counted as 60 steps" in shown
    assert shown.index("fast") < shown.index("slow")


@pytest.mark.parametrize(
    ("target", "fast", "slow"),
    [("1", "10", "15"), ("0.1", "21", "53"), ("0.01", "32", "> 60"), ("0.001", "43", "> 60")],
)
def test_the_table_shows_steps_and_what_is_beyond_the_budget(made, target, fast, slow):
    shown = told(made, "--target", target)
    assert re.search(rf"^ fast +{fast} +{fast} *$", shown, re.MULTILINE)
    rmst = slow.removeprefix("> ")
    assert re.search(rf"^ slow +{slow} +{rmst} *$", shown, re.MULTILINE)
    assert "target: given" in shown


def test_a_target_may_be_of_one_problem(made):
    rows = found(made, "noisy", "--target", "3", "--target", "noisy-beale=start/10")
    assert rows["noisy-rosenbrock", "adam"]["target"] == "3.0"
    assert rows["noisy-beale", "adam"]["rule"] == "start/10"


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [("of:adam", True), ("of:adam:10%", True), ("quantile:0.5", True), ("start/2", False)],
)
def test_every_rule_can_be_asked_for(made, rule, chosen):
    row = found(made, "noisy", "--target", rule)["noisy-beale", "adam"]
    assert (row["rule"], row["chosen_here"]) == (rule, str(chosen))
    assert ("chosen from these runs" in told(made, "noisy", "--target", rule)) is chosen


def test_seeds_have_intervals_that_name_their_methods(made):
    shown = told(made, "noisy", "--target", "1")
    for words in (
        "there",
        "median",
        "ERT",
        "of 8",
        "Clopper–Pearson",
        "seeds, too narrow below 20",
    ):
        assert words in shown


def test_what_is_watched_can_be_chosen(made):
    shown = told(made, "net", "--on", "validation_error", "--target", "0.5")
    assert "steps to validation error ≤ 50.00 %" in shown
    assert "seen at 5 evaluations" in shown
    row = found(made, "net", "--on", "train_loss")["mnist-mlp", "adam"]
    assert row["on"] == "train_loss"
    assert "mean of 2 rows" in told(made, "net")


def test_all_are_compared_with_a_reference(made):
    shown = told(made, "noisy", "--target", "1", "--reference", "adagrad")
    assert "speed-up over adagrad" in shown
    assert "than adagrad it is" in shown
    assert "p by Holm over 2 rows" in shown
    row = found(made, "noisy", "--target", "1", "--reference", "adagrad")["noisy-beale", "adam"]
    assert float(row["speedup"]) > 0.0
    assert row["verdict"] in ("faster", "slower", "undecided")
    exact = told(made, "two", "--target", "1", "--reference", "slow")
    assert re.search(r"fast +1\.5 +1\.5 +nothing random", exact)


def test_only_the_problems_that_are_named_count(made):
    rows = found(made, "noisy", "--problem", "noisy-rosenbrock")
    assert {problem for problem, _ in rows} == {"noisy-rosenbrock"}
    message = refused(made, "--problem", "anisotropik")
    assert message == "these runs have no problem 'anisotropik'; did you mean 'anisotropic'?"


def test_seeds_choose_of_a_grid(made):
    message = refused(made, "sweep")
    assert message.startswith("'adam' has 2 configurations on 'noisy-beale', chosen on the seeds ")
    row = found(made, "sweep", "--choose-on", "0-1")["noisy-beale", "adam"]
    assert (row["configuration"], row["seeds"]) == ("lr=0.1", "2")
    assert "on seeds 0, 1, which" in told(made, "sweep", "--choose-on", "0,1")
    assert "seeds 'x' are malformed" in refused(made, "sweep", "--choose-on", "x")


def test_problems_are_put_together(made):
    shown = told(made, "noisy", "--profile")
    assert "2 problems together" in shown
    assert "can be far too narrow" in shown
    assert "AlgoPerf" not in shown
    rows = cells(told(made, "noisy", "--profile", "--format", "csv"))
    assert {row["label"] for row in rows} == {"adam", "adagrad"}
    assert all(0.0 <= float(row["score"]) <= 1.0 for row in rows)
    assert max(float(row["within_1"]) for row in rows) >= 0.5


def test_variants_count_with_their_base_for_algoperf(made):
    (path,) = made.glob("results/noisy-2*")
    assert [each.get("variant_of") for each in meta(path)["problems"]] == [None, "noisy-beale"]
    shown = told(made, "noisy", "--algoperf")
    assert "AlgoPerf" in shown
    assert "algoperf" in cells(told(made, "noisy", "--algoperf", "--format", "csv"))[0]
    message = refused(made, "noisy", "--algoperf", "--problem", "noisy-rosenbrock")
    assert "is a variant of 'noisy-beale', which is not among" in message


def test_a_ladder_has_as_many_targets_as_are_asked_for(made):
    assert "share of 7 targets reached" in told(made, "noisy", "--targets", "7")
    assert "area" in cells(told(made, "noisy", "--targets", "7", "--format", "csv"))[0]
    assert refused(made, "--targets", "1") == "a ladder of 1 targets is too short; 2 is the least"


def test_seconds_are_measured_alone_if_asked_for(made, tmp_path, monkeypatch):
    monkeypatch.setattr(alone, "STEPS", 50)
    path = run(suite(tmp_path, TWO, "two"), "--time-alone", cwd=tmp_path)
    seconds = meta(path)["problems"][0]["alone_seconds"]
    assert list(seconds) == ["fast", "slow"]
    rows = found(tmp_path, "--in", "seconds", "--target", "1")
    for label, steps in (("fast", 10), ("slow", 15)):
        row = rows["anisotropic", label]
        assert float(row["step_seconds"]) == seconds[label]
        budget = 60 * min(seconds.values())
        assert float(row["rmst"]) == pytest.approx(min(steps * seconds[label], budget))
    assert "timed alone" in told(tmp_path, "--in", "seconds", "--target", "1")
    assert "share of its block's time" in told(made, "--in", "seconds", "--target", "1")
    message = refused(made, "--in", "hours")
    assert message == "times are counted in steps or seconds, not 'hours'"
    assert "time_alone" in BESIDE_RESUME


def test_csv_and_json_are_not_rounded_and_markdown_and_latex_are_read(made):
    row = found(made, "noisy", "--target", "1")["noisy-beale", "adam"]
    told_json = json.loads(told(made, "noisy", "--target", "1", "--format", "json"))
    (same,) = [
        each for each in told_json if (each["problem"], each["label"]) == ("noisy-beale", "adam")
    ]
    assert float(row["rmst"]) == same["rmst"]
    missed = json.loads(told(made, "--target", "1e-9", "--format", "json"))[1]
    assert (missed["reached"], missed["ert"], missed["median"]) == (0, None, None)
    assert "\n### anisotropic: steps" in "\n" + told(made, "--format", "md")
    assert r"\toprule" in told(made, "--format", "latex")
    assert r"$\leq$" in told(made, "--format", "latex")


def test_a_report_goes_to_a_new_file(made, tmp_path):
    file = tmp_path / "new" / "table.md"
    assert told(made, "--format", "md", "-O", file) == f"{file}\n"
    assert file.read_text(encoding="utf-8") == told(made, "--format", "md")
    assert "already exists; give --force" in refused(made, "--format", "md", "-O", file)
    told(made, "-O", file.with_suffix(".tex"))
    assert file.with_suffix(".tex").read_text(encoding="utf-8") == told(made, "--format", "latex")


def test_nothing_to_watch_in_common_is_exit_5(made):
    seen = optbench("target", "two", "net", "--profile", cwd=made)
    assert (seen.code, seen.out) == (5, "")
    assert seen.err == "error: nothing to compare: no optimizer is on every problem\n"


def test_a_label_without_a_grid_stands_beside_one_that_has_been_chosen(made, tmp_path):
    path = run(
        *("--problem", "noisy-beale", "-o", "adam", "-o", "sgd", "--iterations", 20),
        *("--seeds", 3, "--grid", "adam.lr=0.01,0.1"),
        cwd=tmp_path,
    )
    lines = told(made, path, "--choose-on", "0", "--target", "start/2").splitlines()
    (sgd,) = [line for line in lines if line.startswith(" sgd ")]
    assert sgd.split()[1] == "-"


def test_runs_with_other_iterations_are_refused(made, tmp_path):
    run("anisotropic", "--iterations", 9, "--out", tmp_path, cwd=made)
    (other,) = tmp_path.glob("anisotropic-2*")
    message = refused(made, "two", other)
    assert "'anisotropic' is not the same in" in message
    assert "iterations 60 and 9" in message


def test_python_has_the_same_table(made, monkeypatch):
    monkeypatch.chdir(made)
    rows = found(made, "noisy", "--target", "1", "--reference", "adagrad")
    table = package.target("noisy", "1", reference="adagrad")
    assert isinstance(table, pd.DataFrame)
    by_key = table.set_index(["problem", "label"])
    assert list(by_key.index) == list(rows)
    assert by_key["rmst"].tolist() == [float(row["rmst"]) for row in rows.values()]
    assert "score" in package.target(["noisy"], profile=True, algoperf=True, rungs=5)
    chosen = package.target("sweep", choose_on=[0, 1], problem="noisy-beale", on="loss")
    assert chosen["seeds"].tolist() == [2]
    assert package.target("two", unit="seconds")["unit"].tolist() == ["seconds"] * 2
    with pytest.raises(package.UsageError, match="target = 1 must be text or a list of texts"):
        package.target("two", 1)
    with pytest.raises(package.UsageError, match="unit = 'hours' must be"):
        package.target("two", unit="hours")


def in_columns(columns, *arguments, cwd):
    """Return the lines of a table on so many columns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "PIPE_COLUMNS", columns)
        return table_lines(told(cwd, *arguments))


def table_lines(shown):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    return [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ("noisy", "--target", "1", "--reference", "adagrad", "--algoperf", "--targets", "9"),
        ("noisy", "--in", "seconds"),
        ("sweep", "--choose-on", "0-1"),
        ("two", "--reference", "slow"),
        ("net",),
    ],
    ids=lambda arguments: arguments[0] + str(len(arguments)),
)
def test_each_row_is_on_a_line_of_its_own(made, arguments, columns):
    lines = in_columns(columns, *arguments, cwd=made)
    assert max(map(len, lines)) <= columns
    assert_each_row_on_a_line(lines)


def assert_each_row_on_a_line(lines):
    begin = re.compile(r" (adam|adagrad|sgd|fast|slow) ")
    for start in [place for place, line in enumerate(lines) if set(line.strip()) == {"─"}]:
        rows = lines[start + 1 : lines.index("", start)]
        assert rows
        assert all(begin.match(f"{row} ") for row in rows)
    titles = re.compile(r".*(: (steps|[mµn]?s) to |: speed-up over|problems? together)")
    assert [line for line in lines if line and line[0] != " " and not titles.match(line)] == []


def test_a_terminal_has_the_columns_that_it_says(made):
    _, _, shown = in_terminal("target", "two", cwd=made, COLUMNS="80")
    assert table_lines(shown) == in_columns(80, "two", cwd=made)


@pytest.mark.parametrize("slower", [0.02, 0.3, 1.0, 7.0, 50.0])
def test_there_is_room_for_times_of_any_size(made, slower, tmp_path):
    """What is measured is as it comes, and labels may differ by orders of magnitude."""
    shutil.copytree(made / "results", tmp_path / "results")
    for file in tmp_path.glob("results/noisy*/lanes.parquet"):
        lanes = pd.read_parquet(file)
        for scale in range(6):
            known = {"adam": 3.7e-6, "adagrad": 3.7e-6 * slower}
            lanes["step_seconds"] = lanes["label"].map(known) * 10**scale
            lanes.to_parquet(file, index=False)
            assert_each_row_on_a_line(in_columns(80, "noisy", "--in", "seconds", cwd=tmp_path))


def test_the_help_shows_the_rules_as_they_are_written(made):
    shown = optbench("target", "--help", cwd=made).out
    for rule in EXAMPLES.replace(" or", ",").split(", "):
        assert rule in shown


def test_colour_is_left_out_where_it_is_not_wanted(made):
    _, _, coloured = in_terminal("target", "two", cwd=made)
    _, _, plain = in_terminal("target", "two", cwd=made, NO_COLOR="1")
    assert "\x1b[33m" not in plain and "\x1b[31m" not in plain  # noqa: PT018
    assert table_lines(plain) == table_lines(coloured)
    assert "\x1b" not in told(made, "two")


# Figures.


def test_figures_take_the_options_of_targets(made, tmp_path):
    for kind, name in (("target", "noisy-beale-target"), ("profile", "profile"), ("ecdf", "ecdf")):
        options = ("--kind", kind, "--target", "1", "--on", "loss", "--choose-on", "0-1")
        seen = optbench("plot", "noisy", *options, "--save", tmp_path / kind, cwd=made)
        assert (seen.code, seen.err) == (0, "")
        assert seen.paths[0].name == f"{name}.png"
        assert len(seen.paths) == (2 if kind == "target" else 1)
    message = optbench("plot", "sweep", "--kind", "target", cwd=made).message
    assert "--choose-on" in message
    message = optbench("plot", "noisy", "--kind", "ecdf", "--on", "x", cwd=made).message
    assert message.startswith("nothing is called 'x' to watch")
    assert PlotOptions(targets=["1"], choose_on=[0]).targets == ["1"]


def test_a_figure_of_all_problems_may_be_of_some_and_of_several_runs(made, tmp_path):
    def title(*arguments):
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.svg"
        seen = optbench("plot", *arguments, "--kind", "profile", "--save", file, cwd=made)
        assert (seen.code, seen.err) == (0, "")
        return file.read_text(encoding="utf-8")

    assert ">performance profile, 2 problems<" in title("noisy", "--target", "1")
    one = title("noisy", "--target", "1", "--problem", "noisy-beale")
    assert ">performance profile, noisy-beale<" in one
    run(
        suite(made, NOISY.replace("100", "100 # again"), "again"), "--out", tmp_path / "r", cwd=made
    )
    (again,) = (tmp_path / "r").glob("again-2*")
    assert "adam (" in title("noisy", again, "--target", "1").replace("Adam", "adam")
