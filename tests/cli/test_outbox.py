"""`smtpsetup outbox`: what it shows and what it changes."""

from __future__ import annotations

import datetime
import os
import re
import sqlite3
import time
import zoneinfo
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from smtpsetup.message.message import Message
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.state import leases
from tests.messages import from_bytes
from tests.person import Person, ended
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.servers import closed_port

if TYPE_CHECKING:
    from smtpsetup.outbox.mail import Mail
    from tests.conftest import Home

KEYS = {
    "outbox_id",
    "account",
    "message_id",
    "recipients",
    "subject",
    "state",
    "attempts",
    "next_attempt",
    "last_reply",
    "queued_at",
}


@pytest.fixture
def waiting(home: Home) -> list[int]:
    """The numbers of three mails in the outbox."""
    plain_account(home, 1)
    with SqliteOutbox(state_dir(home)) as box:
        return [box.add(new_mail(number)) for number in (1, 2, 3)]


def test_outbox_alone_lists(home: Home, waiting: list[int]) -> None:
    assert home.run("outbox", "--json").json == home.run("outbox", "list", "--json").json
    assert home.run("outbox").out == home.run("outbox", "list").out


def test_flush_now_tries_what_waits_for_a_later_time(home: Home) -> None:
    later = time.time() + 3600
    with RecordingServer() as server:
        plain_account(home, server.port)
        with SqliteOutbox(state_dir(home)) as box:
            box.add(new_mail(1)._replace(next_attempt=later))
            box.add(new_mail(2)._replace(next_attempt=None, state=MailState.FAILED))
        assert home.run("outbox", "flush").code == 0
        assert not server.mails
        assert home.run("outbox", "flush", "--now").code == 0
        assert server.subjects == ["1"]
    assert numbers(home) == [2]


def numbers(home: Home) -> list[int]:
    return [mail["outbox_id"] for mail in home.run("outbox", "list", "--json").json["result"]]


def mail(home: Home, number: int) -> Mail:
    with SqliteOutbox(state_dir(home)) as box:
        found = box.mail(number)
        assert found
        return found


