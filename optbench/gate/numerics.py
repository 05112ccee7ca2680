"""The bits at the start of each trace, and whether they can be expected to be the same."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from optbench.gate.baseline import NUMERICS_ITERATIONS
from optbench.gate.comparison import Comparison, Pair, share_of_lanes
from optbench.gate.verdict import Finding, Kind, Severity
from optbench.report.differences import differences

READERS = ("pandas", "pyarrow", "matplotlib", "threadpoolctl", "numba")
"""Packages whose version does not change a trace: they read, draw, count threads, or are held to
NumPy's bits. Any other library is taken to change it."""

FOREIGN = ("torch", "optax", "jax", "jaxlib")
"""Packages that change a trace only where a plug-in or another library's optimizer computes it."""

MACHINE = ("system", "machine")
"""What else of an environment changes a trace: the system brings the mathematical functions."""


def numerics_findings(comparison: Comparison) -> list[Finding]:
    """Return changed bits, and losses that lie farther from the stored ones than they may.

    A changed bit is a notice in the same environment, and a failure where the gate is strict;
    beyond the tolerance it fails everywhere, as it does where none is stored. Lanes of one
    configuration share a finding, which quotes the lane that differs first. Values that are not
    finite are a matter of presence.
    """
    then, now = _surroundings(comparison.baseline.meta), _surroundings(comparison.run.meta)
    others = [str(difference) for difference in differences(then, now)]
    findings = []
    if others:
        message = "another environment, so bits may differ; only tolerances are checked: "
        message += "; ".join(others[:3]) + ("; …" if others[3:] else "")
        values = {"differences": others}
        findings.append(Finding(Severity.NOTICE, Kind.NUMERICS, "", "", message, values=values))
    cases: dict[tuple[str, str, int], list[_Case]] = defaultdict(list)
    for case in _cases(comparison):
        if case.beyond or not others:
            cases[case.pair.group].append(case)
    sizes = {group[0].group: len(group) for group in comparison.matching.groups()}
    strict = comparison.gate.strict
    findings += [_finding(alike, sizes[group], strict=strict) for group, alike in cases.items()]
    return findings


def _surroundings(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the bits of a trace.

    These are numerics_version, device, system and machine, the BLAS libraries with their core type,
    and the versions of libraries but :data:`READERS`, and but :data:`FOREIGN` where all code is
    optbench's own.
    """
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
        "blas": sorted({" ".join(str(blas.get(name)) for name in names) for blas in libraries}),
        "packages": {name: version for name, version in packages.items() if name not in ignored},
    }


class _Case(NamedTuple):
    """The first rows of a pair of lanes that differ, from iteration ``first`` on.

    The row quoted is the first beyond its tolerance, if any; ``excess`` is the largest difference
    divided by its tolerance.
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
    tolerance = rows["tolerance"].where(np.isfinite(rows["tolerance"]), 0.0).clip(lower=0.0)
    with np.errstate(divide="ignore"):
        rows = rows.assign(tolerance=tolerance, excess=difference / tolerance.to_numpy())
    for position, part in rows.groupby("pair"):
        beyond = part[part["excess"] > 1.0]
        quoted = (part if beyond.empty else beyond).iloc[0]
        yield _Case(
            comparison.matching.pairs[int(str(position))],
            first=int(part["iteration"].iloc[0]),
            iteration=int(quoted["iteration"]),
            then=float(quoted["then"]),
            now=float(quoted["now"]),
            tolerance=float(quoted["tolerance"]),
            excess=float(part["excess"].max()),
            beyond=not beyond.empty,
        )


def _finding(cases: list[_Case], lanes: int, *, strict: bool) -> Finding:
    """Return what the lanes of one configuration have in common, quoting the first to differ."""
    beyond = [case for case in cases if case.beyond]
    quoted = min(beyond or cases, key=lambda case: (case.iteration, case.pair.seed))
    pair = quoted.pair
    message = (
        f"loss {quoted.then!r} then, {quoted.now!r} now at iteration {quoted.iteration}, "
        f"{abs(quoted.now - quoted.then):.3g} apart (tolerance {quoted.tolerance:.3g})"
    )
    if beyond and quoted.first < quoted.iteration:
        message += f"; bits differ from iteration {quoted.first}"
    message += share_of_lanes(len(beyond or cases), lanes)
    return Finding(
        Severity.FAILURE if beyond or strict else Severity.NOTICE,
        Kind.NUMERICS,
        pair.problem,
        pair.label,
        message,
        seed=pair.seed,
        iteration=quoted.iteration,
        setting=pair.setting,
        size=max(case.excess for case in cases),
        values={
            "then": quoted.then,
            "now": quoted.now,
            "tolerance": quoted.tolerance,
            "first_iteration": quoted.first,
            "beyond_tolerance": bool(beyond),
            "seeds": [case.pair.seed for case in beyond or cases],
        },
    )
