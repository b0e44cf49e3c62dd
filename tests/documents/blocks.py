"""The commands in the documents."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# made by the program, or about the project's own tools and not about the use of the program
_GENERATED = ("commands.md", "errors.md", "errors.sv.md", "json.md")
_PROGRAM = re.compile(r"\bsmtpsetup(-sendmail)?\b")


def documents() -> list[Path]:
    """Every document that has commands for users."""
    found = [*ROOT.glob("README*.md"), *ROOT.joinpath("docs").rglob("*.md")]
    return sorted(path for path in found if path.name not in _GENERATED and commands(path))


def commands(path: Path) -> list[str]:
    """What a reader is to type, in order: lines with `$ ` in a console block, and indented lines with the program."""
    found, is_fenced, is_console = [], False, False
    for line in path.read_text(encoding="utf-8").split("\n"):
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            is_fenced, is_console = not is_fenced, fence[1] == "console"
        elif is_fenced and is_console and line.lstrip().startswith("$ "):
            found.append(line.lstrip()[2:])
        elif not is_fenced and re.match(r" {4,}\S", line) and _PROGRAM.search(line):
            found.append(line.strip())
    return [re.sub(r"\s{2,}#.*|\s+#\s.*", "", command).strip() for command in found]
