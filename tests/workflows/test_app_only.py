"""Programs that sign in by themselves: a client secret, a certificate, a service account."""

from __future__ import annotations

import base64
import concurrent.futures
import datetime
import hashlib
import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.api_servers import Grant
from tests.oauth_servers import APP_ID, APP_SECRET, CERTIFICATE_APP_ID, OAuthServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Home, Run
    from tests.gmail_server import GmailServer
    from tests.graph_server import GraphServer
    from tests.service_accounts import ServiceAccountServer

ADDRESS = "info@example.test"
ROW = """
[[provider]]
id = "testmail"
name = "Testmail"
domains = ["example.test"]
mx_suffixes = []
status = "ok"
servers = [{{ host = "localhost", port = {port}, security = "tls" }}]
auth = ["oauth2"]
docs_url = "https://example.test/help"
confidence = "high"
sources = [{{ at = "https://example.test/help", date = 2026-11-24 }}]
username = {{ form = "address" }}

[provider.oauth2]
client = "testmail"
token_endpoint = "{token_endpoint}"
scopes = ["https://mail.test/smtp"]
app_scope = "{smtp_scope}"

[provider.api]
transport = "{transport}"
scopes = ["https://graph.test/Mail.Send"]
app_scope = "{api_scope}"
"""


PASSWORD_OPTIONS = ("--auth", "password", "--no-verify", "--from-name", "", "--no-input", "--password-file")


def know(home: Home, port: int, token_endpoint: str, **values: str) -> None:
    """Put the servers into the home's provider table."""
    usual = {"smtp_scope": "https://mail.test/.default", "api_scope": "https://graph.test/.default"}
    text = ROW.format(port=port, token_endpoint=token_endpoint, **{"transport": "graph", **usual, **values})
    home.file(".config/smtpsetup/providers.toml", text)


@pytest.fixture
def oauth_home(home: Home, oauth_server: OAuthServer) -> tuple[Home, OAuthServer]:
    """A home whose provider takes app-only tokens over SMTP and at the fake of Graph."""
    know(home, oauth_server.tls_port, oauth_server.token_endpoint)
    home.env.update(oauth_server.env)
    return home, oauth_server


