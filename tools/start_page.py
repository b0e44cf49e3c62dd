"""The lists on the start pages of the documents: a link and one line for each page that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pages(page: str, listed: str) -> list[tuple[str, str]]:
    """The files that exist of a list, as paths relative to the page, each with its line.

    Each line of the list has a path or a pattern, and may go on with what to say of it; otherwise the page says it
    itself, in its first sentence. A pattern is for one language: `*.md` is without the Swedish pages, `*.sv.md`.
    """
    folder = (ROOT / page).parent
    found = []
    for line in listed.split("\n"):
        pattern, _, words = line.partition(" ")
        files = sorted(folder.glob(pattern)) if "*" in pattern else [folder / pattern]
        for file in files:
            is_of_language = "*" not in pattern or file.name.endswith(".sv.md") == pattern.endswith(".sv.md")
            if pattern and is_of_language and file.is_file():
                path = file.relative_to(folder).as_posix() if "*" in pattern else pattern
                found.append((path, words or _first_sentence(file.read_text(encoding="utf-8"))))
    return found


def links(page: str, listed: str) -> str:
    """The list in Markdown, empty where none of its files exists."""
    folder = (ROOT / page).parent
    lines = []
    for path, words in pages(page, listed):
        title = re.search(r"^# (.+)$", (folder / path).read_text(encoding="utf-8"), re.MULTILINE)
        name = title[1] if title and not path.startswith("../") else Path(path).name.partition(".")[0]
        lines.append(f"- [{name}]({path}): {words}\n")
    return "\n" + "".join(lines) + "\n" if lines else ""


def _first_sentence(text: str) -> str:
    """What stands first under the title, apart from a line with nothing but a link to another language."""
    for paragraph in re.split(r"\n\s*\n", text)[1:]:
        words = re.sub(r"<!--.*?-->", "", paragraph, flags=re.DOTALL)
        words = re.sub(r"\(\[[^\]]*\]\([^)]*\)\)", "", words)  # ([på svenska](x.sv.md))
        words = " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words).split())
        if words and not words.startswith(("#", "```", "|")):
            return re.split(r"(?<=[.?!:])\s", words)[0].rstrip(".:")
    return ""
