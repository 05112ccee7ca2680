"""What problems made of models have in common, whichever library they are written with."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Array, Stacked, Workspace
from optbench.errors import SuiteError
from optbench.plugins import Plugin, complaint
from optbench.problems.base import Arrays
from optbench.problems.minibatches import FULL, MinibatchProblem
from optbench.problems.models.arguments import AUTO, LOOP, VMAP
from optbench.problems.models.data import Split, read_splits

ERROR = "error"
"""The metric that evaluations record."""

EVALUATION_EXAMPLES = 1_000
"""Examples that a forward pass takes at a time, at most, when a whole split is evaluated."""

EVALUATION_VALUES = 10**7
"""Numbers that a lane saves in such a pass; larger models take fewer examples."""

DATA = "data."
"""What the names of a batch's arrays begin with that are the user's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What the task of either library has.

    Attributes
    ----------
    data
        The training data, or a mapping of ``train`` and perhaps ``validation`` and ``test``. Each
        is a structure of arrays that have examples first, such as ``(x, y)`` or ``{"x": x}``; a
        data set with items; or anything that gives batches.
    metrics
        ``{"error": …}``: the part of a batch that is wrong, which evaluations record beside the
        loss; a number, or one for each example.
    """

    data: Any
    metrics: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


class ModelProblem(MinibatchProblem):
    """A model, its loss and its data, as a function of the user's returns them."""

    default_iterations = 1000
    least_block_bytes = 32 * 2**20
    library: ClassVar[str]
    """The package that it is written with."""
    task_type: ClassVar[type[Task]]
    function: ClassVar[Callable[..., Any]]
    """Returns the task."""
    arguments: ClassVar[tuple[str, ...]]
    """The names of the function's arguments, all of them options."""
    plugin: Plugin

    def __getstate__(self) -> dict[str, Any]:
        """Leave model and data out of pickles: whoever takes one makes them again."""
        kept = ("settings", "data_dir", "dtype", "rule")
        return {key: value for key, value in self.__dict__.items() if key in kept}

    @override
    def prepare(self) -> tuple[str, ...]:
        """Make the task, read its data, try the model once, and say how lanes are computed."""
        _, notices = self._read
        self.batches.check(self.name, "training examples")
        return tuple(f"{self.name}: {said}" for said in (*notices, *self._settle()))

    @cached_property
    def task(self) -> Any:
        """What the function returns, made once with generators that are seeded alike."""
        with self._active(), rng.seeded_generators(0):
            made = self.function(**{name: self.settings[name] for name in self.arguments})
        if isinstance(made, Task) and not isinstance(made, self.task_type):
            raise SuiteError(f"{self.name} returns a task of another library than {self.library}")
        if not isinstance(made, self.task_type):
            kind = type(made).__name__
            raise SuiteError(f"{self.name} returns {kind}; return optbench.{self.library}.Task(…)")
        for name in made.metrics:
            if name != ERROR:
                raise SuiteError(
                    f"{self.name}: evaluations cannot record the metric {name!r}; the only one is "
                    f"{ERROR!r}, the part of examples that is wrong"
                )
        return made

    def _active(self) -> AbstractContextManager[Any]:
        """Return a context in which the library computes as the problem asks for."""
        return nullcontext()

    @cached_property
    def _read(self) -> tuple[dict[str, Split], list[str]]:
        try:
            return read_splits(self.task.data)
        except SuiteError as error:
            raise error.within(self.name) from None

    @property
    def splits(self) -> dict[str, Split]:
        """The data by split, as they were given."""
        return self._read[0]

    # How lanes are computed.

    @abstractmethod
    def _trial(self) -> tuple[str, str]:
        """Try vmap on the first batch.

        Returns
        -------
        str, str
            Why it cannot take the model's code, and why it takes longer than a loop on a CPU;
            nothing where it can, and does not.
        """

    @cached_property
    def _tried(self) -> tuple[str, str]:
        """What the trial found; it is made once."""
        return ("", "") if self.settings["stack"] == LOOP else self._trial()

    @abstractmethod
    def _how_stacked(self, slow: str) -> str:
        """Say how lanes are computed where vmap can take them and nothing is asked for."""

    def _settle(self) -> list[str]:
        """See whether lanes can be stacked as asked for, and say what is taken where it is open."""
        asked, (impossible, slow) = self.settings["stack"], self._tried
        if asked == AUTO and impossible:
            return [f"its lanes are computed one after another, not by vmap: {impossible}"]
        if asked == AUTO:
            return [self._how_stacked(slow)]
        if impossible:
            raise SuiteError(
                f"{self.name}: stack = {VMAP!r} is not possible: {impossible}; "
                f"give stack = {LOOP!r}, or {AUTO!r}"
            )
        return []

    def complaint(self, error: BaseException) -> str:
        """Say in one line what the user's code raised, and where."""
        return complaint(error, self.plugin.source.root)

    # The contract.

    @property
    @override
    def examples(self) -> int:
        return len(self.splits["train"])

    @override
    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "parameters": self.parameters,
            "batch_size": self.batch_size,
            "library": {self.library: version(self.library)},
        }

    @override
    def definition(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "library": {self.library: version(self.library)},
            "arguments": {name: _plain(self.settings[name]) for name in self.arguments},
            "tensors": {tensor.name: list(tensor.shape) for tensor in self.tensors},
            "data": self._checksums,
            "batch": {"rule": self.batches.rule, "size": self.batch_size},
            "record": self.record,
            "dtype": self.dtype,
            "streams": ["start", *self.batches.streams, *self._streams],
        }

    @cached_property
    def _checksums(self) -> dict[str, Any]:
        return {
            name: {"examples": len(split), "checksums": split.checksums()}
            for name, split in self.splits.items()
        }

    @property
    def _streams(self) -> tuple[str, ...]:
        """The names of the streams beside those of starts and batches."""
        return ()

    @override
    def data(self) -> dict[str, np.ndarray]:
        return self._typed

    @cached_property
    def _typed(self) -> dict[str, np.ndarray]:
        """The data in the types that are computed with: reals in the problem's."""
        return {
            f"{name}.{leaf}": self._in_type(array)
            for name, split in self.splits.items()
            for leaf, array in split.arrays.items()
        }

    def _in_type(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind == "f":
            return np.asarray(array, dtype=self.dtype)
        if array.dtype.kind == "u" and array.itemsize > 1:  # PyTorch can do little with them
            return array.astype(np.int64)
        return array

    @override
    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Gather the arrays of a batch: (seeds, batch, …), or (1, examples, …) of all."""
        xp = work.xp
        work.begin("batch")
        arrays = {}
        for leaf in self.splits["train"].arrays:
            rows = data[f"train.{leaf}"]
            if self.settings["batch_size"] == FULL:
                arrays[DATA + leaf] = rows[None, ...]
                continue
            indices = draws["indices"]
            taken = work.gather(rows, xp.reshape(indices, (-1,)))
            arrays[DATA + leaf] = xp.reshape(taken, (*indices.shape, *rows.shape[1:]))
        return arrays

    def _built(self, split: str, batch: Mapping[str, Any]) -> Any:
        """Return a batch in the user's structure from its arrays by leaf."""
        return self.splits[split].build(batch)

    @override
    def split_sizes(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}

    @override
    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return mean loss and error over a split: means of parts, weighted by their examples."""
        xp, count = work.xp, len(self.splits[split])
        of_example = max(1, self.work_values // self.batch_size)
        step = max(1, min(EVALUATION_EXAMPLES, EVALUATION_VALUES // of_example))
        loss = error = xp.zeros(params.rows.shape[0], dtype=xp.float64)
        for first in range(0, count, step):
            end = min(first + step, count)
            some = {leaf: data[f"{split}.{leaf}"][first:end] for leaf in self.splits[split].arrays}
            of_loss, of_error = self._scores(params, some, buffers, work)
            loss = loss + xp.astype(of_loss, xp.float64) * (end - first)
            error = error + xp.astype(of_error, xp.float64) * (end - first)
        return loss / count, error / count

    @abstractmethod
    def _scores(
        self, params: Stacked, examples: Arrays, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return mean loss and error of each lane on examples, as the model is evaluated."""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
