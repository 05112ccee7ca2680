"""A module that is handed its parameters, buffers and masks, for one lane or for all of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from optbench import rng
from optbench.problems.models.torch.masks import Masks, give_masks

Tensors: TypeAlias = Mapping[str, Any]


def untrained(module: Any) -> dict[str, Any]:
    """Return the tensors of a module that are not trained by name: buffers, frozen parameters."""
    frozen = {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad
    }
    return {**frozen, **dict(module.named_buffers())}


def trained(module: Any) -> dict[str, Any]:
    """Return the parameters of a module that are trained by name."""
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


class Model:
    """A module as a function of its tensors.

    Parameters
    ----------
    module
        Its tensors that are not given in a call are taken as they are.
    """

    def __init__(self, module: Any) -> None:
        from torch import nn

        self.module = module
        self.masks: Masks = give_masks(module)
        self._outer = nn.Module()
        self._outer.model = module
        self._outer.forward = self._forward
        self._owners = {
            name: (module.get_submodule(path), attribute)
            for name in untrained(module)
            for path, _, attribute in [name.rpartition(".")]
        }

    def __call__(
        self,
        function: Callable[[Any, Any], Any],
        tensors: Tensors,
        batch: Any,
        masks: Tensors | None = None,
        *,
        train: bool,
        after: Sequence[str] = (),
    ) -> tuple[Any, dict[str, Any]]:
        """Return what a function of module and batch gives, and tensors as they are afterwards.

        Parameters
        ----------
        function
            The user's loss or metric.
        tensors
            Those that take the place of the module's own.
        masks
            Those of dropout; None while nobody knows which there are.
        train
            Whether the module is in training mode.
        after
            The names of the tensors to return.
        """
        from torch.func import functional_call

        if self.module.training is not train:
            self.module.train(train)
        self.masks.begin(masks)
        given = {f"model.{name}": tensor for name, tensor in tensors.items()}
        result: tuple[Any, dict[str, Any]] = functional_call(
            self._outer, given, (function, batch, after)
        )
        return result

    def _forward(
        self, function: Callable[[Any, Any], Any], batch: Any, after: Sequence[str]
    ) -> tuple[Any, dict[str, Any]]:
        value = function(self.module, batch)
        return value, {name: getattr(*self._owners[name]) for name in after}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What lanes are given in a pass: tensors (lanes, …), or (1, …) where lanes share them.

    Attributes
    ----------
    trained, carried
        Parameters, and what else lanes have of their own, by name.
    batch, masks
        Of the user's data by leaf, and of dropout by layer.
    noise
        What the shared generators are seeded with, (lanes,) or (1,); None where nothing is drawn.
    """

    trained: Tensors
    carried: Tensors
    batch: Tensors
    masks: Tensors
    noise: Any = None

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return len(next(iter(self.trained.values())))

    def of_lane(self, lane: int) -> "Inputs":
        """Return what one lane is given, without the axis of lanes."""
        batch, masks = (
            {name: tensor[lane if len(tensor) > 1 else 0] for name, tensor in tensors.items()}
            for tensors in (self.batch, self.masks)
        )
        trained, carried = (
            {name: tensor[lane] for name, tensor in tensors.items()}
            for tensors in (self.trained, self.carried)
        )
        noise = None if self.noise is None else self.noise[lane if len(self.noise) > 1 else 0]
        return Inputs(trained, carried, batch, masks, noise)


