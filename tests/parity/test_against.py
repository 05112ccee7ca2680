"""``verify optimizer A --against B`` on what libraries are known to do differently."""

import pytest

from optbench.verify.against import compare_optimizers
from tests.forget import forget  # noqa: F401

pytest.importorskip("torch")
pytest.importorskip("optax")

pytestmark = pytest.mark.usefixtures("forget")


def told(first, second, given=None, **options):
    """Return what differs without what it means, and how it is in both."""
    found = compare_optimizers(first, second, given, **options)
    assert not found.agrees
    assert found.agreement is not None
    assert found.agreement <= found.tolerance
    return {cause.what.partition(",")[0]: (cause.first, cause.second) for cause in found.causes}


PLACES = ("outside", "inside")


@pytest.mark.parametrize(
    ("first", "second", "given", "differing"),
    [
        (
            "torch:RMSprop",
            "optax:rmsprop",
            {},
            {"decay": ("0.99", "0.9"), "eps_place": PLACES},
        ),
        ("torch:RMSprop", "optax:rmsprop", {"b.decay": 0.99}, {"eps_place": PLACES}),
        (
            "torch:Adagrad",
            "optax:adagrad",
            {},
            {"eps": ("1e-10", "1e-07"), "eps_place": PLACES, "initial": ("0", "0.1")},
        ),
        ("torch:AdamW", "optax:adamw", {}, {"weight_decay": ("0.01", "0.0001")}),
        ("optax:adam", "torch:Adam", {"a.eps_root": 1e-6}, {"eps_root": ("1e-06", "0")}),
        (
            "adam",
            "torch:Adam",
            {},
            {"eps": ("1e-07", "1e-08"), "eps_place": ("uncorrected", "corrected")},
        ),
        ("nadam", "optax:nadam", {}, {"momentum_decay": ("0.004", "10000")}),
        ("torch:RAdam", "optax:radam", {}, {"eps_place": ("uncorrected", "corrected")}),
        ("amsgrad", "optax:amsgrad", {}, {"largest_of": ("uncorrected", "corrected")}),
        (
            "adan",
            "optax:adan",
            {"b.eps_root": 0.0},
            {"ahead": ("beta2", "1-beta2")},
        ),
        (
            "torch:SGD",
            "optax:sgd",
            {"momentum": 0.9, "a.nesterov": True},
            {"nesterov": ("1", "0")},
        ),
        ("lion", "optax:lion", {"b.weight_decay": 0.1}, {"weight_decay": ("0.001", "0.1")}),
    ],
)
def test_known_differences_are_named(first, second, given, differing):
    assert told(first, second, given) == differing


def test_a_product_in_single_precision_is_seen():
    # PyTorch keeps the product of NAdam's momenta in single precision.
    assert compare_optimizers("nadam", "torch:NAdam", tolerance=1e-7).agrees
    assert not compare_optimizers("nadam", "torch:NAdam").agrees
    found = told("torch:NAdam", "optax:nadam", tolerance=1e-7)
    assert found == {"momentum_decay": ("0.004", "10000")}


@pytest.mark.parametrize(
    ("first", "second", "given"),
    [
        ("adam-torch", "torch:Adam", {}),
        ("optax:adam", "torch:Adam", {}),
        ("optax:lion", "lion", {}),
        ("sgd", "torch:SGD", {"lr": 0.1}),
        ("torch:Adadelta", "optax:adadelta", {"lr": 1.0}),
        ("torch:AdamW", "optax:adamw", {"weight_decay": 0.1}),
    ],
)
def test_what_is_the_same_agrees(first, second, given):
    found = compare_optimizers(first, second, given)
    assert found.agrees
    assert found.causes == ()


def test_a_learning_rate_without_default_is_that_of_the_other():
    (note, *_) = compare_optimizers("torch:Adam", "optax:adam").notes
    assert note == "lr = 0.001 of torch:Adam for optax:adam too, which has no default"
