"""A caller who chooses the arguments of smtpsetup-sendmail runs no command, writes no file and forges no sender."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.faults.processes import MESSAGE
from tests.recording import RecordingServer, plain_account, state_dir
from tests.sendmail import log_lines, sendmail
from tests.servers import closed_port

if TYPE_CHECKING:
    from tests.conftest import Home
    from tests.machine import Machine


def planted(home: Home, port: int, name: str = "upload.toml") -> tuple[Path, Path]:
    """A configuration that runs a command, and the file that the command makes."""
    made = home.path / "made-by-the-attacker"
    row = f'address = "info@example.com"\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
    text = f'[accounts.a]\n{row}secret = {{ store = "command", command = "touch {made}" }}\n'
    return home.file(name, text), made


@pytest.mark.parametrize("mode", [("-t",), ("-q",), ("-bp",), ("-t", "-v"), ("-q", "-v")])
def test_sendmail_refuses_a_configuration_chosen_by_the_caller(
    home: Home, server: RecordingServer, mode: tuple[str, ...]
) -> None:
    plain_account(home, server.port)
    path, made = planted(home, server.port)
    for written in (str(path), os.path.relpath(path, home.path), f"{path.parent}/./{path.name}"):
        done = sendmail(home, *mode, "-C", written, stdin=MESSAGE)
        assert done.code == 78
        assert "-C may name only" in done.err
        assert sendmail(home, *mode, f"-C{written}", stdin=MESSAGE).code == 78
    assert not made.exists()
    assert server.mails == []


@pytest.mark.parametrize("how", ["link to it", "itself", "dots"])
def test_sendmail_accepts_any_path_to_the_users_configuration(home: Home, server: RecordingServer, how: str) -> None:
    plain_account(home, server.port)
    link = home.path / "link.toml"
    link.symlink_to(home.config)
    path = {
        "link to it": str(link),
        "itself": str(home.config),
        "dots": f"{home.config.parent}/../smtpsetup/config.toml",
    }[how]
    assert sendmail(home, "-t", "-C", path, stdin=MESSAGE).code == 0
    assert len(server.mails) == 1


def test_a_symlink_swapped_during_the_check_is_not_followed(home: Home, server: RecordingServer) -> None:
    """The file that is opened is the known path, not the argument."""
    plain_account(home, server.port)
    path, made = planted(home, server.port)
    link, other = home.path / "link.toml", home.path / "other"
    link.symlink_to(home.config)
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            for target in (path, home.config):
                other.symlink_to(target)
                other.rename(link)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        for _time in range(10):
            assert sendmail(home, "-t", "-C", str(link), stdin=MESSAGE).code in (0, 78)
    finally:
        stop.set()
        thread.join()
    assert not made.exists()


def test_sendmail_accepts_the_machines_configuration(home: Home, server: RecordingServer, machine: Machine) -> None:
    row = f'address = "info@example.com"\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\nauth = "none"\n'
    machine.file("smtpsetup/config.toml", f"[accounts.machine]\n{row}")
    assert (
        sendmail(replace(home, prefix=machine.prefix()), "-t", "-C", "/etc/smtpsetup/config.toml", stdin=MESSAGE).code
        == 0
    )
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    "flags",
    [
        ("-X", "{target}"),
        ("-X{target}",),
        ("-O", "QueueDirectory={target}"),
        ("-OQueueDirectory={target}", "-X{target}"),
        ("-oQ{target}",),
        ("-oX{target}",),
        ("-O", "LogFile={target}"),
        ("-d", "99.100"),
        ("-p", "{target}"),
        ("-A", "{target}"),
        ("-B", "8BITMIME"),
        ("-L", "{target}"),
        ("-D", "{target}"),
    ],
)
def test_flags_with_which_other_sendmails_write_files_write_none(
    home: Home, server: RecordingServer, flags: tuple[str, ...]
) -> None:
    plain_account(home, server.port)
    target = home.path / "public" / "shell.php"
    target.parent.mkdir()
    done = sendmail(home, "-t", *(flag.format(target=target) for flag in flags), stdin=MESSAGE + "<?php evil ?>\n")
    assert done.code in (0, 64)
    assert list(target.parent.iterdir()) == []


def test_the_environment_may_name_any_configuration(home: Home, server: RecordingServer) -> None:
    path = home.file("own.toml", "")
    plain_account(home, server.port)
    home.config.rename(path)
    assert sendmail(home, "-t", stdin=MESSAGE, SMTPSETUP_CONFIG=str(path)).code == 0
    assert len(server.mails) == 1


@pytest.mark.parametrize("field", ["Sender", "Resent-From", "Resent-Sender"])
def test_sender_fields_are_limited_to_the_address_of_the_account(
    home: Home, server: RecordingServer, field: str
) -> None:
    plain_account(home, server.port)
    assert sendmail(home, "asa@example.com", stdin=f"{field}: vd@bank.example\nSubject: x\n\nx\n").code == 0
    assert sendmail(home, "asa@example.com", stdin=f"{field}: Info <info@example.com>\nSubject: x\n\nx\n").code == 0
    refused, taken = (arrival.content for arrival in server.mails)
    assert b"bank.example" not in refused
    assert field.encode() + b": " in taken


@pytest.mark.parametrize("allowed", ["domain", "any"])
def test_sender_fields_that_the_account_allows_are_kept(home: Home, server: RecordingServer, allowed: str) -> None:
    plain_account(home, server.port, allowed_from=f'"{allowed}"')
    assert sendmail(home, "asa@example.com", stdin="Sender: faktura@example.com\nSubject: x\n\nx\n").code == 0
    assert b"Sender: faktura@example.com" in server.mails[0].content


def test_the_warning_that_nothing_flushes_the_outbox_comes_once_a_day(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port)
        runs = [sendmail(home, "-t", stdin=MESSAGE) for _time in range(3)]
        (marker,) = Path(state_dir(home)).glob("flush-looked-for-*")
        marker.rename(marker.with_name("flush-looked-for-2020-01-01"))  # a day later
        runs.append(sendmail(home, "-t", stdin=MESSAGE))
    assert [run.code for run in runs] == [0] * 4
    assert [bool(run.err) for run in runs] == [True, False, False, True]
    assert "smtpsetup outbox schedule --install" in runs[0].err
    assert len(list(Path(state_dir(home)).glob("flush-looked-for-*"))) == 1


def test_sendmail_does_not_take_a_local_relay_for_a_providers_bridge(home: Home) -> None:
    with closed_port() as port:
        plain_account(home, port, host='"127.0.0.1"')
        done = sendmail(home, "-t", "-a", "a", stdin=MESSAGE, SMTPSETUP_STATE_DIR=str(home.path / "state"))
        assert "Proton" not in done.err + "".join(log_lines(home))
        with SqliteOutbox(str(home.path / "state")) as outbox:
            (mail,) = outbox.mails()
    assert "Proton" not in mail.last_reply
