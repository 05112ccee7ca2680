"""What readers need of a run.json or a tune.json, checked before anything relies on it.

Keys that are not named here may be missing or hold anything; a later optbench may add others. What
has a default may be missing, since earlier versions did not write it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from optbench.errors import ResultsError, UsageError, first_complaint
from optbench.store.thinning import ALL, kept_every

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel, strict=True):
    """A part of a JSON file, whose values have the types named here."""


class _Entry(_Part):
    name: str


class _Resolved(_Part):
    problem: list[_Entry] = []


class _Suite(_Part):
    name: str
    resolved: _Resolved = _Resolved()


class _Problem(_Part):
    problem: str
    batch_size: int | None
    iterations_per_epoch: int | None
    iterations: int = 1
    dtype: Literal["float32", "float64"] = "float64"
    stochastic: bool = False
    definition: dict[str, Any] = {}
    stream_digests: dict[str, str] = {}
    variant_of: str | None = None
    alone_seconds: dict[str, Annotated[Finite, Field(gt=0.0)]] = {}


class _Network(_Problem):
    kind: Literal["network"]


class _Minimum(_Part):
    position: list[Finite] | None
    value: Finite


class _Plot(_Part):
    domain: list[Annotated[list[Finite], Field(min_length=2, max_length=2)]]
    levels: list[Finite] | None
    guessed: list[bool] | None = None


class _Function(_Problem):
    kind: Literal["function"]
    variables: list[str]
    minima: list[_Minimum]
    plot: _Plot | None

    @model_validator(mode="after")
    def _dimensions_agree(self) -> Self:
        positions = [minimum.position for minimum in self.minima]
        counts = [len(position) for position in positions if position is not None]
        if self.plot:
            counts += [len(self.plot.domain), len(self.plot.guessed or self.plot.domain)]
        if any(count != len(self.variables) for count in counts):
            raise ValueError(f"minima or domain do not fit {len(self.variables)} variables")
        return self


class _Optimizer(_Part):
    label: str


class _Environment(_Part):
    packages: dict[str, Any] = {}
    blas: list[dict[str, Any]] = []


class _Failure(_Part):
    message: str
    lanes: list[int]
    traceback: str


def _kept(trace: str) -> str:
    try:
        kept_every(trace)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return trace


class _Description(_Part):
    started: str
    status: str
    invocation_id: str
    suite: _Suite
    optimizers: list[_Optimizer] = []
    environment: _Environment = _Environment()
    device: dict[str, Any] = {}
    failures: list[_Failure] = []
    calibration_seconds: Annotated[Finite, Field(gt=0.0)] | None = None
    trace: Annotated[str, AfterValidator(_kept)] = ALL
    problems: list[Annotated[_Function | _Network, Field(discriminator="kind")]]


class _Budget(_Part):
    given: str
    amount: Finite
    unit: str
    trials: dict[str, dict[str, int]]


class _Round(_Part):
    phase: str
    run: str


class _Winner(_Part):
    problem: str
    label: str
    trial: int
    hyperparameters: dict[str, Finite | str]
    search_score: Finite | None = None
    finalist_score: Finite | None = None
    edge: str | None = None


class _Target(_Part):
    rule: str
    on: str
    value: Finite | None


class _Study(_Part):
    started: str
    status: str
    suite: _Suite
    spaces: dict[str, dict[str, dict[str, str]]] = {}
    space_sources: dict[str, Any] = {}
    sampler: str
    budget: _Budget
    metric: dict[str, str]
    target: dict[str, _Target] = {}
    tuning_seeds: list[int] = []
    finalist_seeds: list[int] = []
    evaluation_seeds: list[int] = []
    halving: dict[str, Any] | None = None
    rounds: list[_Round]
    winners: list[_Winner] = []


def check_shape(model: type[BaseModel], meta: Mapping[str, Any], file: Path) -> None:
    """Check what a JSON file holds against a model; an error names the first mistake."""
    try:
        model.model_validate(meta)
    except ValidationError as error:
        location, reason = first_complaint(error)
        where = ".".join(map(str, location))
        raise ResultsError(f"'{file}' is damaged: {where}: {reason}") from None


def check_description(meta: Mapping[str, Any], file: Path) -> None:
    """Check that a run.json holds what readers need of it."""
    check_shape(_Description, meta, file)
    _check_finite(meta, file)


def check_study(meta: Mapping[str, Any], file: Path) -> None:
    """Check that a tune.json holds what readers need of it."""
    check_shape(_Study, meta, file)
    _check_finite(meta, file)


def _check_finite(meta: Mapping[str, Any], file: Path) -> None:
    try:
        json.dumps(meta, allow_nan=False)
    except ValueError:  # Python reads NaN and Infinity, which JSON does not have
        raise ResultsError(f"'{file}' is damaged: it holds a number that is not finite") from None
