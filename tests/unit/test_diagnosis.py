"""A failure is told in words that fit it; wordings that nobody has seen land in the right class."""

from __future__ import annotations

import datetime
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpsetup.core.exit_codes import EXIT_CODES
from smtpsetup.core.failure import Failure, Kind, Reply
from smtpsetup.core.model import Security, Server, Stage
from smtpsetup.diagnosis.diagnose import diagnose, error_code
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.rules import RULES
from smtpsetup.providers.table import Table
from tests.conftest import account_at

SERVER = Server("smtp.example.com", 587, Security.STARTTLS)
TABLE = Table(datetime.date(2026, 11, 24))


def refused(stage: Stage, reply: str) -> Failure:
    code, _space, words = reply.partition(" ")
    enhanced, _space, rest = words.partition(" ")
    if enhanced.count(".") == 2 and enhanced[0].isdigit() and enhanced[-1].isdigit():
        return Failure(stage, Kind.REPLY, SERVER, Reply(int(code), enhanced, (rest,)))
    return Failure(stage, Kind.REPLY, SERVER, Reply(int(code), "", (words,)))


@pytest.mark.parametrize(
    ("stage", "reply", "code", "exit_code"),
    [
        (Stage.GREETING, "554 No SMTP service here", "greeting.rejected", 69),
        (Stage.GREETING, "554 IP address is block listed", "server.client-blocked", 69),
        (Stage.GREETING, "421 4.7.0 Too many concurrent SMTP connections; please try again later.", "limit.rate", 75),
        (Stage.GREETING, "421 Service not available", "server.temporary", 75),
        (
            Stage.EHLO,
            "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname",
            "ehlo.name-rejected",
            69,
        ),
        (Stage.EHLO, "501 5.5.4 HELO/EHLO argument invalid", "ehlo.name-rejected", 69),
        (Stage.EHLO, "550 Access denied - Invalid HELO name", "ehlo.name-rejected", 69),
        (Stage.EHLO, "421 4.7.0 Try again later, closing connection. (EHLO)", "ehlo.name-rejected", 75),
        (Stage.STARTTLS, "454 TLS not available due to temporary reason", "starttls.refused", 75),
        (Stage.AUTH, "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", "auth.bad-credentials", 77),
        (Stage.AUTH, "535 Incorrect authentication data", "auth.bad-credentials", 77),
        (Stage.AUTH, "534 5.7.9 Application-specific password required.", "auth.app-password-required", 77),
        (Stage.AUTH, "535 5.7.0 (#AUTH005) Too many bad auth attempts.", "auth.app-password-required", 77),
        (Stage.AUTH, "534 5.7.14 Please log in via your web browser and then try again.", "auth.sign-in-blocked", 77),
        (
            Stage.AUTH,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "auth.disabled-by-admin",
            77,
        ),
        (
            Stage.AUTH,
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            "auth.oauth2-required",
            77,
        ),
        (
            Stage.AUTH,
            "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria",
            "auth.sign-in-blocked",
            77,
        ),
        (
            Stage.AUTH,
            "550 5.7.30 Basic authentication is not supported for Client Submission.",
            "auth.oauth2-required",
            77,
        ),
        (Stage.AUTH, "504 5.7.4 Unrecognized authentication type", "auth.no-common-mechanism", 69),
        (Stage.AUTH, "454 4.7.0 Temporary authentication failure", "auth.temporary", 75),
        (Stage.AUTH, "454 4.7.0 Too many login attempts, please try again later", "auth.too-many-attempts", 75),
        (Stage.AUTH, "530 Must issue a STARTTLS command first", "starttls.required", 69),
        (Stage.AUTH, "538 Encryption required for requested authentication mechanism", "starttls.required", 69),
        (Stage.AUTH, "451 Authentication failed: Maximum credits exceeded", "limit.quota", 75),
        (Stage.MAIL, "530 5.7.57 Client was not authenticated to send anonymous mail", "auth.required", 77),
        (
            Stage.MAIL,
            "553 5.7.1 <me@x.se>: Sender address rejected: not owned by user me@x.se",
            "mail.sender-not-allowed",
            77,
        ),
        (
            Stage.RCPT,
            "553 5.7.1 <me@x.se>: Sender address rejected: not owned by user me@x.se",
            "mail.sender-not-allowed",
            77,
        ),
        (
            Stage.DATA,
            "550 5.7.60 Client does not have permissions to send as this sender",
            "mail.sender-not-allowed",
            77,
        ),
        (Stage.DATA, "554 5.2.252 SendAsDenied; a@x.se not allowed to send as b@x.se", "mail.sender-not-allowed", 77),
        (Stage.DATA, "553 Relaying disallowed as noreply@example.com", "mail.sender-not-allowed", 77),
        (Stage.DATA, "550 The from address does not match a verified Sender Identity.", "mail.sender-not-allowed", 77),
        (Stage.DATA, "554 Message rejected: Email address is not verified.", "mail.sender-unverified", 77),
        (
            Stage.RCPT,
            "550 5.1.1 <you@x.se>: Recipient address rejected: User unknown in local recipient table",
            "rcpt.unknown",
            67,
        ),
        (Stage.RCPT, "550 No such user here", "rcpt.unknown", 67),
        (Stage.RCPT, "553 5.1.3 The recipient address <root> is not a valid RFC 5321 address.", "rcpt.unknown", 67),
        (
            Stage.RCPT,
            "451 4.7.1 <you@x.se>: Recipient address rejected: Greylisted, please try again later",
            "rcpt.greylisted",
            75,
        ),
        (Stage.RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "rcpt.relay-denied", 67),
        (Stage.RCPT, "554 5.7.1 <you@x.se>: Relay access denied", "rcpt.relay-denied", 67),
        (Stage.RCPT, "452 4.2.2 Mailbox full", "rcpt.mailbox-full", 75),
        (Stage.RCPT, "452 4.5.3 Too many recipients", "rcpt.too-many", 75),
        (Stage.DATA, "552 5.3.4 Message size exceeds fixed limit", "data.too-large", 69),
        (Stage.DATA, "554 5.7.1 Message rejected as spam by Content Filtering.", "data.content-rejected", 69),
        (
            Stage.DATA,
            "550 5.7.26 This mail has been blocked because the sender is unauthenticated.",
            "data.unauthenticated-domain",
            69,
        ),
        (Stage.DATA, "550 5.7.1 Rejected by DMARC policy", "data.unauthenticated-domain", 69),
        (Stage.DATA, "550 5.4.5 Daily user sending limit exceeded.", "limit.quota", 75),
        (Stage.DATA, "454 Throttling failure: Daily message quota exceeded", "limit.quota", 75),
        (
            Stage.RCPT,
            "550 5.1.1 <x@y.se>: Recipient address rejected: User unknown in relay recipient table",
            "rcpt.unknown",
            67,
        ),
        (Stage.RCPT, "550 5.1.1 <sender@y.se>: Recipient address rejected: User unknown", "rcpt.unknown", 67),
        (Stage.RCPT, "550 5.1.1 <dmarc-quota@y.se>: User unknown", "rcpt.unknown", 67),
        (Stage.RCPT, "550 5.1.1 undeliverable address: unverified", "rcpt.unknown", 67),
        (Stage.RCPT, "550 5.2.1 <x@y.se>: mailbox account is disabled", "rcpt.unknown", 67),
        (Stage.RCPT, "452 4.2.2 The email account that you tried to reach is over quota.", "rcpt.mailbox-full", 75),
        (Stage.RCPT, "552 5.2.2 The email account that you tried to reach is over quota.", "rcpt.mailbox-full", 67),
        (Stage.RCPT, "450 4.2.0 <kate@karate.se>: Recipient address rejected: Greylisted", "rcpt.greylisted", 75),
        (Stage.RCPT, "450 4.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", "server.client-blocked", 75),
        (Stage.RCPT, "554 5.7.1 <x@y.se>: Recipient address rejected: Access denied", "server.refused", 69),
        (
            Stage.DATA,
            "552 5.7.0 This message was blocked because its content presents a potential security issue.",
            "data.content-rejected",
            69,
        ),
        (Stage.DATA, "550 5.7.1 Message blocked due to spam content", "data.content-rejected", 69),
        (Stage.DATA, "552 5.3.4 Your message size limit exceeded", "data.too-large", 69),
        (Stage.DATA, "550 5.7.1 SPF fail, see http://openspf.org/Why?s=helo", "data.unauthenticated-domain", 69),
        (Stage.MAIL, "421 mail.corporate.se closing connection", "server.shutting-down", 75),
        (Stage.MAIL, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "limit.quota", 75),
        (Stage.MAIL, "451 4.7.0 Temporary server error. Please try again later. PRX4", "server.temporary", 75),
        (Stage.MAIL, "421 Closing", "server.shutting-down", 75),
        (Stage.MAIL, "599 Whatever", "server.refused", 69),
    ],
)
def test_a_reply_gets_the_code_that_fits_it(stage: Stage, reply: str, code: str, exit_code: int) -> None:
    error = diagnose(refused(stage, reply), account_at(587))
    assert (error.code, error.exit_code) == (code, exit_code)


