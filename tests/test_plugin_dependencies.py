"""What counts as a plug-in's code: all that it imports, whenever it does, and from wherever."""

import importlib
import json
import sys
import zipimport
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest

import optbench
from optbench import plugins
from tests.forget import forget  # noqa: F401
from tests.test_plugins import NUMPY, write

pytestmark = pytest.mark.usefixtures("forget")


def identity(spec: str) -> dict:
    """Return what a new process would know the code by."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__spec__", None) and name.partition(".")[0] in ("hb", "far", "common"):
            del sys.modules[name]
    with plugins.new_code_cache():
        return plugins.load(spec).source.identity()


@pytest.fixture
def lib(tmp_path, monkeypatch):
    """A folder on the path, with a package."""
    folder = tmp_path / "lib"
    write(folder, hb____init__="", hb__core="scale = 1\n", hb__deep__far="", hb__rule=RULE)
    monkeypatch.syspath_prepend(folder)
    return folder


RULE = "from .core import scale\nclass Bar: pass\n"


@pytest.mark.parametrize("change", ["hb__core", "hb____init__", "hb__deep__far", "hb__rule"])
@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("hb.rule:Bar", ""),
        ("hb.rule:Bar.__doc__", ""),
        ("{}/mine.py:value", "from hb.rule import Bar as value\n"),
        ("{}/mine.py:value", "def value():\n    from hb.rule import Bar\n"),
        ("{}/mine.py:value", "import importlib\nvalue = importlib.import_module('hb.rule')\n"),
        ("{}/mine.py:value", "n = 'rule'\nvalue = __import__(f'hb.{n}')\n"),
        ("{}/mine.py:value", "from importlib import import_module as i\nvalue = i('h' + 'b')\n"),
        ("{}/mine.py:value", "import near_by as value\n"),
    ],
)
def test_a_change_of_any_module_of_an_imported_package_is_seen(tmp_path, lib, change, spec, text):
    write(tmp_path, mine=text, near_by="from hb import rule\n")
    spec = spec.format(tmp_path)
    first = identity(spec)
    assert identity(spec) == first
    write(lib, **{change: "scale = 22\nclass Bar: pass\n"})
    second = identity(spec)
    assert first["modules"]["hb"] != second["modules"]["hb"]
    write(lib, other="", near_by="")
    (lib / "hb" / "notes.txt").write_text("no code")
    assert identity(spec) == second


def test_modules_that_imported_packages_import_count_too(tmp_path, lib):
    write(lib, hb__core="import far\nscale = 1\n", far="x = 1\n")
    first = identity("hb.rule:Bar")
    assert list(first["modules"]) == ["far", "hb"]
    write(lib, far="x = 2\n")
    assert identity("hb.rule:Bar") != first


def test_a_module_on_a_path_that_the_code_itself_adds_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = f"import sys\nsys.path.append({str(tmp_path / 'up')!r})\nimport common as value\n"
    write(tmp_path, here__mine=text, up__common="x = 1\n")
    spec = f"{tmp_path}/here/mine.py:value"
    first = identity(spec)
    assert list(first["modules"]) == ["common"]
    write(tmp_path, up__common="x = 2\n")
    assert identity(spec) != first


def test_code_that_python_keeps_counts_as_it_was_when_loaded(lib):
    first = plugins.load("hb.rule:Bar").source
    write(lib, hb__core="scale = 2\n")
    with plugins.new_code_cache():
        assert plugins.load("hb.rule:Bar").source == first  # and so is what would be run
    importlib.reload(sys.modules["hb.core"])
    with plugins.new_code_cache():
        assert plugins.load("hb.rule:Bar").source != first


def test_code_that_is_in_no_file_is_refused(monkeypatch):
    module = type(sys)("typed_in")
    module.value = 1
    monkeypatch.setitem(sys.modules, "typed_in", module)
    with pytest.raises(plugins.SuiteError, match=r"typed_in is in no file, .* save it in one"):
        plugins.load("typed_in:value")


def test_archives_and_packages_in_several_folders_are_hashed_too(tmp_path, monkeypatch):
    def build(first: str, second: str) -> dict:
        with ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("hb/__init__.py", first)
        write(tmp_path, one__common__part="x = 1\n", two__common__other=second)
        zipimport._zip_directory_cache.clear()
        sys.path_importer_cache.clear()
        return identity(f"{tmp_path}/mine.py:value")

    write(tmp_path, mine="def value():\n    import hb, common.part\n")
    for place in ("all.zip", "one", "two"):
        monkeypatch.syspath_prepend(tmp_path / place)
    first = build("x = 1\n", "")
    assert list(first["modules"]) == ["common", "hb"]
    assert build("x = 1\n", "y = 2\n")["modules"]["common"] != first["modules"]["common"]
    assert build("x = 3\n", "")["modules"]["hb"] != first["modules"]["hb"]


def test_names_that_lead_nowhere_and_text_that_is_no_python_count_for_nothing(tmp_path, lib):
    write(lib, hb__core="1 +* 2\n", hb__deep__far="import nowhere, __main__\n")
    (lib / "hb" / "no-module.py").write_text("")
    (lib / "hb" / ".#core.py").symlink_to("someone@host")  # as an editor leaves it
    write(tmp_path, mine="def value():\n    import hb, nowhere\n    print('hb'), f()()\n")
    assert list(identity(f"{tmp_path}/mine.py:value")["modules"]) == ["hb"]


def test_a_file_that_cannot_be_read_is_said(lib, monkeypatch):
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "far.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(plugins.SuiteError, match=r"^hb.rule cannot be read: Permission denied$"):
        plugins.load("hb.rule:Bar")


# Installed packages.


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return what installs a package ``far`` that needs NumPy and some others."""
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(folder)

    def install(version: str = "1.2", url: dict | None = None, code: str = "x = 1\n") -> None:
        write(folder, far____init__=code, far__part="import pandas\nclass Rule: pass\n")
        about = folder / "far-1.2.dist-info"
        about.mkdir(exist_ok=True)
        needs = "Requires-Dist: NumPy>=1\nRequires-Dist: rich\nRequires-Dist: torch; extra == 'x'\n"
        head = f"Metadata-Version: 2.1\nName: far\nVersion: {version}\n{needs}"
        (about / "METADATA").write_text(head)
        if url is not None:
            (about / "direct_url.json").write_text(json.dumps(url))

    return install


