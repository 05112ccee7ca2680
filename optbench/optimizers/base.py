"""The contract of an optimizer.

An optimizer is an update rule with named hyperparameters. It works on all lanes of a block at once:
parameters, gradients and slots have shape (lanes, parameters), hyperparameters are columns of shape
(lanes, 1). An element-wise rule is one pure function of arrays, :meth:`Elementwise.rule`; the
device decides how to run it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.hyperparameters import (
    Choice,
    Hyperparameter,
    Setting,
    Switch,
    fraction,
)
from optbench.optimizers.stepping import (
    HostColumns,
    Lanes,
    StackedUpdates,
    Step,
    Task,
    Updates,
)
from optbench.plugins import Plugin

__all__ = [
    "Choice",
    "Elementwise",
    "HostColumns",
    "Hyperparameter",
    "Lanes",
    "Optimizer",
    "Setting",
    "Step",
    "Switch",
    "Task",
    "Updates",
    "fraction",
    "powers",
]


def powers(base: np.ndarray, exponents: range) -> np.ndarray:
    """Return base^exponent in float64, shape (exponents, lanes, 1), of a column (lanes, 1).

    The column may also have the shape (1, lanes, 1). Lanes often share a base, so each is raised
    once; where all do, the shape is (exponents, 1, 1).
    Python's own power is used since NumPy's may give other bits in longer arrays, and no lane may
    depend on its company.
    """
    base = base.reshape(-1, 1)
    values, places = np.unique(base, return_inverse=True)
    raised = np.array([[value**exponent for value in values.tolist()] for exponent in exponents])
    return raised[:, :, None] if len(values) == 1 else raised[:, places.reshape(base.shape)]


class Optimizer(ABC):
    """An update rule, stacked over lanes."""

    name: str
    summary: str
    hyperparameters: tuple[Setting, ...]
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays that are like the parameters; zero at the start."""
    copies: ClassVar[tuple[str, ...]] = ()
    """The slots that start as a copy of the parameters instead."""
    scalars: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays of shape (lanes, 1), zero at the start."""
    needs_matrices: ClassVar[bool] = False
    """Whether it treats tensors by their shape."""
    evaluates_elsewhere: ClassVar[bool] = False
    """Whether evaluations take :meth:`eval_params` and not the parameters."""
    full_batch: ClassVar[bool] = False
    """Whether it is meant for gradients without noise."""
    source: ClassVar[str] = ""
    """The paper or library, in a line."""
    partner: ClassVar[str | None] = None
    """The implementation elsewhere that it equals, such as ``torch.optim.NAdam``."""
    plugin: Plugin | None = None
    """Where its code is, if that is not optbench itself."""

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns that some updates need, computed on the host in float64.

        Parameters
        ----------
        hyperparameters
            Of all lanes, shape (1, lanes, 1), or (updates, lanes, 1) where a schedule changes one.
        updates
            Numbers of the updates, counted from 1.

        Returns
        -------
        dict
            By name; each axis of (updates, lanes, 1) may be 1 where all along it are alike.
        """
        return dict(hyperparameters)

    def identity(self) -> dict[str, Any]:
        """Return, as plain data, which rule it is and what code it comes from, for lane keys."""
        if self.plugin is None:
            return {"name": self.name, "source": "optbench"}
        return {"name": self.plugin.name, "source": self.plugin.source.identity()}

    def fit(self, task: Task) -> tuple[str, ...]:
        """Return notices of what the user should know of the optimizer on a problem.

        Raises
        ------
        SuiteError
            If it cannot run there.
        """
        if self.full_batch and task.minibatch:
            return (
                f"{task.label} on {task.problem} is meant for the full batch, "
                "not for minibatches; give --batch-size full",
            )
        return ()

    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> Updates:
        """Return what updates the lanes of a block, from a state of theirs or from the start."""
        return StackedUpdates(self, lanes, state)

    @abstractmethod
    def step(self, step: Step) -> None:
        """Update parameters and state in place."""

    def eval_params(self, params: Array, state: Mapping[str, Array], xp: Namespace) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""
        return params


class Elementwise(Optimizer):
    """An optimizer that treats every parameter alike and apart."""

    rule: ClassVar[Callable[..., tuple[Array, ...]]]
    """``rule(w, g, *slots, xp=xp, **columns)``, pure: returns the new parameters and slots."""

    def step(self, step: Step) -> None:
        """Run the rule over all parameters of all lanes."""
        slots = [step.state[name] for name in self.slots]
        step.elementwise(self.rule, [step.params.rows, step.grads.rows, *slots], step.columns)
