"""Figures for a page: their size, text, title, legend and bytes."""

import io
import re
import zlib
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from optbench.errors import UsageError
from optbench.report.plots import KINDS, PlotOptions, draw, drawable
from optbench.report.plots.axes import End, name_beside
from optbench.report.plots.sheet import add_legend, new_figure, sized_by, wrapped
from tests.report.runs import (
    function_run,
    network_lane,
    network_problem,
    network_run,
    swept_run,
    tables,
)

PAPER = {"width": "3.25in", "font_size": 8}
RUNS = [function_run(), swept_run(seeds=2), network_run(2)]


def figure_of(kind="loss", run=None, **options):
    run = run or network_run(2)
    return draw(kind, run, run.meta["problems"][0]["problem"], PlotOptions(**options))


def bytes_of(figure, form, **settings):
    file = io.BytesIO()
    figure.savefig(file, format=form, **settings)
    return file.getvalue()


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("width", "inches"),
    [(3.25, 3.25), ("3.25in", 3.25), ("8.255cm", 3.25), ("82.55 mm", 3.25), ("234pt", 3.25)],
)
def test_a_width_is_that_of_the_figure_in_whatever_unit(width, inches):
    assert figure_of(width=width).get_size_inches()[0] == pytest.approx(inches, abs=1e-9)


@pytest.mark.parametrize("legend", ["below", "right", "inside", "none"])
def test_a_height_that_was_chosen_holds_the_legend_too(legend):
    figure = figure_of(width=3.25, height="2.5in", dpi=200, legend=legend)
    with Image.open(io.BytesIO(bytes_of(figure, "png"))) as image:
        assert image.size == (650, 500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "3.25inch"}, "width '3.25inch' is no length; write inches, or a number with in"),
        ({"width": "wide"}, "width 'wide' is no length"),
        ({"height": 0.1}, "height must be from 1 to 60 in; got 0.1"),
        ({"width": float("nan")}, "width must be from 1 to 60 in; got nan"),
        ({"font_size": 200}, "font_size must be from 3 to 40 points; got 200"),
        ({"dpi": 5}, "dpi must be from 20 to 2400 dots per inch; got 5"),
        ({"legend": "left"}, "legend = 'left' must be below, right, inside or none or None"),
    ],
)
def test_a_page_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError) as caught:
        PlotOptions(**options)
    assert str(caught.value).startswith(message)


def test_text_has_the_size_that_was_chosen_and_so_do_ticks_that_come_later():
    before = dict(rcParams)
    figure = figure_of(**PAPER)
    assert dict(rcParams) == before
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    labels = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert {text.get_fontsize() for text in labels} == {8.0}
    sizes = {text.get_fontsize() for text in texts(figure)}
    assert 6.5 < min(sizes) < 8.0 < max(sizes) < 10.0


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_a_columns_width_no_text_leaves_the_figure_or_lies_on_another(kind, run):
    if kind not in drawable(run, run.meta["problems"][0]["problem"]):
        pytest.skip("does not fit")
    if kind == "surface":
        pytest.skip("the layout does not see labels of axes in 3-D")
    figure = figure_of(kind, run, **PAPER)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    framed = [text for text in texts(figure) if text not in ticks]
    for text in framed:
        box = text.get_window_extent()
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
    for one, other in combinations(framed, 2):
        overlap = one.get_window_extent().overlaps(other.get_window_extent())
        assert not overlap, (one.get_text(), other.get_text())


def test_at_a_columns_width_the_axes_of_a_surface_have_their_names_inside():
    figure = figure_of("surface", RUNS[0], **PAPER)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    for label in (axes.xaxis.label, axes.yaxis.label, axes.zaxis.label):
        box = label.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, label


