"""How Sphinx makes a site of the documents, `make docs-site`; every key: https://www.sphinx-doc.org/en/master/usage/configuration.html."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

import start_page  # noqa: E402  found by the path above
from docutils import nodes  # noqa: E402  as above
from sphinx import addnodes  # noqa: E402  as above
from sphinx.util import logging  # noqa: E402  as above

import smtpsetup  # noqa: E402  as above

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "smtpsetup"
version = release = smtpsetup.__version__
root_doc = "index"
extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"  # of code blocks that name none
suppress_warnings = ["misc.highlighting_failure"]  # a JSON with `…` in it has no colours, and that is all
html_theme = "furo"
html_title = f"smtpsetup {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_use_index = False

_LOG = logging.getLogger(__name__)
_LIST = re.compile(
    r'<!-- \[\[\[cog\n[^\]]*?start_page\.links\(("[^"]+"), """(.*?)"""\).*?\[\[\[end\]\]\] -->', re.DOTALL
)


def _with_lists(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Make each list of a start page anew, with what stands beside it in the menu: a page is there once its file is."""

    def made(found: re.Match[str]) -> str:
        page, listed = ast.literal_eval(found[1]), found[2]
        heading = re.findall(r"^## (.+)$", text[: found.start()], re.MULTILINE)[-1]
        inside = [path.removesuffix(".md") for path, _words in start_page.pages(page, listed) if path[0] != "."]
        menu = ["```{toctree}", ":hidden:", f":caption: {heading}", "", *inside, "```"] if inside else []
        return "\n".join([start_page.links(page, listed), *menu, ""])

    text = source[0]
    source[0] = _LIST.sub(made, text)


def _to_repository(app: Sphinx, doctree: nodes.document) -> None:
    """Point links to files that are no documents at the repository, whose address is that of the documents in it."""
    docs = ROOT / "docs"
    for link in [*doctree.findall(addnodes.pending_xref), *doctree.findall(addnodes.download_reference)]:
        target, _, anchor = link["reftarget"].partition("#")
        if link["refdomain"] == "doc":  # MyST gives the page's name, or its path without an ending if it is elsewhere
            target, anchor = f"{target}.md", link["reftargetid"]
        path = (docs / app.env.docname).parent.joinpath(target).resolve()
        if path.is_relative_to(docs):
            continue
        if not path.exists():
            _LOG.warning("no such file: %s", path, location=link)
        url = urljoin(f"{smtpsetup.DOCUMENTATION}/", os.path.relpath(path, docs)) + (f"#{anchor}" if anchor else "")
        link.replace_self(nodes.reference("", "", *link.children, refuri=url))


def _in_its_language(_app: Sphinx, pagename: str, _template: str, context: dict[str, object], _tree: object) -> None:
    """Say which language a page is in, for screen readers and hyphenation."""
    context["language"] = "sv" if pagename.endswith(".sv") else "en"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the above."""
    app.connect("source-read", _with_lists)
    app.connect("doctree-read", _to_repository)
    app.connect("html-page-context", _in_its_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
