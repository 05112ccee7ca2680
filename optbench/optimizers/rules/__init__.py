"""The built-in update rules, each in the file of its name."""

from optbench.optimizers.base import Optimizer
from optbench.optimizers.rules.adabelief import AdaBelief
from optbench.optimizers.rules.adadelta import AdaDelta
from optbench.optimizers.rules.adagrad import AdaGrad
from optbench.optimizers.rules.adam import Adam
from optbench.optimizers.rules.adamax import AdaMax
from optbench.optimizers.rules.adamw import AdamW
from optbench.optimizers.rules.adan import Adan
from optbench.optimizers.rules.amsgrad import AMSGrad
from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.lion import Lion
from optbench.optimizers.rules.momentum import Momentum
from optbench.optimizers.rules.muon import Muon
from optbench.optimizers.rules.nadam import NAdam
from optbench.optimizers.rules.nesterov import Nesterov
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.radam import RAdam
from optbench.optimizers.rules.rmsprop import RMSprop, RMSpropTorch
from optbench.optimizers.rules.rprop import Rprop
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from optbench.optimizers.rules.sgd import SGD, SGDTorch
from optbench.optimizers.rules.signum import Signum
from optbench.optimizers.rules.yogi import Yogi

RULES: tuple[type[Optimizer], ...] = (
    *(SGD, Momentum, Nesterov, SGDTorch, Signum, Lion, Rprop),
    *(AdaGrad, RMSprop, RMSpropTorch, AdaDelta),
    *(Adam, AMSGrad, AdamW, AdaMax, NAdam, RAdam, AdaBelief, Yogi, Adan),
    *(LARS, LAMB, Muon, ScheduleFreeSGD, ScheduleFreeAdamW, Prodigy),
)
"""All of them, from simple to complex."""
