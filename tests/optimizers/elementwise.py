"""The element-wise optimizers, the settings and the gradients at which each is compared."""

from collections.abc import Mapping

import numpy as np

from optbench.arrays import Tensor
from optbench.optimizers.base import Elementwise
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from tests.optimizers.driver import ELEMENTWISE, UPDATES, Recording, Reference
from tests.reference import papers
from tests.reference.network import MultiLayerNet

ALL = tuple(OPTIMIZERS[name] for name in ELEMENTWISE)
"""All element-wise rules."""

ADAMS = [{}, {"lr": 0.3}, {"lr": 0.05, "beta1": 0.5, "beta2": 0.9}, {"eps": 1e-3}]

SETTINGS: dict[str, list[Mapping[str, float | str]]] = {
    "sgd": [{}, {"lr": 0.3}, {"lr": 0.1}, {"lr": 1e-4}],
    "momentum": [{}, {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}],
    "nesterov": [{}, {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}],
    "sgd-torch": [
        {},
        {"lr": 0.1},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.02, "momentum": 0.8, "nesterov": 1.0},
    ],
    "nesterov-torch": [{}, {"lr": 0.1}, {"momentum": 0.5}, {"lr": 0.02, "momentum": 0.99}],
    "signum": [{}, {"lr": 0.1}, {"momentum": 0.5}, {"lr": 0.02, "momentum": 0.0}],
    "signsgd": [{}, {"lr": 0.1}, {"lr": 0.02}, {"lr": 0.003}],
    "lion": [{}, {"lr": 0.01}, {"lr": 0.003, "weight_decay": 0.5}, {"beta1": 0.5, "beta2": 0.9}],
    "rprop": [
        {},
        {"lr": 0.1},
        {"eta_minus": 0.3, "eta_plus": 1.5},
        {"step_min": 1e-3, "step_max": 0.02},
    ],
    "adagrad": [
        {},
        {"lr": 1.5, "initial": 0.3},
        {"lr": 0.3, "eps_place": "inside"},
        {"lr": 0.1, "eps": 1e-2, "eps_place": "inside", "initial": 1.0},
    ],
    "adagrad-torch": [{}, {"lr": 1.5}, {"lr": 0.1, "initial": 0.5}, {"eps": 1e-2}],
    "adagrad-optax": [{}, {"lr": 1.5}, {"lr": 0.1, "initial": 0.5}, {"eps": 1e-2}],
    "rmsprop": [
        {},
        {"lr": 0.1, "bias_correction": 1.0},
        {"lr": 0.02, "decay": 0.5, "eps_place": "inside"},
        {"eps": 1e-3, "eps_place": "inside", "bias_correction": 1.0},
    ],
    "rmsprop-optax": [{}, {"lr": 0.1}, {"decay": 0.5, "bias_correction": 1.0}, {"eps": 1e-3}],
    "rmsprop-torch": [
        {},
        {"lr": 0.1, "centered": 1.0},
        {"momentum": 0.9, "centered": 1.0, "decay": 0.9, "eps": 1e-3, "eps_place": "inside"},
        {"eps": 1e-3, "momentum": 0.5},
    ],
    "rmsprop-centered": [{}, {"lr": 0.1}, {"momentum": 0.9, "decay": 0.9}, {"eps": 1e-3}],
    "adadelta": [{}, {"lr": 0.3}, {"decay": 0.5}, {"eps": 1e-3}],
    "adam": [
        {},
        {"lr": 0.3, "bias_correction": 0.0},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "eps_place": "corrected"},
        {"eps": 1e-3},
    ],
    "adam-torch": ADAMS,
    "amsgrad": [
        {},
        {"lr": 0.3, "largest_of": "corrected"},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9},
        {"eps": 1e-3, "bias_correction": 0.0},
    ],
    "amsgrad-optax": ADAMS,
    "adamw": [{}, {"lr": 0.3}, {"lr": 0.05, "weight_decay": 0.2}, {"beta1": 0.5, "eps": 1e-3}],
    "adamw-optax": [{}, {"lr": 0.3}, {"lr": 0.05, "weight_decay": 0.2}, {"eps": 1e-3}],
    "adamax": ADAMS,
    "nadam": [
        {},
        {"lr": 0.3, "beta1": 0.0},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "momentum_decay": 0.1},
        {"eps": 1e-3},
    ],
    "nadam-optax": ADAMS,
    "radam": [
        {},
        {"lr": 0.05, "beta2": 0.6},
        {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps_place": "corrected"},
        {"eps": 1e-3},
    ],
    "radam-optax": [{}, {"lr": 0.05, "beta2": 0.6}, {"lr": 0.1, "beta2": 0.9}, {"eps": 1e-3}],
    "adabelief": ADAMS,
    "yogi": [
        {},
        {"lr": 0.3},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "bias_correction": 0.0},
        {"eps": 1e-6},
    ],
    "adan": [
        {},
        {"lr": 0.05, "beta2": 0.5, "ahead": "1-beta2"},
        {"lr": 0.01, "weight_decay": 0.5},
        {"eps": 1e-3, "beta1": 0.5, "beta3": 0.9, "eps_root": 1e-4},
    ],
    "adan-optax": [
        {},
        {"lr": 0.05, "beta2": 0.4},
        {"lr": 0.01, "weight_decay": 0.5},
        {"eps": 1e-3, "beta1": 0.5, "beta3": 0.9, "eps_root": 1e-4},
    ],
}
"""Four of each rule and preset: the defaults, another lr, decay or momentum, and another eps, where
it has one; every word and switch is somewhere."""

