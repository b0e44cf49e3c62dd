"""Ask an advisory service about requirements.txt and about the oldest versions that pyproject.toml allows.

`--strict` fails, too, where a package could not be audited; without it, that is only said. `OSV_URL` names the query
address of another server of the OSV API, such as a mirror; without it PyPI is asked, then osv.dev.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

from locked_requirements import ROOT, declared, pins

TIMEOUT = 10  # seconds that one request may take


class Audit(NamedTuple):
    """What a service said: a line for each advisory, the packages it did not answer for, and why."""

    advisories: tuple[str, ...]
    unaudited: tuple[str, ...]
    reason: str


def _floors() -> tuple[str, ...]:
    """`name==version` for the lowest version that pyproject.toml allows of each package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(
        f"{wanted.name}=={part.version}"
        for wanted in declared(project)
        for part in wanted.specifier
        if part.operator == ">="
    )


def _locked() -> tuple[str, ...]:
    """`name==version` for everything in requirements.txt, of all platforms."""
    locked = pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    return tuple(f"{name}{pin.specifier}" for name, (pin, _hashes) in locked.items())


def asked(packages: tuple[str, ...], service: tuple[str, ...]) -> Audit:
    """Ask one service, named by options of pip-audit, about `name==version` pairs. Nothing is installed."""
    with tempfile.TemporaryDirectory() as directory:
        listed = Path(directory, "packages.txt")
        listed.write_text("\n".join(packages) + "\n", encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", listed, "--disable-pip", "--no-deps"),
                *("--format", "json", "--progress-spinner", "off", "--timeout", str(TIMEOUT), *service),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except ValueError:  # no document: the service could not be reached
        last = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1]
        return Audit((), packages, last)
    advisories = tuple(
        f"{answer['name']} {answer['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for answer in answers
        for found in answer.get("vulns", ())
    )
    # a mirror without PyPI's JSON API makes pip-audit skip every package and exit with 0
    skipped = {answer["name"]: answer["skip_reason"] for answer in answers if "skip_reason" in answer}
    unaudited = tuple(package for package in packages if package.partition("==")[0] in skipped)
    return Audit(advisories, unaudited, next(iter(skipped.values()), ""))


def audited(packages: tuple[str, ...]) -> Audit:
    """Ask one service after the other, until each package has an answer."""
    mirror = os.environ.get("OSV_URL", "")
    osv = ("--vulnerability-service", "osv")
    services = [(*osv, "--osv-url", mirror)] if mirror else [("--vulnerability-service", "pypi"), osv]
    advisories: tuple[str, ...] = ()
    waiting, reasons = packages, []
    for service in services:
        answer = asked(waiting, service)
        advisories += answer.advisories
        waiting = answer.unaudited
        reasons += [answer.reason] if waiting else []
        if not waiting:
            break
    return Audit(advisories, waiting, "; ".join(reasons))


def main() -> None:
    """Audit, say what was and what was not audited, and fail where an advisory was found."""
    is_strict = "--strict" in sys.argv[1:]
    has_failed = False
    for title, packages in (("requirements.txt", _locked()), ("the floors of pyproject.toml", _floors())):
        answer = audited(packages)
        done = len(packages) - len(answer.unaudited)
        print(f"{title}: {done} of {len(packages)} packages audited, {len(answer.advisories)} known advisories")
        for advisory in answer.advisories:
            print(f"  {advisory}")
        if answer.unaudited:
            print(f"  NOT AUDITED: {', '.join(answer.unaudited)}")
            print(f"  No advisory service answered for them: {answer.reason}")
        has_failed |= bool(answer.advisories) or (is_strict and bool(answer.unaudited))
    sys.exit(1 if has_failed else 0)


if __name__ == "__main__":
    main()
