"""The rules that every outbox keeps, whatever database it is in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.message.message import Message
from smtpsetup.outbox.disposition import Disposition, postponement
from smtpsetup.outbox.errors import OutboxDamagedError, SharedOutboxError
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.opening import opened
from tests.recording import new_mail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpsetup.outbox.mail import Mail
    from smtpsetup.outbox.store import Outbox
    from tests.postgresql import Cluster

A, B, C = "a@example.com", "b@example.com", "c@example.com"
ERROR = SmtpsetupError("server.temporary", "not now")
LIMIT = SmtpsetupError("limit.rate", "slow down")
LATER = 1e10  # a moment at which everything is due


class OutboxRules(ABC):
    """The rules. A subclass says which outbox."""

    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest) -> OutboxSettings:
        return self.made(request)

    @abstractmethod
    def made(self, request: pytest.FixtureRequest) -> OutboxSettings:
        """A new outbox."""

    @pytest.fixture
    def box(self, settings: OutboxSettings, tmp_path: Path) -> Iterator[Outbox]:
        with opened(settings, str(tmp_path / "state")) as box:
            yield box

    @pytest.fixture
    def other(self, settings: OutboxSettings, tmp_path: Path) -> Iterator[Outbox]:
        """The same outbox, opened by another process or machine."""
        with opened(settings, str(tmp_path / "state")) as box:
            yield box

    def test_a_mail_comes_back_as_it_was_put_in(self, box: Outbox) -> None:
        put = new_mail(1, (A, B))._replace(
            holds=True, is_report=True, config="/etc/x.toml", client="printer", last_reply="421 åäö \u2028", subject="ä"
        )
        number = box.add(put)
        mail = box.mail(number)
        assert mail
        assert (mail.recipients, mail.sender, mail.subject) == ((A, B), put.envelope.sender, "ä")
        assert (mail.holds, mail.is_report, mail.config, mail.client) == (True, True, "/etc/x.toml", "printer")
        assert (mail.state, mail.attempts, mail.last_reply) == (MailState.WAITING, 0, "421 åäö \u2028")
        assert b"".join(box.message(number).chunks()) == b"".join(put.message.chunks())
        assert box.message(number).header == put.message.header
        assert box.mails() == [mail]

    @pytest.mark.parametrize("size", [0, 1, 65_536, 524_288, 524_289, 3_000_000])
    def test_a_text_of_any_size_comes_back(self, box: Outbox, size: int) -> None:
        body = bytes(index % 251 for index in range(1000)) * (size // 1000) + b"x" * (size % 1000)
        message = Message(b"Subject: x\r\n\r\n", lambda: iter([body[:size]]), size, is_ascii=False)
        number = box.add(new_mail(1, (A,))._replace(message=message))
        again = box.message(number)
        assert (again.header, again.size, again.is_ascii) == (message.header, message.size, False)
        assert b"".join(again.body()) == body == b"".join(again.body())

    def test_a_text_that_changes_while_it_is_read_is_not_kept(self, box: Outbox) -> None:
        message = Message(b"Subject: x\r\n\r\n", lambda: iter([b"short"]), 500)
        with pytest.raises(OSError, match="changed"):
            box.add(new_mail(1, (A,))._replace(message=message))
        assert box.mails() == []

    def test_the_same_mail_is_kept_once(self, box: Outbox) -> None:
        first = box.add(new_mail(1, (A,)))
        assert box.add(new_mail(1, (A,)), once=True) == first
        assert box.add(new_mail(1, (B,)), once=True) != first

    def test_a_taken_mail_is_not_taken_again(self, box: Outbox, other: Outbox) -> None:
        numbers = [box.add(new_mail(number, (A,))) for number in range(3)]
        with box.lease() as mine, other.lease() as theirs:
            first = box.take("a", "", mine, LATER, 2)
            second = other.take("a", "", theirs, LATER, 2)
            assert [mail.id for mail in (*first, *second)] == numbers
            assert {mail.state for mail in box.mails()} == {MailState.SENDING}
            assert box.revive(time.time()) == 0
            assert not other.drop(numbers[0])

    def test_what_is_taken_is_the_accounts_and_due(self, box: Outbox) -> None:
        box.add(new_mail(1, (A,))._replace(next_attempt=5000.0))
        box.add(new_mail(2, (A,))._replace(config="/etc/x.toml", next_attempt=10.0))
        box.add(new_mail(3, (A,))._replace(state=MailState.FAILED, next_attempt=None))
        assert box.accounts_due(100.0) == [("a", "/etc/x.toml")]
        assert box.accounts_due(5000.0) == [("a", ""), ("a", "/etc/x.toml")]
        assert (box.next_attempt(0.0), box.next_attempt(10.0), box.next_attempt(5000.0)) == (10.0, 5000.0, None)
        with box.lease() as lease:
            assert box.take("a", "", lease, 100.0, 9) == []
            assert [mail.subject for mail in box.take("a", "/etc/x.toml", lease, 100.0, 9)] == ["2"]

    def test_a_sent_mail_is_gone(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(box) as (mail,):
            box.mark_possibly_delivered(mail.id)
            box.remove(mail.id)
        assert box.mail(number) is None
        assert not box.has_waiting()
        with pytest.raises(OutboxDamagedError):
            box.message(number)

    @contextmanager
    def taken(self, box: Outbox) -> Iterator[list[Mail]]:
        """The mails of the account, taken."""
        with box.lease() as lease:
            yield box.take("a", "", lease, LATER, 100)

    @pytest.mark.parametrize(("is_dotted", "state"), [(False, MailState.WAITING), (True, MailState.UNKNOWN)])
    def test_what_a_dead_process_had_is_free(self, box: Outbox, other: Outbox, *, is_dotted: bool, state: str) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(other):
            if is_dotted:
                other.mark_possibly_delivered(number)
        now = time.time()
        assert box.revive(now) == 1
        mail = box.mail(number)
        assert mail
        assert (mail.state, mail.unknowns) == (state, int(is_dotted))
        assert mail.next_attempt is not None
        assert now <= mail.next_attempt <= now + 60.0
        assert box.revive(now) == 0

    def test_an_unknown_mail_that_is_held_is_not_tried_again(self, box: Outbox, other: Outbox) -> None:
        number = box.add(new_mail(1, (A,))._replace(holds=True))
        with self.taken(other):
            other.mark_possibly_delivered(number)
        box.revive(time.time())
        mail = box.mail(number)
        assert mail
        assert (mail.state, mail.next_attempt) == (MailState.UNKNOWN, None)

    def test_a_mail_that_the_server_refused_is_not_unknown(self, box: Outbox, other: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(other):
            other.mark_possibly_delivered(number)
            other.mark_possibly_delivered(number, is_possible=False)
        box.revive(time.time())
        assert [mail.state for mail in box.mails()] == [MailState.WAITING]

    def test_a_mail_is_kept_for_those_who_have_not_got_it(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A, B, C)))
        with self.taken(box):
            box.mark_possibly_delivered(number)
            box.keep_for(number, (C,))
        box.revive(time.time())
        assert [(mail.recipients, mail.state) for mail in box.mails()] == [((C,), MailState.WAITING)]

    def test_a_mail_that_is_split_keeps_its_age_and_its_counts_in_each_part(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A, B, C)))
        before = box.mail(number)
        assert before
        with self.taken(box):
            numbers = box.settle(
                number,
                [Disposition((A,), ERROR, MailState.WAITING, 5.0), Disposition((B, C), ERROR, MailState.FAILED, None)],
            )
        first, second = box.mails()
        assert numbers == [number, second.id] == [first.id, number + 1]
        assert (first.recipients, first.state, first.next_attempt) == ((A,), MailState.WAITING, 5.0)
        assert (second.recipients, second.state, second.next_attempt) == ((B, C), MailState.FAILED, None)
        for part in (first, second):
            assert (part.queued_at, part.attempts, part.last_reply) == (before.queued_at, 1, "not now")
        assert b"".join(box.message(first.id).chunks()) == b"".join(box.message(second.id).chunks())

    def test_a_mail_of_which_nothing_is_left_is_removed(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(box):
            assert box.settle(number, []) == []
        assert box.mails() == []

    def test_a_mail_that_is_given_back_waits_as_before(self, box: Outbox) -> None:
        box.add(new_mail(1, (A,)))
        (before,) = box.mails()
        with self.taken(box):
            box.give_back(before.id)
            assert box.mails() == [before]

    def test_a_mail_whose_run_broke_is_postponed_or_unknown(self, box: Outbox) -> None:
        numbers = [box.add(new_mail(number, (A,))) for number in range(3)]
        with self.taken(box):
            box.mark_possibly_delivered(numbers[1])
            box.remove(numbers[2])
            states = [box.postpone(number, ERROR, 77.0) for number in numbers]
        assert states == [MailState.WAITING, MailState.UNKNOWN, None]
        assert {(mail.next_attempt, mail.attempts, mail.last_code) for mail in box.mails()} == {
            (77.0, 1, "server.temporary")
        }

    def test_all_due_mails_of_an_account_can_be_put_off(self, box: Outbox) -> None:
        for number in range(3):
            box.add(new_mail(number, (A,))._replace(next_attempt=10.0, attempts=number))
        box.add(new_mail(9, (A,))._replace(config="/etc/x.toml", next_attempt=10.0))
        pause = postponement(LIMIT)._replace(seconds=lambda attempts: 100.0 * attempts, is_put_off=True)
        box.put_off("a", "", 20.0, pause)
        found = [(mail.attempts, mail.put_offs, mail.next_attempt, mail.last_reply) for mail in box.mails()]
        slow = "slow down"
        assert found == [(1, 1, 120.0, slow), (2, 1, 220.0, slow), (3, 1, 320.0, slow), (0, 0, 10.0, "")]

    def test_what_waits_can_be_made_due(self, box: Outbox) -> None:
        box.add(new_mail(1, (A,))._replace(next_attempt=500.0, last_code="auth.temporary"))
        box.add(new_mail(2, (A,))._replace(next_attempt=500.0, last_code="limit.rate"))
        box.bring_forward("a", "", 100.0, "auth.temporary")
        assert [mail.next_attempt for mail in box.mails()] == [100.0, 500.0]
        box.make_due(200.0)
        assert [mail.next_attempt for mail in box.mails()] == [100.0, 200.0]

    def test_a_time_that_a_wrong_clock_has_planned_is_now(self, box: Outbox) -> None:
        box.add(new_mail(1, (A,))._replace(next_attempt=time.time() + 30 * 86_400))
        box.revive(now := time.time())
        assert [mail.next_attempt for mail in box.mails()] == [now]

    def test_a_person_can_retry_and_drop(self, box: Outbox) -> None:
        first, second = (box.add(new_mail(number, (A,))._replace(attempts=5, next_attempt=None)) for number in (1, 2))
        box.retry(first, 50.0)
        assert box.drop(second)
        assert not box.drop(second)
        assert [(mail.id, mail.attempts, mail.next_attempt) for mail in box.mails()] == [(first, 0, 50.0)]

    def test_a_damaged_mail_is_set_aside(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(box):
            box.set_aside(number, "damaged")
        (mail,) = box.mails()
        assert (mail.state, mail.next_attempt, mail.last_code) == (MailState.FAILED, None, "outbox.damaged")

    def test_a_transaction_is_kept_whole_or_not_at_all(self, box: Outbox) -> None:
        def broken() -> None:
            with box.transaction():
                box.add(new_mail(1, (A,)))
                with box.transaction():
                    box.add(new_mail(2, (A,)))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            broken()
        assert box.mails() == []
        with box.transaction():
            box.add(new_mail(3, (A,)))
        assert [mail.subject for mail in box.mails()] == ["3"]

    def test_what_waits_is_counted(self, box: Outbox) -> None:
        for number in range(2):
            box.add(new_mail(number, (A,)))
        box.add(new_mail(3, (A,))._replace(state=MailState.FAILED, next_attempt=None, last_code="rcpt.unknown"))
        box.record_sent("a", 5)
        summary = box.summary(["a"])
        assert {(one.state, one.code, one.number) for one in summary.counts} == {
            ("waiting", "", 2),
            ("failed", "rcpt.unknown", 1),
        }
        assert box.count_waiting("a") == 2
        assert [mail.subject for mail in box.waiting_since("a", "", time.time() + 1)] == ["0", "1"]
        assert box.waiting_since("a", "", 5.0) == []
        assert box.sent_last_day("a") == (1, 5)
        assert box.sent_last_day("b") == (0, 0)


class TestSqlite(OutboxRules):
    """SQLite, in a directory."""

    def made(self, request: pytest.FixtureRequest) -> OutboxSettings:
        return OutboxSettings()


@pytest.mark.slow
class TestPostgresql(OutboxRules):
    """PostgreSQL, in a database of the test's own."""

    def made(self, request: pytest.FixtureRequest) -> OutboxSettings:
        cluster: Cluster = request.getfixturevalue("cluster")
        return cluster.database()

    def test_who_has_lost_its_session_cannot_send(self, box: Outbox, other: Outbox, settings: OutboxSettings) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(box):
            pass  # the lease is gone, as after a cut of the network
        with self.taken(other):
            assert other.mail(number)
            with pytest.raises(SharedOutboxError, match="no longer reserved"):
                box.mark_possibly_delivered(number)

    def test_a_provider_allows_so_many_connections_over_all_machines(self, box: Outbox, other: Outbox) -> None:
        with box.connection("a", 2) as first, other.connection("a", 2) as second, box.connection("a", None) as free:
            with opened(box.settings, box.directory) as third, third.connection("a", 2) as refused:  # type: ignore[attr-defined]
                assert (first, second, free, refused) == (True, True, True, False)
            with other.connection("b", 1) as another:
                assert another
        with other.connection("a", 1) as again:
            assert again

    def test_the_turns_of_an_account_are_given_over_all_machines(self, box: Outbox, other: Outbox) -> None:
        mine, theirs = box.pace("a"), other.pace("a")
        assert mine
        assert theirs
        waits = [turn(10.0) for turn in (mine, theirs, mine)]
        assert waits[0] == 0.0
        assert 9.0 < waits[1] <= 10.0
        assert 19.0 < waits[2] <= 20.0

    def test_what_one_machine_cannot_do_is_left_to_the_others(self, box: Outbox, other: Outbox) -> None:
        box.add(new_mail(1, (A,))._replace(next_attempt=10.0))
        before = box.mails()
        other.place = "another 1"  # type: ignore[attr-defined]  # of the shared outbox only
        for failures in (1, 2):
            box.put_off("a", "", 20.0, postponement(ERROR)._replace(seconds=lambda count: 100.0 * count))
            assert (box.failures("a", ""), box.mails()) == (failures, before)
        assert (box.accounts_due(219.0), other.accounts_due(219.0)) == ([], [("a", "")])
        assert box.accounts_due(221.0) == [("a", "")]
        box.works("a", "")
        assert (box.failures("a", ""), box.accounts_due(20.0)) == (0, [("a", "")])

    def test_a_mail_that_nobody_has_can_be_given_up(self, box: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with box.lease():
            assert box.settle(number, [Disposition((A,), ERROR, MailState.FAILED, None)]) == [number]
        assert [mail.state for mail in box.mails()] == [MailState.FAILED]

    def test_a_mail_that_another_has_is_not_changed(self, box: Outbox, other: Outbox) -> None:
        number = box.add(new_mail(1, (A,)))
        with self.taken(other), box.lease():
            before = box.mails()
            assert box.settle(number, [Disposition((A,), ERROR, MailState.FAILED, None)]) == []
            assert box.mails() == before

    def test_a_clock_that_is_wrong_changes_no_pause(self, box: Outbox, settings: OutboxSettings) -> None:
        number = box.add(new_mail(1, (A,))._replace(next_attempt=time.time() + 3600))
        with opened(settings, box.directory) as wrong:
            wrong._ahead = 10 * 86_400.0  # type: ignore[attr-defined]  # as it finds out when its clock is ten days late
            wrong.revive(time.time() - 10 * 86_400)
            mail = wrong.mail(number)
            assert mail
            assert mail.next_attempt == pytest.approx(time.time() - 10 * 86_400 + 3600, abs=5)
        mail = box.mail(number)
        assert mail
        assert mail.next_attempt == pytest.approx(time.time() + 3600, abs=5)
