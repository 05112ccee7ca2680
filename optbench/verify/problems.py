"""Small problems to check with: fast, and with starts that can be changed by one ulp."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from optbench import rng
from optbench.datasets.base import EMBEDDED, Dataset, Split
from optbench.engine.nudge import one_ulp_away
from optbench.problems.base import Problem
from optbench.problems.functions.quadratics import Anisotropic
from optbench.problems.networks.classifier import Classifier
from optbench.problems.networks.nn.initializers import he
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy
from optbench.problems.networks.nn.network import Network, dense_relu_layers

EXAMPLES, FEATURES, HIDDEN, CLASSES = 256, 64, (32, 24), 10


BATCH_SIZE = 32


class NudgedFunction(Anisotropic):
    """The long valley, from starts changed by the setting ``nudge``."""

    def start(self, seed: int) -> np.ndarray:
        """Return the start, changed."""
        return one_ulp_away(super().start(seed), self.settings["nudge"], self.dtype)


class NudgedNetwork(Classifier):
    """A small ReLU network on made-up images, from starts changed by the setting ``nudge``."""

    name = "small-mlp"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        sizes = (FEATURES, *HIDDEN, CLASSES)
        self.network = Network(dense_relu_layers(sizes, he), SoftmaxCrossEntropy(1e-7))

    @property
    def dataset(self) -> Dataset:
        """The made-up images."""
        return made_up_images()

    def architecture(self) -> dict[str, Any]:
        """Return sizes and activation."""
        return {"layers": [FEATURES, *HIDDEN, CLASSES], "activation": "relu"}

    def start(self, seed: int) -> np.ndarray:
        """Return the start, changed."""
        return one_ulp_away(super().start(seed), self.settings["nudge"], self.dtype)


@lru_cache(maxsize=1)
def made_up_images() -> Dataset:
    """Return noise in which a part that belongs to the label is brighter; all of it to train on."""
    labels = rng.stream(0, "verify/labels").integers(CLASSES, size=EXAMPLES)
    noise = rng.stream(0, "verify/images").integers(128, size=(EXAMPLES, FEATURES))
    bright = np.arange(FEATURES) * CLASSES // FEATURES == labels[:, None]
    train = Split((noise + 127 * bright).astype(np.uint8), labels.astype(np.uint8))
    for array in (train.images, train.labels):
        array.flags.writeable = False
    return Dataset("made-up", EMBEDDED, {"train": train}, 255.0, (8, 8), CLASSES, {})


PROBLEMS: dict[str, type[NudgedFunction] | type[NudgedNetwork]] = {
    problem.name: problem for problem in (NudgedFunction, NudgedNetwork)
}
"""Problems by name."""


def nudged_problem(name: str, dtype: str, nudge: int) -> Problem:
    """Return a problem whose starts are changed by a nudge; 0 leaves them as they are."""
    options = {"dtype": dtype, "record": "before", "batch_size": BATCH_SIZE}
    return PROBLEMS[name]({**options, "nudge": nudge})
