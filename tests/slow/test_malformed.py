"""Malformed input of every kind: an exit code of the table and one line, never a traceback.

What is tested is no message but what holds of all of them. An exception that leaves a command is a
traceback, and fails the test by itself; so does a command that does not come back.
"""

import copy
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optbench.errors import ExitCode
from tests.cli.command import Seen, optbench, run, suite
from tests.cli.test_resume import interrupted

pytestmark = pytest.mark.slow

CODES = set(ExitCode) - {ExitCode.INTERNAL}

MOST_SECONDS = 60

MINE = """
name = "mine"
iterations = 40
evaluate_every = 20
[[problem]]
name = "mnist-mlp"
data = "mnist-5k"
layers = ["dense 3", "dense 10"]
batch_size = 4
[[problem]]
name = "anisotropic"
[[optimizer]]
name = "sgd"
grid.lr = [0.01, 0.1]
[[optimizer]]
name = "adam"
"""

EXAMPLES = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(autouse=True)
def comes_back() -> Iterator[None]:
    """Fail where a command waits for ever."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def give_up(signum: int, frame: object) -> None:
        raise TimeoutError(f"not back after {MOST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answered(*arguments: object, cwd: Path) -> Seen:
    """Run a command; what it says must be what the table of exit codes promises."""
    seen = optbench(*arguments, cwd=cwd)
    lines = seen.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert seen.code in CODES, seen
    assert "Traceback" not in seen.err
    if seen.code == ExitCode.USAGE:
        assert len(errors) == 1, seen
        assert len(errors[0]) > len("error: "), seen
        after = lines[lines.index(errors[0]) + 1 :]
        # A mistake in an expression is shown below its line, with a caret; places at which runs
        # differ stand below that they do.
        caret = len(after) == 2 and after[1].strip() == "^"
        places = errors[0].endswith(":") and all(line.startswith("  ") for line in after)
        assert not after or caret or places, seen
    return seen


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, an interrupted one and a baseline."""
    cwd = tmp_path_factory.mktemp("made")
    name = suite(cwd, MINE)
    run(name, "--iterations", 6, cwd=cwd).rename(cwd / "results" / "whole")
    shutil.copytree(cwd / "results" / "whole", cwd / "results" / "again")
    seen = interrupted(1, "run", name, "-q", "--workers", 1, "--checkpoint-every", 0, cwd=cwd)
    assert seen.code == ExitCode.INTERRUPTED
    seen.path.rename(cwd / "results" / "cut")
    assert optbench("baseline", "save", "whole", "--name", "kept", cwd=cwd).code == 0
    assert optbench("check", "kept", "--run", "whole", "-q", cwd=cwd).code == 0
    return cwd


def fresh(made: Path, tmp_path: Path) -> Path:
    """Return the same folder anew, to be damaged."""
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


# Suites.

HUGE = f"0x{'F' * 5000}"
"""An integer that Python reads and does not write."""

P = "[[problem]]\nname = 'anisotropic'\n"
N = "[[problem]]\nname = 'network'\niterations = 2\ndata = 'mnist-5k'\n"
S = "[[optimizer]]\nname = 'sgd'\n"

KEYS = {
    "{key} = {value}\n" + P + S: ("seeds", "iterations", "stop", "stop.loss", "problem", "record"),
    P + S + "{key} = {value}": ("lr", "grid.lr", "schedule", "warmup", "label", "clip_norm"),
    P + "{key} = {value}\n" + S: ("dtype", "iterations", "sgd.lr", "'*'.grid", "sgd.grid.lr"),
    N + "{key} = {value}\n" + S: ("layers", "batch_size", "log_eps", "evaluate_every", "init"),
    "[[problem]]\nname = 'function'\nexpression = 'x**2'\n{key} = {value}\n" + S: (
        *("start", "start.x", "constants", "domain"),
    ),
    P + "[[optimizer]]\nname = {value}\n{key} = 1": ("beta1",),
}
"""Suites with a gap, and what is put there."""