for name in ELEMENTWISE:
    SETTINGS.setdefault(name, [{}, {"lr": 0.3}, {"lr": 0.05}, {"lr": 0.001}])


def rule_of(name: str) -> type[Elementwise]:
    """Return the rule of a name, which may be a preset's."""
    return PRESETS[name].rule if name in PRESETS else OPTIMIZERS[name]


def whole(name: str, given: Mapping[str, float | str]) -> dict[str, float | str]:
    """Return what a rule is given where something is given to it, or to a preset of it."""
    return {**(PRESETS[name].settings if name in PRESETS else {}), **given}


def cases(name: str) -> list[dict[str, float | str]]:
    """Return the four settings of a name, as given to its rule."""
    return [whole(name, given) for given in SETTINGS[name]]


def by_name(optimizer) -> str:
    """Return the name of an optimizer, for the names of tests."""
    return optimizer.name


def _quadratic() -> Recording:
    """Gradients of Σ aᵢwᵢ²/2 along a noisy descent; their signs stay, turn, or come and go."""
    rng = np.random.default_rng(21)
    tensors = (Tensor("a", (5, 7)), Tensor("b", (7,)), Tensor("c", (4,)))
    size = sum(tensor.size for tensor in tensors)
    curvatures = rng.permutation(np.geomspace(0.02, 1.6, size))
    start = w = rng.normal(size=size) * 3.0
    rows = []
    for _ in range(max(UPDATES)):
        rows.append(curvatures * w)
        w = w - rows[-1] + 0.1 * rng.normal(size=size)
    return Recording(tensors, start, np.array(rows))


def _network() -> Recording:
    """Gradients of a network on random batches; many are 0."""
    rng = np.random.default_rng(22)
    network = MultiLayerNet(5, [6, 7], 3, seed=4)
    tensors = tuple(Tensor(name, each.shape) for name, each in network.params.items())
    rows = []
    for _ in range(max(UPDATES)):
        grads = network.gradient(rng.normal(size=(6, 5)), rng.integers(3, size=6))
        rows.append(np.concatenate([each.ravel() for each in grads.values()]))
        for name, gradient in grads.items():
            network.params[name] -= 0.1 * gradient
    return Recording(tensors, rng.normal(size=len(rows[0])), np.array(rows))


RECORDINGS = {"quadratic": _quadratic(), "network": _network()}


def in_scalars(optimizer: type[Elementwise]) -> Reference:
    """Return the paths of all parameters, one after the other, as plain numbers."""
    algorithm = getattr(papers, optimizer.name.replace("-", "_"))

    def reference(given: dict[str, float], recording: Recording, dtype: str) -> np.ndarray:
        pairs = zip(recording.start.tolist(), recording.gradients.T.tolist(), strict=True)
        return np.array([list(algorithm(w, gradients, **given)) for w, gradients in pairs]).T

    return reference
