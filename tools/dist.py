"""Make a release from the last commit: sdist, wheel, zipapp, SBOM, requirements.txt and SHA256SUMS, in a directory.

The same commit gives the same bytes, wherever it is built: the sources are those of `git archive`, and every time in a
file is the commit's (SOURCE_DATE_EPOCH, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from locked_requirements import ROOT, pins

# what the zipapp lacks: compiled, or of no use without what is compiled (docs/releasing.md)
NOT_IN_ZIPAPP = {"cffi", "cryptography", "pycparser", "pywin32", "pywin32-ctypes", "secretstorage"}
ONLY_POSTGRESQL = {"psycopg", "psycopg-binary", "typing-extensions", "tzdata"}
ONLY_SANDBOX = {"aiosmtpd", "atpublic", "attrs", "trustme"}
_ZIPAPP_MAIN = "from smtpsetup.__main__ import main\n\nmain()\n"


def _run(*command: str | Path, cwd: Path, epoch: str) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nThis failed: {' '.join(map(str, command))}")


def _sources(directory: Path) -> str:
    """Write the files of the last commit to a directory, and return its time as seconds since 1970."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return shown.strip()


def _sbom(source: Path, target: Path, version: str, epoch: str) -> None:
    """Write the CycloneDX list of what requirements.txt locks, with the version of smtpsetup itself."""
    _run(
        *(sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--of", "JSON"),
        *("--pyproject", "pyproject.toml", "--output-file", target, "requirements.txt"),
        cwd=source,
        epoch=epoch,
    )
    document = json.loads(target.read_text(encoding="utf-8"))
    document["metadata"]["component"]["version"] = version
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _pure_requirements(source: Path) -> str:
    """What the zipapp contains, for every platform and Python: the locked file without markers."""
    locked = pins((source / "requirements.txt").read_text(encoding="utf-8"))
    return "".join(
        " ".join([f"{name}{pin.specifier}", *(f"--hash={value}" for value in hashes)]) + "\n"
        for name, (pin, hashes) in locked.items()
        if name not in NOT_IN_ZIPAPP | ONLY_POSTGRESQL | ONLY_SANDBOX
    )


def _zipapp(source: Path, wheel: Path, target: Path, epoch: str) -> None:
    """Write one file that a bare Python runs. pip refuses every wheel that is not for all platforms."""
    with tempfile.TemporaryDirectory() as directory:
        listed = Path(directory, "pure.txt")
        listed.write_text(_pure_requirements(source), encoding="utf-8")
        _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"),
            *("--only-binary", ":all:", "--platform", "any", "--implementation", "py", "--abi", "none"),
            *("--python-version", "3.11", "--dest", directory, "--requirement", listed),
            cwd=source,
            epoch=epoch,
        )
        contents: dict[str, bytes] = {"__main__.py": _ZIPAPP_MAIN.encode()}
        for path in (wheel, *sorted(Path(directory).glob("*.whl"))):
            with zipfile.ZipFile(path) as packed:
                contents |= {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}
    when = time.gmtime(int(epoch))[:6]
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in sorted(contents):
                entry = zipfile.ZipInfo(name, when)
                entry.external_attr = 0o100644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, contents[name])
    target.chmod(0o755)


def make(target: Path) -> None:
    """Make all files of a release in `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory)
        epoch = _sources(source)
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, ".", cwd=source, epoch=epoch)
        (wheel,) = target.glob("*.whl")
        version = wheel.name.split("-")[1]
        _zipapp(source, wheel, target / f"smtpsetup-{version}.pyz", epoch)
        _sbom(source, target / f"smtpsetup-{version}.cdx.json", version, epoch)
        shutil.copyfile(source / "requirements.txt", target / "requirements.txt")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(target.iterdir())]
    (target / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def main() -> None:
    """Make the release in `dist`, or in the directory that is named."""
    target = Path(sys.argv[1] if sys.argv[1:] else ROOT / "dist").resolve()
    make(target)
    if ".example/" in (ROOT / "pyproject.toml").read_text(encoding="utf-8"):
        print("The addresses in [project.urls] of pyproject.toml are still placeholders.", file=sys.stderr)
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    if changed:
        print("Not in the release, since it is not committed:", changed, sep="\n", end="", file=sys.stderr)
    print((target / "SHA256SUMS").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
