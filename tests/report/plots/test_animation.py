"""All optimizers racing on one function."""

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.plots import animate
from optbench.report.plots.animation import Race, _write_gif, form_of
from optbench.report.plots.style import KNOWN
from tests.report.runs import (
    Lane,
    anisotropic_surface,
    function_problem,
    function_run,
    line_run,
    swept_run,
    tables,
    with_every,
)

FFMPEG = """#!{python}
import pathlib, sys
if {code}:
    sys.exit("a line\\nno such encoder")
frames = sys.stdin.buffer.read()
pathlib.Path(sys.argv[-1]).write_text(f"{{len(frames)}} {{' '.join(sys.argv)}}")
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Stand in for ffmpeg: writes how many bytes it was given, or refuses."""

    def install(code=0):
        place = tmp_path / "bin" / "ffmpeg"
        place.parent.mkdir()
        place.write_text(FFMPEG.format(python=sys.executable, code=code))
        place.chmod(0o755)
        monkeypatch.setenv("PATH", str(place.parent))

    return install


def leaving_run():
    """Return one lane that stays, one that leaves for a while, one for good, one that diverges."""
    paths = {
        "sgd": [[-7, 2], [-6, 1], [-5, 0], [-4, 0]],
        "momentum": [[-7, 2], [0, 20], [0, 5], [0, 0]],
        "adagrad": [[-7, 2], [-20, 2], [-30, 2], [-40, 2]],
        "adam": [[-7, 2], [-1, 1], [np.inf, 0]],
    }
    ends = {"adam": Status.DIVERGED}
    return race_of(
        Lane(
            label,
            np.arange(len(path), 0.0, -1),
            position=np.array(path),
            status=ends.get(label, Status.DONE),
        )
        for label, path in paths.items()
    )


def race_of(lanes):
    return tables(list(lanes), [function_problem()], anisotropic_surface())


def texts(race):
    (legend,) = race.figure.legends
    return [text.get_text() for text in legend.get_texts()]


def shown(race, iteration):
    """Return path, head and cross of each runner at an iteration."""
    race.show(iteration)
    return [[each.get_xydata().tolist() for each in runner.artists] for runner in race._runners]


def test_a_frame_shows_paths_and_heads_as_far_as_they_are():
    run = function_run()
    race = Race(run, "anisotropic")
    assert race.iterations == 30
    for iteration in (0, 7, 30):
        for number, (path, head, cross) in enumerate(shown(race, iteration)):
            expected = run.trace.loc[run.trace["lane"] == number, ["x", "y"]].to_numpy()
            assert path == expected[: iteration + 1].tolist()
            assert head == expected[iteration : iteration + 1].tolist()
            assert cross == []
        (axes,) = race.figure.axes
        assert axes.get_title() == f"anisotropic: iteration {iteration} of 30"


def test_optimizers_have_their_colours_and_names():
    race = Race(function_run(), "anisotropic")
    names = [f"{name}, lr 0.1" for name in ("SGD", "Momentum", "AdaGrad", "Adam")]
    assert texts(race) == [*names, "start", "minimum"]
    labels = ("sgd", "momentum", "adagrad", "adam")
    for runner, label in zip(race._runners, labels, strict=True):
        line, head, _ = runner.artists
        assert line.get_color() == head.get_color() == KNOWN[label].color
        assert head.get_marker() == KNOWN[label].marker


def test_who_is_outside_has_a_cross_where_it_left():
    race = Race(leaving_run(), "anisotropic")
    assert texts(race)[:4] == [
        "SGD, lr 0.1",
        "Momentum, lr 0.1",
        "AdaGrad, lr 0.1, left the domain",
        "Adam, lr 0.1, diverged at 2",
    ]
    assert texts(race)[-1] == "out of view, or lost"
    crosses = [[cross for *_, cross in shown(race, iteration)] for iteration in range(4)]
    edge = [[-10.0, 2.0]]
    assert crosses[0] == [[], [], [], []]
    assert crosses[1][0] == []
    np.testing.assert_allclose(crosses[1][1], [[-7 + 7 * 8 / 18, 10.0]])
    assert crosses[1][2] == crosses[2][2] == crosses[3][2] == edge
    assert crosses[2][1] == crosses[3][1] == []
    assert crosses[3][3] == [[-1.0, 1.0]]


