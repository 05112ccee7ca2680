"""A run of the benchmark as Markdown tables and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.speed.measure import Spread, pooled, spread
from benchmarks.speed.targets import Sections, Target, medians, share_of_product_rate, targets

SCHEMA_VERSION = 1
OURS = "optbench"

Row = Sequence[str]


def table(header: Row, rows: Sequence[Row]) -> str:
    r"""Return a Markdown table, its columns padded; the first stands left, the others right.

    >>> print(table(["name", "ms"], [["a", "1.0"], ["longer", "12.0"]]))
    | name   |   ms |
    | ------ | ---: |
    | a      |  1.0 |
    | longer | 12.0 |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Row) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), f"| {' | '.join(rule)} |", *map(line, rows)])


def digits(value: float) -> str:
    """Write a number with three significant digits and no exponent.

    >>> digits(0.4567), digits(12.34), digits(98765.0)
    ('0.457', '12.3', '98,765')
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def lane_step_table(section: Mapping[str, Any], unit: str, scale: float) -> str:
    """Return the times of a lane-step of all contenders, and what can be told of their rate."""
    has_rate = "flop_per_second" in section
    cases = dict.fromkeys(
        case for samples in section["seconds_per_lane_step"].values() for case in samples
    )
    by_case = list(cases) if len(cases) > 1 else []
    header = [f"{unit} a lane-step", "median", "lowest", "highest", *by_case]
    rows = []
    for name, samples in section["seconds_per_lane_step"].items():
        whole = pooled(samples)
        values = [whole.median, whole.lowest, whole.highest]
        row = [name, *(digits(value * scale) for value in values)]
        row += [
            digits(median(samples[case]) * scale) if case in samples else "" for case in by_case
        ]
        if has_rate:
            row.append(f"{100 * share_of_product_rate(section, whole.median):.0f} %")
        rows.append(row)
    return table([*header, "of product rate"] if has_rate else header, rows)


def ratio_table(section: Mapping[str, Any]) -> str:
    """Return how many times faster optbench is than each of the others, by medians."""
    times = medians(section)
    ours = [name for name in times if name.startswith(OURS)]
    rows = [
        [name, *(digits(times[name] / times[one]) for one in ours)]
        for name in times
        if name not in ours
    ]
    return table(["times faster than", *(name.removeprefix(f"{OURS}, ") for name in ours)], rows)


def target_table(found: Sequence[Target]) -> str:
    """Return what is to be reached and what was, as far as it was measured."""
    rows = []
    for each in found:
        if each.found is not None:
            limit = f"{'≤' if each.at_most else '≥'} {each.to_reach:g}"
            name = f"{each.name} ({each.unit})"
            rows.append([name, limit, digits(each.found), "yes" if each.reached else "no"])
    return table(["to reach on 2 cores", "target", "found", "reached"], rows)


def document(
    machine: Mapping[str, Any], sections: Sections, *, rounds: int, quick: bool
) -> dict[str, Any]:
    """Return all that is written to the JSON file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "quick": quick,
        "rounds": rounds,
        "machine": dict(machine),
        "targets": [{**asdict(each), "reached": each.reached} for each in targets(sections)],
        "sections": {name: {**each, **_summary(each)} for name, each in sections.items()},
    }


def _summary(section: Mapping[str, Any]) -> dict[str, Any]:
    times = section.get("seconds_per_lane_step", {})
    if not times:
        return {}
    spreads: dict[str, Spread] = {name: pooled(cases) for name, cases in times.items()}
    return {"summary": {name: asdict(each) for name, each in spreads.items()}}


