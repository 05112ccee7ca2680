"""Runs docs/first-steps.ipynb in an empty folder and keeps its outputs: ``make notebook``."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "first-steps.ipynb"

SECONDS = 60
"""How long a cell may take."""


def read() -> Any:
    """Return the notebook as it is stored."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: Any, folder: Path) -> Any:
    """Run all cells of a notebook in a new kernel that works in a folder, and return it.

    A cell that raises raises here. Outputs lose what tells the day and the machine apart from what
    was shown: times, and displays that have gone.
    """
    before = os.environ.pop("OPTBENCH_DATA_DIR", None)
    try:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
        )
        client.execute()
    finally:
        if before is not None:
            os.environ["OPTBENCH_DATA_DIR"] = before
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def _is_shown(output: Any) -> bool:
    """Say whether an output shows anything; a bar that has gone does not."""
    return output.get("data", {}).get("text/html") != ""


def main() -> None:
    """Run the notebook and write it back."""
    with TemporaryDirectory() as folder:
        notebook = executed(read(), Path(folder))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
