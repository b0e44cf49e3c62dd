"""What only a shared outbox has, in a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.outbox_settings import OutboxSettings
from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.outbox.disposition import Disposition
from smtpsetup.outbox.errors import SharedOutboxError, Trouble
from smtpsetup.outbox.hand_on import hand_on
from smtpsetup.outbox.mail_state import MailState
from smtpsetup.outbox.postgresql import batches, schema
from smtpsetup.outbox.postgresql.batches import Loaded, SharedJournal
from smtpsetup.outbox.postgresql.connection import Connection
from smtpsetup.outbox.postgresql.listener import Listener
from smtpsetup.outbox.postgresql.store import PostgresqlOutbox
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.state import usage
from smtpsetup.state.batch_journal import BusyError
from tests.postgresql import Cluster, running
from tests.recording import new_mail
from tests.servers import accepts_connections, free_port, missing, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # with a PostgreSQL of its own
A = "a@example.com"
LATER = 1e10
STATES = (MailState.WAITING, MailState.FAILED)


@pytest.fixture
def box(shared: OutboxSettings, tmp_path: Path) -> Iterator[PostgresqlOutbox]:
    with PostgresqlOutbox(shared, str(tmp_path)) as box:
        yield box


def trouble(settings: OutboxSettings, *, needs_tables: bool = True) -> SharedOutboxError:
    with pytest.raises(SharedOutboxError) as caught:
        Connection(settings, needs_tables=needs_tables)
    return caught.value


# what can be wrong with the database


def test_tables_are_made_once_and_refused_when_they_are_newer(cluster: Cluster) -> None:
    settings = cluster.database(has_tables=False)
    assert trouble(settings).trouble is Trouble.NO_SCHEMA
    db = Connection(settings, needs_tables=False)
    assert [schema.initialize(db), schema.initialize(db)] == [0, schema.VERSION]
    db.run("UPDATE smtpsetup.schema_version SET version = version + 1")
    assert trouble(settings).trouble is Trouble.NEW_SCHEMA
    with pytest.raises(SharedOutboxError) as caught:
        schema.initialize(db)
    told = caught.value.explained()
    assert (told.code, told.exit_code) == ("outbox.schema", 78)
    db.run("UPDATE smtpsetup.schema_version SET version = 0")
    assert trouble(settings).trouble is Trouble.NO_SCHEMA
    db.close()


def test_a_database_that_is_not_there_is_told(cluster: Cluster) -> None:
    assert trouble(OutboxSettings(cluster.url("nowhere"))).trouble is Trouble.NO_DATABASE
    error = trouble(OutboxSettings(f"postgresql://127.0.0.1:{free_port()}/mail"))
    assert error.trouble is Trouble.UNREACHABLE
    told = error.explained()
    assert (told.code, told.exit_code) == ("outbox.unavailable", 75)
    assert "refused" in told.message


def test_a_database_in_another_encoding_is_refused(cluster: Cluster) -> None:
    cluster.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    db = Connection(OutboxSettings(cluster.url("latin")), needs_tables=False)
    with pytest.raises(SharedOutboxError, match="UTF8"):
        schema.initialize(db)
    db.close()


def test_a_read_only_server_and_missing_rights_are_told(cluster: Cluster, shared: OutboxSettings) -> None:
    name = shared.url.rpartition("/")[2]
    cluster.execute("DROP ROLE IF EXISTS guest")
    cluster.execute("CREATE ROLE guest LOGIN")
    guest = OutboxSettings(cluster.url(name, user="guest"))
    assert trouble(guest).trouble is Trouble.NO_PERMISSION
    cluster.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert trouble(shared).trouble is Trouble.READ_ONLY


def test_a_wrong_password_is_told_and_the_right_one_comes_from_a_store(tmp_path: Path) -> None:
    with running("fsync = off") as own:
        settings = own.database()
        own.execute("ALTER ROLE postgres PASSWORD 'lösen åäö'")
        (own.base / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        own.stop()
        own.start()
        assert trouble(settings).trouble is Trouble.LOGIN
        secret = tmp_path / "secret"
        secret.write_text("lösen åäö\n")
        secret.chmod(0o600)
        right = settings._replace(secret=SecretSource(Store.FILE, str(secret)))
        Connection(right).close()
        secret.write_text("fel\n")
        told = trouble(right).explained()
        assert told.exit_code == 75
        assert "fel" not in told.message


def test_a_server_that_stops_answering_is_given_up(
    cluster: Cluster, shared: OutboxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtpsetup.outbox.postgresql.connection._ANSWER_SECONDS", 0.5)
    db = Connection(shared)
    with pytest.raises(SharedOutboxError, match="no answer") as caught:
        db.one("SELECT pg_sleep(5)")
    assert caught.value.trouble is Trouble.UNREACHABLE
    db.close()


# poolers


@contextmanager
def pooler(cluster: Cluster, directory: Path, mode: str) -> Iterator[int]:
    """PgBouncer in front of the cluster. Yields its port."""
    if not os.path.exists("/usr/sbin/pgbouncer"):
        missing("needs PgBouncer: apt-get install pgbouncer")
    port = free_port()
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={cluster.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\ndefault_pool_size = 5\n"
    )
    for place in (directory, *directory.parents[:3]):
        place.chmod(place.stat().st_mode | 0o055)
    config.chmod(0o644)
    process = subprocess.Popen(
        cluster.as_owner("/usr/sbin/pgbouncer", str(config)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: accepts_connections(port))
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_pooler_in_transaction_mode_is_refused(cluster: Cluster, shared: OutboxSettings, tmp_path: Path) -> None:
    with pooler(cluster, tmp_path, "transaction") as port:
        settings = shared._replace(url=shared.url.replace(f":{cluster.port}/", f":{port}/"))
        error = trouble(settings)
    assert error.trouble is Trouble.POOLER
    assert "session" in error.explained().hints[0]


def test_a_pooler_in_session_mode_is_used(cluster: Cluster, shared: OutboxSettings, tmp_path: Path) -> None:
    with pooler(cluster, tmp_path, "session") as port:
        settings = shared._replace(url=shared.url.replace(f":{cluster.port}/", f":{port}/"))
        with PostgresqlOutbox(settings, str(tmp_path)) as box, box.lease() as lease:
            number = box.add(new_mail(1, (A,)))
            box.take("a", "", lease, LATER, 1)
            box.mark_possibly_delivered(number)
            box.remove(number)
            assert box.mails() == []


# a mail's way


def test_a_possible_delivery_is_on_the_disk_although_the_session_does_not_wait(tmp_path: Path) -> None:
    with running("wal_writer_delay = 10s") as own:
        settings = own.database()
        with PostgresqlOutbox(settings, str(tmp_path), is_durable=False) as box, box.lease() as lease:
            first, second = (box.add(new_mail(number, (A,))) for number in (1, 2))
            box.take("a", "", lease, LATER, 2)
            box.mark_possibly_delivered(first)
            box.mark_possibly_delivered(second)
            own.crash()
        with PostgresqlOutbox(settings, str(tmp_path)) as box:
            box.revive(time.time())
            assert [mail.state for mail in box.mails()] == [MailState.UNKNOWN] * 2


def test_what_the_server_accepted_is_noted_over_a_new_connection(cluster: Cluster, box: PostgresqlOutbox) -> None:
    number = box.add(new_mail(1, (A,)))
    with box.lease() as lease:
        box.take("a", "", lease, LATER, 1)
        box.mark_possibly_delivered(number)
        cluster.execute(f"SELECT pg_terminate_backend({box.database.backend})")
        box.remove(number)
    with PostgresqlOutbox(box.settings, box.directory) as again:
        assert again.mails() == []
        assert [mail.id for mail in again.sent_mails(10)] == [number]


def test_a_mail_that_others_have_taken_back_is_removed_by_who_knows_that_it_arrived(box: PostgresqlOutbox) -> None:
    number = box.add(new_mail(1, (A,)))
    with PostgresqlOutbox(box.settings, box.directory) as worker, worker.lease() as lease:
        worker.take("a", "", lease, LATER, 1)
        worker.mark_possibly_delivered(number)
        worker._db.one("SELECT pg_advisory_unlock_all()")  # as when its session is gone
        assert box.revive(time.time()) == 1
        mail = box.mail(number)
        assert mail
        assert mail.next_attempt is not None
        assert mail.next_attempt > time.time() + 30  # so that the worker has time to say so
        worker.remove(number)
    assert box.mails() == []


def test_new_mail_is_heard_at_once(shared: OutboxSettings, box: PostgresqlOutbox) -> None:
    heard = threading.Event()
    listener = Listener(shared, lambda _account: heard.set())
    listener.start()
    assert heard.wait(10)
    heard.clear()
    box.add(new_mail(1, (A,)))
    assert heard.wait(5)
    listener.stop()


def test_sent_mail_is_forgotten_after_its_days(shared: OutboxSettings, tmp_path: Path) -> None:
    with PostgresqlOutbox(shared._replace(keep_sent=3.0), str(tmp_path)) as box:
        for number in range(2):
            box.add(new_mail(number, (A,)))
        with box.lease() as lease:
            for mail in box.take("a", "", lease, LATER, 2):
                box.remove(mail.id)
        assert box.database.one("SELECT count(*) FROM smtpsetup.content")[0] == 0
        box.database.run("UPDATE smtpsetup.sent SET sent_at = now() - interval '4 days' WHERE subject = '0'")
        box.forget_sent()
        assert [mail.subject for mail in box.sent_mails(10)] == ["1"]


# what was kept on this machine


def test_mail_that_was_kept_here_is_handed_on_once(box: PostgresqlOutbox) -> None:
    with SqliteOutbox(box.directory) as local:
        local.add(new_mail(1, (A,))._replace(attempts=2, last_reply="421", last_code="server.temporary"))
        local.add(new_mail(2, (A,))._replace(state=MailState.FAILED, next_attempt=None))
        with local.lease() as lease:
            local.add(new_mail(3, (A,))._replace(state=MailState.SENDING, lease=lease))
            before = local.mails()
            assert hand_on(box.directory, box).moved == 2
        assert [mail.subject for mail in local.mails()] == ["3"]
    after = box.mails()
    for old, new in zip(before, after, strict=False):
        assert old._replace(id=0) == new._replace(id=0)
    assert hand_on(box.directory, box).moved == 1  # its process has ended
    assert hand_on(box.directory, box).moved == 0
    assert [mail.subject for mail in box.mails()] == ["1", "2", "3"]


def test_a_crash_between_the_two_commits_doubles_nothing(
    box: PostgresqlOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteOutbox(box.directory) as local:
        local.add(new_mail(1, (A,)))
    with monkeypatch.context() as patch:
        patch.setattr(SqliteOutbox, "drop", lambda _box, _number: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            hand_on(box.directory, box)
    with box.lease() as lease:  # it is sent before the machine comes back
        for mail in box.take("a", "", lease, LATER, 9):
            box.remove(mail.id)
    assert hand_on(box.directory, box).moved == 1
    assert box.mails() == []
    with SqliteOutbox(box.directory) as local:
        assert local.mails() == []


def test_a_mail_whose_commit_was_not_confirmed_is_not_put_there_twice(box: PostgresqlOutbox) -> None:
    put = new_mail(1, (A,))._replace(queued_at=1234.5678)
    box.add(put)
    with SqliteOutbox(box.directory) as local:
        local.add(put)
        local.add(put._replace(queued_at=1234.5679, subject="another with the same Message-ID"))
    assert hand_on(box.directory, box).moved == 2
    assert [mail.subject for mail in box.mails()] == ["1", "another with the same Message-ID"]


def test_a_part_of_a_mail_that_was_handed_on_hides_no_other(box: PostgresqlOutbox) -> None:
    put = new_mail(1, (A, "b@example.com"))._replace(queued_at=1234.5678)
    with SqliteOutbox(box.directory) as local:
        local.add(put)
        assert hand_on(box.directory, box).moved == 1
        (mail,) = box.mails()
        error = SmtpsetupError("server.temporary", "not now")
        parts = [Disposition((one,), error, state, None) for one, state in zip(mail.recipients, STATES, strict=True)]
        assert len(box.settle(mail.id, parts)) == 2
        local.add(put._replace(subject="kept beside it"))
        assert hand_on(box.directory, box).moved == 1
    assert len(box.mails()) == 3


def test_a_mail_that_the_database_does_not_take_holds_up_no_other(box: PostgresqlOutbox) -> None:
    with SqliteOutbox(box.directory) as local:
        local.add(new_mail(1, (A,))._replace(config=f"/{os.urandom(4000).hex()}"))
        local.add(new_mail(2, (A,))._replace(message_id=f"<{'x' * 5000}@example.com>", client="a\0b"))
        done = hand_on(box.directory, box)
        assert done.moved == 1
        assert isinstance(done.fault, SharedOutboxError)
        assert [mail.subject for mail in local.mails()] == ["1"]
    assert [mail.subject for mail in box.mails()] == ["2"]


def test_a_damaged_outbox_of_this_machine_does_not_stop_the_shared_one(box: PostgresqlOutbox, tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"not a database" * 100)
    assert hand_on(box.directory, box).fault is not None


def test_what_an_account_sent_alone_is_counted_for_all(box: PostgresqlOutbox) -> None:
    usage.record(box.directory, "a", 3)
    usage.record(box.directory, "relay client x", 9)
    hand_on(box.directory, box, ["a"])
    hand_on(box.directory, box, ["a"])
    assert box.sent_last_day("a") == (1, 3)
    assert usage.last_day(box.directory, "relay client x") == (1, 9)


# batches


def test_a_batch_is_one_runs_at_a_time_and_remembers_its_mails(shared: OutboxSettings, tmp_path: Path) -> None:
    with SharedJournal(shared, str(tmp_path), "x") as journal:
        assert not journal.is_resumed
        with pytest.raises(BusyError):
            SharedJournal(shared, str(tmp_path), "x")
        for key in ("done", "dotted", "broke", "partly", "not-sent"):
            journal.mark_possibly_delivered(key)
        journal.mark_done("done")
        journal.mark_broken("broke")
        journal.mark_partly_done("partly", ("b@example.com",))
        journal.mark_not_sent("not-sent")
        first = journal.message_id("done", "example.com")
    with SharedJournal(shared, str(tmp_path), "x") as again:
        assert (again.is_resumed, again.message_id("done", "example.com")) == (True, first)
        assert (again.is_done("done"), again.is_unknown("dotted"), again.has_broken("broke")) == (True, True, True)
        assert (again.left("partly"), again.is_done("not-sent")) == (("b@example.com",), False)
        again.mark_ended()
    with SharedJournal(shared, str(tmp_path), "x") as ended:
        assert ended.is_done("done")
        ended.box.database.run("UPDATE smtpsetup.batch SET ended_at = now() - interval '13 hours'")
    with SharedJournal(shared, str(tmp_path), "x") as anew:
        assert not anew.is_resumed
        assert anew.message_id("done", "example.com") != first


def test_a_run_that_has_lost_its_session_sends_nothing_more(
    cluster: Cluster, shared: OutboxSettings, tmp_path: Path
) -> None:
    with SharedJournal(shared, str(tmp_path), "x") as journal:
        journal.mark_possibly_delivered("1")
        cluster.execute(f"SELECT pg_terminate_backend({journal.box.database.backend})")
        journal.mark_done("1")  # what was sent is noted all the same
        with pytest.raises(SharedOutboxError):
            journal.mark_possibly_delivered("2")
    with SharedJournal(shared, str(tmp_path), "x") as again:
        assert (again.is_done("1"), again.state_of("2")) == (True, "")


def test_mails_are_loaded_together_with_their_keys(shared: OutboxSettings, tmp_path: Path) -> None:
    large = new_mail(3, (A,))
    body = b"x" * 1_200_000
    large = large._replace(message=large.message._replace(body=lambda: iter([body]), body_size=len(body)))
    with SharedJournal(shared, str(tmp_path), "x", reads_states=False) as journal:
        numbers = batches.load(
            journal, [Loaded("1", new_mail(1, (A,))), Loaded("2\t\\", new_mail(2, (A,))), Loaded("3", large)]
        )
        assert set(batches.states(journal, ["1", "2\t\\", "4"])) == {"1", "2\t\\"}
        assert [mail.id for mail in journal.box.mails()] == numbers
        assert all(journal.box.is_sound(mail) for mail in journal.box.mails())
        assert b"".join(journal.box.message(numbers[2]).body()) == body
        with pytest.raises(SharedOutboxError):
            batches.load(journal, [Loaded("5", new_mail(5, (A,))), Loaded("1", new_mail(1, (A,)))])
        assert len(journal.box.mails()) == 3
        journal.mark_possibly_delivered("6")
        journal.mark_not_sent("6")
        batches.load(journal, [Loaded("6", new_mail(6, (A,)))])
        assert batches.states(journal, ["6"]) == {"6": ("done", ())}
