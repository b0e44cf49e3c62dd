"""Attacks by the words of MAIL and RCPT and by the sender's fields: nobody sends as, or to, what was not agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.relays import NETS_ADDRESS, Attacker, caught, target
from tests.servers import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.relays import Target
    from tests.relay import Client

SENDER = "MAIL FROM:<info@example.com>"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, name_server: str) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("envelopes"), name_server) as running:
        yield running


@pytest.fixture
def shop(relay: Target) -> Iterator[Client]:
    with relay.shop() as client:
        yield client


# parameters and paths

MAILS = {
    "NUL in the address": (b"<info\0@example.com>", "501"),
    "CR in the address": (b"<info@example.com\rRCPT TO:<evil@example.net>>", "501"),
    "an escape sequence": (b"<info\x1b[31m@example.com>", "501"),
    "bytes that are no UTF-8": (b"<info\xff@example.com>", "501"),
    "a newline of Unicode": ("<info\u2028@example.com>".encode(), "501"),
    "no brackets closed": (b"<info@example.com", "501"),
    "text behind the path": (b"<info@example.com>evil", "501"),
    "two paths": (b"<info@example.com><evil@example.net>", "501"),
    "an unknown parameter": (b"<info@example.com> X=1", "555"),
    "a parameter with CR": (b"<info@example.com> \rRSET", "555"),
    "BINARYMIME": (b"<info@example.com> BODY=BINARYMIME", "555"),
    "a negative size": (b"<info@example.com> SIZE=-1", "501"),
    "a size in other digits": ("<info@example.com> SIZE=\u0661".encode(), "501"),
    "a size of a thousand digits": (b"<info@example.com> SIZE=" + b"9" * 1_000, "501"),
    "a size beyond the limit": (b"<info@example.com> SIZE=52428801", "552"),
    "a size beyond 64 bits": (b"<info@example.com> SIZE=184467440737095516160", "501"),
    "no words": (b"", "501"),
    "a line beyond the limit": (b"<info@example.com> ENVID=" + b"x" * 3_000, "500"),
}


@pytest.mark.parametrize(("words", "code"), MAILS.values(), ids=MAILS)
def test_mail_with_broken_words_begins_nothing(shop: Client, words: bytes, code: str) -> None:
    assert shop.say(b"MAIL FROM:" + words)[:3] == code
    assert shop.say("RCPT TO:<kund@example.org>").startswith("503")


RECIPIENTS = {
    "no address": b"<>",
    "two addresses": b"<a@example.org,b@example.org>",
    "two paths": b"<a@example.org>,<b@example.org>",
    "a command": b"<|/bin/sh>",
    "a command, quoted": b'<"|/bin/sh">',
    "a file": b"</etc/passwd>",
    "an include": b"<:include:/etc/passwd>",
    "NUL": b"<a\0@example.org>",
    "CR": b"<a@example.org\rRCPT TO:<evil@example.net>>",
    "a percent route": b"<a%example.net@localhost>",
    "a bang path": b"<example.net!a>",
    "an address in a comment": b"<a(b@example.net)@example.org>",
    "a display name": b"<A <a@example.org>>",
    "an unknown parameter": b"<a@example.org> NOTIFYX=1",
    "a space in the domain": b"<a@example.org example.net>",
    "two at signs": b"<a@b@example.org>",
}


@pytest.mark.parametrize("words", RECIPIENTS.values(), ids=RECIPIENTS)
def test_a_recipient_that_is_not_one_address_is_refused(shop: Client, words: bytes) -> None:
    assert shop.say(SENDER).startswith("250")
    assert shop.say(b"RCPT TO:" + words)[:1] == "5"
    assert shop.say("DATA").startswith("554")


HARMLESS = {
    "AUTH": (" AUTH=boss@example.com", ""),
    "AUTH with CR": (" AUTH=<>\rMAIL", ""),
    "ENVID": (" RET=FULL ENVID=x\rRSET", ""),
    "ORCPT": ("", " NOTIFY=NEVER ORCPT=rfc822;evil@example.net"),
    "SMTPUTF8": (" SMTPUTF8 BODY=8BITMIME SIZE=1", ""),
}


@pytest.mark.parametrize(("of_mail", "of_rcpt"), HARMLESS.values(), ids=HARMLESS)
def test_no_parameter_reaches_the_provider(relay: Target, shop: Client, of_mail: str, of_rcpt: str) -> None:
    before = len(relay.server.lines)
    first = shop.say(SENDER + of_mail)
    if first.startswith("555"):  # what followed CR is a parameter of its own, and unknown
        return
    assert shop.say("RCPT TO:<kund@example.org>" + of_rcpt).startswith("250")
    shop.say("DATA")
    subject = f"parameters {of_mail + of_rcpt!a}"
    assert shop.say(f"Subject: {subject}\r\n\r\nx\r\n.").startswith("250")
    assert caught(relay.server, subject) == ["info@example.com"]
    lines = "\n".join(relay.server.lines[before:])
    assert not [word for word in ("evil", "boss", "AUTH=", "ENVID", "ORCPT", "NOTIFY", "SMTPUTF8") if word in lines]


def test_the_words_come_in_their_order_only(shop: Client) -> None:
    for command in ("RCPT TO:<a@example.org>", "DATA"):
        assert shop.say(command).startswith("503")
    assert shop.say(SENDER).startswith("250")
    assert shop.say(SENDER).startswith("503")
    assert shop.say("DATA").startswith("554")
    assert shop.say("RCPT TO:<a@example.org>").startswith("250")
    assert shop.say("DATA now").startswith("501")
    assert shop.say("BDAT 5 LAST").startswith("500")


@pytest.mark.parametrize("command", ["RSET", "EHLO again", "HELO again"])
def test_a_mail_that_was_given_up_leaves_no_recipients(relay: Target, shop: Client, command: str) -> None:
    shop.say(SENDER)
    shop.say("RCPT TO:<evil@example.net>")
    assert shop.say(command)[:3] == "250"
    assert shop.say("RCPT TO:<kund@example.org>").startswith("503")
    assert shop.hand_over(f"Subject: after {command}\r\n\r\nx\r\n".encode()).startswith("250")
    assert caught(relay.server, f"after {command}")
    mail = next(mail for mail in relay.server.mails if mail.subject == f"after {command}")
    assert mail.recipients == ("kund@example.org",)


def test_the_limit_of_a_line_does_not_grow(shop: Client) -> None:
    for _each in range(100):
        shop.say("EHLO again")
    assert shop.say(SENDER + " ENVID=" + "x" * 4_000).startswith("500")


def test_a_mail_has_a_thousand_recipients_at_most(shop: Client) -> None:
    shop.sock.sendall(f"{SENDER}\r\n".encode() + b"".join(b"RCPT TO:<a%d@example.org>\r\n" % n for n in range(1_001)))
    answers = [shop.reply()[:3] for _each in range(1_002)]
    assert (answers.count("250"), answers[-1]) == (1_001, "452")


def test_an_address_in_unicode_is_kept_and_sent(relay: Target, shop: Client) -> None:
    assert shop.hand_over(b"Subject: unicode\r\n\r\nx\r\n", recipients=("\u7528\u6237@\u4f8b\u3048.jp",)).startswith(
        "250"
    )
    assert caught(relay.server, "unicode")
    assert not [line for line in relay.said.splitlines() if not line.isprintable()]


def test_a_mail_to_itself_names_no_other_sender_when_it_is_not_the_accounts(relay: Target) -> None:
    with Attacker(relay.relay.port, NETS_ADDRESS) as device:
        device.say("EHLO test")
        assert device.hand_over(b"Subject: no from\r\n\r\nx\r\n", sender="printer@example.com").startswith("250")
    assert caught(relay.server, "no from") == ["printer@example.com"]


# a client that is bound to a sender

OTHERS = {
    "another address": "boss@example.com",
    "another domain": "kund@example.net",
    "a subaddress": "kund+boss@example.com",
    "a subdomain": "kund@mail.example.com",
    "a letter that looks the same": "\u043aund@example.com",
    "a wide letter": "\uff4bund@example.com",
    "a dot at the end": "kund@example.com.",
    "quotes": '"kund boss"@example.com',
    "a route": "@example.com:boss@example.com",
    "two": "kund@example.com,boss@example.com",
}


@pytest.mark.parametrize("sender", OTHERS.values(), ids=OTHERS)
def test_a_bound_client_uses_no_other_envelope_sender(relay: Target, sender: str) -> None:
    with relay.bound() as client:
        assert client.say(f"MAIL FROM:<{sender}>")[:3] in {"501", "553"}
        assert client.say("RCPT TO:<a@example.org>").startswith("503")


FROM_FIELDS = {
    "another address": b"From: boss@example.com",
    "a second one": b"From: kund@example.com, boss@example.com",
    "a second field": b"From: kund@example.com\r\nFrom: boss@example.com",
    "a second field before it": b"From: boss@example.com\r\nFrom: kund@example.com",
    "a blank before the colon": b"X: 1\r\nFrom : boss@example.com",
    "another case": b"fROM: boss@example.com",
    "folded": b"From:\r\n boss@example.com",
    "behind CR": b"Subject: a\rFrom: boss@example.com",
    "behind LF": b"Subject: a\nFrom: boss@example.com",
    "in a group": b"From: kund: kund@example.com, boss@example.com;",
    "behind its own as a name": b'From: "kund@example.com" <boss@example.com>',
    "before a comment": b"From: boss@example.com (kund@example.com)",
    "behind a route": b"From: <@kund@example.com:boss@example.com>",
    "in quotes": b'From: "boss"@example.com',
    "without a comma": b"From: kund@example.com boss@example.com",
    "a look-alike": "From: \u043aund@example.com".encode(),
}


@pytest.mark.parametrize("field", FROM_FIELDS.values(), ids=FROM_FIELDS)
def test_a_bound_client_uses_no_other_sender_in_from(relay: Target, field: bytes) -> None:
    with relay.bound() as client:
        answer = client.hand_over(field + b"\r\nTo: a@example.org\r\n\r\nx\r\n", sender="kund@example.com")
        assert answer.startswith("553"), answer


def sent_from(relay: Target, sender: str, fields: bytes, subject: str) -> bytes:
    """Let the bound client hand a mail over; the header that the provider gets, b"" where it was refused."""
    with relay.bound() as client:
        answer = client.hand_over(fields + f"Subject: {subject}\r\n\r\nx\r\n".encode(), sender)
    if answer.startswith("553"):
        return b""
    wait_for(lambda: subject in relay.server.subjects)
    mail = next(mail for mail in relay.server.mails if mail.subject == subject)
    return mail.sender.encode() + b"\r\n" + mail.content.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "field",
    [
        b"From: kund@example.com: boss@example.com;\r\n",
        b"From: <boss@example.com\r\n",
        b"From:\r\n",
        b"",
    ],
)
def test_a_from_that_is_not_understood_becomes_the_bound_sender(relay: Target, field: bytes) -> None:
    header = sent_from(relay, "kund@example.com", field, f"not understood {len(field)}")
    assert b"From: kund@example.com" in header
    assert b"boss" not in header


def test_a_from_of_which_a_part_is_understood_must_be_the_clients(relay: Target) -> None:
    assert sent_from(relay, "kund@example.com", b'From: boss@example.com, "x\r\n', "a part") == b""


@pytest.mark.parametrize("field", [b"", b'From: "boss\r\n', b"From: <>\r\n"], ids=["no From", "open quote", "nobody"])
def test_a_bound_client_does_not_become_the_account_by_the_null_sender(relay: Target, field: bytes) -> None:
    assert b"info@example.com" not in sent_from(relay, "", field, f"null sender {len(field)}")


def test_a_bound_client_uses_no_sender_that_only_lower_makes_its_own(relay: Target) -> None:
    assert not sent_from(relay, "\u212aund@example.com", b"", "kelvin")


@pytest.mark.parametrize("name", ["Sender", "Resent-From", "Resent-Sender"])
def test_a_bound_client_names_no_other_sender_in_other_fields(relay: Target, name: str) -> None:
    header = sent_from(relay, "kund@example.com", f"{name}: boss@example.com\r\n".encode(), f"field {name}")
    assert b"boss" not in header
