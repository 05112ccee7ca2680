"""Rules have the bits of their definitions, and choices between forms of one change no bit of them.

The textbook's are the reference's. The others are written here without any choice, each with the
roundings of its own definition: hyperparameters and bias corrections in float64, then everything in
the parameters' precision.
"""

import math

import numpy as np
import pytest

from tests.optimizers.driver import BOUNDS, Driver
from tests.optimizers.elementwise import RECORDINGS, rule_of, whole
from tests.reference.optimizers import SGD, AdaGrad, Adam, Momentum, RMSprop


def textbooks(reference):
    """Return the form of a textbook's optimizer, whose state is its own."""

    def form(kind, w, t, g, state, **given):
        optimizer = state.setdefault("optimizer", reference(**given))
        params = {"w": w.copy()}
        optimizer.update(params, {"w": g})
        return params["w"]

    return form


def adam_torch(kind, w, t, g, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    m, v = state.get("m", 0 * w), state.get("v", 0 * w)
    root = math.sqrt(1.0 - beta2**t)
    m = m + kind(1.0 - beta1) * (g - m)
    v = v + kind(1.0 - beta2) * (g * g - v)
    state |= {"m": m, "v": v}
    return w - kind(lr * root / (1.0 - beta1**t)) * m / (np.sqrt(v) + kind(eps * root))


def amsgrad(kind, w, t, g, state, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
    m, v, h = (state.get(name, 0 * w) for name in "mvh")
    root = math.sqrt(1.0 - beta2**t)
    m = m + kind(1.0 - beta1) * (g - m)
    v = kind(beta2) * v + kind(1.0 - beta2) * (g * g)
    h = np.maximum(h, v)
    state |= {"m": m, "v": v, "h": h}
    step_size = lr * root / (1.0 - beta1**t)
    return w - kind(step_size) * m / (np.sqrt(h) + kind(eps * root))


def rmsprop_torch(kind, w, t, g, state, lr=0.01, decay=0.99, eps=1e-8, momentum=0.0):
    s, v = state.get("s", 0 * w), state.get("v", 0 * w)
    s = kind(decay) * s + kind(1.0 - decay) * (g * g)
    v = kind(momentum) * v + g / (np.sqrt(s) + kind(eps))
    state |= {"s": s, "v": v}
    return w - kind(lr) * v


def adan(kind, w, t, g, state, beta2=0.92):
    return _adan(kind, w, t, g, state, beta2, beta2, 0.0)


def adan_optax(kind, w, t, g, state, beta2=0.92):
    return _adan(kind, w, t, g, state, beta2, 1.0 - beta2, 1e-8)


def _adan(kind, w, t, g, state, beta2, ahead, eps_root):
    lr, beta1, beta3, eps = 0.001, 0.98, 0.99, 1e-8
    m, v, n, p = (state.get(name, 0 * w) for name in "mvnp")
    d, first = g - p, t == 1
    m = m + kind(1.0 - beta1) * (g - m)
    v = v + kind(0.0 if first else 1.0 - beta2) * (d - v)
    q = g + kind(0.0 if first else ahead) * d
    n = kind(beta3) * n + kind(1.0 - beta3) * (q * q)
    state |= {"m": m, "v": v, "n": n, "p": g}
    c = 1.0 - beta3**t
    root = math.sqrt(c)
    along_m = lr * root / (1.0 - beta1**t)
    along_v = lr * root * ahead / (1.0 - beta2**t)
    step = kind(along_m) * m + kind(along_v) * v
    return w - step / (np.sqrt(n + kind(eps_root * c)) + kind(eps * root))


FORMS = {
    "sgd": (textbooks(SGD), [{}, {"lr": 0.3}]),
    "momentum": (textbooks(Momentum), [{}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}]),
    "adam": (
        textbooks(Adam),
        [
            {},
            {"lr": 0.3, "beta2": 0.9},
            {"beta1": 0.5, "eps": 1e-3},
            {"lr": 0.1, "beta1": 0.0, "beta2": 0.1},
        ],
    ),
    "adam-torch": (adam_torch, [{}, {"lr": 0.3, "beta2": 0.9}, {"beta1": 0.5, "eps": 1e-3}]),
    "amsgrad": (amsgrad, [{}, {"lr": 0.3, "beta2": 0.9}, {"beta1": 0.5, "eps": 1e-3}]),
    "adagrad": (textbooks(AdaGrad), [{}, {"lr": 1.5}, {"eps": 1e-2}]),
    "rmsprop": (textbooks(RMSprop), [{}, {"lr": 0.1, "decay": 0.5}, {"eps": 1e-3}]),
    "rmsprop-torch": (rmsprop_torch, [{}, {"lr": 0.1, "momentum": 0.9}, {"eps": 1e-3}]),
    "adan": (adan, [{}, {"beta2": 0.5}]),
    "adan-optax": (adan_optax, [{}, {"beta2": 0.4}]),
}
"""Forms of rules, and what they are given beside their defaults."""


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_the_bits_of_its_definition(name, recording, dtype):
    form, configurations = FORMS[name]
    record, kind = RECORDINGS[recording], np.dtype(dtype).type
    given = [whole(name, each) for each in configurations]
    path = Driver(rule_of(name), given, record.start, dtype=dtype).path(record.gradients)
    for lane, each in enumerate(configurations):
        w, state = record.start.astype(dtype), {}
        for t, gradient in enumerate(record.gradients.astype(dtype), 1):
            w = form(kind, w, t, gradient, state, **each)
            assert w.dtype == dtype
            assert path[t - 1, lane].tobytes() == w.tobytes()


def test_lanes_of_different_forms_stand_in_one_block_and_keep_their_bits():
    """Company changes nothing: all four forms of Adam beside each other, and alone."""
    given = [
        {"eps": 1e-3, "eps_place": place, "bias_correction": switch}
        for place in ("uncorrected", "corrected")
        for switch in (0.0, 1.0)
    ]
    record, rule = RECORDINGS["quadratic"], rule_of("adam")
    together = Driver(rule, given, record.start).path(record.gradients)
    for lane, each in enumerate(given):
        alone = Driver(rule, [each], record.start).path(record.gradients)
        assert alone[:, 0].tobytes() == together[:, lane].tobytes()
    assert len({together[:, lane].tobytes() for lane in range(4)}) == 3  # no bias, no place
