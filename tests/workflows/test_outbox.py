"""States and retries of a mail in the outbox, flush after flush."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config import accounts
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.core.failure import Failure, Kind, TransportError
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.sending.flush import flush as flush_outbox
from tests.conftest import PASSWORD, context_of
from tests.recording import RecordingServer, new_mail, plain_account, state_dir
from tests.servers import closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpsetup.message.message import Message
    from smtpsetup.outbox.mail import Mail, NewMail
    from smtpsetup.sending.context import Context
    from tests.conftest import Home, Run
    from tests.servers import Keyring

DAY = 86_400
A, B, C = "a@example.com", "b@example.com", "c@example.com"
LATER, NEVER = b"451 4.3.0 not now\r\n", b"550 5.1.1 nobody here\r\n"


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


def queued(home: Home, *recipients: str, number: int = 1) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        box.add(new_mail(number, recipients or (A,)))


def mails(home: Home) -> list[Mail]:
    with SqliteOutbox(state_dir(home)) as box:
        return box.mails()


def only_mail(home: Home) -> Mail:
    (mail,) = mails(home)
    return mail


def change(home: Home, assignments: str) -> None:
    """Set columns of every mail in the outbox."""
    with closing(sqlite3.connect(f"{state_dir(home)}/outbox.db")) as db, db:
        db.execute(f"UPDATE mail SET {assignments}")


def flush(home: Home, *arguments: str) -> Run:
    return home.run("outbox", "flush", *arguments)


def flush_when_due(home: Home) -> Run:
    """Flush as if the time of every next attempt had come."""
    change(home, "next_attempt = 0 WHERE next_attempt IS NOT NULL")
    return flush(home)


def seconds_to_next(mail: Mail) -> float:
    assert mail.next_attempt is not None
    return mail.next_attempt - time.time()


def sent(home: Home, *arguments: str) -> Run:
    return home.run("send", "-s", "x", "--body", "x", *arguments)


# back-off


@pytest.mark.parametrize("beginning", ["MAIL", "RCPT", "DATA", ".", "EHLO"])
def test_the_back_off_doubles_from_a_minute_to_an_hour(home: Home, server: RecordingServer, beginning: str) -> None:
    plain_account(home, server.port)
    server.replies = {beginning: LATER}
    queued(home)
    for attempt, expected in enumerate((60, 120, 240, 480, 960, 1920, 3600, 3600), start=1):
        assert flush_when_due(home).code == 0
        mail = only_mail(home)
        assert (mail.state, mail.attempts) == (MailState.WAITING, attempt)
        assert seconds_to_next(mail) == pytest.approx(expected, abs=10)
    assert flush(home).code == 0
    assert only_mail(home).attempts == 8  # none is tried before it is due
    server.replies = {}
    assert flush_when_due(home).code == 0
    assert mails(home) == []
    assert server.message_ids == ["<1@test.example>"]


def test_an_unreachable_server_counts_an_attempt_for_every_mail(home: Home) -> None:
    with closed_port() as closed:
        plain_account(home, closed)
        for number in range(25):
            queued(home, number=number)
        for expected in (60, 120):
            assert flush_when_due(home).code == 0
            assert {round(seconds_to_next(mail), -1) for mail in mails(home)} == {expected}
    assert {(mail.state, mail.attempts, mail.last_code) for mail in mails(home)} == {
        (MailState.WAITING, 2, "connect.refused")
    }


@pytest.mark.parametrize("is_queued", [True, False])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("450 4.2.0 try again in 2 hours", 7200),
        ("451 4.3.2 busy, Retry-After: 600", 600),
        ("452 4.5.3 daily limit reached", DAY),
        ("450 4.7.1 Greylisted for 5 minutes", 300),
        ("451 4.3.0 come back in 30 days", 2 * DAY),
        ("451 4.3.0 try again in 2 seconds", 60),
    ],
)
def test_a_delay_named_in_the_reply_is_used(
    home: Home, server: RecordingServer, words: str, expected: int, *, is_queued: bool
) -> None:
    plain_account(home, server.port)
    server.replies = {"RCPT": f"{words}\r\n".encode()}
    if is_queued:
        queued(home)
        assert flush(home).code == 0
    else:
        assert sent(home, A).code == 0
    assert seconds_to_next(only_mail(home)) == pytest.approx(expected, abs=10)
    assert only_mail(home).last_reply == words


def test_a_mail_is_given_up_after_five_days_and_kept(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port, report_failures="true")
    queued(home)
    change(home, f"queued_at = {time.time() - 5 * DAY + 600}, attempts = 30, last_reply = '451 busy'")
    server.replies = {"MAIL": LATER}
    assert flush(home).code == 0
    assert only_mail(home).state is MailState.WAITING
    change(home, f"queued_at = {time.time() - 5 * DAY - 60}, next_attempt = 0")
    assert flush(home).code == 0
    assert server.mails == []
    server.replies = {}
    given_up, report = mails(home)
    assert (given_up.state, given_up.next_attempt) == (MailState.FAILED, None)
    assert report.recipients == ("info@example.com",)
    assert flush(home).code == 0
    assert [arrival.recipients for arrival in server.mails] == [("info@example.com",)]
    home.run("outbox", "retry", str(given_up.id))
    assert flush(home).code == 0
    assert mails(home) == []


def test_a_mail_that_was_never_tried_is_tried_however_old_it_is(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    queued(home)
    change(home, f"queued_at = {time.time() - 9 * DAY}")
    assert flush(home).code == 0
    assert mails(home) == []


def test_a_mail_that_was_queued_while_the_clock_was_ahead_is_due(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    queued(home)
    change(home, f"queued_at = {time.time() + 2 * DAY}, next_attempt = {time.time() + 2 * DAY + 60}")
    assert flush(home).code == 0
    assert len(server.mails) == 1


# permanent refusals


@pytest.mark.parametrize("beginning", ["MAIL", "RCPT", "DATA", "."])
def test_a_permanently_refused_mail_is_kept_and_reported_once(
    home: Home, server: RecordingServer, beginning: str
) -> None:
    plain_account(home, server.port, report_failures="true")
    queued(home)
    server.replies = {beginning: NEVER}
    flush(home)
    refused, report = mails(home)
    assert (refused.state, refused.next_attempt, refused.last_reply) == (
        MailState.FAILED,
        None,
        "550 5.1.1 nobody here",
    )
    server.replies = {}
    for _flush in range(3):
        flush_when_due(home)
    assert [arrival.recipients for arrival in server.mails] == [("info@example.com",)]
    message = message_from_bytes(server.mails[0].content, policy=policy.default)
    assert message["Auto-Submitted"] == "auto-replied"
    assert all(word in str(message.get_content()) for word in (A, refused.message_id, "550 5.1.1 nobody here"))
    assert [mail.id for mail in mails(home)] == [refused.id]
    assert report.id != refused.id


@pytest.mark.parametrize("subject", ["A" * 1500, "=?utf-8?q?=C3=A5?=" * 400, "a\x07b\u2028c"])
def test_a_subject_that_no_line_can_hold_is_reported_in_part(home: Home, server: RecordingServer, subject: str) -> None:
    plain_account(home, server.port, report_failures="true")
    with SqliteOutbox(state_dir(home)) as box:
        box.add(new_mail(1, (A,))._replace(subject=subject))
    server.replies = {"RCPT": NEVER}
    assert flush(home).code == 0
    refused, report = mails(home)
    assert (refused.state, refused.subject, report.is_report) == (MailState.FAILED, subject, True)


def test_an_error_that_is_not_the_machines_stops_no_other_account(
    home: Home, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that is explained to people, such as of a notice that cannot be made."""
    plain_account(home, server.port, report_failures="true")
    server.replies = {"RCPT": NEVER}

    def report_of(*_arguments: object) -> NewMail:
        raise SmtpsetupError("config.invalid", "it cannot be made")

    monkeypatch.setattr("smtpsetup.sending.failure_notice.report_of", report_of)
    context = context_of(accounts.load(home.config).account(None))
    with SqliteOutbox(state_dir(home)) as box:
        box.add(new_mail(1, (A,)))
        box.add(new_mail(2, (A,))._replace(account="second@example.net"))
        opened: list[str] = []

        def open_context(name: str, _config: str) -> Context:
            opened.append(name)
            return context

        with pytest.raises(SmtpsetupError):
            flush_outbox(box, open_context)
        assert sorted(opened) == ["a", "second@example.net"]
        assert all(mail.next_attempt and mail.next_attempt > time.time() + 30 for mail in box.mails())


