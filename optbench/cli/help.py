"""How help is laid out: options in panels, and beside them no types of Python."""

from collections.abc import Collection, Mapping
from functools import partial
from inspect import cleandoc
from typing import Any

OTHER = "Other"
"""The panel of options that are in none of a command's."""


def arranged(command: Any, panels: Mapping[str, Collection[str]]) -> Any:
    """Return a command whose help shows its options in panels, and no types beside any of them.

    Its paragraphs fill the screen; of all but the first, typer would keep the source's lines.

    Parameters
    ----------
    command
        As click has it; commands of a group are arranged, too.
    panels
        Names of options, as parameters, by the titles of panels; without any there is one panel.
    """
    panel_of = {name: panel for panel, names in panels.items() for name in names}
    places = {name: place for place, name in enumerate(panel_of)}
    all_parameters = command.get_params

    def get_params(context: Any) -> list[Any]:
        found = all_parameters(context)
        for parameter in found:
            if panels and parameter.param_type_name == "option":
                parameter.rich_help_panel = panel_of.get(parameter.name, OTHER)
            parameter.display_type_rich = partial(_metavar, parameter)
        return sorted(found, key=lambda each: places.get(each.name, len(places)))

    command.get_params = get_params
    if command.help:
        paragraphs = cleandoc(command.help).split("\n\n")
        command.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)
    for each in getattr(command, "commands", {}).values():
        arranged(each, {})
    return command


def _metavar(parameter: Any, ctx: Any) -> str | None:
    """Return what stands beside an option; that of an argument is its name already."""
    return parameter.metavar if parameter.param_type_name == "option" else None
