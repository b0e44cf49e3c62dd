"""What start-up costs: whole processes, each paired with a floor, so that a slow machine slows both.

The ratio is the median over the pairs. Bytecode is cached, as it is after the first run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = int(os.environ.get("PAIRS", "40"))
PYTHON = sys.executable
SMTPSETUP = str(Path(sys.executable).with_name("smtpsetup"))
FLOOR = [PYTHON, "-c", "import click, tomllib"]
BOUND = 1.45
COMMANDS = {
    "identify namn@live.se --json": [SMTPSETUP, "identify", "namn@live.se", "--json"],
    "--help": [SMTPSETUP, "--help"],
}
TAB_BOUND = 1.5
TABS = (
    "smtpsetup ",
    "smtpsetup test ",
    "smtpsetup configure --provider ",
    "smtpsetup explain ",
    "smtpsetup sandbox --fault ",
)
IMPORTS = (
    "click",
    "rich.console",
    "keyring.backends.SecretService",
    "secretstorage",
    "idna",
    "platformdirs",
    "tomli_w",
    "aiosmtpd.smtp",
    "trustme",
)


def seconds(command: list[str], env: dict[str, str]) -> float:
    """The duration of one run of a command."""
    started = time.perf_counter()
    subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    return time.perf_counter() - started


def compared(command: list[str], floor: list[str], env: dict[str, str]) -> tuple[float, float, float]:
    """The medians of a command and its floor in milliseconds, and of their ratio."""
    seconds(command, env)
    seconds(floor, env)
    pairs = [(seconds(command, env), seconds(floor, env)) for _ in range(PAIRS)]
    own, other = ([pair[side] for pair in pairs] for side in (0, 1))
    return statistics.median(own) * 1000, statistics.median(other) * 1000, statistics.median(a / b for a, b in pairs)


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
        print(f"against `python -c 'import click, tomllib'`, {PAIRS} pairs, bound {BOUND} x")
        for name, command in COMMANDS.items():
            own, floor, ratio = compared(command, FLOOR, env)
            print(f"  {name:<32} {own:6.1f} ms   floor {floor:6.1f} ms   {ratio:5.2f} x")
        print(f"a Tab in bash behind these words, bound {TAB_BOUND} x")
        for words in TABS:
            position = str(len(words.split(" ")) - 1)
            tab = {**env, "_SMTPSETUP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
            own, floor, ratio = compared([SMTPSETUP], FLOOR, tab)
            print(f"  {words:<32} {own:6.1f} ms   floor {floor:6.1f} ms   {ratio:5.2f} x")
        print("import cost on top of `python -c pass`")
        for module in IMPORTS:
            own, floor, _ratio = compared([PYTHON, "-c", f"import {module}"], [PYTHON, "-c", "pass"], env)
            print(f"  {module:<32} {own - floor:6.1f} ms")


if __name__ == "__main__":
    main()
