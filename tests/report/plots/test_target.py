"""Figures of times to a target, by the data on their artists."""

import io
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.text import Text

from optbench.errors import UsageError
from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.axes import apart
from optbench.report.plots.style import KNOWN
from tests.report.runs import Lane, function_problem, network_run, tables
from tests.report.test_targets import (
    NAMES,
    TIMES,
    T,
    arriving,
    on_function,
    seeded,
    three_problems,
)


def figure_of(kind, run, **options):
    problem = run.meta["problems"][0]["problem"]
    figure = draw(kind, run, problem, PlotOptions(**({"targets": ["1.0"]} | options)))
    figure.savefig(io.BytesIO())
    return figure


def axes_of(kind, run, **options):
    return figure_of(kind, run, **options).axes[0]


def caption(figure):
    return figure.get_supxlabel()


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def drawn(axes, color, marker):
    """Return the points of one label with this marker."""
    (line,) = [
        line for line in axes.lines if (line.get_color(), line.get_marker()) == (color, marker)
    ]
    return line


# target: a dot for each seed.

BOTH = on_function(*seeded("sgd", TIMES), *seeded("adam", [40, 50, 60, 45, 55, 65, 44, 54]))


def test_each_seed_is_a_dot_and_each_miss_a_cross_at_the_budget():
    axes = axes_of("target", BOTH)
    color = KNOWN["sgd"].color
    assert axes.get_xscale() == "log"
    dots, crosses = drawn(axes, color, "o"), drawn(axes, color, "x")
    assert dots.get_xdata().tolist() == [time for time in TIMES if time < inf]
    assert crosses.get_xdata().tolist() == [500.0, 500.0]
    heights = [*dots.get_ydata(), *crosses.get_ydata()]
    assert len(set(heights)) == 8
    assert all(0.5 < height < 1.5 for height in heights)  # the second row
    assert drawn(axes, KNOWN["adam"].color, "o").get_xdata().tolist()[:2] == [40.0, 50.0]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # from the top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Adam", "SGD"]


def test_the_median_is_a_bar_in_the_band_of_its_interval():
    axes = axes_of("target", BOTH)
    bars = [line for line in axes.lines if line.get_linewidth() > 2]
    medians = {line.get_color(): line.get_xdata()[0] for line in bars}
    assert medians == {KNOWN["sgd"].color: 230.0, KNOWN["adam"].color: 52.0}
    bands = [part for part in axes.collections if isinstance(part, FillBetweenPolyCollection)]
    ends = [part.get_paths()[0].vertices[:, 0] for part in bands]
    # Of 8 seeds the smallest and the largest; of SGD that is a miss, so to the budget.
    assert [(each.min(), each.max()) for each in ends] == [(40.0, 65.0), (120.0, 500.0)]


def test_misses_and_means_are_written_beside_the_rows():
    assert texts(axes_of("target", BOTH)) == ["RMST 51.62", "RMST 290\n2 of 8 missed"]
    one = on_function(arriving("sgd", inf), arriving("adam", 30), random=False)
    axes = axes_of("target", one)
    assert texts(axes) == ["RMST 30", "missed"]
    assert not axes.collections
    assert not [line for line in axes.lines if line.get_linewidth() > 2]


def test_the_caption_says_how_many_seeds_what_budget_and_which_interval():
    said = caption(figure_of("target", BOTH))
    assert said.splitlines() == [
        "target: given",
        "8 seeds, at most 500 steps; bar: median, band: its 95 % interval; ×: missed",
    ]
    few = on_function(*seeded("sgd", [10, 20]))
    said = caption(figure_of("target", few, targets=()))
    assert said.splitlines() == [
        "target: 5 % above the best, sgd; chosen from these runs",
        "2 seeds, at most 500 steps; bar: median, no interval below 6 seeds",
    ]


def test_the_axis_names_the_target_and_shows_plain_numbers():
    axes = axes_of("target", BOTH)
    assert axes.get_xlabel() == "steps to loss ≤ 1"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert {"50", "100", "200", "500"} <= set(labels)
    near = axes_of("target", on_function(*seeded("sgd", [100, 150])))
    assert {"100", "200", "300", "400", "500"} <= {
        label.get_text() for label in near.get_xticklabels()
    }
    assert axes.get_xlim()[0] < 40 < 500 < axes.get_xlim()[1]
    alike = axes_of("target", on_function(arriving("sgd", 499)))
    assert alike.get_xlim()[0] < 500 / 2


def test_who_is_there_at_once_is_at_the_first_step_and_the_caption_says_so():
    figure = figure_of("target", on_function(*seeded("sgd", [0, 5])), targets=["10"])
    assert drawn(figure.axes[0], KNOWN["sgd"].color, "o").get_xdata().tolist() == [1.0, 1.0]
    assert caption(figure).endswith("0 is shown at 1")


