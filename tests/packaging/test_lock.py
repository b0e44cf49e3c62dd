"""The locked requirements of a release match pyproject.toml and constraints.txt."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import locked_requirements as lock
import pytest

ROOT = Path(__file__).parents[2]
LOCKED = (ROOT / "requirements.txt").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def _without(name: str) -> str:
    return re.sub(rf"^{name}==.*\n(?:    --hash.*\n)+", "", LOCKED, flags=re.MULTILINE)


def test_the_locked_file_matches() -> None:
    assert list(lock.problems(LOCKED, PROJECT, CONSTRAINTS)) == []


@pytest.mark.parametrize(
    ("locked", "complaint"),
    [
        (_without("click"), "click>=8.1 is missing for linux"),
        (_without("mdurl"), "mdurl~=0.1 is missing for win32"),  # needed by a dependency of a dependency
        (_without("pywin32-ctypes"), "pywin32-ctypes"),  # on Windows only
        (LOCKED.replace("idna==", "idna==0."), "constraints.txt"),
        (LOCKED.replace("idna==", "idna==0."), "is not met by 0."),
        (re.sub(r"(?m)^(jeepney==\S+).*\\\n(?:    --hash.*\n)+", r"\1\n", LOCKED), "jeepney has no sha256 hash."),
        (LOCKED + "pexpect==4.9.0 --hash=sha256:" + 64 * "0" + "\n", "pexpect is needed by nothing."),
        ("--index-url https://example.com/simple\n" + LOCKED, "an option or an address"),
        (LOCKED + "--find-links=wheels\n", "an option or an address"),
        (LOCKED + "pexpect @ file:///pexpect.whl\n", "an option or an address"),
    ],
)
def test_what_does_not_match_is_named(locked: str, complaint: str) -> None:
    assert locked != LOCKED
    assert any(complaint in problem for problem in lock.problems(locked, PROJECT, CONSTRAINTS))
