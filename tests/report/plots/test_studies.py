"""Figures of studies, by the data on their artists."""

import io
from math import inf

import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colors import to_hex

from optbench.errors import UsageError
from optbench.report.budgets import budgets, incumbents
from optbench.report.plots import KINDS, STUDY_KINDS, PlotOptions, draw
from optbench.report.plots.axes import End, name_beside
from optbench.report.plots.budget import MOST_BANDS
from optbench.report.plots.sheet import new_figure, parted
from optbench.report.plots.signs import BEYOND
from optbench.report.plots.style import KNOWN
from optbench.report.plots.trials import SHADE, Interval, interval_of
from tests.report.runs import Lane, function_run, network_problem, tables
from tests.report.studies import Trial, study

PROBLEM = "mnist-mlp"

DIVERGING = [0.12, 0.15, 0.20, 0.22, 0.30, 0.41, 0.50, 0.80, inf, inf]


def figure_of(kind, made, **options):
    figure = draw(kind, made, PROBLEM, PlotOptions(**options))
    figure.savefig(io.BytesIO())
    return figure


def of_scores(scores, label="adam", **changes):
    return [Trial(score, label, **changes) for score in scores]


def defaults(**levels):
    """Return a final run with the default of each label; None is divergence."""
    lanes = [
        Lane(
            f"{label} (default)",
            [1.0] * 200,
            PROBLEM,
            optimizer=label,
            status="diverged" if level is None else "done",
            evaluations=[] if level is None else [(200, "validation", level, 0.1)],
        )
        for label, level in levels.items()
    ]
    return tables(lanes, [network_problem(data="mnist-5k", random=True)])


def curves(axes):
    return [line for line in axes.lines if line.get_linewidth() == 1.8]


def bands(axes):
    return [part for part in axes.collections if isinstance(part, FillBetweenPolyCollection)]


