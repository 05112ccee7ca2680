"""Classes with ``update(params, grads)``, as textbooks write them, on lanes.

::

    class Momentum:
        def __init__(self, lr=0.01, momentum=0.9): ...
        def update(self, params, grads):
            for key in params:
                ...
                params[key] += self.v[key]

``params`` and ``grads`` are dicts of arrays by the problem's names. Hyperparameters are the
arguments of the constructor. Each lane has an instance of its own, whose attributes are its state:
arrays, numbers, text, and dicts, lists and tuples of them are saved; what holds anything else is
copied, and not resumable.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, stack
from optbench.errors import SuiteError
from optbench.optimizers.arguments import Argument, arguments_of
from optbench.optimizers.base import HostColumns, Lanes, Optimizer, Task, UpdateContext, Updater
from optbench.optimizers.modifiers import SCHEDULE
from optbench.plugins import Plugin

HELD = "instances"
"""The name of the state of lanes that cannot be saved."""

TRIED_UPDATES = 2


class TextbookOptimizer(Optimizer):
    """An optimizer whose rule is a user's class, an instance of it for each lane."""

    slots = ("first", "second")  # for estimates: most have two at most
    hyperparameters: tuple[Argument, ...]
    kind: ClassVar[type]

    def made(self, given: Mapping[str, float | str]) -> Any:
        """Return an instance with a lane's hyperparameters."""
        arguments = {
            argument.name: argument.value(given[argument.name])
            for argument in self.hyperparameters
            if not argument.is_left_out(given[argument.name])
        }
        return self.kind(**arguments)

    @override
    def fit(self, task: Task) -> tuple[str, ...]:
        """Make a few updates to see what an instance keeps."""
        notices = super().fit(task)
        instance = self.made(task.configurations[0])
        params = {tensor.name: np.ones(tensor.shape, task.dtype) for tensor in task.tensors}
        for _ in range(TRIED_UPDATES):
            instance.update(params, {name: np.ones_like(array) for name, array in params.items()})
        scheduled = [each.name for each in SCHEDULE if each.name in task.configurations[0]]
        if scheduled and not hasattr(instance, "lr"):
            raise SuiteError(
                f"{task.label} keeps no self.lr, which {scheduled[0]} would change; "
                "keep the learning rate there"
            )
        self.resumable = _saved(instance) is not None
        if self.resumable:
            return notices
        return (
            *notices,
            f"{task.label} keeps what cannot be saved: not resumable, an interrupted run starts "
            "its lanes again",
        )

    @override
    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> "TextbookUpdater":
        return TextbookUpdater(self, lanes, state)

    @override
    def step(self, context: UpdateContext) -> None:
        raise AssertionError("a user's class is stepped by TextbookUpdater")


def textbook_class(plugin: Plugin) -> type[TextbookOptimizer]:
    """Return the optimizer whose rule is a class with ``update(params, grads)``.

    Raises
    ------
    SuiteError
        If it does not say which arguments it takes.
    """
    kind = plugin.object
    attributes = {
        "kind": kind,
        "hyperparameters": arguments_of(kind),
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
    }
    return type(kind.__name__, (TextbookOptimizer,), attributes)


