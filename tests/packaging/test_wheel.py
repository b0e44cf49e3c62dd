"""The wheel works in an environment of its own, without development packages."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
import zipapp
import zipfile
from pathlib import Path

import pytest

import smtpsetup
from tests import answers

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)],
        check=True,
        timeout=100,
    )
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_has_the_table_the_catalogue_and_the_licence(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"smtpsetup/providers.toml", "smtpsetup/locale/sv/LC_MESSAGES/smtpsetup.mo", "smtpsetup/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests", "tools", "bench")) for name in names)
    table = zipfile.ZipFile(wheel).read("smtpsetup/providers.toml")
    assert table == (ROOT / "providers.toml").read_bytes()


def test_the_metadata_and_the_texts_name_the_same_documents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        (path,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = packed.read(path).decode()
    assert f"Project-URL: Documentation, {smtpsetup.DOCUMENTATION}\n" in metadata


def test_the_installed_wheel_identifies_has_swedish_and_says_what_its_sandbox_needs(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [
            *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--constraint", ROOT / "constraints.txt", wheel),
        ],
        check=True,
        timeout=110,
    )
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    program = str(tmp_path / "venv" / "bin" / "smtpsetup")
    identified = subprocess.run(
        [program, "identify", "namn@live.se"],
        env={**env, "SMTPSETUP_LANG": "sv"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "smtp-mail.outlook.com:587" in identified.stdout
    assert "Leverantör" in identified.stdout
    helped = subprocess.run([program, "help", "oauth2"], env=env, capture_output=True, text=True, check=True)
    assert f"{smtpsetup.DOCUMENTATION}/oauth2.md" in helped.stdout
    without = subprocess.run([program, "sandbox"], env=env, capture_output=True, text=True, check=False)
    assert without.returncode == 78
    assert "Traceback" not in without.stderr
    (command,) = re.findall(r"`(.*?)`", " ".join(without.stderr.split()))
    assert command.startswith(f"{python} -m pip install ")
    constraints = ("--quiet", "--constraint", str(ROOT / "constraints.txt"))
    subprocess.run([*shlex.split(command), *constraints], check=True, timeout=100)
    started = subprocess.Popen(
        [program, "sandbox", "--count", "1", "--json"],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout
    assert '"tls_port"' in started.stdout.readline()
    started.kill()
    started.wait()
    started.stdout.close()


@pytest.fixture(scope="module")
def archive(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip file that Python runs: the wheel, and the libraries of this environment that are written in Python."""
    directory = tmp_path_factory.mktemp("archive")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(directory / "content")
    for name in ("click", "rich", "idna", "dns", "publicsuffixlist", "tomli_w", "markdown_it", "mdurl", "pygments"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        shutil.copytree(Path(spec.origin).parent, directory / "content" / name)
    path = directory / "place" / "smtpsetup.pyz"
    path.parent.mkdir()
    zipapp.create_archive(directory / "content", path, main="smtpsetup.__main__:main")
    return path


def run_archive(
    archive: Path, *arguments: str, python: str = sys.executable, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run it with an interpreter that has no other packages (-I: nor the current directory)."""
    return subprocess.run(
        [python, "-I", "-S", str(archive), *arguments],
        env={"HOME": str(archive.parent), "PATH": "/usr/bin:/bin", **env},
        cwd=archive.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_archive_trusts_no_table_that_lies_beside_it(archive: Path) -> None:
    table = (ROOT / "providers.toml").read_text(encoding="utf-8").replace("smtp-mail.outlook.com", "attacker.example")
    assert "attacker.example" in table
    planted = [archive.parent, archive.parents[1]]
    for place in planted:
        (place / "providers.toml").write_text(table, encoding="utf-8")
        (place / "pyproject.toml").touch()
    try:
        done = run_archive(archive, "identify", "namn@live.se")
    finally:
        for place in planted:
            (place / "providers.toml").unlink()
            (place / "pyproject.toml").unlink()
    assert done.returncode == 0, done.stderr
    assert "smtp-mail.outlook.com:587" in done.stdout
    assert "attacker.example" not in done.stdout


def test_an_archive_speaks_swedish_also_where_click_speaks(archive: Path) -> None:
    identified = run_archive(archive, "identify", "namn@live.se", SMTPSETUP_LANG="sv")
    assert "Leverantör" in identified.stdout, identified.stderr
    helped = run_archive(archive, "outbox", "--help", SMTPSETUP_LANG="sv")
    assert "Användning:" in helped.stdout, helped.stderr
    wrong = run_archive(archive, "identify", "--no-such-option", SMTPSETUP_LANG="sv")
    assert wrong.returncode == 2
    assert "No such option" not in wrong.stderr


def test_an_archive_is_named_in_what_a_scheduler_runs(archive: Path) -> None:
    done = run_archive(archive, "outbox", "schedule", "--with", "cron", "--json")
    line = answers.read(done.stdout)["result"]["crontab"]
    assert f"{archive} outbox flush" in line


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists(SYSTEM_PYTHON), reason="needs root, and a Python that every user may read"
)
def test_root_works_in_a_users_directory_as_that_user_from_an_archive(archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        os.chmod(place, 0o755)
        shared = shutil.copy(archive, place)
        (Path(place) / "state").mkdir(mode=0o700)
        os.chown(Path(place) / "state", 12345, 12345)
        done = run_archive(
            Path(shared), "outbox", "list", "--json", python=SYSTEM_PYTHON, SMTPSETUP_STATE_DIR=f"{place}/state/own"
        )
        assert done.returncode == 0, done.stdout
        os.chmod(shared, 0o600)
        done = run_archive(
            Path(shared), "outbox", "list", "--json", python=SYSTEM_PYTHON, SMTPSETUP_STATE_DIR=f"{place}/state/own"
        )
        assert "cannot read this smtpsetup" in done.stdout


def test_a_package_without_its_table_takes_none_from_the_directories_above(wheel: Path, tmp_path: Path) -> None:
    package = tmp_path / "above" / "lib" / "smtpsetup"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(package.parent)
    (package / "providers.toml").rename(tmp_path / "above" / "providers.toml")
    (tmp_path / "above" / "pyproject.toml").touch()
    done = subprocess.run(
        [sys.executable, "-m", "smtpsetup", "identify", "namn@live.se", "--json"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78, done.stdout
    assert str(package / "providers.toml") in done.stdout