def test_list_has_exactly_the_documented_keys(home: Home, waiting: list[int]) -> None:
    listed = home.run("outbox", "list", "--json").json["result"]
    assert [set(entry) for entry in listed] == [KEYS] * 3
    first = listed[0]
    assert (first["outbox_id"], first["account"], first["state"], first["attempts"]) == (waiting[0], "a", "waiting", 0)
    assert (first["recipients"], first["subject"], first["message_id"]) == (
        ["kund@example.com"],
        "1",
        "<1@test.example>",
    )
    assert first["last_reply"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["queued_at"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["next_attempt"])


def test_an_empty_outbox_is_an_empty_list(home: Home) -> None:
    assert home.run("outbox", "list", "--json").json["result"] == []
    assert home.run("outbox", "list").code == 0


def test_show_has_the_reason_why_a_mail_waits(home: Home) -> None:
    with RecordingServer() as server:
        plain_account(home, server.port)
        server.replies = {"RCPT": b"450 4.2.2 the mailbox is full\r\n"}
        sent = home.run("send", "kund@example.com", "-s", "Räkning", "--body", "x", "--json")
        number = sent.json["result"]["outbox_id"]
    shown = home.run("outbox", "show", str(number))
    assert shown.code == 0
    assert all(
        word in shown.out for word in ("450 4.2.2 the mailbox is full", "Räkning", "kund@example.com", "Message-ID")
    )
    result = home.run("outbox", "show", str(number), "--json").json["result"]
    assert set(result) > KEYS
    assert (result["last_reply"], result["attempts"]) == ("450 4.2.2 the mailbox is full", 1)


@pytest.mark.parametrize("queue", ["always", "on-failure"])
def test_send_reports_the_number_in_the_outbox(home: Home, queue: str) -> None:
    with closed_port() as nobody:
        plain_account(home, nobody)
        sent = home.run("send", "kund@example.com", "--body", "x", "--queue", queue, "--json")
    assert sent.code == 0
    result = sent.json["result"]
    assert (result["queued"], result["outbox_id"], result["accepted"]) == (True, 1, [])
    assert numbers(home) == [1]


def test_send_reports_why_a_mail_is_kept_and_what_to_do(home: Home) -> None:
    with closed_port() as nobody:
        plain_account(home, nobody)
        kept = home.run("send", "kund@example.com", "--body", "x")
        refused = home.run("send", "kund@example.com", "--body", "x", "--queue", "never", "-v")
    assert kept.code == 0
    assert f"127.0.0.1:{nobody} refused the connection. The mail is in the outbox as number 1" in kept.err
    assert "configure info@example.com --account a --host HOST" in refused.err
    assert "whoever runs the server" in refused.err


def test_a_mail_without_recipients_is_a_usage_error_before_its_text_is_read(home: Home) -> None:
    plain_account(home, 1)
    done = home.run("send", "-s", "x", stdin=None)
    assert (done.code, "at least one recipient" in done.err) == (2, True)


def test_queue_never_keeps_nothing(home: Home) -> None:
    with closed_port() as nobody:
        plain_account(home, nobody)
        sent = home.run("send", "kund@example.com", "--body", "x", "--queue", "never", "--json")
    assert (sent.code, sent.json["result"]["queued"], sent.json["result"]["outbox_id"]) == (75, False, None)
    assert (sent.json["error"]["code"], sent.json["error"]["retry"]) == ("connect.refused", True)
    assert numbers(home) == []


@pytest.mark.parametrize("command", ["show", "retry", "drop"])
def test_an_unknown_number_is_an_error(home: Home, waiting: list[int], command: str) -> None:
    done = home.run("outbox", command, "99")
    assert done.code == 65
    assert "no mail 99" in done.err
    assert numbers(home) == waiting


def test_drop_deletes_the_named_mails_only(home: Home, waiting: list[int]) -> None:
    assert home.run("outbox", "drop", "2", "2", "--json").json["result"] == {"dropped": [2]}
    assert numbers(home) == [1, 3]
    assert home.run("outbox", "drop", "1", "99").code == 65
    assert numbers(home) == [1, 3]
    assert home.run("outbox", "drop", "--all", "--json").json["result"] == {"dropped": [1, 3]}
    assert numbers(home) == []


def test_the_error_for_an_unknown_number_does_not_claim_that_the_mail_was_sent(home: Home) -> None:
    done = home.run("outbox", "show", "1")
    assert "There is no mail 1 in the outbox.\n" in done.err
    assert "Perhaps it was sent or dropped." in done.err


def test_show_decodes_the_header_and_its_json_does_not(home: Home) -> None:
    plain_account(home, 1)
    subject = "Räkning för åtgärder och övningar, och för mycket annat, längre än en enda rad rymmer"
    assert home.run("send", "Åsa <kund@example.com>", "-s", subject, "--body", "x", "--queue", "always").code == 0
    shown = home.run("outbox", "show", "1").out
    assert f"\nSubject: {subject}\n" in shown
    assert "\nTo: Åsa <kund@example.com>\n" in shown
    assert "=?utf-8?" in home.run("outbox", "show", "1", "--json").json["result"]["header"]


def test_a_header_that_cannot_be_decoded_is_shown_escaped(home: Home) -> None:
    plain_account(home, 1)
    header = b"Subject: =?utf-8?b?//8=?= =?none?q?x?= \x1b[31m\r\nX: =?utf-8?b?a?=\r\n"
    with SqliteOutbox(state_dir(home)) as box:
        number = box.add(new_mail(1)._replace(message=Message(header, lambda: iter(()), 0)))
    shown = home.run("outbox", "show", str(number))
    assert shown.code == 0
    assert "\x1b" not in shown.out


@pytest.mark.slow
def test_flush_reports_how_many_mails_wait_and_when_the_next_is_due(person: Person) -> None:
    with closed_port() as nobody:
        plain_account(person.home, nobody)
        assert "Nothing in the outbox is due now." in ended(person.types("outbox", "flush"), 0)
        with SqliteOutbox(state_dir(person.home)) as box:
            box.add(new_mail(1))
            box.add(new_mail(2)._replace(next_attempt=time.time() + 3600))
        assert "Still waiting: 2." in ended(person.types("outbox", "flush"), 0)
        with closing(sqlite3.connect(f"{state_dir(person.home)}/outbox.db")) as db, db:
            db.execute("UPDATE mail SET next_attempt = ?", (due := time.time() + 3000,))
        shown = ended(person.types("outbox", "flush", TZ="Europe/Stockholm"), 0)
        local = datetime.datetime.fromtimestamp(due, zoneinfo.ZoneInfo("Europe/Stockholm")).strftime(
            "%Y-%m-%d %H:%M:%S"
        )
        assert f"Nothing is due now. 2 mails wait, the next one until {local}." in shown


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_either_numbers_or_all_is_required(home: Home, waiting: list[int], command: str) -> None:
    assert home.run("outbox", command).code == 2
    assert home.run("outbox", command, "1", "--all").code == 2
    assert numbers(home) == waiting


def test_retry_makes_a_mail_due_in_any_state(home: Home, waiting: list[int]) -> None:
    with closing(sqlite3.connect(f"{state_dir(home)}/outbox.db")) as db, db:
        db.execute("UPDATE mail SET state = 'failed', next_attempt = NULL, attempts = 9")
    assert home.run("outbox", "retry", "1", "--json").json["result"] == {"retried": [1]}
    assert [mail(home, number).state for number in waiting] == [MailState.WAITING, MailState.FAILED, MailState.FAILED]
    assert home.run("outbox", "retry", "--all", "--json").json["result"] == {"retried": [1, 2, 3]}
    retried = mail(home, 3)
    assert retried.next_attempt is not None
    assert retried.next_attempt <= time.time()


def test_a_mail_that_is_being_sent_is_left_alone(home: Home, waiting: list[int]) -> None:
    with SqliteOutbox(state_dir(home)) as box, leases.held(box.directory) as lease:
        box.take("a", "", lease, time.time() + 1, 1)
        for command in ("drop", "retry"):
            assert home.run("outbox", command, "1").code == 75
        assert home.run("outbox", "list", "--json").json["result"][0]["state"] == "sending"
        assert home.run("outbox", "drop", "--all", "--json").json["result"] == {"dropped": [2, 3]}
    assert numbers(home) == [1]
    assert mail(home, 1).state is MailState.WAITING  # its lease is gone


def test_the_lease_of_a_dead_process_is_released(home: Home, waiting: list[int]) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        box.take("a", "", "lease-of-the-dead", time.time() + 1, 2)
        box.mark_possibly_delivered(1)
    assert numbers(home) == waiting
    assert [mail(home, number).state for number in waiting] == [MailState.UNKNOWN, MailState.WAITING, MailState.WAITING]


def test_the_space_of_sent_mail_is_freed(home: Home) -> None:
    path = f"{state_dir(home)}/outbox.db"
    with RecordingServer() as server:
        plain_account(home, server.port)
        with SqliteOutbox(state_dir(home)) as box:
            large = from_bytes(b"Message-ID: <1@test.example>\r\n\r\n" + (b"x" * 70 + b"\r\n") * 60_000)
            box.add(new_mail(1)._replace(message=large))
            box.tidy()
            assert os.path.getsize(path) > 4_000_000
        assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 1
    assert os.path.getsize(path) < 200_000
