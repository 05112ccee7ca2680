"""Differences between our optimizers and others', as docs/optimizers.md states them.

Each is kept, so that a session of tests measures once.
"""

from collections.abc import Callable
from functools import partial

from docs.tools.optimizers_page import PLAIN
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.driver import largest_difference, settings
from tests.optimizers.elementwise import RECORDINGS, SETTINGS, cases, in_scalars, rule_of
from tests.parity import authors_packages, elementwise, shaped

Difference = Callable[[str, str], float]
"""Returns the largest difference on a recording at a precision."""


def _torch(name: str) -> str:
    """Return the place of PyTorch's optimizer that a name is compared with."""
    params = [elementwise.torch.nn.Parameter(elementwise.torch.zeros(1))]
    given = settings(rule_of(name), cases(name)[0])
    return f"torch.optim.{type(elementwise.TORCH[name](params, given)).__name__}"


def _optax(name: str) -> str:
    """Return the place of optax's: the partner that is declared, or PyTorch's in small letters."""
    declared = (OPTIMIZERS | PRESETS)[name].partner or ""
    return (
        declared
        if declared.startswith("optax.")
        else f"optax.{_torch(name).rpartition('.')[2].lower()}"
    )


def _plain(name: str, recording: str, dtype: str) -> float:
    rule = rule_of(name)
    return largest_difference(rule, cases(name), in_scalars(rule), RECORDINGS[recording], dtype)


def _comparisons() -> dict[tuple[str, str], Difference]:
    found: dict[tuple[str, str], Difference] = {}
    for name in SETTINGS:
        if name in elementwise.TORCH:
            found[name, _torch(name)] = partial(elementwise.from_pytorch, name)
        if name in elementwise.OPTAX:
            found[name, _optax(name)] = partial(elementwise.from_optax, name)
        if name not in elementwise.TORCH.keys() | elementwise.OPTAX.keys():
            found[name, PLAIN] = partial(_plain, name)
    for rule in shaped.BY_TENSOR:
        found[rule.name, rule.partner] = partial(shaped.layerwise, rule)
    found["muon", "torch.optim.Muon"] = shaped.muon_from_pytorch
    found["muon", "optax.contrib.muon"] = shaped.muon_from_optax
    for rule, package in (
        (ScheduleFreeSGD, "schedulefree.SGDScheduleFree"),
        (ScheduleFreeAdamW, "schedulefree.AdamWScheduleFree"),
    ):
        found[rule.name, rule.partner] = partial(shaped.schedule_free, rule)
        found[rule.name, package] = partial(authors_packages.from_schedulefree, rule)
    found[Prodigy.name, Prodigy.partner] = shaped.prodigy
    found[Prodigy.name, "prodigyopt.Prodigy"] = authors_packages.from_prodigyopt
    return found


COMPARISONS = _comparisons()
"""How far a rule or preset is from another implementation, by name and the other's place."""


def largest(name: str, partner: str, dtype: str) -> float:
    """Return the largest difference on all recordings."""
    difference = COMPARISONS[name, partner]
    return max(difference(recording, dtype) for recording in RECORDINGS)
