"""Finished runs merged into one, as if all of their lanes had been made together.

What may stand in one run is decided by what the runs say of themselves, and no code is executed.
The merged run has the suite that makes all its lanes again: the runs' problems, each with all of
their optimizers and seeds.
"""

import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from optbench.errors import ResultsError, UsageError, called, printable
from optbench.records import REUSED_FROM, SCHEMA_VERSION, Status
from optbench.report.differences import differences, shown
from optbench.runs.pipeline import new_invocation, working_directory
from optbench.runs.resume import CHANGES_NOTHING
from optbench.store.copying import row_digests, write_lanes, write_rows, write_surfaces
from optbench.store.files import PART, write_json
from optbench.store.find import find_runs
from optbench.store.kept import FOLDER, KeptCode, check_code, kept_codes, write_code
from optbench.store.lock import locked
from optbench.store.pack import check_ended, pack_of
from optbench.store.places import make_folder, remove_folder, sync, writing
from optbench.store.reader import read_description, read_lanes
from optbench.store.studies import run_name
from optbench.store.thinning import ALL
from optbench.store.writer import new_run_directory
from optbench.suite.format import OptimizerEntry, SuiteFile, adjusted, made_in, parse_suite
from optbench.suite.gather import free_name
from optbench.suite.sweep import Sweep
from optbench.suite.values import seed_list, seeds_text

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 20
"""Places that a refusal names."""

MOST_NAMED = 3
"""Lanes that a note names."""

MERGED = "merged"
"""Name of a merged run whose parts have different ones."""

ENDS = ("evaluate_every", "stop", "pause_at", "variant_of")
"""Keys of a suite's problem that decide, beside its definition, what its lanes are."""

ORIGIN = (
    *("started", "ended", "status", "timings", "device", "environment", "calibration_seconds"),
    *("workers", "processes", "cluster", "resumes", "merged"),
)
"""What a merged run's run.json keeps of that of each run."""

OUTCOME = (
    *("status", "iterations", "diverged_at", "stopped_at", "stopped_by", "best_at"),
    *("final_loss", "best_loss"),
)
"""Columns of lanes.parquet in which the same lane is the same in two runs."""

ENDED = (Status.DONE, Status.STOPPED, Status.DIVERGED, Status.FAILED)

Pair = tuple[str, str]
"""Titles of a problem and of an optimizer entry."""

Row = tuple[int, int]
"""Where a lane is: the place of its run among the others, and its row in the table of the lanes."""


@dataclass(frozen=True)
class Twice:
    """A lane that several runs have: where first, and where again.

    ``point`` is the number of its configuration, ``seed`` None where nothing is random.
    """

    pair: Pair
    point: int
    seed: int | None
    first: Row
    again: Row

    @property
    def place(self) -> str:
        """What messages call it."""
        point = f".point {self.point}" if self.point else ""
        return f"{'.'.join(self.pair)}{point}{'' if self.seed is None else f'.seed {self.seed}'}"


class UnlikeRunsError(ResultsError):
    """Runs cannot be one run; ``lines`` say where and how they differ."""

    def __init__(self, reason: str, lines: Sequence[str]) -> None:
        super().__init__(reason, *lines)
        self.reason, self.lines = reason, lines

    @override
    def __str__(self) -> str:
        more = [f"and {len(self.lines) - MOST_LINES} more"] * (len(self.lines) > MOST_LINES)
        lines = map(called, [f"{self.reason}:", *self.lines[:MOST_LINES], *more])
        return "\n  ".join(map(printable, lines))


