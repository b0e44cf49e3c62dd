"""Recipients as callers write them, and names without a domain, which aliases resolve."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.sendmail import OWN, configured, kept, sendmail, sent

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home
    from tests.machine import Machine

X = "Subject: x\n\nx\n"
HEADERS = (
    ("asa@example.com, <bo@example.com>", "asa bo"),
    ("Åsa Öberg <asa@example.com>,\n\tBo <bo@example.com>", "asa bo"),
    ('"Öberg, Åsa (chef)" <asa@example.com>', "asa"),
    ("asa@example.com (Åsa, chef)", "asa"),
    ("asa@example.com (Åsa (chef)), bo@example.com", "asa bo"),
    ("=?utf-8?q?=C3=96berg=2C_=C3=85sa?= <asa@example.com>", "asa"),
    ("A. B. See <asa@example.com>", "asa"),
    ("Vänner: asa@example.com, Bo <bo@example.com>;", "asa bo"),
    ("asa@example.com, undisclosed-recipients:;", "asa"),
    ("undisclosed-recipients:;, asa@example.com", "asa"),
    ("asa@example.com, , bo@example.com,", "asa bo"),
    ("asa@example.com, ASA@example.com, asa@EXAMPLE.com, asa@example.com", "asa ASA"),
    ("bo@example.com <asa@example.com>", "asa"),
    ('"bo@example.com" <asa@example.com>', "asa"),
    ("<@relay.example,@other.example:asa@example.com>", "asa"),
    ("Åsa\t<asa@example.com>", "asa"),
    ("asa@example.com; bo@example.com", "asa bo"),
    ("'Bo' <bo@example.com>", "bo"),
)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("value", "wanted"), HEADERS, ids=[row[0].encode("ascii", "replace").decode() for row in HEADERS]
)
def test_recipients_are_parsed_from_a_field(
    value: str, wanted: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-t", "-i", stdin=f"To: {value}\n{X}")
    assert mail.recipients == tuple(f"{name}@example.com" for name in wanted.split())


@pytest.mark.parametrize(
    "cc",
    [
        "cecilia@",
        "<cecilia>x@example.com",
        "cecilia@example.com <cecilia@example.com>",
        "cecilia@example..com",
        '"cecilia <cecilia@example.com>',
        "Cecilia <cecilia@example.com",
    ],
)
def test_no_recipient_is_dropped_silently(cc: str, sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    done = sendmail(home, "-t", stdin=f"To: asa@example.com\nCc: {cc}\n{X}")
    got = {address for mail in sandbox.mails for address in mail.recipients}
    assert done.code in (65, 67) or got == {"asa@example.com", "cecilia@example.com"}
    assert got <= {"asa@example.com", "cecilia@example.com"}


ARGUMENTS = (
    (("asa@example.com", "bo@example.com", "asa@example.com"), "asa bo"),
    (("asa@example.com,bo@example.com", " bo@example.com "), "asa bo"),
    (("<asa@example.com>",), "asa"),
    (("Åsa <asa@example.com>",), "asa"),
    (('"Öberg, Åsa" <asa@example.com>',), "asa"),
    (("asa@example.com (Åsa)",), "asa"),
)


@pytest.mark.parametrize(("arguments", "wanted"), ARGUMENTS)
def test_recipients_are_parsed_from_arguments(
    arguments: tuple[str, ...], wanted: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    assert sent(home, sandbox, *arguments, stdin=X).recipients == tuple(
        f"{name}@example.com" for name in wanted.split()
    )


def test_a_quoted_local_part_may_hold_a_comma(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert sent(home, sandbox, '"a,b"@example.com', stdin=X).recipients == ('"a,b"@example.com',)


def test_a_local_part_that_is_not_ascii_is_sent_with_smtputf8(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-t", stdin=f"To: Åsa <åsa@räksmörgås.example>\n{X}")
    assert mail.recipients == ("åsa@xn--rksmrgs-5wao1o.example",)


TABLE = 'aliases_file = "{file}"\n[aliases]\nroot = "asa@example.com"\nDrift = "bo@example.com"\n'
FILE = """# a comment
root: somebody@else.example
postmaster: root
MAILER-DAEMON: postmaster
www-data:    webb@example.com, root,
\t"drift"
noc: drift
   # an indented comment
