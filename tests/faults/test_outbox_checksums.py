"""A changed queued mail that SQLite cannot detect is found by its checksum: it is not sent, and the others are."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite import database
from smtpsetup.outbox.sqlite.repair import repair
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests import answers
from tests.faults.outboxes import (
    PAGE,
    as_version_1,
    as_version_2,
    copied,
    execute,
    fill,
    filled,
    left_by_a_kill,
    overwrite,
)
from tests.mail_server import MailServer, Turn
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import kept

if TYPE_CHECKING:
    from tests.conftest import Home, Run


SEED = 20261126


@pytest.fixture(scope="module")
def as_killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox as a killed process leaves it: all of its 24 mails in the write-ahead log."""
    return left_by_a_kill(tmp_path_factory.mktemp("killed"), 24)


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outbox with 40 mails that no process uses."""
    return filled(tmp_path_factory.mktemp("rest"), 40)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    overwrite(path, offset, bytes([path.read_bytes()[offset] ^ (1 << bit)]))


def flush_and_repair(home: Home, server: RecordingServer) -> list[Run]:
    """What the error messages lead to: list, flush, repair, flush, list."""
    plain_account(home, server.port)
    return [
        home.run("outbox", *command)
        for command in (("list", "--json"), ("flush",), ("repair", "--json"), ("flush",), ("list", "--json"))
    ]


@pytest.mark.parametrize("part", range(6))
def test_a_flipped_bit_in_the_wal_is_detected_and_the_mails_behind_it_saved(
    home: Home, as_killed: Path, part: int
) -> None:
    source = random.Random(f"{SEED} {part}")
    directory = copied(home, as_killed)
    log = directory / "outbox.db-wal"
    flip(log, source.randrange(4200, log.stat().st_size - 4200), source.randrange(8))
    with RecordingServer() as server:
        listed, _flushed, repaired, _again, left = flush_and_repair(home, server)
    assert listed.code == 74 or len(listed.json["result"]) == 24
    if listed.code == 74:
        assert "smtpsetup outbox repair" in listed.err
    result = repaired.json["result"]
    arrived = len(set(server.message_ids))
    assert arrived >= 23
    assert arrived + (result["lost"] or 0) + len(left.json["result"]) >= 24


@pytest.mark.parametrize("offset", range(0, 100, 3))
def test_an_outbox_with_a_wrong_byte_in_its_header_is_repaired(home: Home, at_rest: Path, offset: int) -> None:
    directory = copied(home, at_rest)
    flip(directory / "outbox.db", offset, 1)
    with RecordingServer() as server:
        runs = flush_and_repair(home, server)
    assert runs[3].code == 0, [run.err for run in runs]
    assert len(set(server.message_ids)) == 40
    assert runs[4].json["result"] == []


@pytest.mark.parametrize("part", range(12))
def test_a_mail_whose_content_was_changed_is_not_sent(home: Home, at_rest: Path, part: int) -> None:
    source = random.Random(f"{SEED} {part}")
    directory = copied(home, at_rest)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        for number in source.sample(range(1, 41), 5):
            ((header, body),) = db.execute("SELECT header, body FROM content WHERE id = ?", (number,))
            whole = bytearray(header + body)
            place = source.randrange(len(whole))
            whole[place] ^= 1 << source.randrange(8)
            db.execute(
                "UPDATE content SET header = ?, body = ? WHERE id = ?",
                (whole[: len(header)], whole[len(header) :], number),
            )
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
        expected = {f"Subject: {number}\r\n\r\nNumber {number}.".encode() for number in range(40)}
        assert len(server.mails) == 35
        assert all(any(text in arrival.content for text in expected) for arrival in server.mails)
        listed = home.run("outbox", "list", "--json").json["result"]
        assert {mail["state"] for mail in listed} == {"failed"}
        assert len(listed) == 5
        home.run("outbox", "retry", "--all")
        home.run("outbox", "flush")
        assert len(server.mails) == 35
        repaired = home.run("outbox", "repair", "--json")
        assert (repaired.code, len(repaired.json["result"]["changed"])) == (74, 5)
        home.run("outbox", "retry", "--all")  # a person has looked at them
        home.run("outbox", "flush")
        assert len(server.mails) > 35


@pytest.mark.parametrize(
    "column", ["sender", "recipients", "account", "config", "is_ascii", "subject", "message_id", "holds"]
)
def test_a_mail_whose_row_was_changed_is_not_sent(home: Home, at_rest: Path, column: str) -> None:
    copied(home, at_rest)
    value = {"recipients": '["evil@example.com"]', "is_ascii": 0, "holds": 1}.get(column, "evil@example.com")
    execute(home, f"UPDATE mail SET {column} = ? WHERE id = 7", value)
    with RecordingServer() as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
    assert len(server.mails) == 39
    assert not any("evil@example.com" in arrival.recipients for arrival in server.mails)
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["outbox_id"], mail["state"]) == (7, "failed")


def test_a_mail_with_a_damaged_state_is_reported_and_can_be_retried(home: Home) -> None:
    fill(home, new_mail(1), new_mail(2))
    execute(home, "UPDATE mail SET state = 'waitinf' WHERE id = 1")
    with RecordingServer() as server:
        plain_account(home, server.port)
        flushed = home.run("outbox", "flush")
        assert (flushed.code, "outbox.damaged" in flushed.err) == (74, True)
        assert len(server.mails) == 1
        assert home.run("outbox", "retry", "1").code == 0
        assert home.run("outbox", "flush").code == 0
        assert len(server.mails) == 2


def test_a_repair_saves_a_mail_with_a_damaged_state(home: Home) -> None:
    fill(home, new_mail(1))
    execute(home, "UPDATE mail SET state = 'waitinf'")
    assert repair(state_dir(home))[:2] == (1, 0)
    assert [mail.state for mail in kept(home)] == [MailState.FAILED]


def test_a_mail_damaged_during_a_flush_does_not_stop_the_others(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(30)))

    def answer(turn: Turn) -> bytes | None:
        if turn.verb == "." and turn.accepted == 2:  # behind those that are taken already
            execute(home, "UPDATE mail SET sender = 'evil@example.com' WHERE id = 27")
        return None

    with MailServer(answer) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 74
    assert len(server.mails) == 29


def test_retry_reports_a_damaged_mail_and_retries_the_others(home: Home) -> None:
    fill(home, new_mail(1), new_mail(2))
    execute(home, "UPDATE content SET body = x'00' WHERE id = 1")
    run = home.run("outbox", "retry", "--all", "--json")
    assert (run.code, run.json["error"]["code"], run.json["result"]) == (74, "outbox.damaged", {"retried": [2]})


# an outbox of the version before checksums


def test_an_outbox_of_version_1_is_read_and_sent(home: Home, at_rest: Path) -> None:
    copied(home, at_rest)
    as_version_1(home)
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "repair").out.startswith("The outbox is sound")
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 40


def test_an_outbox_of_version_1_is_migrated_when_nobody_uses_it(home: Home, at_rest: Path) -> None:
    """A process of version 1 writes no checksums: its later changes would be taken for damage."""
    directory = copied(home, at_rest)
    as_version_1(home)
    handle = database.lock(str(directory / "outbox.db"), is_shared=True)  # as a flush of version 1 holds it
    listing = subprocess.Popen(
        [sys.executable, "-m", "smtpsetup", "outbox", "list", "--json"],
        env=home.env,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        listing.communicate(timeout=2)
    with contextlib.closing(sqlite3.connect(directory / "outbox.db")) as db, db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        db.execute("UPDATE mail SET lease = NULL, recipients = '[\"new@example.com\"]' WHERE id = 7")
    os.close(handle)
    out, _err = listing.communicate(timeout=60)
    (mail,) = [mail for mail in answers.read(out)["result"] if mail["outbox_id"] == 7]
    assert (mail["state"], mail["recipients"]) == ("waiting", ["new@example.com"])


def test_an_outbox_of_version_1_without_its_first_page_is_repaired(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(5)))
    as_version_1(home)
    overwrite(Path(state_dir(home), "outbox.db"), 0, b"\xa5" * PAGE)
    assert repair(state_dir(home))[0] == 5
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 5


# an outbox of the version before the names of the relay's clients


def test_an_outbox_of_version_2_is_read_and_sent(home: Home, at_rest: Path) -> None:
    copied(home, at_rest)
    as_version_2(home)
    with RecordingServer() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "show", "7", "--json").json["result"]["client"] is None
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 40


@pytest.mark.parametrize("size", [0, PAGE])
def test_an_outbox_of_version_2_is_repaired(home: Home, size: int) -> None:
    fill(home, *(new_mail(number) for number in range(5)))
    as_version_2(home)
    overwrite(Path(state_dir(home), "outbox.db"), 0, b"\xa5" * size)
    assert repair(state_dir(home))[0] == 5
    with SqliteOutbox(state_dir(home)) as box:
        assert [mail.client for mail in box.mails()] == [""] * 5


def test_a_repair_keeps_the_client(home: Home) -> None:
    fill(home, new_mail(0)._replace(client="shop"))
    assert repair(state_dir(home))[0] == 1
    with SqliteOutbox(state_dir(home)) as box:
        assert [mail.client for mail in box.mails()] == ["shop"]
