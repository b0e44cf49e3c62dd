"""What differs on Windows and macOS, apart from locks and access lists: commands, schedulers, what is refused."""

from __future__ import annotations

import plistlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from smtpsetup.cli import main as cli
from smtpsetup.config.accounts import load
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.credentials import command_store, systemd_store
from smtpsetup.sendmail import main as sendmail
from smtpsetup.setup import other_schedulers, schedule
from tests.windows import as_windows

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


class Called(Exception):  # noqa: N818  it carries what would have been run
    """A command that would have been run."""


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    as_windows(monkeypatch)


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")


def answers(monkeypatch: pytest.MonkeyPatch, output: bytes) -> None:
    """Let every command print this."""

    def run(argv: object, **_options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], 0, output, b"")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("platform", "given"),
    [
        ("win32", r'"C:\Program Files\pass\pass.exe" show C:\mail\ "two words"'),
        ("linux", [r"C:Program Files\pass", "show"]),
    ],
)
def test_a_password_command_is_split_by_the_rule_of_the_system(
    monkeypatch: pytest.MonkeyPatch, platform: str, given: object
) -> None:
    def run(command: object, **options: object) -> None:
        assert not options.get("shell")
        raise Called(command)

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(subprocess, "run", run)
    text = f" {given} " if isinstance(given, str) else r'"C:Program Files\pass" show'
    with pytest.raises(Called) as caught:
        command_store.read(text, "a", may_prompt=False)
    assert caught.value.args == (given,)


def test_the_line_end_of_windows_is_no_part_of_a_password(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, b"secret\r\nmore\r\n")
    assert command_store.read("pass.exe", "a", may_prompt=False) == "secret"


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_a_systemd_credential_is_refused_where_there_is_no_systemd(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str
) -> None:
    (tmp_path / "mail").write_text("secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert systemd_store.read("mail", "a", may_prompt=False) == "secret"
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SmtpsetupError, match="this system has no systemd") as caught:
        systemd_store.read("mail", "a", may_prompt=False)
    assert "--password-file" in caught.value.hints[0]


def test_sendmail_is_refused_on_windows_before_it_reads_the_mail(
    windows: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sendmail.run(["-t"]) == 69
    assert "does not work on Windows" in capsys.readouterr().err


def test_syslog_is_refused_on_windows(tmp_path: Path, windows: None) -> None:
    path = tmp_path / "config.toml"
    path.write_text('log = "syslog"\n')
    with pytest.raises(SmtpsetupError, match="log is syslog"):
        load(path)


def test_a_launchd_agent_runs_the_flush_with_its_variables(macos: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPSETUP_STATE_DIR", "/Users/a & b/state")
    plan = schedule.plan(None, config=None)
    ((path, content),) = plan.files
    agent = plistlib.loads(content.encode())
    assert plan.scheduler == "launchd"
    assert path.endswith("Library/LaunchAgents/smtpsetup-outbox.plist")
    assert agent["ProgramArguments"] == [*schedule.program_words(), "outbox", "flush"]
    assert agent["EnvironmentVariables"]["SMTPSETUP_STATE_DIR"] == "/Users/a & b/state"
    assert agent["StartInterval"] == 60


def test_a_windows_task_runs_the_flush(windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in schedule.environment(None):
        monkeypatch.delenv(name)
    monkeypatch.setattr(schedule, "program_words", lambda: [r"C:\Program Files\R&D\smtpsetup.exe"])
    ((_path, content),) = schedule.plan(None, config=None).files
    run = ET.fromstring(content).find(f"{NAMESPACE}Actions/{NAMESPACE}Exec")
    assert run is not None
    assert run.findtext(f"{NAMESPACE}Command") == r"C:\Program Files\R&D\smtpsetup.exe"
    assert run.findtext(f"{NAMESPACE}Arguments") == "outbox flush"
    assert ET.fromstring(content).findtext(f".//{NAMESPACE}Interval") == "PT1M"


def test_a_windows_task_sets_the_variables_by_cmd() -> None:
    content = other_schedulers.task([r"C:\a b\smtpsetup.exe", "outbox"], {"SMTPSETUP_CONFIG": r"C:\R&D\c.toml"})
    arguments = ET.fromstring(content).findtext(f".//{NAMESPACE}Arguments")
    assert arguments == r'/d /s /c "set "SMTPSETUP_CONFIG=C:\R&D\c.toml"&& "C:\a b\smtpsetup.exe" "outbox""'


@pytest.mark.parametrize("value", ["100%TEMP%", 'a"&calc.exe', "a\nb"])
def test_a_path_that_cmd_would_change_is_refused(value: str) -> None:
    with pytest.raises(SmtpsetupError, match="cannot stand in a task"):
        other_schedulers.task(["smtpsetup.exe"], {"SMTPSETUP_CONFIG": value})


@pytest.mark.parametrize("scheduler", ["launchd", "schtasks"])
def test_an_untried_scheduler_is_printed_as_such_and_not_installed(
    scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["outbox", "schedule", "--with", scheduler]) == 0
    printed = capsys.readouterr()
    assert "Untried" in printed.err + printed.out
    assert cli.run(["outbox", "schedule", "--with", scheduler, "--install"]) == 69
    assert "nothing flushes the outbox" in capsys.readouterr().err


@pytest.mark.parametrize(("platform", "name"), [("win32", "schtasks"), ("darwin", "launchd")])
def test_a_scheduler_that_runs_is_found(monkeypatch: pytest.MonkeyPatch, platform: str, name: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(schedule, "_run", lambda *_argv, **_options: "")
    assert schedule.installed_scheduler() is None
    monkeypatch.setattr(schedule, "_run", lambda *_argv, **_options: "TaskName: smtpsetup-outbox")
    assert schedule.installed_scheduler() == name


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_the_advice_is_the_command_that_works_there(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    assert schedule.how_to().endswith("--install")
    monkeypatch.setattr(sys, "platform", platform)
    assert schedule.how_to() == "smtpsetup outbox schedule"
