"""Makes the pages of the site from the repository: a hook of mkdocs.yml, for ``make docs-site``.

The README and the notebook become pages too, and so does every file outside docs/ that a page links
to. The report that the Makefile has written before lies at example/report.html.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
NOTEBOOK = "docs/first-steps.ipynb"
REPORT = ROOT / "build" / "docs-site" / "report.html"

EXAMPLE = "<!-- the site links to an example here -->"
"""Stands in usage.md in place of a link, which would lead nowhere in a checkout."""

SOURCES = "source/"
"""The folder of the pages that show files from outside docs/."""

LINK = re.compile(r"(\]\(|^\[[^\]]+\]: )(?![a-z]+:|#)([^)\s#]+)", re.MULTILINE)


def on_files(files: "Files", *, config: "MkDocsConfig") -> None:
    """Give MkDocs the pages, and the report."""
    # Not above, since tests read this file where MkDocs is not installed.
    from mkdocs.structure.files import File

    files.remove(files.src_uris[posixpath.basename(NOTEBOOK)])
    for name, text in pages().items():
        if name in files.src_uris:
            files.src_uris[name].content_string = text
        else:
            files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, "example/report.html", abs_src_path=str(REPORT)))


def pages() -> dict[str, str]:
    """Return the Markdown of every page by its name in the site."""
    names = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
    texts = {name: (ROOT / name).read_text("utf-8") for name in names}
    texts[NOTEBOOK] = notebook_page(json.loads((ROOT / NOTEBOOK).read_text("utf-8")))
    linked = {target(name, path) for name, text in texts.items() for _, path in LINK.findall(text)}
    outside = {name for name in linked if page_name(name).startswith(SOURCES)}
    made = {page_name(name): relinked(name, text) for name, text in texts.items()}
    example = "[An example](example/report.html) is the report of this run."
    made["usage.md"] = made["usage.md"].replace(EXAMPLE, example)
    return made | {page_name(name): source_page(name) for name in outside}


def target(name: str, path: str) -> str:
    """Return the file of the repository that a link in another one leads to.

    >>> target("docs/ci.md", "../benchmarks/ci.toml")
    'benchmarks/ci.toml'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def page_name(name: str) -> str:
    """Return where in the site a file of the repository is.

    >>> page_name("README.md"), page_name("docs/ci.md"), page_name("benchmarks/ci.toml")
    ('index.md', 'ci.md', 'source/benchmarks/ci.toml.md')
    """
    if name == "README.md":
        return "index.md"
    if not name.startswith("docs/"):
        return f"{SOURCES}{name}.md"
    return name.removeprefix("docs/").replace(".ipynb", ".md")


def relinked(name: str, text: str) -> str:
    """Return a page whose links lead to pages of the site; all pages with links lie at its top.

    Python-Markdown reads what stands in ``<details>`` as Markdown only if it is told.

    >>> relinked("README.md", "See [recipes](docs/recipes.md#in-ci) and [PyPI](https://pypi.org).")
    'See [recipes](recipes.md#in-ci) and [PyPI](https://pypi.org).'
    """
    linked = LINK.sub(lambda link: link[1] + page_name(target(name, link[2])), text)
    return linked.replace("<details>", "<details markdown>")


def source_page(name: str) -> str:
    """Return a page that shows a file, and that the search does not find."""
    text = (ROOT / name).read_text("utf-8")
    kind = posixpath.splitext(name)[1].removeprefix(".")
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {name}\n\n~~~~{kind}\n{text}~~~~\n"


def notebook_page(notebook: Any) -> str:
    """Return a notebook as a page, with the outputs that it keeps."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"~~~~python\n{text}\n~~~~")
        parts += [shown for output in cell.get("outputs", []) if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _output(output: Any) -> str:
    """Return what a cell shows, or nothing for what went to a terminal."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    if "image/png" in data:
        png = data["image/png"].replace("\n", "")
        return f'<img alt="Output of this cell" src="data:image/png;base64,{png}">'
    return data.get("text/html", "")
