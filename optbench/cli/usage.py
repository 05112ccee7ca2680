"""What is said of wrong usage: one line, which names the help of the command."""

import sys
from collections.abc import Container
from difflib import get_close_matches
from itertools import pairwise
from shlex import quote
from typing import Any

from optbench.errors import did_you_mean, first_complaint


def complaint(error: BaseException, commands: Container[str]) -> str | None:
    """Say in one line what is wrong with the usage of a command; None for any other exception.

    Typer reports it by exceptions of the click that it uses, its own copy or the package; all tell
    a user what is wrong by the same method. Not all know the command; it is one of ``commands``.
    """
    said = getattr(error, "format_message", None)
    if said is None:
        return None
    context = getattr(error, "ctx", None)
    named = [word for word in sys.argv[1:2] if word in commands]
    command = " ".join(["optbench", *named]) if context is None else context.command_path
    if context is not None and hasattr(error, "possibilities"):
        message = _unknown_option(str(getattr(error, "option_name", "")), context)
    else:
        refused = error.__cause__
        if hasattr(error, "message") and hasattr(refused, "errors"):
            error.message = first_complaint(refused)[1]  # in place of the validator's own words
        message = _one_line(said())
    return f"{message} (see: {command} --help)"


def _one_line(message: str) -> str:
    text = " ".join(message.split()) or "no command given"
    return f"{text[0].lower()}{text[1:].rstrip('.')}"


def _unknown_option(name: str, context: Any) -> str:
    """Say what was probably meant: another option, or a hyperparameter."""
    options = [option for parameter in context.command.params for option in parameter.opts]
    message = f"no such option: {name}"
    if "--set" in options:
        from optbench.optimizers.registry import hyperparameter_meant

        key = hyperparameter_meant(name.lstrip("-"))
        if key is not None:
            change = quote(f"*.{key}={_value(name)}")
            return f"{message}; set a hyperparameter with --set {change}"
    close = get_close_matches(name, options, n=1)
    return f"{message}; {did_you_mean(close)}" if close else message


def _value(option: str) -> str:
    """Return what stands behind an option on the command line."""
    for argument, following in pairwise([*sys.argv, "--"]):
        name, equals, value = argument.partition("=")
        if name == option:
            return value if equals else "VALUE" if following.startswith("--") else following
    return "VALUE"