def merge(
    runs: Sequence[str],
    out: Path,
    *,
    name: str | None = None,
    notice: Callable[[str], object] = lambda message: None,
) -> Path:
    """Make one run of several, and return its directory.

    ``runs`` are named as :func:`optbench.store.find.find_runs` takes them; ``notice`` is told what
    the user should know of the merged run.

    Raises
    ------
    UnlikeRunsError
        If they cannot be one run.
    ResultsError
        If one of them cannot be read, or has not ended.
    """
    began, clock = datetime.now(UTC), perf_counter()
    paths = list({path.resolve(): path for path in find_runs(runs, out)}.values()) if runs else []
    if len(paths) < 2:
        raise UsageError("it takes two runs or more to merge; name them")
    sources = [Source.of(path) for path in paths]
    _refuse(_unlike(sources), "these runs cannot be one run, since they differ")
    suite = _suite(sources, name)
    lanes, twice = _lay_out(sources, suite)
    _refuse(_unlike_lanes(sources, twice), "these runs have lanes in common that differ")
    if twice:
        notice(_taken_once(sources, twice))
    apart = list(_environments_apart(sources))
    if apart:
        notice(
            f"the runs were made in different environments ({'; '.join(apart[:MOST_LINES])}); "
            "their numbers agree to rounding, and their times are not comparable"
        )
    path = new_run_directory(out, suite.name)
    try:
        with locked(path):
            _write(path, sources, suite, lanes, (began, clock), alike=not apart)
    except BaseException:
        remove_folder(path)
        raise
    return path


class Part(NamedTuple):
    """What a run says of something that other runs may have, too.

    Kind and key say what it is, ``place`` what messages call it.
    """

    kind: str
    key: Hashable
    place: str
    plain: Mapping[str, Any]


TOLD_BY_PROBLEM = ("fingerprint", "problem's code", "streams")
"""Kinds of parts that differ where the definition of a problem does, which says why."""


@dataclass(frozen=True)
class Source:
    """A run that is merged: its directory, its run.json and suite, and its lanes in order."""

    path: Path
    meta: Mapping[str, Any]
    suite: SuiteFile
    lanes: "pd.DataFrame"

    @classmethod
    def of(cls, path: Path) -> "Source":
        """Read a run that has ended."""
        check_ended(path)
        meta = read_description(path)
        suite = parse_suite(meta["suite"].get("resolved") or {}, str(path / "run.json"))
        lanes = read_lanes(path).sort_values("lane", ignore_index=True)
        source = cls(path, meta, suite, lanes)
        for status in set(lanes["status"]) - set(ENDED):
            raise ResultsError(f"'{path}' has lanes that are {status}; it cannot be merged")
        labels, problems = set(lanes["label"]), set(lanes["problem"])
        whole = (
            {each.title for each in suite.problem} == problems == source.problems.keys(),
            {each.title for each in suite.optimizer} == labels == source.optimizers.keys(),
        )
        if not all(whole) or lanes["lane"].duplicated().any():
            raise ResultsError(f"'{path}' is damaged: its suite and its lanes do not agree")
        return source

    @property
    def name(self) -> str:
        """What messages and the merged run call it."""
        return run_name(self.path)

    @cached_property
    def problems(self) -> dict[str, dict[str, Any]]:
        """What run.json says of the problems, by their titles."""
        return {entry["problem"]: entry for entry in self.meta["problems"]}

    @cached_property
    def optimizers(self) -> dict[str, dict[str, Any]]:
        """What run.json says of the optimizers, by their labels."""
        return {entry["label"]: entry for entry in self.meta.get("optimizers", ())}

    @cached_property
    def entries(self) -> dict[Pair, OptimizerEntry]:
        """The optimizer entries as each problem changes them."""
        return {
            (problem.title, entry.title): adjusted(self.suite.optimizer, entry, problem.overrides)
            for problem in self.suite.problem
            for entry in self.suite.optimizer
        }

    @cached_property
    def numbers(self) -> list[int]:
        """The number of the lane in each row."""
        return [int(number) for number in self.lanes["lane"]]

    @cached_property
    def places(self) -> list[tuple[Pair, int, int]]:
        """Problem and label, number of the configuration, and seed of each lane."""
        names = ["problem", "label", "seed"]
        points = self.lanes.groupby(names).cumcount()
        columns = [self.lanes[name].tolist() for name in names]
        problems, labels, seeds = columns
        pairs = zip(problems, labels, strict=True)
        return list(zip(pairs, points.tolist(), seeds, strict=True))

    def is_random(self, problem: str, label: str) -> bool:
        """Say whether seeds make lanes differ, as far as this run knows."""
        entries = self.problems.get(problem, {}), self.optimizers.get(label, {})
        return any(entry.get("random") for entry in entries)

    def parts(self) -> Iterator[Part]:
        """Yield what has to be the same in all runs that have it."""
        device = (self.meta.get("device") or {}).get("kind")
        versions = {key: self.meta.get(key) for key in ("schema_version", "numerics_version")}
        run = {**versions, "trace": self.meta.get("trace", ALL), "device.kind": device}
        yield Part("run", "", "", run)
        for entry in self.suite.problem:
            title, said = entry.title, self.problems[entry.title]
            asked = entry.model_dump(exclude_unset=True, include=set(ENDS))
            known = {key: said.get(key) for key in ("iterations", "definition")}
            yield Part("problem", title, title, asked | known)
            yield Part("fingerprint", title, title, {"fingerprint": said.get("fingerprint")})
            yield Part("problem's code", str(said.get("name")), title, {"source": _code(said)})
            for seed, digest in (said.get("stream_digests") or {}).items():
                streams = {f"stream_digests.{seed}": digest}
                yield Part("streams", (title, seed), title, streams)
        for pair, optimizer in self.entries.items():
            plain = optimizer.model_dump(exclude_unset=True, exclude={"name", "label"})
            yield Part("settings", pair, ".".join(pair), plain)
        for label, said in self.optimizers.items():
            rule = {"rule": said.get("rule"), "random": said.get("random"), "source": _code(said)}
            yield Part("optimizer", label, label, rule)
            yield Part("optimizer's code", str(said.get("name")), label, rule)


