"""All optimizers racing on one function of two variables, as a GIF or an MP4."""

from contextlib import suppress
from pathlib import Path
from shutil import which
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.plots import paths
from optbench.report.plots.fonts import boxes_allowed, fit_fonts
from optbench.report.plots.landscape import draw_contours, landscape
from optbench.report.plots.sheet import add_legend, new_figure
from optbench.report.plots.style import CROSS, literal
from optbench.report.plots.trajectory import RING

FRAMES_PER_SECOND = 15

MOST_FRAMES = 120
"""Frames of a race, spread evenly over its iterations."""

LAST_SECONDS = 2
"""How long the last frame is shown, so that the end can be looked at."""

DOTS_PER_INCH = 80

NEARLY_WHITE = 250
"""Brightness that a palette makes full, lest paper comes out grey."""

HEAD: dict[str, Any] = {"linestyle": "none", "markersize": 8, "markeredgewidth": 2.0}
"""Where an optimizer is."""


class Race:
    """One figure whose paths grow from frame to frame; at first it shows the start.

    ``iterations`` are those of the longest path.
    """

    def __init__(self, tables: RunTables, problem: str) -> None:
        function = landscape(tables, problem)
        self._paths = paths.best_paths(tables, problem, function.domain)
        self._domain, self._title = function.domain, literal(problem)
        self.iterations = max(0, *(_end(path) for path in self._paths))
        self.figure = new_figure(6.6)
        self.figure.set_dpi(DOTS_PER_INCH)
        self._axes: Axes = self.figure.add_subplot()
        draw_contours(self._axes, function)
        self._axes.set(xlabel=function.variables[0], ylabel=function.variables[1])
        self._runners = [_Runner(self._axes, path, self._domain) for path in self._paths]
        names = [", ".join(filter(None, (path.name, path.notes))) for path in self._paths]
        add_legend(self.figure, [runner.sample for runner in self._runners], names)
        self.show(0)

    @property
    def moving(self) -> list[Artist]:
        """What changes from frame to frame, in the order in which it is drawn."""
        return [
            self._axes.title,
            *(artist for runner in self._runners for artist in runner.artists),
        ]

    def show(self, iteration: int) -> None:
        """Draw the paths as far as they are after so many updates."""
        for runner in self._runners:
            runner.show(iteration)
        self._axes.set_title(f"{self._title}: iteration {iteration} of {self.iterations}")

    def frames(self) -> list[int]:
        """Return the iterations that are shown, from the start to the end."""
        count = min(self.iterations + 1, MOST_FRAMES)
        return [int(iteration) for iteration in np.linspace(0, self.iterations, count).round()]


class _Runner:
    """The artists of one path: its line, its head, and crosses where it leaves."""

    def __init__(self, axes: Axes, path: paths.Path, domain: np.ndarray) -> None:
        color = path.style.color
        head: dict[str, Any] = path.style.line() | HEAD
        axes.plot(*path.positions[:1].T, color=color, zorder=4, **RING)
        self._path, self._domain = path, domain
        (self._line,) = axes.plot([], [], color=color, linestyle=path.style.linestyle, zorder=4)
        (self._head,) = axes.plot([], [], zorder=7, **head)
        (self._cross,) = axes.plot([], [], color=color, clip_on=False, zorder=7, **CROSS)
        self._cross.set_in_layout(False)  # without data it lies in a corner of the figure
        self.artists = (self._line, self._head, self._cross)
        self.sample = Line2D([], [], markersize=8, **path.style.line())

    def show(self, iteration: int) -> None:
        positions = self._path.positions
        past = positions[: np.searchsorted(self._path.iterations, iteration, side="right")]
        self._line.set_data(*past.T)
        self._head.set_data(*past[-1:].T)
        exits = paths.exits_of(past, self._domain)
        over = iteration >= _end(self._path)
        if over and self._path.lost is not None:
            self._cross.set_data(*self._path.lost[:, None])
        elif len(exits) and not paths.within(past[-1:], self._domain)[0]:
            self._cross.set_data(*exits[-1:].T)
        else:
            self._cross.set_data([], [])


def _end(path: paths.Path) -> int:
    """Return the iteration of a path's last position, −1 where it has none."""
    return int(path.iterations[-1]) if path.iterations.size else -1


def form_of(place: Path) -> str:
    """Return ``gif`` or ``mp4``, as the suffix of a file says."""
    form = place.suffix.removeprefix(".").lower()
    if form not in ("gif", "mp4"):
        raise UsageError(f"'{place}' must end in .gif or .mp4")
    if form == "mp4" and which("ffmpeg") is None:
        raise UsageError(
            f"'{place}' needs ffmpeg, which cannot be found; install it or write a .gif"
        )
    return form


def animate(tables: RunTables, problem: str, place: Path, form: str) -> str:
    """Draw the race of the best configurations of all labels and write it over what a file holds.

    Frames are spread evenly over the iterations; the last is held for two seconds. Returned are the
    characters of its texts that no font has.
    """
    race = Race(tables, problem)
    lacking = fit_fonts(race.figure)
    with boxes_allowed():
        images = _images(race)
    if form == "gif":
        _write_gif(images, place)
    else:
        _write_mp4(images, place)
    return lacking


def _images(race: Race) -> list[Image.Image]:
    """Draw all frames: the background once, on it what moves."""
    canvas: Any = FigureCanvasAgg(race.figure)  # its methods have no types
    for artist in race.moving:
        artist.set_animated(True)  # left out of what draw() draws
    canvas.draw()
    background = canvas.copy_from_bbox(race.figure.bbox)
    images = []
    for iteration in race.frames():
        race.show(iteration)
        canvas.restore_region(background)
        for artist in race.moving:
            race.figure.draw_artist(artist)
        images.append(Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB"))
    return images


def _write_gif(images: list[Image.Image], place: Path) -> None:
    """Write frames with one palette, so that what stands still costs nothing."""
    palette = images[-1].quantize()
    shades = palette.getpalette() or []
    palette.putpalette([255 if shade >= NEARLY_WHITE else shade for shade in shades])
    first, *others = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    duration = [1000 // FRAMES_PER_SECOND] * len(others) + [1000 * LAST_SECONDS]
    first.save(place, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)


def _write_mp4(images: list[Image.Image], place: Path) -> None:
    """Hand frames to ffmpeg, which makes H.264 of them; that takes even sides only."""
    width, height = images[0].size
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {FRAMES_PER_SECOND} -i -"
    result = "-vf crop=trunc(iw/2)*2:trunc(ih/2)*2 -c:v h264 -pix_fmt yuv420p -f mp4 -y"
    command = ["ffmpeg", "-loglevel", "error", *source.split(), *result.split(), str(place)]
    held = images[-1:] * (LAST_SECONDS * FRAMES_PER_SECOND - 1)
    with Popen(command, stdin=PIPE, stderr=PIPE) as process:
        with suppress(BrokenPipeError):  # it gave up; its exit status says so
            for image in images + held:
                process.stdin.write(image.tobytes())  # type: ignore[union-attr]  # it is a pipe
        said = process.communicate()[1].decode(errors="replace").strip()
    if process.returncode:
        reason = said.splitlines()[-1] if said else f"exit status {process.returncode}"
        raise UsageError(f"ffmpeg cannot write an mp4: {reason}; write a .gif")
