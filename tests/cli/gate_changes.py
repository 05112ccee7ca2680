"""What is done to a run, a baseline or the code before the gate looks at them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from optbench.engine.stepper import Stepper
from optbench.gate import speed
from optbench.optimizers.base import powers
from optbench.optimizers.rules import adam
from optbench.problems.networks.classifier import Classifier
from optbench.records import SCHEMA_VERSION
from optbench.store.reader import read_lanes
from tests.cli.command import optbench
from tests.cli.gate import SUITE, Desk, described, is_lane, table


def nothing(desk: Desk) -> None:
    """Leave everything as it was."""


def losses(problem: str, label: str, factor: float) -> Callable[[Desk], None]:
    return lambda desk: desk.losses(problem, label, factor)


def ran(*arguments: object, **changes: str) -> Callable[[Desk], None]:
    """Run the suite with flags, and with texts of it replaced."""
    text = SUITE
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return lambda desk: desk.run(*arguments, text=text)


def starts_beside(desk: Desk) -> None:
    begin = Stepper.__init__

    def beside(self, *arguments, **others):
        begin(self, *arguments, **others)
        rows = self._params.rows
        rows[...] = np.nextafter(rows, np.where(np.arange(rows.shape[1]) % 2, np.inf, -np.inf))

    desk.patch.setattr(Stepper, "__init__", beside)


def another_order(desk: Desk) -> None:
    """Take the examples of every batch from last to first: the same mean, added up otherwise."""
    batch = Classifier.batch

    def backwards(self, data, draws, *, work):
        return batch(self, data, {k: v[:, ::-1] for k, v in draws.items()}, work=work)

    desk.patch.setattr(Classifier, "batch", backwards)


def sign_error(desk: Desk) -> None:
    """Plant 1 + βᵗ in place of 1 − βᵗ."""
    desk.patch.setattr(adam, "correction", lambda beta, _, updates: 1.0 + powers(beta, updates))


def another_default(desk: Desk) -> None:
    others = tuple(
        replace(each, default=0.95) if each.name == "beta1" else each
        for each in adam.Adam.hyperparameters
    )
    desk.patch.setattr(adam.Adam, "hyperparameters", others)


def one_bit(desk: Desk) -> None:
    def change(trace):
        row = (trace["lane"] == 0) & (trace["iteration"] == 10)
        trace.loc[row, "loss"] = np.nextafter(trace.loc[row, "loss"], np.inf)

    desk.trace(change)


def one_bit_elsewhere(desk: Desk) -> None:
    one_bit(desk)
    there = json.loads((desk.now / "run.json").read_text())["environment"]
    there["blas"] = [{"internal_api": "openblas", "version": "1", "architecture": "Elsewhere"}]
    desk.meta(environment=there)


def no_number(desk: Desk) -> None:
    desk.trace(lambda trace: trace.__setitem__("loss", trace["loss"].where(first_lane(trace, 30))))


def first_lane(trace, iteration):
    return (trace["lane"] != 0) | (trace["iteration"] != iteration)


def ended(status: str, at: int | None = None) -> Callable[..., None]:
    """Let a lane end in another way."""

    def change(lanes):
        which = is_lane(lanes, "net", "adam", 3)
        lanes.loc[which, ["status", "diverged_at", "final_loss"]] = (status, at, np.nan)

    return change


def diverged_now(desk: Desk) -> None:
    desk.lanes(ended("diverged", 30))


def diverged_then(desk: Desk) -> None:
    table(desk.baseline / "lanes.parquet", ended("diverged", 30))
    lanes = read_lanes(desk.baseline)
    (lane,) = lanes.loc[is_lane(lanes, "net", "adam", 3), "lane"]

    def cut(rows):
        return rows[(rows["lane"] != lane) | (rows["iteration"] <= 30)]

    table(desk.baseline / "trace.parquet", cut)
    desk.seal()


def failed_now(desk: Desk) -> None:
    desk.lanes(ended("failed"))
    (lane,) = read_lanes(desk.now).loc[lambda lanes: is_lane(lanes, "net", "adam", 3), "lane"]
    desk.meta(failures=[{"message": "ValueError: no", "lanes": [int(lane)], "traceback": ""}])


def problems_lost(desk: Desk) -> None:
    desk.meta(problems=[])


def lane_missing(desk: Desk) -> None:
    desk.lanes(lambda lanes: lanes[~is_lane(lanes, "net", "sgd", 5)])


def other_data(desk: Desk) -> None:
    problems = json.loads((desk.now / "run.json").read_text())["problems"]
    for each in problems:
        if each["problem"] == "net":
            (name,) = each["definition"]["data"]["checksums"]
            each["definition"]["data"]["checksums"] = {name: "0" * 64}
            each["fingerprint"] = "f" * 64
    desk.meta(problems=problems)


def steps_slower(desk: Desk) -> None:
    desk.patch.setattr(speed, "SHORTEST_SECONDS", 0.1)
    for folder, seconds in ((desk.baseline, 0.01), (desk.now, 0.02)):
        table(folder / "lanes.parquet", lambda x, to=seconds: x.__setitem__("step_seconds", to))
    same = {"calibration_seconds": 0.001}
    described(desk.baseline / "baseline.json", **same)
    desk.seal()
    desk.meta(**same)


def few_seeds(desk: Desk) -> None:
    few = SUITE.replace("seeds = 8", "seeds = 3")
    shutil.rmtree(desk.baseline)
    desk.run(text=few)
    assert optbench("baseline", "save", "now", cwd=desk.cwd).code == 0
    desk.losses("net", "adam", 1.5)


def text_in(name: str, text: str) -> Callable[[Desk], None]:
    return lambda desk: (desk.baseline / name).write_text(text)


def cut(name: str) -> Callable[[Desk], None]:
    """Leave half of a file."""

    def do(desk: Desk) -> None:
        file = desk.baseline / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return do


def described_as(**values: object) -> Callable[[Desk], None]:
    return lambda desk: described(desk.baseline / "baseline.json", **values)


def without_baselines(desk: Desk) -> None:
    shutil.rmtree(desk.baseline.parent)


def two_baselines(desk: Desk) -> None:
    shutil.copytree(desk.baseline, desk.baseline.with_name("second"))


def newer_run(desk: Desk) -> None:
    desk.meta(schema_version=SCHEMA_VERSION + 1)