"quoted name": asa@example.com
piped: |/usr/bin/procmail
pipedtoo: "|/usr/bin/procmail -a x, bo@example.com"
filed: /var/mail/x, "/dev/null"
included: :include:/etc/list
mixed: |/bin/true, :include:/etc/list, \\mixed, asa@example.com
loop1: loop2
loop2: loop1
itself: itself, asa@example.com
empty:
big: {big}
"""
RESOLVED = (
    ("root", "asa@example.com"),
    ("ROOT", "asa@example.com"),
    ("root@localhost", "asa@example.com"),
    ("root@localhost.localdomain", "asa@example.com"),
    ("drift", "bo@example.com"),
    ("postmaster", "asa@example.com"),
    ("mailer-daemon", "asa@example.com"),
    ("www-data", "webb@example.com asa@example.com bo@example.com"),
    ("noc", "bo@example.com"),
    ("mixed", "asa@example.com"),
    ("itself", "asa@example.com"),
    ("big", " ".join(f"n{n}@example.com" for n in range(200))),
)


def with_aliases(home: Home, facts: SandboxFacts, *, default: str = "") -> None:
    file = home.file("aliases", FILE.replace("{big}", ", ".join(f"n{n}@example.com" for n in range(200))))
    configured(home, facts, top=TABLE.replace("{file}", str(file)) + (f'default = "{default}"\n' if default else ""))


@pytest.mark.slow
def test_names_without_a_domain_are_resolved_by_aliases(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    with_aliases(home, facts)
    for name, wanted in RESOLVED:
        done = sendmail(home, name, stdin=X)
        assert (done.code, done.err) == (0, ""), name
        assert sandbox.mails[-1].recipients == tuple(wanted.split()), name
    assert len(sandbox.mails) == len(RESOLVED)


@pytest.mark.parametrize(
    "name",
    [
        "piped",
        "pipedtoo",
        "filed",
        "included",
        "loop1",
        "empty",
        "nobody-at-all",
        "../../etc/passwd",
        "|/bin/sh",
        ":include:/etc/passwd",
    ],
)
def test_a_name_that_resolves_to_no_address_is_an_error(
    name: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    with_aliases(home, facts)
    done = sendmail(home, "--", name, stdin=X)
    assert (done.code, done.out) == (67, "")
    assert name in done.err
    assert sandbox.mails == []


def test_the_default_alias_is_used_for_names_that_resolve_to_no_address(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    with_aliases(home, facts, default="dora@example.com")
    for name in ("nobody-at-all", "piped", "loop1", "empty", "root"):
        assert sendmail(home, name, stdin=X).code == 0, name
    assert [mail.recipients[0] for mail in sandbox.mails] == [*["dora@example.com"] * 4, "asa@example.com"]


def test_the_callers_user_name_is_the_address_of_the_account(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert sent(home, sandbox, "root", stdin=X).recipients == (OWN,)


def test_alias_loops_end_in_bounded_time(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    names = [f"n{n}" for n in range(8)]
    lines = [f"{name}: {', '.join(names)}, asa@example.com" for name in names]
    configured(home, facts, top=f'aliases_file = "{home.file("aliases", chr(10).join(lines) + chr(10))}"')
    assert sendmail(home, "n0", stdin=X, seconds=10).code == 0
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",)]


@pytest.mark.parametrize("fault", ["missing", "directory"])
def test_an_unreadable_aliases_file_is_reported_by_name(fault: str, facts: SandboxFacts, home: Home) -> None:
    path = home.path / "aliases"
    if fault == "directory":
        path.mkdir()
    configured(home, facts, top=f'aliases_file = "{path}"')
    done = sendmail(home, "anna", stdin=X)
    assert done.code == 78
    assert str(path) in done.err


@pytest.mark.parametrize("bytes_", [b"\xff\xfe\x00root: x\n", b"", b"\x00" * 1000, b": : :\n,\n", b"root" * 100_000])
def test_any_bytes_in_an_aliases_file_cause_no_internal_error(bytes_: bytes, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top=f'aliases_file = "{home.file("aliases", bytes_)}"')
    assert sendmail(home, "anna", stdin=X).code == 67


def test_a_valid_recipient_gets_the_mail_although_another_cannot_be_resolved(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    done = sendmail(home, "asa@example.com", "nobody-at-all", stdin=X)
    assert done.code == 67
    assert "nobody-at-all" in done.err
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",)]


def test_a_mail_whose_recipients_cannot_be_resolved_is_kept_as_failed(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert sendmail(home, "nobody-at-all", stdin="Subject: Nattens rapport\n\nx\n").code == 67
    assert [(str(mail.state), mail.subject) for mail in kept(home)] == [("failed", "Nattens rapport")]


def test_the_accounts_domain_is_not_local_although_it_is_the_host_name(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, machine: Machine
) -> None:
    configured(home, facts)
    named = replace(
        home, prefix=(*machine.prefix(), "unshare", "--uts", "sh", "-c", 'hostname example.com && exec "$@"', "sh")
    )
    assert sent(named, sandbox, "asa@example.com", stdin=X).recipients == ("asa@example.com",)


def test_an_alias_may_have_several_addresses(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top='[aliases]\nroot = ["asa@example.com", "bo@example.com"]\n')
    assert sendmail(home, "root", stdin="Subject: x\n\nx\n").code == 0
    assert [sorted(mail.recipients) for mail in sandbox.mails] == [["asa@example.com", "bo@example.com"]]


@pytest.mark.parametrize("alias", ["[]", "7", '["asa@example.com", 7]'])
def test_an_invalid_alias_is_reported_by_name(alias: str, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top=f"[aliases]\nroot = {alias}\n")
    done = sendmail(home, "bo@example.com", stdin="Subject: x\n\nx\n")
    assert (done.code, "aliases.root" in done.err) == (78, True)


def test_two_at_signs_are_a_malformed_address_and_not_a_local_name(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    done = sendmail(home, "nobody@@x", stdin="Subject: x\n\nx\n")
    assert (done.code, "config.address-malformed" in done.err) == (65, True)