def texts(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


# budget: the median best of k.


def test_the_curve_is_the_median_best_of_k_in_the_rules_colour():
    made = study([*of_scores(DIVERGING), *of_scores([0.4, 0.3, 0.2], "sgd")])
    axes, above = figure_of("budget", made).axes
    adam, sgd = curves(axes)
    rows = budgets(made)
    for line, label in ((adam, "adam"), (sgd, "sgd")):
        own = rows[rows["label"] == label]
        assert line.get_xdata().tolist() == own["k"].tolist()
        assert line.get_ydata().tolist() == own["median"].tolist()
        assert line.get_color() == KNOWN[label].color
    assert (axes.get_xscale(), axes.get_yscale(), above.get_xscale()) == ("log", "log", "log")
    assert sorted(texts(axes)) == ["Adam  0.1200", "SGD  0.2000"]


def test_the_upper_axis_counts_steps():
    made = study([Trial(0.3), Trial(0.2, steps=300), Trial(0.1, steps=600)])
    axes, above = figure_of("budget", made).axes
    assert np.array(above.get_xlim()) == pytest.approx(500 * np.array(axes.get_xlim()))
    assert above.get_xlabel() == "steps, mean of all trials"


def test_the_band_is_simultaneous_and_cut_where_it_is_open_below():
    made = study(of_scores(DIVERGING))
    figure = figure_of("budget", made)
    (band,) = bands(figure.axes[0])
    vertices = band.get_paths()[0].vertices
    rows = budgets(made).set_index("k")
    for k in (2, 4, 8):
        heights = vertices[vertices[:, 0] == k, 1]
        assert (heights.min(), heights.max()) == (0.12, rows.loc[k, "high"])
    assert vertices[vertices[:, 0] == 1, 1].max() > figure.axes[0].get_ylim()[1]  # open above
    assert figure.get_supxlabel().splitlines() == [
        "10 trials × 3 seeds, random, by validation loss",
        "median best of so many trials, band: 95 % for all numbers of trials at once",
        "from 2 trials on it is open below and cut at the best score; open triangle: enters the "
        "figure",
    ]


def test_of_many_labels_the_best_alone_has_a_band():
    few = [trial for place in range(MOST_BANDS) for trial in of_scores([1 + place], f"x{place}")]
    assert len(bands(figure_of("budget", study(few)).axes[0])) == MOST_BANDS
    figure = figure_of("budget", study([*few, *of_scores([0.5, 0.4], "adam")]))
    (band,) = bands(figure.axes[0])
    assert to_hex(band.get_facecolor()[0]).upper() == KNOWN["adam"].color.upper()
    assert "band of the best label: 95 %" in figure.get_supxlabel()


def test_points_that_fill_the_space_have_no_band():
    figure = figure_of("budget", study(of_scores(DIVERGING), sampler="sobol"))
    assert bands(figure.axes[0]) == []
    assert "so many random ones of the sobol points, no bands" in figure.get_supxlabel()


@pytest.mark.parametrize("changes", [{"sampler": "tpe"}, {"halving": {"eta": 3}}])
def test_trials_that_are_not_exchangeable_have_the_incumbents_path(changes):
    made = study(of_scores([0.5, 0.6, 0.3, inf, 0.2]), **changes)
    figure = figure_of("budget", made)
    (line,) = curves(figure.axes[0])
    assert line.get_ydata().tolist() == incumbents(made)["incumbent"].tolist()
    assert line.get_drawstyle() == "steps-post"
    assert bands(figure.axes[0]) == []
    assert "no curves: " in figure.get_supxlabel()


def test_defaults_are_dotted_lines_that_the_axis_holds():
    trials = [*of_scores([0.5, 0.4]), *of_scores([0.6, 0.3], "sgd")]
    figure = figure_of("budget", study(trials, defaults(adam=7.0, sgd=None)))
    (line,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert (line.get_ydata()[0], line.get_color()) == (7.0, KNOWN["adam"].color)
    assert figure.axes[0].get_ylim()[1] > 7.0
    for said in ("dotted: default, on evaluation seeds", "default diverged: sgd"):
        assert said in figure.get_supxlabel()
    assert figure.axes[0].get_title() == "mnist-mlp on mnist-5k"


def test_what_is_zero_lies_on_the_floor_and_what_diverged_is_named_at_the_top():
    trials = [*of_scores([1e-3, 0.0, 1e-5]), *of_scores([inf, inf, inf], "lion")]
    (axes, _) = figure_of("budget", study(trials)).axes
    adam, lion = curves(axes)
    assert adam.get_ydata().min() > 0.0
    assert (lion.get_ydata() > axes.get_ylim()[1]).all()  # a sign at the edge says so
    assert {"this or less", "Adam  0.000", "Lion  diverged"} == set(texts(axes))


def test_a_search_in_which_nothing_ended_well_can_be_drawn():
    figure = figure_of("budget", study([Trial(inf, steps=0), Trial(inf, steps=0)]))
    (axes,) = figure.axes
    assert texts(axes) == ["Adam  diverged"]


def test_a_default_of_zero_lies_on_the_floor():
    figure = figure_of("budget", study(of_scores([0.5, 0.4]), defaults(adam=0.0)))
    (line,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert 0.0 < line.get_ydata()[0] < 0.4


def test_scores_below_zero_have_a_linear_axis():
    (axes, _) = figure_of("budget", study(of_scores([-1.0, 0.5]))).axes
    assert axes.get_yscale() == "linear"
    (axes, _) = figure_of("budget", study(of_scores([1.0, 0.5])), ylim=(0.1, 2.0)).axes
    assert axes.get_ylim() == (0.1, 2.0)


def test_names_stand_apart_beside_curves_that_end_early():
    figure = new_figure(4.0)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1.0)
    name_beside(figure, axes, [End("a", "k", 5.0, 1e-2), End("b", "k", 3.0, 1e-2)])
    low, high = (text.xyann[1] for text in axes.texts)
    assert (low + high) / 2 == pytest.approx(0.5)  # half of the decades
    assert high - low > 0.04
    assert [text.xy for text in axes.texts] == [(5.0, 1e-2), (3.0, 1e-2)]


def test_captions_are_broken_between_what_they_say():
    parts = ["a" * 60, "b" * 48, "c"]
    assert parted("; ".join(parts), 110).splitlines() == [f"{'a' * 60}; {'b' * 48}", "c"]


# trials: every one of them.

SPACES = {
    PROBLEM: {
        "sgd": {"lr": "log(0.0001, 10)"},
        "adam": {"lr": "uniform(0, 2)", "beta1": "1 - log(0.01, 1)"},
    }
}


def tried():
    """Return trials of two labels, some of which diverged."""
    sgd = [(1e-3, 0.5), (1e-2, 0.3), (1e-1, 0.2), (5.0, inf)]
    adam = [(0.1, 0.9, 0.4), (0.5, 0.5, 0.1), (1.9, 0.98, inf)]
    return [
        *(Trial(score, "sgd", hyperparameters={"lr": lr}) for lr, score in sgd),
        *(
            Trial(score, "adam", hyperparameters={"lr": lr, "beta1": beta1})
            for lr, beta1, score in adam
        ),
    ]


def marked(axes, marker, size=None):
    return [
        line
        for line in axes.lines
        if line.get_marker() == marker and size in (None, line.get_markersize())
    ]


def test_every_trial_is_a_dot_or_a_cross_at_the_top_and_the_winner_is_ringed():
    figure = figure_of("trials", study(tried(), spaces=SPACES))
    assert [axes.get_title() for axes in figure.axes] == ["SGD: lr", "Adam: lr", "Adam: beta1"]
    sgd, lr, beta1 = figure.axes
    (dots,), (ring,), (cross,) = (marked(sgd, *which) for which in (("o", 3.5), ("o", 12), "x"))
    assert dots.get_xdata().tolist() == [1e-3, 1e-2, 1e-1]
    assert dots.get_ydata().tolist() == [0.5, 0.3, 0.2]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([1e-1], [0.2])
    assert (cross.get_xdata().tolist(), cross.get_ydata().tolist()) == ([5.0], [1.0])
    assert dots.get_color() == cross.get_color() == KNOWN["sgd"].color
    (dots,) = marked(beta1, "o", 3.5)
    assert dots.get_xdata().tolist() == [0.9, 0.5]
    assert {axes.get_ylim() for axes in figure.axes} == {lr.get_ylim()}
    said = (
        "a dot a trial, circled: the winner; × at the top: diverged, 2 of 7; "
        "grey: the outer 5 % of a space"
    )
    assert figure.get_supxlabel().splitlines()[-1] == said
    aimed = figure_of("trials", study(tried(), spaces=SPACES, metric="steps_to_target"))
    assert aimed.get_supylabel() == "steps to target"
    missed = said.replace("diverged", "missed the target")
    assert " ".join(aimed.get_supxlabel().splitlines()[1:]) == missed


@pytest.mark.parametrize("worst", [1e79, 1e300])
def test_a_trial_that_ran_away_does_not_stretch_the_axis_and_is_marked_at_its_edge(worst):
    figure = figure_of("trials", study([*tried(), Trial(worst, "sgd", hyperparameters={"lr": 7.0})],
                                       spaces=SPACES))  # fmt: skip
    assert {axes.get_ylim() for axes in figure.axes} == {figure.axes[0].get_ylim()}
    assert figure.axes[0].get_ylim()[1] < 1.0
    signs = [line for line in figure.axes[0].lines if line.get_label() == BEYOND]
    assert [sign.get_xdata().tolist() for sign in signs] == [[7.0]]
    assert signs[0].get_ydata().tolist() == [figure.axes[0].get_ylim()[1]]
    assert "filled triangle: beyond the figure" in figure.get_supxlabel()


def test_an_incumbent_that_began_far_away_does_not_stretch_the_axis():
    scores = [1e79, 0.5, 0.6, 0.3, 0.2, 0.2]
    figure = figure_of("budget", study(of_scores(scores), sampler="tpe"))
    assert figure.axes[0].get_ylim()[1] < 1.0
    assert "open triangle: enters the figure" in figure.get_supxlabel().replace("\n", " ")


def test_axes_have_the_scale_of_the_space_and_its_edges_are_shaded():
    sgd, lr, beta1 = figure_of("trials", study(tried(), spaces=SPACES)).axes
    assert (sgd.get_xscale(), lr.get_xscale(), beta1.get_xscale()) == ("log", "linear", "function")
    assert sgd.get_xlim() == pytest.approx((1e-4, 10.0))
    assert lr.get_xlim() == (0.0, 2.0)
    assert beta1.get_xlim() == (0.0, 0.99)
    expected = {
        sgd: [(1e-4, 1e-4 * 10**0.25), (10**0.75, 10.0)],
        lr: [(0.0, 0.1), (1.9, 2.0)],
        beta1: [(0.0, 1 - 10**-0.1), (1 - 10**-1.9, 0.99)],
    }
    for axes, ends in expected.items():
        strips = [patch for patch in axes.patches if to_hex(patch.get_facecolor()) == SHADE]
        found = sorted(sorted(patch.get_corners()[[0, 2], 0]) for patch in strips)
        assert np.array(found) == pytest.approx(np.array(ends))
    labels = [label.get_text() for label in beta1.get_xticklabels()]
    assert labels == ["0", "0.9", "0.99"]


def test_a_share_of_few_decades_has_more_ticks():
    trials = [Trial(score, hyperparameters={"beta1": score}) for score in (0.6, 0.8)]
    spaces = {PROBLEM: {"adam": {"beta1": "1 - log(0.05, 0.5)"}}}
    (axes,) = figure_of("trials", study(trials, spaces=spaces)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "0.9", "0.95"]


def test_grids_and_words_have_no_edges():
    trials = [
        Trial(0.1 * (place + 1), hyperparameters={"lr": 10.0**-place, "eps_place": word})
        for place, word in enumerate(("inside", "outside", "inside"))
    ]
    spaces = {PROBLEM: {"adam": {"lr": "grid(1, 0.1)", "eps_place": "choice(inside, outside)"}}}
    lr, words = figure_of("trials", study(trials, spaces=spaces)).axes
    assert lr.get_xscale() == "log"
    assert [label.get_text() for label in words.get_xticklabels()] == ["inside", "outside"]
    assert marked(words, "o", 3.5)[0].get_xdata().tolist() == [0.0, 1.0, 0.0]
    assert not [*lr.patches, *words.patches]
    linear = [Trial(0.1, hyperparameters={"lr": lr}) for lr in (0.1, 0.2, 0.3)]
    figure = figure_of("trials", study(linear, spaces={}))
    assert figure.axes[0].get_xscale() == "linear"
    assert "grey" not in figure.get_supxlabel()


def test_what_halving_ended_and_what_is_zero():
    trials = [
        Trial(0.0, hyperparameters={"lr": 0.1}),
        Trial(0.5, hyperparameters={"lr": 0.2}),
        Trial(inf, hyperparameters={"lr": 0.3}, culled_at=20),
        Trial(inf, hyperparameters={"lr": 0.4}),
    ]
    figure = figure_of("trials", study(trials, halving={"eta": 3}))
    (axes,) = figure.axes
    (bars,), (crosses,) = marked(axes, "|"), marked(axes, "x")
    assert bars.get_xdata().tolist() == [0.3]
    assert crosses.get_xdata().tolist() == [0.4]
    assert texts(axes) == ["this or less"]
    assert "diverged, 1 of 4; | at the top: ended by halving" in figure.get_supxlabel()


def test_a_label_without_a_finite_trial_has_no_ring():
    trials = [
        *tried(),
        *(Trial(inf, "lion", hyperparameters={"lr": lr}) for lr in (0.1, 0.2)),
    ]
    axes = figure_of("trials", study(trials, spaces=SPACES)).axes[-1]
    assert axes.get_title() == "Lion: lr"
    assert marked(axes, "o", 12) == []


def test_what_was_not_tuned_has_no_figure():
    with pytest.raises(UsageError, match="cannot draw trials of 'mnist-mlp': no hyperparameter"):
        draw("trials", study(of_scores([0.1, 0.2])), PROBLEM)


def test_intervals_are_read_from_text():
    assert interval_of("log(1e-05, 1)") == Interval("log", 1e-5, 1.0)
    assert interval_of("1 - log(0.004, 1)") == Interval("1 - log", 0.004, 1.0)
    assert interval_of("uniform(-1, 2)") == Interval("uniform", -1.0, 2.0)
    assert interval_of("int(1, 5)") is None
    assert interval_of(None) is None


def test_studies_and_runs_have_kinds_of_their_own():
    made = study(tried())
    with pytest.raises(UsageError, match="budget shows the trials of a study, and this is a run"):
        draw("budget", function_run(), "anisotropic")
    with pytest.raises(UsageError, match="unknown kind 'loss' of a study; known are budget"):
        draw("loss", made, PROBLEM)
    with pytest.raises(UsageError, match="this study has no problem 'mnist'; did you mean"):
        draw("budget", made, "mnist")
    assert not set(KINDS) & set(STUDY_KINDS)
