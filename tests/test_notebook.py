"""The notebook in docs: it runs from a clean kernel, and shows what running it shows."""

import json
import re

import pytest

from docs.tools import notebook as tool

MACHINE = re.compile(r"/(?:home|tmp|root|work|Users|usr|opt)/|[A-Z]:\\\\")
"""What begins a path of some machine."""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell):
    """Return what kinds of output a cell has."""
    return [(each.output_type, sorted(each.get("data", {}))) for each in cell.outputs]


@pytest.mark.filterwarnings("default")  # those of Jupyter's packages
def test_the_notebook_runs_and_shows_what_is_stored(tmp_path):
    stored, run = tool.read(), tool.executed(tool.read(), tmp_path)
    for before, after in zip(code_cells(stored), code_cells(run), strict=True):
        assert before.source == after.source
        assert shown(before) == shown(after), before.source
        assert before.execution_count == after.execution_count
    assert len(list((tmp_path / "results").iterdir())) == 5


def test_the_stored_notebook_is_small_and_was_run_from_its_beginning_without_errors():
    text = tool.NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 400_000
    cells = code_cells(tool.read())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds == {"execute_result", "stream"}  # notes are a stream
    lines = [line for cell in cells for line in cell.source.split("\n")]
    assert not any(line.startswith(("%", "!")) for line in lines)


def test_the_stored_notebook_names_no_machine():
    notebook = json.loads(tool.NOTEBOOK.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    assert MACHINE.search(json.dumps(notebook)) is None
