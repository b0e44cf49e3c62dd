"""The outbox's own rules, in a real database file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.outbox.disposition import Disposition
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from tests.recording import new_mail

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = "a@example.com", "b@example.com", "c@example.com"
ERROR = SmtpsetupError("server.temporary", "not now")


def test_a_mail_that_is_split_keeps_its_age_and_its_counts_in_each_part(tmp_path: Path) -> None:
    with SqliteOutbox(str(tmp_path)) as box:
        number = box.add(new_mail(1, (A, B, C)))
        box.put_back(number, Disposition((A, B, C), ERROR, MailState.UNKNOWN, 0.0))
        before = box.mail(number)
        assert before
        numbers = box.settle(
            number,
            [Disposition((A,), ERROR, MailState.WAITING, 5.0), Disposition((B, C), ERROR, MailState.FAILED, None)],
        )
        first, second = box.mails()
        assert numbers == [number, second.id] == [first.id, number + 1]
        assert (first.recipients, first.state, first.next_attempt) == ((A,), MailState.WAITING, 5.0)
        assert (second.recipients, second.state, second.next_attempt) == ((B, C), MailState.FAILED, None)
        for part in (first, second):
            assert (part.queued_at, part.attempts, part.unknowns) == (before.queued_at, 2, 1)
            assert (part.last_reply, part.is_sound) == ("not now", True)
        assert box.message(first.id).header == box.message(second.id).header
        assert b"".join(box.message(first.id).chunks()) == b"".join(box.message(second.id).chunks())


def test_a_mail_of_which_nothing_is_left_is_removed(tmp_path: Path) -> None:
    with SqliteOutbox(str(tmp_path)) as box:
        number = box.add(new_mail(1, (A,)))
        assert box.settle(number, []) == []
        assert box.mails() == []