VALUES = (
    *(HUGE, "9" * 300, "nan", "-inf", "true", "1e400", "-1", "2147483648", "1979-05-27"),
    *("07:32:00", "[]", "[1, nan]", "[[1]]", "['a']", "{}", "{a = 1}", "{x = [1, 'a']}", "''"),
    *("'*'", "':'", "'torch:Adam'", "'optax:adam'", "'torch:'", "'os:system'", "'a/b.py:X'"),
    *("'\u202e'", "'🦄'", '"\\u0000"', "'1:2:3'", "'1 epochs'", "'-1 epochs'", f"'{'x' * 5000}'"),
)


@pytest.mark.parametrize("key", [(text, key) for text, keys in KEYS.items() for key in keys])
def test_any_value_of_toml_at_a_key_of_a_suite(key, tmp_path):
    for value in VALUES:
        text = key[0].format(key=key[1], value=value)
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        answered("run", "mine.toml", "--dry-run", cwd=tmp_path)


def test_a_suite_whose_problem_is_checked(tmp_path):
    suite(tmp_path, N + "layers = ['dense 10']\ndata = [1]\n".replace("data", "x") + S)
    assert answered("verify", "problem", "mine.toml", cwd=tmp_path).code == ExitCode.USAGE
    suite(tmp_path, N.replace("'mnist-5k'", "['a']") + S)
    assert answered("verify", "problem", "mine.toml", cwd=tmp_path).code == ExitCode.USAGE


# Flags and places.

NUMBERS = ("", "-1", "nan", "inf", "1e400", "x", "9" * 5000, "1_0", "٣", "1,2", "\n", HUGE)
PLACES = (
    *("", ".", "..", "/", "file", "loop", "broken", "results", "results/self", "results/file"),
    *("results/whole/lanes.parquet", "results/baselines", "results/baselines/kept", "nul\0"),
    *("new\nline", "\udcff", "~nobody/x", "*", "/dev/null", "file/x", "whole ", "\u202e"),
)
LONG = "a" * 300

OPTIONS = {
    "run anisotropic --dry-run": ("--seeds", "--iterations", "--evaluate-every", "--workers"),
    "run anisotropic --iterations 2 -q": ("--checkpoint-every",),
    "run --resume cut -q": ("--checkpoint-every", "--workers"),
    "run --function x**2 --dry-run": ("--start",),
    "run --start x=1 --dry-run": ("--function",),
    "plot whole --kind loss": ("--smooth", "--ylim", "--x"),
    "show": ("--format",),
    "export -O out.csv --force": ("--format", "--table"),
    "clean": ("--keep",),
    "baseline save whole": ("--name", "--threshold"),
    "check kept --run whole -q": ("--threshold", "--format", "--workers"),
    "verify problem booth": ("--seed", "--format"),
    "verify optimizer sgd": ("--set", "--format"),
    "verify devices": ("--device",),
}
TAKE_PLACES = (
    *("run --resume {} -q", "run {} --dry-run", "show {}", "plot {}", "export {}", "clean {}"),
    *("baseline save {} --name x", "check --run {} -q", "check {} --run whole -q", "list runs {}"),
    *("list runs --out {}", "data verify {}", "data list --data-dir {}", "new problem {}"),
    *("clean --out {}", "new optimizer {}", "verify problem {}", "verify optimizer {}"),
    *("run --problem {} --dry-run", "run anisotropic -o {} --dry-run", "show --out {}"),
)


