"""Optimizers racing on one function of one or two variables, as a GIF or an MP4."""

from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path as File
from shutil import which
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.typing import ColorType
from PIL import Image

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.plots.fonts import boxes_allowed, fit_fonts
from optbench.report.plots.landscape import ground_of, within
from optbench.report.plots.options import WIDTH
from optbench.report.plots.paths import (
    COLORS,
    Family,
    Path,
    Paths,
    exits_of,
    value_colors,
    view_of,
)
from optbench.report.plots.sheet import add_legend, new_figure
from optbench.report.plots.style import CROSS, literal
from optbench.report.plots.trajectory import (
    CURVE_ASPECT,
    FRAME_INCHES,
    RING,
    SIDE_INCHES,
    sample_of,
)

TALLEST_INCHES = 6.0
"""Height of axes at most."""

FRAMES_PER_SECOND = 15

MOST_FRAMES = 120
"""Frames of a race, spread evenly over its iterations."""

START_SECONDS, LAST_SECONDS = 1.0, 3.0
"""How long the first frame and the last are shown, so that both can be looked at."""

MOST_BYTES = 3_000_000
"""Size of a GIF at most, so that a page can hold it; of a larger one every other frame goes."""

DOTS_PER_INCH = 80

MOST_NAMED = 10
"""Paths up to which all of them race, each with its name."""

SHADE = 0.55
"""How much white or black the palest and the darkest shade of a colour have."""

NEARLY_WHITE = 250
"""Brightness that a palette makes full, lest paper comes out grey."""

HEAD: dict[str, Any] = {"linestyle": "none", "markersize": 8, "markeredgewidth": 2.0}
"""Where an optimizer is."""


class Race:
    """One figure whose paths grow from frame to frame; at first it shows the start.

    All configurations race if a legend can name them. Of more than that the best of each label do,
    or of a single label all values of the hyperparameter that has most of them, in the colours of a
    scale. ``iterations`` are those of the longest path.
    """

    def __init__(self, tables: RunTables, problem: str) -> None:
        ground = ground_of(tables, problem)
        paths = Paths(tables, problem, ground)
        families, scale = _racing(paths)
        view = view_of(families, ground, crowded=scale is not None)
        aspect = ground.aspect(view) or CURVE_ASPECT
        height = min(TALLEST_INCHES, aspect * (WIDTH - SIDE_INCHES))
        self.figure = new_figure(FRAME_INCHES + height)
        self.figure.set_dpi(DOTS_PER_INCH)
        self.figure.set_layout_engine("compressed")  # a bar of colours is no higher than the axes
        self._axes: Axes = self.figure.add_subplot()
        self._title = literal(problem)
        ground.draw(self._axes, view)
        self._axes.set(xlabel=ground.labels[0], ylabel=ground.labels[1])
        self._runners = [
            _Runner(self._axes, family, path, color, view)
            for family in families
            for path, color in zip(family.paths, _colors(family, families, scale), strict=True)
        ]
        self.iterations = max(0, *(runner.end for runner in self._runners))
        samples: dict[str, Artist] = {}
        if scale is None:
            samples = {runner.name: runner.sample for runner in self._runners}
        else:
            self._title += f", {families[0].name}"
            self.figure.colorbar(scale, ax=self._axes, label=paths.swept_name)
        signs = {"start": RING, **ground.signs(view)}
        if any(runner.leaves for runner in self._runners):
            signs["out of view, or lost"] = CROSS
        samples |= {name: sample_of(sign) for name, sign in signs.items()}
        add_legend(self.figure, samples.values(), samples)
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


def _racing(paths: Paths) -> tuple[list[Family], ScalarMappable | None]:
    """Return who races, and the scale of their colours where a legend would be too long."""
    if sum(paths.counts) <= MOST_NAMED:
        return paths.all(), None
    if len(paths.counts) > 1 or paths.swept is None:
        return paths.best(), None
    families = paths.swept_over()
    return families, value_colors(families)


def _colors(
    family: Family, families: Sequence[Family], scale: ScalarMappable | None
) -> Sequence[ColorType]:
    """Return the colour of each path of a label: its own, shades of it, or of a scale."""
    values = [path.value for path in family.paths]
    if scale is not None:
        return [to_hex(color) for color in scale.to_rgba(np.array(values))]
    if len(values) == 1:
        return [family.style.color]
    places = np.linspace(0.0, 1.0, len(values))
    return (
        list(COLORS(places))
        if len(families) == 1
        else [_shade(family.style.color, place) for place in places]
    )


def _shade(color: str, place: float) -> ColorType:
    """Return a colour from pale, at 0, to dark, at 1; it is itself at a half."""
    other, share = (1.0, 1.0 - 2.0 * place) if place < 0.5 else (0.0, 2.0 * place - 1.0)
    red, green, blue = (part + SHADE * share * (other - part) for part in to_rgb(color))
    return red, green, blue


