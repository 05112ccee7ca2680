"""How an optimizer looks: known ones have one colour and marker, whatever else is in the figure.

No two optimizers of a figure have the same colour, as long as there are enough. Colours are those
of M. Okabe and K. Ito, *Color Universal Design*, 2008 (without yellow, which is too pale for a
line), for the less common optimizers the "muted" scheme of P. Tol, *Colour Schemes*,
SRON/EPS/TN/09-002, 2021, both of which can be told apart with any colour vision, and three more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from typing import Any, TypeAlias, TypeVar

from matplotlib.colors import to_hex, to_rgb

from optbench.inference.times import median_ranks
from optbench.report.statistics import FEW_SEEDS, INTERVAL_SEEDS, Band

LineStyle: TypeAlias = str | tuple[int, tuple[int, ...]]

Choice = TypeVar("Choice")

LEGEND_CHARACTERS = 115
"""Characters that a name in a legend, or a title, has at most."""

NAME_CHARACTERS = 40
"""Characters of a name that fit above a panel or beside an axis."""

FAINT = 0.18
"""Opacity of bands over seeds and of configurations that are not the best."""

TINT = 0.45
"""How much of a colour the overlap of any number of faint lines has at most."""

SHADE = 0.6
"""How much of its colour a label keeps from run to run."""

MOST_SHADES, PALE = 4, (0.65, 0.45)
"""Darker shades of a colour, and how much of it paler ones keep, where they have to differ."""

ALIKE = 0.06
"""Two colours are one where none of their parts, 0 to 1, differs by more."""

CROSS: dict[str, Any] = {
    "marker": "x",
    "markersize": 9,
    "markeredgewidth": 2.2,
    "linestyle": "none",
}
"""Where a lane leaves the figure for good or stops being finite."""

SMALL_CROSS: dict[str, Any] = {**CROSS, "markersize": 5, "markeredgewidth": 1.3}
"""Where a lane leaves the figure."""


@dataclass(frozen=True)
class Style:
    """Colour, marker and line of a label; ``open`` markers are white inside."""

    color: str
    marker: str
    linestyle: LineStyle = "-"
    open: bool = False

    def line(self) -> dict[str, Any]:
        """Return the keyword arguments that ``Axes.plot`` takes for it."""
        return {
            "color": self.color,
            "marker": self.marker,
            "linestyle": self.linestyle,
            "markerfacecolor": "white" if self.open else self.color,
        }

    def of_run(self, place: int, taken: Collection[str] = ()) -> "Style":
        """Return the style of the same label in another run; that of the first, 0, is its own.

        It is darker, or where one of the taken colours looks the same, paler or of another colour.
        """
        if place == 0:
            return self
        dark = [SHADE**place, *(SHADE**power for power in range(1, MOST_SHADES))]
        shades = [_mixed(self.color, 0.0, share) for share in dark]
        shades += [_mixed(self.color, 1.0, share) for share in PALE]
        free = (shade for shade in (*shades, *MORE_COLORS) if _is_free(shade, taken))
        dashes = DASHES[(place - 1) % len(DASHES)]
        return Style(next(free, shades[0]), self.marker, dashes, open=True)


KNOWN = {
    "sgd": Style("#0072B2", "o"),
    "momentum": Style("#E69F00", "x"),
    "nesterov": Style("#882255", "<"),
    "adagrad": Style("#009E73", "s"),
    "rmsprop": Style("#CC79A7", "^"),
    "adadelta": Style("#117733", "v"),
    "adam": Style("#D55E00", "D"),
    "adamw": Style("#332288", "P"),
    "adamax": Style("#999933", ">"),
    "nadam": Style("#AA4499", "p"),
    "amsgrad": Style("#44AA99", "h"),
    "radam": Style("#CC6677", "H"),
    "adabelief": Style("#56B4E9", "d"),
    "lion": Style("#000000", "*"),
    "lars": Style("#661100", "8"),
    "lamb": Style("#888888", "X"),
    "muon": Style("#9970AB", "v"),
}
"""Styles of the optimizers of the field."""

DISPLAY_NAMES = {
    name.lower(): name
    for name in (
        *("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "AdaDelta", "Adam", "AdamW"),
        *("AdaMax", "NAdam", "AMSGrad", "RAdam", "AdaBelief", "Lion", "LARS", "LAMB", "Muon"),
    )
}
"""How the field spells their names."""

DASHES: tuple[LineStyle, ...] = ("--", "-.", ":", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)))

COLORS = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
    "#882255", "#117733", "#332288", "#999933", "#AA4499", "#44AA99", "#CC6677",
)  # fmt: skip
MORE_COLORS = (
    "#003333", "#775500", "#440044", "#66CC55", "#7788FF", "#DD88FF", "#554466", "#7744BB",
    "#AA1100", "#226666", "#BBAADD", "#CCAA88", "#004400", "#443300", "#004477", "#885555",
    "#FF8877", "#771188", "#449900", "#3355CC", "#AA7744", "#FF77CC", "#99BB88", "#332233",
    "#BB2255", "#AA66DD", "#0099FF", "#00CC99", "#000077", "#BBBB00", "#667744", "#338899",
    "#6688CC", "#221155", "#FF6688", "#DD4444", "#994400", "#88AABB", "#555544", "#555599",
    "#00CCCC", "#774488", "#BB8888", "#666677",
)  # fmt: skip
"""For crowds: each as far as can be, in the space OKLab, from all before it and from white."""

MARKERS = ("o", "x", "s", "D", "^", "v", "<", ">", "P", "p", "h", "H", "d", "*", "8", "X")

OTHERS = [
    style
    for line, marker, color in product(("-", *DASHES), MARKERS, COLORS)
    if (style := Style(color, marker, line)) not in KNOWN.values()
]
"""Every combination of colour, marker and line that no known optimizer has."""


def display_name(label: str) -> str:
    """Write a label for a reader: the optimizer's usual spelling, or the label as it stands."""
    return DISPLAY_NAMES.get(label, literal(label, NAME_CHARACTERS))