class TextbookUpdater(Updater):
    """Updates by instances of a user's class.

    Parameters
    ----------
    optimizer
        What makes them.
    lanes
        The lanes, their parameters as they stand.
    state
        What :attr:`state` gave; None at the start.
    """

    def __init__(
        self, optimizer: TextbookOptimizer, lanes: Lanes, state: Mapping[str, Array] | None
    ) -> None:
        self._context = lanes.context
        self._configurations = lanes.hyperparameters
        if state and HELD in state:
            self._instances = [deepcopy(each) for each in state[HELD]]
        else:
            self._instances = [optimizer.made(given) for given in lanes.hyperparameters]
            for lane, instance in enumerate(self._instances):
                _restore(instance, state or {}, lane)
        self._rates: np.ndarray | None = None

    @override
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        rates = hyperparameters.get("lr")
        self._rates = rates[:, :, 0] if rates is not None and len(rates) > 1 else None

    @override
    def update(self, row: int) -> None:
        for lane, instance in enumerate(self._instances):
            if self._rates is not None:
                instance.lr = float(self._rates[row, lane])
            views = self._named(self._context.params.rows, lane)
            params = dict(views)
            instance.update(params, self._named(self._context.grads.rows, lane))
            for name, array in views.items():
                if params[name] is not array:  # it was replaced, not changed in place
                    array[...] = params[name]

    def _named(self, rows: Array, lane: int) -> dict[str, Array]:
        """Return the tensors of one lane by name, as parts of its row."""
        context = self._context
        views = stack(rows[lane : lane + 1, :], context.tensors, context.xp).views
        return {name: array[0, ...] for name, array in views.items()}

    @property
    @override
    def state(self) -> Mapping[str, Array]:
        """What the instances hold, as arrays by name; else the instances, to be copied."""
        saved = [_saved(instance) for instance in self._instances]
        known = [each for each in saved if each is not None]
        if (
            len(known) == len(saved)
            and len({tuple(map(_form, each.items())) for each in known}) == 1
        ):
            return {name: np.stack([each[name] for each in known]) for name in known[0]}
        held = np.empty(len(self._instances), object)
        held[:] = self._instances
        return {HELD: held}

    @override
    def eval_params(self) -> Array:
        return self._context.params.rows


def _form(item: tuple[str, np.ndarray]) -> tuple[Any, ...]:
    name, array = item
    return name, array.shape, array.dtype


NUMBERS = (bool, int, float)
EMPTY: dict[str, type] = {"dict": dict, "list": list, "tuple": tuple}


def _saved(instance: Any) -> dict[str, np.ndarray] | None:
    """Return an instance's attributes as arrays, named by path and type; None if one is no data.

    >>> class Counter: count, seen = 3, {}
    >>> counter = Counter(); counter.count, counter.m = 3, {"w": np.ones(2)}
    >>> _saved(counter)
    {'["count", "int"]': array(3), '["m", "w", "array"]': array([1., 1.])}
    """
    found = {}
    for path, leaf in _leaves(vars(instance), ()):
        kind, array = type(leaf).__name__, np.zeros(())
        if isinstance(leaf, np.ndarray | np.generic):
            kind, array = ("array" if isinstance(leaf, np.ndarray) else "number"), np.array(leaf)
        elif type(leaf) in NUMBERS:
            array = np.array(leaf)
        elif type(leaf) is str:
            kind = f"text {leaf}"
        elif leaf is not None and not (kind in EMPTY and not leaf):
            return None
        if array.dtype.kind not in "biufc":
            return None
        found[json.dumps([*path, kind])] = array
    return found


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what nested dicts, lists and tuples hold, with the path to each."""
    items: Sequence[tuple[Any, Any]] = ()
    if type(value) is dict and all(type(key) is str for key in value):
        items = list(value.items())
    elif type(value) in (list, tuple):
        items = [([type(value).__name__, place], item) for place, item in enumerate(value)]
    for key, item in items:
        yield from _leaves(item, (*path, key))
    if not items:
        yield path, value


def _restore(instance: Any, state: Mapping[str, np.ndarray], lane: int) -> None:
    """Give an instance the attributes that :func:`_saved` returned of a lane."""
    whole: dict[Any, Any] = {}
    for name, array in state.items():
        *path, kind = json.loads(name)
        keys = [tuple(key) if isinstance(key, list) else key for key in path]
        place = whole
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = _value(np.asarray(array[lane]), kind)
    vars(instance).update({name: _nested(value) for name, value in whole.items()})


def _value(array: np.ndarray, kind: str) -> Any:
    plain = {number.__name__: number for number in NUMBERS}
    if kind == "array":
        return array.copy()
    if kind == "number":
        return array[()]
    if kind in plain:
        return plain[kind](array)
    if kind.startswith("text "):
        return kind.removeprefix("text ")
    return EMPTY[kind]() if kind in EMPTY else None


def _nested(value: Any) -> Any:
    """Return dicts whose keys are places in lists and tuples as these."""
    if type(value) is not dict or not value:
        return value
    parts = {key: _nested(part) for key, part in value.items()}
    if type(first := next(iter(parts))) is tuple:
        return EMPTY[first[0]](parts.values())
    return parts
