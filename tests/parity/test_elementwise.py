"""Element-wise optimizers against PyTorch's and optax's, over recorded gradients.

Where a library has a rule that ours holds as a special case, it is compared at that case.
"""

import numpy as np
import pytest

from optbench.optimizers.adadelta import AdaDelta
from optbench.optimizers.adam import AdamTorch, AdamW, AMSGrad
from optbench.optimizers.adamax import AdaMax
from optbench.optimizers.adan import AdanOptax
from optbench.optimizers.adaptive import AdaGrad, RMSprop
from optbench.optimizers.momentum import SGDTorch
from optbench.optimizers.nadam import NAdam
from optbench.optimizers.radam import RAdam
from optbench.optimizers.rmsprop import RMSpropTorch
from optbench.optimizers.rprop import Rprop
from optbench.optimizers.sgd import SGD, Momentum
from optbench.optimizers.signs import Lion, Signum
from optbench.optimizers.squares import AdaBelief, Yogi
from tests.optimizers.elementwise_runs import BOUNDS, RECORDINGS, Recording, largest_difference
from tests.optimizers.elementwise_settings import ALL, SETTINGS, by_name

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")

TEXTBOOK_SETTINGS = {
    SGD: [{}, {"lr": 0.3}, {"lr": 0.1}, {"lr": 1e-4}],
    Momentum: [{}, {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}],
    AdaGrad: [{}, {"lr": 1.5}, {"eps": 1e-10}, {"lr": 0.1, "eps": 1e-2}],
    RMSprop: [{}, {"lr": 0.1}, {"lr": 0.02, "decay": 0.5}, {"eps": 1e-3}],
}


def moments(given):
    return {"betas": (given["beta1"], given["beta2"]), "eps": given["eps"]}


TORCH = {
    SGD: lambda p, s: torch.optim.SGD(p, **s),
    Momentum: lambda p, s: torch.optim.SGD(p, **s),
    AdaGrad: lambda p, s: torch.optim.Adagrad(p, **s),
    RMSprop: lambda p, s: torch.optim.RMSprop(p, lr=s["lr"], alpha=s["decay"], eps=s["eps"]),
    SGDTorch: lambda p, s: torch.optim.SGD(p, **{**s, "nesterov": bool(s["nesterov"])}),
    RMSpropTorch: lambda p, s: torch.optim.RMSprop(
        p,
        lr=s["lr"],
        alpha=s["decay"],
        eps=s["eps"],
        momentum=s["momentum"],
        centered=bool(s["centered"]),
    ),
    AdaDelta: lambda p, s: torch.optim.Adadelta(p, lr=s["lr"], rho=s["decay"], eps=s["eps"]),
    Rprop: lambda p, s: torch.optim.Rprop(
        p,
        lr=s["lr"],
        etas=(s["eta_minus"], s["eta_plus"]),
        step_sizes=(s["step_min"], s["step_max"]),
    ),
    AdamTorch: lambda p, s: torch.optim.Adam(p, lr=s["lr"], **moments(s)),
    AMSGrad: lambda p, s: torch.optim.Adam(p, lr=s["lr"], amsgrad=True, **moments(s)),
    AdamW: lambda p, s: torch.optim.AdamW(
        p, lr=s["lr"], weight_decay=s["weight_decay"], **moments(s)
    ),
    AdaMax: lambda p, s: torch.optim.Adamax(p, lr=s["lr"], **moments(s)),
    NAdam: lambda p, s: torch.optim.NAdam(
        p, lr=s["lr"], momentum_decay=s["momentum_decay"], **moments(s)
    ),
    RAdam: lambda p, s: torch.optim.RAdam(p, lr=s["lr"], **moments(s)),
}
"""PyTorch's optimizer for parameters and all our hyperparameters."""


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


OPTAX = {
    SGD: lambda s: optax.sgd(s["lr"]),
    Momentum: lambda s: optax.sgd(s["lr"], s["momentum"]),
    SGDTorch: lambda s: optax.sgd(s["lr"], s["momentum"], nesterov=bool(s["nesterov"])),
    RMSpropTorch: lambda s: optax.rmsprop(
        s["lr"],
        s["decay"],
        s["eps"],
        eps_in_sqrt=False,
        centered=bool(s["centered"]),
        momentum=s["momentum"],
    ),
    AdaDelta: lambda s: optax.adadelta(s["lr"], s["decay"], s["eps"]),
    Signum: lambda s: optax.signum(s["lr"], s["momentum"]),
    Lion: lambda s: optax.lion(s["lr"], s["beta1"], s["beta2"], weight_decay=s["weight_decay"]),
    AdamTorch: lambda s: optax.adam(*four(s)),
    AdamW: lambda s: optax.adamw(*four(s), weight_decay=s["weight_decay"]),
    AdaMax: lambda s: optax.adamax(*four(s)),
    NAdam: lambda s: optax.nadam(*four(s)),
    RAdam: lambda s: optax.radam(*four(s)),
    AdaBelief: lambda s: optax.adabelief(*four(s), s["eps_root"]),
    Yogi: yogi,
    AdanOptax: lambda s: optax.adan(
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
    SGDTorch: [
        {},
        {"lr": 0.1},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.02, "momentum": 0.8, "nesterov": 1.0},
    ],
    # A constant momentum.
    NAdam: [{"momentum_decay": 1e4, **each} for each in SETTINGS[AdamTorch]],
    # With so small an eps it does not matter where it stands.
    RAdam: [{"eps": 1e-30, **each} for each in SETTINGS[RAdam][:3]],
}

SETTINGS_OF = {**SETTINGS, **TEXTBOOK_SETTINGS}


@pytest.fixture
def default_dtype():
    """PyTorch keeps some numbers, such as NAdam's product of momenta, in its default dtype."""
    before = torch.get_default_dtype()
    yield lambda dtype: torch.set_default_dtype(getattr(torch, dtype))
    torch.set_default_dtype(before)


def torch_path(make, recording: Recording, dtype: str) -> np.ndarray:
    """Return the positions after each update of the optimizer that ``make(params)`` gives."""
    params = torch.nn.Parameter(torch.tensor(recording.start.astype(dtype)))
    optimizer = make([params])
    path = []
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


@pytest.fixture(scope="module", autouse=True)
def _double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", TORCH, ids=by_name)
def test_the_path_is_that_of_pytorch(optimizer, name, dtype, default_dtype, record_property):
    default_dtype(dtype)

    def reference(given, recording, dtype):
        return torch_path(lambda params: TORCH[optimizer](params, given), recording, dtype)

    difference = largest_difference(
        optimizer, SETTINGS_OF[optimizer], reference, RECORDINGS[name], dtype
    )
    record_property("largest_difference", difference)
    assert difference < BOUNDS[dtype]


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", OPTAX, ids=by_name)
def test_the_path_is_that_of_optax(optimizer, name, dtype, record_property):
    def reference(given, recording, dtype):
        return optax_path(OPTAX[optimizer](given), recording, dtype)

    settings = OPTAX_SETTINGS.get(optimizer, SETTINGS_OF[optimizer])
    difference = largest_difference(optimizer, settings, reference, RECORDINGS[name], dtype)
    record_property("largest_difference", difference)
    assert difference < BOUNDS[dtype]


def test_every_partner_is_compared_with():
    partners = {each: each.partner for each in ALL if each.partner is not None}
    assert {each for each, partner in partners.items() if "torch" in partner} <= TORCH.keys()
    assert {each for each, partner in partners.items() if "optax" in partner} <= OPTAX.keys()
