"""Keep the generated parts of the documentation in step: `update` writes them, `check` fails where they differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GENERATED = [ROOT / "src" / "smtpsetup" / "__init__.py", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main() -> None:
    """Run `update` or `check`."""
    mode = ["-r"] if sys.argv[1:] == ["update"] else ["--check", "--diff"]
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", *mode, "-I", str(ROOT / "tools"), *map(str, GENERATED)],
        cwd=ROOT,
        env={**os.environ, "SMTPSETUP_LANG": "en", "COLUMNS": "100"},
        check=False,
    )
    if done.returncode:
        sys.exit("Run `make docs`.")


if __name__ == "__main__":
    main()
