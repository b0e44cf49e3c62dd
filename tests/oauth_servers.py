"""A real OAuth authorization server (oidc-provider) and a submission server (smtp-server), run by Node."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.browsers import Chromium, Page, PlainBrowser
from tests.certificates import authority, write_ca
from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCES = Path(__file__).parent / "oauth"
CLIENT_ID = "smtpsetup-test"
SMTP_SCOPE = "https://mail.test/smtp"
SCOPE = f"{SMTP_SCOPE} offline_access"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
USER = "info@example.test"
APP_ID, APP_SECRET = "smtpsetup-app", "app-secret-000000"  # an app that signs in itself, with a secret
CERTIFICATE_APP_ID = "smtpsetup-cert"  # one that signs in with a key (RFC 7523); unknown until register_key


@dataclass(frozen=True)
class OAuthRequest:
    """A request to the authorization server and its result; status 0 where the connection was dropped."""

    endpoint: str  # "token", "device", "revocation", "elsewhere" (the target of redirects)
    method: str
    at: float  # seconds since the epoch
    parameters: list[str]  # the names alone
    grant_type: str
    client_id: str
    scope: str
    user_agent: str
    refresh_token_hash: str  # SHA-256, hexadecimal
    status: int
    error: str


@dataclass(frozen=True)
class Login:
    """An AUTH at the submission server; an empty `problem` means that it succeeded."""

    kind: str  # "tls" or "starttls"
    session: str
    mechanism: str
    user: str
    token_hash: str  # SHA-256, hexadecimal
    problem: str


@dataclass(frozen=True)
class SubmittedMail:
    """A mail that the submission server accepted."""

    kind: str
    session: str
    mechanism: str
    user: str
    token_hash: str
    sender: str
    recipients: list[str]
    message: bytes


@dataclass(frozen=True)
class OAuthServer:
    """The running servers: their addresses, what they recorded, and how to control them."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    device_authorization_endpoint: str
    revocation_endpoint: str
    ca_file: str
    public_key_hash: str  # of the certificate: SHA-256 of the SubjectPublicKeyInfo, base64
    tls_port: int
    starttls_port: int
    control_url: str
    client_id: str = CLIENT_ID
    scope: str = SCOPE

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Python trusts the certificate."""
        return {"SSL_CERT_FILE": self.ca_file}

    # records

    def requests(self, endpoint: str = "token", grant_type: str | None = None) -> list[OAuthRequest]:
        """The requests so far."""
        seen = [OAuthRequest(**request) for request in self._control("state")["requests"]]
        return [
            request for request in seen if request.endpoint == endpoint and grant_type in (None, request.grant_type)
        ]

    def count(self, grant_type: str) -> int:
        """How many token requests there were of a grant type."""
        return len(self.requests("token", grant_type))

    def mails(self) -> list[SubmittedMail]:
        """The accepted mails so far."""
        return [
            SubmittedMail(**{**mail, "message": base64.b64decode(mail["message"])})
            for mail in self._control("state")["mails"]
        ]

    def logins(self) -> list[Login]:
        """The AUTHs so far."""
        return [Login(**login) for login in self._control("state")["logins"]]

    # tokens

    def tokens(self, user: str = USER) -> dict[str, Any]:
        """A token answer as at the end of a sign-in."""
        answer: dict[str, Any] = self._control(
            "sign-in", {"user": user, "client_id": self.client_id, "scope": self.scope}
        )
        return answer

    def register_key(self, jwk: Mapping[str, Any]) -> None:
        """Let the app CERTIFICATE_APP_ID sign its assertions with this key, a public JWK; until the next reset.

        An assertion has to name its certificate in `x5t#S256`, `x5t` or `kid`, as Entra wants it. If the JWK has an
        `x5t#S256`, it has to be that one.
        """
        self._control("register-key", jwk)

    def introspect(self, token: str) -> dict[str, Any]:
        """What the server says about a token (RFC 7662): `active`, `scope`, `client_id`; `sub` if it is a user's."""
        answer: dict[str, Any] = self._control("introspect", {"token": token})
        return answer

    def settings(self, **values: Any) -> None:
        """Change settings, whose names are in DEFAULTS of oauth/state.mjs."""
        self._control("settings", values)

    def expire_access_tokens(self) -> None:
        """Expire every access token now."""
        self._control("expire-access-tokens", {})

    def expire_device_codes(self) -> None:
        """Expire every device code now."""
        self._control("expire-device-codes", {})

    def revoke(self, user: str = USER) -> None:
        """Revoke everything that a user granted."""
        self._control("revoke", {"user": user})

    def reset(self) -> None:
        """Delete every token, setting, rule and record."""
        self._control("reset", {})

    # answers to the next requests

    def rule(self, count: int = 1, *, endpoint: str = "token", grant_type: str | None = None, **rule: Any) -> None:
        """Change the answers to the next requests; rules are used in the order in which they were made.

        `status`, `headers` and `body` (text or a JSON object) are the whole answer. `drop` closes the connection.
        `delay` waits first, in seconds. `after` processes the request first, so that the token is used up. `set` and
        `remove` change a successful answer.
        """
        self._control("rules", {"endpoint": endpoint, "grant_type": grant_type, "count": count, **rule})

    def unavailable(self, count: int = 1, *, status: int = 503, retry_after: str | None = None, **rule: Any) -> None:
        """Answer as an overloaded server does, with an HTML page."""
        headers = {"Content-Type": "text/html", **({} if retry_after is None else {"Retry-After": retry_after})}
        self.rule(
            count,
            status=status,
            headers=headers,
            body="<!DOCTYPE html><html><body><h1>Try again later</h1></body></html>",
            **rule,
        )

    def page(self, count: int = 1, *, status: int = 200, **rule: Any) -> None:
        """Answer with an HTML page where JSON is expected, as captive portals do."""
        self.unavailable(count, status=status, **rule)

    def slow(self, seconds: float, count: int = 1, **rule: Any) -> None:
        """Delay the usual answer."""
        self.rule(count, delay=seconds, **rule)

    def redirect(self, count: int = 1, *, status: int = 307, location: str | None = None, **rule: Any) -> None:
        """Answer with a redirect; requests("elsewhere") has those that follow it."""
        self.rule(count, status=status, headers={"Location": location or f"{self.issuer}/elsewhere"}, **rule)

    def error(
        self, error: str, count: int = 1, *, status: int = 400, description: str | None = None, **rule: Any
    ) -> None:
        """Answer with an OAuth error (RFC 6749 section 5.2)."""
        self.rule(
            count,
            status=status,
            body={"error": error, **({} if description is None else {"error_description": description})},
            **rule,
        )

    def slow_down(self, count: int = 1) -> None:
        """Answer slow_down to polling for a device code (RFC 8628 section 3.5)."""
        self.error("slow_down", count, grant_type=DEVICE_GRANT)

    def without_refresh_token(self, count: int = 1, **rule: Any) -> None:
        """Leave the refresh token out of the answer; the old one is used up unless the setting `rotate` is False."""
        self.rule(count, remove=["refresh_token"], **rule)

    def expires_in(self, value: object, count: int = 1, **rule: Any) -> None:
        """Answer with another lifetime, of any type; None leaves it out."""
        self.rule(count, **({"remove": ["expires_in"]} if value is None else {"set": {"expires_in": value}}), **rule)

    # the user

    def approve_device(self, user_code: str, user: str = USER) -> Page:
        """Enter the code of a device, sign in and consent. Returns the last page."""
        page = self._browser(user, allow=True).submit_code(f"{self.issuer}/device", user_code)
        assert "Device connected" in page.text, page
        return page

    def deny_device(self, user_code: str, user: str = USER) -> Page:
        """Enter the code of a device and refuse."""
        page = self._browser(user, allow=False).submit_code(f"{self.issuer}/device", user_code)
        assert "AbortedError" in page.text, page
        return page

    def sign_in(self, url: str, user: str | None = USER, *, allow: bool = True) -> str:
        """Sign in at an authorization URL and consent or refuse.

        Returns the URL of the redirect to the client, which is not fetched. With user None, the form keeps the user
        that `login_hint` suggested.
        """
        return self._browser(user, allow=allow).until_redirect(url)

    def browse(self, url: str, user: str | None = USER, *, allow: bool = True) -> Page:
        """Sign in as `sign_in` does and follow the redirect. Returns the client's page."""
        return self._browser(user, allow=allow).visit(url)

    def _browser(self, user: str | None, *, allow: bool) -> PlainBrowser:
        return PlainBrowser(self.issuer, self.ca_file, user, allow=allow)

    def _control(self, action: str, values: Mapping[str, Any] | None = None) -> Any:
        data = None if values is None else json.dumps(values).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.control_url}/{action}", data, timeout=30) as response:
            return json.load(response)


