"""Models of PyTorch and JAX as problems, beside plain loops of the same stacked lanes.

Both train the textbook's network, a lane for each seed, by SGD on batches of their own; the loop is
``vmap`` of loss and gradient and an update, without recording, rules or files.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed import ours
from benchmarks.speed.contenders import LIBRARIES, has
from benchmarks.speed.measure import Samples, Timed, interleave, timed
from optbench.plugins import new_code_cache
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve

LANES, STEPS, QUICK_STEPS, LR = 16, 64, 16, 0.01
CASE = f"{LANES} lanes"


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time each library's model and its plain loop in turn; return seconds and their ratios."""
    steps = QUICK_STEPS if quick else STEPS
    samples: Samples = {}
    ratios = {}
    for library, title in LIBRARIES.items():
        if not has(library):
            continue
        with new_code_cache():
            pair = {
                f"optbench, {title} model": {CASE: _ours(library, steps)},
                f"plain vmap of {title}": {CASE: _plain(library, steps)},
            }
            for cases in pair.values():
                cases[CASE]()  # what is compiled is compiled now
            found = interleave(pair, rounds, say)
        samples |= found
        mine, theirs = (cases[CASE] for cases in found.values())
        ratios[title] = median(mine) / median(theirs)
    return {"lanes": LANES, "seconds_per_lane_step": samples, "ratios": ratios}


def _ours(library: str, steps: int) -> Timed:
    """Return what times a run of the model in one block."""
    file = Path(__file__).with_name(f"model_{library}.py")
    suite = resolve(
        parse_suite(
            {
                "name": "speed",
                "problem": [{"name": f"{library}:{file}:problem", "stack": "vmap"}],
                "optimizer": [{"name": "sgd", "lr": LR}],
                "iterations": steps,
                "seeds": LANES,
            },
            "benchmark",
        )
    )
    ours.leave_out(suite)
    plan = ours.plan_of(suite)
    return lambda: ours.seconds_per_lane_step(plan)


def _plain(library: str, steps: int) -> Timed:
    loop = import_module(f"benchmarks.speed.model_{library}").plain_loop(LANES, steps, LR)
    return lambda: timed(loop, steps * LANES)
