"""The fake APIs do what the providers' pages say."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from tests import mail_headers
from tests.servers import wait_for

if TYPE_CHECKING:
    from tests.api_client import Client, Connect
    from tests.gmail_server import GmailServer
    from tests.graph_server import GraphServer

SENDER = "info@example.test"
HEADER = b"From: Info <info@example.test>\r\nTo: bo@example.test, Kontoret: asa@example.test, c@example.test;\r\n"
MAIL = HEADER + b"Bcc: secret@example.test,\r\n more@example.test\r\nSubject: Hej\r\n\r\nBcc: in the body\r\n"
SENT = HEADER + b"Subject: Hej\r\n\r\nBcc: in the body\r\n"
RECIPIENTS = ("bo@example.test", "asa@example.test", "c@example.test", "secret@example.test", "more@example.test")
CHUNK = 262_144
BROKEN_OFF = (ConnectionError, ssl.SSLError)


@pytest.fixture
def graph(graph_server: GraphServer, connect: Connect) -> Client:
    graph_server.allow("good", scopes=("Mail.Send", "Mail.ReadWrite"))
    return connect(graph_server, graph_server.endpoint)


@pytest.fixture
def gmail(gmail_server: GmailServer, connect: Connect) -> Client:
    gmail_server.allow("good")
    return connect(gmail_server, gmail_server.endpoint)


# Microsoft Graph


def test_graph_sends_to_everyone_in_the_header_and_removes_bcc_alone(graph: Client, graph_server: GraphServer) -> None:
    assert graph.mime("/me/sendMail", MAIL) == (202, "")
    assert graph.mime("/users/info@example.test/sendMail", MAIL) == (202, "")
    mail = graph_server.mails[0]
    assert (mail.mailbox, mail.sender, mail.recipients, mail.message) == (SENDER, SENDER, RECIPIENTS, SENT)
    request = graph_server.requests[0]
    assert request.headers["authorization"] == "present"
    assert request.token_hash == hashlib.sha256(b"good").hexdigest()
    assert [request.connection for request in graph_server.requests] == [1, 1]


def test_graph_checks_token_permission_mailbox_and_then_the_body(
    graph: Client, graph_server: GraphServer, connect: Connect
) -> None:
    graph_server.allow("app", scopes=("Mail.Send",), app=True)
    graph_server.allow("reader", scopes=("Mail.Read",))
    answers = {}
    for token in ("unknown", "reader", "good", "app"):
        client = connect(graph_server, graph_server.endpoint, token)
        answers[token] = [client.mime(f"/{path}/sendMail", b"") for path in ("me", "users/nobody@example.test")]
    assert answers == {
        "unknown": [(401, "InvalidAuthenticationToken")] * 2,
        "reader": [(403, "ErrorAccessDenied")] * 2,
        "good": [(400, "ErrorMimeContentInvalidBase64String"), (404, "MailboxNotEnabledForRESTAPI")],
        "app": [(400, "BadRequest"), (404, "MailboxNotEnabledForRESTAPI")],
    }
    assert graph.mime("/me/sendMail", MAIL.replace(b"<info@", b"<chef@")) == (403, "ErrorSendAsDenied")
    assert graph.mime("/me/sendMail", b"From: info@example.test\n\nHej\n") == (400, "ErrorInvalidRecipients")
    graph_server.expire("good")
    status, body, headers = graph.ask("POST", "/me/sendMail", b"SGVq", Content_Type="text/plain")
    assert (status, set(body["error"])) == (401, {"code", "message", "innerError"})
    assert headers["WWW-Authenticate"].startswith('Bearer realm=""')


@pytest.mark.parametrize(("size", "answer", "sent"), [(2_240_000, 202, 1), (2_240_001, 200, 0), (3_200_000, 413, 0)])
def test_graph_answers_200_to_large_mime_and_sends_nothing(
    graph: Client, graph_server: GraphServer, size: int, answer: int, sent: int
) -> None:
    assert graph.mime("/me/sendMail", MAIL + b"x" * (size - len(MAIL))) == (answer, "")
    assert len(graph_server.mails) == sent


def test_graph_takes_no_more_than_four_requests_at_once(graph_server: GraphServer, connect: Connect) -> None:
    graph_server.allow("good")
    graph_server.pause = 0.5
    clients = [connect(graph_server, graph_server.endpoint) for _ in range(5)]
    statuses: list[tuple[int, str]] = []

    def send(client: Client) -> None:
        statuses.append(client.mime("/me/sendMail", MAIL))

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for client in clients:
        client.connection.connect()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [(202, "")] * 4 + [(429, "ApplicationThrottled")]
    assert (graph_server.most_at_once, len(graph_server.violations)) == (5, 1)


def test_graph_limits_what_is_uploaded_in_a_time(graph: Client, graph_server: GraphServer) -> None:
    graph_server.limit_bytes, graph_server.limit_seconds = 400, 0.5
    assert graph.mime("/me/sendMail", MAIL)[0] == 202
    status, _body, headers = graph.ask("POST", "/me/sendMail", base64.b64encode(MAIL), Content_Type="text/plain")
    assert (status, headers["Retry-After"]) == (429, "1")
    time.sleep(0.6)  # longer than the limit's time, which is what is tested
    assert graph.mime("/me/sendMail", MAIL)[0] == 202


def test_graph_attaches_what_arrives_in_sequence_and_without_a_token(
    graph: Client, graph_server: GraphServer, connect: Connect
) -> None:
    content = bytes(range(256)) * 20_000  # 5,120,000 bytes
    draft = (
        f"/me/messages/{graph.ask('POST', '/me/messages', base64.b64encode(MAIL), Content_Type='text/plain')[1]['id']}"
    )
    item = {"AttachmentItem": {"attachmentType": "file", "name": "å.bin", "size": len(content)}}
    session = graph.ask("POST", f"{draft}/attachments/createUploadSession", json.dumps(item).encode())[1]
    assert session["nextExpectedRanges"] == ["0-"]
    url = session["uploadUrl"]
    assert urllib.parse.urlsplit(url).netloc != urllib.parse.urlsplit(graph_server.endpoint).netloc
    upload = connect(graph_server, url, "")
    query = f"?{urllib.parse.urlsplit(url).query}"

    def put(first: int, end: int, **headers: str) -> tuple[int, Any, dict[str, str]]:
        place = f"bytes {first}-{end - 1}/{len(content)}"
        kind = "application/octet-stream"
        return upload.ask("PUT", query, content[first:end], Content_Range=place, Content_Type=kind, **headers)

    assert put(0, 1_000_000, Authorization="Bearer good")[0] == 401
    assert put(0, 4_194_305)[0] == 413
    assert put(1_000_000, 2_000_000)[0] == 416
    assert put(0, 4_194_304)[:1] == (200,)
    assert upload.ask("GET", query)[1]["nextExpectedRanges"] == ["4194304"]
    status, _body, headers = put(4_194_304, len(content))
    assert (status, "/Attachments(" in headers["Location"]) == (201, True)
    assert graph_server.violations == ["PUT of an upload URL with an Authorization header"]
    small = {"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "SGVq"}
    assert graph.ask("POST", f"{draft}/attachments", json.dumps(small).encode())[0] == 201
    assert graph.ask("POST", f"{draft}/send")[0] == 202
    sent = graph_server.mails[0]
    assert sent.message.startswith(HEADER + b"Subject: Hej\r\n")
    assert base64.b64encode(content)[-60:] in sent.message.replace(b"\r\n", b"")
    assert (sent.recipients, graph_server.drafts) == (RECIPIENTS, {})


@pytest.mark.parametrize(
    ("drop", "size", "sent"),
    [("before-body", 0, 0), ("mid-body", 150, 0), ("after-body", 301, 0), ("after-processing", 301, 1)],
)
def test_a_connection_ends_where_a_rule_says(
    graph: Client, graph_server: GraphServer, drop: str, size: int, sent: int
) -> None:
    graph_server.rule(drop=drop)
    body = base64.b64encode(MAIL)[:300] + b"\n" if size == 0 else base64.b64encode(MAIL + b"x" * 9)
    expected = {0: 0, 150: len(body) // 2, 301: len(body)}[size]
    with pytest.raises(BROKEN_OFF):
        graph.ask("POST", "/me/sendMail", body, Content_Type="text/plain")
    assert (len(graph_server.mails), graph_server.requests[0].body_size) == (sent, expected)
    assert graph_server.requests[0].status == 0


def test_a_rule_changes_the_next_answer_alone(graph: Client, graph_server: GraphServer, connect: Connect) -> None:
    graph_server.unavailable(retry_after="7")
    graph_server.redirect()
    graph_server.claims_challenge()
    graph_server.rule(status=504, after=True)
    statuses = [graph.mime("/me/sendMail", MAIL)[0] for _ in range(5)]
    assert (statuses, len(graph_server.mails)) == ([503, 307, 401, 504, 202], 2)
    assert graph.ask("GET", "/../elsewhere")[0] == 404
    assert connect(graph_server, graph_server.origin).ask("GET", "/elsewhere")[0] == 200
    assert [request.path for request in graph_server.elsewhere] == ["/elsewhere"]


def test_a_client_that_hangs_up_has_sent_nothing(graph: Client, graph_server: GraphServer) -> None:
    graph.connection.putrequest("POST", "/v1.0/me/sendMail")
    for name, value in {**graph.headers, "Content-Type": "text/plain", "Content-Length": "1000"}.items():
        graph.connection.putheader(name, value)
    graph.connection.endheaders(base64.b64encode(MAIL))
    graph.connection.close()
    wait_for(lambda: graph_server.requests and graph_server.requests[0].body_size)
    assert (graph_server.requests[0].status, graph_server.mails) == (0, [])


@pytest.mark.parametrize(
    ("message", "recipients", "without_bcc"),
    [
        (
            b"To: undisclosed-recipients:;\nBcc: a@x.test\n\nHej\n",
            ("a@x.test",),
            b"To: undisclosed-recipients:;\n\nHej\n",
        ),
        (
            b'BCC: a@x.test\r\nTo: "B, C" <b@x.test>,\r\n\tb@x.test',
            ("b@x.test", "a@x.test"),
            b'To: "B, C" <b@x.test>,\r\n\tb@x.test',
        ),
        ("Cc: Åsa <åsa@x.test>\r\n\r\nå".encode(), ("åsa@x.test",), "Cc: Åsa <åsa@x.test>\r\n\r\nå".encode()),
    ],
)
def test_the_fakes_read_headers_of_each_form(message: bytes, recipients: tuple[str, ...], without_bcc: bytes) -> None:
    assert mail_headers.recipients(message) == recipients
    assert mail_headers.without(message, "Bcc") == without_bcc
    name = mail_headers.with_from(b"From: =?utf-8?q?=C3=85sa?=\r\n <a@x.test>\r\n\r\n", "b@x.test")
    assert name == b"From: =?utf-8?q?=C3=85sa?= <b@x.test>\r\n\r\n"


# Gmail


UPLOAD = "/upload/gmail/v1/users/me/messages/send"


def test_gmail_sends_and_writes_the_mailbox_into_from(
    gmail: Client, gmail_server: GmailServer, connect: Connect
) -> None:
    gmail_server.allow("aliases", aliases=("sales@example.test",))
    gmail_server.quota_units = 1000
    other = MAIL.replace(b"info@", b"sales@")
    status, body, _headers = gmail.ask("POST", f"{UPLOAD}?uploadType=media", other, Content_Type="message/rfc822")
    assert (status, body["labelIds"]) == (200, ["SENT"])
    connect(gmail_server, gmail_server.endpoint, "aliases").ask(
        "POST", f"{UPLOAD}?uploadType=media", other, Content_Type="message/rfc822"
    )
    rewritten, allowed = gmail_server.mails
    assert (rewritten.sender, rewritten.recipients, rewritten.message) == (SENDER, RECIPIENTS, SENT)
    assert (allowed.sender, allowed.message) == ("sales@example.test", SENT.replace(b"info@", b"sales@"))


def test_gmail_answers_errors_in_googles_form(gmail: Client, gmail_server: GmailServer, connect: Connect) -> None:
    gmail_server.quota_units = 1000
    gmail_server.allow("mail", scopes=("https://www.googleapis.com/auth/gmail.readonly",))

    def error(client: Client, path: str, body: bytes = b"{}") -> tuple[int, str, str]:
        status, answer, _headers = client.ask("POST", path, body, Content_Type="message/rfc822")
        return status, answer["error"]["errors"][0]["reason"], answer["error"]["status"]

    plain, media = "/gmail/v1/users/me/messages/send", f"{UPLOAD}?uploadType=media"
    others = {token: connect(gmail_server, gmail_server.endpoint, token) for token in ("unknown", "mail")}
    assert error(others["unknown"], plain) == (401, "authError", "UNAUTHENTICATED")
    assert error(others["mail"], plain) == (403, "insufficientPermissions", "PERMISSION_DENIED")
    assert error(gmail, plain) == (400, "invalidArgument", "INVALID_ARGUMENT")
    assert error(gmail, media, b"Subject: Hej\n\nHej\n") == (400, "invalidArgument", "INVALID_ARGUMENT")
    assert error(gmail, media, MAIL + b"x" * 5_000_000)[0] == 413
    gmail_server.api_disabled()
    gmail_server.mail_not_enabled()
    assert error(gmail, plain) == (403, "accessNotConfigured", "PERMISSION_DENIED")
    assert error(gmail, plain) == (400, "failedPrecondition", "FAILED_PRECONDITION")
    gmail_server.quota_units = 250
    assert error(gmail, plain)[1] == "userRateLimitExceeded"
    assert gmail_server.violations


def test_gmail_goes_on_where_an_upload_broke_off(gmail: Client, gmail_server: GmailServer) -> None:
    mail = MAIL + b"x" * (3 * CHUNK)
    kind, size = "message/rfc822", str(len(mail))
    status, _body, headers = gmail.ask(
        "POST", f"{UPLOAD}?uploadType=resumable", X_Upload_Content_Type=kind, X_Upload_Content_Length=size
    )
    session = headers["Location"].removeprefix(gmail_server.endpoint)
    assert status == 200

    def put(first: int, end: int) -> tuple[int, str | None]:
        place = f"bytes {first}-{end - 1}/{size}"
        status, _body, headers = gmail.ask("PUT", session, mail[first:end], Content_Range=place)
        return status, headers.get("Range")

    def held() -> tuple[int, Any, str | None]:
        status, body, headers = gmail.ask("PUT", session, Content_Range=f"bytes */{size}")
        return status, body, headers.get("Range")

    assert held() == (308, None, None)
    assert put(0, CHUNK) == (308, f"bytes=0-{CHUNK - 1}")
    gmail_server.rule(drop="mid-body", method="PUT")
    with pytest.raises(BROKEN_OFF):
        put(CHUNK, len(mail))
    assert held() == (308, None, f"bytes=0-{2 * CHUNK - 1}")
    assert put(2 * CHUNK, len(mail))[0] == 200
    assert held()[0] == 200
    assert [mail.message for mail in gmail_server.mails] == [SENT + b"x" * (3 * CHUNK)]
    gmail_server.expire_uploads()
    assert held()[0] == 404
