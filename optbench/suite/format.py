"""The suite format: what a TOML suite, or a run.json, may hold.

This module knows the shape only; names and ranges are checked against the registries in
:mod:`optbench.suite.resolve`.
"""

import json
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from importlib.resources import files
from os.path import normpath
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from optbench.errors import (
    LONGEST_NAME,
    SuiteError,
    argument,
    encoding_complaint,
    first_complaint,
    nearest,
    printable,
)
from optbench.plugins import anchored
from optbench.store.find import find_runs
from optbench.store.kept import kept_codes
from optbench.store.pack import is_pack, pack_of

ENTRIES = ("problem", "optimizer")

MAX_ITERATIONS = 2**31 - 1
"""The largest int32, the type of the columns that hold iterations."""

Count = Annotated[int, Field(ge=1)]


def _printable(label: str) -> str:
    if not label:
        raise ValueError("it is empty; give a name, or leave it out")
    if not label.isprintable():
        raise ValueError(f"{label!r} contains characters that cannot be printed")
    if len(label) > LONGEST_NAME:
        raise ValueError(f"it has {len(label)} characters; use at most {LONGEST_NAME}")
    return label


def _no_star(label: str) -> str:
    if label == "*":
        raise ValueError("'*' means all entries; give another label")
    return label


Name = Annotated[str, AfterValidator(_printable)]
"""What a suite is called."""

Label = Annotated[Name, AfterValidator(_no_star)]
"""What tables, figures and flags call an entry."""


def title_of(name: str) -> str:
    """Return what an entry of that name is called without a label.

    >>> title_of("adam"), title_of("torch:rules.py:Heavy")
    ('adam', 'Heavy')
    """
    return name.rpartition(":")[2] or name


SWEPT = ("grid", "space")
"""Tables of an optimizer that hold several values of hyperparameters."""


