"""Mails that make the server close the connection do not stop or delay the others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.message.message import Envelope
from smtpsetup.outbox.mail import Mail, NewMail
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.faults.outboxes import batch_file, execute, fill
from tests.mail_server import MailServer, answer_to
from tests.messages import from_bytes
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.sendmail import kept

if TYPE_CHECKING:
    import socket

    from tests.conftest import Home


class DropsLarge(RecordingServer):
    """Closes the connection during the body of each message to a recipient whose name begins with large."""

    def _line(self, client: socket.socket, state: Any, line: bytes, group: list[str]) -> bool:
        if state.content is not None and any(recipient.startswith("large") for recipient in state.recipients):
            return False
        return super()._line(client, state, line, group)


def large_mail(number: int) -> NewMail:
    message = from_bytes(
        f"Message-ID: <large{number}@x>\r\nSubject: large\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * 57_000
    )
    return NewMail(
        "a", Envelope("info@example.com", (f"large{number}@example.com",)), message, f"<large{number}@x>", "large"
    )


def waiting(home: Home) -> dict[str, Mail]:
    with SqliteOutbox(state_dir(home)) as box:
        return {mail.recipients[0].partition("@")[0]: mail for mail in box.mails() if mail.recipients}


def test_large_mails_dropped_during_the_body_do_not_starve_others(home: Home) -> None:
    fill(home, *(large_mail(number) for number in range(3)), new_mail(7))
    with DropsLarge() as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert server.message_ids == ["<7@test.example>"]
    assert server.connections <= 4
    assert {name: (mail.attempts, mail.last_code) for name, mail in waiting(home).items()} == {
        f"large{number}": (1, "connection.lost") for number in range(3)
    }


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
@pytest.mark.parametrize("breakers", [1, 3, 6])
def test_a_flush_sends_every_mail_that_breaks_no_connection(home: Home, verb: str, breakers: int) -> None:
    names = tuple(f"b{number}" for number in range(breakers))
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate((*names, "good1", "good2"))))
    with MailServer(answer_to(*names, verb=verb)) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert sorted(mail.recipients[0] for mail in server.mails) == ["good1@example.com", "good2@example.com"]
    assert server.connections <= breakers + 1
    assert {name: mail.attempts for name, mail in waiting(home).items()} == dict.fromkeys(names, 1)


def test_untried_mail_has_no_attempt_counted_and_is_sent_by_the_next_flush(home: Home) -> None:
    names = tuple(f"b{number}" for number in range(40))
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate((*names, "good"))))
    with MailServer(answer_to(*names, verb="DATA")) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
        first = waiting(home)
        assert home.run("outbox", "flush").code == 0
    assert {mail.attempts for mail in first.values()} == {0, 1}
    assert first["good"].attempts == 0
    assert [mail.recipients[0] for mail in server.mails] == ["good@example.com"]


def test_poison_mails_are_given_up_after_days_and_no_others_with_them(home: Home) -> None:
    names = ("b0", "b1", "b2")
    fill(home, *(new_mail(number, (f"{name}@example.com",)) for number, name in enumerate(names)))
    with MailServer(answer_to(*names, verb="DATA")) as server:
        plain_account(home, server.port)
        for hours in range(0, 144, 6):
            due = "UPDATE mail SET next_attempt = 0, queued_at = ? WHERE next_attempt IS NOT NULL"
            execute(home, due, time.time() - hours * 3600)
            fill(home, new_mail(100 + hours, (f"good{hours}@example.com",)))
            assert home.run("outbox", "flush").code == 0
    assert len(server.mails) == 24
    assert {mail.state for mail in waiting(home).values()} == {MailState.FAILED}


@pytest.mark.parametrize("connections", ["1", "3"])
def test_a_batch_without_queue_sends_every_row_behind_poison_mails(home: Home, connections: str) -> None:
    good = tuple(f"good{number}" for number in range(10))
    path = batch_file(home, "b0", "b1", "b2", *good)
    with MailServer(answer_to("b0", "b1", "b2", verb="DATA")) as server:
        plain_account(home, server.port)
        run = home.run("send", "--batch", path, "--queue", "never", "--connections", connections)
    assert run.code == 75
    assert sorted(server.subjects) == sorted(good)


def test_a_batch_stopped_by_poison_mails_begins_with_the_others_when_run_again(home: Home) -> None:
    path = batch_file(home, *(f"b{number:02}" for number in range(30)), "good0", "good1")
    with MailServer(answer_to(*(f"b{number:02}" for number in range(30)), verb="DATA")) as server:
        plain_account(home, server.port)
        assert home.run("send", "--batch", path, "--queue", "never").code == 75
        assert home.run("send", "--batch", path, "--queue", "never").code == 75
    assert server.subjects == ["good0", "good1"]


@pytest.mark.parametrize(
    "reply", [b"450 4.7.1 Rate limit exceeded, slow down\r\n", b"550 5.4.5 Daily user sending quota exceeded\r\n"]
)
def test_mail_behind_a_providers_limit_has_no_attempt_counted(home: Home, reply: bytes) -> None:
    fill(home, *(new_mail(number, (f"m{number}@example.com",)) for number in range(5)))
    with MailServer(lambda turn: reply if turn.verb == "RCPT" else None) as server:
        plain_account(home, server.port)
        home.run("outbox", "flush")
    counted = sorted(mail.attempts for mail in waiting(home).values())
    assert counted == [0, 0, 0, 0, 1]
    assert all((mail.next_attempt or 0) > time.time() + 30 for mail in waiting(home).values())


def test_a_server_that_answers_every_mail_from_with_421_is_left_soon(home: Home) -> None:
    fill(home, *(new_mail(number) for number in range(40)))
    with MailServer(lambda turn: b"421 4.3.2 shutting down\r\n" if turn.verb == "MAIL" else None) as server:
        plain_account(home, server.port)
        assert home.run("outbox", "flush").code == 0
    assert server.connections <= 3
    assert sum(mail.attempts for mail in kept(home)) <= 3
