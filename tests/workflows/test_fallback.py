"""The outbox sends with another account where one cannot send for good, and only then."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.outbox.sqlite.store import SqliteOutbox
from smtpsetup.sending.fallback import sent_by
from tests.certificates import server_context
from tests.conftest import PASSWORD, account_at
from tests.faults.scripts import TO_MAIL
from tests.messages import from_bytes
from tests.sendmail import sendmail
from tests.servers import ScriptedServer, closed_port

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home

FIRST, OTHER = "info@example.com", "second@example.net"
CONFIG = """
default = "{first}"

[accounts."{first}"]
address = "{first}"
from_name = "Mitt Företag AB"
host = "localhost"
port = {port}
security = "tls"
ca_file = "{ca_file}"
secret = {{ store = "file", path = "{first_password}" }}
fallback = {fallback}

[accounts."{other}"]
address = "{other}"
host = "localhost"
port = {other_port}
security = "tls"
ca_file = "{ca_file}"
secret = {{ store = "file", path = "{other_password}" }}
"""


def configured(
    home: Home, facts: SandboxFacts, *, password: str = "wrong", fallback: tuple[str, ...] = (OTHER,), **ports: int
) -> None:
    """Two accounts at the sandbox; the first has a wrong password unless another is given."""
    text = CONFIG.format(
        first=FIRST,
        other=OTHER,
        port=ports.get("port", facts.tls_port),
        other_port=ports.get("other_port", facts.tls_port),
        ca_file=facts.ca_file,
        first_password=home.file("first", password + "\n"),
        other_password=home.file("other", PASSWORD + "\n"),
        fallback=json.dumps(fallback),
    )
    home.file(".config/smtpsetup/config.toml", text)


def flushed(home: Home) -> dict[str, object]:
    result: dict[str, object] = json.loads(home.run("outbox", "flush", "--now", "--json").out)["result"]
    return result


def test_a_refused_login_lets_the_other_account_send(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    sent = home.run("send", "kund@example.org", "-s", "Faktura", "--body", "x", "--json")
    assert (sent.code, sent.json["result"]["queued"]) == (0, True)
    flushed(home)
    (mail,) = sandbox.mails
    assert (mail.username, mail.sender, mail.recipients) == (OTHER, OTHER, ("kund@example.org",))
    assert str(mail.message["From"]) == f"Mitt Företag AB <{OTHER}>"
    assert str(mail.message["Reply-To"]) == f"Mitt Företag AB <{FIRST}>"
    assert str(mail.message["Subject"]) == "Faktura"
    assert home.run("outbox", "list", "--json").json["result"] == []
    log = (home.path / ".local/state/smtpsetup/mail.log").read_text()
    assert f"account={OTHER}" in log
    assert "auth.bad-credentials" in log  # nobody forgets that the first account is dead


def test_sendmail_keeps_the_mail_for_the_other_account(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    sendmail(home, "-i", "kund@example.org", stdin="Subject: Hej\nReply-To: svar@example.com\n\nx\n")
    flushed(home)
    (mail,) = sandbox.mails
    assert (mail.sender, str(mail.message["Reply-To"])) == (OTHER, "svar@example.com")


def test_a_server_that_is_away_is_waited_for(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    with closed_port() as port:
        configured(home, facts, port=port)
        home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
        flushed(home)
    assert sandbox.mails == []
    assert len(home.run("outbox", "list", "--json").json["result"]) == 1


def test_a_refusal_of_the_mail_is_no_reason(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts, password=PASSWORD)
    done = home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "--json")
    assert done.code == 0
    assert sandbox.mails[0].sender == FIRST


def test_without_a_fallback_the_refusal_is_told_at_once(home: Home, facts: SandboxFacts) -> None:
    configured(home, facts, fallback=())
    done = home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.bad-credentials")


def test_queue_never_means_never(home: Home, facts: SandboxFacts) -> None:
    configured(home, facts)
    done = home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "--queue", "never", "--json")
    assert (done.code, done.json["error"]["code"]) == (77, "auth.bad-credentials")


@pytest.mark.parametrize("fallback", [(FIRST,), ("nobody@example.org",), ("nobody@example.org", OTHER)])
def test_an_account_that_is_none_is_passed_over(
    home: Home, facts: SandboxFacts, sandbox: Sandbox, fallback: tuple[str, ...]
) -> None:
    configured(home, facts, fallback=fallback)
    home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
    flushed(home)
    assert [mail.sender for mail in sandbox.mails] == ([OTHER] if OTHER in fallback else [])
    assert len(home.run("outbox", "list", "--json").json["result"]) == (0 if OTHER in fallback else 1)


def test_where_the_other_account_is_dead_too_the_mail_waits(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    home.file("other", "wrong too\n")
    home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
    flushed(home)
    assert sandbox.mails == []
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["state"], mail["account"]) == ("waiting", FIRST)


def test_each_mail_is_counted_once(home: Home, facts: SandboxFacts) -> None:
    configured(home, facts)
    home.file("other", "wrong too\n")
    for _number in range(2):
        home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
    with SqliteOutbox(str(home.path / ".local/state/smtpsetup")) as outbox:
        outbox._db.execute("UPDATE mail SET unknowns = 1 WHERE id = (SELECT min(id) FROM mail)")
        outbox._db.commit()
    assert flushed(home)["waiting"] == 2


def test_a_mail_that_may_have_arrived_is_not_sent_by_another(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
    with SqliteOutbox(str(home.path / ".local/state/smtpsetup")) as outbox:
        outbox._db.execute("UPDATE mail SET unknowns = 1")
        outbox._db.commit()
    flushed(home)
    assert sandbox.mails == []
    assert len(home.run("outbox", "list", "--json").json["result"]) == 1


def test_a_batch_waits_for_the_other_account(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Hej", "body": "x"}) for n in range(5)]
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--json")
    assert done.code == 0, done.out
    assert {key: flushed(home)[key] for key in ("sent", "waiting", "failed")} == {"sent": 5, "waiting": 0, "failed": 0}
    assert {mail.sender for mail in sandbox.mails} == {OTHER}
    assert len(sandbox.mails) == 5


def test_what_the_other_server_refuses_waits_for_the_mails_own_account(
    home: Home, facts: SandboxFacts, sandbox: Sandbox
) -> None:
    script = (*TO_MAIL, b"553 5.7.1 not yours\r\n", None, b"221 bye\r\n", "drop")
    with ScriptedServer(script, server_context()) as server:
        configured(home, facts, other_port=server.port)
        home.run("send", "kund@example.org", "-s", "Hej", "--body", "x")
        done = flushed(home)
    assert (done["sent"], done["waiting"], done["failed"]) == (0, 1, 0)
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["state"], mail["account"]) == ("waiting", FIRST)
    home.file("first", PASSWORD + "\n")
    flushed(home)
    assert [mail.sender for mail in sandbox.mails] == [FIRST]


def test_the_header_is_changed_and_nothing_else() -> None:
    content = (
        b"Received: a\r\nfrom: =?utf-8?q?F=C3=B6retaget?=\r\n <info@example.com>\r\nSender: x@example.com\r\n"
        b"To: kund@example.org\r\nSubject: Hej\r\n\r\nFrom: text\r\n"
    )
    delivery = Delivery(Envelope("info@example.com", ("kund@example.org",)), from_bytes(content))
    changed = sent_by(delivery, account_at(465, address=OTHER, from_name=""))
    assert changed.envelope == Envelope(OTHER, ("kund@example.org",))
    assert b"".join(changed.message.chunks()) == (
        b"From: =?utf-8?q?F=C3=B6retaget?= <second@example.net>\r\n"
        b"Reply-To: =?utf-8?q?F=C3=B6retaget?=\r\n <info@example.com>\r\n"
        b"Received: a\r\nTo: kund@example.org\r\nSubject: Hej\r\n\r\nFrom: text\r\n"
    )
    notice = sent_by(delivery._replace(envelope=Envelope("", ("kund@example.org",))), account_at(465, address=OTHER))
    assert notice.envelope.sender == ""


def test_the_relay_sends_by_it_too(home: Home, facts: SandboxFacts, sandbox: Sandbox) -> None:
    configured(home, facts)
    home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "--queue", "always")
    started = time.monotonic()
    while not sandbox.mails and time.monotonic() - started < 20:
        flushed(home)
    assert len(sandbox.mails) == 1
