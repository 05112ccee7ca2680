"""PyTorch's optimizers, and others written for it, in optbench's engine.

Hyperparameters are the arguments of the constructor. Lanes are parameter groups of one optimizer,
or have one each; :mod:`optbench.optimizers.torch.trials` finds out which. Groups within a lane, as
in ``[{"params": …, "lr": …}]``, cannot be given: it treats all of its parameters alike.
"""

import inspect
import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from threading import Lock
from typing import Any, ClassVar

from typing_extensions import override

from optbench import plugins
from optbench.arrays import Array
from optbench.errors import SuiteError, nearest
from optbench.optimizers.arguments import Argument, arguments_of
from optbench.optimizers.base import Lanes, Optimizer, Task, UpdateContext
from optbench.optimizers.modifiers import SCHEDULE
from optbench.optimizers.repeats import check_alike
from optbench.optimizers.torch.lanes import Arguments, Layout, switches
from optbench.optimizers.torch.state import equal
from optbench.optimizers.torch.trials import Trial, chosen
from optbench.optimizers.torch.updater import TorchUpdater
from optbench.plugins import Plugin, Source, complaint
from optbench.plugins.foreign import one_thread
from optbench.rng import process_generators

SKIPPED = ("params", "capturable", "differentiable")
"""Arguments that a suite cannot set: no step is captured in a CUDA graph, none differentiated.

``foreach`` and ``fused`` change no formula either, but time and last bits, so they are recorded.
"""


def torch_optimizer(rest: str) -> "TorchOptimizer":
    """Return the optimizer that ``torch:REST`` means.

    Parameters
    ----------
    rest
        The name of a class of ``torch.optim``, such as ``AdamW``, or where another one is:
        ``my_module.MyOptimizer`` or ``path/to/file.py:MyOptimizer``.

    Raises
    ------
    SuiteError
        If there is none, or if it cannot be stepped with given gradients.
    """
    return _adapted(_find(rest), plugins.label(rest))


def _adapted(plugin: Plugin, name: str) -> "TorchOptimizer":
    _check(plugin, name)
    adapter = SwitchingTorchOptimizer if switches(plugin.object) else TorchOptimizer
    return adapter(plugin, name)


def _find(rest: str) -> Plugin:
    if ":" in rest or rest.endswith(".py"):
        return plugins.load(rest)
    place, _, name = rest.rpartition(".")
    if not place and name not in _known():
        raise SuiteError(f"torch.optim has no optimizer '{name}'; {nearest(name, _known())}")
    return _where_written(plugins.load(f"{place or 'torch.optim'}:{name}"))


def _known() -> list[str]:
    """Return the names of the optimizers of torch.optim."""
    import torch

    return [
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
    ]


def _where_written(plugin: Plugin) -> Plugin:
    """Return a class as found in the module that it is written in, whose text then counts."""
    kind = plugin.object
    try:
        other = plugins.load(f"{kind.__module__}:{kind.__qualname__}")
    except (AttributeError, SuiteError):  # no class, or not to be found there
        return plugin
    return other if other.object is kind else plugin


