"""A PyTorch module as a problem: lanes of it stacked by vmap, or computed in a loop."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from optbench import rng
from optbench.arrays import Array, Buffer, Namespace, Stacked, Tensor, Workspace, stack
from optbench.errors import SuiteError, UsageError
from optbench.plugins.foreign import one_thread
from optbench.problems.base import Arrays, Losses
from optbench.problems.models.arguments import AUTO, VMAP
from optbench.problems.models.data import flattened
from optbench.problems.models.problem import DATA, ERROR, ModelProblem
from optbench.problems.models.torch.masks import Asked
from optbench.problems.models.torch.model import Inputs, Lanes, Model, mean, trained, untrained
from optbench.problems.models.torch.task import Task

FEW_LANES = 4
"""Lanes of a block that a loop computes sooner than vmap on a CPU: stacking has costs of its own,
which are those of many small operations."""

MASK, NOISE = "mask.", "noise"
"""What a batch's arrays are called beside the data: those of dropout by layer, and seeds."""

TRIED_SEEDS = (0, 1)
"""Seeds whose starts tell what seeds decide."""

TRIED_TOLERANCE = 1e-3
"""How far the losses of vmap and of a loop may lie apart, relative, so that they are the same."""


@dataclass(frozen=True)
class Learned:
    """What a trial on the first batch tells of a module.

    Attributes
    ----------
    masks
        What dropout asks for in every batch, by layer.
    carried
        The tensors that are not trained and that lanes have of their own: those that training
        changes or that seeds begin differently. The others belong to all lanes.
    moving
        Those of them that training changes.
    draws
        Whether it draws from generators that all code shares.
    saved
        Numbers that the forward pass keeps for the gradient.
    """

    masks: Mapping[str, Asked]
    carried: tuple[str, ...]
    moving: tuple[str, ...]
    draws: bool
    saved: int


