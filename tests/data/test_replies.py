"""Replies as servers send them, each with where it was seen: at least nine of ten have an error code that is right.

In a line of `replies.jsonl`, `codes` are the codes that help, the best first; `wrong` is what is said instead of them
today. `auth` is there for an account that uses OAuth2. Every rule is needed by one of these replies, by a wording, a
situation or an entry of FAILURES or ADVICE below.
"""

from __future__ import annotations

import datetime
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from smtpsetup.core.exit_codes import LASTING
from smtpsetup.core.failure import Failure, HttpReply, Kind
from smtpsetup.core.model import Auth, Security, Server, Stage
from smtpsetup.diagnosis import advice as known_advice
from smtpsetup.diagnosis import api_advice as known_api_advice
from smtpsetup.diagnosis.diagnose import diagnose, error_code
from smtpsetup.diagnosis.explanations import EXPLANATIONS
from smtpsetup.diagnosis.rules import RULES
from smtpsetup.providers.table import Table
from tests.conftest import account_at
from tests.data.test_situations import SITUATIONS, WORDINGS, parsed

if TYPE_CHECKING:
    from smtpsetup.diagnosis.rule import Advice, Rule

TABLE = Table(datetime.date(2026, 11, 24))
SERVER = Server("smtp.example.com", 587, Security.STARTTLS)
REPLIES: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("replies.jsonl").read_text(encoding="utf-8").splitlines()
]
LEAST_SHARE = 0.9
# replies that share words with another error
LOOKALIKES = [
    line.split("\t")
    for line in Path(__file__).with_name("lookalikes.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
# the answers of Microsoft Graph and the Gmail API, from their pages and from threads
API_ANSWERS = [
    (int(status), said, code, next(iter(advice), ""))
    for line in Path(__file__).with_name("api_answers.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for status, said, code, *advice in [line.split("\t")]
]


def refusal(stage: str, reply: str) -> Failure:
    return Failure(Stage(stage), Kind.REPLY, SERVER, parsed(reply))


def said(entry: dict[str, Any]) -> str:
    account = account_at(587, auth=Auth(entry.get("auth", "password")))
    provider = TABLE.by_id(entry["provider"]) if "provider" in entry else None
    return diagnose(refusal(entry["stage"], entry["reply"]), account, provider).code


@functools.cache
def results() -> list[tuple[dict[str, Any], str]]:
    return [(entry, said(entry)) for entry in REPLIES]


def test_what_is_said_of_each_reply_is_right_or_known_to_be_wrong() -> None:
    changed = {
        entry["reply"]: code
        for entry, code in results()
        if (code != entry["wrong"] if "wrong" in entry else code not in entry["codes"])
    }
    assert changed == {}


@pytest.mark.parametrize("stages", [tuple(Stage), (Stage.AUTH,)], ids=["all", "auth"])
def test_nine_of_ten_replies_have_an_error_code_that_is_right(stages: tuple[Stage, ...]) -> None:
    right = [code in entry["codes"] for entry, code in results() if entry["stage"] in stages]
    assert sum(right) >= LEAST_SHARE * len(right)


def test_no_reply_makes_a_script_delete_a_recipient_that_exists() -> None:
    assert not [
        entry["reply"] for entry, code in results() if code == "rcpt.unknown" and "rcpt.unknown" not in entry["codes"]
    ]


@pytest.mark.parametrize(("stage", "reply", "code", "exit_code"), LOOKALIKES, ids=[row[1] for row in LOOKALIKES])
def test_a_reply_is_not_taken_for_another_that_shares_its_words(
    stage: str, reply: str, code: str, exit_code: str
) -> None:
    """Exit code 67 makes scripts delete an address, and 77 ends a run; `*` stands for any error code."""
    error = diagnose(refusal(stage, reply), account_at(587))
    assert (error.code if code != "*" else "*", error.exit_code) == (code, int(exit_code))


# stage, reply, and the advice that replaces the one of the error code
ADVICE = [
    ("auth", "535 Basic authentication is not allowed with 2FA. Please use API key authentication", "API_KEY"),
    ("auth", "535 Login Fail. Please enter your authorization code to login.", "AUTHORIZATION_CODE"),
    ("auth", "535 Error: \ufffd: http://service.mail.qq.com/cgi-bin/help?id=28&&no=1001256", "AUTHORIZATION_CODE"),
    ("auth", "535 Login fail. Account is abnormal, service is not open, password is incorrect", "SEVERAL_CAUSES"),
    ("auth", "535 5.7.8 Password expired", "CHANGE_PASSWORD"),
    ("auth", "525 5.7.1 Unauthorized IP address", "ADDRESS_LIST"),
    ("auth", "550 User has no permission", "SWITCHED_OFF"),
    ("auth", "535 5.7.139 SmtpClientAuthentication is disabled for the Tenant.", ""),
    ("auth", "535 Please activate your Mailgun account", "NOT_ACTIVATED"),
    ("auth", "525 5.7.13 login disabled: unpaid invoice, contact billing", "UNPAID"),
    ("auth", "535 5.7.8 The account is disabled", "ACCOUNT_DISABLED"),
    ("auth", "525 5.7.8 No", "ACCOUNT_DISABLED"),
    ("auth", "535 5.7.13 No", "ACCOUNT_DISABLED"),
    ("auth", "535 5.7.8 Account blocked because of abuse", "TAKEN_FOR_SPAMMER"),
    ("auth", "451 Authentication failed: Maximum credits exceeded", "PLAN"),
    ("mail", "550 5.1.8 Access denied, bad outbound sender", "TAKEN_FOR_SPAMMER"),
    ("mail", "550 5.7.705 Access denied", "TAKEN_FOR_SPAMMER"),
    ("mail", "421 Please activate your account", "NOT_ACTIVATED"),
    ("mail", "550 The invoice is overdue", "UNPAID"),
    ("mail", "550 This account is locked", "ACCOUNT_DISABLED"),
    ("rcpt", "550 5.7.1 Your account is suspended", "ACCOUNT_DISABLED"),
    ("mail", "525 5.7.13 Ditt konto", "ACCOUNT_DISABLED"),
    ("mail", "552 Monthly sending quota used up", "PLAN"),
    ("data", "451 4.7.1 You have exceeded your hourly sending limit", "HOUR"),
    ("data", "550 5.4.5 Daily user sending limit exceeded.", ""),
    ("rcpt", "450 4.2.1 The user you are trying to contact is receiving mail at a rate that", "RECIPIENT_RATE"),
    ("data", "554 5.2.121 No", "RECIPIENT_RATE"),
    ("rcpt", "550 5.7.133 No", "RECIPIENT_REFUSES"),
    ("rcpt", "550 Administrative prohibition", "RECIPIENT_REFUSES"),
    ("rcpt", "550 No", ""),
    ("data", "554 Rejected - Message containing bare LF's.", "MALFORMED"),
    ("data", "500 5.5.2 invalid bare LF", "MALFORMED"),
    ("data", "554 5.6.0 No", "MALFORMED"),
    ("mail", "550 5.1.0 MailFrom domain is listed in Spamhaus.", "DOMAIN_LISTED"),
    ("rcpt", "554 5.7.1 Client host [192.0.2.9] blocked using zen.spamhaus.org", "BLOCKED_AFTER_LOGIN"),
    ("rcpt", "530 5.7.0 Authentication required", "LOGIN_NOT_COUNTED"),
]


@pytest.mark.parametrize(("stage", "reply", "name"), ADVICE, ids=[f"{stage}-{reply}" for stage, reply, _ in ADVICE])
def test_a_reply_that_shares_its_code_has_the_advice_that_fits(stage: str, reply: str, name: str) -> None:
    error = diagnose(refusal(stage, reply), account_at(587))
    expected = vars(known_advice)[name] if name else EXPLANATIONS[error.code]
    shown = (*error.causes, *error.hints)
    # the beginnings, which have no placeholders
    assert [text[:15] for text in shown] == [text[:15] for text in (*expected.causes, *expected.hints)]


def test_without_a_login_a_block_is_told_of_this_machine() -> None:
    failure = refusal("rcpt", "554 5.7.1 Client host [192.0.2.9] blocked using zen.spamhaus.org")
    assert "blocklist" in diagnose(failure, account_at(25, auth=Auth.NONE)).causes[0]


@pytest.mark.parametrize(
    ("stage", "reply", "code"),
    [
        ("mail", "451 4.7.1 Sender address rejected: not owned by user a@x.se", "mail.sender-not-allowed"),
        ("auth", "454 4.7.0 no such user", "auth.bad-credentials"),
        ("mail", "421 Please activate your account", "limit.account-blocked"),
        ("auth", "403 Access to requested service disabled", "auth.disabled-by-admin"),
        ("rcpt", "451 Open relay not allowed", "rcpt.relay-denied"),
    ],
)
def test_what_does_not_pass_by_itself_is_not_called_temporary(stage: str, reply: str, code: str) -> None:
    error = diagnose(refusal(stage, reply), account_at(587))
    assert (error.code, error.exit_code) == (code, 69 if code == "rcpt.relay-denied" else 77)
    assert code in LASTING


@pytest.mark.parametrize(
    "reply",
    [
        "554 Your message was received but it could not be saved. Please retry later.",
        "550 5.7.0 Requested action not taken: too many emails per second",
        "550 Connection frequency limited",
    ],
)
def test_what_passes_is_called_temporary_whatever_the_number(reply: str) -> None:
    assert diagnose(refusal("data", reply), account_at(587)).exit_code == 75


# the failures without a reply, and what of a reply the wordings do not have: stage, kind, facts, error code
FAILURES: list[tuple[Stage, Kind, dict[str, Any], str]] = [
    (Stage.DNS, Kind.NAME_NOT_FOUND, {}, "dns.not-found"),
    (Stage.DNS, Kind.NAME_TEMPORARY, {}, "dns.temporary"),
    (Stage.DNS, Kind.TIMEOUT, {}, "dns.temporary"),
    (Stage.CONNECT, Kind.PROXY_FAILED, {}, "connect.proxy-failed"),
    (Stage.DATA, Kind.TOO_LARGE_FOR_PERMISSION, {}, "data.too-large"),
    (Stage.CONNECT, Kind.REFUSED, {}, "connect.refused"),
    (Stage.CONNECT, Kind.UNREACHABLE, {}, "connect.unreachable"),
    (Stage.CONNECT, Kind.TIMEOUT, {}, "connect.timeout"),
    (
        Stage.CONNECT,
        Kind.TIMEOUT,
        {"server": Server("smtp.example.com", 25, Security.STARTTLS)},
        "connect.port-blocked",
    ),
    (Stage.TLS, Kind.CERTIFICATE_EXPIRED, {}, "tls.certificate-expired"),
    (Stage.TLS, Kind.CERTIFICATE_NOT_YET_VALID, {}, "tls.certificate-expired"),
    (Stage.TLS, Kind.HOSTNAME_MISMATCH, {}, "tls.hostname-mismatch"),
    (Stage.TLS, Kind.CERTIFICATE_UNTRUSTED, {}, "tls.untrusted"),
    (Stage.TLS, Kind.FINGERPRINT_MISMATCH, {}, "tls.fingerprint-mismatch"),
    (Stage.TLS, Kind.TLS_TOO_OLD, {}, "tls.protocol-too-old"),
    (Stage.TLS, Kind.TLS_NOT_SPOKEN, {}, "tls.not-spoken"),
    (Stage.GREETING, Kind.TLS_EXPECTED, {}, "tls.expected"),
    (Stage.TLS, Kind.CLOSED, {}, "tls.handshake-failed"),
    (Stage.TLS, Kind.TIMEOUT, {}, "tls.handshake-failed"),
    (Stage.TLS, Kind.TLS_FAILED, {}, "tls.handshake-failed"),
    (Stage.GREETING, Kind.NOT_SMTP, {}, "greeting.not-smtp"),
    (Stage.GREETING, Kind.TIMEOUT, {}, "greeting.timeout"),
    (Stage.STARTTLS, Kind.NOT_OFFERED, {}, "starttls.not-offered"),
    (Stage.STARTTLS, Kind.INJECTION, {}, "starttls.injection"),
    (Stage.AUTH, Kind.UNPROTECTED, {}, "starttls.required"),
    (Stage.AUTH, Kind.NOT_OFFERED, {}, "auth.not-offered"),
    (Stage.AUTH, Kind.NO_COMMON_MECHANISM, {"offered": ("XOAUTH2",)}, "auth.oauth2-required"),
    (Stage.AUTH, Kind.NO_COMMON_MECHANISM, {"offered": ("NTLM",)}, "auth.no-common-mechanism"),
    (Stage.MAIL, Kind.SMTPUTF8_NOT_OFFERED, {}, "mail.smtputf8-unsupported"),
    (Stage.MAIL, Kind.TOO_LARGE, {}, "data.too-large"),
    (Stage.DATA, Kind.LINE_TOO_LONG, {}, "data.line-too-long"),
    (Stage.DATA, Kind.CLOSED, {"is_unknown": True}, "data.lost-before-reply"),
    (Stage.MAIL, Kind.PROTOCOL_ERROR, {}, "server.protocol-error"),
    (Stage.MAIL, Kind.CLOSED, {}, "connection.lost"),
    (Stage.MAIL, Kind.TIMEOUT, {}, "connection.lost"),
    (Stage.MAIL, Kind.REPLY, {"reply": parsed("299 what")}, "server.protocol-error"),
]


@pytest.mark.parametrize(("stage", "kind", "facts", "code"), FAILURES)
def test_a_failure_has_its_error_code(stage: Stage, kind: Kind, facts: dict[str, Any], code: str) -> None:
    assert error_code(Failure(stage, kind, **{"server": SERVER, **facts})) == code


class Datum(NamedTuple):
    """A failure and the codes that are right for it; `advice` is compared, too, where it is not None."""

    failure: Failure
    codes: tuple[str, ...]
    advice: Advice | None = None

    def is_right(self, rule: Rule | None) -> bool:
        return rule is not None and rule.error in self.codes and self.advice in (None, rule.advice)


def is_general(failure: Failure, row: str) -> bool:
    """Whether the rules alone decide, not the refusals in the provider's row."""
    provider = TABLE.by_id(row) if row else None
    assert failure.reply
    code = failure.reply.code
    is_changed = failure.stage is Stage.AUTH and provider is not None and provider.auth == (Auth.OAUTH2,)
    return provider is None or not (is_changed or any(refusal.code == code for refusal in provider.refusals))


def data() -> list[Datum]:
    by_name = vars(known_advice)
    after_login = known_advice.AFTER_LOGIN.values()
    api_advice = vars(known_api_advice)
    return [
        *(
            Datum(failure, (code,))
            for stage, code, row, reply in WORDINGS
            if is_general(failure := refusal(stage, reply.replace("\\n", "\n")), row)
        ),
        *(
            Datum(failure, (one["code"],))
            for one in SITUATIONS
            if one["how"] == "reply" and is_general(failure := refusal(one["stage"], one["reply"]), one["provider"])
        ),
        *(
            Datum(failure, tuple(one["codes"]))
            for one in REPLIES
            if not {"auth", "wrong"} & set(one)
            and is_general(failure := refusal(one["stage"], one["reply"]), one.get("provider", ""))
        ),
        *(
            Datum(failure, (error_code(failure),), by_name[name])
            for stage, reply, name in ADVICE
            if name and by_name[name] not in after_login
            for failure in (refusal(stage, reply),)
        ),
        *(Datum(refusal(stage, reply), (code,)) for stage, reply, code, _ in LOOKALIKES if code != "*"),
        *(Datum(Failure(stage, kind, **{"server": SERVER, **facts}), (code,)) for stage, kind, facts, code in FAILURES),
        *(Datum(api_answer(status, said), (code,), api_advice.get(name)) for status, said, code, name in API_ANSWERS),
    ]


def api_answer(status: int, said: str) -> Failure:
    """The failure that an API's answer is."""
    stage = Stage.AUTH if status == 401 else Stage.DATA
    return Failure(stage, Kind.HTTP, SERVER, HttpReply(status, "", (said,)))


@pytest.mark.parametrize(("status", "said", "code", "advice"), API_ANSWERS)
def test_an_answer_of_an_api_has_its_code(status: int, said: str, code: str, advice: str) -> None:
    assert error_code(api_answer(status, said)) == code
    assert advice in ("", *vars(known_api_advice))


def test_every_rule_is_needed() -> None:
    """Without any one of the rules, a datum that it decides would get a wrong error code or other advice."""
    needed = set()
    for datum in data():
        fitting = [number for number, rule in enumerate(RULES) if rule.fits(datum.failure)][:2]
        first, second = (*(RULES[number] for number in fitting), None)[:2]
        assert datum.is_right(first), datum
        if not datum.is_right(second):
            needed.add(fitting[0])
    assert [RULES[number] for number in range(len(RULES)) if number not in needed] == []
