"""``optbench pack``, and packs in place of runs."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pandas as pd
import pytest

import optbench as api
from optbench.store import pack as packs
from tests.cli.command import lanes, meta, optbench, run, trace
from tests.cli.test_kept import FILES, write
from tests.cli.test_resume import interrupted
from tests.forget import forget  # noqa: F401
from tests.studies import make_study

SMALL = ("booth", "-o", "sgd", "-o", "adam", "--iterations", 5)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return run("--problem", *SMALL, "--name", "whole", cwd=home)


@pytest.fixture
def away(made: Path, tmp_path: Path) -> Path:
    """Return a folder that holds run.zip and nothing else; the original is gone."""
    folder = tmp_path / "away"
    seen = optbench("pack", "latest", folder / "run.zip", cwd=tmp_path / "home")
    assert (seen.code, seen.err) == (0, "")
    (tmp_path / "original").mkdir()
    made.rename(tmp_path / "original" / made.name)
    return folder


@pytest.fixture
def original(away: Path, tmp_path: Path) -> Path:
    """Return where the run is now, of which nothing in the pack knows."""
    (path,) = (tmp_path / "original").iterdir()
    return path


def test_a_pack_is_read_like_the_run_without_it(away, original):
    for command in ("show", "compare", "export --table lanes", "export --table trace"):
        here = optbench(*command.split(), "run.zip", cwd=away)
        there = optbench(*command.split(), original, cwd=away)
        assert (here.code, here.out) == (0, there.out), command
    packed, read = api.load(away / "run.zip"), api.load(original)
    for table in ("lanes", "trace", "evaluation"):
        pd.testing.assert_frame_equal(getattr(packed, table), getattr(read, table))


def test_a_pack_is_repeated_to_the_bit(away, original):
    again = run("run.zip", cwd=away)
    pd.testing.assert_frame_equal(trace(again), trace(original))
    assert list(lanes(again)["lane_key"]) == list(lanes(original)["lane_key"])


@pytest.mark.parametrize(
    "command",
    [
        *("target {} --target best:50% --format json", "compare {} --format json"),
        *("export {} --table evaluation", "export {} --table summary", "show {} --format md"),
    ],
)
def test_reports_of_a_pack_are_those_of_the_run(command, away, original):
    here = optbench(*command.format("run.zip").split(), cwd=away)
    there = optbench(*command.format(original).split(), cwd=away)
    assert (here.code, here.out, here.err) == (there.code, there.out, there.err)
    assert here.code == 0


def test_a_pack_is_drawn_beside_another_run(away):
    other = run("--problem", *SMALL, "--name", "other", cwd=away)
    seen = optbench("plot", "run.zip", other, "--kind", "loss", "--save", "figures", cwd=away)
    assert (seen.code, seen.path.parent) == (0, away / "figures")


def test_a_pack_is_kept_as_a_baseline_and_checked(away):
    assert optbench("baseline", "save", "run.zip", "--name", "kept", cwd=away).code == 0
    for options in (("--run", "run.zip", "--strict"), ("--strict",)):
        seen = optbench("check", "kept", "-q", *options, cwd=away)
        assert seen.code == 0, seen
    other = run("--problem", *SMALL, "--set", "adam.lr=0.5", cwd=away)
    optbench("pack", other, "other.zip", cwd=away)
    assert optbench("check", "kept", "-q", "--run", "other.zip", cwd=away).code == 3


def test_the_suite_of_a_pack_is_tuned(away, original):
    options = ("--budget", "4 trials", "--finalists", 0, "--eval-seeds", 1, "-q")
    seen = optbench("tune", "run.zip", *options, cwd=away)
    assert seen.code == 0, seen
    again = optbench("tune", original / "run.json", *options, "--reuse", cwd=away)
    for name in ("search-000", "final"):
        assert list(lanes(again.path / name)["lane_key"]) == list(
            lanes(seen.path / name)["lane_key"]
        )


def test_python_takes_packs(away, original):
    pd.testing.assert_frame_equal(api.show(away / "run.zip"), api.show(original))
    pd.testing.assert_frame_equal(api.compare(away / "run.zip"), api.compare(original))
    pd.testing.assert_frame_equal(api.export([away / "run.zip"]), api.export([original]))
    pd.testing.assert_frame_equal(api.target(away / "run.zip"), api.target(original))
    with pytest.raises(api.UsageError, match="optbench run"):
        api.resume(away / "run.zip")


def test_figures_go_beside_the_pack(away):
    seen = optbench("plot", "run.zip", "--kind", "loss", cwd=away)
    assert seen.out.startswith("run-plots" + os.sep)
    assert seen.path.is_file()


def test_the_same_run_gives_the_same_bytes(made, tmp_path):
    one, other = tmp_path / "one.zip", tmp_path / "other.zip"
    assert optbench("pack", made, one, cwd=tmp_path).path == one
    optbench("plot", made, "--kind", "loss", cwd=tmp_path)
    copied = tmp_path / "copies" / made.name
    shutil.copytree(made, copied, copy_function=shutil.copyfile)
    assert optbench("pack", copied, other, cwd=tmp_path).code == 0
    assert one.read_bytes() == other.read_bytes()
    assert not any("plots" in name for name in ZipFile(one).namelist())


def test_a_study_is_packed_with_its_rounds(tmp_path):
    study = make_study(tmp_path / "results")
    assert optbench("pack", study, "study.zip", cwd=tmp_path).code == 0
    shown = optbench("show", study, cwd=tmp_path)
    study.rename(tmp_path / "gone")
    assert optbench("show", "study.zip", cwd=tmp_path).out == shown.out


def test_a_packed_study_is_not_resumed(tmp_path):
    study = make_study(tmp_path / "results", status="interrupted")
    assert "is interrupted" in optbench("pack", study, "study.zip", cwd=tmp_path).message
    study = make_study(tmp_path / "ended")
    optbench("pack", study, "study.zip", cwd=tmp_path)
    message = optbench("tune", "--resume", "study.zip", cwd=tmp_path).message
    assert message == (
        "'study.zip' is a pack, which nothing is written into; resume the study itself"
    )


# Code of plug-ins.


def alone(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as on another machine."""
    done = subprocess.run(
        [sys.executable, "-m", "optbench", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


def test_a_packed_run_is_shown_compared_and_repeated_without_the_original(tmp_path):
    """Its plug-in leaves a mark wherever it is executed; without --trust it leaves none."""
    home, away = tmp_path / "home", tmp_path / "away"
    mark = "open('mark', 'a').close()\n"
    write(home, {**FILES, "heavy.py": mark + FILES["heavy.py"]})
    away.mkdir()
    alone("run", "--problem", "bowl.py:bowl", "-o", "heavy.py:Heavy", "-o", "adam", "--iterations",
          7, "-q", "--name", "mine", cwd=home)  # fmt: skip
    assert (home / "mark").exists()
    alone("pack", "latest", away / "mine.zip", cwd=home)
    before = table_of(home)
    shutil.rmtree(home)
    shown = alone("show", "mine.zip", cwd=away).stdout
    assert "Heavy" in shown
    assert "adam" in shown
    assert "Heavy" in alone("compare", "mine.zip", cwd=away).stdout
    alone("plot", "mine.zip", "--kind", "loss", cwd=away)
    alone("export", "mine.zip", "-O", "trace.csv", cwd=away)
    for command in ("run mine.zip -q", "tune mine.zip --dry-run", "baseline save mine.zip"):
        said = alone(*command.split(), cwd=away, code=2).stderr
        assert "mine.zip/plugins/home (" in said
        assert "bowl.py" in said
        assert tempfile.gettempdir() not in said.replace(str(away), "")
    assert not (away / "mark").exists()
    alone("run", "mine.zip", "--trust", "-q", cwd=away)
    assert (away / "mark").exists()
    pd.testing.assert_frame_equal(table_of(away), before, check_exact=True)
    both = alone("compare", "mine.zip", "latest", "--format", "csv", cwd=away).stdout
    assert "Heavy (" in both


def table_of(folder: Path) -> pd.DataFrame:
    """Return the trace of the only run in a folder."""
    (path,) = (folder / "results").glob("*/run.json")
    return trace(path.parent)


@pytest.mark.usefixtures("forget")
def test_kept_code_is_executed_only_if_that_is_asked_for(tmp_path):
    home = tmp_path / "home"
    write(home, FILES)
    made = run("--problem", "booth", "-o", "heavy.py:Heavy", "--iterations", 3, cwd=home)
    optbench("pack", made, tmp_path / "run.zip", cwd=home)
    before = trace(made)
    shutil.rmtree(home)
    assert "--trust executes the copy" in optbench("run", "run.zip", cwd=tmp_path).message
    again = optbench("run", "run.zip", "--trust", "-q", cwd=tmp_path)
    assert again.code == 0
    pd.testing.assert_frame_equal(trace(again.path), before)
    assert meta(again.path)["plugins"]


def test_what_is_there_is_overwritten_only_by_force(made, tmp_path):
    (tmp_path / "a.zip").write_text("mine")
    assert "already exists" in optbench("pack", made, "a.zip", cwd=tmp_path).message
    assert optbench("pack", made, "a.zip", "--force", cwd=tmp_path).code == 0
    assert "end it in .zip" in optbench("pack", made, "a.tar", cwd=tmp_path).message


def test_what_has_not_ended_is_not_packed(tmp_path):
    cut = ("run", "--problem", *SMALL, "--iterations", 300, "-q", "--workers", 1)
    assert interrupted(1, *cut, cwd=tmp_path).code == 130
    message = optbench("pack", "latest", "a.zip", cwd=tmp_path).message
    assert "interrupted" in message
    assert "--resume" in message
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("run --resume run.zip", "optbench run run.zip"),
        ("clean run.zip --yes", "delete the file itself"),
        ("pack run.zip b.zip", "copy it"),
        ("tune --resume run.zip", "not a study"),
    ],
)
def test_nothing_is_written_into_a_pack(command, says, away):
    before = (away / "run.zip").read_bytes()
    assert says in optbench(*command.split(), cwd=away).message
    assert (away / "run.zip").read_bytes() == before


