"""The judging part of the gate: a baseline and a fresh run become a verdict.

Pure functions of :class:`optbench.gate.baseline.Baseline` and :class:`optbench.records.RunTables`;
nothing here reads a file or runs a lane. :mod:`~optbench.gate.pairs` says which lanes belong
together; each kind of finding then has its file.
"""

from optbench.gate.baseline import Baseline
from optbench.gate.metric import measure
from optbench.gate.numerics import numerics_findings
from optbench.gate.pairs import Changed, Comparison
from optbench.gate.presence import presence_findings
from optbench.gate.quality import judge, quality_findings
from optbench.gate.reported import test_errors, with_reported
from optbench.gate.settings import settings_findings
from optbench.gate.speed import speed_findings
from optbench.gate.verdict import (
    Finding,
    Gate,
    Group,
    Kind,
    Outcome,
    Reached,
    Severity,
    Verdict,
    worst_first,
)
from optbench.records import RunTables

__all__ = [
    "Finding",
    "Gate",
    "Group",
    "Kind",
    "Outcome",
    "Reached",
    "Severity",
    "Verdict",
    "compare",
    "test_errors",
]


def compare(baseline: Baseline, run: RunTables, gate: Gate | None = None) -> Verdict:
    """Compare a run with a baseline, lane by lane.

    Parameters
    ----------
    baseline
        Beside what its docstring promises, ``meta`` may hold ``test_error``, as
        :func:`test_errors` gives it.
    run
        ``meta`` is run.json, and ``calibration_seconds`` where speed is to be compared.
    gate
        What is let through; the defaults where it is not given.
    """
    comparison = Comparison(baseline, run, gate or Gate())
    settings = settings_findings(comparison)
    changed = Changed.by(settings)
    groups = with_reported(judge(measure(comparison), comparison.gate), comparison)
    findings = [
        *settings,
        *numerics_findings(comparison, changed),
        *quality_findings(groups, comparison.gate, changed),
        *presence_findings(comparison, changed),
        *speed_findings(comparison),
    ]
    return Verdict(worst_first(findings), tuple(groups), len(comparison.matching.pairs))
