"""``optbench clean``: what is deleted, what is kept, and that nothing half deleted is seen."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from optbench.store import clean as delete
from optbench.store.lock import locked
from tests.cli.command import in_terminal, meta, optbench, run
from tests.studies import NAME, make_study

FIRST = datetime(2025, 1, 31, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run, to be copied."""
    return run("quadratic-1d", "--iterations", 2, cwd=tmp_path_factory.mktemp("one"))


@pytest.fixture
def made(one, tmp_path):
    """A folder with runs a, b, c and d, started in the order d, c, b, a, and what is no run."""
    for hours, name in [(3, "a"), (1, "c"), (0, "d"), (2, "b")]:
        path = tmp_path / "results" / name
        shutil.copytree(one, path)
        changed(path, started=(FIRST + timedelta(hours=hours)).isoformat())
    (tmp_path / "results" / "notes.txt").write_text("mine")
    (tmp_path / "results" / "baselines").mkdir()
    shutil.copytree(one, tmp_path / "results" / "baselines" / "ci")
    (tmp_path / "results" / "speed").mkdir()
    return tmp_path


BESIDE = {"notes.txt", "baselines", "speed"}


def changed(path, **values):
    (path / "run.json").write_text(json.dumps(meta(path) | values))


def files(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def left(made):
    """Return what is in the results directory beside what is there anyway."""
    names = {path.name for path in (made / "results").iterdir()}
    assert names >= BESIDE
    assert (made / "results/baselines/ci/run.json").is_file()
    return names - BESIDE


# Which runs.


def test_all_runs_are_deleted_oldest_first_and_told(made):
    seen = optbench("clean", "--yes", cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert seen.out.splitlines() == ["results/d", "results/c", "results/b", "results/a"]
    assert left(made) == set()


@pytest.mark.parametrize(
    ("keep", "kept"), [(0, ""), (1, "a"), (3, "abc"), (4, "abcd"), (9, "abcd")]
)
def test_the_newest_are_kept_by_their_start(made, keep, kept):
    assert optbench("clean", "--keep", keep, "-y", cwd=made).code == 0
    assert left(made) == set(kept)


@pytest.mark.parametrize(
    "arguments",
    [["b", "c"], ["results/b", "results/c/run.json"], ["b", "./results/b", "results/c"]],
)
def test_named_runs_only(made, arguments):
    seen = optbench("clean", *arguments, "--yes", cwd=made)
    assert (seen.code, seen.out, seen.err) == (0, "results/b\nresults/c\n", "")
    assert left(made) == {"a", "d"}


def test_latest_means_the_run_started_last(made):
    assert optbench("clean", "latest", "-y", cwd=made).out == "results/a\n"


@pytest.mark.parametrize("arguments", [["."], []])
def test_a_run_may_be_the_working_directory(made, arguments):
    seen = optbench("clean", *arguments, "--out", "..", "-y", cwd=made / "results" / "d")
    assert (seen.code, seen.err) == (0, "")
    assert left(made) == (set("abc") if arguments else set())


@pytest.mark.parametrize("out", ["nowhere", "results/speed"])
def test_nothing_to_delete_is_said(made, out):
    before = files(made)
    seen = optbench("clean", "--out", out, cwd=made)
    assert (seen.code, seen.out, seen.err) == (0, "", f"nothing to delete under '{out}'\n")
    assert files(made) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("nope", "there is no run 'nope'"),
        ("a|nope", "there is no run 'nope'"),
        ("a|broken", "run.json' cannot be read"),
        ("a|link", "'results/link' is a link; name the run itself"),
        ("a|alias", "'results/alias' is a link; name the run itself"),
        ("results/folder/run", "is not a run directly in 'results'; give its folder as --out"),
        ("results/link/../far", "is not a run directly in 'results'"),
        ("results/baselines/ci", "'results/baselines/ci' is not a run directly in 'results'"),
        ("--out|results/baselines", "'results/baselines' holds baselines, not runs"),
        ("ci|--out|results/baselines", "'results/baselines' holds baselines, not runs"),
        ("elsewhere/far", "'elsewhere/far' is not a run directly in 'results'"),
        ("a|--keep|1", "--keep chooses among all runs; leave out RUN or --keep"),
        ("--keep|-1", "invalid value for '--keep'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_deleted(made, one, arguments, says):
    shutil.copytree(one, made / "elsewhere" / "far")
    shutil.copytree(one, made / "results" / "folder" / "run")
    shutil.copytree(one, made / "results" / "broken")
    (made / "results" / "broken" / "run.json").write_text("{")
    (made / "results" / "link").symlink_to(made / "elsewhere" / "far")
    (made / "results" / "alias").symlink_to("b")
    before = files(made)
    assert says in optbench("clean", *arguments.split("|"), "--yes", cwd=made).message
    assert files(made) == before


def test_links_and_what_is_no_run_of_ours_are_kept(made, one):
    shutil.copytree(one, made / "elsewhere" / "far")
    (made / "elsewhere" / "file").write_text("mine")
    results = made / "results"
    (results / "link").symlink_to(made / "elsewhere" / "far")
    (results / "a" / "trace" / "out").symlink_to(made / "elsewhere")  # in a run: only the link goes
    for name, text in {"foreign": '{"name": "x"}', "broken": "{", "later": "{}"}.items():
        shutil.copytree(one, results / name)
        (results / name / "run.json").write_text(text)
    changed(results / "later", schema_version=99)
    shutil.copytree(one, results / "nothing")
    (results / "nothing" / "run.json").unlink()
    shutil.copy(one / "run.json", results / "baselines")
    shutil.copytree(one, results / ".deleted-mine")  # not a name of ours
    changed(results / ".deleted-mine", schema_version="x")

    seen = optbench("clean", "--yes", cwd=made)
    assert (seen.code, seen.out.split()) == (0, [f"results/{name}" for name in "dcba"])
    assert left(made) == {"link", "foreign", "broken", "later", "nothing", ".deleted-mine"}
    assert files(made / "elsewhere").keys() == {
        made / "elsewhere" / name for name in ("file", "far", *_below(one))
    }
    told = seen.err.splitlines()
    assert len(told) == 5
    assert "note: 'results/link' is a link and is kept" in told
    for name in ("foreign", "broken", "later"):
        assert any(line.endswith(f"'results/{name}' is kept") for line in told)


def _below(one):
    return [f"far/{path.relative_to(one)}" for path in one.rglob("*")]


def test_a_link_to_the_results_directory_is_followed(made):
    (made / "there").symlink_to("results")
    assert optbench("clean", "b", "--out", "there", "-y", cwd=made).out == "there/b\n"
    assert left(made) == set("acd")


# Runs that are being written.

HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def written(made):
    """Run b is being written: another process holds its lock."""
    pytest.importorskip("fcntl")
    changed(made / "results" / "b", status="running")
    command = [sys.executable, "-c", HOLD, str(made / "results" / "b" / ".lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout.readline() == "held\n"
        yield made
        held.stdin.close()


SAID = "note: 'results/b' is still being written and is kept\n"


def test_a_run_that_is_being_written_is_kept(written):
    seen = optbench("clean", "--yes", cwd=written)
    assert (seen.code, seen.err) == (0, SAID)
    assert left(written) == {"b"}


def test_also_when_it_is_named(written):
    seen = optbench("clean", "b", cwd=written)
    assert (seen.code, seen.out) == (0, "")
    assert seen.err == SAID + "nothing to delete under 'results'\n"


def test_it_counts_among_the_newest(written):
    assert optbench("clean", "--keep", "2", "--yes", cwd=written).code == 0
    assert left(written) == {"a", "b"}


def test_a_run_that_was_killed_is_none_of_them(made):
    changed(made / "results" / "b", status="running")
    (made / "results" / "b" / ".lock").touch()
    seen = optbench("clean", "b", cwd=made)
    assert "interrupted" in seen.err
    assert optbench("clean", "b", "--yes", cwd=made).out == "results/b\n"


def test_a_run_that_is_taken_up_again_meanwhile_is_kept(made, monkeypatch):
    looked = []

    def is_locked(path):
        looked.append(path.name)
        return looked.count("b") > 1 and path.name == "b"

    monkeypatch.setattr("optbench.store.clean.is_locked", is_locked)
    optbench("clean", "--yes", cwd=made)
    assert left(made) == {"b"}


# Asking.


def test_without_a_terminal_the_runs_are_listed_and_nothing_is_deleted(made):
    before = files(made)
    seen = optbench("clean", "--keep", 2, cwd=made)
    assert (seen.code, seen.out) == (2, "")
    lines = [line.split() for line in seen.err.splitlines() if line.strip()]
    assert lines[0] == ["run", "status", "suite", "started", "size"]
    assert [line[:5] for line in lines[2:4]] == [
        ["d", "done", "quadratic-1d", "2025-01-31", "23:00"],
        ["c", "done", "quadratic-1d", "2025-02-01", "00:00"],
    ]
    assert lines[4][0] == "error:"
    assert seen.err.endswith("; give --yes\n")
    assert "whether to delete 2 runs, " in seen.err
    assert files(made) == before


def test_the_size_is_that_of_all_files(made):
    shutil.rmtree(made / "results" / "a" / "plots", ignore_errors=True)
    sizes = [path.stat().st_size for path in (made / "results/a").rglob("*") if path.is_file()]
    (made / "results" / "a" / "more").write_bytes(bytes(2_000_000 - sum(sizes)))
    os.symlink("more", made / "results" / "a" / "link")  # as long as its text
    assert "2.0 MB" in optbench("clean", "a", cwd=made).err
    assert delete.size_bytes(made / "results" / "a") == 2_000_004


def asked(cwd, answer, *arguments, columns=80):
    """Run ``optbench clean`` with a terminal for stdin and stderr; return code, stdout, stderr."""
    environment = {"COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
    return in_terminal("clean", *arguments, cwd=cwd, answer=answer, piped=True, **environment)


@pytest.mark.parametrize("answer", [b"y\n", b"yes\n"])
def test_yes_deletes(made, answer):
    code, out, err = asked(made, answer, "a", "b")
    assert (code, out) == (0, "results/a\nresults/b\n")
    assert "Delete 2 runs, " in err
    assert left(made) == {"c", "d"}


@pytest.mark.parametrize("answer", [b"n\n", b"\n"])
def test_no_deletes_nothing(made, answer):
    before = files(made)
    code, out, err = asked(made, answer)
    assert (code, out) == (0, "")
    assert err.endswith("nothing was deleted\n")
    assert files(made) == before


def test_no_answer_is_an_interrupt(made):
    before = files(made)
    code, out, err = asked(made, b"\x04")
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert files(made) == before


@pytest.mark.parametrize("columns", [80, 160])
def test_whole_names_are_shown_however_wide_it_is(made, columns):
    name = "a-long-name-20250131T235959Z-" + "0123456789abcdef" * 3
    (made / "results" / "a").rename(made / "results" / name)
    _, _, err = asked(made, b"n\n", name, columns=columns)
    lines = err.split("Delete 1 run, ")[0].splitlines()
    assert max(map(len, lines)) <= columns
    assert name in "".join(line.split()[0] for line in lines if line.strip()[:1].isalnum())


# Deletions that do not come to their end.

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from optbench.store import clean as delete
if sys.argv[2] == "moved":
    delete.remove_leftover = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
else:
    def half(folder):
        next(Path(folder).rglob("*.parquet")).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    shutil.rmtree = half
delete.delete_run(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("when", ["moved", "half"])
def test_a_killed_deletion_leaves_nothing_that_looks_like_a_run(made, when):
    command = [sys.executable, "-c", KILLED, str(made / "results" / "a"), when]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    (rest,) = left(made) - set("bcd")
    assert rest.startswith(".deleted-")
    assert files(made / "results" / rest)
    listed = optbench("list", "runs", cwd=made).out
    assert [name in listed for name in ("deleted", "\n a ", "\n b ")] == [False, False, True]
    assert "there is no run 'a'" in optbench("show", "a", cwd=made).message

    seen = optbench("clean", "d", "--yes", cwd=made)
    assert (seen.code, seen.out) == (0, "results/d\n")
    assert seen.err == "removed what an earlier deletion had left behind\n"
    assert left(made) == {"b", "c"}


def test_leftovers_are_removed_without_runs_too_but_not_before_an_answer(made):
    folder = made / "results" / ".deleted-0123abcd"
    (folder / "run" / "trace").mkdir(parents=True)
    assert optbench("clean", cwd=made).code == 2
    assert folder.is_dir()
    seen = optbench("clean", "--keep", 4, cwd=made)
    assert (seen.code, len(seen.err.splitlines())) == (0, 2)
    assert left(made) == set("abcd")


def test_what_only_looks_like_a_leftover_is_kept(made):
    results = made / "results"
    (results / ".deleted-0123abcd").symlink_to("baselines")
    (results / ".deleted-89abcdef").write_text("mine")
    (results / ".deleted-two00000").mkdir()
    for name in "ab":
        (results / ".deleted-01234567" / name).mkdir(parents=True)
    before = files(results)
    assert delete.leftovers(results) == []
    assert optbench("clean", "--keep", 4, "--yes", cwd=made).code == 0
    assert files(results) == before


def fail_on(monkeypatch, module, function, name):
    """Let a function fail for paths of this name, as for want of permission; root lacks none."""
    real = getattr(module, function)

    def failing(path, *arguments, **more):
        if os.path.basename(path) == name or (os.path.isdir(path) and name in os.listdir(path)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **more)

    monkeypatch.setattr(module, function, failing)


def test_a_run_that_cannot_be_moved_stays_whole_and_the_others_go(made, monkeypatch):
    before = files(made / "results" / "c")
    fail_on(monkeypatch, delete.os, "rename", "c")
    seen = optbench("clean", "--yes", cwd=made)
    assert (seen.code, seen.out.split()) == (2, ["results/d", "results/b", "results/a"])
    assert seen.err == (
        f"error: '{made / 'results' / 'c'}' cannot be deleted: Permission denied; "
        "3 of 4 runs were deleted\n"
    )
    assert left(made) == {"c"}
    assert files(made / "results" / "c") == before


def test_a_run_that_cannot_be_removed_is_no_run_any_more(made, monkeypatch):
    with monkeypatch.context() as patch:
        fail_on(patch, delete.shutil, "rmtree", "c")
        seen = optbench("clean", "c", "d", "--yes", cwd=made)
        assert (seen.code, seen.out, len(seen.err.splitlines())) == (2, "results/d\n", 1)
        assert ", a deleted run, cannot be removed: Permission denied; 1 of 2 runs" in seen.err
        assert optbench("clean", "--keep", 9, cwd=made).code == 2
    (rest,) = left(made) - set("ab")
    assert rest.startswith(".deleted-")
    assert optbench("clean", "--keep", 9, cwd=made).code == 0
    assert left(made) == {"a", "b"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may do everything")
def test_a_folder_without_permission(made):
    (made / "results").chmod(0o555)
    try:
        message = optbench("clean", "a", "--yes", cwd=made).message
    finally:
        (made / "results").chmod(0o755)
    assert message.endswith("cannot be deleted: Permission denied; 0 of 1 runs were deleted")
    assert left(made) == set("abcd")


def test_a_run_that_another_process_deleted_meanwhile_is_no_failure(made):
    delete.delete_run(made / "results" / "never")
    assert left(made) == set("abcd")


def test_two_that_remove_the_same_do_not_hinder_each_other(made, monkeypatch):
    real, calls = shutil.rmtree, []

    def rmtree(path):
        calls.append(path)
        if len(calls) == 1:
            raise FileNotFoundError(2, "No such file or directory")
        real(path)

    monkeypatch.setattr(delete.shutil, "rmtree", rmtree)
    delete.delete_run(made / "results" / "a")
    assert (len(calls), left(made)) == (2, set("bcd"))


def test_an_interrupt_tells_what_was_deleted(made):
    code = (
        "import sys; from optbench.store import clean; real = clean.delete_run\n"
        "def slow(path):\n"
        "    if path.name == 'b': raise KeyboardInterrupt\n"
        "    real(path)\n"
        "clean.delete_run = slow\n"
        "from optbench.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "clean", "--yes"],
        cwd=made,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "results/d\nresults/c\n")
    assert "Traceback" not in done.stderr
    assert left(made) == {"a", "b"}


UNBEGUN = "short-20250131T233000Z-0123abcd"


@pytest.fixture
def unbegun(made):
    """A run that was killed before its run.json, beside the others; it came after d."""
    path = made / "results" / UNBEGUN
    path.mkdir()
    for name in ("lanes.parquet", ".lock", ".optbench-0123.part"):
        (path / name).touch()
    (path / "plugins" / "heavy").mkdir(parents=True)
    (path / "plugins" / "heavy" / "heavy.py").touch()
    return path


@pytest.mark.parametrize("arguments", [[], ["--keep", 4], [UNBEGUN], ["short"]])
def test_a_run_that_ended_before_it_began_is_deleted(arguments, made, unbegun):
    seen = optbench("clean", *arguments, "--yes", cwd=made)
    assert (seen.code, seen.err) == (0, "")
    assert f"results/{UNBEGUN}" in seen.out.splitlines()
    assert left(made) == ({*"abcd"} if arguments else set())


def test_a_run_that_is_beginning_and_what_is_not_ours_are_kept(made, unbegun):
    with locked(unbegun):
        assert optbench("clean", "--yes", cwd=made).code == 0
    (unbegun / "notes.txt").touch()
    assert optbench("clean", "--yes", cwd=made).code == 0
    assert left(made) == {UNBEGUN}
    assert "there is no run" in optbench("clean", UNBEGUN, cwd=made).message


# Studies.


@pytest.fixture
def studied(made, one):
    """The same, with a study that was started between b and a."""
    started = (FIRST + timedelta(hours=2, minutes=30)).isoformat()
    make_study(made / "results", "search-000", "final", run=one, started=started)
    return made


@pytest.mark.parametrize(
    ("keep", "kept"), [(0, set()), (1, {"a"}), (2, {"a", NAME}), (3, {"a", "b", NAME})]
)
def test_a_study_is_one_of_them_with_all_its_rounds(studied, keep, kept):
    seen = optbench("clean", "--keep", keep, "--yes", cwd=studied)
    order = ["d", "c", "b", NAME, "a"]
    gone = [f"results/{name}" for name in order if name not in kept]
    assert (seen.code, seen.err, seen.out.splitlines()) == (0, "", gone)
    assert left(studied) == kept


@pytest.mark.parametrize("argument", [NAME, "small", f"results/{NAME}"])
def test_a_study_is_named_as_a_run_is_and_listed_as_one(studied, argument):
    seen = optbench("clean", argument, cwd=studied)
    assert seen.code == 2
    assert "no terminal to ask whether to delete 1 run, " in seen.err
    assert NAME in seen.err
    assert left(studied) == {"a", "b", "c", "d", NAME}
    seen = optbench("clean", argument, "-y", cwd=studied)
    assert (seen.code, seen.out) == (0, f"results/{NAME}\n")
    assert left(studied) == {"a", "b", "c", "d"}


@pytest.mark.parametrize("place", ["", "search-000", "final"])
def test_a_study_that_is_being_tuned_is_kept(studied, place):
    with locked(studied / "results" / NAME / place):
        seen = optbench("clean", "--yes", cwd=studied)
    assert seen.err == f"note: 'results/{NAME}' is still being written and is kept\n"
    assert left(studied) == {NAME}
    assert (studied / "results" / NAME / "final" / "run.json").exists()


def test_a_study_whose_tune_json_is_damaged_is_kept(studied):
    (studied / "results" / NAME / "tune.json").write_text("{}")
    seen = optbench("clean", "--yes", cwd=studied)
    assert f"'results/{NAME}' is kept" in seen.err
    assert left(studied) == {NAME}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([f"results/{NAME}/final"], f"'results/{NAME}/final' is a round of a study"),
        ([f"{NAME}/search-000"], f"'results/{NAME}/search-000' is a round of a study"),
        (["--out", f"results/{NAME}"], f"'results/{NAME}' is a study"),
        (["final", "--out", f"results/{NAME}"], f"'results/{NAME}' is a study"),
    ],
)
def test_a_round_is_not_deleted_by_itself(studied, arguments, what):
    seen = optbench("clean", *arguments, "-y", cwd=studied)
    command = f"optbench clean {NAME} --out {(studied / 'results').resolve()}"
    assert (seen.code, seen.err) == (2, f"error: {what}; it is deleted as one: {command}\n")
    assert (studied / "results" / NAME / "final" / "run.json").exists()
