"""The redirect of the browser is accepted once, within a time limit, if it belongs to this sign-in."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from smtpsetup.core.oauth_types import Endpoints, TokenClient
from smtpsetup.oauth import browser
from smtpsetup.oauth.request import OAuthError
from tests.oauth_servers import USER, OAuthServer
from tests.signing_in import ADDRESS, Attempt, attempt, has_nothing, kept, signing_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Home


@pytest.fixture
def browsing(oauth: tuple[Home, OAuthServer]) -> Iterator[Attempt]:
    """`configure` that waits for a browser."""
    home, _server = oauth
    with attempt(home, *signing_up(home, "--browser", "--json", "-v"), pattern=ADDRESS) as waiting:
        assert waiting.shown, waiting.end()
        yield waiting


def port_and_state(url: str) -> tuple[int, str]:
    """The port of the redirect address, and the state that the redirect must have."""
    query = parse_qs(urlsplit(url).query)
    return int(str(urlsplit(query["redirect_uri"][0]).port)), query["state"][0]


def asked(port: int, request: str, host: str = "127.0.0.1") -> str:
    """The first line of the listener's answer; "" where there was none."""
    with contextlib.suppress(ConnectionError), socket.create_connection((host, port), timeout=10) as sock:
        sock.sendall(request.encode())
        return sock.makefile().readline().strip()
    return ""


def get(port: int, target: str, host: str | None = None) -> str:
    return asked(port, f"GET {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{port}'}\r\n\r\n")


def redirect_target(url: str) -> str:
    return "/?" + urlsplit(url).query


@pytest.mark.parametrize("state", ["", "&state=", "&state=another", "&state=%00", "&state=" + "x" * 15_000])
def test_a_redirect_without_the_right_state_is_ignored(
    oauth: tuple[Home, OAuthServer], browsing: Attempt, state: str
) -> None:
    home, server = oauth
    port, _state = port_and_state(browsing.shown)
    for words in ("code=stolen", "error=access_denied"):
        assert get(port, f"/?{words}{state}") == "HTTP/1.1 404 Not Found"
    assert server.count("authorization_code") == 0
    assert has_nothing(home)
    assert server.browse(browsing.shown).status == 200
    assert browsing.end().code == 0


def test_a_code_of_another_sign_in_is_refused_even_with_the_right_state(
    oauth: tuple[Home, OAuthServer], browsing: Attempt
) -> None:
    """An attacker puts a code for another mailbox into the victim's sign-in; the verifier does not match (RFC 7636)."""
    home, server = oauth
    port, state = port_and_state(browsing.shown)
    with attempt(home, *signing_up(home, "--browser", "--account", "other"), pattern=ADDRESS) as other:
        foreign = server.sign_in(other.shown)
        injected = re.sub(r"state=[^&]+", f"state={state}", redirect_target(foreign))
        assert get(port, injected) == "HTTP/1.1 200 OK"
        done = browsing.end()
    assert (done.code, done.json["error"]["code"]) == (77, "auth.sign-in-blocked")
    assert [request.error for request in server.requests("token", "authorization_code")] == ["invalid_grant"]
    assert has_nothing(home)


def test_declining_in_the_browser_is_reported(oauth: tuple[Home, OAuthServer], browsing: Attempt) -> None:
    home, server = oauth
    page = server.browse(browsing.shown, allow=False)
    assert page.status == 400
    done = browsing.end()
    assert (done.code, done.json["error"]["code"]) == (77, "auth.sign-in-declined")
    assert has_nothing(home)


def test_the_listener_accepts_one_valid_request_from_this_machine(
    oauth: tuple[Home, OAuthServer], browsing: Attempt
) -> None:
    _home, server = oauth
    port, state = port_and_state(browsing.shown)
    for other_interface in ("127.0.0.2", "::1"):
        with (
            pytest.raises(OSError, match=r"refused|unreachable|assign"),
            socket.create_connection((other_interface, port), timeout=5),
        ):
            pass
    right = redirect_target(server.sign_in(browsing.shown))
    own = f"Host: 127.0.0.1:{port}"
    for request in (
        f"GET {right} HTTP/1.1\r\nHost: evil.test:{port}\r\n\r\n",
        f"GET {right} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        f"GET {right} HTTP/1.1\r\n\r\n",
        f"GET {right} HTTP/1.1\r\n{own}\r\n{own}\r\n\r\n",
        f"POST {right} HTTP/1.1\r\n{own}\r\n\r\n",
        f"GET /favicon.ico HTTP/1.1\r\n{own}\r\n\r\n",
        f"GET /other{right} HTTP/1.1\r\n{own}\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
        f"GET /?state={state} HTTP/1.1\r\nX: {'x' * 30_000}\r\n\r\n",
    ):
        assert asked(port, request) in ("HTTP/1.1 404 Not Found", ""), request
    server.slow(1, grant_type="authorization_code")
    assert get(port, right) == "HTTP/1.1 200 OK"
    assert get(port, right) == ""
    assert browsing.process.poll() is None  # it redeems the code, and accepts no second one
    assert browsing.end().code == 0
    assert server.count("authorization_code") == 1


