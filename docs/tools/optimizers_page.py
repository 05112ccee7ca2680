"""Writes docs/optimizers.md from the registry and the differences measured: ``make docs``.

What the page says comes from the rules and presets, so it cannot contradict them; tests hold it to
that. The differences are what the tests in tests/parity measure, beside other libraries.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context
from pathlib import Path

from docs.tools.markdown import code, linked, plain, rows_of, table, unlinked
from optbench.optimizers.base import Elementwise, Optimizer
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS, get_optimizer
from optbench.settings import Setting
from tests.optimizers.driver import BOUNDS, UPDATES

PAGE = Path(__file__).parents[1] / "optimizers.md"
LIBRARY_DIFFERENCES = Path(__file__).with_name("library_differences.md")
"""What the textbook, papers and libraries do otherwise. ``{place:key}`` stands for a default: of a
library's function where the place is in :data:`STATED`, else of the rules here that it names, and
of their presets."""

PLAIN = "plain implementation in the tests"
"""What a rule is compared with that no library has."""

Differences = Mapping[tuple[str, str], tuple[str, ...]]
"""The largest difference at each precision, as it is written, by name and partner."""

STATED: dict[str, dict[str, float | str]] = {
    "torch.optim.SGD": {"lr": 0.001, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0},
    "torch.optim.Adagrad": {"eps": 1e-10, "initial_accumulator_value": 0.0},
    "torch.optim.RMSprop": {"alpha": 0.99, "eps": 1e-8},
    "torch.optim.Adadelta": {"lr": 1.0, "rho": 0.9, "eps": 1e-6},
    "torch.optim.Adam": {"eps": 1e-8, "weight_decay": 0.0},
    "torch.optim.NAdam": {"eps": 1e-8, "momentum_decay": 0.004, "decoupled_weight_decay": 0.0},
    "torch.optim.RAdam": {"eps": 1e-8, "decoupled_weight_decay": 0.0},
    "torch.optim.AdamW": {"eps": 1e-8, "weight_decay": 0.01},
    "torch.optim.Muon": {"lr": 0.001, "weight_decay": 0.1, "eps": 1e-7},
    "optax.adagrad": {"eps": 1e-7, "initial_accumulator_value": 0.1},
    "optax.rmsprop": {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": 1.0, "bias_correction": 0.0},
    "optax.adadelta": {"rho": 0.9, "eps": 1e-6},
    "optax.adam": {"eps": 1e-8},
    "optax.amsgrad": {"eps": 1e-8, "bias_correction_mu": 1.0, "bias_correction_nu": 1.0},
    "optax.nadam": {"eps": 1e-8},
    "optax.radam": {"eps": 1e-8, "threshold": 5.0},
    "optax.adamw": {"eps": 1e-8, "weight_decay": 1e-4},
    "optax.lion": {"weight_decay": 0.001},
    "optax.adan": {"eps_root": 1e-8, "weight_decay": 0.0},
    "optax.lamb": {"eps": 1e-6, "weight_decay": 0.0},
    "optax.contrib.muon": {"eps": 1e-8, "weight_decay": 0.0},
}
"""Defaults of libraries, which the parity tests compare with the functions' signatures; a switch
that is off is 0."""

NOTES = {
    ("sgd-torch", "optax.sgd"): "without dampening, which optax does not have.",
    ("amsgrad", "torch.optim.Adam"): "with `amsgrad=True` and `largest_of = uncorrected`.",
    ("yogi", "optax.yogi"): "with optax's m started at 0, as in the paper, and not at `initial`.",
    ("muon", "torch.optim.Muon"): (
        "orthogonalised in the precision of the parameters, where PyTorch takes bfloat16; "
        "what is not a hidden matrix beside `torch.optim.AdamW`."
    ),
    ("muon", "optax.contrib.muon"): "with `nesterov = 0` and no `ns_eps`, where both agree.",
    ("schedule-free-sgd", "optax.contrib.schedule_free_sgd"): (
        "at both points, y and x; likewise the authors' package and schedule-free-adamw."
    ),
    ("prodigy", "optax.contrib.prodigy"): "with `bias_correction = 1`, which optax always has.",
}
"""How a comparison was made possible, by name and partner."""

FAMILIES = {
    "Gradient descent and momentum": ("sgd", "momentum", "nesterov", "sgd-torch"),
    "Signs of gradients": ("signum", "lion", "rprop"),
    "Squares of gradients": ("adagrad", "rmsprop", "rmsprop-torch", "adadelta"),
    "Adam and what came of it": (
        *("adam", "amsgrad", "adamw", "adamax", "nadam", "radam", "adabelief", "yogi", "adan"),
    ),
    "Tensors and matrices": ("lars", "lamb", "muon"),
    "Without a schedule or a learning rate to choose": (
        *("schedule-free-sgd", "schedule-free-adamw", "prodigy"),
    ),
}
"""All rules, in the order of the registry."""

CAPABILITIES = {
    "element-wise": lambda rule: issubclass(rule, Elementwise),
    "by tensor": lambda rule: (
        not (issubclass(rule, Elementwise) or rule.needs_matrices or rule.scalars)
    ),
    "by matrix": lambda rule: rule.needs_matrices,
    "sums of a lane": lambda rule: bool(rule.scalars),
    "evaluates elsewhere": lambda rule: rule.evaluates_elsewhere,
    "full batch": lambda rule: rule.full_batch,
}
"""Whether a rule's class says that it has it."""