def _code(said: Mapping[str, Any]) -> Any:
    """Return what run.json says of a plug-in's code, wherever it lies."""
    source = said.get("source")
    if not isinstance(source, Mapping):
        return source
    return {key: value for key, value in source.items() if key not in ("place", "text")}


def _refuse(lines: Iterator[str], reason: str) -> None:
    """Refuse to merge where there are lines that say what differs."""
    found = list(dict.fromkeys(lines))
    if found:
        raise UnlikeRunsError(reason, found)


def _line(path: str, values: tuple[Any, Any], runs: tuple[Source, Source]) -> str:
    names = [run.name for run in runs]
    if names[0] == names[1]:
        names = [str(pack_of(run.path) or run.path) for run in runs]
    (one, other), (first, second) = map(shown, values), names
    return f"{path}: {one} in {first}, {other} in {second}"


def _unlike(sources: Sequence[Source]) -> Iterator[str]:
    """Yield what differs between runs that has to be the same, a line for each place."""
    known: dict[tuple[str, Hashable], tuple[Source, Any]] = {}
    unlike: set[str] = set()
    for source in sources:
        for part in source.parts():
            first, before = known.setdefault((part.kind, part.key), (source, part.plain))
            if part.kind in TOLD_BY_PROBLEM and part.place in unlike:
                continue
            for path, one, other in differences(before, part.plain, part.place):
                if part.kind == "problem":
                    unlike.add(part.place)
                yield _line(path, (one, other), (first, source))


