"""``python -m benchmarks.speed`` times all contenders, prints the tables, writes the JSON file."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.speed import (
    cluster,
    function,
    machine,
    memory,
    models,
    network,
    overhead,
    parquet,
    processes,
    programs,
    rules,
    tuning,
)
from benchmarks.speed.contenders import missing, set_threads
from benchmarks.speed.report import document, to_json, to_text
from optbench.store.files import write_beside

SECTIONS = {
    "network": network.run,
    "function": function.run,
    "rules": rules.run,
    "parquet": parquet.run,
    "processes": processes.run,
    "cluster": cluster.run,
    "overhead": overhead.run,
    "tuning": tuning.run,
    "memory": memory.run,
    "models": models.run,
    "programs": programs.run,
}
FOLDER = Path(__file__).parents[2] / "results" / "speed"
ROUNDS, QUICK_ROUNDS = 3, 2


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description="Time optbench beside other ways."
    )
    parser.add_argument("--quick", action="store_true", help="fewer steps and rounds")
    parser.add_argument("--rounds", type=_positive, help="how often each contender is timed")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; repeatable")
    parser.add_argument("--out", type=Path, help="JSON file; by default one in results/speed")
    found = parser.parse_args(given)
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    return found


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def file_name(described: dict[str, Any], *, quick: bool) -> str:
    """Return the name of a machine's file: processor and cores, without what varies or is private.

    >>> file_name({"processor": "AMD EPYC 7B13", "machine": "x86_64", "threads": 2}, quick=True)
    'amd-epyc-7b13-2-cores-quick.json'
    """
    words = re.findall(r"[a-z0-9]+", (described["processor"] or described["machine"]).lower())
    return (
        "-".join([*words, str(described["threads"]), "cores", *["quick"][: int(quick)]]) + ".json"
    )


def main() -> None:
    """Run the sections asked for."""
    asked = arguments()
    threads = set_threads()
    for line in missing():
        _say(f"note: {line}")
    for name, value in machine.held_back().items():
        _say(
            f"note: {name}={value} decides how a library computes here; unset it for its own choice"
        )
    begun, load = time.perf_counter(), machine.load()
    described = {**machine.describe(threads), "load_before": load}
    out = asked.out or FOLDER / file_name(described, quick=asked.quick)
    out.parent.mkdir(parents=True, exist_ok=True)
    sections: dict[str, Any] = {}
    for name in asked.only or SECTIONS:
        with threadpool_limits(limits=threads, user_api="blas"):
            sections[name] = SECTIONS[name](
                asked.rounds, quick=asked.quick, say=lambda line, name=name: _say(f"{name}: {line}")
            )
        described["benchmark_seconds"] = round(time.perf_counter() - begun, 1)
        whole = document(described, sections, rounds=asked.rounds, quick=asked.quick)
        # After each section, so that what fails or is stopped later takes nothing with it.
        write_beside(out, lambda beside, whole=whole: beside.write_text(to_json(whole), "utf-8"))
    sys.stdout.write(to_text(described, sections) + "\n")
    _say(f"written: {out}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
