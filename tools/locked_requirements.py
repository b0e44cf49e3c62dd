"""Keep requirements.txt, the locked run-time dependencies of a release: `update` writes it, `check` reads it offline.

A release is installed with `pip install --require-hashes --requirement requirements.txt`, on any platform.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
HEADER = "# Every run-time dependency of a release, for every platform, by `make lock`; see docs/releasing.md.\n"
# what decides the markers of our dependencies: the system, and the oldest and a recent Python
ENVIRONMENTS: tuple[dict[str, str], ...] = tuple(
    {
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
        "os_name": "nt" if system == "win32" else "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }
    for system in ("linux", "darwin", "win32")
    for python in ("3.11", "3.12", "3.14")
)


def pins(text: str) -> dict[str, tuple[Requirement, tuple[str, ...]]]:
    """The requirements of a locked file by canonical name, each with its hashes (`sha256:…`).

    Raises packaging.requirements.InvalidRequirement for a line that is none, such as an option.
    """
    found: dict[str, tuple[Requirement, tuple[str, ...]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split("#", maxsplit=1)[0]
        hashes = tuple(re.findall(r"--hash=(\S+)", words))
        if wanted := re.sub(r"--hash=\S+", "", words).strip():
            requirement = Requirement(wanted)
            found[canonicalize_name(requirement.name)] = (requirement, hashes)
    return found


def declared(project: dict[str, object]) -> list[Requirement]:
    """What pyproject.toml asks for at run time, every extra included."""
    table = project["project"]
    assert isinstance(table, dict)
    extras = table.get("optional-dependencies", {}).values()
    return [Requirement(wanted) for group in (table["dependencies"], *extras) for wanted in group]


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def _needed_by(name: str) -> Iterator[Requirement]:
    """What the installed version asks for; nothing where the package is of another platform."""
    try:
        wanted = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return
    yield from map(Requirement, wanted)


def problems(locked_text: str, project: dict[str, object], constraints_text: str) -> Iterator[str]:
    """What is wrong with the locked file, one sentence each."""
    if re.search(r"://|^\s*-|\s@\s", locked_text.replace("\\\n    --hash", ""), re.MULTILINE):
        yield "It has an option or an address; only names, versions and hashes belong there."
        return
    locked = pins(locked_text)
    constraints = pins(constraints_text)
    for name, (pin, hashes) in locked.items():
        if not hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes):
            yield f"{name} has no sha256 hash."
        if name not in constraints or constraints[name][0].specifier != pin.specifier:
            yield f"{name}{pin.specifier} is not the version in constraints.txt."
    reached: set[str] = set()
    for environment in ENVIRONMENTS:
        needed = _needed(declared(project), environment)
        reached |= {canonicalize_name(wanted.name) for wanted in needed}
        yield from _unmet(needed, locked, environment)
    for name in sorted(locked.keys() - reached):
        yield f"{name} is needed by nothing."


def _needed(direct: list[Requirement], environment: dict[str, str]) -> list[Requirement]:
    """The requirements that apply, those of each package that is installed here included."""
    needed: list[Requirement] = []
    waiting = list(direct)
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if _applies(wanted, environment):
            needed.append(wanted)
            name = canonicalize_name(wanted.name)
            waiting += () if name in seen else _needed_by(name)
            seen.add(name)
    return needed


def _unmet(
    needed: list[Requirement], locked: dict[str, tuple[Requirement, tuple[str, ...]]], environment: dict[str, str]
) -> Iterator[str]:
    for wanted in needed:
        name = canonicalize_name(wanted.name)
        if name not in locked or not _applies(locked[name][0], environment):
            yield f"{wanted} is missing for {environment['sys_platform']}, Python {environment['python_version']}."
            continue
        (version,) = (part.version for part in locked[name][0].specifier)
        if not wanted.specifier.contains(version, prereleases=True):
            yield f"{wanted} is not met by {version}."


def _update(path: Path) -> None:
    """Resolve for all platforms at once. What is pinned in constraints.txt keeps its version."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
            *("--no-header", "--no-annotate", "--python-version", "3.11", "--constraint", "constraints.txt"),
            *("--all-extras", "--output-file", path, "pyproject.toml"),
        ],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    path.write_text(HEADER + path.read_text(encoding="utf-8"), encoding="utf-8")


def main() -> None:
    """Run `update` or `check`."""
    path = ROOT / "requirements.txt"
    if sys.argv[1:] == ["update"]:
        _update(path)
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = sorted(set(problems(path.read_text(encoding="utf-8"), project, constraints)))
    if found:
        sys.exit("\n".join([*found, "requirements.txt does not match; run `make lock`."]))


if __name__ == "__main__":
    main()
