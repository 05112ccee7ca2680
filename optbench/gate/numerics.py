"""The bits at the start of each trace, and whether they can be expected to be the same."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from optbench.gate.baseline import NUMERICS_ITERATIONS
from optbench.gate.differences import Difference, differences, share_of_lanes
from optbench.gate.pairs import Changed, Comparison, Pair
from optbench.gate.verdict import Finding, Kind, Severity

READERS = ("pandas", "pyarrow", "matplotlib", "threadpoolctl", "numba")
"""Packages whose version has no part in a trace: they read, draw, count threads, or are held to
NumPy's bits. A library that is not named here is taken to have a part."""

FOREIGN = ("torch", "optax", "jax", "jaxlib")
"""Packages that change a trace only where a plug-in or another library's optimizer computes it."""

MACHINE = ("system", "machine")
"""What else of an environment has a part: the system brings the mathematical functions."""


def numerics_findings(comparison: Comparison, changed: Changed) -> list[Finding]:
    """Return changed bits, and losses that lie further from the stored ones than they may.

    A changed bit is a notice in the same environment, and a failure where the gate is strict;
    beyond the tolerance it fails everywhere. Lanes of one configuration share a finding, which
    quotes the lane that differs first. Values that are not finite are a matter of presence.
    """
    if not comparison.matching.pairs:
        return []
    others = surroundings_differences(comparison.baseline.meta, comparison.run.meta)
    findings = [_elsewhere(others)] if others else []
    cases: dict[tuple[str, str, int], list[_Case]] = defaultdict(list)
    for case in _cases(comparison):
        if case.beyond or not others:
            cases[case.pair.group].append(case)
    sizes = {group[0].group: len(group) for group in comparison.matching.groups()}
    for group, found in cases.items():
        findings.append(_finding(found, sizes[group], changed, strict=comparison.gate.strict))
    return findings


def surroundings_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return how two environments differ in what decides bits; nothing means the same ones.

    These are numerics_version, device, system and machine, the BLAS libraries with their core type,
    and the versions of libraries but :data:`READERS`, and but :data:`FOREIGN` where all code is
    optbench's own.
    """
    return list(differences(_surroundings(then), _surroundings(now)))


def _surroundings(meta: Mapping[str, Any]) -> dict[str, Any]:
    environment = meta.get("environment") or {}
    device = {name: value for name, value in (meta.get("device") or {}).items() if name != "number"}
    packages = environment.get("packages") or {}
    libraries = environment.get("blas") or []
    code = [
        entry.get("source") for key in ("optimizers", "problems") for entry in meta.get(key, ())
    ]
    ignored = READERS if any(isinstance(source, dict) for source in code) else (*READERS, *FOREIGN)
    names = ("internal_api", "version", "architecture")
    return {
        "numerics_version": meta.get("numerics_version"),
        "device": device,
        **{name: environment.get(name) for name in MACHINE},
        "simd": environment.get("simd"),
        "blas": sorted({" ".join(str(each.get(name)) for name in names) for each in libraries}),
        "packages": {name: found for name, found in packages.items() if name not in ignored},
    }


def _elsewhere(others: list[Difference]) -> Finding:
    told = "; ".join(str(each) for each in others[:3]) + ("; …" if others[3:] else "")
    return Finding(
        Severity.NOTICE,
        Kind.NUMERICS,
        "",
        "",
        f"another environment, so bits may differ and only tolerances are held to: {told}",
        values={"differences": [str(each) for each in others]},
    )


class _Case(NamedTuple):
    """The first rows of a pair of lanes that differ.

    Attributes
    ----------
    first
        The first iteration that differs; the row quoted is the first beyond the tolerance, or this.
    excess
        The largest difference divided by its tolerance.
    """

    pair: Pair
    first: int
    iteration: int
    then: float
    now: float
    tolerance: float
    excess: float
    beyond: bool


def _cases(comparison: Comparison) -> Iterable[_Case]:
    rows = comparison.rows
    rows = rows[rows["iteration"].lt(NUMERICS_ITERATIONS) & rows["found"]]
    finite = np.isfinite(rows["then"].to_numpy()) & np.isfinite(rows["now"].to_numpy())
    rows = rows[finite & (rows["then"] != rows["now"]).to_numpy()]
    difference = np.abs(rows["now"].to_numpy() - rows["then"].to_numpy())
    tolerance = rows["tolerance"].fillna(np.inf).to_numpy()
    with np.errstate(divide="ignore"):
        rows = rows.assign(tolerance=tolerance, excess=difference / tolerance)
    for place, part in rows.groupby("pair"):
        yield _case(comparison.matching.pairs[int(str(place))], part)


def _case(pair: Pair, rows: pd.DataFrame) -> _Case:
    beyond = rows[rows["excess"] > 1.0]
    quoted = (rows if beyond.empty else beyond).iloc[0]
    return _Case(
        pair,
        first=int(rows["iteration"].iloc[0]),
        iteration=int(quoted["iteration"]),
        then=float(quoted["then"]),
        now=float(quoted["now"]),
        tolerance=float(quoted["tolerance"]),
        excess=float(rows["excess"].max()),
        beyond=not beyond.empty,
    )


def _finding(cases: list[_Case], lanes: int, changed: Changed, *, strict: bool) -> Finding:
    """Return what the lanes of one configuration have in common, told of the first to differ."""
    beyond = [case for case in cases if case.beyond]
    told = min(beyond or cases, key=lambda case: (case.iteration, case.pair.seed))
    pair = told.pair
    consequence = changed.has(pair.problem, pair.label)
    allowed = "none stored" if np.isinf(told.tolerance) else f"{told.tolerance:.3g}"
    message = (
        f"loss {told.then!r} then, {told.now!r} now at iteration {told.iteration}, "
        f"{abs(told.now - told.then):.3g} apart (tolerance {allowed})"
    )
    if beyond and told.first < told.iteration:
        message += f"; bits differ from iteration {told.first}"
    message += share_of_lanes(len(beyond or cases), lanes)
    message += "; its settings differ too" if consequence else ""
    return Finding(
        Severity.FAILURE if beyond or strict else Severity.NOTICE,
        Kind.NUMERICS,
        pair.problem,
        pair.label,
        message,
        seed=pair.seed,
        iteration=told.iteration,
        setting=pair.setting,
        consequence=consequence,
        size=max(case.excess for case in cases),
        values={
            "then": told.then,
            "now": told.now,
            "tolerance": None if np.isinf(told.tolerance) else told.tolerance,
            "first_iteration": told.first,
            "beyond_tolerance": bool(beyond),
            "seeds": [case.pair.seed for case in beyond or cases],
        },
    )
