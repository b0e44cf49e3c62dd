"""Accounts of Microsoft Graph and the Gmail API on the command line: everything that sends takes them."""

from __future__ import annotations

import base64
import concurrent.futures
import email
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Secret, TransportKind
from smtpsetup.message.delivery import Delivery
from smtpsetup.message.message import Envelope
from smtpsetup.sending.conditions import Conditions
from smtpsetup.sending.transports.smtp import SmtpTransport
from tests.api_accounts import ADDRESS, TOKEN, write_account
from tests.conftest import PASSWORD, account_at
from tests.messages import from_bytes
from tests.postfix import POSTFIX_PASSWORD
from tests.sendmail import sendmail

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from tests.api_servers import ApiMail
    from tests.conftest import Home
    from tests.gmail_server import GmailServer
    from tests.graph_server import GraphServer
from tests.postfix import Postfix


@pytest.fixture
def graph(home: Home, graph_server: GraphServer) -> tuple[Home, GraphServer]:
    """A home with an account at the fake."""
    graph_server.allow(TOKEN, ADDRESS)
    write_account(home, graph_server, TransportKind.GRAPH)
    return home, graph_server


def test_send_tells_what_it_tells_over_smtp(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    sent = home.run("send", "kund@example.org", "--bcc", "arkiv@example.org", "-s", "Hej", "--body", "åäö", "--json")
    assert (sent.code, sent.err) == (0, "")
    assert sent.json["result"]["accepted"] == ["kund@example.org", "arkiv@example.org"]
    assert sent.json["result"]["reply"]["code"] == 202
    (mail,) = server.mails
    assert set(mail.recipients) == {"kund@example.org", "arkiv@example.org"}


def test_the_conversation_shows_no_token(graph: tuple[Home, GraphServer]) -> None:
    home, _server = graph
    sent = home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "-v")
    assert "> POST /v1.0/me/sendMail HTTP/1.1" in sent.err
    assert "Authorization: Bearer ***" in sent.err
    assert "< 202 Accepted" in sent.err
    assert TOKEN not in sent.err


def test_a_server_that_is_away_lets_the_mail_wait(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    server.unavailable(9, retry_after="600")
    sent = home.run("send", "kund@example.org", "-s", "Hej", "--body", "x", "--json")
    assert (sent.code, sent.json["result"]["queued"]) == (0, True)
    (waiting,) = home.run("outbox", "list", "--json").json["result"]
    assert waiting["state"] == "waiting"
    assert "503" in waiting["last_reply"]
    server.rules.clear()
    for file in (home.path / ".local/state/smtpsetup/requests").iterdir():
        file.unlink()  # the pause is over
    assert home.run("outbox", "flush", "--now").code == 0
    assert len(server.mails) == 1


def test_a_batch_goes_over_one_connection(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Faktura", "body": "x"}) for n in range(30)]
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))))
    assert done.code == 0, done.err
    assert (len(server.mails), server.violations) == (30, [])
    assert len({request.connection for request in server.requests}) == 1


