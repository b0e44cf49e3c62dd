"""The Debian packages: built without a network, clean to lintian, installed in a bare Debian and removed again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import smtpsetup
from tests.conftest import PASSWORD
from tests.servers import missing

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "packaging" / "debian"
BUILDERS = ("dpkg-buildpackage", "dh", "pybuild", "lintian", "mmdebstrap", "unshare")
PACKAGES = "debhelper dh-python dpkg-dev lintian mmdebstrap pybuild-plugin-pyproject python3-all python3-hatchling"
RELEASE = "trixie"
# Debian's own versions of these have the corrections for which pyproject.toml asks for newer ones
CORRECTED_BY_DEBIAN = {"cryptography": "43", "idna": "3.10"}
ADDRESS = "info@example.com"


def _depends() -> str:
    text = (DEBIAN / "control").read_text(encoding="utf-8").partition("Package: smtpsetup\n")[2].partition("\n\n")[0]
    return " ".join(line.strip() for line in text.splitlines() if line.startswith(" python3"))


def test_the_package_has_the_version_and_the_floors_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (DEBIAN / "changelog").read_text(encoding="utf-8").startswith(f"smtpsetup ({smtpsetup.__version__}) ")
    listed = " ".join(one.partition(";")[0] for one in project["dependencies"] if "win32" not in one)
    asked = dict(re.findall(r"([\w-]+)>=([\d.]+)", listed))
    del asked["publicsuffixlist"]  # not in Debian, which has the list as a file
    assert dict(re.findall(r"python3-([\w-]+) \(>= ([\d.]+)\)", _depends())) == asked | CORRECTED_BY_DEBIAN
    assert f"python3 ({project['requires-python'].replace('>=', '>= ')})" in _depends()


def _made(target: Path) -> list[Path]:
    """The packages, made without a network."""
    if os.geteuid() != 0 or not all(map(shutil.which, BUILDERS)):
        missing(f"needs root and apt-get install --no-install-recommends {PACKAGES}")
    command = ["unshare", "--net", sys.executable, str(ROOT / "tools" / "deb.py"), str(target)]
    subprocess.run(command, check=True, timeout=200, capture_output=True)
    return sorted(target.glob("*.deb"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return _made(tmp_path_factory.mktemp("packages"))


def test_two_builds_give_the_same_bytes_and_lintian_has_nothing_to_say(packages: list[Path], tmp_path: Path) -> None:
    assert [path.name.partition("_")[0] for path in packages] == ["smtpsetup-mta", "smtpsetup"]
    again = _made(tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in packages]
    done = subprocess.run(
        ["lintian", "--allow-root", "--display-info", "--pedantic", "--fail-on", "error,warning,info", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


class Chroot:
    """A Debian with nothing but what every Debian has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        directory = path.parent
        config = subprocess.run(
            ["apt-config", "dump", "--format", '%f "%v";%n', "Acquire"], capture_output=True, text=True, check=True
        ).stdout
        (directory / "apt.conf").write_text(config, encoding="utf-8")
        (directory / "machine.list").write_text(_sources(), encoding="utf-8")
        subprocess.run(
            [
                *(
                    "mmdebstrap",
                    "--quiet",
                    "--mode=root",
                    "--skip=cleanup/apt",
                    "--variant=minbase",
                    f"--aptopt={directory}/apt.conf",
                ),
                *(RELEASE, path, directory / "machine.list"),
            ],
            check=True,
            timeout=300,
        )

    def run(self, *command: str, user: str = "root", given: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it as a user, with no environment but this."""
        home = "/root" if user == "root" else f"/home/{user}"
        shown = {"HOME": home, "LOGNAME": user, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **env}
        return subprocess.run(
            ["chroot", f"--userspec={user}", self.path, *command],
            env=shown,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def does(self, *command: str, user: str = "root", given: str = "", **env: str) -> str:
        """Run a command that must succeed. Returns what it printed."""
        done = self.run(*command, user=user, given=given, **env)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def apt_get(self, *arguments: str) -> str:
        """Run apt-get, with no questions and nothing that is only recommended."""
        return self.does(
            *("apt-get", "--yes", "--quiet", "--no-install-recommends", *arguments), DEBIAN_FRONTEND="noninteractive"
        )

    def files(self) -> set[str]:
        """Every file but the package manager's own records."""
        own = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "packages", "proc", "sys", "dev")
        paths = (path.relative_to(self.path) for path in self.path.rglob("*"))
        return {str(path) for path in paths if not str(path).startswith(own)}


