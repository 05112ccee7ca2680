"""Whether a user's rule gives the same numbers when the same updates are made again.

A rule that draws random numbers, or counts in a variable of its module, would run; but its runs
would not repeat, and what earlier runs have finished would be taken for what it gives now.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from optbench.arrays import Array, Stacked, Workspace, stack
from optbench.errors import UnrepeatableError
from optbench.optimizers.base import Lanes, Optimizer, Task, UpdateContext, host_columns
from optbench.rng import process_generators

UPDATES = 5


def check_repeats(optimizers: Callable[[], Optimizer], task: Task) -> None:
    """Make a few updates twice, with gradients that are made up.

    What the rule raises is left to the run, which says it lane by lane.

    Parameters
    ----------
    optimizers
        Returns the optimizer as a block of lanes gets it.

    Raises
    ------
    UnrepeatableError
        If the numbers differ, or if both times left the process's random generators elsewhere.
    """
    states = [process_generators()]
    paths = []
    for _ in range(2):
        try:
            paths.append(_path(optimizers(), task))
        except KeyboardInterrupt:
            raise
        except BaseException:  # a user's code may raise anything
            return
        states.append(process_generators())
    check_alike(task.label, paths[0] == paths[1], states)


def check_alike(label: str, alike: bool, states: Sequence[bytes]) -> None:
    """Refuse what differed when the same updates were made again.

    Parameters
    ----------
    alike
        Whether it gave the same numbers.
    states
        Of the process's random generators: before, after the updates, and after the same updates
        again. Code that seeds them itself leaves them in one state, and the first use of a library
        may move them.

    Raises
    ------
    UnrepeatableError
        If the numbers or all states differ.
    """
    before, once, twice = states
    if before != once != twice:
        raise UnrepeatableError(f"{label} draws random numbers of its own; runs would not repeat")
    if not alike:
        raise UnrepeatableError(
            f"{label} gives other numbers when the same updates are made again, so runs would not "
            "repeat; it may draw random numbers or count outside its state"
        )


def _path(optimizer: Optimizer, task: Task) -> list[bytes]:
    """Return the bits of two lanes after each of some updates."""
    configurations = [task.configurations[0], task.configurations[-1]]
    shape = (len(configurations), sum(tensor.size for tensor in task.tensors))
    generator = np.random.default_rng(0)

    def stacked() -> Stacked:
        return stack(np.zeros(shape, task.dtype), task.tensors, np)

    params, grads = stacked(), stacked()
    params.rows[...] = generator.standard_normal(shape)
    context = UpdateContext(params, grads, {}, {}, _apply, task.tensors, np, Workspace(np))
    lanes = Lanes(
        context,
        configurations,
        lambda: stacked().rows,
        lambda array: array.astype(task.dtype),
        task.dtype,
        seeds=[0, 1],
    )
    path = []
    with np.errstate(all="ignore"):
        updater = optimizer.begin(lanes, None)
        updater.plan(host_columns(optimizer, configurations), range(1, UPDATES + 1))
        for row in range(UPDATES):
            grads.rows[...] = generator.standard_normal(shape)
            updater.update(row)
            arrays = [params.rows, updater.eval_params(), *updater.state.values()]
            numbers = (np.asarray(array) for array in arrays)
            path += [array.tobytes() for array in numbers if array.dtype != object]
    return path


def _apply(
    rule: Callable[..., tuple[Array, ...]],
    arrays: Sequence[Array],
    columns: Mapping[str, Array],
) -> None:
    """Apply an element-wise rule in place, by calling it on the arrays themselves."""
    results = rule(*arrays, xp=np, **columns)
    for array, result in zip((arrays[0], *arrays[2:]), results, strict=True):
        array[...] = result