INTRO = """\
# Optimizers

<!-- Written by `make docs` from the rules and the parity tests; change those, not this page. -->

Each rule was run over recorded gradients of a quadratic and of a small network, next to the
implementation that it is compared with, at four settings of its hyperparameters; where a library
has only some of a rule's forms, those were compared. The difference is the largest
max|a − b|/max|b| of any tensor, a its parameters here and b theirs, after {updates} updates,
rounded up to one digit; `make test-parity` fails where one is more than ten times what stands here,
or not below {bounds}. Where no library has a rule, it is compared
with a plain implementation of the paper or the textbook in the tests, one number at a time in
float64.

[Rules](#rules) · [Presets](#presets) · [What every optimizer takes](#what-every-optimizer-takes) ·
[Where libraries differ](#where-libraries-differ) · [Hyperparameters](#hyperparameters)
"""

RULES = """\
## Rules

g is the gradient, w are the parameters; all else is state or a hyperparameter. A hat corrects the
bias of a mean, λ is `weight_decay`. Names lead to the equations in full, and to what libraries do
differently.

- *element-wise*: every parameter is updated in the same way and by itself;
- *by tensor*: each tensor of a lane has a step of its own length;
- *by matrix*: tensors are treated by their shape, hidden matrices as matrices;
- *sums of a lane*: a lane keeps numbers of its own, beside arrays shaped like its parameters;
- *evaluates elsewhere*: evaluations take other parameters than gradients do;
- *full batch*: meant for gradients without noise; on minibatches a notice says so.
"""

PRESETS_INTRO = """\
## Presets

A preset is a rule with other defaults; all other hyperparameters are the rule's.
"""

COMMON_INTRO = """\
## What every optimizer takes

These count only where they are given: a lane without `clip_norm` is not clipped, whatever the
default; a schedule takes the defaults of its parts. Where a rule has a hyperparameter of the same
name, that one is meant.
"""

LIBRARIES_INTRO = """\
## Where libraries differ

A dash: has none. Numbers are defaults. The last column names our hyperparameter, if there is one,
and its defaults with the rules and presets that have them.
"""


def page(differences: Differences) -> str:
    """Return the page; rows of a rule have the order that its partners have in ``differences``."""
    sorted_in = [name for names in FAMILIES.values() for name in names]
    assert sorted_in == [*OPTIMIZERS], "FAMILIES has all rules, in the order of the registry"
    bounds = " and ".join(f"{number(bound)} in {dtype}" for dtype, bound in BOUNDS.items())
    *first, last = map(str, UPDATES)
    updates = f"{', '.join(first)} and {last}"
    sections = [INTRO.format(updates=updates, bounds=bounds), RULES]
    for title, names in FAMILIES.items():
        head = ("optimizer", "update rule", "source", *COMPARED, "capabilities")
        rows = [row for name in names for row in _rule(OPTIMIZERS[name], differences)]
        sections += [f"### {title}\n", table(head, rows)]
    sections += ["### Notes on what was compared\n", _notes()]
    head = ("preset", "rule", "settings", "meaning", "source", *COMPARED)
    rows = [row for name in PRESETS for row in _preset(name, differences)]
    sections += [PRESETS_INTRO, table(head, rows)]
    sections += [COMMON_INTRO, table(SETTING, [_setting(each) for each in COMMON.values()])]
    libraries = stated(LIBRARY_DIFFERENCES.read_text(encoding="utf-8"))
    sections += [LIBRARIES_INTRO, libraries, _hyperparameters(), _links()]
    return "\n".join(sections)


COMPARED = ("compared with", *(f"difference in {dtype}" for dtype in BOUNDS))
SETTING = ("hyperparameter", "default", "range", "meaning")


def _rule(rule: type[Optimizer], differences: Differences) -> list[Sequence[str]]:
    summary = "<br>".join(plain(part) for part in rule.summary.split(";  "))
    first = (f"[{code(rule.name)}][{_file(rule)}]", summary, linked(rule.source))
    return _with_partners(rule.name, first, (", ".join(capabilities(rule)),), differences)