def literal(text: str, most: int = LEGEND_CHARACTERS) -> str:
    """Return what matplotlib draws as ``text``, without the middle of what has too many characters.

    It would take what stands between dollar signs for mathematics, and leave out of legends what
    begins with an underscore.
    """
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most // 2) :]}"
    return f"{' ' * text.startswith('_')}{text}".replace("$", r"\$")


def styles(
    entries: Iterable[tuple[str, str]], shared: Mapping[str, tuple[str, int]] | None = None
) -> dict[str, Style]:
    """Return the style of each label.

    A known optimizer has its fixed style. Another label of a known optimizer, or a preset of it
    (``adam-torch``), has its colour and marker with a line and filling of its own, or where that
    colour is taken its marker alone; anything else has a combination of its own. "Of its own" is a
    hash of the label. Where two labels of a figure would have one colour, the later in the alphabet
    takes its next combination of another colour, in a crowd one of :data:`MORE_COLORS`; where all
    are taken, its next one that no other label has. Entries are pairs (label, optimizer).

    A label that joined runs share looks in each of them like itself, in later ones darker, with a
    broken line and open markers. ``shared`` is that of their :class:`~optbench.records.RunTables`.

    >>> styles([("adam", "adam")])["adam"].marker
    'D'
    """
    pairs = set(entries)
    owners = {label: (label, 0) for label, _ in pairs} | dict(shared or {})
    look = _styles((owners[label][0], optimizer) for label, optimizer in pairs)
    taken = {style.color for style in look.values()}
    result = {}
    for label in sorted({label for label, _ in pairs}, key=lambda name: (owners[name][1], name)):
        own, place = owners[label]
        result[label] = look[own].of_run(place, taken)
        taken.add(result[label].color)
    return result