@pytest.fixture(scope="module")
def odd(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with files and links where nobody expects them."""
    cwd = fresh(made, tmp_path_factory.mktemp("odd"))
    (cwd / "file").write_text("mine")
    (cwd / "results" / "file").write_text("mine")
    (cwd / "loop").symlink_to("loop")
    (cwd / "broken").symlink_to("nowhere")
    (cwd / "results" / "self").symlink_to(".")
    shutil.copytree(cwd / "results" / "whole", cwd / "results" / "new\nline")
    return cwd


@pytest.mark.parametrize("command", OPTIONS)
def test_any_text_as_an_option(command, odd):
    for option, value in product(OPTIONS[command], NUMBERS):
        answered(*command.split(), option, value, cwd=odd)


@pytest.mark.parametrize("command", TAKE_PLACES)
def test_any_place_as_a_run_file_or_folder(command, odd):
    places = PLACES if command.startswith(("check", "baseline")) else (*PLACES, LONG)
    for place in places:
        answered(*(place if part == "{}" else part for part in command.split()), cwd=odd)


@given(st.sampled_from([each.split() for each in OPTIONS]), st.data())
@settings(parent=EXAMPLES)
def test_any_text_that_hypothesis_thinks_of(odd, command, data):
    option = data.draw(st.sampled_from(OPTIONS[" ".join(command)]))
    answered(*command, option, data.draw(st.text(max_size=8)), cwd=odd)


# Packs.

OF_PACKS = (
    *("show {}", "compare {}", "target {}", "export {}", "plot {} --kind loss --save figures"),
    *("run {} --dry-run", "tune {} --dry-run", "check kept --run {} -q", "merge {} whole"),
    *("baseline save {} --name x", "pack {} other.zip", "clean {}", "run --resume {} -q"),
)


@pytest.fixture(scope="module")
def packed(made: Path) -> bytes:
    """Return a pack of a run."""
    assert optbench("pack", "whole", "whole.zip", cwd=made).code == 0
    return (made / "whole.zip").read_bytes()


@given(st.data())
@settings(parent=EXAMPLES)
def test_any_other_byte_in_a_pack(packed, made, tmp_path, data):
    cwd = fresh(made, tmp_path)
    place = data.draw(st.integers(0, len(packed) - 1))
    old = packed[place : place + 1]
    new = data.draw(st.binary(max_size=4).filter(old.__ne__))
    (cwd / "bad.zip").write_bytes(packed[:place] + new + packed[place + 1 :])
    answered(*data.draw(st.sampled_from(OF_PACKS)).format("bad.zip").split(), cwd=cwd)


@given(st.data())
@settings(parent=EXAMPLES)
def test_any_end_of_a_pack(packed, made, tmp_path, data):
    cwd = fresh(made, tmp_path)
    end = data.draw(st.integers(0, len(packed) - 1))
    (cwd / "bad.zip").write_bytes(packed[:end] + data.draw(st.binary(max_size=64)))
    answered(*data.draw(st.sampled_from(OF_PACKS)).format("bad.zip").split(), cwd=cwd)


@given(st.data())
@settings(parent=EXAMPLES, max_examples=90)
def test_any_other_file_in_a_pack(packed, made, tmp_path, data):
    """Its checksums are right, as those of a pack that somebody has made."""
    cwd = fresh(made, tmp_path)
    with ZipFile(BytesIO(packed)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = data.draw(st.sampled_from([*members]))
    if name.endswith("run.json") and data.draw(st.booleans()):
        meta = json.loads(members[name])
        where = data.draw(st.sampled_from(list(steps(meta))))
        members[name] = json.dumps(
            changed(meta, where, data.draw(st.sampled_from(OTHERS)))
        ).encode()
    else:
        place = data.draw(st.integers(0, len(members[name])))
        new = data.draw(st.binary(max_size=8))
        members[name] = members[name][:place] + new + members[name][place + len(new) :]
    with ZipFile(cwd / "bad.zip", "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    seen = answered(*data.draw(st.sampled_from(OF_PACKS)).format("bad.zip").split(), cwd=cwd)
    assert f"{tempfile.gettempdir()}/optbench-" not in seen.err


# Files of runs and baselines.


@cache
def plain(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def steps(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the parts of plain data stand; of lists the first and the last."""
    if before:
        yield before
    if isinstance(value, dict):
        for key, each in value.items():
            yield from steps(each, (*before, key))
    elif isinstance(value, list):
        for place in dict.fromkeys((0, len(value) - 1)) if value else ():
            yield from steps(value[place], (*before, place))


def changed(value: Any, where: tuple[Any, ...], new: Any) -> Any:
    """Return plain data with another part in a place."""
    whole = copy.deepcopy(value)
    part = whole
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = new
    return whole


OTHERS = (None, [], "x", -1, {}, [None], [[1]], float("nan"), float("inf"), 10**30, True, {"a": 1})

READERS = {
    "whole/run.json": (
        *("show whole", "check kept --run whole -q", "baseline save whole --name x", "list runs"),
        *("run results/whole/run.json --dry-run", "export whole --table summary", "clean"),
        *("plot whole --kind loss --save figures", "run mine.toml --reuse --dry-run"),
        *("merge whole again", "pack whole whole.zip"),
    ),
    "cut/run.json": ("run --resume cut --force -q", "show cut"),
    "baselines/kept/baseline.json": (
        *("check kept --run whole -q --strict --fail-on-speed", "baseline list"),
        *("check kept --run whole -q --format junit", "check kept --run whole -q --format json"),
        "check kept --run whole -q --update",
    ),
}


@pytest.mark.parametrize("name", READERS)
@given(st.data())
@settings(parent=EXAMPLES, max_examples=90)
def test_any_other_value_in_a_description(name, made, tmp_path, data):
    cwd = fresh(made, tmp_path)
    meta = plain(made / "results" / name)
    where = data.draw(st.sampled_from(list(steps(meta))))
    new = data.draw(st.sampled_from(OTHERS))
    (cwd / "results" / name).write_text(json.dumps(changed(meta, where, new)), encoding="utf-8")
    answered(*data.draw(st.sampled_from(READERS[name])).split(), cwd=cwd)


TABLES = {
    "whole/lanes.parquet": (*READERS["whole/run.json"], "run mine.toml --iterations 6 --reuse -q"),
    "whole/trace/block-00000.parquet": (
        *("export whole", "check kept --run whole -q", "baseline save whole --name x"),
        *("plot whole --kind loss --save figures", "run mine.toml --iterations 6 --reuse -q"),
        "merge whole again",
    ),
    "whole/evaluation/block-00000.parquet": (
        *("export whole --table evaluation", "show whole", "merge whole again"),
    ),
    "cut/lanes.parquet": READERS["cut/run.json"],
    "baselines/kept/lanes.parquet": READERS["baselines/kept/baseline.json"],
    "baselines/kept/trace.parquet": READERS["baselines/kept/baseline.json"],
    "baselines/kept/tolerance.parquet": READERS["baselines/kept/baseline.json"],
}

DAMAGES = {
    "no rows": lambda rows, name: rows.iloc[:0],
    "one row": lambda rows, name: rows.iloc[:1],
    "all rows twice": lambda rows, name: pd.concat([rows, rows], ignore_index=True),
    "rows upside down": lambda rows, name: rows.iloc[::-1],
    "without a column": lambda rows, name: rows.drop(columns=name),
    "a column of another name": lambda rows, name: rows.rename(columns={name: "other"}),
    "a column of words": lambda rows, name: rows.assign(**{name: "x"}),
    "a column of gaps": lambda rows, name: rows.assign(**{name: None}),
    "a column of dates": lambda rows, name: rows.assign(**{name: pd.Timestamp(0)}),
    "a column of categories": lambda rows, name: rows.assign(
        **{name: rows[name].astype("category")}
    ),
    "a column of lists": lambda rows, name: rows.assign(**{name: [[1]] * len(rows)}),
    "a column of negatives": lambda rows, name: rows.assign(**{name: -1}),
    "a column of large numbers": lambda rows, name: rows.assign(**{name: 2**40}),
    "an index": lambda rows, name: rows.set_index(name),
}


@pytest.mark.parametrize("name", TABLES)
def test_any_other_table(name, made, tmp_path):
    rows = pd.read_parquet(made / "results" / name)
    readers = TABLES[name]
    for number, (damage, column) in enumerate(product(DAMAGES.values(), rows.columns[:12:2])):
        cwd = fresh(made, tmp_path)
        damage(rows, column).to_parquet(cwd / "results" / name)
        answered(*readers[number % len(readers)].split(), cwd=cwd)
