"""Sending by Microsoft Graph, against a fake made from its pages."""

from __future__ import annotations

import datetime
import email
import email.policy
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.failure import TransportError
from smtpsetup.core.model import Secret, Security, Server, Stage, StageStatus, TransportKind
from smtpsetup.core.oauth_types import Grant
from smtpsetup.diagnosis.diagnose import error_code
from smtpsetup.message.attachments import from_file
from smtpsetup.message.compose import Draft, Mailbox, compose, parse_mailboxes
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.send_one import send
from smtpsetup.sending.transports import graph_draft
from smtpsetup.sending.transports.graph import GraphSession, GraphTransport
from smtpsetup.setup.test_account import run_test
from tests.api_accounts import (
    ADDRESS,
    GRAPH_SEND,
    GRAPH_WRITE,
    TOKEN,
    Noted,
    api_account,
    api_context,
    mail,
    signed_in_with,
)
from tests.servers import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from smtpsetup.config.account import Account
    from smtpsetup.message.delivery import Outcome
    from tests.graph_server import GraphServer

pytestmark = pytest.mark.usefixtures("api_state")
MEGABYTE = 1_000_000


@pytest.fixture
def account(graph_server: GraphServer) -> Account:
    graph_server.allow(TOKEN, ADDRESS)
    return api_account(graph_server, TransportKind.GRAPH)


def delivered(account: Account, delivery: Delivery, token: str = TOKEN) -> Outcome:
    """Deliver one mail over a session of its own. Raises TransportError."""
    with GraphTransport().session(account, Conditions(30)) as session:
        session.open(Secret(token))
        return session.deliver(delivery)


def refused(account: Account, delivery: Delivery, token: str = TOKEN) -> TransportError:
    """The error of a mail that is not accepted."""
    with pytest.raises(TransportError) as caught:
        delivered(account, delivery, token)
    return caught.value


def large_mail(directory: Path, *sizes: int) -> Delivery:
    """A mail with files of these sizes."""
    names = []
    for number, size in enumerate(sizes):
        path = directory / f"räkning {number}.bin"
        path.write_bytes(bytes([number + 1]) * size)
        names.append(str(path))
    draft = Draft(
        Mailbox("Mitt Företag", parse_mailboxes(ADDRESS)[0].address),
        to=tuple(parse_mailboxes("kund@example.org")),
        bcc=tuple(parse_mailboxes("arkiv@example.org")),
        subject="Räkningar",
        text="Hej\n",
        attachments=tuple(from_file(name) for name in names),
    )
    message = compose(draft, now=datetime.datetime.now(datetime.UTC), message_id="<large@example.test>")
    return Delivery(Envelope(ADDRESS, draft.recipients), message, "<large@example.test>")


def test_the_mail_arrives_as_it_is_but_for_bcc(account: Account, graph_server: GraphServer) -> None:
    noted = Noted()
    delivery = mail("kund@example.org", "hemlig@example.org")
    outcome = delivered(account, noted.watched(delivery))
    assert outcome.accepted == ("kund@example.org", "hemlig@example.org")
    (sent,) = graph_server.mails
    assert set(sent.recipients) == {"kund@example.org", "hemlig@example.org"}
    assert sent.message == b"".join(delivery.message.chunks())
    assert noted.states == ["dot", "accepted"]
    assert graph_server.violations == []
    assert [request.path for request in graph_server.requests] == ["/v1.0/me/sendMail"]


def test_nobody_gets_it_who_is_not_in_the_envelope(account: Account, graph_server: GraphServer) -> None:
    delivered(account, mail("admin@example.org", to="root@localhost, kund@example.org"))
    (sent,) = graph_server.mails
    assert sent.recipients == ("admin@example.org",)
    assert b"X-Original-To: root@localhost, kund@example.org\r\n" in sent.message
    assert b"To: undisclosed-recipients:;\r\n" in sent.message


def test_the_stages_are_those_of_http(account: Account, graph_server: GraphServer) -> None:
    report = run_test(api_context(account), Secret(TOKEN))
    assert report.error is None
    assert [result.stage for result in report.stages] == [
        Stage.DNS,
        Stage.CONNECT,
        Stage.TLS,
        Stage.AUTH,
        Stage.DATA,
    ]
    assert {result.status for result in report.stages} == {StageStatus.OK}
    assert report.tls
    assert len(graph_server.mails) == 1