def _sources() -> str:
    """Where this machine gets Debian from, so that the bare one gets it from there."""
    line = "deb $(SITE) $(RELEASE) $(COMPONENT)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", line, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = sorted({line for line in listed.splitlines() if f" {RELEASE}" in line})
    if not lines:
        missing(f"needs a machine that gets packages of Debian's {RELEASE}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def chroot(tmp_path: Path, packages: list[Path]) -> Chroot:
    """A bare Debian with what the packages depend on and the packages' files, which are not installed yet."""
    made = Chroot(tmp_path / "debian")
    (made.path / "packages").mkdir()
    for path in packages:
        shutil.copyfile(path, made.path / "packages" / path.name)
    made.does("useradd", "--create-home", "kalle")
    depends = subprocess.run(
        ["dpkg-deb", "--field", packages[1], "Depends"], capture_output=True, text=True, check=True
    ).stdout
    made.apt_get("satisfy", depends.strip())
    return made


@pytest.mark.timeout(600)
def test_in_a_bare_debian_it_is_installed_sends_and_leaves_only_the_users_files(
    chroot: Chroot, sandbox: Sandbox, facts: SandboxFacts
) -> None:
    before = chroot.files()
    debs = [f"/packages/{name}" for name in sorted(os.listdir(chroot.path / "packages"))]
    printed = chroot.apt_get("install", *debs)
    assert re.search(r"0 upgraded, 2 newly installed, 0 to remove", printed), printed
    assert "exim" not in chroot.apt_get("install", "--simulate", "bsd-mailx")  # which needs a mail-transport-agent

    assert "smtp-mail.outlook.com:587" in chroot.does("smtpsetup", "identify", "namn@live.se", user="kalle")
    assert "Leverantör" in chroot.does("smtpsetup", "identify", "namn@live.se", user="kalle", SMTPSETUP_LANG="sv")
    _is_sent_by_a_user(chroot, facts)
    _is_sent_by_cron(chroot, facts)
    assert [str(mail.message["Subject"]) for mail in sandbox.mails if mail.recipients == ("asa@example.com",)] == [
        "Faktura 7",
        "Cron <root@bare> backup",
    ]
    chroot.apt_get("install", "--reinstall", *debs)

    chroot.apt_get("purge", "smtpsetup", "smtpsetup-mta")
    left = {path for path in chroot.files() - before if not path.startswith(("home/kalle/", "root/", "tmp/"))}
    assert left == {"etc/smtpsetup", "etc/smtpsetup/config.toml", "etc/smtpsetup/ca.pem"}  # which this test made
    assert before - chroot.files() == set()
    assert (chroot.path / "home/kalle/.config/smtpsetup/config.toml").exists()


def _is_sent_by_a_user(chroot: Chroot, facts: SandboxFacts) -> None:
    (chroot.path / "etc/smtpsetup").mkdir()
    shutil.copyfile(facts.ca_file, chroot.path / "etc/smtpsetup/ca.pem")
    chroot.does("sh", "-c", "umask 077; cat > ~/.mail-password", user="kalle", given=PASSWORD)
    server = ["--host", "localhost", "--port", str(facts.tls_port), "--security", "tls"]
    chroot.does(
        *("smtpsetup", "configure", ADDRESS, *server, "--ca-file", "/etc/smtpsetup/ca.pem"),
        *("--password-file", "/home/kalle/.mail-password"),
        user="kalle",
    )
    chroot.does("smtpsetup", "test", user="kalle")
    chroot.does("smtpsetup", "send", "--to", "asa@example.com", "--subject", "Faktura 7", user="kalle", given="Hej!\n")


def _is_sent_by_cron(chroot: Chroot, facts: SandboxFacts) -> None:
    """As Debian's cron calls sendmail (do_command.c)."""
    command = ("/usr/sbin/sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
    mail = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@bare> backup\n\ndone\n"
    assert chroot.run(*command, given=mail).returncode == 78  # nothing is configured yet
    chroot.does("sh", "-c", "umask 077; cat > ~/.mail-password", given=PASSWORD)
    (chroot.path / "etc/smtpsetup/config.toml").write_text(
        f"""version = 1
default = "{ADDRESS}"

[aliases]
root = ["asa@example.com"]

[accounts."{ADDRESS}"]
address = "{ADDRESS}"
host = "localhost"
port = {facts.tls_port}
security = "tls"
ca_file = "/etc/smtpsetup/ca.pem"
secret = {{ store = "file", path = "~/.mail-password" }}
""",
        encoding="utf-8",
    )
    chroot.does(*command, given=mail)
    assert "empty" in chroot.does("mailq")
    chroot.does("newaliases")
