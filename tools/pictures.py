"""Pictures of the terminal for the documents, made from the recordings that the tests replay.

`update` writes them, `check` fails where they differ from what would be written.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT / "tests" / "recordings"
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 80

# name: (recording, number of the command in it)
SHOWN = {
    "identify.en": ("live-se.en", 0),
    "identify.sv": ("live-se.sv", 0),
    "ways.en": ("live-se.en", 2),
    "ways.sv": ("live-se.sv", 2),
    "configure.en": ("right.en", 0),
    "configure.sv": ("right.sv", 0),
}
_STYLES = (
    (r"^\$ .*", "bold"),
    (r"^✓ .*", "green"),
    (r"`[^`]+`", "cyan"),
    (r"https?://\S+[^\s.,)]", "underline cyan"),
    (r"(?m)^  (Provider|Server|User name|Signs in with|Leverantör|Användarnamn|Loggar in med)\b", "dim"),
)
# rich's own style sheet takes its font from another host; without it the reader's own is used
_REMOTE_FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def commands(recording: str) -> list[str]:
    """What the screen showed of each command in a recording, with the command itself."""
    text = (RECORDINGS / f"{recording}.txt").read_text(encoding="utf-8")
    return [f"$ {part.removeprefix('$ ')}".rstrip() for part in text.split("\n$ ")]


def picture(name: str) -> str:
    """The picture as SVG."""
    recording, number = SHOWN[name]
    shown = Text(commands(recording)[number])
    for pattern, style in _STYLES:
        shown.highlight_regex(re.compile(pattern, re.MULTILINE), style)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    usual = inspect.signature(Console.export_svg).parameters["code_format"].default
    form = _REMOTE_FONTS.sub("", usual).replace("Fira Code, monospace", "monospace")
    return console.export_svg(title="smtpsetup", code_format=form, unique_id=name.replace(".", "-")) + "\n"


def main() -> None:
    """Run `update` or `check`."""
    made = {PICTURES / f"{name}.svg": picture(name) for name in SHOWN}
    if sys.argv[1:] == ["update"]:
        PICTURES.mkdir(exist_ok=True)
        for path, content in made.items():
            path.write_text(content, encoding="utf-8")
        return
    stale = [
        str(path.relative_to(ROOT))
        for path, content in made.items()
        if not path.exists() or path.read_text("utf-8") != content
    ]
    if stale:
        sys.exit(f"Run `make docs`: {', '.join(stale)}")


if __name__ == "__main__":
    main()
