"""What the recipes of docs/scale.md carry: mails a second and delay, with a provider that is near or 50 ms away.

`python bench/null_clients.py [ROW...]`; MAILS=1000 is how many each row sends. The provider takes everything. Needs
root and Debian's postfix, sasl2-bin and libsasl2-modules.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))
from loopback import running
from relay import Place
from sending_site import ROUND_TRIP, SMTPSETUP

from smtpsetup.message.message import Envelope
from smtpsetup.outbox.mail import NewMail
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.relay.certificate import fingerprint
from tests import null_client
from tests.messages import from_bytes
from tests.recording import RecordingServer
from tests.servers import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAILS = int(os.environ.get("MAILS", "1000"))
SINGLE = 20  # mails one after the other, for the delay
PATIENCE = 600.0  # seconds
TEXT = (b"y" * 70 + b"\r\n") * 13


@contextmanager
def provider(*, is_far: bool) -> Iterator[tuple[RecordingServer, int]]:
    """A provider that takes everything, and the port to reach it on."""
    with ExitStack() as stack:
        server = stack.enter_context(RecordingServer())
        port = server.port
        if is_far:
            port = free_port()
            stack.enter_context(running("delay", port, server.port, ROUND_TRIP / 2))
        yield server, port


def rate(server: RecordingServer, began: float, count: int) -> str:
    """Mails a second, once all have arrived."""
    wait_for(lambda: len(server.mails) >= count, PATIENCE)
    if len(server.mails) != count:
        sys.exit(f"{len(server.mails)} arrived, {count} were sent")
    return f"{count / (server.mails[-1].moment - began):.0f} mails/s"


def flush(base: Path, *, is_far: bool) -> str:
    """One flush of an outbox."""
    with provider(is_far=is_far) as (server, port):
        place = Place(base, port)
        with SqliteOutbox(str(base / ".local" / "state" / "smtpsetup"), is_durable=False) as outbox:
            for number in range(MAILS):
                content = f"Message-ID: <{number}@bench.example>\r\nSubject: {number}\r\n\r\n".encode() + TEXT
                envelope = Envelope("info@example.com", ("kund@example.org",))
                mail = NewMail("info@example.com", envelope, from_bytes(content), f"<{number}@bench.example>", "x")
                outbox.add(mail)
        began = time.monotonic()
        place.smtpsetup("outbox", "flush")
        return rate(server, began, MAILS)


def processes(base: Path, *, is_far: bool) -> str:
    """One `send` after the other, each a process with a connection of its own."""
    count = MAILS // 10
    with provider(is_far=is_far) as (server, port):
        place = Place(base, port)
        began = time.monotonic()
        for number in range(count):
            place.smtpsetup("send", "kund@example.org", "-s", str(number), "--body", "x")
        return rate(server, began, count)


def batch(base: Path, *, is_far: bool, connections: int = 1) -> str:
    """One `send --batch`."""
    rows = base.with_suffix(".jsonl")
    lines = [{"to": "kund@example.org", "subject": str(number), "body": "x" * 900} for number in range(MAILS)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with provider(is_far=is_far) as (server, port):
        place = Place(base, port)
        began = time.monotonic()
        place.smtpsetup("send", "--batch", str(rows), "--connections", str(connections))
        return rate(server, began, MAILS)


@contextmanager
def chain(base: Path, *, is_far: bool) -> Iterator[tuple[RecordingServer, null_client.NullClient]]:
    """A null client of a relay, as docs/scale.md sets both up."""
    with provider(is_far=is_far) as (server, port), ExitStack() as stack:
        place = Place(base, port)
        relay_port, _pid = stack.enter_context(place.relay("--tls"))
        lines, (password_line,) = (
            null_client.blocks("/etc/postfix/main.cf")[0],
            null_client.blocks("/etc/postfix/relay-"),
        )
        hop = f"[127.0.0.1]:{relay_port}"
        shown = fingerprint(str(base / ".local" / "state" / "smtpsetup" / "relay-certificate.pem"))
        values = null_client.settings(lines) | {"relayhost": hop, "smtp_tls_fingerprint_cert_match": shown}
        password = password_line.replace("[relay.mittforetag.se]:2525 web1:PASSWORD", f"{hop} bench:{place.password}")
        yield server, stack.enter_context(null_client.running(values, password))


@contextmanager
def direct(*, is_far: bool) -> Iterator[tuple[RecordingServer, null_client.NullClient]]:
    """A null client of the provider itself, over one connection, without TLS and login, which are not measured."""
    with provider(is_far=is_far) as (server, port):
        lines, without_relay = null_client.blocks("/etc/postfix/main.cf")
        values = null_client.settings(lines) | null_client.settings(without_relay)
        values |= {"relayhost": f"[127.0.0.1]:{port}", "smtp_tls_security_level": "none"}
        with null_client.running(values | {"smtp_sasl_auth_enable": "no"}, "") as client:
            yield server, client


def _hand_in(client: null_client.NullClient) -> None:
    """Hand in MAILS mails of 1 kB, over four connections at once."""
    sender, recipient = "info@example.com", "kund@example.org"
    command = ["smtp-source", "-s", "4", "-m", str(MAILS), "-l", "1000", "-f", sender, "-t", recipient]
    subprocess.run([*command, f"127.0.0.1:{client.port}"], check=True)


def _measured(server: RecordingServer, client: null_client.NullClient) -> str:
    """The rate of many mails, the delay of single ones."""
    delays = []
    for number in range(SINGLE):
        began = time.monotonic()
        client.send(number)
        wait_for(lambda: len(server.mails) > number, 60)  # noqa: B023  it is called at once
        delays.append(server.mails[-1].moment - began)
    wait_for(lambda: not client.waiting(), 60)
    server.mails.clear()
    began = time.monotonic()
    _hand_in(client)
    handed_in = MAILS / (time.monotonic() - began)
    wait_for(lambda: client.log.count("status=sent") >= SINGLE + MAILS, PATIENCE)
    handed_on = MAILS / (time.monotonic() - began)
    through = rate(server, began, MAILS)
    single = f"single mail median {statistics.median(delays):.2f} s, at most {max(delays):.2f} s"
    return f"{through} at the provider; {handed_in:.0f}/s handed in, {handed_on:.0f}/s handed on; {single}"


def by_relay(base: Path, *, is_far: bool) -> str:
    """Null client, relay, provider."""
    with chain(base, is_far=is_far) as (server, client):
        return _measured(server, client)


def by_itself(_base: Path, *, is_far: bool) -> str:
    """Null client, provider."""
    with direct(is_far=is_far) as (server, client):
        return _measured(server, client)


ROWS: dict[str, Callable[..., str]] = {
    "send": processes,
    "flush": flush,
    "batch": batch,
    "batch-8": partial(batch, connections=8),
    "relay": by_relay,
    "direct": by_itself,
}


def main() -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        for name in sys.argv[1:] or ROWS:
            for is_far in (False, True):
                where = f"{ROUND_TRIP * 1000:.0f} ms away" if is_far else "on this machine"
                found = ROWS[name](Path(directory, f"{name}-{is_far}"), is_far=is_far)
                print(f"{name}, provider {where}: {found}", flush=True)


if __name__ == "__main__":
    print(f"smtpsetup at {SMTPSETUP}, {MAILS} mails", flush=True)
    main()
