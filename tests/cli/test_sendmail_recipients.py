"""Recipients and senders as the callers of smtpsetup-sendmail write them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sendmail import OWN, configured, kept, sendmail, sent

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home
    from tests.machine import Machine

MESSAGE = "To: asa@example.com\nSubject: x\n\nx\n"


@pytest.mark.parametrize("wrong", ["Åsa <bo@", "bo @ nowhere at all", "bo@@example.com", '"bo@example.com'])
def test_a_bad_entry_in_to_is_reported_and_does_not_stop_the_others(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, wrong: str
) -> None:
    configured(home, facts)
    done = sendmail(home, "-t", stdin=f"To: asa@example.com, {wrong}\nCc: kim@example.com\nSubject: x\n\nx\n")
    assert done.code == 65
    assert wrong.split("@", maxsplit=1)[0].strip() in done.err or wrong in done.err
    assert sandbox.mails[0].recipients == ("asa@example.com", "kim@example.com")
    assert [(mail.recipients, str(mail.state)) for mail in kept(home)] == [((wrong,), "failed")]


@pytest.mark.slow
def test_the_fully_qualified_name_of_the_machine_is_local(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, machine: Machine
) -> None:
    host = os.uname().nodename
    machine.file("hosts", f"127.0.0.1 localhost\n127.0.1.1 {host}.corp.example {host}\n10.0.0.1 other.corp.example\n")
    machine.file("resolv.conf", "nameserver 127.0.0.1\nsearch inside.example\n")
    configured(home, facts, top='[aliases]\nroot = "asa@example.com"')
    on_machine = home.__class__(home.path, home.env, prefix=machine.prefix())
    mail = sent(on_machine, sandbox, f"root@{host}.corp.example", f"root@{host}.inside.example", stdin=MESSAGE)
    assert mail.recipients == ("asa@example.com",)
    for foreign in (f"root@{host}.example.org", "root@other.corp.example", "root@corp.example"):
        assert sendmail(on_machine, foreign, stdin=MESSAGE).code == 0
        assert sandbox.mails[-1].recipients == (foreign,)


@pytest.mark.parametrize(
    ("from_", "allowed", "shown", "reply_to"),
    [
        (OWN, "address", f"Butiken <{OWN}>", None),
        ("kim@example.com", "domain", "kim@example.com", None),
        ("Kim <kim@example.com>", "domain", "Kim <kim@example.com>", None),
        ("kim@example.org", "address", f"Butiken <{OWN}>", "kim@example.org"),
        ("Kim <kim@example.org>", "address", f"Kim <{OWN}>", "Kim <kim@example.org>"),
    ],
)
def test_the_accounts_name_goes_with_its_own_address_only(  # noqa: PLR0913, PLR0917  the columns of a table
    sandbox: Sandbox, facts: SandboxFacts, home: Home, from_: str, allowed: str, shown: str, reply_to: str | None
) -> None:
    configured(home, facts, rows=f'from_name = "Butiken"\nallowed_from = "{allowed}"')
    mail = sent(home, sandbox, "-t", stdin=f"From: {from_}\n{MESSAGE}")
    assert (mail.message["From"], mail.message["Reply-To"]) == (shown, reply_to)


def test_mailq_shows_decoded_subjects(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, rows='queue = "always"')
    assert sendmail(home, "-t", stdin="To: asa@example.com\nSubject: =?utf-8?q?R=C3=A4kning?= åäö\n\nx\n").code == 0
    assert "Räkning åäö" in sendmail(home, "-bp").out