class _Runner:
    """The artists of one path: its line, its head, and crosses where it leaves."""

    def __init__(
        self, axes: Axes, family: Family, path: Path, color: ColorType, view: np.ndarray
    ) -> None:
        look: dict[str, Any] = {**family.style.line(), "color": color}
        if not family.style.open:
            look["markerfacecolor"] = color
        axes.plot(*path.positions[:1].T, color=color, zorder=4, **RING)
        self._path, self._view, self._seen = path, view, len(path.seen(view))
        (self._line,) = axes.plot([], [], color=color, linestyle=look["linestyle"], zorder=4)
        (self._head,) = axes.plot([], [], zorder=7, **(look | HEAD))
        (self._cross,) = axes.plot([], [], color=color, clip_on=False, zorder=7, **CROSS)
        self._cross.set_in_layout(False)  # without data it lies in a corner of the figure
        self.artists = (self._line, self._head, self._cross)
        self.sample = Line2D([], [], markersize=8, **look)
        self.name = ", ".join(filter(None, (family.name, path.setting, path.ending)))
        self.leaves = path.lost(view) is not None or len(path.exits(view)) > 0
        self.end = int(path.iterations[-1]) if path.iterations.size else -1

    def show(self, iteration: int) -> None:
        """Draw the path as far as it is after so many updates."""
        path, positions = self._path, self._path.positions
        past = positions[: np.searchsorted(path.iterations, iteration, side="right")]
        self._line.set_data(*past[: self._seen].T)
        self._head.set_data(*past[-1:].T)
        exits = exits_of(past, self._view)
        lost = path.lost(self._view) if iteration >= self.end else None
        if lost is not None:
            self._cross.set_data(*lost[:, None])
        elif len(exits) and not within(past[-1:], self._view)[0]:
            self._cross.set_data(*exits[-1:].T)
        else:
            self._cross.set_data([], [])


def form_of(place: File) -> str:
    """Return ``gif`` or ``mp4``, as the suffix of a file says."""
    form = place.suffix.removeprefix(".").lower()
    if form not in ("gif", "mp4"):
        raise UsageError(f"'{place}' must end in .gif or .mp4")
    if form == "mp4" and which("ffmpeg") is None:
        raise UsageError(
            f"'{place}' needs ffmpeg, which cannot be found; install it or write a .gif"
        )
    return form


def animate(tables: RunTables, problem: str, place: File, form: str) -> str:
    """Draw the race on a function of one or two variables and write it over what a file holds.

    Frames are spread evenly over the iterations; the first is held for a second, the last for
    three. Returned are the characters of its texts that no font has.
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


def _write_gif(images: list[Image.Image], place: File) -> None:
    """Write frames with one palette, so that what stands still costs nothing."""
    palette = images[-1].quantize()
    shades = palette.getpalette() or []
    palette.putpalette([255 if shade >= NEARLY_WHITE else shade for shade in shades])
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    step, gif = 1, _gif(frames, 1)
    while len(gif) > MOST_BYTES and step < len(frames):
        step *= 2
        gif = _gif(frames[:-1:step] + frames[-1:], step)
    place.write_bytes(gif)


def _gif(frames: list[Image.Image], step: int) -> bytes:
    """Return frames as a GIF, each shown as long as ``step`` of a race's."""
    usual = round(1000 * step / FRAMES_PER_SECOND)
    durations = [round(1000 * START_SECONDS), *[usual] * (len(frames) - 2)]
    durations = [*durations[: len(frames) - 1], round(1000 * LAST_SECONDS)]
    gif = BytesIO()
    frames[0].save(
        gif, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    return gif.getvalue()


def _write_mp4(images: list[Image.Image], place: File) -> None:
    """Hand frames to ffmpeg, which makes H.264 of them; that takes even sides only."""
    width, height = images[0].size
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {FRAMES_PER_SECOND} -i -"
    result = "-vf crop=trunc(iw/2)*2:trunc(ih/2)*2 -c:v h264 -pix_fmt yuv420p -f mp4 -y"
    command = ["ffmpeg", "-loglevel", "error", *source.split(), *result.split(), str(place)]
    first, last = (
        [image] * (round(seconds * FRAMES_PER_SECOND) - 1)
        for image, seconds in ((images[0], START_SECONDS), (images[-1], LAST_SECONDS))
    )
    with Popen(command, stdin=PIPE, stderr=PIPE) as process:
        with suppress(BrokenPipeError):  # it gave up; its exit status says so
            for image in [*first, *images, *last]:
                process.stdin.write(image.tobytes())  # type: ignore[union-attr]  # it is a pipe
        said = process.communicate()[1].decode(errors="replace").strip()
    if process.returncode:
        reason = said.splitlines()[-1] if said else f"exit status {process.returncode}"
        raise UsageError(f"ffmpeg cannot write an mp4: {reason}; write a .gif")
