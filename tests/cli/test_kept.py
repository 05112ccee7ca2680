"""The code of plug-ins that runs keep, and ``--trust``, which executes it."""

import hashlib
import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import optbench as api
from optbench.suite import gather
from tests.cli.command import Seen, lanes, meta, optbench, run, trace
from tests.cli.test_resume import interrupted
from tests.forget import forget  # noqa: F401

pytestmark = pytest.mark.usefixtures("forget")

HEAVY = """
from optbench.optimizers import Elementwise, Hyperparameter
from sizes import scale

class Heavy(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)
    slots = ("velocity",)

    @staticmethod
    def rule(w, g, v, *, lr, xp):
        v = 0.5 * v - scale() * lr * g
        return w + v, v
"""

SIZES = "def scale():\n    from deep.inner import half\n    return 2 * half\n"

BOWL = """
from optbench.problems import function

@function(start=[-7.0, 2.0])
def bowl(point):
    return (point**2).sum() / 2, point
"""

FILES = {
    "heavy.py": HEAVY,
    "sizes.py": SIZES,
    "deep/__init__.py": "",
    "deep/inner.py": "half = 0.5\n",
    "deep/unused.py": "",
    "bowl.py": BOWL,
    "other.py": "stray = 1\n",
}

ARGUMENTS = ("--problem", "bowl.py:bowl", "-o", "heavy.py:Heavy", "-o", "adam", "--iterations", 7)


