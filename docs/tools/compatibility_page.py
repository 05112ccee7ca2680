"""Writes docs/compatibility.md: how the optimizers of other libraries run here, as they were tried.

``python -m docs.tools.compatibility_page`` measures the libraries that are installed and keeps what
the page has of the others. Each optimizer is tried at its defaults on a network of two layers and,
where it refuses that, on its matrices alone.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from docs.tools.markdown import code, plain, rows_of, table
from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer, Task
from optbench.optimizers.optax.optimizer import OptaxOptimizer
from optbench.optimizers.plugin import ALL, all_of_library
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.optimizers.torch.optimizer import TorchOptimizer

PAGE = Path(__file__).parents[1] / "compatibility.md"

NETWORK = (
    Tensor("dense1.weight", (12, 7)),
    Tensor("dense1.bias", (7,)),
    Tensor("dense2.weight", (7, 4)),
    Tensor("dense2.bias", (4,)),
)
MATRICES = tuple(tensor for tensor in NETWORK if len(tensor.shape) == 2)

IN_LANES, ONE_BY_ONE, NOT = "in lanes", "one by one", "no"

GIVEN: dict[str, dict[str, float | str]] = {
    "optax:dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 1.0},
    "torch:pytorch_optimizer:BSAM": {"num_data": 1000},
    "torch:pytorch_optimizer:Ranger21": {"num_iterations": 1000},
}
"""What those need that have arguments without default; all else is a learning rate of 0.01."""


@dataclass(frozen=True)
class Row:
    """How an optimizer runs: :data:`IN_LANES`, :data:`ONE_BY_ONE` or :data:`NOT`, and why."""

    name: str
    runs: str
    notes: str


@dataclass(frozen=True)
class Library:
    """A library, and the prefix of its optimizers' names here."""

    package: str
    prefix: str

    @property
    def installed(self) -> bool:
        """Whether it can be measured."""
        needed = (self.package, self.prefix.partition(":")[0])
        return all(find_spec(each) is not None for each in needed)

    def names(self) -> list[str]:
        """Return the names of all optimizers that it has."""
        names = all_of_library(f"{self.prefix}{ALL}") or []
        return [name.removeprefix(self.prefix) for name in names]


LIBRARIES = {
    "torch.optim": Library("torch", "torch:"),
    "optax": Library("optax", "optax:"),
    "pytorch_optimizer": Library("pytorch_optimizer", "torch:pytorch_optimizer:"),
    "heavyball": Library("heavyball", "torch:heavyball:"),
}
"""The libraries by the titles of their sections."""

INTRO = """\
# Optimizers of other libraries

<!-- Written by `make docs` from trials; change docs/tools/compatibility_page.py, not this page. -->

Whether an optimizer of another library runs here depends on what it asks for. Each was tried at its
defaults on a network of two layers:

- *in lanes*: one instance steps all lanes of a block at once;
- *one by one*: each lane has an instance of its own, which gives the same and takes longer;
- *no*: it is refused in a line, which stands here.

What it evaluates again is a gradient of its lane on the same batch. *Not resumable* is what keeps
something that cannot be saved: an interrupted run starts its lanes again. HeavyBall was tried
without compiling, which takes minutes (`TORCHDYNAMO_DISABLE=1`).

`optbench run mnist-mlp -o 'torch:pytorch_optimizer:*'` runs all that a library has. Most of
optax's have no default learning rate: `-o 'optax:*' --set '*.lr=0.01'`.
"""


def trial(library: Library, name: str) -> Row:
    """Return how an optimizer runs."""
    spec = f"{library.prefix}{name}"
    refusal = ""
    for tensors, note in ((NETWORK, ""), (MATRICES, "matrices only")):
        try:
            optimizer = get_optimizer(spec)
            needed = [each.name for each in optimizer.hyperparameters if _is_required(each)]
            given = {each: 0.01 for each in needed if each == "lr"} | GIVEN.get(spec, {})
            together, notes = _runs(optimizer, given, tensors)
        except SuiteError as error:
            refusal = refusal or str(error)
            continue
        noted = [f"needs {', '.join(given)}"] if given else []
        noted += [note] if note else []
        return Row(name, IN_LANES if together else ONE_BY_ONE, "; ".join([*noted, *notes]))
    return Row(name, NOT, _steady(refusal.removeprefix(f"{name}: ")))


def _is_required(setting: Any) -> bool:
    return bool(getattr(setting, "required", False))


def _runs(
    optimizer: Optimizer, given: dict[str, Any], tensors: tuple[Tensor, ...]
) -> tuple[bool, list[str]]:
    """Return whether lanes are stepped at once, and what else is to be said."""
    configurations = [complete_hyperparameters(optimizer, given)] * 2
    optimizer.fit(Task(optimizer.name, "a network", tensors, "float32", True, configurations))
    notes, together, again = [], True, False
    if isinstance(optimizer, OptaxOptimizer):
        compiled = optimizer.compiled(configurations[0], tensors, "float32")
        together, again = not compiled.apart, compiled.asks
    elif isinstance(optimizer, TorchOptimizer):
        together = optimizer.steps_together(configurations, tensors, "float32")
        again = optimizer.habits is not None and bool(optimizer.habits.closure)
    notes += ["evaluates the loss again"] if again else []
    notes += ["draws random numbers"] if optimizer.random else []
    notes += [] if optimizer.resumable else ["not resumable"]
    return together, notes


def _steady(text: str) -> str:
    """Return a message without what differs between machines."""
    return re.sub(r" \([\w.]+\.py, line \d+\)", "", text)


def measured(library: Library) -> Iterator[Row]:
    """Try all optimizers of a library."""
    with np.errstate(all="ignore"):
        for name in sorted(library.names(), key=str.lower):
            yield trial(library, name)


Sections = dict[str, tuple[str, list[Row]]]
"""The version and the rows of each library, by its title."""


def page(sections: Sections) -> str:
    """Return the page."""
    parts = [INTRO]
    counts = []
    for title, (release, rows) in sections.items():
        run = sum(row.runs != NOT for row in rows)
        together = sum(row.runs == IN_LANES for row in rows)
        counts.append(
            (
                f"[{title}](#{_anchor(title, release)})",
                release,
                f"{run} of {len(rows)}",
                str(together),
            )
        )
    parts.append(table(("library", "version", "run", "of these in lanes"), counts))
    for title, (release, rows) in sections.items():
        parts.append(f"## {title} {release}\n")
        cells = [(code(row.name), row.runs, plain(row.notes)) for row in rows]
        parts.append(table(("optimizer", "runs", "notes"), cells))
    return "\n".join(parts)


def _anchor(title: str, release: str) -> str:
    return re.sub(r"[^\w -]", "", f"{title} {release}".lower()).replace(" ", "-")


def read(text: str) -> Sections:
    """Return what a page says."""
    sections: Sections = {}
    for part in text.split("\n## ")[1:]:
        title, _, release = part.partition("\n")[0].rpartition(" ")
        rows = [
            Row(
                row["optimizer"].strip("`"), row["runs"], re.sub(r"\\([*_`<])", r"\1", row["notes"])
            )
            for row in rows_of(part)
        ]
        sections[title] = (release, rows)
    return sections


def main() -> None:
    """Measure what is installed, and write the page."""
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    known = read(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    sections: Sections = {}
    for title, library in LIBRARIES.items():
        if library.installed:
            release = version(library.package.replace("_", "-")).partition("+")[0]
            sections[title] = (release, list(measured(library)))
        elif title in known:
            sections[title] = known[title]
    PAGE.write_text(page(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
