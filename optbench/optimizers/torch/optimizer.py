"""PyTorch's optimizers, and others written for it, in optbench's engine.

Hyperparameters are the arguments of what makes one; see :mod:`optbench.optimizers.torch.recipe`.
Lanes are parameter groups of one optimizer, or have one each;
:mod:`optbench.optimizers.torch.trials` finds out which, and what it needs.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from typing_extensions import override

from optbench import plugins
from optbench.arrays import Array, Tensor
from optbench.errors import SuiteError, UsageError, nearest
from optbench.optimizers.arguments import Argument
from optbench.optimizers.base import Lanes, Optimizer, Task, UpdateContext
from optbench.optimizers.modifiers import GRADIENT, SCHEDULE
from optbench.optimizers.repeats import check_alike
from optbench.optimizers.torch.lanes import Given, Layout, switches
from optbench.optimizers.torch.noise import STREAM
from optbench.optimizers.torch.recipe import Recipe, parameters_of, recipe_of
from optbench.optimizers.torch.state import equal
from optbench.optimizers.torch.trials import Habits, Trial, chosen
from optbench.optimizers.torch.updater import TorchUpdater
from optbench.plugins import Plugin, Source, complaint
from optbench.plugins.foreign import one_thread
from optbench.rng import process_generators
from optbench.settings import Setting

REMEDY = "if it is to be made otherwise, name a function: def make(params, lr)"
VALUES = "give other values, or name a function that makes it: def make(params, lr)"
INSTALL = "install what it needs, or choose another"
NO_GRAPH = "gradients here can be differentiated no further; choose one that does without that"
"""What ends messages about what a library raised, also about values, what is not installed, and
second derivatives."""


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
    key = (Recipe, plugin.name, plugin.source)
    recipe = plugins.code_cache().once(key, lambda: recipe_of(plugin))
    adapter = SwitchingTorchOptimizer if switches(plugin.object) else TorchOptimizer
    return adapter(recipe, name)


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
    """Refuse what makes no optimizer."""
    import torch

    given, base = plugin.object, torch.optim.Optimizer
    if given is base:
        raise SuiteError("torch.optim.Optimizer has no step of its own; name a subclass")
    if isinstance(given, type):
        fits = issubclass(given, base) or callable(getattr(given, "step", None))
    else:
        fits = inspect.isfunction(given) or isinstance(given, partial)
    if not fits:
        what = "a class" if isinstance(given, type) else f"of type {type(given).__name__}"
        what = "a function" if callable(given) and not isinstance(given, type) else what
        raise SuiteError(
            f"{name} is {what}, not a subclass of torch.optim.Optimizer; name a subclass, or a "
            "Python function that returns one: def make(params, lr)"
        )


class TorchOptimizer(Optimizer):
    """An optimizer written for PyTorch.

    Parameters
    ----------
    recipe
        How it is made.
    name
        What it is called.
    """

    slots: ClassVar[tuple[str, ...]] = ("first", "second")  # for estimates: most have two at most
    plugin: Plugin
    hyperparameters: tuple[Argument, ...]

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.name = name
        self.plugin = plugin = recipe.plugin
        self.summary = plugins.first_line(plugin.object.__doc__) or f"{name}, by PyTorch's rules"
        self.hyperparameters = recipe.arguments
        self._recipe = recipe
        self._habits: Habits | None = None
        self._layout: Layout | None = None

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether it draws random numbers, as far as it has been tried."""
        return self._habits is not None and bool(self._habits.draws)

    @property
    def resumable(self) -> bool:  # type: ignore[override]
        """Whether what it carries can be saved, as far as it has been tried."""
        return self._habits is None or self._habits.saved

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the code out of pickles: whoever takes one loads it again."""
        state = {"_layout": self._layout, "_habits": self._habits}
        return _again, (self.plugin.spec, self.name, self.plugin.source), state

    @override
    def identity(self) -> dict[str, Any]:
        """Return its name, its code and the version of PyTorch that it computes with."""
        import torch

        version = str(torch.__version__).partition("+")[0]
        source = self.plugin.source.identity()
        noise = {"noise": STREAM} if self.random else {}
        return {"name": f"torch:{self.plugin.name}", "source": source, "torch": version, **noise}

    @override
    def fit(self, task: Task) -> tuple[str, ...]:
        """Construct it with every configuration, and try a few of them.

        Raises
        ------
        SuiteError
            If it raises, gives other numbers when a step is repeated, or can be neither saved nor
            copied.
        """
        import torch

        own = [argument.name for argument in self.hyperparameters]
        known = {tuple(given[key] for key in own): given for given in reversed(task.configurations)}
        different = list(reversed(known.values()))
        given = Given(parameters_of(task.tensors, task.dtype), task.tensors)
        for configuration in different:
            try:
                with torch.random.fork_rng(devices=[]):
                    made = self._recipe(given, self._recipe.values(configuration))
            except Exception as error:  # whatever a foreign constructor raises
                raise SuiteError(f"{self.name}: {self._complaint(error)}") from None
            self._check_schedule(configuration, made)
        places = [0, len(different) // 2, len(different) - 1]
        tried = [self._recipe.values(different[place]) for place in dict.fromkeys(places)]
        trial = Trial(self._recipe, tried, task.tensors, task.dtype, torch.device("cpu"))
        return self._try(trial, task)

    def _check_schedule(self, given: Mapping[str, float | str], made: Any) -> None:
        """Refuse a schedule that would change nothing, and what changes gradients only once."""
        scheduled = self._schedule(given)
        rates = [group.get("lr") for group in made.param_groups]
        if scheduled and not all(isinstance(rate, int | float) for rate in rates):
            raise SuiteError(
                f"{self.name}: {scheduled[0]} needs a number as learning rate, not {rates[0]}"
            )

    def _schedule(self, given: Mapping[str, float | str]) -> list[str]:
        """Return which settings of a schedule a lane has."""
        return [key.name for key in self._common(given, SCHEDULE)]

    def _common(
        self, given: Mapping[str, float | str], settings: Sequence[Setting]
    ) -> list[Setting]:
        """Return which settings that any optimizer takes a lane has, if it has none of its own."""
        own = {argument.name for argument in self.hyperparameters}
        return [key for key in settings if key.name in given and key.name not in own]

    def _try(self, trial: Trial, task: Task) -> tuple[str, ...]:
        """Take a few steps twice, the second time with a pause in the middle."""
        one_thread()
        states = [process_generators()]
        try:
            habits = self._tried(trial)
            path = [lanes.params.clone() for lanes in trial.path(Layout(), habits)]
            states.append(process_generators())
            again = [lanes.params.clone() for lanes in trial.path(Layout(), habits)]
            states.append(process_generators())
        except Exception as error:  # whatever a foreign step raises
            raise SuiteError(f"{self.name} on {task.problem}: {self._complaint(error)}") from None
        check_alike(self.name, all(map(equal, path, again)), states)
        changed = self._common(task.configurations[0], GRADIENT)
        if habits.closure and changed:
            raise SuiteError(
                f"{self.name} evaluates the loss itself, which {changed[0].name} does not change; "
                f"leave {changed[0].name} out"
            )
        reason = _why_not(trial, replace(habits, saved=True), path)
        self._habits = replace(habits, saved=reason is None)
        if reason is None:
            return ()
        if _why_not(trial, self._habits, path) is not None:
            raise SuiteError(
                f"{self.name} {reason}, nor can it be copied; a run could not go on with fewer "
                "lanes; keep it in state, or in an attribute"
            )
        return (f"{self.name} {reason}: not resumable, an interrupted run starts its lanes again",)

    def _tried(self, trial: Trial) -> Habits:
        """Return what it needs, as its signature and a few steps show."""
        step = getattr(self.plugin.object, "step", None)  # a function that makes one has none
        closure = None if step is None else inspect.signature(step).parameters.get("closure")
        needed = closure is not None and closure.default is closure.empty
        return trial.habits(closure=True if needed else None)

    def _complaint(self, error: Exception) -> str:
        """Say in one line what its code raised, and what would be right.

        The text of a ValueError is meant for users.
        """
        if isinstance(error, UsageError):
            return str(error)
        lines = str(error).splitlines()
        if isinstance(error, ValueError) and lines:
            return f"{lines[0]}; {VALUES}"
        said = complaint(error, self.plugin.source.root)
        remedy = INSTALL if isinstance(error, ImportError) else REMEDY
        if isinstance(error, RuntimeError) and "grad_fn" in str(error):
            remedy = NO_GRAPH
        return f"{said}; {remedy}"

    @override
    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> TorchUpdater:
        import torch

        one_thread()
        device = torch.from_dlpack(lanes.context.params.rows).device
        layout = self._laid_out(lanes.hyperparameters, lanes.context.tensors, lanes.dtype, device)
        arguments = [self._recipe.values(lane) for lane in lanes.hyperparameters]
        scheduled = bool(self._schedule(lanes.hyperparameters[0]))
        return TorchUpdater(
            self._recipe,
            arguments,
            layout,
            self._settled,
            lanes,
            state,
            scheduled=scheduled,
        )

    def _laid_out(
        self,
        configurations: Sequence[Mapping[str, float | str]],
        tensors: Sequence[Tensor],
        dtype: str,
        device: Any,
    ) -> Layout:
        """Return how lanes are given to PyTorch, as a few of the first ones showed."""
        if self._layout is None or self._habits is None:
            own = [argument.name for argument in self.hyperparameters]
            given = [{name: lane[name] for name in own} for lane in configurations]
            tried = [self._recipe.values(given[place]) for place in chosen(given)]
            trial = Trial(self._recipe, tried, tensors, dtype, device)
            if self._habits is None:
                self._try(
                    trial, Task(self.name, "these lanes", tuple(tensors), dtype, False, given)
                )
            self._layout = trial.layout(self._settled, flat=self._recipe.flat)
        return self._layout

    @property
    def habits(self) -> Habits | None:
        """What it needs, once it has been tried."""
        return self._habits

    def steps_together(
        self,
        configurations: Sequence[Mapping[str, float | str]],
        tensors: Sequence[Tensor],
        dtype: str,
    ) -> bool:
        """Say whether one instance of it steps all of these lanes on a CPU."""
        import torch

        return self._laid_out(configurations, tensors, dtype, torch.device("cpu")).together

    @property
    def _settled(self) -> Habits:
        assert self._habits is not None
        return self._habits

    @override
    def step(self, context: UpdateContext) -> None:
        raise AssertionError("PyTorch's optimizers are stepped by TorchUpdater")


def _why_not(trial: Trial, habits: Habits, path: Sequence[Any]) -> str | None:
    """Say why lanes cannot go on as others from the middle of a path; None where they can."""
    try:
        paused = [lanes.params.clone() for lanes in trial.path(Layout(), habits, pause=True)]
    except SuiteError as error:
        return str(error).removeprefix("it ")
    except Exception as error:  # whatever a foreign step, or a copy, raises
        return f"raises {type(error).__name__} when it goes on from what was saved"
    if all(map(equal, path, paused)):
        return None
    return "keeps something outside its state and parameter groups, which cannot be saved"


class SwitchingTorchOptimizer(TorchOptimizer):
    """One with ``train()`` and ``eval()``, which trains and evaluates at different parameters."""

    evaluates_elsewhere = True


def _again(spec: str, name: str, source: Source) -> TorchOptimizer:
    """Return an optimizer anew, if its code is still what it was."""
    return _adapted(plugins.load_unchanged(spec, source, name), name)