def node_modules() -> Path:
    """The packages of oauth/package-lock.json, installed once for every test process and run."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("needs Node 20 or newer: apt-get install nodejs npm")
    cache = Path(sys.prefix) / "node-for-tests"
    cache.mkdir(exist_ok=True)
    installed = cache / hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()[:16]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.is_dir():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(SOURCES / name, directory)
                command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
                done = subprocess.run(
                    command,
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )
                if done.returncode:
                    missing(f"needs the packages of tests/oauth/package-lock.json, but npm ci failed: {done.stderr}")
                Path(directory, "installed").mkdir()
                Path(directory, "node_modules").rename(Path(directory, "installed", "node_modules"))
                Path(directory, "installed").rename(installed)
    return installed / "node_modules"


@pytest.fixture(scope="session")
def oauth_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthServer]:
    """The servers, started once for all tests."""
    modules = node_modules()
    base = tmp_path_factory.mktemp("oauth")
    (base / "node_modules").symlink_to(modules)
    for source in SOURCES.glob("*.mjs"):  # next to node_modules, where imports are resolved
        shutil.copy(source, base)
    write_ca(base / "ca.pem")
    issued = authority().issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(base / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(base / "server.pem"))
    public_key = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).public_key()
    public_key_hash = hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    command = ["node", "server.mjs", "key.pem", "server.pem"]
    with (
        (base / "log").open("wb") as log,
        subprocess.Popen(command, cwd=base, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as server,
    ):
        assert server.stdin
        assert server.stdout
        line = server.stdout.readline()
        assert line, (base / "log").read_text()
        ports = json.loads(line)
        issuer = f"https://localhost:{ports['https']}"
        try:
            yield OAuthServer(
                issuer=issuer,
                authorization_endpoint=f"{issuer}/auth",
                token_endpoint=f"{issuer}/token",
                device_authorization_endpoint=f"{issuer}/device/auth",
                revocation_endpoint=f"{issuer}/token/revocation",
                ca_file=str(base / "ca.pem"),
                public_key_hash=base64.b64encode(public_key_hash).decode(),
                tls_port=ports["tls"],
                starttls_port=ports["starttls"],
                control_url=f"http://127.0.0.1:{ports['control']}",
            )
        finally:
            server.stdin.close()  # which ends it, as the end of this process would
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(10)
            server.kill()


@pytest.fixture
def oauth_server(oauth_processes: OAuthServer) -> OAuthServer:
    """The servers in their initial state."""
    oauth_processes.reset()
    return oauth_processes


@pytest.fixture
def chromium(oauth_processes: OAuthServer, tmp_path: Path) -> Iterator[Chromium]:
    """A real browser that accepts the authorization server's certificate."""
    if not shutil.which("chromium"):
        missing("needs a browser: apt-get install --no-install-recommends chromium")
    root = ("--no-sandbox",) if os.getuid() == 0 else ()
    with Chromium(
        tmp_path / "chromium", *root, f"--ignore-certificate-errors-spki-list={oauth_processes.public_key_hash}"
    ) as browser:
        yield browser