def test_without_report_failures_no_report_is_queued(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    queued(home)
    server.replies = {"RCPT": NEVER}
    flush(home)
    assert only_mail(home).state is MailState.FAILED


def test_a_refused_report_is_not_reported(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port, report_failures="true")
    queued(home)
    server.replies = {"RCPT": NEVER}
    for _flush in range(4):
        flush_when_due(home)
    assert [(mail.state, mail.is_report) for mail in mails(home)] == [
        (MailState.FAILED, False),
        (MailState.FAILED, True),
    ]


# mails that may have arrived


@pytest.mark.parametrize("is_queued", [True, False])
def test_a_mail_that_may_have_arrived_is_sent_once_more_and_then_held(
    home: Home, server: RecordingServer, *, is_queued: bool
) -> None:
    plain_account(home, server.port)
    server.replies = {".": b""}
    if is_queued:
        queued(home)
        flush(home)
    else:
        assert sent(home, A, "--json").json["result"]["queued"] is True
    assert (only_mail(home).state, only_mail(home).unknowns) == (MailState.UNKNOWN, 1)
    for _flush in range(3):
        flush_when_due(home)
    mail = only_mail(home)
    assert (mail.state, mail.next_attempt, mail.unknowns) == (MailState.UNKNOWN, None, 2)
    assert server.message_ids == [mail.message_id] * 2
    server.replies = {}
    home.run("outbox", "retry", str(mail.id))
    flush(home)
    assert mails(home) == []
    assert server.message_ids == [mail.message_id] * 3


@pytest.mark.parametrize("queue", ["always", "on-failure"])
@pytest.mark.parametrize("where", ["option", "config"])
def test_a_mail_that_may_have_arrived_is_held_where_that_is_asked_for(
    home: Home, server: RecordingServer, where: str, queue: str
) -> None:
    plain_account(home, server.port, **({"on_unknown": '"hold"'} if where == "config" else {}))
    server.replies = {".": b""}
    sent(home, A, "--queue", queue, *(("--on-unknown", "hold") if where == "option" else ()))
    for _flush in range(3):
        flush_when_due(home)
    mail = only_mail(home)
    assert (mail.state, mail.next_attempt) == (MailState.UNKNOWN, None)
    assert server.message_ids == [mail.message_id]


def test_the_option_resend_outweighs_hold_in_the_configuration(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port, on_unknown='"hold"')
    server.replies = {".": b""}
    sent(home, A, "--on-unknown", "resend")
    server.replies = {}
    flush_when_due(home)
    assert mails(home) == []
    assert len(server.mails) == 2


# several recipients


@pytest.mark.parametrize("is_queued", [True, False])
def test_each_recipient_gets_the_state_of_its_own_reply(
    home: Home, server: RecordingServer, *, is_queued: bool
) -> None:
    plain_account(home, server.port)
    server.replies = {f"RCPT TO:<{B}": LATER, f"RCPT TO:<{C}": NEVER}
    if is_queued:
        queued(home, A, B, C)
        flush(home)
        assert {mail.recipients: mail.state for mail in mails(home)} == {
            (B,): MailState.WAITING,
            (C,): MailState.FAILED,
        }
    else:
        run = sent(home, A, B, C)
        assert run.code == 67
        assert C in run.err
        assert {mail.recipients: mail.state for mail in mails(home) if mail.recipients != (C,)} == {
            (B,): MailState.WAITING
        }
    server.replies = {f"RCPT TO:<{C}": NEVER}
    flush_when_due(home)
    flush_when_due(home)
    assert [arrival.recipients for arrival in server.mails] == [(A,), (B,)]
    assert len(set(server.message_ids)) == 1


@pytest.mark.parametrize("end", [LATER, b"554 5.7.1 no\r\n", b""], ids=["later", "never", "lost"])
@pytest.mark.parametrize("beginning", ["DATA", "."])
@pytest.mark.parametrize("first", [LATER, NEVER], ids=["first-later", "first-never"])
@pytest.mark.parametrize("is_queued", [True, False])
def test_no_recipient_is_lost_when_one_is_refused_and_then_the_message(  # noqa: PLR0913  the columns of a table
    home: Home, server: RecordingServer, first: bytes, beginning: str, end: bytes, *, is_queued: bool
) -> None:
    plain_account(home, server.port)
    server.replies = {f"RCPT TO:<{A}": first, beginning: end}
    if is_queued:
        queued(home, A, B)
        flush(home)
        reported = {A, B}  # a flush has nobody to report to: failed mails are kept
    else:
        run = sent(home, A, B, "--json")
        reported = {entry["address"] for entry in run.json.get("result", {}).get("refused", ())} if run.code else set()
        reported |= {B} if run.code and end.startswith(b"5") else set()
    states = {recipient: mail.state for mail in mails(home) for recipient in mail.recipients}
    expected = {
        b"4": MailState.WAITING,
        b"5": MailState.FAILED,
        b"": MailState.UNKNOWN if beginning == "." else MailState.WAITING,
    }
    if is_queued:
        assert set(states) == {A, B}
    assert set(states) | reported == {A, B}
    assert states.get(B, expected[end[:1]]) is expected[end[:1]]
    if first is LATER and end[:1] != b"":
        assert states[A] is MailState.WAITING
    server.replies = {}
    if end[:1] != b"5":
        flush_when_due(home)
        assert B in {recipient for arrival in server.mails for recipient in arrival.recipients}


# errors that a person must fix


def assert_waits_and_is_reported(home: Home, code: int, words: str) -> None:
    run = flush(home)
    assert run.code == code, run.err
    assert words in run.err
    mail = only_mail(home)
    assert mail.state is MailState.WAITING
    assert seconds_to_next(mail) == pytest.approx(60, abs=10)
    run = flush_when_due(home)
    assert run.code == code
    assert only_mail(home).attempts == 2


def test_mail_of_a_removed_account_waits_and_is_reported(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port)
    queued(home)
    config = home.config.read_text()
    home.config.write_text(config.replace("[accounts.a]", "[accounts.other]").replace("info@", "other@"))
    assert_waits_and_is_reported(home, 78, "There is no account a")
    home.config.write_text(config)
    assert flush_when_due(home).code == 0
    assert len(server.mails) == 1


def test_mail_waits_while_its_secret_is_missing(home: Home, server: RecordingServer) -> None:
    plain_account(home, server.port, auth='"password"', secret=f'{{ store = "file", path = "{home.path}/password" }}')
    queued(home)
    assert_waits_and_is_reported(home, 78, "password")
    home.file("password", PASSWORD)
    assert flush_when_due(home).code == 0
    assert len(server.mails) == 1


def test_mail_waits_while_the_keyring_is_locked_and_is_reported(
    home: Home, server: RecordingServer, keyring: Keyring
) -> None:
    plain_account(home, server.port, auth='"password"', secret='{ store = "keyring" }')
    queued(home)
    keyring.lock()
    run = home.run("outbox", "flush", **keyring.env)
    assert only_mail(home).state is MailState.WAITING
    assert run.code == 75
    assert "keyring is locked" in run.err


def test_mail_waits_while_the_password_is_wrong_with_one_login_per_flush(home: Home, server: RecordingServer) -> None:
    home.file("password", PASSWORD)
    plain_account(home, server.port, auth='"password"', secret=f'{{ store = "file", path = "{home.path}/password" }}')
    server.replies = {"AUTH": b"535 5.7.8 wrong\r\n"}
    queued(home)
    assert_waits_and_is_reported(home, 77, "535 5.7.8 wrong")
    assert sum(command.startswith("AUTH") for command in server.lines) == 2
    server.replies = {}
    assert flush_when_due(home).code == 0
    assert len(server.mails) == 1


def test_what_one_account_runs_into_stops_no_other(home: Home) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        box.add(new_mail(1, (A,)))
        box.add(new_mail(2, (A,))._replace(account="second@example.net"))
        opened: list[str] = []

        def open_context(name: str, _config: str) -> Context:
            opened.append(name)
            raise ZeroDivisionError(name)

        with pytest.raises(ZeroDivisionError) as first:
            flush_outbox(box, open_context)
    assert len(opened) == 2
    assert str(first.value) == opened[0]


@pytest.mark.parametrize("is_dotted", [False, True])
def test_a_bug_that_one_mail_runs_into_holds_up_no_other(
    home: Home, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, *, is_dotted: bool
) -> None:
    plain_account(home, server.port)
    queued(home, number=1)
    queued(home, number=2)
    read = SqliteOutbox.message

    def message(box: SqliteOutbox, number: int, **options: bool) -> Message:
        found = read(box, number, **options)
        return found._replace(body=broken) if number == 1 and options == {} else found

    def broken() -> Iterator[bytes]:
        if is_dotted:
            box.mark_possibly_delivered(1)
        raise ZeroDivisionError

    with SqliteOutbox(state_dir(home)) as box:
        context = context_of(accounts.load(home.config).account(None))
        monkeypatch.setattr(SqliteOutbox, "message", message)
        with pytest.raises(ZeroDivisionError):
            flush_outbox(box, lambda _name, _config: context)
        first, second = box.mails()
        assert (first.state, first.last_code) == (MailState.UNKNOWN if is_dotted else MailState.WAITING, "internal.bug")
        assert first.next_attempt is not None
        assert first.next_attempt > time.time() + 30
        assert second.state is MailState.WAITING
        flush_outbox(box, lambda _name, _config: context)
    assert [mail.subject for mail in server.mails] == ["2"]


def test_a_bug_after_a_suspect_leaves_the_mail_in_flight_unknown(
    home: Home, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_account(home, server.port)
    queued(home, number=1)
    queued(home, number=2)
    read = SqliteOutbox.message
    closed: list[int] = []

    def message(box: SqliteOutbox, number: int, **options: bool) -> Message:
        found = read(box, number, **options)
        return found._replace(body=lambda: broken(number)) if options == {} else found

    def broken(number: int) -> Iterator[bytes]:
        if number == 1:
            closed.append(number)
            raise TransportError(Failure(Stage.MAIL, Kind.CLOSED, Server("127.0.0.1", server.port, Security.NONE)))
        box.mark_possibly_delivered(2)
        raise ZeroDivisionError

    with SqliteOutbox(state_dir(home)) as box:
        context = context_of(accounts.load(home.config).account(None))
        monkeypatch.setattr(SqliteOutbox, "message", message)
        with pytest.raises(ZeroDivisionError):
            flush_outbox(box, lambda _name, _config: context)
        assert closed
        assert [mail.state for mail in box.mails()] == [MailState.WAITING, MailState.UNKNOWN]


def test_a_mail_that_was_sent_before_a_bug_is_gone(home: Home) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        number = box.add(new_mail(1))
        box.remove(number)
        assert box.postpone(number, SmtpsetupError("internal.bug", "x"), time.time()) is None


def test_what_the_server_may_have_is_given_back_as_unknown(home: Home) -> None:
    with SqliteOutbox(state_dir(home)) as box:
        number = box.add(new_mail(1))
        (mail,) = box.take("a", "", "lease", time.time(), 1)
        box.mark_possibly_delivered(mail.id)
        box.give_back(mail.id)
        assert (only_mail(home).state, only_mail(home).unknowns, number) == (MailState.UNKNOWN, 1, mail.id)