def add(file: Path, place: str, content: bytes, compression: int = ZIP_STORED) -> None:
    """Add a file to the run in a pack."""
    with ZipFile(file, "a", compression) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/{place}", content)


@pytest.mark.parametrize(
    ("name", "mode", "says"),
    [
        ("/whole/run.json", stat.S_IFREG, "no part of a run"),
        ("../run.json", stat.S_IFREG, "no part of a run"),
        ("whole/plugins/../../../x.py", stat.S_IFREG, "no part of a run"),
        ("C:/run.json", stat.S_IFREG, "no part of a run"),
        ("whole\\run.json", stat.S_IFREG, "no part of a run"),
        ("whole/plugins/a\x00.py", stat.S_IFREG, "no part of a run"),
        ("whole/notes.txt", stat.S_IFREG, "no part of a run"),
        ("whole/.lock", stat.S_IFREG, "no part of a run"),
        ("whole/trace/", stat.S_IFDIR, "no part of a run"),
        ("whole/plugins/link.py", stat.S_IFLNK, "no plain file"),
        ("whole/plugins/pipe.py", stat.S_IFIFO, "no plain file"),
        ("whole/run.json", stat.S_IFREG, "a file twice"),
        ("whole/RUN.json", stat.S_IFREG, "no part of a run"),
        ("other/run.json", stat.S_IFREG, "several runs"),
        ("whole/plugins/" + "a" * 300, stat.S_IFREG, "too long"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_no_run_has_are_refused(name, mode, says, away):
    with ZipFile(away / "run.zip", "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        info = ZipInfo("x")
        info.external_attr = (mode | 0o644) << 16
        info.filename = name.replace("whole", root)
        archive.writestr(info, b"x")
    assert_refused(away, says)


def assert_refused(away: Path, says: str) -> None:
    beside = sorted(away.parent.rglob("*"))
    for command in ("show", "run"):
        message = optbench(command, "run.zip", cwd=away).message
        assert message.startswith("'run.zip' cannot be read as a pack: ")
        assert says in message
    assert sorted(away.parent.rglob("*")) == beside


def test_compressed_members_are_refused_since_they_may_be_bombs(away):
    add(away / "run.zip", "plugins/zeros.py", bytes(10**7), ZIP_DEFLATED)
    assert_refused(away, "compressed")


def forge(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


def test_members_that_claim_to_be_longer_than_the_file_are_refused(away):
    add(away / "run.zip", "plugins/long.py", bytes(54321))
    forge(away / "run.zip", (54321).to_bytes(4, "little"), (2**31).to_bytes(4, "little"))
    assert_refused(away, "longer than it is")


def test_a_member_whose_content_is_not_what_it_claims_is_refused(away):
    add(away / "run.zip", "plugins/code.py", b"right = 1")
    forge(away / "run.zip", b"right = 1", b"wrong = 1")
    assert_refused(away, "CRC")


def test_encrypted_members_are_refused(away):
    with ZipFile(away / "run.zip", "a") as archive:
        archive.writestr("whole/plugins/a.py", b"x")
        archive.filelist[-1].flag_bits |= packs.ENCRYPTED
    assert_refused(away, "encrypted")


def test_too_many_members_are_refused(away, monkeypatch):
    monkeypatch.setattr(packs, "MOST_MEMBERS", 2)
    assert_refused(away, "a pack holds 1 to 2")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_truncated_files_are_refused(share, away):
    content = (away / "run.zip").read_bytes()
    (away / "run.zip").write_bytes(content[: int(share * len(content))])
    assert_refused(away, "not a zip file")


def test_a_zip_file_without_a_run_is_refused(away):
    with ZipFile(away / "run.zip", "w") as archive:
        archive.writestr("whole/lanes.parquet", b"x")
    assert_refused(away, "neither run.json nor tune.json")


def replaced(file: Path, place: str, content: bytes) -> None:
    """Put something else in the place of a file of the run in a pack."""
    with ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in members if name.split("/", 1)[1] == place)
    with ZipFile(file, "w", ZIP_STORED) as archive:
        for each, text in {**members, name: content}.items():
            archive.writestr(each, text)


@pytest.mark.parametrize(
    ("place", "commands"),
    [
        ("run.json", ("show {}", "run {}", "tune {} --dry-run", "merge {} other")),
        ("lanes.parquet", ("show {}", "compare {}", "baseline save {}", "merge {} other")),
        ("trace/block-00000.parquet", ("export {}", "plot {} --kind loss", "merge {} other")),
    ],
)
def test_what_is_wrong_in_a_pack_is_said_of_the_pack(place, commands, away):
    run("--problem", "booth", "-o", "momentum", "--iterations", 5, "--name", "other", cwd=away)
    replaced(away / "run.zip", place, b"{")
    for command in commands:
        message = optbench(*command.format("run.zip").split(), cwd=away).message
        assert ("run.zip" if place == "run.json" else f"'run.zip/{place}'") in message
        assert tempfile.gettempdir() not in message
    with pytest.raises(api.UsageError) as raised:
        api.load(away / "run.zip")
    assert f"{away / 'run.zip'}" in str(raised.value)


def test_what_is_to_be_run_again_is_the_pack_itself(away):
    replaced(away / "run.zip", "run.json", json.dumps(json.loads(read(away)) | OLD).encode())
    message = optbench("baseline", "save", "run.zip", cwd=away).message
    assert tempfile.gettempdir() not in message
    assert "'run.zip' was made by an earlier optbench" in message


OLD = {"schema_version": 2}


def read(away: Path) -> bytes:
    """Return the run.json in run.zip."""
    with ZipFile(away / "run.zip") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/run.json"))
        return archive.read(name)


def test_nothing_of_a_pack_stays_behind(away, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert optbench("show", "run.zip", cwd=away).code == 0
    assert list((tmp_path / "temporary").iterdir())
    packs.remove_unfolded()
    assert not list((tmp_path / "temporary").iterdir())
