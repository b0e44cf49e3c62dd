"""The wheel works in an environment of its own, without development packages."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import smtpsetup

ROOT = Path(__file__).parents[2]


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


@pytest.mark.slow
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
    assert f"{smtpsetup.DOCUMENTATION}/oauth2.md" in "".join(identified.stdout.split())
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
