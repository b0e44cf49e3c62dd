"""smtpsetup-sendmail accepts sendmail's options and submits a message that a provider accepts."""

from __future__ import annotations

import email
import email.header
import email.utils
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PASSWORD, Home
from tests.sendmail import OWN, PROGRAM, body_of, configured, field_names, kept, log_lines, looked_today, sendmail, sent
from tests.servers import closed_port

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts

MESSAGE = "To: asa@example.com\nSubject: Hej\n\nText\n"


def test_sendmail_uses_the_account_that_configure_saved(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    assert home.configure(facts).code == 0
    mail = sent(home, sandbox, "-t", "-i", stdin=MESSAGE)
    assert (mail.sender, mail.recipients, mail.username) == (OWN, ("asa@example.com",), OWN)
    assert str(mail.message["From"]) == OWN
    assert body_of(mail) == b"Text\r\n"


FLAGS = (
    ("-i",),
    ("-oi",),
    ("-oem",),
    ("-odi",),
    ("-o7",),
    ("-oQ/var/spool",),
    ("-o", "i"),
    ("-O", "DeliveryMode=b"),
    ("-B8BITMIME",),
    ("-B", "7BIT"),
    ("-N", "never"),
    ("-Nsuccess,delay",),
    ("-R", "hdrs"),
    ("-V", "id1"),
    ("-bm",),
    ("-m",),
    ("-n",),
    ("-U",),
    ("-G",),
    ("-em",),
    ("-h", "3"),
    ("-L", "tag"),
    ("-p", "smtp"),
    ("-X", "/dev/null"),
    ("-d0.1",),
    ("-Am",),
    ("-Ac",),
    ("-fbo@example.com",),
    ("-r", "bo@example.com"),
    ("-FCronDaemon", "-i", "-B8BITMIME", "-oem"),
    ("-t", "-i"),
    ("-ti",),
    ("-it", "-f", "www-data"),
    ("--",),
    ("-i", "--"),
)


@pytest.mark.slow
def test_flags_of_sendmail_are_accepted(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    for flags in FLAGS:
        done = sendmail(home, *flags, "asa@example.com", stdin=MESSAGE)
        assert (done.code, done.out, done.err) == (0, "", ""), flags
    assert [mail.recipients for mail in sandbox.mails] == [("asa@example.com",)] * len(FLAGS)


@pytest.mark.parametrize("flags", [("-bd",), ("-ba",), ("-bt",), ("-bx",), ("-f",), ("-j",), ("-\x1b[31m",)])
def test_unsupported_flags_are_a_usage_error(flags: tuple[str, ...], home: Home) -> None:
    done = sendmail(home, *flags)
    assert (done.code, done.out) == (64, "")
    assert done.err.replace("\n", "").isprintable()


def test_help_fits_a_narrow_terminal(home: Home) -> None:
    done = sendmail(home, "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 78


def test_flags_may_follow_recipients(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "asa@example.com", "-F", "Åsa", "bo@example.com", stdin=MESSAGE)
    assert mail.recipients == ("asa@example.com", "bo@example.com")


def test_a_mail_without_recipients_is_a_usage_error(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    for flags, message in (
        (("-t",), "Subject: x\n\nx\n"),
        ((), MESSAGE),
        (("-t",), ""),
        (("-t",), "To: undisclosed-recipients:;\n\nx\n"),
    ):
        done = sendmail(home, *flags, stdin=message)
        assert (done.code, done.out) == (64, "")
        assert "no recipient" in done.err
    assert sandbox.mails == []


def test_t_reads_to_cc_and_bcc_and_removes_bcc(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    message = (
        "To: Åsa <asa@example.com>,\n bo@example.com\nbCC : hemlig@example.com,\n\themlig2@example.com\nCc: "
        "cecilia@example.com\nSubject: x\n\nx\n"
    )
    mail = sent(home, sandbox, "-t", "dora@example.com", stdin=message)
    assert set(mail.recipients) == {
        f"{name}@example.com" for name in ("asa", "bo", "hemlig", "hemlig2", "cecilia", "dora")
    }
    assert b"hemlig" not in mail.content


def test_without_t_header_recipients_are_ignored_and_bcc_is_removed(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "bo@example.com", stdin="To: asa@example.com\nBcc: hemlig@example.com\n\nx\n")
    assert mail.recipients == ("bo@example.com",)
    assert b"hemlig" not in mail.content


def test_resent_fields_take_precedence_and_are_completed(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    message = f"Resent-To: bo@example.com\nResent-Bcc: hemlig@example.com\nFrom: {OWN}\nTo: asa@example.com\n\nx\n"
    mail = sent(home, sandbox, "-t", stdin=message)
    assert set(mail.recipients) == {"bo@example.com", "hemlig@example.com"}
    assert b"hemlig" not in mail.content
    assert {"resent-date", "resent-from", "resent-message-id"} <= set(field_names(mail))  # RFC 5322 section 3.6.6


@pytest.mark.parametrize(
    ("resent_from", "kept"), [("Resent-From: Mary Smith <mary@example.net>\n", f"Mary Smith <{OWN}>"), ("", OWN)]
)
def test_what_is_resent_does_not_carry_the_authors_name_as_that_of_who_resends(
    sandbox: Sandbox, facts: SandboxFacts, home: Home, resent_from: str, kept: str
) -> None:
    configured(home, facts)
    message = f"{resent_from}Resent-To: bo@example.com\nFrom: John Doe <john@example.org>\nTo: asa@example.com\n\nx\n"
    mail = sent(home, sandbox, "-t", stdin=message)
    assert str(mail.message["Resent-From"]) == kept


def test_missing_fields_are_added_and_existing_ones_kept(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, rows='from_name = "Mitt Företag AB"')
    mail = sent(home, sandbox, "-t", stdin=MESSAGE)
    assert email.utils.parsedate_to_datetime(mail.message["Date"]).tzinfo
    assert re.fullmatch(r"<[^@<>\s]+@example\.com>", mail.message["Message-ID"])
    assert str(mail.message["From"]) == f"Mitt Företag AB <{OWN}>"
    given = f"Date: Tue, 24 Nov 2026 03:00:00 +0100\nMessage-ID: <1@x.example>\nX-Order: 4711\n{MESSAGE}"
    assert sendmail(home, "-t", stdin=given).code == 0
    message = sandbox.mails[1].message
    assert (message["Date"], message["Message-ID"], message["X-Order"]) == (
        "Tue, 24 Nov 2026 03:00:00 +0100",
        "<1@x.example>",
        "4711",
    )


def test_empty_fields_are_replaced_or_removed(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-t", stdin=f"Date:\nMessage-ID:  \nFrom:\nCc:\nReply-To: \n{MESSAGE}")
    assert email.utils.parsedate_to_datetime(mail.message["Date"]).tzinfo
    assert "@" in mail.message["Message-ID"]
    assert {"cc", "reply-to"}.isdisjoint(field_names(mail))  # RFC 5322 section 3.6.3: they hold an address
    assert str(mail.message["From"]) == OWN


def test_repeated_fields_are_reduced_to_one(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    once = "Date: Tue, 24 Nov 2026 03:00:00 +0100\nMessage-ID: <1@x.example>\nFrom: a@example.com\nSubject: x\n"
    mail = sent(home, sandbox, "-t", stdin=f"To: bo@example.com\n{once}{once}{MESSAGE}")  # PHP scripts say To twice
    assert set(mail.recipients) == {"asa@example.com", "bo@example.com"}
    names = field_names(mail)
    assert [name for name in ("date", "message-id", "from", "subject", "to") if names.count(name) > 1] == []


ALIGNED = (
    ("address", "Åsa <asa@example.com>", OWN, "asa@example.com"),
    ("domain", "Åsa <asa@example.com>", "asa@example.com", None),
    ("domain", "Åsa <asa@example.net>", OWN, "asa@example.net"),
    ("any", "Åsa <asa@example.net>", "asa@example.net", None),
    ("address", f"Åsa <{OWN}>", OWN, None),
    ("address", "Åsa <INFO@Example.COM>", OWN, None),
    ("address", "Åsa <root>", OWN, None),
    ("address", "Åsa <root@localhost>", OWN, None),
)


@pytest.mark.parametrize(("allowed", "given", "wanted", "answers"), ALIGNED)
def test_from_is_aligned_with_the_account_and_reply_to_has_the_original_sender(  # noqa: PLR0913, PLR0917  a row of the table, and fixtures
    allowed: str, given: str, wanted: str, answers: str | None, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts, rows=f'allowed_from = "{allowed}"')
    mail = sent(home, sandbox, "-t", stdin=f"From: {given}\n{MESSAGE}")
    assert str(mail.message["From"]).lower() == f"åsa <{wanted}>"
    assert mail.sender.lower() == wanted
    assert (
        [entry.addr_spec for entry in mail.message["Reply-To"].addresses] == [answers]
        if answers
        else "reply-to" not in field_names(mail)
    )


def test_an_existing_reply_to_is_kept(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    mail = sent(home, sandbox, "-t", stdin=f"From: asa@example.net\nReply-To: svar@example.net\n{MESSAGE}")
    assert mail.message.get_all("Reply-To") == ["svar@example.net"]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("allowed", "given", "wanted"),
    [
        ("address", "bo@example.com", OWN),
        ("domain", "bo@example.com", "bo@example.com"),
        ("any", "bo@example.net", "bo@example.net"),
        ("any", "", ""),
        ("any", "<>", ""),
        ("address", "", OWN),
        ("address", "<>", OWN),
        ("address", "root", OWN),
        ("any", "<bo@example.net>", "bo@example.net"),
    ],
)
def test_f_sets_the_envelope_sender_where_the_account_allows_it(  # noqa: PLR0913, PLR0917  a row of the table, and fixtures
    allowed: str, given: str, wanted: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts, rows=f'allowed_from = "{allowed}"')
    assert sent(home, sandbox, "-t", "-f", given, stdin=MESSAGE).sender.strip("<>") == wanted


def test_the_name_of_f_is_used_where_from_has_no_name(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert str(sent(home, sandbox, "-t", "-F", "Cron på €", stdin=MESSAGE).message["From"]) == f"Cron på € <{OWN}>"
    assert sendmail(home, "-t", "-FCronDaemon", stdin=f"From: root (Cron Daemon)\n{MESSAGE}").code == 0
    assert str(sandbox.mails[1].message["From"]) == f"Cron Daemon <{OWN}>"  # as sendmail and Postfix do


@pytest.mark.parametrize("how", ["-F", "From", "from_name"])
def test_a_long_encoded_name_is_folded_inside_the_header(
    how: str, sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    name = "Föreningen för bevarande av gamla ångbåtar i Stockholms skärgård och åländska vatten"
    configured(home, facts, rows=f'from_name = "{name}"' if how == "from_name" else "")
    given = f"From: {name} <asa@example.net>\n" if how == "From" else ""
    mail = sent(home, sandbox, *(("-F", name) if how == "-F" else ()), "-t", stdin=given + MESSAGE)
    # by the older parser: the newer one puts blanks between two encoded words, against RFC 2047 section 6.2
    shown, address = email.utils.parseaddr(email.message_from_bytes(mail.content)["From"])
    assert (str(email.header.make_header(email.header.decode_header(shown))), address) == (name, OWN)
    assert mail.message["Subject"] == "Hej"
    assert body_of(mail) == b"Text\r\n"


def test_a_wrong_password_is_reported_and_the_mail_waits_for_the_right_one(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts, password="fel")
    done = sendmail(home, "-t", stdin=MESSAGE)
    assert (done.code, done.out) == (77, "")
    assert "auth.bad-credentials" in done.err
    (mail,) = kept(home)
    assert (str(mail.state), mail.recipients, mail.subject) == ("waiting", ("asa@example.com",), "Hej")
    assert len(log_lines(home)) == 1
    assert "fel" not in log_lines(home)[0].split("reply=")[0]
    assert home.run("outbox", "retry", "--all").code == 0
    refused = home.run("outbox", "flush")
    assert (refused.code, "auth.bad-credentials" in refused.err) == (77, True)
    configured(home, facts)
    assert home.run("outbox", "retry", "--all").code == 0
    flushed = home.run("outbox", "flush", "--json")
    assert [one["outbox_id"] for one in flushed.json["result"]["mails"]] == [mail.id]
    assert [one.recipients for one in sandbox.mails] == [("asa@example.com",)]
    assert ["error=auth.bad-credentials" in line for line in log_lines(home)] == [True, True, False]
    assert f"outbox={mail.id}" in log_lines(home)[-1]


def test_while_the_server_is_down_mail_waits_and_flush_delivers_it(
    sandbox: Sandbox, facts: SandboxFacts, home: Home
) -> None:
    configured(home, facts)
    text = home.config.read_text()
    with closed_port() as port:
        home.config.write_text(text.replace(f"port = {facts.tls_port}", f"port = {port}"))
        looked_today(home)
        done = sendmail(home, "-t", stdin="Bcc: hemlig@example.com\n" + MESSAGE)
    assert (done.code, done.out, done.err) == (0, "", "")
    (mail,) = kept(home)
    assert str(mail.state) == "waiting"
    home.config.write_text(text)
    assert mail.subject in sendmail(home, "-bp").out
    assert home.run("outbox", "retry", str(mail.id)).code == 0
    assert home.run("outbox", "flush").code == 0
    assert kept(home) == []
    (caught,) = sandbox.mails
    assert set(caught.recipients) == {"hemlig@example.com", "asa@example.com"}
    assert b"hemlig" not in caught.content
    assert len([line for line in log_lines(home) if "exitcode=0" in line]) >= 1


@pytest.mark.parametrize("name", ["mailq", "newaliases"])
def test_mailq_and_newaliases_are_supported(name: str, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    link = home.path / name
    link.symlink_to(PROGRAM)
    done = sendmail(home, program=str(link))
    assert (done.code, done.err) == (0, "") or name == "mailq"
    assert done.code == 0


@pytest.mark.parametrize("flags", [("-bp",), ("-q",), ("-q30m",), ("-bi",), ("-I",)])
def test_an_empty_outbox_is_no_error(flags: tuple[str, ...], facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    assert sendmail(home, *flags).code == 0


def test_v_shows_the_smtp_dialogue_without_the_password(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    done = sendmail(home, "-v", "-t", stdin=MESSAGE)
    assert done.code == 0
    assert "RCPT TO:<asa@example.com>" in done.err
    assert PASSWORD not in done.err


def test_each_mail_leaves_one_line_in_the_log(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    for _ in range(2):
        assert sendmail(home, "-t", stdin=MESSAGE.replace("Subject", 'Message-ID: <a b="c\n d@x>\nSubject')).code == 0
    lines = log_lines(home)
    assert len(lines) == 2
    assert all("recipients=asa@example.com" in line and "exitcode=0" in line for line in lines)


def test_the_log_can_be_turned_off(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts, top='log = "none"')
    sent(home, sandbox, "-t", stdin=MESSAGE)
    assert log_lines(home) == []


def test_click_rich_and_keyring_are_not_loaded_for_a_mail(sandbox: Sandbox, facts: SandboxFacts, home: Home) -> None:
    configured(home, facts)
    program = (
        "import sys; from smtpsetup.sendmail.main import run; print(run(sys.argv[1:]), {'click', 'rich', "
        "'keyring'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-t", "-i"],
        env=home.unmeasured.env,
        cwd=home.path,
        input=MESSAGE.encode(),
        capture_output=True,
        timeout=100,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"0 set()\n", b"")
