"""The engine knows no suite and no file format."""

import subprocess
import sys

FOREIGN = (
    *("optbench.suite", "optbench.store", "optbench.runs", "optbench.report", "optbench.cli"),
    *("pydantic", "tomllib", "pandas", "pyarrow", "matplotlib", "typer", "rich"),
)


def test_importing_the_engine_loads_neither_suites_nor_tables_nor_a_command_line():
    code = (
        "import sys, optbench.engine\n"
        f"print(sorted(set({FOREIGN}) & set(sys.modules)), sorted(optbench.engine.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ['Block', 'execute', 'run_block']"
