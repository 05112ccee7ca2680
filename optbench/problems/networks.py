"""Networks with their data, start, batches and loss."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from optbench import datasets, rng
from optbench.arrays import Array, Stacked, Tensor
from optbench.datasets.base import Dataset
from optbench.errors import SuiteError
from optbench.nn.initializers import he
from optbench.nn.losses import SoftmaxCrossEntropy
from optbench.nn.network import Network, dense_relu_layers
from optbench.problems.base import DTYPES, RECORDS, Arrays, Option, Problem
from optbench.workspace import Workspace

EVALUATION_EXAMPLES = 1_000
"""Examples a forward pass takes at a time when a whole split is evaluated."""


class Classifier(Problem):
    """A network that classifies the images of a data set, on minibatches.

    Batches are drawn with replacement: iteration k of a seed takes ``batch_size`` indices of the
    training split, each uniform. Pixels are brought to [0, 1] as a batch is gathered.
    """

    kind = "network"
    random = True
    minibatch = True
    network: Network

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.batch_size: int = options["batch_size"]

    def settle(self) -> tuple[str, ...]:
        """Load the data set, replace ``data = "auto"`` by the one found, compare it with the batch.

        Raises
        ------
        SuiteError
            If a batch is larger than the training split.
        DataError
            If the data set is missing or damaged.
        """
        notices: tuple[str, ...] = ()
        if self.settings["data"] == "auto":
            found, notice = datasets.load_best(self.data_dir)
            self.settings["data"] = found.name
            notices = (notice,) if notice else ()
        if self.batch_size > self.examples:
            raise SuiteError(
                f"batch_size = {self.batch_size} is larger than the data; "
                f"{self.dataset.name} has {self.examples} training examples"
            )
        return notices

    @cached_property
    def dataset(self) -> Dataset:
        """The data set; loaded and verified once a process."""
        return datasets.load(self.settings["data"], self.data_dir)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the data out of pickles: whoever takes one loads them again."""
        return {key: value for key, value in self.__dict__.items() if key != "dataset"}

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return len(self.dataset.splits["train"].labels)

    @property
    def work_values(self) -> int:
        """Outputs of all layers, and their gradients, for a minibatch."""
        return self.network.work_values * self.batch_size

    @property
    def iterations_per_epoch(self) -> int:
        """Whole minibatches that the training split holds."""
        return self.examples // self.batch_size

    @property
    def record(self) -> str:
        """As the option says."""
        return str(self.settings["record"])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The network's."""
        return self.network.tensors

    def describe(self) -> dict[str, Any]:
        """Return sizes of network, data and batches."""
        return {
            **super().describe(),
            "parameters": self.parameters,
            "data": self.dataset.name,
            "batch_size": self.batch_size,
        }

    def definition(self) -> dict[str, Any]:
        """Return network, data, start, batch rule, loss, record and dtype."""
        data = self.dataset
        return {
            "kind": self.kind,
            "network": self.architecture(),
            "data": {
                "checksums": dict(data.checksums),
                "splits": self.split_sizes(),
                "pixel_scale": data.scale,
            },
            "batch": {"rule": "with replacement", "size": self.batch_size},
            "record": self.record,
            "dtype": self.dtype,
            "streams": [*(f"start/{tensor.name}" for tensor in self.tensors), "batches"],
        }

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Return layers, initialisation and loss as plain data."""

    def start(self, seed: int) -> np.ndarray:
        """Return the network's start, float64."""
        return self.network.start(seed)

    def data(self) -> dict[str, np.ndarray]:
        """Return images as bytes and labels of every split."""
        arrays = {}
        for name, split in self.dataset.splits.items():
            arrays[f"{name}.images"] = split.images
            arrays[f"{name}.labels"] = split.labels
        return arrays

    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return the indices of the batches: int64, shape (iterations, batch)."""
        shape = (rng.ITERATIONS_PER_BLOCK, self.batch_size)
        generator = rng.stream(seed, "batches", block)
        return {"indices": generator.integers(self.examples, size=shape)}

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Gather images (seeds, batch, features) and labels (seeds, batch)."""
        xp, indices = work.xp, draws["indices"]
        work.begin("batch")
        flat = xp.reshape(indices, (-1,))
        images = self._pixels(work.gather(data["train.images"], flat), work)
        labels = work.gather(data["train.labels"], flat)
        return {
            "images": xp.reshape(images, (*indices.shape, images.shape[-1])),
            "labels": xp.reshape(labels, indices.shape),
        }

    def _pixels(self, raw: Array, work: Workspace) -> Array:
        """Return bytes as numbers in [0, 1]; a work array."""
        pixels = work.take(raw.shape, getattr(work.xp, self.dtype))
        return work.ratio(pixels, raw, self.dataset.scale)

    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, work: Workspace
    ) -> Array:
        """Return the mean loss over each lane's batch and write the gradients."""
        return self.network.loss_and_grad(
            batch["images"], batch["labels"], params.views, grads.views, work=work
        )

    def loss(self, params: Stacked, batch: Arrays, *, work: Workspace) -> Array:
        """Return the mean loss over each lane's batch."""
        scores = self.network.scores(batch["images"], params.views, work=work)
        return self.network.loss.mean(scores, batch["labels"], xp=work.xp)

    def split_sizes(self) -> dict[str, int]:
        """Return the examples of each of the data set's splits."""
        return {name: len(split.labels) for name, split in self.dataset.splits.items()}

    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the mean loss and the zero-one error over a split, summed in float64."""
        xp = work.xp
        images, labels = data[f"{split}.images"], data[f"{split}.labels"]
        count = labels.shape[0]
        loss = error = xp.zeros(params.rows.shape[0], dtype=xp.float64)
        for first in range(0, count, EVALUATION_EXAMPLES):
            some = slice(first, min(first + EVALUATION_EXAMPLES, count))
            work.begin("evaluation")
            x = self._pixels(images[some, :], work)[None, :, :]
            scores = self.network.scores(x, params.views, work=work)
            losses = self.network.loss.per_example(scores, labels[None, some], xp=xp)
            wrong = xp.argmax(scores, axis=-1) != xp.astype(labels[None, some], xp.int64)
            loss = loss + xp.sum(losses, axis=-1, dtype=xp.float64)
            error = error + xp.sum(xp.astype(wrong, xp.float64), axis=-1)
        return loss / count, error / count


class MnistMLP(Classifier):
    """The textbook's deep network on MNIST: 784-100-100-100-100-10 with ReLU.

    He initialisation N(0, 2/fan_in), biases 0, softmax cross-entropy reported as the mean of −log(y
    + log_eps), minibatches of 128 drawn with replacement.

    Source: K. Saitoh, "Deep Learning from Scratch", section 6.1.8 and its code
    ``ch06/optimizer_compare_mnist.py``.
    """

    name = "mnist-mlp"
    summary = "784-100-100-100-100-10 ReLU network on MNIST, minibatches of 128"
    default_iterations = 2000
    hidden: ClassVar[tuple[int, ...]] = (100, 100, 100, 100)
    options = (
        Option("data", "auto", "data set", choices=("auto", "mnist", "mnist-5k")),
        Option("batch_size", 128, "examples a minibatch", low=1),
        Option("dtype", "float32", "of parameters and arithmetic", choices=DTYPES),
        Option("record", "after", "loss before or after the update", choices=RECORDS),
        Option("log_eps", 1e-7, "added to probabilities in the reported loss"),
    )

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        sizes = (784, *self.hidden, 10)
        loss = SoftmaxCrossEntropy(options["log_eps"])
        self.network = Network(dense_relu_layers(sizes, he), loss)

    def architecture(self) -> dict[str, Any]:
        """Return sizes, activation, initialisation and loss."""
        return {
            "layers": [784, *self.hidden, 10],
            "activation": "relu",
            "initialization": "he",
            "loss": {
                "name": "softmax cross-entropy",
                "reduction": "mean",
                "log_eps": self.network.loss.log_eps,
            },
        }
