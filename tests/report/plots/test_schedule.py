"""The schedule figure shows the learning rate that each update had."""

from dataclasses import replace

import numpy as np
import pytest

import optbench
from optbench.errors import UsageError
from optbench.report.plots import draw, drawable
from tests.report.runs import function_run


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory):
    return optbench.run(
        "anisotropic",
        optimizers=["sgd", "adam"],
        set={"adam.schedule": "cosine", "adam.warmup": 5},
        iterations=40,
        out=tmp_path_factory.mktemp("runs"),
    )


def curves(figure):
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    return dict(zip(names, figure.axes[0].get_lines(), strict=True))


def test_each_optimizer_has_its_learning_rate_at_every_update(scheduled):
    lines = curves(draw("schedule", scheduled.tables, "anisotropic"))
    u = np.arange(40)
    cosine = 0.5 * (1 + np.cos(np.pi * (u - 5) / 35))
    expected = {"Adam": 0.3 * np.where(u < 5, (u + 1) / 5, cosine), "SGD": 0.95 * np.ones(40)}
    assert lines.keys() == expected.keys()
    for name, line in lines.items():
        assert line.get_xdata().tolist() == (u + 1).tolist()
        np.testing.assert_allclose(line.get_ydata(), expected[name], rtol=1e-12)


def test_it_fits_only_runs_with_a_schedule(scheduled):
    assert "schedule" in drawable(scheduled.tables, "anisotropic")
    with pytest.raises(UsageError, match="no lane has a schedule"):
        draw("schedule", function_run(), "anisotropic")


def test_words_and_numbers_are_columns_of_the_lanes(scheduled):
    lanes = scheduled.lanes.set_index("label")
    assert lanes.loc["adam", "hp_schedule"] == "cosine"
    assert lanes.loc["sgd", ["hp_schedule"]].isna().all()
    assert lanes.loc["adam", "hp_warmup"] == 5.0
    again = optbench.load(scheduled.path)
    assert again.lanes["hp_schedule"].tolist() == scheduled.lanes["hp_schedule"].tolist()


def test_long_runs_are_thinned(scheduled):
    (problem,) = scheduled.meta["problems"]
    meta = scheduled.meta | {"problems": [problem | {"iterations": 5000}]}
    for line in curves(
        draw("schedule", replace(scheduled.tables, meta=meta), "anisotropic")
    ).values():
        assert len(line.get_xdata()) == 2000
        assert line.get_xdata()[[0, -1]].tolist() == [1, 5000]