def test_several_connections_keep_to_the_limit(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    server.pause = 0.02
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Faktura", "body": "x"}) for n in range(60)]
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--connections", "8")
    assert done.code == 0, done.err
    assert (len(server.mails), server.violations) == (60, [])
    assert server.most_at_once <= 4


def test_an_answer_that_is_lost_in_a_batch_is_told(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    server.rule(drop="after-processing")
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Faktura", "body": "x"}) for n in range(3)]
    done = home.run(
        "send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--on-unknown", "hold", "--json"
    )
    assert done.lines[-1]["result"]["unknown"] == 1
    assert sorted(mail.recipients[0] for mail in server.mails) == [f"k{n}@example.org" for n in range(3)]


def test_sendmail_sends_by_it(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    done = sendmail(home, "-i", "root", stdin="Subject: cron\nTo: root\n\nfel\n")
    assert done.code == 0, done.err
    assert server.mails[0].recipients == (ADDRESS,)
    assert b"X-Original-To:" in server.mails[0].message


def test_test_and_doctor_work(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    tested = home.run("test", "--json")
    assert (tested.code, len(server.mails)) == (0, 1)
    assert [stage["stage"] for stage in tested.json["result"]["stages"]] == ["dns", "connect", "tls", "auth", "data"]
    tested = home.run("test", "--login-only", "--json")
    assert [stage["stage"] for stage in tested.json["result"]["stages"]] == ["dns", "connect", "tls", "auth"]
    findings = {one["check"]: one for one in home.run("doctor", "--json").json["result"]["checks"]}
    assert findings["login"]["status"] == "ok"
    assert len(server.mails) == 1


def test_smtplib_is_no_witness_for_an_api(graph: tuple[Home, GraphServer]) -> None:
    home, _server = graph
    done = home.run("test", "--transport", "smtplib", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")


def test_accounts_show_tells_the_transport(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    shown = home.run("accounts", "show", "--json").json["result"]
    assert (shown["transport"], shown["endpoint"], shown["port"]) == ("graph", server.endpoint, server.ports[0].port)
    assert "Microsoft Graph" in home.run("accounts", "show").out


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"endpoint": "http://graph.microsoft.com"}, "endpoint"),
        ({"endpoint": "https://user:pw@graph.microsoft.com"}, "endpoint"),
        ({"endpoint": "https://graph.microsoft.com/?a=b"}, "endpoint"),
        ({"endpoint": "https://graph.microsoft.com:"}, "endpoint"),
        ({"transport": "imap"}, "transport"),
        ({"proxy": "ftp://proxy"}, "proxy"),
        ({"proxy": "http://"}, "proxy"),
        ({"fallback": [1]}, "fallback"),
        ({"fallback": "other"}, "fallback"),
    ],
)
def test_wrong_values_are_told(home: Home, graph_server: GraphServer, keys: dict[str, object], fault: str) -> None:
    write_account(home, graph_server, TransportKind.GRAPH, **keys)
    done = home.run("accounts", "list", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")
    assert fault in done.json["error"]["message"]
    assert "pw" not in done.json["error"]["message"]


@pytest.mark.parametrize("kind", [TransportKind.GRAPH, TransportKind.GMAIL])
def test_what_arrives_equals_what_arrives_over_smtp(
    home: Home, graph_server: GraphServer, gmail_server: GmailServer, postfix: Postfix, kind: TransportKind
) -> None:
    server = graph_server if kind is TransportKind.GRAPH else gmail_server

    def hand_over(mail: ApiMail) -> None:
        account = account_at(postfix.tls_port, ca_file=postfix.ca_file, address=ADDRESS, username=ADDRESS)
        with SmtpTransport().session(account, Conditions(30)) as session:
            session.open(Secret(POSTFIX_PASSWORD))
            session.deliver(Delivery(Envelope(ADDRESS, mail.recipients), from_bytes(mail.message)))

    server.hand_to = hand_over
    server.allow(TOKEN, ADDRESS)
    write_account(home, server, kind)
    arguments = ("asa@example.test", "--bcc", "bo@example.test", "-s", "Räkning", "--body", "åäö\n.punkt\n")
    assert home.run("send", *arguments, "-H", "X-Test: 1").code == 0
    by_api = {user: postfix.mails(user)[0] for user in ("asa", "bo")}
    postfix.clear()
    home.file("password", POSTFIX_PASSWORD + "\n")
    home.run(
        "configure", ADDRESS, "--account", "smtp", "--host", "localhost", "--port", str(postfix.tls_port),
        "--security", "tls", "--ca-file", postfix.ca_file, "--password-file", str(home.path / "password"),
        "--from-name", "",
    )  # fmt: skip
    assert home.run("send", "-a", "smtp", *arguments, "-H", "X-Test: 1").code == 0
    by_smtp = {user: postfix.mails(user)[0] for user in ("asa", "bo")}
    for user in ("asa", "bo"):
        assert _without_trace(by_api[user]) == _without_trace(by_smtp[user])
        assert b"\nBcc:" not in by_api[user]


def _without_trace(mail: bytes) -> list[bytes]:
    """The lines of a delivered mail without what differs in any two mails."""
    header, _blank, body = mail.partition(b"\n\n")
    lines = header.replace(b"\n\t", b" ").replace(b"\n ", b" ").split(b"\n")
    moving = (b"Return-Path", b"Received", b"Date", b"Message-ID", b"Delivered-To", b"X-Original-To")
    return [line for line in lines if not line.startswith(moving)] + body.split(b"\n")


def test_fifty_jobs_keep_to_the_limit_of_the_mailbox(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    server.pause = 0.01

    def job(number: int) -> int:
        return home.run("send", f"k{number}@example.org", "-s", "Hej", "--body", "x").code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(job, range(50)))
    assert (set(codes), len(server.mails), server.violations) == ({0}, 50, [])


def test_a_thousand_mails_obey_the_limits(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Faktura", "body": "x" * 60}) for n in range(1000)]
    started = time.monotonic()
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--connections", "4")
    assert done.code == 0, done.err
    assert (len(server.mails), server.violations) == (1000, [])
    assert len({mail.recipients for mail in server.mails}) == 1000
    assert time.monotonic() - started < 90


MEASURED = """
import sys
from smtpsetup.cli.main import main
try:
    main()
finally:
    with open("/proc/self/status") as file:  # getrusage would count the process that started this one, too
        print(file.read().partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def memory_of(home: Home, size: int) -> int:
    """The most memory that a send with a file of this size has taken, in bytes."""
    file = home.file(f"{size}.bin", b"x" * size)
    command = [
        sys.executable,
        "-c",
        MEASURED,
        "send",
        "kund@example.org",
        "-s",
        "Hej",
        "--body",
        "x",
        "--attach",
        str(file),
    ]
    done = subprocess.run(command, env=home.unmeasured.env, cwd=home.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024


@pytest.mark.parametrize("kind", [TransportKind.GRAPH, TransportKind.GMAIL])
def test_25_megabytes_cost_at_most_20_megabytes_of_memory(
    home: Home, graph_server: GraphServer, gmail_server: GmailServer, kind: TransportKind
) -> None:
    server = graph_server if kind is TransportKind.GRAPH else gmail_server
    graph_server.limit_bytes = graph_server.message_limit = 10**9
    graph_server.allow(TOKEN, ADDRESS, ("Mail.Send", "Mail.ReadWrite"))
    gmail_server.allow(TOKEN, ADDRESS)
    write_account(home, server, kind)
    home = home.unmeasured
    small, large = memory_of(home, 1000), memory_of(home, 25_000_000)
    assert large - small < 20_000_000
    assert len(server.mails) == 2
    assert len(server.mails[1].message) > 25_000_000


def test_a_send_over_smtp_loads_nothing_of_the_apis(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts).code == 0
    command = [sys.executable, "-X", "importtime", "-m", "smtpsetup", "send", "kund@example.org", "--body", "x"]
    done = subprocess.run(command, env=home.unmeasured.env, cwd=home.path, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "smtpsetup.smtp.session" in modules
    wanted_by_apis = ("api", "graph", "gmail", "http_connection", "proxy", "endpoint", "app_secret", "request_limits")
    assert [
        name for name in modules if name.startswith("smtpsetup.") and name.rpartition(".")[2] in wanted_by_apis
    ] == []
    assert not modules & {"http.client", "cryptography", "urllib.request"}


def test_login_moves_an_account_to_an_api(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts).code == 0
    done = home.run("login", "--transport", "graph", "--token-command", f"echo {TOKEN}", "--json", "--no-input")
    assert done.json["error"]["code"] == "dns.not-found"  # there is no network here; nothing was changed
    assert "smtpsetup" not in home.config.read_text()
    assert 'host = "localhost"' in home.config.read_text()
    assert home.run("login", "--transport", "graph", "--auth", "password").code == 2


@pytest.mark.parametrize(
    ("endpoint", "is_known"),
    [
        ("https://graph.microsoft.us/v1.0", True),
        ("https://dod-graph.microsoft.us/v1.0", True),
        ("https://microsoftgraph.chinacloudapi.cn/v1.0", True),
        ("https://127.0.0.1:1/v1.0", True),
        ("https://graph.microsoft.com.evil.example/v1.0", False),
        ("https://evil.example/v1.0", False),
        ("https://graph.microsoft.com@evil.example/v1.0", False),
        ("http://graph.microsoft.com/v1.0", False),
    ],
)
def test_only_the_vendors_hosts_get_a_token_unasked(home: Home, endpoint: str, *, is_known: bool) -> None:
    options = ("--transport", "graph", "--endpoint", endpoint, "--token-command", f"echo {TOKEN}")
    saving = ("--from-name", "", "--no-input", "--no-verify")
    assert (home.run("configure", ADDRESS, *options, *saving).code == 0) is is_known
    if "//evil.example" in endpoint:
        assert home.run("configure", ADDRESS, *options, *saving, "--accept-host", "evil.example").code == 0
        # it was agreed to once
        assert home.run("configure", ADDRESS, "--from-name", "Ny", "--no-input", "--no-verify").code == 0
        assert endpoint in home.config.read_text()


def test_a_national_cloud_has_its_own_sign_in(home: Home) -> None:
    done = home.run(
        "configure", "info@mittforetag.se", "--transport", "graph", "--endpoint", "https://graph.microsoft.us/v1.0",
        "--client-id", "11111111-2222-3333-4444-555555555555", "--app-only", "--secret-expires", "never",
        "--password-env", "NOTHING", "--no-verify", "--from-name", "", "--no-input",
    )  # fmt: skip
    assert done.code == 0, done.err
    text = home.config.read_text()
    assert "https://login.microsoftonline.us/mittforetag.se/oauth2/v2.0/token" in text
    assert "https://graph.microsoft.us/.default" in text


def test_send_as_names_the_mailbox_and_who_signs_in(home: Home, graph_server: GraphServer) -> None:
    graph_server.allow(TOKEN, "anna@example.test", ("Mail.Send", "Mail.Send.Shared"), mailboxes=(ADDRESS,))
    done = home.run(
        "configure", "anna@example.test", "--send-as", ADDRESS, "--transport", "graph", "--endpoint",
        graph_server.endpoint, "--ca-file", graph_server.ca_file, "--token-command", f"echo {TOKEN}",
        "--from-name", "", "--json", "--no-input",
    )  # fmt: skip
    assert done.code == 0, done.err
    shown = done.json["result"]
    assert (shown["account"], shown["address"], shown["username"]) == (ADDRESS, ADDRESS, "anna@example.test")
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    assert graph_server.mails[0].sender == ADDRESS


def test_configure_changes_between_smtp_and_an_api(home: Home, facts: SandboxFacts, graph_server: GraphServer) -> None:
    graph_server.allow(TOKEN, "info@example.com")
    assert home.configure(facts).code == 0
    over_api = ("--transport", "graph", "--endpoint", graph_server.endpoint, "--token-command", f"echo {TOKEN}")
    done = home.run("configure", "info@example.com", *over_api, "--ca-file", graph_server.ca_file, "--no-input")
    assert done.code == 0, done.err
    assert "host =" not in home.config.read_text()
    back = (
        "--transport", "smtp", "--host", "localhost", "--port", str(facts.tls_port), "--security", "tls",
        "--ca-file", facts.ca_file, "--password-file", str(home.path / "password"), "--no-input",
    )  # fmt: skip
    done = home.run("configure", "info@example.com", *back, "--auth", "password")
    assert done.code == 0, done.err
    assert "transport" not in home.config.read_text()
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0


SECOND = """
[accounts."second@example.net"]
address = "second@example.net"
host = "localhost"
port = {port}
security = "tls"
ca_file = "{ca_file}"
secret = {{ store = "file", path = "{password}" }}
"""


def add_second_account(home: Home, facts: SandboxFacts) -> None:
    """Add an account at the sandbox, behind that of the API."""
    password = home.file("second", PASSWORD + "\n")
    text = SECOND.format(port=facts.tls_port, ca_file=facts.ca_file, password=password)
    home.file(".config/smtpsetup/config.toml", home.config.read_text() + text, mode=0o600)


def queue(home: Home, account: str) -> None:
    arguments = ("-s", "Hej", "--body", "x", "--queue", "always", "--account", account)
    assert home.run("send", "kund@example.org", *arguments).code == 0


def test_an_account_without_a_new_token_holds_up_no_other(
    graph: tuple[Home, GraphServer], facts: SandboxFacts, sandbox: Sandbox
) -> None:
    home, server = graph
    flag = home.path / "flag"
    once = f"sh -c 'test -e {flag} && exit 1; touch {flag}; echo a-token-that-has-ended'"
    home.file(".config/smtpsetup/config.toml", home.config.read_text().replace(f"echo {TOKEN}", once), mode=0o600)
    add_second_account(home, facts)
    queue(home, ADDRESS)
    queue(home, "second@example.net")
    home.run("outbox", "flush", "--now")
    assert [mail.sender for mail in sandbox.mails] == ["second@example.net"]
    assert server.mails == []
    (mail,) = home.run("outbox", "list", "--json").json["result"]
    assert (mail["account"], mail["state"]) == (ADDRESS, "waiting")


def test_a_batch_whose_token_ends_keeps_the_rest(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    flag = home.path / "flag"
    once = f"sh -c 'test -e {flag} && exit 1; touch {flag}; echo a-token-that-has-ended'"
    home.file(".config/smtpsetup/config.toml", home.config.read_text().replace(f"echo {TOKEN}", once), mode=0o600)
    lines = [json.dumps({"to": f"k{n}@example.org", "subject": "Hej", "body": "x"}) for n in range(3)]
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--json")
    assert "internal.bug" not in done.out + done.err
    assert done.json["result"]["sent"] == 0
    assert server.mails == []


def test_a_large_mail_with_broken_base64_is_sent_as_readers_see_it(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    server.allow(TOKEN, ADDRESS, ("Mail.Send", "Mail.ReadWrite"))
    content = base64.encodebytes(b"x" * 3_000_001).decode()
    head = "To: kund@example.org\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=zz\n\n--zz\n\nHej\n--zz\n"
    part = "Content-Type: application/pdf; name=f.pdf\nContent-Transfer-Encoding: base64\n\n"
    sendmail(home, "-t", stdin=f"{head}{part}{content}-- \nsig\n--zz--\n")
    (mail,) = server.mails
    files = [part for part in email.message_from_bytes(mail.message).walk() if part.get_filename()]
    assert [file.get_payload(decode=True) for file in files] == [b"x" * 3_000_001]


def queue_subjects(home: Home, *subjects: str) -> None:
    """Put mails into the outbox, and nothing sends them yet."""
    for subject in subjects:
        assert home.run("send", "kund@example.org", "-s", subject, "--body", "x", "--queue", "always").code == 0


def forbid(server: GraphServer, *subjects: str) -> list[str]:
    """Answer to these mails with an error that stands in no page of Graph's. Returns the subjects of all others."""
    taken: list[str] = []

    def take(mail: ApiMail) -> None:
        subject = email.message_from_bytes(mail.message)["Subject"]
        if subject in subjects:
            raise server.refused("ErrorNotOnAnyPage", "This is not allowed.", 403)
        taken.append(subject)

    server.hand_to = take
    return taken


def test_a_mail_that_an_api_forbids_holds_up_no_other(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    queue_subjects(home, "forbidden", "second", "third")
    taken = forbid(server, "forbidden")
    done = home.run("outbox", "flush", "--now", "--json")
    assert taken == ["second", "third"]
    (left,) = home.run("outbox", "list", "--json").json["result"]
    assert (left["subject"], left["state"], left["attempts"]) == ("forbidden", "waiting", 1)
    assert "This is not allowed." in left["last_reply"]
    assert "does not let this sign-in send" in done.err


def test_an_account_that_an_api_forbids_is_not_tried_with_each_mail(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    subjects = [f"mail {number}" for number in range(9)]
    queue_subjects(home, *subjects)
    forbid(server, *subjects)
    done = home.run("outbox", "flush", "--now", "--json")
    assert len(server.requests) == 3
    assert {mail["attempts"] for mail in home.run("outbox", "list", "--json").json["result"]} == {1}
    assert done.code == 77


def test_a_line_that_an_api_forbids_ends_no_batch(graph: tuple[Home, GraphServer]) -> None:
    home, server = graph
    lines = [json.dumps({"to": "k@example.org", "subject": f"mail {number}", "body": "x"}) for number in range(4)]
    taken = forbid(server, "mail 0")
    done = home.run("send", "--batch", str(home.file("batch.jsonl", "\n".join(lines))), "--json", "--queue", "never")
    assert taken == ["mail 1", "mail 2", "mail 3"]
    assert [line["line"] for line in done.lines if "line" in line and not line["ok"]] == [1]
