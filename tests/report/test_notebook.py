"""What Python prints and a notebook shows of runs and studies."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import optbench
from optbench.api import Results
from optbench.records import Status
from optbench.report import notebook
from optbench.report.notebook import run_html
from optbench.report.oneline import run_line
from optbench.report.plots.sheet import new_figure
from tests.report.runs import Lane, function_problem, tables

SVG = "{http://www.w3.org/2000/svg}"


def page(html):
    """Return the tree of a page, which has to be well-formed by itself."""
    return ElementTree.fromstring(html)


def curves(html):
    """Return the points of each curve by its label, shape (points, 2)."""
    found = {}
    for line in page(html).iter(f"{SVG}polyline"):
        pairs = [pair.split(",") for pair in line.attrib["points"].split()]
        found[line.find(f"{SVG}title").text] = np.array(pairs, dtype=float)
    return found


def run(*lanes, names=("anisotropic",), status=Status.DONE):
    made = tables(lanes, [function_problem(name) for name in names])
    return replace(made, meta={**made.meta, "status": status})


def fall(*exponents):
    return [10.0**exponent for exponent in exponents]


def test_a_run_is_a_line_with_its_winner():
    made = run(Lane("adam", fall(0, -1, -2)), Lane("sgd", fall(0, -1, -1)))
    size = "1 problem × 2 optimizers × 1 seed"
    line = f"{made.path}: done, {size}; best on anisotropic: adam 0.01000"
    assert run_line(made) == line
    assert repr(Results(made)) == f"<Results {line}>"


def test_a_line_names_three_winners_and_none_that_diverged():
    lanes = [Lane("sgd", [1.0, 0.5], problem=name) for name in "abcde"]
    made = run(*lanes, names="abcde")
    assert run_line(made).endswith("best on a: sgd 0.5000, b: sgd 0.5000, c: sgd 0.5000, 2 more")
    made = run(Lane("sgd", [1.0, np.inf], status=Status.DIVERGED))
    assert run_line(made).endswith("1 problem × 1 optimizer × 1 seed")


def test_curves_are_the_losses_on_a_logarithmic_scale():
    """Two decades over the height; the lower curve ends at the bottom, on the right."""
    shown = curves(run_html(run(Lane("adam", fall(0, -1, -2)), Lane("sgd", fall(0, -0.5, -1)))))
    assert list(shown) == ["adam", "sgd"]
    for label in shown:
        middle = (notebook.LEFT + notebook.WIDTH) / 2
        np.testing.assert_allclose(shown[label][:, 0], [notebook.LEFT, middle, notebook.WIDTH])
    top, bottom = 4.0, notebook.HEIGHT - 4.0
    middle = (top + bottom) / 2
    np.testing.assert_allclose(shown["adam"][:, 1], [top, middle, bottom], atol=0.06)
    np.testing.assert_allclose(shown["sgd"][:, 1], [top, (top + middle) / 2, middle], atol=0.06)


def test_a_curve_that_runs_away_is_cut_and_leaves_room_for_the_others():
    far = Lane("sgd", [1.0, 1e3, 1e9, np.inf], status=Status.DIVERGED)
    shown = curves(run_html(run(far, Lane("adam", [1.0, 0.5, 0.25, 0.125]))))
    assert len(shown["sgd"]) == 3  # up to where it is finite
    assert shown["sgd"][-1, 1] == shown["sgd"][1, 1] == 4.0
    assert shown["adam"][-1, 1] - shown["adam"][0, 1] > 50


def test_rows_have_the_colours_of_their_curves():
    tree = page(run_html(run(Lane("adam", [1.0, 0.5]), Lane("lion", [1.0, 0.5]))))
    strokes = [line.attrib["stroke"] for line in tree.iter(f"{SVG}polyline")]
    marks = [span.attrib["style"] for span in tree.iter("span")]
    assert strokes == ["#D55E00", "currentColor"]  # black would be lost in a dark notebook
    assert marks == [f"color: {color}" for color in strokes]
    cells = [cell.text or "".join(cell.itertext()) for cell in tree.iter("td")]
    assert [cell for cell in cells if "adam" in cell or "lion" in cell] == ["■ adam", "■ lion"]


def test_names_are_shown_and_do_nothing():
    odd = "<script>alert('1')</script>&\"x\""
    html = run_html(run(Lane(odd, [1.0, 0.5])))
    assert "<script" not in html
    assert list(curves(html)) == [odd]
    for word in ("href", "src=", "url(", "@import"):
        assert word not in html


def test_thirty_optimizers_take_less_than_100_kilobytes():
    falling = np.geomspace(1.0, 1e-9, 5000) * np.linspace(1.0, 1.3, 5000)
    html = run_html(run(*(Lane(f"optimizer {n}", falling * n) for n in range(1, 31))))
    assert len(curves(html)) == 30
    assert len(html.encode()) < 100_000


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED, Status.DIVERGED])
def test_whatever_became_of_a_run_it_is_shown(status):
    lanes = [Lane("adam", [np.inf], status=status), Lane("sgd", [1.0], status=status)]
    made = run(*lanes, status=status)
    assert "adam" in run_html(made)
    assert f": {status}, 1 problem" in run_line(made)


def test_a_study_shows_what_won(tmp_path):
    study = optbench.tune(
        "anisotropic", optimizers=["sgd", "adam"], budget="4 trials", iterations=5, out=tmp_path
    )
    best = min(study.winners, key=lambda won: won["search_score"])
    assert f"anisotropic: {best['label']} lr=" in repr(study)
    assert repr(study).startswith(f"<Study {study.path}: done, 8 trials; chosen on anisotropic: ")
    assert set(curves(study._repr_html_())) == set(study.final.lanes["label"])


def test_a_figure_shows_itself_in_a_notebook_without_pyplot():
    figure = new_figure(2.0)
    figure.add_subplot().plot([1, 2], [3, 4])
    assert figure._repr_png_().startswith(b"\x89PNG")
