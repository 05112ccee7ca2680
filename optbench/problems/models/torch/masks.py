"""Dropout whose masks are given, so that a lane's are the same whatever its company."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optbench.errors import SuiteError

ALPHA_PRIME = -1.7580993408473766
"""−λα of SELU: G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017."""


@dataclass(frozen=True)
class Asked:
    """A mask that a model takes for every batch: its shape, and how likely a value is dropped."""

    shape: tuple[int, ...]
    p: float


class Masks:
    """The masks of one pass, in the order in which the model's dropout layers ask for them.

    Attributes
    ----------
    asked
        What was asked for while no masks were given, by layer; a layer that is called again asks
        for ``name/2`` and so on.
    """

    def __init__(self) -> None:
        self.asked: dict[str, Asked] = {}
        self._given: Mapping[str, Any] | None = None
        self._calls: dict[str, int] = {}

    def begin(self, given: Mapping[str, Any] | None) -> None:
        """Begin a pass with masks by name; without them, note what is asked for."""
        self._given, self._calls = given, {}

    def take(self, name: str, shape: tuple[int, ...], p: float, like: Any) -> tuple[Any, float]:
        """Return the mask, as numbers of the type of a tensor, and the probability of a zero."""
        calls = self._calls[name] = self._calls.get(name, 0) + 1
        key = name if calls == 1 else f"{name}/{calls}"
        if self._given is None:
            self.asked[key] = Asked(shape, p)
            return like.new_ones(shape), p
        asked = self.asked.get(key)
        if asked is None or asked.shape != shape:
            was = "was not called" if asked is None else f"had the shape {asked.shape}"
            raise SuiteError(
                f"dropout '{name}' is given the shape {shape}, but {was} on the first batch; "
                "let every batch go the same way, or call torch.nn.functional.dropout"
            )
        return self._given[key].to(like.dtype), asked.p


def give_masks(module: Any) -> Masks:
    """Let all dropout modules of a module take their masks from what is returned."""
    from torch import nn

    spatial = {nn.Dropout: None, nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3}
    alpha = (nn.AlphaDropout, nn.FeatureAlphaDropout)
    masks = Masks()
    for name, part in module.named_modules():
        if type(part) in spatial:
            part.forward = _Dropout(part, name, masks, spatial[type(part)])
        elif type(part) in alpha:
            part.forward = _Alpha(part, name, masks, type(part) is nn.FeatureAlphaDropout)
    return masks


@dataclass(frozen=True)
class _Dropout:
    """In training y = x·m/(1 − p), with a mask m of zeros and ones.

    ``axes`` counts the last axes that a mask's value covers; None where each value has its own.
    """

    module: Any
    name: str
    masks: Masks
    axes: int | None

    def __call__(self, input: Any) -> Any:
        if not self.module.training or self.module.p == 0.0:
            return input
        shape = tuple(input.shape)
        if self.axes is not None:
            shape = shape[: -self.axes] + (1,) * self.axes
        mask, p = self.masks.take(self.name, shape, self.module.p, input)
        return input * (mask * (1.0 / (1.0 - p) if p < 1.0 else 0.0))


@dataclass(frozen=True)
class _Alpha:
    """Alpha dropout: y = a·(x·m + α′·(1 − m)) + b, which keeps mean 0 and variance 1.

    ``features`` says whether a value of the mask covers all axes after the second.
    """

    module: Any
    name: str
    masks: Masks
    features: bool

    def __call__(self, input: Any) -> Any:
        if not self.module.training or self.module.p == 0.0:
            return input
        shape = tuple(input.shape)
        if self.features:
            shape = shape[:2] + (1,) * (len(shape) - 2)
        mask, p = self.masks.take(self.name, shape, self.module.p, input)
        if p == 1.0:
            return input * 0.0
        a = 1.0 / math.sqrt((ALPHA_PRIME**2 * p + 1.0) * (1.0 - p))
        b = -a * ALPHA_PRIME * p
        return a * (input * mask + ALPHA_PRIME * (1.0 - mask)) + b