def test_verbose_output_shows_neither_verifier_nor_code(oauth: tuple[Home, OAuthServer], browsing: Attempt) -> None:
    home, server = oauth
    challenge = parse_qs(urlsplit(browsing.shown).query)["code_challenge"][0]
    back = server.sign_in(browsing.shown)
    assert get(port_and_state(browsing.shown)[0], redirect_target(back)) == "HTTP/1.1 200 OK"
    done = browsing.end()
    assert done.code == 0, done.err
    assert "AUTH OAUTHBEARER ***" in done.err  # so -v has an effect
    words = re.findall(r"[A-Za-z0-9_-]{43,}", done.err + done.out)
    assert challenge in words
    assert challenge not in [
        base64.urlsafe_b64encode(hashlib.sha256(word.encode()).digest()).rstrip(b"=").decode() for word in words
    ]
    secrets = (
        parse_qs(urlsplit(back).query)["code"][0],
        kept(home)["access_token"],
        (home.path / "token").read_text().strip(),
    )
    assert not any(secret in done.err + done.out for secret in secrets)


@pytest.fixture
def listening() -> Iterator[tuple[browser.SignIn, socket.socket]]:
    """A sign-in and its listener, in this process."""
    with browser.listener() as server:
        client = TokenClient("id", "https://id.test/token")
        yield (
            browser.begin(
                Endpoints("test", "https://id.test/token", "https://id.test/auth"),
                client,
                USER,
                server.getsockname()[1],
            ),
            server,
        )


def test_waiting_for_the_browser_ends_at_the_limit(
    listening: tuple[browser.SignIn, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert browser.SECONDS == 300
    monkeypatch.setattr(browser, "SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(OAuthError) as caught:
        browser.wait(*listening)
    assert caught.value.error == "expired_token"
    assert 0.3 <= time.monotonic() - began < 5


def test_a_dripping_request_does_not_block_the_listener(
    listening: tuple[browser.SignIn, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "SECONDS", 0.5)
    monkeypatch.setattr(browser, "_REQUEST_SECONDS", 0.3)
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError), socket.create_connection(listening[1].getsockname(), timeout=5) as sock:
            for _byte in range(40):
                sock.sendall(b"x")
                if stop.wait(0.1):
                    return

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    try:
        with pytest.raises(OAuthError):
            browser.wait(*listening)
        assert time.monotonic() - began < 2
    finally:
        stop.set()
        dripping.join()


def test_a_connection_opened_in_advance_does_not_block_the_listener(
    oauth: tuple[Home, OAuthServer], browsing: Attempt
) -> None:
    _home, server = oauth
    with socket.create_connection(("127.0.0.1", port_and_state(browsing.shown)[0]), timeout=5):
        assert server.browse(browsing.shown).status == 200
    assert browsing.end().code == 0


def test_many_silent_connections_do_not_block_the_listener(listening: tuple[browser.SignIn, socket.socket]) -> None:
    """More than are kept at once; the browser connects last and sends slowly."""
    sign_in, server = listening
    target = f"/?code=abc&state={sign_in.state}"
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{server.getsockname()[1]}\r\n\r\n".encode()

    def come() -> None:
        with contextlib.ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection(server.getsockname(), timeout=5)) for _visitor in range(40)
            ]
            late = stack.enter_context(socket.create_connection(server.getsockname(), timeout=5))
            for start in range(0, len(request), 20):
                late.sendall(request[start : start + 20])
                time.sleep(0.01)
            assert late.recv(100).startswith(b"HTTP/1.1 200")
            assert len(silent) == 40

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come)
        assert browser.wait(sign_in, server) == "abc"
        coming.result()
    assert time.monotonic() - began < 5


def test_many_unfinished_requests_do_not_block_the_listener(
    listening: tuple[browser.SignIn, socket.socket],
) -> None:
    sign_in, server = listening

    def come() -> None:
        with contextlib.ExitStack() as stack:
            for _visitor in range(80):
                stack.enter_context(socket.create_connection(server.getsockname(), timeout=5)).sendall(b"G")
            target = f"/?code=abc&state={sign_in.state}"
            assert get(server.getsockname()[1], target) == "HTTP/1.1 200 OK"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come)
        assert browser.wait(sign_in, server) == "abc"
        coming.result()


def test_the_code_is_taken_though_the_browser_resets_the_connection(
    listening: tuple[browser.SignIn, socket.socket],
) -> None:
    sign_in, server = listening
    with socket.create_connection(server.getsockname(), timeout=5) as hasty:
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it sends a reset
        hasty.sendall(
            f"GET /?code=abc&state={sign_in.state} HTTP/1.1\r\nHost: "
            f"127.0.0.1:{server.getsockname()[1]}\r\n\r\n".encode()
        )
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(browser.wait, sign_in, server)
            assert waiting.result(5) == "abc"


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_a_temporary_error_in_the_redirect_is_temporary(
    oauth: tuple[Home, OAuthServer], browsing: Attempt, error: str
) -> None:
    home, _server = oauth
    port, state = port_and_state(browsing.shown)
    assert get(port, f"/?error={error}&state={state}") == "HTTP/1.1 400 Bad Request"
    done = browsing.end()
    assert (done.code, done.json["error"]["code"]) == (75, "auth.temporary")
    assert has_nothing(home)