@dataclass(frozen=True, eq=False)
class Lanes:
    """Loss and gradient of lanes, by vmap or one after another.

    Attributes
    ----------
    model
        What is computed.
    loss
        The user's loss of the module and a batch.
    build
        Returns a batch in the user's structure from its tensors by leaf.
    moving
        The names of carried tensors that training changes.
    """

    model: Model
    loss: Callable[[Any, Any], Any]
    build: Callable[[Tensors], Any]
    moving: tuple[str, ...]

    def losses(self, inputs: Inputs, *, stacked: bool) -> Any:
        """Return the loss of each lane in training mode, (lanes,); nothing is changed."""

        def alone(trained: Tensors, carried: Tensors, batch: Tensors, masks: Tensors) -> Any:
            return self._loss(Inputs(trained, carried, batch, masks))[0]

        return self._forward(alone, inputs, stacked=stacked)

    def gradients(self, inputs: Inputs, grads: Tensors, moved: Tensors, *, stacked: bool) -> Any:
        """Return the loss of each lane, and write gradients and what training changes."""
        import torch
        from torch.func import grad_and_value

        if stacked:

            def alone(trained: Tensors, carried: Tensors, batch: Tensors, masks: Tensors) -> Any:
                return self._loss(Inputs(trained, carried, batch, masks))

            found, (losses, after) = self._stacked(grad_and_value(alone, has_aux=True), inputs)
            for name, grad in grads.items():
                grad.copy_(found[name])
            for name in self.moving:
                moved[name].copy_(after[name])
            return losses
        each = []
        for place, lane in enumerate(self._in_turn(inputs)):
            leaves = {
                name: tensor.detach().requires_grad_() for name, tensor in lane.trained.items()
            }
            loss, after = self._loss(Inputs(leaves, lane.carried, lane.batch, lane.masks))
            slopes = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
            for name, slope in zip(leaves, slopes, strict=True):
                own = grads[name][place]
                own.zero_() if slope is None else own.copy_(slope)
            for name in self.moving:
                moved[name][place].copy_(after[name].detach())
            each.append(loss.detach())
        return torch.stack(each)

    def scores(self, function: Callable[[Any, Any], Any], inputs: Inputs, *, stacked: bool) -> Any:
        """Return the mean of a loss or metric of each lane in evaluation mode, (lanes,)."""

        def alone(trained: Tensors, carried: Tensors, batch: Tensors, masks: Tensors) -> Any:
            tensors = {**trained, **carried}
            value, _ = self.model(function, tensors, self.build(batch), masks, train=False)
            return mean(value)

        return self._forward(alone, inputs, stacked=stacked)

    def _forward(self, alone: Callable[..., Any], inputs: Inputs, *, stacked: bool) -> Any:
        """Return what a function gives for each lane, without any gradient."""
        import torch
        from torch.func import vjp

        if stacked:
            # As if for a gradient: vmap alone has no rules for recurrent layers, which this takes
            # apart into operations that it has rules for.
            return self._stacked(
                lambda first, *others: vjp(lambda trained: alone(trained, *others), first)[0],
                inputs,
            )
        each = []
        with torch.no_grad():
            for lane in self._in_turn(inputs):
                each.append(alone(lane.trained, lane.carried, lane.batch, lane.masks))
        return torch.stack(each)

    def _loss(self, lane: Inputs) -> tuple[Any, dict[str, Any]]:
        carried = dict(lane.carried)
        carried |= {name: carried[name].clone() for name in self.moving}
        value, after = self.model(
            self.loss,
            {**lane.trained, **carried},
            self.build(lane.batch),
            lane.masks,
            train=True,
            after=self.moving,
        )
        return mean(value), after

    def _stacked(self, function: Callable[..., Any], inputs: Inputs) -> Any:
        from torch.func import vmap

        given, axes = [], []
        for tensors in (inputs.batch, inputs.masks):
            shared = inputs.lanes > 1 and any(len(tensor) == 1 for tensor in tensors.values())
            given.append({name: each[0] for name, each in tensors.items()} if shared else tensors)
            axes.append(None if shared else 0)
        over = vmap(function, in_dims=(0, 0, *axes), randomness="error")
        return over(inputs.trained, inputs.carried, *given)

    def _in_turn(self, inputs: Inputs) -> Iterator[Inputs]:
        """Yield each lane, with the shared generators seeded for it if it draws from them."""
        for place in range(inputs.lanes):
            lane = inputs.of_lane(place)
            drawing = lane.noise is not None
            with rng.seeded_generators(int(lane.noise)) if drawing else nullcontext():
                yield lane


def mean(value: Any) -> Any:
    """Return a loss or metric of a batch from what the user's function returned of it.

    Raises
    ------
    TypeError
        If it is no tensor, or neither one number nor one for each example.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"it gives {type(value).__name__}; return a tensor")
    if value.ndim > 1:
        shape = tuple(value.shape)
        raise TypeError(f"it gives a tensor of the shape {shape}; return () or (batch,)")
    if not value.dtype.is_floating_point:
        value = value.double()
    return value.mean() if value.ndim else value
