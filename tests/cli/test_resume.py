"""``optbench run --resume``: what was interrupted or killed ends as if nothing had been."""

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Event

import pandas as pd
import pytest
import typer

from optbench.cli.run import BESIDE_RESUME, run
from optbench.runs import alone, pipeline
from optbench.store.environment import describe_environment
from optbench.store.journal import FOLDER, Journal
from optbench.store.lock import locked
from optbench.store.writer import RunWriter
from tests.cli.command import Seen, lanes, meta, optbench, suite, trace
from tests.slow import assert_same_run

SUITE = """
name = "mixed"
iterations = 140
seeds = 2
evaluate_every = 70

[[problem]]
name = "anisotropic"
adam.lr = 0.3

[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 6", "batch-norm", "relu", "dropout 0.3", "dense 10"]
batch_size = 16

[[optimizer]]
name = "sgd"
grid.lr = [0.1, 1e30]

[[optimizer]]
name = "adam"
"""
"""Two blocks that need no data set; half of the lanes of sgd diverge."""


class Killed(BaseException):
    """A kill that a test can survive."""


class SetAfter(Event):
    """An event that is set once it was asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def interrupted(chunks: int, *arguments: object, cwd: Path, number: int = 0) -> Seen:
    """Run a command; its run of this number is interrupted after so many chunks."""
    runs = count()

    @contextmanager
    def interrupts() -> Iterator[Event]:
        yield SetAfter(chunks if next(runs) == number else 10**9)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "interrupts", interrupts)
        return optbench(*arguments, cwd=cwd)


def killed(records: int, *arguments: object, cwd: Path) -> Path:
    """Run a command that is killed once so many records are written; return the run."""
    real, left = RunWriter.add, [None] * records

    def add(self: RunWriter, record: object) -> object:
        told = real(self, record)
        if not left:
            raise Killed
        left.pop()
        return told

    known = {*(cwd / "results").glob("*")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "add", add)
        with pytest.raises(Killed):
            optbench(*arguments, "--workers", 1, "--checkpoint-every", 0, cwd=cwd)
    found = {*(cwd / "results").glob("*")} - known
    return found.pop() if found else max(known)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite and its results, whole and killed in the midst of a block."""
    folder = tmp_path_factory.mktemp("resume")
    suite(folder, SUITE)
    seen = optbench("run", "mine.toml", "-q", "--workers", 1, "--out", "whole", cwd=folder)
    assert (seen.code, seen.err) == (0, "")
    killed(12, "run", "mine.toml", "-q", cwd=folder)
    return folder


@pytest.fixture
def whole(place: Path) -> Path:
    return next((place / "whole").iterdir())


@pytest.fixture
def cut(place: Path, tmp_path: Path) -> Path:
    """A copy of the killed run, under ``tmp_path``/results."""
    (run,) = (place / "results").iterdir()
    return Path(shutil.copytree(run, tmp_path / "results" / run.name))


def change(run: Path, **changes: object) -> None:
    file = run / "run.json"
    file.write_text(json.dumps({**meta(run), **changes}), encoding="utf-8")


