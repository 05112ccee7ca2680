import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_what_is_skipped_for_want_of_a_library_runs_where_it_is_installed():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    compared = re.search(r"^COMPARED := (.+?)\n\n", makefile, re.MULTILINE | re.DOTALL)
    run = set(re.findall(r"tests/[\w./]+", compared[1]))
    wanted = [
        (path.relative_to(ROOT), library)
        for path in (ROOT / "tests").rglob("test_*.py")
        for library in re.findall(r'importorskip\("?([^",)]+)', path.read_text(encoding="utf-8"))
        if "slow" not in path.parts and path != Path(__file__)
    ]
    assert len(wanted) > 20
    for path, library in wanted:
        name = library.partition(".")[0]
        if not (name.isidentifier() and find_spec(name)):
            assert run & {str(each) for each in [path, *path.parents]}, path
