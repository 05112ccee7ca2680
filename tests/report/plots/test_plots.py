"""What can be drawn of which run, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.plots import KINDS, PlotOptions, draw, drawable, kinds_for
from tests.report.runs import (
    Lane,
    function_problem,
    function_run,
    line_run,
    network_run,
    swept_run,
    tables,
)

SHAPES = ["trajectory", "surface", "field", "loss"]


@pytest.mark.parametrize(
    ("run", "problem", "automatic", "possible"),
    [
        (function_run(), "anisotropic", ["trajectory", "loss"], SHAPES),
        (
            swept_run(),
            "anisotropic",
            ["trajectory", "loss", "sensitivity"],
            [*SHAPES, "sensitivity", "tolerance"],
        ),
        (network_run(), "mnist-mlp", ["loss"], ["loss"]),
        (line_run(), "quadratic-1d", ["trajectory", "loss"], ["trajectory", "loss"]),
    ],
)
def test_each_run_has_the_kinds_that_fit(run, problem, automatic, possible):
    assert kinds_for(run, problem) == automatic
    assert drawable(run, problem) == possible


def test_two_values_are_drawn_only_when_asked_for():
    lanes = [Lane("sgd", [2.0, lr], hyperparameters={"lr": lr}) for lr in (0.1, 0.2)]
    run = tables(lanes, [function_problem()])
    assert kinds_for(run, "anisotropic") == ["loss"]
    assert drawable(run, "anisotropic") == ["loss", "sensitivity"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", [function_run(), swept_run(seeds=2), network_run(2), line_run()])
def test_every_kind_that_fits_is_drawn_without_a_warning(kind, run, tmp_path):
    problem = run.meta["problems"][0]["problem"]
    if kind in drawable(run, problem):
        draw(kind, run, problem).savefig(tmp_path / "figure.png", dpi=20)
        assert (tmp_path / "figure.png").stat().st_size > 0
        assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize(
    ("kind", "run", "message"),
    [
        ("trajectory", network_run(), "not a function of one or two variables; what fits: loss$"),
        ("surface", line_run(), "not a function of two variables; what fits: trajectory, loss$"),
        ("field", replace(function_run(), surface=line_run().surface), "holds no surface"),
        (
            "trajectory",  # of an optbench that kept functions of two variables only
            replace(line_run(), surface=function_run().surface),
            "holds no surface of it; what fits: loss$",
        ),
        (
            "trajectory",
            function_run(plot=None),
            "holds no surface of it; what fits: loss$",
        ),
        (
            "sensitivity",
            function_run(),
            "was swept; what fits: trajectory, surface, field, loss$",
        ),
        ("trajectry", function_run(), "did you mean 'trajectory'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_fits(kind, run, message):
    with pytest.raises(UsageError, match=message) as caught:
        draw(kind, run, run.meta["problems"][0]["problem"])
    assert "\n" not in str(caught.value)


def test_a_run_without_a_loss_or_the_problem_has_no_figure():
    run = tables([Lane("sgd", [np.nan], status=Status.DIVERGED)], [function_problem()])
    assert kinds_for(run, "anisotropic") == []
    with pytest.raises(UsageError, match="no lane has a finite loss; what fits: nothing"):
        draw("loss", run, "anisotropic")
    with pytest.raises(UsageError, match="no problem 'mnist'"):
        kinds_for(run, "mnist")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": 10}, "odd number of rows"),
        ({"smooth": 0}, "odd number of rows"),
        ({"x": "hours"}, "iteration, epoch or seconds"),
        ({"ylim": (1.0, 0.0)}, "the smaller first; got 1, 0"),
        ({"ylim": (0.0, float("nan"))}, "the smaller first"),
        ({"ylim": (0.0, 1.0), "log": True}, "above 0; got 0"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        PlotOptions(**options)
