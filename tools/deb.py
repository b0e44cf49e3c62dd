"""Make the Debian packages from this tree, offline, in dist/ or in the directory that is named.

Debian 13's own packages are all that it needs and all that the result depends on (packaging/debian/control).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SOURCES = ("LICENSE", "README.md", "providers.toml", "docs", "pyproject.toml", "src", "tools/man_pages.py")
_NEEDED = "dpkg-dev debhelper dh-python pybuild-plugin-pyproject python3-all python3-click python3-hatchling"


def _copied(source: Path) -> None:
    """Copy what the packages are made from, as Debian expects it."""
    for name in _SOURCES:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copyfile(ROOT / name, target)
    shutil.copytree(ROOT / "packaging" / "debian", source / "debian")


def make(target: Path) -> list[Path]:
    """Make the packages in `target`, and return their paths. The same tree gives the same bytes."""
    if not shutil.which("dpkg-buildpackage"):
        sys.exit(f"make deb needs Debian or Ubuntu with: apt-get install --no-install-recommends {_NEEDED}")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "smtpsetup")
        _copied(source)
        done = subprocess.run(
            ["dpkg-buildpackage", "--build=binary", "--no-sign"],
            cwd=source,
            # Debian's own Python builds, not that of an environment
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{done.stdout}\nThe packages could not be made. They need: {_NEEDED}")
        return [Path(shutil.copy(path, target)) for path in sorted(Path(directory).glob("*.deb"))]


def main() -> None:
    """Make the packages in `dist`, or in the directory that is named."""
    for path in make(Path(sys.argv[1] if sys.argv[1:] else ROOT / "dist").resolve()):
        print(path)


if __name__ == "__main__":
    main()
