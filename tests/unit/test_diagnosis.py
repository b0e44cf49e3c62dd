"""A failure has the right error code, with causes and hints that fit it."""

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
        (Stage.AUTH, "504 5.7.4 Unrecognized authentication type", "auth.no-common-mechanism", 69),
        (Stage.AUTH, "454 4.7.0 Temporary authentication failure", "auth.temporary", 75),
        (Stage.AUTH, "530 Must issue a STARTTLS command first", "starttls.required", 69),
        (Stage.AUTH, "538 Encryption required for requested authentication mechanism", "starttls.required", 69),
        (Stage.RCPT, "452 4.2.2 Mailbox full", "rcpt.mailbox-full", 75),
        (Stage.RCPT, "452 4.5.3 Too many recipients", "rcpt.too-many", 75),
        (
            Stage.DATA,
            "550 5.7.26 This mail has been blocked because the sender is unauthenticated.",
            "data.unauthenticated-domain",
            69,
        ),
        (Stage.DATA, "550 5.7.1 Rejected by DMARC policy", "data.unauthenticated-domain", 69),
        (Stage.RCPT, "452 4.2.2 The email account that you tried to reach is over quota.", "rcpt.mailbox-full", 75),
        (Stage.RCPT, "552 5.2.2 The email account that you tried to reach is over quota.", "rcpt.mailbox-full", 67),
        (Stage.RCPT, "450 4.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", "server.client-blocked", 75),
        (Stage.DATA, "550 5.7.1 SPF fail, see http://openspf.org/Why?s=helo", "data.unauthenticated-domain", 69),
    ],
)
def test_a_reply_has_the_right_error_code_and_exit_code(stage: Stage, reply: str, code: str, exit_code: int) -> None:
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
        "sender",
        "recipient",
        "sign_in",
        "place",
        "detail",
        "docs",
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


def test_where_only_app_passwords_work_that_is_the_first_cause_of_a_refused_login() -> None:
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


def test_braces_in_a_reply_are_shown_literally() -> None:
    failure = Failure(Stage.MAIL, Kind.PROTOCOL_ERROR, SERVER, detail="{host} {0} {")
    assert "{host} {0} {" in diagnose(failure, account_at(587)).causes[0]


def test_hints_for_an_unsaved_account_do_not_assume_a_saved_one() -> None:
    failure = refused(Stage.AUTH, "535 nope")
    saved, unsaved = diagnose(failure, account_at(465)), diagnose(failure, account_at(465), is_saved=False)
    assert any("smtpsetup login" in hint for hint in saved.hints)
    assert not any("smtpsetup login" in hint or "accounts show" in hint for hint in unsaved.hints)
    assert unsaved.hints


def test_a_command_in_a_hint_is_quoted_for_the_shell() -> None:
    error = diagnose(Failure(Stage.GREETING, Kind.TLS_EXPECTED, SERVER), account_at(587, name="my mail"))
    assert "`smtpsetup configure info@example.com --account 'my mail' --port 587 --security tls`" in error.hints[0]