def test_at_a_columns_width_a_caption_stands_over_the_legend_and_the_axes_keep_their_height():
    names = [f"schedule-free-adamw-torch-{k}" for k in range(6)]
    with sized_by(PlotOptions(**PAPER)):
        figure = new_figure(4.8)
        axes = figure.add_subplot()
        ends = [End(name, "black", 1.0, k / 5) for k, name in enumerate(names)]
        name_beside(figure, axes, ends, ["one line; " * 12])
    FigureCanvasAgg(figure).draw()
    assert figure.get_supxlabel() == ""
    legend = figure.legends[0]
    assert legend.get_title().get_text().startswith("one line; one line")
    assert axes.get_window_extent().height / figure.dpi > 1.2


def test_names_beside_curves_do_not_touch_however_much_a_caption_takes():
    with sized_by(PlotOptions(**PAPER)):
        figure = new_figure(4.8)
        axes = figure.add_subplot()
        name_beside(figure, axes, [End(f"o{k}", "black", 1.0, 0.0) for k in range(6)],
                    ["; ".join(["a part of a caption"] * 20)])  # fmt: skip
    FigureCanvasAgg(figure).draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the leaders
    assert len(boxes) == 6
    for one, other in combinations(boxes, 2):
        assert abs(one.y0 - other.y0) >= 0.9 * other.height


@pytest.mark.parametrize(("title", "shown"), [(None, "mnist-mlp"), ("Ours", "Ours"), ("", "")])
def test_a_title_takes_the_place_of_the_problems(title, shown):
    assert figure_of(title=title).axes[0].get_title() == shown


def test_of_panels_that_have_titles_the_figures_stands_above_all():
    figure = figure_of("trajectory", function_run(), title="Four paths")
    assert figure.get_suptitle() == "Four paths"
    names = [axes.get_title().split(",")[0] for axes in figure.axes]
    assert names == ["SGD", "Momentum", "AdaGrad", "Adam"]
    assert figure_of("trajectory", function_run(), title="").get_suptitle() == ""


def test_a_title_may_be_mathematics_that_can_be_set():
    assert figure_of(title=r"$f(x) = x^2$").axes[0].get_title() == "$f(x) = x^2$"
    with pytest.raises(UsageError, match=r"title '\$\\frac\$' is not what Matplotlib takes"):
        figure_of(title=r"$\frac$")


def test_a_legend_stands_where_it_is_asked_for():
    below, right = figure_of(legend="below"), figure_of(legend="right")
    for figure in (below, right):
        FigureCanvasAgg(figure).draw()
        assert legend_texts(figure)[:4] == ["SGD", "Momentum", "AdaGrad", "Adam"]
    assert below.legends[0].get_window_extent().y1 < below.axes[0].get_window_extent().y0
    assert right.legends[0].get_window_extent().x0 > right.axes[0].get_window_extent().x1
    inside = figure_of(legend="inside")
    assert not inside.legends
    assert inside.axes[0].get_legend() is not None
    none = figure_of(legend="none")
    assert not none.legends
    assert none.axes[0].get_legend() is None


def test_pdf_holds_truetype_fonts_and_no_date():
    pdf = bytes_of(figure_of(), "pdf")
    assert b"/Type3" not in pdf
    assert re.search(rb"/Subtype /(Type0|TrueType)", pdf)
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf


def test_svg_holds_its_text_and_no_date():
    svg = bytes_of(figure_of(title="Smoothed loss"), "svg").decode()
    found = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert {"Smoothed loss", "Adam", "iteration"} <= set(found)
    assert "dc:date" not in svg


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_the_same_input_gives_the_same_bytes(form):
    one, other = (bytes_of(figure_of("loss", swept_run(seeds=2)), form) for _ in range(2))
    assert zlib.crc32(one) == zlib.crc32(other)
    assert one == other


def test_what_is_an_image_in_a_vector_format_is_as_fine_as_asked_for():
    def width(**options):
        svg = bytes_of(figure_of("loss", swept_run(), **options), "svg").decode()
        return max(float(found) for found in re.findall(r'<image[^>]* width="([0-9.]+)"', svg))

    assert width(dpi=600) == pytest.approx(width(), rel=0.02)  # on the page they are equally wide
    sizes = [len(bytes_of(figure_of("loss", swept_run(), dpi=dpi), "svg")) for dpi in (None, 600)]
    assert sizes[1] > 1.2 * sizes[0]