def write(folder: Path, files: dict[str, str]) -> None:
    for place, text in files.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with an optimizer of several files, and a problem."""
    folder = tmp_path / "home"
    write(folder, FILES)
    return folder


@pytest.fixture
def made(home: Path) -> Path:
    """A run with both, made there."""
    return run(*ARGUMENTS, cwd=home)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def below(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in folder.rglob("*")
        if file.is_file()
    }


def again(path: Path, *arguments: object, cwd: Path) -> Seen:
    return optbench("run", path / "run.json", *arguments, "-q", cwd=cwd)


def assert_repeats(seen: Seen, made: Path) -> Path:
    """Compare a run with the one that it repeats: keys, titles and every bit."""
    assert seen.code == 0, seen
    path = seen.path
    columns = ["lane_key", "problem", "label", "seed", "fingerprint", "final_loss", "status"]
    pd.testing.assert_frame_equal(lanes(path)[columns], lanes(made)[columns], check_exact=True)
    pd.testing.assert_frame_equal(trace(path), trace(made), check_exact=True)
    return path


def test_a_run_keeps_all_files_that_count_and_no_others(made):
    own = {place: FILES[place] for place in FILES if place not in ("bowl.py", "other.py")}
    assert below(made / "plugins" / "home") == {**own, "bowl.py": BOWL}
    assert meta(made)["plugins"] == [
        {
            "kind": "problem",
            "name": "bowl.py:bowl",
            "folder": "plugins/home",
            "spec": "bowl.py:bowl",
            "files": {"bowl.py": sha256(BOWL)},
        },
        {
            "kind": "optimizer",
            "name": "heavy.py:Heavy",
            "folder": "plugins/home",
            "spec": "heavy.py:Heavy",
            "files": {place: sha256(text) for place, text in sorted(own.items())},
        },
    ]
    assert "plugins_not_kept" not in meta(made)


def test_runs_without_code_of_yours_keep_none(tmp_path):
    path = run("anisotropic", "-o", "adam", "--iterations", 2, cwd=tmp_path)
    assert not (path / "plugins").exists()
    assert "plugins" not in meta(path)


@pytest.mark.parametrize("flags", [(), ("--trust",)])
def test_originals_that_are_as_they_were_are_taken(made, home, flags):
    seen = again(made, *flags, cwd=home)
    assert seen.err == ""
    path = assert_repeats(seen, made)
    assert meta(path)["optimizers"][0]["source"]["place"] == str(home / "heavy.py")


def test_originals_that_are_gone_are_replaced_by_what_was_kept_where_that_is_asked_for(
    made, home, tmp_path
):
    moved = shutil.copytree(made, tmp_path / "elsewhere" / "moved")
    shutil.rmtree(home)
    where = f"{moved / 'plugins' / 'home'} (bowl.py)"
    assert again(moved, cwd=tmp_path).message == (
        f"{moved}/run.json: 'bowl.py:bowl' is not there any more; --trust executes the copy "
        f"that the run kept: {where}"
    )
    told = optbench("run", moved / "run.json", "--trust", "--dry-run", cwd=tmp_path)
    assert told.err.splitlines() == [
        "note: 'bowl.py:bowl' is not there any more: executing the copy that the run kept: "
        f"{where}",
        "note: 'heavy.py:Heavy' is not there any more: executing the copy that the run kept: "
        f"{moved / 'plugins' / 'home'} (deep/__init__.py, deep/inner.py, deep/unused.py and 2 "
        "more)",
    ]
    path = assert_repeats(again(moved, "--trust", cwd=tmp_path), moved)
    # What it has kept in its turn repeats it once more.
    shutil.rmtree(moved)
    assert_repeats(again(path, "--trust", cwd=tmp_path / "elsewhere"), path)


def test_a_file_that_has_changed_is_not_executed_to_see_that(made, home):
    write(home, {"heavy.py": f"open('executed', 'w')\n{HEAVY}"})
    assert again(made, cwd=home).message.startswith(
        f"{made}/run.json: 'heavy.py:Heavy' has changed since the run was made; --trust executes"
    )
    told = optbench("run", made / "run.json", "--trust", "--dry-run", cwd=home).err
    assert "'heavy.py:Heavy' has changed since the run was made: executing" in told
    assert "bowl.py:bowl" not in told
    assert_repeats(again(made, "--trust", cwd=home), made)
    assert not (home / "executed").exists()


@pytest.mark.parametrize(
    ("place", "text"),
    [("sizes.py", f"{SIZES}\n"), ("deep/inner.py", "half = 5.0\n"), ("sizes.py", "1 / 0\n")],
)
def test_so_has_the_plug_in_if_a_module_that_it_imports_has(made, home, place, text):
    write(home, {place: text})
    message = again(made, cwd=home).message
    assert "'heavy.py:Heavy' has changed since the run was made; --trust" in message
    assert_repeats(again(made, "--trust", cwd=home), made)


def test_lanes_that_repeat_are_reused(made, home, tmp_path):
    shutil.rmtree(home / "deep")
    for name in ("heavy.py", "sizes.py", "bowl.py"):
        (home / name).unlink()
    seen = again(made, "--trust", "--reuse", cwd=home)
    assert [block["reused_from"] for block in meta(seen.path)["blocks"]] == [made.name]


def test_python_is_asked_alike(made, home, tmp_path):
    shutil.rmtree(home / "deep")
    out = tmp_path / "again"
    with pytest.raises(api.UsageError, match="trust=True executes the copy"):
        api.run(made / "run.json", out=out)
    results = api.run(made / "run.json", trust=True, out=out)
    assert results.lanes["lane_key"].tolist() == lanes(made)["lane_key"].tolist()


def test_a_run_is_resumed_with_what_it_kept(home):
    whole = run(*ARGUMENTS, "--iterations", 300, "--workers", 1, cwd=home)
    cut = interrupted(1, "run", *ARGUMENTS, "--iterations", 300, "-q", "--workers", 1, cwd=home)
    path = cut.path
    assert meta(path)["status"] == "interrupted"
    write(home, {"heavy.py": HEAVY.replace("0.5", "0.25")})
    resume = ("run", "--resume", path, "-q", "--workers", 1)
    assert (
        "'heavy.py:Heavy' has changed since the run was made" in optbench(*resume, cwd=home).message
    )
    assert assert_repeats(optbench(*resume, "--trust", cwd=home), whole) == path


@pytest.mark.parametrize("spec", ["pack.rules:Heavy", "heavy-ball"])
def test_modules_and_entry_points_of_a_package_of_yours_are_kept_too(
    spec, tmp_path, monkeypatch, home
):
    lib = tmp_path / "lib"
    rules = HEAVY.replace("from sizes", "from .sizes")
    sizes = SIZES.replace("from deep", "from pack.deep")
    package = {"__init__.py": "", "rules.py": rules, "sizes.py": sizes}
    package["deep/inner.py"] = "half = 0.5\n"
    write(lib, {f"pack/{place}": text for place, text in package.items()})
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: pack\nVersion: 1.2\n",
        "entry_points.txt": "[optbench.optimizers]\nheavy-ball = pack.rules:Heavy\n",
        "top_level.txt": "pack\n",
        "direct_url.json": json.dumps({"url": lib.as_uri(), "dir_info": {"editable": True}}),
    }
    write(lib, {f"pack-1.2.dist-info/{place}": text for place, text in about.items()})
    monkeypatch.syspath_prepend(lib)
    made = run("anisotropic", "-o", spec, "--iterations", 7, cwd=tmp_path)
    assert below(made / "plugins" / "modules") == {f"pack/{p}": t for p, t in package.items()}
    assert_repeats(again(made, cwd=tmp_path), made)

    forget_package()
    write(lib, {"pack/sizes.py": sizes.replace("2", "3")})
    message = again(made, cwd=tmp_path).message
    assert f"'{spec}' has changed since the run was made; --trust" in message
    assert_repeats(again(made, "--trust", cwd=tmp_path), made)

    forget_package()
    shutil.rmtree(lib)
    assert f"'{spec}' is not there any more; --trust" in again(made, cwd=tmp_path).message
    assert_repeats(again(made, "--trust", cwd=tmp_path), made)


def forget_package() -> None:
    """Take the package out of what Python has imported, as a new process would not have it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_files_of_one_name_are_kept_apart(tmp_path):
    for folder, rate in (("one", "0.1"), ("two", "0.2")):
        files = {"heavy.py": HEAVY.replace("0.1", rate), "sizes.py": "def scale():\n    return 1\n"}
        write(tmp_path / folder / "code", files)
    text = "".join(
        f"[[optimizer]]\nname = '{folder}/code/heavy.py:Heavy'\nlabel = '{folder}'\n"
        for folder in ("one", "two")
    )
    (tmp_path / "both.toml").write_text(f"[[problem]]\nname = 'anisotropic'\n{text}")
    made = run("both.toml", "--iterations", 7, cwd=tmp_path)
    folders = [code["folder"] for code in meta(made)["plugins"]]
    assert folders == ["plugins/code", "plugins/code-2"]
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "two")
    assert_repeats(again(made, "--trust", cwd=tmp_path), made)


