"""Settings of a rule that people know by a name of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from optbench.optimizers.base import Optimizer


@dataclass(frozen=True)
class Preset:
    """A rule with other defaults.

    Attributes
    ----------
    name
        What it is called in suites.
    rule
        The rule's class.
    settings
        Its hyperparameters whose defaults are others here.
    summary
        A line for lists.
    source, partner
        As of :class:`~optbench.optimizers.base.Optimizer`.
    """

    name: str
    rule: type[Optimizer]
    settings: Mapping[str, float | str]
    summary: str
    source: str = ""
    partner: str | None = None

    def optimizer(self) -> Optimizer:
        """Return the rule with these defaults."""
        found = self.rule()
        found.hyperparameters = tuple(
            replace(each, default=self.settings.get(each.name, each.default))  # type: ignore[type-var]
            for each in found.hyperparameters
        )
        return found


PRESETS: dict[str, Preset] = {}
"""All presets by name."""
