"""The documents as a site: links lead somewhere, every page fits its window, and nothing comes from elsewhere."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import start_page

import smtpsetup
from tests.browsers import Chromium
from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = [name.removesuffix(".md") + ".html" for name in DOCUMENTS]
WIDTHS = (360, 768, 1280)

# what reaches out of the window, unless it is in a box that scrolls by itself
_TOO_WIDE = """
(() => {
  const width = document.documentElement.clientWidth;
  const scrolls = part => part && part !== document.body
    && (['auto', 'scroll'].includes(getComputedStyle(part).overflowX) || scrolls(part.parentElement));
  return [...document.querySelectorAll('article *')]
    .filter(part => part.getBoundingClientRect().right > width + 0.5 && !scrolls(part.parentElement))
    .map(part => part.tagName + ' ' + part.textContent.trim().slice(0, 80))
    .concat(document.documentElement.scrollWidth > width ? ['the page'] : []);
})()
"""

# text whose contrast is below 4.5 (https://www.w3.org/TR/WCAG22/#contrast-minimum), and whether it is light on dark
_COLOURS = """
(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => numbers(colour).slice(0, 3)
    .map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = part => {
    const colour = numbers(getComputedStyle(part).backgroundColor);
    return colour.length < 4 || colour[3] === 1 || !part.parentElement
      ? getComputedStyle(part).backgroundColor : ground(part.parentElement);
  };
  const pale = new Set();
  for (const part of document.querySelectorAll('article *')) {
    const own = [...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !part.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    const [text, behind] = [luminance(getComputedStyle(part).color), luminance(ground(part))];
    const contrast = (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
    if (contrast < 4.5) pale.add(part.className + ' ' + contrast.toFixed(1) + ' ' + part.textContent.slice(0, 40));
  }
  const article = document.querySelector('article');
  return [[...pale], luminance(getComputedStyle(article).color) > luminance(ground(article))];
})()
"""


@dataclass
class _Page(HTMLParser):
    """What a page refers to, and what can be referred to on it."""

    links: set[str] = field(default_factory=set)
    anchors: set[str] = field(default_factory=set)
    language: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.anchors |= {known["id"]} if "id" in known else set()
        self.links |= {known[name] for name in ("href", "src") if name in known and tag != "use"}
        if tag == "html":
            self.language = known.get("lang", "")


def _page(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made of these documents, without a network where root can take it away. Warnings are errors."""
    if not importlib.util.find_spec("furo"):
        missing("needs what makes the site; `make .venv/ready-for-site`")
    directory = tmp_path_factory.mktemp("made") / "site"
    alone = ("unshare", "--net") if os.getuid() == 0 and shutil.which("unshare") else ()
    done = subprocess.run(
        [*alone, "make", "docs-site", f"SITE={directory}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Where a web server on this machine has the site."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_rest: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    if not shutil.which("chromium"):
        missing("needs a browser: apt-get install --no-install-recommends chromium")
    with Chromium(tmp_path / "chromium", *(("--no-sandbox",) if os.getuid() == 0 else ())) as browser:
        yield browser


def test_every_document_is_a_page_in_the_menu(site: Path) -> None:
    menu = _page(site / "index.html").links
    for name in PAGES:
        assert (site / name).is_file()
        assert name == "index.html" or name in menu, name


def test_every_link_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    pages = {path: _page(path) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = path.parent.joinpath(unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme in ("http", "https"):
                continue
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in pages[target].anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_a_link_to_a_file_that_is_no_document_leads_to_the_repository(site: Path) -> None:
    home = urljoin(f"{smtpsetup.DOCUMENTATION}/", "..")
    assert f"{home}SECURITY.md" in _page(site / "security.html").links
    links = {link for path in site.rglob("*.html") for link in _page(path).links if link.startswith(home)}
    files = [urlsplit(link.removeprefix(home)).path for link in links]
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} <= set(files)
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_each_page_says_which_language_it_is_in(site: Path) -> None:
    languages = {name: _page(site / name).language for name in PAGES}
    assert languages == {name: "sv" if name.endswith(".sv.html") else "en" for name in PAGES}
    assert "sv" in languages.values()


def test_no_page_style_or_script_names_a_file_on_another_host(site: Path) -> None:
    loads = re.compile(
        r"""(?:<(?:script|img|iframe|source|video)\b[^>]*\bsrc|<link\b[^>]*\bhref)="(?:https?:)?//[^"]*"""
        r"""|(?:url\(|@import\s)["']?(?:https?:)?//[^"')]*"""
    )
    texts = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(texts) > len(PAGES)
    assert [
        (path, loads.findall(path.read_text(encoding="utf-8")))
        for path in texts
        if loads.search(path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_window(browser: Chromium, address: str, width: int) -> None:
    for name in PAGES:
        browser.show(f"{address}/{name}", width, dark=False)
        assert browser.evaluate("innerWidth") == width
        assert browser.evaluate(_TOO_WIDE) == [], name


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark_colours(browser: Chromium, address: str, colours: str) -> None:
    for name in PAGES:
        browser.show(f"{address}/{name}", 1280, dark=colours == "dark")
        assert browser.evaluate(_COLOURS) == [[], colours == "dark"], name


def test_the_search_finds_a_page_and_no_request_leaves_the_machine(browser: Chromium, address: str) -> None:
    for name in PAGES:
        browser.show(f"{address}/{name}", 1280, dark=False)
    browser.show(f"{address}/search.html?q=outbox", 1280, dark=False)
    end = time.monotonic() + 20
    while not browser.evaluate("!!document.querySelector('#search-results a[href^=\"sending.html\"]')"):
        assert time.monotonic() < end, browser.evaluate("document.body.innerText")
        time.sleep(0.05)
    assert {urlsplit(url)._replace(path="", query="", fragment="").geturl() for url in browser.requested} == {
        address,
        "data:",
    }


def test_a_start_page_lists_the_pages_that_exist_and_says_their_first_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_page, "ROOT", tmp_path)
    (tmp_path / "docs" / "howto").mkdir(parents=True)
    cron = "# A job at night\n\n([på svenska](cron.sv.md))\n\nWhen a [job](../a.md) runs.\nAnd more.\n"
    (tmp_path / "docs" / "howto" / "cron.md").write_text(cron, encoding="utf-8")
    (tmp_path / "docs" / "howto" / "cron.sv.md").write_text("# Ett jobb\n\nOm natten.\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("# smtpsetup\n", encoding="utf-8")
    listed = "\n../README.md where it begins\nhowto/*.md\ntutorial.md\n"
    assert start_page.links("docs/index.md", listed) == (
        "\n- [README](../README.md): where it begins\n- [A job at night](howto/cron.md): When a job runs\n\n"
    )
    assert start_page.links("docs/index.sv.md", "howto/*.sv.md") == "\n- [Ett jobb](howto/cron.sv.md): Om natten\n\n"
    assert start_page.links("docs/index.md", "tutorial.md") == ""


def test_every_document_is_on_a_start_page() -> None:
    starts = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("index.md", "index.sv.md")]
    listed = set(re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", "\n".join(starts), re.MULTILINE))
    assert [name for name in DOCUMENTS if name not in listed | {"index.md"}] == []