def test_a_sign_in_to_graph_is_proved_without_a_mail(account: Account, graph_server: GraphServer) -> None:
    report = run_test(api_context(account), Secret(TOKEN), login_only=True)
    assert (report.error, graph_server.mails) == (None, [])
    assert report.stages[-1].stage is Stage.AUTH
    graph_server.allow("reads-only", ADDRESS, scopes=("Mail.Read",))
    report = run_test(api_context(account), Secret("reads-only"), login_only=True)
    assert report.error
    assert (report.error.code, report.stages[-1].status) == ("auth.access-denied", StageStatus.FAILED)


def test_a_200_is_a_refusal(account: Account, graph_server: GraphServer) -> None:
    graph_server.rule(status=200)
    noted = Noted()
    error = refused(account, noted.watched(mail()))
    assert (error_code(error.failure), error.failure.is_unknown) == ("server.refused", False)
    assert noted.states == ["dot"]


@pytest.mark.parametrize(
    ("status", "code", "message", "expected", "exit_code"),
    [
        (403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.", "auth.access-denied", 77),
        (403, "ErrorAccessDenied", "Access to OData is disabled.", "auth.access-denied", 77),
        (403, "ErrorSendAsDenied", "The user account has no right", "mail.sender-not-allowed", 77),
        (413, "RequestEntityTooLarge", "too large", "data.too-large", 69),
        (400, "ErrorMessageSizeExceeded", "too large", "data.too-large", 69),
        (400, "ErrorMimeContentInvalidBase64String", "Invalid base64", "data.transfer-damaged", 75),
        (404, "MailboxNotEnabledForRESTAPI", "inactive, soft-deleted", "auth.no-mailbox", 77),
        (404, "ErrorInvalidUser", "The requested user is invalid.", "auth.no-mailbox", 77),
        (401, "InvalidAuthenticationToken", "Access token has expired.", "auth.token-revoked", 77),
        (400, "ErrorInvalidRecipients", "At least one recipient is not valid.", "server.refused", 69),
        (429, "ApplicationThrottled", "over its MailboxConcurrency limit", "limit.rate", 75),
        (403, "ErrorExceededMessageLimit", "Cannot send mail.", "limit.quota", 75),
        (403, "ErrorQuotaExceeded", "The mailbox is full.", "limit.quota", 75),
        (403, "ErrorAccountSuspend", "The account is suspended", "limit.account-blocked", 77),
        (500, "generalException", "Something went wrong", "server.temporary", 75),
        (404, "UnknownError", "", "server.protocol-error", 76),
    ],
)
def test_a_refusal_of_graph_has_its_own_code(  # noqa: PLR0913, PLR0917  one row of the table
    account: Account,
    graph_server: GraphServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    message: str,
    expected: str,
    exit_code: int,
) -> None:
    monkeypatch.setattr("smtpsetup.sending.transports.api.LONGEST_WAIT", 0.0)
    graph_server.error(code, message, status, count=9)
    result = send(api_context(account), Secret(TOKEN), mail())
    assert result.error
    assert (result.error.code, result.error.exit_code) == (expected, exit_code)
    assert code in result.error.reply_or_message
    assert graph_server.mails == []


def test_conditional_access_asks_for_a_person(account: Account, graph_server: GraphServer) -> None:
    graph_server.claims_challenge(9)
    assert error_code(refused(account, mail()).failure) == "auth.sign-in-blocked"


def test_an_expired_token_is_renewed_in_the_middle(account: Account, graph_server: GraphServer) -> None:
    graph_server.allow("second-token-1234567", ADDRESS)
    asked: list[Secret] = []

    def renew(token: Secret) -> Secret:
        asked.append(token)
        return Secret("second-token-1234567")

    with GraphTransport().session(account, Conditions(30, renew=renew)) as session:
        session.open(Secret(TOKEN))
        session.deliver(mail(subject="1"))
        graph_server.expire(TOKEN)
        session.deliver(mail(subject="2"))
        session.deliver(mail(subject="3"))
    assert (asked, len(graph_server.mails)) == ([Secret(TOKEN)], 3)
    assert {request.connection for request in graph_server.requests} == {graph_server.requests[0].connection}


@pytest.mark.matrix
@pytest.mark.parametrize("answer", ["throttled", "unavailable"])
def test_a_pause_is_as_long_as_asked(account: Account, graph_server: GraphServer, answer: str) -> None:
    if answer == "throttled":
        graph_server.throttled("1")
    else:
        graph_server.unavailable(status=503, retry_after="1")
    noted = Noted()
    started = time.monotonic()
    delivered(account, noted.watched(mail()))
    assert time.monotonic() - started >= 1.0
    assert noted.states == ["dot", "refused", "dot", "accepted"]
    assert len(graph_server.mails) == 1


def test_a_long_pause_is_left_to_the_outbox_and_known_to_others(account: Account, graph_server: GraphServer) -> None:
    graph_server.throttled("300")
    error = refused(account, mail())
    assert (error_code(error.failure), error.failure.retry_after) == ("limit.rate", 300.0)
    error = refused(account, mail())  # another process
    assert error_code(error.failure) == "limit.rate"
    assert 200 < error.failure.retry_after <= 300
    assert len(graph_server.requests) == 1


@pytest.mark.parametrize("drop", ["after-body", "after-processing"])
def test_a_lost_answer_is_unknown(account: Account, graph_server: GraphServer, drop: str) -> None:
    graph_server.rule(drop=drop)
    noted = Noted()
    error = refused(account, noted.watched(mail()))
    assert error.failure.is_unknown
    assert error_code(error.failure) == "data.lost-before-reply"
    assert noted.states == ["dot"]
    assert len(graph_server.requests) == 1


def test_a_gateway_that_gave_up_is_unknown(account: Account, graph_server: GraphServer) -> None:
    graph_server.rule(status=504, after=True)
    assert refused(account, mail()).failure.is_unknown


def test_a_gateway_that_gave_up_is_asked_again_after_the_pause_and_as_unknown(
    account: Account, graph_server: GraphServer
) -> None:
    graph_server.rule(status=504, headers={"Retry-After": "20"}, after=True)
    noted = Noted()
    failure = refused(account, noted.watched(mail())).failure
    assert (error_code(failure), failure.retry_after, noted.states) == ("data.lost-before-reply", 20.0, ["dot"])
    assert len(graph_server.mails) == 1


def test_two_tokens_can_end_in_one_session(account: Account, graph_server: GraphServer) -> None:
    tokens = iter(["second-token-1234567", "third-token-12345678"])

    def renew(_refused: Secret) -> Secret | None:
        token = next(tokens)
        graph_server.allow(token, ADDRESS)
        return Secret(token)

    with GraphTransport().session(account, Conditions(30, renew=renew)) as session:
        session.open(Secret(TOKEN))
        for ended in (TOKEN, "second-token-1234567"):
            graph_server.expire(ended)
            session.deliver(mail())
    assert len(graph_server.mails) == 2


@pytest.mark.parametrize("status", [503, 504])
def test_a_draft_that_is_gone_on_the_second_try_may_have_been_sent(
    writer: Account, graph_server: GraphServer, tmp_path: Path, status: int
) -> None:
    graph_server.rule(path_contains="/send", status=status, headers={"Retry-After": "1"}, after=True)
    noted = Noted()
    assert refused(writer, noted.watched(large_mail(tmp_path, 4_000_000))).failure.is_unknown
    assert noted.states[-1] == "dot"
    assert len(graph_server.mails) == 1


@pytest.mark.usefixtures("unpaced")
@pytest.mark.parametrize(
    ("status", "body"), [(200, b'{"nextExpectedRanges":["0-"]}'), (202, b""), (200, b""), (200, b"no JSON")]
)
def test_a_file_is_there_only_if_the_server_says_so(
    writer: Account, graph_server: GraphServer, tmp_path: Path, status: int, body: bytes
) -> None:
    graph_server.rule(99, method="PUT", status=status, body=body)
    error = refused(writer, large_mail(tmp_path, 4_000_000))
    assert (error_code(error.failure), error.failure.is_unknown) == ("connection.lost", False)
    assert (graph_server.mails, graph_server.drafts) == ([], {})


@pytest.mark.parametrize("body", [b"{}", b"no JSON", b'{"nextExpectedRanges":["99999999-"]}'])
def test_an_answer_about_an_upload_that_says_nothing_ends_it(
    writer: Account, graph_server: GraphServer, tmp_path: Path, body: bytes
) -> None:
    graph_server.rule(1, method="PUT", drop="mid-body")
    graph_server.rule(99, method="GET", status=200, body=body)
    error = refused(writer, large_mail(tmp_path, 4_000_000))
    assert (error_code(error.failure), graph_server.mails) == ("connection.lost", [])


@pytest.mark.usefixtures("unpaced")
def test_an_upload_that_is_throttled_keeps_the_pause(
    writer: Account, graph_server: GraphServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphSession, "wait", lambda _session, _seconds: None)
    graph_server.rule(99, method="PUT", status=429, headers={"Retry-After": "30"})
    failure = refused(writer, large_mail(tmp_path, 4_000_000)).failure
    assert (error_code(failure), failure.retry_after) == ("limit.rate", 30.0)


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_to_graph_that_has_expired_begins_again_later(
    writer: Account, graph_server: GraphServer, tmp_path: Path, status: int
) -> None:
    graph_server.rule(1, method="PUT", status=status)
    error = refused(writer, large_mail(tmp_path, 4_000_000))
    assert (error_code(error.failure), graph_server.mails) == ("connection.lost", [])


@pytest.mark.parametrize(
    "url",
    [
        "https://[::ffff:127.0.0.1]:1/x",
        "https://0.0.0.0:1/x",
        "https://127.1:1/x",
        "https://2130706433:1/x",
        "https://0x7f000001:1/x",
        "https://169.254.169.254:1/x",
        "https://localhost:1/x",
        "http://upload.example/x",
        "https://user@upload.example/x",
    ],
)
def test_a_file_is_uploaded_to_a_name_on_the_internet_only(url: str) -> None:
    with pytest.raises(TransportError):
        graph_draft.place_of(url, Server("graph.microsoft.com", 443, Security.TLS))
    place = graph_draft.place_of("https://upload.example/x?y", Server("graph.microsoft.com", 443, Security.TLS))
    assert place == (Server("upload.example", 443, Security.TLS), "/x?y")


@pytest.mark.parametrize("drop", ["before-body", "mid-body"])
def test_a_request_that_was_cut_is_sent_again_unless_all_of_it_was_sent(
    account: Account, graph_server: GraphServer, drop: str
) -> None:
    graph_server.rule(drop=drop)
    noted = Noted()
    delivery = mail(body=b"a line of text\r\n" * 100_000)
    result = send(api_context(account), Secret(TOKEN), noted.watched(delivery))
    if result.error:
        assert (result.error.code, noted.states) == ("data.lost-before-reply", ["dot"])
    else:
        assert noted.states == ["dot", "accepted"]
    assert len(graph_server.mails) == (0 if result.error else 1)


def test_a_connection_that_the_server_closed_is_opened_again(account: Account, graph_server: GraphServer) -> None:
    with GraphTransport().session(account, Conditions(30)) as session:
        session.open(Secret(TOKEN))
        session.deliver(mail(subject="1"))
        graph_server.ports[0].close_connections()
        wait_for(lambda: not session._connection.is_usable)
        session.deliver(mail(subject="2"))
    assert len(graph_server.mails) == 2


def test_the_token_goes_to_no_other_host(account: Account, graph_server: GraphServer) -> None:
    graph_server.redirect()
    assert error_code(refused(account, mail()).failure) == "server.protocol-error"
    assert graph_server.elsewhere == []


def test_an_application_sends_from_the_mailbox_by_its_address(account: Account, graph_server: GraphServer) -> None:
    graph_server.allow(TOKEN, ADDRESS, app=True, mailboxes=(ADDRESS,))
    client = signed_in_with("https://graph.microsoft.com/.default", grant=Grant.CLIENT_CREDENTIALS)
    delivered(account._replace(oauth2=client), mail())
    assert [request.path for request in graph_server.requests] == [f"/v1.0/users/{ADDRESS}/sendMail"]


def test_a_shared_mailbox_is_the_sender(account: Account, graph_server: GraphServer) -> None:
    shared = account._replace(username="anna@example.test")
    graph_server.allow(TOKEN, "anna@example.test", ("Mail.Send", "Mail.Send.Shared"), mailboxes=(ADDRESS,))
    delivered(shared, mail())
    assert (graph_server.mails[0].sender, graph_server.requests[0].path) == (ADDRESS, "/v1.0/me/sendMail")
    graph_server.allow(TOKEN, "anna@example.test")
    assert error_code(refused(shared, mail()).failure) == "mail.sender-not-allowed"


def test_never_more_than_four_at_once_and_no_more_bytes_than_allowed(
    account: Account, graph_server: GraphServer
) -> None:
    graph_server.pause = 0.1
    threads = [threading.Thread(target=delivered, args=(account, mail(subject=str(n)))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(graph_server.mails), graph_server.violations) == (12, [])
    assert 2 <= graph_server.most_at_once <= 4


@pytest.mark.slow
def test_the_bytes_of_half_a_minute_are_limited(
    account: Account, graph_server: GraphServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from smtpsetup.sending.transports import graph

    graph_server.limit_bytes, graph_server.limit_seconds = 3 * MEGABYTE, 2.0
    monkeypatch.setattr(graph.GraphSession, "limits", graph._LIMITS._replace(most=3 * MEGABYTE, seconds=2.5))
    started = time.monotonic()
    for number in range(5):
        delivered(account, mail(subject=str(number), body=b"x" * 70 + b"\r\n" + b"a line\r\n" * 100_000))
    assert graph_server.violations == []
    assert time.monotonic() - started > 2.0


def test_a_large_mail_needs_another_permission(account: Account, graph_server: GraphServer, tmp_path: Path) -> None:
    client = signed_in_with(GRAPH_SEND)
    delivery = large_mail(tmp_path, 3 * MEGABYTE)
    result = send(api_context(account._replace(oauth2=client)), Secret(TOKEN), delivery)
    assert result.error
    assert result.error.code == "data.too-large"
    assert any("--large-mail" in hint for hint in result.error.hints)
    assert graph_server.requests == []
    # a program's token does not tell what it may do
    client = signed_in_with("https://graph.microsoft.com/.default", grant=Grant.CLIENT_CREDENTIALS)
    graph_server.allow(TOKEN, ADDRESS, app=True, mailboxes=(ADDRESS,))
    result = send(api_context(account._replace(oauth2=client)), Secret(TOKEN), delivery)
    assert result.error
    assert result.error.code == "data.too-large"


@pytest.fixture
def writer(account: Account, graph_server: GraphServer) -> Account:
    """An account that may make drafts."""
    graph_server.allow(TOKEN, ADDRESS, ("Mail.Send", "Mail.ReadWrite"))
    return account._replace(oauth2=signed_in_with(GRAPH_SEND, GRAPH_WRITE))


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bytes in half a second as Graph takes in half a minute."""
    monkeypatch.setattr(GraphSession, "limits", GraphSession.limits._replace(seconds=0.5))


@pytest.mark.slow
def test_a_large_mail_goes_by_a_draft(writer: Account, graph_server: GraphServer, tmp_path: Path) -> None:
    noted = Noted()
    delivery = large_mail(tmp_path, 9 * MEGABYTE, 2_500_000, 10)
    outcome = delivered(writer, noted.watched(delivery))
    assert outcome.accepted == ("kund@example.org", "arkiv@example.org")
    (sent,) = graph_server.mails
    assert set(sent.recipients) == set(outcome.accepted)
    parsed = email.message_from_bytes(sent.message, policy=email.policy.default)
    files = {part.get_filename(): part.get_content() for part in parsed.iter_attachments()}
    assert {name: len(content) for name, content in files.items()} == {
        "räkning 0.bin": 9 * MEGABYTE,
        "räkning 1.bin": 2_500_000,
        "räkning 2.bin": 10,
    }
    assert set(files["räkning 0.bin"]) == {1}
    body = parsed.get_body()
    assert body
    assert body.get_content().split() == ["Hej"]
    assert parsed["Message-ID"] == "<large@example.test>"
    assert (graph_server.violations, graph_server.drafts) == ([], {})
    assert noted.states == ["dot", "accepted"]


@pytest.mark.slow
def test_25_megabytes_cost_little_memory(tmp_path: Path) -> None:
    delivery = large_mail(tmp_path, 25 * MEGABYTE)
    sizes: list[int] = []
    tracemalloc.start()

    def measure() -> None:
        sizes.append(tracemalloc.get_traced_memory()[1])

    from smtpsetup.message.detached import detached

    for file in detached(delivery.message).files:  # what is read on the way, without the fake, which keeps all of it
        assert sum(len(piece) for piece in file.content()) == 25 * MEGABYTE
    measure()
    tracemalloc.stop()
    assert max(sizes) < 20 * MEGABYTE


@pytest.mark.matrix
@pytest.mark.parametrize("drop", ["before-body", "mid-body", "after-body", "after-processing"])
def test_a_cut_upload_goes_on(writer: Account, graph_server: GraphServer, tmp_path: Path, drop: str) -> None:
    graph_server.rule(method="PUT", drop=drop)
    delivered(writer, large_mail(tmp_path, 9 * MEGABYTE))
    (sent,) = graph_server.mails
    parsed = email.message_from_bytes(sent.message, policy=email.policy.default)
    assert [len(part.get_content()) for part in parsed.iter_attachments()] == [9 * MEGABYTE]
    assert graph_server.violations == []


def test_a_draft_that_cannot_be_sent_is_deleted(writer: Account, graph_server: GraphServer, tmp_path: Path) -> None:
    graph_server.error("ErrorItemNotFound", "no", 400, path_contains="createUploadSession")
    refused(writer, large_mail(tmp_path, 5 * MEGABYTE))
    assert (graph_server.mails, graph_server.drafts) == ([], {})


def test_a_lost_answer_to_the_sending_of_a_draft_is_unknown(
    writer: Account, graph_server: GraphServer, tmp_path: Path
) -> None:
    graph_server.rule(path_contains="/send", method="POST", drop="after-processing")
    assert refused(writer, large_mail(tmp_path, 3 * MEGABYTE)).failure.is_unknown
    assert len(graph_server.mails) == 1
