"""Files of other users: root's and the user's programs, state and links are kept apart."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.setup import sendmail_check
from smtpsetup.state import private_dir
from tests.faults.processes import shell
from tests.recording import RecordingServer, plain_account, state_dir
from tests.sendmail import log_lines
from tests.servers import closed_port, missing

if TYPE_CHECKING:
    from tests.conftest import Home


# root in a user's directory


NOBODY = 65534  # the user id of nobody
# root without the capability to write everywhere; it still reads the directories of Python and pytest as any user
AS_ROOT = ("setpriv", "--bounding-set=-all,+dac_read_search,+setuid,+setgid", "--securebits=+no_setuid_fixup")


def owned_by_nobody(home: Home) -> Home:
    """That home, owned by another user, for commands that root runs."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        missing("needs root and setpriv: apt-get install util-linux")
    for path in (home.path, *home.path.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    return replace(home.unmeasured, prefix=AS_ROOT)


def owners(home: Home) -> set[int]:
    return {path.lstat().st_uid for path in home.path.rglob("*")}


def test_commands_of_root_leave_the_users_files_to_the_user(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        home = owned_by_nobody(home)
        for command in (
            ("outbox", "list"),
            ("send", "kund@example.com", "--body", "x"),
            ("outbox", "flush"),
            ("outbox", "repair"),
        ):
            run = home.run(*command)
            assert run.code == 0, run.err
    assert owners(home) == {NOBODY}


def test_root_follows_no_symlink_of_the_user(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "roots"
    target.mkdir(mode=0o700)
    (home.path / ".local").symlink_to(target)
    home = owned_by_nobody(home)
    assert home.run("outbox", "list").code == 74
    assert list(target.iterdir()) == []


def test_the_log_and_the_daily_count_of_root_belong_to_the_user(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        home = owned_by_nobody(home)
        assert home.run("send", "kund@example.com", "--body", "x").code == 0
        assert home.run("send", "--batch", "-", stdin='{"to": "kund@example.com", "body": "x"}\n').code == 0
    assert owners(home) == {NOBODY}
    assert len(log_lines(home)) == 2


def test_root_is_told_to_use_an_installation_that_the_user_can_read(home: Home) -> None:
    home = replace(owned_by_nobody(home), prefix=())
    hidden = home.path.parent / "hidden"
    shutil.copytree(Path(private_dir.__file__).parents[1], hidden / "smtpsetup")
    hidden.chmod(0o700)
    run = home.run("outbox", "list", PYTHONPATH=str(hidden))
    assert run.code == 78  # the configuration is read first
    assert "run, as the owner, one that is installed" in " ".join(run.err.split())
    assert owners(home) <= {NOBODY}


# the program that root is advised to link


def test_root_is_advised_to_link_only_a_program_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        missing("needs root")
    own = tmp_path / "bin" / "smtpsetup-sendmail"
    own.parent.mkdir()
    own.touch(0o755)
    monkeypatch.setattr(sendmail_check, "_SENDMAIL", (str(tmp_path / "nowhere"),))
    monkeypatch.setenv("PATH", str(own.parent))
    own.chmod(0o755)
    os.chown(own.parent, NOBODY, NOBODY)
    finding = sendmail_check.check_sendmail()
    assert "pipx install --global" in finding.hints[0]
    assert str(own) not in " ".join(finding.hints)
    assert "/usr/local/bin/smtpsetup-sendmail" in finding.hints[1]


@pytest.mark.parametrize("change", ["file", "directory", "writable"])
def test_every_part_of_the_path_must_be_writable_by_root_alone(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        missing("needs root")
    base = Path("/usr/local/lib/smtpsetup-test")  # below directories of root
    shutil.rmtree(base, ignore_errors=True)
    try:
        (base / "bin").mkdir(parents=True, mode=0o755)
        program = base / "bin" / "smtpsetup-sendmail"
        program.touch(0o755)
        monkeypatch.setattr(sys, "executable", "/usr/bin/env")
        monkeypatch.setattr(sendmail_check, "__file__", "/usr/bin/env")
        if sendmail_check._unsafe_place("/usr/local/lib") is None:
            assert sendmail_check._unsafe_place(str(program)) is None
        changed = {"file": program, "directory": base / "bin", "writable": base}[change]
        if change == "writable":
            changed.chmod(0o775)
        else:
            os.chown(changed, NOBODY, NOBODY)
        assert sendmail_check._unsafe_place(str(program)) == str(changed)
    finally:
        shutil.rmtree(base)


def test_a_program_behind_a_symlink_of_another_user_is_not_roots(tmp_path: Path) -> None:
    if os.getuid() != 0:
        missing("needs root")
    base = Path("/usr/local/lib/smtpsetup-test-links")
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(mode=0o755)
    try:
        (base / "program").write_bytes(b"#!/home/alice/python\n")
        (tmp_path / "turned").symlink_to("/usr/bin/env")
        os.lchown(tmp_path / "turned", NOBODY, NOBODY)
        (base / "link").symlink_to(tmp_path / "turned")
        assert sendmail_check._unsafe_place(str(base / "link")) is not None
        assert sendmail_check._unsafe_place(str(base / "program")) == "/home/alice/python"
    finally:
        shutil.rmtree(base)


# the state directory


FIRST_COMMANDS = {
    "send": ("send", "kund@example.com", "--body", "x"),
    "always": ("send", "kund@example.com", "--body", "x", "--queue", "always"),
    "batch": ("send", "--batch", "mails.jsonl"),
    "list": ("outbox", "list"),
    "doctor": ("doctor",),
}


@pytest.mark.parametrize("first", FIRST_COMMANDS)
@pytest.mark.parametrize("umask", ["0", "077", "0777"])
def test_the_state_directory_is_0700_whatever_the_umask_and_the_first_command(
    home: Home, server: RecordingServer, first: str, umask: str
) -> None:
    plain_account(home, server.port)
    home.file("mails.jsonl", '{"to": "kund@example.com", "body": "x"}\n')
    shell(home, f'umask {umask}; exec "$0" -m smtpsetup "$@"', *FIRST_COMMANDS[first])
    state = Path(state_dir(home))
    for directory in (state, state.parent, state.parent.parent, *(path for path in state.rglob("*") if path.is_dir())):
        assert directory.stat().st_mode & 0o7777 == 0o700, directory
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.rglob("*"))


def make_unsafe(path: Path, how: str) -> None:
    if how == "writable":
        path.chmod(0o777)
        return
    moved = path.with_name("elsewhere")
    path.rename(moved)
    path.symlink_to(moved)


@pytest.mark.parametrize(
    ("place", "how"),
    [
        (".local/state/smtpsetup", "writable"),
        (".local/state/smtpsetup", "link"),
        (".local/state", "writable"),
        (".local", "writable"),
    ],
)
def test_a_state_directory_that_others_can_change_is_refused_and_reported_by_doctor(
    home: Home, server: RecordingServer, how: str, place: str
) -> None:
    plain_account(home, server.port)
    assert home.run("outbox", "list").code == 0
    make_unsafe(home.path / place, how)
    run = home.run("outbox", "list")
    assert run.code == 74
    assert str(home.path / place) in "".join(run.err.split())
    report = home.run("doctor", "--json").json
    (finding,) = [one for one in report["result"]["checks"] if one["check"] == "state"]
    assert finding["status"] == "wrong"
    assert home.run("send", "kund@example.com", "--body", "x").code == 0  # a mail that needs no outbox is sent
    assert len(server.mails) == 1


@pytest.mark.parametrize("place", [".local/state/smtpsetup", ".local"])
def test_a_state_directory_or_parent_of_another_user_is_refused(home: Home, place: str) -> None:
    if os.getuid() != 0:
        missing("needs root")
    assert home.run("outbox", "list").code == 0
    os.chown(home.path / place, NOBODY, NOBODY)
    with pytest.raises(private_dir.UnsafePathError, match="another user"):  # which root would switch to
        private_dir.check(state_dir(home))


def test_an_outbox_of_another_user_is_refused(home: Home, tmp_path: Path) -> None:
    if os.getuid() != 0:
        missing("needs root")
    plain_account(home, 1)
    assert home.run("outbox", "list").code == 0
    os.chown(f"{state_dir(home)}/outbox.db", NOBODY, NOBODY)
    run = home.run("outbox", "list")
    assert run.code == 74
    assert "belongs to another user" in " ".join(run.err.split())
    assert home.run("doctor").code != 0


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ["mail.log", "outbox.db", "sent-a", "outbox.lock"])
def test_nothing_is_written_through_a_link(home: Home, server: RecordingServer, name: str, kind: str) -> None:
    plain_account(home, server.port)
    target = home.file("precious", "precious\n")
    path = home.path / ".local" / "state" / "smtpsetup" / name
    path.parent.mkdir(parents=True, mode=0o700)
    for above in (path.parent, path.parent.parent, path.parent.parent.parent):
        above.chmod(0o700)
    if kind == "symbolic":
        path.symlink_to(target)
    else:
        path.hardlink_to(target)
    home.run("send", "kund@example.com", "--body", "x")
    home.run("send", "kund@example.com", "--body", "x", "--queue", "always")
    assert target.read_text() == "precious\n"
    assert len(server.mails) == 1