class TorchProblem(ModelProblem):
    """A PyTorch module, trained on batches.

    Lanes share one module, which is handed the tensors of each: views of the rows, nothing copied.
    """

    library = "torch"
    task_type = Task

    # The module.

    def _made(self, seed: int) -> Any:
        """Return a new module with the start of a seed.

        Raises
        ------
        SuiteError
            If it is no module that lanes can be stacked of.
        """
        import torch
        from torch.nn.parameter import is_lazy

        with rng.seeded_generators(int(rng.stream(seed, "start").integers(2**63))):
            module = self.task.model()
        if not isinstance(module, torch.nn.Module):
            raise SuiteError(
                f"{self.name}: model returns {type(module).__name__}; return a torch.nn.Module"
            )
        tensors = [*module.named_parameters(), *module.named_buffers()]
        if lazy := [name for name, tensor in tensors if is_lazy(tensor)]:
            raise SuiteError(
                f"{self.name}: the shape of {lazy[0]} is not known before the first batch; give "
                "layers their sizes, as Linear(64, 10) for LazyLinear(10)"
            )
        if odd := [name for name, tensor in tensors if tensor.is_complex() or tensor.is_meta]:
            raise SuiteError(f"{self.name}: {odd[0]} is complex or on 'meta'; use real numbers")
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise SuiteError(f"{self.name}: its model has no parameters to train; add a layer")
        return module.cpu()

    @cached_property
    def _begun(self) -> dict[int, tuple[np.ndarray, dict[str, np.ndarray]]]:
        """The latest seed's start, and that of what is not trained."""
        return {}

    def _beginning(self, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if seed not in self._begun:
            module = self._made(seed)
            rows = [tensor.double().numpy().ravel() for tensor in trained(module).values()]
            held = {name: np.array(tensor.numpy()) for name, tensor in untrained(module).items()}
            self._begun.clear()
            self._begun[seed] = np.concatenate(rows), held
        return self._begun[seed]

    @override
    def start(self, seed: int) -> np.ndarray:
        return self._beginning(seed)[0].copy()

    @override
    def start_buffers(self, seed: int) -> dict[str, np.ndarray]:
        held = self._beginning(seed)[1]
        return {name: held[name].astype(self.dtype) for name in self._learned.carried}

    @cached_property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        module = self._made(0)
        return tuple(Tensor(name, tuple(each.shape)) for name, each in trained(module).items())

    @cached_property
    @override
    def buffers(self) -> tuple[Buffer, ...]:
        held = self._beginning(0)[1]
        return tuple(Buffer(name, held[name].shape) for name in self._learned.carried)

    @property
    @override
    def work_values(self) -> int:
        return 2 * self._learned.saved

    @cached_property
    def _models(self) -> dict[Any, Model]:
        """The model on each device that it has been computed on."""
        return {}

    def _model(self, device: Any) -> Model:
        import torch

        if device not in self._models:
            module = self._made(0).to(device=device, dtype=getattr(torch, self.dtype))
            self._models[device] = Model(module)
        return self._models[device]

    # What the trial tells.

    @cached_property
    def _learned(self) -> Learned:
        import torch

        one_thread()
        model = self._model(torch.device("cpu"))
        held, train = untrained(model.module), self.splits["train"]
        batch = train.build({name: each[0] for name, each in self._first_batch().items()})
        given = {name: tensor.clone() for name, tensor in held.items()}
        leaves = {name: each.requires_grad_() for name, each in trained(model.module).items()}
        saved: dict[int, int] = {}

        def count(tensor: Any) -> Any:
            saved[tensor.data_ptr()] = tensor.numel()
            return tensor

        with rng.seeded_generators(0):
            before = rng.process_generators()
            with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
                value, after = model(
                    self.task.loss, {**leaves, **given}, batch, train=True, after=[*held]
                )
            draws = rng.process_generators() != before
        loss = self._checked(value)
        torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
        self._try_evaluation(model, batch)
        moving = [
            name
            for name, tensor in given.items()
            if after[name] is not tensor or not torch.equal(tensor, held[name])
        ]
        one, other = (self._beginning(seed)[1] for seed in TRIED_SEEDS)
        carried = [name for name in given if name in moving or not _same(one[name], other[name])]
        self._check_exact(one, carried)
        for each in (*leaves.values(), *(part for _, part in flattened(batch))):
            saved.pop(each.data_ptr(), None)  # counted elsewhere, and shared
        return Learned(
            dict(model.masks.asked), tuple(carried), tuple(moving), draws, sum(saved.values())
        )

    def _try_evaluation(self, model: Model, batch: Any) -> None:
        """Evaluate loss and metrics once; what the user's code raises is passed on."""
        import torch

        with torch.no_grad(), rng.seeded_generators(0):
            for what, function in {"loss": self.task.loss, **self.task.metrics}.items():
                self._mean(what, model(function, {}, batch, train=False)[0])

    def _mean(self, what: str, value: Any) -> Any:
        try:
            return mean(value)
        except TypeError as error:
            raise SuiteError(f"{self.name}: as {what} {error}") from None

    def _first_batch(self) -> dict[str, Any]:
        """Return the first batch of seed 0 as tensors (1, batch, …)."""
        import torch

        drawn = super().draws(0, 0)
        rows = {name: each[:1] for name, each in drawn.items()}
        arrays = super().batch(self.data(), rows, work=Workspace(np))
        return {name.removeprefix(DATA): torch.from_dlpack(array) for name, array in arrays.items()}

    def _checked(self, value: Any) -> Any:
        """Return the mean of what the loss gave; refuse what has no gradient."""
        loss = self._mean("loss", value)
        if value.ndim and len(value) != self.batch_size:
            raise SuiteError(
                f"{self.name}: its loss has {len(value)} values for {self.batch_size} examples; "
                "return their mean, or one for each"
            )
        if not loss.requires_grad:
            raise SuiteError(
                f"{self.name}: its loss does not depend on the parameters, or is detached; compute "
                "it from what the model returns"
            )
        return loss

    def _check_exact(self, held: Mapping[str, np.ndarray], carried: list[str]) -> None:
        """Refuse whole numbers that lanes would carry and the problem's type does not have."""
        for name in carried:
            whole = held[name].dtype.kind in "iu"
            if whole and not np.array_equal(held[name].astype(self.dtype), held[name]):
                raise SuiteError(
                    f"{self.name}: the whole numbers of {name} are too large for {self.dtype}; "
                    "make it a plain attribute, or use dtype = 'float64'"
                )

    @override
    def _trial(self) -> tuple[str, str]:
        import torch

        if self._learned.draws:
            return (
                "its code draws random numbers itself, which under vmap would depend on the other "
                "lanes; those of torch.nn.Dropout do not"
            ), ""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                apart = self._two_ways()
            except UsageError:
                raise
            except Exception as error:  # a user's code may raise anything
                return self.complaint(error), ""
        if not apart <= TRIED_TOLERANCE:
            return f"there its loss differs from that of a loop by {apart:.0e}", ""
        missing = [str(each.message).partition("batching rule for ")[2] for each in said]
        if rules := [text.partition(". ")[0] for text in missing if text]:
            return "", f"vmap has no rule for {rules[0]}"
        model = self._model(torch.device("cpu"))
        if any(isinstance(part, torch.nn.modules.conv._ConvNd) for part in model.module.modules()):
            return "", "convolutions of several lanes take longer together"
        return "", ""

    def _two_ways(self) -> float:
        """Return how far the losses of two lanes lie apart, relative, by vmap and in a loop."""
        starts = [self.start(seed) for seed in TRIED_SEEDS]
        rows = np.stack(starts).astype(self.dtype)
        held = [self.start_buffers(seed) for seed in TRIED_SEEDS]
        work = Workspace(np)
        drawn = {name: each[:1] for name, each in self.draws(0, 0).items()}
        batch = self.batch(self.data(), drawn, work=work)
        losses = []
        for stacked in (True, False):
            params, grads = (stack(each, self.tensors, np) for each in (rows, np.empty_like(rows)))
            buffers = {name: np.stack([each[name] for each in held]) for name in held[0]}
            lanes, inputs = self._lanes(params, batch, buffers)
            found = self._gradients(lanes, inputs, grads, buffers, stacked=stacked)
            losses.append(found.double().numpy())
            lanes.losses(inputs, stacked=stacked)
            for function in (self.task.loss, *self.task.metrics.values()):
                lanes.scores(function, inputs, stacked=stacked)
        scale = np.maximum(np.abs(losses[1]), np.finfo(self.dtype).tiny)
        apart = np.abs(losses[0] - losses[1]) / scale
        same = (losses[0] == losses[1]) | np.isnan(losses[0]) & np.isnan(losses[1])
        return float(np.where(same, 0.0, apart).max())

    @override
    def _how_stacked(self, slow: str) -> str:
        if slow:
            return f"on a CPU its lanes are computed one after another, not by vmap: {slow}"
        return (
            f"its lanes are stacked by vmap; up to {FEW_LANES} in a block on a CPU are computed "
            "one after another, which takes less time"
        )

    # The contract.

    @property
    @override
    def _streams(self) -> tuple[str, ...]:
        masks = (f"dropout/{name}" for name in self._learned.masks)
        return (*masks, *([NOISE] if self._learned.draws else ()))

    @override
    def definition(self) -> dict[str, Any]:
        masks = {name: asked.p for name, asked in self._learned.masks.items()}
        return {**super().definition(), "buffers": [*self._learned.carried], "dropout": masks}

    @override
    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return indices of the batches, the keys of masks, and seeds of what else is drawn."""
        count, drawn = rng.ITERATIONS_PER_BLOCK, super().draws(seed, block)
        for name in self._learned.masks:
            stream = rng.stream(seed, f"dropout/{name}", block)
            drawn[MASK + name] = stream.integers(2**32, size=(count, 2), dtype=np.uint32)
        if self._learned.draws:
            drawn[NOISE] = rng.stream(seed, NOISE, block).integers(2**63, size=count)
        return drawn

    @override
    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Gather the arrays of a batch, and make masks (seeds, …) from their keys."""
        xp, arrays = work.xp, super().batch(data, draws, work=work)
        for name, asked in self._learned.masks.items():
            keys = draws[MASK + name]
            words = rng.hash_bits(keys, int(np.prod(asked.shape)), xp)
            dropped = xp.asarray(
                min(int(asked.p * 2**32), 2**32 - 1), dtype=xp.uint32, device=keys.device
            )
            arrays[MASK + name] = xp.reshape(words >= dropped, (keys.shape[0], *asked.shape))
        if self._learned.draws:
            arrays[NOISE] = draws[NOISE]
        return arrays

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        lanes, inputs = self._lanes(params, batch, buffers)
        with self._by_rule(inputs) as stacked:
            losses = self._gradients(lanes, inputs, grads, buffers, stacked=stacked)
        return Losses(_array(losses, work.xp))

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        lanes, inputs = self._lanes(params, batch, buffers)
        with self._by_rule(inputs) as stacked:
            losses = lanes.losses(inputs, stacked=stacked)
        return Losses(_array(losses.to(_kind(self.dtype)), work.xp))

    @override
    def _scores(
        self, params: Stacked, examples: Arrays, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        shared = {DATA + name: array[None, ...] for name, array in examples.items()}
        lanes, inputs = self._lanes(params, shared, buffers)
        with self._by_rule(inputs) as stacked:
            loss = lanes.scores(self.task.loss, inputs, stacked=stacked)
            error = loss * float("nan")
            if ERROR in self.task.metrics:
                error = lanes.scores(self.task.metrics[ERROR], inputs, stacked=stacked)
        return _array(loss.double(), work.xp), _array(error.double(), work.xp)

    def _gradients(
        self, lanes: Lanes, inputs: Inputs, grads: Stacked, buffers: Arrays, *, stacked: bool
    ) -> Any:
        """Return the losses (lanes,), and write gradients and buffers."""
        import torch

        slopes = {name: torch.from_dlpack(view) for name, view in grads.views.items()}
        moved = {name: torch.from_dlpack(buffers[name]) for name in self._learned.moving}
        return lanes.gradients(inputs, slopes, moved, stacked=stacked).to(_kind(self.dtype))

    def _lanes(self, params: Stacked, batch: Arrays, buffers: Arrays) -> tuple[Lanes, Inputs]:
        """Return what computes lanes, and what they are given: the engine's arrays as tensors."""
        import torch

        one_thread()
        learned = self._learned
        own = {name: torch.from_dlpack(view) for name, view in params.views.items()}
        model = self._model(next(iter(own.values())).device)
        kinds = {name: tensor.dtype for name, tensor in untrained(model.module).items()}
        carried = {
            name: torch.from_dlpack(buffers[name]).to(kinds[name]) for name in learned.carried
        }
        data, masks = (
            {
                name.removeprefix(key): torch.from_dlpack(array)
                for name, array in batch.items()
                if name.startswith(key)
            }
            for key in (DATA, MASK)
        )
        noise = batch.get(NOISE, np.zeros(1, np.int64)) if learned.draws else None
        lanes = Lanes(model, self.task.loss, self.splits["train"].build, learned.moving)
        return lanes, Inputs(own, carried, data, masks, noise)

    @contextmanager
    def _by_rule(self, inputs: Inputs) -> Iterator[bool]:
        """Yield whether lanes of a block are stacked.

        Of operations that vmap has no rule for the trial has told; PyTorch's warnings are dropped.
        """
        asked, (impossible, slow) = self.settings["stack"], self._tried
        on_cpu = next(iter(inputs.trained.values())).device.type == "cpu"
        sooner_in_turn = on_cpu and (bool(slow) or inputs.lanes <= FEW_LANES)
        stacked = not impossible and not sooner_in_turn if asked == AUTO else asked == VMAP
        if not (stacked and slow):
            yield stacked
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield stacked


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _kind(dtype: str) -> Any:
    import torch

    return getattr(torch, dtype)


def _array(tensor: Any, xp: Namespace) -> Array:
    """Return a tensor as an array of the block's namespace, in the same memory."""
    return tensor.numpy() if xp is np else xp.from_dlpack(tensor.contiguous())