def test_frames_are_spread_over_long_races():
    assert Race(function_run(), "anisotropic").frames() == list(range(31))
    long = Lane("sgd", np.ones(1001), position=np.zeros((1001, 2)))
    frames = Race(race_of([long]), "anisotropic").frames()
    assert (len(frames), frames[0], frames[-1]) == (120, 0, 1000)
    assert set(np.diff(frames)) <= {8, 9}


def test_a_lane_without_a_finite_position_only_has_a_place_in_the_legend():
    nowhere = Lane("sgd", [np.nan], position=[[np.nan, np.nan]], status=Status.DIVERGED)
    race = Race(race_of([nowhere]), "anisotropic")
    assert shown(race, 0) == [[[], [], []]]
    assert texts(race)[0] == "SGD, lr 0.1, diverged at 0"


def test_a_gif_moves_and_holds_its_last_frame(tmp_path):
    place = tmp_path / "race.gif"
    animate(leaving_run(), "anisotropic", place, "gif")
    with Image.open(place) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 4, 0)
        frames, durations = [], []
        for number in range(4):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
            durations.append(image.info["duration"])
    assert (durations[0], durations[-1]) == (1000, 3000)
    assert all(60 <= each <= 70 for each in durations[1:-1])
    assert frames[0].shape[1] == 640
    assert (frames[0][0, 0] == 255).all()
    assert all((one != other).any() for one, other in pairwise(frames))
    legend = slice(int(0.92 * len(frames[0])), None)
    np.testing.assert_array_equal(frames[0][legend], frames[3][legend])


def test_an_mp4_is_what_ffmpeg_makes_of_the_frames(tmp_path, ffmpeg):
    place = tmp_path / "race.mp4"
    ffmpeg()
    animate(leaving_run(), "anisotropic", place, "mp4")
    size, *arguments = place.read_text().split()
    width, height = map(int, arguments[arguments.index("-s") + 1].split("x"))
    # The first frame lasts a second, the last three, and two are between them.
    assert int(size) == (15 + 2 + 45) * width * height * 3
    assert arguments[-1] == str(place)
    assert form_of(place) == "mp4"


def test_an_ffmpeg_that_refuses_is_an_error_in_one_line(tmp_path, ffmpeg):
    ffmpeg(code=1)
    says = r"^ffmpeg cannot write an mp4: no such encoder; write a \.gif$"
    with pytest.raises(UsageError, match=says):
        animate(leaving_run(), "anisotropic", tmp_path / "race.mp4", "mp4")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("race.mp4", "needs ffmpeg, which cannot be found; install it or"),
        *((name, r"must end in \.gif or \.mp4") for name in ("race", "race.png", "race.gif.txt")),
    ],
)
def test_what_cannot_be_written_is_refused_by_its_suffix(name, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=message):
        form_of(tmp_path / name)
    assert form_of(tmp_path / "RACE.GIF") == "gif"


def test_a_last_frame_like_the_one_before_is_shown_as_long(tmp_path):
    pixels = np.full((2, 30, 40, 3), 255, dtype=np.uint8)
    pixels[0, :10, :, 1:] = pixels[1, 20:, :, 1:] = 0  # red at the top, then at the foot
    start, end = map(Image.fromarray, pixels)
    images = [start, end, end]
    place = tmp_path / "race.gif"
    _write_gif(images, place)
    with Image.open(place) as image:
        assert image.n_frames == 2
        image.seek(1)
        assert image.info["duration"] >= 3000