def test_a_release_is_known_by_its_version_and_by_what_computes_for_it(site, tmp_path):
    site()
    own = identity("far.part:Rule")
    assert {name: own[name] for name in ("package", "version", "libraries")} == {
        "package": "far",
        "version": "1.2",
        "libraries": NUMPY,
    }
    write(tmp_path, mine="import far as value, pandas\n")
    spec = f"{tmp_path}/mine.py:value"
    first = identity(spec)
    versions = {"far": "1.2", "pandas": metadata.version("pandas"), **NUMPY}
    assert (first["libraries"], "modules" in first) == (versions, False)
    site("1.3")
    assert identity(spec) != first
    assert identity("far.part:Rule") != own


@pytest.mark.parametrize(
    ("url", "hashed"),
    [
        ({"url": "file://{}", "dir_info": {}}, True),
        ({"url": "file://{}", "dir_info": {"editable": True}}, True),
        ({"url": "file://{}/gone", "dir_info": {}}, False),  # as conda leaves it
        ({"url": "https://host/far.git", "vcs_info": {"vcs": "git"}}, True),
        ({"url": "https://host/far-1.2-py3-none-any.whl", "archive_info": {}}, False),
    ],
)
def test_what_pip_took_from_a_folder_or_a_repository_is_hashed(site, tmp_path, url, hashed):
    site(url={**url, "url": url["url"].format(tmp_path)})
    write(tmp_path, mine="import far as value\n")
    for spec in ("far.part:Rule", f"{tmp_path}/mine.py:value"):
        first = identity(spec)
        assert ("far" in first.get("modules", {})) is hashed
        site(code="x = 2\n")
        assert (identity(spec) != first) is hashed
        site()


def test_a_package_of_another_name_is_found_by_its_files(tmp_path, monkeypatch):
    about = tmp_path / "far_away-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.2\n")
    (about / "RECORD").write_text("far/__init__.py,,\n")
    write(tmp_path, far____init__="x = 1\n", common____init__="")
    monkeypatch.syspath_prepend(tmp_path)
    assert (identity("far:x")["package"], identity("far:x")["version"]) == ("far-away", "1.2")
    assert list(identity("common:__name__")["modules"]) == ["common"]


def test_what_a_build_leaves_beside_the_code_makes_no_release_of_it(tmp_path, monkeypatch):
    write(tmp_path, far____init__="", far__rule="class Bar: pass\n")
    about = tmp_path / "far.egg-info"
    about.mkdir()
    (about / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: far\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(identity("far.rule:Bar")["modules"]) == ["far"]


# What a changed module changes.

DAMPED = """
from optbench.optimizers import Elementwise, Hyperparameter
from .core import scale

class Damped(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.1, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        return (w - scale * lr * g,)
"""


def test_reuse_resume_and_the_gate_see_that_a_module_of_the_package_has_changed(lib, tmp_path):
    write(lib, hb__rule=DAMPED)
    runs = {"out": tmp_path, "workers": 1}

    def run() -> optbench.Results:
        for name in ("hb.rule", "hb.core"):
            sys.modules.pop(name, None)
        return optbench.run(
            "anisotropic", optimizers="hb.rule:Damped", iterations=3, reuse=True, **runs
        )

    first = run()
    optbench.save_baseline(first.path, out=tmp_path)
    assert run().meta["blocks"][0]["reused_from"] == first.path.name
    write(lib, hb__core="scale = 0.5\n")
    second = run()
    assert "reused_from" not in second.meta["blocks"][0]
    assert second.lanes["final_loss"].item() > first.lanes["final_loss"].item()

    (checked,) = optbench.check(**runs)
    assert "hb" in "".join(finding.message for finding in checked.verdict.findings)
    meta = json.loads((first.path / "run.json").read_text())
    (first.path / "run.json").write_text(json.dumps({**meta, "status": "interrupted"}))
    with pytest.raises(optbench.UsageError, match=r"'hb\.rule:Damped' has changed"):
        optbench.resume(first.path)
