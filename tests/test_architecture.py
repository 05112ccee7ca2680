"""Which module may import which, read from the sources; the table is that of docs/architecture.md.

What stands inside functions counts as well: a layer is not crossed by importing late.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import optbench

PACKAGE = Path(optbench.__file__).parent
MOST_LINES_OF_A_FILE = 320
MOST_LINES_OF_A_FUNCTION = 45

CORE = {"problems", "nn", "optimizers", "datasets"}
CONTRACTS = {"optimizers.base", "optimizers.common", "optimizers.stepping", "problems.base"}

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "arrays": set(),
    "records": set(),
    "rng": {"arrays", "errors"},
    "stopwatch": set(),
    "workspace": {"arrays"},
    "programs": {"arrays"},
    "kernels": {"arrays", "programs"},
    "jit": {"kernels", "programs"},
    "device": {"arrays", "errors", "jit", "kernels", "programs", "stopwatch", "workspace"},
    "datasets": {"errors", "rng"},
    "nn": {"arrays", "errors", "rng", "workspace"},
    "expressions": {"arrays", "errors"},
    "plugins": {"errors"},
    "problems": {
        *("arrays", "errors", "rng", "workspace", "nn", "datasets", "expressions", "plugins"),
    },
    "stopping": set(),
    "schedules": set(),
    "optimizers": {"arrays", "errors", "plugins", "schedules"},
    "grids": {"errors"},
    "suitefile": {"errors"},
    "durations": {"errors", "problems.base", "stopping", "suitefile"},
    "suite": {"durations", "errors", "grids", "stopping", "suitefile", "optimizers", "problems"},
    "flags": {"errors", "grids", "suitefile", "optimizers", "problems"},
    "lanes": {"suite", "records", "errors", "optimizers", "problems.base", "stopping"},
    "ledger": {"lanes", "records"},
    "recorder": {"arrays", "device", "ledger", "problems.base", "records", "workspace"},
    "stepper": {"arrays", "device", "lanes", "ledger", "recorder", "rng", "stopwatch"} | CONTRACTS,
    "engine": {"device", "lanes", "ledger", "records", "stepper", "stopping"},
    "executor": {"engine", "lanes", "device", "records", "errors", "plugins"},
    "checks": {"records", "errors", "analysis", "reference"},
    "reference": set(),
    "reuse": {"records", "errors", "store"},
    "calibration": set(),
    "estimate": {"stepper", "lanes", "device", "stopwatch", "executor", "pipeline"},
    "store": {"records", "errors", "reference"},
    "environment": {"records", "errors", ""},  # "" is optbench itself, for its version
    "analysis": {"records", "errors"},
    "plots": {"analysis", "records", "errors", "reference", "schedules"},
    "tables": {"analysis", "records", "errors"},
}
"""By part of the package, or by module where a whole part would be too much; its own part is
always allowed."""

ABOVE_PIPELINE = {"api", "cli", "estimate", "verify"}
NOT_BY_PIPELINE = {"analysis", "plots", "tables", "flags"} | ABOVE_PIPELINE

LIBRARIES: dict[str, set[str]] = {
    "cupy": {"device"},
    "array_api_compat": {"device"},
    "numba": {"jit"},
    "sklearn": {"datasets"},
    "torch": {"optimizers"},
    "optax": {"optimizers"},
    "jax": {"optimizers"},
    "PIL": {"plots"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli", "tables"},
    "matplotlib": {"plots", "api", "cli"},
    "pyarrow": {"store"},
    "pandas": {
        *("store", "analysis", "checks", "plots", "tables", "api", "cli", "records", "reference"),
    },
    "pydantic": {"suitefile", "store"},
    "pooch": {"datasets"},
    "threadpoolctl": {"executor", "environment", "calibration"},
    "numpy": {"*"},
}
"""Every library, and the parts of the package that may name it."""

ONLY_FOR_TYPES = {
    ("matplotlib", "api"),
    ("matplotlib", "cli"),
    ("pandas", "api"),
    ("pandas", "records"),
    ("pandas", "reference"),
}


@dataclass(frozen=True)
class Import:
    """One module named by an import statement."""

    file: Path
    line: int
    module: str
    for_types: bool
    at_top: bool

    @property
    def part(self) -> str:
        """The part of the package that the importing file belongs to."""
        return part_of(module_name(self.file))

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line} imports {self.module}"


def module_name(file: Path) -> str:
    """Return a file's module without ``optbench.``; empty for the package itself."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    return module.split(".")[0]


FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}
MODULES = {module_name(file) for file in FILES}
PARTS = {part_of(module) for module in MODULES} - {""}


