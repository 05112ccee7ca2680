"""The judging part of the gate: a baseline and a run become a verdict.

Nothing here, nor in the files of each kind of finding, reads a file or runs a lane.
"""

from optbench.gate.baseline import Baseline
from optbench.gate.comparison import Changed, Comparison
from optbench.gate.metric import measure
from optbench.gate.numerics import numerics_findings
from optbench.gate.presence import presence_findings
from optbench.gate.quality import judge, quality_findings
from optbench.gate.reported import with_reported
from optbench.gate.settings import settings_findings
from optbench.gate.speed import speed_findings
from optbench.gate.verdict import Gate, Verdict, worst_first
from optbench.records import RunTables


def compare(baseline: Baseline, run: RunTables, gate: Gate | None = None) -> Verdict:
    """Compare a run with a baseline, lane by lane; without a gate, by its defaults."""
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
