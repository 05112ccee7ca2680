"""What to do about a failure: one sentence for each kind."""

from optbench.gate.verdict import Kind

REMEDIES = {
    Kind.BASELINE: "if it was changed by mistake, restore it with git; else save it anew: {update}",
    Kind.SETTINGS: "if the change is intended: {update}; else put back what the message names",
    Kind.NUMERICS: "if other numbers are intended: {update}; else look at what has changed in the "
    "code or its libraries since the baseline was saved",
    Kind.QUALITY: "if the change is intended: {update}; else see in the figure where the curves "
    "part; --threshold lets more through",
    Kind.PRESENCE: "if the change is intended: {update}; else see how the lanes ended: "
    "optbench show {run}",
    Kind.SPEED: "repeat it on a quiet machine; if a slower step is intended: {update}",
}
"""By kind, with the command that refreshes the baseline and the run's directory to be filled in."""


def remedy(kind: Kind, update: str, run: str) -> str:
    """Return what to do about failures of a kind.

    >>> remedy(Kind.SPEED, "optbench check ci --update", "results/now")
    'repeat it on a quiet machine; if a slower step is intended: optbench check ci --update'
    """
    return REMEDIES[kind].format(update=update, run=run)
