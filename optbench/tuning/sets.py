"""Sets of spaces: what may be tried of each optimizer, and by whose opinion.

The built-in sets are in spaces.toml; a file of one's own has the same tables. An entry named ``*``
is for every optimizer that no other entry names.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from optbench.errors import SuiteError, argument, nearest
from optbench.optimizers.base import Optimizer
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import (
    ALIASES,
    OPTIMIZERS,
    get_optimizer,
    known_hyperparameters,
    optimizer_names,
)
from optbench.plugins import is_spec, label
from optbench.suite.format import read_text, shape_complaint, toml_table
from optbench.tuning.spaces import Space, check, parse

OTHERS = "*"
"""The entry of optimizers that have none of their own."""


@dataclass(frozen=True)
class Searched:
    """What may be tried of an optimizer: a space by hyperparameter, and by whose opinion."""

    spaces: Mapping[str, Space]
    source: str


@dataclass(frozen=True)
class SpaceSet:
    """A set of spaces.

    Attributes
    ----------
    name
        Of the set, or its file.
    entries
        By the name of the optimizer, as a suite gives it.
    """

    name: str
    entries: Mapping[str, Searched]

    def of(self, optimizer: str) -> Mapping[str, Space]:
        """Return the spaces of an optimizer by hyperparameter.

        Raises
        ------
        SuiteError
            If the set has none for it, or one that it does not take.
        """
        spaces = self._entry(optimizer).spaces
        found = get_optimizer(optimizer)
        if optimizer not in self.entries:
            lacking = [name for name in spaces if name not in known_hyperparameters(found)]
            if lacking:
                raise SuiteError(
                    f"{optimizer} has no {lacking[0]}, which is all that the spaces {self.name} "
                    f"know to try of it; {_remedy(optimizer, 'KEY')}"
                )
        check_spaces(found, spaces)
        return spaces

    def source(self, optimizer: str) -> str:
        """Return by whose opinion these are the spaces of an optimizer."""
        return self._entry(optimizer).source

    def _entry(self, optimizer: str) -> Searched:
        entry = self.entries.get(optimizer, self.entries.get(OTHERS))
        if entry is None:
            raise SuiteError(
                f"the spaces {self.name} have none for {optimizer}; {_remedy(optimizer, 'lr')}"
            )
        return entry


def _remedy(optimizer: str, key: str) -> str:
    space = argument("space", {f"{label(optimizer)}.{key}": "log(1e-4, 1)"})
    return f"give {space}, or other spaces"


def check_spaces(optimizer: Optimizer, spaces: Mapping[str, Space]) -> None:
    """Refuse spaces of hyperparameters that an optimizer does not have, or not all values of.

    Raises
    ------
    SuiteError
        With the name that was meant, or the range.
    """
    known = known_hyperparameters(optimizer)
    for name, space in spaces.items():
        if name not in known:
            meant = nearest(ALIASES.get(name, name), known)
            raise SuiteError(f"{optimizer.name} has no hyperparameter '{name}'; {meant}")
        try:
            check(space, known[name])
        except SuiteError as error:
            raise error.within(optimizer.name) from None


class _Entry(BaseModel):
    """An ``[[optimizer]]``: its name or names, ``space.<hyperparameter>``, and the source."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: list[str] = Field(min_length=1)
    space: dict[str, Any] = Field(min_length=1)
    source: str = ""

    @field_validator("name", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class _Table(BaseModel):
    """A set as written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    extends: str | None = None
    optimizer: list[_Entry] = []


KEYS = {"": _Table.model_fields, "optimizer": _Entry.model_fields}


def space_set(source: str) -> SpaceSet:
    """Return a built-in set by name, or the set in a TOML file.

    Raises
    ------
    SuiteError
        If there is none, or it is malformed, names an optimizer or hyperparameter that does not
        exist, or tries what a hyperparameter does not take.
    """
    known = _builtin_tables()
    if source in known:
        return _builtin_set(source)
    path = Path(source)
    if path.suffix != ".toml":
        raise SuiteError(f"unknown spaces '{source}'; {nearest(source, known)} (or give a .toml)")
    plain = toml_table(read_text(path, f"file of spaces '{source}'"), source)
    try:
        return _made(source, plain)
    except SuiteError as error:
        raise error.within(source) from None


@cache
def _builtin_tables() -> dict[str, Any]:
    text = (files("optbench.tuning") / "spaces.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _builtin_set(name: str) -> SpaceSet:
    return _made(name, _builtin_tables()[name])


def _made(name: str, plain: Mapping[str, Any]) -> SpaceSet:
    try:
        table = _Table.model_validate(plain)
    except ValidationError as error:
        raise SuiteError(shape_complaint(error, KEYS)) from None
    entries: dict[str, Searched] = {}
    for entry in table.optimizer:
        spaces = dict(_parsed(entry))
        for optimizer in entry.name:
            if optimizer in entries:
                raise SuiteError(f"{optimizer} has two entries; give it one")
            _check_name(optimizer, spaces)
            entries[optimizer] = Searched(spaces, entry.source or name)
    if table.extends is None:
        return SpaceSet(name, entries)
    if table.extends not in _builtin_tables():
        raise SuiteError(
            f"extends = '{table.extends}' is no set; {nearest(table.extends, _builtin_tables())}"
        )
    base = _builtin_set(table.extends).entries
    return SpaceSet(name, {**base, **{key: _added(base, key, entries[key]) for key in entries}})


def _parsed(entry: _Entry) -> Iterable[tuple[str, Space]]:
    for key, text in entry.space.items():
        try:
            yield key, parse(text)
        except SuiteError as error:
            raise error.within(f"{', '.join(entry.name)}: space.{key}") from None


def _check_name(optimizer: str, spaces: Mapping[str, Space]) -> None:
    """Refuse what is no optimizer; check the spaces of what can be had without loading code."""
    if optimizer in OPTIMIZERS or optimizer in PRESETS:
        check_spaces(get_optimizer(optimizer), spaces)
    elif optimizer != OTHERS and not is_spec(optimizer) and optimizer not in optimizer_names():
        raise SuiteError(
            f"unknown optimizer '{optimizer}'; {nearest(optimizer, optimizer_names())}"
        )


def _added(base: Mapping[str, Searched], key: str, own: Searched) -> Searched:
    """Return an entry with what the set that is extended has beside it."""
    if key not in base:
        return own
    below = base[key]
    return Searched({**below.spaces, **own.spaces}, f"{below.source}; {own.source}")