def test_a_module_that_two_files_import_late_is_kept_once(home):
    write(home, {"second.py": HEAVY.replace("class Heavy", "class Second")})
    both = ("-o", "heavy.py:Heavy", "-o", "second.py:Second")
    made = run("anisotropic", *both, "--iterations", 7, cwd=home)
    shutil.rmtree(home / "deep")
    assert_repeats(again(made, "--trust", cwd=home), made)


def test_two_classes_of_a_file_are_kept_once(home):
    write(home, {"heavy.py": f"{HEAVY}\n\nclass Same(Heavy):\n    pass\n"})
    made = run("anisotropic", "-o", "heavy.py:Heavy", "-o", "heavy.py:Same", "-q", cwd=home)
    assert [code["folder"] for code in meta(made)["plugins"]] == ["plugins/home"] * 2
    assert len(list((made / "plugins").iterdir())) == 1


def test_a_file_is_kept_byte_by_byte_whatever_its_encoding_and_as_a_file_where_it_is_a_link(
    home, tmp_path
):
    text = f"# -*- coding: cp932 -*-\n# 比較\r\n{HEAVY}".encode("cp932")
    (home / "real.py").write_bytes(text)
    (home / "heavy.py").unlink()
    (home / "sizes.py").rename(tmp_path / "sizes.py")
    (home / "sizes.py").symlink_to(tmp_path / "sizes.py")
    made = run("anisotropic", "-o", "real.py:Heavy", "--iterations", 7, cwd=home)
    folder = made / "plugins" / "home"
    assert (folder / "real.py").read_bytes() == text
    assert not (folder / "sizes.py").is_symlink()
    (home / "real.py").unlink()
    assert_repeats(again(made, "--trust", cwd=home), made)


