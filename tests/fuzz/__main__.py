"""Run the fuzzer on every target, or one target on one input: see `python -m tests.fuzz --help`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import corpus, targets

_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 16_384  # of an input: twice the limit of a line of a reply
_WAIT = 30  # seconds for one input, before libFuzzer ends the run; the rule of one second is in targets.py
_MEGABYTES = 1024
_GRACE = 60  # seconds for start and end of a target


def main() -> None:
    """Exit code 1 for a finding, 2 for a fuzzer that did not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=60, help="shared among the targets; as many run at once as there are processors"
    )
    parser.add_argument(
        "--keep", action="store_true", help="afterwards add what executes new code to tests/fuzz/corpus"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the target on this input only")
    parser.add_argument("target", nargs="*", choices=[[], *targets.TARGETS], help="all without one")
    given = parser.parse_args()
    names = given.target or list(targets.TARGETS)
    if given.replay:
        for name in names:
            targets.run(name, given.replay.read_bytes())
        return
    each = max(1, given.seconds // len(names))
    print(f"{'target':16}{'executions':>12}{'a second':>10}{'corpus':>8}{'new':>6}  findings")
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        findings = [path for paths in workers.map(lambda name: _fuzzed(name, each), names) for path in paths]
    if given.keep:
        for name in names:
            print(f"{name}: {corpus.keep(name)} files added to the corpus")
    for path in findings:
        print(f"\n{path.relative_to(_ROOT)}\n  reproduce: {_command(path)}")
    sys.exit(1 if findings else 0)


def _fuzzed(name: str, seconds: int) -> list[Path]:
    """Fuzz a target, print its line, and return the inputs that break a rule."""
    found = corpus.FOUND / name
    findings = corpus.FINDINGS / name
    for directory in (found, findings):
        directory.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    count = len(list(found.iterdir()))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.libfuzzer", name),
            *(f"-max_total_time={seconds}", f"-max_len={_MOST_BYTES}", f"-timeout={_WAIT}"),
            *(f"-rss_limit_mb={_MEGABYTES}", f"-artifact_prefix={findings}/", "-print_final_stats=1"),
            *(str(found), str(corpus.COMMITTED / name)),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + _WAIT + _GRACE,
        check=False,
    )
    new = sorted(path for path in set(findings.iterdir()) - before if path.suffix != ".txt")
    executions = re.search(
        r"stat::number_of_executed_units:\s*(\d+)\s+stat::average_exec_per_sec:\s*(\d+)", done.stderr
    )
    if not executions or (done.returncode and not new):
        print(done.stdout[-2000:], done.stderr[-4000:], f"{name}: the fuzzer did not run", sep="\n", file=sys.stderr)
        raise SystemExit(2)
    added = len(list(found.iterdir())) - count
    size = len(corpus.inputs(name))
    print(f"{name:16}{int(executions[1]):12,}{int(executions[2]):10,}{size:8}{added:6}  {len(new)}", flush=True)
    for path in new:
        path.with_name(f"{path.name}.txt").write_text(f"{_command(path)}\n\n{_traceback(done.stdout + done.stderr)}\n")
    return new


def _command(path: Path) -> str:
    return shlex.join(
        [".venv/bin/python", "-m", "tests.fuzz", path.parent.name, "--replay", str(path.relative_to(_ROOT))]
    )


def _traceback(output: str) -> str:
    """The part of the output that says what happened."""
    place = output.find("Uncaught Python exception")
    return output[max(place, 0) :].partition("\nINFO:")[0][:20_000]


if __name__ == "__main__":
    main()
