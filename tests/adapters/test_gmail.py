"""Sending by the Gmail API, against a fake made from its pages."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from smtpsetup.core.errors import InterruptedAfterTheDotError
from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, Stage, TransportKind
from smtpsetup.diagnosis.diagnose import error_code
from smtpsetup.message.header_recipients import addressed_by_header
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.transports.gmail import SIZE_LIMIT, GmailSession, GmailTransport
from smtpsetup.setup.test_account import run_test
from tests.api_accounts import ADDRESS, TOKEN, Noted, api_account, api_context, mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpsetup.config.account import Account
    from smtpsetup.message.delivery import Delivery, Outcome
    from tests.gmail_server import GmailServer

pytestmark = pytest.mark.usefixtures("api_state")
SIX_MEGABYTES = b"a line of sixteen\r\n" * 320_000


@pytest.fixture
def account(gmail_server: GmailServer) -> Account:
    gmail_server.allow(TOKEN, ADDRESS)
    return api_account(gmail_server, TransportKind.GMAIL)


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between the tries of an upload."""
    monkeypatch.setattr(GmailSession, "wait", lambda _session, _seconds: None)


def delivered(account: Account, delivery: Delivery) -> Outcome:
    with GmailTransport().session(account, Conditions(30)) as session:
        session.open(Secret(TOKEN))
        return session.deliver(delivery)


def refused(account: Account, delivery: Delivery) -> TransportError:
    with pytest.raises(TransportError) as caught:
        delivered(account, delivery)
    return caught.value


def test_the_mail_arrives_as_it_is(account: Account, gmail_server: GmailServer) -> None:
    noted = Noted()
    delivery = mail("kund@example.org", "hemlig@example.org")
    outcome = delivered(account, noted.watched(delivery))
    (sent,) = gmail_server.mails
    assert set(sent.recipients) == set(outcome.accepted) == {"kund@example.org", "hemlig@example.org"}
    assert sent.message == b"".join(delivery.message.chunks())
    assert noted.states == ["dot", "accepted"]


def test_a_sign_in_to_gmail_is_proved_without_a_mail(account: Account, gmail_server: GmailServer) -> None:
    report = run_test(api_context(account), Secret(TOKEN), login_only=True)
    assert (report.error, gmail_server.mails) == (None, [])
    assert [result.stage for result in report.stages] == [Stage.DNS, Stage.CONNECT, Stage.TLS, Stage.AUTH]
    gmail_server.allow(TOKEN, ADDRESS, ("https://www.googleapis.com/auth/gmail.readonly",))
    report = run_test(api_context(account), Secret(TOKEN), login_only=True)
    assert report.error
    assert report.error.code == "auth.scope-refused"


def test_a_large_mail_is_uploaded(account: Account, gmail_server: GmailServer) -> None:
    delivery = mail("kund@example.org", "hemlig@example.org", body=SIX_MEGABYTES)
    delivered(account, delivery)
    (sent,) = gmail_server.mails
    assert sent.message == b"".join(delivery.message.chunks())
    assert [request.method for request in gmail_server.requests] == ["POST", "PUT"]
    assert gmail_server.violations == []


@pytest.mark.matrix
@pytest.mark.parametrize("drop", ["before-body", "mid-body", "after-processing"])
def test_a_cut_upload_goes_on_without_a_double(account: Account, gmail_server: GmailServer, drop: str) -> None:
    gmail_server.rule(method="PUT", drop=drop)
    noted = Noted()
    delivery = mail(body=SIX_MEGABYTES)
    delivered(account, noted.watched(delivery))
    (sent,) = gmail_server.mails
    assert sent.message == b"".join(delivery.message.chunks())
    assert noted.states[-1] == "accepted"


