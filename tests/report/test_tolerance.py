"""How exactly a hyperparameter has to be set, from runs; the arithmetic is tested in inference."""

import json

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.plots import draw
from optbench.report.sections import to_markdown
from optbench.report.tolerance import sections, tolerance
from tests.cli.command import optbench, run
from tests.report.runs import Lane, function_problem, function_run, network_run, tables


def of_ends(ends, minimum=0.0, **changes):
    """Return a sweep of lr = 1, 10, … that ends at these losses; NaN is divergence."""
    lanes = [
        Lane(
            "sgd",
            [10.0, end],
            hyperparameters={"lr": 10.0**place},
            status=Status.DIVERGED if np.isnan(end) else Status.DONE,
        )
        for place, end in enumerate(ends)
    ]
    minima = [{"position": [0.0, 0.0], "value": minimum}]
    return tables(lanes, [function_problem(minima=minima, **changes)])


def test_sgd_on_the_textbooks_function(tmp_path):
    """Case 27 of the worked cases: exact by the closed form of gradient descent."""
    run("anisotropic", "-o", "sgd", "--grid", "sgd.lr=1e-3:10:25", cwd=tmp_path)
    seen = optbench("show", "--tolerance", "--format", "json", cwd=tmp_path)
    (row,) = json.loads(seen.out)
    assert row["best"] == pytest.approx(0.681292069058, rel=1e-12)
    assert row["loss"] == pytest.approx(0.0355228740338, rel=1e-9)
    assert row["decades_10"] == pytest.approx(0.0148560983, rel=1e-8)
    assert row["decades_100"] == pytest.approx(0.1080415826, rel=1e-8)
    assert (row["low_10"], row["high_10"]) == pytest.approx((0.6634973084, 0.6865865061), rel=1e-9)
    assert row["too_coarse"] is True
    table = optbench("show", "--tolerance", cwd=tmp_path)
    assert table.code == 0
    assert "grid too coarse" in table.out
    assert max(map(len, table.out.splitlines())) <= 80


def test_the_minimum_is_subtracted():
    (row,) = tolerance(of_ends([6.0, 5.1, 7.0], minimum=5.0)).itertuples(index=False)
    # 0.11 of 0.1 … 1.0 between 10 and 1: a share log 1.1 / log 10 of the way.
    assert np.log10(row.best / row.low_10) == pytest.approx(np.log10(1.1))
    assert row.loss == pytest.approx(5.1)


def test_ends_of_the_grid_are_open_and_divergence_is_not():
    (row,) = tolerance(of_ends([1.0, 1.02, 1.05, np.nan])).itertuples(index=False)
    assert (row.low_10, row.high_10) == (1.0, 100.0)
    assert (row.low_open_10, row.high_open_10) == (True, False)
    assert "| ≥ 2 |" in to_markdown(sections(tolerance(of_ends([1.0, 1.02, 1.05, np.nan]))))


def test_without_a_sweep_there_is_no_tolerance():
    with pytest.raises(UsageError, match="swept no numeric hyperparameter over 3 values or more"):
        tolerance(network_run())


def test_the_figure_writes_the_widths():
    figure = draw("tolerance", of_ends([6.0, 5.1, 7.0], minimum=5.0), "anisotropic")
    texts = [text.get_text() for text in figure.axes[0].texts]
    (row,) = tolerance(of_ends([6.0, 5.1, 7.0], minimum=5.0)).itertuples(index=False)
    assert f"{row.decades_10:.2g}" in texts
    with pytest.raises(UsageError, match="no hyperparameter has three values"):
        draw("tolerance", function_run(), "anisotropic")