def test_a_configuration_that_was_chosen_is_named():
    lanes = [
        arriving("sgd", time, seed=seed, hyperparameters={"lr": lr})
        for lr, time in ((0.1, inf), (0.2, 30))
        for seed in range(3)
    ]
    run = on_function(*lanes)
    axes = axes_of("target", run, choose_on=[0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["SGD\nlr=0.2"]
    with pytest.raises(UsageError, match="--choose-on"):
        figure_of("target", run)


def test_what_is_watched_can_be_chosen():
    axes = axes_of("target", network_run(2), targets=["0.6"], on="train_loss")
    assert axes.get_xlabel() == "steps to training loss ≤ 0.6"


# profile and ecdf: all problems of a run.


def steps(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    assert line.get_drawstyle() == "steps-post"
    return np.array(line.get_xdata()), np.array(line.get_ydata())


def test_a_profile_is_the_share_of_problems_within_a_ratio_of_the_fastest():
    axes = axes_of("profile", three_problems())
    ratios = np.array(T) / np.min(T, axis=0)
    for place, label in enumerate(NAMES):
        taus, shares = steps(axes, label)
        assert (taus[0], taus[-1]) == (1.0, 4.0)
        assert set(ratios[ratios <= 4.0]) <= set(taus)
        expected = [(ratios[place] <= tau).mean() for tau in taus]
        np.testing.assert_allclose(shares, expected)
    assert sorted(texts(axes)) == ["Adam  0.94", "Lion  0.66", "SGD  0.67"]
    assert not axes.collections  # nothing is random: no band


def test_seeds_give_a_profile_bands_and_the_caption_says_what_they_are_not():
    figure = figure_of("profile", three_problems(seeds=4), targets=())
    axes = figure.axes[0]
    assert len(axes.collections) == 3
    first, second = caption(figure).splitlines()
    assert first == "target best:5%, chosen from these runs; 4 seeds, at most 1000 steps"
    assert second == (
        "number: area from 1 to 4, depends on who was entered; "
        "bands: 95 %, bootstrap over seeds, can be far too narrow"
    )
    for part, label in zip(axes.collections, NAMES, strict=True):
        heights = part.get_paths()[0].vertices[:, 1]
        shares = steps(axes, label)[1]
        assert heights.min() <= shares.min()
        assert shares.max() <= heights.max()


def test_an_ecdf_is_the_share_of_targets_reached_with_a_cross_where_budgets_end():
    problems = [
        function_problem(f"p{k}", iterations=budget, minima=[], random=False)
        for k, budget in enumerate((30, 100))
    ]
    lanes = [
        Lane(label, 8.0 * rate ** np.arange(budget + 1), f"p{k}")
        for label, rate in (("sgd", 0.9), ("adam", 0.8))
        for k, budget in enumerate((30, 100))
    ]
    figure = figure_of("ecdf", tables(lanes, problems))
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_xlim()) == ("log", (1.0, 100.0))
    x, shares = steps(axes, "adam")
    assert (np.diff(shares) >= 0).all()
    assert shares[-1] == 1.0
    # All of p0's 51 and, of p1's, those that 30 steps of 100 reach: 0.3 of the way in logarithms.
    assert shares[x == 30.0] == pytest.approx((1.0 + 16 / 51) / 2)
    assert steps(axes, "sgd")[1][-1] < 0.6
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[30.0, 100.0]] * 2
    assert [name.split()[0] for name in texts(axes)] == ["SGD", "Adam"]
    assert "2 problems" in axes.get_title()
    assert caption(figure).splitlines()[0] == (
        "targets from the start to where the best label ends, chosen from these runs; "
        "1 seed, at most 30 to 100 steps (×)"
    )


@pytest.mark.parametrize("kind", ["profile", "ecdf"])
def test_what_is_left_out_is_counted(kind):
    flat = [Lane(label, [2.0, 2.0, np.nan], "flat", status="diverged") for label in NAMES]
    run = three_problems()
    problems = [*run.meta["problems"], function_problem("flat", minima=[], random=False)]
    lanes = [
        arriving(label, T[a][k], f"p{k}", steps=1000)
        for a, label in enumerate(NAMES)
        for k in range(3)
    ]
    figure = figure_of(kind, tables([*lanes, *flat], problems), targets=())
    assert caption(figure).endswith("left out: 1 problem")


def test_one_problem_is_named():
    assert axes_of("profile", BOTH).get_title() == "performance profile, anisotropic"
    assert axes_of("ecdf", BOTH).get_title() == "51 targets on anisotropic"


@pytest.mark.parametrize("kind", ["profile", "ecdf"])
def test_names_at_the_ends_of_curves_do_not_overlap(kind):
    lanes = [arriving(f"rule{k}", inf if k else 50) for k in range(12)]
    figure = figure_of(kind, on_function(*lanes, random=False))
    names = [text for text in figure.axes[0].texts if text.get_text()]
    assert len(names) == 12
    # Of the text alone, without the line that leads to its curve.
    boxes = sorted((Text.get_window_extent(name) for name in names), key=lambda box: box.y0)
    assert all(one.y1 <= other.y0 + 1 for one, other in pairwise(boxes))
    colors = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    assert all(name.get_color() == colors[name.get_text().split()[0]] for name in names)


@pytest.mark.parametrize(
    ("wanted", "least", "places"),
    [
        ([0.5], 0.1, [0.5]),
        ([0.2, 0.8], 0.1, [0.2, 0.8]),
        ([0.5, 0.5], 0.2, [0.4, 0.6]),
        ([0.0, 0.0, 0.0], 0.1, [0.0, 0.1, 0.2]),
        ([1.0, 1.0], 0.3, [0.7, 1.0]),
        ([0.9, 0.1, 0.9], 0.2, [0.8, 0.1, 1.0]),
        ([0.5] * 5, 0.5, [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_places_are_moved_apart_by_as_little_as_will_do(wanted, least, places):
    np.testing.assert_allclose(apart(np.array(wanted), least), places, atol=1e-12)