def _suite(sources: Sequence[Source], name: str | None) -> SuiteFile:
    """Return the suite of all problems, optimizers and seeds of the runs."""
    names = {source.suite.name for source in sources}
    entries: dict[Pair, OptimizerEntry] = {}
    problems: dict[str, dict[str, Any]] = {}
    for source in sources:
        for pair, entry in source.entries.items():
            entries.setdefault(pair, entry)
        for each in source.suite.problem:
            plain = each.model_dump(exclude_unset=True, exclude={*each.overrides})
            problems.setdefault(each.title, plain)
    optimizers: dict[str, dict[str, Any]] = {}
    for (problem, label), entry in entries.items():
        plain = entry.model_dump(exclude_unset=True)
        common = optimizers.setdefault(label, plain)
        if _settings(plain) != _settings(common):
            problems[problem][label] = {"points": _points(entry)}
    seeds = dict.fromkeys(seed for source in sources for seed in seed_list(source.suite.seeds))
    return parse_suite(
        {
            "name": (names.pop() if len(names) == 1 else MERGED) if name is None else name,
            "seeds": list(seeds),
            "problem": list(problems.values()),
            "optimizer": list(optimizers.values()),
        },
        "the merged suite",
    )


def _settings(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key not in ("name", "label")}


def _points(entry: OptimizerEntry) -> list[dict[str, Any]]:
    """Return all configurations of an entry, each with all of its hyperparameters."""
    return [entry.hyperparameters | point for point in Sweep.of(entry).points()]


def _lay_out(sources: Sequence[Source], suite: SuiteFile) -> tuple[list[Row], list[Twice]]:
    """Return where each lane of the merged suite is, in order, and which are in several runs.

    Raises
    ------
    UnlikeRunsError
        If lanes are missing.
    """
    seeds = seed_list(suite.seeds)
    pairs = [(problem.title, label.title) for problem in suite.problem for label in suite.optimizer]
    random = {pair: any(source.is_random(*pair) for source in sources) for pair in pairs}
    points = dict.fromkeys(pairs, 1)
    found: dict[tuple[Pair, int, int | None], Row] = {}
    twice = []
    for number, source in enumerate(sources):
        for row, (pair, point, seed) in enumerate(source.places):
            lane = Twice(pair, point, seed if random[pair] else None, (number, row), (number, row))
            first = found.setdefault((pair, point, lane.seed), lane.first)
            if first[0] != number:
                twice.append(replace(lane, first=first))
            points[pair] = max(points[pair], point + 1)
    lanes: list[Row] = []
    missing: dict[Pair, list[int]] = {}
    for pair in pairs:
        for point, seed in product(range(points[pair]), seeds if random[pair] else seeds[:1]):
            lane_at = found.get((pair, point, seed if random[pair] else None))
            if lane_at is None or sources[lane_at[0]].places[lane_at[1]][2] != seed:
                missing.setdefault(pair, []).append(seed)
            else:
                lanes.append(lane_at)
    _refuse(
        (
            f"{problem}.{label}: none of the runs has {seeds_text(lacking)}"
            for (problem, label), lacking in missing.items()
        ),
        "a run has all of its seeds of all of its optimizers on all of its problems; run these, "
        "then merge",
    )
    return lanes, twice


def _unlike_lanes(sources: Sequence[Source], twice: Sequence[Twice]) -> Iterator[str]:
    """Yield in what lanes that several runs have differ."""
    rows: dict[int, set[int]] = {}
    for lane in twice:
        for number, row in (lane.first, lane.again):
            rows.setdefault(number, set()).add(row)
    facts = {number: _facts(sources[number], chosen) for number, chosen in rows.items()}
    for lane in twice:
        (first, before), (number, row) = lane.first, lane.again
        then, now = facts[first][before], facts[number][row]
        if lane.seed is None:  # the seed is part of the key, and of nothing else
            then, now = ({**side, "lane_key": None} for side in (then, now))
        for path, one, other in differences(then, now, lane.place):
            yield _line(path, (one, other), (sources[first], sources[number]))


def _facts(source: Source, rows: set[int]) -> dict[int, dict[str, Any]]:
    """Return what became of lanes and the digests of their rows, by their rows in the table."""
    import pandas as pd

    numbers = {row: source.numbers[row] for row in rows}
    digests = row_digests(source.path, numbers.values())
    names = [name for name in ("lane_key", *OUTCOME) if name in source.lanes]
    found: dict[int, dict[str, Any]] = {}
    for row, number in numbers.items():
        values = [(name, source.lanes[name].iloc[row]) for name in names]
        found[row] = {name: value for name, value in values if pd.notna(value)} | digests[number]
    return found


