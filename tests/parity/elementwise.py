"""Element-wise optimizers against PyTorch's and optax's, over recorded gradients.

Where a library has a rule that ours holds as a special case, it is compared at that case.
"""

from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest

from tests.optimizers.driver import Recording, largest_difference
from tests.optimizers.elementwise import RECORDINGS, SETTINGS, rule_of, whole

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def moments(given):
    return {"betas": (given["beta1"], given["beta2"]), "eps": given["eps"]}


def sgd(p, s):
    return torch.optim.SGD(p, **{**s, "nesterov": bool(s["nesterov"])})


def adagrad(p, s):
    return torch.optim.Adagrad(p, s["lr"], initial_accumulator_value=s["initial"], eps=s["eps"])


def rmsprop(p, s):
    return torch.optim.RMSprop(
        p,
        s["lr"],
        s["decay"],
        s["eps"],
        momentum=s.get("momentum", 0.0),
        centered=bool(s.get("centered", 0.0)),
    )


TORCH = {
    "sgd": lambda p, s: torch.optim.SGD(p, **s),
    "momentum": lambda p, s: torch.optim.SGD(p, **s),
    "sgd-torch": sgd,
    "nesterov-torch": sgd,
    "adagrad": adagrad,
    "adagrad-torch": adagrad,
    "rmsprop": rmsprop,
    "rmsprop-torch": rmsprop,
    "rmsprop-centered": rmsprop,
    "adadelta": lambda p, s: torch.optim.Adadelta(p, lr=s["lr"], rho=s["decay"], eps=s["eps"]),
    "rprop": lambda p, s: torch.optim.Rprop(
        p,
        lr=s["lr"],
        etas=(s["eta_minus"], s["eta_plus"]),
        step_sizes=(s["step_min"], s["step_max"]),
    ),
    "adam-torch": lambda p, s: torch.optim.Adam(p, lr=s["lr"], **moments(s)),
    "amsgrad": lambda p, s: torch.optim.Adam(p, lr=s["lr"], amsgrad=True, **moments(s)),
    "adamw": lambda p, s: torch.optim.AdamW(
        p, lr=s["lr"], weight_decay=s["weight_decay"], **moments(s)
    ),
    "adamax": lambda p, s: torch.optim.Adamax(p, lr=s["lr"], **moments(s)),
    "nadam": lambda p, s: torch.optim.NAdam(
        p, lr=s["lr"], momentum_decay=s["momentum_decay"], **moments(s)
    ),
    "radam": lambda p, s: torch.optim.RAdam(p, lr=s["lr"], **moments(s)),
}
"""PyTorch's optimizer for parameters and all our hyperparameters."""

TORCH_SETTINGS = {
    # Its eps is outside the root.
    "adagrad": [{}, {"lr": 1.5}, {"eps": 1e-10}, {"lr": 0.1, "eps": 1e-2, "initial": 0.5}],
    # And it corrects no bias.
    "rmsprop": [{}, {"lr": 0.1}, {"lr": 0.02, "decay": 0.5}, {"eps": 1e-3}],
    "rmsprop-torch": [
        {},
        {"lr": 0.1, "centered": 1.0},
        {"momentum": 0.9, "centered": 1.0, "decay": 0.9},
        {"eps": 1e-3, "momentum": 0.5},
    ],
    # It takes the largest before the bias is corrected, which it always is.
    "amsgrad": SETTINGS["adam-torch"],
    # It adds eps before the bias is corrected.
    "radam": SETTINGS["radam-optax"],
}
"""Where PyTorch has but one of our forms."""


def yogi(s):
    """optax's, with the mean at 0 in place of ``initial``, as ours starts."""
    theirs = optax.chain(
        optax.scale_by_yogi(s["beta1"], s["beta2"], s["eps"], 0.0, s["initial"]),
        optax.scale_by_learning_rate(s["lr"]),
    )

    def start(params):
        first, *others = theirs.init(params)
        return (first._replace(mu=optax.tree.zeros_like(params)), *others)

    return optax.GradientTransformation(start, theirs.update)


def four(s):
    return s["lr"], s["beta1"], s["beta2"], s["eps"]


def optax_sgd(s):
    return optax.sgd(s["lr"], s["momentum"], nesterov=bool(s["nesterov"]))


def optax_rmsprop(s):
    return optax.rmsprop(
        s["lr"],
        s["decay"],
        s["eps"],
        eps_in_sqrt=s["eps_place"] == "inside",
        centered=bool(s.get("centered", 0.0)),
        momentum=s.get("momentum"),
        bias_correction=bool(s.get("bias_correction", 0.0)),
    )


