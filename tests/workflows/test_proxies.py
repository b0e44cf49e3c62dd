"""Mail through SOCKS5 and HTTP proxies, which look up the host's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpsetup.core.model import Secret, Security, TransportKind
from smtpsetup.net import proxy
from smtpsetup.setup.test_account import run_test
from tests.api_accounts import ADDRESS, TOKEN, write_account
from tests.conftest import PASSWORD, account_at, context_of
from tests.proxies import ConnectProxy, SocksProxy
from tests.servers import closed_port

if TYPE_CHECKING:
    from smtpsetup.sandbox.server import Sandbox, SandboxFacts
    from smtpsetup.setup.test_account import AccountTestReport
    from tests.conftest import Home
    from tests.graph_server import GraphServer


LOGIN = "anna:hem%20ligt%3A%C3%A5"


@pytest.fixture(autouse=True)
def _no_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers of the tests are on this machine, for which no proxy is asked otherwise."""
    monkeypatch.setattr(proxy, "is_loopback", lambda _host: False)


def report_of(facts: SandboxFacts, url: str | None, security: Security = Security.TLS) -> AccountTestReport:
    port = facts.tls_port if security is Security.TLS else facts.starttls_port
    setting = proxy.parsed(url) if url else None
    account = account_at(port, security, ca_file=facts.ca_file, proxy=setting)
    return run_test(context_of(account), Secret(PASSWORD))


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
def test_socks_passes_the_name_on(facts: SandboxFacts, sandbox: Sandbox, security: Security) -> None:
    port = facts.tls_port if security is Security.TLS else facts.starttls_port
    with SocksProxy({"localhost": port}, user="anna", password="hem ligt:å") as socks:
        report = report_of(facts, socks.url.replace("//", f"//{LOGIN}@"), security)
        assert report.error is None
        assert [(request.address_type, request.host, request.port) for request in socks.requests] == [
            ("name", "localhost", port)
        ]
    assert len(sandbox.mails) == 1


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
def test_connect_passes_the_name_on(facts: SandboxFacts, sandbox: Sandbox, security: Security) -> None:
    port = facts.tls_port if security is Security.TLS else facts.starttls_port
    with ConnectProxy({"localhost": port}, user="anna", password="hem ligt:å") as connect:
        report = report_of(facts, connect.url.replace("//", f"//{LOGIN}@"), security)
        assert report.error is None
        assert [request.target for request in connect.requests] == [f"localhost:{port}"]
    assert len(sandbox.mails) == 1


def test_the_environment_names_a_proxy_and_none_overrules_it(
    facts: SandboxFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SocksProxy({"localhost": facts.tls_port}) as socks:
        monkeypatch.setenv("ALL_PROXY", socks.url)
        assert report_of(facts, None).error is None
        assert len(socks.requests) == 1
        assert report_of(facts, "none").error is None
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert report_of(facts, None).error is None
        assert len(socks.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (1, "connect.proxy-failed"),
        (2, "connect.proxy-failed"),
        (3, "connect.unreachable"),
        (4, "connect.unreachable"),
        (5, "connect.refused"),
        (6, "connect.timeout"),
    ],
)
def test_a_refusal_of_socks_is_told(facts: SandboxFacts, reply: int, code: str) -> None:
    with SocksProxy(reply=reply) as socks:
        report = report_of(facts, socks.url)
    assert report.error
    assert (report.error.code, report.error.exit_code) == (code, 75)


@pytest.mark.parametrize("changes", [{"status": 403}, {"status": 502}, {"garbage": b"SSH-2.0\r\n\r\n"}, {"user": "x"}])
def test_a_refusal_of_connect_is_told(facts: SandboxFacts, changes: dict[str, object]) -> None:
    with ConnectProxy({"localhost": facts.tls_port}, **changes) as connect:  # type: ignore[arg-type]
        report = report_of(facts, connect.url)
    assert report.error
    assert report.error.code == "connect.proxy-failed"


def test_a_proxy_that_is_away_is_told(facts: SandboxFacts) -> None:
    with closed_port() as port:
        report = report_of(facts, f"socks5://127.0.0.1:{port}")
    assert report.error
    assert report.error.code == "connect.proxy-failed"
    assert any("--proxy none" in hint for hint in report.error.hints)


def test_a_proxy_that_stalls_ends_in_time(facts: SandboxFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtpsetup.net.connection._CONNECT_SECONDS", 1.0)
    with ConnectProxy({"localhost": facts.tls_port}, stalls=True) as connect:
        report = report_of(facts, connect.url)
    assert report.error
    assert report.error.code == "connect.proxy-failed"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("socks5h://proxy.example:9050", "socks5://proxy.example:9050"),
        ("proxy.example", "http://proxy.example:3128"),
        ("http://anna:pw@[::1]:8080", "http://[::1]:8080"),
        ("none", "none"),
    ],
)
def test_a_url_is_shown_without_its_login(url: str, shown: str) -> None:
    parsed = proxy.parsed(url)
    assert str(parsed) == shown
    assert "pw" not in repr(parsed)
    assert proxy.parsed(parsed.url) == parsed


@pytest.mark.parametrize("url", ["ftp://proxy", "https://proxy", "http://", "socks5://a b", "http://x:99999999", "://"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="proxy"):
        proxy.parsed(url)


def test_a_password_of_a_proxy_is_no_argument(home: Home) -> None:
    done = home.run("configure", "info@example.com", "--proxy", "http://anna:hemligt@proxy.example:3128")
    assert done.code == 2
    assert "hemligt" not in done.err


def test_configure_keeps_the_proxy_and_its_login(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts).code == 0
    text = home.config.read_text().replace("[accounts", "[accounts").rstrip()
    home.config.write_text(f'{text}\nproxy = "http://anna:hem%20ligt@proxy.example:3128"\n')
    assert home.run("configure", "info@example.com", "--from-name", "Ny", "--no-verify", "--no-input").code == 0
    assert 'proxy = "http://anna:hem%20ligt@proxy.example:3128"' in home.config.read_text()
    shown = home.run("accounts", "show", "--json")
    assert shown.json["result"]["proxy"] == "http://proxy.example:3128"
    assert "ligt" not in shown.out + home.run("accounts", "show").out


def test_smtplib_is_no_witness_behind_a_proxy(home: Home, facts: SandboxFacts) -> None:
    assert home.configure(facts).code == 0
    home.config.write_text(
        home.config.read_text().rstrip() + '\nproxy = "socks5://proxy.example"\nhost = "mail.example"\n'
    )
    home.config.write_text(home.config.read_text().replace('host = "localhost"\n', "", 1))
    done = home.run("test", "--transport", "smtplib", "--json")
    assert (done.code, done.json["error"]["code"]) == (78, "config.invalid")


def test_an_api_is_reached_through_a_proxy(home: Home, graph_server: GraphServer) -> None:
    graph_server.allow(TOKEN, ADDRESS)
    port = graph_server.ports[0].port
    with SocksProxy({"graph.test": port}) as socks:
        endpoint = f"https://graph.test:{port}/v1.0"
        write_account(home, graph_server, TransportKind.GRAPH, endpoint=endpoint, proxy=socks.url)
        done = home.run("test", "--login-only", "--json")
        # the certificate is for localhost: the name went to the proxy, and TLS was not weakened by it
        assert done.json["error"]["code"] == "tls.hostname-mismatch"
        assert [request.host for request in socks.requests] == ["graph.test"]
    assert graph_server.requests == []