def _check(plugin: Plugin, name: str) -> None:
    """Refuse what is not an optimizer, and what evaluates the loss itself."""
    import torch

    kind, base = plugin.object, torch.optim.Optimizer
    if not (isinstance(kind, type) and issubclass(kind, base)):
        what = "a class" if isinstance(kind, type) else f"of type {type(kind).__name__}"
        what = "a function" if callable(kind) and not isinstance(kind, type) else what
        raise SuiteError(
            f"{name} is {what}, not a subclass of torch.optim.Optimizer; name a subclass"
        )
    if kind is base:
        raise SuiteError("torch.optim.Optimizer has no step of its own; name a subclass")
    closure = inspect.signature(plugin.object.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise SuiteError(
            f"{name} evaluates the loss itself, by a closure; "
            "here an optimizer is given one gradient per update"
        )


class TorchOptimizer(Optimizer):
    """An optimizer written for PyTorch.

    Parameters
    ----------
    plugin
        Its class.
    name
        What it is called.
    """

    slots: ClassVar[tuple[str, ...]] = ("first", "second")  # for estimates: most have two at most
    plugin: Plugin
    hyperparameters: tuple[Argument, ...]

    def __init__(self, plugin: Plugin, name: str) -> None:
        self.name = name
        self.plugin = plugin
        self.summary = plugins.first_line(plugin.object.__doc__) or f"{name}, by PyTorch's rules"
        self.hyperparameters = arguments_of(plugin.object, SKIPPED)
        self._layout: Layout | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        state = {"_layout": self._layout, "hyperparameters": self.hyperparameters}
        return _again, (self.plugin.spec, self.name, self.plugin.source), state

    @override
    def identity(self) -> dict[str, Any]:
        """Return its name, its code and the version of PyTorch that it computes with."""
        import torch

        version = str(torch.__version__).partition("+")[0]
        source = self.plugin.source.identity()
        return {"name": f"torch:{self.plugin.name}", "source": source, "torch": version}

    @override
    def fit(self, task: Task) -> tuple[str, ...]:
        """Construct it with every configuration, and try a few of them.

        Raises
        ------
        SuiteError
            If it raises, draws random numbers, or keeps what a run cannot take along.
        """
        import torch

        own = [argument.name for argument in self.hyperparameters]
        known = {tuple(given[key] for key in own): given for given in reversed(task.configurations)}
        different = list(reversed(known.values()))
        shapes = [tensor.shape for tensor in task.tensors]
        kind = getattr(torch, task.dtype)
        params = [torch.nn.Parameter(torch.zeros(shape, dtype=kind)) for shape in shapes]
        for given in different:
            try:
                made = self.construct(params, self.arguments(given))
            except Exception as error:  # whatever a foreign constructor raises
                raise SuiteError(f"{self.name}: {self._complaint(error)}") from None
            self._check_schedule(given, made)
        places = [0, len(different) // 2, len(different) - 1]
        tried = [self.arguments(different[place]) for place in dict.fromkeys(places)]
        self._try(Trial(self.construct, tried, shapes, task.dtype, torch.device("cpu")), task)
        return ()

    def _check_schedule(self, given: Mapping[str, float | str], made: Any) -> None:
        """Refuse a schedule that would change nothing."""
        scheduled = self._schedule(given)
        rates = [group.get("lr") for group in made.param_groups]
        if scheduled and not all(isinstance(rate, int | float) for rate in rates):
            raise SuiteError(
                f"{self.name}: {scheduled[0]} needs a number as learning rate, not {rates[0]}"
            )

    def _schedule(self, given: Mapping[str, float | str]) -> list[str]:
        """Return which settings of a schedule a lane has."""
        own = {argument.name for argument in self.hyperparameters}
        return [key.name for key in SCHEDULE if key.name in given and key.name not in own]

    def _try(self, trial: Trial, task: Task) -> None:
        """Take a few steps twice, the second time with a pause in the middle."""
        import torch

        one_thread()
        states = [process_generators()]
        with torch.random.fork_rng(devices=[]):
            try:
                path = [lanes.params.clone() for lanes in trial.path(Layout())]
                states.append(process_generators())
                again = [lanes.params.clone() for lanes in trial.path(Layout(), pause=True)]
                states.append(process_generators())
            except SuiteError as error:
                raise SuiteError(f"{self.name} cannot be resumed: {error}") from None
            except Exception as error:  # whatever a foreign step raises
                said = self._complaint(error)
                raise SuiteError(f"{self.name} on {task.problem}: {said}") from None
        differ = [not equal(a, b) for a, b in zip(path, again, strict=True)]
        check_alike(self.name, not any(differ[: trial.steps // 2]), states)
        if any(differ):
            raise SuiteError(
                f"{self.name} keeps something outside its state and parameter groups; "
                "a run could not go on with fewer lanes"
            )

    def _complaint(self, error: Exception) -> str:
        """Say in one line what its code raised; the text of a ValueError is meant for users."""
        lines = str(error).splitlines()
        if isinstance(error, ValueError) and lines:
            return lines[0]
        return complaint(error, self.plugin.source.root)

    def arguments(self, given: Mapping[str, float | str]) -> dict[str, Any]:
        """Return what the constructor takes for a lane's hyperparameters."""
        return {
            argument.name: argument.value(given[argument.name]) for argument in self.hyperparameters
        }

    def construct(self, params: Any, arguments: Arguments) -> Any:
        """Return an optimizer of parameters; what it prints is dropped."""
        with _printing, redirect_stdout(io.StringIO()):
            return self.plugin.object(params, **arguments)

    @override
    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> TorchUpdater:
        import torch

        one_thread()
        if self._layout is None:
            own = [argument.name for argument in self.hyperparameters]
            given = [{name: lane[name] for name in own} for lane in lanes.hyperparameters]
            tried = [self.arguments(given[place]) for place in chosen(given)]
            device = torch.from_dlpack(lanes.context.params.rows).device
            shapes = [tensor.shape for tensor in lanes.context.tensors]
            self._layout = Trial(self.construct, tried, shapes, lanes.dtype, device).layout()
        arguments = [self.arguments(lane) for lane in lanes.hyperparameters]
        scheduled = bool(self._schedule(lanes.hyperparameters[0]))
        return TorchUpdater(
            self.construct, arguments, self._layout, lanes, state, scheduled=scheduled
        )

    @override
    def step(self, context: UpdateContext) -> None:
        raise AssertionError("PyTorch's optimizers are stepped by TorchUpdater")


class SwitchingTorchOptimizer(TorchOptimizer):
    """One with ``train()`` and ``eval()``, which trains and evaluates at different parameters."""

    evaluates_elsewhere = True


_printing = Lock()
"""Held while stdout is redirected, which is done for the whole process."""


def _again(spec: str, name: str, source: Source) -> TorchOptimizer:
    """Return an optimizer anew, if its code is still what it was."""
    return _adapted(plugins.load_unchanged(spec, source, name), name)