def test_lines_are_broken_between_words_and_those_that_fit_are_left_alone():
    assert wrapped("one two three\nfour", 9) == "one two\nthree\nfour"
    assert wrapped("a  b", 9) == "a  b"


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ([f"a rather long label, number {k}" for k in range(9)], 2),
        (["SGD", "Momentum", "AdaGrad", "Adam"], 4),
        (["SGD", "Momentum", "AdaGrad", "Adam", "RMSprop", "Nesterov", "AdamW"], 4),
        (["SGD, lr=0.1", "Momentum, lr=0.001", "AdaGrad, lr=0.3162", "Adam, lr=0.02"], 4),
        ([f"{name} (b{k}ee7bfc)" for name in ("Momentum", "AdaGrad", "Adam") for k in "90"], 3),
        (["one"], 1),
    ],
)
def test_a_legend_is_no_wider_than_its_figure_and_makes_room_for_its_rows(names, columns):
    figure = new_figure(4.0)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name in names:
        axes.plot([0, 1], label=name)
    add_legend(figure, *axes.get_legend_handles_labels())
    canvas.draw()
    (legend,) = figure.legends
    assert legend._ncols == columns
    assert legend.get_window_extent(canvas.get_renderer()).width <= figure.bbox.width
    rows = -(-len(names) // columns)
    assert figure.get_size_inches()[1] == pytest.approx(4.0 + (rows - 1) * 0.22)


@pytest.mark.parametrize(("width", "columns"), [(8.0, 5), (3.25, 2)])
def test_a_legend_of_many_is_small_and_has_columns_at_any_width(width, columns):
    names = [f"schedule-free-sgd{k}" for k in range(36)]
    with sized_by(PlotOptions(width=width)):
        figure = new_figure(4.0, 4.0)
        axes = figure.add_subplot()
        for name in names:
            axes.plot([0, 1], label=name)
        add_legend(figure, *axes.get_legend_handles_labels())
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    assert legend._ncols == columns
    box = legend.get_window_extent()
    assert (box.x0, box.y0) >= (figure.bbox.x0, figure.bbox.y0)
    assert box.x1 <= figure.bbox.x1
    assert box.y1 < axes.get_window_extent().y0
    assert axes.get_window_extent().height / figure.dpi > 2.5


def test_a_legend_without_entries_is_a_caption():
    figure = new_figure(4.0)
    add_legend(figure, [], [], "median of 2 seeds")
    assert figure.legends == []
    assert figure.get_supxlabel() == "median of 2 seeds"


def test_a_legend_inside_lies_above_all_that_is_drawn():
    axes = figure_of(legend="inside").axes[0]
    others = [artist for artist in axes.get_children() if artist is not axes.get_legend()]
    assert axes.get_legend().get_zorder() > max(artist.get_zorder() for artist in others)


def test_a_label_beside_an_axis_is_broken_to_its_height_whatever_the_legend_takes():
    lanes = [replace(network_lane("sgd"), label=f"a rather long label {k}") for k in range(14)]
    figure = figure_of(run=tables(lanes, [network_problem()]), width="3.25in")
    FigureCanvasAgg(figure).draw()
    box = figure.axes[0].yaxis.label.get_window_extent()
    assert figure.legends[0].get_window_extent().y1 < box.y0
    assert box.y1 <= figure.bbox.y1


def test_a_name_too_long_for_a_narrow_legend_is_broken():
    figure = figure_of("loss", swept_run(seeds=2), width="3.25in", font_size=8)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert figure.legends[0].get_window_extent().width <= figure.bbox.width
    assert np.isfinite(figure.axes[0].get_window_extent().width)