def test_what_is_too_large_is_not_kept_and_that_is_said(home, monkeypatch):
    monkeypatch.setattr(gather, "MOST_BYTES", 1000)
    write(home, {"deep/unused.py": "#" * 1000})
    seen = optbench("run", *ARGUMENTS, "-q", cwd=home)
    size = sum(len(FILES[name]) for name in ("heavy.py", "sizes.py", "deep/inner.py")) + 1000
    reason = f"it takes {size / 2**20:.1f} MiB, and at most 0 MiB are kept"
    assert meta(seen.path)["plugins_not_kept"] == {"heavy.py:Heavy": reason}
    assert [code["name"] for code in meta(seen.path)["plugins"]] == ["bowl.py:bowl"]
    noticed = optbench("run", *ARGUMENTS, cwd=home).err
    assert f"note: the code of heavy.py:Heavy is not kept with the run: {reason}" in noticed
    assert_repeats(again(seen.path, cwd=home), seen.path)
    (home / "heavy.py").unlink()
    message = again(seen.path, "--trust", cwd=home).message
    assert f"there is no file 'heavy.py' in '{home}'" in message
    assert "nor in" not in message, "one folder is named once"


def damaged(made: Path, home: Path) -> str:
    (home / "heavy.py").unlink(missing_ok=True)
    return again(made, "--trust", cwd=home).message


def test_what_was_kept_is_refused_where_it_is_not_whole(made, home):
    folder = made / "plugins" / "home"
    kept_file, text = folder / "sizes.py", (folder / "sizes.py").read_text()
    kept_file.write_text(f"{text}#")
    assert damaged(made, home) == f"'{kept_file}' has been changed since the run kept it"
    kept_file.unlink()
    missing = f"'{kept_file}' is missing: the code that the run kept is not whole"
    assert damaged(made, home) == missing
    kept_file.write_text(text)
    (folder / "numpy.py").write_text("1 / 0\n")
    stray = f"'{folder / 'numpy.py'}' is not among the code that the run kept; remove it"
    assert damaged(made, home) == stray
    (folder / "numpy.py").unlink()
    (folder / "__pycache__").mkdir()
    assert_repeats(again(made, "--trust", cwd=home), made)


@pytest.mark.parametrize("link", ["home/sizes.py", "home/deep", "home", ""])
def test_links_among_what_was_kept_are_refused(link, made, home, tmp_path):
    path = made / "plugins" / link
    shutil.move(path, tmp_path / "real")
    path.symlink_to(tmp_path / "real")
    assert damaged(made, home) == f"'{path}' is a link; a run keeps code itself"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"folder": "../home"}, "plugins.1.folder: '../home' is no place of a file"),
        ({"folder": "/etc"}, "plugins.1.folder: '/etc' is no place of a file"),
        ({"files": {"a/../../b.py": "0"}}, "'a/../../b.py' is no place of a file"),
        ({"files": {"C:\\b.py": "0"}}, "'C:\\\\b.py' is no place of a file"),
        ({"files": {}}, "plugins.1.files: it must be at least 1 long, not {}"),
        ({"spec": 3}, "plugins.1.spec: it must be text"),
        ({"spec": "../../../heavy.py:Heavy"}, "is not in the code that the run kept"),
        ({"spec": "torch:/tmp/heavy.py:Heavy"}, "is not in the code that the run kept"),
        ({"spec": "sizes.py"}, "is not in the code that the run kept"),
    ],
)
def test_a_run_json_that_leads_elsewhere_is_damaged(change: dict[str, Any], says, made, home):
    described = meta(made)
    described["plugins"][1] |= change
    (made / "run.json").write_text(json.dumps(described))
    assert says in damaged(made, home)


def test_code_that_something_else_goes_before_is_refused(made, home, tmp_path, monkeypatch):
    """A package without __init__.py gives way to one that is installed."""
    (made / "plugins" / "home" / "deep" / "__init__.py").unlink()
    described = meta(made)
    del described["plugins"][1]["files"]["deep/__init__.py"]
    (made / "run.json").write_text(json.dumps(described))
    write(tmp_path / "site", {"deep/__init__.py": "", "deep/inner.py": "half = 0.5\n"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "something else on Python's path goes by one of its names" in damaged(made, home)


def test_all_else_is_as_without_it(made, home):
    """Baselines take originals; deleting a run deletes what it kept."""
    assert optbench("baseline", "save", made, cwd=home).code == 0
    assert optbench("check", cwd=home).code == 0
    assert optbench("clean", made, "--yes", cwd=home).code == 0
    assert not made.exists()


def test_trust_has_nothing_to_say_of_other_suites(tmp_path):
    assert run("anisotropic", "-o", "sgd", "--iterations", 2, "--trust", cwd=tmp_path).is_dir()