def to_json(document: Mapping[str, Any]) -> str:
    """Return the document as JSON."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_text(machine: Mapping[str, Any], sections: Sections) -> str:
    """Return the tables of all sections that were run, for a terminal or a README."""
    parts = [
        f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores used, "
        f"Python {machine['python']}, NumPy {machine['packages']['numpy']}{_kernels(machine)}, "
        f"{machine['date']}"
    ]
    if "network" in sections:
        section = sections["network"]
        rate = pooled(section["flop_per_second"])
        parts += [
            f"Network on {section['data']}: 784-100-100-100-100-10, batch 128, "
            f"{section['flop_per_lane_step'] / 1e6:.0f} MFLOP a lane-step; large float32 products: "
            f"{digits(rate.median / 1e9)} GFLOP/s "
            f"({digits(rate.lowest / 1e9)} to {digits(rate.highest / 1e9)})",
            lane_step_table(section, "ms", 1e3),
            ratio_table(section),
        ]
    if "function" in sections:
        parts += [
            "Function x²/20 + y², Adam, float64, losses and positions in memory",
            lane_step_table(sections["function"], "ns", 1e9),
            ratio_table(sections["function"]),
        ]
    parts += [*_lines(sections), target_table(targets(sections))]
    return "\n\n".join(parts)


def _kernels(machine: Mapping[str, Any]) -> str:
    """Return which kernels NumPy's BLAS takes, where it says so."""
    names = dict.fromkeys(each["architecture"] for each in machine["blas"] if each["architecture"])
    return f" with BLAS kernels for {' and '.join(names)}" if names else ""


def _lines(sections: Sections) -> list[str]:
    """Return a line for each of the smaller sections."""
    lines = []
    if "programs" in sections:
        parts = sections["programs"]["seconds"]
        for case in next(iter(parts.values())):
            told = "; ".join(f"{name} {_range(spread(each[case]))}" for name, each in parts.items())
            steps = sections["programs"]["iterations"]
            lines.append(f"Whole programs, s, 4 optimizers, {case}, {steps:,} iterations: {told}")
    if "parquet" in sections:
        rate = spread(sections["parquet"]["rows_per_second"])
        lines.append(f"Trace to parquet: {_range(rate, 1e-6)} million rows a second")
    if "rules" in sections:
        ratios = sorted(sections["rules"]["ratios"].items(), key=lambda each: -each[1])
        told = ", ".join(f"{name} {digits(ratio)}" for name, ratio in ratios)
        lanes = sections["rules"]["lanes"]
        lines.append(f"Step of the network beside Adam's, {lanes} lanes: {told}")
    for title, ratio in sections.get("models", {}).get("ratios", {}).items():
        lanes = sections["models"]["lanes"]
        lines.append(f"{title} model beside a plain loop of vmap, {lanes} lanes: {digits(ratio)} ×")
    for name, seconds in sections.get("processes", {}).get("seconds", {}).items():
        lines.append(f"{name}: {_range(spread(seconds))} s")
    if shares := sections.get("overhead", {}).get("shares"):
        lines.append(f"Logging and display: {_range(spread(shares), 100)} % of the CPU time")
    for place, ways in sections.get("cluster", {}).get("seconds", {}).items():
        for workers, seconds in ways.items():
            lines.append(f"{workers} {place}: {_range(spread(seconds))} s")
    for name, each in sections.get("tuning", {}).get("studies", {}).items():
        lines.append(
            f"Study of the {name}, 4 optimizers of 64 trials and 3 seeds: "
            f"{digits(each['own_seconds'])} s of its own beside {digits(each['lane_seconds'])} s "
            "of its lanes, CPU time"
        )
    if "ratio" in (memory := sections.get("memory", {})):
        mib = {key: memory[f"{key}_bytes"] / 2**20 for key in ("peak", "import", "needed")}
        lines.append(
            f"Peak of {memory['lanes']} lanes of Adam on the network: {mib['peak']:,.0f} MiB, "
            f"{mib['import']:,.0f} of it the imports; arrays and data: {mib['needed']:,.0f} MiB"
        )
    if "long_peak_bytes" in memory:
        told = ", ".join(
            f"{peak / 2**20:,.0f} MiB at {int(iterations):,} iterations"
            for iterations, peak in memory["long_peak_bytes"].items()
        )
        lines.append(f"Peak of many lanes of Adam on the function: {told}")
    lines += [
        f"{name}: {each['left_out']}" for name, each in sections.items() if "left_out" in each
    ]
    return lines


def _range(values: Spread, scale: float = 1.0) -> str:
    low, high = digits(values.lowest * scale), digits(values.highest * scale)
    return f"{digits(values.median * scale)} ({low} to {high})"
