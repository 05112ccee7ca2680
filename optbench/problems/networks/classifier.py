"""Networks on data that classify, or regress: their data, start, batches and loss."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import datasets, rng
from optbench.arrays import Array, Buffer, Stacked, Tensor, Workspace
from optbench.datasets.base import FILE, OWN, Dataset
from optbench.problems.base import Arrays, Losses
from optbench.problems.minibatches import MinibatchProblem
from optbench.problems.networks.nn.base import Mode, Pass
from optbench.problems.networks.nn.losses import zero_one_errors
from optbench.problems.networks.nn.network import Network

EVALUATION_EXAMPLES = 1_000
"""Examples that a forward pass takes at a time, at most, when a whole split is evaluated."""

EVALUATION_VALUES = 10**7
"""Numbers that a lane's work arrays hold in such a pass; larger layers take fewer examples."""


class Classifier(MinibatchProblem):
    """A network that classifies the examples of a data set, or regresses on them, on minibatches.

    Pixels are brought to [0, 1] as a batch is gathered; other features stay as they are. Dropout's
    masks are hashed from keys of the seed, so that all lanes of a seed have the same.
    """

    network: Network

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self._split: str = options.get("split", OWN)

    def prepare(self) -> tuple[str, ...]:
        """Load the data set, replace ``data = "auto"`` by its name, and check the batch size."""
        notices: tuple[str, ...] = ()
        if self.settings["data"] == "auto":
            best, notice = datasets.load_best(self.data_dir, self._split)
            self.settings["data"] = best.name
            notices = (notice,) if notice else ()
        notices += self.dataset.notices
        self.batches.check(self.dataset.name, "training examples")
        return notices

    @cached_property
    def dataset(self) -> Dataset:
        """The data set; loaded and verified once a process."""
        name = self.settings["data"]
        if datasets.is_file_name(name):
            return datasets.load_file(name, self.asked, self._split)
        return datasets.load(name, self.data_dir, self._split)

    @property
    def asked(self) -> datasets.Asked:
        """What is asked of a user's own file."""
        return datasets.Asked()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the data out of pickles: whoever takes one loads them again."""
        return {key: value for key, value in self.__dict__.items() if key != "dataset"}

    @property
    @override
    def examples(self) -> int:
        return len(self.dataset.splits["train"].labels)

    @property
    def work_values(self) -> int:
        """Outputs of all layers, and their gradients, for a minibatch."""
        return self.network.work_values * self.batch_size

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        return self.network.tensors

    @property
    @override
    def buffers(self) -> tuple[Buffer, ...]:
        return self.network.buffers

    @property
    @override
    def penalized(self) -> bool:
        return self.network.regularization.active

    @override
    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "parameters": self.parameters,
            "data": self.dataset.name,
            "batch_size": self.batch_size,
        }

    @override
    def definition(self) -> dict[str, Any]:
        data = self.dataset
        masks = (f"dropout/{layer.name}" for layer in self.network.dropouts)
        starts = (f"start/{tensor.name}" for tensor in self.tensors)
        return {
            "kind": self.kind,
            "network": self.architecture(),
            "data": {
                "checksums": dict(data.checksums),
                "splits": self.split_sizes(),
                "pixel_scale": data.scale,
                **({"asked": vars(self.asked)} if data.source == FILE else {}),
            },
            "batch": {"rule": self.batches.rule, "size": self.batch_size},
            "regularization": vars(self.network.regularization),
            "record": self.record,
            "dtype": self.dtype,
            "streams": [*starts, *self.batches.streams, *masks],
        }

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Return layers, initialisation and loss as plain data."""

    @override
    def start(self, seed: int) -> np.ndarray:
        return self.network.start(seed)

    @override
    def data(self) -> dict[str, np.ndarray]:
        arrays = {}
        for name, split in self.dataset.splits.items():
            arrays[f"{name}.images"] = split.images
            arrays[f"{name}.labels"] = split.labels
        return arrays

    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return indices of the batches, int64 (iterations, batch), and the keys of masks."""
        keys = {
            layer.name: rng.stream(seed, f"dropout/{layer.name}", block).integers(
                2**32, size=(rng.ITERATIONS_PER_BLOCK, 2), dtype=np.uint32
            )
            for layer in self.network.dropouts
        }
        return {**super().draws(seed, block), **keys}

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Gather images (seeds, batch, *shape), labels (seeds, batch) and masks by layer."""
        xp = work.xp
        work.begin("batch")
        images, labels = data["train.images"], data["train.labels"]
        shape: tuple[int, ...] = (1, self.batch_size)
        if "indices" in draws:
            indices = draws["indices"]
            flat, shape = xp.reshape(indices, (-1,)), indices.shape
            labels = work.gather(labels, flat)
            dtype = getattr(xp, self.dtype)
            pixels = work.gather_ratio(images, flat, self.dataset.scale, dtype)
        else:
            pixels = self._pixels(images, work)
        return {
            "images": xp.reshape(pixels, (*shape, *self.network.layers[0].in_shape)),
            "labels": xp.reshape(labels, (*shape, *labels.shape[1:])),
            **self._masks(draws, work),
        }

    def _masks(self, draws: Arrays, work: Workspace) -> dict[str, Array]:
        """Return for each layer of dropout what it keeps: bool, (seeds, batch, *shape)."""
        xp, masks = work.xp, {}
        for layer in self.network.dropouts:
            keys, units = draws[layer.name], (self.batch_size, *layer.out_shape)
            words = rng.hash_bits(keys, int(np.prod(units)), xp)
            keeps = words >= xp.asarray(
                int(layer.ratio * 2**32), dtype=xp.uint32, device=keys.device
            )
            masks[layer.name] = xp.reshape(keeps, (keys.shape[0], *units))
        return masks

    def _pixels(self, raw: Array, work: Workspace) -> Array:
        """Return bytes as numbers in [0, 1]; a work array."""
        pixels = work.take(raw.shape, getattr(work.xp, self.dtype))
        return work.ratio(pixels, raw, self.dataset.scale)

    def _pass(
        self, mode: Mode, params: Stacked, batch: Arrays, buffers: Arrays, work: Workspace
    ) -> Pass:
        masks = {layer.name: batch[layer.name] for layer in self.network.dropouts if batch}
        return Pass(work, mode, params.views, buffers, masks)

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        pass_ = self._pass(Mode.TRAIN, params, batch, buffers, work)
        images, labels = batch["images"], batch["labels"]
        return Losses(*self.network.loss_and_grad(images, labels, pass_, grads.views))

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        pass_ = self._pass(Mode.SCORE, params, batch, buffers, work)
        return Losses(*self.network.loss_of(batch["images"], batch["labels"], pass_))

    @override
    def split_sizes(self) -> dict[str, int]:
        return {name: len(split.labels) for name, split in self.dataset.splits.items()}

    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the mean loss of an example and the zero-one error, summed in float64.

        The error of a regression is NaN.
        """
        xp = work.xp
        images, labels = data[f"{split}.images"], data[f"{split}.labels"]
        count = labels.shape[0]
        pass_ = self._pass(Mode.EVALUATE, params, {}, buffers, work)
        step = EVALUATION_VALUES // self.network.work_values
        step = max(1, min(step, EVALUATION_EXAMPLES))
        loss = error = xp.zeros(params.rows.shape[0], dtype=xp.float64)
        for first in range(0, count, step):
            some = slice(first, min(first + step, count))
            work.begin("evaluation")
            pixels = self._pixels(images[some, :], work)
            x = xp.reshape(pixels, (1, some.stop - first, *self.network.layers[0].in_shape))
            scores = self.network.scores(x, pass_)
            losses = self.network.loss.per_example(scores, labels[None, some], work=work)
            loss = loss + xp.sum(losses, axis=-1, dtype=xp.float64)
            if self.dataset.classes is None:
                error = error + xp.nan
            else:
                wrong = zero_one_errors(scores, labels[None, some], xp=xp)
                error = error + xp.sum(xp.astype(wrong, xp.float64), axis=-1)
        return loss / count, error / count
