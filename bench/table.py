"""What the size of the provider table costs: `identify` with the whole table, paired with one of ten rows."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = int(os.environ.get("PAIRS", "40"))
ROOT = Path(__file__).parents[1]
BOUND = 1.1
LIST_BOUND = 0.4  # milliseconds a row, more than start-up


def copied(base: str, rows: int | None) -> str:
    """A copy of the package whose table has that many rows, Outlook.com's last; all of them for None."""
    target = Path(base, f"rows-{rows}")
    shutil.copytree(ROOT / "src" / "smtpsetup", target / "smtpsetup")
    head, *texts = (ROOT / "providers.toml").read_text(encoding="utf-8").split("[[provider]]\n")
    if rows is not None:
        outlook = next(text for text in texts if 'id = "microsoft-personal"' in text)
        texts = [*texts[: rows - 1], outlook]
    (target / "smtpsetup" / "providers.toml").write_text("[[provider]]\n".join([head, *texts]), encoding="utf-8")
    return str(target)


def run(path: str, *arguments: str) -> tuple[float, int]:
    """Seconds and peak memory (KiB) of one process."""
    env = {"PATH": os.environ["PATH"], "HOME": path, "LANG": "C.UTF-8", "PYTHONPATH": path}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", *arguments], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        sys.exit(f"smtpsetup ended with {status}")
    return time.perf_counter() - started, usage.ru_maxrss


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as base:
        whole, ten = copied(base, None), copied(base, 10)
        identify = ("identify", "namn@live.se", "--json")
        for path in (whole, ten):
            run(path, *identify)
        pairs = [(run(whole, *identify), run(ten, *identify)) for _ in range(PAIRS)]
        seconds = statistics.median(a[0] / b[0] for a, b in pairs)
        memory = statistics.median(a[1] / b[1] for a, b in pairs)
        print(
            f"identify, whole table against ten rows, {PAIRS} pairs: time {seconds:.2f} x, peak memory {memory:.2f} x "
            f"(bound {BOUND} x)"
        )
        listing = [
            (run(whole, "providers", "list", "--json")[0] - run(whole, "providers", "--help")[0]) * 1000
            for _ in range(PAIRS // 2)
        ]
        rows = (ROOT / "providers.toml").read_text(encoding="utf-8").count("\n[[provider]]\n")
        print(
            f"providers list, {rows} rows parsed: {statistics.median(listing):.0f} ms more than start-up, "
            f"{statistics.median(listing) / rows:.2f} ms a row (bound {LIST_BOUND} ms)"
        )


if __name__ == "__main__":
    main()
