"""When a check fails, and when it just does not: the list of docs/ci.md, condition by condition."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from optbench.gate.compare import compare
from optbench.gate.integrity import integrity_findings
from optbench.gate.verdict import Gate, Kind
from optbench.records import SCHEMA_VERSION
from tests.gate.made import (
    ROWS,
    TOLERANCE,
    edited,
    function_lanes,
    made,
    network_lanes,
    saved,
    with_rows,
    without_lanes,
)

NETWORK, FUNCTION = "mnist-mlp", "anisotropic"


def full_run(seeds=8):
    """Return a run of two optimizers, one a plug-in's: on a function, and on seeds of a network.

    Nothing is random on the function.
    """
    sgd = function_lanes()[0]
    lanes = [sgd, replace(sgd, label="adam"), *network_lanes(seeds=range(seeds), step_seconds=0.01)]
    names = {"problem": (FUNCTION, NETWORK), "optimizer": ("sgd", "adam")}
    resolved = {kind: [{"name": name} for name in each] for kind, each in names.items()}
    suite = {"name": "test", "resolved": {"name": "test", **resolved}}
    run = made(lanes, suite=suite, calibration_seconds=2e-3)
    for entry in run.meta["problems"]:
        entry["random"] = entry["problem"] == NETWORK
    of(run.meta["problems"], NETWORK)["iterations"] = ROWS
    of(run.meta["optimizers"], "adam")["source"] = {"place": "/a/adam.py", "sha256": "1" * 64}
    return run


def of(entries, name):
    return next(each for each in entries if name in (each.get("problem"), each.get("label")))


RUN = full_run()
BASELINE = saved(RUN)


def baseline(change=lambda meta: None, **tables):
    """Return another baseline, and the run."""
    meta = deepcopy(RUN.meta)
    change(meta)
    return replace(BASELINE, meta=meta, **tables), RUN


def run(change=lambda meta: None, tables=RUN):
    """Return the baseline, and a run with another run.json."""
    meta = deepcopy(tables.meta)
    change(meta)
    return BASELINE, replace(tables, meta=meta)


def final_losses(problem, label, factors):
    """Return a run with the final losses of a group multiplied."""
    lanes = RUN.lanes.copy()
    chosen = (lanes["problem"] == problem) & (lanes["label"] == label)
    lanes.loc[chosen, "final_loss"] *= factors
    return BASELINE, replace(RUN, lanes=lanes)


def lane_of(problem, label, seed):
    lanes = RUN.lanes
    chosen = (lanes["problem"] == problem) & (lanes["label"] == label) & (lanes["seed"] == seed)
    return int(lanes.loc[chosen, "lane"].iloc[0])


def one_loss(change, iteration):
    """Return a run in which a loss of a lane of the network is another."""
    lane = lane_of(NETWORK, "adam", 3)
    return run(
        tables=with_rows(
            RUN,
            lambda rows: (rows["lane"] == lane) & (rows["iteration"] == iteration),
            change(RUN.trace["loss"]),
        )
    )


def ended(status, at=None, side=RUN):
    """Return tables in which a lane of the network ends in another way."""
    return edited(
        side, "adam", (3,), status=status, diverged_at=at, final_loss=np.nan, iterations=at
    )


def diverged(at):
    tables = ended("diverged", float(at))
    gone = (tables.trace["lane"] == lane_of(NETWORK, "adam", 3)) & (tables.trace["iteration"] > at)
    return replace(tables, trace=tables.trace[~gone])


def few(seeds, factor):
    """Return a baseline and a run of few seeds, all of them worse by a factor on the network."""
    full = full_run(seeds)
    factors = np.where(full.lanes["problem"] == NETWORK, factor, 1.0)
    return saved(full), edited(full, final_loss=factors * full.lanes["final_loss"])


MIXED = np.array([1.6, 0.7, 1.5, 0.75, 1.6, 0.7, 1.5, 1.2])  # worse on average, as chance may be
WORSE = np.array([1.06, 1.07, 1.08, 1.06, 1.07, 1.08, 1.06, 1.07])


class Condition(NamedTuple):
    """What fails a check, and the nearest thing that does not; both are made when it is tested."""

    kind: Kind
    fails: Callable
    passes: Callable
    gate: Gate = Gate()


STRICT, ON_SPEED = Gate(strict=True), Gate(fail_on_speed=True)

CONDITIONS = {
    "saved by an earlier optbench": Condition(
        Kind.BASELINE,
        lambda: baseline(lambda meta: meta.update(schema_version=2)),
        lambda: baseline(lambda meta: meta.update(schema_version=SCHEMA_VERSION)),
    ),
    "changed after it was saved": Condition(
        Kind.BASELINE,
        lambda: baseline(changed=("lanes.parquet",)),
        lambda: baseline(lambda meta: meta.update(thresholds={NETWORK: 0.2})),
    ),
    "something that is compared is missing": Condition(
        Kind.BASELINE,
        lambda: baseline(trace=BASELINE.trace[BASELINE.trace["iteration"] != 49]),
        lambda: baseline(trace=BASELINE.trace[BASELINE.trace["iteration"] != 50]),
    ),
    "another hyperparameter": Condition(
        Kind.SETTINGS,
        lambda: run(tables=edited(RUN, "adam", hp_lr=0.1000001)),
        lambda: run(tables=edited(RUN, "adam", hp_lr=0.1)),
    ),
    "another definition of a problem": Condition(
        Kind.SETTINGS,
        lambda: run(
            lambda meta: of(meta["problems"], NETWORK).update(
                fingerprint="n2", definition={"data": "other"}
            )
        ),
        lambda: run(lambda meta: of(meta["problems"], NETWORK).update(plot={"levels": []})),
    ),
    "other code of a problem": Condition(
        Kind.SETTINGS,
        lambda: plugged("problems", NETWORK),
        lambda: plugged("optimizers", "adam"),
    ),
    "other starts or batches": Condition(
        Kind.SETTINGS,
        lambda: run(lambda meta: of(meta["problems"], NETWORK)["stream_digests"].update({"3": ""})),
        lambda: run(lambda meta: of(meta["problems"], NETWORK)["stream_digests"].update({"9": ""})),
    ),
    "other iterations": Condition(
        Kind.SETTINGS,
        lambda: run(lambda meta: of(meta["problems"], NETWORK).update(iterations=ROWS + 1)),
        lambda: run(lambda meta: meta.update(started="another day")),
    ),
    "another rule": Condition(
        Kind.SETTINGS,
        lambda: run(lambda meta: of(meta["optimizers"], "sgd").update(rule="momentum")),
        lambda: run(lambda meta: of(meta["optimizers"], "sgd").update(name="plain")),
    ),
    "farther than the tolerance": Condition(
        Kind.NUMERICS,
        lambda: one_loss(lambda loss: loss + 1.01 * TOLERANCE, 49),
        lambda: one_loss(lambda loss: loss + 0.99 * TOLERANCE, 49),
    ),
    "in the first 50 losses": Condition(
        Kind.NUMERICS,
        lambda: one_loss(lambda loss: 2.0 * loss, 49),
        lambda: one_loss(lambda loss: 2.0 * loss, 50),
    ),
    "a bit, with --strict": Condition(
        Kind.NUMERICS,
        lambda: one_loss(lambda loss: np.nextafter(loss, 9.0), 7),
        lambda: run(
            lambda meta: meta["environment"].update(machine="another"),
            one_loss(lambda loss: np.nextafter(loss, 9.0), 7)[1],
        ),
        STRICT,
    ),
    "worse on average by more than the threshold": Condition(
        Kind.QUALITY,
        lambda: final_losses(NETWORK, "adam", 1.0501),
        lambda: final_losses(NETWORK, "adam", 1.0499),
    ),
    "and by more than chance explains": Condition(
        Kind.QUALITY,
        lambda: final_losses(NETWORK, "adam", WORSE),
        lambda: final_losses(NETWORK, "adam", MIXED),
    ),
    "with at least 8 seeds": Condition(Kind.QUALITY, lambda: few(8, 2.0), lambda: few(7, 2.0)),
    "by more than the threshold where nothing is random": Condition(
        Kind.QUALITY,
        lambda: final_losses(FUNCTION, "sgd", 1.0501),
        lambda: final_losses(FUNCTION, "sgd", 1.0499),
    ),
    "a lane is missing": Condition(
        Kind.PRESENCE,
        lambda: run(tables=without_lanes(RUN, lambda lanes: lanes["seed"] == 7)),
        lambda: (saved(full_run(7)), RUN),
    ),
    "a lane failed": Condition(
        Kind.PRESENCE,
        lambda: run(tables=ended("failed")),
        lambda: run(lambda meta: meta.update(failures=[])),
    ),
    "a lane did not end": Condition(
        Kind.PRESENCE,
        lambda: run(tables=edited(RUN, "adam", (3,), status="interrupted")),
        lambda: run(tables=edited(RUN, "adam", (3,), status="stopped", stopped_at=ROWS - 1.0)),
    ),
    "a lane diverges that did not": Condition(
        Kind.PRESENCE,
        lambda: run(tables=diverged(60)),
        lambda: (saved(diverged(60)), diverged(40)),
    ),
    "a loss is no number": Condition(
        Kind.PRESENCE,
        lambda: one_loss(lambda loss: np.nan * loss, 60),
        lambda: one_loss(lambda loss: np.nan * loss, 61),  # a row that the baseline does not keep
    ),
    "a final loss is no number": Condition(
        Kind.PRESENCE,
        lambda: run(tables=edited(RUN, "adam", (3,), final_loss=np.nan)),
        lambda: run(tables=edited(RUN, "adam", (3,), best_loss=np.nan)),
    ),
    "a slower step, with --fail-on-speed": Condition(
        Kind.SPEED,
        lambda: run(tables=edited(RUN, "adam", step_seconds=0.0151)),
        lambda: run(tables=edited(RUN, "adam", step_seconds=0.0149)),
        ON_SPEED,
    ),
}


def plugged(key, name):
    """Return a baseline and a run between which the code of a problem or an optimizer changed."""
    sides = []
    for digit in "12":
        meta = deepcopy(RUN.meta)
        of(meta[key], name)["source"] = {"place": "/a/mine.py", "sha256": 64 * digit}
        sides.append(meta)
    return replace(BASELINE, meta=sides[0]), replace(RUN, meta=sides[1])


def failures(sides, gate):
    """Return the kinds of all failures."""
    findings = [*integrity_findings(sides[0]), *compare(*sides, gate).findings]
    return {finding.kind for finding in findings if finding.severity == "failure"}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_a_check_fails_under_each_condition_and_not_just_beside_it(condition):
    assert condition.kind in failures(condition.fails(), condition.gate)
    assert failures(condition.passes(), condition.gate) == set()


def test_every_kind_of_finding_has_a_condition():
    assert {condition.kind for condition in CONDITIONS.values()} == set(Kind)