def optax_amsgrad(s):
    corrected = bool(s["bias_correction"])
    return optax.amsgrad(*four(s), bias_correction_mu=corrected, bias_correction_nu=corrected)


def optax_adamw(s):
    return optax.adamw(*four(s), weight_decay=s["weight_decay"])


OPTAX = {
    "sgd": lambda s: optax.sgd(s["lr"]),
    "momentum": lambda s: optax.sgd(s["lr"], s["momentum"]),
    "sgd-torch": optax_sgd,
    "nesterov-torch": optax_sgd,
    "adagrad-optax": lambda s: optax.adagrad(s["lr"], s["initial"], s["eps"]),
    "rmsprop": optax_rmsprop,
    "rmsprop-optax": optax_rmsprop,
    "rmsprop-torch": optax_rmsprop,
    "rmsprop-centered": optax_rmsprop,
    "adadelta": lambda s: optax.adadelta(s["lr"], s["decay"], s["eps"]),
    "signum": lambda s: optax.signum(s["lr"], s["momentum"]),
    "signsgd": lambda s: optax.sign_sgd(s["lr"]),
    "lion": lambda s: optax.lion(s["lr"], s["beta1"], s["beta2"], weight_decay=s["weight_decay"]),
    "adam-torch": lambda s: optax.adam(*four(s)),
    "amsgrad-optax": optax_amsgrad,
    "adamw": optax_adamw,
    "adamw-optax": optax_adamw,
    "adamax": lambda s: optax.adamax(*four(s)),
    "nadam-optax": lambda s: optax.nadam(*four(s)),
    "radam-optax": lambda s: optax.radam(*four(s)),
    "adabelief": lambda s: optax.adabelief(*four(s), s["eps_root"]),
    "yogi": yogi,
    "adan-optax": lambda s: optax.adan(
        s["lr"],
        s["beta1"],
        s["beta2"],
        s["beta3"],
        s["eps"],
        s["eps_root"],
        s["weight_decay"],
    ),
}
"""optax's optimizer for all our hyperparameters."""

OPTAX_SETTINGS = {
    # There is no dampening.
    "sgd-torch": [
        {},
        {"lr": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.02, "momentum": 0.8, "nesterov": 1.0},
    ],
    # The paper corrects no bias, and optax need not.
    "amsgrad-optax": [*SETTINGS["amsgrad-optax"][:3], {"eps": 1e-3, "bias_correction": 0.0}],
    # It corrects the bias always.
    "yogi": [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-6}],
}
"""Where optax has but one of our forms, or one more."""


@contextmanager
def default_dtype(dtype: str):
    """PyTorch keeps some numbers, such as NAdam's product of momenta, in its default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def torch_path(make, recording: Recording, dtype: str) -> np.ndarray:
    """Return the positions after each update of the optimizer that ``make(params)`` gives."""
    path = []
    with default_dtype(dtype):
        params = torch.nn.Parameter(torch.tensor(recording.start.astype(dtype)))
        optimizer = make([params])
        for gradient in recording.gradients.astype(dtype):
            params.grad = torch.tensor(gradient)
            optimizer.step()
            path.append(params.detach().numpy().copy())
    return np.array(path)


def optax_path(transformation, recording: Recording, dtype: str) -> np.ndarray:
    """Return the positions after each update by a gradient transformation."""
    params = recording.start.astype(dtype)
    state = transformation.init(jax.numpy.asarray(params))
    update = jax.jit(transformation.update)
    path = []
    for gradient in recording.gradients.astype(dtype):
        change, state = update(gradient, state, params)
        params = np.asarray(params + change)
        path.append(params)
    return np.array(path)


def difference_from(reference, name, configurations, recording, dtype) -> float:
    given = [whole(name, each) for each in configurations]
    return largest_difference(rule_of(name), given, reference, RECORDINGS[recording], dtype)


@cache
def from_pytorch(name: str, recording: str, dtype: str) -> float:
    """Return the largest difference from PyTorch's paths."""

    def reference(given, recording, dtype):
        return torch_path(lambda params: TORCH[name](params, given), recording, dtype)

    configurations = TORCH_SETTINGS.get(name, SETTINGS[name])
    return difference_from(reference, name, configurations, recording, dtype)


@cache
def from_optax(name: str, recording: str, dtype: str) -> float:
    """Return the largest difference from optax's paths."""

    def reference(given, recording, dtype):
        return optax_path(OPTAX[name](given), recording, dtype)

    configurations = OPTAX_SETTINGS.get(name, SETTINGS[name])
    return difference_from(reference, name, configurations, recording, dtype)