def _preset(name: str, differences: Differences) -> list[Sequence[str]]:
    preset = PRESETS[name]
    settings = "<br>".join(code(f"{key} = {number(each)}") for key, each in preset.settings.items())
    rule, meaning = code(preset.rule.name), plain(preset.summary)
    first = (code(name), rule, settings, meaning, linked(preset.source))
    return _with_partners(name, first, (), differences)


def _with_partners(
    name: str, first: Sequence[str], last: Sequence[str], differences: Differences
) -> list[Sequence[str]]:
    """Return a row a partner; all but the first leave out what is not the partner's."""
    partners = {place: found for (whose, place), found in differences.items() if whose == name}
    assert partners, f"{name} is compared with nothing; run make docs"
    cells = [
        (place if place == PLAIN else code(place), *found) for place, found in partners.items()
    ]
    rows = [["" for _ in first] + list(each) + ["" for _ in last] for each in cells]
    rows[0] = [*first, *cells[0], *last]
    return rows


def capabilities(rule: type[Optimizer]) -> list[str]:
    """Return what the class of a rule says of it."""
    return [each for each, has in CAPABILITIES.items() if has(rule)]


def _notes() -> str:
    notes = [f"{code(name)} and {code(place)}: {text}" for (name, place), text in NOTES.items()]
    return "".join(
        textwrap.fill(
            note,
            100,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
        for note in notes
    )


def _setting(each: Setting) -> Sequence[str]:
    return code(each.name), number(each.default), plain(each.range), plain(each.meaning)


def _hyperparameters() -> str:
    rows = [
        ("" if place else code(name), *_setting(each))
        for name, rule in OPTIMIZERS.items()
        for place, each in enumerate(rule.hyperparameters)
    ]
    summary = "<details>\n<summary>All rules, with defaults and ranges</summary>\n"
    text = table(("optimizer", *SETTING), rows)
    return "\n".join(["## Hyperparameters\n", summary, text, "</details>\n"])


def _links() -> str:
    files = dict.fromkeys(_file(rule) for rule in OPTIMIZERS.values())
    return "".join(f"[{file}]: ../optbench/optimizers/rules/{file}.py\n" for file in files)


# Differences between libraries


def stated(text: str) -> str:
    """Return a text with ``{place:key}`` replaced by a default, of a library's or of ours.

    >>> stated("{torch.optim.Adagrad:eps}")
    '1e-10'
    >>> stated("{adagrad:eps_place}")
    '`eps_place`: outside (`adagrad`, `adagrad-torch`), inside (`adagrad-optax`)'
    >>> stated("{adadelta:eps}")
    '`eps`: 1e-6'
    """
    return re.sub(r"\{([^{}:]+):(\w+)\}", lambda found: _default(*found.groups()), text)


def _default(place: str, key: str) -> str:
    if place in STATED:
        return number(STATED[place][key])
    found: dict[float | str, list[str]] = {}
    for rule in place.split():
        presets = [name for name, each in PRESETS.items() if each.rule.name == rule]
        for name in (rule, *presets):
            settings = {each.name: each.default for each in get_optimizer(name).hyperparameters}
            found.setdefault(settings[key], []).append(code(name))
    if len(found) == 1:
        return f"{code(key)}: {number(*found)}"
    values = [f"{number(value)} ({', '.join(names)})" for value, names in found.items()]
    return f"{code(key)}: {', '.join(values)}"


# Numbers


def read(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the differences that a page has."""
    found, name = {}, ""
    place, *dtypes = COMPARED
    for row in rows_of(text):
        if place in row:
            name = unlinked(row.get("optimizer", row.get("preset", ""))) or name
            found[name, row[place].strip("`")] = tuple(row[each] for each in dtypes)
    return found


def number(value: float | str) -> str:
    """Return a default as people write it.

    >>> number(1e-07), number(0.99), number(10000.0), number("outside")
    ('1e-7', '0.99', '10000', 'outside')
    """
    return value if isinstance(value, str) else re.sub(r"e([+-])0*", r"e\1", f"{value:g}")


def rounded_up(difference: float) -> str:
    """Return a difference with one digit, never smaller than it is.

    >>> rounded_up(1.01e-14), rounded_up(2e-7), rounded_up(9.5e-16), rounded_up(0.0)
    ('2e-14', '2e-7', '1e-15', '0')
    """
    context = Context(prec=1, rounding=ROUND_CEILING)
    return f"{context.create_decimal(repr(difference)):e}" if difference else "0"


def _file(rule: type[Optimizer]) -> str:
    return rule.__module__.rpartition(".")[2]


def main() -> None:
    """Measure, which needs the other libraries, and write the page."""
    from tests.parity.comparisons import COMPARISONS, largest

    measured = {
        each: tuple(rounded_up(largest(*each, dtype)) for dtype in BOUNDS) for each in COMPARISONS
    }
    PAGE.write_text(page(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
