"""`smtpsetup-sendmail -bs`: SMTP on standard input and output, with the same fate for each mail as with -t."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.mail_server import MailServer, answer_to
from tests.recording import password_account
from tests.sendmail import OWN, body_of, configured, kept, sendmail
from tests.servers import closed_port

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.conftest import Home, Run

MESSAGE = "From: info@example.com\r\nTo: asa@example.com\r\nSubject: Hej\r\n\r\nText\r\n"


def session(home: Home, *commands: str | bytes, end: str = "\r\n", arguments: tuple[str, ...] = ()) -> Run:
    """Run a session, all of it pipelined."""
    lines = (command.encode() if isinstance(command, str) else command for command in ("EHLO localhost", *commands))
    return sendmail(home, "-bs", *arguments, stdin=b"".join(line + end.encode() for line in lines))


def codes(run: Run) -> list[int]:
    """The codes of the replies, those of the greeting and of EHLO left out."""
    last = [line for line in run.out.splitlines() if line[3:4] == " "]
    return [int(line[:3]) for line in last][2:]


def envelope(*recipients: str, sender: str = OWN) -> tuple[str, ...]:
    return (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA")


def test_a_pipelined_session_sends_each_mail(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    run = session(home, *envelope("asa@example.com"), MESSAGE + ".", *envelope("bo@example.com"), MESSAGE + ".", "QUIT")
    assert (run.code, run.err) == (0, "")
    assert codes(run) == [250, 250, 354, 250, 250, 250, 354, 250, 221]
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",), ("bo@example.com",)]
    assert {(mail.sender, body_of(mail)) for mail in sandbox.mails} == {(OWN, b"Text\r\n")}


def test_ehlo_names_what_the_session_can(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    out = session(home, "QUIT").out
    assert out.startswith("220 ")
    for extension in ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8"):
        assert f"250-{extension}\r\n" in out


def test_lines_may_end_in_lf_and_dots_are_unstuffed(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    text = "Subject: x\n\n..\n..a\n. b\n."
    assert codes(session(home, *envelope("asa@example.com"), text, "QUIT", end="\n")) == [250, 250, 354, 250, 221]
    assert body_of(sandbox.mails[0]) == b".\r\n.a\r\n b\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n"])
def test_no_other_line_end_ends_a_message(sandbox: Sandbox, facts: SandboxFacts, home: Home, end: bytes) -> None:
    configured(home, facts)
    inside = b"Subject: x\r\n\r\none" + end + b"MAIL FROM:<evil@example.com>\r\n.\r\nQUIT"
    assert codes(session(home, *envelope("asa@example.com"), inside)) == [250, 250, 354, 250, 221]
    (mail,) = sandbox.mails
    assert b"MAIL FROM:<evil" in body_of(mail)


def test_what_the_call_says_counts_for_each_mail(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, rows='allowed_from = "domain"')
    arguments = ("-f", "shop@example.com", "-F", "Butiken", "-oem")
    run = session(
        home,
        "MAIL FROM:<www-data@localhost> SIZE=100 BODY=8BITMIME",
        "RCPT TO:<asa@example.com> NOTIFY=NEVER",
        "DATA",
        "Subject: x\r\n\r\ny\r\n.",
        "QUIT",
        arguments=arguments,
    )
    assert codes(run)[-2:] == [250, 221]
    assert (sandbox.mails[0].sender, str(sandbox.mails[0].message["From"])) == (
        "shop@example.com",
        "Butiken <shop@example.com>",
    )


def test_a_name_without_an_address_is_refused_at_once(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top='[aliases]\nroot = "asa@example.com"')
    run = session(home, *envelope("nobody-here", "a b@example.com", "root"), MESSAGE + ".", "QUIT")
    assert codes(run) == [250, 550, 553, 250, 354, 250, 221]
    assert run.out.isascii()
    assert sandbox.mails[0].recipients == ("asa@example.com",)


def test_a_mail_that_cannot_be_sent_now_is_accepted_and_waits(facts: SandboxFacts, home: Home) -> None:
    with closed_port() as port:
        configured(home, replace(facts, tls_port=port))
        assert codes(session(home, *envelope("asa@example.com"), MESSAGE + ".", "QUIT"))[-2:] == [250, 221]
    assert [mail.recipients for mail in kept(home)] == [("asa@example.com",)]


def test_a_mail_that_waits_for_the_account_is_accepted(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, password="fel")
    run = session(home, *envelope("asa@example.com"), MESSAGE + ".", *envelope("bo@example.com"), MESSAGE + ".", "QUIT")
    assert codes(run) == [250, 250, 354, 250, 250, 250, 354, 250, 221]
    assert "(auth.bad-credentials)" in run.err
    assert [str(mail.state) for mail in kept(home)] == ["waiting", "waiting"]


@pytest.mark.parametrize(
    ("refused", "code", "states"), [(("a",), 250, ["failed"]), (("a", "b"), 550, ["failed"]), ((), 250, [])]
)
def test_a_mail_that_somebody_got_is_accepted_and_one_that_nobody_gets_is_refused(
    home: Home, refused: tuple[str, ...], code: int, states: list[str]
) -> None:
    with MailServer(answer_to(*refused, verb="RCPT", reply=b"550 5.1.1 unknown\r\n")) as server:
        password_account(home, server.port)
        run = session(home, *envelope("a@example.com", "b@example.com"), MESSAGE + ".", "QUIT")
    assert codes(run) == [250, 250, 250, 354, code, 221]
    assert [str(mail.state) for mail in kept(home)] == states


@pytest.mark.parametrize("size", range(65530, 65540))
def test_the_end_of_a_message_is_found_wherever_it_lies(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, size: int
) -> None:
    configured(home, facts)
    text = "x" * size
    run = session(
        home, *envelope("asa@example.com"), f"{text}\r\n..x\r\n.", *envelope("bo@example.com"), MESSAGE + ".", "QUIT"
    )
    assert codes(run) == [250, 250, 354, 250, 250, 250, 354, 250, 221]
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",), ("bo@example.com",)]
    assert sandbox.mails[0].content.endswith(b"\r\n.x\r\n")


@pytest.mark.parametrize(
    "path", ["a@example.com,b@example.com", "a@example.com b@example.com", "(x)", "g: a@example.com;"]
)
def test_a_recipient_is_one_address(facts: SandboxFacts, sandbox: Sandbox, home: Home, path: str) -> None:
    configured(home, facts)
    assert codes(session(home, *envelope(path), "QUIT"))[1] in (501, 553)
    assert sandbox.mails == []


@pytest.mark.parametrize("first", ["NOOP " + "x" * 5000, "NOOP"])
def test_a_session_with_crlf_is_not_ended_by_lf_whatever_came_first(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, first: str
) -> None:
    configured(home, facts)
    text = "Subject: x\r\n\r\nhi\n.\nMAIL FROM:<evil@example.com>"
    head = b"EHLO x\n" if first == "NOOP" else b""
    commands = "\r\n".join((first, "EHLO x", *envelope("asa@example.com"), text, ".", "QUIT", ""))
    done = sendmail(home, "-bs", stdin=head + commands.encode())
    assert done.code == 0
    (mail,) = sandbox.mails
    assert b"MAIL FROM:<evil" in body_of(mail)


def test_a_mail_under_a_broken_configuration_is_saved(home: Home) -> None:
    home.file(str(home.config.relative_to(home.path)), "not toml")
    run = session(home, *envelope("asa@example.com"), MESSAGE + ".", "QUIT")
    assert codes(run) == [250, 250, 354, 554, 221]
    (saved,) = home.path.rglob("smtpsetup-unsent-*.eml")
    assert b"asa@example.com" in saved.read_bytes()


@pytest.mark.parametrize("last", ["DATA", "RCPT", "MESSAGE"])
def test_a_session_that_breaks_off_sends_nothing(sandbox: Sandbox, facts: SandboxFacts, home: Home, last: str) -> None:
    configured(home, facts)
    commands = {"RCPT": envelope("a@example.com")[:2], "DATA": envelope("a@example.com")}.get(
        last, (*envelope("a@example.com"), MESSAGE)
    )
    run = session(home, *commands)
    assert (run.code, sandbox.mails, kept(home)) == (0 if last == "RCPT" else 75, [], [])


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("RCPT TO:<a@example.com>", 503),
        ("DATA", 503),
        ("MAIL FROM:", 501),
        ("MAIL TO:<a@example.com>", 501),
        ("MAIL FROM:<a@example.com> FOO=1", 555),
        ("STARTTLS", 500),
        ("EHLO", 501),
        ("VRFY root", 252),
        ("NOOP", 250),
        ("RSET", 250),
        ("HELP", 214),
        ("x" * 5000, 500),
        (b"\xff\xfe\x00", 500),
        ("", 500),
    ],
)
def test_commands_out_of_place_are_refused_and_the_session_goes_on(
    facts: SandboxFacts, home: Home, command: str | bytes, code: int
) -> None:
    configured(home, facts)
    assert codes(session(home, command, "NOOP", "QUIT")) == [code, 250, 221]


def test_mail_from_nobody_comes_from_the_account(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert codes(session(home, *envelope("asa@example.com", sender=""), "Subject: x\r\n\r\ny\r\n.", "QUIT"))[-2] == 250
    assert sandbox.mails[0].sender == OWN


# -bv and what is not possible


def test_bv_shows_where_mail_to_a_name_goes(facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top='[aliases]\nroot = ["asa@example.com", "bo@example.com"]')
    run = sendmail(home, "-bv", "root", "Kim@EXAMPLE.com", "nobody-here")
    assert run.code == 67
    assert run.out == "root... goes to asa@example.com, bo@example.com\nKim@EXAMPLE.com... goes to Kim@example.com\n"
    assert "nobody-here" in run.err


@pytest.mark.parametrize("option", ["-OIgnoreDots=True", "-OIgnoreDots", "-O ignoredots = t"])
def test_ignoredots_lets_a_dot_be_a_line(sandbox: Sandbox, facts: SandboxFacts, home: Home, option: str) -> None:
    configured(home, facts)
    assert sendmail(home, option, "asa@example.com", stdin="Subject: x\n\na\n.\nb\n").code == 0
    assert body_of(sandbox.mails[0]) == b"a\r\n.\r\nb\r\n"


@pytest.mark.parametrize("mode", ["d", "D", "t", "h", "H", "a"])
def test_other_modes_are_refused_with_64(home: Home, mode: str) -> None:
    run = sendmail(home, f"-b{mode}")
    assert run.code == 64
    assert f"-b{mode}" in run.err