def with_certificate(home: Home, days: int = 400) -> tuple[Path, rsa.RSAPrivateKey, x509.Certificate]:
    """A file with a private key and its certificate, good for so many days."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "smtpsetup")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=800))
    certificate = builder.not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return home.file("app.pem", private + certificate.public_bytes(serialization.Encoding.PEM)), key, certificate


def jwk_of(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> dict[str, str]:
    numbers = key.public_key().public_numbers()

    def encoded(number: int) -> str:
        data = number.to_bytes((number.bit_length() + 7) // 8)
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    thumbprint = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {"kty": "RSA", "n": encoded(numbers.n), "e": encoded(numbers.e), "x5t#S256": thumbprint}


def configured(home: Home, *options: str, stdin: str | None = None) -> Run:
    return home.run(
        "configure", ADDRESS, "--app-only", "--from-name", "", "--no-input", "--json", *options, stdin=stdin
    )


def with_secret(home: Home, *options: str) -> Run:
    file = home.file("secret", APP_SECRET + "\n")
    place = ("--password-file", str(file), "--client-id", APP_ID, "--secret-expires", "2099-01-01")
    return configured(home, *place, *options)


def test_a_client_secret_sends_over_smtp(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    done = with_secret(home)
    assert done.code == 0, done.err
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    (mail,) = server.mails()
    assert (mail.user, mail.recipients) == (ADDRESS, ["kund@example.org"])
    assert server.count("client_credentials") == 1
    saved = tomllib.loads(home.config.read_text())["accounts"][ADDRESS]
    assert saved["oauth2"]["grant"] == "client_credentials"
    assert saved["oauth2"]["secret_expires"] == "2099-01-01"
    assert APP_SECRET not in home.config.read_text()
    assert home.run("accounts", "remove", ADDRESS).code == 0
    assert (home.path / "secret").read_text() == APP_SECRET + "\n"  # it is the user's file


def test_a_certificate_signs_in_and_its_end_is_known(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    file, key, certificate = with_certificate(home)
    server.register_key(jwk_of(key, certificate))
    done = configured(home, "--password-file", str(file), "--client-id", CERTIFICATE_APP_ID)
    assert done.code == 0, done.err
    shown = home.run("accounts", "show", "--json").json["result"]["sign_in"]
    assert shown["secret_expires"] == certificate.not_valid_after_utc.date().isoformat()
    assert shown["app_only"] is True
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    assert len(server.mails()) == 1
    request = server.requests("token")[0]
    assert "client_assertion" in request.parameters
    assert "client_secret" not in request.parameters


def test_graph_is_sent_to_by_its_own_token(oauth_home: tuple[Home, OAuthServer], graph_server: GraphServer) -> None:
    home, server = oauth_home
    graph_server.ask = lambda token: (
        Grant("", ("Mail.Send",), is_app=True, mailboxes=(ADDRESS,)) if server.introspect(token).get("active") else None
    )
    done = with_secret(home, "--transport", "graph", "--endpoint", graph_server.endpoint)
    assert done.code == 0, done.out
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    assert graph_server.mails[0].mailbox == ADDRESS
    assert {request.path for request in graph_server.requests} == {f"/v1.0/users/{ADDRESS}/sendMail"}
    assert [request.scope for request in server.requests("token")] == ["https://graph.test/.default"]


def test_fifty_jobs_make_one_request(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    with_secret(home, "--no-verify")
    for file in (home.path / ".local/state/smtpsetup/tokens").glob("*.json"):
        file.unlink()
    before = server.count("client_credentials")

    def job(number: int) -> int:
        return home.run("send", f"k{number}@example.org", "-s", "Hej", "--body", "x").code

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert set(pool.map(job, range(50))) == {0}
    assert server.count("client_credentials") - before == 1
    assert len(server.mails()) == 50


def test_the_secret_may_come_by_standard_input(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, _server = oauth_home
    file = home.path / "kept"
    options = ("--password-stdin", "--password-file", str(file), "--client-id", APP_ID, "--secret-expires", "never")
    done = configured(home, *options, stdin=APP_SECRET + "\n")
    assert done.code == 0, done.err
    assert file.read_text() == APP_SECRET + "\n"


def test_the_end_of_a_secret_must_be_named(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, _server = oauth_home
    file = home.file("secret", APP_SECRET + "\n")
    done = configured(home, "--password-file", str(file), "--client-id", APP_ID)
    assert done.code == 2
    assert "--secret-expires" in done.err


@pytest.mark.parametrize(
    ("error", "description", "code", "exit_code"),
    [
        ("invalid_client", "AADSTS7000215: Invalid client secret provided.", "auth.client-secret-refused", 77),
        (
            "invalid_client",
            "AADSTS7000222: The secret keys are expired.",
            "auth.client-secret-expired",
            77,
        ),
        ("invalid_client", "AADSTS700027: The certificate was not found.", "auth.client-certificate-refused", 77),
        (
            "invalid_client",
            "AADSTS700024: The assertion is not within its valid time range.",
            "auth.clock-wrong",
            75,
        ),
        ("unauthorized_client", "AADSTS700016: Application was not found.", "auth.client-unknown", 77),
        ("invalid_request", "AADSTS90002: Tenant not found.", "auth.wrong-tenant", 77),
        ("invalid_client", "AADSTS7000229: missing service principal", "auth.admin-approval-required", 77),
        ("access_denied", "AADSTS53003: Access has been blocked by Conditional Access", "auth.sign-in-blocked", 77),
        ("invalid_resource", "AADSTS500011: The resource principal was not found", "auth.scope-refused", 77),
        ("invalid_client", "client authentication failed", "auth.client-secret-refused", 77),
    ],
)
def test_a_refused_sign_in_has_its_own_code(
    oauth_home: tuple[Home, OAuthServer], error: str, description: str, code: str, exit_code: int
) -> None:
    home, server = oauth_home
    server.error(error, description=description, status=401)
    done = with_secret(home)
    assert (done.json["error"]["code"], done.code) == (code, exit_code)
    assert not home.config.exists()
    assert APP_SECRET not in done.out + done.err


def test_a_password_is_never_sent_to_the_token_endpoint(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    password = home.file("password", "my-mailbox-password\n")
    assert home.run("configure", ADDRESS, "--transport", "smtp", *PASSWORD_OPTIONS, str(password)).code == 0
    options = ("--app-only", "--client-id", APP_ID, "--secret-expires", "never", "--no-input", "--json")
    done = home.run("login", *options)
    assert done.json["error"]["code"] in ("secret.missing", "secret.keyring-unavailable")
    assert server.requests("token") == []
    done = home.run("login", *options, "--password-file", str(home.file("secret", APP_SECRET + "\n")))
    assert (done.code, password.read_text()) == (0, "my-mailbox-password\n")


def test_a_persons_sign_in_does_not_write_over_a_key_file(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    file, key, certificate = with_certificate(home)
    server.register_key(jwk_of(key, certificate))
    assert configured(home, "--password-file", str(file), "--client-id", CERTIFICATE_APP_ID).code == 0
    before = file.read_bytes()
    for options in ((), ("--password-file", str(file))):
        done = home.run("login", "--browser", "--no-input", *options)
        assert (done.code != 0, file.read_bytes()) == (True, before)
    home.run("logout")
    assert file.read_bytes() == before


def test_a_day_that_is_none_is_a_fault_of_the_configuration(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, _server = oauth_home
    with_secret(home)
    home.config.write_text(home.config.read_text().replace("2099-01-01", "2099-99-01"))
    done = home.run("doctor", "--json")
    assert (done.code, done.json["error"]["code"], "secret_expires" in done.err + done.out) == (
        78,
        "config.invalid",
        True,
    )


def test_a_new_secret_is_saved_once_it_works(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    with_secret(home)
    server.error("invalid_client", description="AADSTS7000222: expired", status=401)
    options = ("--password-file", str(home.file("new", APP_SECRET + "\n")), "--secret-expires", "2098-01-01")
    failed = home.run("login", *options, "--no-input", "--json")
    assert failed.json["error"]["code"] == "auth.client-secret-expired"
    saved = tomllib.loads(home.config.read_text())["accounts"][ADDRESS]
    assert saved["oauth2"]["secret_expires"] == "2099-01-01"
    assert home.run("login", *options, "--no-input").code == 0
    saved = tomllib.loads(home.config.read_text())["accounts"][ADDRESS]
    assert saved["oauth2"]["secret_expires"] == "2098-01-01"
    assert saved["secret"]["path"] == str(home.path / "new")


@pytest.mark.parametrize(
    ("days", "status", "part"), [(400, "ok", "good until"), (29, "warning", "expires in"), (-1, "wrong", "expired on")]
)
def test_doctor_tells_the_end_of_a_secret_30_days_ahead(
    oauth_home: tuple[Home, OAuthServer], days: int, status: str, part: str
) -> None:
    home, _server = oauth_home
    with_secret(home)
    day = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=days)
    home.config.write_text(home.config.read_text().replace("2099-01-01", day.isoformat()))
    findings = {one["check"]: one for one in json.loads(home.run("doctor", "--json").out)["result"]["checks"]}
    assert (findings["sign-in"]["status"], part in findings["sign-in"]["message"]) == (status, True)


def test_doctor_reads_the_end_of_a_certificate(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, server = oauth_home
    file, key, certificate = with_certificate(home, days=20)
    server.register_key(jwk_of(key, certificate))
    configured(home, "--password-file", str(file), "--client-id", CERTIFICATE_APP_ID)
    findings = {one["check"]: one for one in home.run("doctor", "--json").json["result"]["checks"]}
    assert findings["sign-in"]["status"] == "warning"


@pytest.mark.parametrize(
    "content", ["-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n", '{"type": "service_account"}', "{", ""]
)
def test_a_key_that_is_none_is_told(oauth_home: tuple[Home, OAuthServer], content: str) -> None:
    home, server = oauth_home
    done = configured(home, "--password-file", str(home.file("key", content)), "--client-id", APP_ID)
    assert (done.code, done.json["error"]["code"]) == (78, "secret.missing")
    assert server.requests("token") == []


def test_a_key_without_its_certificate_is_told(oauth_home: tuple[Home, OAuthServer]) -> None:
    home, _server = oauth_home
    file, _key, _certificate = with_certificate(home)
    file.write_text(file.read_text().partition("-----BEGIN CERT")[0])
    done = configured(home, "--password-file", str(file), "--client-id", APP_ID)
    assert done.json["error"]["code"] == "secret.missing"
    assert "certificate" in done.json["error"]["message"]


# Google's service accounts

GMAIL_SEND = "https://www.googleapis.com/auth/gmail.send"


@pytest.fixture
def google(
    home: Home, service_accounts: ServiceAccountServer, gmail_server: GmailServer
) -> tuple[Home, ServiceAccountServer, GmailServer]:
    """A home whose provider is Google's fake, and a service account that may send."""
    scopes = {"transport": "gmail", "smtp_scope": "https://mail.google.com/", "api_scope": GMAIL_SEND}
    know(home, 465, service_accounts.token_uri, **scopes)
    home.env.update(service_accounts.env)
    service_accounts.delegate(GMAIL_SEND)
    service_accounts.on_token = lambda token, sub, scope: gmail_server.allow(token, sub, tuple(scope.split()))
    return home, service_accounts, gmail_server


