"""A release: the same commit gives the same files, and the zipapp runs with nothing but Python."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-release" / "bin" / "python"
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="the tools of a release; `make .venv-release/ready`"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a release is made from a commit"),
]


def _made(target: Path, checkout: Path, umask: int) -> Path:
    """A release, built in a clone of its own."""
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    subprocess.run(
        [PYTHON, checkout / "tools" / "dist.py", target], check=True, timeout=100, umask=umask, capture_output=True
    )
    return target


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("release")
    return _made(directory / "files", directory / "checkout", 0o022)


def _bare(*command: str | Path, home: Path, lang: str = "en", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the zipapp with the Python of the system, without its site packages."""
    python = getattr(sys, "_base_executable", sys.executable)
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SMTPSETUP_LANG": lang, **variables}
    return subprocess.run(
        [python, "-I", "-S", *command], env=env, input="secret\n", capture_output=True, text=True, check=False
    )


def test_two_builds_of_a_commit_in_different_directories_give_the_same_bytes(release: Path, tmp_path: Path) -> None:
    again = _made(tmp_path / "elsewhere" / "other", tmp_path / "a longer name of a checkout", 0o077)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in release.iterdir()
    }


def test_the_checksums_cover_every_file(release: Path) -> None:
    lines = (release / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert listed.keys() == {path.name for path in release.iterdir()} - {"SHA256SUMS"}
    assert len(listed) == 5
    assert all(hashlib.sha256((release / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())


def test_every_time_in_a_release_is_that_of_its_commit(release: Path) -> None:
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (sdist,) = release.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        assert {member.mtime for member in tar.getmembers()} == {int(shown)}
    for path in (*release.glob("*.whl"), *release.glob("*.pyz")):
        with zipfile.ZipFile(path) as packed:
            assert len({entry.date_time for entry in packed.infolist()}) == 1


def test_the_bill_of_materials_has_every_locked_package_and_the_version_of_smtpsetup(release: Path) -> None:
    (path,) = release.glob("*.cdx.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert path.name == f"smtpsetup-{document['metadata']['component']['version']}.cdx.json"
    locked = (release / "requirements.txt").read_text(encoding="utf-8")
    names = {line.split("==")[0] for line in locked.splitlines() if line[:1].isalnum()}
    assert {component["name"] for component in document["components"]} == names


def test_the_zipapp_runs_with_nothing_but_python(release: Path, tmp_path: Path) -> None:
    (zipapp,) = release.glob("*.pyz")
    version = zipapp.stem.removeprefix("smtpsetup-")
    assert _bare(zipapp, "--version", home=tmp_path).stdout == f"smtpsetup {version}\n"
    english = _bare(zipapp, "identify", "namn@live.se", home=tmp_path)
    assert english.returncode == 0
    assert "smtp-mail.outlook.com:587" in english.stdout
    swedish = _bare(zipapp, "identify", "namn@live.se", home=tmp_path, lang="sv")
    assert "Leverantör" in swedish.stdout
    assert "Användning:" in _bare(zipapp, "--help", home=tmp_path, lang="sv").stdout
    assert os.access(zipapp, os.X_OK)


def test_the_zipapp_schedules_itself(release: Path, tmp_path: Path) -> None:
    (zipapp,) = release.glob("*.pyz")
    done = _bare(zipapp, "outbox", "schedule", home=tmp_path)
    assert f"{zipapp} outbox flush" in done.stdout


def test_the_zipapp_says_that_it_cannot_use_the_keyring(release: Path, tmp_path: Path) -> None:
    (zipapp,) = release.glob("*.pyz")
    done = _bare(
        *(zipapp, "configure", "a@one.com", "--no-verify", "--from-name", "A", "--password-stdin"),
        home=tmp_path,
        DBUS_SESSION_BUS_ADDRESS=f"unix:path={tmp_path}/bus",
    )
    assert done.returncode == 78
    assert "the library secretstorage is not installed" in " ".join(done.stderr.split())


def test_the_zipapp_has_no_compiled_module_and_no_test(release: Path) -> None:
    (zipapp,) = release.glob("*.pyz")
    names = zipfile.ZipFile(zipapp).namelist()
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dylib", ".pyc"))]
    assert {"smtpsetup/providers.toml", "click/__init__.py", "keyring/__init__.py"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "aiosmtpd/", "cryptography/"))]
