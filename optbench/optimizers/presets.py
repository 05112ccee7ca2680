"""Settings of a rule that people know by a name of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from optbench.optimizers.base import Optimizer
from optbench.optimizers.rules.adagrad import AdaGrad
from optbench.optimizers.rules.adam import Adam
from optbench.optimizers.rules.adamw import AdamW
from optbench.optimizers.rules.adan import Adan
from optbench.optimizers.rules.amsgrad import AMSGrad
from optbench.optimizers.rules.nadam import NAdam
from optbench.optimizers.rules.radam import RAdam
from optbench.optimizers.rules.rmsprop import RMSprop, RMSpropTorch
from optbench.optimizers.rules.sgd import SGDTorch
from optbench.optimizers.rules.signum import Signum


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
        optimizer = self.rule()
        optimizer.hyperparameters = tuple(
            replace(own, default=self.settings.get(own.name, own.default))
            for own in optimizer.hyperparameters
        )
        return optimizer


_ALL = (
    Preset(
        "nesterov-torch",
        SGDTorch,
        {"lr": 0.01, "momentum": 0.9, "nesterov": 1.0},
        "Nesterov's momentum as PyTorch has it: the look ahead of Bengio et al.",
        "Bengio, Boulanger-Lewandowski and Pascanu (2013), as torch.optim.SGD",
        "torch.optim.SGD",
    ),
    Preset(
        "signsgd",
        Signum,
        {"momentum": 0.0},
        "the sign of the gradient itself",
        "Bernstein et al. (2018), arXiv:1802.04434, algorithm 1",
        "optax.sign_sgd",
    ),
    Preset(
        "adagrad-torch",
        AdaGrad,
        {"eps": 1e-10},
        "PyTorch's smaller eps",
        "torch.optim.Adagrad",
        "torch.optim.Adagrad",
    ),
    Preset(
        "adagrad-optax",
        AdaGrad,
        {"eps_place": "inside", "initial": 0.1},
        "the sum of squares starts at 0.1, eps is inside the root",
        "optax.adagrad",
        "optax.adagrad",
    ),
    Preset(
        "rmsprop-optax",
        RMSprop,
        {"decay": 0.9, "eps": 1e-8, "eps_place": "inside"},
        "squares fade faster, eps is inside the root",
        "optax.rmsprop",
        "optax.rmsprop",
    ),
    Preset(
        "rmsprop-centered",
        RMSpropTorch,
        {"centered": 1.0},
        "divides by the deviation of the gradient",
        "Graves (2013), arXiv:1308.0850, as torch.optim.RMSprop",
        "torch.optim.RMSprop",
    ),
    Preset(
        "adam-torch",
        Adam,
        {"eps": 1e-8, "eps_place": "corrected"},
        "Adam as PyTorch and optax have it: eps is added after bias correction",
        "Kingma and Ba (2015), arXiv:1412.6980, algorithm 1",
        "torch.optim.Adam",
    ),
    Preset(
        "amsgrad-optax",
        AMSGrad,
        {"largest_of": "corrected"},
        "the largest mean square after bias correction",
        "Reddi et al. (2018), as optax.amsgrad",
        "optax.amsgrad",
    ),
    Preset(
        "adamw-optax",
        AdamW,
        {"weight_decay": 1e-4},
        "optax's smaller weight decay",
        "Loshchilov and Hutter (2019), as optax.adamw",
        "optax.adamw",
    ),
    Preset(
        "nadam-optax",
        NAdam,
        {"momentum_decay": 1e4},
        "a constant momentum in place of one that grows",
        "Dozat (2016), as optax.nadam",
        "optax.nadam",
    ),
    Preset(
        "radam-optax",
        RAdam,
        {"eps_place": "corrected"},
        "eps is added after bias correction",
        "Liu et al. (2020), as optax.radam",
        "optax.radam",
    ),
    Preset(
        "adan-optax",
        Adan,
        {"ahead": "1-beta2", "eps_root": 1e-8},
        "looks ahead by 1 − β₂ of the change, not by β₂",
        "Xie et al. (2024), arXiv:2208.06677, as optax.adan",
        "optax.adan",
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}
"""All presets by name, in the order of their rules."""
