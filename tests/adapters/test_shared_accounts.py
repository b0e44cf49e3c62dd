"""What machines with one outbox share of an account: limits, and sign-ins."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from smtpsetup.config.secret_source import SecretSource, Store
from smtpsetup.core.errors import SmtpsetupError
from smtpsetup.outbox.errors import SharedOutboxError
from smtpsetup.outbox.postgresql import sealing, token_store
from smtpsetup.outbox.postgresql.store import PostgresqlOutbox
from smtpsetup.state.request_limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.postgresql import Cluster

pytestmark = pytest.mark.slow  # with a PostgreSQL of its own


@pytest.fixture
def box(shared: OutboxSettings, tmp_path: Path) -> Iterator[PostgresqlOutbox]:
    with PostgresqlOutbox(shared, str(tmp_path)) as box:
        yield box


# limits, and sign-ins


def test_the_requests_of_a_mailbox_are_counted_over_all_machines(box: PostgresqlOutbox) -> None:
    with PostgresqlOutbox(box.settings, box.directory) as other:
        limits = Limits(at_once=1, most=100, seconds=30.0)
        mine, theirs = box.request_limits("a", limits), other.request_limits("a", limits)
        mine.reserve(60)
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            raise InterruptedError

        with pytest.raises(InterruptedError):
            theirs.reserve(60, wait)
        assert 29 < waits[0] <= 30.001
        assert mine.pause_left() == 0.0
        theirs.pause(20)
        assert 19 < mine.pause_left() <= 20
        with mine.place(1), pytest.raises(TimeoutError), theirs.place(0.2):
            pass
        with theirs.place(1):
            pass


def test_what_is_sealed_is_read_with_its_key_and_its_name_only() -> None:
    key = sealing.new_key()
    sealed = sealing.seal(key, "a", b"token")
    assert b"token" not in sealed
    assert sealing.unseal(key, "a", sealed) == b"token"
    for wrong in ((key, "b", sealed), (sealing.new_key(), "a", sealed), (key, "a", sealed[:-1]), (key, "a", b"")):
        with pytest.raises(sealing.SealBrokenError):
            sealing.unseal(*wrong)


def test_the_key_is_made_once_and_handed_to_another_machine(shared: OutboxSettings, tmp_path: Path) -> None:
    mine = shared._replace(key=SecretSource(Store.FILE, str(tmp_path / "mine")))
    theirs = shared._replace(key=SecretSource(Store.FILE, str(tmp_path / "theirs")))
    with token_store.locked(mine, "a", 1) as nothing:
        assert nothing is None
    assert [token_store.ensure_key(mine), token_store.ensure_key(mine)] == [True, False]
    with pytest.raises(SmtpsetupError, match="has not got the key"):
        token_store.ensure_key(theirs)
    with pytest.raises(SmtpsetupError, match="has not got the key") as caught, token_store.locked(theirs, "a", 1):
        pass
    assert "share-key --receive" in caught.value.hints[0]
    with pytest.raises(SmtpsetupError, match="not the key"):
        token_store.receive_key(theirs, sealing.new_key())
    token_store.receive_key(theirs, token_store.own_key(mine))
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o600
    with token_store.locked(mine, "a", 1) as store:
        assert store
        store.save(b"refresh-token")
        with pytest.raises(SharedOutboxError), token_store.locked(theirs, "a", 1):
            pass
    with token_store.locked(theirs, "a", 1) as store:
        assert store
        assert store.load() == b"refresh-token"


def test_a_token_is_not_in_clear_in_the_database(cluster: Cluster, shared: OutboxSettings, tmp_path: Path) -> None:
    mine = shared._replace(key=SecretSource(Store.FILE, str(tmp_path / "mine")))
    token_store.ensure_key(mine)
    with token_store.locked(mine, "a", 1) as store:
        assert store
        store.save(b"very-secret-refresh-token")
    cluster.execute("CHECKPOINT")
    found = subprocess.run(
        ["grep", "-rl", "very-secret-refresh-token", str(cluster.base / "data")], capture_output=True, check=False
    )
    assert found.stdout == b""
