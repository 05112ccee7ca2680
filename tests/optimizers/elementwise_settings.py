"""The element-wise optimizers, and the settings at which each is compared with another."""

from optbench.optimizers.adadelta import ADADELTA_OPTIMIZERS, AdaDelta
from optbench.optimizers.adam import ADAM_OPTIMIZERS, AdamTorch, AdamW, AMSGrad
from optbench.optimizers.adamax import ADAMAX_OPTIMIZERS, AdaMax
from optbench.optimizers.adan import ADAN_OPTIMIZERS, Adan, AdanOptax
from optbench.optimizers.momentum import MOMENTUM_OPTIMIZERS, Nesterov, SGDTorch
from optbench.optimizers.nadam import NADAM_OPTIMIZERS, NAdam
from optbench.optimizers.radam import RADAM_OPTIMIZERS, RAdam
from optbench.optimizers.rmsprop import RMSPROP_OPTIMIZERS, RMSpropTorch
from optbench.optimizers.rprop import RPROP_OPTIMIZERS, Rprop
from optbench.optimizers.signs import SIGN_OPTIMIZERS, Lion, Signum
from optbench.optimizers.squares import SQUARE_OPTIMIZERS, AdaBelief, Yogi

ALL = (
    *MOMENTUM_OPTIMIZERS,
    *RMSPROP_OPTIMIZERS,
    *ADADELTA_OPTIMIZERS,
    *RPROP_OPTIMIZERS,
    *SIGN_OPTIMIZERS,
    *ADAM_OPTIMIZERS,
    *ADAMAX_OPTIMIZERS,
    *NADAM_OPTIMIZERS,
    *RADAM_OPTIMIZERS,
    *SQUARE_OPTIMIZERS,
    *ADAN_OPTIMIZERS,
)

SETTINGS = {
    Nesterov: [{}, {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}],
    SGDTorch: [
        {},
        {"lr": 0.1},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.02, "momentum": 0.8, "nesterov": 1.0},
    ],
    RMSpropTorch: [
        {},
        {"lr": 0.1, "centered": 1.0},
        {"momentum": 0.9, "centered": 1.0, "decay": 0.9},
        {"eps": 1e-3, "momentum": 0.5},
    ],
    AdaDelta: [{}, {"lr": 0.3}, {"decay": 0.5}, {"eps": 1e-3}],
    Rprop: [
        {},
        {"lr": 0.1},
        {"eta_minus": 0.3, "eta_plus": 1.5},
        {"step_min": 1e-3, "step_max": 0.02},
    ],
    Signum: [{}, {"lr": 0.1}, {"momentum": 0.5}, {"lr": 0.02, "momentum": 0.0}],
    Lion: [{}, {"lr": 0.01}, {"lr": 0.003, "weight_decay": 0.5}, {"beta1": 0.5, "beta2": 0.9}],
    AdamTorch: [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}],
    AMSGrad: [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}],
    AdamW: [{}, {"lr": 0.3}, {"lr": 0.05, "weight_decay": 0.2}, {"beta1": 0.5, "eps": 1e-3}],
    AdaMax: [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}],
    NAdam: [
        {},
        {"lr": 0.3, "beta1": 0.0},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "momentum_decay": 0.1},
        {"eps": 1e-3},
    ],
    RAdam: [{}, {"lr": 0.05, "beta2": 0.6}, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}],
    AdaBelief: [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}],
    Yogi: [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-6}],
    Adan: [
        {},
        {"lr": 0.05, "beta2": 0.5},
        {"lr": 0.01, "weight_decay": 0.5},
        {"eps": 1e-3, "beta1": 0.5, "beta3": 0.9, "eps_root": 1e-4},
    ],
    AdanOptax: [
        {},
        {"lr": 0.05, "beta2": 0.5},
        {"lr": 0.01, "weight_decay": 0.5},
        {"eps": 1e-3, "beta1": 0.5, "beta3": 0.9, "eps_root": 1e-4},
    ],
}
"""Four of each: the defaults, another lr, decay or momentum, and another eps, where it has one."""


def by_name(optimizer) -> str:
    """Return the name of an optimizer, for the names of tests."""
    return optimizer.name
