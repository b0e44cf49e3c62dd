"""Every link between documents leads to a file that is there, and to a heading in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.documents.blocks import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PAGES = sorted([*ROOT.glob("*.md"), *ROOT.joinpath("docs").rglob("*.md")])


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _hash, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_page_in_two_languages_links_to_the_other() -> None:
    for swedish in (path for path in _PAGES if path.name.endswith(".sv.md") and path.name != "errors.sv.md"):
        english = swedish.with_name(swedish.name.replace(".sv.md", ".md"))
        if english.exists():
            assert f"({english.name})" in swedish.read_text(encoding="utf-8"), swedish
            assert f"({swedish.name})" in english.read_text(encoding="utf-8"), english
