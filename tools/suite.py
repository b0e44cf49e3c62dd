"""What the tests cost, and the rules that keep it so (CONTRIBUTING.md).

`suite.py check` names what breaks a rule that can be seen without running a test. `suite.py report FILE...` reads the
JUnit files of a run and prints the slowest tests and the seconds of each folder beside those in tests/seconds.toml; it
fails where a folder took much longer than that. `suite.py record FILE...` writes the seconds there.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
RECORDED = TESTS / "seconds.toml"
SLOWEST = 20
CAPABILITY_SECONDS = 40.0  # what a new capability may add to .ci/run, on two processors
NOISE = 1.5  # the same tests take so much longer on a busy machine
ONLY_QUICK = {"pytest.mark.matrix", "pytest.mark.sampled", "pytest.mark.slow"}


def quick_folders() -> set[str]:
    """The folders that are run with --quick, by `make test` or `make test-debian`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"tests/(\w+)", " ".join(re.findall(r"(?m)^(?:QUICK|DEBIAN) := (.*)$", makefile))))


def faults() -> list[str]:
    """What breaks a rule: a rule that is tested twice, a mark that has no effect."""
    found, places = [], defaultdict(list)
    quick = quick_folders()
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")}
    for path in sorted(TESTS.rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        is_quick = path.relative_to(TESTS).parts[0] in quick
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                places[node.name].append(f"{name}:{node.lineno}")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in ONLY_QUICK and not is_quick:
                found.append(f"{name}:{node.lineno}: {node.attr} has an effect only in {', '.join(sorted(quick))}")
    run = set(re.findall(r"tests/(\w+)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    found += [f"tests/{folder} is in no list of the Makefile" for folder in sorted(folders - run)]
    for test, where in places.items():
        if len(where) > 1:
            found.append(f"{test} is in {' and in '.join(where)}: a rule is tested once, where it can fail first")
    return found


class Case(NamedTuple):
    """A test that ran: its file, its name and its seconds, those of its fixtures included."""

    file: str
    name: str
    seconds: float

    @property
    def folder(self) -> str:
        """The folder in tests/."""
        return self.file.split("/")[1]


def cases(files: list[str]) -> Iterator[Case]:
    """The tests of JUnit files that pytest wrote."""
    for file in files:
        for element in ET.parse(file).iter("testcase"):
            place = element.get("classname", "").split(".")
            while place[-1][0].isupper():  # a class
                place.pop()
            yield Case("/".join(place) + ".py", element.get("name", ""), float(element.get("time", "0")))


def report(files: list[str]) -> int:
    """Print what a run took. Returns the exit code."""
    ran = list(cases(files))
    recorded = tomllib.loads(RECORDED.read_text(encoding="utf-8"))["seconds"]
    seconds, counts = _sums(ran), Counter(case.folder for case in ran)
    print(f"The slowest {SLOWEST} of {len(ran)} tests, in seconds:")
    for case in sorted(ran, key=lambda case: -case.seconds)[:SLOWEST]:
        print(f"  {case.seconds:6.1f}  {case.file}::{case.name}")
    print(f"Each folder, in seconds of tests, several of which run at once (tests/{RECORDED.name}):")
    slower = []
    for folder in sorted(seconds, key=lambda folder: -seconds[folder]):
        before = recorded.get(folder, 0)
        print(f"  {seconds[folder]:6.0f}  ({before:5})  {folder}, {counts[folder]} tests")
        if seconds[folder] > before * NOISE + 2 * CAPABILITY_SECONDS:
            slower.append(folder)
    if slower:
        print(f"Much slower than recorded: {', '.join(slower)}. CONTRIBUTING.md says what a capability may add.")
    return 1 if slower else 0


def record(files: list[str]) -> None:
    """Write what a run took."""
    seconds = _sums(list(cases(files)))
    lines = [f"{folder} = {round(taken)}\n" for folder, taken in sorted(seconds.items())]
    RECORDED.write_text(
        "# Seconds of tests in each folder, on two quiet processors (`tools/suite.py record`).\n"
        "[seconds]\n" + "".join(lines),
        encoding="utf-8",
    )


def _sums(ran: list[Case]) -> Counter[str]:
    seconds: Counter[str] = Counter()
    for case in ran:
        seconds[case.folder] += case.seconds  # type: ignore[assignment]  # a Counter of floats
    return seconds


def main() -> None:
    """Check, report or record."""
    match sys.argv[1:]:
        case ["check"]:
            found = faults()
            print("\n".join(found), end="\n" if found else "")
            sys.exit(1 if found else 0)
        case ["report", *files] if files:
            sys.exit(report(files))
        case ["record", *files] if files:
            record(files)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
