"""What ``make docs-site`` builds from; MkDocs is not needed here."""

import re
from pathlib import Path

from docs.tools.site_pages import SOURCES, notebook_page, pages

CONFIG = (Path(__file__).parents[1] / "mkdocs.yml").read_text("utf-8")


def test_the_navigation_names_every_page_once() -> None:
    named = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", CONFIG, re.MULTILINE)
    assert sorted(named) == sorted(page for page in pages() if not page.startswith(SOURCES))


def test_pages_are_built_to_ask_no_other_host() -> None:
    assert "//" not in CONFIG
    assert "  font: false\n" in CONFIG
    for name, text in pages().items():
        assert re.findall(r"!\[[^\]]*\]\(\w+:|<(?:script|link|iframe)\b", text) == [], name
        assert set(re.findall(r'\bsrc="(.{5})', text)) <= {"data:"}, name


def test_files_outside_docs_are_shown_where_pages_link_to_them() -> None:
    made = pages()
    assert "](source/benchmarks/ci.toml.md)" in made["ci.md"]
    assert 'name = "ci"' in made["source/benchmarks/ci.toml.md"]
    assert "[sgd]: source/optbench/optimizers/rules/sgd.py.md\n" in made["optimizers.md"]


def test_the_example_is_linked_where_reports_are_explained() -> None:
    section = pages()["usage.md"].partition("\n## A report to send\n")[2].partition("\n## ")[0]
    assert "](example/report.html)" in section


def test_a_notebook_is_shown_with_its_outputs() -> None:
    figure = {"output_type": "display_data", "data": {"image/png": "iVBO\nRw==\n"}}
    table = {"output_type": "execute_result", "data": {"text/html": ["<b>", "1</b>"]}}
    printed = {"output_type": "stream", "name": "stderr", "text": ["100 %"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "text"]},
        {"cell_type": "code", "source": ["x = 1\n", "x"], "outputs": [printed, figure, table]},
    ]
    assert notebook_page({"cells": cells}) == (
        "# Title\n\ntext\n\n~~~~python\nx = 1\nx\n~~~~\n\n"
        '<img alt="Output of this cell" src="data:image/png;base64,iVBORw==">\n\n<b>1</b>\n'
    )
