"""Runs of Weights & Biases, as its own client keeps them offline; ``wandb sync`` uploads them."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from optbench.report.statistics import ENDED_WORST
from optbench.report.trackers.lanes import TrackedLane
from optbench.report.trackers.surroundings import surroundings

PROJECT = "optbench"

LONGEST = 128
"""Signs of a name or a group that the server takes."""


def write(lanes: Iterable[TrackedLane], folder: Path, place: Path) -> None:
    """Write each lane as an offline run, in the folder ``wandb``."""
    with TemporaryDirectory(prefix="optbench-", ignore_cleanup_errors=True) as scratch:
        folders = {f"WANDB_{name}_DIR": scratch for name in ("ARTIFACT", "CACHE", "CONFIG", "DATA")}
        silent = {"WANDB_DISABLE_GIT": "true", "WANDB_ERROR_REPORTING": "false"}
        with surroundings("WANDB_", **silent, **folders):
            _write(lanes, folder)


def _write(lanes: Iterable[TrackedLane], folder: Path) -> None:
    import wandb

    alone = wandb.run is None
    settings = wandb.Settings(
        mode="offline",
        silent=True,
        console="off",
        host="",  # it would be the machine's name
        symlink=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    for lane in lanes:
        run = wandb.init(
            # The same lane is the same run, however often it is exported.
            id=sha256(f"{lane.run} {lane.number}".encode()).hexdigest()[:16],
            dir=str(folder),
            project=PROJECT,
            name=lane.title[:LONGEST],
            group=lane.run[-LONGEST:],
            tags=[lane.status],
            config=dict(lane.config),
            reinit="create_new",  # leaves a run of the user's own alone
            settings=settings,
        )
        for step, values in lane.steps():
            run.log(values, step=step)
        run.summary.update({**lane.summary, "status": lane.status})
        run.finish(exit_code=int(lane.status in ENDED_WORST))
    if alone:  # what comes later in this process shall see the user's surroundings
        wandb.teardown()
