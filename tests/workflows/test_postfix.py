"""Mail sent with smtpsetup through Postfix is delivered as it was written, attachments byte for byte."""

from __future__ import annotations

import email
import email.policy
import os
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Secret, Security
from smtpsetup.setup.test_account import run_test
from tests.conftest import Home, Run, account_at, context_of
from tests.postfix import POSTFIX_PASSWORD, Postfix
from tests.workflows.conftest import tls_at

if TYPE_CHECKING:
    from email.message import EmailMessage
    from typing import Any


def at(postfix: Postfix, security: Security, **changes: Any) -> Any:
    port = postfix.tls_port if security is Security.TLS else postfix.starttls_port
    values = {"address": "info@example.test", "username": "info@example.test", "ca_file": postfix.ca_file}
    return account_at(port, security, **{**values, **changes})


def configured(home: Home, postfix: Postfix) -> None:
    """An account at Postfix, its password in a file."""
    password = home.file("password", POSTFIX_PASSWORD + "\n")
    options = ("--password-file", str(password), "--from-name", "Mitt Företag Åäö AB")
    done = home.run("configure", "info@example.test", *tls_at(postfix.tls_port, postfix.ca_file), *options)
    assert done.code == 0, done.err


def delivered(postfix: Postfix, user: str) -> EmailMessage:
    (raw,) = postfix.mails(user)
    return email.message_from_bytes(raw, policy=email.policy.default)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body
    return str(body.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
def test_a_test_mail_goes_through_every_stage(postfix: Postfix, security: Security) -> None:
    report = run_test(context_of(at(postfix, security)), Secret(POSTFIX_PASSWORD))
    assert report.error is None
    assert {str(result.status) for result in report.stages} == {"ok"}
    assert {"SIZE", "AUTH", "8BITMIME"} <= set(report.capabilities)
    assert delivered(postfix, "info")["Message-ID"] == report.message_id


def test_a_wrong_password_is_tried_once(postfix: Postfix) -> None:
    report = run_test(context_of(at(postfix, Security.TLS)), Secret("fel"))
    assert report.error
    assert (report.error.code, report.error.exit_code) == ("auth.bad-credentials", 77)
    assert [str(result.status) for result in report.stages if str(result.stage) == "quit"] == ["ok"]


def test_a_foreign_sender_is_reported(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    done = home.run("send", "asa@example.test", "--from", "bo@example.test", "--body", "x", "--json")
    assert done.code == 77
    assert done.json["error"]["code"] == "mail.sender-not-allowed"


def test_umlauts_and_a_large_attachment_arrive_as_they_were(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    data = os.urandom(8_000_000)
    home.file("Räkning åäö €.bin", data)
    text = "Hej Åsa!\n.\n..\nåäö €\n" + "x" * 2000 + "\n"
    done = home.run(
        "send", "Åsa Öberg <asa@example.test>", "-s", "Räkning åäö €", "--attach", "Räkning åäö €.bin", stdin=text
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    message = delivered(postfix, "asa")
    assert str(message["Subject"]) == "Räkning åäö €"
    assert str(message["From"]) == "Mitt Företag Åäö AB <info@example.test>"
    assert str(message["To"]) == "Åsa Öberg <asa@example.test>"
    assert text_of(message) == text
    (part,) = message.iter_attachments()
    assert part.get_filename() == "Räkning åäö €.bin"
    assert part.get_content() == data


def test_every_recipient_gets_the_mail_and_bcc_is_not_shown(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    done = home.run(
        "send", "asa@example.test", "--cc", "info@example.test", "--bcc", "bo@example.test", "--body", "x", "--json"
    )
    assert done.json["result"]["accepted"] == ["asa@example.test", "info@example.test", "bo@example.test"]
    for user in ("asa", "info", "bo"):
        raw = postfix.mails(user)[0]
        headers = raw.partition(b"\n\n")[0].lower()
        assert b"\nbcc:" not in headers  # a Message-ID may have those letters
        if user != "bo":
            assert b"bo@example.test" not in headers


def partly(home: Home, *recipients: str) -> Run:
    return home.run("send", *recipients, "--body", "x", "--json")


def test_one_refused_recipient_among_accepted_ones_is_an_error_that_names_both(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    done = partly(home, "asa@example.test", "nobody@example.test")
    assert done.code == 67
    assert done.json["ok"] is False
    assert done.json["result"]["accepted"] == ["asa@example.test"]
    assert [(entry["address"], entry["code"]) for entry in done.json["result"]["refused"]] == [
        ("nobody@example.test", "rcpt.unknown")
    ]
    assert "nobody@example.test" in done.err
    assert postfix.mails("asa")


def test_when_all_recipients_are_refused_nothing_is_sent(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    done = partly(home, "nobody@example.test", "noone@example.test")
    assert done.code == 67
    assert len(done.json["result"]["refused"]) == 2
    assert done.json["error"]["reply"]["code"] == 550


def test_an_international_domain_is_sent_as_a_labels_and_a_local_part_with_smtputf8(
    postfix: Postfix, home: Home
) -> None:
    configured(home, postfix)
    done = partly(home, "åsa@example.test")
    assert done.json["error"]["code"] == "rcpt.unknown"  # Postfix took the address, so SMTPUTF8 was spoken
    done = partly(home, "asa@mindomän.example")
    assert done.json["result"]["accepted"] == ["asa@xn--mindomn-bxa.example"]


def test_a_mail_over_the_servers_limit_is_refused_before_it_is_sent(postfix: Postfix, home: Home) -> None:
    configured(home, postfix)
    home.file("big.bin", os.urandom(30_000_000))
    done = home.run("send", "asa@example.test", "--body", "x", "--attach", "big.bin", "--json")
    assert (done.code, done.json["error"]["code"]) == (69, "data.too-large")