def _styles(entries: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """Return the style of each label of one run."""
    taken: set[Style] = set()
    result = {}
    for label, optimizer in sorted(set(entries), key=_precedence):
        fixed = KNOWN.get(label) if label == optimizer else None
        choices = [fixed] if fixed else _choices(label, optimizer)
        colors = {style.color for style in taken}
        unlike = (choice for choice in choices if choice.color not in colors)
        style = next(
            unlike, next((choice for choice in choices if choice not in taken), choices[0])
        )
        taken.add(style)
        result[label] = style
    return result


def _precedence(entry: tuple[str, str]) -> tuple[bool, bool, str, str]:
    """Return what labels choose in the order of: first those that have no choice."""
    label, optimizer = entry
    renamed = label != optimizer
    return renamed or label not in KNOWN, renamed, label, optimizer


def _choices(label: str, optimizer: str) -> list[Style]:
    """Return the styles that a label without a fixed one may take, the preferred first."""
    family = KNOWN.get(optimizer.partition("-")[0])
    more = _rotated(list(MORE_COLORS), label)
    if family is None:
        marker = _rotated(list(MARKERS), label)[0]
        return _rotated(OTHERS, label) + [Style(color, marker) for color in more]
    filling = (False,) if family.marker == "x" else (False, True)
    variants = [
        replace(family, linestyle=dashes, open=hollow)
        for hollow, dashes in product(filling, DASHES)
    ]
    recolored = _rotated([*COLORS], label) + more
    return [
        *_rotated(variants, label),
        *(replace(family, color=color, linestyle=DASHES[0]) for color in recolored),
        *_rotated(OTHERS, label),
    ]


def _rotated(choices: list[Choice], label: str) -> list[Choice]:
    """Return the choices, beginning with the one that the hash of the label points at."""
    start = int.from_bytes(sha256(label.encode()).digest()[:8]) % len(choices)
    return choices[start:] + choices[:start]


def _mixed(color: str, other: float, share: float) -> str:
    """Return a colour with so large a share of it; the rest is black, 0, or white, 1."""
    red, green, blue = (other + share * (part - other) for part in to_rgb(color))
    return to_hex((red, green, blue))


def _is_free(color: str, taken: Collection[str]) -> bool:
    """Say whether a colour looks like none of those that are taken."""
    own = to_rgb(color)
    return not any(
        max(abs(one - other) for one, other in zip(own, to_rgb(each), strict=True)) <= ALIKE
        for each in taken
    )


def tint(color: str) -> tuple[float, float, float]:
    """Return a colour mixed with white."""
    red, green, blue = (1.0 - TINT + TINT * part for part in to_rgb(color))
    return red, green, blue


def seeds_note(seeds: Iterable[int], band: Band = "spread") -> str:
    """Say what curves over so many seeds are, and what their bands are.

    >>> seeds_note([3, 3])
    'median of 3 seeds, band from minimum to maximum'
    >>> seeds_note([10], "interval")
    'median of 10 seeds, band: its 95 % interval at each iteration (ranks 2 to 9)'
    """
    counts = sorted(set(map(int, seeds)))
    least, most = counts[0], counts[-1]
    if most == 1 and band == "spread":
        return ""
    several = f"{most} seeds" if least == most else f"{least} to {most} seeds"
    curves = "one seed" if most == 1 else f"median of {several}"
    return f"{curves}, {_interval_note(counts) if band == 'interval' else _spread_note(counts)}"


def _spread_note(counts: Sequence[int]) -> str:
    """Say how much of the seeds a band holds, of each count where that differs."""
    wide, narrow = "minimum to maximum", "10 to 90 %"
    several = [count for count in counts if count > 1]
    if several[0] < FEW_SEEDS <= several[-1]:
        return f"band from {wide} below {FEW_SEEDS} seeds, {narrow} from there"
    return f"band from {wide if several[0] < FEW_SEEDS else narrow}"


def _interval_note(counts: Sequence[int]) -> str:
    """Say that a band is the interval of the median, or how many seeds that takes."""
    ranks = median_ranks(counts[-1])
    if ranks is None:
        return f"too few for a 95 % interval, which takes {INTERVAL_SEEDS}"
    what = "band: its 95 % interval at each iteration"
    if len(counts) == 1:
        return f"{what} (ranks {ranks[0]} to {ranks[1]})"
    return f"{what} from {INTERVAL_SEEDS} seeds" if counts[0] < INTERVAL_SEEDS else what