def test_what_was_killed_is_shown_and_goes_on(cut, whole, tmp_path):
    assert meta(cut)["status"] == "running"
    shown = optbench("show", "--format", "csv", cwd=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert "interrupted" in shown.out
    seen = optbench("run", "--resume", "latest", "-q", "--workers", 1, cwd=tmp_path)
    assert (seen.code, seen.err, seen.path) == (0, "", tmp_path / "results" / cut.name)
    assert_same_run(cut, whole)
    assert meta(cut)["status"] == "done"
    assert meta(cut)["invocation_id"] == json.loads((cut / "run.json").read_text())["invocation_id"]
    assert [each["workers"] for each in meta(cut)["resumes"]] == [1]
    assert not (cut / FOLDER).exists()
    same = ("suite", "problems", "blocks", "seeds", "optimizers", "failures")
    assert {name: meta(cut)[name] for name in same} == {name: meta(whole)[name] for name in same}


@pytest.mark.parametrize("kind", ["auto", "loss", "trajectory", "surface", "sensitivity"])
def test_what_was_killed_is_plotted(kind, cut, tmp_path):
    seen = optbench("plot", "--kind", kind, cwd=tmp_path)
    if seen.code == 0:
        assert all(path.stat().st_size > 0 for path in seen.paths)
    else:
        assert "\n" not in seen.message
    assert seen.code == 0 or kind == "sensitivity"


@pytest.mark.parametrize("records", [0, 4, 24])
def test_it_goes_on_with_other_workers_from_the_beginning_and_the_end(
    records, place, whole, tmp_path
):
    """Before the first block, in it, and after the last; tests/slow kills at random moments."""
    shutil.copy(place / "mine.toml", tmp_path)
    cut = killed(records, "run", "mine.toml", "-q", cwd=tmp_path)
    assert optbench("show", cwd=tmp_path).code == 0
    assert optbench("run", "--resume", cut.name, "-q", "--workers", 2, cwd=tmp_path).code == 0
    assert_same_run(cut, whole)
    workers = meta(cut)["resumes"][0]["workers"]
    assert workers == (2 if records < 24 else 1)
    assert set(lanes(cut)["workers"]) == {workers}
    assert meta(cut)["workers"] == 1


def test_it_may_be_killed_and_interrupted_again(cut, whole, tmp_path):
    resume = ("run", "--resume", cut.name, "-q")
    assert killed(1, *resume, cwd=tmp_path) == cut
    assert interrupted(1, *resume, "--workers", 1, cwd=tmp_path).code == 130
    assert meta(cut)["status"] == "interrupted"
    assert interrupted(0, *resume, "--workers", 1, cwd=tmp_path).code == 130
    assert killed(2, *resume, cwd=tmp_path) == cut
    assert optbench(*resume, "--workers", 3, cwd=tmp_path).code == 0
    assert_same_run(cut, whole)
    assert len(meta(cut)["resumes"]) == 5


def test_surfaces_that_were_not_written_yet_are(place, whole, tmp_path):
    shutil.copy(place / "mine.toml", tmp_path)

    def add_surface(self: RunWriter, problem: str, columns: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "add_surface", add_surface)
        with pytest.raises(Killed):
            optbench("run", "mine.toml", cwd=tmp_path)
    assert optbench("run", "--resume", "latest", "-q", cwd=tmp_path).code == 0
    assert_same_run(next((tmp_path / "results").iterdir()), whole)


def test_an_interrupt_says_how_to_go_on_and_that_command_does(place, whole, tmp_path):
    shutil.copy(place / "mine.toml", tmp_path)
    options = ("--workers", 1, "--out", "elsewhere")
    seen = interrupted(4, "run", "mine.toml", *options, cwd=tmp_path)
    assert seen.code == 130
    run = next((tmp_path / "elsewhere").iterdir())
    (line,) = [each for each in seen.err.splitlines() if "go on with" in each]
    told = line.partition("go on with: ")[2]
    assert told.startswith("optbench run --resume ")
    assert meta(run)["status"] == "interrupted"
    again = optbench(*shlex.split(told)[1:], cwd=tmp_path)
    assert again.code == 0
    assert_same_run(run, whole)


def test_quiet_and_json_are_as_of_a_run(cut, tmp_path):
    seen = optbench("run", "--resume", cut.name, "--json", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    told = json.loads(seen.out)
    assert told["invocation_id"] == meta(cut)["invocation_id"]
    assert [each["status"] for each in told["runs"]] == ["done"]


def test_of_several_suites_the_one_that_was_interrupted_goes_on(tmp_path, place, whole):
    shutil.copy(place / "mine.toml", tmp_path)
    arguments = ("run", "quadratic-1d", "mine.toml", "anisotropic", "--workers", 1, "-q")
    seen = interrupted(4, *arguments, cwd=tmp_path, number=1)
    assert seen.code == 130
    names = sorted(path.name.partition("-20")[0] for path in seen.paths)
    assert names == ["mixed", "quadratic-1d"], "the third is not begun"
    done, cut = sorted(seen.paths, key=lambda path: meta(path)["status"] != "done")
    assert [meta(done)["status"], meta(cut)["status"]] == ["done", "interrupted"]
    assert optbench("run", "--resume", "latest", "-q", cwd=tmp_path).path == cut
    assert_same_run(cut, whole)


def test_what_lanes_raised_together_before_is_still_told(cut, tmp_path):
    failure = {"message": "ValueError: no", "lanes": [], "traceback": "Traceback"}
    change(cut, failures=[failure])
    assert optbench("run", "--resume", cut.name, "-q", cwd=tmp_path).code == 0
    assert meta(cut)["failures"] == [failure]


@pytest.mark.parametrize("failures", [3, [3], [{}], [{"message": 3, "traceback": ""}]])
def test_failures_that_cannot_be_read_are_damaged(failures, cut, tmp_path):
    change(cut, failures=failures)
    message = refused("--resume", cut.name, cwd=tmp_path)
    assert message.startswith(f"'results/{cut.name}/run.json' is damaged: failures")


def refused(*arguments: object, cwd: Path) -> str:
    return optbench("run", *arguments, cwd=cwd).message


def test_a_guessed_domain_grows_when_the_run_ends(tmp_path):
    far = ("--function", "(x-10)**2 + y**2", "--start", "x=1,y=1", "-o", "sgd", "--iterations", 200)

    def reach(run):
        (plot,) = (problem["plot"] for problem in meta(run)["problems"])
        shown = pd.read_parquet(run / "surface")["x"].max()
        assert plot["domain"][0][1] == shown
        return shown

    cut = interrupted(1, "run", *far, "-q", cwd=tmp_path).path
    assert reach(cut) == 2.0
    assert optbench("run", "--resume", cut.name, "-q", cwd=tmp_path).code == 0
    assert reach(cut) > 10.0


def test_a_run_that_has_ended_is_refused(cut, tmp_path):
    assert optbench("run", "--resume", cut.name, "-q", cwd=tmp_path).code == 0
    before = (cut / "run.json").read_bytes()
    expected = f"'results/{cut.name}' has ended (done): there is nothing to resume"
    assert refused("--resume", cut.name, cwd=tmp_path) == expected
    assert (cut / "run.json").read_bytes() == before


def test_a_run_that_is_not_there_is_refused(cut, tmp_path):
    assert "there is no run 'other'" in refused("--resume", "other", cwd=tmp_path)
    assert "there is no run ''" in refused("--resume", "", cwd=tmp_path)
    message = refused("--resume", "latest", "--out", "empty", cwd=tmp_path)
    assert "there are no runs under 'empty'" in message


def test_a_run_that_is_being_written_is_refused(cut, tmp_path):
    with locked(cut):
        expected = f"'results/{cut.name}' is being written by another process; wait for its end"
        assert refused("--resume", cut.name, cwd=tmp_path) == expected
        shown = optbench("show", "--format", "csv", cwd=tmp_path)
    assert shown.code == 0
    assert "running" in shown.out


FORBIDDEN = {
    "anisotropic": "a suite",
    "-o|sgd": "-o",
    "--problem|rosenbrock": "--problem",
    "--function|x**2": "--function",
    "--start|x=1": "--start",
    "--domain|x=-1:1": "--domain",
    "--minimum|0": "--minimum",
    "--set|sgd.lr=0.1": "--set",
    "--grid|sgd.lr=0.1,0.2": "--grid",
    "--seeds|3": "--seeds",
    "--seed|3": "--seed",
    "--iterations|3": "--iterations",
    "--epochs|3": "--epochs",
    "--batch-size|3": "--batch-size",
    "--evaluate-every|3": "--evaluate-every",
    "--stop|loss=1": "--stop",
    "--dtype|float64": "--dtype",
    "--start-spread|0.1": "--start-spread",
    "--device|cpu": "--device",
    "--data|mnist-5k": "--data",
    "--name|other": "--name",
    "--dry-run": "--dry-run",
    "--reuse": "--reuse",
    "--reuse-diverged": "--reuse-diverged",
    "--trace|none": "--trace",
}


@pytest.mark.parametrize("given", FORBIDDEN)
def test_what_would_change_the_run_is_refused(given, cut, tmp_path):
    expected = f"--resume continues a run as it began; leave {FORBIDDEN[given]} out"
    assert refused(*given.split("|"), "--resume", cut.name, cwd=tmp_path) == expected


def test_all_options_of_a_run_are_allowed_or_refused():
    """An option that is new has to be thought of."""
    alone = typer.Typer(add_completion=False)
    alone.command()(run)
    names = {str(each.name) for each in typer.main.get_command(alone).params} - {"help"}
    options = {given.split("|")[0].removeprefix("--").replace("-", "_") for given in FORBIDDEN}
    renamed = {"anisotropic": "suites", "_o": "optimizer", "set": "set_"}
    refused_ones = {renamed.get(each, each) for each in options}
    assert refused_ones | BESIDE_RESUME == names
    assert not refused_ones & BESIDE_RESUME


def test_optimizers_of_a_resumed_run_can_be_timed_alone(cut, monkeypatch):
    monkeypatch.setattr(alone, "STEPS", 50)
    seen = optbench("run", "--resume", cut, "--time-alone", "-q", cwd=cut.parent)
    assert (seen.code, seen.err) == (0, "")
    for entry in meta(cut)["problems"]:
        assert list(entry["alone_seconds"]) == ["sgd", "adam"]


def test_force_belongs_to_resume_or_a_cluster(tmp_path):
    assert (
        refused("anisotropic", "--force", cwd=tmp_path)
        == "--force belongs to --resume or --cluster; give one of them"
    )


def environment(run: Path, **changes: object) -> dict[str, object]:
    return {**meta(run)["environment"], **changes}


CHANGES = {
    "python": ({"python": "3.0.0"}, "(python: 3.0.0 then, "),
    "processor": ({"processor": "another"}, "(processor: another then, "),
    "packages": ({"packages": {"numpy": "1.0"}}, '(packages: {"numpy": "1.0"} then, '),
    "blas": (
        {"blas": [{"internal_api": "mkl", "version": "1", "architecture": "Z80"}]},
        '(blas: [{"internal_api": "mkl"',
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_environment_is_refused_and_named(name, cut, whole, tmp_path):
    changes, says = CHANGES[name]
    change(cut, environment=environment(cut, **changes))
    before = (cut / "run.json").read_bytes()
    message = refused("--resume", cut.name, cwd=tmp_path)
    assert message.startswith(f"'results/{cut.name}' was begun in another environment {says}")
    assert message.endswith("--force resumes it anyway and records that")
    assert (cut / "run.json").read_bytes() == before
    seen = optbench("run", "--resume", cut.name, "--force", "-q", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert_same_run(cut, whole)
    (resumed,) = meta(cut)["resumes"]
    assert resumed["environment"][name] != meta(cut)["environment"][name]
    assert meta(cut)["environment"][name] == changes[name]


@pytest.mark.parametrize("changes", [{"numerics_version": 0}, {"device": {"kind": "cpu"}}])
def test_another_numerics_version_or_device_is_refused(changes, cut, tmp_path):
    change(cut, **changes)
    assert f"({next(iter(changes))}: " in refused("--resume", cut.name, cwd=tmp_path)


def test_a_run_of_an_earlier_schema_is_refused(cut, tmp_path):
    change(cut, schema_version=2)
    message = refused("--resume", cut.name, "--force", cwd=tmp_path)
    assert "was begun by an earlier optbench" in message
    assert message.endswith(f"run its suite again: optbench run results/{cut.name}/run.json")


def test_what_has_no_say_in_numbers_may_change(cut, tmp_path):
    blas = describe_environment()["blas"]  # other tests load more since the run began
    more = [*blas, {"internal_api": "openblas", "version": "0.1", "architecture": "of a plug-in"}]
    change(cut, environment=environment(cut, cores=1000, git={"commit": "?"}, blas=more))
    assert optbench("run", "--resume", cut.name, "-q", cwd=tmp_path).code == 0
    (resumed,) = meta(cut)["resumes"]
    assert resumed.keys() == {"resumed", "workers"}


UNSAVED = """
import threading


class Locked:
    def __init__(self, lr=0.01):
        self.lr = lr
        self.lock = threading.Lock()

    def update(self, params, grads):
        for key in params:
            params[key] = params[key] - self.lr * grads[key]
"""


def test_lanes_of_what_cannot_be_saved_start_again_and_halving_refuses_them(tmp_path):
    (tmp_path / "mine.py").write_text(UNSAVED, encoding="utf-8")
    start = "iterations = 300\n[[problem]]\nname = 'anisotropic'\n"
    suite(tmp_path, f"{start}[[optimizer]]\nname = 'mine.py:Locked'\n")
    seen = optbench("run", "mine.toml", "--out", "whole", cwd=tmp_path)
    assert "not resumable, an interrupted run starts its lanes again" in seen.err
    (expected,) = (tmp_path / "whole").iterdir()
    run = killed(2, "run", "mine.toml", "-q", cwd=tmp_path)
    assert not [*run.glob(f"{FOLDER}/*/checkpoint.npz")]
    assert optbench("run", "--resume", run.name, "-q", cwd=tmp_path).code == 0
    assert_same_run(run, expected)
    tuned = ("tune", "mine.toml", "--space", "Locked.lr=log(1e-3, 1)", "--halving", "3", "-q")
    seen = optbench(*tuned, cwd=tmp_path)
    assert (seen.code, seen.out) == (2, "")
    assert seen.message.endswith("cannot pause as halving asks; leave --halving out")


def test_code_that_has_changed_is_refused(tmp_path):
    assert optbench("new", "optimizer", "mine.py", cwd=tmp_path).code == 0
    file = tmp_path / "mine.py"
    problem = "iterations = 300\n[[problem]]\nname = 'anisotropic'\n"
    suite(tmp_path, f"{problem}[[optimizer]]\nname = 'mine.py:Tempered'\n")
    run = killed(1, "run", "mine.toml", "-q", cwd=tmp_path)
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "\n\nSOMETHING = 1\n", encoding="utf-8")
    message = refused("--resume", run.name, cwd=tmp_path)
    assert "'mine.py:Tempered' has changed since the run was made; --trust executes" in message
    file.write_text(text, encoding="utf-8")
    assert optbench("run", "--resume", run.name, "-q", cwd=tmp_path).code == 0


def test_a_suite_that_has_changed_is_refused(cut, tmp_path):
    text = (cut / "run.json").read_text(encoding="utf-8")
    changed = text.replace('"lr": 0.3', '"lr": 0.25')
    assert changed != text
    (cut / "run.json").write_text(changed, encoding="utf-8")
    message = refused("--resume", cut.name, cwd=tmp_path)
    assert "(adam on anisotropic) is another one now" in message


def test_a_suite_with_more_lanes_is_refused(cut, tmp_path):
    resolved = meta(cut)["suite"]
    resolved["resolved"]["seeds"] = [0, 1, 2]
    change(cut, suite=resolved)
    assert "began with " in refused("--resume", cut.name, cwd=tmp_path)


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([], "its blocks do not share the lanes"),
        (None, "its blocks do not share the lanes"),
        ("shift", "its blocks do not share the lanes"),
        ("twice", "its blocks do not share the lanes"),
        ("number", "its blocks do not share the lanes"),
        ("name", "its blocks do not share the lanes"),
        ("mix", "block 0 is not in its suite"),
    ],
)
def test_a_plan_that_is_none_is_damaged(blocks, says, cut, tmp_path):
    given = meta(cut)["blocks"]
    match blocks:
        case "shift":
            given[0]["lanes"][0] += 1
        case "twice":
            given[1]["lanes"] = given[0]["lanes"]
        case "number":
            given[1]["block"] = given[0]["block"]
        case "name":
            given[1]["blosk"] = given[1].pop("block")
        case "mix":
            one, other = given[0]["lanes"], given[-1]["lanes"]
            one[0], other[0] = other[0], one[0]
        case _:
            given = blocks
    change(cut, blocks=given)
    shutil.rmtree(cut / FOLDER)
    message = refused("--resume", cut.name, cwd=tmp_path)
    assert message == f"'results/{cut.name}/run.json' is damaged: {says}"


def test_tables_that_are_missing_are_named(cut, tmp_path):
    ended = next((cut / "trace").iterdir())
    ended.unlink()
    message = refused("--resume", cut.name, cwd=tmp_path)
    expected = f"'results/{cut.name}/trace/{ended.name}' is missing or damaged: "
    assert message.startswith(expected)


def test_a_run_that_another_process_went_on_with_meanwhile_is_refused(cut, whole, tmp_path):
    """Both have planned what is left; the second comes to write it when the first has ended."""

    from optbench.device.cpu import NumpyDevice
    from optbench.errors import ResultsError
    from optbench.runs import resume
    from optbench.suite.format import read_suite
    from optbench.suite.resolve import resolve

    device, settled = NumpyDevice(), resolve(read_suite(str(cut / "run.json")))
    plan = resume.plan_rest(cut, settled, device)
    assert optbench("run", "--resume", cut.name, "-q", cwd=tmp_path).code == 0
    with pytest.raises(ResultsError, match="another process has resumed"):
        resume.resume(cut, plan, device)
    assert_same_run(cut, whole)


def test_lanes_that_were_to_be_taken_over_are_run_where_they_were_not(place, whole, tmp_path):
    """Killed before, while and after the rows of the earlier run are copied."""
    shutil.copytree(place / "whole", tmp_path / "results")
    shutil.copy(place / "mine.toml", tmp_path)
    for records in (0, 1, 12):
        run = killed(records, "run", "mine.toml", "-q", "--reuse", "--seeds", 3, cwd=tmp_path)
        assert [each for each in meta(run)["blocks"] if "reused_from" in each]
        assert optbench("run", "--resume", run.name, "-q", cwd=tmp_path).code == 0
        assert set(lanes(run)["status"]) <= {"done", "diverged"}
        seen, expected = trace(run), trace(whole)
        keys = ["lane_key", "iteration"]
        joined = pd.merge(
            seen.merge(lanes(run)[["lane", "lane_key"]]),
            expected.merge(lanes(whole)[["lane", "lane_key"]]),
            on=keys,
        )
        assert len(joined) == len(expected)
        assert (joined["loss_x"] == joined["loss_y"]).sum() == expected["loss"].notna().sum()
        assert not seen.duplicated(["lane", "iteration"]).any()
        shutil.rmtree(run)


@pytest.mark.parametrize("ended_by", [Killed, KeyboardInterrupt])
def test_lanes_whose_copy_was_not_noted_are_there_once(ended_by, place, whole, tmp_path):
    """Killed, or interrupted, when the rows of an earlier run are copied and result.json is not."""
    shutil.copytree(place / "whole", tmp_path / "results")
    shutil.copy(place / "mine.toml", tmp_path)

    def end(self: Journal, result: object) -> None:
        raise ended_by

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(Journal, "end", end)
        seen = optbench("run", "mine.toml", "-q", "--reuse", cwd=tmp_path)
        assert seen.code == 130
    (run,) = {*(tmp_path / "results").iterdir()} - {tmp_path / "results" / whole.name}
    copied = {*trace(run)["lane"]}
    assert copied
    assert optbench("run", "--resume", run.name, "-q", cwd=tmp_path).code == 0
    ours, theirs = (
        trace(path).sort_values(["lane", "iteration"], ignore_index=True) for path in (run, whole)
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert optbench("show", run.name, cwd=tmp_path).code == 0