@settings(deadline=None)
@given(
    st.sampled_from([stage for stage in Stage if stage not in (Stage.CONFIG, Stage.SECRET)]),
    st.sampled_from(Kind),
    st.integers(200, 599),
    st.sampled_from(["", "5.7.8", "4.7.1", "5.1.1", "9.9.9"]),
    st.text(max_size=80),
)
def test_every_failure_has_a_code_a_sentence_and_an_exit_code(
    stage: Stage, kind: Kind, code: int, enhanced: str, text: str
) -> None:
    reply = Reply(code, enhanced, (text,)) if kind is Kind.REPLY else None
    error = diagnose(Failure(stage, kind, SERVER, reply), account_at(587))
    assert error.code in EXIT_CODES
    assert error.message
    assert error.exit_code == EXIT_CODES[error.code] or (reply and reply.is_temporary and error.exit_code == 75)


def test_rules_and_explanations_name_codes_that_exist() -> None:
    assert {rule.error for rule in RULES} <= set(EXPLANATIONS) <= set(EXIT_CODES)


def test_every_error_that_a_row_of_the_table_names_is_explained() -> None:
    named = {refusal.error for row in TABLE.all() for refusal in row.refusals}
    assert named <= set(EXPLANATIONS)


def test_an_explanation_names_only_facts_that_a_diagnosis_has() -> None:
    known = {
        "server",
        "host",
        "port",
        "username",
        "domain",
        "account",
        "address",
        "configure",
        "sign_in",
        "place",
        "detail",
    }
    for explanation in EXPLANATIONS.values():
        for text in (explanation.message, *explanation.causes, *explanation.hints):
            assert {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name} <= known


