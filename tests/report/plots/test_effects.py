"""Figures of comparisons: what is drawn is what the tables say."""

from itertools import pairwise

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.report.across import across
from optbench.report.compare import Question, compare
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.ranks import cliques
from tests.report.runs import Lane, function_problem, tables


def run_of(factors, problems=1, seeds=8, noise=0.02):
    """Return a run of labels whose losses differ by factors, on some problems."""
    rng = np.random.default_rng(5)
    lanes = [
        Lane(label, [10.0, factor * np.exp(rng.normal() * noise)], f"p{number}", seed=seed)
        for number in range(problems)
        for label, factor in factors.items()
        for seed in range(seeds)
    ]
    described = [function_problem(f"p{number}", random=True) for number in range(problems)]
    return tables(lanes, described)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_pair_has_its_estimate_its_interval_and_its_verdict():
    run = run_of({"a": 1.0, "b": 1.5, "c": 1.51})
    found = compare(run, Question()).pairs
    figure = draw("effects", run, "p0")
    (axes,) = figure.axes
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert points == pytest.approx(found["estimate"].tolist())
    bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 2.2]
    assert np.array(bars) == pytest.approx(found[["low", "high"]].to_numpy())
    assert texts(figure) == found["says"].tolist()
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [f"{a} : {b}" for a, b in zip(found["a"], found["b"], strict=True)]
    assert "8 paired seeds" in figure.get_supxlabel()
    assert "Holm over 3 pairs" in figure.get_supxlabel()


def test_a_pair_judged_by_wins_has_an_open_marker():
    run = run_of({"a": 1.0, "b": 2.0})
    run.lanes.loc[0, ["status", "final_loss"]] = ["diverged", np.nan]
    (axes,) = draw("effects", run, "p0").axes
    (marker,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert marker.get_markerfacecolor() == "white"


def test_seeds_that_choose_can_be_named():
    lanes = [
        Lane("a", [10.0, 1.0 + lr + seed / 10], seed=seed, hyperparameters={"lr": lr})
        for lr in (0.1, 0.2)
        for seed in range(8)
    ]
    lanes += [Lane("b", [10.0, 2.0 + seed / 10], seed=seed) for seed in range(8)]
    run = tables(lanes, [function_problem(random=True)])
    with pytest.raises(UsageError, match="give --choose-on"):
        draw("effects", run, "anisotropic")
    figure = draw("effects", run, "anisotropic", PlotOptions(choose_on=(0, 1)))
    assert texts(figure) == ["better"]


@pytest.mark.parametrize("factor", [1.3, 20.0, 200.0, 1e4, 1e9])
@pytest.mark.parametrize("options", [{}, {"width": "3.25in"}, {"width": "3.25in", "font_size": 8}])
def test_an_axis_of_ratios_has_three_ticks_that_do_not_touch(factor, options):
    figure = draw("effects", run_of({"a": 1.0, "b": factor}), "p0", PlotOptions(**options))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert len(axes.get_xticks()) >= 3
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(box.width > 0 for box in boxes)
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize(("seeds", "open_"), [(3, True), (8, False)])
def test_an_interval_without_an_end_has_triangles_and_the_caption_says_so(seeds, open_):
    figure = draw("effects", run_of({"a": 1.0, "b": 1.5}, seeds=seeds), "p0")
    markers = {line.get_marker() for line in figure.axes[0].lines}
    assert ({"<", ">"} <= markers) == open_
    said = figure.get_supxlabel().replace("\n", " ")
    assert ("with a triangle where they have no end" in said) == open_


def test_at_a_columns_width_names_and_verdicts_are_broken_and_rows_do_not_touch():
    long = {"schedule-free-adamw": 1.0, "schedule-free-sgd": 1.02, "rmsprop-centered": 1.5}
    figure = draw("effects", run_of(long, noise=0.5), "p0", PlotOptions(width="3.25in"))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert all(" :\n" in name for name in names)
    assert any("\n" in verdict for verdict in texts(figure))
    for column in (axes.get_yticklabels(), axes.texts):
        boxes = [each.get_window_extent() for each in column]
        assert len(boxes) == 3
        assert all(lower.y1 < upper.y0 for upper, lower in pairwise(boxes))
        assert all(figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1 for box in boxes)


FACTORS = {"a": 1.0, "b": 1.3, "c": 1.3, "d": 3.0}


def test_ranks_stand_where_they_are_and_bars_join_what_does_not_differ():
    run = run_of(FACTORS, problems=12, noise=0.1)
    found = across(compare(run, Question()).contests, 0.05)
    figure = draw("ranks", run, "p0")
    (axes,) = figure.axes
    places = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "v")
    assert places == pytest.approx(sorted(found.labels["mean_rank"]))
    bars = [line for line in axes.lines if line.get_linewidth() == 4]
    assert len(bars) == len(cliques(found)) == 1
    (group,) = cliques(found)
    assert sorted(found.labels["label"].iloc[list(group)]) == ["b", "c"]
    assert any(text.startswith("a  1.0") for text in texts(figure))
    assert figure.get_supxlabel().startswith("12 problems, 4 optimizers; Friedman's test: p = ")


def test_few_problems_have_ranks_that_none_can_tell_apart():
    run = run_of(FACTORS, problems=3)
    found = across(compare(run, Question()).contests, 0.05)
    assert cliques(found) == [range(4)]
    assert "no pair can differ at 5 % with 3 problems" in draw("ranks", run, "p0").get_supxlabel()


def test_of_two_that_diverged_or_are_enormous_ranks_are_drawn_without_a_warning():
    run = run_of(FACTORS, problems=6)
    on_first = run.lanes["problem"] == "p0"
    run.lanes.loc[on_first & run.lanes["label"].isin(["a", "b"]), "final_loss"] = np.inf
    run.lanes.loc[on_first & run.lanes["label"].isin(["a", "b"]), "status"] = "diverged"
    run.lanes.loc[on_first & (run.lanes["label"] == "c"), "final_loss"] = 1e300
    found = across(compare(run, Question()).contests, 0.05)
    pairs = found.pairs.set_index(["a", "b"])
    assert np.isnan(pairs.loc[("a", "b"), "ratio"])
    assert draw("ranks", run, "p0").get_supxlabel().startswith("6 problems, 4 optimizers")


def test_one_problem_has_no_ranks():
    with pytest.raises(UsageError, match="ranks need two problems or more"):
        draw("ranks", run_of(FACTORS), "p0")
