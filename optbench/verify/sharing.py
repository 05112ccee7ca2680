"""What a problem shares between lanes, blocks or calls, which it must not.

A problem is asked for losses and gradients at made-up points: lane by lane, then once more, between
evaluations, in turns with other blocks, and for several lanes at once. A work array or a network at
file level, or an attribute, that one call leaves something in for another gives other numbers then.
"""

from collections.abc import Sequence

import numpy as np

from optbench import rng
from optbench.arrays import stack
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import one_blas_thread
from optbench.problems.base import Problem

LANES, STEPS = 3, 4

AWAY = 0.1
"""Standard deviation of how far points lie from the start: times its size, or times 1 if that is
smaller."""

TOLERANCE = 1e-4
"""How far company may move a lane, relative to the largest number of its kind: beyond what rounding
does in float32."""

Seen = list[dict[str, np.ndarray]]
"""What each step gave: arrays (lanes, …) by what messages call them."""


def shared_state(problem: Problem, seed: int = 0) -> str:
    """Say in a few words what depends on other lanes, blocks or calls; nothing if all is well.

    Parameters
    ----------
    problem
        With a small minibatch.
    seed
        That of the first lane.
    """
    seeds = range(seed, seed + LANES)
    with one_blas_thread(), NumpyDevice().quiet():
        alone = [_steps([_Lanes(problem, [each])]) for each in seeds]
        again = [_steps([_Lanes(problem, [each])]) for each in seeds]
        evaluated = [_steps([_Lanes(problem, [each])], evaluate=True) for each in seeds]
        in_turns = _steps([_Lanes(problem, [each]) for each in seeds])
        together = _steps([_Lanes(problem, seeds)])
    for lane, (own,) in enumerate(alone):
        (company,) = together
        rows = [{name: array[[lane]] for name, array in step.items()} for step in company]
        for what, seen, tolerance in (
            ("when it is computed again", again[lane][0], 0.0),
            ("after an evaluation", evaluated[lane][0], 0.0),
            ("when another block is computed in between", in_turns[lane], 0.0),
            ("beside other lanes", rows, TOLERANCE),
        ):
            differing = _first_difference(own, seen, tolerance)
            if differing:
                return f"{differing} of a lane is another one {what}"
    return ""


class _Lanes:
    """Lanes that are computed together, as a block has them."""

    def __init__(self, problem: Problem, seeds: Sequence[int]) -> None:
        self._problem, self._seeds = problem, seeds
        device = NumpyDevice()
        rows = [
            device.rows(
                len(seeds), problem.parameters, problem.dtype, by_coordinate=problem.by_coordinate
            )
            for _ in range(2)
        ]
        self._params, self._grads = (stack(each, problem.tensors, np) for each in rows)
        self._work = device.workspace()
        self._data = problem.data()
        self._draws = [problem.draws(seed, 0) for seed in seeds]
        starts = [problem.start_buffers(seed) for seed in seeds]
        self._buffers = {
            buffer.name: np.stack([start[buffer.name] for start in starts]).astype(problem.dtype)
            for buffer in problem.buffers
        }

    def step(self, step: int) -> dict[str, np.ndarray]:
        """Return what is computed at the points of a step, copied."""
        for lane, seed in enumerate(self._seeds):
            start = self._problem.start(seed)
            way = rng.stream(seed, f"verify/step {step}").standard_normal(start.size)
            self._params.rows[lane] = start + AWAY * np.maximum(1.0, np.abs(start)) * way
        draws = {
            name: np.stack([of_seed[name][step] for of_seed in self._draws])
            for name in self._draws[0]
        }
        batch = self._problem.batch(self._data, draws, work=self._work)
        losses = self._problem.loss_and_grad(
            self._params, self._grads, batch, buffers=self._buffers, work=self._work
        )
        seen = {"the loss": losses.total, "the gradient": self._grads.rows}
        seen |= {f"buffer '{name}'": array for name, array in self._buffers.items()}
        return {name: np.array(array) for name, array in seen.items()}

    def evaluate(self) -> None:
        """Evaluate the smallest split, if there is any."""
        sizes = self._problem.split_sizes()
        if sizes:
            split = min(sizes, key=lambda name: sizes[name])
            self._problem.evaluate(
                self._params, self._data, split, buffers=self._buffers, work=self._work
            )


def _steps(blocks: Sequence[_Lanes], *, evaluate: bool = False) -> list[Seen]:
    """Step blocks in turns; return what each step of each block gave."""
    seen: list[Seen] = [[] for _ in blocks]
    for step in range(STEPS):
        for block, own in zip(blocks, seen, strict=True):
            own.append(block.step(step))
            if evaluate and step == 0:
                block.evaluate()
    return seen


def _first_difference(one: Seen, other: Seen, tolerance: float) -> str:
    """Return the first name whose arrays differ, or nothing; without tolerance, in any bit."""
    for then, now in zip(one, other, strict=True):
        for name, array in then.items():
            if not _same(array, now[name], tolerance):
                return name
    return ""


def _same(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if not tolerance:
        return one.tobytes() == other.tobytes()
    largest = np.abs(one[np.isfinite(one)]).max(initial=0.0)
    return np.allclose(one, other, rtol=0.0, atol=tolerance * largest, equal_nan=True)
