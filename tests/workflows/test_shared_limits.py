"""A provider's limits are kept by all machines together; the relay and a merge use the shared outbox, too."""

from __future__ import annotations

import concurrent.futures
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.outbox.postgresql.store import PostgresqlOutbox
from tests.postgresql import running
from tests.recording import RecordingServer, plain_account
from tests.relay import add_client, running_relay
from tests.rows import provider_row
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpsetup.config.outbox_settings import OutboxSettings
    from tests.conftest import Home


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def set_up(home: Home, server: RecordingServer, shared: OutboxSettings, limits: str) -> None:
    """An account of a provider with these limits, and a shared outbox."""
    row = provider_row("post", "Post", "example.com", port=server.port)
    home.file(".config/smtpsetup/providers.toml", f"{row}\n[provider.limits]\n{limits}\n")
    plain_account(home, server.port, provider='"post"', host='"localhost"')
    home.config.write_text(f'outbox = "{shared.url}"\n{home.config.read_text()}')


def load(home: Home, count: int) -> None:
    """Put so many mails into the outbox."""
    rows = "".join(f'{{"to": "k{number}@example.org", "body": "x"}}\n' for number in range(count))
    run = home.run("send", "--batch", "-", "--queue", "always", stdin=rows)
    assert run.code == 0, run.err


def test_a_limit_a_day_is_kept_over_all_machines(home: Home, server: RecordingServer, shared: OutboxSettings) -> None:
    set_up(home, server, shared, "messages_per_day = 10")
    load(home, 30)
    home.run("send", "someone@example.org", "--body", "x", "--subject", "sent without the outbox")
    for machine in ("one", "two", "one"):
        run = home.run("outbox", "flush", "--now", "--json", SMTPSETUP_STATE_DIR=str(home.path / machine))
        assert run.code in (0, 75), run.err
    home.run("outbox", "flush", "--json")  # of the machine that has sent one alone
    assert len(server.mails) == 1 + 10
    status = home.run("outbox", "status", "--json").json["result"]
    assert (status["waiting"], [one["error"] for one in status["by_code"]]) == (20, ["limit.quota"])


def test_machines_that_send_at_once_keep_a_limit_a_day(
    home: Home, server: RecordingServer, shared: OutboxSettings
) -> None:
    set_up(home, server, shared, "messages_per_day = 50")
    load(home, 200)

    def flush(number: int) -> int:
        return home.run("outbox", "flush", SMTPSETUP_STATE_DIR=str(home.path / f"machine{number}")).code

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(flush, range(4))) <= {0, 75}
    assert 50 <= len(server.mails) <= 50 + 4  # a mail that was just accepted is counted a moment later


def test_a_limit_of_connections_is_kept_over_all_machines(
    home: Home, server: RecordingServer, shared: OutboxSettings, tmp_path: Path
) -> None:
    set_up(home, server, shared, "connections = 1")
    load(home, 3)
    with PostgresqlOutbox(shared, str(tmp_path)) as other, other.connection("a", 1) as is_other_connected:
        assert is_other_connected
        assert home.run("outbox", "flush", "--json").json["result"]["sent"] == 0
        home.file("b.jsonl", '{"to": "kund@example.org", "body": "x"}\n')
        run = home.run("send", "--batch", "b.jsonl", "--json")
        assert (run.code, run.lines[-1]["error"]["code"]) == (75, "limit.rate")
    assert home.run("outbox", "flush", "--json").json["result"]["sent"] == 3
    assert home.run("send", "--batch", "b.jsonl").code == 0
    assert len(server.mails) == 4


def test_a_limit_a_minute_gives_turns_over_all_machines(
    home: Home, server: RecordingServer, shared: OutboxSettings, tmp_path: Path
) -> None:
    set_up(home, server, shared, "messages_per_minute = 60")
    load(home, 3)
    with PostgresqlOutbox(shared, str(tmp_path)) as other:
        turn = other.pace("a")
        for _number in range(2):  # another machine has had two turns
            turn(1.0)
        began = time.monotonic()
        assert home.run("outbox", "flush", "--json").json["result"]["sent"] == 3
        assert 3.0 < time.monotonic() - began < 10.0


def test_a_merge_is_loaded_into_the_shared_outbox(home: Home, server: RecordingServer, shared: OutboxSettings) -> None:
    set_up(home, server, shared, "")
    home.file("kunder.csv", "email;namn\na@example.org;Åsa\nb@example.org;Bo\n")
    run = home.run("send", "--merge", "kunder.csv", "--body", "Hej $namn", "--queue", "always", "--json")
    assert run.lines[-1]["result"]["queued"] == 2, run.err
    assert home.run("outbox", "flush", "--json").json["result"]["sent"] == 2
    assert {mail.recipients for mail in server.mails} == {("a@example.org",), ("b@example.org",)}


def test_the_relay_takes_mail_while_the_database_is_away(home: Home, server: RecordingServer) -> None:
    with running("fsync = off") as cluster:
        set_up(home, server, cluster.database(), "")
        password = add_client(home)
        with running_relay(home) as relay:
            with relay.client() as client:
                assert client.log_in(password).startswith("235")
                assert client.hand_over().startswith("250")
                wait_for(lambda: len(server.mails) == 1)
                cluster.stop()
                for _number in range(3):
                    assert client.hand_over().startswith("250")
            assert home.run("outbox", "list").code == 75
            assert len(home.run("outbox", "list", "--here", "--json").json["result"]) == 3
            assert home.run("relay", "--status").code == 0
            cluster.start()
            wait_for(lambda: len(server.mails) == 4, 40)
            assert relay.stop() == 0
        assert home.run("outbox", "list", "--here", "--json").json["result"] == []
        assert home.run("outbox", "status", "--json").json["result"]["waiting"] == 0