class OptimizerEntry(BaseModel):
    """An ``[[optimizer]]``: name, label, hyperparameters by name, and what of them is swept.

    That is ``grid.<hyperparameter>``, several of which multiply, or ``points``: the configurations
    one by one. ``space.<hyperparameter>`` says what ``optbench tune`` is to try.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str
    label: Label | None = None
    grid: dict[str, Any] = {}
    space: dict[str, Any] = {}
    points: list[dict[str, Any]] | None = None

    @property
    def title(self) -> str:
        """The label, by default the name, or of a plug-in what stands after the colon."""
        return self.label or title_of(self.name)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The values of hyperparameters, by name."""
        return dict(self.__pydantic_extra__ or {})

    def merged(self, changes: Mapping[str, Any]) -> "OptimizerEntry":
        """Return the entry with other values, grids, spaces or points.

        A value, a grid and a space replace each other, and points replace all of them; what is in
        points already can only be changed by other points.
        """
        points = changes.get("points", self.points)
        for key, value in changes.items():
            wrong = key in SWEPT and not isinstance(value, dict)
            if key in ("name", "label") or wrong or not (points is None or _are_tables(points)):
                raise SuiteError(
                    f"{self.title}: '{key}' is not a hyperparameter; only those can be changed"
                )
        pointed = {key for point in changes.get("points", ()) for key in point}
        given = {kind: changes.get(kind, {}) for kind in SWEPT}
        given["fixed"] = _without(changes, (*SWEPT, "points"))
        kept = {"fixed": self.hyperparameters, "grid": self.grid, "space": self.space}
        merged = {
            kind: _without(values, pointed.union(*given.values())) | given[kind]
            for kind, values in kept.items()
        }
        other = {"label": self.label, **{kind: merged[kind] or None for kind in SWEPT}}
        whole = {
            key: value for key, value in {**other, "points": points}.items() if value is not None
        }
        return OptimizerEntry(name=self.name, **merged["fixed"], **whole)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _without(values: Mapping[str, Any], keys: Container[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def new_entry(name: str, taken: Sequence[str]) -> OptimizerEntry:
    """Return an entry for an optimizer with its defaults.

    Where its title is taken, its label is its whole name: ``optax:adam`` beside ``adam``.
    """
    entry = OptimizerEntry(name=name)
    return OptimizerEntry(name=name, label=name) if entry.title in taken else entry


def distinct(given: Sequence[str | Mapping[str, Any]]) -> list[str | Mapping[str, Any]]:
    """Return names and entries, each once, in their order."""
    return [each for place, each in enumerate(given) if each not in given[:place]]


def given_entry(plain: Mapping[str, Any]) -> OptimizerEntry:
    """Return the entry that plain data describe, as an ``[[optimizer]]`` of a suite holds them."""
    return parse_suite({"name": "python", "optimizer": [plain]}, "optimizers").optimizer[0]


TABLE_OPTIONS = ("start", "constants", "domain")
"""Options of a problem that are tables; any other table changes an optimizer."""


class StopTable(BaseModel):
    """``stop``: what ends a lane early; see :class:`optbench.engine.stopping.Rules`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    loss: float | None = None
    grad_norm: Annotated[float, Field(ge=0.0)] | None = None
    patience: Annotated[Count, Field(le=MAX_ITERATIONS)] | None = None
    patience_increase: Annotated[float, Field(ge=1.0)] | None = None
    improvement_threshold: Annotated[float, Field(gt=0.0, le=1.0)] | None = None

    @property
    def rules(self) -> dict[str, Any]:
        """The rules that are set, by name."""
        return self.model_dump(exclude_none=True)


class ProblemEntry(BaseModel):
    """A ``[[problem]]``: name, label, length, its options, and tables that change optimizers.

    ``grid.<option>`` makes a problem of each value. ``variant_of`` is the title of the problem that
    it is a variant of, for AlgoPerf's score; ``pause_at`` is where its lanes pause, as those of a
    study's rung do.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str
    label: Label | None = None
    variant_of: Label | None = None
    iterations: Count | None = None
    epochs: Count | None = None
    evaluate_every: Count | str | None = None
    stop: StopTable = StopTable()
    pause_at: Count | None = None
    grid: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """The label, by default the name, or of a plug-in what stands after the colon."""
        return self.label or title_of(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """The problem's own options."""
        extra = self.__pydantic_extra__ or {}
        return {
            key: value
            for key, value in extra.items()
            if key in TABLE_OPTIONS or not isinstance(value, dict)
        }

    @property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """Changes to optimizers on this problem only, by target."""
        extra = self.__pydantic_extra__ or {}
        options = self.options
        return {key: value for key, value in extra.items() if key not in options}


class SuiteFile(BaseModel):
    """A suite as written; ``file`` is where, unless it is built in or written nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    _file: Path | None = PrivateAttr(None)

    name: Name
    description: str = ""
    seeds: int | list[int] = 1
    iterations: Count | None = None
    epochs: Count | None = None
    evaluate_every: Count | str | None = None
    stop: StopTable = StopTable()
    batch_size: int | str | None = None
    data: str | None = None
    dtype: str | None = None
    start_spread: float | None = None
    record: Literal["before", "after"] | None = None
    problem: tuple[ProblemEntry, ...] = ()
    optimizer: tuple[OptimizerEntry, ...] = ()

    @field_validator("problem", "optimizer", mode="before")
    @classmethod
    def _from_list(cls, value: Any, info: ValidationInfo) -> Any:
        tables = isinstance(value, list | tuple) and all(isinstance(entry, dict) for entry in value)
        if not tables:
            raise ValueError(f"write each as a table of its own, under [[{info.field_name}]]")
        return tuple(value)

    @field_validator("problem", "optimizer")
    @classmethod
    def _titles_differ(cls, entries: tuple[Any, ...]) -> tuple[Any, ...]:
        titles = [entry.title for entry in entries]
        for title in titles:
            if titles.count(title) > 1:
                raise ValueError(f"there are two called '{title}'; give one of them another label")
        return entries

    @property
    def file(self) -> Path | None:
        """The TOML file that holds it, as an absolute path."""
        return self._file

    def as_written(self) -> dict[str, Any]:
        """Return plain data, without what was left out."""
        return self.model_dump(exclude_unset=True)

    def changed(self, **changes: Any) -> "SuiteFile":
        """Return a copy with other values, checked again."""
        return parse_suite({**self.as_written(), **changes}, f"suite '{self.name}'")


KEYS = {"": SuiteFile.model_fields, "stop": StopTable.model_fields}
"""The keys of tables that take no others."""


def meant_by(optimizers: Sequence[OptimizerEntry], target: str) -> tuple[str, ...]:
    """Return the titles of the optimizers that a target means.

    ``*`` means all; else the one with that label, else every entry of that name.
    """
    titles = tuple(entry.title for entry in optimizers)
    if target == "*":
        return titles
    if target in titles:
        return (target,)
    return tuple(entry.title for entry in optimizers if entry.name == target)


def adjusted(
    optimizers: Sequence[OptimizerEntry],
    optimizer: OptimizerEntry,
    overrides: Mapping[str, Mapping[str, Any]],
) -> OptimizerEntry:
    """Return one of a suite's optimizers as a problem's overrides change it.

    An override that names its label counts most, then its name, then ``*``.
    """
    for target in dict.fromkeys(("*", optimizer.name, optimizer.title)):
        if target in overrides and optimizer.title in meant_by(optimizers, target):
            optimizer = optimizer.merged(overrides[target])
    return optimizer


def parse_suite(plain: Mapping[str, Any], place: str) -> SuiteFile:
    """Return the suite that plain data describe; errors start with ``place``."""
    try:
        return SuiteFile.model_validate(plain)
    except UnicodeEncodeError:
        raise SuiteError(f"{place}: it holds a name that is not valid UTF-8") from None
    except ValidationError as error:
        raise SuiteError(f"{place}: {shape_complaint(error, KEYS)}") from None


def shape_complaint(error: ValidationError, tables: Mapping[str, Iterable[str]]) -> str:
    """Say what the first mistake is in what TOML holds, and where; entries are counted from 1.

    ``tables`` are the keys of the tables that take no others, by name; "" is the file itself.
    """
    location, reason = first_complaint(error)
    steps = [str(step + 1) if isinstance(step, int) else step for step in location]
    where = " ".join(steps)
    kind = error.errors()[0]["type"]
    if kind == "extra_forbidden":
        table = next((step for step in reversed(steps[:-1]) if step in tables), "")
        return f"unknown key '{where}'; {nearest(steps[-1], tables[table])}"
    return f"{where} is missing" if kind == "missing" else f"{where}: {reason}"


def builtin_suites() -> dict[str, Path]:
    """Return the TOML files of the built-in suites by name."""
    folder = Path(str(files("optbench.suite") / "builtin"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _suite_meant(source: str, known: Mapping[str, Path]) -> str:
    """Return the end of a message: a problem of that name, or which suite was probably meant."""
    from optbench.problems.plugin import offered
    from optbench.problems.registry import PROBLEMS

    if source in PROBLEMS or source in offered():
        return f"it is a problem: run it with {argument('problem', source)}"
    return f"{nearest(source, known)} (or give a .toml)"


ResolvedSuite = Callable[[Mapping[str, Any], Path], dict[str, Any]]
"""Returns the resolved suite of a run.json in a run's directory, to be run from here."""


def read_suite(source: str, resolved: ResolvedSuite | None = None) -> SuiteFile:
    """Return a built-in suite by name, a TOML file, or the resolved suite in a run.json or a pack.

    ``resolved`` returns the latter, given the run.json and the run's directory; by default
    :func:`resolved_suite`.
    """
    known = builtin_suites()
    path = known.get(source, Path(source))
    if source not in known and is_pack(path):
        path = find_runs([source], path.parent)[0] / "run.json"
    if source not in known and path.suffix not in (".toml", ".json"):
        raise SuiteError(f"unknown suite '{source}'; {_suite_meant(source, known)}")
    text = read_text(path, f"suite file '{source}'")
    if path.suffix == ".json":
        plain = _from_json(text, path, resolved or resolved_suite)
    else:
        plain = toml_table(text, source)
    suite = parse_suite({"name": printable(path.stem), **plain}, source)
    if path.suffix == ".toml" and source not in known:
        suite._file = path.absolute()
    return suite


def read_text(path: Path, what: str) -> str:
    """Return the text of a file; errors start with ``what``."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SuiteError(f"{what} cannot be found") from None
    except (OSError, ValueError) as error:  # also not a path
        raise SuiteError(f"{what} cannot be read: {error}") from None
    complaint = encoding_complaint(content)
    if complaint is not None:
        raise SuiteError(f"{what} cannot be read: {complaint}")
    return content.decode("utf-8-sig")


def toml_table(text: str, place: str) -> dict[str, Any]:
    """Return what TOML holds; errors start with ``place``."""
    try:
        plain = tomllib.loads(text)
        repr(plain)  # Python writes no integers of thousands of digits, and TOML has them in hex
        return plain
    except RecursionError:
        raise SuiteError(f"{place}: arrays or tables are nested too deep") from None
    except ValueError as error:  # the decoder's own, or that of an integer with too many digits
        end = f"(at line {len(text.splitlines())}, the end)"
        message = str(error).replace("(at end of document)", end)
        raise SuiteError(f"{place}: {message[0].lower()}{message[1:]}") from None


def _from_json(text: str, path: Path, resolved: ResolvedSuite) -> dict[str, Any]:
    try:
        meta = json.loads(text)
        suite = meta["suite"]["resolved"]
    except (ValueError, KeyError, TypeError, RecursionError):
        suite = None
    if not isinstance(suite, dict):
        raise SuiteError(f"{path} is not a run.json of optbench: it has no suite.resolved")
    try:
        return resolved(meta, path.parent)
    except SuiteError as error:
        raise error.within(str(path)) from None


def resolved_suite(
    meta: Mapping[str, Any],
    run: Path,
    rename: Callable[[str, str], str] | None = None,
) -> dict[str, Any]:
    """Return the resolved suite of a run.json, in which files of plug-ins are found from here.

    Parameters
    ----------
    meta
        The run.json.
    run
        The run's directory: ``directory`` says where the run was made from there.
    rename
        Returns what an entry of a kind (``"problem"`` or ``"optimizer"``) and of some name is
        called from here; by default where its file lies.

    Raises
    ------
    SuiteError
        If a file is neither there nor in the working directory.
    """
    suite: dict[str, Any] = meta["suite"]["resolved"]
    if not isinstance(meta.get("directory"), str):
        return suite  # an earlier optbench's
    folder = made_in(meta, run)

    def find(kind: str, name: str) -> str:
        try:
            return anchored(name, folder)
        except SuiteError as error:
            code = kept_codes(meta, run).get((kind, name))
            if code is None:
                raise
            raise SuiteError(f"{error}; the run kept a copy: {code.place(run)}") from None

    rename = rename or find
    groups = {key: suite[key] for key in ENTRIES if isinstance(suite.get(key), list)}
    names = {
        key: {
            entry["name"]: rename(key, entry["name"])
            for entry in group
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        }
        for key, group in groups.items()
    }
    changed = names.get("optimizer", {})
    renamed = {
        key: [_renamed(entry, names[key], changed) for entry in group]
        for key, group in groups.items()
    }
    return {**suite, **renamed}


def made_in(meta: Mapping[str, Any], run: Path) -> Path:
    """Return the folder that a run was made in, as its run.json tells from the run's directory.

    Of a run in a pack nobody knows; it is this one.
    """
    if pack_of(run) is not None:
        return Path.cwd()
    return Path(normpath(run.resolve() / meta["directory"]))


def _renamed(entry: Any, names: Mapping[str, str], optimizers: Mapping[str, str]) -> Any:
    """Return an entry under its other name, and with those of the optimizers that it changes.

    What it is called stays: it gets a label where its name gave it another title.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return entry
    changed = {optimizers.get(key, key): value for key, value in entry.items()}
    name, title = names[entry["name"]], title_of(entry["name"])
    label = {} if title_of(name) == title else {"label": title}
    return {**label, **changed, "name": name}