def test_of_a_gif_that_is_too_large_every_other_frame_goes(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (30, 60, 80, 3), dtype=np.uint8)
    images = [Image.fromarray(frame) for frame in noise]
    place = tmp_path / "race.gif"
    _write_gif(images, place)
    whole = place.stat().st_size
    monkeypatch.setattr("optbench.report.plots.animation.MOST_BYTES", whole // 3)
    _write_gif(images, place)
    assert whole // 8 < place.stat().st_size <= whole // 3
    with Image.open(place) as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert (durations[0], durations[-1]) == (1000, 3000)
    assert durations[1:-1] == [pytest.approx(4000 / 15, abs=10)] * 7  # as long in all


def test_a_function_of_one_variable_has_a_race_along_its_curve():
    race = Race(line_run(0.4, -0.8), "quadratic-1d")
    assert texts(race) == ["SGD, lr 0.3", "SGD, lr 0.9", "start", "minimum"]
    for iteration in (0, 3):
        for ratio, (path, (head,), _) in zip((0.4, -0.8), shown(race, iteration), strict=True):
            x = -0.5 + 20.5 * ratio**iteration
            np.testing.assert_allclose(head, [x, x**2 + x + 1])
            assert len(path) == iteration + 1


def test_frames_of_a_function_of_one_variable_hold_its_curve_and_all_their_text(tmp_path):
    run = line_run(0.4, -0.8)
    race = Race(run, "quadratic-1d")
    FigureCanvasAgg(race.figure).draw()
    (axes,) = race.figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "f(x)")
    assert axes.get_title() == "quadratic-1d: iteration 0 of 25"
    (curve,) = [line for line in axes.lines if len(line.get_xdata()) > 50]
    side, value = curve.get_xydata().T
    np.testing.assert_allclose(value, side**2 + side + 1)
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = run.trace["x"]
    assert low < x.min() < x.max() < high
    assert bottom < 0.75 < run.trace["loss"].max() < top
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *race.figure.legends):
        box = text.get_window_extent()
        assert race.figure.bbox.x0 <= box.x0 < box.x1 <= race.figure.bbox.x1
        assert race.figure.bbox.y0 <= box.y0 < box.y1 <= race.figure.bbox.y1
    place = tmp_path / "race.gif"
    animate(run, "quadratic-1d", place, "gif")
    with Image.open(place) as image:
        assert image.n_frames == 26


def test_a_bar_of_colours_is_as_high_as_the_axes_of_the_race():
    lanes = [
        Lane("sgd", [1.0, lr], hyperparameters={"lr": lr}, position=[[-7.0, 1.0], [lr, lr]])
        for lr in np.geomspace(0.01, 0.9, 25)
    ]
    race = Race(race_of(lanes), "anisotropic")
    FigureCanvasAgg(race.figure).draw()
    axes, bar = (each.get_window_extent() for each in race.figure.axes)
    assert bar.height == pytest.approx(axes.height, rel=0.02)


def test_all_values_of_a_grid_race_and_have_colours_of_their_own():
    run = swept_run()
    race = Race(run, "anisotropic")
    assert texts(race)[0] == "SGD, lr 0.001"
    assert texts(race)[4] == "SGD, lr 10, diverged at 7"
    colors = [to_hex(runner.artists[0].get_color()) for runner in race._runners]
    assert len(set(colors)) == len(colors) == 10
    assert colors[2] == KNOWN["sgd"].color.lower()
    one = Race(replace(run, lanes=run.lanes[run.lanes["label"] == "sgd"]), "anisotropic")
    assert len({to_hex(runner.artists[0].get_color()) for runner in one._runners}) == 5


def test_many_values_race_in_colours_of_a_scale_and_of_many_optimizers_the_best():
    def swept(label):
        return [
            Lane(label, [1.0, lr], hyperparameters={"lr": lr}, position=[[1.0, 1.0], [lr, lr]])
            for lr in np.geomspace(0.01, 0.9, 25)
        ]

    race = Race(race_of(swept("sgd")), "anisotropic")
    axes, bar = race.figure.axes
    assert (len(race._runners), bar.get_ylabel()) == (25, "lr")
    assert axes.get_title() == "anisotropic, SGD: iteration 0 of 1"
    assert texts(race) == ["start", "minimum"]
    race = Race(race_of([*swept("sgd"), *swept("adam")]), "anisotropic")
    assert texts(race)[:2] == ["SGD, lr 0.01", "Adam, lr 0.01"]


def test_a_race_of_rows_that_were_kept_keeps_their_iterations():
    run = with_every(function_run(), 7)
    race, whole = Race(run, "anisotropic"), Race(function_run(), "anisotropic")
    assert race.iterations == whole.iterations == 30
    assert race.frames() == whole.frames()
    rows = run.trace[run.trace["lane"] == 0]
    for iteration in (0, 6, 7, 20, 21, 29, 30):
        race.show(iteration)
        line = race.moving[1]
        shown = rows[rows["iteration"] <= iteration]
        np.testing.assert_allclose(line.get_xdata(), shown["x"])
    with pytest.raises(UsageError, match="the run kept the first and the last row of its trace"):
        animate(with_every(function_run(), None), "anisotropic", None, "gif")
