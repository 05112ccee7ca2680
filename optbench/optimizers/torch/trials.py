"""What PyTorch optimizers do with lanes, found out by trial on gradients drawn once and for all.

Lanes share an optimizer only if each then takes the same path as alone, and a lane is one flat
tensor only if its path is the same as with a tensor for each of the problem's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optbench.arrays import Tensor
from optbench.optimizers.torch.lanes import Arguments, Layout, Make, TorchLanes
from optbench.optimizers.torch.noise import GENERATORS, Noise
from optbench.optimizers.torch.state import alike, decode, encode, equal, leaves

STEPS = 12
FEWEST_STEPS = 4
MOST_VALUES = 2**22
"""Gradients of all lanes and steps beyond which a trial has the fewest steps."""


@dataclass(frozen=True)
class Habits:
    """What an optimizer needs, whatever the lanes.

    Attributes
    ----------
    closure
        Whether its step takes a closure, to evaluate the loss again.
    draws
        Names of the generators of the process that it draws from, which are then the lane's.
    saved
        Whether what it carries can be saved; else it can be copied.
    """

    closure: bool = False
    draws: tuple[str, ...] = ()
    saved: bool = True


class _MadeUp:
    """A quadratic at each lane, whose gradient where a step begins is the one that was drawn."""

    def __init__(self, lanes: TorchLanes) -> None:
        self._start, self._slopes = lanes.params.clone(), lanes.grads.clone()

    def loss(self, lane: int) -> float:
        return float((self._slopes[lane] ** 2).sum()) + 1.0

    def evaluate(self, lane: int, row: Any, grad_row: Any) -> float:
        away = row - self._start[lane]
        grad_row.copy_(self._slopes[lane] + away)
        return self.loss(lane) + float((self._slopes[lane] * away + away**2 / 2).sum())


class Trial:
    """Lanes at made-up starts, and the gradients that they are given.

    Parameters
    ----------
    make, arguments, tensors
        As of :class:`~optbench.optimizers.torch.lanes.TorchLanes`.
    dtype, device
        Of the parameters.
    """

    def __init__(
        self,
        make: Make,
        arguments: Sequence[Arguments],
        tensors: Sequence[Tensor],
        dtype: str,
        device: Any,
    ) -> None:
        import torch

        size = sum(tensor.size for tensor in tensors)
        much = size * len(arguments) * STEPS > MOST_VALUES
        self.steps = FEWEST_STEPS if much else STEPS
        self._make = make
        self._arguments = arguments
        self._tensors = tensors
        self._kind = getattr(torch, dtype)
        self._device = device
        self._shape = (len(arguments), size)

    def _draw(self, place: int) -> Any:
        """Return normal numbers (lanes, parameters), each lane's times a power of ten."""
        import torch

        rng = np.random.default_rng((20260117, place))
        scale = 10.0 ** rng.uniform(-2.0, 1.0, (self._shape[0], 1))
        drawn = torch.from_numpy(rng.standard_normal(self._shape) * scale)
        return drawn.to(self._device, self._kind)

    def path(
        self, layout: Layout, habits: Habits, *, poison: bool = False, pause: bool = False
    ) -> Iterator[TorchLanes]:
        """Yield the lanes after each step, which later steps change.

        Parameters
        ----------
        poison
            Whether the gradient of the last lane is not finite from the middle on.
        pause
            Whether the lanes go on as others from the middle on, saved or copied.
        """
        import torch

        lanes = self._lanes(layout, habits, self._draw(self.steps))
        for place in range(self.steps):
            if pause and place == self.steps // 2:
                before, lanes = lanes, self._lanes(layout, habits, lanes.params.clone())
                if habits.saved:
                    carried_by_all = [lane.carried() for lane in before.lanes]
                    saved = encode(carried_by_all, lambda tensor: tensor, self._device)
                    carried_by_all = decode(saved, len(lanes.lanes))
                    for lane, carried in zip(lanes.lanes, carried_by_all, strict=True):
                        lane.restore(carried)
                else:
                    lanes.take(before.lanes)
            lanes.grads.copy_(self._draw(place))
            if poison and place >= self.steps // 2:
                lanes.grads[-1, ::2] = torch.inf
                lanes.grads[-1, 1::2] = torch.nan
            lanes.step(objective=_MadeUp(lanes) if habits.closure else None)
            yield lanes

    def _lanes(self, layout: Layout, habits: Habits, params: Any) -> TorchLanes:
        import torch

        noises = [Noise(number, habits.draws) for number in range(len(params))]
        grads = torch.zeros_like(params)
        return TorchLanes(self._make, self._arguments, params, grads, self._tensors, layout, noises)

    def habits(self, *, closure: bool | None) -> Habits:
        """Return what the optimizer needs, as a few steps show.

        Parameters
        ----------
        closure
            Whether its step takes a closure; None where that is to be found out: it is given one
            if it raises without.

        Raises
        ------
        Exception
            Whatever it raises both with and without.
        """
        if closure is None:
            try:
                return self.habits(closure=False)
            except Exception as error:  # whatever a foreign step raises
                try:
                    return self.habits(closure=True)
                except Exception:
                    raise error from None
        habits = Habits(closure, tuple(GENERATORS))
        for lanes in self.path(Layout(), habits):  # noqa: B007 - the last one is looked at
            pass
        used = set().union(*(lane.noise.used for lane in lanes.lanes))
        return replace(habits, draws=tuple(sorted(used)))

    def layout(self, habits: Habits, *, flat: bool) -> Layout:
        """Return the fastest layout that gives the same paths as lanes alone do.

        ``flat`` says whether a lane may be one tensor.
        """
        if habits.closure or habits.draws or not habits.saved:
            return Layout()
        alone = list(self._seen(Layout()))
        one_tensor = len(self._tensors) == 1 and len(self._tensors[0].shape) == 1
        flats = (True, False) if flat and not one_tensor else (False,)
        together = (True, False) if len(self._arguments) > 1 else (False,)
        for layout in (Layout(both, flat) for both in together for flat in flats):
            if layout != Layout() and self._is_path(layout, alone):
                return layout
        return Layout()

    def _seen(self, layout: Layout, *, poison: bool = False) -> Iterator[tuple[Any, list[Any]]]:
        """Yield parameters after each step and, after the last, what each lane carries."""
        for place, lanes in enumerate(self.path(layout, Habits(), poison=poison)):
            last = place == self.steps - 1
            yield lanes.params.clone(), [lane.carried() for lane in lanes.lanes] if last else []

    def _is_path(self, layout: Layout, alone: Sequence[tuple[Any, list[Any]]]) -> bool:
        """Say whether lanes take the same path, and none is touched by one that diverges."""
        poison = layout.together
        try:
            for place, (params, carried) in enumerate(self._seen(layout, poison=poison)):
                kept = slice(-1 if poison and place >= self.steps // 2 else None)
                expected, alone_carried = alone[place]
                if not equal(params[kept], expected[kept]) or not all(
                    map(_carry_the_same, carried[kept], alone_carried[kept])
                ):
                    return False
        except Exception:  # whatever an optimizer raises where lanes are given in this way
            return False
        return True


def _carry_the_same(lane: Mapping[str, Any], alone: Mapping[str, Any]) -> bool:
    """Say whether a lane carries the same as alone, where it may have several tensors for one.

    What is shaped like the parameters is compared with those of all tensors one after the other.
    """
    rest = [
        dict(leaves({key: carried[key] for key in carried if key != "params"}))
        for carried in (lane, alone)
    ]
    if not _alike(*rest):
        return False
    own = [dict(leaves(state)) for state in lane["params"]]
    theirs = [dict(leaves(state)) for state in alone["params"]]
    if len(own) == len(theirs):
        return all(map(_alike, own, theirs))
    return all(state.keys() == own[0].keys() for state in theirs) and all(
        _joined(value, [state[path] for state in theirs]) for path, value in own[0].items()
    )


def _alike(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> bool:
    return first.keys() == second.keys() and all(
        alike(value, second[key]) for key, value in first.items()
    )


def _joined(value: Any, parts: Sequence[Any]) -> bool:
    """Say whether a value consists of its parts one after the other, or equals each of them."""
    import torch

    if isinstance(value, torch.Tensor) and value.ndim:
        flat = [part.ravel() for part in parts if isinstance(part, torch.Tensor)]
        joined = torch.cat(flat) if len(flat) == len(parts) else value[:0]
        return joined.shape == value.shape and equal(joined, value)
    return all(alike(value, part) for part in parts)


def chosen(lanes: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of a few lanes that differ in every entry in which any lanes differ.

    >>> chosen([{"lr": 1, "k": 0}] * 9 + [{"lr": 2, "k": 0}] + [{"lr": 1, "k": 0}] * 5)
    [0, 7, 14, 9]
    """
    places = list(dict.fromkeys([0, len(lanes) // 2, len(lanes) - 1]))
    for name, value in lanes[0].items():
        if all(lanes[place][name] == value for place in places):
            other = (place for place, lane in enumerate(lanes) if lane[name] != value)
            places += [place for place in [next(other, None)] if place is not None]
    return places
