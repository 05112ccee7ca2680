"""Problems from files that use PyTorch or JAX: what ``torch:`` and ``jax:`` stand for.

A name is ``torch:path/to/file.py:problem`` or ``jax:package.module:problem``: a function that
returns a task of that library, whose arguments become the problem's options.
"""

from importlib.util import find_spec
from inspect import isfunction
from typing import ClassVar

from typing_extensions import override

from optbench.errors import SuiteError
from optbench.plugins import Plugin, label, load
from optbench.plugins.adopt import Adopter
from optbench.problems.base import Problem
from optbench.problems.models.arguments import options_of
from optbench.problems.models.jax.problem import JaxProblem
from optbench.problems.models.problem import ModelProblem
from optbench.problems.models.torch.problem import TorchProblem
from optbench.problems.plugin import PluginProblem


class TorchPlugin(PluginProblem):
    """What the class of every PyTorch model's problem has in front of its own."""


class JaxPlugin(PluginProblem):
    """What the class of every JAX model's problem has in front of its own."""


class _Adopter(Adopter[Problem]):
    noun, flag = "problem", "--problem"
    contract = Problem
    required = ()
    settings, declared_by = "options", "Option"
    kind: ClassVar[type[ModelProblem]]

    @override
    def base(self, plugin: Plugin) -> type[Problem]:
        function, library = plugin.object, self.kind.library
        if not isfunction(function):
            raise SuiteError(
                f"{plugin.title} is no function; {library}: takes one that returns "
                f"optbench.{library}.Task(…)"
            )
        options = options_of(function, plugin.title)
        arguments = tuple(
            option.name
            for option in options
            if option.name in function.__code__.co_varnames[: function.__code__.co_argcount]
        )
        own = {
            "function": staticmethod(function),
            "arguments": arguments,
            "options": options,
            "__doc__": function.__doc__,
            "__module__": function.__module__,
        }
        return type(function.__name__, (self.kind,), own)

    @override
    def check(self, base: type[Problem], title: str) -> None:
        """Nothing is left that could be wrong."""


class _TorchAdopter(_Adopter):
    front, kind = TorchPlugin, TorchProblem


class _JaxAdopter(_Adopter):
    front, kind = JaxPlugin, JaxProblem


TorchPlugin.adopter = _TorchAdopter()
JaxPlugin.adopter = _JaxAdopter()

ADOPTERS = {"torch": TorchPlugin.adopter, "jax": JaxPlugin.adopter}


def model_problem(name: str) -> type[Problem] | None:
    """Return the class of the problem that a name means, or None if it names no library.

    Raises
    ------
    SuiteError
        If the library is not installed, or if there is no such function.
    """
    library, colon, rest = name.partition(":")
    if not colon or library not in ADOPTERS:
        return None
    if find_spec(library) is None:
        extra = {"jax": "optax"}.get(library, library)
        raise SuiteError(
            f"'{name}' needs {library}, which is not installed; pip install 'optbench[{extra}]'"
        )
    if ":" not in rest:
        raise SuiteError(f"'{name}' names no function; write {library}:path/to/file.py:problem")
    found: type[Problem] = ADOPTERS[library].adopt(load(rest), label(rest))
    return found