def _taken_once(sources: Sequence[Source], twice: Sequence[Twice]) -> str:
    """Say which lanes several runs have."""
    some = ", ".join(lane.place for lane in twice[:MOST_NAMED])
    more = f" and {len(twice) - MOST_NAMED} more" if len(twice) > MOST_NAMED else ""
    runs = dict.fromkeys(sources[lane.again[0]].name for lane in twice)
    return (
        f"{', '.join(runs)}: lanes that an earlier one of the runs has, too, with the same rows, "
        f"are taken once: {some}{more}"
    )


def _environments_apart(sources: Sequence[Source]) -> Iterator[str]:
    """Yield what of the environments differs and may change the last bits of numbers."""
    first = sources[0]
    for source in sources[1:]:
        for path, one, other in differences(_machine(first), _machine(source)):
            yield _line(path, (one, other), (first, source))


def _machine(source: Source) -> dict[str, Any]:
    environment = source.meta.get("environment") or {}
    plain = {key: value for key, value in environment.items() if key not in CHANGES_NOTHING}
    return {**plain, "device": source.meta.get("device")}


def _write(
    path: Path,
    sources: Sequence[Source],
    suite: SuiteFile,
    lanes: Sequence[tuple[int, int]],
    began: tuple[datetime, float],
    *,
    alike: bool,
) -> None:
    """Write the merged run, its run.json last: before that it is none."""
    here: list[dict[int, int]] = [{} for _ in sources]
    for lane, (number, row) in enumerate(lanes):
        here[number][sources[number].numbers[row]] = lane
    part = path / PART.format(token_hex(8))
    make_folder(part)
    names = {entry.title: entry.name for entry in suite.optimizer}
    write_lanes(part, [(_named(source, names), here[n]) for n, source in enumerate(sources)])
    write_rows(part, [(source.path, here[n]) for n, source in enumerate(sources)])
    owners = {title: source for source in reversed(sources) for title in source.problems}
    titles = [problem.title for problem in suite.problem]
    write_surfaces(part, {title: owners[title].path for title in titles})
    plugins = _keep_code(part, sources, suite)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "started": began[0].isoformat(timespec="milliseconds"),
        "invocation_id": new_invocation(),
        "directory": working_directory(path, _made_in(sources)),
        **_describe(sources, suite, here, alike=alike),
        **plugins,
        "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "timings": {"wall_seconds": round(perf_counter() - began[1], 6)},
    }
    with writing(path):
        for each in part.iterdir():
            os.replace(each, path / each.name)
        part.rmdir()
        sync(path)
    write_json(path / "run.json", meta, indent=2)


def _named(source: Source, names: Mapping[str, str]) -> "pd.DataFrame":
    """Return a run's lanes with what the merged suite calls the optimizers, and whose they are."""
    lanes = source.lanes.assign(optimizer=source.lanes["label"].map(names))
    lanes[REUSED_FROM] = source.name
    return lanes


def _made_in(sources: Sequence[Source]) -> Path:
    """Return where all the runs were made, or else this folder: paths of plug-ins begin there."""
    known = [source for source in sources if isinstance(source.meta.get("directory"), str)]
    folders = {made_in(source.meta, source.path) for source in known}
    return folders.pop() if len(folders) == 1 else Path.cwd()


