"""`smtpsetup outbox schedule`: the crontab line and systemd units that it writes; nothing else is changed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import RecordingServer, new_mail, plain_account

if TYPE_CHECKING:
    from tests.conftest import Home

CRONTAB = """#!/bin/sh
if [ "$1" = -l ]; then
    if [ -e "$HOME/broken" ]; then echo "crontab: cannot read the spool" >&2; exit 1; fi
    if [ ! -e "$HOME/tab" ]; then echo "no crontab for you" >&2; exit 1; fi
    exec cat "$HOME/tab"
fi
[ "$1" = - ] && exec cat > "$HOME/tab"
exit 2
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$HOME/systemctl-calls"
"""


@pytest.fixture
def tools(home: Home) -> str:
    """A PATH with a crontab and a systemctl that touch only this home."""
    home.file("tools/crontab", CRONTAB, 0o755)
    home.file("tools/systemctl", SYSTEMCTL, 0o755)
    return f"{home.path}/tools:{home.env['PATH']}"


def schedule(home: Home, path: str, *arguments: str, **env: str) -> str:
    done = home.run("outbox", "schedule", *arguments, PATH=path, **env)
    assert done.code == 0, done.err
    return done.out


def run_as_cron(home: Home, line: str) -> None:
    """Run a crontab line as cron does: after five fields a command for sh, in the home, with a minimal environment."""
    command = line.split(None, 5)[5].replace("\\%", "%")
    subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(home.path), "PATH": "/usr/bin:/bin"},
        cwd=home.path,
        check=True,
        timeout=60,
    )


def test_nothing_is_installed_without_the_option(home: Home, tools: str) -> None:
    assert schedule(home, tools, "--with", "cron").startswith("* * * * * ")
    schedule(home, tools, "--with", "systemd")
    assert not (home.path / "tab").exists()
    assert not (home.path / "systemctl-calls").exists()


@pytest.mark.parametrize("names", [("config 100%.toml", "my state"), ("it's.toml", "$HOME `x`")])
def test_the_line_for_cron_flushes_this_very_outbox(home: Home, tools: str, names: tuple[str, str]) -> None:
    config, state = names
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.config.rename(home.path / config)
        with SqliteOutbox(str(home.path / state)) as box:
            box.add(new_mail(1)._replace(config=str(home.path / config)))
        env = {"SMTPSETUP_CONFIG": str(home.path / config), "SMTPSETUP_STATE_DIR": str(home.path / state)}
        run_as_cron(home, schedule(home, tools, "--with", "cron", **env))
    assert server.message_ids == ["<1@test.example>"]


@pytest.mark.parametrize("how", ["option", "variable"])
def test_relative_paths_work_from_any_directory(home: Home, tools: str, how: str) -> None:
    here = home.path / "here"
    here.mkdir()
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.config.rename(here / "own.toml")
        with SqliteOutbox(str(here / "state")) as box:
            box.add(new_mail(1)._replace(config=str(here / "own.toml")))
        named = ["--config", "own.toml"] if how == "option" else []
        env = {"SMTPSETUP_STATE_DIR": "state", **({} if named else {"SMTPSETUP_CONFIG": "own.toml"})}
        done = subprocess.run(
            [sys.executable, "-m", "smtpsetup", *named, "outbox", "schedule", "--with", "cron"],
            env={**home.env, "PATH": tools, **env},
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        run_as_cron(home, done.stdout)
    assert server.message_ids == ["<1@test.example>"]


def test_installing_in_the_crontab_keeps_every_other_line_and_adds_one_however_often(home: Home, tools: str) -> None:
    before = "# mine\nMAILTO=me\n0 4 * * * backup --all # nightly\n"
    home.file("tab", before)
    for _time in range(2):
        schedule(home, tools, "--with", "cron", "--install")
    after = (home.path / "tab").read_text()
    assert after.startswith(before)
    assert after.removeprefix(before).count("\n") == 1
    assert "outbox flush" in after


def test_installing_where_there_is_no_crontab_makes_one(home: Home, tools: str) -> None:
    schedule(home, tools, "--with", "cron", "--install")
    assert (home.path / "tab").read_text().count("\n") == 1


def test_a_crontab_that_cannot_be_read_is_not_overwritten(home: Home, tools: str) -> None:
    before = "0 4 * * * backup\n"
    home.file("tab", before)
    home.file("broken", "")
    done = home.run("outbox", "schedule", "--with", "cron", "--install", PATH=tools)
    assert (home.path / "tab").read_text() == before
    assert done.code == 69
    assert "cannot read the spool" in done.err


def test_the_units_for_systemd_are_the_ones_that_are_installed(home: Home, tools: str) -> None:
    printed = home.run("outbox", "schedule", "--with", "systemd", "--json", PATH=tools).json["result"]
    assert (printed["scheduler"], printed["installed"], printed["crontab"]) == ("systemd", False, None)
    assert {Path(path).name for path in printed["files"]} == {"smtpsetup-outbox.service", "smtpsetup-outbox.timer"}
    schedule(home, tools, "--with", "systemd", "--install")
    for path, content in printed["files"].items():
        assert Path(path).is_relative_to(home.path)
        assert Path(path).read_text() == content
    calls = (home.path / "systemctl-calls").read_text().splitlines()
    assert "--user daemon-reload" in calls
    assert "--user enable --now smtpsetup-outbox.timer" in calls


@pytest.mark.parametrize("name", ["50% state", 'a "quoted" state'])
def test_paths_in_a_unit_are_quoted_for_systemd(home: Home, tools: str, name: str) -> None:
    state = str(home.path / name)
    files = home.run("outbox", "schedule", "--with", "systemd", "--json", PATH=tools, SMTPSETUP_STATE_DIR=state).json[
        "result"
    ]["files"]
    service = next(content for path, content in files.items() if path.endswith(".service"))
    line = next(line for line in service.splitlines() if "SMTPSETUP_STATE_DIR" in line)
    (assignment,) = shlex.split(line.removeprefix("Environment="))  # systemd.syntax(7): quotes and backslashes as in C
    assert assignment.replace("%%", "%") == f"SMTPSETUP_STATE_DIR={state}"


def test_what_was_installed_is_removed_and_nothing_else(home: Home, tools: str) -> None:
    before = "# mine\n0 4 * * * backup --all # nightly\n* * * * * smtpsetup outbox flush # my own\n"
    home.file("tab", before)
    files = home.run("outbox", "schedule", "--with", "systemd", "--json", PATH=tools).json["result"]["files"]
    for scheduler in ("systemd", "cron"):
        schedule(home, tools, "--with", scheduler, "--install")
    line = (home.path / "tab").read_text().removeprefix(before).rstrip("\n")
    removed = home.run("outbox", "schedule", "--uninstall", "--json", PATH=tools).json["result"]["removed"]
    assert removed == [*files, line]
    assert (home.path / "tab").read_text() == before
    assert not any(Path(path).exists() for path in files)
    calls = (home.path / "systemctl-calls").read_text().splitlines()
    assert calls[-2:] == ["--user disable --now smtpsetup-outbox.timer", "--user daemon-reload"]
    assert home.run("outbox", "schedule", "--uninstall", "--json", PATH=tools).json["result"]["removed"] == []
    assert "was set up" in schedule(home, tools, "--uninstall")


def test_a_crontab_that_cannot_be_read_is_not_emptied(home: Home, tools: str) -> None:
    home.file("tab", "0 4 * * * backup\n")
    home.file("broken", "")
    done = home.run("outbox", "schedule", "--uninstall", PATH=tools)
    assert (home.path / "tab").read_text() == "0 4 * * * backup\n"
    assert (done.code, "cannot read the spool" in done.err) == (69, True)


def test_to_remove_and_something_else_is_a_usage_error(home: Home, tools: str) -> None:
    for options in (("--install",), ("--with", "cron")):
        assert home.run("outbox", "schedule", "--uninstall", *options, PATH=tools).code == 2


def test_without_a_scheduler_the_command_to_run_is_shown(home: Home) -> None:
    home.file("tools/nothing", "")
    done = home.run("outbox", "schedule", PATH=str(home.path / "tools"))
    assert done.code == 69
    assert "outbox flush" in done.err