def guards_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports_below(
    node: ast.AST, file: Path, *, for_types: bool = False, at_top: bool = True
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for name in named_by(child):
            yield Import(file, child.lineno, name, for_types, at_top)
        yield from imports_below(
            child,
            file,
            for_types=for_types or guards_types(child),
            at_top=at_top and not inside,
        )


def named_by(node: ast.AST) -> list[str]:
    """Return the modules that an import statement names, submodules where it names these."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert node.level == 0, "imports are absolute"
    source = str(node.module)
    found = []
    for alias in node.names:
        full = f"{source}.{alias.name}"
        found.append(full if full.removeprefix("optbench.") in MODULES else source)
    return found


IMPORTS = [each for file, tree in TREES.items() for each in imports_below(tree, file)]
OWN = [each for each in IMPORTS if each.module.split(".")[0] == "optbench"]
FOREIGN = [each for each in IMPORTS if each.module.split(".")[0] != "optbench"]


def inside(each: Import) -> str:
    """Return the imported module without ``optbench.``."""
    return each.module.removeprefix("optbench").removeprefix(".")


def allowed(each: Import) -> bool:
    module, part = inside(each), each.part
    if part == part_of(module):
        return True
    if part_of(module) == "cli":
        return part == "__main__"
    if part in ("cli", "api"):
        return True
    if part == "":
        return module == "api"
    if part in ("pipeline", "verify", "resume", "baseline"):
        return module != "" and part_of(module) not in NOT_BY_PIPELINE
    known = MAY_IMPORT[part]
    return module in known or (module != "" and part_of(module) in known)


def test_imports_are_found_wherever_they_stand():
    tree = ast.parse(
        "import a\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import b\n"
        "def f():\n    from optbench import rng, __version__\n"
        "class C:\n    def g(self):\n        from optbench.store.reader import read_run\n"
    )
    found = [(e.module, e.for_types, e.at_top) for e in imports_below(tree, PACKAGE / "x.py")]
    assert found == [
        ("a", False, True),
        ("typing", False, True),
        ("b", True, True),
        ("optbench.rng", False, False),
        ("optbench", False, False),
        ("optbench.store.reader", False, False),
    ]


def test_the_table_names_every_part_of_the_package():
    special = {"cli", "api", "pipeline", "verify", "resume", "baseline", "__main__"}
    assert set(MAY_IMPORT) | special >= PARTS
    assert set(MAY_IMPORT) <= PARTS


def test_no_module_imports_what_lies_above_it():
    assert [str(each) for each in OWN if not allowed(each)] == []


def test_the_numeric_core_knows_neither_devices_nor_files():
    forbidden = {"device", "kernels", "jit", "store", "engine", "records"}
    offenders = [
        str(each) for each in OWN if each.part in CORE and part_of(inside(each)) in forbidden
    ]
    assert offenders == []


def test_reporting_knows_nothing_of_computing():
    computing = CORE | {"device", "engine", "ledger", "lanes", "executor", "suite"}
    computing |= {"pipeline", "verify", "estimate", "programs", "kernels", "jit", "workspace"}
    offenders = [
        str(each)
        for each in OWN
        if each.part in ("analysis", "plots", "tables") and part_of(inside(each)) in computing
    ]
    assert offenders == []


def test_nothing_imports_the_command_line():
    offenders = [
        str(each)
        for each in OWN
        if part_of(inside(each)) == "cli" and each.part not in ("cli", "__main__")
    ]
    assert offenders == []


def test_every_library_is_named_only_where_it_may_be():
    offenders = []
    for each in FOREIGN:
        library = each.module.split(".")[0]
        if library in sys.stdlib_module_names:
            continue
        may = LIBRARIES.get(library, set())
        types_only = (library, each.part) in ONLY_FOR_TYPES and not each.for_types
        if not may & {each.part, "*"} or types_only:
            offenders.append(str(each))
    assert offenders == []


@pytest.mark.parametrize("library", ["cupy", "numba", "pandas", "pyarrow", "pooch"])
def test_libraries_that_load_slowly_are_imported_when_they_are_needed(library):
    """What every command imports must not load them; analysis and plots are themselves late."""
    late = {"analysis", "checks", "plots", "tables"}
    offenders = [
        str(each)
        for each in FOREIGN
        if each.module.split(".")[0] == library
        and each.at_top
        and not each.for_types
        and each.part not in late
    ]
    assert offenders == []


def test_only_device_names_cupy():
    offenders = []
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            names = (getattr(node, field, None) for field in ("id", "attr", "arg", "name"))
            if "cupy" in {str(name).lower() for name in names} and module_name(file) != "device":
                offenders.append(f"{file.relative_to(PACKAGE.parent)}:{node.lineno}")
    assert offenders == []


def test_files_are_short():
    lengths = {
        str(file.relative_to(PACKAGE.parent)): len(file.read_text("utf-8").splitlines())
        for file in FILES
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FILE} == {}


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function's body without its docstring.

    The signature is left out, since that of a command declares all of its flags.
    """
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    offenders = {}
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = own_lines(node)
                if lines > MOST_LINES_OF_A_FUNCTION:
                    offenders[f"{file.relative_to(PACKAGE.parent)}: {node.name}"] = lines
    assert offenders == {}


def test_the_manual_lists_every_module():
    manual = PACKAGE.parent / "docs" / "architecture.md"
    if not manual.exists():
        pytest.skip("the manual is not part of this installation")
    rows = [line for line in manual.read_text("utf-8").splitlines() if line.startswith("| `")]
    listed = {name for line in rows for name in line.split("|")[1].replace("`", "").split(", ")}
    assert {name.strip() for name in listed} == PARTS - {"__main__"}