def test_a_providers_own_refusals_come_before_the_general_rules() -> None:
    yahoo = TABLE.by_id("yahoo")
    error = diagnose(refused(Stage.AUTH, "535 5.7.0 (#AUTH005) Too many bad auth attempts."), account_at(465), yahoo)
    assert error.code == "auth.app-password-required"
    assert yahoo
    assert set(yahoo.enable_steps) <= set(error.hints)
    assert error.url == yahoo.enable_url


def test_at_a_provider_that_takes_only_app_passwords_that_is_the_first_cause() -> None:
    row = next(row for row in TABLE.all() if [str(auth) for auth in row.auth] == ["app-password"] and not row.refusals)
    error = diagnose(refused(Stage.AUTH, "535 nope"), account_at(465), row)
    assert error.code == "auth.bad-credentials"
    assert row.name in error.causes[0]
    assert "app password" in error.causes[0]


def test_where_only_oauth2_works_a_refused_password_says_so() -> None:
    outlook = TABLE.by_id("microsoft-personal")
    assert error_code(refused(Stage.AUTH, "535 something new"), outlook) == "auth.oauth2-required"


def test_where_the_login_is_not_the_address_that_is_the_first_cause() -> None:
    bahnhof = TABLE.by_id("bahnhof")
    error = diagnose(refused(Stage.AUTH, "535 nope"), account_at(465), bahnhof)
    assert bahnhof
    assert bahnhof.username.label in error.causes[0]


def test_a_reply_with_braces_is_shown_as_it_is() -> None:
    failure = Failure(Stage.MAIL, Kind.PROTOCOL_ERROR, SERVER, detail="{host} {0} {")
    assert "{host} {0} {" in diagnose(failure, account_at(587)).causes[0]


def test_hints_for_an_account_that_is_not_saved_yet_do_not_speak_of_a_saved_one() -> None:
    failure = refused(Stage.AUTH, "535 nope")
    saved, unsaved = diagnose(failure, account_at(465)), diagnose(failure, account_at(465), is_saved=False)
    assert any("smtpsetup login" in hint for hint in saved.hints)
    assert not any("smtpsetup login" in hint or "accounts show" in hint for hint in unsaved.hints)
    assert unsaved.hints


def test_a_command_in_a_hint_can_be_typed_as_it_stands() -> None:
    error = diagnose(Failure(Stage.GREETING, Kind.TLS_EXPECTED, SERVER), account_at(587, name="my mail"))
    assert "`smtpsetup configure info@example.com --account 'my mail' --port 587 --security tls`" in error.hints[0]
