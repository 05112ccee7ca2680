"""Objects from files, modules and entry points, and what is known of their code."""

import gc
import hashlib
import os
import pickle
import sys
import weakref
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from optbench import plugins
from optbench.errors import SuiteError
from tests.forget import forget  # noqa: F401

pytestmark = pytest.mark.usefixtures("forget")


def write(folder: Path, **texts: str) -> Path:
    """Write ``name="text"`` into ``name.py``; two underscores part folders."""
    for name, text in texts.items():
        stem = name.removesuffix("____init__").replace("__", "/")
        path = folder / (f"{stem}/__init__.py" if name.endswith("____init__") else f"{stem}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


NUMPY = {"numpy": np.__version__}
"""What is known of any code's libraries: it is given NumPy's arrays."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def load(folder: Path, spec: str = "mine.py:value"):
    return plugins.load(f"{folder / spec}").object


def load_anew(spec: str) -> plugins.Plugin:
    """Load something as the next invocation would."""
    with plugins.new_code_cache():
        return plugins.load(spec)


def complaint(spec: str) -> str:
    with pytest.raises(SuiteError) as caught:
        plugins.load(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files.


def test_a_file_gives_its_object_and_says_where_it_came_from(tmp_path, monkeypatch):
    write(tmp_path, mine="value = [1]\n")
    monkeypatch.chdir(tmp_path)
    found = plugins.load("mine.py:value")
    assert found.object == [1]
    assert found.name == "value"
    assert found.spec == f"{tmp_path / 'mine.py'}:value"
    code = {"sha256": sha256("value = [1]\n"), "libraries": NUMPY}
    assert found.source.identity() == code
    assert found.source.describe() == {"place": str(tmp_path / "mine.py"), **code}


def test_the_same_file_gives_the_same_object_however_it_is_written(tmp_path, monkeypatch):
    write(tmp_path, mine="class value: pass\n")
    monkeypatch.chdir(tmp_path)
    first = plugins.load("mine.py:value").object
    (tmp_path / "link.py").symlink_to("mine.py")
    for spec in (f"{tmp_path}/mine.py:value", "./mine.py:value", "../x/../mine.py:value"):
        if (tmp_path / spec.rpartition(":")[0]).exists():
            assert plugins.load(spec).object is first
    assert plugins.load("link.py:value").object is first
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plugins.load("~/mine.py:value").object is first


def test_the_next_invocation_sees_what_has_changed_and_this_one_the_same_throughout(tmp_path):
    write(tmp_path, mine="import near_by\nvalue = 1, near_by.value\n", near_by="value = 1\n")
    write(tmp_path, other="import near_by\nvalue = near_by\n")
    stat = (tmp_path / "mine.py").stat()
    spec = f"{tmp_path}/mine.py:value"
    first = plugins.load(spec)
    write(tmp_path, mine="import near_by\nvalue = 2, near_by.value\n", near_by="value = 2\n")
    os.utime(tmp_path / "mine.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert plugins.load(spec) == first
    assert plugins.load(f"{tmp_path}/other.py:value").object.value == 1
    second = load_anew(spec)
    assert (first.object, second.object) == ((1, 1), (2, 2))
    assert first.source != second.source


def test_a_file_and_what_lies_beside_it_are_read_once_in_an_invocation(tmp_path, monkeypatch):
    write(tmp_path, mine="import near_by\nvalue, other = 1, 2\n", near_by="")
    read, seen = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: seen.append(path.name) or read(path))
    for spec in ("mine.py:value", "mine.py:other", f"../{tmp_path.name}/mine.py:value"):
        load(tmp_path, spec)
    assert sorted(seen) == ["mine.py", "near_by.py"]
    load_anew(f"{tmp_path}/mine.py:value")
    assert sorted(seen) == ["mine.py", "mine.py", "near_by.py", "near_by.py"]


def test_modules_are_freed_with_the_invocation(tmp_path):
    write(tmp_path, mine="import near_by\nclass value: pass\n", near_by="class There: pass\n")
    before = dict(sys.modules)
    with plugins.new_code_cache():
        kind = load(tmp_path)
        there = [sys.modules[kind.__module__], sys.modules["near_by"]]
        watched = [weakref.ref(each) for each in (*there, kind, there[1].There)]
        del kind, there
        gc.collect()
        assert None not in [ref() for ref in watched]
    gc.collect()
    assert [ref() for ref in watched] == [None] * 4
    assert sys.modules == before


def test_code_that_two_invocations_use_at_once_is_one_module_until_both_have_ended(tmp_path):
    write(tmp_path, mine="class value: pass\n")
    with plugins.new_code_cache():
        kind = load(tmp_path)
        assert load_anew(f"{tmp_path}/mine.py:value").object is kind
        assert pickle.loads(pickle.dumps(kind())).__class__ is kind
    assert kind.__module__ not in sys.modules


def test_files_of_the_same_name_are_two_modules(tmp_path):
    one = write(tmp_path / "one", mine="class value: pass\n")
    two = write(tmp_path / "two", mine="class value: pass\n")
    assert load(one) is not load(two)
    assert load(one) is load(one)
    assert load(one).__module__ != load(two).__module__
    assert pickle.loads(pickle.dumps(load(two))) is load(two)


def test_names_may_lie_within_classes(tmp_path):
    write(tmp_path, mine="class Outer:\n    value = 3\n")
    assert load(tmp_path, "mine.py:Outer.value") == 3


def test_the_part_below_main_does_not_run(tmp_path):
    write(tmp_path, mine="value = 1\nif __name__ == '__main__':\n    value = 2\n")
    assert load(tmp_path) == 1


def test_data_classes_and_the_files_own_path_work_as_in_any_module(tmp_path):
    text = (
        "from __future__ import annotations",
        "from dataclasses import dataclass",
        "from pathlib import Path",
        "@dataclass",
        "class Point:",
        "    x: float",
        "value = Point(Path(__file__).stat().st_size)",
    )
    write(tmp_path, mine="\n".join(text))
    assert load(tmp_path).x == (tmp_path / "mine.py").stat().st_size


# Modules beside a file.


def test_what_lies_beside_can_be_imported_and_the_path_is_as_before(tmp_path):
    write(tmp_path, mine="from near_by import value\n", near_by="value = 5\n")
    path = list(sys.path)
    assert load(tmp_path) == 5
    assert sys.path == path


def test_the_path_is_as_before_when_the_code_raises_or_has_changed_it(tmp_path):
    path = list(sys.path)
    write(tmp_path, mine="import sys\nsys.path.pop(0)\nvalue = 1\n", bad="1 / 0\n")
    assert load(tmp_path) == 1
    assert sys.path == path
    complaint(f"{tmp_path}/bad.py:value")
    assert sys.path == path
    assert not [
        name for name in sys.modules if name.startswith("optbench_plugin") and name.endswith("_bad")
    ]


def test_helpers_of_the_same_name_in_two_folders_do_not_meet(tmp_path):
    for folder in ("one", "two"):
        write(tmp_path / folder, mine="import near_by\nvalue = near_by.value\n")
        write(tmp_path / folder, near_by=f"value = '{folder}'\n")
    assert [load(tmp_path / folder) for folder in ("one", "two", "one")] == ["one", "two", "one"]
    assert sys.modules["near_by"].value == "one"


def test_a_module_of_the_program_means_the_same_afterwards(tmp_path, monkeypatch):
    elsewhere = write(tmp_path / "elsewhere", near_by="value = 'program'\n")
    monkeypatch.syspath_prepend(elsewhere)
    import near_by

    folder = write(tmp_path / "here", mine="from near_by import value\n", near_by="value = 1\n")
    assert load(folder) == 1
    assert sys.modules["near_by"] is near_by


def test_a_module_that_the_program_has_from_there_is_left_alone(tmp_path, monkeypatch):
    write(tmp_path, mine="import near_by as value\n", near_by="")
    monkeypatch.syspath_prepend(tmp_path)
    import near_by

    assert load(tmp_path) is near_by is sys.modules["near_by"]
    first = plugins.load(f"{tmp_path}/mine.py:value").source
    write(tmp_path, mine="import near_by as value  # changed\n", near_by="changed = 1\n")
    second = load_anew(f"{tmp_path}/mine.py:value")
    assert second.object is near_by is sys.modules["near_by"]
    assert second.source.depends_on == first.depends_on  # what it is, not what its file has become


LATE = "def value():\n    from {0} import number\n    return number\n"


def test_what_lies_beside_can_be_imported_when_a_function_is_called(tmp_path):
    write(tmp_path, mine=LATE.format("late_one"), late_one="number = 3\n")
    assert load(tmp_path)() == 3
    write(tmp_path / "other", mine=LATE.format("late_two"), late_two="number = 4\n")
    assert load(tmp_path / "other")() == 4


def test_a_late_import_that_two_folders_could_mean_fails(tmp_path):
    for folder in ("one", "two"):
        write(tmp_path / folder, mine=LATE.format("twice"), twice="number = 1\n")
    values = [load(tmp_path / folder) for folder in ("one", "two")]
    for value in values:
        with pytest.raises(ModuleNotFoundError, match="twice"):
            value()


def test_a_change_beside_a_file_is_a_change_of_its_code(tmp_path):
    write(tmp_path, mine="from near_by import value\n", near_by="value = 1\n", other="x = 1\n")
    spec = f"{tmp_path}/mine.py:value"
    first = plugins.load(spec)
    assert first.source.identity()["modules"] == {"near_by": sha256("value = 1\n")}
    write(tmp_path, other="x = 22\n")
    assert load_anew(spec).source == first.source
    write(tmp_path, near_by="value = 22\n")
    second = load_anew(spec)
    assert (first.object, second.object) == (1, 22)
    assert first.source != second.source
    assert first.source.sha256 == second.source.sha256


def test_packages_beside_count_whole_and_through_each_other(tmp_path):
    write(
        tmp_path,
        mine="def value():\n    from pack.deep import number\n    return number\nimport pack\n",
        pack____init__="import near_by\n",
        pack__deep="number = 7\n",
        near_by="",
    )
    spec = f"{tmp_path}/mine.py:value"
    first = plugins.load(spec)
    assert first.object() == 7  # also what is imported only when it is called
    assert list(first.source.identity()["modules"]) == ["near_by", "pack"]
    write(tmp_path, pack__deep="number = 8888\n")
    assert load_anew(spec).source != first.source


def test_a_folder_without_init_gives_way_to_an_installed_package(tmp_path):
    write(tmp_path, mine="import yes, numpy\nvalue = 1\n", yes__part="", numpy__part="")
    identity = plugins.load(f"{tmp_path}/mine.py:value").source.identity()
    assert (list(identity["modules"]), identity["libraries"]) == (["yes"], NUMPY)


# What users get wrong.


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("min.py:value", "there is no file 'min.py' in '{}'; did you mean 'mine.py'?"),
        ("empty/mine.py:value", "there is no Python file in that folder"),
        ("mine.py:valeu", "mine.py has no 'valeu'; did you mean 'value'?"),
        ("mine.py:value.x", "mine.py has no 'value.x'"),
        ("empty.py:value", "empty.py has no 'value'; nothing is defined there"),
        ("mine.py", "'mine.py' names a file only; add what to take from it: file.py:NAME"),
        ("mine.py:", "names a file only"),
        (
            ":value",
            "':value' cannot name a plug-in; write path/to/file.py:NAME or package.module:NAME",
        ),
        ("mine.py:1", "cannot name a plug-in"),
        ("mine.py:a b", "cannot name a plug-in"),
        ("nul\0.py:value", "plug-in 'nul\\x00.py' cannot be read: "),
        ("~nobody-at-all/x.py:value", "cannot be read: "),
        ("a/mi-ne:value", "'a/mi-ne' cannot name a module; a plug-in's file ends in .py"),
        ("a/mine:value", "there is no module 'mine' in '{}/a'; a plug-in's file ends in .py"),
        ("mine:value", "there is no module 'mine'; write mine.py:NAME for the file"),
        ("no_such.module:value", "there is no module 'no_such'; is it installed?"),
        ("json.no_such:value", "there is no module 'json.no_such'; is it installed?"),
        ("json:dumpz", "json has no 'dumpz'; did you mean 'dump"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, monkeypatch, spec, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(
        tmp_path, mine="import json\nfrom pathlib import Path\nvalue = 1\n", empty="import json\n"
    )
    assert says.format(tmp_path) in complaint(spec)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n\n1 / 0\n", "ZeroDivisionError: division by zero (bad.py, line 3)"),
        ("value = (\n", "SyntaxError: '(' was never closed (bad.py, line 1)"),
        ("raise RuntimeError\n", "RuntimeError (bad.py, line 1)"),
        ("raise ValueError('a\\nb')\n", "ValueError: a (bad.py, line 1)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (bad.py, line 2)"),
        ("import no_such\n", "ModuleNotFoundError: No module named 'no_such' (bad.py, line 1)"),
        ("import json\njson.loads('{')\n", "JSONDecodeError: Expecting"),
        ("import json\njson.loads('{')\n", " (bad.py, line 2)"),
        ("\nimport broken\n", "KeyError: 'x' (broken.py, line 2)"),
        ("import torn\n", "SyntaxError: invalid syntax (torn.py, line 1)"),
        ("value = '\0'\n", "bad.py cannot be imported: "),
        (
            "\nfrom optbench.suite.values import seed_list\nseed_list('x')\n",
            "bad.py cannot be imported: ",
        ),
    ],
)
def test_code_that_raises_is_named_with_its_line(tmp_path, text, says):
    write(tmp_path, bad=text, broken="\n{}['x']\n", torn="1 +* 2\n")
    message = complaint(f"{tmp_path}/bad.py:value")
    assert message.startswith("bad.py cannot be imported: ")
    assert says in message


def test_errors_for_users_keep_their_own_words(tmp_path):
    write(tmp_path, bad="from optbench.errors import SuiteError\nraise SuiteError('too bad')\n")
    message = complaint(f"{tmp_path}/bad.py:value")
    assert message == "bad.py cannot be imported: too bad (bad.py, line 2)"


@pytest.mark.parametrize(
    "call",
    [
        "from optbench.cli import main\nmain()\n",
        "import optbench\noptbench.run(problem='bad.py:value')\n",
        "import optbench\noptbench.check_optimizer('adam')\n",
    ],
)
@pytest.mark.parametrize("spec", ["bad.py:value", "bad:value"])
def test_code_that_calls_optbench_while_it_is_imported_is_refused(
    tmp_path, monkeypatch, call, spec
):
    write(tmp_path, bad=call)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["optbench", "run", "--problem", spec])
    message = complaint(spec)
    assert "it calls optbench while it is imported; put the call below if __name__" in message
    assert message.endswith("(bad.py, line 2)")
    assert complaint(spec) == message


def test_an_interrupt_is_no_complaint(tmp_path):
    write(tmp_path, mine="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write(tmp_path, mine="")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert complaint(f"{tmp_path}/mine.py:value").endswith("cannot be read: Permission denied")


# Modules and entry points.


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package as pip leaves it: its modules, and a folder that describes it."""

    def install(name: str = "far-away", *points: str, needs: str = "", **texts: str) -> Path:
        write(tmp_path, **texts)
        about = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        about.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        (about / "METADATA").write_text(head + needs)
        (about / "entry_points.txt").write_text("[some.group]\n" + "\n".join(points))
        (about / "top_level.txt").write_text("\n".join({each.split("__")[0] for each in texts}))
        return tmp_path

    monkeypatch.syspath_prepend(tmp_path)
    return install


def test_a_module_says_its_package_and_version(installed):
    folder = installed(far_away____init__="", far_away__part="value = 4\n")
    found = plugins.load("far_away.part:value")
    assert found.object == 4
    assert found.source.describe() == {
        "place": "far_away.part",
        "sha256": sha256((folder / "far_away/part.py").read_text()),
        "package": "far-away",
        "version": "1.2",
    }
    assert plugins.load(found.spec) == found


def test_a_module_without_package_or_text_says_none(tmp_path, monkeypatch):
    write(tmp_path, single="value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    code = sha256("value = 1\n")
    identity = plugins.load("single:value").source.identity()
    assert identity == {"sha256": code, "modules": {"single": code}, "libraries": NUMPY}
    assert plugins.load("sys:path").source.sha256 is None


def test_a_module_that_raises_is_named_with_its_line(installed):
    folder = installed(
        far_away____init__="", far_away__bad="import json\njson.loads('')\n", flat="\n1 / 0\n"
    )
    assert complaint("far_away.bad:value").endswith("(char 0) (bad.py, line 2)")
    assert complaint("flat:value").endswith("division by zero (flat.py, line 2)")
    write(folder, far_away__needs="import no_such\n")
    assert "far_away.needs cannot be imported: ModuleNotFoundError" in complaint("far_away.needs:x")


def test_entry_points_are_found_by_name_and_only_then_imported(installed):
    installed("far-away", "good = far_away:value", "bad = far_away:nothing", far_away="value = 6\n")
    assert plugins.entry_point_names("some.group") == ["bad", "good"]
    assert "far_away" not in sys.modules
    assert plugins.load_entry_point("some.group", "none") is None
    assert plugins.load_entry_point("other.group", "good") is None
    found = plugins.load_entry_point("some.group", "good")
    assert (found.object, found.name, found.spec) == (6, "value", "far_away:value")
    assert (found.source.package, found.source.version) == ("far-away", "1.2")
    with pytest.raises(SuiteError, match="far_away has no 'nothing'"):
        plugins.load_entry_point("some.group", "bad")


def test_an_entry_point_that_belongs_to_no_package_says_what_its_module_says(monkeypatch):
    point = metadata.EntryPoint("good", "json:dumps", "some.group")
    monkeypatch.setattr(metadata, "entry_points", lambda **wanted: [point])
    found = plugins.load_entry_point("some.group", "good")
    assert found == plugins.load("json:dumps")


def test_a_name_that_two_packages_offer_is_refused(installed):
    installed("far-away", "good = far_away:value", far_away="value = 6\n")
    installed("near-by", "good = near_by:value", near_by="value = 6\n")
    with pytest.raises(SuiteError, match="'good' is offered more than once; give one of"):
        plugins.load_entry_point("some.group", "good")


# Modules of a folder.


def test_a_module_may_be_taken_from_a_folder_whatever_goes_by_its_name_elsewhere(
    tmp_path, monkeypatch
):
    for folder, number in (("here", 1), ("there", 2)):
        write(tmp_path / folder, pack____init__="", pack__part=f"value = {number}\n")
        write(tmp_path / folder, pack__rules="from .part import value\nclass Kind: pass\n")
    monkeypatch.syspath_prepend(tmp_path / "here")
    installed = plugins.load("pack.rules:value")
    before, path = sys.modules["pack.rules"], list(sys.path)
    monkeypatch.chdir(tmp_path)
    found = plugins.load("there/pack.rules:value")
    assert (installed.object, found.object) == (1, 2)
    assert found.spec == f"{tmp_path}/there/pack.rules:value"
    assert found.source.root == tmp_path / "there"
    assert (sys.modules["pack.rules"], sys.path) == (before, path)
    kind = plugins.load("there/pack.rules:Kind").object
    assert plugins.load(f"{tmp_path}/there/pack.rules:Kind").object is kind
    with plugins.new_code_cache():
        again = plugins.load_unchanged(found.spec, found.source, "value")
    assert again.object == 2
    # As if it had been imported from the path.
    same = plugins.load("here/pack.rules:value").source
    assert same.identity() == installed.source.identity()
    assert dict(same.texts) == dict(installed.source.texts)


def test_a_module_of_a_folder_that_raises_is_named_with_its_line(tmp_path):
    write(tmp_path, pack____init__="", pack__bad="\n1 / 0\n")
    assert complaint(f"{tmp_path}/pack.bad:value") == (
        "pack.bad cannot be imported: ZeroDivisionError: division by zero (pack/bad.py, line 2)"
    )
    assert complaint(f"{tmp_path}/pack.none:value").startswith("there is no module 'pack.none'")


def test_texts_are_all_files_that_count_and_are_left_out_of_pickles(tmp_path):
    texts = {"mine": "import pack\nvalue = 1\n", "pack____init__": "import near\n", "near": "\n"}
    write(tmp_path, stray="", **texts)
    source = plugins.load(f"{tmp_path}/mine.py:value").source
    assert dict(source.texts) == {
        "mine.py": b"import pack\nvalue = 1\n",
        "near.py": b"\n",
        "pack/__init__.py": b"import near\n",
    }
    again = pickle.loads(pickle.dumps(source))
    assert again.texts == ()
    assert (again, again.identity()) == (source, source.identity())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.py:b", True), ("a.b:c", True), ("a.py", True), ("mnist-mlp", False), ("", False)],
)
def test_names_of_plug_ins_are_told_from_others(name, expected):
    assert plugins.is_spec(name) is expected


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "it is UTF-16; save it as UTF-8"),
        ("cp932", "line 1 is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_utf8_is_told_how_to_be_saved(tmp_path, encoding, says):
    text = "value = '比較'\n"
    (tmp_path / "bad.py").write_bytes(text.encode(encoding))
    assert complaint(f"{tmp_path}/bad.py:value") == f"bad.py cannot be imported: {says}"
    (tmp_path / "good.py").write_bytes(f"# -*- coding: cp932 -*-\n{text}".encode("cp932"))
    assert load(tmp_path, "good.py:value") == "比較"