def test_an_upload_whose_answers_are_all_lost_is_unknown(
    account: Account, gmail_server: GmailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smtpsetup.sending.transports.api.time.sleep", lambda _seconds: None)
    gmail_server.rule(9, method="PUT", drop="after-processing")
    assert refused(account, mail(body=SIX_MEGABYTES)).failure.is_unknown


def test_an_answer_lost_to_a_small_mail_is_unknown(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.rule(drop="after-processing")
    assert refused(account, mail()).failure.is_unknown
    assert len(gmail_server.mails) == 1


def test_an_upload_on_another_host_gets_nothing(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.rule(method="POST", status=200, headers={"Location": "https://elsewhere.example/upload?id=1"})
    assert error_code(refused(account, mail(body=SIX_MEGABYTES)).failure) == "server.protocol-error"
    assert len(gmail_server.requests) == 1


REFUSALS: dict[str, tuple[Callable[[GmailServer], object], str]] = {
    "switched off": (lambda server: server.api_disabled(9), "auth.api-disabled"),
    "user rate": (lambda server: server.rate_limited(9), "limit.rate"),
    "rate": (lambda server: server.rate_limited(9, is_user=False), "limit.rate"),
    "daily": (lambda server: server.daily_limit(9), "limit.quota"),
    "sending": (lambda server: server.sending_limit("2099-01-01T00:00:00.000Z", 9), "limit.quota"),
    "policy": (lambda server: server.domain_policy(9), "auth.disabled-by-admin"),
    "no Gmail": (lambda server: server.mail_not_enabled(9), "auth.no-mailbox"),
    "expired": (lambda server: server.expire(TOKEN), "auth.token-revoked"),
    "throttled": (lambda server: server.throttled("900", 9), "limit.rate"),
    "no recipient": (
        lambda server: server.error("invalidArgument", "Recipient address required", 400, 9),
        "server.refused",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_of_gmail_has_its_own_code(account: Account, gmail_server: GmailServer, name: str) -> None:
    arrange, expected = REFUSALS[name]
    arrange(gmail_server)
    assert error_code(refused(account, mail()).failure) == expected
    assert gmail_server.mails == []


def test_the_time_in_the_message_is_the_pause(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.sending_limit("2099-01-01T00:00:00.000Z")
    assert refused(account, mail()).failure.retry_after == 86_400  # more is not believed


def test_a_message_over_the_limit_is_not_sent(account: Account, gmail_server: GmailServer) -> None:
    delivery = mail()
    message = delivery.message._replace(body_size=SIZE_LIMIT)
    assert error_code(refused(account, delivery._replace(message=message)).failure) == "data.too-large"
    assert gmail_server.requests == []


@pytest.mark.slow
def test_a_second_has_no_more_mails_than_the_quota_lets_through(account: Account, gmail_server: GmailServer) -> None:
    started = time.monotonic()
    with GmailTransport().session(account, Conditions(30)) as session:
        session.open(Secret(TOKEN))
        for number in range(6):
            session.deliver(mail(subject=str(number)))
    assert (len(gmail_server.mails), gmail_server.violations) == (6, [])
    assert time.monotonic() - started >= 3.0


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize(
    ("method", "body", "answer"),
    [
        ("POST", b"Text\r\n", "<html>Blocked by your firewall</html>"),
        ("POST", b"Text\r\n", "{}"),
        ("POST", b"Text\r\n", '{"id": null}'),
        ("PUT", SIX_MEGABYTES, "<html>Blocked by your firewall</html>"),
    ],
    ids=["page", "empty", "null", "page for an upload"],
)
def test_an_answer_that_names_no_mail_leaves_it_unknown(
    account: Account, gmail_server: GmailServer, method: str, body: bytes, answer: str
) -> None:
    gmail_server.rule(9, method=method, status=200, body=answer)
    noted = Noted()
    assert refused(account, noted.watched(mail(body=body))).failure.is_unknown
    assert noted.states == ["dot"]


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("status", [500, 503, 404, 410, 401])
def test_what_may_have_arrived_stays_unknown_whatever_is_answered_later(
    account: Account, gmail_server: GmailServer, status: int
) -> None:
    gmail_server.rule(method="PUT", drop="after-processing")
    gmail_server.rule(9, method="PUT", status=status)
    noted = Noted()
    assert refused(account, noted.watched(mail(body=SIX_MEGABYTES))).failure.is_unknown
    assert (noted.states[-1], len(gmail_server.mails)) == ("dot", 1)


@pytest.mark.matrix
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
def test_a_gateway_that_gave_up_on_an_upload_is_asked_what_arrived(
    account: Account, gmail_server: GmailServer, headers: dict[str, str]
) -> None:
    gmail_server.rule(method="PUT", status=504, headers=headers, after=True)
    delivered(account, mail(body=SIX_MEGABYTES))
    assert len(gmail_server.mails) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_to_gmail_that_has_expired_begins_again_later(
    account: Account, gmail_server: GmailServer, status: int
) -> None:
    gmail_server.rule(method="PUT", status=status)
    error = refused(account, mail(body=SIX_MEGABYTES))
    assert (error_code(error.failure), error.failure.is_unknown) == ("connection.lost", False)


def test_an_upload_that_ran_into_a_fault_goes_on_where_it_was(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.rule(method="PUT", status=500, after=True)
    noted = Noted()
    delivered(account, noted.watched(mail(body=SIX_MEGABYTES)))
    assert (noted.states[-1], len(gmail_server.mails)) == ("accepted", 1)


@pytest.mark.usefixtures("no_waits")
def test_a_range_beyond_the_mail_is_not_believed(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.rule(9, method="PUT", status=308, headers={"Range": "bytes=0-99999999"})
    assert error_code(refused(account, mail(body=SIX_MEGABYTES)).failure) == "connection.lost"


@pytest.mark.usefixtures("no_waits")
def test_an_upload_that_is_whole_without_a_mail_leaves_it_unknown(account: Account, gmail_server: GmailServer) -> None:
    delivery = mail(body=SIX_MEGABYTES)
    whole = {"Range": f"bytes=0-{addressed_by_header(delivery.message, delivery.envelope).size - 1}"}
    gmail_server.rule(9, method="PUT", status=308, headers=whole, after=True)
    noted = Noted()
    assert refused(account, noted.watched(delivery)).failure.is_unknown
    assert noted.states == ["dot"]


@pytest.mark.usefixtures("no_waits")
@pytest.mark.parametrize("later", [{"status": 404}, {"drop": "after-processing"}])
def test_a_fault_after_an_upload_is_unknown_until_the_service_says_more(
    account: Account, gmail_server: GmailServer, later: dict[str, Any]
) -> None:
    gmail_server.rule(method="PUT", status=500, after=True)
    gmail_server.rule(9, method="PUT", **later)
    noted = Noted()
    assert refused(account, noted.watched(mail(body=SIX_MEGABYTES))).failure.is_unknown
    assert (noted.states, len(gmail_server.mails)) == (["dot"], 1)


def test_a_refusal_after_the_service_had_nothing_is_one(account: Account, gmail_server: GmailServer) -> None:
    gmail_server.rule(method="PUT", drop="after-body")
    gmail_server.rule(method="PUT", status=308)
    refusal = {"error": {"code": 400, "message": "Recipient address required"}}
    gmail_server.rule(method="PUT", status=400, body=json.dumps(refusal).encode())
    noted = Noted()
    error = refused(account, noted.watched(mail(body=SIX_MEGABYTES)))
    assert (error_code(error.failure), error.failure.is_unknown) == ("server.refused", False)
    assert noted.states[-1] == "refused"


def test_ctrl_c_after_an_answer_was_lost_says_so(
    account: Account, gmail_server: GmailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_session: object, _seconds: float) -> None:
        raise KeyboardInterrupt

    gmail_server.rule(method="PUT", drop="after-processing")
    monkeypatch.setattr(GmailSession, "wait", interrupted)
    with pytest.raises(InterruptedAfterTheDotError):
        delivered(account, mail(body=SIX_MEGABYTES))


def test_the_place_of_an_upload_is_in_no_trace(account: Account, gmail_server: GmailServer) -> None:
    lines: list[str] = []
    with GmailTransport().session(account, Conditions(30, trace=lines.append)) as session:
        session.open(Secret(TOKEN))
        session.deliver(mail(body=SIX_MEGABYTES))
    place = next(request.query["upload_id"] for request in gmail_server.requests if request.method == "PUT")
    assert any("> PUT " in line for line in lines)
    assert place not in "\n".join(lines)