def _describe(
    sources: Sequence[Source],
    suite: SuiteFile,
    here: Sequence[Mapping[int, int]],
    *,
    alike: bool,
) -> dict[str, Any]:
    """Return what run.json holds of suite, problems, environment, and whose lanes are whose."""
    first = sources[0].meta
    plain = suite.as_written()
    statuses = {
        status
        for number, source in enumerate(sources)
        for status in source.lanes.loc[source.lanes["lane"].isin(list(here[number])), "status"]
    }
    status = Status.DIVERGED if statuses == {Status.DIVERGED} else Status.DONE
    optimizers = {
        label: said for source in reversed(sources) for label, said in source.optimizers.items()
    }
    environments = [source.meta.get("environment") or {} for source in sources]
    devices = [source.meta.get("device") for source in sources]
    return {
        "trace": first.get("trace", ALL),
        "suite": {"name": suite.name, "written": plain, "given": plain, "resolved": plain},
        "seeds": list(seed_list(suite.seeds)),
        "problems": [_problem(problem.title, sources, alike=alike) for problem in suite.problem],
        "optimizers": [optimizers[entry.title] for entry in suite.optimizer],
        "blocks": [
            {
                "block": number,
                "lanes": sorted(numbers.values()),
                "reused_from": sources[number].name,
            }
            for number, numbers in enumerate(here)
            if numbers
        ],
        "numerics_version": first.get("numerics_version"),
        "device": devices[0] if alike else {"kind": (devices[0] or {}).get("kind")},
        "environment": {
            key: value
            for key, value in environments[0].items()
            if all(environment.get(key) == value for environment in environments)
        },
        "calibration_seconds": first.get("calibration_seconds") if alike else None,
        "merged": [
            {
                "run": source.name,
                "lanes": sorted(here[number].values()),
                **{key: source.meta[key] for key in ORIGIN if key in source.meta},
            }
            for number, source in enumerate(sources)
        ],
        "status": Status.FAILED if Status.FAILED in statuses else status,
        "failures": [
            {
                **failure,
                "lanes": [here[number][lane] for lane in failure["lanes"] if lane in here[number]],
            }
            for number, source in enumerate(sources)
            for failure in source.meta.get("failures", ())
        ],
    }


def _problem(title: str, sources: Sequence[Source], *, alike: bool) -> dict[str, Any]:
    """Return what run.json says of a problem: of all seeds, and of times that are comparable."""
    found = [source.problems[title] for source in sources if title in source.problems]
    said = {key: value for key, value in found[0].items() if key != "alone_seconds"}
    for name, wanted in (("stream_digests", True), ("alone_seconds", alike)):
        values = {
            key: value for entry in reversed(found) for key, value in entry.get(name, {}).items()
        }
        if values and wanted:
            said[name] = values
    return said


def _keep_code(path: Path, sources: Sequence[Source], suite: SuiteFile) -> dict[str, Any]:
    """Write what the runs have kept of the suite's plug-ins; return what run.json says of it."""
    names = {("problem", entry.name) for entry in suite.problem}
    names |= {("optimizer", entry.name) for entry in suite.optimizer}
    folders: dict[str, dict[str, bytes]] = {}
    kept: dict[tuple[str, str], KeptCode] = {}
    reasons: dict[str, Any] = {}
    for source in sources:
        codes = kept_codes(source.meta, source.path)
        wanted = {key: code for key, code in codes.items() if key in names - kept.keys()}
        called = {}
        for folder in dict.fromkeys(code.folder for code in wanted.values()):
            called[folder] = free_name(Path(folder).name, folders)
            folders[called[folder]] = {}
        for key, code in wanted.items():
            beside = {file for other in codes.values() for file in other.files_in(code.folder)}
            place = check_code(source.path, code, beside)
            new = called[code.folder]
            folders[new] |= {file: (place / file).read_bytes() for file in code.files}
            kept[key] = code.model_copy(update={"folder": f"{FOLDER}/{new}"})
        not_kept = source.meta.get("plugins_not_kept")
        reasons |= not_kept if isinstance(not_kept, dict) else {}
    write_code(path, folders)
    lacking = {name: reasons[name] for key in names - kept.keys() if (name := key[1]) in reasons}
    return {
        **({"plugins": [code.model_dump() for code in kept.values()]} if kept else {}),
        **({"plugins_not_kept": lacking} if lacking else {}),
    }