def with_key(home: Home, service_accounts: ServiceAccountServer, gmail_server: GmailServer, *options: str) -> Run:
    place = ("--password-file", str(service_accounts.key_file))
    return configured(home, *place, "--transport", "gmail", "--endpoint", gmail_server.endpoint, *options)


def test_a_service_account_sends_for_the_mailbox(
    google: tuple[Home, ServiceAccountServer, GmailServer],
) -> None:
    home, service_accounts, gmail_server = google
    done = with_key(home, service_accounts, gmail_server)
    assert done.code == 0, done.out
    assert home.run("send", "kund@example.org", "-s", "Hej", "--body", "x").code == 0
    assert gmail_server.mails[0].mailbox == ADDRESS
    saved = tomllib.loads(home.config.read_text())["accounts"][ADDRESS]
    assert saved["oauth2"]["client_id"] == service_accounts.client_email
    assert "PRIVATE KEY" not in home.config.read_text()


def test_a_missing_delegation_names_the_number_for_the_administrator(
    google: tuple[Home, ServiceAccountServer, GmailServer],
) -> None:
    home, service_accounts, gmail_server = google
    service_accounts.delegations.clear()
    done = with_key(home, service_accounts, gmail_server)
    assert done.json["error"]["code"] == "auth.delegation-missing"
    hints = " ".join(done.json["error"]["hints"])
    assert service_accounts.client_id in hints
    assert GMAIL_SEND in hints


def test_a_wrong_clock_is_told(google: tuple[Home, ServiceAccountServer, GmailServer]) -> None:
    home, service_accounts, gmail_server = google
    service_accounts.leeway = -(10**6)
    done = with_key(home, service_accounts, gmail_server)
    assert (done.json["error"]["code"], done.code) == ("auth.clock-wrong", 75)


def test_a_key_of_another_account_is_refused(google: tuple[Home, ServiceAccountServer, GmailServer]) -> None:
    home, service_accounts, gmail_server = google
    other = rsa.generate_private_key(65537, 2048)
    service_accounts.write_key(service_accounts.key_file, other)
    done = with_key(home, service_accounts, gmail_server)
    assert done.json["error"]["code"] == "auth.client-certificate-refused"
