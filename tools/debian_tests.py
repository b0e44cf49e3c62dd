"""Run the tests with Debian's own modules and its Python, and nothing newer: what the Debian package runs with.

The tools of the tests come from constraints.txt. Arguments are given to pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv-debian"
PYTHON = VENV / "bin" / "python"
_DEBIAN = "/usr/bin/python3"
_PLACE = "/usr/lib/python3/dist-packages"
_NOT_IN_DEBIAN = "publicsuffixlist"
_ALSO = ("aiosmtpd", "psycopg", "trustme")  # the sandbox, the shared outbox
_WHERE = f"""
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        found = importlib.metadata.distribution(name)
        print(name, found.version, "debian" if str(found.locate_file("")) == {_PLACE!r} else "other")
    except importlib.metadata.PackageNotFoundError:
        print(name, "-", "missing")
"""


def _names(requirements: list[str]) -> list[str]:
    return [match[0] for one in requirements if "win32" not in one and (match := re.match(r"[\w-]+", one))]


def _set_up(tools: list[str]) -> None:
    """Make the environment: the tree, and the tools of the tests; everything else is Debian's."""
    subprocess.run([_DEBIAN, "-m", "venv", "--clear", "--system-site-packages", VENV], check=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    system = subprocess.run(
        [_DEBIAN, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout
    of_debian = {_normal(line.partition("==")[0]) for line in system.splitlines()} - {_normal(name) for name in tools}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pin for pin in pins if _normal(pin.partition("==")[0]) not in of_debian))
        constraints.flush()
        subprocess.run([*pip, "--constraint", constraints.name, *tools], check=True)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Set up, tell which versions are used, and run pytest in place of this program."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [name for name in _names(configuration["project"]["dependencies"]) if name != _NOT_IN_DEBIAN]
    _set_up(configuration["dependency-groups"]["test"])
    shown = subprocess.run(
        [PYTHON, "-c", _WHERE, *needed, *_ALSO, _NOT_IN_DEBIAN], capture_output=True, text=True, check=True
    ).stdout
    places = {name: (version, place) for name, version, place in (line.split() for line in shown.splitlines())}
    wrong = [name for name in (*needed, *_ALSO) if places[name][1] != "debian"]
    if wrong:
        packages = " ".join(f"python3-{_normal(name)}" for name in wrong)
        sys.exit(f"These are Debian's own modules that the tests need: apt-get install {packages} publicsuffix")
    if places[_NOT_IN_DEBIAN][1] != "missing":
        sys.exit(f"{_NOT_IN_DEBIAN} is installed for {_DEBIAN}; these tests are about a machine without it.")
    print("Debian's", ", ".join(f"{name} {version}" for name, (version, place) in places.items() if place == "debian"))
    sys.stdout.flush()
    os.execv(PYTHON, [str(PYTHON), "-m", "pytest", *sys.argv[1:]])


if __name__ == "__main__":
    main()
